/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File operations by io_uring: one system call submits everything that is new and waits for the next completion. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>

#include "backend/block/loop_impl.h"
#include "base/tunables.h"

struct uring {
	struct loop *loop;
	struct io_uring ring;
	struct list queue;     /* loop_io that the ring has no room for */
	unsigned in_ring;
	bool event_armed;
	uint64_t event_value;  /* where the kernel puts the event counter */
};

/* The newest flags first: no interrupts of this thread for completions that it will ask for anyway. */
static int make_ring(struct io_uring *ring)
{
	static const unsigned flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_COOP_TASKRUN,
		0,
	};
	int rc = -ENOSYS;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		rc = io_uring_queue_init(TUNE_BLOCK_RING, ring, flags[i]);
		if (rc != -EINVAL)
			return rc;
	}
	return rc;
}

/* A kernel may know the ring but not an operation that we need. */
static bool has_operations(struct io_uring *ring)
{
	static const int needed[] = {
		IORING_OP_READ, IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE,
	};
	struct io_uring_probe *p = io_uring_get_probe_ring(ring);
	bool ok = p;

	for (size_t i = 0; ok && i < ARRAY_SIZE(needed); i++)
		ok = io_uring_opcode_supported(p, needed[i]);
	io_uring_free_probe(p);
	return ok;
}

int loop_uring_new(struct loop *l, void **out)
{
	struct uring *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return -ENOMEM;
	rc = make_ring(&u->ring);
	if (!rc && !has_operations(&u->ring)) {
		io_uring_queue_exit(&u->ring);
		rc = -ENOSYS;
	}
	if (rc) {
		free(u);
		return rc;
	}
	u->loop = l;
	list_init(&u->queue);
	*out = u;
	return 0;
}

static void uring_free(void *engine)
{
	struct uring *u = engine;

	io_uring_queue_exit(&u->ring);
	free(u);
}

static void prepare(struct io_uring_sqe *sqe, struct loop_io *io)
{
	switch (io->op) {
	case LOOP_READ:
		io_uring_prep_readv2(sqe, io->fd, io->iov, io->n_iov, io->offset, io->flags);
		break;
	case LOOP_WRITE:
		io_uring_prep_writev2(sqe, io->fd, io->iov, io->n_iov, io->offset, io->flags);
		break;
	case LOOP_SYNC:
		io_uring_prep_fsync(sqe, io->fd, IORING_FSYNC_DATASYNC);
		break;
	case LOOP_FALLOCATE:
		io_uring_prep_fallocate(sqe, io->fd, io->flags, (off_t)io->offset, (off_t)io->len);
		break;
	}
	io_uring_sqe_set_data(sqe, io);
}

static bool into_ring(struct uring *u, struct loop_io *io)
{
	struct io_uring_sqe *sqe;

	/* What the completion queue has room for, less one for the event. */
	if (u->in_ring >= TUNE_BLOCK_RING * 2 - 1)
		return false;
	sqe = io_uring_get_sqe(&u->ring);
	if (!sqe) {
		io_uring_submit(&u->ring);
		sqe = io_uring_get_sqe(&u->ring);
	}
	if (!sqe)
		return false;
	prepare(sqe, io);
	u->in_ring++;
	return true;
}

static void uring_submit(void *engine, struct loop_io *io)
{
	struct uring *u = engine;

	if (!list_empty(&u->queue) || !into_ring(u, io))
		list_add_tail(&u->queue, &io->node);
}

static void fill_ring(struct uring *u)
{
	while (!list_empty(&u->queue)) {
		struct loop_io *io = list_entry(u->queue.next, struct loop_io, node);
		struct list *node = &io->node;

		list_del(node);
		if (!into_ring(u, io)) {
			list_add_before(u->queue.next, node);
			return;
		}
	}
}

static void arm_event(struct uring *u)
{
	struct io_uring_sqe *sqe = u->event_armed ? NULL : io_uring_get_sqe(&u->ring);

	if (!sqe)
		return;
	io_uring_prep_read(sqe, u->loop->event_fd, &u->event_value, sizeof(u->event_value), 0);
	io_uring_sqe_set_data(sqe, u);
	u->event_armed = true;
}

static void reap(struct uring *u)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&u->ring, head, cqe) {
		void *data = io_uring_cqe_get_data(cqe);

		n++;
		if (data == u) {
			u->event_armed = false;
		} else if (data) {
			u->in_ring--;
			loop_finish(u->loop, data, cqe->res);
		}
	}
	io_uring_cq_advance(&u->ring, n);
}

static void uring_wait(void *engine, uint64_t timeout_ns)
{
	struct uring *u = engine;
	struct io_uring_cqe *cqe;
	struct __kernel_timespec ts = {
		.tv_sec = (long long)(timeout_ns / 1000000000u), .tv_nsec = (long long)(timeout_ns % 1000000000u)
	};

	fill_ring(u);
	arm_event(u);
	if (io_uring_cq_ready(&u->ring))
		timeout_ns = 0;
	/* An interrupted wait is just a short one. */
	if (!timeout_ns)
		io_uring_submit_and_get_events(&u->ring);
	else if (timeout_ns == UINT64_MAX)
		io_uring_submit_and_wait(&u->ring, 1);
	else
		io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
	reap(u);
}

const struct loop_engine loop_uring_engine = {
	.name = "io_uring",
	.submit = uring_submit,
	.wait = uring_wait,
	.free = uring_free,
};
