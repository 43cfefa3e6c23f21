/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The code of a plan: checks that several accesses share, and the accesses that rely on them, at [their address + T1]. */
#include "cpu/bt/insn.h"

static void *home(struct translation *t, unsigned reg)
{
	return reg == T0 ? (void *)&t->bt->r10 : (void *)&t->bt->r11;
}

static bool is_stolen(unsigned reg)
{
	return (reg & ~1u) == R_10;
}

/* -- Checks ------------------------------------------------------------------------------------------------ */

/* T0 = the group's lowest address, from what its registers hold before instruction n. */
static void emit_lowest(struct translation *t, const struct bt_plan *p, const struct bt_group *g, unsigned n)
{
	const struct bt_value *v = p->at[n].value;
	int32_t disp = g->at.off - v[g->base].off;
	unsigned base = g->base;

	if (base == BT_PLAN_RIP) {
		mov_la(&t->a, T0, t->b->la + (uint64_t)(int64_t)disp, MOVES_LA);
		return;
	}
	if (is_stolen(base)) {
		load_slot(&t->a, T0, home(t, base));
		base = T0;
	}
	if (g->index == BT_PLAN_NONE) {
		lea_disp(&t->a, T0, base, disp);
		return;
	}
	if (is_stolen(g->index) && base != T0)
		load_slot(&t->a, T0, &t->bt->r10); /* (r11 is in no group) */
	lea_full(&t->a, 1, T0, base, g->index, (unsigned)__builtin_ctz(g->at.scale),
		 disp - v[g->index].off * g->at.scale);
}

void bt_emit_group_checks(struct translation *t, const struct bt_plan *p, unsigned n)
{
	for (unsigned k = 0; bt_check_at(p, n) && k < p->n_groups; k++) {
		const struct bt_group *g = &p->group[k];
		uint32_t retry = t->a.pc;
		struct bt_stub *s;

		if (g->check != n || !bt_group_used(g))
			continue;
		t->holds[0] = t->holds[1] = false;
		emit_lowest(t, p, g, n);
		s = bt_emit_group_check(t, &t->insn[n], g->size, g->write, retry);
		s->site.masked = g->perhaps;
		if (g->kept)
			store_slot(&t->a, &t->bt->group[k], T1);
	}
}

/* An opcode with reg and [base + T1 + disp], 64 bits wide. */
static void op_t1(struct assembler *a, unsigned opcode, unsigned reg, unsigned base, int8_t disp)
{
	rex(a, 1, reg, T1, base);
	put8(a, opcode);
	put8(a, 0x44 | (reg & 7) << 3);
	put8(a, (T1 & 7) << 3 | (base & 7));
	put8(a, (uint8_t)disp);
}

/* -- The stack window ------------------------------------------------------------------------------------- */

void bt_emit_probe(struct translation *t)
{
	t->holds[0] = t->holds[1] = false;
	load_slot(&t->a, T1, &t->bt->group[BT_STACK_GROUP]);
	op_t1(&t->a, 0x8b, T0, R_SP, 0);
}

void bt_emit_verify_sp(struct translation *t, unsigned n)
{
	static const uint8_t cmp_r10[] = { 0x49, 0x81, 0xfa }; /* cmp r10, imm32 */
	bool keep = (n + 1 == t->n || t->insn[n + 1].flags_live) && !t->parked;
	struct bt_stub *s = bt_add_stub(t, NULL, SITE_OFF_STACK, bt_next_rip(&t->insn[n]));

	t->holds[0] = false;
	load_slot(&t->a, T0, &t->bt->stack_minus_la);
	lea_full(&t->a, 1, T0, R_SP, T0, 0, 0); /* RSP is no index */
	if (keep) {
		bits_slot(&t->a, 2, T0, &t->bt->stack_out_bits);
		store_slot(&t->a, &t->bt->rcx, R_CX);
		mov_rr(&t->a, R_CX, T0);
		bt_emit_unless_rcx(t, s, RCX_IN_SLOT);
		return;
	}
	put_bytes(&t->a, cmp_r10, sizeof(cmp_r10));
	put32(&t->a, BT_STACK_SIZE - 1);
	s->disp = jcc_forward(&t->a, 7); /* ja */
}

/* -- Members ------------------------------------------------------------------------------------------------- */

static void emit_push_constant(struct translation *t, uint64_t val)
{
	if (val == (uint64_t)(int64_t)(int32_t)val) {
		op_t1(&t->a, 0xc7, 0, R_SP, -8);
		put32(&t->a, (uint32_t)val);
		return;
	}
	mov_imm(&t->a, T0, val);
	op_t1(&t->a, 0x89, T0, R_SP, -8);
}

static void emit_push_return(struct translation *t, const struct bt_insn *in)
{
	uint64_t la = bt_next_rip(in);

	if (t->a.move) {
		mov_la(&t->a, T0, la, MOVES_LA);
		op_t1(&t->a, 0x89, T0, R_SP, -8);
	} else {
		emit_push_constant(t, la);
	}
	lea_disp(&t->a, R_SP, R_SP, -8);
}

static void emit_push(struct translation *t, const struct bt_insn *in)
{
	const struct bt_operand *o = &in->op[0];
	unsigned reg;

	if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		emit_push_constant(t, (uint64_t)o->imm.value.s);
	} else {
		reg = bt_gpr_number(o->reg.value);
		if (is_stolen(reg))
			load_slot(&t->a, T0, home(t, reg));
		op_t1(&t->a, 0x89, is_stolen(reg) ? T0 : reg, R_SP, -8);
	}
	lea_disp(&t->a, R_SP, R_SP, -8);
}

static void emit_pop(struct translation *t, const struct bt_insn *in)
{
	unsigned reg = bt_gpr_number(in->op[0].reg.value);

	op_t1(&t->a, 0x8b, is_stolen(reg) ? T0 : reg, R_SP, 0);
	if (is_stolen(reg))
		store_slot(&t->a, home(t, reg), T0);
	lea_disp(&t->a, R_SP, R_SP, 8);
}

static void emit_memory(struct translation *t, const struct bt_insn *in)
{
	const struct bt_memory *m = &in->mem->mem;
	unsigned base;

	if (m->base == ZYDIS_REGISTER_RIP || m->index != ZYDIS_REGISTER_NONE) {
		bt_emit_address(t, in);
		bt_emit_memory_insn(t, in);
		return;
	}
	base = bt_gpr_number(m->base);
	if (is_stolen(base)) {
		load_slot(&t->a, T0, home(t, base));
		base = T0;
	}
	bt_emit_memory_based(t, in, base);
}

void bt_emit_member(struct translation *t, const struct bt_plan *p, unsigned n)
{
	const struct bt_insn *in = &t->insn[n];
	uint32_t start = t->a.pc;

	if (p->at[n].reload)
		load_slot(&t->a, T1, &t->bt->group[p->at[n].group]);
	switch (in->cls) {
	case BT_PUSH:
		emit_push(t, in);
		break;
	case BT_POP:
		emit_pop(t, in);
		break;
	case BT_CALL:
		emit_push_return(t, in);
		bt_emit_goto(t, bt_branch_target(in));
		break;
	case BT_RET:
		op_t1(&t->a, 0x8b, T0, R_SP, 0);
		lea_disp(&t->a, R_SP, R_SP, bt_branch_rsp(in));
		bt_emit_dispatch(t, start);
		break;
	default:
		emit_memory(t, in);
		break;
	}
}
