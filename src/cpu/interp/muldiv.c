/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multiplication, division, sign extension of the accumulator and decimal arithmetic. */
#include "cpu/interp/alu.h"
#include "cpu/interp/context.h"

/* The double-width accumulator: AX for bytes, else xDX:xAX. */
static void set_product(struct vcpu *v, unsigned size, uint64_t lo, uint64_t hi)
{
	if (size == 1) {
		gpr_write(v, R_AX, 2, (lo & 0xff) | (hi & 0xff) << 8);
		return;
	}
	gpr_write(v, R_AX, size, lo);
	gpr_write(v, R_DX, size, hi);
}

/* -- Multiplication -------------------------------------------------------------------------------- */

/*
 * The flags that SDM vol. 2 leaves undefined come out as the host's, from its own instruction; some processors leave them
 * as they were, so the guest's go in (SAHF; OF is defined).
 */
struct product {
	uint64_t lo, hi;
	uint32_t ax; /* "lahf; seto al" */
};

static uint32_t flags_in_ah(uint64_t rflags)
{
	return (uint32_t)(rflags & 0xff) << 8;
}

static struct product multiply(unsigned size, bool is_signed, uint64_t a, uint64_t b, uint64_t rflags)
{
	struct product p = { .lo = a };
	uint64_t d = 0;

#define CASE(sz, suffix, reg)                                                                                \
	case sz:                                                                                             \
		if (is_signed)                                                                               \
			__asm__("sahf; mov %3, %%rax; imul" suffix " %" reg "4; mov %%rax, %0; lahf; seto %%al"    \
				: "=&r"(p.lo), "=&d"(d), "=&a"(p.ax)                                        \
				: "r"(a), "r"(b), "2"(flags_in_ah(rflags)) : "cc");                          \
		else                                                                                         \
			__asm__("sahf; mov %3, %%rax; mul" suffix " %" reg "4; mov %%rax, %0; lahf; seto %%al"     \
				: "=&r"(p.lo), "=&d"(d), "=&a"(p.ax)                                        \
				: "r"(a), "r"(b), "2"(flags_in_ah(rflags)) : "cc");                          \
		break;
	switch (size) {
	CASE(1, "b", "b")
	CASE(2, "w", "w")
	CASE(4, "l", "k")
	default:
	CASE(8, "q", "q")
	}
#undef CASE
	p.hi = size == 1 ? p.lo >> 8 : d;
	return p;
}

static void mul(struct vcpu *v, const struct insn *in)
{
	struct product p = multiply(in->size, false, v->s.gpr[R_AX], insn_read_rm(v, in, in->size), v->s.rflags);

	set_product(v, in->size, p.lo, p.hi);
	set_arith(&v->s.rflags, FL_ARITH, p.ax);
}

static void imul_1(struct vcpu *v, const struct insn *in)
{
	struct product p = multiply(in->size, true, v->s.gpr[R_AX], insn_read_rm(v, in, in->size), v->s.rflags);

	set_product(v, in->size, p.lo, p.hi);
	set_arith(&v->s.rflags, FL_ARITH, p.ax);
}

/* The two- and three-operand forms keep the low half; a word times a word, never bytes. */
static void imul_to_reg(struct vcpu *v, const struct insn *in, uint64_t a, uint64_t b)
{
	uint32_t ax = flags_in_ah(v->s.rflags);

	switch (in->size) {
	case 2:
		__asm__("sahf; imulw %w2, %w1; lahf; seto %%al" : "+&a"(ax), "+&r"(a) : "r"(b) : "cc");
		break;
	case 4:
		__asm__("sahf; imull %k2, %k1; lahf; seto %%al" : "+&a"(ax), "+&r"(a) : "r"(b) : "cc");
		break;
	default:
		__asm__("sahf; imulq %2, %1; lahf; seto %%al" : "+&a"(ax), "+&r"(a) : "r"(b) : "cc");
		break;
	}
	insn_write_reg(v, in, in->size, a);
	set_arith(&v->s.rflags, FL_ARITH, ax);
}

