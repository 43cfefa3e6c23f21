/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest RAM: the mapping, hostile ranges, the flags between writers, code caches and dirty log. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/bits.h"
#include "mem/ram.h"
#include "mem/slot.h"

#define HIGH (4 * GiB)

static struct ram *make(uint64_t size)
{
	struct ram *r = NULL;
	struct err e;

	if (ram_new(&r, size, &e))
		fail_msg("%s", e.msg);
	return r;
}

static void test_sizes(void **state)
{
	static const uint64_t bad[] = {
		0, 1, 4096, MiB - 4096, MiB + 1, MiB + 2048, RAM_MAX_SIZE + 4096, UINT64_MAX, ~0xfffull
	};
	struct ram *r = NULL;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		e.msg[0] = '\0';
		assert_int_equal(ram_new(&r, bad[i], &e), -EINVAL);
		assert_null(r);
		assert_non_null(strstr(e.msg, "multiple of 4 KiB"));
	}
	r = make(MiB);
	assert_int_equal(ram_size(r), MiB);
	assert_int_equal(r->high_size, 0);
	assert_int_equal(r->end, MiB);
	ram_free(r);
	ram_free(NULL);
}

static void test_sparse_64g(void **state)
{
	struct ram *r = make(64 * GiB);
	uint64_t top = HIGH + 61 * GiB, seen = 0;
	struct stat st;

	assert_true(r->low_size == 3 * GiB && r->high_size == 61 * GiB && r->end == top);
	assert_int_equal(r->base[0], 0);
	r->base[0] = 1;
	r->base[3 * GiB - 1] = 2;
	r->base[HIGH] = 3;
	r->base[top - 1] = 4;
	ram_note_write(r, top - 8, 8);
	/* In the file the two parts follow each other. */
	assert_true(ram_file_offset(r, HIGH) == 3 * GiB);
	assert_int_equal(pread(r->memfd, &seen, 2, (off_t)(3 * GiB - 1)), 2);
	assert_int_equal(seen, 0x302);
	assert_int_equal(pread(r->memfd, &seen, 1, (off_t)ram_file_offset(r, top - 1)), 1);
	assert_int_equal(seen & 0xff, 4);
	assert_int_equal(fstat(r->memfd, &st), 0);
	assert_true(st.st_size == (off_t)(64 * GiB + RAM_SLOT_SPACE));
	assert_true(st.st_blocks * 512 <= (off_t)(16 * MiB)); /* four pages, be they huge */
	ram_free(r);
}

static void test_slots(void **state)
{
	struct ram *r = make(2 * MiB);
	struct ram_slot *rom, *vram, *none;
	struct err e = { "" };
	uint64_t at = 4 * GiB - 256 * KiB;
	uint8_t seen = 0;
	uint32_t version;

	assert_int_equal(ram_slot_new(&rom, r, 256 * KiB, &e), 0);
	assert_int_equal(ram_slot_new(&vram, r, 16 * MiB, &e), 0);
	assert_int_equal(ram_slot_new(&none, r, RAM_SLOT_SPACE, &e), -ENOSPC);
	ram_slot_host(rom)[5] = 0x55;
	assert_false(ram_backed(r, at, 1));
	assert_int_equal(ram_slot_show(rom, at), 0);
	assert_true(ram_backed(r, at, 256 * KiB) && !ram_backed(r, at, 256 * KiB + 1) && !ram_backed(r, at - 1, 2));
	assert_false(ram_contains(r, at, 1));
	assert_int_equal(r->base[at + 5], 0x55);
	assert_int_equal(pread(r->memfd, &seen, 1, (off_t)ram_file_offset(r, at + 5)), 1);
	assert_int_equal(seen, 0x55);
	/* Where it can't be. */
	assert_int_equal(ram_slot_show(vram, r->low_size - PAGE_SIZE), -EINVAL);
	assert_int_equal(ram_slot_show(vram, 0xe0000800), -EINVAL);
	assert_int_equal(ram_slot_show(vram, 4 * GiB - PAGE_SIZE), -EINVAL);
	assert_int_equal(ram_slot_show(vram, 4 * GiB - 16 * MiB), -EBUSY);
	assert_true(ram_slot_where(vram) == RAM_SLOT_NOWHERE);
	/* It moves, and who held code of it hears. */
	assert_int_equal(ram_slot_show(vram, 0xe0000000), 0);
	r->base[0xe0000000] = 7;
	version = ram_mark_code(r, 0xe0000000, PAGE_SIZE);
	assert_int_equal(ram_slot_show(vram, 0xd0000000), 0);
	assert_int_not_equal(r->version[0xe0000000 >> PAGE_SHIFT], version);
	assert_false(ram_backed(r, 0xe0000000, 1));
	assert_int_equal(r->base[0xd0000000], 7);
	assert_int_equal(ram_slot_host(vram)[0], 7);
	assert_int_equal(ram_slot_show(vram, RAM_SLOT_NOWHERE), 0);
	assert_false(ram_backed(r, 0xd0000000, 1));
	ram_free(r);
}

