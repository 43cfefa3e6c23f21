/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String instructions, restartable after every element; long copies and fills go page by page. */
#include "cpu/interp/alu.h"
#include "cpu/interp/context.h"
#include "cpu/rep.h"

/* One element. Registers are updated by the caller once it has succeeded. */
typedef void (*element_fn)(struct vcpu *v, const struct insn *in, uint64_t src, uint64_t dst);

static uint64_t load_src(struct vcpu *v, const struct insn *in, uint64_t off)
{
	return load_fast(v, interp_linear(v, (enum x86_segreg)in->seg, off, in->size, ACCESS_READ), in->size);
}

static uint64_t load_dst(struct vcpu *v, const struct insn *in, uint64_t off)
{
	return load_fast(v, interp_linear(v, SEG_ES, off, in->size, ACCESS_READ), in->size);
}

static void store_dst(struct vcpu *v, const struct insn *in, uint64_t off, uint64_t val)
{
	store_fast(v, interp_linear(v, SEG_ES, off, in->size, ACCESS_WRITE), in->size, val);
}

static void movs(struct vcpu *v, const struct insn *in, uint64_t src, uint64_t dst)
{
	store_dst(v, in, dst, load_src(v, in, src));
}

static void stos(struct vcpu *v, const struct insn *in, uint64_t src, uint64_t dst)
{
	store_dst(v, in, dst, v->s.gpr[R_AX]);
}

static void lods(struct vcpu *v, const struct insn *in, uint64_t src, uint64_t dst)
{
	gpr_write(v, R_AX, in->size, load_src(v, in, src));
}

static void compare(struct vcpu *v, unsigned size, uint64_t a, uint64_t b)
{
	switch (size) {
	case 1: alu(ALU_CMP, 1, a, b, &v->s.rflags); break;
	case 2: alu(ALU_CMP, 2, a, b, &v->s.rflags); break;
	case 4: alu(ALU_CMP, 4, a, b, &v->s.rflags); break;
	default: alu(ALU_CMP, 8, a, b, &v->s.rflags); break;
	}
}

static void scas(struct vcpu *v, const struct insn *in, uint64_t src, uint64_t dst)
{
	compare(v, in->size, v->s.gpr[R_AX], load_dst(v, in, dst));
}

static void cmps(struct vcpu *v, const struct insn *in, uint64_t src, uint64_t dst)
{
	uint64_t b = load_dst(v, in, dst); /* the first to fault, as on AMD processors */

	compare(v, in->size, load_src(v, in, src), b);
}

enum { USES_SRC = 1, USES_DST = 2, COMPARES = 4 };

/* -- Whole pages -------------------------------------------------------------------------------------- */

/* Whether offsets in seg are linear addresses but for a base, with nothing to check up to `last`. */
static bool is_flat(const struct vcpu *v, enum x86_segreg seg, uint64_t off, uint64_t len, bool write)
{
	const struct x86_seg *s = &v->s.seg[seg];

	if (v->interp->long64)
		return seg < SEG_FS;
	return (s->attr & SEG_P) && !(s->attr & SEG_CODE) && !(s->attr & SEG_CONF) && (!write || (s->attr & SEG_RW)) &&
	       off + len - 1 <= s->limit && (uint64_t)s->base + off + len <= BIT(32);
}

/* Host address of [off, ...) when the TLB has its page, and how many bytes are left in that page. */
static uint8_t *flat_ptr(struct vcpu *v, enum x86_segreg seg, uint64_t off, enum mmu_access access, uint64_t *left,
			 uint64_t *gpa)
{
	uint64_t la = v->interp->long64 ? off : (uint32_t)(v->s.seg[seg].base + off);
	uint8_t *p = tlb_lookup(v->tlb, v->interp->mmu_mode, access, la);

	*left = PAGE_SIZE - (la & 0xfff);
	*gpa = tlb_slot(v->tlb, v->interp->mmu_mode, la)->gpa | (la & 0xfff);
	return p;
}

/*
 * Do as many elements as lie in the current pages at once. Returns their number, 0 when one has to be
 * done the careful way (backward, page crossing, page not in the TLB, device, breakpoints).
 */
