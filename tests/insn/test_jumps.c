/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Indirect calls to more targets than a translator's jump cache has places for (cpu/bt/jumps.h): functions whose addresses meet in both of
 * its tables, and what must not be found there any more. The tables' indices are the translator's business; on any engine the sums
 * must be right.
 */
#include "check.h"
#include "cpu/bt/jumps.h"

#define MOST     12         /* targets, three times as many as have room in a second place */
#define FEW      4          /* as many as that; the first place has room for one */
#define FUNCTION 0x200100u  /* the first one; each page has one function */
#define OTHERS   0x400000u  /* pages that take the place of the functions' */
#define TABLE    TINY_DATA  /* of the targets' linear addresses */
#define PTES     (TINY_DATA + 0x400u) /* and of where their page-table entries stand */
#define NAMES    (TINY_FREE) /* a page-directory-pointer table for all entries of the top-level table */
#define ROUNDS   200

/* la of function k is one of the many names of its page: bits 32 to 47 are free to choose, and bit 47 is copied upwards. */
static uint64_t name_of(uint32_t low, uint16_t high)
{
	return (uint64_t)(int64_t)(int16_t)high << 32 | low;
}

static uint32_t low_of(unsigned k)
{
	return FUNCTION + k * 0xffffu; /* the same first index */
}

static uint64_t target_of(unsigned k)
{
	for (uint32_t high = 2; high <= 0xffff; high++)
		if (bt_jc_second_index(name_of(low_of(k), (uint16_t)high)) == 0)
			return name_of(low_of(k), (uint16_t)high);
	fail();
	return 0;
}

/* mov $n, %eax; ret */
static void put_function(struct tiny *t, uint64_t gpa, uint32_t n)
{
	tiny_poke(t, gpa, 1, 0xb8);
	tiny_poke(t, gpa + 1, 4, n);
	tiny_poke(t, gpa + 5, 1, 0xc3);
}

static uint64_t other_of(unsigned k)
{
	return OTHERS + k * PAGE_SIZE;
}

/* Function k returns 1 << k, in the page that takes its place 1 << (k + 16). */
static void enter(struct tiny *t, unsigned targets, unsigned cpl)
{
	uint64_t top, pointers, entry, first;

	tiny_enter(t, TINY_LONG, cpl);
	top = t->v->s.cr3 & PAGE_MASK;
	pointers = tiny_peek(t, top, 8);
	first = tiny_peek(t, pointers & bits_of(~0ull, 39, 0) << 12, 8);
	entry = NAMES | (pointers & 0xfff);
	for (unsigned n = 0; n < 512; n++)
		tiny_poke(t, NAMES + 8 * n, 8, n % 4 ? 0 : first);
	for (unsigned n = 0; n < 512; n++)
		tiny_poke(t, top + 8 * n, 8, entry);
	for (unsigned k = 0; k < targets; k++) {
		put_function(t, low_of(k), 1u << k);
		put_function(t, other_of(k) | (low_of(k) & (PAGE_SIZE - 1)), 1u << (k + 16));
		tiny_poke(t, TABLE + 8 * k, 8, target_of(k));
		tiny_poke(t, PTES + 8 * k, 8, tiny_pte_addr(t, low_of(k)));
		assert_int_equal(bt_jc_index(target_of(k)), bt_jc_index(target_of(0)));
		assert_int_equal(bt_jc_second_index(target_of(k)), bt_jc_second_index(target_of(0)));
	}
	tiny_state_changed(t);
	GPR(t, CX) = ROUNDS;
	GPR(t, 15) = targets;
}

/* RBX: the sum of what the R15 functions return, RCX times; and so that each is called twice in a row, and after each other one. */
#define CALL_ALL                                                                                                       \
	"1: xor %esi, %esi; 2: xor %edi, %edi; 3: call *0xa000(,%rsi,8); add %rax, %rbx; call *0xa000(,%rdi,8); add %rax, %rbx;" \
	"inc %edi; cmp %r15d, %edi; jb 3b; inc %esi; cmp %r15d, %esi; jb 2b; dec %ecx; jnz 1b;"
GUEST(call_all, 64, CALL_ALL "int3");

static uint64_t sum_of(unsigned targets)
{
	return (1ull << targets) - 1;
}

