/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest that is after its translator: nothing outside of its RAM changes, and what happens is what the reference does. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "cpu/bt/cache.h"
#include "duo.h"

#define NON_CANONICAL 0x0000900000000000ull
#define KERNEL_HALF   0xffff888000000000ull

static struct tiny *machine(const char *engine)
{
	setenv("DOPPEL_ENGINE", engine, 1);
	return tiny_new();
}

static struct bt *bt_of(const struct tiny *t)
{
	return t->v->engine_data;
}

static int setup(void **state)
{
	*state = machine("bt");
	return 0;
}

#define HOSTILE(f) cmocka_unit_test_setup_teardown(f, setup, check_teardown)

/* -- RSP and pointers that name what belongs to the host ------------------------------------------------------ */

GUEST(by_push, 64, "push %rbx; hlt");
GUEST(by_pop, 64, "pop %rbx; hlt");
GUEST(by_call, 64, "call 1f; 1: hlt");
GUEST(by_ret, 64, "ret");
GUEST(by_iret, 64, "iretq");
GUEST(by_leave, 64, "mov %rsp, %rbp; leave; hlt");
GUEST(by_load, 64, "mov 16(%rsp), %rbx; hlt");
GUEST(by_store, 64, "mov %rbx, 16(%rsp); hlt");
GUEST(by_lock, 64, "lock xadd %rbx, 16(%rsp); hlt");
GUEST(by_group, 64, "mov (%rsp), %rbx; mov 8(%rsp), %rdx; mov %rbx, 16(%rsp); mov %rdx, 24(%rsp); hlt");

static const struct {
	const unsigned char *code, *end;
} accesses[] = {
	{ by_push, by_push_end },   { by_pop, by_pop_end },	{ by_call, by_call_end },   { by_ret, by_ret_end },
	{ by_iret, by_iret_end },   { by_leave, by_leave_end }, { by_load, by_load_end },   { by_store, by_store_end },
	{ by_lock, by_lock_end },   { by_group, by_group_end },
};

/* From ring `cpl`, where exceptions have a stack of their own. */
static int run_with_rsp(struct tiny *t, enum tiny_mode mode, unsigned cpl, unsigned n, uint64_t rsp)
{
	tiny_enter(t, mode, cpl);
	for (unsigned vector = X86_SS; mode == TINY_LONG && vector <= X86_PF; vector++)
		tiny_set_gate(t, vector, 0xe, 0, SEL_CODE0_64, tiny_stub(vector), 1);
	tiny_put(t, TINY_CODE, accesses[n].code, (size_t)(accesses[n].end - accesses[n].code));
	GPR(t, SP) = rsp;
	return tiny_run(t);
}

