/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file in memory that remembers every write since the last sync, and can lose power. */
#ifndef TESTS_BLOCK_SIMFILE_H
#define TESTS_BLOCK_SIMFILE_H

#include "backend/block/bfile.h"

struct sim_write {
	uint64_t offset, len;
	uint8_t *data;
};

struct simfile {
	struct bfile base;
	uint8_t *now;         /* as the program sees it */
	uint64_t size, cap;
	uint8_t *stable;      /* as of the last sync */
	uint64_t stable_size;
	struct sim_write *log; /* since then */
	size_t n_log, cap_log;
	uint64_t total;       /* sectors written since the beginning */
};

struct simfile *sim_new(struct loop *l, uint64_t cap);
void sim_free(struct simfile *s); /* for one that is not closed by bfile_close() */

/* Sectors in the log. */
uint64_t sim_pending(const struct simfile *s);

/*
 * What the disk has after the power failed: the stable bytes with the first `sectors` of those since, in the order they
 * were written; with seed != 0 each sector of the rest may have arrived too. A new simfile with nothing pending.
 */
struct simfile *sim_cut(const struct simfile *s, struct loop *l, uint64_t sectors, uint64_t seed);

#endif
