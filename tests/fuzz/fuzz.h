/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What fuzzers have in common: their options, the clock, random numbers. */
#ifndef DOPPEL_TESTS_FUZZ_FUZZ_H
#define DOPPEL_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --seconds N, --iterations N, --seed S: it ends at whichever comes first. */
struct fuzz_options {
	double seconds;
	uint64_t iterations, seed; /* the seed is never 0 */
};

static inline double fuzz_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline struct fuzz_options fuzz_parse(int argc, char **argv, double seconds, uint64_t seed)
{
	struct fuzz_options o = { seconds, UINT64_MAX, seed };

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seconds"))
			o.seconds = strtod(argv[i + 1], NULL);
		else if (!strcmp(argv[i], "--iterations"))
			o.iterations = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			o.seed = strtoull(argv[i + 1], NULL, 0);
	}
	if (!o.seed)
		o.seed = seed;
	return o;
}

/* Whether one more is due after n of them. Time is not up before there were enough for what all of them show together: the machine may be slow. */
#define FUZZ_LEAST 400

static inline bool fuzz_goes_on(const struct fuzz_options *o, double start, uint64_t n)
{
	return n < o->iterations && (n < FUZZ_LEAST || fuzz_now() - start < o->seconds);
}

/* The next random number (xorshift64*); state is not 0. */
static inline uint64_t fuzz_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

/* One in [0, n), 0 for n = 0. */
static inline uint64_t fuzz_below(uint64_t *state, uint64_t n)
{
	return n ? fuzz_random(state) % n : 0;
}

#endif
