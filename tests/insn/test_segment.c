/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segmentation: limits, types, null selectors, accessed bits, loads of every register (SDM vol. 3, ch. 3 and 5). */
#include "check.h"

GUEST(load_fs_mem, 32, "mov %fs:(%edi), %eax\n hlt");
GUEST(store_fs_mem, 32, "mov %eax, %fs:(%edi)\n hlt");
GUEST(set_fs, 32, "mov %ecx, %fs\n hlt");
GUEST(push_1, 32, "push %eax\n hlt");

/* -- Limits (5.3) ------------------------------------------------------------------------------ */

static struct x86_seg segment(uint64_t raw)
{
	uint32_t limit = (uint32_t)((raw & 0xffff) | ((raw >> 32) & 0xf0000));

	return (struct x86_seg){
		.sel = SEL_FREE,
		.attr = (uint16_t)((raw >> 40) & 0xf0ff),
		.limit = (raw >> 55) & 1 ? limit << 12 | 0xfff : limit,
		.base = ((raw >> 16) & 0xffffff) | (raw >> 56) << 24,
	};
}

static void check_access(struct tiny *t, uint64_t raw, uint32_t off, bool store, bool ok)
{
	tiny_enter(t, TINY_PROT32, 0);
	SEG(t, FS) = segment(raw);
	GPR(t, DI) = off;
	tiny_state_changed(t);
	if (store)
		TINY_LOAD(t, TINY_CODE, store_fs_mem);
	else
		TINY_LOAD(t, TINY_CODE, load_fs_mem);
	if (ok)
		assert_int_equal(tiny_run(t), TINY_HLT);
	else
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
}

static void test_limits(void **state)
{
	struct tiny *t = *state;
	uint64_t bytes = tiny_desc(TINY_DATA, 0xfff, 0x93 | SEG_DB);
	uint64_t pages = tiny_desc(TINY_DATA, 0x2fff, 0x93 | SEG_DB | SEG_G);

	check_access(t, bytes, 0xffc, false, true);
	check_access(t, bytes, 0xffd, false, false);
	check_access(t, bytes, 0xfffffffe, false, false); /* no wrap */
	check_access(t, pages, 0x2ffc, true, true);
	check_access(t, pages, 0x2ffd, true, false);
}

/* Expand-down: what is above the limit is inside, up to 64 KiB or 4 GiB by B (5.3). */
static void test_expand_down(void **state)
{
	struct tiny *t = *state;
	uint64_t big = tiny_desc(0, 0x8fff, 0x97 | SEG_DB);
	uint64_t small = tiny_desc(0, 0x8fff, 0x97);

	check_access(t, big, 0x9000, true, true);
	check_access(t, big, 0x8fff, true, false);
	check_access(t, big, 0x8000, false, false);
	check_access(t, big, 0x20000, false, true);
	check_access(t, big, 0xfffffffd, false, false);
	check_access(t, small, 0x9000, false, true);
	check_access(t, small, 0xfffc, false, true);
	check_access(t, small, 0xfffd, false, false);
	check_access(t, small, 0x10000, false, false);
}

/* Types (5.5): no stores to read-only data and to code, no loads from execute-only code; null. */
static void test_types(void **state)
{
	struct tiny *t = *state;

	check_access(t, tiny_desc(0, 0xffff, 0x91), TINY_DATA, false, true);
	check_access(t, tiny_desc(0, 0xffff, 0x91), TINY_DATA, true, false);
	check_access(t, tiny_desc(0, 0xffff, 0x9b), TINY_DATA, false, true);
	check_access(t, tiny_desc(0, 0xffff, 0x9b), TINY_DATA, true, false);
	check_access(t, tiny_desc(0, 0xffff, 0x99), TINY_DATA, false, false);
	check_access(t, 0, TINY_DATA, false, false);
}

/* A reference to the stack beyond its limit is #SS(0); from ring 3, so that the handler has a stack. */
static void test_stack_limit(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_PROT32, 3);
	SEG(t, SS).limit = TINY_STACK3 - 2;
	tiny_state_changed(t);
	assert_fault(t, RUN(t, push_1), X86_SS, TINY_CODE, 0);
	assert_int_equal(t->frame.rsp, TINY_STACK3);
}

