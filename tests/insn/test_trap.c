/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt shadows, single step and debug registers (SDM vol. 3, 6.8.3, ch. 17). */
#include "check.h"

#define DR7_L(n)          BIT((n) * 2)
#define DR7_RW(n, rw)     ((uint64_t)(rw) << (16 + (n) * 4))
#define DR7_LEN(n, bytes) ((uint64_t)((bytes) == 8 ? 2 : (bytes) - 1) << (18 + (n) * 4))
enum { RW_EXEC, RW_WRITE, RW_IO, RW_ACCESS };

/* -- Shadows (6.8.3; vol. 2, STI, MOV) --------------------------------------------------------- */

BOTH(sti, "sti\n nop\n nop\n hlt");
BOTH(sti_cli, "sti\n cli\n nop\n hlt");
BOTH(sti_hlt, "sti\n hlt");
BOTH(mov_ss, "mov %ecx, %ss\n nop\n nop\n hlt");

static void test_sti_shadow(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, sti) {
		tiny_intr(t, 0x40);
		assert_fault(t, tiny_run(t), 0x40, TINY_CODE + 2, 0);
	}
	/* IF was set already: STI casts no shadow. */
	FOR_BOTH(t, 0, sti) {
		FLAGS(t) |= FL_IF;
		tiny_step(t);
		tiny_intr(t, 0x40);
		assert_fault(t, tiny_run(t), 0x40, TINY_CODE + 1, 0);
	}
	FOR_BOTH(t, 0, sti_cli) {
		tiny_intr(t, 0x40);
		assert_int_equal(tiny_run(t), TINY_HLT);
	}
	/* The idle loop's pair: the interrupt comes while halted, not before. */
	FOR_BOTH(t, 0, sti_hlt) {
		tiny_intr(t, 0x40);
		assert_fault(t, tiny_run(t), 0x40, TINY_CODE + 2, 0);
	}
}

static void test_mov_ss_shadow(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, mov_ss) {
		GPR(t, CX) = SEL_DATA0;
		FLAGS(t) |= FL_IF;
		tiny_step(t);
		tiny_intr(t, 0x40);
		assert_fault(t, tiny_run(t), 0x40, TINY_CODE + 3, 0);
	}
	FOR_BOTH(t, 0, mov_ss) {
		GPR(t, CX) = SEL_DATA0;
		tiny_step(t);
		tiny_nmi(t);
		assert_fault(t, tiny_run(t), X86_NMI, TINY_CODE + 3, 0);
	}
}

/* -- Single step (17.3.1.4) -------------------------------------------------------------------- */

BOTH(popf_tf, "push $0x102\n popf\n nop\n nop\n hlt");
BOTH(nops, "nop\n nop\n hlt");
BOTH(int_tf, "int $0x80\n nop\n hlt");
BOTH(mov_ss_tf, "mov %ecx, %ss\n nop\n nop\n hlt");
BOTH(stos_tf, "rep stosb\n nop\n hlt");
BOTH(fault_tf, "ud2\n hlt");
GUEST(iret_tf_64, 64, "iretq\n 1: nop\n nop\n hlt");
GUEST(iret_tf_32, 32, "iret\n 1: nop\n nop\n hlt");

#define assert_step(t, result, at)                                               \
	do {                                                                     \
		assert_fault(t, result, X86_DB, at, 0);                          \
		assert_int_equal((t)->v->s.dr[6], DR6_FIXED | DR6_BS);           \
	} while (0)

static void test_single_step(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		FOR_BOTH(t, cpl, nops) {
			FLAGS(t) |= FL_TF;
			assert_step(t, tiny_run(t), TINY_CODE + 1);
			assert_true(t->frame.rflags & FL_TF);
			assert_false(FLAGS(t) & FL_TF);
		}
		/* POPF that sets TF does not trap itself; the instruction behind it does. */
		FOR_BOTH(t, cpl, popf_tf)
			assert_step(t, tiny_run(t), TINY_CODE + 7);
		/* A faulting instruction does not trap. */
		FOR_BOTH(t, cpl, fault_tf) {
			FLAGS(t) |= FL_TF;
			assert_fault(t, tiny_run(t), X86_UD, TINY_CODE, 0);
			assert_int_equal(t->v->s.dr[6], DR6_FIXED);
			assert_true(t->frame.rflags & FL_TF);
		}
	}
}