static void test_host_addresses(void **state)
{
	struct tiny *t = *state;
	struct bt *bt = bt_of(t);
	const uint64_t at[] = {
		(uintptr_t)bt + 0x40,	     (uintptr_t)bt->cache + 0x40,	  (uintptr_t)bt->cache->code_rx + 0x40,
		(uintptr_t)bt->cache->code_rw + 0x40, (uintptr_t)t->v + 0x40,	  (uintptr_t)t->ram->base + 0x40,
		(uintptr_t)&t,		     0x40000000,			  0x7fffff00,
		KERNEL_HALF,		     NON_CANONICAL,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		for (unsigned n = 0; n < ARRAY_SIZE(accesses) * 2; n++) {
			int r = run_with_rsp(t, TINY_LONG, n & 1 ? 3 : 0, n / 2, at[i]);

			assert_int_equal(r, at[i] == NON_CANONICAL ? X86_SS : X86_PF);
			if (r == X86_PF)
				assert_true(t->v->s.cr2 - (at[i] - 8) < 56);
			assert_int_equal(bt->self, (uintptr_t)bt);
		}
}

/* Without paging nothing faults: what is not RAM swallows stores, though the translator's own memory has such addresses. */
static void test_low_addresses(void **state)
{
	struct tiny *t = *state;
	const struct bt_cache *c = bt_of(t)->cache;
	const uint64_t at = (uintptr_t)c->code_rx + 0x20; /* in the common stubs, which nobody changes */
	uint8_t before[0x40];

	assert_true(at < BIT(31) && c->code_base_used >= sizeof(before));
	memcpy(before, c->code_rx, sizeof(before));
	tiny_enter(t, TINY_PROT32, 0);
	TINY_LOAD(t, TINY_CODE, by_push); /* the same in 32-bit code */
	GPR(t, SP) = at;
	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_int_equal(GPR(t, SP), at - 4);
	assert_memory_equal(before, c->code_rx, sizeof(before));
	assert_int_equal(run_with_rsp(t, TINY_PAGED32, 3, 0, at), X86_PF);
	assert_int_equal(t->v->s.cr2, at - 4);
	assert_memory_equal(before, c->code_rx, sizeof(before));
}

/* -- Jumps into the middle -------------------------------------------------------------------------------------- */

/* MOVABS, in whose immediate INC RBX; RET stands; one byte from its start it is another MOV. */
GUEST(middle, 64, "mov $300, %ecx; 1: call 2f; call 2f+2; call 2f+1; lea 2f+5(%rip), %rax; call *%rax; dec %ecx; jnz 1b; hlt;"
		  "2: .byte 0x48, 0xb8, 0x48, 0xff, 0xc3, 0xc3, 0x90, 0x90, 0x90, 0x90; inc %rdx; ret");

static void test_middle(void **state)
{
	struct tiny *t = *state;

	assert_int_equal(ENTER_RUN(t, TINY_LONG, 0, middle), TINY_HLT);
	assert_int_equal(GPR(t, BX), 300);
	assert_int_equal(GPR(t, DX), 600);
}

/* -- Page tables that the block itself changes ---------------------------------------------------------------------- */

#define VIEW    (TINY_HIGH + 0x20000) /* shows one frame or the other */
#define FRAME_A (TINY_HIGH + 0x30000)
#define FRAME_B (TINY_HIGH + 0x40000)

/* R8 the entry, R9 and R10 its values, RSI the view. RDX counts what INVLPG did not make visible, RDI what was never there. */
GUEST(tables, 64, "mov $500, %ecx; 1: mov (%rsi), %eax; mov %r9, (%r8); mov (%rsi), %ebx; dec %ebx; cmp $1, %ebx; jbe 4f; inc %edi; 4:"
		  "invlpg (%rsi); cmpl $1, (%rsi); je 2f; inc %edx; 2: mov %r10, (%r8); incl 64(%rsi);"
		  "invlpg (%rsi); cmpl $2, (%rsi); je 3f; inc %edx; 3: incl 64(%rsi); dec %ecx; jnz 1b; hlt");

static void test_tables(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, tables);
	tiny_poke(t, FRAME_A, 4, 1);
	tiny_poke(t, FRAME_B, 4, 2);
	tiny_set_pte(t, VIEW, FRAME_B | 7);
	GPR(t, 8) = tiny_pte_addr(t, VIEW);
	GPR(t, 9) = FRAME_A | 7;
	GPR(t, 10) = FRAME_B | 7;
	GPR(t, SI) = VIEW;
	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_int_equal(GPR(t, DX), 0);
	assert_int_equal(GPR(t, DI), 0);
	assert_int_equal(tiny_peek(t, FRAME_A + 64, 4) + tiny_peek(t, FRAME_B + 64, 4), 1000);
}

/* Another vCPU changes the entry: each access goes to the one frame or the other. */
GUEST(view_use, 64, DUO_LOOP("mov 0x600000, %eax; dec %eax; cmp $1, %eax; jbe 2f; inc %r9d; 2: incl 0x600040; invlpg 0x600000;"
			     "mov %r9d, (%rdi)"));
GUEST(view_change, 64, DUO_LOOP("movq $0x300007, 0x4000; movq $0x280007, 0x4000"));

static void test_tables_smp(void **state)
{
	struct duo *d = duo_new();
	uint32_t a, b;

	*duo_at(d, DUO_SPLIT_A) = 1;
	*duo_at(d, DUO_SPLIT_B) = 2;
	assert_true(DUO_RUN(d, view_use, view_change));
	assert_int_equal(*duo_at(d, DUO_SHARED), 0);
	memcpy(&a, duo_at(d, DUO_SPLIT_A + 64), 4);
	memcpy(&b, duo_at(d, DUO_SPLIT_B + 64), 4);
	assert_int_equal(a + b, DUO_ROUNDS);
	duo_free(d);
}

