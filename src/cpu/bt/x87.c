/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 instructions in translated code: the host's x87 has the guest's state, so they run as they are, and an error that is
 * pending is the host's #MF, which becomes the guest's by way of the reference (fault.c).
 *
 * But FIP, FDP and FOP of the host speak of our own code. Behind each instruction that the pointers would lead to its place in
 * the code is noted in a slot by one store, and the offset of its memory operand; what those mean is found out at the next exit
 * (x87_state.c), which may be thousands of instructions later. Instructions that show or set the pointers are the reference's.
 */
#include "cpu/bt/legacy.h"

bool bt_is_x87(const struct bt_insn *in)
{
	return in->i.meta.isa_ext == ZYDIS_ISA_EXT_X87 || in->i.meta.category == ZYDIS_CATEGORY_X87_ALU || /* FISTTP */
	       in->i.meta.category == ZYDIS_CATEGORY_FCMOV;
}

bool bt_x87_is_native(const struct bt_insn *in)
{
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_FNINIT:
	case ZYDIS_MNEMONIC_FNSTENV:
	case ZYDIS_MNEMONIC_FLDENV:
	case ZYDIS_MNEMONIC_FNSAVE:
	case ZYDIS_MNEMONIC_FRSTOR:
		return false;
	default:
		return true;
	}
}

/* Control instructions leave the pointers alone. */
static enum bt_x87_kind kind_of(const struct bt_insn *in)
{
	if (!in->x87 || (in->cls != BT_COPY && in->cls != BT_MEMORY))
		return X87_NOT;
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_FNCLEX:
	case ZYDIS_MNEMONIC_FLDCW:
	case ZYDIS_MNEMONIC_FNSTCW:
	case ZYDIS_MNEMONIC_FNSTSW:
	case ZYDIS_MNEMONIC_FWAIT:
	case ZYDIS_MNEMONIC_FENI8087_NOP:
	case ZYDIS_MNEMONIC_FDISI8087_NOP:
	case ZYDIS_MNEMONIC_FSETPM287_NOP:
		return X87_NOT;
	default:
		return in->mem ? X87_MEMORY : X87_REGISTER;
	}
}

void bt_x87_map(const struct bt_insn *in, struct bt_map *m)
{
	enum bt_x87_kind kind = kind_of(in);

	if (kind == X87_NOT)
		return;
	m->x87 = (uint8_t)kind;
	if (kind == X87_MEMORY)
		m->x87 |= (uint8_t)((in->mem->mem.segment - ZYDIS_REGISTER_ES) << X87_KIND_BITS);
	m->fop = (uint16_t)((in->i.opcode & 7) << 8 | in->i.raw.modrm.mod << 6 | in->i.raw.modrm.reg << 3 | in->i.raw.modrm.rm);
}

/* T0 = the offset of the memory operand in its segment. Registers are what they were before the instruction. */
static void emit_offset(struct translation *t, const struct bt_insn *in)
{
	struct bt_insn plain;

	if (t->mode.legacy.on) {
		bt_emit_offset(t, in, &in->mem->mem);
		return;
	}
	plain = *in;
	plain.op[in->mem - in->op].mem.segment = ZYDIS_REGISTER_DS;
	plain.mem = &plain.op[in->mem - in->op];
	bt_emit_address(t, &plain);
}

/* Nothing can come between instruction n and the next one, which is noted as well, but an error: fault.c. */
static bool next_will_do(const struct translation *t, unsigned n)
{
	if (n + 1 == t->n || kind_of(&t->insn[n + 1]) != X87_REGISTER)
		return false;
	for (unsigned k = 0; k < t->plan.n_groups; k++)
		if (t->plan.group[k].check == n + 1)
			return false;
	return true;
}

void bt_emit_x87_note(struct translation *t, unsigned n)
{
	const struct bt_insn *in = &t->insn[n];

	switch (kind_of(in)) {
	case X87_MEMORY:
		emit_offset(t, in);
		store_slot(&t->a, &t->bt->x87.offset, T0);
		store_slot_host(&t->a, 1, &t->bt->x87.mem, t->a.pc); /* and none without */
		break;
	case X87_REGISTER:
		if (!next_will_do(t, n))
			store_slot_host(&t->a, 0, &t->bt->x87.reg, t->a.pc);
		break;
	default:
		break;
	}
}
