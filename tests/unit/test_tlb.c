/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The software TLB: what may be cached, and what each kind of flush must and must not drop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "mmu/tlb.h"

static struct tlb *t;
static uint8_t host[2 * 4096]; /* addresses are taken of it, never followed */

static int setup(void **state)
{
	t = malloc(sizeof(*t));
	if (!t)
		return -1;
	memset(t, 0xa5, sizeof(*t));
	tlb_init(t);
	return 0;
}

static int teardown(void **state)
{
	free(t);
	return 0;
}

static const struct mmu_translation all_rights = {
	.gpa = 0x123000, .page_shift = 12, .dirty = true, .can_read = true,
	.can_write = true, .can_fetch = true,
};

static void fill(uint64_t la, unsigned shift, bool global, uint64_t pcid)
{
	struct mmu_translation tr = all_rights;
	uint64_t current = t->pcid;

	tr.page_shift = (uint8_t)shift;
	tr.global = global;
	t->pcid = pcid;
	tlb_fill(t, MMU_KERNEL, la, &tr, host, false);
	t->pcid = current;
}

static bool has(uint64_t la, uint64_t pcid)
{
	uint64_t current = t->pcid;
	bool hit;

	t->pcid = pcid;
	hit = tlb_lookup(t, MMU_KERNEL, ACCESS_READ, la);
	t->pcid = current;
	return hit;
}

static void test_empty(void **state)
{
	for (unsigned m = 0; m < MMU_MODES; m++)
		for (unsigned a = ACCESS_READ; a <= ACCESS_FETCH; a++) {
			assert_null(tlb_lookup(t, m, a, 0));
			assert_null(tlb_lookup(t, m, a, 0xffffffffffffffff));
		}
	tlb_flush_all(t);
	tlb_flush_page(t, 0);
	assert_null(tlb_lookup(t, MMU_USER, ACCESS_READ, 0));
}

static void test_rights(void **state)
{
	/* dirty, read, write, fetch allowed; read-only memory; which accesses hit */
	static const struct {
		bool d, r, w, x, ro, hit[3];
	} c[] = {
		{ 1, 1, 1, 1, 0, { 1, 1, 1 } }, { 0, 1, 1, 1, 0, { 1, 0, 1 } },
		{ 1, 1, 1, 1, 1, { 1, 0, 1 } }, { 1, 1, 0, 1, 0, { 1, 0, 1 } },
		{ 1, 1, 1, 0, 0, { 1, 1, 0 } }, { 1, 0, 0, 1, 0, { 0, 0, 1 } },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		struct mmu_translation tr = all_rights;

		tr.dirty = c[i].d;
		tr.can_read = c[i].r;
		tr.can_write = c[i].w;
		tr.can_fetch = c[i].x;
		tlb_fill(t, MMU_USER, 0x7fff12345678, &tr, host, c[i].ro);
		for (unsigned a = 0; a < 3; a++) {
			void *p = tlb_lookup(t, MMU_USER, a, 0x7fff12345abc);

			if (p != (c[i].hit[a] ? host + 0xabc : NULL))
				fail_msg("line %u, access %u", i, a);
			/* Other modes, other pages, other address spaces miss. */
			assert_null(tlb_lookup(t, MMU_KERNEL, a, 0x7fff12345abc));
			assert_null(tlb_lookup(t, MMU_USER, a, 0x7fff12346abc));
			assert_null(tlb_lookup(t, MMU_USER, a, 0x7fff12345abc + TLB_ENTRIES * 4096ull));
			t->pcid = 5;
			assert_null(tlb_lookup(t, MMU_USER, a, 0x7fff12345abc));
			t->pcid = 0;
		}
	}
	assert_true(tlb_slot(t, MMU_USER, 0x7fff12345678)->gpa == 0x123000);
	assert_int_equal(t->stats.fills, ARRAY_SIZE(c));
}

static void test_not_ram(void **state)
{
	tlb_fill(t, MMU_USER, 0x1000, &all_rights, NULL, false);
	assert_null(tlb_lookup(t, MMU_USER, ACCESS_READ, 0x1000));
	assert_int_equal(t->stats.fills, 0);
}

static void test_address_ends(void **state)
{
	fill(0, 12, false, 0);
	assert_true(has(0xfff, 0));
	fill(0xffffffffffffffff, 12, false, 0xfff);
	assert_true(has(0xfffffffffffff000, 0xfff));
	assert_ptr_equal(tlb_lookup(t, MMU_KERNEL, ACCESS_READ, 0xfff), host + 0xfff);
}

/* Entries: two of PCID 1, one of PCID 2, one global, entered under PCID 1. */
enum { OWN = 0x1000, OWN2 = 0x2000, OTHER = 0x3000, GLOBAL = 0x4000 };

static void four(void)
{
	tlb_flush_all(t);
	fill(OWN, 12, false, 1);
	fill(OWN2, 12, false, 1);
	fill(OTHER, 12, false, 2);
	fill(GLOBAL, 12, true, 1);
	t->pcid = 1;
}

static void expect(bool own, bool own2, bool other, bool global)
{
	assert_int_equal(has(OWN, 1), own);
	assert_int_equal(has(OWN2, 1), own2);
	assert_int_equal(has(OTHER, 2), other);
	assert_int_equal(has(GLOBAL, 1), global);
}

