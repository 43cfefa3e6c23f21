/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sensitive instructions that do not trap in ring 3, one test each, in ring 0 and in ring 3: the
 * architected result, which a hypervisor without hardware help has to reproduce (list: Robin and Irvine, 2000).
 */
#include "check.h"

#define IOPL(n) ((uint64_t)(n) << 12)

/* SDM vol. 2, POPF: ring 0 changes IF and IOPL; ring 3 leaves both as they are, without a fault. */
BOTH(popf, "push $0x3ad7\n popf\n int3");
static void test_popf(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, popf) {
		assert_int_equal(tiny_run(t), X86_BP);
		assert_int_equal(t->frame.rflags & 0x3fff, 0x3ad7 & ~FL_TF);
	}
	FOR_BOTH(t, 3, popf) {
		assert_int_equal(tiny_run(t), X86_BP);
		assert_int_equal(t->frame.rflags, (0x3ad7 & ~(FL_TF | FL_IF | FL_IOPL)));
	}
	/* CPL <= IOPL: IF may change, IOPL may not. */
	FOR_BOTH(t, 3, popf) {
		FLAGS(t) |= FL_IOPL;
		assert_int_equal(tiny_run(t), X86_BP);
		assert_int_equal(t->frame.rflags & (FL_IF | FL_IOPL), FL_IF | FL_IOPL);
	}
}

/* SDM vol. 2, PUSHF: any ring sees IF and IOPL as they are; VM and RF read as clear. */
GUEST(pushf64, 64, "pushfq\n pop %rax\n int3");
static void test_pushf(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		for (unsigned mode = 0; mode < 2; mode++) {
			tiny_enter(t, mode ? TINY_LONG : TINY_PROT32, cpl);
			if (mode)
				TINY_LOAD(t, TINY_CODE, pushf64);
			else
				tiny_put(t, TINY_CODE, "\x9c\x58\xcc", 3);
			FLAGS(t) |= FL_IF | IOPL(2) | FL_RF | FL_ID | FL_AC;
			assert_int_equal(tiny_run(t), X86_BP);
			assert_int_equal(GPR(t, AX), FL_1 | FL_IF | IOPL(2) | FL_ID | FL_AC);
		}
	}
}

/* Run a store of a descriptor-table register in ring 0, ring 3, and ring 3 under UMIP. */
static void check_table_store(struct tiny *t, unsigned mode, unsigned cpl, bool umip, uint64_t base, uint16_t limit)
{
	if (umip)
		t->v->s.cr4 |= CR4_UMIP;
	tiny_poke(t, TINY_DATA, 8, ~0ull);
	tiny_poke(t, TINY_DATA + 8, 8, ~0ull);
	GPR(t, DI) = TINY_DATA;
	if (umip && cpl) {
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
		assert_int_equal(tiny_peek(t, TINY_DATA, 2), 0xffff);
		return;
	}
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(tiny_peek(t, TINY_DATA, 2), limit);
	if (mode) {
		assert_int_equal(tiny_peek(t, TINY_DATA + 2, 8), base);
	} else {
		assert_int_equal(tiny_peek(t, TINY_DATA + 2, 4), base);
		assert_int_equal(tiny_peek(t, TINY_DATA + 6, 2), 0xffff);
	}
}

/* SDM vol. 2, SGDT */
BOTH(sgdt, "sgdt (%edi)\n int3");
static void test_sgdt(void **state)
{
	struct tiny *t = *state;

	for (unsigned i = 0; i < 4; i++)
		FOR_BOTH(t, (i & 1) * 3, sgdt)
			check_table_store(t, both_, (i & 1) * 3, i & 2, TINY_GDT, TINY_GDT_LIMIT);
}

/* SDM vol. 2, SIDT */
BOTH(sidt, "sidt (%edi)\n int3");
static void test_sidt(void **state)
{
	struct tiny *t = *state;

	for (unsigned i = 0; i < 4; i++)
		FOR_BOTH(t, (i & 1) * 3, sidt)
			check_table_store(t, both_, (i & 1) * 3, i & 2, TINY_IDT, both_ ? 0xfff : 0x7ff);
}

