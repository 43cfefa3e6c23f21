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

/*
 * Translated code of a VM's vCPUs; only what is used takes memory. A Debian boot to a shell takes some 20 MiB, one run of a compiler
 * 100 more: with 32 MiB it was thrown away and made anew 150 times in a run. It stands below 2 GiB.
 */
#define TUNE_BT_CODE_SIZE (256u << 20)

/* Entries of a disk's io_uring: more requests than a guest keeps under way (128 in a virtio queue) with their parts. */
#define TUNE_BLOCK_RING 256
/* Threads that carry out a disk's requests where there is no io_uring; more would only fight for the device. */
#define TUNE_BLOCK_POOL 16
/* Backing files on top of each other: beyond this it is a loop, or hopeless. */
#define TUNE_BLOCK_MAX_CHAIN 64
/* Memory for the mapping tables of a qcow2 image: with clusters of 64 KiB enough for 256 GiB without misses. */
#define TUNE_QCOW2_L2_CACHE (32u << 20)
/* Memory for its reference counts: with 16 bits each, for 128 GiB. */
#define TUNE_QCOW2_REFCOUNT_CACHE (4u << 20)
/* Clusters that wait for the next flush until they can be given back; a flush is made when there are more. */
#define TUNE_QCOW2_MAX_FREED 65536

#endif
