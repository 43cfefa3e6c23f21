/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator against the reference: random sequences of system instructions - flags, segments, ring changes, string and
 * bit-string instructions, the XSAVE family - from random states, with operands at page ends and on missing
 * pages, selectors and frames that are wrong, SMAP, and gates with and without IST. All state and all memory is compared.
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

#define ROUNDS    6000
#define PIECES    10
#define AREA      TINY_HIGH /* pages 0, 1, 3 on are there, 2 is not; 4 is read-only; the stack is in page 6 */
#define AREA_SIZE (8 * PAGE_SIZE)
#define TAIL      (TINY_CODE + 0xf00) /* where SYSCALL leads: hlt */

struct code {
	uint8_t byte[1024];
	unsigned len;
};

static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 20) % n);
}

static void put(struct code *c, unsigned b)
{
	c->byte[c->len++] = (uint8_t)b;
}

static void put_bytes(struct code *c, const char *bytes, unsigned len)
{
	memcpy(c->byte + c->len, bytes, len);
	c->len += len;
}

static void put_imm(struct code *c, uint32_t imm)
{
	memcpy(c->byte + c->len, &imm, 4);
	c->len += 4;
}

/* -- Pieces --------------------------------------------------------------------------------------------------- */

#define INSN(text) { text, sizeof(text) - 1 }

/* Registers as operands vary: those that are stolen, and others. */
static const struct {
	const char *bytes;
	unsigned len;
} plain[] = {
	INSN("\xfa"), INSN("\xfb"), INSN("\x9c"), INSN("\x9d"), INSN("\xfc"), INSN("\xfd"), /* cli sti pushf popf cld std */
	INSN("\x0f\x01\xca"), INSN("\x0f\x01\xcb"), INSN("\x0f\x01\xf8"),                    /* clac stac swapgs */
	INSN("\xf3\x48\x0f\xae\xc0"), INSN("\xf3\x49\x0f\xae\xc2"),                          /* rdfsbase rax, r10 */
	INSN("\xf3\x48\x0f\xae\xcf"), INSN("\xf3\x49\x0f\xae\xcb"),                          /* rdgsbase rdi, r11 */
	INSN("\xf3\x48\x0f\xae\xd0"), INSN("\xf3\x49\x0f\xae\xd3"), INSN("\xf3\x48\x0f\xae\xdb"), /* wrfsbase rax, r11, wrgsbase rbx */
	INSN("\x0f\x20\xc0"), INSN("\x41\x0f\x20\xd3"), INSN("\x0f\x20\xda"), INSN("\x41\x0f\x20\xe2"), /* mov rax, cr0 ... */
	INSN("\x8c\xd8"), INSN("\x66\x8c\xc1"), INSN("\x66\x8c\xe2"), INSN("\x45\x8c\xca"),  /* mov eax, ds; cx, es; dx, fs; r10d, cs */
	INSN("\x8c\x03"), INSN("\x8c\x65\x01"), INSN("\x41\x8c\x2a"),                        /* mov [rbx], es; [rbp+1], fs; [r10], gs */
	INSN("\x8e\xc1"), INSN("\x8e\xd9"), INSN("\x8e\xe1"), INSN("\x41\x8e\xeb"),          /* mov es, ecx; ds; fs; gs, r11d */
	INSN("\x48\x0f\xa3\x13"), INSN("\x48\x0f\xab\x13"), INSN("\xf0\x4c\x0f\xb3\x1b"), INSN("\xf0\x0f\xbb\x55\x00"), /* bt ... */
	INSN("\x4d\x0f\xa3\x13"), INSN("\x41\x0f\xab\x0a"), INSN("\xf0\x44\x0f\xb3\x55\x04"),
	INSN("\xf3\xa4"), INSN("\xf3\x66\xa5"), INSN("\xf3\xa5"), INSN("\xf3\x48\xa5"), INSN("\xa4"), INSN("\x48\xa5"), /* movs */
	INSN("\xf3\xaa"), INSN("\xf3\x66\xab"), INSN("\xf3\xab"), INSN("\xf3\x48\xab"), INSN("\xaa"), INSN("\x66\xab"), /* stos */
	INSN("\x0f\xae\x23"), INSN("\x48\x0f\xae\x23"), INSN("\x0f\xc7\x23"), INSN("\x48\x0f\xc7\x2b"), /* xsave [rbx] ... */
	INSN("\x0f\xae\x33"), INSN("\x0f\xae\x2b"), INSN("\x48\x0f\xc7\x1b"),                /* xsaveopt, xrstor, xrstors */
	INSN("\x48\x01\xc2"), INSN("\x48\x29\xca"), INSN("\x49\x83\xc2\x11"), INSN("\x83\xe2\x3f"), /* flags, registers */
	INSN("\x48\x8b\x03"), INSN("\x88\x55\x00"), INSN("\x41\x50"), INSN("\x58"),          /* loads, stores, push r8, pop rax */
	INSN("\xb9\x10\x00\x00\x00"), INSN("\xb9\x00\x10\x00\x00"), INSN("\x31\xd2"),        /* mov ecx, 16; 4096; xor edx, edx */
	INSN("\x0f\x01\x3b"), INSN("\x0f\x20\xd8\x0f\x22\xd8"),                              /* invlpg [rbx]; reload of cr3 */
};

