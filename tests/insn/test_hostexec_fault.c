/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host CPU's instructions raise for the guest: control bits, alignment, floating-point errors, masks
 * and gathers over the end of a page, device memory, scattered pages, and what the host may never execute.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "cpu/interp/context.h"
#include "cpu/interp/hostexec.h"
#include "tiny.h"

#define PTE_PWU 7u /* present, writable, user */
#define PTE_D   BIT(6)
#define LO   TINY_HIGH        /* two neighbours in linear memory */
#define HI   (TINY_HIGH + 0x1000u)
#define FAR_PAGE 0x200000u    /* a frame that does not follow LO's */

static struct tiny *t;
static struct x86_state *s;

static int setup(void **state)
{
	t = tiny_new();
	s = &t->v->s;
	return 0;
}

static int teardown(void **state)
{
	tiny_free(t);
	return 0;
}

static void enter(enum tiny_mode mode)
{
	tiny_enter(t, mode, 0);
	assert_int_equal(hostexec_catch_signals(), 0); /* cmocka has its own in each test */
	s->cr0 = (s->cr0 & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE;
	s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	s->xcr0 = t->cpuid.xcr0_allowed;
	s->fpu.fcw = 0x37f;
	s->fpu.fsw = s->fpu.ftw = 0;
	s->fpu.mxcsr = 0x1f80;
	memset(s->fpu.zmm, 0, sizeof(s->fpu.zmm));
	s->gpr[R_SI] = LO;
	tiny_set_pte(t, LO, LO | PTE_PWU);
	tiny_set_pte(t, HI, HI | PTE_PWU);
	tiny_state_changed(t);
}

static int run(const unsigned char *code, const unsigned char *end)
{
	tiny_put(t, TINY_CODE, code, (size_t)(end - code));
	tiny_state_changed(t);
	return tiny_run(t);
}
#define RUN(name) run(name, name##_end)

static void need(const char *feature)
{
	if (!cpuid_has(&t->cpuid, feature))
		skip();
}

/* -- Control bits: SDM vol. 2, tables 2-17 to 2-66; vol. 3, table 24-1 ----------------------------------- */

GUEST(i_fld1, 64, "fld1\nhlt\n");
GUEST(i_fwait, 64, "fwait\nhlt\n");
GUEST(i_mmx, 64, "paddb %mm0, %mm1\nhlt\n");
GUEST(i_sse, 64, "paddb %xmm0, %xmm1\nhlt\n");
GUEST(i_mxcsr, 64, "stmxcsr (%rsi)\nhlt\n");
GUEST(i_avx, 64, "vpaddb %xmm0, %xmm1, %xmm2\nhlt\n");
GUEST(i_zero, 64, "vzeroupper\nhlt\n");
GUEST(i_evex, 64, "vpaddd %zmm0, %zmm1, %zmm2\nhlt\n");
GUEST(i_kmask, 64, "kaddw %k0, %k1, %k2\nhlt\n");
GUEST(i_bmi, 64, "andn %eax, %ecx, %edx\nhlt\n");
GUEST(i_int, 64, "xadd %eax, %ecx\nmovnti %eax, (%rsi)\ncrc32l %eax, %ecx\nhlt\n");

enum { I_FLD1, I_FWAIT, I_MMX, I_SSE, I_MXCSR, I_AVX, I_ZERO, I_EVEX, I_KMASK, I_BMI, I_INT, I_COUNT };

static int run_class(unsigned which)
{
	static const struct {
		const unsigned char *code, *end;
		const char *needs;
	} codes[I_COUNT] = {
		[I_FLD1] = { i_fld1, i_fld1_end, "fpu" },     [I_FWAIT] = { i_fwait, i_fwait_end, "fpu" },
		[I_MMX] = { i_mmx, i_mmx_end, "mmx" },	      [I_SSE] = { i_sse, i_sse_end, "sse2" },
		[I_MXCSR] = { i_mxcsr, i_mxcsr_end, "sse" },  [I_AVX] = { i_avx, i_avx_end, "avx" },
		[I_ZERO] = { i_zero, i_zero_end, "avx" },     [I_EVEX] = { i_evex, i_evex_end, "avx512f" },
		[I_KMASK] = { i_kmask, i_kmask_end, "avx512dq" }, [I_BMI] = { i_bmi, i_bmi_end, "bmi1" },
		[I_INT] = { i_int, i_int_end, "sse4_2" },
	};

	if (!cpuid_has(&t->cpuid, codes[which].needs))
		return TINY_HLT - 1000; /* not to be judged */
	return run(codes[which].code, codes[which].end);
}

/* One state of the control bits, and what each instruction does in it. */
static void check_classes(uint64_t cr0_set, uint64_t cr4_clear, uint64_t xcr0_clear,
			  const int expected[I_COUNT])
{
	for (unsigned i = 0; i < I_COUNT; i++) {
		int result;

		enter(TINY_LONG);
		s->cr0 |= cr0_set;
		s->cr4 &= ~cr4_clear;
		s->xcr0 &= ~xcr0_clear;
		result = run_class(i);
		if (result != TINY_HLT - 1000 && result != expected[i])
			fail_msg("instruction %u: %d, not %d", i, result, expected[i]);
	}
}

#define OK TINY_HLT

static void test_control_bits(void **state)
{
	static const int ok[I_COUNT] = { OK, OK, OK, OK, OK, OK, OK, OK, OK, OK, OK };
	static const int ts[I_COUNT] = {X86_NM, X86_NM, X86_NM, X86_NM, X86_NM, X86_NM,
					X86_NM, X86_NM, X86_NM, OK,	OK};
	static const int em[I_COUNT] = { X86_NM, OK, X86_UD, X86_UD, X86_UD, OK, OK, OK, OK, OK, OK };
	static const int em_ts[I_COUNT] = {X86_NM, X86_NM, X86_UD, X86_UD, X86_UD, X86_NM,
					   X86_NM, X86_NM, X86_NM, OK,	   OK};
	static const int fxsr[I_COUNT] = { OK, OK, OK, X86_UD, X86_UD, OK, OK, OK, OK, OK, OK };
	static const int osx[I_COUNT] = { OK, OK, OK, OK, OK, X86_UD, X86_UD, X86_UD, X86_UD, OK, OK };
	static const int zmm[I_COUNT] = { OK, OK, OK, OK, OK, OK, OK, X86_UD, X86_UD, OK, OK };

	check_classes(0, 0, 0, ok);
	check_classes(CR0_TS, 0, 0, ts);
	check_classes(CR0_EM, 0, 0, em);
	check_classes(CR0_EM | CR0_TS, 0, 0, em_ts);
	check_classes(0, CR4_OSFXSR, 0, fxsr);
	check_classes(0, CR4_OSXSAVE, 0, osx);
	check_classes(0, 0, XCR0_AVX, osx);
	check_classes(0, 0, XCR0_HI16, zmm);
}

/* WAIT looks at TS only with MP. */
static void test_fwait_mp(void **state)
{
	enter(TINY_LONG);
	s->cr0 = (s->cr0 | CR0_TS) & ~CR0_MP;
	assert_int_equal(RUN(i_fwait), TINY_HLT);
}

GUEST(real_vex, 16, "vpaddb %xmm0, %xmm1, %xmm2\nhlt\n");
GUEST(real_bmi, 16, "andn %eax, %ecx, %edx\nhlt\n");
GUEST(real_sse, 16, "paddb %xmm0, %xmm1\nhlt\n");

static void test_real_mode(void **state)
{
	enter(TINY_REAL);
	assert_int_equal(RUN(real_vex), X86_UD);
	enter(TINY_REAL);
	assert_int_equal(RUN(real_bmi), X86_UD);
	enter(TINY_REAL);
	assert_int_equal(RUN(real_sse), TINY_HLT);
}

/* -- Alignment ------------------------------------------------------------------------------------------- */

GUEST(movaps_load, 64, "movaps (%rsi), %xmm1\nhlt\n");
GUEST(paddd_load, 64, "paddd (%rsi), %xmm1\nhlt\n");
GUEST(movups_load, 64, "movups (%rsi), %xmm1\nhlt\n");
GUEST(vmovaps_load, 64, "vmovaps (%rsi), %ymm1\nhlt\n");
GUEST(vpaddd_load, 64, "vpaddd (%rsi), %ymm1, %ymm1\nhlt\n");
GUEST(cmpxchg16b, 64, "lock cmpxchg16b (%rsi)\nhlt\n");

static int run_misaligned(const unsigned char *code, const unsigned char *end, unsigned by)
{
	enter(TINY_LONG);
	s->gpr[R_SI] = LO + by;
	return run(code, end);
}
#define MISALIGNED(name, by) run_misaligned(name, name##_end, by)

static void test_alignment(void **state)
{
	assert_int_equal(MISALIGNED(movaps_load, 8), X86_GP);
	assert_int_equal(t->frame.err, 0);
	assert_int_equal(t->frame.rip, TINY_CODE);
	assert_int_equal(MISALIGNED(paddd_load, 4), X86_GP);
	assert_int_equal(MISALIGNED(movups_load, 1), TINY_HLT);
	assert_int_equal(MISALIGNED(movaps_load, 16), TINY_HLT);
	assert_int_equal(MISALIGNED(cmpxchg16b, 8), X86_GP);
	need("avx2");
	assert_int_equal(MISALIGNED(vmovaps_load, 16), X86_GP);
	assert_int_equal(MISALIGNED(vpaddd_load, 4), TINY_HLT);
}

/* #AC at ring 3: vectors by 16 at most, masked ones by element, what is forbidden anyway stays #GP. */
static void test_alignment_check(void **state)
{
	static const struct {
		const unsigned char *code, *end;
		unsigned by;
		int result;
	} cases[] = {
		{ movups_load, movups_load_end, 8, X86_AC },	 { movups_load, movups_load_end, 16, TINY_HLT },
		{ movaps_load, movaps_load_end, 8, X86_GP },	 { cmpxchg16b, cmpxchg16b_end, 4, X86_GP },
		{ vpaddd_load, vpaddd_load_end, 16, TINY_HLT }, { vpaddd_load, vpaddd_load_end, 4, X86_AC },
	};

	need("avx2");
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		int result;

		enter(TINY_LONG);
		tiny_enter(t, TINY_LONG, 3);
		s->cr0 = (s->cr0 & ~(CR0_EM | CR0_TS)) | CR0_AM;
		s->cr4 |= CR4_OSFXSR | CR4_OSXSAVE;
		s->xcr0 = t->cpuid.xcr0_allowed;
		s->rflags |= FL_AC;
		s->gpr[R_SI] = LO + cases[i].by;
		result = run(cases[i].code, cases[i].end);
		/* Ring 3 may not halt. */
		if (result == X86_GP && t->frame.rip != TINY_CODE)
			result = TINY_HLT;
		if (result != cases[i].result)
			fail_msg("case %u: %d, not %d", i, result, cases[i].result);
	}
}

