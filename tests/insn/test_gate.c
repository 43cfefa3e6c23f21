/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Call gates, far returns to outer rings and the forms of IRET (SDM vol. 3, 5.8; vol. 2, CALL, JMP, RET, IRET). */
#include "check.h"

#define CONFORMING 0x9e

/* -- Call gates -------------------------------------------------------------------------------- */

#define GATE (SEL_FREE)          /* 16 bytes in IA-32e mode */
#define CODE (SEL_FREE + 0x10)   /* a code segment of the test's own */
#define ENTRY (TINY_CODE + 0x100)

static void set_gate(struct tiny *t, unsigned type, unsigned dpl, uint16_t sel, uint64_t off, unsigned params)
{
	uint64_t lo = (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)params << 32 |
		      (uint64_t)(0x80 | dpl << 5 | type) << 40 | (off & 0xffff0000) << 32;

	tiny_set_desc(t, GATE, lo);
	if (x86_long_mode(&t->v->s))
		tiny_set_desc(t, GATE + 8, off >> 32);
	tiny_put(t, ENTRY, "\xcc", 1);
}

/* The far pointer's offset is of no interest; the gate has one. */
GUEST(call_gate_32, 32, "lcall $0xa0, $0x99999999\n hlt");
GUEST(call_gate_64, 64, "lcall *(%rdi)\n hlt");
GUEST(jmp_gate_32, 32, "ljmp $0xa0, $0x99999999\n hlt");
GUEST(jmp_gate_64, 64, "ljmp *(%rdi)\n hlt");
#define NEXT_32 (TINY_CODE + 7)
#define NEXT_64 (TINY_CODE + 2)

static void set_pointer(struct tiny *t)
{
	GPR(t, DI) = TINY_DATA;
	tiny_poke(t, TINY_DATA, 8, 0x99999999 | (uint64_t)GATE << 32);
}

/* To ring 0: the stack of the TSS, the old one pushed, parameters copied (5.8.5). */
static void test_gate_inner32(void **state)
{
	struct tiny *t = *state;

	for (unsigned params = 0; params <= 31; params += 31) {
		tiny_enter(t, TINY_PROT32, 3);
		set_gate(t, 12, 3, SEL_CODE0, ENTRY, params);
		for (unsigned i = 0; i < 32; i++)
			tiny_poke(t, TINY_STACK3 - 0x100 + i * 4, 4, 0x1000 + i);
		GPR(t, SP) = TINY_STACK3 - 0x100;
		assert_int_equal(RUN(t, call_gate_32), X86_BP);
		assert_int_equal(t->frame.rip, ENTRY + 1);
		assert_int_equal(t->frame.cs, SEL_CODE0);
		/* INT3 pushed 12 bytes more in the same ring. */
		assert_int_equal(GPR(t, SP), TINY_STACK0 - 16 - params * 4 - 12);
		assert_int_equal(tiny_peek(t, TINY_STACK0 - 4, 4), SEL_DATA3);
		assert_int_equal(tiny_peek(t, TINY_STACK0 - 8, 4), TINY_STACK3 - 0x100);
		for (unsigned i = 0; i < params; i++)
			assert_int_equal(tiny_peek(t, TINY_STACK0 - 8 - params * 4 + i * 4, 4), 0x1000 + i);
		assert_int_equal(tiny_peek(t, TINY_STACK0 - 12 - params * 4, 4), SEL_CODE3);
		assert_int_equal(tiny_peek(t, TINY_STACK0 - 16 - params * 4, 4), NEXT_32);
	}
}

static void test_gate_inner16(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_PROT32, 3);
	set_gate(t, 4, 3, SEL_CODE0, ENTRY, 1);
	tiny_poke(t, TINY_STACK3 - 4, 4, 0xaaaabbbb);
	GPR(t, SP) = TINY_STACK3 - 4;
	assert_int_equal(RUN(t, call_gate_32), X86_BP);
	assert_int_equal(tiny_peek(t, TINY_STACK0 - 2, 2), SEL_DATA3);
	assert_int_equal(tiny_peek(t, TINY_STACK0 - 4, 2), (TINY_STACK3 - 4) & 0xffff);
	assert_int_equal(tiny_peek(t, TINY_STACK0 - 6, 2), 0xbbbb);
	assert_int_equal(tiny_peek(t, TINY_STACK0 - 8, 2), SEL_CODE3);
	assert_int_equal(tiny_peek(t, TINY_STACK0 - 10, 2), NEXT_32 & 0xffff);
}

