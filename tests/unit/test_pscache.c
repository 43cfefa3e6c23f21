/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The paging-structure cache: its flushes, and that walks by way of it say what walks of memory say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "mmu/tlb.h"

#define P   BIT(0)
#define W   BIT(1)
#define U   BIT(2)
#define A   BIT(5)
#define D   BIT(6)
#define PS  BIT(7)
#define G   BIT(8)
#define XD  BIT(63)

#define GPA_BITS 40
#define RAM_SIZE (16 * MiB)
#define LA       0x00007f1234567000ull
#define KERNEL   0xffff888012345000ull

static struct ram *ram;
static struct space *mem;
static struct x86_state s;
static struct tlb *t; /* has the cache, and flushes it */

static int setup(void **state)
{
	t = malloc(sizeof(*t));
	if (!t || ram_new(&ram, RAM_SIZE, NULL))
		return -1;
	tlb_init(t);
	mem = space_new("memory", 52);
	memset(&s, 0, sizeof(s));
	s.cr0 = CR0_PE | CR0_PG | CR0_WP;
	s.cr4 = CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP;
	s.efer = EFER_LMA | EFER_LME | EFER_NXE;
	s.cr3 = 0x1000;
	return space_add_ram(mem, NULL, "ram", 0, RAM_SIZE, ram, false);
}

static int teardown(void **state)
{
	space_free(mem);
	ram_free(ram);
	free(t);
	return 0;
}

/* -- Tables: level 0 is the root at page 1; those of the others are told apart by `way` ------------------------- */

static uint64_t *entry(unsigned level, unsigned way, uint64_t la)
{
	static const unsigned shift[] = { 39, 30, 21, 12 };
	uint64_t table = level ? 0x2000 + 0x3000 * way + 0x1000 * (level - 1) : 0x1000;

	return (uint64_t *)(void *)(ram->base + table) + (la >> shift[level] & 511);
}

static void map(uint64_t la, unsigned way, uint64_t page, uint64_t bits)
{
	for (unsigned level = 0; level < 3; level++)
		*entry(level, way, la) = (0x2000 + 0x3000 * way + 0x1000 * level) | P | W | U;
	*entry(3, way, la) = page | bits;
}

static uint32_t walk(uint64_t la, uint64_t pcid, enum mmu_access access, enum mmu_mode mode, struct mmu_translation *tr)
{
	return mmu_walk_cached(&t->ps, pcid, &s, mem, GPA_BITS, la, access, mode, tr);
}

static bool cached(uint64_t la, uint64_t pcid)
{
	return pscache_find(&t->ps, la, pcid);
}

/* -- The cache itself --------------------------------------------------------------------------------------------- */

static void fill(uint64_t la, uint64_t pcid, bool global)
{
	const struct pscache_entry e = { .page_shift = 21, .global = global };

	pscache_fill(&t->ps, la, pcid, &e);
}

static void test_flushes(void **state)
{
	assert_false(cached(0, 0));
	fill(LA, 1, false);
	fill(LA + 4 * MiB, 2, false);
	assert_true(cached(LA + 0xfff, 1));
	assert_false(cached(LA, 2));
	assert_false(cached(LA + 2 * MiB, 1));
	/* Of one PCID, whatever the address. */
	tlb_flush_page_pcid(t, 0x1000, 2);
	assert_true(cached(LA, 1));
	assert_false(cached(LA + 4 * MiB, 2));
	tlb_flush_nonglobal(t, 1);
	assert_false(cached(LA, 1));
	fill(LA, 1, false);
	t->pcid = 1;
	tlb_flush_page(t, KERNEL);
	assert_false(cached(LA, 1));
	fill(LA, 1, false);
	tlb_flush_all_nonglobal(t);
	assert_false(cached(LA, 1));
	fill(LA, 1, false);
	tlb_flush_all(t);
	assert_false(cached(LA, 1));
}

/* INVLPG drops a global page whatever PCID it was cached under. */
static void test_global(void **state)
{
	t->pcid = 1;
	fill(KERNEL, 2, true);
	fill(LA, 2, false);
	tlb_flush_page(t, LA); /* the other half: no global entry there */
	assert_true(cached(KERNEL, 2));
	assert_true(cached(LA, 2));
	tlb_flush_page_pcid(t, KERNEL, 1);
	assert_true(cached(KERNEL, 2));
	tlb_flush_page(t, KERNEL);
	assert_false(cached(KERNEL, 2));
}

/* PCIDs that share an epoch, and slots that two addresses share, never hit for each other. */
static void test_no_confusion(void **state)
{
	for (unsigned pcid = 0; pcid < 4096; pcid += 7)
		for (unsigned i = 0; i < 3; i++) {
			uint64_t la = (uint64_t)i << 40 | (uint64_t)pcid << 21;

			fill(la, pcid, false);
			assert_true(cached(la, pcid));
			assert_false(cached(la, (pcid + PSCACHE_EPOCHS) & 4095));
			assert_false(cached(la ^ (uint64_t)PSCACHE_ENTRIES << PSCACHE_SHIFT, pcid));
		}
}

/* -- Walks ---------------------------------------------------------------------------------------------------------- */