static void test_sealed(void **state)
{
	struct ram *r = make(2 * MiB);

	assert_int_equal(ftruncate(r->memfd, 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(r->memfd, (off_t)(GiB)), -1);
	assert_true(fcntl(r->memfd, F_GETFD) & FD_CLOEXEC);
	ram_free(r);
}

/* Whether a read of this byte kills a child. */
static bool faults(const uint8_t *p)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		_exit(*(const volatile uint8_t *)p & 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void test_hole(void **state)
{
	struct ram *r = make(3 * GiB + MiB);

	assert_false(faults(r->base + 3 * GiB - 1));
	assert_true(faults(r->base + 3 * GiB));
	assert_true(faults(r->base + HIGH - 1));
	assert_false(faults(r->base + HIGH));
	assert_false(faults(r->base + HIGH + MiB - 1));
	assert_true(faults(r->base + HIGH + MiB));
	ram_free(r);
}

static void test_contains(void **state)
{
	static const struct {
		uint64_t gpa, len;
		bool small, big; /* 2 MiB; 3 GiB + 1 MiB */
	} t[] = {
		{ 0, 0, true, true },
		{ 0, 2 * MiB, true, true },
		{ 0, 2 * MiB + 1, false, true },
		{ 2 * MiB - 1, 1, true, true },
		{ 2 * MiB - 1, 2, false, true },
		{ 2 * MiB, 0, false, true },
		{ 1, UINT64_MAX, false, false },
		{ 1, UINT64_MAX - 1, false, false },
		{ UINT64_MAX, 1, false, false },
		{ UINT64_MAX, UINT64_MAX, false, false },
		{ 3 * GiB - 8, 8, false, true },
		{ 3 * GiB - 8, 9, false, false },
		{ 3 * GiB, 0, false, false },
		{ 3 * GiB - 1, GiB + 2, false, false }, /* from RAM to RAM, over the hole */
		{ HIGH - 1, 2, false, false },
		{ HIGH, MiB, false, true },
		{ HIGH, MiB + 1, false, false },
		{ HIGH + MiB - 1, 1, false, true },
		{ HIGH + MiB, 0, false, false },
		{ HIGH, UINT64_MAX - HIGH + 1, false, false },
		{ HIGH, UINT64_MAX, false, false },
		{ 1ull << 52, 1, false, false },
	};
	struct ram *small = make(2 * MiB), *big = make(3 * GiB + MiB);

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		if (ram_contains(small, t[i].gpa, t[i].len) != t[i].small)
			fail_msg("small: line %zu", i);
		if (ram_contains(big, t[i].gpa, t[i].len) != t[i].big)
			fail_msg("big: line %zu", i);
	}
	ram_free(small);
	ram_free(big);
}

/* -- Code pages --------------------------------------------------------------------------------- */

static struct {
	unsigned n;
	uint64_t gpa, len;
} heard;

static void listen(void *opaque, uint64_t gpa, uint64_t len)
{
	assert_ptr_equal(opaque, &heard);
	heard.n++;
	heard.gpa = gpa;
	heard.len = len;
}

static void test_code(void **state)
{
	struct ram *r = make(2 * MiB);
	uint32_t v0, v1;

	ram_set_listener(r, listen, &heard);
	v0 = ram_mark_code(r, 0x5123, PAGE_SIZE);
	assert_int_equal(ram_mark_code(r, 0x5000, PAGE_SIZE), v0); /* marking twice changes nothing */
	assert_true(r->flags[5] & RAM_PAGE_CODE);
	/* Neighbours do not matter. */
	ram_note_write(r, 0x4ff8, 8);
	ram_note_write(r, 0x6000, 8);
	assert_int_equal(heard.n, 0);
	assert_int_equal(r->version[5], v0);
	ram_note_write(r, 0x5fff, 1);
	assert_int_equal(heard.n, 2); /* before the flag is cleared, and behind it */
	assert_true(heard.gpa == 0x5fff && heard.len == 1);
	assert_true(r->version[5] != v0);
	assert_int_equal(r->flags[5], 0);
	/* Told once; whoever caches again must mark again. */
	v1 = r->version[5];
	ram_note_write(r, 0x5000, 8);
	assert_int_equal(heard.n, 2);
	assert_int_equal(r->version[5], v1);
	/* A write that only ends in the page; two marked pages are one call more. */
	assert_int_equal(ram_mark_code(r, 0x5000, PAGE_SIZE), v1);
	ram_mark_code(r, 0x4000, PAGE_SIZE);
	ram_note_write(r, 0x4ffc, 8);
	assert_true(r->version[5] != v1 && !r->flags[4] && !r->flags[5]);
	assert_int_equal(heard.n, 5);
	ram_free(r);
}

/* Only writes to pieces that hold code count; the flag stays with them. */
static void test_code_pieces(void **state)
{
	struct ram *r = make(2 * MiB);
	uint32_t v0;

	heard.n = 0;
	ram_set_listener(r, listen, &heard);
	v0 = ram_mark_code(r, 0x5040, 15);
	assert_int_equal(ram_mark_code(r, 0x5ffe, 15), v0);
	ram_note_write(r, 0x5000, 64);
	ram_note_write(r, 0x5080, 0x5fc0 - 0x5080);
	assert_int_equal(heard.n, 0);
	assert_int_equal(r->version[5], v0);
	assert_true(r->flags[5] & RAM_PAGE_CODE);
	assert_false(r->flags[6] & RAM_PAGE_CODE);
	ram_note_write(r, 0x503f, 2);
	assert_int_equal(heard.n, 2);
	assert_true(r->version[5] != v0 && !r->flags[5]);
	v0 = ram_mark_code(r, 0x5040, 15);
	ram_note_write(r, 0x5fc0, 1); /* not any more */
	assert_int_equal(r->version[5], v0);
	ram_mark_code(r, 0x5ffe, 15);
	ram_note_write(r, 0x4000, 0x2000);
	assert_int_equal(heard.n, 4);
	assert_true(r->version[5] != v0);
	ram_free(r);
}

/*
 * In each round a writer stores the round's number into a page while two threads mark and cache it.
 * When the writer is done, who still finds its version must have cached the new number.
 */
#define ROUNDS 3000

static struct race {
	struct ram *r;
	pthread_barrier_t round;
	_Atomic unsigned stale;
} race;

static void *cacher(void *arg)
{
	uint32_t *word = (uint32_t *)(void *)(race.r->base + 0x7000);

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		uint32_t version, cached;

		pthread_barrier_wait(&race.round);
		version = ram_mark_code(race.r, 0x7000, PAGE_SIZE);
		cached = __atomic_load_n(word, __ATOMIC_RELAXED);
		pthread_barrier_wait(&race.round);
		if (atomic_load(&race.r->version[7]) == version && cached != i)
			race.stale++;
		pthread_barrier_wait(&race.round);
	}
	return NULL;
}

