/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page walk against SDM vol. 3, ch. 4: rights and error codes in every mode, at every level and page
 * size against the rules of 4.6.1 and 4.7 written down once more; reserved bits against lists copied from
 * tables 4-4 to 4-20 by hand; A and D; tables in hostile places; tables that others change.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "mmu/walk.h"

#define P   BIT(0)
#define W   BIT(1)
#define U   BIT(2)
#define A   BIT(5)
#define D   BIT(6)
#define PS  BIT(7)
#define G   BIT(8)
#define PAT BIT(12) /* of a large page */
#define XD  BIT(63)

#define GPA_BITS 40
#define RAM_SIZE (16 * MiB)

/* A paging mode and a page size; shifts of the linear address per level, leaf last. */
struct layout {
	const char *name;
	uint64_t cr4, efer;
	unsigned entry_bytes, levels;
	unsigned shift[5];
	uint64_t la, page; /* a linear address, and where its page shall be */
};

#define LONG (EFER_LMA | EFER_LME)
#define LA57 (CR4_PAE | CR4_LA57)
static const struct layout layouts[] = {
	{ "32-bit 4K", CR4_PSE, 0, 4, 2, { 22, 12 }, 0xc1234567, 0x923000 },
	{ "32-bit 4M", CR4_PSE, 0, 4, 1, { 22 }, 0xc1234567, 0x800000 },
	{ "PAE 4K", CR4_PAE, 0, 8, 2, { 21, 12 }, 0xc1234567, 0x2300923000 },
	{ "PAE 2M", CR4_PAE, 0, 8, 1, { 21 }, 0xc1234567, 0x2300a00000 },
	{ "4-level 4K", CR4_PAE, LONG, 8, 4, { 39, 30, 21, 12 }, 0xffff9cd5c1234567, 0x2300923000 },
	{ "4-level 2M", CR4_PAE, LONG, 8, 3, { 39, 30, 21 }, 0xffff9cd5c1234567, 0x2300a00000 },
	{ "4-level 1G", CR4_PAE, LONG, 8, 2, { 39, 30 }, 0x00003cd5c1234567, 0x2340000000 },
	{ "5-level 4K", LA57, LONG, 8, 5, { 48, 39, 30, 21, 12 }, 0xffab9cd5c1234567, 0x2300923000 },
	{ "5-level 2M", LA57, LONG, 8, 4, { 48, 39, 30, 21 }, 0x00ab9cd5c1234567, 0x2300a00000 },
	{ "5-level 1G", LA57, LONG, 8, 3, { 48, 39, 30 }, 0xffab9cd5c1234567, 0x2340000000 },
};

static struct ram *ram;
static struct space *mem;
static struct x86_state s;

static int setup(void **state)
{
	if (ram_new(&ram, RAM_SIZE, NULL))
		return -1;
	mem = space_new("memory", 52);
	return space_add_ram(mem, NULL, "ram", 0, RAM_SIZE, ram, false);
}

static int teardown(void **state)
{
	space_free(mem);
	ram_free(ram);
	return 0;
}

/* -- Tables: the one of level i is the page i + 1 -------------------------------------------- */

static uint64_t table(unsigned level)
{
	return 0x1000 * (level + 1);
}

static uint8_t *entry_ptr(const struct layout *l, unsigned level)
{
	unsigned index_mask = l->entry_bytes == 4 ? 1023 : 511;

	return ram->base + table(level) + (l->la >> l->shift[level] & index_mask) * l->entry_bytes;
}

static uint64_t get(const struct layout *l, unsigned level)
{
	uint64_t v = 0;

	memcpy(&v, entry_ptr(l, level), l->entry_bytes);
	return v;
}

static void set(const struct layout *l, unsigned level, uint64_t val)
{
	memcpy(entry_ptr(l, level), &val, l->entry_bytes);
}

static void add_bits(const struct layout *l, unsigned level, uint64_t bits)
{
	set(l, level, get(l, level) | bits);
}

/* Map l->la to l->page with all rights and A clear, paging on, nothing else in the tables. */
static void map(const struct layout *l)
{
	unsigned leaf = l->levels - 1;

	memset(ram->base, 0, table(5));
	memset(&s, 0, sizeof(s));
	s.cr0 = CR0_PE | CR0_PG;
	s.cr4 = l->cr4;
	s.efer = l->efer;
	s.cr3 = table(0);
	if (l->entry_bytes == 8 && !l->efer) {
		s.cr3 = 0xdead000; /* PAE walks from its PDPTE registers */
		s.pdpte[3] = table(0) | P;
	}
	for (unsigned i = 0; i < leaf; i++)
		set(l, i, table(i + 1) | P | W | U);
	set(l, leaf, l->page | P | W | U | (l->shift[leaf] > 12 ? PS : 0));
}

