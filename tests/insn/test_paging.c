/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paging through the engine: every mode, permissions, A and D, large pages, PCIDs, flushes (SDM vol. 3, ch. 4). */
#include "check.h"

#define PTE_P  BIT(0)
#define PTE_W  BIT(1)
#define PTE_U  BIT(2)
#define PTE_A  BIT(5)
#define PTE_D  BIT(6)
#define PTE_PS BIT(7)
#define PTE_G  BIT(8)
#define PTE_NX BIT(63)

#define PAGE   TINY_HIGH          /* the page under test */
#define OTHER  (TINY_HIGH + 0x5000)

BOTH(load, "mov (%edi), %eax\n int3");
BOTH(store, "mov %eax, (%edi)\n int3");
GUEST(jump_32, 32, "jmp *%edi");
GUEST(jump64, 64, "jmp *%rdi");

static const enum tiny_mode modes[] = { TINY_PAGED32, TINY_PAE, TINY_COMPAT, TINY_LONG, TINY_LONG57 };
#define FOR_MODES(m) for (unsigned m = 0; m < ARRAY_SIZE(modes); m++)

enum access { LOAD, STORE, FETCH };

static bool is64(const struct tiny *t)
{
	return x86_64bit(&t->v->s);
}

/* Make one access to PAGE; returns the vector: #BP if it worked. */
static int access_page(struct tiny *t, enum access a)
{
	GPR(t, DI) = PAGE;
	tiny_put(t, PAGE, "\xcc", 1);
	if (a == FETCH) {
		if (is64(t))
			TINY_LOAD(t, TINY_CODE, jump64);
		else
			TINY_LOAD(t, TINY_CODE, jump_32);
	} else if (a == LOAD) {
		if (is64(t))
			TINY_LOAD(t, TINY_CODE, load_64);
		else
			TINY_LOAD(t, TINY_CODE, load_32);
	} else {
		if (is64(t))
			TINY_LOAD(t, TINY_CODE, store_64);
		else
			TINY_LOAD(t, TINY_CODE, store_32);
	}
	return tiny_run(t);
}

static void expect(struct tiny *t, enum access a, bool ok, uint32_t err)
{
	int result = access_page(t, a);

	if (ok) {
		assert_int_equal(result, X86_BP);
		return;
	}
	assert_int_equal(result, X86_PF);
	assert_int_equal(t->frame.err, err);
	assert_int_equal(t->v->s.cr2, PAGE);
	assert_int_equal(t->frame.rip, a == FETCH ? PAGE : TINY_CODE);
}

/* -- Permissions (4.6) ------------------------------------------------------------------------- */

/* Every combination of P, W, U and NX, in rings 0 and 3, with CR0.WP on and off. */
static void test_permissions(void **state)
{
	struct tiny *t = *state;

	FOR_MODES(m) for (unsigned i = 0; i < 64; i++) {
		bool p = i & 1, w = i & 2, u = i & 4, nx = i & 8, user = i & 16, wp = i & 32;
		bool has_nx = modes[m] != TINY_PAGED32;
		uint32_t who = user ? PF_U : 0, id = has_nx ? PF_I : 0;
		bool reach = p && (u || !user);

		nx = nx && has_nx;
		for (enum access a = LOAD; a <= FETCH; a++) {
			bool ok = reach && (a != STORE || w || (!user && !wp)) && (a != FETCH || !nx);

			tiny_enter(t, modes[m], user ? 3 : 0);
			if (!wp)
				t->v->s.cr0 &= ~CR0_WP;
			tiny_set_pte_flags(t, PAGE, p * PTE_P | w * PTE_W | u * PTE_U | nx * PTE_NX);
			expect(t, a, ok, (p ? PF_P : 0) | who | (a == STORE ? PF_W : 0) | (a == FETCH ? id : 0));
		}
	}
}

