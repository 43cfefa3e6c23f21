/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of CPUID feature bits that a guest may see; what is not here it never sees. */
#ifndef DOPPEL_CPU_CPUID_FEATURES_H
#define DOPPEL_CPU_CPUID_FEATURES_H

#include "base/bits.h"
#include "cpu/cpuid.h"

/*
 * X(id, name, leaf, subleaf, register, bit, policy, level, vendor, needs)
 *
 * Names are those of Linux (/proc/cpuinfo, or the kernel's symbol where cpuinfo hides it). Policy
 * HOST: an instruction that the host's CPU executes, or one whose result is the host's; SOFT: ours alone.
 * Level: see enum cpuid_level; V2 to V4 are exactly the x86-64 psABI's micro-architecture levels.
 *
 * Not here because not built (and so never shown): vmx, svm, smx, pku, cet (shstk, ibt), amx,
 * monitor and mwaitx, rtm and hle, perfmon and perfctr, intel_pt, mpx, uintr, sgx, key locker, waitpkg,
 * enqcmd, movdiri and movdir64b, clzero, rdpru, wbnoinvd, xop, fma4, tbm and lwp, 3dnow, ibs, osvw,
 * cr8_legacy, extapic, thermal and power management, memory encryption, hardware resource directors.
 *
 * Side channels. The guest's kernel and its user programs run at one host privilege level, one
 * instruction at a time or translated, and what the guest kernel could do about branch predictors (IBRS,
 * IBPB, retpolines, untrained returns, VERW) acts on branches of the guest that are data to us. It
 * would cost time and protect nothing, so the bits that say "not needed" are given: autoibrs,
 * srso_no, btc_no, amd_ssb_no, tsa_*_no on AMD; spec_ctrl with arch_capabilities, and bhi_ctrl, on Intel. Each can be
 * taken away by name (-srso_no), and then the guest mitigates. SECURITY.md says what this means.
 */
