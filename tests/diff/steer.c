/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Steering: immediates and displacements worth having, and registers such that memory operands hit the world. */
#include "gen.h"
#include "values.h"

int steer_gpr_number(ZydisRegister reg)
{
	ZydisRegisterClass class = ZydisRegisterGetClass(reg);
	int id = ZydisRegisterGetId(reg);

	if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
		return reg - ZYDIS_REGISTER_AH;
	if (class == ZYDIS_REGCLASS_GPR8)
		return reg >= ZYDIS_REGISTER_SPL ? reg - ZYDIS_REGISTER_SPL + 4 : reg - ZYDIS_REGISTER_AL;
	if (class == ZYDIS_REGCLASS_GPR16 || class == ZYDIS_REGCLASS_GPR32 || class == ZYDIS_REGCLASS_GPR64)
		return id;
	return -1;
}

/* Set the low `bits` of a register; what is above is noise or zero, which must not matter. */
void steer_set_gpr(struct steer *s, unsigned reg, unsigned bits, uint64_t val)
{
	uint64_t mask = bits >= 64 ? ~0ull : BIT(bits) - 1, above = one_in(s->r, 2) ? rng_next(s->r) : 0;

	if (s->locked & 1u << reg)
		return;
	if (s->c->mode != MODE_64)
		above &= 0xffffffff;
	s->c->gpr[reg] = (val & mask) | (above & ~mask);
	s->locked |= 1u << reg;
}

uint64_t steer_segment_base(const struct diff_case *c, ZydisRegister seg)
{
	static const ZydisRegister regs[SEG_COUNT] = { ZYDIS_REGISTER_ES, ZYDIS_REGISTER_CS, ZYDIS_REGISTER_SS,
						       ZYDIS_REGISTER_DS, ZYDIS_REGISTER_FS, ZYDIS_REGISTER_GS };

	if (c->mode == MODE_64)
		return seg == ZYDIS_REGISTER_FS ? c->fs_base : seg == ZYDIS_REGISTER_GS ? c->gs_base : 0;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		if (regs[i] == seg)
			return world_seg_base(c->sel[i]);
	return 0;
}

static uint64_t address_mask(const struct decoded_insn *d)
{
	return d->i.address_width >= 64 ? ~0ull : BIT(d->i.address_width) - 1;
}

static bool is_ip(ZydisRegister reg)
{
	return reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP;
}

static uint64_t displacement(const struct decoded_insn *d, const ZydisDecodedOperand *op)
{
	if (op->mem.disp.has_displacement || d->i.raw.disp.size)
		return (uint64_t)op->mem.disp.value;
	return 0;
}

uint64_t steer_linear(const struct diff_case *c, const struct decoded_insn *d, const ZydisDecodedOperand *op)
{
	int base = steer_gpr_number(op->mem.base), index = steer_gpr_number(op->mem.index);
	uint64_t ea = displacement(d, op);

	if (is_ip(op->mem.base))
		ea += c->rip + d->i.length;
	if (base >= 0)
		ea += c->gpr[base];
	if (index >= 0)
		ea += op->mem.index == ZYDIS_REGISTER_AL ? c->gpr[R_AX] & 0xff : c->gpr[index] * op->mem.scale;
	ea = (ea & address_mask(d)) + steer_segment_base(c, op->mem.segment);
	return c->mode == MODE_64 ? ea : (uint32_t)ea;
}

void steer_patch_linear(struct steer *s, uint64_t la, const void *data, unsigned len)
{
	int off = world_image_offset(la);

	if (off >= 0)
		case_patch(s->c, (unsigned)off, data, len);
}

/* -- Encoding ---------------------------------------------------------------------------------- */

static void put_le(uint8_t *p, unsigned bits, uint64_t v)
{
	memcpy(p, &v, bits / 8);
}

static void steer_branch_target(struct rng *r, struct diff_case *c, const struct decoded_insn *d, unsigned i)
{
	unsigned bits = d->i.raw.imm[i].size;
	uint64_t next = c->start + d->i.length, target = value_code_address(r, c->start < WORLD_HIGH);
	int64_t disp = bits == 8 ? (int64_t)(int8_t)rng_next(r) : (int64_t)(target - next);

	if (bits > 8 && one_in(r, 8))
		disp = (int64_t)value_int(r);
	/* Not into itself: such a case would be judged by what its own bytes do next. */
	if (disp < 0 && disp >= -(int64_t)d->i.length)
		disp = -disp;
	put_le(c->code + d->i.raw.imm[i].offset, bits, (uint64_t)disp);
}

static void steer_immediates(struct rng *r, struct diff_case *c, const struct decoded_insn *d)
{
	for (unsigned i = 0; i < 2; i++) {
		unsigned bits = d->i.raw.imm[i].size;
		uint8_t *p = c->code + d->i.raw.imm[i].offset;

		if (!bits)
			continue;
		if (d->i.raw.imm[i].is_relative)
			steer_branch_target(r, c, d, i);
		else if (d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW)
			continue;
		else if (d->i.mnemonic == ZYDIS_MNEMONIC_ENTER)
			put_le(p, bits, i ? rng_below(r, one_in(r, 4) ? 256 : 8) : value_int(r) & (one_in(r, 2) ? 0x3f : 0xfff));
		else if (d->i.mnemonic == ZYDIS_MNEMONIC_INT)
			put_le(p, bits, (rng_next(r) & 0x7f) | (one_in(r, 4) ? 0x81 : 0));
		else if (one_in(r, 2))
			put_le(p, bits, value_int(r));
	}
}

