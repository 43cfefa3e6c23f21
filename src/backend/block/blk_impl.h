/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk's inside: what its thread, its opening and its blocking calls share. */
#ifndef DOPPEL_BACKEND_BLOCK_BLK_IMPL_H
#define DOPPEL_BACKEND_BLOCK_BLK_IMPL_H

#include <pthread.h>
#include "backend/block/image.h"
#include "backend/block/throttle.h"
#include "base/lock.h"

/* A call of a tool on the disk's thread. */
struct blk_call_item {
	int (*fn)(struct image *img, void *arg);
	void *arg;
	int rc;
	bool at_once;       /* else when nothing is under way */
	bool over;          /* blk.lock */
	struct list node;
};

struct blk_counter {
	atomic_uint_fast64_t n, bytes, ns, errors;
};

#define BLK_N_OPS (BLK_WRITE_ZEROES + 1)

struct blk {
	struct loop *loop;
	struct image *img;
	char *file;
	bool discard, ephemeral;
	enum blk_cache cache;
	uint32_t block_size;
	pthread_t thread;
	int close_rc;

	struct lock lock;         /* guards down to the blank line */
	pthread_cond_t quiet;     /* outstanding, kept, or an item's over has changed */
	struct list incoming;     /* blk_request */
	struct list calls;        /* blk_call_item */
	unsigned outstanding;     /* requests submitted and not done */
	unsigned n_at_once;       /* of calls: those that don't wait */
	unsigned n_kept;          /* of those: kept for lack of space */
	bool retry, stop;
	unsigned giving_up;       /* callers of blk_give_up() */
	struct blk_events events;
	void *events_opaque;
	const struct blk_space_handlers *space;
	void *space_opaque;

	/* The disk's thread's. */
	struct list waiting;      /* blk_request: the limits don't let them go yet */
	struct list held;         /* blk_request: behind a call */
	struct list kept;         /* struct rq: no space on the host */
	unsigned n_full;          /* requests that have been kept and are not done yet */
	bool full_reported;
	uint64_t retry_ns;        /* when the kept ones are tried again */
	unsigned active;          /* requests that the image has */
	struct list free_rqs;
	struct throttle bps, iops;

	atomic_uint_fast64_t size;
	struct blk_counter count[BLK_N_OPS];
};

/* Start the disk's thread, which first calls open(); end it, which closes the image: what could not be written. */
int blk_start(struct blk *b, int (*open)(struct blk *b, void *arg, struct err *e), void *arg, struct err *e);
int blk_stop(struct blk *b);

#endif
