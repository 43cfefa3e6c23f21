/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the loop and its two engines for file operations share. */
#ifndef DOPPEL_BACKEND_BLOCK_LOOP_IMPL_H
#define DOPPEL_BACKEND_BLOCK_LOOP_IMPL_H

#include "backend/block/loop.h"

struct loop_engine {
	const char *name;
	void (*submit)(void *engine, struct loop_io *io);
	/* Wait as loop_step() says; finished operations go to loop_finish(). */
	void (*wait)(void *engine, uint64_t timeout_ns);
	void (*free)(void *engine);
};

struct loop {
	const struct loop_engine *engine; /* NULL until the first use */
	void *engine_data;
	bool want_pool;
	int event_fd;          /* written by loop_wake() */
	atomic_bool sleeping;  /* loop_wake() has to write */
	struct list finished;  /* loop_io */
	struct list deferred;  /* loop_work */
	struct list watches;   /* loop_watch */
	unsigned busy;
};

/* -errno when this kernel or its policy has no io_uring for us. */
int loop_uring_new(struct loop *l, void **out);
int loop_pool_new(struct loop *l, void **out);
extern const struct loop_engine loop_uring_engine, loop_pool_engine;

/* On the loop's thread: the operation is over, its done() comes later in this step. */
static inline void loop_finish(struct loop *l, struct loop_io *io, int64_t rc)
{
	io->rc = rc;
	list_add_tail(&l->finished, &io->node);
}

/* Empty the event counter. */
void loop_drain_event(struct loop *l);

#endif
