/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop of one disk; the engines that carry out file operations are in files of their own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "backend/block/loop_impl.h"
#include "base/log.h"

uint64_t loop_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

int loop_new(struct loop **out, struct err *e)
{
	struct loop *l = calloc(1, sizeof(*l));
	const char *wish = getenv("DOPPEL_BLOCK_ENGINE");

	if (!l)
		return err_set(e, ENOMEM, "disk: no memory for its event loop");
	l->event_fd = eventfd(0, EFD_CLOEXEC);
	if (l->event_fd < 0) {
		int rc = err_set(e, errno, "disk: eventfd: %s", strerror(errno));

		free(l);
		return rc;
	}
	list_init(&l->finished);
	list_init(&l->deferred);
	list_init(&l->watches);
	l->want_pool = wish && !strcmp(wish, "threads");
	*out = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->engine)
		l->engine->free(l->engine_data);
	close(l->event_fd);
	free(l);
}

void loop_use_pool(struct loop *l)
{
	BUG_ON(l->engine && l->engine != &loop_pool_engine);
	l->want_pool = true;
}

/* On first use, because some kinds of ring belong to the thread that made them. */
static void start_engine(struct loop *l)
{
	int rc = l->want_pool ? -ENOSYS : loop_uring_new(l, &l->engine_data);

	if (!rc) {
		l->engine = &loop_uring_engine;
		return;
	}
	if (!l->want_pool)
		log_msg(LOG_INFO, "disk: the kernel does not give us io_uring (%s); using threads", strerror(-rc));
	rc = loop_pool_new(l, &l->engine_data);
	if (rc)
		BUG("no memory for the threads of a disk: %s", strerror(-rc));
	l->engine = &loop_pool_engine;
}

void loop_submit(struct loop *l, struct loop_io *io)
{
	if (unlikely(!l->engine))
		start_engine(l);
	l->busy++;
	l->engine->submit(l->engine_data, io);
}

void loop_defer(struct loop *l, struct loop_work *w)
{
	list_add_tail(&l->deferred, &w->node);
}

void loop_watch(struct loop *l, struct loop_watch *w)
{
	loop_use_pool(l);
	list_add_tail(&l->watches, &w->node);
}

void loop_unwatch(struct loop_watch *w)
{
	list_del(&w->node);
}

unsigned loop_busy(const struct loop *l)
{
	return l->busy;
}

const char *loop_engine_name(const struct loop *l)
{
	return l->engine ? l->engine->name : "none yet";
}

/* Take all of one list, so that what the calls add waits for the next round. */
static void list_take(struct list *from, struct list *to)
{
	list_init(to);
	if (list_empty(from))
		return;
	*to = *from;
	to->next->prev = to;
	to->prev->next = to;
	list_init(from);
}

static void run_ready(struct loop *l)
{
	struct list now;

	list_take(&l->finished, &now);
	while (!list_empty(&now)) {
		struct loop_io *io = list_entry(now.next, struct loop_io, node);

		list_del(&io->node);
		l->busy--;
		io->done(io, io->rc);
	}
	list_take(&l->deferred, &now);
	while (!list_empty(&now)) {
		struct loop_work *w = list_entry(now.next, struct loop_work, node);

		list_del(&w->node);
		w->fn(w);
	}
}

void loop_step(struct loop *l, uint64_t timeout_ns)
{
	if (unlikely(!l->engine))
		start_engine(l);
	if (!list_empty(&l->deferred) || !list_empty(&l->finished))
		timeout_ns = 0;
	l->engine->wait(l->engine_data, timeout_ns);
	atomic_store_explicit(&l->sleeping, false, memory_order_relaxed);
	run_ready(l);
}

void loop_announce_sleep(struct loop *l)
{
	atomic_store(&l->sleeping, true);
}

void loop_wake(struct loop *l)
{
	const uint64_t one = 1;

	if (!atomic_load(&l->sleeping) || !atomic_exchange(&l->sleeping, false))
		return;
	/* It can only fail when the counter is full, and then the loop is awake. */
	while (write(l->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
}

void loop_drain_event(struct loop *l)
{
	uint64_t n;

	while (read(l->event_fd, &n, sizeof(n)) < 0 && errno == EINTR)
		continue;
}
