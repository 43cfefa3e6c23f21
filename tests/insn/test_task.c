/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hardware task switches by JMP, CALL, IRET and interrupts; 16- and 32-bit TSSs (SDM vol. 3, ch. 7). */
#include "check.h"

#define TSS_B     (TINY_DATA)       /* the other task's TSS */
#define SEL_B     (SEL_FREE)
#define SEL_GATE  (SEL_FREE + 8)    /* a task gate to it */
#define SEL_X     (SEL_FREE + 16)   /* a descriptor to be spoilt */
#define ENTRY_B   (TINY_CODE + 0x100)
#define STACK_B   0x82000u

enum { TSS16 = 1, TSS32 = 9 };

GUEST(jmp_task, 32, "ljmp $0xa0, $0\n int3");
GUEST(call_task, 32, "lcall $0xa0, $0\n int3");
GUEST(call_task_gate, 32, "lcall $0xa8, $0\n int3");
GUEST(int_task, 32, "int $0x80\n int3");
GUEST(fault_task, 32, "ud2");
#define AFTER_FAR (TINY_CODE + 7)

/* A 32-bit TSS with recognizable registers that starts at ENTRY_B in a ring. */
static void make_tss32(struct tiny *t, unsigned cpl)
{
	uint8_t zero[104] = { 0 };
	uint16_t data = cpl ? SEL_DATA3 : SEL_DATA0;

	tiny_put(t, TSS_B, zero, sizeof(zero));
	tiny_poke(t, TSS_B + 4, 4, TINY_STACK1 - 0x800);
	tiny_poke(t, TSS_B + 8, 2, SEL_DATA0);
	tiny_poke(t, TSS_B + 28, 4, t->v->s.cr3);
	tiny_poke(t, TSS_B + 32, 4, ENTRY_B);
	tiny_poke(t, TSS_B + 36, 4, FL_1 | FL_ZF);
	for (unsigned i = 0; i < 8; i++)
		tiny_poke(t, TSS_B + 40 + i * 4, 4, i == R_SP ? STACK_B : 0xb0000000 + i);
	for (unsigned i = 0; i < 6; i++)
		tiny_poke(t, TSS_B + 72 + i * 4, 2, i == SEG_CS ? (cpl ? SEL_CODE3 : SEL_CODE0) : data);
	tiny_poke(t, TSS_B + 96, 2, SEL_LDT);
	tiny_set_desc(t, SEL_B, tiny_desc(TSS_B, 0x67, SEG_P | TSS32));
}

static void make_tss16(struct tiny *t)
{
	uint8_t zero[44] = { 0 };

	tiny_put(t, TSS_B, zero, sizeof(zero));
	tiny_poke(t, TSS_B + 14, 2, ENTRY_B);
	tiny_poke(t, TSS_B + 16, 2, FL_1 | FL_ZF);
	for (unsigned i = 0; i < 8; i++)
		tiny_poke(t, TSS_B + 18 + i * 2, 2, i == R_SP ? 0x7000 : 0xb000 + i);
	tiny_poke(t, TSS_B + 34, 2, SEL_DATA0);
	tiny_poke(t, TSS_B + 36, 2, SEL_CODE0);
	tiny_poke(t, TSS_B + 38, 2, SEL_DATA0);
	tiny_poke(t, TSS_B + 40, 2, SEL_DATA0);
	tiny_poke(t, TSS_B + 42, 2, 0);
	tiny_set_desc(t, SEL_B, tiny_desc(TSS_B, 0x2b, SEG_P | TSS16));
}

static void enter_task_test(struct tiny *t, enum tiny_mode mode, unsigned cpl)
{
	tiny_enter(t, mode, cpl);
	for (unsigned i = 0; i < 8; i++)
		if (i != R_SP)
			t->v->s.gpr[i] = 0xa0000000 + i;
	make_tss32(t, 0);
	tiny_set_desc(t, SEL_GATE, (uint64_t)SEL_B << 16 | 0xe5ull << 40);
	tiny_put(t, ENTRY_B, "\xf4", 1);
}

