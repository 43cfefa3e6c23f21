/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rewrites a guest instruction for 64-bit mode with its memory operand at [base].
 *
 * The bytes are patched rather than encoded anew, so that every encoding keeps its meaning:
 *
 * 1. Legacy prefixes are written afresh: LOCK, 66 if it was there, the mandatory one of F2 and F3, REX.
 *    Segment and address-size prefixes go; so do F2 and F3 where they are hints (XACQUIRE would
 *    start a transaction around our own code).
 * 2. ModRM becomes mod 00, rm base; SIB and displacement go; REX.X/B, VEX.X/B, EVEX.X/B are cleared.
 *    base is one of the low registers, so that no REX is needed and AH to BH stay what they are.
 * 3. A register operand RSP becomes another low register that the instruction does not use.
 * 4. Outside of 64-bit mode the register-extension bits are ignored by hardware (SDM vol. 2, 2.3.5),
 *    so they are neutralized; W is ignored for general registers; and 16-bit code has 16-bit
 *    operands without a prefix. As the decoder does not say whether operand size and W matter to an
 *    opcode, the variants (W cleared, W kept, 66 toggled) are tried in turn.
 * 5. The result is decoded, and must be the same mnemonic with the same operands, its memory operand
 *    being exactly [base]. This finds the right variant in 4, and it is what keeps a guest from
 *    making the host execute anything but what was bound: a mistake in 1-4 is #UD, not an escape.
 */
#include <string.h>

#include "cpu/interp/hostexec_int.h"

enum { VARIANT_W1 = 1, VARIANT_66 = 2, VARIANTS = 4 };

/* Where the parts of the guest's encoding stand. */
struct parts {
	const struct decoded *d;
	bool long64, memory, vex;  /* vex: VEX, EVEX */
	unsigned opcode;           /* first byte after the prefixes */
	unsigned modrm, tail;      /* tail: immediates, after ModRM, SIB and displacement */
	unsigned variant;
};

int hx_gpr_number(ZydisRegister r)
{
	if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BL)
		return r - ZYDIS_REGISTER_AL;
	if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH)
		return r - ZYDIS_REGISTER_AH;
	if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_R15B)
		return r - ZYDIS_REGISTER_SPL + R_SP;
	if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W)
		return r - ZYDIS_REGISTER_AX;
	if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D)
		return r - ZYDIS_REGISTER_EAX;
	if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15)
		return r - ZYDIS_REGISTER_RAX;
	return -1;
}

/* -- Choice of registers --------------------------------------------------------------------------------- */

static int pick(const uint8_t *candidates, unsigned n, uint32_t *taken)
{
	for (unsigned i = 0; i < n; i++) {
		if (*taken & BIT(candidates[i]))
			continue;
		*taken |= (uint32_t)BIT(candidates[i]);
		return candidates[i];
	}
	return -1;
}

/* base and alias without REX bits; base and state where mod 00 and mod 10 have no special case. */
static bool choose_registers(struct hx_desc *out)
{
	static const uint8_t bases[] = { R_DI, R_SI, R_DX, R_CX, R_BX };
	static const uint8_t states[] = { R_SI, R_8, R_9, R_10, R_11, R_14, R_15 };
	static const uint8_t aliases[] = { R_DX, R_CX, R_BP, R_BX, R_DI, R_SI, R_AX };
	uint32_t taken = (uint32_t)(out->gpr_in | out->gpr_out) | BIT(R_SP);
	bool rsp = (out->gpr_in | out->gpr_out) & BIT(R_SP);
	int r;

	r = pick(bases, sizeof(bases), &taken);
	if (r < 0)
		return false;
	out->base = (uint8_t)r;
	r = pick(states, sizeof(states), &taken);
	if (r < 0)
		return false;
	out->state = (uint8_t)r;
	out->alias = HX_NO_ALIAS;
	if (!rsp)
		return true;
	r = pick(aliases, sizeof(aliases), &taken);
	if (r < 0)
		return false;
	out->alias = (uint8_t)r;
	return true;
}

/* -- Encoding -------------------------------------------------------------------------------------------- */

static bool is_rsp(const ZydisDecodedOperand *o)
{
	if (o->type != ZYDIS_OPERAND_TYPE_REGISTER || hx_gpr_number(o->reg.value) != R_SP)
		return false;
	return o->reg.value < ZYDIS_REGISTER_AH || o->reg.value > ZYDIS_REGISTER_BH;
}