/* The permissions of the levels are combined. */
static void test_upper_levels(void **state)
{
	struct tiny *t = *state;
	static const uint64_t tables[] = { 0x10000, 0x11000, 0x12000 };

	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
		tiny_enter(t, TINY_LONG, 0);
		TINY_LOAD(t, TINY_CODE, load_64);
		tiny_poke(t, tables[i], 8, tiny_peek(t, tables[i], 8) & ~PTE_W);
		tiny_state_changed(t);
		GPR(t, DI) = PAGE;
		/* All memory is read-only now, the stacks too: step, an exception has nowhere to go. */
		tiny_step(t);
		assert_int_equal(t->v->s.rip, TINY_CODE + 3);
		assert_int_equal(t->v->s.activity, ACT_RUNNING);
		TINY_LOAD(t, TINY_CODE, store_64);
		t->v->s.rip = TINY_CODE;
		assert_int_equal(tiny_run(t), TINY_SHUTDOWN);

		/* No handler could be fetched either: look at the first fault alone. */
		tiny_enter(t, TINY_LONG, 0);
		tiny_poke(t, tables[i], 8, tiny_peek(t, tables[i], 8) | PTE_NX);
		tiny_state_changed(t);
		tiny_step(t);
		assert_int_equal(t->v->s.rip, tiny_stub(X86_PF));
		assert_int_equal(t->v->s.cr2, TINY_CODE);
		assert_int_equal(tiny_peek(t, GPR(t, SP), 8), PF_P | PF_I);
	}
}

/* A and D (4.8): A in every entry, D in the leaf on writes alone; a faulting access sets neither in the leaf. */
static void test_accessed_dirty(void **state)
{
	struct tiny *t = *state;

	FOR_MODES(m) {
		tiny_enter(t, modes[m], 3);
		expect(t, LOAD, true, 0);
		assert_int_equal(tiny_pte(t, PAGE) & (PTE_A | PTE_D), PTE_A);
		assert_int_equal(tiny_pte(t, OTHER) & (PTE_A | PTE_D), 0);
		t->v->s.rip = TINY_CODE;
		tiny_enter(t, modes[m], 3);
		tiny_set_pte_flags(t, PAGE, PTE_P | PTE_W | PTE_U);
		expect(t, STORE, true, 0);
		assert_int_equal(tiny_pte(t, PAGE) & (PTE_A | PTE_D), PTE_A | PTE_D);
		tiny_enter(t, modes[m], 3);
		tiny_set_pte_flags(t, PAGE, PTE_P | PTE_W);
		expect(t, STORE, false, PF_P | PF_W | PF_U);
		assert_int_equal(tiny_pte(t, PAGE) & PTE_D, 0);
		/* A load first, a store after it: D comes with the store. */
		tiny_enter(t, modes[m], 3);
		expect(t, LOAD, true, 0);
		tiny_enter(t, modes[m], 3);
		tiny_set_pte_flags(t, PAGE, PTE_P | PTE_W | PTE_U | PTE_A);
		expect(t, STORE, true, 0);
		assert_true(tiny_pte(t, PAGE) & PTE_D);
	}
	tiny_enter(t, TINY_LONG57, 3);
	expect(t, LOAD, true, 0);
	assert_true(tiny_peek(t, 0x17000, 8) & PTE_A);
	assert_true(tiny_peek(t, 0x10000, 8) & PTE_A);
	assert_true(tiny_peek(t, 0x11000, 8) & PTE_A);
	assert_true(tiny_peek(t, 0x12000, 8) & PTE_A);
}

/* A copy that comes to a page it cannot read has not written beside it. */
BOTH(copy, "rep movsb\n int3");
static void test_accessed_by_copy(void **state)
{
	struct tiny *t = *state;

	FOR_MODES(m) {
		tiny_enter(t, modes[m], 3);
		GPR(t, SI) = PAGE - 8;
		GPR(t, DI) = OTHER - 8;
		GPR(t, CX) = 64;
		tiny_set_pte_flags(t, PAGE, 0);
		tiny_set_pte_flags(t, OTHER, PTE_P | PTE_W | PTE_U);
		assert_int_equal(is64(t) ? RUN(t, copy_64) : RUN(t, copy_32), X86_PF);
		assert_int_equal(GPR(t, CX), 56);
		assert_int_equal(tiny_pte(t, OTHER) & (PTE_A | PTE_D), 0);
	}
}