static bool busy(struct tiny *t, uint16_t sel)
{
	return (tiny_get_desc(t, sel) >> 41) & 1;
}

/* What the old task's TSS holds. */
static void check_saved32(struct tiny *t, uint32_t eip, uint64_t flags, uint32_t esp, bool ring3)
{
	assert_int_equal(tiny_peek(t, TINY_TSS + 32, 4), eip);
	assert_int_equal(tiny_peek(t, TINY_TSS + 36, 4), flags);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(tiny_peek(t, TINY_TSS + 40 + i * 4, 4), i == R_SP ? esp : 0xa0000000 + i);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(tiny_peek(t, TINY_TSS + 72 + i * 4, 2),
				 i == SEG_CS ? (ring3 ? SEL_CODE3 : SEL_CODE0) : (ring3 ? SEL_DATA3 : SEL_DATA0));
}

static void check_loaded32(struct tiny *t, uint64_t flags)
{
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(t->v->s.gpr[i], i == R_SP ? STACK_B : 0xb0000000 + i);
	assert_int_equal(t->v->s.rip, ENTRY_B + 1);
	assert_int_equal(FLAGS(t), flags);
	assert_int_equal(t->v->s.tr.sel, SEL_B);
	assert_int_equal(t->v->s.tr.base, TSS_B);
	assert_true(t->v->s.cr0 & CR0_TS);
}

/* 7.3, table 7-2: busy bits, NT and the link by what switches. */
static void test_jmp(void **state)
{
	struct tiny *t = *state;

	enter_task_test(t, TINY_PROT32, 0);
	t->v->s.dr[7] |= 0x3ff; /* local enables go, global ones stay */
	t->v->s.dr[0] = t->v->s.dr[1] = t->v->s.dr[2] = t->v->s.dr[3] = 0x700000;
	assert_int_equal(RUN(t, jmp_task), TINY_HLT);
	check_saved32(t, AFTER_FAR, FL_1, TINY_STACK, false);
	check_loaded32(t, FL_1 | FL_ZF);
	assert_false(busy(t, SEL_TSS));
	assert_true(busy(t, SEL_B));
	assert_int_equal(tiny_peek(t, TSS_B, 2), 0);
	assert_int_equal(t->v->s.dr[7] & 0x3ff, 0x2aa);
}

static void test_call_and_return(void **state)
{
	struct tiny *t = *state;

	for (unsigned gate = 0; gate < 2; gate++) {
		enter_task_test(t, TINY_PROT32, 0);
		assert_int_equal(gate ? RUN(t, call_task_gate) : RUN(t, call_task), TINY_HLT);
		check_saved32(t, AFTER_FAR, FL_1, TINY_STACK, false);
		check_loaded32(t, FL_1 | FL_ZF | FL_NT);
		assert_true(busy(t, SEL_TSS));
		assert_true(busy(t, SEL_B));
		assert_int_equal(tiny_peek(t, TSS_B, 2), SEL_TSS);
		/* Back by IRET. */
		tiny_put(t, ENTRY_B + 1, "\xcf", 1);
		GPR(t, AX) = 0xcccc;
		assert_int_equal(tiny_run(t), X86_BP);
		assert_int_equal(t->frame.rip, AFTER_FAR + 1);
		assert_int_equal(t->frame.rflags, FL_1);
		assert_int_equal(GPR(t, AX), 0xa0000000);
		assert_int_equal(t->v->s.tr.sel, SEL_TSS);
		assert_true(busy(t, SEL_TSS));
		assert_false(busy(t, SEL_B));
		/* What B was: EAX changed, NT clear in the image, EIP behind its IRET. */
		assert_int_equal(tiny_peek(t, TSS_B + 40, 4), 0xcccc);
		assert_int_equal(tiny_peek(t, TSS_B + 36, 4), FL_1 | FL_ZF);
		assert_int_equal(tiny_peek(t, TSS_B + 32, 4), ENTRY_B + 2);
	}
}

