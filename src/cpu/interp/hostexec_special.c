/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unprivileged instructions that a stub would not fit: MXCSR loads, which the policy checks; implicit
 * memory operands; cache control, which has nothing to do on ordinary RAM but to fault; VZEROUPPER.
 */
#include <string.h>

#include "cpu/interp/hostexec_int.h"

/* -- MXCSR ----------------------------------------------------------------------------------------------- */

static void load_mxcsr(struct vcpu *v, const struct insn *in)
{
	uint32_t val = (uint32_t)interp_load(v, insn_la(v, in, 4, ACCESS_READ), 4, v->interp->mmu_mode);

	if (val & ~v->cpuid->mxcsr_mask)
		GP0(v);
	v->s.fpu.mxcsr = val;
}

static void store_mxcsr(struct vcpu *v, const struct insn *in)
{
	interp_store(v, insn_la(v, in, 4, ACCESS_WRITE), 4, v->s.fpu.mxcsr, v->interp->mmu_mode);
}

static void insn_ldmxcsr(struct vcpu *v, const struct insn *in)
{
	hx_check(v, HX_SSE);
	load_mxcsr(v, in);
}

static void insn_vldmxcsr(struct vcpu *v, const struct insn *in)
{
	hx_check(v, HX_AVX);
	load_mxcsr(v, in);
}

static void insn_stmxcsr(struct vcpu *v, const struct insn *in)
{
	hx_check(v, HX_SSE);
	store_mxcsr(v, in);
}

static void insn_vstmxcsr(struct vcpu *v, const struct insn *in)
{
	hx_check(v, HX_AVX);
	store_mxcsr(v, in);
}

/* -- Clearing vector registers --------------------------------------------------------------------------- */

static void zero_from(struct vcpu *v, unsigned byte)
{
	unsigned n = v->interp->long64 ? 16 : 8; /* registers that the mode can name */

	hx_check(v, HX_AVX);
	for (unsigned r = 0; r < n; r++)
		memset(v->s.fpu.zmm[r] + byte, 0, 64 - byte);
}

static void insn_vzeroupper(struct vcpu *v, const struct insn *in)
{
	zero_from(v, 16);
}

static void insn_vzeroall(struct vcpu *v, const struct insn *in)
{
	zero_from(v, 0);
}

/* -- Implicit memory operands ---------------------------------------------------------------------------- */

static void insn_maskmovq(struct vcpu *v, const struct insn *in)
{
	struct x86_fpu *f = &v->s.fpu;
	uint8_t data[8], mask[8];

	hx_mmx_begin(v);
	memcpy(data, hx_mmx_reg(f, in->reg & 7u), sizeof(data));
	memcpy(mask, hx_mmx_reg(f, in->rm & 7u), sizeof(mask));
	hx_mmx_end(f); /* before the store, which may fault: so it is on AMD's */
	hx_store_bytes(v, in, data, mask, sizeof(data));
}

static void insn_maskmovdqu(struct vcpu *v, const struct insn *in)
{
	hx_check(v, HX_SSE);
	hx_store_bytes(v, in, v->s.fpu.zmm[in->reg], v->s.fpu.zmm[in->rm], 16);
}

static void insn_vmaskmovdqu(struct vcpu *v, const struct insn *in)
{
	hx_check(v, HX_AVX);
	hx_store_bytes(v, in, v->s.fpu.zmm[in->reg], v->s.fpu.zmm[in->rm], 16);
}

#define CACHE_LINE 64

static void insn_clzero(struct vcpu *v, const struct insn *in)
{
	static const uint8_t zero[CACHE_LINE];
	uint64_t off = ALIGN_DOWN(insn_ea(v, in), CACHE_LINE);
	uint64_t la = interp_linear(v, (enum x86_segreg)in->seg, off, CACHE_LINE, ACCESS_WRITE);

	interp_store_buf(v, la, zero, CACHE_LINE, v->interp->mmu_mode);
}

/* 64 bytes to ES:reg; atomic as far as the host's copying is, which the guest's own caches hide. */
static void insn_movdir64b(struct vcpu *v, const struct insn *in)
{
	uint64_t off = v->s.gpr[in->reg / 8] & size_mask(in->asize);
	uint8_t buf[CACHE_LINE];
	uint64_t to;

	interp_load_buf(v, insn_la(v, in, CACHE_LINE, ACCESS_READ), buf, CACHE_LINE, v->interp->mmu_mode);
	to = interp_linear(v, SEG_ES, off, CACHE_LINE, ACCESS_WRITE);
	if (to % CACHE_LINE)
		GP0(v);
	interp_store_buf(v, to, buf, CACHE_LINE, v->interp->mmu_mode);
}

