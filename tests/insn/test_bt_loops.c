/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loops by their second form (cpu/bt/loop.c) against the reference: random ones, and those in which something happens in the
 * middle: a page's end or one that is missing, streams that meet, stores into the loop itself, faults of single iterations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "cpu/bt/bt.h"
#include "cpu/lockstep.h"
#include "duo.h"

#define ROUNDS    1500
#define LOCKSTEP_ROUNDS 60
#define AREA      TINY_HIGH /* pages 0 to 7; page 3 is not there */
#define AREA_SIZE (8 * PAGE_SIZE)
#define STACK     (AREA + 7 * PAGE_SIZE + 0x800)

struct code {
	uint8_t byte[512];
	unsigned len, out[8], n_out;
};

struct machine {
	struct tiny *t;
	uint8_t area[AREA_SIZE];
	int vector;
};

static struct machine bt, ref;
static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 20) % n);
}

/* -- Random loops ---------------------------------------------------------------------------------------- */

/* RDX counts; these lead to memory, the others are data. */
static const uint8_t bases[] = { R_SI, R_DI, R_BX, R_8, R_10, R_BP }, indexes[] = { R_AX, R_CX, R_12, R_11 };
static const uint8_t data_regs[] = { R_9, R_13, R_14, R_15 };

static void put(struct code *c, unsigned b)
{
	c->byte[c->len++] = (uint8_t)b;
}

/* Prefix, REX, opcode of one or two bytes, and the address: a base, with an index or without. */
static void put_access(struct code *c, unsigned prefix, unsigned w, unsigned opcode, unsigned reg)
{
	unsigned base = rnd(24) ? bases[rnd(sizeof(bases))] : R_SP, index = indexes[rnd(sizeof(indexes))], sib = rnd(2);

	if (prefix)
		put(c, prefix);
	put(c, 0x40 | w << 3 | (reg >> 3) << 2 | (sib ? (index >> 3) << 1 : 0) | base >> 3);
	if (opcode >> 8)
		put(c, opcode >> 8);
	put(c, opcode & 0xff);
	put(c, 0x40 | (reg & 7) << 3 | (sib ? 4 : base & 7));
	if (sib)
		put(c, (rnd(3) ? 0 : rnd(4)) << 6 | (index & 7) << 3 | (base & 7));
	else if ((base & 7) == R_SP)
		put(c, 0x24);
	put(c, rnd(96) - 32u);
}

/* add, sub, inc, dec, lea by a constant, of 64 bits or, seldom, of 32 */
static void put_step(struct code *c, unsigned reg)
{
	unsigned w = rnd(16) != 0, by = rnd(3) ? 8u << rnd(4) : rnd(128);

	put(c, 0x40 | w << 3 | reg >> 3 | (reg >> 3) << 2);
	switch (rnd(5)) {
	case 0: put(c, 0xff), put(c, 0xc0 | rnd(2) << 3 | (reg & 7)); break;
	case 1: /* lea reg, [reg + by] */
		c->byte[c->len - 1] |= 8;
		put(c, 0x8d), put(c, 0x40 | (reg & 7) << 3 | ((reg & 7) == 4 ? 4 : reg & 7));
		if ((reg & 7) == 4)
			put(c, 0x24);
		put(c, by & 0x7f);
		break;
	case 2: put(c, 0x81), put(c, 0xc0 | (reg & 7)), put(c, by), put(c, rnd(12) ? 0 : rnd(6)), put(c, 0), put(c, 0); break;
	default: put(c, 0x83), put(c, (rnd(4) ? 0xc0 : 0xe8) | (reg & 7)), put(c, by & 0x7f); break;
	}
}

static void put_way_out(struct code *c)
{
	static const uint8_t conditions[] = { 0x80, 0x82, 0x84, 0x88, 0x8a, 0x8c, 0x8e };

	if (c->n_out == ARRAY_SIZE(c->out))
		return;
	put(c, 0x0f);
	put(c, conditions[rnd(sizeof(conditions))]);
	c->out[c->n_out++] = c->len;
	c->len += 4;
}

