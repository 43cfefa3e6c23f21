/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FXSAVE, FXRSTOR and the XSAVE family: byte for byte as the host CPU; their faults (SDM vol. 1, 10.5, ch. 13). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <cpuid.h>
#include "base/endian.h"
#include "tiny.h"

#define AREA     4096
#define STEPS    3 /* load, load, save */
#define BASE_OF(n) (TINY_HIGH + (n) * 0x2000ull)

/* -- The instructions, all with the operand (%rdi) ------------------------------------------------------------- */

enum op { FXSAVE, FXSAVE64, FXRSTOR, FXRSTOR64, XSAVE, XSAVE64, XSAVEOPT64, XSAVEC, XSAVEC64, XRSTOR, XRSTOR64,
	  XSAVES64, XRSTORS64, XGETBV, XSETBV, OPS };

#define NATIVE(name, text)                                                       \
	void native_##name(void);                                                \
	__asm__(".pushsection .text\nnative_" #name ": " text "\nret\n.popsection\n")
NATIVE(fxsave, "fxsave (%rdi)");
NATIVE(fxsave64, "fxsave64 (%rdi)");
NATIVE(fxrstor, "fxrstor (%rdi)");
NATIVE(fxrstor64, "fxrstor64 (%rdi)");
NATIVE(xsave, "xsave (%rdi)");
NATIVE(xsave64, "xsave64 (%rdi)");
NATIVE(xsaveopt64, "xsaveopt64 (%rdi)");
NATIVE(xsavec, "xsavec (%rdi)");
NATIVE(xsavec64, "xsavec64 (%rdi)");
NATIVE(xrstor, "xrstor (%rdi)");
NATIVE(xrstor64, "xrstor64 (%rdi)");

static const struct {
	uint8_t code[5], len;
	void (*native)(void);
} ops[OPS] = {
	[FXSAVE] = { { 0x0f, 0xae, 0x07 }, 3, native_fxsave },
	[FXSAVE64] = { { 0x48, 0x0f, 0xae, 0x07 }, 4, native_fxsave64 },
	[FXRSTOR] = { { 0x0f, 0xae, 0x0f }, 3, native_fxrstor },
	[FXRSTOR64] = { { 0x48, 0x0f, 0xae, 0x0f }, 4, native_fxrstor64 },
	[XSAVE] = { { 0x0f, 0xae, 0x27 }, 3, native_xsave },
	[XSAVE64] = { { 0x48, 0x0f, 0xae, 0x27 }, 4, native_xsave64 },
	[XSAVEOPT64] = { { 0x48, 0x0f, 0xae, 0x37 }, 4, native_xsaveopt64 },
	[XSAVEC] = { { 0x0f, 0xc7, 0x27 }, 3, native_xsavec },
	[XSAVEC64] = { { 0x48, 0x0f, 0xc7, 0x27 }, 4, native_xsavec64 },
	[XRSTOR] = { { 0x0f, 0xae, 0x2f }, 3, native_xrstor },
	[XRSTOR64] = { { 0x48, 0x0f, 0xae, 0x2f }, 4, native_xrstor64 },
	[XSAVES64] = { { 0x48, 0x0f, 0xc7, 0x2f }, 4, NULL },
	[XRSTORS64] = { { 0x48, 0x0f, 0xc7, 0x1f }, 4, NULL },
	[XGETBV] = { { 0x0f, 0x01, 0xd0 }, 3, NULL },
	[XSETBV] = { { 0x0f, 0x01, 0xd1 }, 3, NULL },
};

/* -- One vCPU with XSAVE enabled ---------------------------------------------------------------------------- */

static struct tiny *t;
static bool has_xsave, has_xsavec, has_xsaveopt, has_xsaves;

static uint64_t host_xcr0(void)
{
	uint32_t lo, hi;

	__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

static int setup(void **state)
{
	t = tiny_new();
	has_xsave = cpuid_has(&t->cpuid, "xsave");
	has_xsavec = cpuid_has(&t->cpuid, "xsavec");
	has_xsaveopt = cpuid_has(&t->cpuid, "xsaveopt");
	has_xsaves = cpuid_has(&t->cpuid, "xsaves");
	return 0;
}

static int teardown(void **state)
{
	tiny_free(t);
	return 0;
}

static void enter(enum tiny_mode mode, unsigned cpl)
{
	tiny_enter(t, mode, cpl);
	t->v->s.cr4 |= CR4_OSFXSR;
	if (has_xsave) {
		t->v->s.cr4 |= CR4_OSXSAVE;
		t->v->s.xcr0 = t->cpuid.xcr0_allowed;
	}
	tiny_state_changed(t);
}

/* Run one instruction in the guest: TINY_HLT, or the vector of its fault. */
static int run(enum op op, uint64_t rdi, uint64_t mask)
{
	static const uint8_t hlt[] = { 0xf4 }, ud[] = { 0x0f, 0xff, 0xc0 };
	struct x86_state *s = &t->v->s;

	tiny_put(t, TINY_CODE, ops[op].code, ops[op].len);
	if (s->cpl == 0)
		tiny_put(t, TINY_CODE + ops[op].len, hlt, sizeof(hlt));
	else
		tiny_put(t, TINY_CODE + ops[op].len, ud, sizeof(ud));
	s->rip = TINY_CODE;
	s->gpr[R_DI] = rdi;
	s->gpr[R_AX] = (uint32_t)mask;
	s->gpr[R_DX] = mask >> 32;
	tiny_state_changed(t);
	return tiny_run(t);
}

/* The same where no fault is expected; in ring 3 the #UD behind it is the end. */
static void run_ok(enum op op, uint64_t rdi, uint64_t mask)
{
	unsigned cpl = t->v->s.cpl;
	struct x86_state s = t->v->s;
	int rc = run(op, rdi, mask);

	if (cpl == 0) {
		assert_int_equal(rc, TINY_HLT);
		return;
	}
	assert_int_equal(rc, X86_UD);
	assert_int_equal(t->frame.rip, TINY_CODE + ops[op].len);
	s.fpu = t->v->s.fpu;
	t->v->s = s;
	tiny_state_changed(t);
}

/* -- Random images --------------------------------------------------------------------------------------------- */

static uint64_t seed = 0x1234567;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* An area in the standard format that may be loaded. Pointers have 32 bits: wider ones have a test of their own. */
static void random_image(uint8_t *a, uint64_t xstate_bv)
{
	for (unsigned i = 0; i < AREA; i += 8)
		put_le64(a + i, rnd());
	put_le64(a + 8, (uint32_t)rnd());
	put_le64(a + 16, (uint32_t)rnd());
	put_le32(a + 24, (uint32_t)rnd() & t->cpuid.mxcsr_mask & 0xffff);
	memset(a + 512, 0, 64);
	put_le64(a + 512, xstate_bv);
}

struct step {
	enum op op;
	uint64_t mask;
	uint8_t *host;  /* native operand */
	uint64_t guest; /* the guest's */
};

/* The three steps on the host, with no other use of these registers between them. */
static void run_native(const struct step *s)
{
	static _Alignas(64) uint8_t own[8192];
	struct {
		void (*fn)(void);
		uint8_t *area;
		uint64_t lo, hi;
	} list[STEPS];
	void *next = list;
	uint64_t n = STEPS;

	for (unsigned i = 0; i < STEPS; i++) {
		list[i].fn = ops[s[i].op].native;
		list[i].area = s[i].host;
		list[i].lo = (uint32_t)s[i].mask;
		list[i].hi = s[i].mask >> 32;
	}
	memset(own, 0, sizeof(own));
	__asm__ volatile("sub $128, %%rsp\n"
			 "mov $-1, %%eax\n"
			 "mov $-1, %%edx\n"
			 "xsave64 (%[own])\n"
			 "1: mov 8(%[list]), %%rdi\n"
			 "mov 16(%[list]), %%rax\n"
			 "mov 24(%[list]), %%rdx\n"
			 "call *(%[list])\n"
			 "add $32, %[list]\n"
			 "dec %[n]\n"
			 "jnz 1b\n"
			 "mov $-1, %%eax\n"
			 "mov $-1, %%edx\n"
			 "xrstor64 (%[own])\n"
			 "add $128, %%rsp\n"
			 : [list] "+r"(next), [n] "+r"(n)
			 : [own] "r"(own)
			 : "rax", "rdx", "rdi", "memory", "cc");
}

/* The first byte that differs, or -1. */
static int difference(const uint8_t *host, const uint8_t *guest)
{
	for (int i = 0; i < AREA; i++)
		if (guest[i] != host[i])
			return i;
	return -1;
}

/*
 * Run the steps in the guest, and on the host, and compare all areas. The host has three attempts: when its
 * kernel takes the CPU away in between, a component in its initial configuration may come back as "in use".
 */
static void compare(const struct step *s, const char *what, unsigned n)
{
	static uint8_t before[STEPS][AREA], guest[STEPS][AREA];
	int differs = -1;
	unsigned i = 0;

	for (i = 0; i < STEPS; i++) {
		memcpy(before[i], s[i].host, AREA);
		tiny_put(t, s[i].guest, before[i], AREA);
	}
	for (i = 0; i < STEPS; i++)
		run_ok(s[i].op, s[i].guest, s[i].mask);
	for (i = 0; i < STEPS; i++)
		tiny_get(t, s[i].guest, guest[i], AREA);
	for (unsigned attempt = 0; attempt < 3; attempt++) {
		for (i = 0; i < STEPS; i++)
			memcpy(s[i].host, before[i], AREA);
		run_native(s);
		differs = -1;
		for (i = 0; i < STEPS && differs < 0; i++)
			differs = difference(s[i].host, guest[i]);
		if (differs < 0)
			return;
	}
	fail_msg("%s, case %u: byte %d of area %u is %02x, on the host %02x", what, n, differs, i - 1,
		 guest[i - 1][differs], s[i - 1].host[differs]);
}

/*
 * Load a full random state, then another image with a random mask, then save with a random mask; in the
 * guest and on the host. The saved areas are equal, what no one writes included.
 */
static void round_trips(enum op load, enum op save, bool compacted, unsigned cases, const char *what)
{
	static _Alignas(64) uint8_t area[STEPS][AREA + 64];
	uint64_t all = t->cpuid.xcr0_allowed;

	enter(TINY_LONG, 3);
	for (unsigned n = 0; n < cases; n++) {
		uint64_t mask = rnd() & (n & 1 ? ~0ull : all);
		struct step s[STEPS] = {
			{ XRSTOR64, all, area[0], BASE_OF(0) },
			{ load, rnd() & all, area[1], BASE_OF(1) },
			{ save, mask & all, area[2], BASE_OF(2) },
		};

		random_image(area[0], all);
		random_image(area[1], rnd() & all);
		random_image(area[2], rnd());
		if (compacted) { /* let the host make an image, and blank some of it */
			struct step make[STEPS] = { s[0], s[0], { XSAVEC64, rnd() & all, area[1], 0 } };

			run_native(make);
			put_le64(area[1] + 512, get_le64(area[1] + 512) & rnd());
			memset(area[1] + 528, 0, 48);
		}
		compare(s, what, n);
	}
}

static void test_against_the_host(void **state)
{
	static const struct {
		enum op load, save;
		bool compacted;
		const char *what;
	} pairs[] = {
		{ XRSTOR64, XSAVE64, false, "XRSTOR64, XSAVE64" },
		{ XRSTOR, XSAVE, false, "XRSTOR, XSAVE" },
		{ XRSTOR64, XSAVEOPT64, false, "XRSTOR64, XSAVEOPT64" },
		{ XRSTOR64, XSAVEC64, false, "XRSTOR64, XSAVEC64" },
		{ XRSTOR, XSAVEC, false, "XRSTOR, XSAVEC" },
		{ XRSTOR64, XSAVE64, true, "compacted XRSTOR64, XSAVE64" },
		{ XRSTOR, XSAVEC64, true, "compacted XRSTOR, XSAVEC64" },
		{ XRSTOR64, FXSAVE64, false, "XRSTOR64, FXSAVE64" },
		{ XRSTOR64, FXSAVE, false, "XRSTOR64, FXSAVE" },
		{ FXRSTOR64, XSAVE64, false, "FXRSTOR64, XSAVE64" },
		{ FXRSTOR, FXSAVE, false, "FXRSTOR, FXSAVE" },
	};

	if (!has_xsave || (t->cpuid.xcr0_allowed & ~host_xcr0()))
		skip();
	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		enum op save = pairs[i].save;

		if ((save == XSAVEC || save == XSAVEC64 || pairs[i].compacted) && !has_xsavec)
			continue;
		if (save == XSAVEOPT64 && !has_xsaveopt)
			continue;
		round_trips(pairs[i].load, save, pairs[i].compacted, 500, pairs[i].what);
	}
}

/* 64-bit pointers with and without REX.W; FCW's, FSW's and FOP's reserved bits. */
static void test_x87_fields(void **state)
{
	static _Alignas(64) uint8_t image[512], out[512];

	enter(TINY_LONG, 0);
	memset(image, 0, sizeof(image));
	put_le16(image, 0xffff & ~1);     /* #I unmasked */
	put_le16(image + 2, 0x7f01);      /* and pending */
	put_le16(image + 6, 0xffff);
	put_le64(image + 8, 0x0000123456789abc);
	put_le64(image + 16, 0x00007edcba987654);
	put_le32(image + 24, 0x1f80);
	tiny_put(t, BASE_OF(0), image, 512);
	run_ok(FXRSTOR64, BASE_OF(0), 0);
	run_ok(FXSAVE64, BASE_OF(1), 0);
	tiny_get(t, BASE_OF(1), out, 512);
	assert_int_equal(get_le16(out), 0x1f7e);
	assert_int_equal(get_le16(out + 2), 0xff81); /* ES and B follow */
	assert_int_equal(get_le16(out + 6), 0x7ff);
	assert_int_equal(get_le64(out + 8), 0x0000123456789abc);
	assert_int_equal(get_le64(out + 16), 0x00007edcba987654);
	run_ok(FXSAVE, BASE_OF(1), 0);
	tiny_get(t, BASE_OF(1), out, 512);
	assert_int_equal(get_le64(out + 8), 0x56789abc); /* no selectors: ZERO_FCS_FDS */
	assert_int_equal(get_le64(out + 16), 0xba987654);
	run_ok(FXRSTOR, BASE_OF(0), 0);
	assert_int_equal(t->v->s.fpu.fip, 0x56789abc);
	assert_int_equal(get_le32(out + 28), t->cpuid.mxcsr_mask);
}

/* Outside of 64-bit mode the upper eight registers and their bytes are left alone (SDM vol. 1, 13.5). */
static void test_legacy_mode(void **state)
{
	static _Alignas(64) uint8_t area[AREA], want[AREA];
	struct x86_fpu before;
	uint64_t all = t->cpuid.xcr0_allowed;

	enter(TINY_PROT32, 0);
	random_image(area, all);
	tiny_put(t, BASE_OF(0), area, AREA);
	memset(t->v->s.fpu.zmm, 0x11, sizeof(t->v->s.fpu.zmm));
	before = t->v->s.fpu;
	run_ok(FXRSTOR, BASE_OF(0), 0);
	assert_memory_equal(t->v->s.fpu.zmm[7], area + 160 + 7 * 16, 16);
	assert_memory_equal(t->v->s.fpu.zmm[8], before.zmm[8], 64);
	memset(want, 0xcc, AREA);
	tiny_put(t, BASE_OF(1), want, AREA);
	run_ok(FXSAVE, BASE_OF(1), 0);
	tiny_get(t, BASE_OF(1), area, AREA);
	assert_memory_equal(area + 288, want + 288, 512);
	if (!has_xsave)
		return;
	t->v->s.fpu = before;
	run_ok(XRSTOR, BASE_OF(0), all);
	for (unsigned i = 8; i < 32; i++)
		assert_memory_equal(t->v->s.fpu.zmm[i], before.zmm[i], 64);
	memset(want + 512, 0, 64);
	tiny_put(t, BASE_OF(1), want, AREA);
	run_ok(XSAVE, BASE_OF(1), all);
	tiny_get(t, BASE_OF(1), area, AREA);
	assert_memory_equal(area + 288, want + 288, 512 - 288);
	if (all & XCR0_AVX512) {
		uint32_t hi16 = t->cpuid.xsave[7].offset, hi256 = t->cpuid.xsave[6].offset;

		assert_memory_equal(area + hi16, want + hi16, 1024);
		assert_memory_equal(area + hi256 + 256, want + hi256 + 256, 256);
		assert_memory_equal(area + hi256, t->v->s.fpu.zmm[0] + 32, 32);
	}
}

/* -- Faults ------------------------------------------------------------------------------------------------------ */

static void expect_fault(enum op op, uint64_t rdi, uint64_t mask, int vector, const char *what)
{
	struct x86_fpu before = t->v->s.fpu;
	uint64_t xcr0 = t->v->s.xcr0;
	int rc = run(op, rdi, mask);

	if (rc != vector || t->frame.rip != TINY_CODE)
		fail_msg("%s: op %d gives %d at %#lx, not %d", what, op, rc, (unsigned long)t->frame.rip, vector);
	if (vector == X86_GP)
		assert_int_equal(t->frame.err, 0);
	assert_memory_equal(&t->v->s.fpu, &before, sizeof(before));
	assert_int_equal(t->v->s.xcr0, xcr0);
}

static void test_device_not_available(void **state)
{
	enter(TINY_LONG, 0);
	t->v->s.cr0 |= CR0_TS;
	expect_fault(FXSAVE, BASE_OF(0) + 1, 0, X86_NM, "TS, before the alignment");
	enter(TINY_LONG, 0);
	t->v->s.cr0 |= CR0_EM;
	expect_fault(FXRSTOR, BASE_OF(0), 0, X86_NM, "EM");
	if (!has_xsave)
		return;
	enter(TINY_LONG, 0);
	t->v->s.cr0 |= CR0_TS;
	expect_fault(XSAVE, BASE_OF(0), 1, X86_NM, "TS");
	enter(TINY_LONG, 0);
	t->v->s.cr0 |= CR0_EM;
	run_ok(XSAVE, BASE_OF(0), 1); /* EM is no matter here */
	enter(TINY_LONG, 0);
	t->v->s.cr0 |= CR0_TS;
	t->v->s.cr4 &= ~CR4_OSXSAVE;
	expect_fault(XRSTOR, BASE_OF(0), 1, X86_UD, "OSXSAVE clear comes before TS");
	enter(TINY_LONG, 0);
	t->v->s.cr4 &= ~CR4_OSXSAVE;
	expect_fault(XGETBV, 0, 0, X86_UD, "XGETBV without OSXSAVE");
	enter(TINY_LONG, 0);
	t->v->s.cr4 &= ~CR4_OSXSAVE;
	expect_fault(XSETBV, 0, 1, X86_UD, "XSETBV without OSXSAVE");
}

static void test_alignment(void **state)
{
	static const enum op fx[] = { FXSAVE, FXSAVE64, FXRSTOR, FXRSTOR64 };
	static const enum op xs[] = { XSAVE, XSAVE64, XRSTOR, XRSTOR64 };

	for (unsigned i = 0; i < ARRAY_SIZE(fx); i++) {
		enter(TINY_LONG, 3);
		expect_fault(fx[i], BASE_OF(0) + 8, 0, X86_GP, "8 off");
		enter(TINY_LONG, 3);
		expect_fault(fx[i], 0x0000900000000000, 0, X86_GP, "not canonical");
	}
	for (unsigned i = 0; has_xsave && i < ARRAY_SIZE(xs); i++) {
		enter(TINY_LONG, 3);
		expect_fault(xs[i], BASE_OF(0) + 32, 0, X86_GP, "32 off");
	}
}

/* One image with one thing wrong. */
static void bad_image(enum op op, unsigned off, uint64_t val, bool compacted, uint64_t mask, const char *what)
{
	static _Alignas(64) uint8_t a[AREA];

	memset(a, 0, AREA);
	put_le16(a, 0x37f);
	put_le32(a + 24, 0x1f80);
	if (compacted)
		put_le64(a + 520, BIT(63) | 3);
	if (off == 24)
		put_le32(a + off, (uint32_t)val);
	else
		put_le64(a + off, val);
	tiny_put(t, BASE_OF(0), a, AREA);
	enter(TINY_LONG, op == XRSTORS64 ? 0 : 3);
	expect_fault(op, BASE_OF(0), mask, X86_GP, what);
}

static void test_bad_images(void **state)
{
	bad_image(FXRSTOR64, 24, 0x80000000, false, 0, "MXCSR");
	if (!has_xsave)
		return;
	bad_image(XRSTOR64, 24, BIT(31), false, XCR0_SSE, "MXCSR with SSE, though XSTATE_BV is 0");
	if (t->cpuid.xcr0_allowed & XCR0_AVX)
		bad_image(XRSTOR64, 24, BIT(31), false, XCR0_AVX, "MXCSR with AVX");
	bad_image(XRSTOR64, 512, BIT(8), false, 0, "XSTATE_BV beyond XCR0, even with an empty mask");
	bad_image(XRSTOR64, 512, BIT(62), false, 1, "XSTATE_BV");
	bad_image(XRSTOR64, 520, 1, false, 1, "XCOMP_BV without bit 63");
	bad_image(XRSTOR64, 528, 1, false, 1, "header bytes 23:16");
	if (!has_xsavec)
		return;
	bad_image(XRSTOR64, 512, 4, true, 1, "XSTATE_BV not in XCOMP_BV");
	bad_image(XRSTOR64, 520, BIT(63) | BIT(9), true, 1, "XCOMP_BV beyond XCR0");
	bad_image(XRSTOR64, 528, 1, true, 1, "header byte 16");
	bad_image(XRSTOR64, 568, BIT(63), true, 1, "header byte 63");
	if (has_xsaves)
		bad_image(XRSTORS64, 512, 1, false, 1, "XRSTORS of the standard format");
}

/* Compacted: an illegal MXCSR is no matter where SSE is in its initial configuration. */
static void test_compacted_mxcsr(void **state)
{
	static _Alignas(64) uint8_t a[AREA];

	if (!has_xsavec)
		skip();
	enter(TINY_LONG, 0);
	memset(a, 0, AREA);
	put_le32(a + 24, 0xffffffff);
	put_le64(a + 520, BIT(63) | 3);
	tiny_put(t, BASE_OF(0), a, AREA);
	t->v->s.fpu.mxcsr = 0x1fa0;
	run_ok(XRSTOR64, BASE_OF(0), 3);
	assert_int_equal(t->v->s.fpu.mxcsr, 0x1f80);
	t->v->s.fpu.mxcsr = 0x1fa0;
	run_ok(XRSTOR64, BASE_OF(0), 4); /* AVX alone does not touch it */
	assert_int_equal(t->v->s.fpu.mxcsr, 0x1fa0);
}

/* An area that ends in a page that is not there: nothing is written to the first, nothing loaded. */
static void test_page_faults_change_nothing(void **state)
{
	static _Alignas(64) uint8_t a[AREA], b[AREA];
	uint64_t page = TINY_HIGH + 0x10000, area = page + 0x1000 - 320;

	memset(a, 0x77, AREA);
	enter(TINY_LONG, 3);
	tiny_set_pte_flags(t, page + 0x1000, 0);
	tiny_put(t, page, a, 0x1000);
	memset(t->v->s.fpu.zmm, 0x99, sizeof(t->v->s.fpu.zmm));
	expect_fault(FXSAVE64, area, 0, X86_PF, "FXSAVE");
	assert_int_equal(t->frame.err, PF_W | PF_U);
	assert_int_equal(t->v->s.cr2, page + 0x1000);
	tiny_get(t, page, b, 0x1000);
	assert_memory_equal(a, b, 0x1000);
	enter(TINY_LONG, 3);
	tiny_set_pte_flags(t, page + 0x1000, 0);
	expect_fault(FXRSTOR64, area, 0, X86_PF, "FXRSTOR");
	if (has_xsave) {
		enter(TINY_LONG, 3);
		tiny_set_pte_flags(t, page + 0x1000, 0);
		expect_fault(XSAVE64, area, 7, X86_PF, "XSAVE");
		tiny_get(t, page, b, 0x1000);
		assert_memory_equal(a, b, 0x1000);
		enter(TINY_LONG, 3);
		tiny_set_pte_flags(t, page + 0x1000, 0);
		expect_fault(XRSTOR64, area, 7, X86_PF, "XRSTOR");
		/* a header within reach, components that are not */
		enter(TINY_LONG, 3);
		tiny_set_pte_flags(t, page + 0x1000, 0);
		memset(a, 0, 0x1000);
		put_le32(a + 0x1000 - 576 + 24, 0x1f80);
		put_le64(a + 0x1000 - 576 + 512, t->cpuid.xcr0_allowed);
		tiny_put(t, page, a, 0x1000);
		if (t->cpuid.xcr0_allowed & XCR0_AVX)
			expect_fault(XRSTOR64, page + 0x1000 - 576, 7, X86_PF, "XRSTOR of AVX");
		enter(TINY_LONG, 3);
		tiny_set_pte_flags(t, page + 0x1000, 0);
		run_ok(XRSTOR64, page + 0x1000 - 576, 3);
	}
}

/* A read-only page: a save faults, a load does not. */
static void test_read_only(void **state)
{
	static _Alignas(64) uint8_t a[AREA];

	enter(TINY_LONG, 3);
	memset(a, 0, AREA);
	put_le32(a + 24, 0x1f80);
	tiny_put(t, BASE_OF(4), a, AREA);
	tiny_set_pte_flags(t, BASE_OF(4), 5);
	run_ok(FXRSTOR64, BASE_OF(4), 0);
	expect_fault(FXSAVE64, BASE_OF(4), 0, X86_PF, "FXSAVE");
	assert_int_equal(t->frame.err, PF_P | PF_W | PF_U);
}

/* -- XSETBV, XGETBV, supervisor forms ------------------------------------------------------------------------------ */

static void test_xcr(void **state)
{
	static const uint64_t bad[] = { 0, 2, XCR0_X87 | XCR0_AVX, XCR0_X87 | BIT(9), BIT(63) | 1, 7 | XCR0_OPMASK };

	if (!has_xsave)
		skip();
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		enter(TINY_LONG, 0);
		t->v->s.gpr[R_CX] = 0;
		expect_fault(XSETBV, 0, bad[i], X86_GP, "XSETBV");
	}
	enter(TINY_LONG, 0);
	t->v->s.gpr[R_CX] = 1;
	expect_fault(XSETBV, 0, 1, X86_GP, "XCR1");
	enter(TINY_LONG, 3);
	expect_fault(XSETBV, 0, 1, X86_GP, "XSETBV in ring 3");
	enter(TINY_LONG, 0);
	t->v->s.gpr[R_CX] = 0xffffffff00000000; /* the upper half of RCX is ignored */
	run_ok(XSETBV, 0, 3);
	assert_int_equal(t->v->s.xcr0, 3);
	t->v->s.gpr[R_CX] = 0;
	run_ok(XGETBV, 0, ~0ull);
	assert_int_equal(t->v->s.gpr[R_AX], 3);
	assert_int_equal(t->v->s.gpr[R_DX], 0);
	enter(TINY_LONG, 0);
	t->v->s.gpr[R_CX] = 2;
	expect_fault(XGETBV, 0, 0, X86_GP, "XCR2");
	/* A component that XCR0 has not enabled is never saved. */
	enter(TINY_LONG, 0);
	t->v->s.xcr0 = 3;
	tiny_poke(t, BASE_OF(0) + 512, 8, 0);
	memset(t->v->s.fpu.zmm, 0x99, sizeof(t->v->s.fpu.zmm));
	run_ok(XSAVE64, BASE_OF(0), ~0ull);
	assert_int_equal(tiny_peek(t, BASE_OF(0) + 512, 8) & ~3ull, 0);
}

