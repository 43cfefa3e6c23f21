/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What particular instructions need to do more than fault: counts, targets, frames, selectors, state images. */
#include "gen.h"
#include "values.h"

static const ZydisDecodedOperand *memory_operand(const struct steer *s)
{
	for (unsigned i = 0; i < s->d->i.operand_count; i++)
		if (s->d->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && s->d->op[i].mem.type != ZYDIS_MEMOP_TYPE_AGEN)
			return &s->d->op[i];
	return NULL;
}

static void patch_operand(struct steer *s, const ZydisDecodedOperand *op, const void *data, unsigned len)
{
	steer_patch_linear(s, steer_linear(s->c, s->d, op), data, len);
}

/* Put v into a register or memory operand. */
static void set_operand(struct steer *s, const ZydisDecodedOperand *op, uint64_t v)
{
	if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		patch_operand(s, op, &v, op->size >= 64 ? 8 : op->size / 8);
	} else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && steer_gpr_number(op->reg.value) >= 0) {
		unsigned n = (unsigned)steer_gpr_number(op->reg.value);

		s->locked &= ~(1u << n);
		steer_set_gpr(s, n, op->size, v);
	}
}

static uint64_t code_offset(struct steer *s, uint16_t cs)
{
	bool low = s->c->mode != MODE_64 || (cs & ~3) != (SEL_CS64 & ~3);

	return value_code_address(s->r, low) - world_seg_base(cs);
}

static uint64_t stack_linear(const struct steer *s)
{
	uint64_t sp = s->c->gpr[R_SP];

	if (s->c->mode == MODE_64)
		return sp;
	if (!(world_descriptor(s->c->sel[SEG_SS]) & BIT(54))) /* B */
		sp = (uint16_t)sp;
	return (uint32_t)(sp + world_seg_base(s->c->sel[SEG_SS]));
}

static uint16_t code_selector(struct steer *s)
{
	static const uint16_t sel[] = { SEL_CS64, SEL_CS64, SEL_CS32, SEL_CS32, LDT_SEL(LDT_CODE16), LDT_SEL(LDT_CODE32) };

	if (one_in(s->r, 6))
		return value_selector(s->r, s->ldt);
	return sel[rng_below(s->r, s->ldt ? 6 : 4)];
}

static uint16_t stack_selector(struct steer *s)
{
	return one_in(s->r, 4) ? value_selector(s->r, s->ldt) : SEL_DATA;
}

/* -- One function for each kind ---------------------------------------------------------------- */

static void early_count(struct steer *s)
{
	steer_set_gpr(s, R_CX, s->d->i.address_width, rng_below(s->r, 12));
}

static void near_target(struct steer *s)
{
	const ZydisDecodedOperand *op = &s->d->op[0];

	if (!one_in(s->r, 10) && !(op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE))
		set_operand(s, op, code_offset(s, s->c->sel[SEG_CS]));
}

/* Which of several accesses are checked for alignment, and when, is the implementation's. */
static void drop_alignment_check(struct steer *s)
{
	switch (s->d->i.mnemonic) {
	case ZYDIS_MNEMONIC_ENTER: case ZYDIS_MNEMONIC_BOUND: case ZYDIS_MNEMONIC_LDS: case ZYDIS_MNEMONIC_LES:
	case ZYDIS_MNEMONIC_LFS: case ZYDIS_MNEMONIC_LGS: case ZYDIS_MNEMONIC_LSS: case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64:
		s->c->rflags &= ~FL_AC;
		break;
	default:
		if (s->d->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || s->d->i.mnemonic == ZYDIS_MNEMONIC_CALL)
			s->c->rflags &= ~FL_AC;
	}
}

static void far_target(struct steer *s)
{
	const ZydisDecodedOperand *op = &s->d->op[0];
	unsigned off_bytes = s->d->i.operand_width / 8;
	uint16_t cs = code_selector(s);
	uint64_t off = code_offset(s, cs);
	uint8_t ptr[10];

	if (op->type == ZYDIS_OPERAND_TYPE_POINTER) {
		unsigned at = s->d->i.raw.imm[0].offset;

		memcpy(s->c->code + at, &off, s->d->i.raw.imm[0].size / 8);
		memcpy(s->c->code + at + s->d->i.raw.imm[0].size / 8, &cs, 2);
		return;
	}
	if (op->type != ZYDIS_OPERAND_TYPE_MEMORY) {
		near_target(s);
		return;
	}
	if (op->size <= 64 && op->size == s->d->i.operand_width) {
		near_target(s);
		return;
	}
	memcpy(ptr, &off, off_bytes);
	memcpy(ptr + off_bytes, &cs, 2);
	patch_operand(s, op, ptr, off_bytes + 2);
}

