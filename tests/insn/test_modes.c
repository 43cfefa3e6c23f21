/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code of 16 and 32 bits in loops: what an engine may keep of it, wraps, limits, big real mode, code that changes itself.
 * On the translator these also see that it is the translator that runs them.
 */
#include "check.h"

#define ROUNDS 20000

/* Of the instructions that ran, at most one in a hundred was left to the reference; on the reference itself nothing is asked. */
static void assert_translated(struct tiny *t, uint64_t steps_before, uint64_t instructions)
{
	if (!strcmp(t->v->engine->name, "bt"))
		assert_in_range(t->v->stats.bt_interp_steps - steps_before, 0, instructions / 100);
}

/* -- Hot code -------------------------------------------------------------------------------------------- */

#define LOOP(bits, cx, si, di, bp)                                                                           \
	"	mov	$20000, %" cx "\n"                                                                   \
	"	cld\n"                                                                                       \
	"1:	push	%" cx "\n"                                                                           \
	"	call	2f\n"                                                                                \
	"	pop	%" cx "\n"                                                                           \
	"	mov	$0xa000, %" si "\n"                                                                  \
	"	mov	$0xa100, %" di "\n"                                                                  \
	"	movsb\n	movsw\n	lodsw\n	stosw\n"                                                             \
	"	add	(0xa000), %dx\n"                                                                     \
	"	mov	%ds, %ax\n"                                                                          \
	"	pusha\n	popa\n"                                                                              \
	"	pushf\n	popf\n"                                                                              \
	"	push	%ds\n	pop	%es\n"                                                                \
	"	mov	%dh, (0xa200)\n"                                                                     \
	"	jc	3f\n"                                                                                \
	"	inc	%" bp "\n"                                                                           \
	"3:	dec	%" cx "\n"                                                                           \
	"	jcxz	4f\n"                                                                                \
	"	jnz	1b\n"                                                                                \
	"4:	hlt\n"                                                                                       \
	"2:	incw	(0xa000)\n"                                                                          \
	"	lea	3(%" bp "), %" si "\n"                                                               \
	"	ret\n"
GUEST(loop_16, 16, LOOP(16, "cx", "si", "di", "bp"));
GUEST(loop_32, 32, LOOP(32, "ecx", "esi", "edi", "ebp"));

static void run_loop(struct tiny *t, enum tiny_mode mode, unsigned cpl, bool code32)
{
	unsigned sum = 0, carries = 0;
	uint64_t steps;

	for (unsigned n = 1; n <= ROUNDS; n++) {
		sum += n;
		carries += sum >> 16;
		sum &= 0xffff;
	}
	tiny_enter(t, mode, cpl);
	FLAGS(t) |= FL_IOPL; /* POPF in virtual-8086 mode */
	tiny_state_changed(t);
	tiny_poke(t, TINY_DATA, 4, 0);
	if (code32)
		TINY_LOAD(t, TINY_CODE, loop_32);
	else
		TINY_LOAD(t, TINY_CODE, loop_16);
	steps = t->v->stats.bt_interp_steps;
	assert_int_equal(tiny_run(t), mode == TINY_V86 || cpl ? X86_GP : TINY_HLT); /* HLT is the kernel's */
	assert_int_equal(GPR(t, DX) & 0xffff, sum);
	assert_int_equal(GPR(t, BP) & 0xffff, ROUNDS - carries);
	assert_int_equal(GPR(t, CX) & 0xffff, 0);
	assert_int_equal(tiny_peek(t, TINY_DATA, 2), ROUNDS);
	assert_int_equal(tiny_peek(t, TINY_DATA + 0x100, 1), ROUNDS & 0xff);
	assert_int_equal(tiny_peek(t, TINY_DATA + 0x200, 1), sum >> 8);
	assert_translated(t, steps, ROUNDS * 30ull);
}

static void test_hot_16(void **state)
{
	run_loop(*state, TINY_REAL, 0, false);
	run_loop(*state, TINY_V86, 3, false);
	run_loop(*state, TINY_PROT16, 0, false);
	run_loop(*state, TINY_PROT16, 3, false);
}

static void test_hot_32(void **state)
{
	static const enum tiny_mode modes[] = { TINY_PROT32, TINY_PAGED32, TINY_PAE, TINY_COMPAT };

	for (unsigned n = 0; n < ARRAY_SIZE(modes); n++)
		for (unsigned cpl = 0; cpl <= 3; cpl += 3)
			run_loop(*state, modes[n], cpl, true);
}