/* From ring 3 through a gate in the IDT; the error code of an exception goes to the new stack (6.12.2). */
static void test_interrupt_task(void **state)
{
	struct tiny *t = *state;

	enter_task_test(t, TINY_PROT32, 3);
	tiny_set_gate(t, 0x80, 5, 3, SEL_B, 0, 0);
	assert_int_equal(RUN(t, int_task), TINY_HLT);
	check_saved32(t, TINY_CODE + 2, FL_1, TINY_STACK3, true);
	check_loaded32(t, FL_1 | FL_ZF | FL_NT);
	enter_task_test(t, TINY_PROT32, 3);
	tiny_set_gate(t, X86_UD, 5, 0, SEL_B, 0, 0);
	assert_int_equal(RUN(t, fault_task), TINY_HLT);
	check_saved32(t, TINY_CODE, FL_1 | FL_RF, TINY_STACK3, true);
	check_loaded32(t, FL_1 | FL_ZF | FL_NT);
	enter_task_test(t, TINY_PROT32, 3);
	tiny_set_gate(t, X86_GP, 5, 0, SEL_B, 0, 0);
	tiny_put(t, TINY_CODE, "\xcd\x99", 2); /* int $0x99: #GP(0x99 * 8 + 2) */
	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_int_equal(GPR(t, SP), STACK_B - 4);
	assert_int_equal(tiny_peek(t, STACK_B - 4, 4), 0x99 * 8 + 2);
}

/* A 16-bit task: 16-bit registers, FS and GS null, an error code of 2 bytes. */
static void test_task16(void **state)
{
	struct tiny *t = *state;

	enter_task_test(t, TINY_PROT32, 0);
	make_tss16(t);
	assert_int_equal(RUN(t, call_task), TINY_HLT);
	check_saved32(t, AFTER_FAR, FL_1, TINY_STACK, false);
	assert_int_equal(GPR(t, AX) & 0xffff, 0xb000);
	assert_int_equal(GPR(t, SP) & 0xffff, 0x7000);
	assert_int_equal(SEG(t, FS).sel, 0);
	assert_int_equal(SEG(t, DS).sel, SEL_DATA0);
	assert_int_equal(FLAGS(t), FL_1 | FL_ZF | FL_NT);
	tiny_put(t, ENTRY_B + 1, "\xcf", 1);
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(tiny_peek(t, TSS_B + 14, 2), ENTRY_B + 2);
	assert_int_equal(tiny_peek(t, TSS_B + 16, 2), FL_1 | FL_ZF);
	assert_int_equal(tiny_peek(t, TSS_B + 18, 2), 0xb000);
	assert_int_equal(GPR(t, AX), 0xa0000000);
}

/* A task in ring 3, one in virtual-8086 mode, and one with page tables of its own. */
static void test_kinds_of_task(void **state)
{
	struct tiny *t = *state;

	enter_task_test(t, TINY_PROT32, 0);
	make_tss32(t, 3);
	tiny_put(t, ENTRY_B, "\xcc", 1);
	assert_int_equal(RUN(t, jmp_task), X86_BP);
	assert_int_equal(t->frame.cs, SEL_CODE3);
	assert_int_equal(t->frame.rsp, STACK_B);
	assert_int_equal(GPR(t, SP), TINY_STACK1 - 0x800 - 20); /* ESP0 of the new TSS */

	enter_task_test(t, TINY_PROT32, 0);
	tiny_poke(t, TSS_B + 36, 4, FL_1 | FL_VM);
	tiny_poke(t, TSS_B + 32, 4, 0x100);
	for (unsigned i = 0; i < 6; i++)
		tiny_poke(t, TSS_B + 72 + i * 4, 2, i == SEG_CS ? TINY_CODE >> 4 : 0x1000 + i);
	tiny_put(t, TINY_CODE + 0x100, "\xcc", 1);
	assert_int_equal(RUN(t, jmp_task), X86_BP);
	assert_true(t->frame.rflags & FL_VM);
	assert_int_equal(t->frame.cs, TINY_CODE >> 4);
	assert_int_equal(t->frame.gs, 0x1000 + SEG_GS);

	enter_task_test(t, TINY_PAGED32, 0);
	tiny_poke(t, 0x1f000, 4, tiny_peek(t, t->v->s.cr3, 4)); /* another directory */
	tiny_poke(t, TSS_B + 28, 4, 0x1f000);
	assert_int_equal(RUN(t, jmp_task), TINY_HLT);
	assert_int_equal(t->v->s.cr3, 0x1f000);
}