/* RET, RETF and IRET: a frame at the top of the stack. */
static void return_frame(struct steer *s)
{
	unsigned w = s->d->i.operand_width / 8, n = 1;
	bool far = s->d->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
	bool iret = s->d->i.meta.category == ZYDIS_CATEGORY_RET && s->d->i.mnemonic != ZYDIS_MNEMONIC_RET;
	uint64_t item[5];
	uint8_t frame[40];
	uint16_t cs = far || iret ? code_selector(s) : s->c->sel[SEG_CS];

	if (one_in(s->r, 12))
		return;
	if (w < 2 || w > 8)
		w = s->c->mode == MODE_64 ? 8 : 4;
	item[0] = code_offset(s, cs);
	item[1] = cs;
	item[2] = iret ? value_flags(s->r, false) | (one_in(s->r, 4) ? rng_next(s->r) : 0) : value_address(s->r, 8, true);
	item[3] = iret ? value_address(s->r, 8, true) : stack_selector(s);
	item[4] = stack_selector(s);
	if (far || iret)
		n = iret ? 5 : 4;
	for (unsigned i = 0; i < n; i++)
		memcpy(frame + i * w, &item[i], w);
	steer_patch_linear(s, stack_linear(s), frame, n * w);
}

static void popped_flags(struct steer *s)
{
	uint64_t f = value_flags(s->r, true) ^ (one_in(s->r, 3) ? rng_next(s->r) & ~FL_TF : 0);

	if (!one_in(s->r, 6))
		steer_patch_linear(s, stack_linear(s), &f, 8);
}