/* Alignment is checked before the translation. */
static void test_misaligned_and_absent(void **state)
{
	enter(TINY_LONG);
	tiny_set_pte(t, LO, 0);
	s->gpr[R_SI] = LO + 8;
	assert_int_equal(RUN(movaps_load), X86_GP);
	enter(TINY_LONG);
	tiny_set_pte(t, LO, 0);
	s->gpr[R_SI] = LO + 16;
	assert_int_equal(RUN(movaps_load), X86_PF);
	assert_int_equal(s->cr2, LO + 16);
	assert_int_equal(t->frame.err, 0);
}

/* -- Floating-point errors ------------------------------------------------------------------------------- */

GUEST(divps, 64, "divps (%rsi), %xmm1\nhlt\n");

#define MXCSR_ZE 0x0004u
#define MXCSR_ZM 0x0200u

static void enter_divps(void)
{
	static const float one[4] = { 1, 1, 1, 1 };

	enter(TINY_LONG);
	memcpy(s->fpu.zmm[1], one, sizeof(one));
	tiny_put(t, LO, (const float[4]){ 2, 0, 2, 2 }, 16);
	s->fpu.mxcsr &= ~MXCSR_ZM;
}

static void test_simd_error(void **state)
{
	static const float one[4] = { 1, 1, 1, 1 };

	enter_divps();
	assert_int_equal(RUN(divps), X86_XM);
	assert_int_equal(t->frame.rip, TINY_CODE);
	assert_int_equal(s->fpu.mxcsr, 0x1f80 - MXCSR_ZM + MXCSR_ZE);
	assert_memory_equal(s->fpu.zmm[1], one, sizeof(one));

	enter_divps();
	s->cr4 &= ~CR4_OSXMMEXCPT;
	assert_int_equal(RUN(divps), X86_UD);

	enter_divps();
	s->fpu.mxcsr |= MXCSR_ZM;
	assert_int_equal(RUN(divps), TINY_HLT);
	assert_int_equal(s->fpu.mxcsr, 0x1f80 | MXCSR_ZE);
}

