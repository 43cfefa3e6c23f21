/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual-8086 mode, with and without VME, and protected-mode virtual interrupts (SDM vol. 3, ch. 20). */
#include "check.h"

#define IOPL3    FL_IOPL
#define TSS_IOPB 0x88u /* I/O map base, with room for the 32 bytes of the redirection bitmap before it */

/* A TSS with a redirection bitmap; a set bit sends the vector to the protected-mode handler (20.3.3). */
static void set_redirection(struct tiny *t, unsigned vector, bool to_monitor)
{
	uint8_t zero[32] = { 0 };

	tiny_poke(t, TINY_TSS + 102, 2, TSS_IOPB);
	tiny_put(t, TINY_TSS + TSS_IOPB - 32, zero, sizeof(zero));
	if (to_monitor)
		tiny_poke(t, TINY_TSS + TSS_IOPB - 32 + vector / 8, 1, 1u << (vector % 8));
	t->v->s.tr.limit = TSS_IOPB;
}

static void enter_v86(struct tiny *t, uint64_t flags, bool vme)
{
	tiny_enter(t, TINY_V86, 3);
	FLAGS(t) |= flags;
	t->v->s.cr4 |= vme ? CR4_VME : 0;
	set_redirection(t, 0, false);
	tiny_state_changed(t);
}

GUEST(nothing, 16, "nop\n int3");
GUEST(segments, 16, "mov %ax, %ds\n mov %ds:(%di), %bx\n mov %ax, %fs\n int3");

/* 20.1: 8086 addressing; an exception pushes all segments on the ring 0 stack and nulls them. */
static void test_frame(void **state)
{
	struct tiny *t = *state;

	enter_v86(t, FL_IF, false);
	GPR(t, AX) = 0x0a00;
	GPR(t, DI) = 0x20;
	tiny_poke(t, TINY_DATA + 0x20, 2, 0x5aa5);
	assert_int_equal(RUN(t, segments), X86_BP);
	assert_int_equal(GPR(t, BX), 0x5aa5);
	assert_int_equal(t->frame.rflags, FL_1 | FL_VM | FL_IF);
	assert_int_equal(t->frame.cs, 0);
	assert_int_equal(t->frame.ss, 0);
	assert_int_equal(t->frame.rsp, 0xf000);
	assert_int_equal(t->frame.ds, 0x0a00);
	assert_int_equal(t->frame.fs, 0x0a00);
	assert_int_equal(t->frame.es, 0);
	assert_int_equal(GPR(t, SP), TINY_STACK0 - 9 * 4);
	assert_int_equal(FLAGS(t) & FL_VM, 0);
	assert_int_equal(t->v->s.cpl, 0);
	assert_int_equal(SEG(t, DS).attr & SEG_P, 0);
	assert_int_equal(SEG(t, ES).attr & SEG_P, 0);
	assert_int_equal(SEG(t, FS).sel, 0);
	assert_int_equal(SEG(t, GS).sel, 0);
	assert_int_equal(SEG(t, SS).sel, SEL_DATA0);
}

/* IRET from ring 0 enters the mode (20.2.1): nine items. */
GUEST(iret32, 32, "iret");
static void test_enter_by_iret(void **state)
{
	struct tiny *t = *state;
	uint32_t frame[] = { 0x100,  TINY_CODE >> 4, FL_1 | FL_VM | FL_IF | FL_IOPL,
			     0x1234, 0x2000,         0x3000, 0x4000, 0x5000, 0x6000 };

	tiny_enter(t, TINY_PROT32, 0);
	GPR(t, SP) -= sizeof(frame);
	tiny_put(t, GPR(t, SP), frame, sizeof(frame));
	tiny_put(t, TINY_CODE + 0x100, "\xcc", 1);
	assert_int_equal(RUN(t, iret32), X86_BP);
	assert_int_equal(t->frame.rip, 0x101);
	assert_int_equal(t->frame.cs, TINY_CODE >> 4);
	assert_int_equal(t->frame.rflags, frame[2]);
	assert_int_equal(t->frame.rsp, 0x1234);
	assert_int_equal(t->frame.ss, 0x2000);
	assert_int_equal(t->frame.es, 0x3000);
	assert_int_equal(t->frame.ds, 0x4000);
	assert_int_equal(t->frame.fs, 0x5000);
	assert_int_equal(t->frame.gs, 0x6000);
	/* VM in the image means nothing in ring 3, and EIP has 16 bits. */
	tiny_enter(t, TINY_PROT32, 0);
	frame[0] = 0x10100;
	GPR(t, SP) -= sizeof(frame);
	tiny_put(t, GPR(t, SP), frame, sizeof(frame));
	assert_fault(t, RUN(t, iret32), X86_GP, TINY_CODE, 0);
}