/* A word to memory and, zero-extended, to a register; UMIP stops ring 3. */
static void check_word_store(struct tiny *t, unsigned cpl, bool umip, uint64_t word, uint64_t reg)
{
	if (umip)
		t->v->s.cr4 |= CR4_UMIP;
	tiny_poke(t, TINY_DATA, 8, ~0ull);
	GPR(t, DI) = TINY_DATA;
	GPR(t, AX) = 0xffffffffffff1234;
	if (umip && cpl) {
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
		return;
	}
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(tiny_peek(t, TINY_DATA, 4), 0xffff0000 | (word & 0xffff));
	assert_int_equal(GPR(t, AX), reg);
	assert_int_equal(GPR(t, CX) & 0xffff, word & 0xffff);
}

#define WORD_STORE_TEST(insn, word, reg)                                         \
	BOTH(insn, #insn " (%edi)\n " #insn " %eax\n " #insn " %cx\n int3");     \
	static void test_##insn(void **state)                                    \
	{                                                                        \
		struct tiny *t = *state;                                         \
                                                                                 \
		for (unsigned i = 0; i < 4; i++)                                 \
			FOR_BOTH(t, (i & 1) * 3, insn)                           \
				check_word_store(t, (i & 1) * 3, i & 2, (word), (reg)); \
	}
/* SDM vol. 2, SLDT, STR: the selector as it was loaded. SMSW: CR0, 32 bits of it in a 32-bit register. */
WORD_STORE_TEST(sldt, SEL_LDT, SEL_LDT)
WORD_STORE_TEST(str, SEL_TSS, SEL_TSS)
WORD_STORE_TEST(smsw, t->v->s.cr0, t->v->s.cr0)

/* What LAR, LSL, VERR and VERW answer about a selector. */
struct answer {
	uint16_t sel;
	bool zf0, zf3;   /* in ring 0, ring 3 */
	uint32_t value;
};

static void add_descriptors(struct tiny *t)
{
	/* Conforming code; execute-only code, read-only data and a call gate of ring 3; an interrupt gate. */
	tiny_set_desc(t, SEL_FREE, tiny_desc(0, 0xfffff, 0x9f | SEG_DB));
	tiny_set_desc(t, SEL_FREE + 8, tiny_desc(0, 0x1234, 0xf9 | SEG_DB));
	tiny_set_desc(t, SEL_FREE + 16, tiny_desc(0, 0xfffff, 0xf1));
	tiny_set_desc(t, SEL_FREE + 24, (uint64_t)SEL_CODE0 << 16 | 0xecull << 40);
	tiny_set_desc(t, SEL_FREE + 40, 0xeull << 40 | BIT(47));
}

static void check_answers(struct tiny *t, unsigned cpl, const struct answer *a, unsigned n)
{
	struct x86_state start;

	add_descriptors(t);
	start = t->v->s;
	for (unsigned i = 0; i < n; i++) {
		bool zf = cpl ? a[i].zf3 : a[i].zf0;

		t->v->s = start;
		GPR(t, CX) = a[i].sel;
		GPR(t, AX) = 0xdeadbeef;
		FLAGS(t) = FL_1 | FL_CF | (zf ? 0 : FL_ZF);
		tiny_state_changed(t);
		assert_int_equal(tiny_run(t), X86_BP);
		assert_int_equal(t->frame.rflags & FL_ARITH, FL_CF | (zf ? FL_ZF : 0));
		if (a[i].value)
			assert_int_equal(GPR(t, AX), zf ? a[i].value : 0xdeadbeef);
	}
}

/* SDM vol. 2, LAR */
BOTH(lar, "lar %ecx, %eax\n int3");
static void test_lar(void **state)
{
	static const struct answer a[] = {
		{ 0, false, false, 1 },                     /* null */
		{ 0xfff8, false, false, 1 },                /* beyond the limit */
		{ SEL_CODE0, true, false, 0xcf9b00 },       /* DPL 0 */
		{ SEL_CODE3, true, true, 0xcffb00 },
		{ SEL_CODE3 & ~3, true, true, 0xcffb00 },
		{ SEL_DATA0 | 3, false, false, 1 },         /* RPL 3 > DPL 0 */
		{ SEL_TSS, true, false, 0x008b00 },
		{ SEL_LDT, true, false, 0x008200 },
		{ SEL_FREE, true, true, 0x4f9f00 },         /* conforming: DPL does not matter */
		{ SEL_FREE + 24, true, true, 0x00ec00 },    /* call gate */
		{ SEL_FREE + 40, false, false, 1 },         /* interrupt gate: no type for a GDT */
	};
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3)
		FOR_BOTH(t, cpl, lar)
			check_answers(t, cpl, a, ARRAY_SIZE(a));
}

