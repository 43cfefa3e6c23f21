/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One process of the diff test: generates batches, has them run by the oracle and by the engine, compares. */
#ifndef DOPPEL_DIFF_WORKER_H
#define DOPPEL_DIFF_WORKER_H

#include <stdatomic.h>
#include "compare.h"
#include "gen.h"
#include "native.h"

/* Shared by all workers. */
struct form_count {
	_Atomic uint32_t cases, executed, failures; /* executed: neither #UD nor a fault of the fetch */
};

struct totals {
	_Atomic uint64_t cases, failures, hangs;
	_Atomic uint64_t next_batch;
	_Atomic uint32_t reported;
	_Atomic bool stop;
	_Atomic uint64_t at[64]; /* the case each worker is in, for the post-mortem */
	struct form_count form[]; /* one more than forms: the last is for what has none */
};

struct options {
	uint64_t seed, cases, only_case;
	double seconds;
	unsigned jobs, max_reports;
	bool self, keep_going, strict, verbose, one;
	const char *engine, *cpu;
	const char *classes[8]; /* as given: a case is named by them too */
	unsigned n_classes;
};

struct worker_env {
	const struct options *o;
	const struct generator *gen;
	const struct catalog *catalog;
	struct totals *totals;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	unsigned job;
};

/* Work until cases or time are used up. Returns the exit status of the process: 0, or 1 for trouble. */
int worker_main(const struct worker_env *env);

/* Find out which forms the host does not have: they #UD whatever their operands. */
int worker_probe(struct catalog *cat, const struct generator *gen, struct err *e);

#endif