/* A handler for virtual-8086 mode has to be in ring 0 (vol. 2, INT n). */
static void test_handler_ring(void **state)
{
	struct tiny *t = *state;

	enter_v86(t, 0, false);
	tiny_set_gate(t, X86_BP, 0xe, 3, SEL_CODE1, tiny_stub(X86_BP), 0);
	assert_fault(t, RUN(t, nothing), X86_GP, TINY_CODE + 1, SEL_CODE1 & ~3);
	enter_v86(t, 0, false);
	tiny_set_desc(t, SEL_FREE, tiny_desc(0, 0xffffffff, 0x9f | SEG_G | SEG_DB));
	tiny_set_gate(t, X86_BP, 0xe, 3, SEL_FREE, tiny_stub(X86_BP), 0);
	assert_fault(t, RUN(t, nothing), X86_GP, TINY_CODE + 1, SEL_FREE);
}

/* -- IOPL-sensitive instructions (20.2.7) ------------------------------------------------------ */

GUEST(cli16, 16, "cli\n int3");
GUEST(sti16, 16, "sti\n int3");
GUEST(pushf16, 16, "pushf\n pop %ax\n int3");
GUEST(pushfl16, 16, "pushfl\n pop %eax\n int3");
GUEST(popf16, 16, "push %ax\n popf\n int3");
GUEST(popfl16, 16, "push %eax\n popfl\n int3");
GUEST(iret16, 16, "iret");
GUEST(int16, 16, "int $0x21\n int3");

static int run_code(struct tiny *t, const unsigned char *code, const unsigned char *end)
{
	tiny_put(t, TINY_CODE, code, (size_t)(end - code));
	return tiny_run(t);
}

static void test_iopl(void **state)
{
	static const struct {
		const unsigned char *code, *end;
	} c[] = { { cli16, cli16_end },     { sti16, sti16_end }, { pushf16, pushf16_end },
		  { popf16, popf16_end }, { iret16, iret16_end }, { int16, int16_end } };
	struct tiny *t = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		enter_v86(t, 0, false);
		GPR(t, AX) = FL_1;
		assert_int_equal(run_code(t, c[i].code, c[i].end), X86_GP);
		assert_int_equal(t->frame.err, 0);
		assert_int_equal(t->frame.rip, TINY_CODE + (c[i].code == popf16 ? 1 : 0));
	}
	/* At IOPL 3 they work as on an 8086, and leave IOPL alone. */
	enter_v86(t, IOPL3 | FL_IF, false);
	assert_int_equal(RUN(t, cli16), X86_BP);
	assert_false(t->frame.rflags & FL_IF);
	enter_v86(t, IOPL3, false);
	assert_int_equal(RUN(t, sti16), X86_BP);
	assert_true(t->frame.rflags & FL_IF);
	enter_v86(t, IOPL3 | FL_IF, false);
	assert_int_equal(RUN(t, pushfl16), X86_BP);
	assert_int_equal(GPR(t, AX), FL_1 | FL_IF | IOPL3);
	enter_v86(t, IOPL3, false);
	GPR(t, AX) = FL_1 | FL_IF | FL_ID | FL_VIP;
	assert_int_equal(RUN(t, popfl16), X86_BP);
	assert_int_equal(t->frame.rflags, FL_1 | FL_IF | FL_ID | IOPL3 | FL_VM);
	enter_v86(t, IOPL3, false);
	assert_int_equal(RUN(t, int16), X86_GP); /* the gate's DPL is 0 */
	assert_int_equal(t->frame.err, 0x21 * 8 + 2);
	enter_v86(t, IOPL3, false);
	tiny_set_gate(t, 0x21, 0xe, 3, SEL_CODE0, tiny_stub(0x21), 0);
	assert_int_equal(RUN(t, int16), 0x21);
	enter_v86(t, IOPL3, false);
	GPR(t, SP) -= 6;
	tiny_poke(t, GPR(t, SP), 6, 0x9000ull | 0x0010ull << 16 | (FL_1 | FL_IF | FL_NT) << 32);
	tiny_put(t, 0x9100, "\xcc", 1);
	assert_int_equal(RUN(t, iret16), X86_BP);
	assert_int_equal(t->frame.rip, 0x9001);
	assert_int_equal(t->frame.cs, 0x10);
	assert_int_equal(t->frame.rflags, FL_1 | FL_IF | FL_NT | IOPL3 | FL_VM);
}

