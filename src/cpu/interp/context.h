/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The reference engine's per-vCPU context and the inline fast paths to guest memory. */
#ifndef DOPPEL_CPU_INTERP_CONTEXT_H
#define DOPPEL_CPU_INTERP_CONTEXT_H

#include "base/tunables.h"
#include "cpu/interp/interp.h"

#define INSN_CACHE_SIZE (1u << TUNE_INSN_CACHE_BITS)
#define NOT_DELIVERING  0xff

/* An instruction that straddles two pages is cached with its bytes, which are compared at each use. */
#define CROSSING_CACHE_SIZE 64
struct crossing {
	struct insn in;
	uint64_t la; /* 1 (never a page's last bytes in any mode): empty */
	uint8_t mode;
	uint8_t bytes[15];
};

struct interp {
	uint64_t next_rip;
	const struct insn *cur;    /* the instruction under way, NULL between */
	uint64_t debug_bits;       /* DR6 bits of traps to deliver after the instruction */
	enum mmu_mode mmu_mode;    /* of explicit data accesses */
	enum mmu_mode fetch_mode;  /* of instruction fetches: SMAP does not matter to them */
	uint8_t decode_mode;       /* ZydisMachineMode of CS */
	bool long64;               /* 64-bit mode */
	bool align_check;          /* CPL 3 with CR0.AM and EFLAGS.AC */
	uint8_t canonical_shift;   /* 64 minus the linear address bits */
	uint64_t rip_mask;         /* EIP goes on at 0 behind the end of 4 GiB */

	/* The fault that interp_raise*() carried to the landing. */
	struct event fault;
	uint8_t delivering;        /* vector of the event under delivery, or NOT_DELIVERING */
	jmp_buf landing;

	struct hostexec *hostexec;
	const struct insn_def *def[ZYDIS_MNEMONIC_MAX_VALUE + 1];
	ZydisDecoder decoder[ZYDIS_MACHINE_MODE_MAX_VALUE + 1];
	struct crossing crossing[CROSSING_CACHE_SIZE];
	struct insn scratch;       /* what cannot be cached: code in device memory */
	struct insn *cache;        /* INSN_CACHE_SIZE entries, by hash of the key */
};

/*
 * decode.c: the instruction at CS:RIP when the cache (see run.c) does not have it: fetch and decode;
 * raises the fetch's faults.
 */
const struct insn *decode_fetch(struct vcpu *v);
/* Set up the decoders for what the policy gives the guest, and the caches. */
int decode_init(struct interp *c, const struct cpuid_policy *p, struct err *e);
void decode_flush(struct interp *c); /* drop every cached instruction */
void decode_release(struct interp *c);

/* Key of the cache: guest-physical address of the first byte, decoding mode above bit 56; never 0. */
static inline uint64_t insn_key(const struct interp *c, uint64_t gpa)
{
	return gpa | (uint64_t)(c->decode_mode + 1) << 56;
}

static inline struct insn *insn_slot(struct interp *c, uint64_t key)
{
	uint32_t h = (uint32_t)(key ^ (key >> 52)) * 0x9e3779b1u;

	return &c->cache[h >> (32 - TUNE_INSN_CACHE_BITS)];
}

/*
 * Guest memory is read and written by exactly one instruction of the right width, so that what is
 * atomic for the guest's CPU is atomic here; the sanitizers do not see the guest's own races.
 */
static inline uint64_t host_load(const void *p, unsigned size)
{
	uint64_t val;

	switch (size) {
	case 1:
		__asm__ volatile("movzbl %1, %k0" : "=r"(val) : "m"(*(const uint8_t *)p) : "memory");
		break;
	case 2:
		__asm__ volatile("movzwl %1, %k0" : "=r"(val) : "m"(*(const uint16_t *)p) : "memory");
		break;
	case 4:
		__asm__ volatile("movl %1, %k0" : "=r"(val) : "m"(*(const uint32_t *)p) : "memory");
		break;
	default:
		__asm__ volatile("movq %1, %0" : "=r"(val) : "m"(*(const uint64_t *)p) : "memory");
		break;
	}
	return val;
}

static inline void host_store(void *p, unsigned size, uint64_t val)
{
	switch (size) {
	case 1:
		__asm__ volatile("movb %b1, %0" : "=m"(*(uint8_t *)p) : "q"(val) : "memory");
		break;
	case 2:
		__asm__ volatile("movw %w1, %0" : "=m"(*(uint16_t *)p) : "r"(val) : "memory");
		break;
	case 4:
		__asm__ volatile("movl %k1, %0" : "=m"(*(uint32_t *)p) : "r"(val) : "memory");
		break;
	default:
		__asm__ volatile("movq %1, %0" : "=m"(*(uint64_t *)p) : "r"(val) : "memory");
		break;
	}
}

/* Bytes of guest RAM to or from a buffer of ours; the sanitizers do not see the guest's own races here either. */
static inline void host_copy(void *dst, const void *src, uint64_t n)
{
	__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

/* Whether accesses need more than the TLB: data breakpoints or watchpoints armed, or alignment checked. */
static inline bool access_is_plain(const struct vcpu *v)
{
	return !((v->s.dr[7] & 0xff) | v->interp->align_check | v->debug.watching);
}

static inline uint64_t load_fast(struct vcpu *v, uint64_t la, unsigned size)
{
	void *p = tlb_lookup(v->tlb, v->interp->mmu_mode, ACCESS_READ, la);

	if (likely(p && (la & 0xfff) <= PAGE_SIZE - size && access_is_plain(v)))
		return host_load(p, size);
	return interp_load(v, la, size, v->interp->mmu_mode);
}

static inline void store_fast(struct vcpu *v, uint64_t la, unsigned size, uint64_t val)
{
	struct tlb_entry *e = tlb_slot(v->tlb, v->interp->mmu_mode, la);

	if (likely(e->tag[ACCESS_WRITE] == ((la & PAGE_MASK) | v->tlb->pcid) &&
		   (la & 0xfff) <= PAGE_SIZE - size && access_is_plain(v))) {
		host_store((void *)(e->addend + la), size, val);
		if (unlikely(atomic_load_explicit(&v->ram->flags[e->gpa >> PAGE_SHIFT],
						  memory_order_relaxed)))
			ram_written(v->ram, e->gpa | (la & 0xfff), size);
		return;
	}
	interp_store(v, la, size, val, v->interp->mmu_mode);
}

static inline uint64_t ea_of(const struct vcpu *v, const struct insn *in)
{
	uint64_t ea = (int64_t)in->disp;

	if (in->base < INSN_NO_REG)
		ea += v->s.gpr[in->base];
	else if (in->base == INSN_RIP)
		ea += v->s.rip;
	if (in->index < INSN_NO_REG)
		ea += v->s.gpr[in->index] * in->scale;
	if (likely(in->asize == 8))
		return ea;
	return in->asize == 4 ? (uint32_t)ea : (uint16_t)ea;
}

/* Linear address of the memory operand: the 64-bit case inline, the others by interp_linear(). */
static inline uint64_t la_of(struct vcpu *v, const struct insn *in, unsigned len, enum mmu_access access)
{
	uint64_t la = ea_of(v, in);
	unsigned sh = v->interp->canonical_shift;

	if (likely(v->interp->long64)) {
		if (unlikely(in->seg >= SEG_FS))
			la += v->s.seg[in->seg].base;
		if (likely((uint64_t)((int64_t)(la << sh) >> sh) == la))
			return la;
		la = ea_of(v, in);
	}
	return interp_linear(v, (enum x86_segreg)in->seg, la, len, access);
}

#endif