/* The page of the running block goes away under it: the next fetch after INVLPG faults. */
GUEST(away, 64, "mov %r9, (%r8); invlpg (%rip); jmp 1f; .space 100, 0x90; 1: inc %edx; hlt");

static void test_away(void **state)
{
	struct tiny *t = *state;

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, away);
	GPR(t, 8) = tiny_pte_addr(t, TINY_CODE);
	assert_int_equal(tiny_run(t), X86_PF);
	assert_int_equal(GPR(t, DX), 0);
	assert_int_equal(t->v->s.cr2 & ~0xfffull, TINY_CODE);
}

/* -- Endless translation ------------------------------------------------------------------------------------------------ */

/* A routine whose constant is written before each call: a new block each time. */
GUEST(fresh, 64, "mov $0x100000, %ebx; mov $2000, %ecx; 1: mov %ecx, 0x100003; call *%rbx; dec %ecx; jnz 1b; hlt");

static unsigned long resident_pages(void)
{
	unsigned long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &size, &resident), 2);
	fclose(f);
	return resident;
}

static void put_fresh(struct tiny *t)
{
	static const uint8_t mov[] = { 0x48, 0xc7, 0xc0 }, add[] = { 0x81, 0x04, 0x25, 0x00, 0xa0, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00 };

	tiny_enter(t, TINY_LONG, 0);
	TINY_LOAD(t, TINY_CODE, fresh);
	tiny_put(t, TINY_HIGH, mov, sizeof(mov));
	for (unsigned n = 0; n < 46; n++)
		tiny_put(t, TINY_HIGH + 7 + n * sizeof(add), add, sizeof(add)); /* addl $1, 0xa000 */
	tiny_poke(t, TINY_HIGH + 7 + 46 * sizeof(add), 1, 0xc3);
}

static void test_pressure(void **state)
{
	const unsigned long bound = 16 * MiB / PAGE_SIZE;
	struct tiny *t = *state;
	unsigned long after_flush = 0;

	put_fresh(t);
	for (unsigned n = 0; n < 12; n++) {
		t->v->s.rip = TINY_CODE;
		assert_int_equal(tiny_run(t), TINY_HLT);
		if (!after_flush && t->v->stats.bt_cache_flushes)
			after_flush = resident_pages();
	}
	assert_true(t->v->stats.bt_cache_flushes > 1);
	assert_true(resident_pages() < after_flush + bound);
}

/* -- The end of RAM, devices, descriptors, MSRs: as the reference -------------------------------------------------------------- */

static void assert_same(struct tiny *a, struct tiny *b)
{
	int r = tiny_run(a);

	assert_int_equal(tiny_run(b), r);
	assert_int_equal(a->v->s.rip, b->v->s.rip);
	assert_memory_equal(a->v->s.gpr, b->v->s.gpr, sizeof(a->v->s.gpr));
	if (r < 0)
		return;
	assert_int_equal(a->frame.rip, b->frame.rip);
	assert_int_equal(a->frame.err, b->frame.err);
}

static void test_edges(void **state)
{
	static const enum tiny_mode modes[] = { TINY_LONG, TINY_PAGED32, TINY_PROT32 };
	static const uint64_t ends[] = { TINY_RAM, TINY_MMIO };
	static const uint8_t tails[][8] = { { 0x90, 0x90, 0x90, 0x90 }, { 0x90, 0xb8, 0x11, 0x22 }, { 0x40, 0x40, 0x40, 0xe9 },
					    { 0x90, 0x90, 0xeb, 0x00 }, { 0x90, 0x90, 0x90, 0x0f } };
	struct tiny *t = *state, *ref = machine("interp"), *both[] = { t, ref };

	for (unsigned m = 0; m < ARRAY_SIZE(modes) * ARRAY_SIZE(ends) * ARRAY_SIZE(tails); m++) {
		uint64_t end = ends[m / ARRAY_SIZE(modes) % ARRAY_SIZE(ends)];

		for (unsigned i = 0; i < 2; i++) {
			tiny_enter(both[i], modes[m % ARRAY_SIZE(modes)], 0);
			tiny_put(both[i], end - 4, tails[m / ARRAY_SIZE(modes) / ARRAY_SIZE(ends)], 4);
			both[i]->v->s.rip = end - 4;
			both[i]->in_value = 0xf4f4f4f4f4f4f4f4;
		}
		assert_same(t, ref);
	}
	tiny_free(ref);
}

