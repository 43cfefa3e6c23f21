/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two vCPUs on two threads: LOCK is atomic, aligned accesses are not torn, stores are seen in order, code too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "duo.h"

#define SHARED DUO_SHARED
#define SPLIT  DUO_SPLIT
#define ROUNDS DUO_ROUNDS
#define LOOP   DUO_LOOP
#define at     duo_at

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

/* Run both to their ends. */
#define RUN(d, name0, name1) assert_true(DUO_RUN(d, name0, name1))

static uint64_t shared(struct duo *d, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, at(d, SHARED), size);
	return v;
}

GUEST(lock_add, 64, LOOP("lock addq $3, (%rdi)"));
GUEST(lock_xadd, 64, LOOP("mov $3, %eax; lock xadd %rax, (%rdi)"));
GUEST(lock_incdec, 64, LOOP("lock incl (%rdi); lock incl (%rdi); lock decl (%rdi); lock addl $2, (%rdi)"));
GUEST(lock_adc, 64, LOOP("stc; lock adcq $2, (%rdi)"));
GUEST(lock_sub, 64, LOOP("lock subq $-3, (%rdi)"));
GUEST(lock_cmpxchg, 64,
      LOOP("mov (%rdi), %rax; 2: lea 3(%rax), %rbx; lock cmpxchg %rbx, (%rdi); jnz 2b"));
GUEST(lock_cmpxchg8b, 64,
      LOOP("mov (%rdi), %eax; mov 4(%rdi), %edx; 2: mov %eax, %ebx; mov %edx, %ecx; add $3, %ebx; adc $0, %ecx;"
	   "lock cmpxchg8b (%rdi); jnz 2b; mov $0x30000, %edx; mov %r8, %rax; shl $6, %eax; add %eax, %edx"));
GUEST(lock_cmpxchg16b, 64,
      LOOP("mov (%rdi), %rax; mov 8(%rdi), %rdx; 2: lea 3(%rax), %rbx; lea 3(%rdx), %rcx;"
	   "lock cmpxchg16b (%rdi); jnz 2b; mov $0x30000, %edx; mov %r8, %rax; shl $6, %eax; add %eax, %edx"));
/* A lock by XCHG, by BTS and by CMPXCHG on a byte; plain arithmetic under it. */
GUEST(spin_xchg, 64,
      LOOP("2: mov $1, %eax; xchg %eax, 64(%rdi); test %eax, %eax; jz 3f; pause; jmp 2b; 3: addq $3, (%rdi); movl $0, 64(%rdi)"));
GUEST(spin_bts, 64,
      LOOP("2: lock btsl $5, 64(%rdi); jnc 3f; pause; jmp 2b; 3: addq $3, (%rdi); lock btrl $5, 64(%rdi)"));
GUEST(spin_cmpxchgb, 64,
      LOOP("2: xor %eax, %eax; mov $7, %ecx; lock cmpxchg %cl, 64(%rdi); jz 3f; pause; jmp 2b; 3: addq $3, (%rdi); movb $0, 64(%rdi)"));

static void test_sum(struct duo *d, const unsigned char *code, size_t len)
{
	assert_true(duo_run(d, code, len, code, len));
	assert_int_equal(shared(d, 8), 2ull * 3 * ROUNDS);
}