static uint32_t walk(const struct layout *l, enum mmu_access access, enum mmu_mode mode,
		     struct mmu_translation *tr)
{
	return mmu_walk(&s, mem, GPA_BITS, l->la, access, mode, tr);
}

static uint32_t read_fault(const struct layout *l)
{
	struct mmu_translation tr;

	return walk(l, ACCESS_READ, MMU_KERNEL, &tr);
}

#define FOR_LAYOUTS(l) for (const struct layout *l = layouts; l < layouts + ARRAY_SIZE(layouts); l++)

/* -- Translation ------------------------------------------------------------------------------- */

static void test_translation(void **state)
{
	FOR_LAYOUTS(l) {
		unsigned shift = l->shift[l->levels - 1];
		struct mmu_translation tr;
		uint64_t gpa = 0;

		map(l);
		assert_int_equal(walk(l, ACCESS_READ, MMU_USER, &tr), 0);
		if (tr.gpa != (l->page | (l->la & (BIT(shift) - 1))))
			fail_msg("%s: %llx", l->name, (unsigned long long)tr.gpa);
		assert_int_equal(tr.page_shift, shift);
		assert_false(tr.global);
		assert_true(mmu_translate_debug(&s, mem, GPA_BITS, l->la, &gpa));
		assert_true(gpa == tr.gpa);
		/* The address next to it has no translation, however large the page is. */
		assert_int_equal(
			mmu_walk(&s, mem, GPA_BITS, l->la + BIT(shift), ACCESS_READ, MMU_KERNEL, &tr),
			MMU_FAULT);
		assert_false(mmu_translate_debug(&s, mem, GPA_BITS, l->la + BIT(shift), &gpa));
	}
}

static void test_paging_off(void **state)
{
	struct mmu_translation tr;
	uint64_t gpa;

	memset(&s, 0, sizeof(s));
	for (unsigned mode = 0; mode < MMU_MODES; mode++) {
		assert_int_equal(mmu_walk(&s, mem, GPA_BITS, 0xfedc1234, ACCESS_WRITE, mode, &tr), 0);
		assert_true(tr.gpa == 0xfedc1234 && tr.page_shift == 12 && !tr.global && tr.dirty);
		assert_true(tr.can_read && tr.can_write && tr.can_fetch);
	}
	assert_true(mmu_translate_debug(&s, mem, GPA_BITS, 0x1234, &gpa));
	assert_true(gpa == 0x1234);
}

static void test_upper_la_bits(void **state)
{
	struct mmu_translation tr;

	/* Outside of IA-32e mode linear addresses are 32 bits wide. */
	for (unsigned i = 0; i < 4; i++) {
		map(&layouts[i]);
		assert_int_equal(mmu_walk(&s, mem, GPA_BITS, layouts[i].la | 0xabcdull << 32, ACCESS_READ,
					  MMU_KERNEL, &tr),
				 0);
		assert_true(tr.gpa >> 12 ==
			    (layouts[i].page | (layouts[i].la & (BIT(tr.page_shift) - 1))) >> 12);
	}
}

/* PSE clear: bit 7 of a PDE means nothing (SDM 4.3). PSE-36: bits 20:13 are address bits 39:32. */
static void test_pse(void **state)
{
	const struct layout *small = &layouts[0], *large = &layouts[1];
	struct mmu_translation tr;

	map(small);
	s.cr4 = 0;
	add_bits(small, 0, PS);
	assert_int_equal(walk(small, ACCESS_READ, MMU_KERNEL, &tr), 0);
	assert_true(tr.page_shift == 12 && tr.gpa == (small->page | 0x567));
	map(large);
	add_bits(large, 0, 0xa5ull << 13 | PAT);
	assert_int_equal(walk(large, ACCESS_READ, MMU_KERNEL, &tr), 0);
	assert_true(tr.gpa == (0xa500800000 | (large->la & 0x3fffff)));
}

