/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the arithmetic flags are while they matter and nobody looks at them: parked in a slot, so that checks may destroy them.
 *
 * 1. Who goes on through a jump cache, or enters from C, has them parked; blocks begin so at both of their entries. A block
 *    that begins by writing all flags, as most do, never looks there: so for calls and returns they cost one parking at most.
 * 2. Chained jumps have them in place, unless they are parked where the jump stands: struct bt_site says so.
 * 3. In a block they are parked before a check if there is another before they are touched, or if they would have to be
 *    behind it anyway; and fetched before an instruction that touches them or is not known here.
 * 4. Whoever leaves for C fetches them first. C keeps both copies the same.
 *
 * The parked form is what LAHF and SETO AL leave in AX. (PUSHF and POPF need a stack, and POPF 14 cycles.)
 */
#include "cpu/bt/insn.h"

void bt_emit_park(struct translation *t, unsigned scratch)
{
	static const uint8_t lahf_seto[] = { 0x9f, 0x0f, 0x90, 0xc0 };

	t->holds[scratch == T1] = false;
	mov_rr(&t->a, scratch, R_AX);
	put_bytes(&t->a, lahf_seto, sizeof(lahf_seto));
	store_slot(&t->a, &t->bt->parked_flags, R_AX);
	mov_rr(&t->a, R_AX, scratch);
}

static void emit_from_ax(struct assembler *a)
{
	static const uint8_t add_sahf[] = { 0x04, 0x7f, 0x9e }; /* 1 + 7f overflows */

	put_bytes(a, add_sahf, sizeof(add_sahf));
}

static void emit_fetch(struct translation *t)
{
	t->holds[0] = false;
	mov_rr(&t->a, T0, R_AX);
	load_slot(&t->a, R_AX, &t->bt->parked_flags);
	emit_from_ax(&t->a);
	mov_rr(&t->a, R_AX, T0);
}

void bt_emit_fetch_in_stub(struct bt *bt, struct assembler *a)
{
	store_slot(a, &bt->rax, R_AX);
	load_slot(a, R_AX, &bt->parked_flags);
	emit_from_ax(a);
	load_slot(a, R_AX, &bt->rax);
}

/* -- Where in a block -------------------------------------------------------------------------------------- */

static bool touches_flags(const struct bt_insn *in)
{
	const struct bt_flags *f = &in->i.flags;

	return in->cls != BT_NOP && (f->tested | f->set | f->undefined);
}

/* Classes whose code needs no flags in place, and may destroy them if t->keep_flags is not set. */
static bool may_be_parked(const struct bt_insn *in)
{
	switch (in->cls) {
	case BT_COPY:
	case BT_MEMORY:
	case BT_LEA:
	case BT_NOP:
	case BT_PUSH:
	case BT_POP:
	case BT_LEAVE:
	case BT_JMP:
	case BT_CALL:
	case BT_JMP_IND:
	case BT_CALL_IND:
	case BT_RET:
		return !touches_flags(in);
	default:
		return false;
	}
}

bool bt_has_access(const struct bt_insn *in)
{
	return in->cls == BT_MEMORY || in->cls == BT_PUSH || in->cls == BT_POP || in->cls == BT_LEAVE || in->cls == BT_CALL ||
	       in->cls == BT_CALL_IND || in->cls == BT_RET || (in->cls == BT_JMP_IND && in->mem);
}

/* What needs no check in the stack window. */
static bool is_stack_only(const struct bt_insn *in)
{
	return !in->mem && bt_has_access(in) && in->cls != BT_LEAVE;
}

static bool has_check(const struct translation *t, unsigned n)
{
	const struct bt_insn *in = &t->insn[n];

	if (bt_check_at(&t->plan, n))
		return true;
	if (t->plan.at[n].group >= 0 || (t->mode.stack && is_stack_only(in)))
		return false;
	return bt_has_access(in);
}

static bool pays(const struct translation *t, unsigned n)
{
	unsigned checks = 0;

	if (!has_check(t, n))
		return false;
	for (; n < t->n && t->insn[n].flags_live && may_be_parked(&t->insn[n]); n++) {
		checks += has_check(t, n);
		if (t->insn[n].cls >= BT_JMP && t->insn[n].cls <= BT_RET)
			checks++;
	}
	return checks > 1;
}

void bt_settle_flags(struct translation *t, unsigned n)
{
	const struct bt_insn *in = &t->insn[n];

	if (!in->flags_live) {
		t->parked = false;
	} else if (t->parked && !may_be_parked(in)) {
		emit_fetch(t);
		t->parked = false;
	} else if (!t->parked && may_be_parked(in) && pays(t, n)) {
		bt_emit_park(t, T0);
		t->parked = true;
	}
	t->keep_flags = in->flags_live && !t->parked;
}