static void selector_operand(struct steer *s)
{
	for (unsigned i = 0; i < s->d->i.operand_count_visible; i++) {
		const ZydisDecodedOperand *op = &s->d->op[i];

		if (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
			set_operand(s, op, value_selector(s->r, s->ldt) | (rng_next(s->r) << 16));
	}
}

static void segment_move(struct steer *s)
{
	const ZydisDecodedOperand *op = &s->d->op[0];

	if (op->type != ZYDIS_OPERAND_TYPE_REGISTER || ZydisRegisterGetClass(op->reg.value) != ZYDIS_REGCLASS_SEGMENT)
		return;
	if (s->d->i.mnemonic == ZYDIS_MNEMONIC_POP) {
		uint64_t sel = value_selector(s->r, s->ldt) | rng_next(s->r) << 16;

		steer_patch_linear(s, stack_linear(s), &sel, s->d->i.operand_width / 8);
	} else {
		set_operand(s, &s->d->op[1], value_selector(s->r, s->ldt) | (rng_next(s->r) << 16));
	}
}

static void far_pointer(struct steer *s)
{
	unsigned off_bytes = s->d->i.operand_width / 8;
	uint64_t off = value_int(s->r);
	uint16_t sel = value_selector(s->r, s->ldt);
	const ZydisDecodedOperand *op = memory_operand(s);
	uint8_t ptr[10];

	if (!op || off_bytes > 8)
		return;
	memcpy(ptr, &off, off_bytes);
	memcpy(ptr + off_bytes, &sel, 2);
	patch_operand(s, op, ptr, off_bytes + 2);
}

/* Half of the compares succeed. */
static void compare_exchange(struct steer *s)
{
	const ZydisDecodedOperand *op = &s->d->op[0];
	uint64_t pair[2] = { s->c->gpr[R_AX], s->c->gpr[R_DX] };

	if (one_in(s->r, 2))
		return;
	if (s->d->i.mnemonic == ZYDIS_MNEMONIC_CMPXCHG) {
		set_operand(s, op, s->c->gpr[R_AX]);
		return;
	}
	if (s->d->i.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B)
		pair[0] = (uint32_t)pair[0] | pair[1] << 32;
	if (op->type == ZYDIS_OPERAND_TYPE_MEMORY)
		patch_operand(s, op, pair, s->d->i.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B ? 8 : 16);
}

/* Quotients that fit. */
static void divide(struct steer *s)
{
	bool is_signed = s->d->i.mnemonic == ZYDIS_MNEMONIC_IDIV;
	unsigned bits = s->d->op[0].size;

	if (one_in(s->r, 3))
		return;
	if (bits == 8)
		s->c->gpr[R_AX] = (s->c->gpr[R_AX] & ~0xff00ull) | (is_signed && s->c->gpr[R_AX] & 0x80 ? 0xff00 : 0);
	else if (one_in(s->r, 2))
		s->c->gpr[R_DX] = is_signed && s->c->gpr[R_AX] >> (bits - 1) & 1 ? ~0ull : 0;
	else
		s->c->gpr[R_DX] = rng_below(s->r, 64);
	if (s->c->mode != MODE_64)
		s->c->gpr[R_DX] = (uint32_t)s->c->gpr[R_DX];
}

/* A bit offset in a register reaches memory far from the operand. */
static void early_bit_offset(struct steer *s)
{
	const ZydisDecodedOperand *off = &s->d->op[1];

	if (s->d->op[0].type != ZYDIS_OPERAND_TYPE_MEMORY || off->type != ZYDIS_OPERAND_TYPE_REGISTER || one_in(s->r, 8))
		return;
	steer_set_gpr(s, (unsigned)steer_gpr_number(off->reg.value), off->size,
		      (uint64_t)(int64_t)((int)rng_below(s->r, 65536) - 32768));
}

static void patch_mxcsr(struct steer *s)
{
	const ZydisDecodedOperand *op = memory_operand(s);
	uint32_t v = one_in(s->r, 8) ? (uint32_t)rng_next(s->r) : value_mxcsr(s->r);

	if (op)
		patch_operand(s, op, &v, 4);
}

static void patch_fcw(struct steer *s)
{
	const ZydisDecodedOperand *op = memory_operand(s);
	uint16_t v = one_in(s->r, 4) ? (uint16_t)rng_next(s->r) : value_fcw(s->r);

	if (op)
		patch_operand(s, op, &v, 2);
}

/* Image for FXRSTOR and XRSTOR (SDM vol. 1, 10.5 and 13.4), mostly acceptable. */
enum { FX_SIZE = 512, XS_HEADER = 512, XS_YMM = 576, XS_SIZE = 832 };

static void patch_state_image(struct steer *s)
{
	static uint8_t area[XS_SIZE];
	const ZydisDecodedOperand *op = memory_operand(s);
	struct x86_fpu fpu = { 0 };
	bool xrstor = s->d->i.mnemonic != ZYDIS_MNEMONIC_FXRSTOR && s->d->i.mnemonic != ZYDIS_MNEMONIC_FXRSTOR64;
	uint64_t bv = rng_next(s->r) & 7;

	if (!op || one_in(s->r, 16))
		return;
	memset(area, 0, sizeof(area));
	value_x87(s->r, &fpu, true);
	fpu.mxcsr = one_in(s->r, 12) ? (uint32_t)rng_next(s->r) : value_mxcsr(s->r);
	memcpy(area, &fpu.fcw, 2);
	memcpy(area + 2, &fpu.fsw, 2);
	area[4] = (uint8_t)fpu.ftw;
	memcpy(area + 6, &fpu.fop, 2);
	memcpy(area + 8, &fpu.fip, 8);
	memcpy(area + 16, &fpu.fdp, 8);
	memcpy(area + 24, &fpu.mxcsr, 4);
	memcpy(area + 32, fpu.st, sizeof(fpu.st));
	value_vector(s->r, area + 160, 256);
	value_vector(s->r, area + XS_YMM, 256);
	if (one_in(s->r, 16))
		area[XS_HEADER + 8 + rng_below(s->r, 56)] = 1; /* XCOMP_BV and reserved bytes: #GP */
	if (one_in(s->r, 16))
		bv ^= BIT(rng_below(s->r, 64));
	memcpy(area + XS_HEADER, &bv, 8);
	patch_operand(s, op, area, xrstor ? XS_SIZE : FX_SIZE);
}

static void early_rfbm(struct steer *s)
{
	s->c->gpr[R_AX] = one_in(s->r, 8) ? rng_next(s->r) : rng_next(s->r) & 7;
	s->c->gpr[R_DX] = one_in(s->r, 8) ? rng_next(s->r) : 0;
	s->locked |= 1u << R_AX | 1u << R_DX;
}

static void early_zero_line(struct steer *s)
{
	steer_set_gpr(s, R_AX, s->d->i.address_width, value_address(s->r, 64, s->d->i.address_width < 64));
}

static void string_lengths(struct steer *s)
{
	if (one_in(s->r, 3))
		return;
	s->c->gpr[R_AX] = (uint64_t)(int64_t)((int)rng_below(s->r, 40) - 20);
	s->c->gpr[R_DX] = (uint64_t)(int64_t)((int)rng_below(s->r, 40) - 20);
	if (s->c->mode != MODE_64) {
		s->c->gpr[R_AX] = (uint32_t)s->c->gpr[R_AX];
		s->c->gpr[R_DX] = (uint32_t)s->c->gpr[R_DX];
	}
}

struct special {
	uint16_t mnemonic;
	void (*fn)(struct steer *s);
};

#define M(name) ZYDIS_MNEMONIC_##name
static const struct special early[] = {
	{ M(BT), early_bit_offset },   { M(BTC), early_bit_offset },     { M(BTR), early_bit_offset },
	{ M(BTS), early_bit_offset },  { M(LOOP), early_count },         { M(LOOPE), early_count },
	{ M(LOOPNE), early_count },    { M(JCXZ), early_count },         { M(JECXZ), early_count },
	{ M(JRCXZ), early_count },     { M(CLZERO), early_zero_line },   { M(XRSTOR), early_rfbm },
	{ M(XRSTOR64), early_rfbm },   { M(XRSTORS), early_rfbm },
};
static const struct special late[] = {
	{ M(CALL), far_target },       { M(JMP), far_target },           { M(RET), return_frame },
	{ M(IRET), return_frame },     { M(IRETD), return_frame },       { M(IRETQ), return_frame },
	{ M(POPF), popped_flags },     { M(POPFD), popped_flags },       { M(POPFQ), popped_flags },
	{ M(LAR), selector_operand },  { M(LSL), selector_operand },     { M(VERR), selector_operand },
	{ M(VERW), selector_operand }, { M(ARPL), selector_operand },    { M(MOV), segment_move },
	{ M(POP), segment_move },      { M(LDS), far_pointer },          { M(LES), far_pointer },
	{ M(LFS), far_pointer },       { M(LGS), far_pointer },          { M(LSS), far_pointer },
	{ M(CMPXCHG), compare_exchange }, { M(CMPXCHG8B), compare_exchange }, { M(CMPXCHG16B), compare_exchange },
	{ M(DIV), divide },            { M(IDIV), divide },              { M(LDMXCSR), patch_mxcsr },
	{ M(VLDMXCSR), patch_mxcsr },  { M(FLDCW), patch_fcw },          { M(FLDENV), patch_fcw },
	{ M(FRSTOR), patch_fcw },      { M(FXRSTOR), patch_state_image }, { M(FXRSTOR64), patch_state_image },
	{ M(XRSTOR), patch_state_image }, { M(XRSTOR64), patch_state_image },
	{ M(PCMPESTRI), string_lengths }, { M(PCMPESTRM), string_lengths },
	{ M(VPCMPESTRI), string_lengths }, { M(VPCMPESTRM), string_lengths },
};
#undef M

static void run_specials(struct steer *s, const struct special *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (t[i].mnemonic == s->d->i.mnemonic)
			t[i].fn(s);
}

void steer_special_early(struct steer *s)
{
	const ZydisInstructionAttributes rep = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;

	if (s->d->i.attributes & rep)
		steer_set_gpr(s, R_CX, s->d->i.address_width, rng_below(s->r, 24));
	run_specials(s, early, ARRAY_SIZE(early));
}

void steer_special(struct steer *s)
{
	drop_alignment_check(s);
	run_specials(s, late, ARRAY_SIZE(late));
}