static void test_global(void **state)
{
	struct mmu_translation tr;

	FOR_LAYOUTS(l) {
		map(l);
		add_bits(l, l->levels - 1, G);
		assert_int_equal(walk(l, ACCESS_READ, MMU_KERNEL, &tr), 0);
		assert_false(tr.global);
		s.cr4 |= CR4_PGE;
		assert_int_equal(walk(l, ACCESS_READ, MMU_KERNEL, &tr), 0);
		assert_true(tr.global);
		/* G of an upper entry is ignored. */
		map(l);
		s.cr4 |= CR4_PGE;
		if (l->levels > 1)
			add_bits(l, 0, G);
		assert_int_equal(walk(l, ACCESS_READ, MMU_KERNEL, &tr), 0);
		assert_true(tr.global == false);
	}
}

/* -- Rights, SDM 4.6.1 ---------------------------------------------------------------------------- */

struct rights {
	bool user, writable, xd;      /* of the address, all entries together */
	bool wp, smep, smap, nxe, pae; /* of the processor */
};

static bool may(const struct rights *r, enum mmu_access access, enum mmu_mode mode)
{
	bool smap_stops = r->user && r->smap && mode == MMU_KERNEL;

	if (access == ACCESS_FETCH && r->nxe && r->xd)
		return false;
	if (mode == MMU_USER) {
		if (!r->user)
			return false;
		return access == ACCESS_WRITE ? r->writable : true;
	}
	if (access == ACCESS_FETCH)
		return !(r->user && r->smep);
	if (smap_stops)
		return false;
	if (access == ACCESS_WRITE && r->wp)
		return r->writable;
	return true;
}

/* SDM 4.7, for an address that has a translation. */
static uint32_t denied(const struct rights *r, enum mmu_access access, enum mmu_mode mode)
{
	uint32_t err = 1;

	if (access == ACCESS_WRITE)
		err += 2;
	if (mode == MMU_USER)
		err += 4;
	if (access == ACCESS_FETCH && ((r->pae && r->nxe) || r->smep))
		err += 16;
	return err | MMU_FAULT;
}

static void fail_rights(const struct layout *l, const struct rights *r, unsigned access, unsigned mode,
			uint32_t got)
{
	fail_msg("%s: user %d writable %d xd %d, wp %d smep %d smap %d nxe %d, access %u mode %u: %x",
		 l->name, r->user, r->writable, r->xd, r->wp, r->smep, r->smap, r->nxe, access, mode, got);
}

/* One access on fresh tables that lack U, W at, and have XD in, the levels given (or none: l->levels). */
static void one_access(const struct layout *l, const struct rights *r, unsigned no_u, unsigned no_w,
		       unsigned xd, unsigned access, unsigned mode)
{
	uint64_t before[5];
	struct mmu_translation tr;
	uint32_t got;

	for (unsigned i = 0; i < l->levels; i++) {
		uint64_t e = (get(l, i) & ~(A | D | XD)) | U | W;

		e &= ~((i == no_u ? U : 0) | (i == no_w ? W : 0));
		before[i] = e | (i == xd ? XD : 0);
		set(l, i, before[i]);
	}
	got = walk(l, access, mode, &tr);
	if (!may(r, access, mode)) {
		if (got != denied(r, access, mode))
			fail_rights(l, r, access, mode, got);
		for (unsigned i = 0; i < l->levels; i++)
			assert_true(get(l, i) == before[i]);
		return;
	}
	if (got || tr.can_read != may(r, ACCESS_READ, mode) || tr.can_write != may(r, ACCESS_WRITE, mode) ||
	    tr.can_fetch != may(r, ACCESS_FETCH, mode) || tr.dirty != (access == ACCESS_WRITE))
		fail_rights(l, r, access, mode, got);
	for (unsigned i = 0; i < l->levels; i++) {
		bool d = access == ACCESS_WRITE && i == l->levels - 1;

		assert_true(get(l, i) == (before[i] | A | (d ? D : 0)));
	}
}

/* All ways in which this many levels can lack U, lack W, have XD; the last one is "no level". */
static void all_levels(const struct layout *l, struct rights r)
{
	for (unsigned no_u = 0; no_u <= l->levels; no_u++)
		for (unsigned no_w = 0; no_w <= l->levels; no_w++)
			for (unsigned xd = r.nxe && r.pae ? 0 : l->levels; xd <= l->levels; xd++)
				for (unsigned i = 0; i < 3 * MMU_MODES; i++) {
					r.user = no_u == l->levels;
					r.writable = no_w == l->levels;
					r.xd = xd != l->levels;
					one_access(l, &r, no_u, no_w, xd, i % 3, i / 3);
				}
}