static void imul_2(struct vcpu *v, const struct insn *in)
{
	imul_to_reg(v, in, insn_read_reg(v, in, in->size), insn_read_rm(v, in, in->size));
}

static void imul_3(struct vcpu *v, const struct insn *in)
{
	imul_to_reg(v, in, insn_read_rm(v, in, in->size), (uint64_t)in->imm);
}

static void bind_imul(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	switch (d->i.operand_count_visible) {
	case 1:
		in->fn = imul_1;
		break;
	case 2:
		in->fn = imul_2;
		break;
	default:
		in->fn = imul_3;
		break;
	}
}

/* -- Division --------------------------------------------------------------------------------------- */

static void set_quotient(struct vcpu *v, unsigned size, uint64_t quotient, uint64_t remainder)
{
	set_product(v, size, quotient, remainder);
}

static unsigned __int128 dividend(const struct vcpu *v, unsigned size)
{
	uint64_t lo = v->s.gpr[R_AX] & size_mask(size), hi = v->s.gpr[R_DX] & size_mask(size);

	if (size == 1)
		return v->s.gpr[R_AX] & 0xffff;
	return (unsigned __int128)hi << (size * 8) | lo;
}

static void div_op(struct vcpu *v, const struct insn *in)
{
	unsigned size = in->size;
	uint64_t d = insn_read_rm(v, in, size);
	unsigned __int128 n = dividend(v, size), q;

	if (!d)
		interp_raise(v, X86_DE);
	q = n / d;
	if (q > size_mask(size))
		interp_raise(v, X86_DE);
	set_quotient(v, size, (uint64_t)q, (uint64_t)(n % d));
}

/* By magnitudes, so that the most negative dividend overflows nothing of ours. */
static void idiv_op(struct vcpu *v, const struct insn *in)
{
	unsigned bits = in->size * 8u, total = in->size == 1 ? 16 : bits * 2;
	int64_t d = sign_extend(insn_read_rm(v, in, in->size), bits);
	unsigned __int128 n = dividend(v, in->size), q;
	bool n_neg = n >> (total - 1) & 1, d_neg = d < 0;
	uint64_t dm = d_neg ? 0 - (uint64_t)d : (uint64_t)d, r;

	if (!d)
		interp_raise(v, X86_DE);
	if (n_neg) {
		n = 0 - n;
		if (total < 128)
			n &= ((unsigned __int128)1 << total) - 1;
	}
	q = n / dm;
	r = (uint64_t)(n % dm);
	if (q > (unsigned __int128)1 << (bits - 1) || (n_neg == d_neg && q >> (bits - 1)))
		interp_raise(v, X86_DE);
	set_quotient(v, in->size, n_neg != d_neg ? 0 - (uint64_t)q : (uint64_t)q, n_neg ? 0 - r : r);
}

/* -- Sign extension ------------------------------------------------------------------------------------ */

/* CBW, CWDE, CDQE: the lower half of the accumulator into the whole. */
static void extend_ax(struct vcpu *v, const struct insn *in)
{
	gpr_write(v, R_AX, in->osize, (uint64_t)sign_extend(v->s.gpr[R_AX], in->osize * 4u));
}

/* CWD, CDQ, CQO: the sign of the accumulator into all of xDX. */
static void extend_dx(struct vcpu *v, const struct insn *in)
{
	gpr_write(v, R_DX, in->osize, sign_extend(v->s.gpr[R_AX], in->osize * 8u) < 0 ? ~0ull : 0);
}

/* -- Decimal arithmetic (not in 64-bit mode), SDM vol. 2 ------------------------------------------------- */

static void set_ah(struct vcpu *v, uint64_t ah)
{
	v->s.gpr[R_AX] = (v->s.gpr[R_AX] & ~0xff00ull) | (ah & 0xff) << 8;
}