static uint64_t bulk(struct vcpu *v, const struct insn *in, uint64_t count, uint64_t src, uint64_t dst, unsigned uses)
{
	uint64_t n, left, left_src, gpa, src_gpa;
	const uint8_t *s = NULL;
	uint8_t *d;

	if ((v->s.rflags & (FL_DF | FL_TF)) || !access_is_plain(v) || (uses & COMPARES) || !(uses & USES_DST))
		return 0;
	d = flat_ptr(v, SEG_ES, dst, ACCESS_WRITE, &left, &gpa);
	if (!d)
		return 0;
	if (uses & USES_SRC) {
		s = flat_ptr(v, (enum x86_segreg)in->seg, src, ACCESS_READ, &left_src, &src_gpa);
		if (!s)
			return 0;
		left = MIN(left, left_src);
	}
	n = MIN(left / in->size, count);
	/* Offsets that wrap at the address size, or a limit inside of the range: one by one. */
	if (!n || dst > size_mask(in->asize) - n * in->size || src > size_mask(in->asize) - n * in->size ||
	    !is_flat(v, SEG_ES, dst, n * in->size, true) ||
	    (s && !is_flat(v, (enum x86_segreg)in->seg, src, n * in->size, false)))
		return 0;
	if (s)
		rep_copy(d, s, n, in->size);
	else
		rep_fill(d, v->s.gpr[R_AX], n, in->size);
	ram_note_write(v->ram, gpa, n * in->size);
	return n;
}

/* -- The loop -------------------------------------------------------------------------------------------- */

static void advance(struct vcpu *v, const struct insn *in, uint64_t n, unsigned uses)
{
	uint64_t delta = (v->s.rflags & FL_DF) ? 0 - n * in->size : n * in->size;

	if (uses & USES_SRC)
		gpr_write(v, R_SI, in->asize, v->s.gpr[R_SI] + delta);
	if (uses & USES_DST)
		gpr_write(v, R_DI, in->asize, v->s.gpr[R_DI] + delta);
	if (in->flags & (INSN_REP | INSN_REPNE))
		gpr_write(v, R_CX, in->asize, v->s.gpr[R_CX] - n);
}

static bool condition_ends(const struct vcpu *v, const struct insn *in)
{
	bool zf = v->s.rflags & FL_ZF;

	return in->flags & INSN_REP ? !zf : zf;
}

/*
 * Elements until the count or the condition ends it. Between elements everything is committed, so a
 * fault, an interrupt or a trap restarts the instruction where it stands (SDM vol. 2, REP).
 */
static void repeat(struct vcpu *v, const struct insn *in, element_fn element, unsigned uses)
{
	uint64_t count = gpr_read(v, R_CX, in->asize), n;

	for (unsigned batch = 0; count; batch++) {
		uint64_t src = gpr_read(v, R_SI, in->asize), dst = gpr_read(v, R_DI, in->asize);

		n = bulk(v, in, count, src, dst, uses);
		if (!n) {
			element(v, in, src, dst);
			n = 1;
		}
		advance(v, in, n, uses);
		count -= n;
		if ((uses & COMPARES) && condition_ends(v, in))
			return;
		if (count && (vcpu_pauses_rep(v, batch >= TUNE_REP_BATCH) || (v->s.rflags & FL_TF) || v->interp->debug_bits ||
			      v->debug.stop == DEBUG_WATCHED)) {
			/* RF: an interrupt between iterations pushes it set (SDM vol. 3, 17.3.1.1). */
			v->s.rflags |= FL_RF;
			interp_set_next_rip(v, v->s.rip);
			return;
		}
	}
}

static void string_insn(struct vcpu *v, const struct insn *in, element_fn element, unsigned uses)
{
	if (in->flags & (INSN_REP | INSN_REPNE)) {
		repeat(v, in, element, uses);
		return;
	}
	element(v, in, gpr_read(v, R_SI, in->asize), gpr_read(v, R_DI, in->asize));
	advance(v, in, 1, uses);
}

#define STRING_INSN(name, uses)                                                                              \
	static void name##_insn(struct vcpu *v, const struct insn *in)                                       \
	{                                                                                                    \
		string_insn(v, in, name, uses);                                                              \
	}
STRING_INSN(movs, USES_SRC | USES_DST)
STRING_INSN(stos, USES_DST)
STRING_INSN(lods, USES_SRC)
STRING_INSN(scas, USES_DST | COMPARES)
STRING_INSN(cmps, USES_SRC | USES_DST | COMPARES)

