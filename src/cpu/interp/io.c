/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IN, OUT, INS and OUTS, with IOPL and the I/O permission bitmap (SDM vol. 1, 18.5; vol. 2). */
#include "cpu/interp/debug.h"
#include "cpu/interp/seg.h"

#define TSS_IOMAP  102  /* offset of the I/O map base */
#define TSS32_MIN  0x67 /* limit of a TSS that has one */
#define IO_MAX     4    /* bytes of one access: REX.W does not widen it */

static unsigned io_size(const struct insn *in)
{
	return MIN(in->osize, IO_MAX);
}

/* The bitmap of the current TSS: all bits of the ports must be clear; what is beyond the limit is set. */
static bool bitmap_allows(struct vcpu *v, uint16_t port, unsigned size)
{
	const struct x86_seg *tr = &v->s.tr;
	uint64_t la_mask = x86_long_mode(&v->s) ? ~0ull : UINT32_MAX;
	uint32_t off;
	uint64_t bits;

	if (!(tr->attr & SEG_P) || !(SEG_TYPE(tr->attr) & 8) || tr->limit < TSS32_MIN)
		return false;
	off = (uint32_t)interp_load(v, (tr->base + TSS_IOMAP) & la_mask, 2, MMU_KERNEL) + port / 8u;
	/* Always two bytes: ports may straddle them, hence the byte of ones that ends a bitmap. */
	if (off + 1 > tr->limit)
		return false;
	bits = interp_load(v, (tr->base + off) & la_mask, 2, MMU_KERNEL);
	return !((bits >> (port & 7)) & ((1u << size) - 1));
}

static void check_permission(struct vcpu *v, uint16_t port, unsigned size)
{
	if (x86_v86(&v->s) || (x86_protected(&v->s) && v->s.cpl > bits_of(v->s.rflags, 13, 12)))
		if (!bitmap_allows(v, port, size))
			GP0(v);
}

static void check_io(struct vcpu *v, uint16_t port, unsigned size)
{
	uint64_t bits;

	check_permission(v, port, size);
	bits = debug_io_match(v, port, size);
	if (bits)
		interp_debug_trap(v, bits);
}

static void in_port(struct vcpu *v, const struct insn *in, uint16_t port)
{
	unsigned size = io_size(in);

	check_io(v, port, size);
	gpr_write(v, R_AX, size, vcpu_pio_read(v, port, size));
}

static void out_port(struct vcpu *v, const struct insn *in, uint16_t port)
{
	unsigned size = io_size(in);

	check_io(v, port, size);
	vcpu_pio_write(v, port, size, v->s.gpr[R_AX] & size_mask(size));
}

static void insn_in_imm(struct vcpu *v, const struct insn *in)
{
	in_port(v, in, (uint8_t)in->imm);
}

static void insn_in_dx(struct vcpu *v, const struct insn *in)
{
	in_port(v, in, (uint16_t)v->s.gpr[R_DX]);
}

static void insn_out_imm(struct vcpu *v, const struct insn *in)
{
	out_port(v, in, (uint8_t)in->imm);
}

static void insn_out_dx(struct vcpu *v, const struct insn *in)
{
	out_port(v, in, (uint16_t)v->s.gpr[R_DX]);
}

static bool has_immediate(const struct decoded *d)
{
	return d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE || d->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

static void bind_in(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	in->fn = has_immediate(d) ? insn_in_imm : insn_in_dx;
}

static void bind_out(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	in->fn = has_immediate(d) ? insn_out_imm : insn_out_dx;
}

/* -- Strings ----------------------------------------------------------------------------------- */

/* The permission is checked first; the memory must be writable before the port is read. */
static void ins_once(struct vcpu *v, const struct insn *in)
{
	unsigned size = io_size(in);
	uint16_t port = (uint16_t)v->s.gpr[R_DX];
	uint64_t la;

	check_io(v, port, size);
	la = interp_linear(v, SEG_ES, gpr_read(v, R_DI, in->asize), size, ACCESS_WRITE);
	interp_probe(v, la, size, ACCESS_WRITE, interp_mmu_mode(v));
	interp_store(v, la, size, vcpu_pio_read(v, port, size), interp_mmu_mode(v));
}

static void outs_once(struct vcpu *v, const struct insn *in)
{
	unsigned size = io_size(in);
	uint16_t port = (uint16_t)v->s.gpr[R_DX];
	uint64_t la;

	check_io(v, port, size);
	la = interp_linear(v, (enum x86_segreg)in->seg, gpr_read(v, R_SI, in->asize), size, ACCESS_READ);
	vcpu_pio_write(v, port, size, interp_load(v, la, size, interp_mmu_mode(v)));
}

static void step_index(struct vcpu *v, const struct insn *in, enum x86_reg index)
{
	int64_t delta = (v->s.rflags & FL_DF) ? -(int64_t)io_size(in) : (int64_t)io_size(in);

	gpr_write(v, index, in->asize, v->s.gpr[index] + (uint64_t)delta);
}

/*
 * Each iteration completes by itself: between two of them an interrupt, a request to leave, or a trap gets
 * in, with RIP still at the instruction and RF set (SDM vol. 2, REP; vol. 3, 17.3.1.1).
 */
static void io_string(struct vcpu *v, const struct insn *in, void (*once)(struct vcpu *, const struct insn *),
		      enum x86_reg index)
{
	uint64_t left;

	if (!(in->flags & (INSN_REP | INSN_REPNE))) {
		once(v, in);
		step_index(v, in, index);
		return;
	}
	left = gpr_read(v, R_CX, in->asize);
	if (!left && cpuid_vendor_is_amd(v->cpuid)) /* AMD's processors check for none, too */
		check_permission(v, (uint16_t)v->s.gpr[R_DX], io_size(in));
	while (left) {
		once(v, in);
		step_index(v, in, index);
		gpr_write(v, R_CX, in->asize, --left);
		if (!left)
			return;
		if (vcpu_pauses_rep(v, false) || (v->s.rflags & FL_TF) || (v->s.dr[7] & DR7_ENABLE_MASK) ||
		    v->debug.watching) {
			v->s.rflags |= FL_RF;
			interp_set_next_rip(v, v->s.rip);
			return;
		}
	}
}

static void insn_ins(struct vcpu *v, const struct insn *in)
{
	io_string(v, in, ins_once, R_DI);
}

static void insn_outs(struct vcpu *v, const struct insn *in)
{
	io_string(v, in, outs_once, R_SI);
}

/* The source of OUTS: DS:RSI, or the overriding segment. The memory operand is a hidden one. */
static void bind_outs(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	in->seg = SEG_DS;
	for (unsigned n = 0; n < d->i.operand_count; n++)
		if (d->op[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
			in->seg = (uint8_t)(d->op[n].mem.segment - ZYDIS_REGISTER_ES);
	in->fn = insn_outs;
}

const struct insn_def insns_io[] = {
	{ ZYDIS_MNEMONIC_IN, NULL, bind_in },
	{ ZYDIS_MNEMONIC_OUT, NULL, bind_out },
	{ ZYDIS_MNEMONIC_INSB, insn_ins, NULL },
	{ ZYDIS_MNEMONIC_INSW, insn_ins, NULL },
	{ ZYDIS_MNEMONIC_INSD, insn_ins, NULL },
	{ ZYDIS_MNEMONIC_OUTSB, NULL, bind_outs },
	{ ZYDIS_MNEMONIC_OUTSW, NULL, bind_outs },
	{ ZYDIS_MNEMONIC_OUTSD, NULL, bind_outs },
	INSN_DEFS_END,
};