GUEST(ldmxcsr_bad, 64, "movl $0x80000000, (%rsi)\nldmxcsr (%rsi)\nhlt\n");

static void test_ldmxcsr_reserved(void **state)
{
	enter(TINY_LONG);
	assert_int_equal(RUN(ldmxcsr_bad), X86_GP);
	assert_int_equal(s->fpu.mxcsr, 0x1f80);
}

/* 1/0 with ZE unmasked: the division itself completes, the next waiting instruction raises #MF. */
GUEST(x87_next, 64, "fld1\nfldz\nfdivrp\n1: nop\nfld1\nhlt\n");
GUEST(x87_nowait, 64, "fld1\nfldz\nfdivrp\nfnstsw %ax\nfnclex\nfld1\nhlt\n");
GUEST(x87_mmx, 64, "fld1\nfldz\nfdivrp\npaddb %mm0, %mm1\nhlt\n");
GUEST(x87_wait, 64, "fld1\nfldz\nfdivrp\nfwait\nhlt\n");

static void test_x87_error(void **state)
{
	enter(TINY_LONG);
	s->fpu.fcw = 0x37b;
	assert_int_equal(RUN(x87_next), X86_MF);
	assert_int_equal(t->frame.rip, TINY_CODE + 7);
	assert_int_equal(s->fpu.fsw & 0x8084, 0x8084);
	enter(TINY_LONG);
	s->fpu.fcw = 0x37b;
	assert_int_equal(RUN(x87_nowait), TINY_HLT);
	assert_int_equal(s->gpr[R_AX] & 0x8084, 0x8084);
	enter(TINY_LONG);
	s->fpu.fcw = 0x37b;
	assert_int_equal(RUN(x87_mmx), X86_MF);
	enter(TINY_LONG);
	s->fpu.fcw = 0x37b;
	assert_int_equal(RUN(x87_wait), X86_MF);
}

/* What is pending comes before the memory operand's faults; and CVTPS2PI is in MMX state when it fails. */
GUEST(x87_pending_load, 64, "fld1\nfldz\nfdivrp\nfaddl (%rsi)\nhlt\n");
GUEST(cvtps2pi, 64, "cvtps2pi %xmm1, %mm1\nhlt\n");