/* The T bit: #DB with DR6.BT before the first instruction of the new task (7.2.1, 17.3.1.5). */
static void test_debug_trap(void **state)
{
	struct tiny *t = *state;

	enter_task_test(t, TINY_PROT32, 0);
	tiny_poke(t, TSS_B + 100, 2, 1);
	assert_fault(t, RUN(t, jmp_task), X86_DB, ENTRY_B, 0);
	assert_int_equal(t->v->s.dr[6], DR6_FIXED | DR6_BT);
}

/* -- Faults in the old task's context (table 7-1) ---------------------------------------------- */

static void test_refusals(void **state)
{
	struct tiny *t = *state;

	/* Busy, not present, too short, in the LDT. */
	enter_task_test(t, TINY_PROT32, 0);
	tiny_set_desc(t, SEL_B, tiny_desc(TSS_B, 0x67, SEG_P | 11));
	assert_fault(t, RUN(t, jmp_task), X86_GP, TINY_CODE, SEL_B);
	enter_task_test(t, TINY_PROT32, 0);
	tiny_set_desc(t, SEL_B, tiny_desc(TSS_B, 0x67, TSS32));
	assert_fault(t, RUN(t, jmp_task), X86_NP, TINY_CODE, SEL_B);
	enter_task_test(t, TINY_PROT32, 0);
	tiny_set_desc(t, SEL_B, tiny_desc(TSS_B, 0x66, SEG_P | TSS32));
	assert_fault(t, RUN(t, jmp_task), X86_TS, TINY_CODE, SEL_B);
	/* Privilege: DPL of a TSS, DPL of a gate. */
	enter_task_test(t, TINY_PROT32, 3);
	assert_fault(t, RUN(t, call_task), X86_GP, TINY_CODE, SEL_B);
	enter_task_test(t, TINY_PROT32, 3);
	tiny_set_desc(t, SEL_GATE, (uint64_t)SEL_B << 16 | 0x85ull << 40);
	assert_fault(t, RUN(t, call_task_gate), X86_GP, TINY_CODE, SEL_GATE);
	/* A gate that leads nowhere. */
	enter_task_test(t, TINY_PROT32, 0);
	tiny_set_desc(t, SEL_GATE, (uint64_t)SEL_DATA0 << 16 | 0xe5ull << 40);
	assert_fault(t, RUN(t, call_task_gate), X86_GP, TINY_CODE, SEL_DATA0);
	/* IRET to a task that is not busy. */
	enter_task_test(t, TINY_PROT32, 0);
	FLAGS(t) |= FL_NT;
	tiny_poke(t, TINY_TSS, 2, SEL_B);
	tiny_put(t, TINY_CODE, "\xcf", 1);
	assert_fault(t, tiny_run(t), X86_TS, TINY_CODE, SEL_B);
	/* There are no task switches in IA-32e mode (7.7). */
	tiny_enter(t, TINY_COMPAT, 0);
	tiny_set_desc(t, SEL_B, tiny_desc(TSS_B, 0x67, SEG_P | TSS32));
	assert_fault(t, RUN(t, jmp_task), X86_GP, TINY_CODE, SEL_B);
	tiny_enter(t, TINY_COMPAT, 0);
	tiny_set_desc(t, SEL_GATE, (uint64_t)SEL_B << 16 | 0xe5ull << 40);
	assert_fault(t, RUN(t, call_task_gate), X86_GP, TINY_CODE, SEL_GATE);
}

