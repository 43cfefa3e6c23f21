/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random requests on a disk, many at a time, against a model of it in memory. */
#ifndef TESTS_BLOCK_MODEL_H
#define TESTS_BLOCK_MODEL_H

#include <pthread.h>
#include "backend/block/blk.h"

#define MODEL_SECTOR 512

struct model {
	struct blk *b;
	uint64_t size;
	uint8_t *data;     /* what the disk should read as */
	uint8_t *unknown;  /* by sector: discarded, reads as anything */
	uint64_t rng;
	unsigned max_len;  /* bytes of a request */
	bool zeroes, discard, flush;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned n_flying;
};

/* The model begins as zeroes. */
void model_init(struct model *m, struct blk *b, uint64_t size, uint64_t seed);
void model_release(struct model *m);

/* n requests, up to depth at a time, that do not overlap; every read is checked. */
void model_run(struct model *m, unsigned n, unsigned depth);

/* Read everything and compare. */
void model_check(struct model *m);

uint64_t model_rnd(struct model *m);

#endif
