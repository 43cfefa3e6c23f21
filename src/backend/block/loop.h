/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop of one disk: asynchronous file operations, watched descriptors, deferred calls, a deadline. */
#ifndef DOPPEL_BACKEND_BLOCK_LOOP_H
#define DOPPEL_BACKEND_BLOCK_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/err.h"
#include "base/list.h"

/*
 * One thread at a time runs a loop, and everything but loop_wake() belongs to that thread. File operations go
 * to io_uring where the kernel allows it, else to a pool of threads; DOPPEL_BLOCK_ENGINE=threads in the
 * environment asks for the pool.
 */
struct loop;

enum loop_op { LOOP_READ, LOOP_WRITE, LOOP_SYNC, LOOP_FALLOCATE };

/* One file operation; the caller's memory until done(). */
struct loop_io {
	enum loop_op op;
	int fd;
	int flags;                /* LOOP_WRITE: RWF_*; LOOP_FALLOCATE: its mode */
	uint64_t offset, len;     /* len: LOOP_FALLOCATE only */
	const struct iovec *iov;  /* at most IOV_MAX of them */
	unsigned n_iov;
	/* On the loop's thread, never from inside loop_submit(): bytes or -errno. May submit. */
	void (*done)(struct loop_io *io, int64_t rc);
	int64_t rc;               /* the loop's */
	struct list node;         /* the loop's */
};

/* A call that is to be made from the loop itself. */
struct loop_work {
	void (*fn)(struct loop_work *w);
	struct list node;
};

/* A descriptor that is waited for by poll(2). */
struct loop_watch {
	int fd;
	short (*events)(struct loop_watch *w);            /* asked before each sleep: POLLIN, POLLOUT */
	void (*ready)(struct loop_watch *w, short events);
	struct list node;
};

int loop_new(struct loop **out, struct err *e);
void loop_free(struct loop *l); /* nothing may be under way */

/* Keep file operations in a thread pool; before the first of them. Loops with watches need it. */
void loop_use_pool(struct loop *l);

void loop_submit(struct loop *l, struct loop_io *io);
void loop_defer(struct loop *l, struct loop_work *w);
void loop_watch(struct loop *l, struct loop_watch *w);
void loop_unwatch(struct loop_watch *w);

/*
 * Run what is ready; when nothing is, sleep for at most timeout_ns (0: don't; UINT64_MAX: for ever) until
 * something is or loop_wake() is called.
 */
void loop_step(struct loop *l, uint64_t timeout_ns);

/*
 * From any thread: end the sleep of the step under way or, when it comes after loop_announce_sleep(), of the next one.
 * Cheap when the loop does not sleep. Between announcing and stepping the caller looks once more for work from outside.
 */
void loop_wake(struct loop *l);
void loop_announce_sleep(struct loop *l);

/* File operations under way. */
unsigned loop_busy(const struct loop *l);

/* "io_uring" or "threads". */
const char *loop_engine_name(const struct loop *l);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t loop_now(void);

#endif
