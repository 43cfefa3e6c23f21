/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Architectural constants: control registers, flags, exceptions, MSRs (Intel SDM vol. 3 ch. 2, vol. 4; AMD APM vol. 2). */
#ifndef DOPPEL_X86_BITS_H
#define DOPPEL_X86_BITS_H

#include "base/bits.h"

/* RFLAGS, SDM vol. 1, 3.4.3 */
#define FL_CF   BIT(0)
#define FL_1    BIT(1) /* always set */
#define FL_PF   BIT(2)
#define FL_AF   BIT(4)
#define FL_ZF   BIT(6)
#define FL_SF   BIT(7)
#define FL_TF   BIT(8)
#define FL_IF   BIT(9)
#define FL_DF   BIT(10)
#define FL_OF   BIT(11)
#define FL_IOPL (3ull << 12)
#define FL_NT   BIT(14)
#define FL_RF   BIT(16)
#define FL_VM   BIT(17)
#define FL_AC   BIT(18)
#define FL_VIF  BIT(19)
#define FL_VIP  BIT(20)
#define FL_ID   BIT(21)
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)
#define FL_DEFINED (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF | FL_VIP | FL_ID)

/* CR0, SDM vol. 3, 2.5 */
#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR3_PCID_MASK 0xfffull
#define CR3_NOFLUSH   BIT(63)

#define CR4_VME        BIT(0)
#define CR4_PVI        BIT(1)
#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_MCE        BIT(6)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_LA57       BIT(12)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE        BIT(22)

#define EFER_SCE   BIT(0)
#define EFER_LME   BIT(8)
#define EFER_LMA   BIT(10)
#define EFER_NXE   BIT(11)
#define EFER_FFXSR BIT(14)
#define EFER_AUTOIBRS BIT(21) /* AMD; no effect here */

/* XCR0 and XSAVE components, SDM vol. 1, 13.1 */
#define XCR0_X87     BIT(0)
#define XCR0_SSE     BIT(1)
#define XCR0_AVX     BIT(2)
#define XCR0_OPMASK  BIT(5)
#define XCR0_ZMM_HI  BIT(6)
#define XCR0_HI16    BIT(7)
#define XCR0_AVX512  (XCR0_OPMASK | XCR0_ZMM_HI | XCR0_HI16)

/* DR6, DR7, SDM vol. 3, 18.2 */
#define DR6_FIXED 0xffff0ff0ull
#define DR6_BD    BIT(13)
#define DR6_BS    BIT(14)
#define DR6_BT    BIT(15)
#define DR7_FIXED BIT(10)
#define DR7_GD    BIT(13)

/* Exception vectors, SDM vol. 3, table 6-1 */
enum x86_vector {
	X86_DE = 0, X86_DB = 1, X86_NMI = 2, X86_BP = 3, X86_OF = 4, X86_BR = 5, X86_UD = 6, X86_NM = 7,
	X86_DF = 8, X86_TS = 10, X86_NP = 11, X86_SS = 12, X86_GP = 13, X86_PF = 14, X86_MF = 16,
	X86_AC = 17, X86_MC = 18, X86_XM = 19,
};

/* Page fault error code, SDM vol. 3, 4.7 */
#define PF_P    BIT(0)
#define PF_W    BIT(1)
#define PF_U    BIT(2)
#define PF_RSVD BIT(3)
#define PF_I    BIT(4)
#define PF_PK   BIT(5)

/* MSRs, SDM vol. 4 and APM vol. 2 appendix A */
enum x86_msr {
	MSR_TSC = 0x10,
	MSR_PLATFORM_ID = 0x17,
	MSR_APIC_BASE = 0x1b,
	MSR_TSC_ADJUST = 0x3b,
	MSR_SPEC_CTRL = 0x48,
	MSR_PRED_CMD = 0x49,
	MSR_BIOS_SIGN_ID = 0x8b,
	MSR_MTRRCAP = 0xfe,
	MSR_ARCH_CAPABILITIES = 0x10a,
	MSR_SYSENTER_CS = 0x174,
	MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176,
	MSR_MCG_CAP = 0x179,
	MSR_MCG_STATUS = 0x17a,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_DEBUGCTL = 0x1d9,
	MSR_MTRR_PHYSBASE0 = 0x200,
	MSR_MTRR_FIX64K_00000 = 0x250,
	MSR_MTRR_FIX16K_80000 = 0x258,
	MSR_MTRR_FIX16K_A0000 = 0x259,
	MSR_MTRR_FIX4K_C0000 = 0x268,
	MSR_PAT = 0x277,
	MSR_MTRR_DEF_TYPE = 0x2ff,
	MSR_MC0_CTL = 0x400,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_X2APIC_FIRST = 0x800,
	MSR_X2APIC_LAST = 0x8ff,
	MSR_XSS = 0xda0,
	MSR_KVM_WALL_CLOCK_NEW = 0x4b564d00,
	MSR_KVM_SYSTEM_TIME_NEW = 0x4b564d01,
	MSR_EFER = 0xc0000080,
	MSR_STAR = 0xc0000081,
	MSR_LSTAR = 0xc0000082,
	MSR_CSTAR = 0xc0000083,
	MSR_SFMASK = 0xc0000084,
	MSR_FS_BASE = 0xc0000100,
	MSR_GS_BASE = 0xc0000101,
	MSR_KERNEL_GS_BASE = 0xc0000102,
	MSR_TSC_AUX = 0xc0000103,
	MSR_AMD_SYSCFG = 0xc0010010,
	MSR_AMD_HWCR = 0xc0010015,
	MSR_AMD_PATCH_LEVEL = 0x8b,
};

/* IA32_MTRR_DEF_TYPE as firmware leaves it: MTRRs enabled, all memory write-back (SDM vol. 3, 12.11.2.1) */
#define MTRR_DEF_TYPE_FIRMWARE 0x806ull

/* General registers in encoding order */
enum x86_reg {
	R_AX, R_CX, R_DX, R_BX, R_SP, R_BP, R_SI, R_DI, R_8, R_9, R_10, R_11, R_12, R_13, R_14, R_15,
};

/* Segment registers in encoding order */
enum x86_segreg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

#endif