static void test_error_order(void **state)
{
	enter(TINY_LONG);
	s->fpu.fcw = 0x37b;
	tiny_set_pte(t, LO, 0);
	assert_int_equal(RUN(x87_pending_load), X86_MF);
	enter(TINY_LONG);
	s->fpu.mxcsr = 0x1f00; /* invalid operation unmasked */
	memset(s->fpu.zmm[1], 0xff, 16);
	s->fpu.fsw = 5 << 11;
	assert_int_equal(RUN(cvtps2pi), X86_XM);
	assert_int_equal(s->fpu.ftw, 0xff);
	assert_int_equal(s->fpu.fsw, 0);
	assert_int_equal(s->fpu.mxcsr, 0x1f01);
}

GUEST(locked_82, 32, ".byte 0xf0, 0x82, 0x06, 0x7f\nhlt\n"); /* lock addb $0x7f, (%esi) by its alias */

static void test_locked_alias(void **state)
{
	enter(TINY_PROT32);
	tiny_poke(t, LO, 2, 0x1101);
	assert_int_equal(RUN(locked_82), TINY_HLT);
	assert_int_equal(tiny_peek(t, LO, 2), 0x1180);
}

/* -- Masks over the end of a page ------------------------------------------------------------------------ */

GUEST(evex_load, 64, "vmovdqu32 (%rsi), %zmm1{%k1}{z}\nhlt\n");
GUEST(evex_add, 64, "vpaddd (%rsi), %zmm2, %zmm1{%k1}\nhlt\n");
GUEST(evex_store, 64, "vmovdqu32 %zmm2, (%rsi){%k1}\nhlt\n");
GUEST(evex_compress, 64, "vpcompressd %zmm2, (%rsi){%k1}\nhlt\n");
GUEST(evex_expand, 64, "vpexpandd (%rsi), %zmm1{%k1}{z}\nhlt\n");
GUEST(evex_broadcast, 64, "vpaddd (%rsi){1to16}, %zmm2, %zmm1{%k1}\nhlt\n");
GUEST(evex_narrow, 64, "vpmovdb %zmm2, (%rsi){%k1}\nhlt\n");

/* 16 dwords at 24 bytes before HI, which is absent: elements 0 to 5 can be had. */
static void enter_masked(uint64_t k)
{
	enter(TINY_LONG);
	for (uint32_t i = 0; i < 16; i++) {
		memcpy(s->fpu.zmm[2] + 4 * i, &(uint32_t){ 100 + i }, 4);
		tiny_poke(t, HI - 24 + 4 * i, 4, 1000 + i);
	}
	tiny_set_pte(t, HI, 0);
	s->gpr[R_SI] = HI - 24;
	s->fpu.k[1] = k;
}

static uint32_t lane(unsigned reg, unsigned i)
{
	uint32_t x;

	memcpy(&x, s->fpu.zmm[reg] + 4 * i, 4);
	return x;
}

static void test_masked_load(void **state)
{
	need("avx512f");
	enter_masked(0x0025);
	assert_int_equal(RUN(evex_load), TINY_HLT);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(lane(1, i), 0x25 >> i & 1 ? 1000 + i : 0);
	enter_masked(0x0030);
	assert_int_equal(RUN(evex_add), TINY_HLT);
	assert_int_equal(lane(1, 5), 1005 + 105);
	assert_int_equal(lane(1, 3), 0);
	enter_masked(0x0041);
	memset(s->fpu.zmm[1], 0xee, 64);
	assert_int_equal(RUN(evex_load), X86_PF);
	assert_int_equal(s->cr2, HI);
	assert_int_equal(lane(1, 0), 0xeeeeeeee);
	/* Nothing selected: nothing is accessed, wherever it is. */
	enter_masked(0);
	s->gpr[R_SI] = HI;
	assert_int_equal(RUN(evex_load), TINY_HLT);
}

static void test_masked_store(void **state)
{
	need("avx512f");
	enter_masked(0x0021);
	assert_int_equal(RUN(evex_store), TINY_HLT);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(tiny_peek(t, HI - 24 + 4 * i, 4), 0x21 >> i & 1 ? 100 + i : 1000 + i);
	enter_masked(0xff00 | 1);
	assert_int_equal(RUN(evex_store), X86_PF);
	assert_int_equal(t->frame.err, PF_W);
	assert_int_equal(tiny_peek(t, HI - 24, 4), 1000);
	/* Six elements fit, from wherever they come; a seventh does not. */
	enter_masked(0xfc00);
	assert_int_equal(RUN(evex_compress), TINY_HLT);
	assert_int_equal(tiny_peek(t, HI - 4, 4), 115);
	assert_int_equal(tiny_peek(t, HI, 4), 1006);
	enter_masked(0xfe00);
	assert_int_equal(RUN(evex_compress), X86_PF);
	enter_masked(0x003f);
	s->gpr[R_SI] = HI - 6;
	assert_int_equal(RUN(evex_narrow), TINY_HLT);
	assert_int_equal(tiny_peek(t, HI - 6, 4), 0x67666564);
}