static void test_hit(void **state)
{
	struct mmu_translation tr;

	map(LA, 0, 0x300000, P | W | U);
	assert_int_equal(walk(LA + 5, 3, ACCESS_READ, MMU_USER, &tr), 0);
	assert_true(tr.gpa == 0x300005 && tr.page_shift == 12 && !tr.dirty && tr.can_write);
	assert_int_equal(t->ps.stats.hits, 0);
	/* The neighbour's entry is read by the cached table; A and D are set in it. */
	*entry(3, 0, LA + 0x1000) = 0x301000 | P | W | U;
	assert_int_equal(walk(LA + 0x1007, 3, ACCESS_WRITE, MMU_USER, &tr), 0);
	assert_true(tr.gpa == 0x301007 && tr.dirty);
	assert_int_equal(t->ps.stats.hits, 1);
	assert_true((*entry(3, 0, LA + 0x1000) & (A | D)) == (A | D));
	assert_true((*entry(3, 0, LA) & (A | D)) == A);
	/* Another PCID knows nothing of it. */
	assert_int_equal(walk(LA, 4, ACCESS_READ, MMU_USER, &tr), 0);
	assert_int_equal(t->ps.stats.hits, 1);
}

/* More rights need no flush, whatever the level: a fault is always asked of memory. */
static void test_no_spurious_faults(void **state)
{
	struct mmu_translation tr;

	map(LA, 0, 0x300000, P | U | XD);
	*entry(2, 0, LA) &= ~W;
	assert_int_equal(walk(LA, 0, ACCESS_READ, MMU_USER, &tr), 0);
	assert_true(walk(LA, 0, ACCESS_WRITE, MMU_USER, &tr) == (MMU_FAULT | PF_P | PF_W | PF_U));
	*entry(2, 0, LA) |= W;
	*entry(3, 0, LA) |= W;
	assert_int_equal(walk(LA, 0, ACCESS_WRITE, MMU_USER, &tr), 0);
	assert_true(walk(LA, 0, ACCESS_FETCH, MMU_USER, &tr) == (MMU_FAULT | PF_P | PF_U | PF_I));
	*entry(3, 0, LA) &= ~XD;
	assert_int_equal(walk(LA, 0, ACCESS_FETCH, MMU_USER, &tr), 0);
	/* A table that is exchanged is found when the old one has nothing. */
	*entry(3, 0, LA) = 0;
	memset(ram->base + 0x20000, 0, 0x1000);
	((uint64_t *)(void *)(ram->base + 0x20000))[LA >> 12 & 511] = 0x302000 | P | U;
	*entry(2, 0, LA) = 0x20000 | P | W | U;
	assert_int_equal(walk(LA, 0, ACCESS_READ, MMU_USER, &tr), 0);
	assert_true(tr.gpa == 0x302000);
	assert_true(t->ps.stats.stale > 0);
}

/* Random changes, each followed by the flush that the architecture asks for; every walk as memory's. */
static void test_model(void **state)
{
	static const uint64_t base[] = { LA, LA + 2 * MiB, LA + 1024 * MiB, KERNEL };
	static const uint64_t toggles[] = { P, W, U, G, XD, PS, BIT(50) };
	unsigned seed = 7;

	for (unsigned i = 0; i < ARRAY_SIZE(base); i++)
		map(base[i], i, 0x200000 * (i + 1), P | W | U);
	for (unsigned step = 0; step < 200000; step++) {
		struct mmu_translation a = { 0 }, b = { 0 };
		unsigned i, level, mode, access;
		uint64_t la;
		uint32_t fa, fb;

		seed = seed * 1664525 + 1013904223;
		i = seed >> 30;
		level = seed >> 28 & 3;
		mode = (seed >> 20 & 255) % MMU_MODES;
		access = (seed >> 12 & 255) % 3;
		la = base[i] + (seed >> 8 & 0xf);
		if (!(seed >> 16 & 7)) {
			/* Half of the time back to what works; a PDE may become a large page. */
			uint64_t bit = toggles[(seed >> 22 & 63) % ARRAY_SIZE(toggles)];

			if (seed >> 19 & 1)
				map(base[i], i, 0x200000 * (i + 1), P | W | U);
			else if (bit != PS || level == 2)
				*entry(level, i, la) ^= bit;
			t->pcid = i & 1;
			tlb_flush_page(t, la);
			t->pcid = ~i & 1;
			tlb_flush_page(t, la);
		}
		fa = walk(la, i & 1, access, mode, &a);
		fb = mmu_walk(&s, mem, GPA_BITS, la, access, mode, &b);
		if (fa != fb || (!fa && (a.gpa != b.gpa || a.page_shift != b.page_shift || a.global != b.global ||
					 a.dirty != b.dirty || a.can_read != b.can_read || a.can_write != b.can_write ||
					 a.can_fetch != b.can_fetch)))
			fail_msg("step %u, address %u: %x, memory %x", step, i, fa, fb);
	}
	assert_true(t->ps.stats.hits > 10000);
}

static void test_no_paging(void **state)
{
	struct mmu_translation tr;

	s.cr0 = CR0_PE;
	assert_int_equal(walk(0x12345, 0, ACCESS_WRITE, MMU_USER, &tr), 0);
	assert_true(tr.gpa == 0x12345 && tr.can_write);
	assert_int_equal(t->ps.stats.misses, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_flushes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_global, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_confusion, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_spurious_faults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_model, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_paging, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
