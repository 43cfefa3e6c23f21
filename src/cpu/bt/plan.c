/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Third pass: which accesses of a block share a check?
 *
 * Accesses that are a constant apart form a group if all of them fit into BT_GROUP_SPAN bytes. One check of the whole span
 * finds the distance between guest and host addresses (the addend), by which all of the group find their memory. It stands
 * before the first of them, or earlier where the flags do not matter. Should the span not be in one page that may be accessed
 * so, the block is left at the check for a translation of the same code without groups (FORM_UNGROUPED).
 *
 * 1. That addresses are a constant apart is seen by following values: a register holds a root (what it held when last changed
 *    in an unknown way) plus an offset.
 * 2. A page must not become dirty by the check for a store that a branch then leaves out. So if a group's first write stands behind a branch, its check only
 *    finds pages that are dirty already; the store by which one becomes so is made by the translation without groups. One under a
 *    mask, which may write nothing, joins none.
 * 3. Nothing that may change translations comes between a check and an access of its group: groups end at all instructions
 *    that are not plain (classes from BT_LEAVE on, but for JCC). A miss on the way adds to the TLB only.
 *
 * In a block that relies on the stack window (stack.c) what is a constant apart from RSP goes by that, without a check.
 */
#include "cpu/bt/insn.h"

#define MAX_OFFSET (1 << 24) /* of a root: the displacement of a check has 32 bits */

struct planner {
	struct bt_insn *in;
	unsigned n, i;
	struct bt_plan *p;
	struct bt_value value[BT_PLAN_REGS];
	uint16_t roots, branches;
	uint16_t first[BT_MAX_GROUPS]; /* p->group's: branches seen when it began */
	unsigned live;                 /* groups from this one on may be joined */
	unsigned segment;              /* checks may be hoisted to this instruction, */
	unsigned what;                 /* enum bt_plan_what */
	int32_t sp_base;               /* offset of RSP where it was in the stack window, but for BT_STACK_DRIFT */
};

/* -- Values ---------------------------------------------------------------------------------------------- */

static void new_root(struct planner *l, unsigned reg)
{
	l->value[reg] = (struct bt_value){ .root = l->roots++ };
}

static void set_value(struct planner *l, unsigned reg, struct bt_value from, int64_t add)
{
	int64_t off = from.off + add;

	if (add > MAX_OFFSET || add < -MAX_OFFSET || off > MAX_OFFSET || off < -MAX_OFFSET)
		new_root(l, reg);
	else
		l->value[reg] = (struct bt_value){ from.root, (int32_t)off };
}

static bool is_gpr64(const struct bt_operand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && bt_is_gpr64(o->reg.value);
}

static bool is_gpr(const struct bt_operand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && bt_is_gpr(o->reg.value);
}

/* What reg = op[0] holds behind an instruction that adds a constant to a register, or copies one. */
static bool follow(struct planner *l, const struct bt_insn *in, unsigned reg)
{
	const struct bt_operand *o = &in->op[1];
	struct bt_value old = l->value[reg];
	bool imm = in->i.operand_count_visible > 1 && o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;

	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_ADD:
		return imm ? set_value(l, reg, old, o->imm.value.s), true : false;
	case ZYDIS_MNEMONIC_SUB:
		return imm ? set_value(l, reg, old, -o->imm.value.s), true : false;
	case ZYDIS_MNEMONIC_INC:
		return set_value(l, reg, old, 1), true;
	case ZYDIS_MNEMONIC_DEC:
		return set_value(l, reg, old, -1), true;
	case ZYDIS_MNEMONIC_MOV:
		return is_gpr64(o) ? set_value(l, reg, l->value[bt_gpr_number(o->reg.value)], 0), true : false;
	case ZYDIS_MNEMONIC_LEA:
		if (!bt_is_gpr64(o->mem.base) || o->mem.index != ZYDIS_REGISTER_NONE)
			return false;
		return set_value(l, reg, l->value[bt_gpr_number(o->mem.base)], o->mem.disp.value), true;
	default:
		return false;
	}
}