/* SS.B picks SP or ESP (6.2.3 of vol. 1): SP wraps within 64 KiB. */
static void test_stack_wrap(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_PROT32, 0);
	SEG(t, SS) = segment(tiny_desc(0x70000, 0xffff, 0x93));
	GPR(t, SP) = 0xabcd0000;
	GPR(t, AX) = 0x11223344;
	tiny_state_changed(t);
	assert_int_equal(RUN(t, push_1), TINY_HLT);
	assert_int_equal(GPR(t, SP), 0xabcdfffc);
	assert_int_equal(tiny_peek(t, 0x7fffc, 4), 0x11223344);
}

/* 64-bit mode: no limits, bases only of FS and GS (3.4.4). */
GUEST(long_bases, 64, "mov %ds:(%rdi), %eax\n mov %gs:(%rdi), %ebx\n hlt");
static void test_long_bases(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 3);
	SEG(t, DS) = (struct x86_seg){ .base = 0x1000, .limit = 0 };
	SEG(t, GS) = (struct x86_seg){ .base = 0x1000, .limit = 0 };
	tiny_poke(t, TINY_DATA, 4, 0x1111);
	tiny_poke(t, TINY_DATA + 0x1000, 4, 0x2222);
	GPR(t, DI) = TINY_DATA;
	tiny_state_changed(t);
	assert_int_equal(RUN(t, long_bases), X86_GP); /* HLT in ring 3 */
	assert_int_equal(GPR(t, AX), 0x1111);
	assert_int_equal(GPR(t, BX), 0x2222);
}

/* -- Loads ------------------------------------------------------------------------------------- */

/* 3.4.5.1: the accessed bit is set in the table, and in the register. */
static void test_accessed_bit(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_PROT32, 0);
	tiny_set_desc(t, SEL_FREE, tiny_desc(0x12345678, 0xabcde, 0x92 | SEG_DB));
	GPR(t, CX) = SEL_FREE;
	assert_int_equal(RUN(t, set_fs), TINY_HLT);
	assert_int_equal(tiny_get_desc(t, SEL_FREE), tiny_desc(0x12345678, 0xabcde, 0x93 | SEG_DB));
	assert_int_equal(SEG(t, FS).attr, 0x93 | SEG_DB);
	assert_int_equal(SEG(t, FS).base, 0x12345678);
	assert_int_equal(SEG(t, FS).limit, 0xabcde);
}

/* A page that must not be written stops a load that has to set the bit, and only that. */
static void test_accessed_bit_write_protected(void **state)
{
	struct tiny *t = *state;

	for (unsigned accessed = 0; accessed < 2; accessed++) {
		tiny_enter(t, TINY_PAGED32, 0);
		TINY_LOAD(t, TINY_CODE, set_fs);
		tiny_set_desc(t, SEL_FREE, tiny_desc(0, 0xfffff, 0x92 | accessed));
		tiny_set_pte_flags(t, TINY_GDT, 1);
		GPR(t, CX) = SEL_FREE;
		if (accessed) {
			assert_int_equal(tiny_run(t), TINY_HLT);
			continue;
		}
		assert_fault(t, tiny_run(t), X86_PF, TINY_CODE, PF_P | PF_W);
		assert_int_equal(t->v->s.cr2, TINY_GDT + SEL_FREE + 5);
		assert_int_equal(SEG(t, FS).sel, SEL_DATA0);
	}
}

/* The tables are read with supervisor rights even in ring 3 (4.6). */
static void test_table_access_is_supervisor(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_PAGED32, 3);
	TINY_LOAD(t, TINY_CODE, set_fs);
	tiny_set_pte_flags(t, TINY_GDT, 3);
	GPR(t, CX) = SEL_DATA3;
	assert_int_equal(tiny_run(t), X86_GP); /* the HLT */
	assert_int_equal(t->frame.rip, TINY_CODE + 2);
}