static void put_iret(struct code *c)
{
	static const uint16_t cs[] = { SEL_CODE0_64, SEL_CODE3_64, SEL_CODE3_64, SEL_CODE3, SEL_DATA0, SEL_CODE1, 0, SEL_FREE };
	static const uint16_t ss[] = { SEL_DATA0, SEL_DATA3, SEL_DATA3, 0, 3, SEL_CODE0, SEL_FREE };
	static const uint32_t flags[] = { 2, 0x202, 0xcd7, 0x3002, 0x4002, 0x10002, 0x40046, 0x102, 0x20002, 0x200002 };

	put(c, 0x68); put_imm(c, ss[rnd(ARRAY_SIZE(ss))]);
	put(c, 0x54); /* push rsp */
	put(c, 0x68); put_imm(c, flags[rnd(ARRAY_SIZE(flags))]);
	put(c, 0x68); put_imm(c, cs[rnd(ARRAY_SIZE(cs))]);
	put_bytes(c, "\x48\x8d\x05\x03\x00\x00\x00\x50\x48\xcf", 10); /* lea rax, [behind]; push rax; iretq */
}

static void put_sysret(struct code *c)
{
	if (rnd(8))
		put_bytes(c, "\x48\x8d\x0d\x03\x00\x00\x00", 7); /* lea rcx, [behind] */
	put_bytes(c, "\x48\x0f\x07", 3);
}

static void generate(struct code *c)
{
	c->len = 0;
	for (unsigned n = 0; n < PIECES; n++) {
		unsigned k = rnd(24), i = rnd(ARRAY_SIZE(plain));

		if (k == 0)
			put_iret(c);
		else if (k == 1)
			put_sysret(c);
		else if (k == 2 && !rnd(4))
			put_bytes(c, "\x0f\x05", 2); /* syscall */
		else
			put_bytes(c, plain[i].bytes, plain[i].len);
	}
	put(c, 0xf4);
}

/* -- Two machines ---------------------------------------------------------------------------------------------- */

struct machine {
	struct tiny *t;
	int vector;
	uint8_t area[AREA_SIZE];
};

/* What a round begins with, beside the code. */
struct start {
	uint64_t gpr[16], rflags, fs, gs, kernel_gs;
	uint8_t area[AREA_SIZE], zmm[32][64];
	bool ist, smap, user;
};

static struct machine ref, bt;

static void make(struct machine *m, const char *engine)
{
	setenv("DOPPEL_ENGINE", engine, 1);
	m->t = tiny_new();
	tiny_enter(m->t, TINY_LONG, 0);
}

static void random_start(struct start *st)
{
	for (unsigned i = 0; i < 16; i++)
		st->gpr[i] = rnd(3) ? rnd(0x40) : seed;
	for (unsigned i = 0; i < AREA_SIZE; i++)
		st->area[i] = rnd(4) ? 0 : (uint8_t)(seed >> (i & 31));
	memset(st->zmm, 0, sizeof(st->zmm));
	for (unsigned i = 0; i < 32 && rnd(3); i++)
		st->zmm[i][rnd(64)] = (uint8_t)seed;
	st->gpr[R_BX] = AREA + (rnd(2) ? 0x40 * rnd(128) : rnd(4 * PAGE_SIZE));
	st->gpr[R_BP] = AREA + PAGE_SIZE - rnd(16);
	st->gpr[R_10] = AREA + rnd(5 * PAGE_SIZE);
	st->gpr[R_SI] = AREA + rnd(AREA_SIZE);
	st->gpr[R_DI] = rnd(4) ? AREA + PAGE_SIZE * rnd(6) : AREA + rnd(6 * PAGE_SIZE);
	st->gpr[R_CX] = rnd(3) ? rnd(0x50) : rnd(3) ? rnd(0x1100) : SEL_DATA3;
	st->gpr[R_AX] = rnd(2) ? 0xe7 : st->gpr[R_AX];
	st->gpr[R_DX] = rnd(2) ? 0 : st->gpr[R_DX];
	st->gpr[R_SP] = AREA + 7 * PAGE_SIZE - rnd(0x200);
	st->gpr[R_11] = rnd(2) ? 0x202 | (seed & 0x40cd5) : SEL_DATA3;
	st->rflags = FL_1 | (seed & (FL_ARITH | FL_IF | FL_DF | FL_AC | FL_IOPL | FL_ID));
	st->fs = seed >> 20;
	st->gs = seed >> 25;
	st->kernel_gs = AREA;
	st->ist = rnd(2);
	st->user = !rnd(5);
	st->smap = !st->user && !rnd(3);
}