/* IA-32e mode: 8-byte items, a null SS with the new CPL, the offset's upper half in the second half (5.8.3.1). */
static void test_gate_inner64(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 3);
	set_gate(t, 12, 3, SEL_CODE0_64, ENTRY, 0);
	set_pointer(t);
	assert_int_equal(RUN(t, call_gate_64), X86_BP);
	assert_int_equal(t->frame.cs, SEL_CODE0_64);
	assert_int_equal(t->frame.ss, 0);
	assert_int_equal(t->frame.rsp, TINY_STACK0 - 32);
	assert_int_equal(tiny_peek(t, TINY_STACK0 - 8, 8), SEL_DATA3);
	assert_int_equal(tiny_peek(t, TINY_STACK0 - 16, 8), TINY_STACK3);
	assert_int_equal(tiny_peek(t, TINY_STACK0 - 24, 8), SEL_CODE3_64);
	assert_int_equal(tiny_peek(t, TINY_STACK0 - 32, 8), NEXT_64);
	/* From compatibility mode as well. */
	tiny_enter(t, TINY_COMPAT, 3);
	set_gate(t, 12, 3, SEL_CODE0_64, ENTRY, 0);
	assert_int_equal(RUN(t, call_gate_32), X86_BP);
	assert_int_equal(t->frame.cs, SEL_CODE0_64);
	assert_int_equal(tiny_peek(t, TINY_STACK0 - 32, 8), NEXT_32);
}

/* Same ring by CALL and JMP; conforming code keeps the caller's ring. */
static void test_gate_same(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_PROT32, 3);
	set_gate(t, 12, 3, SEL_CODE3, ENTRY, 5); /* parameters count for inner rings only */
	assert_int_equal(RUN(t, call_gate_32), X86_BP);
	assert_int_equal(t->frame.cs, SEL_CODE3);
	assert_int_equal(t->frame.rsp, TINY_STACK3 - 8);
	tiny_enter(t, TINY_PROT32, 3);
	tiny_set_desc(t, CODE, tiny_desc(0, 0xffffffff, CONFORMING | SEG_G | SEG_DB));
	set_gate(t, 12, 3, CODE, ENTRY, 0);
	assert_int_equal(RUN(t, jmp_gate_32), X86_BP);
	assert_int_equal(t->frame.cs, CODE | 3);
	assert_int_equal(t->frame.rsp, TINY_STACK3);
	tiny_enter(t, TINY_LONG, 3);
	tiny_set_desc(t, CODE, tiny_desc(0, 0xffffffff, CONFORMING | SEG_G | SEG_L));
	set_gate(t, 12, 3, CODE, ENTRY, 0);
	set_pointer(t);
	assert_int_equal(RUN(t, jmp_gate_64), X86_BP);
	assert_int_equal(t->frame.cs, CODE | 3);
}

static void check_gate_fault(struct tiny *t, bool call, int vector, uint32_t err)
{
	bool lm = x86_long_mode(&t->v->s);

	set_pointer(t);
	if (call)
		assert_fault(t, lm ? RUN(t, call_gate_64) : RUN(t, call_gate_32), vector, TINY_CODE, err);
	else
		assert_fault(t, lm ? RUN(t, jmp_gate_64) : RUN(t, jmp_gate_32), vector, TINY_CODE, err);
}

