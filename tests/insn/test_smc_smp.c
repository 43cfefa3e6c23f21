/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two vCPUs that write each other's code, or their own in one page (SDM vol. 3, 9.1.3), and fill the cache of code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "duo.h"

#define FUNCTION 0x400000u /* DUO_FREE, as guest code names it */

static int setup(void **state)
{
	*state = duo_new();
	return 0;
}

static int teardown(void **state)
{
	duo_free(*state);
	return 0;
}

static uint32_t shared32(struct duo *d, unsigned off)
{
	return __atomic_load_n((uint32_t *)(void *)duo_at(d, DUO_SHARED + off), __ATOMIC_RELAXED);
}

static void put_function(struct duo *d, uint64_t gpa)
{
	static const uint8_t function[] = { 0xb8, 0, 0, 0, 0, 0xc3 }; /* mov $0, %eax; ret */

	memcpy(duo_at(d, gpa), function, sizeof(function));
}

/*
 * Without any serialization: vCPU 1 runs the function until it returns n and says so; then vCPU 0 writes the next one. The constant is
 * aligned, so nothing but the two is ever seen. Each of them differs from the one before in all of its bytes.
 */
GUEST(ping_write, 64, "mov $0xfafafafa, %esi; xor %ecx, %ecx; 1: add $0x01010101, %ecx; mov %ecx, 0x400004; 2: pause;"
		      "cmp %ecx, (%rdi); jne 2b; cmp %esi, %ecx; jne 1b; movb $1, (%rdx); hlt");
GUEST(ping_run, 64, "mov $0xfafafafa, %esi; xor %ebx, %ebx; 1: mov $0x400003, %eax; call *%rax; cmp %ebx, %eax; je 1b;"
		    "add $0x01010101, %ebx; cmp %ebx, %eax; jne 3f; mov %ebx, (%rdi); cmp %esi, %ebx; jne 1b; movb $1, (%rdx); 3: hlt");

static void test_unsynchronized(void **state)
{
	struct duo *d = *state;

	put_function(d, FUNCTION + 3);
	assert_true(DUO_RUN(d, ping_write, ping_run));
	assert_int_equal(shared32(d, 0), 0xfafafafa);
}

/*
 * As the manual asks for it: write the code (here: every byte of it, in pieces), set a flag; who sees the flag executes CPUID and
 * then the code, which must be the new one.
 */
GUEST(flag_write, 64, "mov $300, %esi; xor %ecx, %ecx; 1: inc %ecx; mov %cl, 0x400001; mov %ch, 0x400002; movb $0, 0x400003;"
		      "mov %ecx, 64(%rdi); 2: pause; cmp %ecx, (%rdi); jne 2b; cmp %esi, %ecx; jne 1b; movb $1, (%rdx); hlt");
GUEST(flag_run, 64, "mov %rdx, %rbp; xor %r9d, %r9d; 1: inc %r9d; 2: cmp %r9d, 64(%rdi); jne 2b; xor %eax, %eax; cpuid;"
		    "mov $0x400000, %eax; call *%rax; cmp %r9d, %eax; jne 3f; mov %r9d, (%rdi); cmp $300, %r9d; jne 1b;"
		    "movb $1, (%rbp); 3: hlt");

static void test_serialized(void **state)
{
	struct duo *d = *state;

	put_function(d, FUNCTION);
	assert_true(DUO_RUN(d, flag_write, flag_run));
	assert_int_equal(shared32(d, 0), 300);
}

/* Through another name of the page: the page behind DUO_SPLIT. */
GUEST(alias_write, 64, "mov $300, %esi; xor %ecx, %ecx; 1: inc %ecx; mov %ecx, 0x600004; 2: pause; cmp %ecx, (%rdi); jne 2b;"
		       "cmp %esi, %ecx; jne 1b; movb $1, (%rdx); hlt");
GUEST(alias_run, 64, "mov $300, %esi; xor %ebx, %ebx; 1: mov $0x300003, %eax; call *%rax; cmp %ebx, %eax; je 1b; inc %ebx;"
		     "cmp %ebx, %eax; jne 3f; mov %ebx, (%rdi); cmp %esi, %ebx; jne 1b; movb $1, (%rdx); 3: hlt");

static void test_alias(void **state)
{
	struct duo *d = *state;

	put_function(d, DUO_SPLIT_A + 3);
	assert_true(DUO_RUN(d, alias_write, alias_run));
	assert_int_equal(shared32(d, 0), 300);
}

/* Each modifies its own next instruction, both in one page. */
GUEST(own_0, 64, "mov $0x400000, %eax; jmp *%rax");
GUEST(own_1, 64, "mov $0x400800, %eax; jmp *%rax");
GUEST(own_loop, 64, "mov $2000, %ecx; xor %ebx, %ebx; 1: mov %ecx, 2f+1(%rip); 2: mov $0, %eax; add %eax, %ebx; dec %ecx; jnz 1b;"
		    "mov %ebx, (%rdi,%r8,8); movb $1, (%rdx); hlt");

static void test_one_page(void **state)
{
	struct duo *d = *state;

	for (unsigned i = 0; i < 2; i++)
		memcpy(duo_at(d, FUNCTION + i * 0x800), own_loop, (size_t)(own_loop_end - own_loop));
	assert_true(DUO_RUN(d, own_0, own_1));
	assert_int_equal(shared32(d, 0), 2000 * 2001 / 2);
	assert_int_equal(shared32(d, 8), 2000 * 2001 / 2);
}

