/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The span that a benchmark program is measured over. The program times it itself, and stops at both
 * ends until bench/run has answered, which reads there how much CPU time the virtual machine has used.
 */
#ifndef DOPPEL_BENCH_SPAN_H
#define DOPPEL_BENCH_SPAN_H

#include <stdint.h>

/* Say that all is prepared, wait for an empty line on standard input, and start the clocks. */
void span_begin(void);

/*
 * Stop the clocks and say so, wait again, then report: the checksum by which runs are compared, and how many
 * operations were timed (0: no such unit).
 */
void span_end(uint64_t checksum, uint64_t operations);

/* Print what went wrong, and end with status 1. */
void fail(const char *what) __attribute__((noreturn));

/* Fowler, Noll and Vo's hash, 64 bits, variant 1a: goes on from h, which is FNV_START at first. */
#define FNV_START 0xcbf29ce484222325u
uint64_t fnv(uint64_t h, const void *data, uint64_t len);

/* A fixed sequence of numbers that look random: the next one of *state, which must not be 0 (xorshift64). */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

#endif