/* -- VME (20.3, 20.4): below IOPL 3 the 16-bit forms use VIF; pending VIP makes enabling it #GP(0) --- */

static void test_vme_flags(void **state)
{
	struct tiny *t = *state;

	enter_v86(t, FL_VIF | FL_IF, true);
	assert_int_equal(RUN(t, cli16), X86_BP);
	assert_int_equal(t->frame.rflags & (FL_IF | FL_VIF), FL_IF);
	enter_v86(t, 0, true);
	assert_int_equal(RUN(t, sti16), X86_BP);
	assert_int_equal(t->frame.rflags & (FL_IF | FL_VIF), FL_VIF);
	enter_v86(t, FL_VIP, true);
	assert_fault(t, RUN(t, sti16), X86_GP, TINY_CODE, 0);
	/* PUSHF shows VIF as IF and IOPL as 3; the 32-bit form is not virtualized. */
	enter_v86(t, FL_VIF, true);
	assert_int_equal(RUN(t, pushf16), X86_BP);
	assert_int_equal(GPR(t, AX), FL_1 | FL_IF | IOPL3);
	enter_v86(t, FL_IF, true);
	assert_int_equal(RUN(t, pushf16), X86_BP);
	assert_int_equal(GPR(t, AX), FL_1 | IOPL3);
	enter_v86(t, FL_VIF, true);
	assert_fault(t, RUN(t, pushfl16), X86_GP, TINY_CODE, 0);
	/* POPF: IF to VIF; TF, or IF while VIP, faults. */
	enter_v86(t, 0, true);
	GPR(t, AX) = FL_1 | FL_IF | FL_CF;
	assert_int_equal(RUN(t, popf16), X86_BP);
	assert_int_equal(t->frame.rflags, FL_1 | FL_VIF | FL_CF | FL_VM);
	enter_v86(t, 0, true);
	GPR(t, AX) = FL_1 | FL_TF;
	assert_fault(t, RUN(t, popf16), X86_GP, TINY_CODE + 1, 0);
	enter_v86(t, FL_VIP, true);
	GPR(t, AX) = FL_1 | FL_IF;
	assert_fault(t, RUN(t, popf16), X86_GP, TINY_CODE + 1, 0);
	enter_v86(t, FL_VIP | FL_VIF, true);
	GPR(t, AX) = FL_1;
	assert_int_equal(RUN(t, popf16), X86_BP);
	assert_int_equal(t->frame.rflags & (FL_VIF | FL_VIP), FL_VIP);
}

static void test_vme_iret(void **state)
{
	struct tiny *t = *state;

	enter_v86(t, 0, true);
	GPR(t, SP) -= 6;
	tiny_poke(t, GPR(t, SP), 6, 0x9000ull | 0x0010ull << 16 | (FL_1 | FL_IF | FL_IOPL) << 32);
	tiny_put(t, 0x9100, "\xcc", 1);
	assert_int_equal(RUN(t, iret16), X86_BP);
	assert_int_equal(t->frame.rip, 0x9001);
	assert_int_equal(t->frame.rflags, FL_1 | FL_VIF | FL_VM);
	enter_v86(t, FL_VIP, true);
	GPR(t, SP) -= 6;
	tiny_poke(t, GPR(t, SP), 6, 0x9000ull | 0x0010ull << 16 | (FL_1 | FL_IF) << 32);
	assert_fault(t, RUN(t, iret16), X86_GP, TINY_CODE, 0);
}