static void test_rights(void **state)
{
	FOR_LAYOUTS(l)
		for (unsigned bits = 0; bits < 16; bits++) {
			struct rights r = { .wp = bits & 1, .smep = bits & 2, .smap = bits & 4,
					    .nxe = bits & 8,
					    .pae = l->cr4 & CR4_PAE };

			map(l);
			s.cr0 |= r.wp ? CR0_WP : 0;
			s.cr4 |= (r.smep ? CR4_SMEP : 0) | (r.smap ? CR4_SMAP : 0);
			s.efer |= r.nxe ? EFER_NXE : 0;
			all_levels(l, r);
		}
}

/* -- Not present and reserved bits --------------------------------------------------------------- */

static void test_not_present(void **state)
{
	struct mmu_translation tr;

	FOR_LAYOUTS(l)
		for (unsigned level = 0; level < l->levels; level++) {
			map(l);
			/* Reserved bits of an entry that is not present do not count. */
			set(l, level, ~P);
			assert_int_equal(walk(l, ACCESS_READ, MMU_KERNEL, &tr), MMU_FAULT);
			assert_int_equal(walk(l, ACCESS_WRITE, MMU_KERNEL, &tr), MMU_FAULT | 2);
			assert_int_equal(walk(l, ACCESS_WRITE, MMU_USER, &tr), MMU_FAULT | 6);
			assert_int_equal(walk(l, ACCESS_READ, MMU_USER, &tr), MMU_FAULT | 4);
			assert_int_equal(walk(l, ACCESS_FETCH, MMU_USER, &tr), MMU_FAULT | 4);
			s.efer |= EFER_NXE; /* I/D only with PAE, or with SMEP */
			assert_int_equal(walk(l, ACCESS_FETCH, MMU_USER, &tr),
					 MMU_FAULT | (l->cr4 & CR4_PAE ? 0x14 : 4));
			s.efer &= ~EFER_NXE;
			s.cr4 |= CR4_SMEP;
			assert_int_equal(walk(l, ACCESS_FETCH, MMU_KERNEL, &tr), MMU_FAULT | 0x10);
			for (unsigned i = 0; i < level; i++)
				assert_false(get(l, i) & A);
		}
}

static void test_pae_pdpte(void **state)
{
	const struct layout *l = &layouts[2];
	struct mmu_translation tr;

	map(l);
	s.pdpte[3] &= ~P;
	assert_int_equal(walk(l, ACCESS_WRITE, MMU_USER, &tr), MMU_FAULT | 6);
	/* They have no rights of their own, and memory at CR3 does not matter (SDM 4.4.1). */
	map(l);
	for (unsigned i = 0; i < 3; i++)
		s.pdpte[i] = 0;
	s.cr3 = ~0ull;
	assert_int_equal(walk(l, ACCESS_WRITE, MMU_USER, &tr), 0);
}

/* Reserved bits of a present entry, MAXPHYADDR 40, NXE clear; up to two ranges, both ends inclusive. */
static const struct {
	const char *layout;
	unsigned level;
	uint8_t lo1, hi1, lo2, hi2; /* 0, 0: none; bit 0 is P and never reserved */
} reserved[] = {
	{ "32-bit 4K", 0 },                         /* table 4-5 */
	{ "32-bit 4K", 1 },                         /* table 4-6 */
	{ "32-bit 4M", 0, 21, 21 },                 /* table 4-4: 21:(M-19) */
	{ "PAE 4K", 0, 40, 63 },                    /* table 4-10 */
	{ "PAE 4K", 1, 40, 63 },                    /* table 4-11 */
	{ "PAE 2M", 0, 13, 20, 40, 63 },            /* table 4-9 */
	{ "4-level 4K", 0, 7, 7, 40, 51 },          /* table 4-15 */
	{ "4-level 4K", 1, 40, 51 },                /* table 4-17 */
	{ "4-level 4K", 2, 40, 51 },                /* table 4-19 */
	{ "4-level 4K", 3, 40, 51 },                /* table 4-20 */
	{ "4-level 2M", 2, 13, 20, 40, 51 },        /* table 4-18 */
	{ "4-level 1G", 1, 13, 29, 40, 51 },        /* table 4-16 */
	{ "5-level 4K", 0, 7, 7, 40, 51 },          /* table 4-14 */
	{ "5-level 4K", 1, 7, 7, 40, 51 },
	{ "5-level 4K", 2, 40, 51 },
	{ "5-level 4K", 3, 40, 51 },
	{ "5-level 4K", 4, 40, 51 },
	{ "5-level 2M", 3, 13, 20, 40, 51 },
	{ "5-level 1G", 2, 13, 29, 40, 51 },
};