GUEST(wild_desc, 32, "mov %eax, %es; mov %es:(%ebx), %edx; mov %edx, %es:4(%ebx); mov %eax, %fs; mov %fs:(%ebx), %ecx; push %eax; push $0;"
		     "lret");
GUEST(wild_msr, 64, "wrmsr; mov %gs:(%rbx), %rax; mov %rax, %fs:8(%rbx); swapgs; mov %gs:(%rbx), %rdx; syscall; hlt");

static void test_wild_tables(void **state)
{
	static const uint32_t msrs[] = { 0x174, 0x176, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102 };
	struct tiny *t = *state, *ref = machine("interp"), *both[] = { t, ref };
	uint64_t x = 1;

	for (unsigned n = 0; n < 600; n++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		for (unsigned i = 0; i < 2; i++) {
			struct tiny *m = both[i];

			tiny_enter(m, n & 1 ? TINY_PROT32 : TINY_LONG, 0);
			GPR(m, BX) = TINY_DATA + (x >> 50);
			GPR(m, AX) = n & 1 ? SEL_FREE + (n & 2) : (uint32_t)(x >> 8);
			GPR(m, CX) = msrs[n / 2 % ARRAY_SIZE(msrs)];
			GPR(m, DX) = n & 4 ? x >> 40 : 0;
			tiny_set_desc(m, SEL_FREE, x ^ x << 17);
			if (n & 1)
				TINY_LOAD(m, TINY_CODE, wild_desc);
			else
				TINY_LOAD(m, TINY_CODE, wild_msr);
		}
		assert_same(t, ref);
	}
	tiny_free(ref);
}

/* -- The neighbour ------------------------------------------------------------------------------------------------------------------ */

GUEST(neighbour, 64, "mov $0x200000, %ebx; xor %eax, %eax; 1: xor %ecx, %ecx; 2: incl (%rbx,%rcx,4); inc %ecx; cmp $1024, %ecx; jne 2b;"
		     "inc %eax; cmp $400, %eax; jne 1b; hlt");

static void *run_neighbour(void *opaque)
{
	return (void *)(intptr_t)tiny_run(opaque);
}

/* Another machine in the same process counts, while this one makes translations and aims at its memory. */
static void test_neighbour(void **state)
{
	struct tiny *t = *state, *other = machine("bt");
	const uint64_t at[] = { (uintptr_t)bt_of(other) + 0x40, (uintptr_t)other->ram->base + 0x200000,
				(uintptr_t)bt_of(other)->cache->code_rx + 0x100 };
	pthread_t thread;
	void *r;

	tiny_enter(other, TINY_LONG, 0);
	TINY_LOAD(other, TINY_CODE, neighbour);
	assert_int_equal(pthread_create(&thread, NULL, run_neighbour, other), 0);
	for (unsigned n = 0; n < 60; n++)
		assert_int_equal(run_with_rsp(t, TINY_LONG, 3, n % ARRAY_SIZE(accesses), at[n % ARRAY_SIZE(at)]), X86_PF);
	put_fresh(t);
	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_int_equal(pthread_join(thread, &r), 0);
	assert_int_equal((intptr_t)r, TINY_HLT);
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal(tiny_peek(other, 0x200000 + i * 4, 4), 400);
	tiny_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOSTILE(test_host_addresses), HOSTILE(test_low_addresses), HOSTILE(test_middle), HOSTILE(test_tables),
		HOSTILE(test_tables_smp),     HOSTILE(test_away),	   HOSTILE(test_pressure),   HOSTILE(test_edges),
		HOSTILE(test_wild_tables),    HOSTILE(test_neighbour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
