/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Real mode, and the way from it to long mode and back, by guest code alone (SDM vol. 3, 9.8, 9.9, 20.1). */
#include "check.h"

GUEST(soft_int, 16, "int $0x21\n hlt");
GUEST(iret16, 16, "iret");
GUEST(iret32, 16, "iretl");
GUEST(word_load, 16, "mov (%di), %ax\n hlt");
GUEST(far_call, 16, "lcall $0x0900, $0x0010\n hlt");
GUEST(far_ret, 16, "lret $4");
GUEST(push_word, 16, "push %ax\n hlt");
GUEST(load_ds, 16, "mov %ax, %ds\n mov %ds:(%di), %bl\n hlt");
GUEST(divide, 16, "div %cl\n hlt");

/* 20.1.4: FLAGS, CS and IP, 16 bits each; IF and TF are cleared; faults push no error code. */
static void test_ivt(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_REAL, 0);
	FLAGS(t) |= FL_IF | FL_CF | FL_AC;
	assert_int_equal(RUN(t, soft_int), 0x21);
	assert_int_equal(t->frame.rip, TINY_CODE + 2);
	assert_int_equal(t->frame.rflags, FL_1 | FL_IF | FL_CF);
	assert_int_equal(FLAGS(t), FL_1 | FL_CF);
	assert_int_equal(GPR(t, SP), 0xf000 - 6);
	tiny_enter(t, TINY_REAL, 0);
	assert_int_equal(RUN(t, divide), X86_DE);
	assert_int_equal(t->frame.rip, TINY_CODE);
	assert_int_equal(GPR(t, SP), 0xf000 - 6);
	/* LIDT moves the table; a vector beyond its limit is #GP, and without that a shutdown. */
	tiny_enter(t, TINY_REAL, 0);
	t->v->s.idtr = (struct x86_dtable){ TINY_DATA, 0x3ff };
	tiny_poke(t, TINY_DATA + 0x21 * 4, 4, tiny_stub(0x33));
	assert_int_equal(RUN(t, soft_int), 0x33);
	tiny_enter(t, TINY_REAL, 0);
	t->v->s.idtr.limit = 0x21 * 4 + 2;
	assert_int_equal(RUN(t, soft_int), X86_GP);
	assert_int_equal(t->frame.rip, TINY_CODE);
	tiny_enter(t, TINY_REAL, 0);
	t->v->s.idtr.limit = 3;
	assert_int_equal(RUN(t, soft_int), TINY_SHUTDOWN);
}

static void test_iret(void **state)
{
	struct tiny *t = *state;
	uint16_t frame16[] = { 0x100, TINY_CODE >> 4, (uint16_t)(FL_1 | FL_IF | FL_IOPL | FL_NT | FL_ZF) };
	uint32_t frame32[] = { 0x100, TINY_CODE >> 4, (uint32_t)(FL_1 | FL_ID | FL_VM | FL_VIF | FL_AC) };

	tiny_enter(t, TINY_REAL, 0);
	tiny_put(t, GPR(t, SP) -= 6, frame16, 6);
	tiny_put(t, TINY_CODE + 0x100, "\xf4", 1);
	assert_int_equal(RUN(t, iret16), TINY_HLT);
	assert_int_equal(t->v->s.rip, 0x101);
	assert_int_equal(SEG(t, CS).base, TINY_CODE);
	assert_int_equal(FLAGS(t), frame16[2]);
	assert_int_equal(GPR(t, SP), 0xf000);
	tiny_enter(t, TINY_REAL, 0);
	tiny_put(t, GPR(t, SP) -= 12, frame32, 12);
	assert_int_equal(RUN(t, iret32), TINY_HLT);
	assert_int_equal(FLAGS(t), FL_1 | FL_ID | FL_AC); /* VM, VIF and VIP do not change */
}

static void test_far_call(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_REAL, 0);
	tiny_put(t, 0x9010, "\xf4", 1);
	assert_int_equal(RUN(t, far_call), TINY_HLT);
	assert_int_equal(SEG(t, CS).sel, 0x900);
	assert_int_equal(SEG(t, CS).base, 0x9000);
	assert_int_equal(t->v->s.rip, 0x11);
	assert_int_equal(tiny_peek(t, 0xf000 - 4, 4), TINY_CODE + 5);
	tiny_put(t, 0x9011, far_ret, 3);
	tiny_put(t, TINY_CODE + 5, "\xf4", 1);
	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_int_equal(t->v->s.rip, TINY_CODE + 6);
	assert_int_equal(GPR(t, SP), 0xf004);
}