/*
 * A load, and a store to the same page behind a branch, which an engine may check together: while the branch is taken the page
 * stays clean, and may be read-only.
 */
GUEST(perhaps, 64,
      "1: mov (%rdi), %rax\n test %rcx, %rcx\n jz 2f\n mov %rcx, 8(%rdi)\n mov 8(%rdi), %rdx\n"
      "2: dec %rsi\n jnz 1b\n int3");
static int run_perhaps(struct tiny *t, unsigned cpl, uint64_t flags, uint64_t stored)
{
	tiny_enter(t, TINY_LONG, cpl);
	tiny_set_pte_flags(t, PAGE, flags);
	tiny_poke(t, PAGE, 8, 0x1234);
	GPR(t, DI) = PAGE;
	GPR(t, CX) = stored;
	GPR(t, SI) = 3;
	return RUN(t, perhaps);
}

static void test_dirty_behind_branch(void **state)
{
	struct tiny *t = *state;
	const uint64_t readonly = PTE_P | PTE_U, writable = readonly | PTE_W;

	for (unsigned i = 0; i < 8; i++) {
		unsigned cpl = i & 1 ? 3 : 0;

		assert_int_equal(run_perhaps(t, cpl, i & 2 ? writable : readonly, 0), X86_BP);
		assert_int_equal(GPR(t, AX), 0x1234);
		assert_int_equal(tiny_pte(t, PAGE) & (PTE_A | PTE_D), PTE_A);
		assert_int_equal(run_perhaps(t, cpl, writable | (i & 4 ? PTE_A | PTE_D : 0), 77), X86_BP);
		assert_int_equal(GPR(t, DX), 77);
		assert_int_equal(tiny_pte(t, PAGE) & (PTE_A | PTE_D), PTE_A | PTE_D);
		assert_int_equal(run_perhaps(t, cpl, readonly, 77), X86_PF);
		assert_int_equal(t->frame.err, PF_P | PF_W | (cpl ? PF_U : 0));
		assert_int_equal(t->frame.rip, TINY_CODE + 8);
		assert_int_equal(tiny_pte(t, PAGE) & (PTE_A | PTE_D), PTE_A);
	}
}

/* Reserved bits: beyond MAXPHYADDR, NX without EFER.NXE, in PAE the upper ones (4.4.2, 4.5). */
static void test_reserved(void **state)
{
	struct tiny *t = *state;

	FOR_MODES(m) {
		if (modes[m] == TINY_PAGED32)
			continue;
		tiny_enter(t, modes[m], 0);
		if (t->cpuid.gpa_bits < 52) {
			tiny_set_pte(t, PAGE, tiny_pte(t, PAGE) | BIT(51));
			expect(t, LOAD, false, PF_P | PF_RSVD);
		}
		tiny_enter(t, modes[m], 0);
		t->v->s.efer &= ~EFER_NXE;
		tiny_set_pte_flags(t, PAGE, PTE_P | PTE_W | PTE_U | PTE_NX);
		expect(t, LOAD, false, PF_P | PF_RSVD);
	}
}