static const struct layout *by_name(const char *name)
{
	FOR_LAYOUTS(l)
		if (!strcmp(l->name, name))
			return l;
	fail_msg("no layout %s", name);
	return NULL;
}

/* What setting this bit does other than being reserved: it would lead the walk elsewhere. */
static bool redirects(const struct layout *l, unsigned level, unsigned bit)
{
	if (level == l->levels - 1)
		return bit == 0;
	return bit == 0 || (bit >= 12 && bit < GPA_BITS) || (bit == 7 && l->shift[level] <= 30);
}

static void test_reserved(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++) {
		const struct layout *l = by_name(reserved[i].layout);

		for (unsigned bit = 0; bit < l->entry_bytes * 8; bit++) {
			bool want = (reserved[i].hi1 && bit >= reserved[i].lo1 && bit <= reserved[i].hi1) ||
				    (reserved[i].hi2 && bit >= reserved[i].lo2 && bit <= reserved[i].hi2) ||
				    (bit == 63);
			uint32_t got;

			if (redirects(l, reserved[i].level, bit))
				continue;
			map(l);
			add_bits(l, reserved[i].level, BIT(bit));
			got = read_fault(l);
			if (got != (want ? MMU_FAULT | 9 : 0))
				fail_msg("%s, level %u, bit %u: %x", l->name, reserved[i].level, bit, got);
			/* With NXE, bit 63 is XD, and nothing else changes. */
			s.efer |= EFER_NXE;
			got = read_fault(l);
			if (got != (want && bit != 63 ? MMU_FAULT | 9 : 0))
				fail_msg("%s, level %u, bit %u with NXE: %x", l->name, reserved[i].level, bit,
					 got);
		}
	}
}