static void for_both(struct tiny *t, void (*check)(struct tiny *t, unsigned targets, unsigned cpl), bool user)
{
	for (unsigned cpl = 0; cpl <= (user ? 3u : 0u); cpl += 3) {
		check(t, FEW, cpl);
		check(t, MOST, cpl);
	}
}

static void check_collisions(struct tiny *t, unsigned targets, unsigned cpl)
{
	enter(t, targets, cpl);
	assert_int_equal(RUN(t, call_all), X86_BP);
	assert_int_equal(GPR(t, BX), ROUNDS * 2 * targets * sum_of(targets));
}

static void test_collisions(void **state)
{
	for_both(*state, check_collisions, true);
}

/* Each function in its turn has its page changed for the other, with INVLPG, and back; it is called just before and behind that, and then all are. */
GUEST(remap_one, 64, "mov %ecx, %ebp; 5: xor %r8d, %r8d; 4: call *0xa000(,%r8,8); mov 0xa400(,%r8,8), %r9; mov (%r9), %r10;"
		     "mov 0xa800(,%r8,8), %rax; mov %r10, 0xa800(,%r8,8); mov %rax, (%r9); mov 0xa000(,%r8,8), %rax; invlpg (%rax);"
		     "call *%rax; add %rax, %rbx; mov $1, %ecx;" CALL_ALL "inc %r8d; cmp %r15d, %r8d; jb 4b; dec %ebp; jnz 5b; int3");

static void check_remapped(struct tiny *t, unsigned targets, unsigned cpl)
{
	uint64_t want = 0, now = sum_of(targets);

	enter(t, targets, cpl);
	for (unsigned k = 0; k < targets; k++)
		tiny_poke(t, TINY_DATA + 0x800 + 8 * k, 8, other_of(k) | (tiny_pte(t, low_of(k)) & 0xfff));
	GPR(t, CX) = 6;
	assert_int_equal(RUN(t, remap_one), X86_BP);
	for (unsigned n = 0; n < 6 * targets; n++) {
		uint64_t first = 1ull << n % targets, other = first << 16;
		bool back = n / targets % 2;

		now += back ? first - other : other - first;
		want += (back ? first : other) + 2 * targets * now;
	}
	assert_int_equal(GPR(t, BX), want);
}

static void test_remapped(void **state)
{
	for_both(*state, check_remapped, false);
}

/* The same by loading CR3, which flushes what is not global. */
GUEST(remap_all, 64, "mov %ecx, %ebp; 5: xor %r8d, %r8d; 4: mov 0xa400(,%r8,8), %r9; mov (%r9), %r10; mov 0xa800(,%r8,8), %rax; mov %r10, 0xa800(,%r8,8);"
		     "mov %rax, (%r9); inc %r8d; cmp %r15d, %r8d; jb 4b; mov %cr3, %rax; mov %rax, %cr3; mov $1, %ecx;" CALL_ALL
		     "dec %ebp; jnz 5b; int3");

static void check_flushed(struct tiny *t, unsigned targets, unsigned cpl)
{
	enter(t, targets, cpl);
	for (unsigned k = 0; k < targets; k++)
		tiny_poke(t, TINY_DATA + 0x800 + 8 * k, 8, other_of(k) | (tiny_pte(t, low_of(k)) & 0xfff));
	GPR(t, CX) = 6;
	assert_int_equal(RUN(t, remap_all), X86_BP);
	assert_int_equal(GPR(t, BX), 3 * 2 * targets * (sum_of(targets) * 0x10001));
}

static void test_flushed(void **state)
{
	for_both(*state, check_flushed, false);
}

/* Functions that are written to: a block was dropped, and its places still lead to it. */
GUEST(rewrite, 64, "mov %ecx, %ebp; 5: xor %r8d, %r8d; 4: mov 0xa000(,%r8,8), %rax; xorl $0x80000000, 1(%rax); mov $1, %ecx;" CALL_ALL
		   "inc %r8d; cmp %r15d, %r8d; jb 4b; dec %ebp; jnz 5b; int3");

static void check_rewritten(struct tiny *t, unsigned targets, unsigned cpl)
{
	uint64_t want = 0, written;

	enter(t, targets, cpl);
	GPR(t, CX) = 4;
	assert_int_equal(RUN(t, rewrite), X86_BP);
	for (unsigned n = 0; n < 4 * targets; n++) {
		written = n / targets % 2 ? targets - 1 - n % targets : n % targets + 1;
		want += 2 * targets * (sum_of(targets) + written * 0x80000000ull);
	}
	assert_int_equal(GPR(t, BX), want);
}

