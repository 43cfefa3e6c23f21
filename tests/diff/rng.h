/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers, the same for the same seed everywhere: SplitMix64, and how cases draw from it. */
#ifndef DOPPEL_DIFF_RNG_H
#define DOPPEL_DIFF_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rng {
	uint64_t s;
};

static inline uint64_t rng_mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* The stream of one case (or batch): seed and index name it alone. */
static inline struct rng rng_make(uint64_t seed, uint64_t index, uint64_t purpose)
{
	return (struct rng){ rng_mix(rng_mix(seed + 0x9e3779b97f4a7c15ull * (purpose + 1)) ^ rng_mix(index + 1)) };
}

static inline uint64_t rng_next(struct rng *r)
{
	return rng_mix(r->s += 0x9e3779b97f4a7c15ull);
}

/* 0 to n - 1; n up to 2^32. */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}

/* True once in n times. */
static inline bool one_in(struct rng *r, uint32_t n)
{
	return rng_below(r, n) == 0;
}

static inline bool percent(struct rng *r, uint32_t p)
{
	return rng_below(r, 100) < p;
}

static inline void rng_fill(struct rng *r, void *buf, size_t len)
{
	uint8_t *p = buf;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t v = rng_next(r);

		memcpy(p, &v, 8);
	}
	if (len) {
		uint64_t v = rng_next(r);

		memcpy(p, &v, len);
	}
}

#endif
