/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator's stack window (cpu/bt/stack.c) against guests that are after it: RSP where nothing of theirs is, page tables
 * that change under it, code on the stack. Always open, so that every ring 3 instruction here goes by it.
 */
#include <stdlib.h>

#include "check.h"
#include "cpu/bt/cache.h"

#define PTE_P  BIT(0)
#define PTE_W  BIT(1)
#define PTE_U  BIT(2)
#define PTE_NX BIT(63)
#define DEEP   (TINY_HIGH + 0x600000) /* a stack that can grow by 6 MiB */
#define FRAME  (TINY_HIGH + 0x500000) /* for another page of it */

static struct bt *bt_of(const struct tiny *t)
{
	return t->v->engine_data;
}

static const struct bt_stack *window(const struct tiny *t)
{
	return &bt_of(t)->current->stack;
}

static int setup(void **state)
{
	setenv("DOPPEL_ENGINE", "bt,stack-window=always", 1);
	*state = tiny_new();
	return 0;
}

#define HOSTILE(f) cmocka_unit_test_setup_teardown(f, setup, check_teardown)

/* Ring 3, with exceptions on a stack of their own. */
static void enter(struct tiny *t)
{
	tiny_enter(t, TINY_LONG, 3);
	for (unsigned vector = X86_BP; vector <= X86_PF; vector++)
		tiny_set_gate(t, vector, 0xe, 3, SEL_CODE0_64, tiny_stub(vector), 1);
}

#define START(t, name) (enter(t), TINY_LOAD((t), TINY_CODE, name))

/* -- It is used --------------------------------------------------------------------------------------------- */

GUEST(calls, 64, "mov $1000, %ecx; 1: push %rcx; call 2f; pop %rdx; add %rdx, %rsi; dec %ecx; jnz 1b; int3;"
		 "2: push %rbx; sub $64, %rsp; mov %rcx, 32(%rsp); add 32(%rsp), %rbx; add $64, %rsp; pop %rbx; ret");

static void test_used(void **state)
{
	struct tiny *t = *state;

	START(t, calls);
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(GPR(t, SI), 1000 * 1001 / 2);
	assert_true(window(t)->open);
	assert_true(t->v->stats.bt_stack_pages > 0);
	assert_true(bt_of(t)->exits[SITE_TLB] < 10);
}

/* Never in the kernel, nor when it was switched off. */
static void test_not_used(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, calls);
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(t->v->stats.bt_stack_opened, 0);
	t->group.stack_window = STACK_WINDOW_NEVER;
	START(t, calls);
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(GPR(t, SI), 1000 * 1001 / 2);
	assert_int_equal(t->v->stats.bt_stack_opened, 0);
}

/* 600,000 pushes from one end of a stack of 5 MiB to the other, and back: the window is left, and follows. */
GUEST(deep, 64, "mov $600000, %ecx; 1: push %rcx; dec %ecx; jnz 1b; mov $600000, %ecx; 2: pop %rdx; add %rdx, %rsi; dec %ecx; jnz 2b; int3");

static void test_deep(void **state)
{
	struct tiny *t = *state;

	START(t, deep);
	GPR(t, SP) = DEEP;
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(GPR(t, SI), 600000ull * 600001 / 2);
	assert_int_equal(t->frame.rsp, DEEP);
}

/* -- RSP elsewhere -------------------------------------------------------------------------------------------- */

/* RBX is where it goes, by each way that there is; RDX and RBP help. */
GUEST(by_mov, 64, "push %rax; pop %rax; mov %rbx, %rsp; push %rcx; int3");
GUEST(by_load, 64, "push %rbx; mov (%rsp), %rsp; mov %rcx, -8(%rsp); int3");
GUEST(by_pop, 64, "push %rbx; pop %rsp; push %rcx; int3");
GUEST(by_add, 64, "push %rax; mov %rbx, %rdx; sub %rsp, %rdx; add %rdx, %rsp; push %rcx; int3");
GUEST(by_lea, 64, "push %rax; mov %rbx, %rbp; lea -16(%rbp), %rsp; pop %rcx; int3");
GUEST(by_xchg, 64, "push %rax; xchg %rbx, %rsp; call 1f; 1: int3");
GUEST(by_xadd, 64, "push %rax; mov %rsp, %rax; sub %rax, %rbx; xadd %rbx, %rsp; ret");
GUEST(by_cmov, 64, "push %rax; cmp %rax, %rax; cmovz %rbx, %rsp; mov 8(%rsp), %rax; int3");
GUEST(by_group, 64, "push %rax; mov %rbx, %rsp; mov (%rsp), %rax; mov 8(%rsp), %rdx; mov %rax, 16(%rsp); int3");
GUEST(by_jump, 64, "push %rax; mov %rbx, %rsp; jmp 1f; .balign 64; 1: mov %rcx, (%rsp); int3");
GUEST(by_leave, 64, "push %rax; push %rax; mov %rsp, %rbp; mov %rbx, (%rsp); leave; lea -16(%rbp), %rsp; push %rcx; int3");