/* The faults in their order (vol. 2, CALL). */
static void test_gate_faults(void **state)
{
	struct tiny *t = *state;

	for (unsigned lm = 0; lm < 2; lm++) {
		enum tiny_mode mode = lm ? TINY_LONG : TINY_PROT32;
		uint16_t code0 = lm ? SEL_CODE0_64 : SEL_CODE0;

		tiny_enter(t, mode, 3); /* DPL of the gate */
		set_gate(t, 12, 0, code0, ENTRY, 0);
		check_gate_fault(t, true, X86_GP, GATE);
		tiny_enter(t, mode, 3); /* present */
		set_gate(t, 12, 3, code0, ENTRY, 0);
		tiny_set_desc(t, GATE, tiny_get_desc(t, GATE) & ~BIT(47));
		check_gate_fault(t, true, X86_NP, GATE);
		tiny_enter(t, mode, 3); /* null code */
		set_gate(t, 12, 3, 3, ENTRY, 0);
		check_gate_fault(t, true, X86_GP, 0);
		tiny_enter(t, mode, 3); /* not code */
		set_gate(t, 12, 3, SEL_DATA0, ENTRY, 0);
		check_gate_fault(t, true, X86_GP, SEL_DATA0);
		tiny_enter(t, mode, 3); /* JMP does not change rings */
		set_gate(t, 12, 3, code0, ENTRY, 0);
		check_gate_fault(t, false, X86_GP, code0);
		tiny_enter(t, mode, 3); /* code not present */
		tiny_set_desc(t, CODE, tiny_get_desc(t, code0) & ~BIT(47));
		set_gate(t, 12, 3, CODE, ENTRY, 0);
		check_gate_fault(t, true, X86_NP, CODE);
		tiny_enter(t, mode, 0); /* outwards is for returns */
		set_gate(t, 12, 0, lm ? SEL_CODE3_64 : SEL_CODE3, ENTRY, 0);
		check_gate_fault(t, true, X86_GP, (lm ? SEL_CODE3_64 : SEL_CODE3) & ~3u);
	}
	/* IA-32e mode: the code must be 64-bit, 16-bit gates do not exist, the upper half has no type. */
	tiny_enter(t, TINY_LONG, 3);
	set_gate(t, 12, 3, SEL_CODE0, ENTRY, 0);
	check_gate_fault(t, true, X86_GP, SEL_CODE0);
	tiny_enter(t, TINY_LONG, 3);
	set_gate(t, 4, 3, SEL_CODE0_64, ENTRY, 0);
	check_gate_fault(t, true, X86_GP, GATE);
	tiny_enter(t, TINY_LONG, 3);
	set_gate(t, 12, 3, SEL_CODE0_64, ENTRY, 0);
	tiny_set_desc(t, GATE + 8, 1ull << 40);
	check_gate_fault(t, true, X86_GP, GATE);
	/* Offsets: beyond the limit, non-canonical. */
	tiny_enter(t, TINY_PROT32, 3);
	tiny_set_desc(t, CODE, tiny_desc(0, ENTRY - 1, 0x9b | SEG_DB));
	set_gate(t, 12, 3, CODE, ENTRY, 0);
	check_gate_fault(t, true, X86_GP, 0);
	tiny_enter(t, TINY_LONG, 3);
	set_gate(t, 12, 3, SEL_CODE0_64, ENTRY, 0);
	tiny_set_desc(t, GATE + 8, 0x8000);
	check_gate_fault(t, true, X86_GP, 0);
	/* The inner stack: an SS of the wrong ring. */
	tiny_enter(t, TINY_PROT32, 3);
	set_gate(t, 12, 3, SEL_CODE1 & ~3u, ENTRY, 0);
	tiny_poke(t, TINY_TSS + 16, 2, SEL_DATA3);
	check_gate_fault(t, true, X86_TS, SEL_DATA3 & ~3u);
}

/* Every fault leaves registers, stack pointer and segments as they were. */
static void test_gate_precise(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 3);
	TINY_LOAD(t, TINY_CODE, call_gate_64);
	set_gate(t, 12, 3, SEL_CODE0_64, ENTRY, 0);
	set_pointer(t);
	tiny_set_pte(t, TINY_STACK0 - 8, 0);
	tiny_set_gate(t, X86_PF, 0xe, 0, SEL_CODE0_64, tiny_stub(X86_PF), 1);
	assert_fault(t, tiny_run(t), X86_PF, TINY_CODE, PF_W);
	assert_int_equal(t->v->s.cr2, TINY_STACK0 - 8);
	assert_int_equal(t->frame.cs, SEL_CODE3_64);
	assert_int_equal(t->frame.rsp, TINY_STACK3);
	assert_int_equal(t->frame.ss, SEL_DATA3);
}

