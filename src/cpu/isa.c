/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the decoder's instruction sets to the CPUID features that bring them. */
#include "cpu/cpuid_features.h"
#include "cpu/isa.h"

_Static_assert(ZYDIS_ISA_SET_MAX_VALUE < 8 * sizeof(((struct cpuid_policy *)0)->isa_allowed), "isa_allowed[]");

#define ALWAYS FEAT_COUNT /* part of every x86-64 CPU, or a NOP on those that do not know it */

/*
 * A row allows its set when both features are on. Sets that are not here do not exist for a guest:
 * unknown ones, and those of features that cpuid_features.h leaves out. LAHF is ALWAYS because it is
 * in every legacy mode, whatever lahf_lm says about 64-bit mode.
 */
#define ONE(set, a)    { ZYDIS_ISA_SET_##set, FEAT_##a, ALWAYS }
#define TWO(set, a, b) { ZYDIS_ISA_SET_##set, FEAT_##a, FEAT_##b }
#define BASE(set)      { ZYDIS_ISA_SET_##set, ALWAYS, ALWAYS }
/* An AVX-512 group with its 128-, 256- and 512-bit forms; the narrow ones need AVX512VL. */
#define EVEX(set, a) TWO(set##_128, a, AVX512VL), TWO(set##_256, a, AVX512VL), TWO(set##_512, a, AVX512F)

static const struct {
	uint8_t set, need, need2;
} isa_needs[] = {
	BASE(I86), BASE(I186), BASE(I286REAL), BASE(I286PROTECTED), BASE(I386), BASE(I486), BASE(I486REAL),
	BASE(PENTIUMREAL), BASE(PPRO), BASE(FAT_NOP), BASE(PAUSE), BASE(LONGMODE), BASE(LAHF), BASE(RDPMC),
	ONE(AMD, SYSCALL), /* SYSCALL and SYSRET outside of 64-bit mode: syscall.c asks for the vendor */
	BASE(PREFETCH_NOP), BASE(PREFETCHWT1), BASE(SSE_PREFETCH),
	ONE(X87, FPU), ONE(CMOV, CMOV), TWO(FCMOV, CMOV, FPU), ONE(PENTIUMMMX, MMX), ONE(CLFSH, CLFLUSH),
	ONE(FXSAVE, FXSR), TWO(FXSAVE64, FXSR, LM), ONE(SSE, SSE), ONE(SSEMXCSR, SSE), ONE(SSE2, SSE2),
	ONE(SSE2MMX, SSE2), ONE(SSE3, SSE3), TWO(SSE3X87, SSE3, FPU), ONE(SSSE3, SSSE3), ONE(SSSE3MMX, SSSE3),
	ONE(SSE4, SSE4_1), ONE(SSE42, SSE4_2), ONE(SSE4A, SSE4A), ONE(POPCNT, POPCNT), ONE(CMPXCHG16B, CX16),
	ONE(MOVBE, MOVBE), ONE(LZCNT, ABM), ONE(BMI1, BMI1), ONE(BMI2, BMI2), ONE(ADOX_ADCX, ADX), ONE(AES, AES),
	ONE(PCLMULQDQ, PCLMULQDQ), ONE(SHA, SHA_NI), ONE(GFNI, GFNI), ONE(RDRAND, RDRAND), ONE(RDSEED, RDSEED),
	ONE(CLFLUSHOPT, CLFLUSHOPT), ONE(CLWB, CLWB), ONE(CLDEMOTE, CLDEMOTE), ONE(SERIALIZE, SERIALIZE),
	ONE(RDTSCP, RDTSCP), ONE(RDPID, RDPID), ONE(RDWRFSGS, FSGSBASE), ONE(INVPCID, INVPCID), ONE(SMAP, SMAP),
	ONE(XSAVE, XSAVE), ONE(XSAVEOPT, XSAVEOPT), ONE(XSAVEC, XSAVEC), ONE(XSAVES, XSAVES),

	ONE(AVX, AVX), ONE(AVX2, AVX2), ONE(AVX2GATHER, AVX2), ONE(F16C, F16C), ONE(FMA, FMA),
	TWO(AVXAES, AES, AVX), ONE(VAES, VAES), ONE(VPCLMULQDQ, VPCLMULQDQ), TWO(AVX_GFNI, GFNI, AVX),
	ONE(AVX_VNNI, AVX_VNNI),

	EVEX(AVX512F, AVX512F), ONE(AVX512F_128N, AVX512F), ONE(AVX512F_KOP, AVX512F), ONE(AVX512F_SCALAR, AVX512F),
	EVEX(AVX512BW, AVX512BW), ONE(AVX512BW_128N, AVX512BW), ONE(AVX512BW_KOP, AVX512BW),
	EVEX(AVX512DQ, AVX512DQ), ONE(AVX512DQ_128N, AVX512DQ), ONE(AVX512DQ_KOP, AVX512DQ),
	ONE(AVX512DQ_SCALAR, AVX512DQ), EVEX(AVX512CD, AVX512CD), EVEX(AVX512_IFMA, AVX512IFMA),
	EVEX(AVX512_VBMI, AVX512VBMI), EVEX(AVX512_VBMI2, AVX512_VBMI2), EVEX(AVX512_VNNI, AVX512_VNNI),
	EVEX(AVX512_BITALG, AVX512_BITALG), EVEX(AVX512_VPOPCNTDQ, AVX512_VPOPCNTDQ),
	EVEX(AVX512_VP2INTERSECT, AVX512_VP2INTERSECT), EVEX(AVX512_BF16, AVX512_BF16), EVEX(AVX512_GFNI, GFNI),
	EVEX(AVX512_VAES, VAES), EVEX(AVX512_VPCLMULQDQ, VPCLMULQDQ), EVEX(AVX512_FP16, AVX512_FP16),
	ONE(AVX512_FP16_128N, AVX512_FP16), ONE(AVX512_FP16_SCALAR, AVX512_FP16),
};