/* SDM vol. 2, LSL */
BOTH(lsl, "lsl %ecx, %eax\n int3");
static void test_lsl(void **state)
{
	static const struct answer a[] = {
		{ 0, false, false, 1 },
		{ SEL_CODE0, true, false, 0xffffffff },
		{ SEL_CODE3, true, true, 0xffffffff },
		{ SEL_TSS, true, false, 0x67 },
		{ SEL_LDT, true, false, 0xff },
		{ SEL_FREE, true, true, 0xfffff },
		{ SEL_FREE + 8, true, true, 0x1234 },
		{ SEL_FREE + 24, false, false, 1 },         /* a gate has no limit */
	};
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3)
		FOR_BOTH(t, cpl, lsl)
			check_answers(t, cpl, a, ARRAY_SIZE(a));
}

/* SDM vol. 2, VERR */
BOTH(verr, "verr %cx\n int3");
static void test_verr(void **state)
{
	static const struct answer a[] = {
		{ 0, false, false, 0 },
		{ SEL_DATA0, true, false, 0 },
		{ SEL_DATA3, true, true, 0 },
		{ SEL_FREE, true, true, 0 },                /* conforming, readable */
		{ SEL_FREE + 8, false, false, 0 },          /* execute-only */
		{ SEL_FREE + 16, true, true, 0 },
		{ SEL_TSS, false, false, 0 },
	};
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3)
		FOR_BOTH(t, cpl, verr)
			check_answers(t, cpl, a, ARRAY_SIZE(a));
}

/* SDM vol. 2, VERW */
BOTH(verw, "verw %cx\n int3");
static void test_verw(void **state)
{
	static const struct answer a[] = {
		{ 0, false, false, 0 },
		{ SEL_DATA0, true, false, 0 },
		{ SEL_DATA3, true, true, 0 },
		{ SEL_CODE3, false, false, 0 },
		{ SEL_FREE + 16, false, false, 0 },         /* read-only */
		{ SEL_LDT, false, false, 0 },
	};
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3)
		FOR_BOTH(t, cpl, verw)
			check_answers(t, cpl, a, ARRAY_SIZE(a));
}

/* SDM vol. 2, POP: privilege is checked as MOV does; RSP moves only when the load succeeds. */
BOTH(pop_seg, "push $0x3b\n pop %fs\n push $0x10\n pop %gs\n int3");
static void test_pop_seg(void **state)
{
	struct tiny *t = *state;
	uint64_t rsp;

	FOR_BOTH(t, 0, pop_seg) {
		assert_int_equal(tiny_run(t), X86_BP);
		assert_int_equal(SEG(t, FS).sel, SEL_DATA3);
		assert_int_equal(SEG(t, GS).sel, SEL_DATA0);
	}
	FOR_BOTH(t, 3, pop_seg) {
		rsp = GPR(t, SP);
		assert_int_equal(tiny_run(t), X86_GP);
		assert_int_equal(t->frame.err, SEL_DATA0);
		assert_int_equal(t->frame.rsp, rsp - (both_ ? 8 : 4));
		assert_int_equal(SEG(t, FS).sel, SEL_DATA3);
		assert_int_equal(SEG(t, GS).sel, SEL_DATA3);
	}
}