/* POPF that clears TF traps: TF was set when it began. */
BOTH(popf_clear, "popf\n nop\n hlt");
static void test_step_ends(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, popf_clear) {
		tiny_poke(t, GPR(t, SP) -= 8, 8, FL_1);
		FLAGS(t) |= FL_TF;
		assert_step(t, tiny_run(t), TINY_CODE + 1);
		assert_false(t->frame.rflags & FL_TF);
	}
}

/* IRET that sets TF: the first instruction at its target traps behind itself. */
static void test_step_iret(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, iret_tf) {
		unsigned size = both_ ? 8 : 4, len = both_ ? 2 : 1;
		uint64_t frame[5] = { TINY_CODE + len, both_ ? SEL_CODE0_64 : SEL_CODE0, FL_1 | FL_TF, TINY_STACK,
				      SEL_DATA0 };

		for (unsigned i = 5; i-- > 0;)
			tiny_poke(t, GPR(t, SP) -= size, size, frame[i]);
		assert_step(t, tiny_run(t), TINY_CODE + len + 1);
	}
}

/* INT n clears TF on its way: its handler is not stepped into, and the step resumes behind the IRET. */
static void test_step_int(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, int_tf) {
		tiny_put(t, tiny_stub(0x80), both_ ? "\x48\xcf" : "\xcf\x90", 2); /* iret */
		FLAGS(t) |= FL_TF;
		assert_step(t, tiny_run(t), TINY_CODE + 3);
	}
}

/* Held back by MOV SS until after the next instruction (6.8.3). */
static void test_step_mov_ss(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, mov_ss_tf) {
		GPR(t, CX) = SEL_DATA0;
		FLAGS(t) |= FL_TF;
		assert_step(t, tiny_run(t), TINY_CODE + 3);
	}
}

/* Each iteration of a repeated string instruction is a step. */
static void test_step_rep(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, stos_tf) {
		GPR(t, CX) = 3;
		GPR(t, DI) = TINY_DATA;
		FLAGS(t) |= FL_TF;
		for (unsigned left = 2; left; left--) {
			assert_step(t, tiny_run(t), TINY_CODE);
			assert_int_equal(GPR(t, CX), left);
			assert_int_equal(GPR(t, DI), TINY_DATA + 3 - left);
			/* Go on as IRET would. */
			t->v->s.rip = t->frame.rip;
			FLAGS(t) = t->frame.rflags;
			t->v->s.activity = ACT_RUNNING;
		}
		assert_step(t, tiny_run(t), TINY_CODE + 2);
		assert_int_equal(GPR(t, CX), 0);
	}
}

/* SYSCALL with TF in SFMASK is followed by no trap (APM vol. 2, 13.1.4). */
GUEST(syscall_tf, 64, "syscall\n hlt");
static void test_step_syscall(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 3);
	t->v->s.msr.star = (uint64_t)SEL_CODE0_64 << 32;
	t->v->s.msr.lstar = TINY_CODE + 2;
	t->v->s.msr.sfmask = FL_TF;
	FLAGS(t) |= FL_TF;
	assert_int_equal(RUN(t, syscall_tf), TINY_HLT);
	assert_int_equal(t->v->s.dr[6], DR6_FIXED);
	assert_true(GPR(t, 11) & FL_TF);
}

/* -- Breakpoints (17.2) ------------------------------------------------------------------------ */

BOTH(store, "mov %eax, (%edi)\n nop\n hlt");
BOTH(load, "mov (%edi), %eax\n nop\n hlt");
BOTH(mov_ss_mem, "mov (%edi), %ss\n nop\n nop\n hlt");

static void arm(struct tiny *t, unsigned n, uint64_t addr, unsigned rw, unsigned len)
{
	t->v->s.dr[n] = addr;
	t->v->s.dr[7] |= DR7_L(n) | DR7_RW(n, rw) | (rw == RW_EXEC ? 0 : DR7_LEN(n, len));
	tiny_state_changed(t);
}

