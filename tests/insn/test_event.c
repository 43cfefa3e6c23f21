/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exceptions and interrupts: vectors, error codes, saved state, order, double faults (SDM vol. 3, ch. 6). */
#include "check.h"

#define FL_OFF_AT_ENTRY (FL_TF | FL_NT | FL_RF | FL_VM)

/* -- Each exception (6.15) --------------------------------------------------------------------- */

BOTH(divide, "nop\n divl %ecx\n hlt");
BOTH(invalid, "nop\n ud2\n hlt");
BOTH(breakpoint, "nop\n int3\n hlt");
BOTH(icebp, "nop\n .byte 0xf1\n hlt");
BOTH(fpu, "nop\n fld1\n hlt");
BOTH(load_fs, "nop\n mov %cx, %fs\n hlt");
BOTH(load_ss, "nop\n mov %cx, %ss\n hlt");
BOTH(load_mem, "nop\n mov (%edi), %eax\n hlt");
GUEST(overflow, 32, "nop\n into\n hlt");
GUEST(bound, 32, "nop\n bound %ecx, (%edi)\n hlt");

static void test_vectors(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		FOR_BOTH(t, cpl, divide)
			assert_fault(t, tiny_run(t), X86_DE, TINY_CODE + 1, 0);
		FOR_BOTH(t, cpl, invalid)
			assert_fault(t, tiny_run(t), X86_UD, TINY_CODE + 1, 0);
		/* Traps: the saved RIP is the next instruction's. */
		FOR_BOTH(t, cpl, breakpoint)
			assert_fault(t, tiny_run(t), X86_BP, TINY_CODE + 2, 0);
		/* INT1 does not check the gate's DPL, which is 0 here. */
		FOR_BOTH(t, cpl, icebp)
			assert_fault(t, tiny_run(t), X86_DB, TINY_CODE + 2, 0);
		FOR_BOTH(t, cpl, fpu) {
			t->v->s.cr0 |= CR0_TS;
			tiny_state_changed(t);
			assert_fault(t, tiny_run(t), X86_NM, TINY_CODE + 1, 0);
		}
		tiny_enter(t, TINY_PROT32, cpl);
		FLAGS(t) |= FL_OF;
		assert_fault(t, RUN(t, overflow), X86_OF, TINY_CODE + 2, 0);
		tiny_enter(t, TINY_PROT32, cpl);
		assert_int_equal(RUN(t, overflow), cpl ? X86_GP : TINY_HLT);
		tiny_enter(t, TINY_PROT32, cpl);
		GPR(t, DI) = TINY_DATA;
		GPR(t, CX) = (uint32_t)-5;
		tiny_poke(t, TINY_DATA, 8, 0xfffffffcull | 7ull << 32);
		assert_fault(t, RUN(t, bound), X86_BR, TINY_CODE + 1, 0);
	}
}

/* #NP, #SS and #GP by segment loads carry the selector (6.13, 5.4). */
static void test_selector_error_codes(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, load_fs) {
		tiny_set_desc(t, SEL_FREE, tiny_desc(0, 0xfff, 0x13)); /* not present */
		GPR(t, CX) = SEL_FREE | 3;
		/* RPL 3 > DPL 0 comes before presence. */
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE + 1, SEL_FREE);
	}
	FOR_BOTH(t, 0, load_fs) {
		tiny_set_desc(t, SEL_FREE, tiny_desc(0, 0xfff, 0x13));
		GPR(t, CX) = SEL_FREE;
		assert_fault(t, tiny_run(t), X86_NP, TINY_CODE + 1, SEL_FREE);
	}
	FOR_BOTH(t, 0, load_fs) {
		GPR(t, CX) = 4; /* null descriptor in the LDT: not a null selector */
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE + 1, 4);
	}
	FOR_BOTH(t, 0, load_ss) {
		tiny_set_desc(t, SEL_FREE, tiny_desc(0, 0xfff, 0x13));
		GPR(t, CX) = SEL_FREE;
		assert_fault(t, tiny_run(t), X86_SS, TINY_CODE + 1, SEL_FREE);
	}
	FOR_BOTH(t, 0, load_ss) {
		GPR(t, CX) = SEL_DATA3;
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE + 1, SEL_DATA3 & ~3);
	}
}