/* -- Repeated strings ---------------------------------------------------------------------------------------- */

GUEST(strings, 16, "mov $200, %dx\n"
		   "1: mov $0xa000, %si; mov $0xb000, %di; mov $0x800, %cx; rep movsb\n"
		   "mov $0xa000, %si; mov $0xb000, %di; mov $0x400, %cx; repe cmpsw; jne 9f; jcxz 2f; jmp 9f\n"
		   "2: mov $0xb000, %di; mov $0x100, %cx; mov $0x77, %al; rep stosb\n"
		   "mov $0xb000, %di; mov $0x200, %cx; repe scasb; mov %cx, %bp\n"
		   "dec %dx; jnz 1b; hlt\n"
		   "9: ud2");

static void test_strings(void **state)
{
	struct tiny *t = *state;
	uint64_t steps;

	tiny_enter(t, TINY_REAL, 0);
	for (unsigned n = 0; n < 0x800; n++)
		tiny_poke(t, TINY_DATA + n, 1, n * 7 % 251);
	steps = t->v->stats.bt_interp_steps;
	assert_int_equal(RUN(t, strings), TINY_HLT);
	assert_int_equal(GPR(t, BP), 0xff); /* it stops behind the first byte that differs */
	assert_int_equal(tiny_peek(t, 0xb0ff, 1), 0x77);
	assert_int_equal(tiny_peek(t, 0xb100, 1), 0x100 * 7 % 251);
	assert_translated(t, steps, 200 * 0x1000);
}

/* -- Wraps --------------------------------------------------------------------------------------------------- */

GUEST(jump_over_end, 16, ".byte 0xe9, 0x10, 0x00"); /* at 0xfffd: to 0x10 */
GUEST(wrapped_operand, 16, "mov $0xfffe, %bx\n mov 0xa002(%bx), %al\n lea 5(%bx), %dx\n mov $0xfff0, %sp\n hlt");
GUEST(push_all, 16, "pusha\n mov %sp, %bx\n popa\n hlt");

static void test_wraps(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_REAL, 0);
	SEG(t, CS).sel = 0x2000;
	SEG(t, CS).base = 0x20000;
	t->v->s.rip = 0xfffd;
	TINY_LOAD(t, 0x2fffd, jump_over_end);
	tiny_put(t, 0x20010, "\xf4", 1);
	tiny_state_changed(t);
	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_int_equal(t->v->s.rip, 0x11);
	/* What runs off the end does not come round. */
	tiny_enter(t, TINY_REAL, 0);
	SEG(t, CS).sel = 0x2000;
	SEG(t, CS).base = 0x20000;
	t->v->s.rip = 0xfffd;
	tiny_put(t, 0x2fffd, "\x90\x90\x90", 3);
	tiny_put(t, 0x20000, "\xf4", 1);
	tiny_state_changed(t);
	assert_int_equal(tiny_run(t), X86_GP);
	tiny_enter(t, TINY_REAL, 0);
	tiny_poke(t, 0xa000, 1, 0x5a);
	assert_int_equal(RUN(t, wrapped_operand), TINY_HLT);
	assert_int_equal(GPR(t, AX), 0x5a);
	assert_int_equal(GPR(t, DX), 3);
	/* Each word of PUSHA's wraps for itself. */
	tiny_enter(t, TINY_REAL, 0);
	SEG(t, SS).base = 0x30000;
	GPR(t, AX) = 0x1111;
	GPR(t, CX) = 0x2222;
	GPR(t, DX) = 0x3333;
	GPR(t, DI) = 0x8888;
	GPR(t, SP) = 0xabcd0004; /* above 16 bits it stays as it is */
	tiny_state_changed(t);
	assert_int_equal(RUN(t, push_all), TINY_HLT);
	assert_int_equal(GPR(t, SP), 0xabcd0004);
	assert_int_equal(tiny_peek(t, 0x30002, 2), 0x1111);
	assert_int_equal(tiny_peek(t, 0x30000, 2), 0x2222);
	assert_int_equal(tiny_peek(t, 0x3fffe, 2), 0x3333);
	assert_int_equal(tiny_peek(t, 0x3fff4, 2), 0x8888);
}