static void test_code_race(void **state)
{
	struct ram *r = race.r = make(2 * MiB);
	uint32_t *word = (uint32_t *)(void *)(r->base + 0x7000);
	pthread_t t[2];

	pthread_barrier_init(&race.round, NULL, 3);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, cacher, NULL), 0);
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		uint32_t v = r->version[7];
		/* Pieces that a writer's last step took away belong to code that is stale already. */
		bool marked = r->flags[7] && r->granules[7];

		pthread_barrier_wait(&race.round);
		__atomic_store_n(word, i, __ATOMIC_RELAXED);
		ram_note_write(r, 0x7000, 4);
		/* Requirement 2 of ram.c: marked before the store, so moved by now. */
		if (marked && r->version[7] == v)
			race.stale++;
		pthread_barrier_wait(&race.round);
		pthread_barrier_wait(&race.round);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(race.stale, 0);
	pthread_barrier_destroy(&race.round);
	ram_free(r);
}

/* -- Dirty log ------------------------------------------------------------------------------------ */

static bool bit(const uint8_t *map, uint64_t gpa)
{
	uint64_t page = gpa >> PAGE_SHIFT;

	return map[page / 8] >> page % 8 & 1;
}

static unsigned bits_set(const uint8_t *map, uint64_t bytes)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < bytes; i++)
		n += (unsigned)__builtin_popcount(map[i]);
	return n;
}