static void test_reserved_by_maxphyaddr(void **state)
{
	static const struct {
		const char *layout;
		unsigned gpa_bits, first, last; /* reserved; first > last: none */
	} t[] = {
		{ "32-bit 4M", 32, 13, 21 }, { "32-bit 4M", 36, 17, 21 }, { "32-bit 4M", 52, 21, 21 },
		{ "4-level 4K", 36, 36, 51 }, { "4-level 4K", 46, 46, 51 }, { "4-level 4K", 52, 52, 51 },
		{ "PAE 4K", 36, 36, 62 }, { "PAE 4K", 52, 52, 62 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct layout l = *by_name(t[i].layout);
		unsigned leaf = l.levels - 1;
		struct mmu_translation tr;

		l.page &= 0xfff00000;
		for (unsigned bit = 13; bit < l.entry_bytes * 8 - 1; bit++) {
			bool want = bit >= t[i].first && bit <= t[i].last;

			map(&l);
			add_bits(&l, leaf, BIT(bit));
			if (mmu_walk(&s, mem, t[i].gpa_bits, l.la, ACCESS_READ, MMU_KERNEL, &tr) !=
			    (want ? MMU_FAULT | 9 : 0))
				fail_msg("%s, %u bits: bit %u", l.name, t[i].gpa_bits, bit);
		}
	}
}

/* The other bits of the code go with RSVD as well; a reserved bit counts more than rights. */
static void test_reserved_error_codes(void **state)
{
	const struct layout *l = by_name("4-level 4K");
	struct mmu_translation tr;

	map(l);
	set(l, 0, (get(l, 0) & ~(U | W)) | PS);
	assert_int_equal(walk(l, ACCESS_WRITE, MMU_USER, &tr), MMU_FAULT | 0xf);
	assert_int_equal(walk(l, ACCESS_FETCH, MMU_USER, &tr), MMU_FAULT | 0xd);
	s.efer |= EFER_NXE;
	assert_int_equal(walk(l, ACCESS_FETCH, MMU_KERNEL, &tr), MMU_FAULT | 0x19);
	/* Upper entries come first: below the reserved bit nothing is looked at, above it all is. */
	set(l, 1, 0);
	assert_int_equal(read_fault(l), MMU_FAULT | 9);
	map(l);
	set(l, 0, 0);
	add_bits(l, 1, BIT(50));
	assert_int_equal(read_fault(l), MMU_FAULT);
	assert_false(mmu_translate_debug(&s, mem, GPA_BITS, l->la, &tr.gpa));
}

/* -- Accessed and dirty ------------------------------------------------------------------------- */

static void test_dirty(void **state)
{
	struct mmu_translation tr;

	FOR_LAYOUTS(l) {
		unsigned leaf = l->levels - 1;
		uint64_t gpa;

		map(l);
		assert_true(mmu_translate_debug(&s, mem, GPA_BITS, l->la, &gpa));
		for (unsigned i = 0; i < l->levels; i++)
			assert_false(get(l, i) & (A | D));
		assert_int_equal(walk(l, ACCESS_READ, MMU_KERNEL, &tr), 0);
		assert_false(tr.dirty);
		assert_int_equal(walk(l, ACCESS_FETCH, MMU_KERNEL, &tr), 0);
		assert_false(get(l, leaf) & D);
		assert_int_equal(walk(l, ACCESS_WRITE, MMU_KERNEL, &tr), 0);
		assert_true(tr.dirty && get(l, leaf) & D);
		assert_int_equal(walk(l, ACCESS_READ, MMU_KERNEL, &tr), 0);
		assert_true(tr.dirty);
	}
}

/* Setting A and D is a write to guest RAM: who caches it is told, once. */
static void test_table_writes_are_noted(void **state)
{
	const struct layout *l = by_name("4-level 4K");
	uint32_t v;

	map(l);
	v = ram_mark_code(ram, table(2), PAGE_SIZE);
	read_fault(l);
	assert_true(ram->version[table(2) >> PAGE_SHIFT] != v);
	v = ram_mark_code(ram, table(2), PAGE_SIZE);
	read_fault(l);
	assert_true(ram->version[table(2) >> PAGE_SHIFT] == v);
}

/* -- Tables in hostile places --------------------------------------------------------------------- */

static uint64_t touched(void *opaque, uint64_t off, unsigned size)
{
	++*(unsigned *)opaque;
	return 0;
}

static const struct io_ops chip_ops = { touched, NULL, 0, 0 };

static void test_hostile_tables(void **state)
{
	static const uint64_t nowhere[] = { RAM_SIZE, 0xc0000000, 0xfffff000, 0xa0000, (1ull << 40) - 4096 };
	const struct layout *four = by_name("4-level 4K"), *legacy = by_name("32-bit 4K");
	struct mmu_translation tr;
	struct region *chip;
	unsigned calls = 0;

	assert_int_equal(space_add_io(mem, &chip, "vga", 0xa0000, 0x1000, &chip_ops, &calls, NULL), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		/* All ones has a reserved bit in 64-bit formats ... */
		map(four);
		s.cr3 = nowhere[i];
		assert_int_equal(read_fault(four), MMU_FAULT | 9);
		map(four);
		set(four, 2, nowhere[i] | P | W | U);
		assert_int_equal(read_fault(four), MMU_FAULT | 9);
		/* ... and none in a 32-bit one without PSE: all is the last page of 4 GiB. */
		map(legacy);
		s.cr3 = nowhere[i];
		s.cr4 = 0;
		if (nowhere[i] >> 32 == 0) {
			assert_int_equal(walk(legacy, ACCESS_WRITE, MMU_USER, &tr), 0);
			assert_true(tr.gpa == 0xfffff567);
		}
	}
	assert_int_equal(calls, 0); /* a walk is no way to touch a chip */
	space_remove(mem, chip);
	map(four);
	s.cr3 = ~0ull;
	assert_int_equal(read_fault(four), MMU_FAULT | 9);
}

static void test_tables_in_rom(void **state)
{
	struct mmu_translation tr;
	struct region *rom;

	FOR_LAYOUTS(l) {
		map(l);
		assert_int_equal(space_add_ram(mem, &rom, "rom", 0, table(5), ram, true), 0);
		assert_int_equal(walk(l, ACCESS_WRITE, MMU_USER, &tr), 0);
		assert_true(tr.can_write && !tr.dirty);
		for (unsigned i = 0; i < l->levels; i++)
			assert_false(get(l, i) & (A | D));
		space_remove(mem, rom);
	}
}

/* Every entry of every table points at the root: a walk ends, whatever it finds. */
static void test_loops(void **state)
{
	struct mmu_translation tr;

	FOR_LAYOUTS(l) {
		map(l);
		for (unsigned i = 0; i < 4096; i += l->entry_bytes) {
			uint64_t e = table(0) | P | W | U;

			memcpy(ram->base + table(0) + i, &e, l->entry_bytes);
		}
		assert_int_equal(walk(l, ACCESS_WRITE, MMU_USER, &tr), 0);
		assert_true(tr.gpa == table(0) + 0x567);
	}
}

static void test_load_pdptes(void **state)
{
	const uint64_t good[4] = { 0x5001, 0x6019, ~P, 0x8e01 }, untouched[4] = { 1, 2, 3, 4 };
	uint64_t got[4], one;

	memcpy(ram->base + 0x3020, good, sizeof(good));
	memset(got, 0, sizeof(got));
	assert_true(mmu_load_pdptes(mem, GPA_BITS, 0xabc0000000003020 | 0x1f, got));
	assert_memory_equal(got, good, sizeof(got));
	for (unsigned bit = 0; bit < 64; bit++) {
		/* SDM table 4-8 */
		bool want = bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= GPA_BITS;

		for (unsigned i = 0; i < 4; i++) {
			memcpy(got, untouched, sizeof(got));
			memcpy(ram->base + 0x3020, good, sizeof(good));
			one = good[i] | BIT(bit);
			memcpy(ram->base + 0x3020 + i * 8, &one, 8);
			if (i == 2 && bit != 0)
				continue; /* not present: no bit is reserved */
			assert_int_equal(mmu_load_pdptes(mem, GPA_BITS, 0x3020, got), !(want || i == 2));
			if (want)
				assert_memory_equal(got, untouched, sizeof(got));
		}
	}
	/* Outside of RAM: all ones. */
	assert_false(mmu_load_pdptes(mem, GPA_BITS, 0xf0000000, got));
	assert_false(mmu_load_pdptes(mem, GPA_BITS, RAM_SIZE, got));
}

/* -- Entries that change under the walk ----------------------------------------------------------- */

static _Atomic bool stop;

/* Flips a bit that is free for software, in the leaf and above, as fast as it can. */
static void *fiddle(void *arg)
{
	const struct layout *l = arg;

	while (!stop)
		for (unsigned i = 0; i < l->levels; i++)
			__atomic_fetch_xor((uint64_t *)(void *)entry_ptr(l, i), BIT(9), __ATOMIC_RELAXED);
	return NULL;
}

static void test_race(void **state)
{
	static struct layout l;
	struct mmu_translation tr;
	pthread_t t;

	l = *by_name("4-level 4K");
	map(&l);
	stop = false;
	assert_int_equal(pthread_create(&t, NULL, fiddle, &l), 0);
	for (unsigned i = 0; i < 20000; i++) {
		for (unsigned k = 0; k < l.levels; k++)
			__atomic_fetch_and((uint64_t *)(void *)entry_ptr(&l, k), ~(A | D), __ATOMIC_RELAXED);
		assert_int_equal(walk(&l, ACCESS_WRITE, MMU_USER, &tr), 0);
		/* Nothing that the other one wrote is lost, so neither is any A or D. */
		for (unsigned k = 0; k < l.levels; k++) {
			uint64_t e = __atomic_load_n((uint64_t *)(void *)entry_ptr(&l, k), __ATOMIC_RELAXED);
			uint64_t want = k == l.levels - 1 ? A | D : A;

			assert_true((e & (A | D)) == want);
		}
	}
	stop = true;
	pthread_join(t, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_translation),
		cmocka_unit_test(test_paging_off),
		cmocka_unit_test(test_upper_la_bits),
		cmocka_unit_test(test_pse),
		cmocka_unit_test(test_global),
		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_not_present),
		cmocka_unit_test(test_pae_pdpte),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_reserved_by_maxphyaddr),
		cmocka_unit_test(test_reserved_error_codes),
		cmocka_unit_test(test_dirty),
		cmocka_unit_test(test_table_writes_are_noted),
		cmocka_unit_test(test_hostile_tables),
		cmocka_unit_test(test_tables_in_rom),
		cmocka_unit_test(test_loops),
		cmocka_unit_test(test_load_pdptes),
		cmocka_unit_test(test_race),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