/* -- RET, IRET: outwards ----------------------------------------------------------------------- */

GUEST(iret_32, 32, "iret\n hlt");
GUEST(iret_64, 64, "iretq\n hlt");
GUEST(iret16_32, 32, "iretw\n hlt");
GUEST(iret32_64, 64, "iretl\n hlt");
GUEST(lret_64, 64, "lretq\n hlt");

/* Push a frame of items of a size, the first one lowest. */
static void push_items(struct tiny *t, unsigned size, const uint64_t *item, unsigned n)
{
	GPR(t, SP) -= n * size;
	for (unsigned i = 0; i < n; i++)
		tiny_poke(t, SEG(t, SS).base * !x86_64bit(&t->v->s) + GPR(t, SP) + i * size, size, item[i]);
}

/* Ring 0 to ring 3: flags with IF and IOPL, SS:RSP, segments of ring 0 nulled. */
static void test_iret_outer(void **state)
{
	struct tiny *t = *state;

	for (unsigned lm = 0; lm < 2; lm++) {
		uint64_t flags = FL_1 | FL_IF | FL_IOPL | FL_CF | FL_AC;
		uint64_t frame[] = { ENTRY, lm ? SEL_CODE3_64 : SEL_CODE3, flags, 0x8b123, SEL_DATA3 };

		tiny_enter(t, lm ? TINY_LONG : TINY_PROT32, 0);
		tiny_put(t, ENTRY, "\xcc", 1);
		push_items(t, lm ? 8 : 4, frame, 5);
		assert_int_equal(lm ? RUN(t, iret_64) : RUN(t, iret_32), X86_BP);
		assert_int_equal(t->frame.cs, frame[1]);
		assert_int_equal(t->frame.rflags, flags);
		assert_int_equal(t->frame.rsp, 0x8b123);
		assert_int_equal(t->frame.ss, SEL_DATA3);
		assert_int_equal(SEG(t, DS).sel, 0);
		assert_int_equal(SEG(t, ES).attr & SEG_P, 0);
	}
}

/* In ring 3 IRET changes neither IOPL nor (above it) IF (vol. 2, IRET). */
static void test_iret_flags(void **state)
{
	struct tiny *t = *state;

	for (unsigned iopl = 0; iopl <= 3; iopl += 3) {
		for (unsigned lm = 0; lm < 2; lm++) {
			uint64_t frame[] = { ENTRY, lm ? SEL_CODE3_64 : SEL_CODE3,
					     FL_1 | FL_IF | (3 - iopl) << 12 | FL_ID | FL_VIF | FL_VIP, TINY_STACK3,
					     SEL_DATA3 };

			tiny_enter(t, lm ? TINY_LONG : TINY_PROT32, 3);
			tiny_put(t, ENTRY, "\xcc", 1);
			FLAGS(t) |= iopl << 12;
			push_items(t, lm ? 8 : 4, frame, lm ? 5 : 3);
			assert_int_equal(lm ? RUN(t, iret_64) : RUN(t, iret_32), X86_BP);
			assert_int_equal(t->frame.rflags, FL_1 | iopl << 12 | FL_ID | (iopl == 3 ? FL_IF : 0));
			assert_int_equal(t->frame.rsp, TINY_STACK3);
		}
	}
}