/* SMEP and SMAP (4.6): ring 0 does not fetch from user pages, and reads or writes them only with AC. */
static void test_smep_smap(void **state)
{
	struct tiny *t = *state;

	FOR_MODES(m) {
		uint32_t id = PF_I; /* reported with SMEP even without NX */

		tiny_enter(t, modes[m], 0);
		/* What ring 0 runs on must be its own: code, stubs, tables, stack. */
		for (uint64_t la = 0; la < TINY_HIGH; la += 0x1000)
			tiny_set_pte_flags(t, la, PTE_P | PTE_W);
		t->v->s.cr4 |= CR4_SMEP;
		tiny_state_changed(t);
		expect(t, FETCH, false, PF_P | id);
		tiny_enter(t, modes[m], 0);
		for (uint64_t la = 0; la < TINY_HIGH; la += 0x1000)
			tiny_set_pte_flags(t, la, PTE_P | PTE_W);
		t->v->s.cr4 |= CR4_SMAP;
		tiny_state_changed(t);
		expect(t, LOAD, false, PF_P);
		for (unsigned ac = 0; ac < 2; ac++) {
			tiny_enter(t, modes[m], 0);
			for (uint64_t la = 0; la < TINY_HIGH; la += 0x1000)
				tiny_set_pte_flags(t, la, PTE_P | PTE_W);
			t->v->s.cr4 |= CR4_SMAP;
			FLAGS(t) |= ac ? FL_AC : 0;
			tiny_state_changed(t);
			expect(t, STORE, ac, PF_P | PF_W);
		}
	}
}

/* SMAP: implicit accesses to system tables heed it whatever AC says (4.6.1). */
GUEST(load_fs, 64, "mov %ecx, %fs\n hlt");
static void test_smap_implicit(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, load_fs);
	for (uint64_t la = 0; la < TINY_HIGH; la += 0x1000)
		if (la != TINY_GDT)
			tiny_set_pte_flags(t, la, PTE_P | PTE_W);
	/* The #PF handler's own segment load needs the table too: from a table at a good place. */
	tiny_set_desc(t, SEL_CODE0_64, tiny_get_desc(t, SEL_CODE0_64));
	t->v->s.cr4 |= CR4_SMAP;
	FLAGS(t) |= FL_AC;
	GPR(t, CX) = SEL_DATA3;
	tiny_state_changed(t);
	/* #PF on the GDT, and again for every handler's CS: shutdown. */
	assert_int_equal(tiny_run(t), TINY_SHUTDOWN);
	assert_in_range(t->v->s.cr2, TINY_GDT, TINY_GDT + 0xfff);
}

/* -- Large pages (4.3, 4.4, 4.5) --------------------------------------------------------------- */

static void test_large_pages(void **state)
{
	struct tiny *t = *state;
	uint64_t la = 4 * MiB + 0x1234;

	/* 4 MiB by PSE; without CR4.PSE bit 7 is ignored and the entry names a table. */
	tiny_enter(t, TINY_PAGED32, 0);
	t->v->s.cr4 |= CR4_PSE;
	tiny_poke(t, 0x10004, 4, 0 | PTE_P | PTE_W | PTE_PS); /* second 4 MiB onto the first */
	tiny_poke(t, 0x1234, 4, 0xcafe);
	GPR(t, DI) = la;
	tiny_state_changed(t);
	assert_int_equal(RUN(t, load_32), X86_BP);
	assert_int_equal(GPR(t, AX), 0xcafe);
	assert_int_equal(tiny_peek(t, 0x10004, 4), PTE_P | PTE_W | PTE_PS | PTE_A);
	/* PSE-36: bits 16:13 are address bits 35:32; RAM ends before, so that all ones are read. */
	tiny_poke(t, 0x10004, 4, PTE_P | PTE_W | PTE_PS | 1 << 13);
	t->v->s.rip = TINY_CODE;
	tiny_state_changed(t);
	assert_int_equal(RUN(t, load_32), X86_BP);
	assert_int_equal(GPR(t, AX), 0xffffffff);
	/* 2 MiB in PAE and long mode, with D; a reserved bit of the frame. */
	for (unsigned m = 1; m < ARRAY_SIZE(modes); m++) {
		tiny_enter(t, modes[m], 0);
		tiny_poke(t, 0x12000 + 2 * 8, 8, PTE_P | PTE_W | PTE_PS);
		GPR(t, DI) = la;
		GPR(t, AX) = 0xf00d;
		tiny_state_changed(t);
		assert_int_equal(is64(t) ? RUN(t, store_64) : RUN(t, store_32), X86_BP);
		assert_int_equal(tiny_peek(t, 0x1234, 4), 0xf00d);
		assert_int_equal(tiny_peek(t, 0x12000 + 2 * 8, 8), PTE_P | PTE_W | PTE_PS | PTE_A | PTE_D);
		tiny_enter(t, modes[m], 0);
		tiny_poke(t, 0x12000 + 2 * 8, 8, PTE_P | PTE_W | PTE_PS | BIT(13));
		GPR(t, DI) = la;
		tiny_state_changed(t);
		assert_fault(t, is64(t) ? RUN(t, load_64) : RUN(t, load_32), X86_PF, TINY_CODE, PF_P | PF_RSVD);
	}
	/* 1 GiB. */
	tiny_enter(t, TINY_LONG, 0);
	tiny_poke(t, 0x11000 + 8, 8, PTE_P | PTE_W | PTE_PS);
	tiny_poke(t, 0x1234, 4, 0xbee5);
	GPR(t, DI) = GiB + 0x1234;
	tiny_state_changed(t);
	assert_int_equal(RUN(t, load_64), X86_BP);
	assert_int_equal(GPR(t, AX), 0xbee5);
}