/* SF, ZF and PF of AL as a logical instruction sets them; CF, AF and OF as given. */
static void decimal_flags(struct vcpu *v, uint64_t carry_flags)
{
	uint64_t al = v->s.gpr[R_AX] & 0xff, fl = v->s.rflags;

	alu(ALU_TEST, 1, al, al, &fl);
	v->s.rflags = (fl & ~(FL_CF | FL_AF)) | carry_flags;
}

static void daa_das(struct vcpu *v, const struct insn *in)
{
	uint64_t al = v->s.gpr[R_AX] & 0xff, fl = v->s.rflags, out = 0, r = al;
	bool add = in->mnemonic == ZYDIS_MNEMONIC_DAA;

	if ((al & 0xf) > 9 || (fl & FL_AF)) {
		r = add ? r + 6 : r - 6;
		out |= FL_AF | (!add && al < 6 ? FL_CF : 0);
	}
	if (al > 0x99 || (fl & FL_CF)) {
		r = add ? r + 0x60 : r - 0x60;
		out |= FL_CF;
	}
	gpr_write(v, R_AX, 1, r);
	decimal_flags(v, out | (fl & FL_CF));
}

static void aaa_aas(struct vcpu *v, const struct insn *in)
{
	uint64_t ax = v->s.gpr[R_AX] & 0xffff, out = 0;
	bool add = in->mnemonic == ZYDIS_MNEMONIC_AAA;

	if ((ax & 0xf) > 9 || (v->s.rflags & FL_AF)) {
		ax = add ? ax + 0x106 : ax - 0x106;
		out = FL_AF | FL_CF;
	}
	gpr_write(v, R_AX, 2, ax & 0xff0f);
	decimal_flags(v, out);
}

static void aam(struct vcpu *v, const struct insn *in)
{
	uint8_t al = (uint8_t)v->s.gpr[R_AX], base = (uint8_t)in->imm;

	if (!base)
		interp_raise(v, X86_DE);
	set_ah(v, al / base);
	gpr_write(v, R_AX, 1, al % base);
	decimal_flags(v, 0);
}

static void aad(struct vcpu *v, const struct insn *in)
{
	uint64_t al = v->s.gpr[R_AX] & 0xff, ah = v->s.gpr[R_AX] >> 8 & 0xff;

	gpr_write(v, R_AX, 2, (al + ah * (uint8_t)in->imm) & 0xff);
	decimal_flags(v, 0);
}

/* SALC: undocumented, in every processor: AL = CF ? FF : 0. */
static void salc(struct vcpu *v, const struct insn *in)
{
	gpr_write(v, R_AX, 1, v->s.rflags & FL_CF ? 0xff : 0);
}

const struct insn_def insns_muldiv[] = {
	{ ZYDIS_MNEMONIC_MUL, mul, NULL },
	{ ZYDIS_MNEMONIC_IMUL, NULL, bind_imul },
	{ ZYDIS_MNEMONIC_DIV, div_op, NULL },
	{ ZYDIS_MNEMONIC_IDIV, idiv_op, NULL },
	{ ZYDIS_MNEMONIC_CBW, extend_ax, NULL },
	{ ZYDIS_MNEMONIC_CWDE, extend_ax, NULL },
	{ ZYDIS_MNEMONIC_CDQE, extend_ax, NULL },
	{ ZYDIS_MNEMONIC_CWD, extend_dx, NULL },
	{ ZYDIS_MNEMONIC_CDQ, extend_dx, NULL },
	{ ZYDIS_MNEMONIC_CQO, extend_dx, NULL },
	{ ZYDIS_MNEMONIC_DAA, daa_das, NULL },
	{ ZYDIS_MNEMONIC_DAS, daa_das, NULL },
	{ ZYDIS_MNEMONIC_AAA, aaa_aas, NULL },
	{ ZYDIS_MNEMONIC_AAS, aaa_aas, NULL },
	{ ZYDIS_MNEMONIC_AAM, aam, NULL },
	{ ZYDIS_MNEMONIC_AAD, aad, NULL },
	{ ZYDIS_MNEMONIC_SALC, salc, NULL },
	INSN_DEFS_END,
};