/* 64-bit IRET always pops SS:RSP, to the same ring too; SS may be null below ring 3 when going to 64-bit code. */
static void test_iret64(void **state)
{
	struct tiny *t = *state;
	uint64_t same[] = { ENTRY, SEL_CODE0_64, FL_1, 0x81238, 0 };
	uint64_t compat[] = { ENTRY, SEL_CODE3, FL_1, 0x8000000081238ull, SEL_DATA3 };
	uint64_t null3[] = { ENTRY, SEL_CODE3_64, FL_1, 0x81238, 3 };
	uint64_t null_compat[] = { ENTRY, SEL_CODE0, FL_1, 0x81238, 0 };
	uint64_t noncanonical[] = { BIT(62), SEL_CODE3_64, FL_1, 0x81238, SEL_DATA3 };

	tiny_enter(t, TINY_LONG, 0);
	tiny_put(t, ENTRY, "\xcc", 1);
	push_items(t, 8, same, 5);
	assert_int_equal(RUN(t, iret_64), X86_BP);
	assert_int_equal(t->frame.rsp, 0x81238);
	assert_int_equal(t->frame.ss, 0);
	/* To compatibility mode: ESP is 32 bits wide. */
	tiny_enter(t, TINY_LONG, 0);
	push_items(t, 8, compat, 5);
	assert_int_equal(RUN(t, iret_64), X86_BP);
	assert_int_equal(t->frame.cs, SEL_CODE3);
	assert_int_equal(t->frame.rsp, 0x81238);
	tiny_enter(t, TINY_LONG, 0);
	push_items(t, 8, null3, 5);
	assert_fault(t, RUN(t, iret_64), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG, 0);
	push_items(t, 8, null_compat, 5);
	assert_fault(t, RUN(t, iret_64), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG, 0);
	push_items(t, 8, noncanonical, 5);
	assert_fault(t, RUN(t, iret_64), X86_GP, TINY_CODE, 0);
	/* The 32-bit form in 64-bit mode pops five items of 4 bytes. */
	tiny_enter(t, TINY_LONG, 0);
	same[3] = TINY_STACK - 0x100;
	same[4] = SEL_DATA0;
	push_items(t, 4, same, 5);
	assert_int_equal(RUN(t, iret32_64), X86_BP);
	assert_int_equal(t->frame.rsp, TINY_STACK - 0x100);
	assert_int_equal(t->frame.ss, SEL_DATA0);
	/* NT has no meaning in IA-32e mode. */
	tiny_enter(t, TINY_LONG, 0);
	FLAGS(t) |= FL_NT;
	push_items(t, 8, same, 5);
	assert_fault(t, RUN(t, iret_64), X86_GP, TINY_CODE, 0);
}

/* A 16-bit stack segment in the outer ring: only SP is loaded, bits 31:16 of ESP stay ring 0's (vol. 2, IRET). */
static void test_iret_16bit_stack(void **state)
{
	struct tiny *t = *state;
	uint64_t frame[] = { ENTRY, SEL_CODE3, FL_1, 0x12348000, SEL_STACK3_16 };

	tiny_enter(t, TINY_PROT32, 0);
	tiny_put(t, ENTRY, "\xcc", 1);
	push_items(t, 4, frame, 5);
	assert_int_equal(RUN(t, iret_32), X86_BP);
	assert_int_equal(t->frame.ss, SEL_STACK3_16);
	assert_int_equal(t->frame.rsp, ((TINY_STACK - 20) & 0xffff0000) | 0x8000);
}

/* 16-bit IRET: the upper halves of EIP and ESP are zero, of EFLAGS unchanged. */
static void test_iret_16bit_form(void **state)
{
	struct tiny *t = *state;
	uint64_t frame[] = { ENTRY, SEL_CODE3, FL_1 | FL_ZF, 0x9000, SEL_DATA3 };

	tiny_enter(t, TINY_PROT32, 0);
	tiny_put(t, ENTRY, "\xcc", 1);
	FLAGS(t) |= FL_ID;
	push_items(t, 2, frame, 5);
	assert_int_equal(RUN(t, iret16_32), X86_BP);
	assert_int_equal(t->frame.rip, ENTRY + 1);
	assert_int_equal(t->frame.rsp, 0x9000);
	assert_int_equal(t->frame.rflags, FL_1 | FL_ZF | FL_ID);
}

/* The faults of returns, in their order. */
static void check_return_fault(struct tiny *t, uint16_t cs, uint16_t ss, int vector, uint32_t err)
{
	uint64_t frame[] = { ENTRY, cs, FL_1, 0x8b000, ss };

	push_items(t, 4, frame, 5);
	assert_fault(t, RUN(t, iret_32), vector, TINY_CODE, err);
}