/* 17.3.1.1: a fault before the instruction; RF in the image as it was; RF = 1 lets it pass once. */
static void test_code_breakpoint(void **state)
{
	struct tiny *t = *state;

	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		FOR_BOTH(t, cpl, nops) {
			arm(t, 2, TINY_CODE + 1, RW_EXEC, 1);
			assert_fault(t, tiny_run(t), X86_DB, TINY_CODE + 1, 0);
			assert_int_equal(t->v->s.dr[6], DR6_FIXED | BIT(2));
			assert_false(t->frame.rflags & FL_RF);
		}
	}
	FOR_BOTH(t, 0, nops) {
		arm(t, 0, TINY_CODE, RW_EXEC, 1);
		FLAGS(t) |= FL_RF;
		assert_int_equal(tiny_run(t), TINY_HLT);
		assert_false(FLAGS(t) & FL_RF);
	}
}

/* 17.3.1.2: a trap behind the access; DR6 names every breakpoint that matched. */
static void check_data(struct tiny *t, bool write, unsigned rw, uint64_t addr, unsigned len, bool hit)
{
	GPR(t, DI) = TINY_DATA + 0x10;
	arm(t, 1, addr, rw, len);
	if (!hit) {
		assert_int_equal(tiny_run(t), TINY_HLT);
		return;
	}
	assert_int_equal(tiny_run(t), X86_DB);
	assert_int_equal(t->v->s.dr[6], DR6_FIXED | BIT(1));
	if (write)
		assert_int_equal(tiny_peek(t, TINY_DATA + 0x10, 4), (uint32_t)GPR(t, AX));
}

static void test_data_breakpoint(void **state)
{
	static const struct {
		unsigned rw;
		int off;
		unsigned len;
		bool on_load, on_store;
	} c[] = {
		{ RW_WRITE, 0, 4, false, true }, { RW_ACCESS, 0, 4, true, true },  { RW_ACCESS, 3, 1, true, true },
		{ RW_ACCESS, 4, 1, false, false },
		{ RW_ACCESS, -1, 1, false, false },
		{ RW_WRITE, -8, 8, false, false },
		{ RW_WRITE, 5, 8, false, true }, /* the address is aligned to its length */
		{ RW_IO, 0, 4, false, false },
	};
	struct tiny *t = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		uint64_t addr = TINY_DATA + 0x10 + (uint64_t)(int64_t)c[i].off;

		FOR_BOTH(t, 0, store)
			check_data(t, true, c[i].rw, addr, c[i].len, c[i].on_store);
		FOR_BOTH(t, 0, load)
			check_data(t, false, c[i].rw, addr, c[i].len, c[i].on_load);
	}
}

/* A data breakpoint met by MOV SS waits for the next instruction's end (6.8.3). */
static void test_data_breakpoint_mov_ss(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, mov_ss_mem) {
		unsigned len = both_ ? 3 : 2; /* address-size prefix */

		GPR(t, DI) = TINY_DATA;
		tiny_poke(t, TINY_DATA, 2, SEL_DATA0);
		arm(t, 0, TINY_DATA, RW_ACCESS, 2);
		assert_fault(t, tiny_run(t), X86_DB, TINY_CODE + len + 1, 0);
		assert_int_equal(t->v->s.dr[6], DR6_FIXED | BIT(0));
	}
}

/* 17.2.4: I/O breakpoints need CR4.DE. */
BOTH(out, "out %al, $0x42\n nop\n hlt");
static void test_io_breakpoint(void **state)
{
	struct tiny *t = *state;

	for (unsigned de = 0; de < 2; de++) {
		FOR_BOTH(t, 0, out) {
			t->v->s.cr4 |= de ? CR4_DE : 0;
			arm(t, 3, 0x42, RW_IO, 1);
			if (de)
				assert_fault(t, tiny_run(t), X86_DB, TINY_CODE + 2, 0);
			else
				assert_int_equal(tiny_run(t), TINY_HLT);
			assert_int_equal(t->n_io, 1);
		}
	}
}

/* DR6 bits accumulate: nobody but software clears them. */
static void test_dr6_sticky(void **state)
{
	struct tiny *t = *state;

	FOR_BOTH(t, 0, nops) {
		t->v->s.dr[6] |= BIT(3);
		FLAGS(t) |= FL_TF;
		assert_int_equal(tiny_run(t), X86_DB);
		assert_int_equal(t->v->s.dr[6], DR6_FIXED | BIT(3) | DR6_BS);
	}
}