static bool on(const struct cpuid_policy *p, unsigned feature)
{
	return feature == ALWAYS || cpuid_feature_on(p, feature);
}

void isa_init(struct cpuid_policy *p)
{
	for (unsigned i = 0; i < ARRAY_SIZE(isa_needs); i++) {
		unsigned set = isa_needs[i].set;

		if (on(p, isa_needs[i].need) && on(p, isa_needs[i].need2))
			p->isa_allowed[set / 8] |= 1u << set % 8;
	}
}

bool cpuid_isa_allowed(const struct cpuid_policy *p, ZydisISASet set)
{
	if ((unsigned)set > ZYDIS_ISA_SET_MAX_VALUE)
		return false;
	return p->isa_allowed[set / 8] >> set % 8 & 1;
}

void isa_configure_decoder(const struct cpuid_policy *p, ZydisDecoder *d)
{
	const struct {
		ZydisDecoderMode mode;
		bool enable;
	} modes[] = {
		{ ZYDIS_DECODER_MODE_AMD_BRANCHES, p->vendor == VENDOR_AMD },
		{ ZYDIS_DECODER_MODE_LZCNT, cpuid_feature_on(p, FEAT_ABM) },
		{ ZYDIS_DECODER_MODE_TZCNT, cpuid_feature_on(p, FEAT_BMI1) },
		{ ZYDIS_DECODER_MODE_CLDEMOTE, cpuid_feature_on(p, FEAT_CLDEMOTE) },
		{ ZYDIS_DECODER_MODE_MPX, false },
		{ ZYDIS_DECODER_MODE_CET, false },
		{ ZYDIS_DECODER_MODE_WBNOINVD, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
		ZydisDecoderEnableMode(d, modes[i].mode, modes[i].enable);
}