static void execute(struct planner *l, const struct bt_insn *in)
{
	struct bt_value sp = l->value[R_SP];

	if ((in->cls == BT_COPY || in->cls == BT_MEMORY) && is_gpr64(&in->op[0]) && follow(l, in, bt_gpr_number(in->op[0].reg.value)))
		return;
	for (unsigned n = 0; n < in->i.operand_count; n++)
		if (is_gpr(&in->op[n]) && (in->op[n].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			new_root(l, bt_gpr_number(in->op[n].reg.value));
	if (in->cls == BT_PUSH)
		set_value(l, R_SP, sp, -8);
	else if (in->cls == BT_POP && !(is_gpr(&in->op[0]) && bt_gpr_number(in->op[0].reg.value) == R_SP))
		set_value(l, R_SP, sp, 8);
}

/* -- Accesses ------------------------------------------------------------------------------------------------ */

struct access {
	uint8_t base, index, scale; /* registers; BT_PLAN_NONE, BT_PLAN_RIP */
	bool write;
	int64_t disp;
	unsigned size;
};

static bool stack_access(const struct bt_insn *in, struct access *a)
{
	*a = (struct access){ .base = R_SP, .index = BT_PLAN_NONE, .size = 8, .disp = -8, .write = true };
	switch (in->cls) {
	case BT_PUSH:
		return !in->mem;
	case BT_CALL:
		return true;
	case BT_POP:
		a->disp = 0;
		a->write = false;
		return bt_gpr_number(in->op[0].reg.value) != R_SP;
	case BT_RET:
		a->disp = 0;
		a->write = false;
		return true;
	default:
		return false;
	}
}

/* RIP-relative addresses are offsets from the block's own. */
static bool memory_access(const struct planner *l, const struct bt_insn *in, struct access *a)
{
	const struct bt_memory *m = &in->mem->mem;

	if (in->i.address_width != 64 || m->segment == ZYDIS_REGISTER_FS || m->segment == ZYDIS_REGISTER_GS ||
	    in->mem->size > BT_MAX_CROSSING * 8 || !in->i.raw.modrm.offset || in->masked)
		return false;
	if (in->i.length + BT_BASED_GROWTH > BT_MAX_INSN_LEN)
		return false;
	*a = (struct access){ .size = in->mem->size / 8u, .write = in->writes_mem, .disp = m->disp.value, .index = BT_PLAN_NONE };
	if (m->base == ZYDIS_REGISTER_RIP) {
		a->base = BT_PLAN_RIP;
		a->disp += (int64_t)(bt_next_rip(in) - l->in[0].rip);
		return true;
	}
	if (m->base == ZYDIS_REGISTER_NONE)
		return false;
	a->base = (uint8_t)bt_gpr_number(m->base);
	if (m->index == ZYDIS_REGISTER_NONE)
		return true;
	a->index = (uint8_t)bt_gpr_number(m->index);
	a->scale = m->scale;
	return a->base != T1 && a->index != T1; /* T1 is the addend's */
}

/* Where the access is, as root, or two, and an offset. */
static bool locate(const struct planner *l, const struct access *a, const struct bt_value *value, struct bt_place *at)
{
	int64_t off = a->disp + value[a->base].off;

	*at = (struct bt_place){ .root = value[a->base].root, .index_root = BT_PLAN_NO_ROOT, .scale = a->scale };
	if (a->index != BT_PLAN_NONE) {
		at->index_root = value[a->index].root;
		off += (int64_t)value[a->index].off * a->scale;
	}
	at->off = (int32_t)off;
	return off >= -2 * (int64_t)BT_PLAN_REACH && off <= 2 * (int64_t)BT_PLAN_REACH;
}

static bool same_roots(const struct bt_place *a, const struct bt_place *b)
{
	return a->root == b->root && a->index_root == b->index_root && a->scale == b->scale;
}

/* -- Groups ---------------------------------------------------------------------------------------------------- */

/* A group that the access may join; it grows to hold it. */
static int join(struct planner *l, const struct access *a, const struct bt_place *at)
{
	for (unsigned k = l->p->n_groups; k-- > l->live;) {
		struct bt_group *g = &l->p->group[k];
		int32_t lo = MIN(g->at.off, at->off), hi = MAX(g->at.off + (int32_t)g->size, at->off + (int32_t)a->size);

		if (!same_roots(&g->at, at) || hi - lo > BT_GROUP_SPAN)
			continue;
		if (a->write && !g->write)
			g->perhaps = l->first[k] != l->branches;
		g->at.off = lo;
		g->size = (uint16_t)(hi - lo);
		g->write |= a->write;
		g->members++;
		return (int)k;
	}
	return -1;
}

/* The last instruction before which the flags do not matter and the address is known; else the access's own. */
static unsigned hoisted(const struct planner *l, const struct access *a, const struct bt_place *at)
{
	struct bt_place there;

	for (unsigned h = l->i + 1; h-- > l->segment;) {
		if (!locate(l, a, l->p->at[h].value, &there) || !same_roots(&there, at))
			break;
		if (!l->in[h].flags_live)
			return h;
	}
	return l->i;
}

static int found(struct planner *l, const struct access *a, const struct bt_place *at)
{
	struct bt_group *g = &l->p->group[l->p->n_groups];

	if (l->p->n_groups == BT_MAX_GROUPS)
		return -1;
	*g = (struct bt_group){ .at = *at, .base = a->base, .index = a->index, .write = a->write, .members = 1,
				.size = (uint16_t)a->size, .check = (uint8_t)hoisted(l, a, at), .first = (uint8_t)l->i };
	l->first[l->p->n_groups] = l->branches;
	return (int)l->p->n_groups++;
}

/* -- The stack window -------------------------------------------------------------------------------------- */

static bool by_stack_window(const struct planner *l, const struct bt_place *at)
{
	int64_t off = (int64_t)at->off - l->sp_base;

	return (l->what & PLAN_STACK) && at->index_root == BT_PLAN_NO_ROOT && at->root == l->value[R_SP].root &&
	       off >= -BT_STACK_REACH && off <= BT_STACK_REACH;
}

static void plan_by_stack_window(struct planner *l, const struct bt_place *at)
{
	int64_t off = (int64_t)at->off - l->value[R_SP].off;

	l->p->at[l->i].group = BT_STACK_GROUP;
	l->p->at[l->i].near_sp = off >= -BT_STACK_DRIFT && off <= BT_STACK_DRIFT;
}

static bool writes_sp(const struct bt_insn *in)
{
	for (unsigned n = 0; n < in->i.operand_count; n++)
		if (is_gpr(&in->op[n]) && (in->op[n].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
		    bt_gpr_number(in->op[n].reg.value) == R_SP)
			return true;
	return false;
}

/* Behind an instruction, before which RSP was `sp`; plain: the values have been followed through it. */
static void follow_sp(struct planner *l, const struct bt_insn *in, struct bt_value sp, bool plain)
{
	struct bt_value now = l->value[R_SP];
	int64_t moved = (int64_t)now.off - l->sp_base;
	bool far = moved > BT_STACK_REACH / 2 || moved < -BT_STACK_REACH / 2;

	if (plain ? now.root != sp.root || far : writes_sp(in)) {
		l->p->at[l->i].verify = (l->what & PLAN_STACK) && !bt_ends_block(in);
		l->sp_base = now.off;
	} else if (!plain) {
		l->sp_base = now.off;
	}
}

static void plan_access(struct planner *l, const struct bt_insn *in)
{
	struct bt_place at;
	struct access a;
	int k;

	if (in->cls == BT_MEMORY ? !memory_access(l, in, &a) : !stack_access(in, &a))
		return;
	if (!locate(l, &a, l->value, &at))
		return;
	if (by_stack_window(l, &at)) {
		plan_by_stack_window(l, &at);
		return;
	}
	if (!(l->what & PLAN_GROUPS))
		return;
	k = join(l, &a, &at);
	l->p->at[l->i].group = (int8_t)(k < 0 ? found(l, &a, &at) : k);
}

/* A group of one gains nothing but by being hoisted. */
static void dissolve(struct planner *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		const struct bt_group *g = &l->p->group[MAX(l->p->at[i].group, 0)];

		if (l->p->at[i].group >= 0 && g->members == 1 && g->check == i)
			l->p->at[i].group = BT_NO_GROUP;
	}
	for (unsigned k = 0; k < l->p->n_groups; k++)
		if (bt_group_used(&l->p->group[k]))
			l->p->checks |= 1ull << l->p->group[k].check;
}

/* -- T1 ---------------------------------------------------------------------------------------------------------- */

static bool touches_t1(const struct bt_insn *in, bool member)
{
	switch (in->cls) {
	case BT_COPY:
	case BT_NOP:
		return in->uses[1] || in->defs[1] || (in->mem && (in->mem->mem.base == ZYDIS_REGISTER_R11 || in->mem->mem.index == ZYDIS_REGISTER_R11));
	case BT_MEMORY:
		return !member || in->uses[0] || in->uses[1] || in->defs[0] || in->defs[1];
	case BT_PUSH:
	case BT_POP:
		return !member;
	case BT_JCC: /* if it is taken */
		return false;
	default:
		return true;
	}
}

/* Which addend is in T1 at each instruction? Those that are needed again are kept in a slot. */
static void follow_t1(struct planner *l)
{
	int holds = BT_NO_GROUP;

	for (unsigned i = 0; i < l->n; i++) {
		int8_t k = l->p->at[i].group;

		if (l->p->at[i].probe)
			holds = BT_STACK_GROUP;
		for (unsigned g = 0; bt_check_at(l->p, i) && g < l->p->n_groups; g++)
			if (l->p->group[g].check == i && bt_group_used(&l->p->group[g]))
				holds = (int)g;
		if (k >= 0 && holds != k) {
			l->p->at[i].reload = true;
			l->p->group[k].kept = true;
			holds = k;
		}
		if (touches_t1(&l->in[i], k >= 0))
			holds = BT_NO_GROUP;
	}
}

/* -- The pass ------------------------------------------------------------------------------------------------------ */

static void begin_segment(struct planner *l, unsigned i)
{
	l->live = l->p->n_groups;
	l->segment = i;
	for (unsigned r = 0; r < BT_PLAN_REGS; r++)
		new_root(l, r);
}

static bool is_plain(const struct bt_insn *in)
{
	return in->cls < BT_LEAVE || in->cls == BT_JCC;
}

static void begin_instruction(struct planner *l)
{
	memcpy(l->p->at[l->i].value, l->value, sizeof(l->value));
	l->p->at[l->i].group = BT_NO_GROUP;
	l->p->at[l->i].reload = l->p->at[l->i].near_sp = l->p->at[l->i].verify = l->p->at[l->i].probe = false;
}

void bt_plan(struct bt_plan *p, struct bt_insn *in, unsigned n, unsigned what)
{
	struct planner l = { .in = in, .n = n, .p = p, .what = what };
	struct bt_value sp;

	p->n_groups = 0;
	p->checks = 0;
	p->group[BT_STACK_GROUP] = (struct bt_group){ .members = 2, .check = BT_PLAN_NONE };
	begin_segment(&l, 0);
	for (l.i = 0; l.i < n; l.i++) {
		begin_instruction(&l);
		plan_access(&l, &in[l.i]);
		sp = l.value[R_SP];
		if (!is_plain(&in[l.i])) {
			begin_segment(&l, l.i + 1);
			follow_sp(&l, &in[l.i], sp, false);
			continue;
		}
		execute(&l, &in[l.i]);
		follow_sp(&l, &in[l.i], sp, true);
		if (in[l.i].cls == BT_JCC) {
			l.branches++;
			l.segment = l.i + 1;
		}
	}
	p->last_sp = l.value[R_SP];
	dissolve(&l);
	if (what & PLAN_STACK)
		bt_anchor(p, in, n);
	follow_t1(&l);
}