/* A table in the void reads as all ones; nothing outside of RAM is touched. */
static void test_tables_nowhere(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	tiny_poke(t, 0x12000 + 2 * 8, 8, 0x7000000000ull | PTE_P | PTE_W);
	GPR(t, DI) = 4 * MiB;
	tiny_state_changed(t);
	assert_int_equal(RUN(t, load_64), X86_PF);
	tiny_enter(t, TINY_LONG, 0);
	t->v->s.cr3 = 0x7000000000ull;
	tiny_state_changed(t);
	assert_int_equal(RUN(t, load_64), TINY_SHUTDOWN);
}

/* Canonical addresses (vol. 1, 3.3.7.1): 48 bits, or 57 with LA57. */
GUEST(load_rdi, 64, "mov (%rdi), %eax\n int3");
static void test_canonical(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	GPR(t, DI) = BIT(47);
	assert_fault(t, RUN(t, load_rdi), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG57, 0);
	GPR(t, DI) = BIT(47);
	assert_fault(t, RUN(t, load_rdi), X86_PF, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG57, 0);
	GPR(t, DI) = BIT(56);
	assert_fault(t, RUN(t, load_rdi), X86_GP, TINY_CODE, 0);
}

/* PAE: the PDPTEs are loaded with CR3; a reserved bit in one is #GP(0), and later changes are not seen (4.4.1). */
GUEST(reload_cr3, 32, "mov (%edi), %eax\n mov %cr3, %ecx\n mov %ecx, %cr3\n mov (%edi), %eax\n int3");
static void test_pdptes(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_PAE, 0);
	tiny_poke(t, 0x11000 + 8, 8, 0x12000 | PTE_P); /* the second GiB as the first */
	GPR(t, DI) = GiB + PAGE;
	assert_fault(t, RUN(t, reload_cr3), X86_PF, TINY_CODE, 0);
	tiny_enter(t, TINY_PAE, 0);
	tiny_poke(t, 0x11000 + 8, 8, 0x12000 | PTE_P);
	GPR(t, DI) = GiB + PAGE;
	TINY_LOAD(t, TINY_CODE, reload_cr3);
	t->v->s.rip = TINY_CODE + 2;
	assert_int_equal(tiny_run(t), X86_BP);
	tiny_enter(t, TINY_PAE, 0);
	tiny_poke(t, 0x11000 + 8, 8, 0x12000 | PTE_P | PTE_W);
	GPR(t, DI) = PAGE;
	assert_fault(t, RUN(t, reload_cr3), X86_GP, TINY_CODE + 5, 0);
}

/* -- The TLB (4.10) ---------------------------------------------------------------------------- */

