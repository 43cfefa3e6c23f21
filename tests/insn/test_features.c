/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest never sees a feature that then faults: an instruction of each, with the feature and without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "cpu/cpuid_features.h"
#include "tiny.h"

/* What becomes of the instruction when the feature is taken away. */
enum without { UD, STAYS /* another feature's too, or an older CPU's NOP */ };

/* X(feature, what happens without it, an instruction; the operand in memory is (%rdi)) */
#define INSTRUCTIONS(X)                                                          \
	X(fpu, UD, "fld1")                                                       \
	X(cx8, STAYS, "lock cmpxchg8b (%rdi)")                                   \
	X(cmov, UD, "cmovz %eax, %ebx")                                          \
	X(clflush, UD, "clflush (%rdi)")                                         \
	X(mmx, UD, "paddb %mm0, %mm1")                                           \
	X(fxsr, UD, "fxsave (%rdi)")                                             \
	X(sse, UD, "addps %xmm0, %xmm1; ldmxcsr 24(%rsi)")                       \
	X(sse2, UD, "addpd (%rdi), %xmm1; movnti %eax, (%rdi); lfence; mfence")  \
	X(pni, UD, "haddps %xmm0, %xmm1; fisttpl (%rdi)")                        \
	X(pclmulqdq, UD, "pclmulqdq $1, %xmm0, %xmm1")                           \
	X(ssse3, UD, "pshufb %xmm0, %xmm1; pabsb %mm0, %mm1")                    \
	X(fma, UD, "vfmadd132ps (%rdi), %ymm1, %ymm2")                           \
	X(cx16, UD, "lock cmpxchg16b (%rdi)")                                    \
	X(sse4_1, UD, "pmulld %xmm0, %xmm1; pextrq $1, %xmm1, (%rdi)")           \
	X(sse4_2, UD, "pcmpistri $0, %xmm0, %xmm1; crc32b (%rdi), %eax")         \
	X(movbe, UD, "movbe (%rdi), %eax; movbe %rax, (%rdi)")                   \
	X(popcnt, UD, "popcnt (%rdi), %eax")                                     \
	X(aes, UD, "aesenc (%rdi), %xmm1")                                       \
	X(xsave, UD, "xsave (%rdi); xrstor (%rdi)")                              \
	X(avx, UD, "vaddps (%rdi), %ymm1, %ymm2; vzeroall")                      \
	X(f16c, UD, "vcvtph2ps (%rdi), %ymm0")                                   \
	X(rdrand, UD, "rdrand %rax")                                             \
	X(fsgsbase, UD, "rdfsbase %rax; wrgsbase %rax")                          \
	X(bmi1, UD, "andn %eax, %ebx, %ecx; tzcnt %eax, %ebx; blsr (%rdi), %eax") \
	X(avx2, UD, "vpaddd (%rdi), %ymm1, %ymm2; vpermq $1, %ymm1, %ymm2")      \
	X(bmi2, UD, "pdep %rax, %rbx, %rcx; mulx (%rdi), %rax, %rbx; rorx $3, %eax, %ebx") \
	X(avx512f, UD, "vaddps (%rdi), %zmm1, %zmm2{%k1}; kmovw %k1, %eax; vpcompressd %zmm1, (%rdi){%k1}") \
	X(avx512dq, UD, "vpmullq (%rdi), %zmm1, %zmm2; kmovb %k1, %eax")         \
	X(rdseed, UD, "rdseed %rax")                                             \
	X(adx, UD, "adcx %rax, %rbx; adox (%rdi), %ecx")                         \
	X(smap, UD, "stac; clac")                                                \
	X(avx512ifma, UD, "vpmadd52luq (%rdi), %zmm1, %zmm2")                    \
	X(clflushopt, UD, "clflushopt (%rdi)")                                   \
	X(clwb, UD, "clwb (%rdi)")                                               \
	X(avx512cd, UD, "vpconflictd (%rdi), %zmm1; vplzcntq %zmm1, %zmm2")      \
	X(sha_ni, UD, "sha256rnds2 %xmm0, (%rdi), %xmm1; sha1nexte %xmm0, %xmm1") \
	X(avx512bw, UD, "vpaddb (%rdi), %zmm1, %zmm2; kmovq (%rdi), %k1")        \
	X(avx512vl, UD, "vaddps (%rdi), %xmm1, %xmm2{%k1}; vpaddd %ymm17, %ymm18, %ymm19") \
	X(avx512vbmi, UD, "vpermb (%rdi), %zmm1, %zmm2")                         \
	X(avx512_vbmi2, UD, "vpshldd $3, (%rdi), %zmm1, %zmm2; vpcompressb %zmm1, %zmm2{%k1}") \
	X(gfni, UD, "gf2p8mulb (%rdi), %xmm1")                                   \
	X(vaes, UD, "vaesenc (%rdi), %ymm1, %ymm2")                              \
	X(vpclmulqdq, UD, "vpclmulqdq $1, (%rdi), %ymm1, %ymm2")                 \
	X(avx512_vnni, UD, "vpdpbusd (%rdi), %zmm1, %zmm2")                      \
	X(avx512_bitalg, UD, "vpopcntb (%rdi), %zmm1")                           \
	X(avx512_vpopcntdq, UD, "vpopcntd (%rdi), %zmm1")                        \
	X(rdpid, UD, "rdpid %rax")                                               \
	X(cldemote, STAYS, "cldemote (%rdi)")                                    \
	X(avx512_vp2intersect, UD, "vp2intersectd (%rdi), %zmm1, %k2")           \
	X(serialize, UD, "serialize")                                            \
	X(avx512_fp16, UD, "vaddph (%rdi), %zmm1, %zmm2; vcvtph2w %zmm1, %zmm2") \
	X(avx_vnni, UD, "{vex} vpdpbusd (%rdi), %ymm1, %ymm2")                   \
	X(avx512_bf16, UD, "vcvtneps2bf16 (%rdi), %ymm1; vdpbf16ps %zmm0, %zmm1, %zmm2") \
	X(xsaveopt, UD, "xsaveopt (%rdi)")                                       \
	X(xsavec, UD, "xsavec (%rdi); xrstor (%rdi)")                            \
	X(xsaves, UD, "xsaves (%rdi); xrstors (%rdi)")                           \
	X(lahf_lm, STAYS, "lahf; sahf")                                          \
	X(abm, STAYS, "lzcnt (%rdi), %eax")                                      \
	X(sse4a, UD, "insertq $1, $2, %xmm0, %xmm1; movntsd %xmm0, (%rdi)")      \
	X(3dnowprefetch, STAYS, "prefetchw (%rdi)")                              \
	X(mmxext, STAYS, "pshufw $1, %mm0, %mm1; movntq %mm0, (%rdi)")           \
	X(rdtscp, UD, "rdtscp")                                                  \
	X(invpcid, UD, "mov $3, %eax; invpcid (%rdi), %rax")                     \
	X(tsc, STAYS, "rdtsc")