/* What DS, ES, FS, GS take (vol. 2, MOV): by type, DPL, RPL and CPL. */
static void test_data_loads(void **state)
{
	static const struct {
		uint16_t attr;
		unsigned rpl, cpl;
		int vector; /* TINY_HLT: loads */
	} c[] = {
		{ 0x93, 0, 0, TINY_HLT }, { 0x91, 0, 0, TINY_HLT }, { 0x9b, 0, 0, TINY_HLT }, { 0x99, 0, 0, X86_GP },
		{ 0x93, 3, 0, X86_GP },   { 0x93, 0, 3, X86_GP },   { 0xf3, 0, 3, TINY_HLT }, { 0xf3, 3, 0, TINY_HLT },
		{ 0xb3, 1, 1, TINY_HLT }, { 0xb3, 2, 1, X86_GP },   { 0x9f, 3, 3, TINY_HLT }, { 0x9d, 3, 3, X86_GP },
		{ 0x13, 0, 0, X86_NP },   { 0x73, 3, 3, X86_NP },   { 0x82, 0, 0, X86_GP },   { 0x8b, 0, 0, X86_GP },
		{ 0x02, 0, 0, X86_GP },
	};
	struct tiny *t = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		tiny_enter(t, TINY_PROT32, c[i].cpl);
		tiny_set_desc(t, SEL_FREE, tiny_desc(0, 0xffff, c[i].attr | SEG_DB));
		GPR(t, CX) = SEL_FREE | c[i].rpl;
		TINY_LOAD(t, TINY_CODE, set_fs);
		if (c[i].vector != TINY_HLT) {
			assert_fault(t, tiny_run(t), c[i].vector, TINY_CODE, SEL_FREE);
			continue;
		}
		assert_int_equal(tiny_run(t), c[i].cpl ? X86_GP : TINY_HLT);
		assert_int_equal(SEG(t, FS).sel, SEL_FREE | c[i].rpl);
	}
}

/* Null selectors load, with any RPL, and fault when used. */
static void test_null(void **state)
{
	struct tiny *t = *state;

	for (unsigned rpl = 0; rpl < 4; rpl++) {
		tiny_enter(t, TINY_PROT32, 0);
		GPR(t, CX) = rpl;
		assert_int_equal(RUN(t, set_fs), TINY_HLT);
		assert_int_equal(SEG(t, FS).sel, rpl);
		t->v->s.rip = TINY_CODE;
		GPR(t, DI) = TINY_DATA;
		assert_fault(t, RUN(t, load_fs_mem), X86_GP, TINY_CODE, 0);
	}
}

/* A null SS: only in 64-bit mode, below ring 3, with RPL = CPL (vol. 2, MOV). */
BOTH(set_ss, "mov %ecx, %ss\n nop\n hlt");
static void test_null_ss(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, set_ss) {
		GPR(t, CX) = 0;
		if (both_)
			assert_int_equal(tiny_run(t), TINY_HLT);
		else
			assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
	}
	FOR_BOTH(t, 0, set_ss) {
		GPR(t, CX) = 1;
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
	}
	FOR_BOTH(t, 3, set_ss) {
		GPR(t, CX) = 3;
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
	}
}

/* LDT: its limit, its absence. */
static void test_ldt(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_PROT32, 0);
	tiny_set_desc(t, 0x0c, tiny_desc(0x7000, 0xffff, 0x93));
	GPR(t, CX) = 0x0c;
	assert_int_equal(RUN(t, set_fs), TINY_HLT);
	assert_int_equal(SEG(t, FS).base, 0x7000);
	tiny_enter(t, TINY_PROT32, 0);
	t->v->s.ldtr.limit = 0x0e;
	GPR(t, CX) = 0x0c;
	assert_fault(t, RUN(t, set_fs), X86_GP, TINY_CODE, 0x0c);
	tiny_enter(t, TINY_PROT32, 0);
	t->v->s.ldtr = (struct x86_seg){ 0 };
	GPR(t, CX) = 0x0f;
	assert_fault(t, RUN(t, set_fs), X86_GP, TINY_CODE, 0x0c);
}