static void put_insn(struct code *c)
{
	unsigned reg = data_regs[rnd(sizeof(data_regs))];

	switch (rnd(16)) {
	case 0: case 1: case 2: put_access(c, 0, rnd(2), 0x8b, reg); break; /* mov from memory */
	case 3: case 4: put_access(c, 0, rnd(2), 0x89, reg); break;         /* to memory */
	case 5: put_access(c, 0, rnd(2), rnd(8) << 3 | 1 | rnd(2) << 1, reg); break;
	case 6: put_access(c, 0, 0, rnd(2) ? 0x88 : 0x8a, reg); break;
	case 7: put_access(c, 0, 1, 0x0fb6 + rnd(2), reg); break;           /* movzx */
	case 8: put_access(c, 0xf3, 0, rnd(2) ? 0x0f6f : 0x0f7f, rnd(8)); break; /* movdqu */
	case 9: put_access(c, rnd(8) ? 0xf2 : 0x66, 0, 0x0f58 | rnd(2), rnd(8)); break; /* addsd, mulsd, addpd: aligned */
	case 10: put_access(c, 0, 1, 0x0fc1, reg); break;                   /* xadd */
	case 11: case 12: put_step(c, bases[rnd(sizeof(bases))]); break;
	case 13: put_step(c, indexes[rnd(sizeof(indexes))]); break;
	case 14: /* a pointer as data */
		put(c, 0x48 | (reg >> 3)), put(c, rnd(2) ? 0x89 : 0x39), put(c, 0xc0 | R_SI << 3 | (reg & 7));
		break;
	default:
		put(c, 0x4d), put(c, 0x39), put(c, 0xc0 | (R_13 & 7) << 3 | (R_14 & 7)); /* cmp r14, r13 */
		if (!rnd(3))
			put_way_out(c);
		break;
	}
}

static void generate(struct code *c)
{
	unsigned n = 1 + rnd(9);

	memset(c, 0, sizeof(*c));
	while (n--)
		put_insn(c);
	if (rnd(3))
		put_step(c, bases[rnd(sizeof(bases))]);
	put(c, 0xff), put(c, 0xca); /* dec edx; jnz */
	put(c, 0x0f), put(c, 0x85);
	for (unsigned i = 0, d = 0u - (c->len + 4); i < 4; i++, d >>= 8)
		put(c, d & 0xff);
	for (unsigned i = 0; i < c->n_out; i++) {
		uint32_t d = c->len - (c->out[i] + 4);

		memcpy(c->byte + c->out[i], &d, 4);
	}
	put(c, 0xf4);
}

static void random_start(struct x86_state *s, uint8_t *area)
{
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = rnd(4) ? seed : rnd(3);
	for (unsigned i = 0; i < sizeof(bases); i++)
		s->gpr[bases[i]] = AREA + rnd(3 * PAGE_SIZE) + (rnd(8) ? 0 : 4 * PAGE_SIZE);
	for (unsigned i = 0; i < sizeof(indexes); i++)
		s->gpr[indexes[i]] = rnd(4) ? rnd(64) * 8 : 0 - (uint64_t)rnd(64);
	if (!rnd(4)) /* all aligned */
		for (unsigned i = 0; i < 16; i++)
			s->gpr[i] &= ~15ull;
	s->gpr[R_DX] = rnd(8) ? 20 + rnd(80) : 1 + rnd(4);
	s->gpr[R_SP] = STACK;
	s->rflags = FL_1 | (seed & FL_ARITH);
	s->fpu.mxcsr = rnd(4) ? 0x1f80 : 0x1f80 & ~(0x80u << rnd(6)); /* one exception is not masked */
	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 16; k++)
			s->fpu.zmm[i][k] = (uint8_t)rnd(256);
	for (unsigned i = 0; i < AREA_SIZE; i++)
		area[i] = (uint8_t)(seed >> (i & 31)) ^ (uint8_t)i;
}

/* -- Two machines ------------------------------------------------------------------------------------------ */

static unsigned cpl; /* at which the loops run */
static bool read_only; /* page 5 is */

static void make_tables(struct tiny *t)
{
	tiny_enter(t, TINY_LONG, cpl);
	t->v->s.xcr0 = t->cpuid.xcr0_allowed;
	t->v->s.cr0 |= CR0_WP;
	tiny_set_pte_flags(t, AREA + 3 * PAGE_SIZE, 0);
	if (read_only)
		tiny_set_pte_flags(t, AREA + 5 * PAGE_SIZE, 5); /* present, the user's */
}

static void make(struct machine *m, const char *engine)
{
	setenv("DOPPEL_ENGINE", engine, 1);
	m->t = tiny_new();
	make_tables(m->t);
}