/* 6.15, #PF: error code and CR2; RF is set in the image of a fault (17.3.1.1). */
static void test_page_fault(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		tiny_enter(t, TINY_LONG, cpl);
		TINY_LOAD(t, TINY_CODE, load_mem_64);
		tiny_set_pte(t, TINY_HIGH, 0);
		GPR(t, DI) = TINY_HIGH + 0xffe;
		assert_fault(t, tiny_run(t), X86_PF, TINY_CODE + 1, cpl ? PF_U : 0);
		assert_int_equal(t->v->s.cr2, TINY_HIGH + 0xffe);
		assert_true(t->frame.rflags & FL_RF);
	}
	/* The second page of an access that crosses: CR2 is the page's first byte. */
	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, load_mem_64);
	tiny_set_pte(t, TINY_HIGH, 0);
	GPR(t, DI) = TINY_HIGH - 2;
	assert_fault(t, tiny_run(t), X86_PF, TINY_CODE + 1, 0);
	assert_int_equal(t->v->s.cr2, TINY_HIGH);
}

/* 6.15, #AC: ring 3 only, with CR0.AM and EFLAGS.AC. */
static void test_alignment_check(void **state)
{
	struct tiny *t = *state;

	for (unsigned i = 0; i < 8; i++) {
		bool user = i & 1, am = i & 2, ac = i & 4;

		FOR_BOTH(t, user ? 3 : 0, load_mem) {
			t->v->s.cr0 |= am ? CR0_AM : 0;
			FLAGS(t) |= ac ? FL_AC : 0;
			GPR(t, DI) = TINY_DATA + 1;
			tiny_state_changed(t);
			if (i == 7)
				assert_fault(t, tiny_run(t), X86_AC, TINY_CODE + 1, 0);
			else
				assert_int_equal(tiny_run(t), user ? X86_GP : TINY_HLT);
		}
	}
}

/* -- What is saved and what is set (6.12.1) ---------------------------------------------------- */

BOTH(soft_int, "int $0x80\n hlt");

static void test_gate_flags(void **state)
{
	struct tiny *t = *state;

	for (unsigned trap = 0; trap < 2; trap++) {
		FOR_BOTH(t, 3, soft_int) {
			uint64_t flags = FL_1 | FL_IF | FL_NT | FL_CF | FL_ID | FL_DF | FL_AC;

			tiny_set_gate(t, 0x80, 0xe + trap, 3, both_ ? SEL_CODE0_64 : SEL_CODE0, tiny_stub(0x80), 0);
			FLAGS(t) = flags;
			tiny_state_changed(t);
			assert_int_equal(tiny_run(t), 0x80);
			assert_int_equal(t->frame.rflags, flags);
			assert_int_equal(FLAGS(t), flags & ~(FL_OFF_AT_ENTRY | (trap ? 0 : FL_IF)));
		}
	}
}

/* A 16-bit gate in a 32-bit system pushes 16-bit items. */
static void test_gate16(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_PROT32, 3);
	tiny_set_gate(t, 0x80, 6, 3, SEL_CODE0, tiny_stub(0x80), 0);
	GPR(t, SP) = 0x5678abcd;
	assert_int_equal(RUN(t, soft_int_32), 0x80);
	assert_int_equal(GPR(t, SP), TINY_STACK0 - 10);
	assert_int_equal(t->frame.rip, TINY_CODE + 2);
	assert_int_equal(t->frame.rsp, 0xabcd);
	assert_int_equal(t->frame.ss, SEL_DATA3);
}