/* LDS and its kin: the register changes only when the segment could be loaded. */
GUEST(lfs, 32, "lfs (%edi), %eax\n hlt");
GUEST(lss, 32, "lss (%edi), %esp\n hlt");
GUEST(lds16, 16, "lds (%di), %ax\n hlt");
static void test_far_pointers(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_PROT32, 0);
	tiny_poke(t, TINY_DATA, 8, 0x12345678 | (uint64_t)SEL_DATA3 << 32);
	GPR(t, DI) = TINY_DATA;
	assert_int_equal(RUN(t, lfs), TINY_HLT);
	assert_int_equal(GPR(t, AX), 0x12345678);
	assert_int_equal(SEG(t, FS).sel, SEL_DATA3);
	tiny_enter(t, TINY_PROT32, 0);
	tiny_poke(t, TINY_DATA, 8, 0x12345678 | 0x1000ull << 32);
	GPR(t, DI) = TINY_DATA;
	GPR(t, AX) = 7;
	assert_fault(t, RUN(t, lfs), X86_GP, TINY_CODE, 0x1000);
	assert_int_equal(GPR(t, AX), 7);
	tiny_enter(t, TINY_PROT32, 0);
	tiny_poke(t, TINY_DATA, 8, 0x8800 | (uint64_t)SEL_DATA0_B << 32);
	GPR(t, DI) = TINY_DATA;
	assert_int_equal(RUN(t, lss), TINY_HLT);
	assert_int_equal(GPR(t, SP), 0x8800);
	assert_int_equal(SEG(t, SS).sel, SEL_DATA0_B);
	tiny_enter(t, TINY_REAL, 0);
	tiny_poke(t, TINY_DATA, 4, 0x12345678);
	GPR(t, DI) = TINY_DATA;
	assert_int_equal(RUN(t, lds16), TINY_HLT);
	assert_int_equal(GPR(t, AX), 0x5678);
	assert_int_equal(SEG(t, DS).base, 0x12340);
}

/* vol. 2, ARPL */
GUEST(arpl, 32, "arpl %cx, %ax\n hlt");
static void test_arpl(void **state)
{
	struct tiny *t = *state;

	for (unsigned a = 0; a < 4; a++) {
		for (unsigned b = 0; b < 4; b++) {
			tiny_enter(t, TINY_PROT32, 0);
			GPR(t, AX) = 0x12340050 | a;
			GPR(t, CX) = 0xfffc | b;
			FLAGS(t) |= a < b ? 0 : FL_ZF;
			assert_int_equal(RUN(t, arpl), TINY_HLT);
			assert_int_equal(GPR(t, AX), 0x12340050 | (a < b ? b : a));
			assert_int_equal(!!(FLAGS(t) & FL_ZF), a < b);
		}
	}
	tiny_enter(t, TINY_REAL, 0);
	assert_int_equal(RUN(t, arpl), X86_UD);
}

/* vol. 2, SWAPGS, RDFSBASE, WRGSBASE */
GUEST(swapgs, 64, "swapgs\n hlt");
GUEST(bases, 64, "wrgsbase %rax\n rdgsbase %rcx\n wrfsbase %eax\n rdfsbase %rdx\n hlt");
static void test_bases(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	SEG(t, GS).base = 0x1111;
	t->v->s.msr.kernel_gs_base = 0x2222;
	assert_int_equal(RUN(t, swapgs), TINY_HLT);
	assert_int_equal(SEG(t, GS).base, 0x2222);
	assert_int_equal(t->v->s.msr.kernel_gs_base, 0x1111);
	tiny_enter(t, TINY_LONG, 3);
	assert_fault(t, RUN(t, swapgs), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_PROT32, 0);
	assert_fault(t, RUN(t, swapgs), X86_UD, TINY_CODE, 0);
	if (!cpuid_has(&t->cpuid, "fsgsbase"))
		return;
	tiny_enter(t, TINY_LONG, 3);
	assert_fault(t, RUN(t, bases), X86_UD, TINY_CODE, 0); /* CR4.FSGSBASE is clear */
	tiny_enter(t, TINY_LONG, 3);
	t->v->s.cr4 |= CR4_FSGSBASE;
	GPR(t, AX) = 0x7fff87654321;
	assert_int_equal(RUN(t, bases), X86_GP); /* the HLT */
	assert_int_equal(GPR(t, CX), 0x7fff87654321);
	assert_int_equal(GPR(t, DX), 0x87654321);
	tiny_enter(t, TINY_LONG, 3);
	t->v->s.cr4 |= CR4_FSGSBASE;
	GPR(t, AX) = BIT(62);
	assert_fault(t, RUN(t, bases), X86_GP, TINY_CODE, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_limits), TEST(test_expand_down), TEST(test_types), TEST(test_stack_limit),
		TEST(test_stack_wrap), TEST(test_long_bases), TEST(test_accessed_bit),
		TEST(test_accessed_bit_write_protected), TEST(test_table_access_is_supervisor), TEST(test_data_loads),
		TEST(test_null), TEST(test_null_ss), TEST(test_ldt), TEST(test_far_pointers), TEST(test_arpl),
		TEST(test_bases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