#define CPUID_FEATURES(X)                                                                              \
	X(FPU, "fpu", 0x1, 0, EDX, 0, HOST, BASE, ANY, NULL)                                               \
	X(VME, "vme", 0x1, 0, EDX, 1, SOFT, BASE, ANY, NULL)                                               \
	X(DE, "de", 0x1, 0, EDX, 2, SOFT, BASE, ANY, NULL)                                                 \
	X(PSE, "pse", 0x1, 0, EDX, 3, SOFT, BASE, ANY, NULL)                                               \
	X(TSC, "tsc", 0x1, 0, EDX, 4, SOFT, BASE, ANY, NULL)                                               \
	X(MSR, "msr", 0x1, 0, EDX, 5, SOFT, BASE, ANY, NULL)                                               \
	X(PAE, "pae", 0x1, 0, EDX, 6, SOFT, BASE, ANY, NULL)                                               \
	X(MCE, "mce", 0x1, 0, EDX, 7, SOFT, BASE, ANY, NULL)                                               \
	X(CX8, "cx8", 0x1, 0, EDX, 8, HOST, BASE, ANY, NULL)                                               \
	X(APIC, "apic", 0x1, 0, EDX, 9, SOFT, BASE, ANY, NULL)                                             \
	X(SEP, "sep", 0x1, 0, EDX, 11, SOFT, BASE, ANY, NULL)                                              \
	X(MTRR, "mtrr", 0x1, 0, EDX, 12, SOFT, BASE, ANY, NULL)                                            \
	X(PGE, "pge", 0x1, 0, EDX, 13, SOFT, BASE, ANY, NULL)                                              \
	X(MCA, "mca", 0x1, 0, EDX, 14, SOFT, BASE, ANY, NULL)                                              \
	X(CMOV, "cmov", 0x1, 0, EDX, 15, HOST, BASE, ANY, NULL)                                            \
	X(PAT, "pat", 0x1, 0, EDX, 16, SOFT, BASE, ANY, NULL)                                              \
	X(PSE36, "pse36", 0x1, 0, EDX, 17, SOFT, BASE, ANY, "pse")                                         \
	X(CLFLUSH, "clflush", 0x1, 0, EDX, 19, HOST, BASE, ANY, NULL)                                      \
	X(MMX, "mmx", 0x1, 0, EDX, 23, HOST, BASE, ANY, "fpu")                                             \
	X(FXSR, "fxsr", 0x1, 0, EDX, 24, HOST, BASE, ANY, "fpu")                                           \
	X(SSE, "sse", 0x1, 0, EDX, 25, HOST, BASE, ANY, "fxsr")                                            \
	X(SSE2, "sse2", 0x1, 0, EDX, 26, HOST, BASE, ANY, "sse")                                           \
	X(SSE3, "pni", 0x1, 0, ECX, 0, HOST, V2, ANY, "sse2")                                              \
	X(PCLMULQDQ, "pclmulqdq", 0x1, 0, ECX, 1, HOST, HOST, ANY, "sse2")                                 \
	X(SSSE3, "ssse3", 0x1, 0, ECX, 9, HOST, V2, ANY, "pni")                                            \
	X(FMA, "fma", 0x1, 0, ECX, 12, HOST, V3, ANY, "avx")                                               \
	X(CX16, "cx16", 0x1, 0, ECX, 13, HOST, V2, ANY, "cx8")                                             \
	X(PCID, "pcid", 0x1, 0, ECX, 17, SOFT, BASE, ANY, "pge")                                           \
	X(SSE4_1, "sse4_1", 0x1, 0, ECX, 19, HOST, V2, ANY, "ssse3")                                       \
	X(SSE4_2, "sse4_2", 0x1, 0, ECX, 20, HOST, V2, ANY, "sse4_1")                                      \
	X(X2APIC, "x2apic", 0x1, 0, ECX, 21, SOFT, BASE, ANY, "apic")                                      \
	X(MOVBE, "movbe", 0x1, 0, ECX, 22, HOST, V3, ANY, NULL)                                            \
	X(POPCNT, "popcnt", 0x1, 0, ECX, 23, HOST, V2, ANY, NULL)                                          \
	X(TSC_DEADLINE, "tsc_deadline_timer", 0x1, 0, ECX, 24, SOFT, BASE, ANY, "apic")                    \
	X(AES, "aes", 0x1, 0, ECX, 25, HOST, HOST, ANY, "sse2")                                            \
	X(XSAVE, "xsave", 0x1, 0, ECX, 26, HOST, V3, ANY, "fxsr")                                          \
	X(AVX, "avx", 0x1, 0, ECX, 28, HOST, V3, ANY, "xsave")                                             \
	X(F16C, "f16c", 0x1, 0, ECX, 29, HOST, V3, ANY, "avx")                                             \
	X(RDRAND, "rdrand", 0x1, 0, ECX, 30, HOST, HOST, ANY, NULL)                                        \
	X(HYPERVISOR, "hypervisor", 0x1, 0, ECX, 31, SOFT, BASE, ANY, NULL)                                \
	X(ARAT, "arat", 0x6, 0, EAX, 2, SOFT, BASE, ANY, "apic")                                           \
	X(FSGSBASE, "fsgsbase", 0x7, 0, EBX, 0, HOST, HOST, ANY, NULL)                                     \
	X(TSC_ADJUST, "tsc_adjust", 0x7, 0, EBX, 1, SOFT, BASE, ANY, "tsc")                                \
	X(BMI1, "bmi1", 0x7, 0, EBX, 3, HOST, V3, ANY, NULL)                                               \
	X(AVX2, "avx2", 0x7, 0, EBX, 5, HOST, V3, ANY, "avx")                                              \
	X(FDP_EXCPTN_ONLY, "fdp_excptn_only", 0x7, 0, EBX, 6, HOST, BASE, ANY, "fpu")                      \
	X(SMEP, "smep", 0x7, 0, EBX, 7, SOFT, BASE, ANY, NULL)                                             \
	X(BMI2, "bmi2", 0x7, 0, EBX, 8, HOST, V3, ANY, NULL)                                               \
	X(ERMS, "erms", 0x7, 0, EBX, 9, HOST, HOST, ANY, NULL)                                             \
	X(INVPCID, "invpcid", 0x7, 0, EBX, 10, SOFT, BASE, ANY, NULL)                                      \
	X(ZERO_FCS_FDS, "zero_fcs_fds", 0x7, 0, EBX, 13, SOFT, BASE, ANY, "fpu")                           \
	X(AVX512F, "avx512f", 0x7, 0, EBX, 16, HOST, V4, ANY, "avx2")                                      \
	X(AVX512DQ, "avx512dq", 0x7, 0, EBX, 17, HOST, V4, ANY, "avx512f")                                 \
	X(RDSEED, "rdseed", 0x7, 0, EBX, 18, HOST, HOST, ANY, NULL)                                        \
	X(ADX, "adx", 0x7, 0, EBX, 19, HOST, HOST, ANY, NULL)                                              \
	X(SMAP, "smap", 0x7, 0, EBX, 20, SOFT, BASE, ANY, NULL)                                            \
	X(AVX512IFMA, "avx512ifma", 0x7, 0, EBX, 21, HOST, HOST, ANY, "avx512f")                           \
	X(CLFLUSHOPT, "clflushopt", 0x7, 0, EBX, 23, HOST, HOST, ANY, "clflush")                           \
	X(CLWB, "clwb", 0x7, 0, EBX, 24, HOST, HOST, ANY, "clflush")                                       \
	X(AVX512CD, "avx512cd", 0x7, 0, EBX, 28, HOST, V4, ANY, "avx512f")                                 \
	X(SHA_NI, "sha_ni", 0x7, 0, EBX, 29, HOST, HOST, ANY, "sse2")                                      \
	X(AVX512BW, "avx512bw", 0x7, 0, EBX, 30, HOST, V4, ANY, "avx512f")                                 \
	X(AVX512VL, "avx512vl", 0x7, 0, EBX, 31, HOST, V4, ANY, "avx512f")                                 \
	X(AVX512VBMI, "avx512vbmi", 0x7, 0, ECX, 1, HOST, HOST, ANY, "avx512bw")                           \
	X(UMIP, "umip", 0x7, 0, ECX, 2, SOFT, BASE, ANY, NULL)                                             \
	X(AVX512_VBMI2, "avx512_vbmi2", 0x7, 0, ECX, 6, HOST, HOST, ANY, "avx512bw")                       \
	X(GFNI, "gfni", 0x7, 0, ECX, 8, HOST, HOST, ANY, "sse2")                                           \
	X(VAES, "vaes", 0x7, 0, ECX, 9, HOST, HOST, ANY, "avx")                                            \
	X(VPCLMULQDQ, "vpclmulqdq", 0x7, 0, ECX, 10, HOST, HOST, ANY, "avx")                               \
	X(AVX512_VNNI, "avx512_vnni", 0x7, 0, ECX, 11, HOST, HOST, ANY, "avx512f")                         \
	X(AVX512_BITALG, "avx512_bitalg", 0x7, 0, ECX, 12, HOST, HOST, ANY, "avx512bw")                    \
	X(AVX512_VPOPCNTDQ, "avx512_vpopcntdq", 0x7, 0, ECX, 14, HOST, HOST, ANY, "avx512f")               \
	X(LA57, "la57", 0x7, 0, ECX, 16, SOFT_OFF, BASE, ANY, "lm")                                        \
	X(RDPID, "rdpid", 0x7, 0, ECX, 22, HOST, HOST, ANY, NULL)                                          \
	X(CLDEMOTE, "cldemote", 0x7, 0, ECX, 25, HOST, HOST, ANY, NULL)                                    \
	X(FSRM, "fsrm", 0x7, 0, EDX, 4, HOST, HOST, ANY, NULL)                                             \
	X(AVX512_VP2INTERSECT, "avx512_vp2intersect", 0x7, 0, EDX, 8, HOST, HOST, ANY, "avx512f")          \
	X(SERIALIZE, "serialize", 0x7, 0, EDX, 14, HOST, HOST, ANY, NULL)                                  \
	X(AVX512_FP16, "avx512_fp16", 0x7, 0, EDX, 23, HOST, HOST, ANY, "avx512bw")                        \
	X(SPEC_CTRL, "spec_ctrl", 0x7, 0, EDX, 26, SOFT, BASE, INTEL, NULL)                                \
	X(ARCH_CAPABILITIES, "arch_capabilities", 0x7, 0, EDX, 29, SOFT, BASE, INTEL, "spec_ctrl")         \
	X(AVX_VNNI, "avx_vnni", 0x7, 1, EAX, 4, HOST, HOST, ANY, "avx2")                                   \
	X(AVX512_BF16, "avx512_bf16", 0x7, 1, EAX, 5, HOST, HOST, ANY, "avx512bw")                         \
	X(BHI_CTRL, "bhi_ctrl", 0x7, 2, EDX, 4, SOFT, BASE, INTEL, "spec_ctrl")                            \
	X(XSAVEOPT, "xsaveopt", 0xd, 1, EAX, 0, HOST, HOST, ANY, "xsave")                                  \
	X(XSAVEC, "xsavec", 0xd, 1, EAX, 1, HOST, HOST, ANY, "xsave")                                      \
	X(XGETBV1, "xgetbv1", 0xd, 1, EAX, 2, HOST, HOST, ANY, "xsave")                                    \
	X(XSAVES, "xsaves", 0xd, 1, EAX, 3, HOST, HOST, ANY, "xsavec")                                     \
	X(LAHF_LM, "lahf_lm", 0x80000001, 0, ECX, 0, HOST, V2, ANY, NULL)                                  \
	X(ABM, "abm", 0x80000001, 0, ECX, 5, HOST, V3, ANY, NULL)                                          \
	X(SSE4A, "sse4a", 0x80000001, 0, ECX, 6, HOST, HOST, AMD, "pni")                                   \
	X(MISALIGNSSE, "misalignsse", 0x80000001, 0, ECX, 7, HOST, HOST, AMD, "sse")                       \
	X(PREFETCHW, "3dnowprefetch", 0x80000001, 0, ECX, 8, HOST, HOST, ANY, NULL)                        \
	X(TOPOEXT, "topoext", 0x80000001, 0, ECX, 22, HOST, BASE, AMD, NULL)                               \
	X(SYSCALL, "syscall", 0x80000001, 0, EDX, 11, SOFT, BASE, ANY, NULL)                               \
	X(NX, "nx", 0x80000001, 0, EDX, 20, SOFT, BASE, ANY, "pae")                                        \
	X(MMXEXT, "mmxext", 0x80000001, 0, EDX, 22, HOST, HOST, AMD, "mmx")                                \
	X(FXSR_OPT, "fxsr_opt", 0x80000001, 0, EDX, 25, SOFT, BASE, AMD, "fxsr")                           \
	X(PDPE1GB, "pdpe1gb", 0x80000001, 0, EDX, 26, SOFT, BASE, ANY, "lm")                               \
	X(RDTSCP, "rdtscp", 0x80000001, 0, EDX, 27, HOST, HOST, ANY, "tsc")                                \
	X(LM, "lm", 0x80000001, 0, EDX, 29, SOFT, BASE, ANY, "pae")                                        \
	X(NONSTOP_TSC, "nonstop_tsc", 0x80000007, 0, EDX, 8, HOST, BASE, ANY, "tsc")                       \
	X(XSAVEERPTR, "xsaveerptr", 0x80000008, 0, EBX, 2, SOFT, BASE, AMD, "fxsr")                        \
	X(AMD_SSB_NO, "amd_ssb_no", 0x80000008, 0, EBX, 26, SOFT, BASE, AMD, NULL)                         \
	X(BTC_NO, "btc_no", 0x80000008, 0, EBX, 29, SOFT, BASE, AMD, NULL)                                 \
	X(LFENCE_RDTSC, "lfence_rdtsc", 0x80000021, 0, EAX, 2, HOST, BASE, AMD, "sse2")                    \
	X(NULL_SEL_CLR_BASE, "null_sel_clr_base", 0x80000021, 0, EAX, 6, SOFT, BASE, AMD, NULL)            \
	X(AUTOIBRS, "autoibrs", 0x80000021, 0, EAX, 8, SOFT, BASE, AMD, NULL)                              \
	X(SRSO_NO, "srso_no", 0x80000021, 0, EAX, 29, SOFT, BASE, AMD, NULL)                               \
	X(TSA_SQ_NO, "tsa_sq_no", 0x80000021, 0, ECX, 1, SOFT, BASE, AMD, NULL)                            \
	X(TSA_L1_NO, "tsa_l1_no", 0x80000021, 0, ECX, 2, SOFT, BASE, AMD, NULL)

enum cpuid_feature_id {
#define X(id, ...) FEAT_##id,
	CPUID_FEATURES(X)
#undef X
	FEAT_COUNT
};

extern const struct cpuid_feature cpuid_features[FEAT_COUNT];

/* The feature of that name, or -1. */
int cpuid_feature_find(const char *name);

static inline bool cpuid_feature_on(const struct cpuid_policy *p, enum cpuid_feature_id id)
{
	return p->features[id / 64] >> (id % 64) & 1;
}

static inline void cpuid_feature_set(struct cpuid_policy *p, enum cpuid_feature_id id, bool on)
{
	if (on)
		p->features[id / 64] |= BIT(id % 64);
	else
		p->features[id / 64] &= ~BIT(id % 64);
}

/*
 * Work out p->features for a MODEL[,+feature|,-feature]... on this host; *model is the name of the
 * model (static). p->vendor must be set. -EINVAL with a message as cpuid_policy_init() has it.
 */
int cpuid_select_features(struct cpuid_policy *p, const struct cpuid_host *host, const char *spec, const char **model,
			  struct err *e);

#endif