/* A conforming handler runs at the privilege of the interrupted code, on its stack. */
static void test_conforming_handler(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 3, soft_int) {
		tiny_set_desc(t, SEL_FREE, tiny_desc(0, 0xffffffff, 0x9f | SEG_G | (both_ ? SEG_L : SEG_DB)));
		tiny_set_gate(t, 0x80, 0xe, 3, SEL_FREE, TINY_CODE + 0x100, 0);
		tiny_put(t, TINY_CODE + 0x100, "\xcc", 1);
		assert_int_equal(tiny_run(t), X86_BP);
		assert_int_equal(t->frame.cs, SEL_FREE | 3);
		if (both_)
			assert_int_equal(t->frame.rsp, (TINY_STACK3 & ~15u) - 40);
		else
			assert_int_equal(t->frame.rsp, TINY_STACK3 - 12);
	}
}

/* 6.14: 64-bit frames always have SS:RSP and start from an aligned RSP; ring change makes SS null. */
static void test_long_frame(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	GPR(t, SP) = TINY_STACK - 3;
	assert_int_equal(RUN(t, invalid_64), X86_UD);
	assert_int_equal(GPR(t, SP), TINY_STACK - 16 - 40);
	assert_int_equal(t->frame.rsp, TINY_STACK - 3);
	assert_int_equal(t->frame.ss, SEL_DATA0);
	assert_int_equal(SEG(t, SS).sel, SEL_DATA0);
	tiny_enter(t, TINY_LONG, 3);
	assert_int_equal(RUN(t, invalid_64), X86_UD);
	assert_int_equal(SEG(t, SS).sel, 0);
	assert_int_equal(t->v->s.cpl, 0);
	assert_int_equal(GPR(t, SP), TINY_STACK0 - 40);
}

/* 6.14.5: the IST is used whatever the privilege; an IST beyond the TSS's limit is #TS. */
static void test_ist(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		for (unsigned ist = 1; ist <= 7; ist++) {
			tiny_enter(t, TINY_LONG, cpl);
			tiny_set_gate(t, X86_UD, 0xe, 0, SEL_CODE0_64, tiny_stub(X86_UD), ist);
			assert_int_equal(RUN(t, invalid_64), X86_UD);
			assert_int_equal(GPR(t, SP), TINY_IST + (ist - 1) * 0x4000 - 40);
			assert_int_equal(t->frame.rsp, cpl ? TINY_STACK3 : TINY_STACK);
		}
	}
	tiny_enter(t, TINY_LONG, 0);
	tiny_set_gate(t, X86_UD, 0xe, 0, SEL_CODE0_64, tiny_stub(X86_UD), 7);
	t->v->s.tr.limit = 36 + 6 * 8 + 6;
	assert_int_equal(RUN(t, invalid_64), X86_TS);
	assert_int_equal(t->frame.err, SEL_TSS | 1);
}

/* -- Faults during delivery (SDM vol. 2, INT n; vol. 3, 6.13) ---------------------------------- */

/* The error code of a fault met while delivering #UD (EXT set), or INT 80 (EXT clear). */
static void check_delivery_fault(struct tiny *t, int vector, uint32_t err)
{
	assert_int_equal(tiny_run(t), vector);
	assert_int_equal(t->frame.err, err);
	assert_int_equal(t->frame.rip, TINY_CODE);
}

static void enter_for_delivery(struct tiny *t, unsigned long_mode, bool soft, unsigned *vector, uint16_t *code)
{
	tiny_enter(t, long_mode ? TINY_LONG : TINY_PROT32, 3);
	tiny_put(t, TINY_CODE, soft ? "\xcd\x80" : "\x0f\x0b", 2);
	*vector = soft ? 0x80 : X86_UD;
	*code = long_mode ? SEL_CODE0_64 : SEL_CODE0;
}