/* With SMAP only the first two pages of the area are the user's. */
static void set_pages(struct tiny *t, const struct start *st)
{
	bool inner = st->smap;

	for (uint64_t la = 0; la < AREA + AREA_SIZE; la += PAGE_SIZE)
		tiny_set_pte(t, la, la | 3 | (inner && (la < AREA || la >= AREA + 2 * PAGE_SIZE) ? 0 : 4));
	tiny_set_pte(t, AREA + 2 * PAGE_SIZE, 0);
	tiny_set_pte(t, AREA + 4 * PAGE_SIZE, (AREA + 4 * PAGE_SIZE) | 5);
}

static void run(struct machine *m, const struct code *c, const struct start *st)
{
	struct tiny *t = m->t;
	struct x86_state *s = &t->v->s;

	tiny_enter(t, TINY_LONG, st->user ? 3 : 0);
	set_pages(t, st);
	for (unsigned v = 0; v < 32; v++)
		tiny_set_gate(t, v, 0xe, 3, SEL_CODE0_64, tiny_stub(v), st->ist);
	memcpy(s->gpr, st->gpr, sizeof(s->gpr));
	memcpy(s->fpu.zmm, st->zmm, sizeof(st->zmm));
	s->rflags = st->rflags;
	s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE | (st->smap ? CR4_SMAP : 0);
	s->xcr0 = t->cpuid.xcr0_allowed;
	s->fpu.mxcsr = 0x1f80;
	s->fpu.fcw = 0x37f;
	s->seg[SEG_FS].base = st->fs;
	s->seg[SEG_GS].base = st->gs;
	s->msr.kernel_gs_base = st->kernel_gs;
	s->efer |= EFER_SCE;
	s->msr.star = (uint64_t)(SEL_DATA3 - 8) << 48 | (uint64_t)SEL_CODE0_64 << 32;
	s->msr.lstar = TAIL;
	s->msr.sfmask = FL_IF | FL_DF | FL_AC | FL_TF;
	tiny_put(t, AREA, st->area, AREA_SIZE);
	tiny_put(t, TINY_CODE, c->byte, c->len);
	tiny_poke(t, TAIL, 1, 0xf4);
	tiny_state_changed(t);
	m->vector = tiny_run(t);
	tiny_get(t, AREA, m->area, AREA_SIZE);
}

/* Flags that a faulting instruction, or one behind it, would have written are not kept in the image (access.c). */
static void forget_pushed_flags(struct machine *m)
{
	bool err = m->vector == X86_GP || m->vector == X86_PF || m->vector == X86_SS || m->vector == X86_NP || m->vector == X86_DF;
	uint64_t at = m->t->v->s.gpr[R_SP] - AREA + (err ? 24 : 16), image;

	if (m->vector < 0 || at > AREA_SIZE - 8)
		return;
	memcpy(&image, m->area + at, 8);
	image &= ~FL_ARITH;
	memcpy(m->area + at, &image, 8);
}

static const char *difference(void)
{
	const struct x86_state *a = &ref.t->v->s, *b = &bt.t->v->s;
	uint64_t flags = ref.vector == TINY_HLT ? ~FL_AF : ~FL_ARITH;

	if (ref.vector != bt.vector || a->rip != b->rip || ref.t->frame.rip != bt.t->frame.rip)
		return "vector or RIP";
	if (memcmp(a->gpr, b->gpr, sizeof(a->gpr)))
		return "registers";
	if ((a->rflags ^ b->rflags) & flags)
		return "flags";
	if (memcmp(a->seg, b->seg, sizeof(a->seg)) || a->cpl != b->cpl || a->msr.kernel_gs_base != b->msr.kernel_gs_base)
		return "segments";
	if (a->cr2 != b->cr2 || a->cr3 != b->cr3)
		return "control registers";
	if (memcmp(ref.area, bt.area, AREA_SIZE))
		return "memory";
	if (memcmp(a->fpu.zmm, b->fpu.zmm, sizeof(a->fpu.zmm)) || a->fpu.mxcsr != b->fpu.mxcsr || a->fpu.fcw != b->fpu.fcw)
		return "vector state";
	/* An access to two pages that faults on one of them may leave marks on the other, as on processors. */
	for (uint64_t la = AREA; la < AREA + AREA_SIZE; la += PAGE_SIZE)
		if ((tiny_pte(ref.t, la) & ~tiny_pte(bt.t, la)) || (ref.vector == TINY_HLT && tiny_pte(ref.t, la) != tiny_pte(bt.t, la)))
			return "A and D bits";
	return NULL;
}

static void test_system(void **state)
{
	static struct start st;
	struct code c;
	const char *what;

	seed = 20261121;
	make(&ref, "interp");
	make(&bt, "bt");
	for (unsigned round = 0; round < ROUNDS; round++) {
		if (round % 4 == 0) /* the other times with another state */
			generate(&c);
		random_start(&st);
		run(&ref, &c, &st);
		run(&bt, &c, &st);
		forget_pushed_flags(&ref);
		forget_pushed_flags(&bt);
		what = difference();
		if (what)
			fail_msg("round %u: %s; vector %d at %#llx, translator's %d at %#llx", round, what, ref.vector,
				 (unsigned long long)ref.t->frame.rip, bt.vector, (unsigned long long)bt.t->frame.rip);
	}
	tiny_free(ref.t);
	tiny_free(bt.t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_system) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
