/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Second pass: before which instructions do the arithmetic flags matter? A check may destroy them elsewhere. */
#include "cpu/bt/insn.h"

#define ARITH (ZYDIS_CPUFLAG_CF | ZYDIS_CPUFLAG_PF | ZYDIS_CPUFLAG_AF | ZYDIS_CPUFLAG_ZF | ZYDIS_CPUFLAG_SF | ZYDIS_CPUFLAG_OF)

/* Shifts and rotates leave the flags alone when their masked count is 0. */
static bool may_keep_flags(const struct bt_insn *in)
{
	ZydisInstructionCategory c = in->i.meta.category;
	bool shifts = c == ZYDIS_CATEGORY_SHIFT || c == ZYDIS_CATEGORY_ROTATE ||
		      in->i.mnemonic == ZYDIS_MNEMONIC_SHLD || in->i.mnemonic == ZYDIS_MNEMONIC_SHRD;
	const ZydisDecodedOperand *count = &in->op[in->i.operand_count_visible ? in->i.operand_count_visible - 1 : 0];

	if (!shifts)
		return false;
	return count->type != ZYDIS_OPERAND_TYPE_IMMEDIATE || !(count->imm.value.u & 31);
}

void bt_flag_liveness(struct bt_insn *in, unsigned n)
{
	uint32_t live = ARITH;

	while (n--) {
		const ZydisAccessedFlags *f = in[n].i.cpu_flags;

		if (in[n].cls == BT_JCC || in[n].cls == BT_SYSTEM || bt_ends_block(&in[n])) {
			live = ARITH; /* where it goes, or what the reference does, is not looked into */
		} else if (f && in[n].cls != BT_NOP) {
			if (!may_keep_flags(&in[n]))
				live &= ~(f->modified | f->set_0 | f->set_1 | f->undefined);
			live |= f->tested;
		}
		in[n].flags_live = live & ARITH;
	}
}
