/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator against the reference: random sequences of instructions with branches, calls, stack traffic over a
 * page's end, flags that live across instructions, stolen registers, and faults in the middle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "tiny.h"

#define ROUNDS 20000
#define INSNS     64
#define AREA      TINY_HIGH /* pages 0, 1 and 3 are there, 2 is not; the stack is in page 5 and 6 */
#define AREA_SIZE (8 * PAGE_SIZE)

struct code {
	uint8_t byte[1024];
	unsigned len;
	unsigned start[INSNS + 1], patch[INSNS];
};

static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 20) % n);
}

/* Bases keep pointing into the area; the rest is data. */
static const uint8_t bases[] = { R_BX, R_BP, R_10, R_SP };
static const uint8_t data_regs[] = { R_AX, R_CX, R_DX, R_SI, R_DI, R_8, R_9, R_11, R_12, R_13, R_14, R_15 };

static unsigned data_reg(void)
{
	return data_regs[rnd(ARRAY_SIZE(data_regs))];
}

static void put(struct code *c, unsigned b)
{
	c->byte[c->len++] = (uint8_t)b;
}

/* REX, opcode of one or (two set) two bytes, then ModRM for a register, or for base + disp8. */
static void encode(struct code *c, unsigned w, bool two, unsigned opcode, unsigned reg)
{
	unsigned memory = rnd(3), rm = memory ? bases[rnd(ARRAY_SIZE(bases))] : data_reg();

	put(c, 0x40 | w << 3 | (reg >> 3) << 2 | rm >> 3);
	if (two)
		put(c, 0x0f);
	put(c, opcode);
	put(c, (memory ? 0x40 : 0xc0) | (reg & 7) << 3 | (rm & 7));
	if (!memory)
		return;
	if ((rm & 7) == R_SP)
		put(c, 0x24);
	put(c, rnd(256));
}

static void forward_jump(struct code *c, unsigned n)
{
	c->patch[n] = c->len;
	c->len += 4;
}

static void random_insn(struct code *c, unsigned n)
{
	static const uint8_t prefix[] = { 0x66, 0xf3 };

	switch (rnd(13)) {
	case 0: case 1: case 2: case 3: /* add, or, adc, sbb, and, sub, xor, cmp */
		encode(c, rnd(2), false, rnd(8) << 3 | (rnd(4)), data_reg());
		break;
	case 4: encode(c, rnd(2), false, 0x88 + rnd(4), data_reg()); break; /* mov */
	case 5: encode(c, rnd(2), true, 0x40 | rnd(16), data_reg()); break; /* cmovcc */
	case 6: encode(c, 0, true, 0x90 | rnd(16), 0); break;               /* setcc */
	case 7: encode(c, 1, true, 0xb6 + rnd(2) + 8 * rnd(2), data_reg()); break; /* movzx, movsx */
	case 8: encode(c, rnd(2), true, 0xc0 + rnd(2), data_reg()); break;  /* xadd */
	case 9: { /* push, pop */
		unsigned r = data_reg();

		put(c, 0x40 | r >> 3);
		put(c, (rnd(2) ? 0x50 : 0x58) | (r & 7));
		break;
	}
	case 10: /* jcc */
		put(c, 0x0f);
		put(c, 0x80 | rnd(16));
		forward_jump(c, n);
		break;
	case 11: /* call, jmp */
		put(c, 0xe8 + rnd(2));
		forward_jump(c, n);
		break;
	default: /* movdqu, movdqa, paddq: faults when misaligned */
		put(c, prefix[rnd(2)]);
		encode(c, 0, true, rnd(2) ? 0x6f : 0x7f, rnd(8));
		break;
	}
}

static void generate(struct code *c)
{
	memset(c, 0, sizeof(*c));
	for (unsigned n = 0; n < INSNS; n++) {
		c->start[n] = c->len;
		random_insn(c, n);
	}
	c->start[INSNS] = c->len;
	put(c, 0xf4);
	for (unsigned n = 0; n < INSNS; n++)
		if (c->patch[n]) {
			unsigned to = n + 1 + rnd(4);
			int32_t d = (int32_t)(c->start[MIN(to, INSNS)] - (c->patch[n] + 4));

			memcpy(c->byte + c->patch[n], &d, 4);
		}
}