/* INT n by the redirection bitmap and IOPL (table 20-2). */
static void test_vme_int(void **state)
{
	struct tiny *t = *state;

	for (unsigned iopl = 0; iopl <= 3; iopl += 3) {
		/* Bit clear: the program's own handler, by the table at linear address 0. */
		enter_v86(t, (uint64_t)iopl << 12 | FL_VIF | FL_IF, true);
		tiny_put(t, 0xa010, "\xcc", 1);
		tiny_poke(t, 0x21 * 4, 4, 0x0a000010);
		assert_int_equal(RUN(t, int16), X86_BP);
		assert_int_equal(t->frame.cs, 0x0a00);
		assert_int_equal(t->frame.rip, 0x11);
		assert_int_equal(t->frame.rsp, 0xf000 - 6);
		assert_int_equal(tiny_peek(t, 0xf000 - 6, 4), TINY_CODE + 2);
		assert_int_equal(tiny_peek(t, 0xf000 - 2, 2), FL_1 | FL_IF | IOPL3);
		assert_int_equal(t->frame.rflags & (FL_IF | FL_VIF), iopl == 3 ? FL_VIF : FL_IF);
		/* Bit set: the monitor's, or #GP(0) below IOPL 3. */
		enter_v86(t, (uint64_t)iopl << 12, true);
		set_redirection(t, 0x21, true);
		tiny_set_gate(t, 0x21, 0xe, 3, SEL_CODE0, tiny_stub(0x21), 0);
		if (iopl == 3)
			assert_int_equal(RUN(t, int16), 0x21);
		else
			assert_fault(t, RUN(t, int16), X86_GP, TINY_CODE, 0);
	}
	/* INT3 is not redirected. */
	enter_v86(t, 0, true);
	assert_fault(t, RUN(t, nothing), X86_BP, TINY_CODE + 2, 0);
}

/* 20.4: CR4.PVI gives ring 3 of protected mode VIF for CLI and STI. */
BOTH(cli, "cli\n int3");
BOTH(sti, "sti\n int3");
static void test_pvi(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 3, cli) {
		t->v->s.cr4 |= CR4_PVI;
		FLAGS(t) |= FL_IF | FL_VIF;
		assert_int_equal(tiny_run(t), X86_BP);
		assert_int_equal(t->frame.rflags & (FL_IF | FL_VIF), FL_IF);
	}
	FOR_BOTH(t, 3, sti) {
		t->v->s.cr4 |= CR4_PVI;
		assert_int_equal(tiny_run(t), X86_BP);
		assert_int_equal(t->frame.rflags & (FL_IF | FL_VIF), FL_VIF);
	}
	FOR_BOTH(t, 3, sti) {
		t->v->s.cr4 |= CR4_PVI;
		FLAGS(t) |= FL_VIP;
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
	}
	FOR_BOTH(t, 3, sti)
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
}

/* What is not there in virtual-8086 mode. */
GUEST(lar16, 16, "lar %ax, %cx");
GUEST(sldt16, 16, "sldt %ax");
GUEST(hlt16, 16, "hlt");
GUEST(lgdt16, 16, "lgdt (0x100)");
GUEST(mov_cr16, 16, "mov %cr0, %eax");
GUEST(vzeroupper16, 16, "vzeroupper");
static void test_refused(void **state)
{
	struct tiny *t = *state;

	enter_v86(t, IOPL3, true);
	assert_fault(t, RUN(t, lar16), X86_UD, TINY_CODE, 0);
	enter_v86(t, IOPL3, true);
	assert_fault(t, RUN(t, sldt16), X86_UD, TINY_CODE, 0);
	enter_v86(t, IOPL3, true);
	assert_fault(t, RUN(t, hlt16), X86_GP, TINY_CODE, 0);
	enter_v86(t, IOPL3, true);
	assert_fault(t, RUN(t, lgdt16), X86_GP, TINY_CODE, 0);
	enter_v86(t, IOPL3, true);
	assert_fault(t, RUN(t, mov_cr16), X86_GP, TINY_CODE, 0);
	/* No VEX either (vol. 2, 2.3.2), nor in real mode. */
	enter_v86(t, IOPL3, true);
	t->v->s.cr4 |= CR4_OSXSAVE;
	t->v->s.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
	assert_fault(t, RUN(t, vzeroupper16), X86_UD, TINY_CODE, 0);
	tiny_enter(t, TINY_REAL, 0);
	t->v->s.cr4 |= CR4_OSXSAVE;
	t->v->s.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
	assert_int_equal(RUN(t, vzeroupper16), X86_UD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_frame), TEST(test_enter_by_iret), TEST(test_handler_ring), TEST(test_iopl),
		TEST(test_vme_flags), TEST(test_vme_iret), TEST(test_vme_int), TEST(test_pvi), TEST(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