/* Behind the last byte of 4 GiB EIP is 0 again; an instruction across that end is beyond the limit. */
static void test_wraps_eip(void **state)
{
	static const uint8_t call[] = { 0xe8, 1, 0, 0, 0, 0xf4, 0x5b, 0xf4 }; /* call 1; 0: hlt; 1: pop %ebx; hlt */
	struct tiny *t = *state;

	for (unsigned nop = 0; nop < 2; nop++) {
		tiny_enter(t, TINY_PROT32, 0);
		SEG(t, CS).base = TINY_CODE + (nop ? 1 : 5);
		t->v->s.rip = nop ? 0xffffffff : 0xfffffffb;
		GPR(t, BX) = 0x1234;
		tiny_put(t, TINY_CODE, call, sizeof(call));
		if (nop)
			tiny_put(t, TINY_CODE, "\x90\xf4", 2);
		tiny_state_changed(t);
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(t->v->s.rip, nop ? 1 : 3);
		assert_int_equal(GPR(t, BX), nop ? 0x1234 : 0);
	}
	tiny_enter(t, TINY_PROT32, 0);
	SEG(t, CS).base = TINY_CODE + 4;
	t->v->s.rip = 0xfffffffc;
	tiny_put(t, TINY_CODE, call, sizeof(call));
	tiny_state_changed(t);
	assert_int_equal(tiny_run(t), X86_GP);
}

/* -- Limits ---------------------------------------------------------------------------------------------------- */

GUEST(walk_up, 32, "1: mov (%ebx), %eax\n add $4, %ebx\n jmp 1b");
GUEST(walk_up_flags, 32, "stc\n 1: mov (%ebx), %eax\n lea 4(%ebx), %ebx\n jc 1b\n ud2");
GUEST(walk_down, 32, "1: mov %eax, (%ebx)\n sub $4, %ebx\n jmp 1b");
GUEST(walk_stack, 32, "1: push %eax\n jmp 1b");

static void set_ds(struct tiny *t, unsigned seg, uint32_t base, uint32_t limit, uint16_t attr)
{
	t->v->s.seg[seg] = (struct x86_seg){ .sel = SEL_FREE, .attr = attr, .limit = limit, .base = base };
	tiny_state_changed(t);
}

static void test_limits(void **state)
{
	const uint16_t data = SEG_P | SEG_S | SEG_RW | SEG_ACCESSED | SEG_DB;
	struct tiny *t = *state;

	tiny_enter(t, TINY_PROT32, 0);
	set_ds(t, SEG_DS, TINY_FREE, 0x2ffe, data);
	assert_fault(t, RUN(t, walk_up), X86_GP, TINY_CODE, 0);
	assert_int_equal(GPR(t, BX), 0x2ffc); /* its last byte is beyond */
	tiny_enter(t, TINY_PROT32, 0);
	set_ds(t, SEG_DS, TINY_FREE, 0x2fff, data);
	assert_fault(t, RUN(t, walk_up_flags), X86_GP, TINY_CODE + 1, 0);
	assert_int_equal(GPR(t, BX), 0x3000);
	assert_true(t->frame.rflags & FL_CF);
	/* Expand-down: what is above the limit */
	tiny_enter(t, TINY_PROT32, 0);
	set_ds(t, SEG_DS, 0, TINY_FREE + 0xfff, data | SEG_CONF);
	GPR(t, BX) = TINY_FREE + 0x2000;
	GPR(t, AX) = 0x12345678;
	assert_fault(t, RUN(t, walk_down), X86_GP, TINY_CODE, 0);
	assert_int_equal(GPR(t, BX), TINY_FREE + 0xffc);
	assert_int_equal(tiny_peek(t, TINY_FREE + 0x1000, 4), 0x12345678);
	/* Read-only */
	tiny_enter(t, TINY_PROT32, 0);
	set_ds(t, SEG_DS, 0, 0xffffffff, (data & ~SEG_RW) | SEG_G);
	GPR(t, BX) = TINY_FREE;
	assert_fault(t, RUN(t, walk_down), X86_GP, TINY_CODE, 0);
	assert_int_equal(GPR(t, BX), TINY_FREE);
	/* The stack's own fault, delivered to another ring */
	tiny_enter(t, TINY_PROT32, 3);
	set_ds(t, SEG_SS, TINY_FREE - 0x100, 0x1fff, data | 3 << 5);
	t->v->s.seg[SEG_SS].sel = SEL_DATA3;
	GPR(t, SP) = 0x4004;
	tiny_state_changed(t);
	assert_fault(t, RUN(t, walk_stack), X86_SS, TINY_CODE, 0);
	assert_int_equal(t->frame.rsp, 0x4004);
}

