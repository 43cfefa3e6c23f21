/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The same code at several linear addresses, as programs are that ASLR moves: everything relative to RIP follows. */
#include "check.h"

/* Entries of the top-level table that all lead to what is at 0: code there has one guest-physical address and many names. */
#define NAMES     4
#define NAME(n)   ((uint64_t)(n) << 39)
#define NEXT_PAGE (TINY_CODE + 0x1000u)
#define ROUNDS    300

/*
 * RDX: how far return addresses, a constant and a pointer lie from RBX, over ROUNDS turns with direct and indirect calls, within
 * the page and to the next one; it is the same wherever the code stands. The counter in the next page but one counts turns.
 */
GUEST(relative, 64, "xor %edx, %edx; lea 1f(%rip), %rbx; mov $300, %ecx;"
		    "1: call 3f; add %rax, %rdx; lea 3f(%rip), %rsi; call *%rsi; add %rax, %rdx;"
		    ".byte 0xe8; .long 0x1000 - (2f - relative); 2: add %rax, %rdx; mov 4f(%rip), %eax; add %rax, %rdx;"
		    "lea 4f(%rip), %rax; sub %rbx, %rax; add %rax, %rdx; push 5f(%rip); pop %rax; add %rax, %rdx;"
		    "incl relative + 0x2000(%rip); dec %ecx; jnz 1b; jmp 6f;"
		    "3: mov (%rsp), %rax; sub %rbx, %rax; ret; 4: .long 77; 5: .quad 1; 6: nop; hlt");
GUEST(far_part, 64, "mov (%rsp), %rax; sub %rbx, %rax; test $1, %cl; jz 1f; inc %rax; 1: ret");
/* Its second access faults. */
GUEST(faulting, 64, "lea faulting + 0x2000(%rip), %rsi; mov $0xa5, %edi; mov (%rsi), %eax; mov %eax, 8(%rsi); mov 1f(%rip), %edx;"
		    "mov 0x7fffff0(%rsi), %eax; 1: hlt");

static void enter(struct tiny *t)
{
	uint64_t table, entry;

	tiny_enter(t, TINY_LONG, 0);
	table = t->v->s.cr3 & PAGE_MASK;
	memcpy(&entry, t->ram->base + table, sizeof(entry));
	for (unsigned n = 1; n < NAMES; n++)
		tiny_poke(t, table + 8 * n, 8, entry);
}

static uint64_t run_at(struct tiny *t, uint64_t base, int ends)
{
	t->v->s.rip = base + TINY_CODE;
	t->v->s.activity = ACT_RUNNING;
	assert_int_equal(tiny_run(t), ends);
	return GPR(t, DX);
}

static uint64_t copies(const struct tiny *t)
{
	return t->v->stats.bt_copies;
}

static void test_relative(void **state)
{
	struct tiny *t = *state;
	bool bt = !strcmp(t->v->engine->name, "bt");
	uint64_t sum, before;

	enter(t);
	TINY_LOAD(t, TINY_CODE, relative);
	TINY_LOAD(t, NEXT_PAGE, far_part);
	sum = run_at(t, NAME(0), TINY_HLT);
	for (unsigned n = 1; n < NAMES; n++) {
		before = copies(t);
		assert_int_equal(run_at(t, NAME(n), TINY_HLT), sum);
		/* Code below 4 GiB is no original. */
		assert_true(!bt || (copies(t) > before) == (n > 1));
	}
	assert_int_equal(run_at(t, NAME(1), TINY_HLT), sum);
	assert_int_equal(*(uint32_t *)(t->ram->base + TINY_CODE + 0x2000), (NAMES + 1) * ROUNDS);
}

/* What has been written since is not copied. */
static void test_changed(void **state)
{
	struct tiny *t = *state;
	size_t at = (size_t)(relative_end - relative) - 2 - 8 - 4; /* the constant 77 */
	uint64_t sum;

	enter(t);
	TINY_LOAD(t, TINY_CODE, relative);
	TINY_LOAD(t, NEXT_PAGE, far_part);
	sum = run_at(t, NAME(1), TINY_HLT);
	assert_int_equal(run_at(t, NAME(2), TINY_HLT), sum);
	tiny_poke(t, TINY_CODE + at, 4, 78);
	for (unsigned n = NAMES - 1; n; n--)
		assert_int_equal(run_at(t, NAME(n), TINY_HLT), sum + ROUNDS);
}

/* A fault in a copy has the copy's RIP. */
static void test_fault(void **state)
{
	struct tiny *t = *state;

	enter(t);
	TINY_LOAD(t, TINY_CODE, faulting);
	for (unsigned n = 0; n < NAMES; n++) {
		run_at(t, NAME(n), X86_PF);
		assert_int_equal(t->frame.rip, NAME(n) + TINY_CODE + (uint64_t)(faulting_end - faulting) - 1 - 6);
		assert_int_equal(t->v->s.cr2, NAME(n) + TINY_CODE + 0x2000 + 0x7fffff0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_relative), TEST(test_changed), TEST(test_fault) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