/* Load PAGE's first word, move PAGE in the page tables to OTHER, flush in some way, load again. */
#define REMAP "mov (%rdi), %eax\n mov %rbx, (%rsi)\n"
GUEST(remap_invlpg, 64, REMAP "invlpg (%rdi)\n mov (%rdi), %ebx\n int3");
GUEST(remap_cr3, 64, REMAP "mov %cr3, %rcx\n mov %rcx, %cr3\n mov (%rdi), %ebx\n int3");
GUEST(remap_pge, 64,
      REMAP "mov %cr4, %rcx\n xor $0x80, %rcx\n mov %rcx, %cr4\n xor $0x80, %rcx\n mov %rcx, %cr4\n"
	    "mov (%rdi), %ebx\n int3");
GUEST(remap_invpcid, 64, REMAP "invpcid (%r8), %r9\n mov (%rdi), %ebx\n int3");

static void enter_remap(struct tiny *t, uint64_t pte_flags)
{
	tiny_enter(t, TINY_LONG, 0);
	tiny_poke(t, PAGE, 4, 1);
	tiny_poke(t, OTHER, 4, 2);
	tiny_set_pte_flags(t, PAGE, PTE_P | PTE_W | pte_flags);
	GPR(t, DI) = PAGE;
	GPR(t, SI) = tiny_pte_addr(t, PAGE);
	GPR(t, BX) = (tiny_pte(t, PAGE) & 0xfff) | OTHER;
}

static void test_flushes(void **state)
{
	struct tiny *t = *state;

	for (unsigned global = 0; global < 2; global++) {
		enter_remap(t, global ? PTE_G : 0);
		t->v->s.cr4 |= CR4_PGE;
		assert_int_equal(RUN(t, remap_invlpg), X86_BP);
		assert_int_equal(GPR(t, AX), 1);
		assert_int_equal(GPR(t, BX), 2);
		enter_remap(t, global ? PTE_G : 0);
		t->v->s.cr4 |= CR4_PGE;
		assert_int_equal(RUN(t, remap_pge), X86_BP);
		assert_int_equal(GPR(t, BX), 2);
	}
	enter_remap(t, 0);
	assert_int_equal(RUN(t, remap_cr3), X86_BP);
	assert_int_equal(GPR(t, BX), 2);
}

/* Address spaces by PCID: CR3 loads with bit 63 keep entries, but never show one PCID's to another (4.10.1). */
GUEST(two_pcids, 64,
      "mov (%rdi), %eax\n" /* PCID 0 */
      "mov %r8, %cr3\n mov (%rdi), %ebx\n"
      "mov %r9, %cr3\n mov (%rdi), %ecx\n int3");
static void test_pcid(void **state)
{
	struct tiny *t = *state;

	if (!(t->cpuid.cr4_allowed & CR4_PCIDE))
		return;
	tiny_enter(t, TINY_LONG, 0);
	/* A second set of tables that differs in PAGE. */
	for (unsigned i = 0; i < 4; i++) {
		uint8_t table[4096];

		tiny_get(t, 0x10000 + i * 0x1000, table, sizeof(table));
		tiny_put(t, 0x18000 + i * 0x1000, table, sizeof(table));
		if (i < 3)
			tiny_poke(t, 0x18000 + i * 0x1000, 8, (0x19000 + i * 0x1000) | 7);
	}
	tiny_poke(t, 0x1b000 + (PAGE >> 12) * 8, 8, OTHER | 7);
	tiny_poke(t, PAGE, 4, 1);
	tiny_poke(t, OTHER, 4, 2);
	t->v->s.cr4 |= CR4_PCIDE;
	GPR(t, DI) = PAGE;
	GPR(t, 8) = 0x18000 | 5 | BIT(63);
	GPR(t, 9) = 0x10000 | BIT(63);
	tiny_state_changed(t);
	assert_int_equal(RUN(t, two_pcids), X86_BP);
	assert_int_equal(GPR(t, AX), 1);
	assert_int_equal(GPR(t, BX), 2);
	assert_int_equal(GPR(t, CX), 1);
	assert_int_equal(t->v->s.cr3, 0x10000); /* bit 63 is not kept */
}