static void test_gate_faults(void **state)
{
	struct tiny *t = *state;

	for (unsigned i = 0; i < 4; i++) {
		unsigned lm = i & 1, soft = i >> 1, ext = !soft, n, dpl = 3, off;
		uint16_t code;
		uint64_t gate_err;

		enter_for_delivery(t, lm, soft, &n, &code);
		gate_err = n * 8 + 2 + ext;
		off = TINY_IDT + n * (lm ? 16 : 8);
		/* Gate not present. */
		tiny_set_gate(t, n, 0xe, dpl, code, tiny_stub(n), 0);
		tiny_poke(t, off + 5, 1, 0x6e);
		check_delivery_fault(t, X86_NP, (uint32_t)gate_err);
		/* Not a gate of an IDT: a call gate. */
		enter_for_delivery(t, lm, soft, &n, &code);
		tiny_set_gate(t, n, 0xc, dpl, code, tiny_stub(n), 0);
		check_delivery_fault(t, X86_GP, (uint32_t)gate_err);
		/* 16-bit gates are not for IA-32e mode. */
		enter_for_delivery(t, lm, soft, &n, &code);
		tiny_set_gate(t, n, 6, dpl, code, tiny_stub(n), 0);
		if (lm)
			check_delivery_fault(t, X86_GP, (uint32_t)gate_err);
		/* Null, data, beyond the limit and not present code segments. */
		enter_for_delivery(t, lm, soft, &n, &code);
		tiny_set_gate(t, n, 0xe, dpl, 0, tiny_stub(n), 0);
		check_delivery_fault(t, X86_GP, ext);
		enter_for_delivery(t, lm, soft, &n, &code);
		tiny_set_gate(t, n, 0xe, dpl, SEL_DATA0, tiny_stub(n), 0);
		check_delivery_fault(t, X86_GP, SEL_DATA0 | ext);
		enter_for_delivery(t, lm, soft, &n, &code);
		tiny_set_gate(t, n, 0xe, dpl, 0x1008, tiny_stub(n), 0);
		check_delivery_fault(t, X86_GP, 0x1008 | ext);
		enter_for_delivery(t, lm, soft, &n, &code);
		tiny_set_desc(t, SEL_FREE, tiny_get_desc(t, code) & ~BIT(47));
		tiny_set_gate(t, n, 0xe, dpl, SEL_FREE, tiny_stub(n), 0);
		check_delivery_fault(t, X86_NP, SEL_FREE | ext);
		/* In IA-32e mode a handler is 64-bit code. */
		enter_for_delivery(t, lm, soft, &n, &code);
		tiny_set_gate(t, n, 0xe, dpl, SEL_CODE0, tiny_stub(n), 0);
		if (lm)
			check_delivery_fault(t, X86_GP, SEL_CODE0 | ext);
	}
}

/* The IDT's limit; #GP's own gate is below it. */
static void test_idt_limit(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, soft_int) {
		t->v->s.idtr.limit = (uint16_t)(0x81 * (both_ ? 16 : 8) - 2);
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0x80 * 8 + 2);
	}
	FOR_BOTH(t, 0, soft_int) {
		t->v->s.idtr.limit = (uint16_t)(0x81 * (both_ ? 16 : 8) - 1);
		assert_int_equal(tiny_run(t), 0x80);
	}
}

/* Inner stacks: every wrong SS, and a TSS that is too short; nothing has changed when the fault arrives. */
static void check_inner_stack(struct tiny *t, uint16_t ss, uint64_t desc, int vector, uint32_t err)
{
	tiny_enter(t, TINY_PROT32, 3);
	/* Ring 0 has no stack here: the fault's handler is conforming code, which stays in ring 3. */
	tiny_set_desc(t, SEL_FREE + 32, tiny_desc(0, 0xffffffff, 0x9f | SEG_G | SEG_DB));
	tiny_set_gate(t, (unsigned)vector, 0xe, 0, SEL_FREE + 32, TINY_CODE + 0x100, 0);
	tiny_set_gate(t, X86_GP, 0xe, 0, SEL_FREE + 32, TINY_CODE + 0x200, 0);
	tiny_put(t, TINY_CODE + 0x200, "\xeb\xfe", 2);
	/* pop %eax; pop %ebx (error code, EIP); movw $SEL_DATA0, TSS.SS0; int3 */
	tiny_put(t, TINY_CODE + 0x100, "\x58\x5b\x66\xc7\x05\x08\x40\x00\x00\x10\x00\xcc", 12);
	if (ss & 0xfff8)
		tiny_set_desc(t, ss, desc);
	tiny_poke(t, TINY_TSS + 8, 2, ss);
	TINY_LOAD(t, TINY_CODE, invalid_32);
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(GPR(t, AX), err);
	assert_int_equal(GPR(t, BX), TINY_CODE + 1);
}

