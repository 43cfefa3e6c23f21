/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs of string elements in host memory, for every engine; no vector register is used. */
#ifndef DOPPEL_CPU_REP_H
#define DOPPEL_CPU_REP_H

#include <stdint.h>

#define REP_MOVS(suffix) __asm__ volatile("rep movs" suffix : "+D"(d), "+S"(s), "+c"(n) : : "memory")
#define REP_STOS(suffix) __asm__ volatile("rep stos" suffix : "+D"(d), "+c"(n) : "a"(a) : "memory")

/* The host's own string instructions have the guest's semantics, overlap included. */
static inline void rep_copy(uint8_t *d, const uint8_t *s, uint64_t n, unsigned size)
{
	switch (size) {
	case 1: REP_MOVS("b"); break;
	case 2: REP_MOVS("w"); break;
	case 4: REP_MOVS("l"); break;
	default: REP_MOVS("q"); break;
	}
}

static inline void rep_fill(uint8_t *d, uint64_t a, uint64_t n, unsigned size)
{
	switch (size) {
	case 1: REP_STOS("b"); break;
	case 2: REP_STOS("w"); break;
	case 4: REP_STOS("l"); break;
	default: REP_STOS("q"); break;
	}
}

#undef REP_MOVS
#undef REP_STOS

#endif