/* Whether RSP is encoded at this place. */
static bool rsp_in(const struct decoded *d, ZydisOperandEncoding where)
{
	for (unsigned n = 0; n < d->i.operand_count; n++)
		if (d->op[n].encoding == where && is_rsp(&d->op[n]))
			return true;
	return false;
}

/* A register in the top bits of the immediate. */
static bool has_is4(const struct decoded *d)
{
	for (unsigned n = 0; n < d->i.operand_count; n++)
		if (d->op[n].encoding == ZYDIS_OPERAND_ENCODING_IS4)
			return true;
	return false;
}

static bool find_parts(const struct decoded *d, struct parts *p)
{
	const ZydisDecodedInstruction *i = &d->i;

	p->d = d;
	p->long64 = i->machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
	p->vex = i->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ||
		 i->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
	if (!p->vex && i->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
		return false;
	p->opcode = i->raw.prefix_count;
	if (p->vex)
		p->opcode = i->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? i->raw.vex.offset
									  : i->raw.evex.offset;
	p->modrm = 0;
	p->tail = i->raw.imm[0].size ? i->raw.imm[0].offset : i->length;
	if (i->attributes & ZYDIS_ATTRIB_HAS_MODRM) {
		p->modrm = i->raw.modrm.offset;
		p->tail = p->modrm + 1u + (i->attributes & ZYDIS_ATTRIB_HAS_SIB ? 1 : 0) +
			  i->raw.disp.size / 8u;
	}
	p->memory = p->modrm && i->raw.modrm.mod != 3;
	return p->opcode < i->length && p->tail <= i->length;
}

static unsigned put_prefixes(const struct parts *p, uint8_t *out)
{
	const ZydisDecodedInstruction *i = &p->d->i;
	bool opsize = p->variant & VARIANT_66;
	/* BSF and BSR may come as TZCNT and LZCNT that the policy hides. */
	bool scan = i->mnemonic == ZYDIS_MNEMONIC_BSF || i->mnemonic == ZYDIS_MNEMONIC_BSR;
	uint8_t mandatory = 0;
	unsigned n = 0;

	if (p->vex)
		return 0;
	for (unsigned k = 0; k < i->raw.prefix_count; k++) {
		uint8_t b = i->raw.prefixes[k].value;

		if (b == 0x66)
			opsize = !(p->variant & VARIANT_66);
		if ((b == 0xf2 || b == 0xf3) && !scan && i->raw.prefixes[k].type == ZYDIS_PREFIX_TYPE_MANDATORY)
			mandatory = b;
	}
	if (i->attributes & ZYDIS_ATTRIB_HAS_LOCK)
		out[n++] = 0xf0;
	if (opsize)
		out[n++] = 0x66;
	if (mandatory)
		out[n++] = mandatory;
	if (p->long64 && (i->attributes & ZYDIS_ATTRIB_HAS_REX))
		out[n++] = (uint8_t)(0x40 | i->raw.rex.W << 3 | i->raw.rex.R << 2 |
				     (p->memory ? 0 : i->raw.rex.X << 1 | i->raw.rex.B));
	return n;
}

/* The bytes of VEX or EVEX at v, SDM vol. 2, figures 2-9 and 2-10: extension bits are inverted. */
static void patch_vex(const struct parts *p, uint8_t *v, const struct hx_desc *d)
{
	bool evex = v[0] == 0x62, vex3 = v[0] == 0xc4;
	uint8_t *vvvv = evex || vex3 ? &v[2] : &v[1];

	if (p->memory && (evex || vex3))
		v[1] |= 0x60; /* X, B */
	if (!p->long64) {
		v[1] |= evex ? 0xf0 : vex3 ? 0xe0 : 0x80;
		*vvvv |= 0x40; /* the top bit of vvvv */
		if (evex)
			v[3] |= 0x08; /* V' */
	}
	if (!p->long64 && !(p->variant & VARIANT_W1) && (evex || vex3))
		v[2] &= 0x7f;
	if (rsp_in(p->d, ZYDIS_OPERAND_ENCODING_NDSNDD))
		*vvvv = (uint8_t)((*vvvv & ~0x78) | (~d->alias & 0xf) << 3);
}

static uint8_t patch_modrm(const struct parts *p, const struct hx_desc *d)
{
	uint8_t b = p->d->bytes[p->modrm];

	if (rsp_in(p->d, ZYDIS_OPERAND_ENCODING_MODRM_REG))
		b = (uint8_t)((b & ~0x38) | d->alias << 3);
	if (p->memory)
		return (uint8_t)((b & 0x38) | d->base);
	if (rsp_in(p->d, ZYDIS_OPERAND_ENCODING_MODRM_RM))
		b = (uint8_t)((b & ~7) | d->alias);
	return b;
}

/* Write out->code; false: longer than an instruction can be. */
static bool encode(const struct parts *p, struct hx_desc *out)
{
	const uint8_t *in = p->d->bytes;
	unsigned end = p->modrm ? p->modrm : p->tail, tail = p->d->i.length - p->tail;
	uint8_t buf[2 * ZYDIS_MAX_INSTRUCTION_LENGTH];
	unsigned n = put_prefixes(p, buf), opcode = n;

	memcpy(buf + n, in + p->opcode, end - p->opcode);
	n += end - p->opcode;
	if (p->vex)
		patch_vex(p, buf + opcode, out);
	else if (buf[opcode] == 0x82) /* an alias of 80 that 64-bit mode has not got */
		buf[opcode] = 0x80;
	else if (rsp_in(p->d, ZYDIS_OPERAND_ENCODING_OPCODE))
		buf[n - 1] = (uint8_t)((buf[n - 1] & ~7) | out->alias);
	if (p->modrm)
		buf[n++] = patch_modrm(p, out);
	memcpy(buf + n, in + p->tail, tail);
	n += tail;
	if (!p->long64 && has_is4(p->d))
		buf[n - 1] &= 0x7f;
	if (n > sizeof(out->code))
		return false;
	memcpy(out->code, buf, n);
	out->len = (uint8_t)n;
	return true;
}

/* -- Verification ---------------------------------------------------------------------------------------- */

static bool same_register(ZydisRegister guest, ZydisRegister host, const struct hx_desc *out)
{
	ZydisRegisterClass c = ZydisRegisterGetClass(guest);

	if (c == ZYDIS_REGCLASS_FLAGS)
		return ZydisRegisterGetClass(host) == ZYDIS_REGCLASS_FLAGS;
	if (guest == host)
		return hx_gpr_number(guest) != R_SP || guest == ZYDIS_REGISTER_AH ||
		       out->alias == HX_NO_ALIAS;
	return c == ZydisRegisterGetClass(host) && hx_gpr_number(guest) == R_SP &&
	       hx_gpr_number(host) == out->alias;
}

/*
 * Outside of 64-bit mode VPCMPESTRI with W set has 64-bit registers (of size 0) for Zydis 4.0; the processor
 * ignores W there.
 */
static ZydisRegister existing_register(const ZydisDecodedOperand *o)
{
	if (o->size || ZydisRegisterGetClass(o->reg.value) != ZYDIS_REGCLASS_GPR64)
		return o->reg.value;
	return o->reg.value - ZYDIS_REGISTER_RAX + ZYDIS_REGISTER_EAX;
}

static bool same_operand(const ZydisDecodedOperand *g, const ZydisDecodedOperand *h,
			 const struct hx_desc *out)
{
	if (g->type != h->type || g->visibility != h->visibility || g->actions != h->actions)
		return false;
	switch (g->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return same_register(existing_register(g), h->reg.value, out);
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		return g->imm.value.u == h->imm.value.u && !h->imm.is_relative;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		return g->size == h->size && h->mem.type == ZYDIS_MEMOP_TYPE_MEM &&
		       hx_gpr_number(h->mem.base) == out->base && h->mem.index == ZYDIS_REGISTER_NONE &&
		       !h->mem.disp.value && h->mem.segment == ZYDIS_REGISTER_DS;
	default:
		return false;
	}
}

static bool verify(struct hostexec *hx, const struct decoded *d, const struct hx_desc *out)
{
	ZydisDecodedInstruction i;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&hx->decoder, out->code, out->len, &i, op)))
		return false;
	if (i.length != out->len || i.mnemonic != d->i.mnemonic || i.encoding != d->i.encoding ||
	    i.operand_count != d->i.operand_count || i.meta.isa_set != d->i.meta.isa_set)
		return false;
	for (unsigned n = 0; n < i.operand_count; n++)
		if (!same_operand(&d->op[n], &op[n], out))
			return false;
	return true;
}

bool hx_rewrite(struct hostexec *hx, const struct decoded *d, struct hx_desc *out)
{
	struct parts p;

	if (!choose_registers(out) || !find_parts(d, &p))
		return false;
	for (p.variant = 0; p.variant < (p.long64 ? 1 : VARIANTS); p.variant++)
		if (encode(&p, out) && verify(hx, d, out))
			return true;
	return false;
}