static void test_rewritten(void **state)
{
	for_both(*state, check_rewritten, true);
}

/* Two address spaces, by PCID and kept by bit 63 of what CR3 is loaded with: R12 and R13. */
GUEST(switching, 64, "mov %ecx, %ebp; 5: mov %r12, %cr3; mov $1, %ecx;" CALL_ALL "mov %r13, %cr3; mov $1, %ecx;" CALL_ALL "dec %ebp; jnz 5b; int3");

static void copy_page(struct tiny *t, uint64_t to, uint64_t from)
{
	memcpy(t->ram->base + to, t->ram->base + from, PAGE_SIZE);
}

/* A second set of tables, in which the functions' pages are the others. */
static uint64_t second_space(struct tiny *t)
{
	const uint64_t top = NAMES + 0x1000, pointers = NAMES + 0x2000, directory = NAMES + 0x3000, tables = NAMES + 0x4000;
	const uint64_t frame = bits_of(~0ull, 39, 0) << 12;
	uint64_t old = tiny_peek(t, NAMES, 8);

	copy_page(t, directory, old & frame);
	for (unsigned n = 0; n < TINY_RAM >> 21; n++) {
		uint64_t entry = tiny_peek(t, directory + 8 * n, 8);

		copy_page(t, tables + n * PAGE_SIZE, entry & frame);
		tiny_poke(t, directory + 8 * n, 8, (tables + n * PAGE_SIZE) | (entry & ~frame));
	}
	for (unsigned k = 0; k < GPR(t, 15); k++)
		tiny_poke(t, tables + (low_of(k) >> PAGE_SHIFT) * 8, 8, other_of(k) | (tiny_pte(t, low_of(k)) & 0xfff));
	for (unsigned n = 0; n < 512; n++) {
		tiny_poke(t, pointers + 8 * n, 8, n % 4 ? 0 : directory | (old & ~frame));
		tiny_poke(t, top + 8 * n, 8, pointers | (old & ~frame));
	}
	return top;
}

static void check_spaces(struct tiny *t, unsigned targets, unsigned cpl)
{
	if (!(t->cpuid.cr4_allowed & CR4_PCIDE))
		skip();
	enter(t, targets, cpl);
	GPR(t, 13) = second_space(t) | 2 | BIT(63);
	GPR(t, 12) = (t->v->s.cr3 & PAGE_MASK) | 1 | BIT(63);
	t->v->s.cr4 |= CR4_PCIDE;
	tiny_state_changed(t);
	GPR(t, CX) = 20;
	assert_int_equal(RUN(t, switching), X86_BP);
	assert_int_equal(GPR(t, BX), 20 * 2 * targets * (sum_of(targets) * 0x10001));
}

static void test_spaces(void **state)
{
	for_both(*state, check_spaces, false);
}

/* Address 0, which empty places might be taken for; 1 << 32, which stands in some; and what has a target's places but is not canonical. */
GUEST(nowhere, 64, "xor %edi, %edi; mov $1, %ebp; shl $32, %rbp; call *%rdi; add %rax, %rbx; call *%rbp; add %rax, %rbx;" CALL_ALL
		   "xor %edi, %edi; mov $100, %ecx; 4: call *%rdi; add %rax, %rbx; call *%rbp; add %rax, %rbx; dec %ecx; jnz 4b; call *%rdx; hlt");

static void check_no_target(struct tiny *t, unsigned targets, unsigned cpl)
{
	uint64_t rsp;

	enter(t, targets, cpl);
	put_function(t, 0, 5);
	rsp = GPR(t, SP);
	GPR(t, DX) = target_of(targets - 1) ^ BIT(60);
	GPR(t, CX) = 2;
	assert_fault(t, RUN(t, nowhere), X86_GP, TINY_CODE + (uint64_t)(nowhere_end - nowhere) - 3, 0);
	assert_int_equal(t->frame.rsp, rsp);
	assert_int_equal(GPR(t, BX), 2 * 2 * targets * sum_of(targets) + 2 * 101 * 5);
}

static void test_no_target(void **state)
{
	for_both(*state, check_no_target, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_collisions), TEST(test_remapped), TEST(test_flushed), TEST(test_rewritten), TEST(test_spaces), TEST(test_no_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
