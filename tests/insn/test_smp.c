/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two vCPUs on two threads: LOCK is atomic, aligned accesses are not torn, stores are seen in order, code too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "cpu/engines.h"
#include "tiny.h"

#define RAM_SIZE (8 * MiB)
#define TABLES   0x1000u
#define STACKS   0x8000u
#define CODE     0x10000u  /* of vCPU 0; vCPU 1's is a page further */
#define SHARED   0x20000u
#define DONE     0x30000u  /* a byte for each vCPU, a line apart */
#define SPLIT    0x600000u /* linear: two pages that are not neighbours in guest RAM */
#define SPLIT_A  0x300000u
#define SPLIT_B  0x280000u
#define ROUNDS   60000u
#define TIMEOUT_S 60

struct duo {
	struct ram *ram;
	struct space *mem, *pio;
	struct clock *clock;
	struct cpuid_policy cpuid;
	struct vcpu_group group;
	struct vcpu *v[2];
};

static uint8_t *at(struct duo *d, uint64_t gpa)
{
	return d->ram->base + gpa;
}

static void poke64(struct duo *d, uint64_t gpa, uint64_t val)
{
	memcpy(at(d, gpa), &val, 8);
}

/* Identity by 2 MiB pages, but for the pages at SPLIT. */
static void make_tables(struct duo *d)
{
	poke64(d, TABLES, (TABLES + 0x1000) | 7);
	poke64(d, TABLES + 0x1000, (TABLES + 0x2000) | 7);
	for (uint64_t i = 0; i < RAM_SIZE / (2 * MiB); i++)
		poke64(d, TABLES + 0x2000 + i * 8, i * 2 * MiB | 0x87);
	poke64(d, TABLES + 0x2000 + (SPLIT >> 21) * 8, (TABLES + 0x3000) | 7);
	poke64(d, TABLES + 0x3000, SPLIT_A | 7);
	poke64(d, TABLES + 0x3008, SPLIT_B | 7);
}

static void enter_long_mode(struct vcpu *v, unsigned n)
{
	const struct x86_seg code = { 0x08, SEG_L | SEG_G | SEG_P | SEG_S | 0xb, 0xffffffff, 0 };
	const struct x86_seg data = { 0x10, SEG_DB | SEG_G | SEG_P | SEG_S | 3, 0xffffffff, 0 };
	struct x86_state *s = &v->s;

	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	s->cr3 = TABLES;
	s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	s->efer = EFER_LME | EFER_LMA | EFER_NXE;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = i == SEG_CS ? code : data;
	s->idtr.limit = 0; /* any exception is a shutdown, which the test notices by the missing end */
	s->rip = CODE + n * PAGE_SIZE;
	s->rflags = FL_1;
	s->gpr[R_SP] = STACKS + 0x1000 * (n + 1);
	s->gpr[R_DX] = DONE + n * 64;
	s->gpr[R_SI] = ROUNDS;
	s->gpr[R_DI] = SHARED;
	s->gpr[R_8] = n;
	s->cpl = 0;
	s->activity = ACT_RUNNING;
	if (v->engine->sync_in)
		v->engine->sync_in(v, SYNC_ALL);
}

static int setup(void **state)
{
	const char *name = getenv("DOPPEL_ENGINE");
	struct duo *d = calloc(1, sizeof(*d));
	const struct engine_ops *engine;
	struct err e;

	assert_non_null(d);
	assert_int_equal(engine_find(&engine, name ? name : "interp", &e), 0);
	assert_int_equal(ram_new(&d->ram, RAM_SIZE, &e), 0);
	assert_int_equal(clock_new(&d->clock, &e), 0);
	assert_int_equal(cpuid_policy_init(&d->cpuid, "host", 2, clock_tsc_hz(d->clock), &e), 0);
	d->mem = space_new("memory", 52);
	d->pio = space_new("ports", 16);
	assert_int_equal(space_add_ram(d->mem, NULL, "ram", 0, RAM_SIZE, d->ram, false), 0);
	ram_set_listener(d->ram, vcpu_group_code_changed, &d->group);
	d->group = (struct vcpu_group){ .v = d->v, .n = 2, .mem = d->mem, .pio = d->pio, .ram = d->ram,
					.clock = d->clock, .cpuid = &d->cpuid };
	make_tables(d);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(vcpu_new(&d->v[i], &d->group, i, engine, &e), 0);
		enter_long_mode(d->v[i], i);
	}
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct duo *d = *state;

	for (unsigned i = 0; i < 2; i++)
		vcpu_free(d->v[i]);
	space_free(d->mem);
	space_free(d->pio);
	ram_free(d->ram);
	clock_free(d->clock);
	free(d);
	return 0;
}

static bool done(struct duo *d)
{
	return __atomic_load_n(at(d, DONE), __ATOMIC_ACQUIRE) && __atomic_load_n(at(d, DONE + 64), __ATOMIC_ACQUIRE);
}

/* Run both to their ends. */
static void run(struct duo *d, const unsigned char *code0, size_t len0, const unsigned char *code1, size_t len1)
{
	const struct timespec tick = { 0, 2000000 };
	struct err e;

	memcpy(at(d, CODE), code0, len0);
	memcpy(at(d, CODE + PAGE_SIZE), code1, len1);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vcpu_start(d->v[i], &e), 0);
	for (unsigned i = 0; i < 2; i++)
		vcpu_resume(d->v[i]);
	for (unsigned i = 0; i < TIMEOUT_S * 500 && !done(d); i++)
		nanosleep(&tick, NULL);
	for (unsigned i = 0; i < 2; i++)
		vcpu_join(d->v[i]);
	assert_true(done(d));
}

#define RUN(d, name0, name1) run(d, name0, (size_t)(name0##_end - name0), name1, (size_t)(name1##_end - name1))

static uint64_t shared(struct duo *d, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, at(d, SHARED), size);
	return v;
}

#define LOOP(body) "1:" body "; dec %esi; jnz 1b; movb $1, (%rdx); hlt"

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
	run(d, code, len, code, len);
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

		sum[i] = *at(d, a < SPLIT ? a : a < SPLIT + PAGE_SIZE ? a - SPLIT + SPLIT_A : a - SPLIT - PAGE_SIZE + SPLIT_B);
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

	memcpy(at(d, CODE + 0x1800), function, sizeof(function));
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