/* 20.1.1: 20-bit addressing by segments, limits of 64 KiB, a word at 0xffff is #GP (#SS on the stack). */
static void test_addressing(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_REAL, 0);
	GPR(t, AX) = 0xffff; /* above 1 MiB: A20 is the board's matter */
	GPR(t, DI) = 0x20;
	tiny_poke(t, 0x100010, 1, 0x77);
	assert_int_equal(RUN(t, load_ds), TINY_HLT);
	assert_int_equal(SEG(t, DS).base, 0xffff0);
	assert_int_equal(GPR(t, BX), 0x77);
	tiny_enter(t, TINY_REAL, 0);
	GPR(t, DI) = 0xffff;
	assert_int_equal(RUN(t, word_load), X86_GP);
	tiny_enter(t, TINY_REAL, 0);
	SEG(t, SS).base = 0x70000;
	GPR(t, SP) = 0; /* wraps */
	GPR(t, AX) = 0x1234;
	tiny_state_changed(t);
	assert_int_equal(RUN(t, push_word), TINY_HLT);
	assert_int_equal(GPR(t, SP), 0xfffe);
	assert_int_equal(tiny_peek(t, 0x7fffe, 2), 0x1234);
	/* SP = 1: the word would straddle the end; the fault finds no room for its own frame either. */
	tiny_enter(t, TINY_REAL, 0);
	SEG(t, SS).base = 0x70000;
	GPR(t, SP) = 1;
	tiny_state_changed(t);
	assert_int_equal(RUN(t, push_word), TINY_SHUTDOWN);
}

/* Real mode has no LAR, LLDT and their kin (vol. 2: #UD). */
GUEST(lldt, 16, "lldt %ax");
GUEST(verr, 16, "verr %ax");
static void test_refused(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_REAL, 0);
	assert_int_equal(RUN(t, lldt), X86_UD);
	tiny_enter(t, TINY_REAL, 0);
	assert_int_equal(RUN(t, verr), X86_UD);
}

/* Big real mode: a 4 GiB limit loaded in protected mode stays in real mode, whatever is loaded there (9.9). */
GUEST(big_real, 16,
      "mov $1, %eax\n mov %eax, %cr0\n"
      "mov $0x10, %bx\n mov %bx, %ds\n"
      "xor %eax, %eax\n mov %eax, %cr0\n"
      "xor %bx, %bx\n mov %bx, %ds\n"
      "mov $0x123456, %edi\n movl $0x600df00d, (%edi)\n hlt");
static void test_big_real(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_REAL, 0);
	assert_int_equal(RUN(t, big_real), TINY_HLT);
	assert_int_equal(tiny_peek(t, 0x123456, 4), 0x600df00d);
	assert_int_equal(SEG(t, DS).limit, 0xffffffff);
}

/* 9.9.1, 9.8.5.1: to protected mode, to IA-32e mode, to 64-bit mode. */
GUEST(to_long, 16,
      "mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n"
      "ljmp $0x08, $(1f - to_long + 0x8000)\n"
      ".code32\n"
      "1: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %ss\n mov $0x90000, %esp\n"
      "mov %cr4, %eax\n or $0x20, %eax\n mov %eax, %cr4\n"
      "mov $0x10000, %eax\n mov %eax, %cr3\n"
      "mov $0xc0000080, %ecx\n rdmsr\n or $0x100, %eax\n wrmsr\n"
      "mov %cr0, %eax\n or $0x80000000, %eax\n mov %eax, %cr0\n"
      "rdmsr\n mov %eax, %ebx\n"
      "ljmp $0x18, $(2f - to_long + 0x8000)\n"
      ".code64\n"
      "2: mov $0x1122334455667788, %rdx\n hlt");
static void test_to_long_mode(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0); /* for its page tables and GDT */
	t->mode = TINY_REAL;
	x86_reset(&t->v->s, false);
	t->v->s.seg[SEG_CS].sel = 0;
	t->v->s.seg[SEG_CS].base = 0;
	t->v->s.rip = TINY_CODE;
	t->v->s.gdtr = (struct x86_dtable){ TINY_GDT, TINY_GDT_LIMIT };
	tiny_state_changed(t);
	assert_int_equal(RUN(t, to_long), TINY_HLT);
	assert_int_equal(GPR(t, DX), 0x1122334455667788);
	assert_int_equal(GPR(t, BX) & (EFER_LME | EFER_LMA), EFER_LME | EFER_LMA);
	assert_true(x86_64bit(&t->v->s));
}

/* 9.8.5.4: leave IA-32e mode through compatibility mode. */
GUEST(from_long, 64,
      "ljmp *(%rdi)\n"
      ".code32\n"
      "1: mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
      "mov $0xc0000080, %ecx\n rdmsr\n mov %eax, %ebx\n hlt");
static void test_from_long_mode(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	GPR(t, DI) = TINY_DATA;
	tiny_poke(t, TINY_DATA, 8, (TINY_CODE + 2) | (uint64_t)SEL_CODE0 << 32);
	assert_int_equal(RUN(t, from_long), TINY_HLT);
	assert_int_equal(GPR(t, BX) & (EFER_LME | EFER_LMA), EFER_LME);
	assert_false(x86_long_mode(&t->v->s));
	/* From 64-bit mode itself PG cannot be cleared (vol. 2, MOV CR). */
	tiny_enter(t, TINY_LONG, 0);
	GPR(t, AX) = t->v->s.cr0 & ~CR0_PG;
	tiny_put(t, TINY_CODE, "\x0f\x22\xc0", 3);
	assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ivt), TEST(test_iret), TEST(test_far_call), TEST(test_addressing), TEST(test_refused),
		TEST(test_big_real), TEST(test_to_long_mode), TEST(test_from_long_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