static void test_inner_stack_faults(void **state)
{
	struct tiny *t = *state;
	uint64_t good = tiny_desc(0, 0xffffffff, 0x93 | SEG_G | SEG_DB);
	uint64_t shallow = tiny_desc(0, TINY_STACK0 - 21, 0x93 | SEG_DB);

	check_inner_stack(t, 0, 0, X86_TS, 1);                                           /* null */
	check_inner_stack(t, SEL_FREE | 3, good, X86_TS, SEL_FREE | 1);                  /* RPL */
	check_inner_stack(t, SEL_FREE, good | 3ull << 45, X86_TS, SEL_FREE | 1);         /* DPL */
	check_inner_stack(t, SEL_FREE, tiny_desc(0, 0xfff, 0x91), X86_TS, SEL_FREE | 1); /* read-only */
	check_inner_stack(t, SEL_FREE, good & ~BIT(47), X86_SS, SEL_FREE | 1);           /* not present */
	check_inner_stack(t, SEL_FREE, shallow, X86_SS, SEL_FREE | 1);                   /* limit */
}

/* -- Double faults, triple faults (table 6-5) -------------------------------------------------- */

/* #DF arrives with error code 0. */
static void assert_double_fault(struct tiny *t)
{
	assert_int_equal(tiny_run(t), X86_DF);
	assert_int_equal(t->frame.err, 0);
}

static void spoil_gate(struct tiny *t, unsigned vector)
{
	tiny_set_gate(t, vector, 0xe, 0, SEL_DATA0, 0, 0);
}

static void test_double_fault(void **state)
{
	struct tiny *t = *state;

	/* Contributory, contributory: #GP while #DE is delivered. */
	FOR_BOTH(t, 0, divide) {
		spoil_gate(t, X86_DE);
		assert_double_fault(t);
	}
	/* Benign, contributory: one after the other. */
	FOR_BOTH(t, 0, invalid) {
		spoil_gate(t, X86_UD);
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE + 1, SEL_DATA0 | 1);
	}
	/* Page fault, contributory. */
	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, load_mem_64);
	tiny_set_pte(t, TINY_HIGH, 0);
	GPR(t, DI) = TINY_HIGH;
	spoil_gate(t, X86_PF);
	assert_double_fault(t);
	/* Page fault, page fault: the stack is gone; #DF has one of its own. */
	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, load_mem_64);
	tiny_set_pte(t, TINY_HIGH, 0);
	GPR(t, DI) = TINY_HIGH;
	GPR(t, SP) = TINY_HIGH + 0x800;
	tiny_set_gate(t, X86_DF, 0xe, 0, SEL_CODE0_64, tiny_stub(X86_DF), 1);
	assert_double_fault(t);
	assert_int_equal(t->frame.rsp, TINY_HIGH + 0x800);
	assert_int_equal(t->v->s.cr2, TINY_HIGH + 0x7f8);
	/* Contributory, page fault: the page fault is delivered (here: its gate has a good stack). */
	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, divide_64);
	tiny_set_pte(t, TINY_HIGH, 0);
	GPR(t, SP) = TINY_HIGH + 0x800;
	tiny_set_gate(t, X86_PF, 0xe, 0, SEL_CODE0_64, tiny_stub(X86_PF), 1);
	assert_fault(t, tiny_run(t), X86_PF, TINY_CODE + 1, PF_W);
}

