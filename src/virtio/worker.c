/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device's own thread: for queues whose requests may block, and for what is left over when a kick has
 * done its share. It is made when it is first needed and sleeps on a condition variable.
 */
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "base/log.h"
#include "virtio/virtio.h"

static void *worker_main(void *arg)
{
	struct virtio_device *vd = arg;

	lock_take(&vd->work_lock);
	while (!vd->thread_ends) {
		unsigned q;

		if (!vd->work || vd->thread_held) {
			vd->thread_busy = false;
			pthread_cond_broadcast(&vd->idle_cond);
			pthread_cond_wait(&vd->work_cond, &vd->work_lock.m);
			continue;
		}
		vd->thread_busy = true;
		q = (unsigned)__builtin_ctzll(vd->work);
		vd->work &= ~BIT(q);
		lock_drop(&vd->work_lock);
		virtio_process(vd, q);
		lock_take(&vd->work_lock);
	}
	vd->thread_busy = false;
	lock_drop(&vd->work_lock);
	return NULL;
}

void virtio_worker_init(struct virtio_device *vd)
{
	lock_init(&vd->work_lock, RANK_LEAF);
	pthread_cond_init(&vd->work_cond, NULL);
	pthread_cond_init(&vd->idle_cond, NULL);
}

void virtio_wake(struct virtio_device *vd, unsigned q)
{
	int rc;

	lock_take(&vd->work_lock);
	vd->work |= BIT(q);
	if (!vd->thread_started && !vd->thread_ends) {
		rc = pthread_create(&vd->thread, NULL, worker_main, vd);
		vd->thread_started = !rc;
		if (rc)
			guest_log("%s: no thread: %s", vd->dev.ops->name, strerror(rc));
	}
	pthread_cond_signal(&vd->work_cond);
	lock_drop(&vd->work_lock);
}

void virtio_worker_hold(struct virtio_device *vd, bool hold)
{
	lock_take(&vd->work_lock);
	vd->thread_held = hold;
	pthread_cond_signal(&vd->work_cond);
	while (hold && vd->thread_busy)
		pthread_cond_wait(&vd->idle_cond, &vd->work_lock.m);
	lock_drop(&vd->work_lock);
}

void virtio_worker_release(struct virtio_device *vd)
{
	bool started;

	lock_take(&vd->work_lock);
	vd->thread_ends = true;
	started = vd->thread_started;
	pthread_cond_signal(&vd->work_cond);
	lock_drop(&vd->work_lock);
	if (started)
		pthread_join(vd->thread, NULL);
	pthread_cond_destroy(&vd->work_cond);
	pthread_cond_destroy(&vd->idle_cond);
	lock_release(&vd->work_lock);
}