static void test_masked_forms(void **state)
{
	need("avx512f");
	enter_masked(0xa802);
	s->gpr[R_SI] = HI - 16;
	assert_int_equal(RUN(evex_expand), TINY_HLT);
	assert_int_equal(lane(1, 1), 1002);
	assert_int_equal(lane(1, 15), 1005);
	enter_masked(0x8000);
	s->gpr[R_SI] = HI - 4;
	assert_int_equal(RUN(evex_broadcast), TINY_HLT);
	assert_int_equal(lane(1, 15), 1005 + 115);
	enter_masked(0x8000);
	s->gpr[R_SI] = HI;
	assert_int_equal(RUN(evex_broadcast), X86_PF);
	enter_masked(0);
	s->gpr[R_SI] = HI;
	assert_int_equal(RUN(evex_broadcast), TINY_HLT);
}

/* A store that writes nothing leaves its page clean, whatever is read around it; one that writes does so each time. */
GUEST(evex_store_often, 64,
      "mov $3, %ecx\n"
      "1: mov (%rsi), %eax\nvmovdqu32 %zmm2, 8(%rsi){%k1}\nmov 16(%rsi), %edx\nvmovdqu8 %zmm2, 72(%rsi){%k2}\ndec %ecx\njnz 1b\nhlt\n");
GUEST(vmask_store_often, 64, "mov $3, %ecx\n1: mov (%rsi), %eax\nvpmaskmovd %ymm2, %ymm3, 8(%rsi)\ndec %ecx\njnz 1b\nhlt\n");

static void enter_clean(uint64_t k)
{
	enter_masked(k);
	s->gpr[R_SI] = HI - 1024;
	tiny_set_pte(t, HI - 1024, tiny_pte(t, HI - 1024) & ~PTE_D);
	tiny_poke(t, HI - 1024 + 8, 4, 7);
}

static bool is_dirty(void)
{
	return tiny_pte(t, HI - 1024) & PTE_D;
}

static void test_masked_dirty(void **state)
{
	need("avx512bw");
	enter_clean(0);
	assert_int_equal(RUN(evex_store_often), TINY_HLT);
	assert_false(is_dirty());
	assert_int_equal(tiny_peek(t, HI - 1024 + 8, 4), 7);
	enter_clean(2);
	assert_int_equal(RUN(evex_store_often), TINY_HLT);
	assert_true(is_dirty());
	assert_int_equal(tiny_peek(t, HI - 1024 + 8, 4), 7);
	assert_int_equal(tiny_peek(t, HI - 1024 + 12, 4), 101);
	enter_clean(0);
	memset(s->fpu.zmm[3], 0, 64);
	assert_int_equal(RUN(vmask_store_often), TINY_HLT);
	assert_false(is_dirty());
	enter_clean(0);
	memset(s->fpu.zmm[3], 0x80, 4);
	assert_int_equal(RUN(vmask_store_often), TINY_HLT);
	assert_true(is_dirty());
	assert_int_equal(tiny_peek(t, HI - 1024 + 8, 4), 100);
}

GUEST(vmask_load, 64, "vmaskmovps (%rsi), %ymm3, %ymm1\nhlt\n");
GUEST(vmask_store, 64, "vpmaskmovd %ymm2, %ymm3, (%rsi)\nhlt\n");
GUEST(maskmov, 64, "mov %rsi, %rdi\nmaskmovdqu %xmm3, %xmm2\nhlt\n");

static void test_vmaskmov(void **state)
{
	need("avx2");
	enter_masked(0);
	memset(s->fpu.zmm[3], 0x80, 24);
	assert_int_equal(RUN(vmask_load), TINY_HLT);
	assert_int_equal(lane(1, 5), 1005);
	assert_int_equal(lane(1, 6), 0);
	enter_masked(0);
	memset(s->fpu.zmm[3], 0x80, 24);
	assert_int_equal(RUN(vmask_store), TINY_HLT);
	assert_int_equal(tiny_peek(t, HI - 4, 4), 105);
	enter_masked(0);
	memset(s->fpu.zmm[3], 0x80, 28);
	assert_int_equal(RUN(vmask_store), X86_PF);
	assert_int_equal(tiny_peek(t, HI - 4, 4), 1005);
	enter_masked(0);
	memset(s->fpu.zmm[3] + 1, 0xff, 3);
	s->gpr[R_SI] = HI - 16;
	assert_int_equal(RUN(maskmov), TINY_HLT);
	assert_int_equal(tiny_peek(t, HI - 16, 4), (1002 & 0xff) | (100 & 0xffffff00));
	assert_int_equal(tiny_peek(t, HI - 12, 4), 1003);
	enter_masked(0);
	memset(s->fpu.zmm[3] + 1, 0xff, 3);
	s->gpr[R_SI] = HI - 15;
	assert_int_equal(RUN(maskmov), X86_PF);
	assert_int_equal(s->cr2, HI);
}

/* -- Gathers --------------------------------------------------------------------------------------------- */