static void test_triple_fault(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, invalid) {
		t->v->s.idtr.limit = 0;
		assert_int_equal(tiny_run(t), TINY_SHUTDOWN);
		assert_int_equal(t->v->s.activity, ACT_SHUTDOWN);
		/* Whatever is pending: it stays down. */
		tiny_nmi(t);
		assert_int_equal(tiny_run(t), TINY_SHUTDOWN);
	}
	FOR_BOTH(t, 3, divide) {
		spoil_gate(t, X86_DE);
		spoil_gate(t, X86_GP);
		spoil_gate(t, X86_DF);
		assert_int_equal(tiny_run(t), TINY_SHUTDOWN);
	}
}

/* -- Order (table 6-2; SDM vol. 2's lists) ----------------------------------------------------- */

GUEST(privileged_ud, 64, "mov %rax, %dr4\n hlt");
GUEST(priv_or_mem, 64, "lgdt (%rdi)\n hlt");
GUEST(fpu_mem, 64, "fldl (%rdi)\n hlt");
GUEST(canonical_ss, 64, "mov (%rbp), %eax\n hlt");
GUEST(canonical_ds, 64, "mov (%rdi), %eax\n hlt");

static void test_order(void **state)
{
	struct tiny *t = *state;

	/* #GP of privilege before the #UD of DR4, as the host CPUs of tests/diff do. */
	tiny_enter(t, TINY_LONG, 3);
	t->v->s.cr4 |= CR4_DE;
	assert_fault(t, RUN(t, privileged_ud), X86_GP, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG, 0);
	t->v->s.cr4 |= CR4_DE;
	assert_fault(t, RUN(t, privileged_ud), X86_UD, TINY_CODE, 0);
	/* Privilege before the memory operand. */
	tiny_enter(t, TINY_LONG, 3);
	TINY_LOAD(t, TINY_CODE, priv_or_mem);
	tiny_set_pte(t, TINY_HIGH, 0);
	GPR(t, DI) = TINY_HIGH;
	assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
	/* #NM before #PF. */
	tiny_enter(t, TINY_LONG, 3);
	TINY_LOAD(t, TINY_CODE, fpu_mem);
	tiny_set_pte(t, TINY_HIGH, 0);
	GPR(t, DI) = TINY_HIGH;
	t->v->s.cr0 |= CR0_EM;
	tiny_state_changed(t);
	assert_fault(t, tiny_run(t), X86_NM, TINY_CODE, 0);
	/* Non-canonical: #SS(0) for a stack reference, #GP(0) else. */
	tiny_enter(t, TINY_LONG, 3);
	GPR(t, BP) = BIT(63);
	assert_fault(t, RUN(t, canonical_ss), X86_SS, TINY_CODE, 0);
	tiny_enter(t, TINY_LONG, 3);
	GPR(t, DI) = BIT(47);
	assert_fault(t, RUN(t, canonical_ds), X86_GP, TINY_CODE, 0);
}

/* More than 15 bytes are #GP(0), wherever the rest may be (SDM vol. 2, 2.3.11). */
static void test_length(void **state)
{
	struct tiny *t = *state;
	uint8_t code[20];

	memset(code, 0x66, sizeof(code));
	code[14] = 0x90;
	tiny_enter(t, TINY_LONG, 0);
	tiny_put(t, TINY_CODE, code, 15);
	tiny_put(t, TINY_CODE + 15, "\xf4", 1);
	assert_int_equal(tiny_run(t), TINY_HLT);
	code[14] = 0x66;
	code[15] = 0x90;
	tiny_enter(t, TINY_LONG, 0);
	tiny_put(t, TINY_CODE, code, sizeof(code));
	assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, 0);
}

/* -- Interrupts -------------------------------------------------------------------------------- */

BOTH(wait_int, "hlt\n inc %ecx\n hlt");
BOTH(count, "1: inc %ecx\n jmp 1b");

