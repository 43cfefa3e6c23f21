/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which instruction sets the CPUID policy lets a guest execute. */
#ifndef DOPPEL_CPU_ISA_H
#define DOPPEL_CPU_ISA_H

#include <Zydis/Zydis.h>
#include "cpu/cpuid.h"

/*
 * Whether an instruction of this set exists for the guest; if not it is #UD. Unknown sets do not
 * exist. One bit test, for every decode. VMCALL and VMMCALL are in sets that are not allowed
 * (VTX, SVM): who wants to answer KVM hypercalls asks by mnemonic first.
 */
bool cpuid_isa_allowed(const struct cpuid_policy *p, ZydisISASet set);

/*
 * Set the decoder's modes so that what a CPU without a feature takes for an older instruction is
 * decoded as that: LZCNT as BSR, TZCNT as BSF, ENDBR and RDSSP as NOP, BND* as NOP, WBNOINVD as WBINVD,
 * CLDEMOTE as NOP; and the vendor's reading of 66-prefixed near branches in 64-bit mode. Once,
 * after ZydisDecoderInit().
 */
void isa_configure_decoder(const struct cpuid_policy *p, ZydisDecoder *d);

/* For cpuid.c: fill the policy's table from its features. */
void isa_init(struct cpuid_policy *p);

#endif