static void test_dirty(void **state)
{
	struct ram *r = make(3 * GiB + 5 * MiB + 4096);
	uint64_t bytes = ram_bitmap_bytes(r);
	uint8_t *map = malloc(bytes);

	assert_non_null(map);
	assert_true(bytes * 8 >= r->end >> PAGE_SHIFT && bytes % 8 == 0);
	ram_note_write(r, 0x1000, 1); /* before the start: not seen */
	ram_dirty_fetch(r, map);
	assert_int_equal(bits_set(map, bytes), 0);
	assert_int_equal(ram_dirty_start(r, NULL), 0);
	assert_int_equal(ram_dirty_start(r, NULL), -EALREADY);
	ram_dirty_fetch(r, map);
	assert_int_equal(bits_set(map, bytes), 0);
	assert_int_equal(r->flags[RAM_HOLE_START >> PAGE_SHIFT], 0);

	ram_note_write(r, 0x2000, 1);
	ram_note_write(r, 0x2008, 8);
	ram_note_write(r, 0x4fff, 2);
	ram_note_write(r, 3 * GiB - 1, 1);
	ram_note_write(r, HIGH, 4);
	ram_note_write(r, r->end - 4, 4);
	ram_dirty_fetch(r, map);
	assert_int_equal(bits_set(map, bytes), 6);
	assert_true(bit(map, 0x2000) && bit(map, 0x4000) && bit(map, 0x5000) && bit(map, 3 * GiB - 1) &&
		    bit(map, HIGH) && bit(map, r->end - 1));
	ram_dirty_fetch(r, map);
	assert_int_equal(bits_set(map, bytes), 0);
	/* Fetched pages count again. */
	ram_note_write(r, HIGH + 8, 4);
	ram_dirty_fetch(r, map);
	assert_true(bits_set(map, bytes) == 1 && bit(map, HIGH));
	/* The two uses of the flags do not disturb each other. */
	ram_mark_code(r, 0x9000, PAGE_SIZE);
	ram_dirty_stop(r);
	assert_int_equal(r->flags[9], RAM_PAGE_CODE);
	assert_int_equal(r->flags[0], 0);
	assert_int_equal(ram_dirty_start(r, NULL), 0);
	ram_note_write(r, 0x9000, 1);
	assert_int_equal(r->flags[9], 0);
	ram_dirty_fetch(r, map);
	assert_true(bits_set(map, bytes) == 1 && bit(map, 0x9000));
	free(map);
	ram_free(r);
}

/* Writers fill pages while a copy is kept by the log, as migration does; at the end it must be equal. */
#define LOG_PAGES  70
#define LOG_WRITES 60000

static _Atomic unsigned writing;

static void *scribble(void *arg)
{
	struct ram *r = arg;
	uint32_t seed = (uint32_t)(uintptr_t)&seed | 1;

	for (uint32_t i = 0; i < LOG_WRITES; i++) {
		uint64_t gpa;

		seed = seed * 1664525 + 1013904223;
		gpa = (uint64_t)(seed >> 16) % LOG_PAGES * PAGE_SIZE + (seed >> 8 & 0x7f) * 8;
		__atomic_store_n((uint64_t *)(void *)(r->base + gpa), (uint64_t)seed << 32 | i,
				 __ATOMIC_RELAXED);
		ram_note_write(r, gpa, 8);
	}
	writing--;
	return NULL;
}

static void copy_dirty(struct ram *r, uint8_t *map, uint64_t *copy)
{
	ram_dirty_fetch(r, map);
	for (uint64_t w = 0; w < LOG_PAGES * PAGE_SIZE / 8; w++)
		if (bit(map, w * 8))
			copy[w] = __atomic_load_n((uint64_t *)(void *)r->base + w, __ATOMIC_RELAXED);
}

static void test_dirty_race(void **state)
{
	struct ram *r = make(2 * MiB);
	static uint8_t map[4 * GiB / PAGE_SIZE / 8];
	uint64_t *copy = calloc(LOG_PAGES, PAGE_SIZE);
	pthread_t t[2];

	assert_non_null(copy);
	assert_int_equal(ram_bitmap_bytes(r), sizeof(map));
	assert_int_equal(ram_dirty_start(r, NULL), 0);
	writing = 2;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, scribble, r), 0);
	while (writing) {
		copy_dirty(r, map, copy);
		sched_yield();
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	copy_dirty(r, map, copy);
	assert_memory_equal(copy, r->base, LOG_PAGES * PAGE_SIZE);
	free(copy);
	ram_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes), cmocka_unit_test(test_sparse_64g),
		cmocka_unit_test(test_slots), cmocka_unit_test(test_sealed), cmocka_unit_test(test_hole),
		cmocka_unit_test(test_contains), cmocka_unit_test(test_code), cmocka_unit_test(test_code_pieces),
		cmocka_unit_test(test_code_race), cmocka_unit_test(test_dirty),
		cmocka_unit_test(test_dirty_race),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