/* 17.2: fixed bits, aliases, GD, privilege. */
GUEST(write_dr, 64, "mov %rax, %dr6\n mov %rbx, %dr7\n mov %dr6, %rcx\n mov %dr7, %rdx\n hlt");
GUEST(alias_dr, 64, "mov %rax, %dr4\n mov %dr5, %rcx\n hlt");
GUEST(read_dr, 64, "nop\n mov %dr0, %rcx\n hlt");

static void test_debug_registers(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	GPR(t, AX) = 0;
	GPR(t, BX) = 0xffff0000;
	assert_int_equal(RUN(t, write_dr), TINY_HLT);
	assert_int_equal(GPR(t, CX), DR6_FIXED);
	assert_int_equal(GPR(t, DX), 0xffff0400);
	tiny_enter(t, TINY_LONG, 0);
	GPR(t, AX) = BIT(32);
	assert_fault(t, RUN(t, write_dr), X86_GP, TINY_CODE, 0);
	/* DR4 and DR5 are DR6 and DR7 unless CR4.DE makes them #UD. */
	tiny_enter(t, TINY_LONG, 0);
	GPR(t, AX) = BIT(0);
	assert_int_equal(RUN(t, alias_dr), TINY_HLT);
	assert_int_equal(t->v->s.dr[6], DR6_FIXED | BIT(0));
	assert_int_equal(GPR(t, CX), t->v->s.dr[7]);
	tiny_enter(t, TINY_LONG, 0);
	t->v->s.cr4 |= CR4_DE;
	assert_fault(t, RUN(t, alias_dr), X86_UD, TINY_CODE, 0);
	/* GD: a fault with BD, and the handler may touch them. */
	tiny_enter(t, TINY_LONG, 0);
	t->v->s.dr[7] |= DR7_GD;
	assert_fault(t, RUN(t, read_dr), X86_DB, TINY_CODE + 1, 0);
	assert_int_equal(t->v->s.dr[6], DR6_FIXED | DR6_BD);
	assert_false(t->v->s.dr[7] & DR7_GD);
	tiny_enter(t, TINY_LONG, 3);
	t->v->s.dr[7] |= DR7_GD;
	assert_fault(t, RUN(t, read_dr), X86_GP, TINY_CODE + 1, 0);
}

/* -- Branches to nowhere (vol. 2, CALL, JMP, RET: #GP(0), and nothing has changed) ------------------ */

#define NOWHERE 0x0000900000000000
#define OTHER   0x1122334455667788

GUEST(call_register, 64, "xor %eax, %eax; cmp $1, %eax; call *%rbx; hlt");
GUEST(call_memory, 64, "xor %eax, %eax; cmp $1, %eax; call *(%rsi); hlt");
GUEST(jump_register, 64, "xor %eax, %eax; cmp $1, %eax; jmp *%rbx; hlt");
GUEST(jump_memory, 64, "xor %eax, %eax; cmp $1, %eax; jmp *(%rsi); hlt");
GUEST(return_there, 64, "xor %eax, %eax; cmp $1, %eax; ret; hlt");

#define NOWHERE_AT (TINY_CODE + 5)

static void go_nowhere(struct tiny *t, const unsigned char *code, size_t len, uint32_t rsp)
{
	for (unsigned round = 0; round < 3; round++) {
		tiny_enter(t, TINY_LONG, 3);
		GPR(t, SP) = rsp;
		GPR(t, BX) = NOWHERE;
		GPR(t, SI) = TINY_DATA;
		tiny_poke(t, TINY_DATA, 8, NOWHERE);
		tiny_poke(t, rsp, 8, NOWHERE);
		tiny_poke(t, rsp - 8, 8, OTHER);
		tiny_put(t, TINY_CODE, code, len);
		assert_fault(t, tiny_run(t), X86_GP, NOWHERE_AT, 0);
		assert_int_equal(t->frame.rsp, rsp);
		assert_int_equal(t->frame.rflags & FL_ARITH, FL_CF | FL_PF | FL_AF | FL_SF);
		assert_int_equal(tiny_peek(t, rsp - 8, 8), OTHER);
		assert_int_equal(tiny_peek(t, rsp, 8), NOWHERE);
	}
}

