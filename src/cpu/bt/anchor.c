/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a block that relies on the stack window makes sure that RSP is still there (requirement 1 of stack.c).
 *
 * Pushes, pops, calls and returns touch the stack where they leave RSP: that anchors it, for a fault leaves the block. So does
 * an access close to it. What adds a constant leaves RSP loose until the next of these. If the block may be left for another
 * one while RSP is loose, a load at [RSP] is put before: the probe. What gives RSP an unknown value, or moves it far, is followed
 * by a comparison with the window's ends: it is verified.
 */
#include "cpu/bt/insn.h"

/* Before instruction n the block may be left for another one, which is not entered from C. */
static bool may_leave(const struct bt_plan *p, const struct bt_insn *in, unsigned n)
{
	return bt_check_at(p, n) || in[n].cls >= BT_LEAVE;
}

/* It leaves by way of the stack. */
static bool anchors_itself(const struct bt_insn *in)
{
	return in->cls == BT_CALL || in->cls == BT_CALL_IND || in->cls == BT_RET;
}

/* Whatever its operands are, it touches all of its memory: no prefetch, no mask. */
static bool always_touches(const struct bt_insn *in)
{
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_MOVZX:
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_OR:
	case ZYDIS_MNEMONIC_XOR:
	case ZYDIS_MNEMONIC_CMP:
	case ZYDIS_MNEMONIC_TEST:
		return true;
	default:
		return false;
	}
}

static bool anchors(const struct bt_plan *p, const struct bt_insn *in, unsigned i)
{
	if (in[i].cls == BT_PUSH || in[i].cls == BT_POP || anchors_itself(&in[i]) || p->at[i].verify)
		return true;
	return p->at[i].group == BT_STACK_GROUP && p->at[i].near_sp && always_touches(&in[i]);
}

void bt_anchor(struct bt_plan *p, const struct bt_insn *in, unsigned n)
{
	bool loose = false;

	for (unsigned i = 0; i < n; i++) {
		const struct bt_value *sp = &p->at[i].value[R_SP], *next = i + 1 < n ? &p->at[i + 1].value[R_SP] : &p->last_sp;

		p->at[i].probe = loose && may_leave(p, in, i) && !anchors_itself(&in[i]);
		loose = loose && !p->at[i].probe;
		if (anchors(p, in, i))
			loose = false;
		else if (next->root == sp->root && next->off != sp->off)
			loose = true;
	}
	/* A probe behind the last instruction would fault as if that had not run. */
	if (loose)
		p->at[n - 1].verify = true;
}