static void run(struct machine *m, const uint8_t *code, unsigned len, const struct x86_state *start, const uint8_t *area)
{
	struct x86_state *s = &m->t->v->s;

	if (s->cpl != cpl)
		make_tables(m->t);
	memcpy(s->gpr, start->gpr, sizeof(s->gpr));
	memcpy(s->fpu.zmm, start->fpu.zmm, sizeof(s->fpu.zmm));
	s->rflags = start->rflags;
	s->rip = TINY_CODE;
	s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | (s->xcr0 ? CR4_OSXSAVE : 0);
	s->fpu.mxcsr = start->fpu.mxcsr;
	s->activity = ACT_RUNNING;
	tiny_put(m->t, AREA, area, AREA_SIZE);
	tiny_put(m->t, TINY_CODE, code, len);
	m->vector = tiny_run(m->t);
	tiny_get(m->t, AREA, m->area, AREA_SIZE);
}

/* Flags that a faulting instruction would have written are not kept (access.c): nor compared, where they are pushed. */
static void forget_pushed_flags(struct machine *m)
{
	uint64_t at = m->t->v->s.gpr[R_SP] - AREA + (m->vector == X86_GP || m->vector == X86_PF || m->vector == X86_SS ? 24 : 16);

	if (m->vector >= 0 && at <= AREA_SIZE - 8)
		memset(m->area + at, 0, 8);
}

static void compare(const char *what, unsigned round)
{
	const struct x86_state *a = &ref.t->v->s, *b = &bt.t->v->s;
	uint64_t flags = ref.vector < 0 ? FL_ARITH & ~FL_AF : 0; /* AF of and, or, xor is undefined */

	forget_pushed_flags(&ref);
	forget_pushed_flags(&bt);
	if (ref.vector != bt.vector || a->rip != b->rip || ref.t->frame.rip != bt.t->frame.rip || a->cr2 != b->cr2 ||
	    memcmp(a->gpr, b->gpr, sizeof(a->gpr)) || ((a->rflags ^ b->rflags) & flags) || memcmp(ref.area, bt.area, AREA_SIZE) ||
	    memcmp(a->fpu.zmm, b->fpu.zmm, sizeof(a->fpu.zmm)) || a->fpu.mxcsr != b->fpu.mxcsr)
		fail_msg("%s %u: vector %d, translator's %d, at %#llx and %#llx, flags %#llx and %#llx", what, round, ref.vector, bt.vector,
			 (unsigned long long)ref.t->frame.rip, (unsigned long long)bt.t->frame.rip,
			 (unsigned long long)a->rflags, (unsigned long long)b->rflags);
}

static int set_up(void **state)
{
	seed = 20261121;
	cpl = 0;
	make(&ref, "interp");
	make(&bt, "bt");
	return 0;
}

/* User code, with the stack window always open. */
static int set_up_user(void **state)
{
	seed = 20261122;
	cpl = 3;
	make(&ref, "interp");
	make(&bt, "bt,stack-window=always");
	return 0;
}

static int tear_down(void **state)
{
	tiny_free(ref.t);
	tiny_free(bt.t);
	return 0;
}

/* Loops that were short before are not tried at once: each is a new one for that. */
static void forget_records(void)
{
	struct bt *b = bt.t->v->engine_data;

	memset(b->loop_worth, 0, sizeof(b->loop_worth));
}

static uint64_t chunks(void)
{
	return ((struct bt *)bt.t->v->engine_data)->loop_chunks;
}

static void test_random(void **state)
{
	static struct x86_state start;
	static uint8_t area[AREA_SIZE];
	uint64_t loops, faults = 0;
	struct code c;

	for (unsigned round = 0; round < ROUNDS; round++) {
		if (round % 3 == 0) /* the other times with other data */
			generate(&c);
		random_start(&start, area);
		forget_records();
		loops = chunks();
		run(&ref, c.byte, c.len, &start, area);
		run(&bt, c.byte, c.len, &start, area);
		compare("round", round);
		faults += chunks() != loops && bt.vector >= 0;
	}
	/* Or else the rounds have tested nothing. */
	assert_true(chunks() > ROUNDS / 8);
	assert_true(faults > ROUNDS / 200);
}

/* Turn by turn, each of one iteration. */
static void test_lockstep(void **state)
{
	static struct x86_state start;
	static uint8_t area[AREA_SIZE];
	struct code c;

	seed = 20261123;
	cpl = 0;
	setenv("DOPPEL_LOCKSTEP", "1", 1);
	make(&bt, "bt");
	unsetenv("DOPPEL_LOCKSTEP");
	for (unsigned round = 0; round < LOCKSTEP_ROUNDS; round++) {
		generate(&c);
		random_start(&start, area);
		forget_records();
		run(&bt, c.byte, c.len, &start, area);
		assert_string_equal(lockstep_report(bt.t->v->lockstep), "");
	}
	assert_true(chunks() > LOCKSTEP_ROUNDS / 2);
	tiny_free(bt.t);
}

