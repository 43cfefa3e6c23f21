/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 code in the translator: it runs without the reference, random sequences leave the same state as there, pointers to the
 * last instruction included, and errors and CR0 arrive where they should.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cpu/bt/bt.h"
#include "tiny.h"

#define ROUNDS 1500
#define PIECES 16
#define AREA   TINY_HIGH
#define SKEW   (2 * PAGE_SIZE - 20) /* the area's operands: some cross a page */

static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 20) % n);
}

static struct tiny *start(const char *engine, enum tiny_mode mode)
{
	struct tiny *t;

	setenv("DOPPEL_ENGINE", engine, 1);
	unsetenv("DOPPEL_LOCKSTEP");
	t = tiny_new();
	tiny_enter(t, mode, 0);
	t->v->s.cr0 |= CR0_NE;
	t->v->s.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	t->v->s.fpu.fcw = 0x37f;
	t->v->s.fpu.ftw = 0;
	tiny_state_changed(t);
	return t;
}

static uint64_t by_reference(const struct tiny *t)
{
	const struct bt *bt = t->v->engine_data;
	uint64_t sum = 0;

	for (unsigned m = 1; m < ARRAY_SIZE(bt->fallbacks); m++)
		sum += m == ZYDIS_MNEMONIC_HLT ? 0 : bt->fallbacks[m];
	return sum;
}

GUEST(series, 64,
      "mov $0x100000, %ebx\n"
      "mov $100, %ecx\n"
      "fld1\n"
      "fldz\n"
      "1: mov %ecx, (%rbx)\n"
      "fildl (%rbx)\n"
      "fdivr %st(2), %st\n"
      "faddp\n"
      "fxch %st(1)\n"
      "fxch %st(1)\n"
      "dec %ecx\n"
      "jnz 1b\n"
      "fcomi %st(1), %st\n"
      "seta %al\n"
      "fnstsw %ax\n"
      "fstpl 8(%rbx)\n"
      "hlt\n");

static void test_native(void **state)
{
	struct tiny *t = start("bt", TINY_LONG);
	double sum;

	TINY_LOAD(t, TINY_CODE, series);
	assert_int_equal(tiny_run(t), TINY_HLT);
	tiny_get(t, AREA + 8, &sum, sizeof(sum));
	assert_true(sum > 5.18737 && sum < 5.18738);
	assert_true(by_reference(t) <= 3); /* pages that are touched for the first time */
	tiny_free(t);
}

/* -- Random sequences ---------------------------------------------------------------------------------------- */

struct code {
	uint8_t byte[256];
	unsigned len;
};

static void put(struct code *c, unsigned b)
{
	c->byte[c->len++] = (uint8_t)b;
}

/* With ModRM [base + disp8]: RBX or RBP, and in 64-bit code now and then R11 or an FS prefix. */
static void put_memory(struct code *c, bool is_64, unsigned opcode, unsigned reg)
{
	unsigned base = is_64 && !rnd(4) ? 11 : rnd(2) ? 3 : 5;

	if (!rnd(5))
		put(c, 0x64);
	if (base == 11)
		put(c, 0x41);
	put(c, opcode);
	put(c, 0x40 | reg << 3 | (base & 7));
	put(c, rnd(40));
}

static void put_piece(struct code *c, bool is_64)
{
	/* opcode, reg of what has a memory operand: loads, stores and arithmetic of every size; FLDCW, FNSTCW, FNSTSW */
	static const uint8_t memory[][2] = {
		{ 0xd8, 0 }, { 0xd8, 6 }, { 0xd9, 0 }, { 0xd9, 2 }, { 0xd9, 3 }, { 0xd9, 7 }, { 0xda, 1 }, { 0xdb, 0 },
		{ 0xdb, 1 }, { 0xdb, 5 }, { 0xdb, 7 }, { 0xdc, 1 }, { 0xdc, 3 }, { 0xdd, 0 }, { 0xdd, 3 }, { 0xdd, 7 },
		{ 0xde, 4 }, { 0xdf, 0 }, { 0xdf, 4 }, { 0xdf, 5 }, { 0xdf, 6 }, { 0xdf, 7 }, { 0xd9, 5 },
	};
	unsigned n;

	switch (rnd(8)) {
	case 0: case 1: case 2:
		n = rnd(ARRAY_SIZE(memory) - !!rnd(8)); /* seldom FLDCW, which unmasks errors */
		put_memory(c, is_64, memory[n][0], memory[n][1]);
		break;
	case 3: case 4: /* D8-DF with registers, but for D9 D8+ and what is not there */
		put(c, 0xd8 | (rnd(2) ? 0 : 4) | (rnd(4) ? 0 : 2));
		put(c, 0xc0 | rnd(32));
		break;
	case 5:
		put(c, 0xd9);
		put(c, rnd(2) ? 0xc0 | rnd(16) : 0xe8 | rnd(7));
		break;
	case 6:
		put(c, 0xdb);
		put(c, rnd(3) ? 0xf0 | rnd(8) : 0xe2);
		break;
	default: /* add $1, %eax; and a jump over nothing, or FWAIT */
		put(c, 0x83), put(c, 0xc0), put(c, 1);
		if (rnd(2))
			put(c, 0x9b);
		else
			put(c, 0x70 | rnd(16)), put(c, 1), put(c, 0x90);
		break;
	}
}

static struct code random_code(bool is_64)
{
	struct code c = { .len = 0 };