/* SDM vol. 2, PUSH: the selector shows the CPL, in CS and SS. */
GUEST(push_seg_32, 32, "push %cs\n pop %eax\n push %ss\n pop %ebx\n push %fs\n pop %ecx\n int3");
GUEST(push_seg_64, 64, "push %fs\n pop %rcx\n push %gs\n pop %rbx\n int3");
static void test_push_seg(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		FOR_BOTH(t, cpl, push_seg) {
			assert_int_equal(tiny_run(t), X86_BP);
			assert_int_equal(GPR(t, CX) & 0xffff, cpl ? SEL_DATA3 : SEL_DATA0);
			assert_int_equal(GPR(t, BX) & 0xffff, cpl ? SEL_DATA3 : SEL_DATA0);
			if (!both_)
				assert_int_equal(GPR(t, AX) & 0xffff, cpl ? SEL_CODE3 : SEL_CODE0);
		}
	}
}

/* SDM vol. 2, CALL: far, to the same ring; ring 3 may not call into ring 0 without a gate. */
GUEST(call_far_32, 32, "lcall *(%edi)\n hlt\n int3");
GUEST(call_far_64, 64, "lcall *(%rdi)\n hlt\n int3");
static void test_call_far(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		FOR_BOTH(t, cpl, call_far) {
			uint16_t sel = cpl ? (both_ ? SEL_CODE3_64 : SEL_CODE3) : (both_ ? SEL_CODE0_64 : SEL_CODE0);
			uint64_t rsp = GPR(t, SP);

			GPR(t, DI) = TINY_DATA;
			tiny_poke(t, TINY_DATA, 4, TINY_CODE + 3);
			tiny_poke(t, TINY_DATA + 4, 2, sel & ~3u);
			assert_int_equal(tiny_run(t), X86_BP);
			/* Both items have the operand size, 4 bytes; CS has the CPL, whatever the RPL was. */
			assert_int_equal(t->frame.cs, sel);
			assert_int_equal(tiny_peek(t, rsp - 8, 4), TINY_CODE + 2);
			assert_int_equal(tiny_peek(t, rsp - 4, 2), sel);
			if (cpl)
				assert_int_equal(t->frame.rsp, rsp - 8);
		}
	}
	FOR_BOTH(t, 3, call_far) {
		GPR(t, DI) = TINY_DATA;
		tiny_poke(t, TINY_DATA, 4, TINY_CODE);
		tiny_poke(t, TINY_DATA + 4, 2, SEL_CODE0);
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, SEL_CODE0);
	}
}

/* SDM vol. 2, JMP: far */
GUEST(jmp_far_32, 32, "ljmp *(%edi)\n hlt\n int3");
GUEST(jmp_far_64, 64, "ljmp *(%rdi)\n hlt\n int3");
static void test_jmp_far(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		FOR_BOTH(t, cpl, jmp_far) {
			GPR(t, DI) = TINY_DATA;
			tiny_poke(t, TINY_DATA, 4, TINY_CODE + 3);
			/* From 64-bit to compatibility mode too. */
			tiny_poke(t, TINY_DATA + 4, 2, cpl ? SEL_CODE3 : SEL_CODE0);
			assert_int_equal(tiny_run(t), X86_BP);
			assert_int_equal(t->frame.cs, cpl ? SEL_CODE3 : SEL_CODE0);
		}
	}
	FOR_BOTH(t, 3, jmp_far) {
		GPR(t, DI) = TINY_DATA;
		tiny_poke(t, TINY_DATA + 4, 2, SEL_CODE0_64 | 3);
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, SEL_CODE0_64);
	}
}