/* One runs a loop of linked blocks while the other makes translations until the cache has been flushed. */
GUEST(flush_make, 64, "mov $0x400000, %ebx; mov $8000, %ecx; 1: mov %ecx, 0x400003; call *%rbx; dec %ecx; jnz 1b;"
		      "movl $1, 64(%rdi); mov 32(%rdi), %eax; mov %eax, (%rdi); movb $1, (%rdx); hlt");
GUEST(flush_run, 64, "xor %eax, %eax; 1: inc %eax; jmp 2f; .space 64; 2: call 3f; cmpl $0, 64(%rdi); je 1b; mov %eax, 8(%rdi);"
		     "mov %ecx, 12(%rdi); movb $1, (%rdx); hlt; 3: lea 4f(%rip), %rbx; jmp *%rbx; .space 70; 4: inc %ecx; ret");

static void test_flush(void **state)
{
	static const uint8_t add[] = { 0x81, 0x47, 0x20, 0x01, 0x00, 0x00, 0x00 }; /* addl $1, 32(%rdi) */
	static const uint8_t mov[] = { 0x48, 0xc7, 0xc0 };                         /* mov $imm32, %rax */
	struct duo *d = *state;
	bool bt = !strcmp(d->v[0]->engine->name, "bt");
	const unsigned adds = 46;

	memcpy(duo_at(d, FUNCTION), mov, sizeof(mov));
	for (unsigned n = 0; n < adds; n++)
		memcpy(duo_at(d, FUNCTION + 7 + n * sizeof(add)), add, sizeof(add));
	*duo_at(d, FUNCTION + 7 + adds * sizeof(add)) = 0xc3;
	d->v[1]->s.gpr[R_CX] = 0;
	assert_true(DUO_RUN(d, flush_make, flush_run));
	assert_int_equal(shared32(d, 0), 8000 * adds);
	assert_int_equal(shared32(d, 8), shared32(d, 12));
	if (bt)
		assert_true(d->v[0]->stats.bt_cache_flushes > 0);
}

/* Both at once, with functions of their own: who flushes and who translates meets in every order. */
GUEST(flush_both, 64, "mov %r8, %rbx; shl $12, %rbx; add $0x400000, %rbx; lea (%rdi,%r8,8), %rdi; mov $4000, %ecx;"
		      "1: mov %ecx, 3(%rbx); call *%rbx; dec %ecx; jnz 1b; movb $1, (%rdx); hlt");

static void test_flush_both(void **state)
{
	static const uint8_t add[] = { 0x81, 0x47, 0x20, 0x01, 0x00, 0x00, 0x00 };
	static const uint8_t mov[] = { 0x48, 0xc7, 0xc0 };
	struct duo *d = *state;
	const unsigned adds = 46;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t f = FUNCTION + i * PAGE_SIZE;

		memcpy(duo_at(d, f), mov, sizeof(mov));
		for (unsigned n = 0; n < adds; n++)
			memcpy(duo_at(d, f + 7 + n * sizeof(add)), add, sizeof(add));
		*duo_at(d, f + 7 + adds * sizeof(add)) = 0xc3;
	}
	assert_true(DUO_RUN(d, flush_both, flush_both));
	assert_int_equal(shared32(d, 32), 4000 * adds);
	assert_int_equal(shared32(d, 40), 4000 * adds);
}

/*
 * A compiler thread: vCPU 0 writes function n beside those that vCPU 1 has run, and says so; up to 8 wait. 1 executes CPUID and
 * the function, which must be all there. Every 64 functions a page is full, and the first store to one of them makes it data again.
 */
GUEST(jit_write, 64, "xor %ecx, %ecx; 1: inc %ecx; mov %ecx, %ebx; shl $6, %ebx; and $0x1fc0, %ebx; add $0x400000, %ebx; movb $0xb8, (%rbx);"
		     "mov %ecx, 1(%rbx); movb $0xc3, 5(%rbx); mov %ecx, 64(%rdi); lea -8(%rcx), %eax; 2: cmp %eax, (%rdi); jl 2b;"
		     "cmp $300, %ecx; jne 1b; movb $1, (%rdx); hlt");
GUEST(jit_run, 64, "mov %rdx, %rbp; xor %r9d, %r9d; 1: inc %r9d; 2: cmp %r9d, 64(%rdi); jl 2b; xor %eax, %eax; cpuid;"
		   "mov %r9d, %ebx; shl $6, %ebx; and $0x1fc0, %ebx; add $0x400000, %ebx; call *%rbx; cmp %r9d, %eax; jne 3f; mov %r9d, (%rdi);"
		   "cmp $300, %r9d; jne 1b; movb $1, (%rbp); 3: hlt");

static void test_beside(void **state)
{
	struct duo *d = *state;
	bool bt = !strcmp(d->v[0]->engine->name, "bt");

	assert_true(DUO_RUN(d, jit_write, jit_run));
	assert_int_equal(shared32(d, 0), 300);
	if (bt)
		assert_true(d->v[0]->stats.bt_beside_code > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(unsynchronized), TEST(serialized), TEST(alias), TEST(one_page), TEST(flush), TEST(flush_both),
		TEST(beside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