	for (unsigned n = 2 + rnd(PIECES); n--;)
		put_piece(&c, is_64);
	put(&c, 0xf4);
	return c;
}

/* Twice: what was translated while its pages were not there yet, and what runs through. */
static int run_case(struct tiny *t, const struct code *c, enum tiny_mode mode, uint64_t with)
{
	struct x86_state *s = &t->v->s;
	int rc = 0;

	for (unsigned n = 0; n < 2; n++) {
		tiny_enter(t, mode, 0);
		s->cr0 |= CR0_NE;
		s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
		s->gpr[R_BX] = s->gpr[R_BP] = AREA;
		s->gpr[R_11] = AREA + SKEW;
		s->gpr[R_BP] += with & 1 ? SKEW : 0;
		s->seg[SEG_FS].base = with & 2 ? 0x40 : 0;
		s->fpu = (struct x86_fpu){ .mxcsr = 0x1f80, .fcw = with & 4 ? 0x340 : 0x37f };
		tiny_state_changed(t);
		tiny_put(t, TINY_CODE, c->byte, c->len);
		rc = tiny_run(t);
	}
	return rc;
}

static void assert_same(struct tiny *bt, struct tiny *ref, const struct code *c)
{
	const struct x86_fpu *a = &bt->v->s.fpu, *b = &ref->v->s.fpu;
	char text[2 * sizeof(c->byte) + 1];
	uint8_t x[512], y[512];
	bool same = a->fcw == b->fcw && a->fsw == b->fsw && a->ftw == b->ftw && a->fip == b->fip && a->fdp == b->fdp &&
		    a->fop == b->fop && a->fcs == b->fcs && a->fds == b->fds &&
		    !memcmp(bt->v->s.gpr, ref->v->s.gpr, sizeof(ref->v->s.gpr)) && bt->v->s.rip == ref->v->s.rip;

	for (unsigned i = 0; i < 8; i++)
		same &= !memcmp(a->st[i], b->st[i], 10);
	for (unsigned n = 0; n < 2; n++) {
		tiny_get(bt, AREA + n * (SKEW - 256), x, sizeof(x));
		tiny_get(ref, AREA + n * (SKEW - 256), y, sizeof(y));
		same &= !memcmp(x, y, sizeof(x));
	}
	for (unsigned i = 0; i < c->len; i++)
		snprintf(text + 2 * i, 3, "%02x", c->byte[i]);
	if (!same)
		fail_msg("%s: fip %lx %lx fdp %lx %lx fop %x %x fsw %x %x rip %lx %lx", text, a->fip, b->fip, a->fdp, b->fdp, a->fop,
			 b->fop, a->fsw, b->fsw, bt->v->s.rip, ref->v->s.rip);
}

static void random_mode(enum tiny_mode mode)
{
	struct tiny *bt = start("bt", mode), *ref = start("interp", mode);

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct code c = random_code(mode == TINY_LONG);
		uint64_t with = rnd(8);

		assert_int_equal(run_case(bt, &c, mode, with), run_case(ref, &c, mode, with));
		bt->v->engine->sync_out(bt->v, SYNC_FPU);
		assert_same(bt, ref, &c);
	}
	tiny_free(bt);
	tiny_free(ref);
}

static void test_random_64(void **state)
{
	seed = 0x9e3779b97f4a7c15;
	random_mode(TINY_LONG);
}

static void test_random_32(void **state)
{
	seed = 0xbf58476d1ce4e5b9;
	random_mode(TINY_PAGED32);
}

/* -- Errors and CR0 --------------------------------------------------------------------------------------------- */

/* 1 / 0, unmasked: the error waits for the next x87 instruction, and names the division. */
GUEST(divide, 64, "fldz\nfld1\nfdiv %st(1), %st\nnop\nfld1\nhlt\n");

static void test_error(void **state)
{
	struct tiny *t = start("bt", TINY_LONG);

	t->v->s.fpu.fcw = 0x37b;
	tiny_state_changed(t);
	TINY_LOAD(t, TINY_CODE, divide);
	assert_int_equal(tiny_run(t), X86_MF);
	assert_int_equal(t->frame.rip, TINY_CODE + 7);
	t->v->engine->sync_out(t->v, SYNC_FPU);
	assert_int_equal(t->v->s.fpu.fip, TINY_CODE + 4);
	assert_int_equal(t->v->s.fpu.fop, 0x0f1);
	tiny_free(t);
}

/* The same block again after CR0.TS and CR0.EM were set: #NM. */
static void test_switch(void **state)
{
	static const uint64_t bits[] = { CR0_TS, CR0_EM };
	struct tiny *t = start("bt", TINY_LONG);

	for (unsigned n = 0; n < ARRAY_SIZE(bits); n++) {
		tiny_enter(t, TINY_LONG, 0);
		t->v->s.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
		t->v->s.fpu.fcw = 0x37f;
		t->v->s.fpu.ftw = 0;
		tiny_state_changed(t);
		TINY_LOAD(t, TINY_CODE, divide);
		assert_int_equal(tiny_run(t), TINY_HLT);
		t->v->s.rip = TINY_CODE;
		t->v->s.cr0 |= bits[n];
		tiny_state_changed(t);
		assert_int_equal(tiny_run(t), X86_NM);
		assert_int_equal(t->frame.rip, TINY_CODE);
	}
	tiny_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_native),    cmocka_unit_test(test_random_64), cmocka_unit_test(test_random_32),
		cmocka_unit_test(test_error),     cmocka_unit_test(test_switch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