/* vol. 2, INVPCID: types and operand checks. */
static void check_invpcid(struct tiny *t, uint64_t type, uint64_t pcid, uint64_t la, bool pcide, bool ok)
{
	enter_remap(t, 0);
	t->v->s.cr4 |= pcide ? CR4_PCIDE : 0;
	GPR(t, 8) = TINY_DATA;
	GPR(t, 9) = type;
	tiny_poke(t, TINY_DATA, 8, pcid);
	tiny_poke(t, TINY_DATA + 8, 8, la);
	tiny_state_changed(t);
	if (ok) {
		assert_int_equal(RUN(t, remap_invpcid), X86_BP);
		assert_int_equal(GPR(t, BX), 2);
	} else {
		assert_fault(t, RUN(t, remap_invpcid), X86_GP, TINY_CODE + 5, 0);
	}
}

static void test_invpcid(void **state)
{
	struct tiny *t = *state;

	if (!cpuid_has(&t->cpuid, "invpcid"))
		return;
	check_invpcid(t, 0, 0, PAGE, true, true);
	check_invpcid(t, 1, 0, 0, true, true);
	check_invpcid(t, 2, 0, 0, true, true);
	check_invpcid(t, 3, 0, 0, true, true);
	check_invpcid(t, 0, 0, PAGE, false, true);
	check_invpcid(t, 4, 0, 0, true, false);
	check_invpcid(t, 0, 0x1000, PAGE, true, false);
	check_invpcid(t, 0, 1, PAGE, false, false);
	check_invpcid(t, 0, 0, BIT(50), true, false);
	tiny_enter(t, TINY_LONG, 3);
	tiny_put(t, TINY_CODE, "\x66\x41\x0f\x38\x82\x00", 6);
	assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
}

/* INVLPG: a non-canonical address is no fault; limits are not checked. */
GUEST(invlpg, 64, "invlpg (%rdi)\n hlt");
static void test_invlpg(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	GPR(t, DI) = BIT(62);
	assert_int_equal(RUN(t, invlpg), TINY_HLT);
}

/* Code is fetched through the same tables: remapping it and INVLPG executes the new page. */
GUEST(call_page, 64, "call *%rdi\n mov %eax, %edx\n mov %rbx, (%rsi)\n invlpg (%rdi)\n call *%rdi\n int3");
static void test_remapped_code(void **state)
{
	struct tiny *t = *state;

	enter_remap(t, 0);
	tiny_put(t, PAGE, "\xb8\x01\x00\x00\x00\xc3", 6); /* mov $1, %eax; ret */
	tiny_put(t, OTHER, "\xb8\x02\x00\x00\x00\xc3", 6);
	assert_int_equal(RUN(t, call_page), X86_BP);
	assert_int_equal(GPR(t, DX), 1);
	assert_int_equal(GPR(t, AX), 2);
}

/* Self-modifying code: the next execution sees the store (vol. 3, 8.1.3), in the same page too. */
GUEST(self_modifying, 64,
      "xor %ecx, %ecx\n 1: mov $1, %eax\n add %eax, %ecx\n cmp $1, %ecx\n jne 2f\n"
      "movb $5, (1b + 1)(%rip)\n jmp 1b\n 2: int3");
static void test_self_modifying(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	assert_int_equal(RUN(t, self_modifying), X86_BP);
	assert_int_equal(GPR(t, CX), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_permissions), TEST(test_upper_levels), TEST(test_accessed_dirty), TEST(test_accessed_by_copy),
		TEST(test_dirty_behind_branch),
		TEST(test_reserved),
		TEST(test_smep_smap), TEST(test_smap_implicit), TEST(test_large_pages), TEST(test_tables_nowhere),
		TEST(test_canonical), TEST(test_pdptes), TEST(test_flushes), TEST(test_pcid), TEST(test_invpcid),
		TEST(test_invlpg), TEST(test_remapped_code), TEST(test_self_modifying),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
