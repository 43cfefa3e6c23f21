/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio device without its transport: status, feature negotiation, reset, configuration space, state.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, chapters 2, 3 and 6.
 * Missing: legacy drivers (without VIRTIO_F_VERSION_1 there is no FEATURES_OK), ring reset, suspend.
 *
 * Life of a ring. A queue runs while it is enabled, the driver has said DRIVER_OK and the machine is not quiesced; `running` is
 * changed under the queue's lock, so who holds the lock and finds it set may use the ring. Chains may be away for long
 * (a disk's requests): a reset raises the queue's generation, after which a chain that comes back is only freed.
 * As its buffers may still be written until then, the device shows its old status until the last has come
 * back; drivers wait for that (4.1.4.3.1).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "virtio/virtio.h"

#define DEFAULT_QUEUE_SIZE 256

/* q_wraps */
#define WRAP_AVAIL 1
#define WRAP_USED  2

/* -- Rings ----------------------------------------------------------------------------------------- */

static void update_running(struct virtio_device *vd)
{
	uint8_t status = atomic_load(&vd->status);

	for (unsigned i = 0; i < vd->n_queues; i++) {
		struct virtqueue *vq = &vd->vq[i];

		lock_take(&vq->lock);
		vq->running = vd->q_enabled[i] && (status & VIRTIO_S_DRIVER_OK) && !atomic_load(&vd->quiesced);
		lock_drop(&vq->lock);
	}
}

bool virtio_live(struct virtio_device *vd)
{
	return (atomic_load(&vd->status) & VIRTIO_S_DRIVER_OK) && !atomic_load(&vd->broken) && !atomic_load(&vd->quiesced);
}

void virtio_queue_enable(struct virtio_device *vd, unsigned q)
{
	struct virtqueue *vq = &vd->vq[q];
	int rc;

	if (vd->q_enabled[q] || !(atomic_load(&vd->status) & VIRTIO_S_FEATURES_OK))
		return;
	lock_take(&vq->lock);
	rc = vq_start(vq, vd->q_size[q], vd->q_desc[q], vd->q_driver[q], vd->q_device[q]);
	lock_drop(&vq->lock);
	if (rc) {
		virtio_break(vd, "a queue whose size or addresses make no sense");
		return;
	}
	vd->q_enabled[q] = 1;
	update_running(vd);
}

/* Let all queues be looked at: what came while they did not run. */
static void wake_queues(struct virtio_device *vd)
{
	for (unsigned i = 0; i < vd->n_queues; i++) {
		bool ready;

		lock_take(&vd->vq[i].lock);
		ready = vq_ready(&vd->vq[i]);
		lock_drop(&vd->vq[i].lock);
		if (ready)
			virtio_wake(vd, i);
	}
}

void virtio_process(struct virtio_device *vd, unsigned q)
{
	struct virtqueue *vq = &vd->vq[q];
	bool more = false;

	lock_take(&vq->lock);
	if (vq->running)
		more = vd->ops->process(vd, vq);
	lock_drop(&vq->lock);
	if (more)
		virtio_wake(vd, q);
}

void virtio_kick(struct virtio_device *vd, unsigned q)
{
	if (q >= vd->n_queues || !virtio_live(vd))
		return;
	__atomic_fetch_add(&vd->vq[q].kicks, 1, __ATOMIC_RELAXED);
	if (vd->ops->threaded & BIT(q))
		virtio_wake(vd, q);
	else
		virtio_process(vd, q);
}

/* -- Status ---------------------------------------------------------------------------------------- */

void virtio_queue_disable(struct virtio_device *vd, unsigned q)
{
	struct virtqueue *vq = &vd->vq[q];

	lock_take(&vq->lock);
	vq->running = false;
	vq->generation++;
	vq->in_flight = 0;
	vq->filled = 0;
	lock_drop(&vq->lock);
	vd->q_enabled[q] = 0;
}

static void stop_queues(struct virtio_device *vd)
{
	for (unsigned i = 0; i < vd->n_queues; i++) {
		virtio_queue_disable(vd, i);
		vd->q_size[i] = vd->queue_size;
		vd->q_wraps[i] = 0;
		vd->q_avail_idx[i] = vd->q_used_idx[i] = 0;
		vd->q_desc[i] = vd->q_driver[i] = vd->q_device[i] = 0;
	}
}

static void reset_locked(struct virtio_device *vd)
{
	uint8_t before = atomic_load(&vd->status);

	stop_queues(vd);
	if (vd->ops->reset)
		vd->ops->reset(vd);
	atomic_store(&vd->broken, false);
	atomic_store(&vd->status, 0);
	vd->guest_features = 0;
	vd->reset_pending = atomic_load(&vd->in_flight) ? before : 0;
}

uint8_t virtio_status(struct virtio_device *vd)
{
	if (!atomic_load(&vd->in_flight))
		vd->reset_pending = 0;
	return vd->reset_pending ? vd->reset_pending : atomic_load(&vd->status);
}

static bool features_acceptable(const struct virtio_device *vd)
{
	return !(vd->guest_features & ~vd->host_features) && virtio_has(vd, VIRTIO_F_VERSION_1);
}

void virtio_set_status(struct virtio_device *vd, uint8_t val)
{
	uint8_t before = atomic_load(&vd->status), set;

	if (!val) {
		reset_locked(vd);
		return;
	}
	vd->reset_pending = 0;
	if ((val & VIRTIO_S_FEATURES_OK) && !(before & VIRTIO_S_FEATURES_OK) && !features_acceptable(vd))
		val &= (uint8_t)~VIRTIO_S_FEATURES_OK;
	/* DRIVER_OK without FEATURES_OK is a driver of before version 1. */
	if (!((val | before) & VIRTIO_S_FEATURES_OK))
		val &= (uint8_t)~VIRTIO_S_DRIVER_OK;
	/* Bits are only ever added until the reset (2.1.1). */
	set = val & (uint8_t)~before & (uint8_t)~VIRTIO_S_NEEDS_RESET;
	atomic_fetch_or(&vd->status, set);
	if (!(set & VIRTIO_S_DRIVER_OK))
		return;
	update_running(vd);
	if (vd->ops->ready)
		vd->ops->ready(vd);
	wake_queues(vd);
}

void virtio_set_features(struct virtio_device *vd, unsigned word, uint32_t val)
{
	if (word > 1 || (atomic_load(&vd->status) & VIRTIO_S_FEATURES_OK))
		return;
	vd->guest_features &= ~((uint64_t)UINT32_MAX << (32 * word));
	vd->guest_features |= (uint64_t)val << (32 * word);
}

void virtio_break(struct virtio_device *vd, const char *why)
{
	if (atomic_exchange(&vd->broken, true))
		return;
	guest_log("%s: the guest's driver gave it %s; it needs a reset", vd->dev.ops->name, why);
	if (atomic_fetch_or(&vd->status, VIRTIO_S_NEEDS_RESET) & VIRTIO_S_DRIVER_OK)
		vd->transport.config_interrupt(vd->transport.opaque);
}

/* -- Configuration space ---------------------------------------------------------------------------- */

static void tell_config_locked(struct virtio_device *vd)
{
	if (!vd->config_pending || atomic_load(&vd->quiesced))
		return;
	vd->config_pending = false;
	if (atomic_load(&vd->status) & VIRTIO_S_DRIVER_OK)
		vd->transport.config_interrupt(vd->transport.opaque);
}

void virtio_config_changed(struct virtio_device *vd)
{
	lock_take(&vd->config_lock);
	atomic_fetch_add(&vd->config_gen, 1);
	vd->config_pending = true;
	tell_config_locked(vd);
	lock_drop(&vd->config_lock);
}

uint64_t virtio_config_read(struct virtio_device *vd, unsigned off, unsigned size)
{
	uint8_t buf[VIRTIO_CONFIG_SIZE] = { 0 };
	uint64_t val = 0;

	if (off >= vd->config_size || size > vd->config_size - off)
		return size_mask(size);
	vd->ops->config_read(vd, buf);
	memcpy(&val, buf + off, size);
	return val;
}

void virtio_config_write(struct virtio_device *vd, unsigned off, unsigned size, uint64_t val)
{
	if (vd->ops->config_write && off < vd->config_size && size <= vd->config_size - off)
		vd->ops->config_write(vd, off, size, val);
}

/* -- Life -------------------------------------------------------------------------------------------- */

void virtio_init(struct virtio_device *vd, const struct virtio_params *p)
{
	BUG_ON(!p->n_queues || p->n_queues > VIRTIO_MAX_QUEUES || p->config_size > VIRTIO_CONFIG_SIZE);
	vd->dev.ops = p->dev_ops;
	list_init(&vd->dev.node);
	vd->ops = p->ops;
	vd->id = p->id;
	vd->mem = p->mem;
	vd->host_features = p->features | VIRTIO_F_RINGS;
	vd->n_queues = p->n_queues;
	vd->queue_size = p->queue_size ? p->queue_size : DEFAULT_QUEUE_SIZE;
	vd->config_size = p->config_size;
	lock_init(&vd->lock, RANK_VIRTIO);
	lock_init(&vd->config_lock, RANK_VIRTIO_CONFIG);
	vd->vq = calloc(p->n_queues, sizeof(*vd->vq));
	BUG_ON(!vd->vq);
	for (unsigned i = 0; i < p->n_queues; i++) {
		vd->vq[i].vd = vd;
		vd->vq[i].index = i;
		vd->q_size[i] = vd->queue_size;
		lock_init(&vd->vq[i].lock, RANK_VIRTQ);
	}
	virtio_worker_init(vd);
}

void virtio_dev_reset(struct device *d)
{
	struct virtio_device *vd = (struct virtio_device *)d;

	lock_take(&vd->lock);
	reset_locked(vd);
	lock_drop(&vd->lock);
}

/* Where the rings are, into the fields that are saved. */
static void note_positions(struct virtio_device *vd)
{
	for (unsigned i = 0; i < vd->n_queues; i++) {
		struct virtqueue *vq = &vd->vq[i];

		lock_take(&vq->lock);
		if (vd->q_enabled[i]) {
			vd->q_avail_idx[i] = vq->last_avail;
			vd->q_used_idx[i] = vq->used_idx;
			vd->q_wraps[i] = (vq->avail_wrap ? WRAP_AVAIL : 0) | (vq->used_wrap ? WRAP_USED : 0);
		}
		lock_drop(&vq->lock);
	}
}

void virtio_dev_quiesce(struct device *d, bool on)
{
	struct virtio_device *vd = (struct virtio_device *)d;

	if (on) {
		lock_take(&vd->config_lock);
		atomic_store(&vd->quiesced, true);
		lock_drop(&vd->config_lock);
		update_running(vd);
		virtio_worker_hold(vd, true);
		if (vd->ops->drain)
			vd->ops->drain(vd);
		note_positions(vd);
		return;
	}
	lock_take(&vd->lock);
	lock_take(&vd->config_lock);
	atomic_store(&vd->quiesced, false);
	tell_config_locked(vd);
	lock_drop(&vd->config_lock);
	update_running(vd);
	virtio_worker_hold(vd, false);
	if (vd->ops->ready && virtio_live(vd))
		vd->ops->ready(vd);
	wake_queues(vd);
	lock_drop(&vd->lock);
}

static int restore_queue(struct virtio_device *vd, unsigned i)
{
	struct virtqueue *vq = &vd->vq[i];
	int rc;

	if (vd->q_enabled[i] > 1)
		return -EINVAL;
	if (!vd->q_enabled[i])
		return 0;
	lock_take(&vq->lock);
	rc = vq_start(vq, vd->q_size[i], vd->q_desc[i], vd->q_driver[i], vd->q_device[i]);
	if (!rc && vq->packed && (vd->q_avail_idx[i] >= vq->size || vd->q_used_idx[i] >= vq->size))
		rc = -EINVAL;
	if (!rc) {
		vq->last_avail = vd->q_avail_idx[i];
		vq->used_idx = vd->q_used_idx[i];
		vq->avail_wrap = vd->q_wraps[i] & WRAP_AVAIL;
		vq->used_wrap = vd->q_wraps[i] & WRAP_USED;
	}
	lock_drop(&vq->lock);
	return rc;
}

int virtio_dev_post_load(struct device *d)
{
	struct virtio_device *vd = (struct virtio_device *)d;
	uint8_t status = atomic_load(&vd->status);
	int rc = 0;

	if ((status & VIRTIO_S_FEATURES_OK) && !features_acceptable(vd))
		return -EINVAL;
	if ((status & VIRTIO_S_DRIVER_OK) && !(status & VIRTIO_S_FEATURES_OK))
		return -EINVAL;
	for (unsigned i = 0; i < vd->n_queues && !rc; i++)
		rc = restore_queue(vd, i);
	if (!rc && vd->ops->post_load)
		rc = vd->ops->post_load(vd);
	if (!rc)
		update_running(vd);
	return rc;
}

void virtio_dev_free(struct device *d)
{
	struct virtio_device *vd = (struct virtio_device *)d;

	virtio_worker_release(vd);
	if (vd->ops->free)
		vd->ops->free(vd);
	for (unsigned i = 0; i < vd->n_queues; i++) {
		lock_release(&vd->vq[i].lock);
		free(vd->vq[i].scratch);
	}
	lock_release(&vd->config_lock);
	lock_release(&vd->lock);
	free(vd->vq);
	free(vd);
}

void virtio_dev_print_stats(const struct device *d, struct strbuf *out)
{
	const struct virtio_device *vd = (const struct virtio_device *)d;

	for (unsigned i = 0; i < vd->n_queues; i++) {
		const struct virtqueue *vq = &vd->vq[i];

		if (vq->chains)
			strbuf_addf(out, "%s.%u  %" PRIu64 " kicks, %" PRIu64 " chains of buffers, %" PRIu64 " interrupts\n",
				    d->ops->name, i, vq->kicks, vq->chains, vq->interrupts);
	}
}
