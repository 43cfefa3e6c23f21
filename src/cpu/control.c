/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads of CR0, CR3, CR4, XCR0 and EFER: checks and side effects (SDM vol. 3, 2.5, 4.10.4.1, 9.8.5; vol. 2, MOV CR). */
#include "cpu/vcpu.h"

#define CR0_DEFINED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

#define TSS16_AVAILABLE 1 /* system descriptor types, SDM vol. 3, table 3-2 */
#define TSS16_BUSY      3

/* CR0 and CR4 bits on which cached permissions, or the format of the tables, depend. */
#define CR0_FLUSH (CR0_PG | CR0_WP | CR0_PE)
#define CR4_FLUSH (CR4_PGE | CR4_PAE | CR4_PSE | CR4_LA57 | CR4_SMEP | CR4_SMAP)

/* Changes that reload the PDPTEs under PAE paging, SDM vol. 3, 4.4.1 */
#define CR0_PDPTE (CR0_PG | CR0_CD | CR0_NW)
#define CR4_PDPTE (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)

static void flush_all(struct vcpu *v)
{
	tlb_flush_all(v->tlb);
	if (v->engine && v->engine->tlb_flush)
		v->engine->tlb_flush(v);
}

/* Read the PDPTEs for PAE paging into s; false is #GP(0). */
static bool load_pdptes(struct vcpu *v, uint64_t cr3)
{
	uint64_t pdpte[4];

	if (!mmu_load_pdptes(v->mem, v->cpuid->gpa_bits, cr3, pdpte))
		return false;
	for (unsigned i = 0; i < 4; i++)
		v->s.pdpte[i] = pdpte[i];
	return true;
}

/* PG goes from 0 to 1 with EFER.LME: may IA-32e mode begin? SDM vol. 3, 9.8.5 */
static bool may_enter_long_mode(const struct x86_state *s)
{
	unsigned tss = SEG_TYPE(s->tr.attr);

	return (s->cr4 & CR4_PAE) && !(s->seg[SEG_CS].attr & SEG_L) && tss != TSS16_AVAILABLE && tss != TSS16_BUSY;
}

static bool cr0_allowed(const struct x86_state *s, uint64_t val)
{
	if (val >> 32)
		return false;
	if ((val & CR0_PG) && !(val & CR0_PE))
		return false;
	if ((val & CR0_NW) && !(val & CR0_CD))
		return false;
	if ((val & ~s->cr0 & CR0_PG) && (s->efer & EFER_LME))
		return may_enter_long_mode(s);
	if (s->cr0 & ~val & CR0_PG)
		return !(s->cr4 & CR4_PCIDE) && !x86_64bit(s);
	return true;
}

int vcpu_set_cr0(struct vcpu *v, uint64_t val)
{
	struct x86_state *s = &v->s;
	uint64_t changed;

	if (!cr0_allowed(s, val))
		return X86_GP;
	/* Other reserved bits below 32 are ignored; ET is hard-wired. */
	val = (val & CR0_DEFINED) | CR0_ET;
	changed = val ^ s->cr0;
	if ((val & CR0_PG) && (s->cr4 & CR4_PAE) && !(s->efer & EFER_LME) && (changed & CR0_PDPTE) &&
	    !load_pdptes(v, s->cr3))
		return X86_GP;
	s->cr0 = val;
	if ((val & CR0_PG) && (s->efer & EFER_LME))
		s->efer |= EFER_LMA;
	else
		s->efer &= ~EFER_LMA;
	if (changed & CR0_FLUSH)
		flush_all(v);
	return 0;
}

int vcpu_set_cr3(struct vcpu *v, uint64_t val)
{
	struct x86_state *s = &v->s;
	bool pcide = s->cr4 & CR4_PCIDE;
	bool noflush = pcide && (val & CR3_NOFLUSH);

	if (pcide)
		val &= ~CR3_NOFLUSH;
	if (x86_long_mode(s)) {
		if (val >> v->cpuid->gpa_bits)
			return X86_GP;
	} else {
		val &= UINT32_MAX;
	}
	if ((s->cr0 & CR0_PG) && (s->cr4 & CR4_PAE) && !x86_long_mode(s) && !load_pdptes(v, val))
		return X86_GP;
	s->cr3 = val;
	v->tlb->pcid = pcide ? val & CR3_PCID_MASK : 0;
	if (!noflush) {
		tlb_flush_nonglobal(v->tlb, v->tlb->pcid);
		if (v->engine && v->engine->tlb_flush)
			v->engine->tlb_flush(v);
	}
	return 0;
}

static bool cr4_allowed(const struct vcpu *v, uint64_t val)
{
	const struct x86_state *s = &v->s;
	uint64_t changed = val ^ s->cr4;

	if (val & ~v->cpuid->cr4_allowed)
		return false;
	/* In IA-32e mode PAE must stay, and the depth of the tables must not change. */
	if (x86_long_mode(s) && (changed & (CR4_PAE | CR4_LA57)))
		return false;
	if (changed & val & CR4_PCIDE)
		return x86_long_mode(s) && !(s->cr3 & CR3_PCID_MASK);
	return true;
}

int vcpu_set_cr4(struct vcpu *v, uint64_t val)
{
	struct x86_state *s = &v->s;
	uint64_t changed = val ^ s->cr4;

	if (!cr4_allowed(v, val))
		return X86_GP;
	if ((s->cr0 & CR0_PG) && (val & CR4_PAE) && !x86_long_mode(s) && (changed & CR4_PDPTE) &&
	    !load_pdptes(v, s->cr3))
		return X86_GP;
	s->cr4 = val;
	v->tlb->pcid = (val & CR4_PCIDE) ? s->cr3 & CR3_PCID_MASK : 0;
	if ((changed & CR4_FLUSH) || (changed & ~val & CR4_PCIDE))
		flush_all(v);
	return 0;
}

/* XSETBV of XCR0, SDM vol. 1, 13.3 */
int vcpu_set_xcr0(struct vcpu *v, uint64_t val)
{
	if ((val & ~v->cpuid->xcr0_allowed) || !(val & XCR0_X87))
		return X86_GP;
	if ((val & XCR0_AVX) && !(val & XCR0_SSE))
		return X86_GP;
	if ((val & XCR0_AVX512) && ((val & XCR0_AVX512) != XCR0_AVX512 || !(val & XCR0_AVX)))
		return X86_GP;
	v->s.xcr0 = val;
	return 0;
}

/* WRMSR of EFER. LMA is read-only: what is written there is ignored. */
int vcpu_set_efer(struct vcpu *v, uint64_t val)
{
	struct x86_state *s = &v->s;
	uint64_t changed;

	if (val & ~v->cpuid->efer_allowed)
		return X86_GP;
	val = (val & ~EFER_LMA) | (s->efer & EFER_LMA);
	changed = val ^ s->efer;
	if ((changed & EFER_LME) && (s->cr0 & CR0_PG))
		return X86_GP;
	s->efer = val;
	if (changed & EFER_NXE)
		flush_all(v);
	return 0;
}