GUEST(gather_evex, 64, "vpgatherdd (%rsi,%zmm2,4), %zmm1{%k1}\nhlt\n");
GUEST(gather_vex, 64, "vpgatherdd %xmm3, (%rsi,%xmm2,4), %xmm1\nhlt\n");
GUEST(scatter, 64, "vpscatterdd %zmm1, (%rsi,%zmm2,4){%k1}\nhlt\n");

/* Indices 0, 1, 1024 (in HI, absent), 2. */
static void enter_gather(void)
{
	static const uint32_t index[4] = { 0, 1, 1024, 2 };

	enter(TINY_LONG);
	memcpy(s->fpu.zmm[2], index, sizeof(index));
	memset(s->fpu.zmm[1], 0xcc, 64);
	memset(s->fpu.zmm[3], 0xff, 16);
	s->fpu.k[1] = 0xf;
	for (unsigned i = 0; i < 4; i++)
		tiny_poke(t, LO + 4 * index[i], 4, 500 + i);
	tiny_set_pte(t, HI, 0);
}

static void test_gather_fault(void **state)
{
	struct x86_fpu fpu;

	need("avx512f");
	enter_gather();
	assert_int_equal(RUN(gather_evex), X86_PF);
	assert_int_equal(s->cr2, HI);
	assert_int_equal(s->fpu.k[1], 0xc);
	assert_int_equal(lane(1, 0), 500);
	assert_int_equal(lane(1, 1), 501);
	assert_int_equal(lane(1, 2), 0xcccccccc);
	/* The rest, once the page is there: what is done is not done again. */
	tiny_poke(t, LO, 4, 7);
	fpu = s->fpu;
	enter(TINY_LONG);
	s->fpu = fpu;
	assert_int_equal(RUN(gather_evex), TINY_HLT);
	assert_int_equal(lane(1, 0), 500);
	assert_int_equal(lane(1, 2), 502);
	assert_int_equal(lane(1, 3), 503);
	assert_int_equal(lane(1, 4), 0xcccccccc);
	assert_int_equal(s->fpu.k[1], 0);
}

static void test_gather_vex_fault(void **state)
{
	need("avx2");
	enter_gather();
	assert_int_equal(RUN(gather_vex), X86_PF);
	assert_int_equal(s->cr2, HI);
	assert_int_equal(lane(3, 1), 0);
	assert_int_equal(lane(3, 2), 0xffffffff);
	assert_int_equal(lane(1, 1), 501);
	assert_int_equal(lane(1, 2), 0xcccccccc);
	enter_gather();
	memset(s->fpu.zmm[3] + 8, 0, 4);
	assert_int_equal(RUN(gather_vex), TINY_HLT);
	assert_int_equal(lane(1, 2), 0xcccccccc);
	assert_int_equal(lane(1, 3), 503);
	assert_int_equal(lane(1, 4), 0);
	assert_int_equal(lane(3, 0), 0);
}

static void test_scatter_fault(void **state)
{
	need("avx512f");
	enter_gather();
	assert_int_equal(RUN(scatter), X86_PF);
	assert_int_equal(t->frame.err, PF_W);
	assert_int_equal(s->fpu.k[1], 0xc);
	assert_int_equal(tiny_peek(t, LO + 4, 4), 0xcccccccc);
	assert_int_equal(tiny_peek(t, LO + 8, 4), 503);
}

/* -- Pages that are neighbours in linear memory only; device memory -------------------------------------- */

GUEST(vector_copy, 64,
      "movups (%rsi), %xmm1\npaddb %xmm1, %xmm1\nmovups %xmm1, (%rsi)\nlock xaddq %rax, 3(%rsi)\nhlt\n");

static void test_scattered_pages(void **state)
{
	uint8_t bytes[16], doubled[16];

	enter(TINY_LONG);
	tiny_set_pte(t, HI, FAR_PAGE | PTE_PWU);
	for (unsigned i = 0; i < 16; i++) {
		bytes[i] = (uint8_t)(0x11 + i);
		doubled[i] = (uint8_t)(2 * bytes[i]);
	}
	tiny_put(t, HI - 7, bytes, 7);
	tiny_put(t, FAR_PAGE, bytes + 7, 9);
	s->gpr[R_SI] = HI - 7;
	s->gpr[R_AX] = 1;
	assert_int_equal(RUN(vector_copy), TINY_HLT);
	assert_memory_equal(&s->gpr[R_AX], doubled + 3, 8);
	doubled[3]++;
	tiny_get(t, HI - 7, bytes, 7);
	tiny_get(t, FAR_PAGE, bytes + 7, 9);
	assert_memory_equal(bytes, doubled, 16);
}

GUEST(evex_extract, 64, "vextracti64x4 $1, %zmm2, (%rsi){%k1}\nhlt\n");