#define SUM_TEST(name)                                                           \
	static void test_##name(void **state)                                    \
	{                                                                        \
		test_sum(*state, name, (size_t)(name##_end - name));             \
	}
SUM_TEST(lock_add)
SUM_TEST(lock_xadd)
SUM_TEST(lock_incdec)
SUM_TEST(lock_adc)
SUM_TEST(lock_sub)
SUM_TEST(lock_cmpxchg)
SUM_TEST(lock_cmpxchg8b)
SUM_TEST(spin_xchg)
SUM_TEST(spin_bts)
SUM_TEST(spin_cmpxchgb)

static void test_lock_cmpxchg16b(void **state)
{
	struct duo *d = *state;
	uint64_t high;

	test_sum(d, lock_cmpxchg16b, (size_t)(lock_cmpxchg16b_end - lock_cmpxchg16b));
	memcpy(&high, at(d, SHARED + 8), 8);
	assert_int_equal(high, 2ull * 3 * ROUNDS);
}

/* Operands over a cache line and over two pages that are neighbours only in the linear address space. */
static void split_sum(struct duo *d, uint64_t la)
{
	uint8_t sum[8];
	uint64_t v;

	d->v[0]->s.gpr[R_DI] = d->v[1]->s.gpr[R_DI] = la;
	RUN(d, lock_xadd, lock_xadd);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t a = la + i;

		sum[i] = *at(d, a < SPLIT ? a : a < SPLIT + PAGE_SIZE ? a - SPLIT + DUO_SPLIT_A : a - SPLIT - PAGE_SIZE + DUO_SPLIT_B);
	}
	memcpy(&v, sum, 8);
	assert_int_equal(v, 2ull * 3 * ROUNDS);
}

static void test_lock_unaligned(void **state)
{
	split_sum(*state, SHARED + 3);
}

static void test_lock_line_split(void **state)
{
	split_sum(*state, SHARED + 60);
}

static void test_lock_page_split(void **state)
{
	split_sum(*state, SPLIT + 0xffc);
}

/* XOR and pairs of NOT in one byte, which commute; OR with AND, and XOR of another bit, in the next. */
GUEST(flip_low, 64, LOOP("lock xorb $1, (%rdi); lock orb $2, 1(%rdi); lock andb $~2, 1(%rdi)"));
GUEST(flip_high, 64, LOOP("lock xorb $0x10, (%rdi); lock notb (%rdi); lock notb (%rdi); lock xorb $0x20, 1(%rdi); "
			  "lock negb 8(%rdi)"));

static void test_lock_logic(void **state)
{
	struct duo *d = *state;

	*at(d, SHARED) = 0x44;
	*at(d, SHARED + 1) = 0x80;
	RUN(d, flip_low, flip_high);
	assert_int_equal(*at(d, SHARED), 0x44); /* ROUNDS is even */
	assert_int_equal(*at(d, SHARED + 1), 0x80);
}

/* Aligned words are written and read whole: the reader stops with r9 = 1 when it sees half of one. */
GUEST(tear_write, 64, LOOP("xor %eax, %eax; mov %rax, (%rdi); not %rax; mov %rax, (%rdi)"));
GUEST(tear_read, 64, LOOP("mov (%rdi), %rax; lea 1(%rax), %rcx; cmp $1, %rcx; jbe 2f; incq 128(%rdi); 2:"));

static void test_no_tearing(void **state)
{
	struct duo *d = *state;
	uint64_t torn;

	RUN(d, tear_write, tear_read);
	memcpy(&torn, at(d, SHARED + 128), 8);
	assert_int_equal(torn, 0);
}

/* Message passing under total store order: data before flag. The reader counts flags ahead of their data. */
GUEST(order_write, 64, LOOP("mov %rsi, (%rdi); mov %rsi, 256(%rdi)"));
GUEST(order_read, 64, "movq $0x20000, %rdi; " LOOP("mov 256(%rdi), %rax; mov (%rdi), %rcx; test %rax, %rax; jz 2f;"
						   "cmp %rax, %rcx; jbe 2f; incq 128(%rdi); 2:"));

static void test_store_order(void **state)
{
	struct duo *d = *state;
	const uint64_t most = ~0ull;
	uint64_t wrong;

	/* Values count down: data newer than or as new as the flag is less than or equal to it. */
	memcpy(at(d, SHARED), &most, 8);
	memcpy(at(d, SHARED + 256), &most, 8);
	RUN(d, order_write, order_read);
	memcpy(&wrong, at(d, SHARED + 128), 8);
	assert_int_equal(wrong, 0);
}

/* vCPU 1 runs a function in a loop until it returns what vCPU 0 has written into its code meanwhile. */
GUEST(patch_write, 64, "mov $20000, %ecx; 1: dec %ecx; jnz 1b; movl $0x12345678, 0x11801; movb $1, (%rdx); hlt");
GUEST(patch_run, 64, "1: mov $0x11800, %eax; call *%rax; cmp $0x12345678, %eax; jne 1b; movb $1, (%rdx); hlt");

static void test_cross_modifying_code(void **state)
{
	static const uint8_t function[] = { 0xb8, 0, 0, 0, 0, 0xc3 }; /* mov eax, 0; ret */
	struct duo *d = *state;

	memcpy(at(d, DUO_CODE + 0x1800), function, sizeof(function));
	RUN(d, patch_write, patch_run);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lock_add),	      TEST(lock_xadd),	    TEST(lock_incdec),	   TEST(lock_adc),
		TEST(lock_sub),	      TEST(lock_cmpxchg),   TEST(lock_cmpxchg8b),  TEST(lock_cmpxchg16b),
		TEST(spin_xchg),      TEST(spin_bts),	    TEST(spin_cmpxchgb),   TEST(lock_unaligned),
		TEST(lock_line_split), TEST(lock_page_split), TEST(lock_logic),	   TEST(no_tearing),
		TEST(store_order),    TEST(cross_modifying_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