/* -- Loops in which something happens --------------------------------------------------------------------- */

/* The same code with the same registers on both; RSI and RDI lead into the area. True: the second form ran. */
static bool both(const char *what, const uint8_t *code, size_t len, uint64_t rsi, uint64_t rdi, uint64_t rdx)
{
	static struct x86_state start;
	static uint8_t area[AREA_SIZE];
	uint64_t before = chunks();

	memset(&start, 0, sizeof(start));
	for (unsigned i = 0; i < AREA_SIZE; i++)
		area[i] = (uint8_t)(i * 37 + (i >> 8));
	start.gpr[R_SI] = rsi;
	start.gpr[R_DI] = rdi;
	start.gpr[R_DX] = rdx;
	start.gpr[R_BX] = 0x55;
	start.gpr[R_10] = rsi;
	start.gpr[R_11] = rdi;
	start.gpr[R_SP] = STACK;
	start.rflags = FL_1;
	start.fpu.mxcsr = 0x1f80;
	forget_records();
	run(&ref, code, (unsigned)len, &start, area);
	run(&bt, code, (unsigned)len, &start, area);
	compare(what, (unsigned)rdx);
	return chunks() != before;
}

#define BOTH_RUN(name, rsi, rdi, rdx) both(#name, name, (size_t)(name##_end - name), rsi, rdi, rdx)
#define PAGE(n) (AREA + (n) * PAGE_SIZE)

GUEST(copy8, 64, "1: mov (%rsi), %rax; mov %rax, (%rdi); add $8, %rsi; add $8, %rdi; dec %edx; jnz 1b; hlt");
GUEST(copy1_down, 64, "1: mov (%rsi), %al; mov %al, (%rdi); sub $1, %rsi; lea -1(%rdi), %rdi; sub $1, %edx; jnz 1b; hlt");
GUEST(copy_24, 64, "1: mov (%rsi,%rcx), %rax; mov %rax, 16(%rdi,%rcx); add $24, %rcx; dec %edx; jnz 1b; hlt");
GUEST(sum_r10_r11, 64, "1: mov (%r10), %rax; add %rax, (%r11); lea 8(%r10), %r10; sub $-8, %r11; sub $1, %edx; jnz 1b; hlt");
GUEST(compared, 64, "lea (%rdi,%rdx,8), %r8; 1: mov %rbx, (%rdi); add $8, %rdi; cmp %r8, %rdi; jne 1b; hlt");
GUEST(still, 64, "1: add %rdx, (%rsi); incb 9(%rdi); dec %edx; jnz 1b; hlt");
GUEST(found, 64, "1: cmpb %bl, (%rsi); je 2f; inc %rsi; dec %edx; jnz 1b; 2: setz %cl; hlt");
GUEST(far, 64, "1: addb $1, (%rsi); add $4096, %rsi; dec %edx; jnz 1b; hlt");
GUEST(far_down, 64, "1: addb $1, (%rsi); sub $1024, %rsi; dec %edx; jnz 1b; hlt");

/* Pages that follow each other, 2 of them missing a neighbour: the fault comes where it should, and nothing is lost or done twice. */
static void test_page_ends(void **state)
{
	for (unsigned off = 0; off < 16; off += 5) {
		assert_true(BOTH_RUN(copy8, PAGE(0) + off, PAGE(4) + 0x800 - off, 700));
		assert_true(BOTH_RUN(copy1_down, PAGE(2) + off, PAGE(6) + 0x123, 700));
		assert_true(BOTH_RUN(copy_24, PAGE(0) + 3 * off, PAGE(4) + off, 400));
		assert_true(BOTH_RUN(sum_r10_r11, PAGE(0) + off, PAGE(4) + 0xff0, 600));
		assert_true(BOTH_RUN(compared, 0, PAGE(4) + off, 700));
		assert_true(BOTH_RUN(found, PAGE(0) + off, 0, 700));
	}
	assert_true(BOTH_RUN(still, PAGE(1), PAGE(2), 1000));
	BOTH_RUN(still, PAGE(1) - 1, PAGE(2) - 10, 1000);
	BOTH_RUN(far, PAGE(0), 0, 3);
	BOTH_RUN(far_down, PAGE(6), 0, 9);
}