static void test_nowhere(void **state)
{
	/* The second pushes over a page's end, the third beside the code. */
	static const uint32_t rsp[] = { TINY_STACK3 - 64, TINY_STACK3 - 0x1000 + 4, TINY_CODE + 0x800 };

	for (unsigned n = 0; n < ARRAY_SIZE(rsp); n++) {
		go_nowhere(*state, call_register, (size_t)(call_register_end - call_register), rsp[n]);
		go_nowhere(*state, call_memory, (size_t)(call_memory_end - call_memory), rsp[n]);
		go_nowhere(*state, jump_register, (size_t)(jump_register_end - jump_register), rsp[n]);
		go_nowhere(*state, jump_memory, (size_t)(jump_memory_end - jump_memory), rsp[n]);
		go_nowhere(*state, return_there, (size_t)(return_there_end - return_there), rsp[n]);
	}
}

/* Of two faults the stack's is first, as on AMD's processors; the manuals leave it open (vol. 3, 6.9). */
static void test_nowhere_without_stack(void **state)
{
	struct tiny *t = *state;

	for (unsigned round = 0; round < 3; round++) {
		tiny_enter(t, TINY_LONG, 3);
		GPR(t, SP) = 4 * MiB + 64;
		GPR(t, BX) = NOWHERE;
		tiny_set_pte_flags(t, 4 * MiB, 0);
		assert_fault(t, RUN(t, call_register), X86_PF, NOWHERE_AT, PF_W | PF_U);
		assert_int_equal(t->frame.rsp, 4 * MiB + 64);
		assert_int_equal(t->v->s.cr2, 4 * MiB + 56);
		tiny_enter(t, TINY_LONG, 3);
		GPR(t, SP) = NOWHERE;
		GPR(t, BX) = NOWHERE;
		assert_fault(t, RUN(t, call_register), X86_SS, NOWHERE_AT, 0);
	}
}

/* -- INT n, and back -------------------------------------------------------------------------------- */

#define INT_ROUNDS 1000

BOTH(int_loop, "mov $1000, %ecx; 1: int $0x55; dec %ecx; jnz 1b; int3");
GUEST(count_and_return, 64, "inc %ebx; iretq");

/* From long mode's user code the translator goes there and back without the reference. */
static void test_int_loop(void **state)
{
	static const enum tiny_mode modes[] = { TINY_LONG, TINY_COMPAT };
	struct tiny *t = *state;

	for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
		uint64_t steps = t->v->stats.bt_interp_steps;

		tiny_enter(t, modes[m], 3);
		GPR(t, BX) = 0;
		tiny_set_gate(t, 0x55, 0xe, 3, SEL_CODE0_64, TINY_DATA, 0);
		TINY_LOAD(t, TINY_DATA, count_and_return);
		assert_int_equal(modes[m] == TINY_LONG ? RUN(t, int_loop_64) : RUN(t, int_loop_32), X86_BP);
		assert_int_equal(GPR(t, BX), INT_ROUNDS);
		assert_int_equal(GPR(t, CX), 0);
		if (!t->v->lockstep)
			assert_true(t->v->stats.bt_interp_steps - steps < INT_ROUNDS / 10);
		/* A gate that ring 3 may not go through. */
		tiny_enter(t, modes[m], 3);
		tiny_set_gate(t, 0x55, 0xe, 2, SEL_CODE0_64, TINY_DATA, 0);
		assert_int_equal(modes[m] == TINY_LONG ? RUN(t, int_loop_64) : RUN(t, int_loop_32), X86_GP);
		assert_int_equal(t->frame.err, 0x55 * 8 + 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sti_shadow), TEST(test_mov_ss_shadow), TEST(test_single_step), TEST(test_step_ends),
		TEST(test_step_iret), TEST(test_step_int), TEST(test_step_mov_ss), TEST(test_step_rep),
		TEST(test_step_syscall), TEST(test_code_breakpoint), TEST(test_data_breakpoint),
		TEST(test_data_breakpoint_mov_ss), TEST(test_io_breakpoint), TEST(test_dr6_sticky),
		TEST(test_debug_registers), TEST(test_nowhere), TEST(test_nowhere_without_stack), TEST(test_int_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
