/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits and tunables, each with its reason. */
#ifndef DOPPEL_BASE_TUNABLES_H
#define DOPPEL_BASE_TUNABLES_H

/*
 * Decoded instructions kept by the reference engine for each vCPU, as a power of two of 64-byte
 * entries: 4 MiB. The specification allows the VMM 30 MiB for two vCPUs, all included.
 */
#define TUNE_INSN_CACHE_BITS 16

/* Iterations of a REP string instruction between two looks at the pending-work word. */
#define TUNE_REP_BATCH 4096

/* Machine code for instructions that the host CPU executes for the reference engine, for each vCPU. */
#define TUNE_HOSTEXEC_CODE_SIZE (1u << 20)
/* Their descriptions, 96 bytes each; a stub takes about 200 bytes of code. */
#define TUNE_HOSTEXEC_STUBS 4096

/* Translated code of a VM's vCPUs: a Debian boot to a shell takes about half of it. */
#define TUNE_BT_CODE_SIZE (32u << 20)

#endif