/* Operands without base register: the displacement is the address. */
static void steer_displacement(struct rng *r, struct diff_case *c, const struct decoded_insn *d)
{
	unsigned bits = d->i.raw.disp.size;
	uint8_t *p = c->code + d->i.raw.disp.offset;

	for (unsigned i = 0; bits && i < d->i.operand_count; i++) {
		const ZydisDecodedOperand *op = &d->op[i];
		bool high = c->start >= WORLD_HIGH && is_ip(op->mem.base);
		uint64_t target;

		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->encoding == ZYDIS_OPERAND_ENCODING_NONE)
			continue;
		target = value_address(r, op->size / 8, bits < 64);
		if (high)
			target += WORLD_HIGH - WORLD_LOW;
		target -= steer_segment_base(c, op->mem.segment);
		if (is_ip(op->mem.base))
			put_le(p, bits, target - (c->rip + d->i.length));
		else if (op->mem.base == ZYDIS_REGISTER_NONE && op->mem.index == ZYDIS_REGISTER_NONE)
			put_le(p, bits, target);
		else if (percent(r, 60))
			put_le(p, bits, (uint64_t)(int64_t)((int)rng_below(r, 128) - 64));
		return;
	}
}

void steer_encoding(struct rng *r, struct diff_case *c, const struct decoded_insn *d)
{
	steer_immediates(r, c, d);
	steer_displacement(r, c, d);
}

/* -- Memory operands --------------------------------------------------------------------------- */

/* Vector index: small steps around the base, some elements wild. */
static void steer_vsib(struct steer *s, const ZydisDecodedOperand *op)
{
	/* Where within the instruction a single-step trap may come is the implementation's. */
	s->c->rflags &= ~FL_TF;

	unsigned n = (unsigned)ZydisRegisterGetId(op->mem.index), wild = one_in(s->r, 4) ? 8 : 1000;
	bool wide = s->d->i.mnemonic == ZYDIS_MNEMONIC_INVALID || one_in(s->r, 2);
	uint8_t *v = s->c->fpu.zmm[n];
	unsigned bytes = op->mem.index >= ZYDIS_REGISTER_ZMM0 && op->mem.index <= ZYDIS_REGISTER_ZMM31 ? 64 :
			 op->mem.index >= ZYDIS_REGISTER_YMM0 && op->mem.index <= ZYDIS_REGISTER_YMM31 ? 32 : 16;

	/* When within the instruction a single-step trap may come is the implementation's. */
	s->c->rflags &= ~FL_TF;
	/* Whether elements are 32 or 64 bits wide is left to chance: small 64-bit ones are also small 32-bit ones. */
	for (unsigned i = 0; i < bytes; i += wide ? 8 : 4) {
		int64_t e = (int64_t)rng_below(s->r, 512) - 256;

		if (one_in(s->r, wild))
			e = (int64_t)value_int(s->r);
		memcpy(v + i, &e, wide ? 8 : 4);
	}
}

/* Choose the registers of one memory operand so that its address is `target`. */
static void solve(struct steer *s, const ZydisDecodedOperand *op, uint64_t target)
{
	int base = steer_gpr_number(op->mem.base), index = steer_gpr_number(op->mem.index);
	unsigned bits = s->d->i.address_width;
	uint64_t off = target - steer_segment_base(s->c, op->mem.segment) - displacement(s->d, op);

	if (op->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
		steer_vsib(s, op);
		index = -1;
	}
	if (op->mem.index == ZYDIS_REGISTER_AL) { /* XLAT */
		off -= s->c->gpr[R_AX] & 0xff;
		index = -1;
	}
	if (base >= 0 && base == index) {
		steer_set_gpr(s, (unsigned)base, bits, off / (op->mem.scale + 1u));
		return;
	}
	if (base < 0) {
		if (index >= 0)
			steer_set_gpr(s, (unsigned)index, bits, off / op->mem.scale);
		return;
	}
	if (index >= 0) {
		if (s->locked & 1u << base) {
			off -= s->c->gpr[base];
			steer_set_gpr(s, (unsigned)index, bits, (uint64_t)((int64_t)off / op->mem.scale));
			return;
		}
		if (percent(s->r, 70))
			steer_set_gpr(s, (unsigned)index, bits, (uint64_t)(int64_t)((int)rng_below(s->r, 2048) - 1024));
		off -= s->c->gpr[index] * op->mem.scale;
	}
	steer_set_gpr(s, (unsigned)base, bits, off);
}

void steer_operands(struct steer *s)
{
	const ZydisDecodedInstruction *in = &s->d->i;
	bool low = s->c->mode != MODE_64 || in->address_width < 64;

	for (unsigned i = 0; i < in->operand_count; i++) {
		const ZydisDecodedOperand *op = &s->d->op[i];
		uint64_t target;

		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
			continue;
		target = value_address(s->r, op->size / 8, low);
		/* AMD's processors want the offset canonical too, before a base is added; Intel's do not. */
		if (steer_segment_base(s->c, op->mem.segment) && !low)
			target &= 0x7fffffffffff;
		solve(s, op, target);
	}
}
