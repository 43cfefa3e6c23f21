/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File operations by a pool of threads, for hosts whose kernel or policy has no io_uring; sleeps in poll(2). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/block/loop_impl.h"
#include "base/lock.h"
#include "base/tunables.h"

#define MAX_POLL 16 /* the event and the watches; a chain of images has one for each of its NBD exports */

struct pool {
	struct loop *loop;
	struct lock lock;      /* guards all below */
	pthread_cond_t work;
	struct list queue;     /* loop_io to be done */
	struct list finished;  /* loop_io that were done */
	unsigned idle, n_threads;
	bool stop;
	pthread_t thread[TUNE_BLOCK_POOL];
};

static int64_t carry_out(const struct loop_io *io)
{
	int64_t rc;

	do {
		switch (io->op) {
		case LOOP_READ:
			rc = preadv2(io->fd, io->iov, (int)io->n_iov, (off_t)io->offset, io->flags);
			break;
		case LOOP_WRITE:
			rc = pwritev2(io->fd, io->iov, (int)io->n_iov, (off_t)io->offset, io->flags);
			break;
		case LOOP_SYNC:
			rc = fdatasync(io->fd);
			break;
		default:
			rc = fallocate(io->fd, io->flags, (off_t)io->offset, (off_t)io->len);
			break;
		}
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : rc;
}

static void *worker(void *arg)
{
	struct pool *p = arg;

	lock_take(&p->lock);
	while (!p->stop) {
		struct loop_io *io;

		if (list_empty(&p->queue)) {
			p->idle++;
			pthread_cond_wait(&p->work, &p->lock.m);
			p->idle--;
			continue;
		}
		io = list_entry(p->queue.next, struct loop_io, node);
		list_del(&io->node);
		lock_drop(&p->lock);
		io->rc = carry_out(io);
		lock_take(&p->lock);
		list_add_tail(&p->finished, &io->node);
		lock_drop(&p->lock);
		loop_wake(p->loop);
		lock_take(&p->lock);
	}
	lock_drop(&p->lock);
	return NULL;
}

int loop_pool_new(struct loop *l, void **out)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->loop = l;
	lock_init(&p->lock, RANK_LEAF);
	pthread_cond_init(&p->work, NULL);
	list_init(&p->queue);
	list_init(&p->finished);
	*out = p;
	return 0;
}

static void pool_free(void *engine)
{
	struct pool *p = engine;

	lock_take(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	lock_drop(&p->lock);
	for (unsigned i = 0; i < p->n_threads; i++)
		pthread_join(p->thread[i], NULL);
	pthread_cond_destroy(&p->work);
	lock_release(&p->lock);
	free(p);
}

/* Signals are the business of the program's main thread. */
static bool start_thread(struct pool *p)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&p->thread[p->n_threads], NULL, worker, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!rc)
		p->n_threads++;
	return !rc;
}

static void pool_submit(void *engine, struct loop_io *io)
{
	struct pool *p = engine;
	bool alone;

	lock_take(&p->lock);
	list_add_tail(&p->queue, &io->node);
	if (!p->idle && p->n_threads < TUNE_BLOCK_POOL)
		start_thread(p);
	alone = !p->n_threads;
	pthread_cond_signal(&p->work);
	lock_drop(&p->lock);
	if (!alone)
		return;
	/* The host gives us no thread at all: slow is better than never. */
	list_del(&io->node);
	loop_finish(p->loop, io, carry_out(io));
}

static bool collect(struct pool *p)
{
	bool any;

	lock_take(&p->lock);
	any = !list_empty(&p->finished);
	while (!list_empty(&p->finished)) {
		struct loop_io *io = list_entry(p->finished.next, struct loop_io, node);

		list_del(&io->node);
		list_add_tail(&p->loop->finished, &io->node);
	}
	lock_drop(&p->lock);
	return any;
}

static void sleep_in_poll(struct pool *p, uint64_t timeout_ns)
{
	struct pollfd fds[MAX_POLL] = { { .fd = p->loop->event_fd, .events = POLLIN } };
	struct loop_watch *w, *tmp;
	struct timespec ts = { (time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u) };
	nfds_t n = 1;
	int rc;

	list_for_each(w, &p->loop->watches, node)
		if (n < MAX_POLL) {
			fds[n].events = w->events(w); /* this may change fd */
			fds[n++].fd = w->fd;
		}
	rc = ppoll(fds, n, timeout_ns == UINT64_MAX ? NULL : &ts, NULL);
	if (rc <= 0)
		return;
	if (fds[0].revents)
		loop_drain_event(p->loop);
	n = 1;
	list_for_each_safe(w, tmp, &p->loop->watches, node) {
		if (n < MAX_POLL && fds[n].revents)
			w->ready(w, fds[n].revents);
		n++;
	}
}

static void pool_wait(void *engine, uint64_t timeout_ns)
{
	struct pool *p = engine;

	/* What finishes from here on wakes us; the caller may have announced the sleep already. */
	loop_announce_sleep(p->loop);
	if (collect(p))
		timeout_ns = 0;
	if (timeout_ns || !list_empty(&p->loop->watches))
		sleep_in_poll(p, timeout_ns);
	collect(p);
}

const struct loop_engine loop_pool_engine = {
	.name = "threads",
	.submit = pool_submit,
	.wait = pool_wait,
	.free = pool_free,
};