static void test_missing_page(void **state)
{
	for (unsigned off = 0; off < 16; off += 5) {
		assert_true(BOTH_RUN(copy8, PAGE(2) + off, PAGE(4), 700)); /* a read */
		assert_int_equal(bt.vector, X86_PF);
		assert_true(BOTH_RUN(copy8, PAGE(4), PAGE(2) + off, 700)); /* a write */
		assert_int_equal(bt.vector, X86_PF);
		assert_true(BOTH_RUN(copy1_down, PAGE(4) + 99 + off, PAGE(6), 700));
		assert_int_equal(bt.vector, X86_PF);
		assert_true(BOTH_RUN(sum_r10_r11, PAGE(4), PAGE(3) - 0x200 - off, 700));
		assert_int_equal(bt.vector, X86_PF);
		assert_true(BOTH_RUN(found, PAGE(3) - 100 - off, 0, 700) || bt.vector < 0);
	}
}

/* Each iteration reads what an earlier one has written, at all distances. */
static void test_overlap(void **state)
{
	for (unsigned d = 0; d < 40; d += 3) {
		assert_true(BOTH_RUN(copy8, PAGE(1), PAGE(1) + d, 300));
		assert_true(BOTH_RUN(copy8, PAGE(1) + d, PAGE(1), 300));
		assert_true(BOTH_RUN(copy1_down, PAGE(1), PAGE(1) - d, 300));
		assert_true(BOTH_RUN(sum_r10_r11, PAGE(1) + 0xf00, PAGE(1) + 0xf00 + d, 300));
	}
}

/* Each iteration stores over the same page's end: such a one is the ordinary code's. */
GUEST(over_end, 64, "1: movups %xmm1, (%rsi); paddb %xmm2, %xmm1; sub $1, %edx; jnz 1b; hlt");
GUEST(over_end_r10, 64, "1: movdqu %xmm9, -5(%r10,%r11); paddb %xmm2, %xmm9; lea 5(%rsi), %r10; sub $1, %edx; jnz 1b; hlt");
GUEST(over_end_flags, 64, "stc; 1: movupd %xmm1, (%rsi); paddb %xmm2, %xmm1; dec %edx; jnz 1b; setc %cl; hlt");
GUEST(over_end_32, 64, "1: vmovdqu %ymm1, 37(%rsi); vpaddb %ymm2, %ymm1, %ymm1; lea -37(%r10), %rsi; sub $1, %edx; jnz 1b; hlt");
GUEST(over_end_64, 64, "1: vmovdqu64 %zmm17, 64(%rsi); vpaddd %zmm2, %zmm17, %zmm17; lea -64(%r10), %rsi; sub $1, %edx; jnz 1b; hlt");

static uint64_t crossed(void)
{
	return ((struct bt *)bt.t->v->engine_data)->exits[SITE_CROSSED];
}

static void forbid_writes(bool on)
{
	read_only = on;
	make_tables(ref.t);
	make_tables(bt.t);
}

/* At each offset: both pages there, the second one missing or read-only, and the first one with code. leaves: each store does. */
static void check_over_end(const char *what, const uint8_t *code, size_t len, unsigned size, bool leaves)
{
	for (unsigned off = 1; off < size; off += size > 16 ? 3 : 1) {
		uint64_t before = crossed();

		both(what, code, len, PAGE(5) - off, 0, 30);
		assert_int_equal(bt.vector, cpl ? X86_GP : TINY_HLT); /* HLT is the kernel's */
		assert_true(leaves || crossed() - before <= 1);
		both(what, code, len, PAGE(3) - off, 0, 30);
		assert_int_equal(bt.vector, X86_PF);
		forbid_writes(true);
		both(what, code, len, PAGE(5) - off, 0, 30);
		assert_int_equal(bt.vector, X86_PF);
		forbid_writes(false);
		both(what, code, len, TINY_CODE + PAGE_SIZE - off, 0, 30);
	}
}

#define CHECK_OVER_END(name, size, leaves) check_over_end(#name, name, (size_t)(name##_end - name), size, leaves)

static void test_stores_over_page_end(void **state)
{
	uint64_t xcr0 = bt.t->cpuid.xcr0_allowed;

	CHECK_OVER_END(over_end, 16, false);
	CHECK_OVER_END(over_end_r10, 16, false);
	CHECK_OVER_END(over_end_flags, 16, true);
	if (xcr0 & XCR0_AVX)
		CHECK_OVER_END(over_end_32, 32, false);
	if ((xcr0 & XCR0_AVX512) == XCR0_AVX512)
		CHECK_OVER_END(over_end_64, 64, false);
}