/* SDM vol. 2, INT n: ring 3 needs a gate of DPL 3; the error code names the gate, without EXT. */
BOTH(int_n, "int $0x81\n hlt");
BOTH(int_80, "int $0x80\n hlt");
static void test_int_n(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, int_n) {
		assert_int_equal(tiny_run(t), 0x81);
		assert_int_equal(t->frame.rip, TINY_CODE + 2);
	}
	FOR_BOTH(t, 3, int_n)
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0x81 * 8 + 2);
	FOR_BOTH(t, 3, int_80) {
		assert_int_equal(tiny_run(t), 0x80);
		assert_int_equal(t->frame.rip, TINY_CODE + 2);
		assert_int_equal(t->frame.cs, both_ ? SEL_CODE3_64 : SEL_CODE3);
		assert_int_equal(t->frame.ss, SEL_DATA3);
		assert_int_equal(t->frame.rsp, TINY_STACK3);
		assert_int_equal(GPR(t, SP), TINY_STACK0 - 5 * (both_ ? 8 : 4));
	}
}

/* SDM vol. 2, RET: far; ring 3 may not return inwards, ring 0 may return outwards. */
BOTH(ret_far, "lretl $8\n hlt\n hlt\n int3");
static void test_ret_far(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		FOR_BOTH(t, cpl, ret_far) {
			uint64_t rsp = GPR(t, SP) -= 16;

			tiny_poke(t, rsp, 4, TINY_CODE + 5);
			tiny_poke(t, rsp + 4, 4, cpl ? SEL_CODE3 : SEL_CODE0);
			assert_int_equal(tiny_run(t), X86_BP);
			assert_int_equal(t->frame.cs, cpl ? SEL_CODE3 : SEL_CODE0);
			if (cpl || both_)
				assert_int_equal(t->frame.rsp, rsp + 16);
		}
	}
	FOR_BOTH(t, 3, ret_far) {
		tiny_poke(t, GPR(t, SP) -= 16, 8, TINY_CODE | (uint64_t)SEL_CODE0 << 32);
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, SEL_CODE0);
	}
	FOR_BOTH(t, 0, ret_far) {
		uint64_t rsp = GPR(t, SP) -= 24;

		tiny_poke(t, rsp, 8, (TINY_CODE + 5) | (uint64_t)SEL_CODE3 << 32);
		tiny_poke(t, rsp + 16, 8, 0x8b000 | (uint64_t)SEL_DATA3 << 32);
		assert_int_equal(tiny_run(t), X86_BP);
		assert_int_equal(t->frame.cs, SEL_CODE3);
		assert_int_equal(t->frame.ss, SEL_DATA3);
		/* RET n drops n bytes from the outer stack too. */
		assert_int_equal(t->frame.rsp, 0x8b008);
		/* Data segments that ring 3 may not use are null (SDM vol. 3, 5.8.6). */
		assert_int_equal(SEG(t, DS).sel, 0);
		assert_int_equal(SEG(t, FS).sel, 0);
	}
}

/* SDM vol. 2, MOV to and from Sreg */
BOTH(mov_seg, "mov %ecx, %ds\n mov %ds, %eax\n mov %cs, %ebx\n int3");
static void test_mov_seg(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		FOR_BOTH(t, cpl, mov_seg) {
			GPR(t, CX) = SEL_DATA3 & ~3u;
			GPR(t, AX) = GPR(t, BX) = ~0ull;
			assert_int_equal(tiny_run(t), X86_BP);
			assert_int_equal(GPR(t, AX), SEL_DATA3 & ~3u);
			assert_int_equal(GPR(t, BX), t->frame.cs);
		}
	}
	FOR_BOTH(t, 3, mov_seg) {
		GPR(t, CX) = SEL_DATA0 | 3;
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, SEL_DATA0);
		assert_int_equal(SEG(t, DS).sel, SEL_DATA3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_popf), TEST(test_pushf), TEST(test_sgdt), TEST(test_sidt), TEST(test_sldt), TEST(test_smsw),
		TEST(test_str), TEST(test_lar), TEST(test_lsl), TEST(test_verr), TEST(test_verw), TEST(test_pop_seg),
		TEST(test_push_seg), TEST(test_call_far), TEST(test_jmp_far), TEST(test_int_n), TEST(test_ret_far),
		TEST(test_mov_seg),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