static void test_xgetbv_in_use(void **state)
{
	struct x86_fpu *f = &t->v->s.fpu;

	if (!cpuid_has(&t->cpuid, "xgetbv1"))
		skip();
	enter(TINY_LONG, 0);
	memset(f, 0, sizeof(*f));
	f->fcw = 0x37f;
	f->mxcsr = 0x1f80;
	t->v->s.gpr[R_CX] = 1;
	run_ok(XGETBV, 0, 0);
	assert_int_equal(t->v->s.gpr[R_AX], 0);
	f->mxcsr = 0x1f81;
	t->v->s.gpr[R_CX] = 1;
	run_ok(XGETBV, 0, 0);
	assert_int_equal(t->v->s.gpr[R_AX], XCR0_SSE);
	f->mxcsr = 0x1f80;
	f->zmm[3][17] = 1;
	f->ftw = 1;
	t->v->s.gpr[R_CX] = 1;
	run_ok(XGETBV, 0, 0);
	assert_int_equal(t->v->s.gpr[R_AX], (XCR0_AVX & t->v->s.xcr0) | XCR0_X87);
}

static void test_supervisor_forms(void **state)
{
	static _Alignas(64) uint8_t a[AREA];
	struct x86_fpu f;
	uint64_t all = t->cpuid.xcr0_allowed;

	if (!has_xsaves)
		skip();
	enter(TINY_LONG, 3);
	expect_fault(XSAVES64, BASE_OF(0), all, X86_GP, "XSAVES in ring 3");
	enter(TINY_LONG, 3);
	expect_fault(XRSTORS64, BASE_OF(0), all, X86_GP, "XRSTORS in ring 3");
	enter(TINY_LONG, 0);
	random_image(a, all);
	tiny_put(t, BASE_OF(0), a, AREA);
	run_ok(XRSTOR64, BASE_OF(0), all);
	f = t->v->s.fpu;
	memset(a, 0, AREA);
	tiny_put(t, BASE_OF(1), a, AREA);
	run_ok(XSAVES64, BASE_OF(1), ~0ull);
	assert_int_equal(tiny_peek(t, BASE_OF(1) + 520, 8), all | BIT(63));
	memset(&t->v->s.fpu, 0, sizeof(f));
	run_ok(XRSTORS64, BASE_OF(1), ~0ull);
	/* AMD keeps the x87 pointers for pending exceptions only */
	if (!(f.fsw & 0x80))
		f.fip = t->v->s.fpu.fip, f.fdp = t->v->s.fpu.fdp, f.fop = t->v->s.fpu.fop;
	assert_memory_equal(&t->v->s.fpu, &f, sizeof(f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_the_host),
		cmocka_unit_test(test_x87_fields),
		cmocka_unit_test(test_legacy_mode),
		cmocka_unit_test(test_device_not_available),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_bad_images),
		cmocka_unit_test(test_compacted_mxcsr),
		cmocka_unit_test(test_page_faults_change_nothing),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_xcr),
		cmocka_unit_test(test_xgetbv_in_use),
		cmocka_unit_test(test_supervisor_forms),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