/* Features that are no instruction of their own. */
static const char *const no_instruction[] = {
	"fdp_excptn_only", "erms", "fsrm", "xgetbv1", "topoext", "misalignsse", "nonstop_tsc", "lfence_rdtsc",
};

#define X(feature, without, text) GUEST(code_##feature, 64, text "; hlt");
INSTRUCTIONS(X)
#undef X

static const struct row {
	const char *feature;
	enum without without;
	const unsigned char *code, *end;
} rows[] = {
#define X(feature, without, text) { #feature, without, code_##feature, code_##feature##_end },
	INSTRUCTIONS(X)
#undef X
};

/* Run a row's code on a CPU of this policy, in ring 0. */
static int run(struct tiny *t, const struct row *r)
{
	struct x86_state *s = &t->v->s;

	tiny_enter(t, TINY_LONG, 0);
	s->cr4 |= (CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE) & t->cpuid.cr4_allowed;
	s->xcr0 = t->cpuid.xcr0_allowed ? t->cpuid.xcr0_allowed : XCR0_X87;
	s->fpu.mxcsr = 0x1f80;
	s->fpu.fcw = 0x37f;
	s->fpu.ftw = 0;
	s->gpr[R_DI] = TINY_HIGH;
	s->gpr[R_SI] = TINY_HIGH + 0x1000;
	tiny_poke(t, TINY_HIGH + 0x1000 + 24, 4, 0x1f80);
	tiny_put(t, TINY_HIGH, (const uint8_t[4096]){ 0 }, 4096);
	tiny_poke(t, TINY_HIGH + 24, 4, 0x1f80);
	tiny_put(t, TINY_CODE, r->code, (size_t)(r->end - r->code));
	tiny_state_changed(t);
	return tiny_run(t);
}

static void test_shown_features_run(void **state)
{
	struct tiny *t = tiny_new();
	unsigned done = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		int rc;

		if (!cpuid_has(&t->cpuid, rows[i].feature))
			continue;
		rc = run(t, &rows[i]);
		if (rc != TINY_HLT)
			fail_msg("%s: %d at %#lx", rows[i].feature, rc, (unsigned long)t->frame.rip);
		done++;
	}
	assert_true(done > 10);
	tiny_free(t);
}

static void test_hidden_features_fault(void **state)
{
	struct tiny *host = tiny_new();

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct tiny *t;
		char spec[64];
		int rc;

		if (!cpuid_has(&host->cpuid, rows[i].feature) || !strcmp(rows[i].feature, "fpu"))
			continue;
		snprintf(spec, sizeof(spec), "host,-%s", rows[i].feature);
		t = tiny_new_cpu(spec);
		rc = run(t, &rows[i]);
		if (rows[i].without == UD ? rc != X86_UD : rc != TINY_HLT)
			fail_msg("%s: %d", spec, rc);
		tiny_free(t);
	}
	tiny_free(host);
}

/* Every instruction-set feature of the list has its row. */
static void test_all_have_a_row(void **state)
{
	for (unsigned i = 0; i < FEAT_COUNT; i++) {
		bool found = cpuid_features[i].policy != FEATURE_HOST;

		for (unsigned n = 0; n < ARRAY_SIZE(rows); n++)
			found |= !strcmp(rows[n].feature, cpuid_features[i].name);
		for (unsigned n = 0; n < ARRAY_SIZE(no_instruction); n++)
			found |= !strcmp(no_instruction[n], cpuid_features[i].name);
		if (!found)
			fail_msg("%s has no row", cpuid_features[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shown_features_run),
		cmocka_unit_test(test_hidden_features_fault),
		cmocka_unit_test(test_all_have_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