static const struct {
	const unsigned char *code, *end;
} ways[] = {
	{ by_mov, by_mov_end },	  { by_load, by_load_end },   { by_pop, by_pop_end },	{ by_add, by_add_end },
	{ by_lea, by_lea_end },	  { by_xchg, by_xchg_end },   { by_xadd, by_xadd_end }, { by_cmov, by_cmov_end },
	{ by_group, by_group_end }, { by_jump, by_jump_end }, { by_leave, by_leave_end },
};

static void send_rsp_to(struct tiny *t, uint64_t at)
{
	for (unsigned n = 0; n < ARRAY_SIZE(ways); n++) {
		enter(t);
		tiny_put(t, TINY_CODE, ways[n].code, (size_t)(ways[n].end - ways[n].code));
		GPR(t, BX) = at;
		GPR(t, CX) = 0x6666666666666666;
		assert_int_equal(tiny_run(t), X86_PF);
		assert_true(t->v->s.cr2 - (at - 32) <= 64);
	}
}

/* What the host has there is neither read nor written; the window itself and its guards are no exception. */
static void test_host_addresses(void **state)
{
	struct tiny *t = *state;
	struct bt *bt = bt_of(t);
	const uint64_t at[] = {
		(uintptr_t)bt + 0x40, (uintptr_t)bt->cache + 0x40, (uintptr_t)bt->cache->code_rx + 0x40,
		(uintptr_t)bt->cache->code_rw + 0x40, (uintptr_t)t->v + 0x40, (uintptr_t)t->ram->base + 0x40, (uintptr_t)&t,
		TINY_RAM + 64 * KiB, 0x40000000, 0x7fffff00, 0xffff888000000000,
	};
	uint64_t own;

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		send_rsp_to(t, at[i]);
	own = (uintptr_t)window(t)->base;
	assert_true(own);
	send_rsp_to(t, own + 64);
	send_rsp_to(t, own + BT_STACK_GUARD);
	send_rsp_to(t, own + BT_STACK_GUARD + BT_STACK_SIZE + 64);
	assert_int_equal(bt->self, (uintptr_t)bt);
}

/* As far as RSP goes without being used: past the window, its guards, and whatever stands behind them in host memory. */
GUEST(drift_down, 64, "push %rax; 1: sub $0x8000, %rsp; dec %rcx; jnz 1b; push %rdx; int3");
GUEST(drift_far, 64, "push %rax; 1: sub $0x1000000, %rsp; dec %rcx; jnz 1b; push %rdx; int3");
GUEST(drift_up, 64, "push %rax; 1: lea 0x10000(%rsp), %rsp; dec %rcx; jnz 1b; pop %rdx; int3");
GUEST(drift_calls, 64, "push %rax; 1: sub $0x8000, %rsp; dec %rcx; jz 2f; mov (%rbx), %rsi; mov 8(%rbx), %rdi; jmp 1b; 2: call 3f; 3: int3");
GUEST(drift_small, 64, "push %rax; 1: inc %rsp; inc %rsp; dec %rcx; jnz 1b; mov %rcx, 512(%rsp); int3");
GUEST(drift_masked, 64, "push %rax; kxorq %k1, %k1, %k1; 1: sub $0x8000, %rsp; vmovdqu8 (%rsp), %zmm1{%k1}{z}; dec %rcx; jnz 1b; push %rdx; int3");
GUEST(drift_flags, 64, "1: pushf; pop %rax; sub $0x4000, %rsp; pushf; lea 8(%rsp), %rsp; dec %rcx; jnz 1b; int3");