/* A masked store that does not suppress faults (class E6NF) leaves what is masked out alone all the same. */
static void test_scattered_masked_store(void **state)
{
	need("avx512f");
	enter(TINY_LONG);
	tiny_set_pte(t, HI, FAR_PAGE | PTE_PWU);
	memset(s->fpu.zmm[2], 0x22, 64);
	for (unsigned i = 0; i < 2; i++) {
		tiny_poke(t, HI - 16 + 8 * i, 8, 1 + i);
		tiny_poke(t, FAR_PAGE + 8 * i, 8, 3 + i);
	}
	s->gpr[R_SI] = HI - 16;
	s->fpu.k[1] = 0xf2;
	assert_int_equal(RUN(evex_extract), TINY_HLT);
	assert_int_equal(tiny_peek(t, HI - 16, 8), 1);
	assert_int_equal(tiny_peek(t, HI - 8, 8), 0x2222222222222222);
	assert_int_equal(tiny_peek(t, FAR_PAGE, 8), 3);
	assert_int_equal(tiny_peek(t, FAR_PAGE + 8, 8), 4);
}

GUEST(lock_loop, 64, "mov $20000, %ecx\n1: lock incl (%rsi)\ndec %ecx\njnz 1b\nhlt\n");
#define LOCK_LOOPS 20000

/* The other CPU: the same pages side by side, another way. */
static void *lock_natively(void *counter)
{
	for (unsigned i = 0; i < LOCK_LOOPS; i++)
		__asm__ volatile("lock incl (%0)" : : "r"(counter) : "memory");
	return NULL;
}