static void test_flushes(void **state)
{
	four();
	expect(1, 1, 1, 1);
	tlb_flush_all(t);
	expect(0, 0, 0, 0);
	four();
	tlb_flush_nonglobal(t, 1);
	expect(0, 0, 1, 1);
	four();
	tlb_flush_nonglobal(t, 2);
	expect(1, 1, 0, 1);
	four();
	tlb_flush_all_nonglobal(t);
	expect(0, 0, 0, 1);
	four();
	tlb_flush_page(t, OWN + 0x123);
	expect(0, 1, 1, 1);
	tlb_flush_page(t, GLOBAL);
	expect(0, 1, 1, 0);
	tlb_flush_page(t, OTHER); /* of another PCID: stays */
	expect(0, 1, 1, 0);
	four();
	t->pcid = 2;
	tlb_flush_page(t, GLOBAL); /* global pages go whatever the PCID */
	tlb_flush_page(t, OWN);
	expect(1, 1, 1, 0);
	four();
	tlb_flush_page_pcid(t, OTHER, 2);
	expect(1, 1, 0, 1);
	tlb_flush_page_pcid(t, GLOBAL, 1);
	tlb_flush_page_pcid(t, OWN2, 2);
	expect(1, 1, 0, 1);
}

/* Every mode's entries go. */
static void test_all_modes(void **state)
{
	for (unsigned m = 0; m < MMU_MODES; m++)
		tlb_fill(t, m, 0x5000, &all_rights, host, false);
	tlb_flush_page(t, 0x5000);
	for (unsigned m = 0; m < MMU_MODES; m++) {
		assert_null(tlb_lookup(t, m, ACCESS_READ, 0x5000));
		tlb_fill(t, m, 0x5000, &all_rights, host, false);
	}
	tlb_flush_nonglobal(t, 0);
	for (unsigned m = 0; m < MMU_MODES; m++)
		assert_null(tlb_lookup(t, m, ACCESS_READ, 0x5000));
}

static void test_large_pages(void **state)
{
	static const unsigned shifts[] = { 21, 22, 30 };

	for (unsigned i = 0; i < ARRAY_SIZE(shifts); i++) {
		uint64_t size = 1ull << shifts[i], base = 0xffff888000000000 + 3 * size;

		tlb_flush_all(t);
		fill(base, shifts[i], false, 0);
		fill(base + size / 2 + 0x1000, shifts[i], false, 0);
		fill(base + size - 0x2000, shifts[i], false, 0);
		fill(base - 0x3000, shifts[i], false, 0);
		fill(base + size + 0x4000, shifts[i], false, 0);
		fill(base + 0x6000, 12, false, 0); /* a small page at that address, from before: may stay */
		/* An address of which nothing was entered, but which is of the same page. */
		tlb_flush_page(t, base + size / 4 + 0x8000);
		assert_false(has(base, 0));
		assert_false(has(base + size / 2 + 0x1000, 0));
		assert_false(has(base + size - 0x2000, 0));
		assert_true(has(base - 0x3000, 0));
		assert_true(has(base + size + 0x4000, 0));
		assert_true(has(base + 0x6000, 0));
		/* The filter still knows of the neighbours. */
		tlb_flush_page(t, base - size);
		tlb_flush_page(t, base + size);
		assert_false(has(base - 0x3000, 0));
		assert_false(has(base + size + 0x4000, 0));
	}
}

/* Random operations against a model without any cleverness. */
struct model {
	uint64_t la, pcid;
	unsigned shift;
	bool global, valid;
};

enum { MODEL = 64 };

static bool model_hit(const struct model *m, uint64_t la, uint64_t pcid, bool globals, bool any_pcid)
{
	if (m->global)
		return globals && (la ^ m->la) >> m->shift == 0;
	return (any_pcid || m->pcid == pcid) && (la ^ m->la) >> m->shift == 0;
}

static void test_model(void **state)
{
	static const unsigned shifts[] = { 12, 12, 12, 21, 22, 30 };
	static struct model m[MODEL];
	unsigned seed = 99;

	memset(m, 0, sizeof(m));
	for (unsigned step = 0; step < 20000; step++) {
		uint64_t la, pcid;
		unsigned i, what;

		seed = seed * 1664525 + 1013904223;
		i = seed >> 8 & (MODEL - 1);
		pcid = seed >> 14 & 3;
		what = seed >> 16 & 15;
		/* Slot i of the TLB, in one of a few pages of all sizes. */
		la = (uint64_t)i << 12 | (uint64_t)(seed >> 20 & 7) << 22 | (uint64_t)(seed >> 23 & 3) << 30;
		if (what < 10) {
			m[i] = (struct model){ la, pcid, shifts[(seed >> 25) % 6], seed >> 31, true };
			fill(la, m[i].shift, m[i].global, pcid);
		} else if (what < 13) {
			t->pcid = pcid;
			tlb_flush_page(t, la);
		} else if (what == 13) {
			tlb_flush_page_pcid(t, la, pcid);
		} else if (what == 14) {
			tlb_flush_nonglobal(t, pcid);
		} else {
			tlb_flush_all_nonglobal(t);
		}
		for (unsigned k = 0; k < MODEL; k++) {
			if (what >= 10 && what < 13)
				m[k].valid &= !model_hit(&m[k], la, pcid, true, false);
			else if (what == 13)
				m[k].valid &= !model_hit(&m[k], la, pcid, false, false);
			else if (what == 14)
				m[k].valid &= m[k].global || m[k].pcid != pcid;
			else if (what == 15)
				m[k].valid &= m[k].global;
			if (has(m[k].la, m[k].pcid) != m[k].valid)
				fail_msg("step %u (%u), entry %u", step, what, k);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rights, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_ram, setup, teardown),
		cmocka_unit_test_setup_teardown(test_address_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flushes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_model, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