/* F2 repeats MOVS, STOS and LODS as F3 does; of several the last counts. */
static void set_repeat(struct insn *in, const struct decoded *d)
{
	in->flags &= (uint8_t) ~(INSN_REP | INSN_REPNE);
	for (unsigned i = 0; i < d->i.raw.prefix_count; i++) {
		uint8_t p = d->i.raw.prefixes[i].value;

		if (p == 0xf3)
			in->flags = (uint8_t)((in->flags & ~INSN_REPNE) | INSN_REP);
		else if (p == 0xf2)
			in->flags = (uint8_t)((in->flags & ~INSN_REP) | INSN_REPNE);
	}
}

/* The source's segment may be overridden; it is that of the operand that RSI addresses. */
static void set_source(struct insn *in, const struct decoded *d)
{
	for (unsigned i = 0; i < d->i.operand_count; i++) {
		const ZydisDecodedOperand *o = &d->op[i];

		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		in->size = (uint8_t)(o->size / 8);
		if (ZydisRegisterGetId(o->mem.base) == R_SI)
			in->seg = (uint8_t)(o->mem.segment - ZYDIS_REGISTER_ES);
	}
}

static insn_fn string_fn(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_MOVSB:
	case ZYDIS_MNEMONIC_MOVSW:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_MOVSQ:
		return movs_insn;
	case ZYDIS_MNEMONIC_STOSB:
	case ZYDIS_MNEMONIC_STOSW:
	case ZYDIS_MNEMONIC_STOSD:
	case ZYDIS_MNEMONIC_STOSQ:
		return stos_insn;
	case ZYDIS_MNEMONIC_LODSB:
	case ZYDIS_MNEMONIC_LODSW:
	case ZYDIS_MNEMONIC_LODSD:
	case ZYDIS_MNEMONIC_LODSQ:
		return lods_insn;
	case ZYDIS_MNEMONIC_SCASB:
	case ZYDIS_MNEMONIC_SCASW:
	case ZYDIS_MNEMONIC_SCASD:
	case ZYDIS_MNEMONIC_SCASQ:
		return scas_insn;
	default:
		return cmps_insn;
	}
}

/* MOVSD and CMPSD are SSE instructions too. */
static void bind_string(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	if (d->i.meta.category != ZYDIS_CATEGORY_STRINGOP) {
		hostexec_bind(v, in, d);
		return;
	}
	set_repeat(in, d);
	set_source(in, d);
	in->flags &= (uint8_t)~INSN_RM_IS_MEM;
	in->fn = string_fn(d->i.mnemonic);
}

/* XLAT: AL = [seg: xBX + AL]. */
static void xlat(struct vcpu *v, const struct insn *in)
{
	uint64_t off = (v->s.gpr[R_BX] + (v->s.gpr[R_AX] & 0xff)) & size_mask(in->asize);

	gpr_write(v, R_AX, 1, load_fast(v, interp_linear(v, (enum x86_segreg)in->seg, off, 1, ACCESS_READ), 1));
}

static void bind_xlat(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	in->seg = SEG_DS;
	for (unsigned i = 0; i < d->i.operand_count; i++)
		if (d->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			in->seg = (uint8_t)(d->op[i].mem.segment - ZYDIS_REGISTER_ES);
	in->fn = xlat;
}

#define STRING_ROW(m) { ZYDIS_MNEMONIC_##m, NULL, bind_string }
const struct insn_def insns_string[] = {
	STRING_ROW(MOVSB), STRING_ROW(MOVSW), STRING_ROW(MOVSD), STRING_ROW(MOVSQ),
	STRING_ROW(STOSB), STRING_ROW(STOSW), STRING_ROW(STOSD), STRING_ROW(STOSQ),
	STRING_ROW(LODSB), STRING_ROW(LODSW), STRING_ROW(LODSD), STRING_ROW(LODSQ),
	STRING_ROW(SCASB), STRING_ROW(SCASW), STRING_ROW(SCASD), STRING_ROW(SCASQ),
	STRING_ROW(CMPSB), STRING_ROW(CMPSW), STRING_ROW(CMPSD), STRING_ROW(CMPSQ),
	{ ZYDIS_MNEMONIC_XLAT, NULL, bind_xlat },
	INSN_DEFS_END,
};