/* -- Caches and order ------------------------------------------------------------------------------------ */

/* CLFLUSH faults as a load of one byte does. */
static void insn_clflush(struct vcpu *v, const struct insn *in)
{
	interp_probe(v, insn_la(v, in, 1, ACCESS_READ), 1, ACCESS_READ, v->interp->mmu_mode);
}

static void insn_hint(struct vcpu *v, const struct insn *in)
{
}

static void insn_fence(struct vcpu *v, const struct insn *in)
{
	__builtin_ia32_mfence();
}

/* -- Binding --------------------------------------------------------------------------------------------- */

static const struct {
	uint16_t mnemonic;
	int8_t implicit; /* register that addresses memory implicitly, or -1 */
	insn_fn fn;
} specials[] = {
	{ ZYDIS_MNEMONIC_LDMXCSR, -1, insn_ldmxcsr },
	{ ZYDIS_MNEMONIC_VLDMXCSR, -1, insn_vldmxcsr },
	{ ZYDIS_MNEMONIC_STMXCSR, -1, insn_stmxcsr },
	{ ZYDIS_MNEMONIC_VSTMXCSR, -1, insn_vstmxcsr },
	{ ZYDIS_MNEMONIC_VZEROUPPER, -1, insn_vzeroupper },
	{ ZYDIS_MNEMONIC_VZEROALL, -1, insn_vzeroall },
	{ ZYDIS_MNEMONIC_MASKMOVQ, R_DI, insn_maskmovq },
	{ ZYDIS_MNEMONIC_MASKMOVDQU, R_DI, insn_maskmovdqu },
	{ ZYDIS_MNEMONIC_VMASKMOVDQU, R_DI, insn_vmaskmovdqu },
	{ ZYDIS_MNEMONIC_CLZERO, R_AX, insn_clzero },
	{ ZYDIS_MNEMONIC_MOVDIR64B, -1, insn_movdir64b },
	{ ZYDIS_MNEMONIC_CLFLUSH, -1, insn_clflush },
	{ ZYDIS_MNEMONIC_CLFLUSHOPT, -1, insn_clflush },
	{ ZYDIS_MNEMONIC_CLWB, -1, insn_clflush },
	{ ZYDIS_MNEMONIC_CLDEMOTE, -1, insn_hint },
	{ ZYDIS_MNEMONIC_PREFETCH, -1, insn_hint },
	{ ZYDIS_MNEMONIC_PREFETCHNTA, -1, insn_hint },
	{ ZYDIS_MNEMONIC_PREFETCHT0, -1, insn_hint },
	{ ZYDIS_MNEMONIC_PREFETCHT1, -1, insn_hint },
	{ ZYDIS_MNEMONIC_PREFETCHT2, -1, insn_hint },
	{ ZYDIS_MNEMONIC_PREFETCHW, -1, insn_hint },
	{ ZYDIS_MNEMONIC_PREFETCHWT1, -1, insn_hint },
	{ ZYDIS_MNEMONIC_SFENCE, -1, insn_fence },
	{ ZYDIS_MNEMONIC_LFENCE, -1, insn_fence },
	{ ZYDIS_MNEMONIC_MFENCE, -1, insn_fence },
	{ ZYDIS_MNEMONIC_SERIALIZE, -1, insn_fence },
};

/* DS, or the segment prefix that counts. */
static enum x86_segreg data_segment(const ZydisDecodedInstruction *i)
{
	static const struct {
		ZydisInstructionAttributes attribute;
		enum x86_segreg seg;
	} prefixes[] = {
		{ ZYDIS_ATTRIB_HAS_SEGMENT_ES, SEG_ES }, { ZYDIS_ATTRIB_HAS_SEGMENT_CS, SEG_CS },
		{ ZYDIS_ATTRIB_HAS_SEGMENT_SS, SEG_SS }, { ZYDIS_ATTRIB_HAS_SEGMENT_FS, SEG_FS },
		{ ZYDIS_ATTRIB_HAS_SEGMENT_GS, SEG_GS },
	};

	for (unsigned n = 0; n < ARRAY_SIZE(prefixes); n++)
		if (i->attributes & prefixes[n].attribute)
			return prefixes[n].seg;
	return SEG_DS;
}

insn_fn hx_bind_special(struct insn *in, const struct decoded *d)
{
	for (unsigned n = 0; n < ARRAY_SIZE(specials); n++) {
		if (specials[n].mnemonic != d->i.mnemonic)
			continue;
		if (specials[n].implicit >= 0) {
			in->base = (uint8_t)specials[n].implicit;
			in->index = INSN_NO_REG;
			in->disp = 0;
			in->seg = (uint8_t)data_segment(&d->i);
		}
		return specials[n].fn;
	}
	return NULL;
}