struct machine {
	struct tiny *t;
	uint8_t area[AREA_SIZE];
	int vector;
};

static struct machine bt, ref;

static void make(struct machine *m, const char *engine)
{
	setenv("DOPPEL_ENGINE", engine, 1);
	m->t = tiny_new();
	tiny_enter(m->t, TINY_LONG, 0);
	tiny_set_pte_flags(m->t, AREA + 2 * PAGE_SIZE, 0);
}

static void run(struct machine *m, const struct code *c, const struct x86_state *start, const uint8_t *area)
{
	struct x86_state *s = &m->t->v->s;

	memcpy(s->gpr, start->gpr, sizeof(s->gpr));
	memcpy(s->fpu.zmm, start->fpu.zmm, sizeof(s->fpu.zmm));
	s->rflags = start->rflags;
	s->rip = TINY_CODE;
	s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	s->fpu.mxcsr = 0x1f80;
	s->activity = ACT_RUNNING;
	tiny_put(m->t, AREA, area, AREA_SIZE);
	tiny_put(m->t, TINY_CODE, c->byte, c->len);
	m->vector = tiny_run(m->t);
	tiny_get(m->t, AREA, m->area, AREA_SIZE);
}

static void random_start(struct x86_state *s, uint8_t *area)
{
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = rnd(4) ? seed : rnd(3);
	s->gpr[R_BX] = AREA + 0x80 + rnd(PAGE_SIZE - 0x100);
	s->gpr[R_BP] = AREA + PAGE_SIZE - 8 + rnd(16); /* over a page's end */
	s->gpr[R_10] = rnd(8) ? AREA + 0x100 : AREA + 2 * PAGE_SIZE - 0x40;
	s->gpr[R_SP] = AREA + 6 * PAGE_SIZE - 32 + rnd(64);
	s->rflags = FL_1 | (seed & FL_ARITH);
	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 16; k++)
			s->fpu.zmm[i][k] = (uint8_t)rnd(256);
	for (unsigned i = 0; i < AREA_SIZE; i++)
		area[i] = (uint8_t)(seed >> (i & 31)) ^ (uint8_t)i;
}

/* Flags that a faulting instruction would have written are not kept (access.c): nor compared, where they are pushed. */
static void forget_pushed_flags(struct machine *m)
{
	uint64_t at = m->t->v->s.gpr[R_SP] - AREA + (m->vector == X86_GP || m->vector == X86_PF ? 24 : 16);

	if (m->vector >= 0 && at <= AREA_SIZE - 8)
		memset(m->area + at, 0, 8);
}

static void compare(unsigned round)
{
	const struct x86_state *a = &ref.t->v->s, *b = &bt.t->v->s;
	uint64_t flags = ref.vector < 0 ? FL_ARITH & ~FL_AF : 0; /* AF of and, or, xor is undefined */

	forget_pushed_flags(&ref);
	forget_pushed_flags(&bt);
	if (ref.vector != bt.vector || a->rip != b->rip || ref.t->frame.rip != bt.t->frame.rip ||
	    memcmp(a->gpr, b->gpr, sizeof(a->gpr)) || ((a->rflags ^ b->rflags) & flags) || memcmp(ref.area, bt.area, AREA_SIZE) ||
	    memcmp(a->fpu.zmm, b->fpu.zmm, sizeof(a->fpu.zmm)))
		fail_msg("round %u: vector %d, translator's %d, at %#llx and %#llx, flags %#llx and %#llx", round, ref.vector,
			 bt.vector, (unsigned long long)ref.t->frame.rip, (unsigned long long)bt.t->frame.rip,
			 (unsigned long long)a->rflags, (unsigned long long)b->rflags);
}

static void test_blocks(void **state)
{
	static struct x86_state start;
	static uint8_t area[AREA_SIZE];
	struct code c;

	seed = 20260801;
	make(&ref, "interp");
	make(&bt, "bt");
	for (unsigned round = 0; round < ROUNDS; round++) {
		if (round % 3 == 0) /* the other times with other data */
			generate(&c);
		random_start(&start, area);
		run(&ref, &c, &start, area);
		run(&bt, &c, &start, area);
		compare(round);
	}
	tiny_free(ref.t);
	tiny_free(bt.t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_blocks) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