static void drift(struct tiny *t, const unsigned char *code, const unsigned char *end, uint64_t times, int64_t by)
{
	const uint64_t last = TINY_STACK3 + (uint64_t)(by * (int64_t)times);

	enter(t);
	tiny_put(t, TINY_CODE, code, (size_t)(end - code));
	GPR(t, CX) = times;
	GPR(t, BX) = TINY_FREE + PAGE_SIZE - 8; /* a group that is in two pages */
	assert_int_equal(tiny_run(t), X86_PF);
	assert_true(t->v->s.cr2 - (last - 64) <= 1024);
}

#define DRIFT(t, name, times, by) drift((t), name, name##_end, (times), (by))

static void test_drift(void **state)
{
	struct tiny *t = *state;

	for (uint64_t times = 64; times <= 1 << 12; times *= 2) {
		DRIFT(t, drift_down, times, -0x8000);
		DRIFT(t, drift_up, times + 128, 0x10000);
		DRIFT(t, drift_calls, times, -0x8000);
	}
	DRIFT(t, drift_far, 1, -0x1000000);
	DRIFT(t, drift_far, 1000, -0x1000000);
	DRIFT(t, drift_small, (TINY_RAM - TINY_STACK3) / 2 + 256, 2); /* each step behind the end is a fault of the host's */
}

static void test_drift_masked(void **state)
{
	struct tiny *t = *state;

	if (!__builtin_cpu_supports("avx512bw"))
		skip();
	enter(t);
	t->v->s.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	t->v->s.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512;
	tiny_state_changed(t);
	TINY_LOAD(t, TINY_CODE, drift_masked);
	GPR(t, CX) = 4096;
	assert_int_equal(tiny_run(t), X86_PF);
	assert_int_equal(t->v->s.cr2, TINY_STACK3 - 4096ull * 0x8000 - 16);
}

/* PUSHF is done by a piece of code of its own. */
static void test_drift_flags(void **state)
{
	struct tiny *t = *state;

	START(t, drift_flags);
	GPR(t, SP) = DEEP;
	GPR(t, CX) = 1 << 20;
	assert_int_equal(tiny_run(t), X86_PF);
	assert_true(t->v->s.cr2 >= -0x4000ull);
}

/* RSP moves at a block's very end, which is that of its page, and points to nothing: no fault, and not twice. */
static void test_drift_at_end(void **state)
{
	struct tiny *t = *state;

	for (unsigned n = 0; n < 2; n++) {
		enter(t);
		tiny_put(t, TINY_CODE + 0xffc, "\x48\x83\xec\x08\xcc", 5); /* sub rsp, 8; int3 */
		t->v->s.rip = TINY_CODE + 0xffc;
		GPR(t, SP) = n ? 0x40000000 : DEEP;
		assert_int_equal(tiny_run(t), X86_BP);
		assert_int_equal(t->frame.rsp, (n ? 0x40000000 : DEEP) - 8);
	}
}

/* -- Page tables --------------------------------------------------------------------------------------------------- */

GUEST(store, 64, "push %rcx; pop %rdx; mov %rcx, -16(%rsp); int3");
GUEST(fetch, 64, "push %rcx; jmp *%rsp");

static int run_store(struct tiny *t, uint64_t val)
{
	TINY_LOAD(t, TINY_CODE, store);
	t->v->s.rip = TINY_CODE;
	GPR(t, CX) = val;
	GPR(t, SP) = DEEP;
	return tiny_run(t);
}

static void test_remapped(void **state)
{
	struct tiny *t = *state;
	const uint64_t page = DEEP - PAGE_SIZE, pte = FRAME | PTE_P | PTE_W | PTE_U;

	enter(t);
	assert_int_equal(run_store(t, 1), X86_BP);
	assert_int_equal(tiny_peek(t, DEEP - 16, 8), 1);
	assert_true(window(t)->open);
	enter(t);
	tiny_set_pte(t, page, pte);
	assert_int_equal(run_store(t, 2), X86_BP);
	assert_int_equal(tiny_peek(t, DEEP - 16, 8), 1);
	assert_int_equal(tiny_peek(t, FRAME + PAGE_SIZE - 16, 8), 2);
	/* read-only, not there, the kernel's */
	for (unsigned n = 0; n < 3; n++) {
		enter(t);
		tiny_set_pte(t, page, n == 0 ? FRAME | PTE_P | PTE_U : n == 1 ? 0 : FRAME | PTE_P | PTE_W);
		assert_int_equal(run_store(t, 3), X86_PF);
		assert_int_equal(t->frame.err, n == 1 ? PF_W | PF_U : PF_W | PF_U | PF_P);
		assert_int_equal(t->v->s.cr2, DEEP - 8);
		assert_int_equal(tiny_peek(t, FRAME + PAGE_SIZE - 16, 8), 2);
	}
}