static void test_split_lock(void **state)
{
	uint8_t *alias = mmap(NULL, 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t other;
	uint32_t sum;

	assert_true(alias != MAP_FAILED);
	assert_true(mmap(alias, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, t->ram->memfd,
			 (off_t)ram_file_offset(t->ram, LO)) != MAP_FAILED);
	assert_true(mmap(alias + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 t->ram->memfd, (off_t)ram_file_offset(t->ram, FAR_PAGE)) != MAP_FAILED);
	enter(TINY_LONG);
	tiny_set_pte(t, HI, FAR_PAGE | PTE_PWU);
	memset(alias + PAGE_SIZE - 2, 0, 4);
	s->gpr[R_SI] = HI - 2;
	assert_int_equal(pthread_create(&other, NULL, lock_natively, alias + PAGE_SIZE - 2), 0);
	assert_int_equal(RUN(lock_loop), TINY_HLT);
	pthread_join(other, NULL);
	memcpy(&sum, alias + PAGE_SIZE - 2, 4);
	assert_int_equal(sum, 2 * LOCK_LOOPS);
	munmap(alias, 2 * PAGE_SIZE);
}

GUEST(device, 64, "movq (%rsi), %xmm1\nmovups %xmm1, 8(%rsi)\nlock addl $1, 16(%rsi)\nhlt\n");

static void test_device(void **state)
{
	enter(TINY_LONG);
	t->n_io = 0;
	t->in_value = 0x1122334455667788;
	s->gpr[R_SI] = TINY_MMIO;
	assert_int_equal(RUN(device), TINY_HLT);
	assert_memory_equal(s->fpu.zmm[1], &t->in_value, 8);
	assert_int_equal(t->n_io, 5);
	assert_false(t->io[0].write);
	assert_true(t->io[1].write && t->io[1].addr == TINY_MMIO + 8 && t->io[1].val == t->in_value);
	assert_true(t->io[2].write && t->io[2].addr == TINY_MMIO + 16 && t->io[2].val == 0);
	assert_true(!t->io[3].write && t->io[3].addr == TINY_MMIO + 16 && t->io[3].size == 4);
	assert_true(t->io[4].write && t->io[4].val == 0x55667789);
}

/* A vector store over code that was already decoded: what is executed next is the new code. */
GUEST(overwrite, 64,
      "1: nop\nnop\nnop\nnop\ncmp $2, %eax\nje 2f\nmov $2, %eax\nmovd %xmm1, 1b(%rip)\njmp 1b\n2: hlt\n");

static void test_code_overwritten(void **state)
{
	enter(TINY_LONG);
	memcpy(s->fpu.zmm[1], (uint8_t[]){ 0xb1, 0x55, 0x90, 0x90 }, 4); /* mov $0x55, %cl */
	assert_int_equal(RUN(overwrite), TINY_HLT);
	assert_int_equal(s->gpr[R_CX], 0x55);
}

/* -- What the host must never execute -------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint8_t bytes[8];
} forbidden[] = {
	{ "syscall", { 0x0f, 0x05 } }, { "sysenter", { 0x0f, 0x34 } }, { "int 0x80", { 0xcd, 0x80 } },
	{ "int3", { 0xcc } }, { "cpuid", { 0x0f, 0xa2 } }, { "rdtsc", { 0x0f, 0x31 } },
	{ "rdtscp", { 0x0f, 0x01, 0xf9 } }, { "rdpmc", { 0x0f, 0x33 } },
	{ "rdpid", { 0xf3, 0x0f, 0xc7, 0xf8 } }, { "xgetbv", { 0x0f, 0x01, 0xd0 } },
	{ "xsetbv", { 0x0f, 0x01, 0xd1 } }, { "rdfsbase", { 0xf3, 0x0f, 0xae, 0xc0 } },
	{ "wrgsbase", { 0xf3, 0x0f, 0xae, 0xd8 } }, { "rdpkru", { 0x0f, 0x01, 0xee } },
	{ "wrpkru", { 0x0f, 0x01, 0xef } }, { "sgdt", { 0x0f, 0x01, 0x00 } },
	{ "sidt", { 0x0f, 0x01, 0x08 } }, { "sldt", { 0x0f, 0x00, 0xc0 } },
	{ "str", { 0x0f, 0x00, 0xc8 } }, { "smsw", { 0x0f, 0x01, 0xe0 } },
	{ "lar", { 0x0f, 0x02, 0xc0 } }, { "lsl", { 0x0f, 0x03, 0xc0 } },
	{ "verr", { 0x0f, 0x00, 0xe0 } }, { "verw", { 0x0f, 0x00, 0xe8 } }, { "pushf", { 0x9c } },
	{ "popf", { 0x9d } }, { "in", { 0xec } }, { "out", { 0xee } }, { "outs", { 0x6e } },
	{ "jmp", { 0xeb, 0xfe } }, { "jz", { 0x74, 0x00 } }, { "call", { 0xe8 } }, { "ret", { 0xc3 } },
	{ "retf", { 0xcb } }, { "iret", { 0x48, 0xcf } }, { "mov ds", { 0x8e, 0xd8 } },
	{ "mov from ds", { 0x8c, 0xd8 } }, { "mov fs", { 0x8e, 0xe0 } }, { "push fs", { 0x0f, 0xa0 } },
	{ "lfs", { 0x0f, 0xb4, 0x00 } }, { "mov cr0", { 0x0f, 0x22, 0xc0 } },
	{ "mov dr7", { 0x0f, 0x23, 0xf8 } }, { "hlt", { 0xf4 } }, { "cli", { 0xfa } },
	{ "std", { 0xfd } }, { "xbegin", { 0xc7, 0xf8 } }, { "xtest", { 0x0f, 0x01, 0xd6 } },
	{ "monitor", { 0x0f, 0x01, 0xc8 } }, { "mwaitx", { 0x0f, 0x01, 0xfb } },
	{ "umonitor", { 0xf3, 0x0f, 0xae, 0xf0 } }, { "rdpru", { 0x0f, 0x01, 0xfd } },
	{ "senduipi", { 0xf3, 0x0f, 0xc7, 0xf0 } }, { "clui", { 0xf3, 0x0f, 0x01, 0xee } },
	{ "enqcmd", { 0xf2, 0x0f, 0x38, 0xf8, 0x00 } }, { "ptwrite", { 0xf3, 0x0f, 0xae, 0xe0 } },
	{ "incssp", { 0xf3, 0x0f, 0xae, 0xe8 } }, { "vmcall", { 0x0f, 0x01, 0xc1 } },
	{ "vmmcall", { 0x0f, 0x01, 0xd9 } }, { "tilezero", { 0xc4, 0xe2, 0x7b, 0x49, 0xc0 } },
	{ "xsave", { 0x0f, 0xae, 0x20 } }, { "fxsave", { 0x0f, 0xae, 0x00 } }, { "push", { 0x50 } },
	{ "pop", { 0x58 } }, { "enter", { 0xc8 } }, { "leave", { 0xc9 } }, { "lea", { 0x8d, 0x00 } },
	{ "movs", { 0xa4 } }, { "xlat", { 0xd7 } }, { "wbinvd", { 0x0f, 0x09 } },
};

static void test_forbidden(void **state)
{
	ZydisDecoder decoder;
	struct decoded d;
	struct insn in;

	enter(TINY_LONG);
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (unsigned i = 0; i < ARRAY_SIZE(forbidden); i++) {
		memset(&in, 0, sizeof(in));
		memset(&d, 0, sizeof(d));
		memcpy(d.bytes, forbidden[i].bytes, sizeof(forbidden[i].bytes));
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, d.bytes, 15, &d.i, d.op)))
			fail_msg("%s is not decoded", forbidden[i].name);
		hostexec_bind(t->v, &in, &d);
		if (in.fn)
			fail_msg("%s would be executed by the host", forbidden[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_control_bits),	cmocka_unit_test(test_fwait_mp),
		cmocka_unit_test(test_real_mode),	cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_misaligned_and_absent), cmocka_unit_test(test_simd_error),
		cmocka_unit_test(test_ldmxcsr_reserved), cmocka_unit_test(test_x87_error),
		cmocka_unit_test(test_error_order),	cmocka_unit_test(test_locked_alias),
		cmocka_unit_test(test_alignment_check),
		cmocka_unit_test(test_masked_load),	cmocka_unit_test(test_masked_store),
		cmocka_unit_test(test_masked_forms),	cmocka_unit_test(test_masked_dirty),	cmocka_unit_test(test_vmaskmov),
		cmocka_unit_test(test_gather_fault),	cmocka_unit_test(test_gather_vex_fault),
		cmocka_unit_test(test_scatter_fault),	cmocka_unit_test(test_scattered_pages),
		cmocka_unit_test(test_scattered_masked_store),
		cmocka_unit_test(test_split_lock),	cmocka_unit_test(test_device),
		cmocka_unit_test(test_code_overwritten), cmocka_unit_test(test_forbidden),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
