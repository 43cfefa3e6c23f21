/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which instructions are translated differently outside of 64-bit mode: stack, control transfers, strings, LEA. */
#include "cpu/bt/legacy.h"
#include "cpu/bt/system.h"

uint64_t bt_legacy_target(const struct translation *t, const struct bt_insn *in)
{
	const struct bt_legacy *m = &t->mode.legacy;
	uint32_t off = bt_legacy_offset(m, bt_next_rip(in)) + (uint32_t)in->op[0].imm.value.s;

	return bt_legacy_address(m, in->i.operand_width == 16 ? (uint16_t)off : off);
}

/* A direct branch beyond the limit faults itself. */
static bool leads_out(const struct translation *t, const struct bt_insn *in)
{
	return bt_legacy_offset(&t->mode.legacy, bt_legacy_target(t, in)) > t->mode.legacy.cs_limit;
}

static enum bt_class classify_branch(const struct translation *t, const struct bt_insn *in)
{
	bool direct = in->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	ZydisInstructionCategory c = in->i.meta.category;

	if (in->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || in->i.meta.isa_ext != ZYDIS_ISA_EXT_BASE)
		return BT_INTERP;
	if (c == ZYDIS_CATEGORY_RET)
		return in->i.mnemonic == ZYDIS_MNEMONIC_RET ? BT_LEGACY_END : BT_INTERP;
	if (direct && leads_out(t, in))
		return BT_INTERP;
	return c == ZYDIS_CATEGORY_COND_BR ? BT_LEGACY_JCC : BT_LEGACY_END;
}

static bool is_gpr(const struct bt_operand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && (ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_GPR16 ||
							  ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_GPR32);
}

static bool is_sreg(const struct bt_operand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

static enum bt_class classify_stack(const struct bt_insn *in)
{
	const struct bt_operand *o = &in->op[0];

	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
		return in->mem || o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE || is_gpr(o) || is_sreg(o) ? BT_LEGACY : BT_INTERP;
	case ZYDIS_MNEMONIC_POP: /* the address of a destination that ESP is part of is one after the pop */
		return is_gpr(o) || (in->mem && bt_gpr_number(in->mem->mem.base) != R_SP) ? BT_LEGACY : BT_INTERP;
	case ZYDIS_MNEMONIC_PUSHA:
	case ZYDIS_MNEMONIC_PUSHAD:
	case ZYDIS_MNEMONIC_POPA:
	case ZYDIS_MNEMONIC_POPAD:
	case ZYDIS_MNEMONIC_LEAVE:
		return BT_LEGACY;
	default:
		return BT_INTERP;
	}
}

/* One element; the repeated ones are system.h's. */
static enum bt_class classify_string(const struct bt_insn *in)
{
	for (unsigned n = 0; n < in->i.raw.prefix_count; n++)
		if (in->bytes[n] == 0xf2 || in->bytes[n] == 0xf3)
			return BT_INTERP;
	return BT_LEGACY;
}

/* Within CS, and in front of the end of the address space and of the offsets. */
static bool is_within(const struct translation *t, const struct bt_insn *in)
{
	uint64_t end = (uint64_t)bt_legacy_offset(&t->mode.legacy, in->rip) + in->i.length;

	return end - 1 <= t->mode.legacy.cs_limit && end < BIT(32) && (uint64_t)(uint32_t)in->rip + in->i.length < BIT(32);
}

static enum bt_class classify(const struct translation *t, const struct bt_insn *in)
{
	switch (in->i.meta.category) {
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_RET:
		return bt_system_op(in) == BT_OP_NONE ? classify_branch(t, in) : BT_CLASSES;
	case ZYDIS_CATEGORY_PUSH:
	case ZYDIS_CATEGORY_POP:
		return bt_system_op(in) == BT_OP_NONE ? classify_stack(in) : BT_CLASSES;
	case ZYDIS_CATEGORY_STRINGOP:
		return bt_system_op(in) == BT_OP_NONE ? classify_string(in) : BT_CLASSES;
	default:
		break;
	}
	if (in->i.mnemonic == ZYDIS_MNEMONIC_LEA || (in->i.mnemonic == ZYDIS_MNEMONIC_MOV && is_sreg(&in->op[1])))
		return BT_LEGACY;
	if (in->i.mnemonic == ZYDIS_MNEMONIC_LEAVE)
		return classify_stack(in);
	/* They would clear what is in registers 8 to 15. */
	if (in->i.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER || in->i.mnemonic == ZYDIS_MNEMONIC_VZEROALL)
		return BT_INTERP_FPU;
	/* Beside the bit offset the address may be anywhere: only where no segment needs a check. */
	if (bt_system_op(in) >= BT_OP_BT && bt_system_op(in) <= BT_OP_BTC &&
	    !bt_is_flat(t, in->mem->mem.segment - ZYDIS_REGISTER_ES, true))
		return BT_INTERP;
	return BT_CLASSES;
}

void bt_legacy_classify(const struct translation *t, struct bt_insn *in)
{
	enum bt_class cls;

	bt_classify(t->bt, in, t->mode);
	cls = classify(t, in);
	if (cls != BT_CLASSES)
		in->cls = (uint8_t)cls;
	if ((cls == BT_LEGACY_JCC || cls == BT_LEGACY_END) && in->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
	    in->i.meta.category != ZYDIS_CATEGORY_RET)
		in->target = bt_legacy_target(t, in);
	if (!is_within(t, in) || (t->mode.legacy.real && in->i.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY))
		in->cls = BT_INTERP_FPU;
	if (in->cls == BT_COPY || in->cls == BT_MEMORY)
		bt_legacy_encode(in);
}
