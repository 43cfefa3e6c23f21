/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs whose time goes into reading and writing memory: hash table, pointer chases, quicksort, libc. */
#include <stdlib.h>
#include <string.h>

#include "programs.h"
#include "span.h"

/* -- Hash table with open addressing -------------------------------------------------------------------------- */

#define TABLE_BITS   18
#define TABLE_SIZE   (1u << TABLE_BITS)
#define HASH_ROUNDS  14
#define TOMBSTONE    UINT64_MAX

struct place {
	uint64_t key, value;
};

static struct place *table;

void hash_setup(void)
{
	table = calloc(TABLE_SIZE, sizeof(*table));
	if (!table)
		fail("hash");
	memset(table, 1, TABLE_SIZE * sizeof(*table)); /* touches its pages */
}

/* The place of key, or the empty one where it belongs. */
static struct place *find(uint64_t key)
{
	uint64_t at = key * 0x9e3779b97f4a7c15u >> (64 - TABLE_BITS);

	while (table[at].key && table[at].key != key)
		at = (at + 1) % TABLE_SIZE;
	return &table[at];
}

static uint64_t hash_round(uint64_t seed)
{
	uint64_t s = seed, sum = 0;

	memset(table, 0, TABLE_SIZE * sizeof(*table));
	for (unsigned n = 0; n < TABLE_SIZE / 2; n++) {
		uint64_t key = next_random(&s) >> 40 | 1;
		struct place *p = find(key);

		p->key = key;
		p->value += n;
	}
	s = seed;
	for (unsigned n = 0; n < TABLE_SIZE / 2; n++) {
		struct place *p = find(next_random(&s) >> 40 | 1);

		sum += p->value;
		if (n % 3 == 0)
			p->key = TOMBSTONE;
	}
	for (unsigned n = 0; n < TABLE_SIZE / 2; n++)
		sum ^= find(next_random(&s) >> 40 | 1)->value;
	return sum;
}

uint64_t hash_run(void)
{
	uint64_t sum = 0;

	for (unsigned n = 1; n <= HASH_ROUNDS; n++)
		sum = sum * 31 + hash_round(n * 12345);
	return sum;
}

/* -- Pointer chase --------------------------------------------------------------------------------------------- */

#define LINE        64
#define STEPS_L1    50000000
#define STEPS_L2    20000000

struct line {
	struct line *next;
	char pad[LINE - sizeof(struct line *)];
};

static struct line *ring;

/* One ring through all lines, in an order that no prefetcher knows (Sattolo's shuffle). */
static void make_ring(unsigned size)
{
	unsigned lines = size / LINE;
	unsigned *order = malloc(lines * sizeof(*order));
	uint64_t s = 42;

	ring = aligned_alloc(4096, size);
	if (!ring || !order)
		fail("chase");
	for (unsigned n = 0; n < lines; n++)
		order[n] = n;
	for (unsigned n = lines - 1; n > 0; n--) {
		unsigned other = (unsigned)(next_random(&s) % n), old = order[n];

		order[n] = order[other];
		order[other] = old;
	}
	for (unsigned n = 0; n < lines; n++)
		ring[n].next = &ring[order[n]];
	free(order);
}

static uint64_t chase(unsigned steps)
{
	struct line *p = ring;

	while (steps--)
		p = p->next;
	return (uint64_t)(p - ring);
}

void chase_l1_setup(void)
{
	make_ring(16 << 10);
}

uint64_t chase_l1_run(void)
{
	return chase(STEPS_L1);
}

void chase_l2_setup(void)
{
	make_ring(256 << 10);
}

uint64_t chase_l2_run(void)
{
	return chase(STEPS_L2);
}

/* -- Quicksort --------------------------------------------------------------------------------------------------- */

#define NUMBERS 1200000

static uint32_t *number;

void quicksort_setup(void)
{
	uint64_t s = 7;

	number = malloc(NUMBERS * sizeof(*number));
	if (!number)
		fail("quicksort");
	for (unsigned n = 0; n < NUMBERS; n++)
		number[n] = (uint32_t)next_random(&s);
}

static void sort(uint32_t *a, long low, long high)
{
	while (low < high) {
		uint32_t pivot = a[low + (high - low) / 2];
		long i = low, j = high;

		while (i <= j) {
			while (a[i] < pivot)
				i++;
			while (a[j] > pivot)
				j--;
			if (i <= j) {
				uint32_t old = a[i];

				a[i++] = a[j];
				a[j--] = old;
			}
		}
		sort(a, low, j);
		low = i;
	}
}

uint64_t quicksort_run(void)
{
	uint64_t sum = 0;

	sort(number, 0, NUMBERS - 1);
	for (unsigned n = 0; n < NUMBERS; n++)
		sum = sum * 31 + number[n];
	return sum;
}

/* -- The C library's string and memory functions ------------------------------------------------------------------- */

#define STRMEM_ROUNDS 24000
#define BIG           65536

static char *from, *to;
static void *(*volatile do_memcpy)(void *, const void *, size_t) = memcpy;
static size_t (*volatile do_strlen)(const char *) = strlen;

void strmem_setup(void)
{
	uint64_t s = 99;

	from = malloc(BIG + 1);
	to = malloc(BIG + 1);
	if (!from || !to)
		fail("strmem");
	for (unsigned n = 0; n < BIG; n++)
		from[n] = (char)('a' + next_random(&s) % 25);
	from[BIG] = 0;
	memset(to, 0, BIG + 1);
}

/* All sizes: most are short, as in real programs, some are not. */
static uint64_t strmem_round(uint64_t *s)
{
	uint64_t sum = 0;

	for (unsigned n = 0; n < 60; n++) {
		uint64_t r = next_random(s);
		unsigned size = (unsigned)(r >> 8 & 127) << (r & 7 ? 0 : 4), at = (unsigned)(r >> 32) % (BIG - 4096);
		char old = from[at + size];

		do_memcpy(to + (at & 1023), from + at, size);
		sum += (uint64_t)(memcmp(to + (at & 1023), from + at, size) != 0);
		from[at + size] = 0;
		sum += do_strlen(from + at);
		sum += (uint64_t)(strchr(from + at, 'z') != NULL) + (uint64_t)(strcmp(to + (at & 1023), from + at) > 0);
		from[at + size] = old;
		memset(to + (at & 1023), (int)(r & 31), size / 2);
		memmove(to + (at & 1023) + 3, to + (at & 1023), size);
	}
	return sum + (uint64_t)(memchr(from, 'z', 4096) != NULL);
}

uint64_t strmem_run(void)
{
	uint64_t s = 5, sum = 0;

	for (unsigned n = 0; n < STRMEM_ROUNDS; n++) {
		sum += strmem_round(&s);
		if (n % 32 == 0) {
			do_memcpy(to, from, BIG);
			sum += (uint64_t)(unsigned char)to[n] + do_strlen(from);
		}
	}
	return fnv(sum, to, BIG);
}