/* A stack that may not be executed is a stack all the same; one of device memory, too. */
static void test_nx_and_device(void **state)
{
	struct tiny *t = *state;

	enter(t);
	t->v->s.efer |= EFER_NXE;
	tiny_set_pte(t, DEEP - PAGE_SIZE, (DEEP - PAGE_SIZE) | PTE_P | PTE_W | PTE_U | PTE_NX);
	assert_int_equal(run_store(t, 7), X86_BP);
	assert_int_equal(tiny_peek(t, DEEP - 16, 8), 7);
	START(t, fetch);
	t->v->s.efer |= EFER_NXE;
	tiny_set_pte(t, DEEP - PAGE_SIZE, (DEEP - PAGE_SIZE) | PTE_P | PTE_W | PTE_U | PTE_NX);
	GPR(t, SP) = DEEP;
	assert_int_equal(tiny_run(t), X86_PF);
	assert_int_equal(t->frame.err, PF_P | PF_U | PF_I);
	START(t, store);
	GPR(t, SP) = TINY_MMIO + 64;
	GPR(t, CX) = 9;
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(t->n_io, 3);
	assert_int_equal(t->io[0].addr, TINY_MMIO + 56);
}

/* In two pages at once: neither is touched if one of them is missing. */
GUEST(straddle, 64, "push %rcx; add $8, %rsp; mov %rcx, -12(%rsp); int3");

static void test_straddle(void **state)
{
	struct tiny *t = *state;

	START(t, straddle);
	GPR(t, SP) = DEEP + 4;
	GPR(t, CX) = 0x1111111122222222;
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(tiny_peek(t, DEEP - 8, 8), 0x1111111122222222);
	START(t, straddle);
	tiny_set_pte(t, DEEP, 0);
	tiny_poke(t, DEEP - 8, 8, 5);
	GPR(t, SP) = DEEP + 4;
	assert_int_equal(tiny_run(t), X86_PF);
	assert_int_equal(t->v->s.cr2, DEEP);
	assert_int_equal(tiny_peek(t, DEEP - 8, 8), 5);
}

/* -- Code on the stack ------------------------------------------------------------------------------------------------ */

/* Writes MOV EAX, ECX's low byte; RET below RSP and calls it, with another byte each time. */
GUEST(smc, 64, "sub $64, %rsp; mov $200, %ecx; 1: movb $0xb8, (%rsp); movzbl %cl, %eax; mov %eax, 1(%rsp); movb $0xc3, 5(%rsp);"
	       "lea (%rsp), %rbx; call *%rbx; add %rax, %rsi; dec %ecx; jnz 1b; int3");

static void test_code_on_stack(void **state)
{
	struct tiny *t = *state;

	START(t, smc);
	GPR(t, SP) = DEEP;
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(GPR(t, SI), 200 * 201 / 2);
}

/* A window that maps a page for writing is closed when that becomes code. */
GUEST(becomes, 64, "push %rcx; pop %rdx; mov $0x100, %ecx; 1: push %rcx; dec %ecx; jnz 1b; mov %rsp, %rbx; add $0x800, %rsp;"
		   "sub $64, %rbx; movb $0xc3, (%rbx); call *%rbx; movb $0x90, (%rbx); movb $0xc3, 1(%rbx); call *%rbx; int3");

static void test_becomes_code(void **state)
{
	struct tiny *t = *state;

	START(t, becomes);
	GPR(t, SP) = DEEP;
	assert_int_equal(tiny_run(t), X86_BP);
	assert_int_equal(t->frame.rsp, DEEP);
	assert_true(t->v->stats.bt_stack_closed > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOSTILE(test_used),	    HOSTILE(test_not_used),	HOSTILE(test_deep),	 HOSTILE(test_host_addresses),
		HOSTILE(test_drift),	    HOSTILE(test_drift_masked), HOSTILE(test_drift_flags), HOSTILE(test_remapped),
		HOSTILE(test_drift_at_end),
		HOSTILE(test_nx_and_device), HOSTILE(test_straddle),	HOSTILE(test_code_on_stack), HOSTILE(test_becomes_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
