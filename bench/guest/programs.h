/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user programs of the speed table: each prepares itself, and then runs for a fixed amount of work. */
#ifndef DOPPEL_BENCH_PROGRAMS_H
#define DOPPEL_BENCH_PROGRAMS_H

#include <stddef.h>
#include <stdint.h>

/* name, what its time goes into; each line is void NAME_setup(void) and uint64_t NAME_run(void), a checksum. */
#define PROGRAMS(X)                                                                \
	X(dhry, "records, strings and small procedures, as in Dhrystone")          \
	X(hash, "hash table of 2^18 places: insert, look up, delete")              \
	X(chase_l1, "pointer chase through 16 KiB")                                \
	X(chase_l2, "pointer chase through 256 KiB")                               \
	X(quicksort, "own quicksort of numbers")                                   \
	X(strmem, "the C library's string and memory functions")                   \
	X(matmul, "product of matrices of doubles")                                \
	X(vm, "interpreter of a byte code, a switch in a loop")                    \
	X(sha256, "SHA-256")                                                       \
	X(fib, "recursive calls")                                                  \
	X(objects, "tree of objects: malloc, indirect calls")                      \
	X(nbody, "double precision: planets")                                      \
	X(simd, "vectors as wide as the CPU has them: stencil, integers, bytes")

#define X(name, what) void name##_setup(void); uint64_t name##_run(void);
PROGRAMS(X)
#undef X

#endif