static void test_return_faults(void **state)
{
	static const struct {
		uint16_t cs, ss;
		int vector;
		uint16_t err;
	} c[] = {
		{ 3, SEL_DATA3, X86_GP, 0 },                              /* null CS */
		{ 0x1008 | 3, SEL_DATA3, X86_GP, 0x1008 },                /* beyond the table */
		{ SEL_DATA3, SEL_DATA3, X86_GP, SEL_DATA3 & ~3 },         /* not code */
		{ SEL_CODE0 | 3, SEL_DATA3, X86_GP, SEL_CODE0 },          /* DPL != RPL */
		{ SEL_FREE | 3, SEL_DATA3, X86_NP, SEL_FREE },            /* not present */
		{ SEL_CODE3, 0, X86_GP, 0 },                              /* null SS */
		{ SEL_CODE3, SEL_DATA0, X86_GP, SEL_DATA0 },              /* RPL of SS */
		{ SEL_CODE3, SEL_CODE3, X86_GP, SEL_CODE3 & ~3 },         /* not writable */
		{ SEL_CODE3, (SEL_FREE + 8) | 3, X86_SS, SEL_FREE + 8 },  /* SS not present */
		{ SEL_CODE3, SEL_DATA0 | 3, X86_GP, SEL_DATA0 },          /* DPL of SS */
	};
	struct tiny *t = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		tiny_enter(t, TINY_PROT32, 0);
		tiny_set_desc(t, SEL_FREE, tiny_get_desc(t, SEL_CODE3) & ~BIT(47));
		tiny_set_desc(t, SEL_FREE + 8, tiny_get_desc(t, SEL_DATA3) & ~BIT(47));
		check_return_fault(t, c[i].cs, c[i].ss, c[i].vector, c[i].err);
	}
	/* Inwards. */
	tiny_enter(t, TINY_PROT32, 3);
	check_return_fault(t, SEL_CODE0, SEL_DATA0, X86_GP, SEL_CODE0);
	/* EIP beyond the limit of CS. */
	tiny_enter(t, TINY_PROT32, 0);
	tiny_set_desc(t, SEL_FREE, tiny_desc(0, ENTRY - 1, 0xfb | SEG_DB));
	check_return_fault(t, SEL_FREE | 3, SEL_DATA3, X86_GP, 0);
}

/* RET far with REX.W: 8-byte items; a segment's accessed bit is set. */
static void test_lret64(void **state)
{
	struct tiny *t = *state;
	uint64_t frame[] = { ENTRY, CODE | 3, 0x8b000, SEL_DATA3 };

	tiny_enter(t, TINY_LONG, 0);
	tiny_put(t, ENTRY, "\xcc", 1);
	tiny_set_desc(t, CODE, tiny_desc(0, 0xffffffff, 0xfa | SEG_G | SEG_L));
	push_items(t, 8, frame, 4);
	assert_int_equal(RUN(t, lret_64), X86_BP);
	assert_int_equal(t->frame.cs, CODE | 3);
	assert_int_equal(t->frame.rsp, 0x8b000);
	assert_int_equal(tiny_get_desc(t, CODE), tiny_desc(0, 0xffffffff, 0xfb | SEG_G | SEG_L));
}

/* L and D together are reserved (5.2.1). */
static void test_long_and_default(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	tiny_set_desc(t, GATE, tiny_desc(0, 0xffffffff, 0x9b | SEG_G | SEG_L | SEG_DB));
	check_gate_fault(t, false, X86_GP, GATE);
	/* L means nothing outside of IA-32e mode. */
	tiny_enter(t, TINY_PROT32, 0);
	tiny_set_desc(t, GATE, tiny_desc(0, 0xffffffff, 0x9b | SEG_G | SEG_L | SEG_DB));
	tiny_poke(t, TINY_DATA + 0x100, 1, 0xcc);
	tiny_put(t, TINY_CODE, "\xea\x00\xa1\x00\x00\xa0\x00", 7); /* ljmp $0xa0, $TINY_DATA+0x100 */
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(t->frame.cs, GATE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_gate_inner32), TEST(test_gate_inner16), TEST(test_gate_inner64), TEST(test_gate_same),
		TEST(test_gate_faults), TEST(test_gate_precise), TEST(test_iret_outer), TEST(test_iret_flags),
		TEST(test_iret64), TEST(test_iret_16bit_stack), TEST(test_iret_16bit_form), TEST(test_return_faults),
		TEST(test_lret64), TEST(test_long_and_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