/* A page of the new TSS that is missing is found before anything has changed (7.3, step 4). */
static void test_not_paged(void **state)
{
	struct tiny *t = *state;

	enter_task_test(t, TINY_PAGED32, 0);
	tiny_set_pte(t, TSS_B, 0);
	TINY_LOAD(t, TINY_CODE, jmp_task);
	assert_fault(t, tiny_run(t), X86_PF, TINY_CODE, 0);
	assert_int_equal(t->v->s.tr.sel, SEL_TSS);
	assert_true(busy(t, SEL_TSS));
	assert_false(busy(t, SEL_B));
	assert_int_equal(GPR(t, BX), 0xa0000003);
}

/* -- Faults in the new task's context: the saved EIP and the stack are the new task's ---------- */

static void check_new_context(struct tiny *t, unsigned slot, uint16_t sel, uint64_t desc, int vector, uint32_t err)
{
	enter_task_test(t, TINY_PROT32, 0);
	if (desc)
		tiny_set_desc(t, SEL_X, desc);
	tiny_poke(t, TSS_B + slot, 2, sel);
	assert_fault(t, RUN(t, jmp_task), vector, ENTRY_B, err);
	assert_int_equal(t->v->s.tr.sel, SEL_B);
	assert_false(busy(t, SEL_TSS));
	assert_int_equal(tiny_peek(t, TINY_TSS + 32, 4), AFTER_FAR);
}

static void test_new_context_faults(void **state)
{
	struct tiny *t = *state;
	uint64_t data0 = tiny_desc(0, 0xffffffff, 0x93 | SEG_G | SEG_DB);

	enum { SLOT_DS = 72 + 3 * 4, SLOT_FS = 72 + 4 * 4, SLOT_ES = 72 };

	check_new_context(t, SLOT_DS, SEL_TSS, 0, X86_TS, SEL_TSS);
	check_new_context(t, SLOT_FS, 0x1000, 0, X86_TS, 0x1000);
	check_new_context(t, SLOT_ES, SEL_X, data0 & ~BIT(47), X86_NP, SEL_X);
	check_new_context(t, SLOT_ES, SEL_DATA0 | 3, 0, X86_TS, SEL_DATA0);
	/* The LDT is the first to be loaded; the stack is not valid yet, so the handler is a task of its own. */
	enter_task_test(t, TINY_PROT32, 0);
	tiny_poke(t, TSS_B + 96, 2, SEL_DATA0);
	tiny_set_gate(t, X86_TS, 5, 0, SEL_X, 0, 0);
	tiny_set_desc(t, SEL_X, tiny_desc(TINY_TSS + 0x400, 0x67, SEG_P | TSS32));
	for (unsigned i = 0; i < 104; i += 4)
		tiny_poke(t, TINY_TSS + 0x400 + i, 4, tiny_peek(t, TSS_B + i, 4));
	tiny_poke(t, TINY_TSS + 0x400 + 96, 2, SEL_LDT);
	assert_int_equal(RUN(t, jmp_task), TINY_HLT);
	assert_int_equal(t->v->s.tr.sel, SEL_X);
	assert_int_equal(tiny_peek(t, TINY_TSS + 0x400, 2), SEL_B);
	assert_int_equal(tiny_peek(t, STACK_B - 4, 4), SEL_DATA0);
	/* EIP beyond the limit of CS. */
	enter_task_test(t, TINY_PROT32, 0);
	tiny_set_desc(t, SEL_X, tiny_desc(0, 0xffff, 0x9b | SEG_DB));
	tiny_poke(t, TSS_B + 76, 2, SEL_X);
	tiny_poke(t, TSS_B + 32, 4, 0x10000);
	assert_fault(t, RUN(t, jmp_task), X86_GP, 0x10000, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_jmp), TEST(test_call_and_return), TEST(test_interrupt_task), TEST(test_task16),
		TEST(test_kinds_of_task), TEST(test_debug_trap), TEST(test_refusals), TEST(test_not_paged),
		TEST(test_new_context_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