/* HLT waits for an interrupt that IF lets through; the saved RIP is behind it (SDM vol. 2, HLT). */
static void test_interrupt(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, wait_int) {
		FLAGS(t) |= FL_IF;
		assert_int_equal(tiny_run(t), TINY_HLT);
		tiny_intr(t, 0x41);
		assert_fault(t, tiny_run(t), 0x41, TINY_CODE + 1, 0);
		assert_false(FLAGS(t) & FL_IF);
	}
	FOR_BOTH(t, 0, wait_int) {
		assert_int_equal(tiny_run(t), TINY_HLT);
		tiny_intr(t, 0x41);
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_int_equal(GPR(t, CX), 0);
		assert_int_equal(t->intr, 0x41);
		t->intr = -1;
	}
	FOR_BOTH(t, 3, count) {
		FLAGS(t) |= FL_IF;
		tiny_intr(t, 0x99);
		assert_int_equal(tiny_run(t), 0x99);
		assert_int_equal(t->frame.rip, TINY_CODE);
		assert_int_equal(GPR(t, CX), 0);
	}
	/* EXT is set in the error code of a fault met on the way. */
	FOR_BOTH(t, 3, count) {
		FLAGS(t) |= FL_IF;
		spoil_gate(t, 0x99);
		tiny_intr(t, 0x99);
		assert_fault(t, tiny_run(t), X86_GP, TINY_CODE, SEL_DATA0 | 1);
	}
}

/* 6.7.1: an NMI ignores IF and blocks the next until IRET. */
BOTH(count10, "1: inc %ecx\n cmp $10, %ecx\n jne 1b\n hlt");
static void test_nmi(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, count) {
		tiny_nmi(t);
		assert_fault(t, tiny_run(t), X86_NMI, TINY_CODE, 0);
		assert_true(t->v->s.nmi_blocked);
		tiny_nmi(t);
		/* Behind the stub's HLT stand a NOP and the next vector's stub: #BP's. */
		t->v->s.activity = ACT_RUNNING;
		assert_int_equal(tiny_run(t), X86_BP);
	}
	FOR_BOTH(t, 0, count10) {
		tiny_set_gate(t, X86_NMI, 0xe, 0, both_ ? SEL_CODE0_64 : SEL_CODE0, TINY_CODE + 0x80, 0);
		tiny_put(t, TINY_CODE + 0x80, both_ ? "\x48\xcf" : "\xcf", 2); /* iret */
		t->v->s.nmi_blocked = true;
		tiny_nmi(t);
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_true(atomic_load(&t->v->work) & WORK_NMI);
		t->v->s.nmi_blocked = false;
		t->v->s.rip = TINY_CODE;
		GPR(t, CX) = 0;
		t->v->s.activity = ACT_RUNNING;
		assert_int_equal(tiny_run(t), TINY_HLT); /* taken, and returned from */
		assert_int_equal(GPR(t, CX), 10);
		assert_false(t->v->s.nmi_blocked);
		assert_false(atomic_load(&t->v->work) & WORK_NMI);
	}
}

/* The task priority (CR8) holds interrupts of its class and below back (11.8.3.1). */
GUEST(lower_tpr, 64, "nop\n nop\n xor %eax, %eax\n mov %rax, %cr8\n nop\n hlt");
static void test_tpr(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	t->tpr = 5;
	FLAGS(t) |= FL_IF;
	tiny_intr(t, 0x51);
	assert_int_equal(RUN(t, lower_tpr), 0x51);
	assert_int_equal(t->frame.rip, TINY_CODE + 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vectors), TEST(test_selector_error_codes), TEST(test_page_fault), TEST(test_alignment_check),
		TEST(test_gate_flags), TEST(test_gate16), TEST(test_conforming_handler), TEST(test_long_frame),
		TEST(test_ist), TEST(test_gate_faults), TEST(test_idt_limit), TEST(test_inner_stack_faults),
		TEST(test_double_fault), TEST(test_triple_fault), TEST(test_order), TEST(test_length),
		TEST(test_interrupt), TEST(test_nmi), TEST(test_tpr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