GUEST(other_base, 32, "mov $3000, %ecx\n mov $0x3b, %dx\n mov $0xa3, %bx\n"
		      "1: mov %bx, %ds\n addl $1, 0x20\n mov %dx, %ds\n addl $1, 0xa020\n dec %ecx\n jnz 1b\n hlt");

/* A segment that is flat now and then is not taken for flat. */
static void test_flat_and_not(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		uint64_t steps = t->v->stats.bt_interp_steps;

		tiny_enter(t, TINY_PROT32, cpl);
		tiny_set_desc(t, SEL_FREE, tiny_desc(TINY_DATA + 0x100, 0xff, SEG_P | 3 << 5 | SEG_S | SEG_RW | SEG_ACCESSED));
		tiny_poke(t, TINY_DATA + 0x120, 4, 0);
		tiny_poke(t, TINY_DATA + 0x20, 4, 0);
		assert_int_equal(RUN(t, other_base), cpl ? X86_GP : TINY_HLT);
		assert_int_equal(tiny_peek(t, TINY_DATA + 0x120, 4), 3000);
		assert_int_equal(tiny_peek(t, TINY_DATA + 0x20, 4), 3000);
		assert_translated(t, steps, 3000 * 6);
	}
}

/* -- Big real mode ------------------------------------------------------------------------------------------------ */

GUEST(big_real, 16, "mov $0x100000, %ebx\n mov $1000, %cx\n"
		    "1: mov %ebx, (%ebx)\n add (%ebx), %eax\n add $4, %ebx\n loop 1b\n"
		    "mov %ax, %ds\n mov 0x100, %dl\n hlt");

static void test_big_real(void **state)
{
	struct tiny *t = *state;
	uint64_t steps = t->v->stats.bt_interp_steps;

	tiny_enter(t, TINY_REAL, 0);
	SEG(t, DS).limit = 0xffffffff;
	tiny_state_changed(t);
	assert_int_equal(RUN(t, big_real), TINY_HLT);
	assert_int_equal(tiny_peek(t, 0x100000 + 999 * 4, 4), 0x100000 + 999 * 4);
	assert_int_equal((uint32_t)GPR(t, AX), (uint32_t)(1000 * 0x100000 + 4 * 999 * 500));
	assert_int_equal(SEG(t, DS).limit, 0xffffffff); /* the load has kept it */
	assert_translated(t, steps, 4000);
	/* Without the limit the first access is #GP. */
	tiny_enter(t, TINY_REAL, 0);
	assert_int_equal(RUN(t, big_real), X86_GP);
	assert_int_equal(GPR(t, BX), 0x100000);
}

/* -- Code ------------------------------------------------------------------------------------------------------------ */

GUEST(rewrites_itself, 16, "mov $500, %cx\n"
			   "1: mov %cx, 2f - rewrites_itself + 0x8000 + 1\n"
			   "2: mov $0, %dx\n add %dx, %ax\n loop 1b\n hlt");

static void test_self_modifying(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_REAL, 0);
	assert_int_equal(RUN(t, rewrites_itself), TINY_HLT);
	assert_int_equal(GPR(t, AX) & 0xffff, 500 * 501 / 2 & 0xffff);
}

/* INC RAX; or DEC EAX, INC EAX; or the same of AX */
static void test_same_bytes(void **state)
{
	struct tiny *t = *state;

	tiny_put(t, TINY_CODE, "\x48\xff\xc0\xf4", 4);
	for (unsigned n = 0; n < 3; n++) {
		tiny_enter(t, TINY_LONG, 0);
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(GPR(t, AX), 1);
		tiny_enter(t, TINY_COMPAT, 0);
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(GPR(t, AX), 0);
		tiny_enter(t, TINY_PROT16, 0);
		GPR(t, AX) = 0x10000;
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(GPR(t, AX), 0x10000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hot_16), TEST(test_hot_32), TEST(test_strings), TEST(test_wraps), TEST(test_wraps_eip), TEST(test_limits),
		TEST(test_flat_and_not), TEST(test_big_real), TEST(test_self_modifying), TEST(test_same_bytes),
	};

	return cmocka_run_group_tests_name("modes", tests, NULL, NULL);
}