GUEST(own_code, 64, "1: mov %bl, (%rdi); add $1, %rdi; dec %edx; jnz 1b; hlt");

/* Through the page before the code's, and into the loop: what is written runs, by the next instruction. */
static void test_own_code(void **state)
{
	for (unsigned stop = 0; stop < 16; stop++)
		BOTH_RUN(own_code, 0, TINY_CODE - 200, 200 + stop);
	BOTH_RUN(own_code, 0, TINY_CODE + PAGE_SIZE - 100, 200);
}

GUEST(device, 64, "1: mov (%rsi), %eax; mov %eax, (%rdi); add $4, %rdi; dec %edx; jnz 1b; hlt");

/* A device's page is in no TLB, whether it is met at the beginning or behind a page's end. */
static void test_device(void **state)
{
	bt.t->in_value = ref.t->in_value = 0x1234;
	BOTH_RUN(device, TINY_MMIO, PAGE(4), 50);
	assert_int_equal(bt.t->n_io, ref.t->n_io);
	assert_true(bt.t->n_io >= 50);
	assert_int_equal(tiny_peek(bt.t, PAGE(4) + 4 * 49, 4), 0x1234);
	bt.t->n_io = ref.t->n_io = 0;
	BOTH_RUN(device, PAGE(4), TINY_MMIO - 40, 20);
	assert_int_equal(bt.t->n_io, 10);
	assert_memory_equal(bt.t->io, ref.t->io, 10 * sizeof(*bt.t->io));
}

GUEST(endless, 64, "1: cmp %rbx, (%rsi); jne 1b; hlt");
GUEST(endless_jump, 64, "1: addb $1, (%rsi); jmp 1b");

/* Who is to stop stops. */
static void test_endless(void **state)
{
	const unsigned char *code[] = { endless, endless_jump }, *end[] = { endless_end, endless_jump_end };
	static struct x86_state start;
	static uint8_t area[AREA_SIZE];

	for (unsigned k = 0; k < 2; k++) {
		uint64_t before = chunks();

		start.gpr[R_SI] = PAGE(1);
		start.gpr[R_BX] = 1;
		start.gpr[R_SP] = STACK;
		start.rflags = FL_1;
		bt.t->limit_ns = 20000000;
		do { /* on a busy host it may not come that far at once */
			forget_records();
			run(&bt, code[k], (unsigned)(end[k] - code[k]), &start, area);
			assert_int_equal(bt.vector, TINY_TIMEOUT);
			assert_int_equal(bt.t->v->s.rip, TINY_CODE);
			assert_int_equal(bt.t->v->s.gpr[R_SI], PAGE(1));
		} while (chunks() == before);
	}
}

/*
 * vCPU 0 stores into the page without a check until vCPU 1 runs code there: then its right to write is gone, and each store shows.
 * The function's constant is aligned.
 */
GUEST(store_loop, 64, "mov $0x400000, %ebx; 1: inc %ecx; mov %ecx, 4(%rbx); cmpb $0, 64(%rdi); je 1b; movb $1, (%rdx); hlt");
GUEST(call_loop, 64, "xor %ebx, %ebx; mov $30, %esi; 1: mov $0x400003, %eax; call *%rax; cmp %ebx, %eax; je 1b; mov %eax, %ebx;"
		     "dec %esi; jnz 1b; movb $1, 64(%rdi); movb $1, (%rdx); hlt");

static void test_two_cpus(void **state)
{
	static const uint8_t function[] = { 0xb8, 0, 0, 0, 0, 0xc3 }; /* mov $0, %eax; ret */
	struct duo *d;

	setenv("DOPPEL_ENGINE", "bt", 1);
	d = duo_new();
	memcpy(duo_at(d, 0x400003), function, sizeof(function));
	assert_true(DUO_RUN(d, store_loop, call_loop));
	duo_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_random, set_up_user, tear_down),
		cmocka_unit_test_setup_teardown(test_page_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_missing_page, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_overlap, set_up_user, tear_down),
		cmocka_unit_test_setup_teardown(test_stores_over_page_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stores_over_page_end, set_up_user, tear_down),
		cmocka_unit_test_setup_teardown(test_own_code, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_device, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_endless, set_up, tear_down),
		cmocka_unit_test(test_two_cpus),
		cmocka_unit_test(test_lockstep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
