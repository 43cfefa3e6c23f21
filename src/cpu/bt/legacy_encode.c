/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of a 16- or 32-bit instruction, rewritten to mean the same in 64-bit mode but for a memory operand, which
 * access.c encodes anew.
 *
 * An operand-size prefix says 16 bits there, always; segment and address-size prefixes go, for they only concern the
 * operand; 40-4F are INC and DEC no more; bits of VEX and EVEX that are ignored here, because there are but eight
 * registers, count there.
 */
#include "cpu/bt/legacy.h"

/* Whether one of its operands is as wide as its 16-bit operand size says; not so a fence, or what is always 32 bits wide. */
static bool has_16bit_operand(const struct bt_insn *in)
{
	if (in->i.operand_width != 16)
		return false;
	for (unsigned n = 0; n < in->i.operand_count; n++) {
		const struct bt_operand *o = &in->op[n];

		if (o->size == 16 && o->type == ZYDIS_OPERAND_TYPE_MEMORY)
			return true;
		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_GPR16)
			return true;
	}
	return false;
}

/* The prefixes that stay: LOCK, the last of F2 and F3, and 66 where it is wanted. */
static unsigned put_prefixes(const struct bt_insn *in, uint8_t *out)
{
	bool opsize = in->i.raw.mandatory_66 || (!in->fpu && has_16bit_operand(in));
	uint8_t lock = 0, rep = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < in->i.raw.prefix_count; i++) {
		uint8_t p = in->bytes[i];

		if (p == 0xf0)
			lock = p;
		else if (p == 0xf2 || p == 0xf3)
			rep = p;
	}
	if (opsize)
		out[n++] = 0x66;
	if (lock)
		out[n++] = lock;
	if (rep)
		out[n++] = rep;
	return n;
}

static void shift(uint8_t *offset, int by)
{
	if (*offset)
		*offset = (uint8_t)(*offset + by);
}

static void move_offsets(struct bt_raw *r, int by)
{
	shift(&r->modrm.offset, by);
	shift(&r->sib.offset, by);
	shift(&r->disp.offset, by);
}

/* Whether W would choose a 64-bit general register, or 64 bits of memory in its place. */
static bool w_counts(const struct bt_insn *in)
{
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_VMOVD:
	case ZYDIS_MNEMONIC_VCVTSI2SD:
	case ZYDIS_MNEMONIC_VCVTSI2SS:
	case ZYDIS_MNEMONIC_VCVTUSI2SD:
	case ZYDIS_MNEMONIC_VCVTUSI2SS:
		return true;
	default:
		break;
	}
	for (unsigned n = 0; n < in->i.operand_count; n++) {
		const struct bt_operand *o = &in->op[n];

		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o->reg.value) >= ZYDIS_REGCLASS_GPR8 &&
		    ZydisRegisterGetClass(o->reg.value) <= ZYDIS_REGCLASS_GPR64)
			return true;
	}
	return false;
}

/* R, X, B and the like are stored inverted: set them, for registers 0 to 7. */
static void tame_vector(const struct bt_insn *in, uint8_t *b, unsigned len)
{
	bool narrow = w_counts(in);

	if (in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX) {
		b[1] |= 0xf0;
		b[2] |= 0x40;
		b[3] |= 0x08;
		if (narrow)
			b[2] &= 0x7f;
		return;
	}
	if (b[0] == 0xc4) {
		b[1] |= 0xe0;
		b[2] |= 0x40;
		if (narrow)
			b[2] &= 0x7f;
	}
	/* A register in the upper half of the immediate */
	for (unsigned n = 0; n < in->i.operand_count; n++)
		if (in->op[n].encoding == ZYDIS_OPERAND_ENCODING_IS4)
			b[len - 1] &= 0x7f;
}

static void encode_legacy(struct bt_insn *in)
{
	uint8_t out[sizeof(in->bytes)] = { 0 };
	unsigned prefixes = put_prefixes(in, out), n = prefixes, from = in->i.raw.prefix_count, len = in->i.length;

	if (in->i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (in->i.opcode & 0xf0) == 0x40) {
		out[n++] = 0xff;
		out[n++] = (uint8_t)(0xc0 | (in->i.opcode & 0xf)); /* INC is /0, DEC is /1 */
		from = len;
	} else if (in->i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && in->i.opcode == 0x82) {
		out[n++] = 0x80;
		from++;
	}
	if (n + len - from > sizeof(out)) /* cannot be: what is longest has prefixes that have gone */
		return;
	move_offsets(&in->i.raw, (int)n - (int)from);
	memcpy(out + n, in->bytes + from, len - from);
	memcpy(in->bytes, out, sizeof(in->bytes));
	in->n_bytes = (uint8_t)(n + len - from);
	in->i.raw.prefix_count = (uint8_t)prefixes;
}

static void encode_vector(struct bt_insn *in, unsigned prefixes)
{
	in->n_bytes = (uint8_t)(in->i.length - prefixes);
	tame_vector(in, in->bytes + prefixes, in->n_bytes);
	move_offsets(&in->i.raw, -(int)prefixes);
	in->i.raw.vex.offset = in->i.raw.evex.offset = 0;
	in->i.raw.prefix_count = 0;
	memmove(in->bytes, in->bytes + prefixes, in->n_bytes);
}

void bt_legacy_encode(struct bt_insn *in)
{
	if (in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
		encode_vector(in, in->i.raw.vex.offset);
	else if (in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
		encode_vector(in, in->i.raw.evex.offset);
	else
		encode_legacy(in);
}

/* -- AH to BH beside memory ----------------------------------------------------------------------------- */

bool bt_has_high_byte(const struct bt_insn *in)
{
	for (unsigned n = 0; n < in->i.operand_count; n++)
		if (in->op[n].type == ZYDIS_OPERAND_TYPE_REGISTER && in->op[n].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
		    in->op[n].reg.value >= ZYDIS_REGISTER_AH && in->op[n].reg.value <= ZYDIS_REGISTER_BH)
			return true;
	return false;
}

/* No REX prefix may be there, so the address has to be in one of the first eight registers: RSI, of which no byte is an operand. */
void bt_emit_high_byte(struct translation *t, const struct bt_insn *in)
{
	const struct bt_raw *r = &in->i.raw;
	unsigned operands = r->modrm.offset + 1u;
	struct assembler *a = &t->a;

	if (r->sib.offset)
		operands++;
	operands += r->disp.size / 8u;
	lea_full(a, 1, T0, T0, T1, 0, 0);
	mov_rr(a, T1, R_SI);
	mov_rr(a, R_SI, T0);
	put_bytes(a, in->bytes, r->modrm.offset);
	put8(a, (unsigned)r->modrm.reg << 3 | R_SI);
	put_bytes(a, in->bytes + operands, in->n_bytes - operands);
	mov_rr(a, R_SI, T1);
}
