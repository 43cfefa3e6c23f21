/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control transfers and the stack operations that go with them. */
#include "cpu/bt/insn.h"
#include "cpu/bt/jumps.h"

/* -- Going on ------------------------------------------------------------------------------------------ */

/* Without flags, by T1. */
static void count_dispatch(struct translation *t)
{
	if (!t->bt->v->group->count_jumps)
		return;
	load_slot(&t->a, T1, &t->bt->dispatches);
	lea_disp(&t->a, T1, T1, 1);
	store_slot(&t->a, &t->bt->dispatches, T1);
}

/*
 * T0 holds the target: through the jump cache; the block there verifies that it is meant. Which branch it was is noted
 * for bt_undo_branch().
 */
void bt_emit_dispatch(struct translation *t, uint32_t start)
{
	if (t->keep_flags)
		bt_emit_park(t, T1);
	count_dispatch(t);
	store_slot_host(&t->a, 0, &t->bt->branch, start);
	bt_emit_jc_index(&t->a);
	op_table(&t->a, 0xff, 0, 4, t->bt->jc[bt_jc_set_of(&t->mode)], T1); /* jmp [jc + T1 * 8] */
}

/* The rel32 at disp leads to `target`, in the same page: a stub first, chained when the block is known. */
static void add_chain(struct translation *t, uint8_t *disp, uint64_t target)
{
	struct bt_stub *s = bt_add_stub(t, disp, SITE_LOOKUP, target);

	s->site.patch = t->a.pc - (uint32_t)(t->a.rw - disp);
	s->site.parked = t->parked;
	s->site.sub = t->loop.n && target == t->b->la;
}

/* Whether a jump to target may be chained: an instruction that reaches into the next page is looked up anew. */
static bool same_page(const struct translation *t, uint64_t target)
{
	return (target & PAGE_MASK) == (t->b->la & PAGE_MASK) &&
	       (target & (PAGE_SIZE - 1)) + BT_MAX_INSN_LEN <= PAGE_SIZE;
}

/*
 * Only within a page: the page that the block stands in is mapped as long as the block runs, while
 * another's mapping is verified where the jump cache was filled, and forgotten when it is flushed.
 */
void bt_emit_goto(struct translation *t, uint64_t target)
{
	if (same_page(t, target)) {
		pad_before_jump(&t->a, 1);
		add_chain(t, jmp_forward(&t->a), target);
		return;
	}
	if (!t->parked)
		bt_emit_park(t, T0);
	count_dispatch(t);
	mov_la(&t->a, T0, target, MOVES_LA);
	jmp_jc(&t->a, &t->bt->jc[bt_jc_set_of(&t->mode)][bt_jc_index(target)]);
}

/* The taken way stands behind the jump over it; within the page the Jcc jumps straight to its chain. */
void bt_emit_jcc_to(struct translation *t, unsigned cc, uint64_t target)
{
	uint8_t *over;

	if (same_page(t, target)) {
		pad_before_jump(&t->a, 2);
		add_chain(t, jcc_forward(&t->a, cc), target);
		return;
	}
	over = jcc_forward(&t->a, cc ^ 1);
	bt_emit_goto(t, target);
	jump_here(&t->a, over);
}

void bt_emit_jcc(struct translation *t, const struct bt_insn *in)
{
	uint64_t target = bt_branch_target(in);
	unsigned op = in->i.opcode;
	uint8_t *over;

	if ((op & 0xf0) == 0x70 || (op & 0xf0) == 0x80) {
		bt_emit_jcc_to(t, op & 0xf, target);
		return;
	}
	/* JRCXZ and LOOPcc have short displacements only: taken, they skip the jump over. */
	if (in->i.address_width == 32)
		put8(&t->a, 0x67);
	put8(&t->a, op);
	put8(&t->a, 5);
	over = jmp_forward(&t->a);
	bt_emit_goto(t, target);
	jump_here(&t->a, over);
}

/* -- Stack ------------------------------------------------------------------------------------------------- */

/* T0 = RSP + disp, checked or in the stack window; [T0 + T1] afterwards. */
static void emit_stack_check(struct translation *t, const struct bt_insn *in, int32_t disp, bool write, uint32_t retry)
{
	lea_disp(&t->a, T0, R_SP, disp);
	if (t->mode.stack) {
		load_slot(&t->a, T1, &t->bt->group[BT_STACK_GROUP]);
		return;
	}
	bt_emit_one_check(t, in, 8, write, retry);
}

static void emit_move_rsp(struct translation *t, int32_t by)
{
	lea_disp(&t->a, R_SP, R_SP, by);
}

/* mov qword [T0 + T1], imm: in one store, through T1 when it does not fit a sign-extended immediate. */
static void emit_store_t1(struct translation *t)
{
	put8(&t->a, 0x4d); /* mov [T0], T1 */
	put8(&t->a, 0x89);
	put8(&t->a, (T1 & 7) << 3 | (T0 & 7));
}

static void emit_store_constant(struct translation *t, uint64_t val)
{
	if (val == (uint64_t)(int64_t)(int32_t)val) {
		put8(&t->a, 0x4b); /* REX.WXB */
		put8(&t->a, 0xc7);
		put8(&t->a, 4);
		put8(&t->a, (T1 & 7) << 3 | (T0 & 7));
		put32(&t->a, (uint32_t)val);
		return;
	}
	lea_full(&t->a, 1, T0, T0, T1, 0, 0);
	mov_imm(&t->a, T1, val);
	emit_store_t1(t);
}

static void emit_store_return(struct translation *t, const struct bt_insn *in)
{
	if (!t->a.move) {
		emit_store_constant(t, bt_next_rip(in));
		return;
	}
	lea_full(&t->a, 1, T0, T0, T1, 0, 0);
	mov_la(&t->a, T1, bt_next_rip(in), MOVES_LA);
	emit_store_t1(t);
}

/* mov [T0 + T1], the value in a slot */
static void emit_store_from(struct translation *t, const void *slot)
{
	lea_full(&t->a, 1, T0, T0, T1, 0, 0);
	load_slot(&t->a, T1, slot);
	emit_store_t1(t);
}

/* The same for a branch that may yet be taken back: with what stood there put away. */
static void emit_exchange_return(struct translation *t, const struct bt_insn *in)
{
	lea_full(&t->a, 1, T0, T0, T1, 0, 0);
	put8(&t->a, 0x4d); /* mov T1, [T0] */
	put8(&t->a, 0x8b);
	put8(&t->a, (T1 & 7) << 3 | (T0 & 7));
	store_slot(&t->a, &t->bt->overwritten, T1);
	mov_la(&t->a, T1, bt_next_rip(in), MOVES_LA);
	emit_store_t1(t);
}

static void *stolen_home(struct translation *t, unsigned reg)
{
	return reg == T0 ? (void *)&t->bt->r10 : reg == T1 ? (void *)&t->bt->r11 : NULL;
}

void bt_emit_push(struct translation *t, const struct bt_insn *in)
{
	uint32_t retry = t->a.pc;
	const struct bt_operand *o = &in->op[0];
	unsigned reg = o->type == ZYDIS_OPERAND_TYPE_REGISTER ? bt_gpr_number(o->reg.value) : 0;

	if (in->mem) {
		bt_emit_address(t, in);
		bt_emit_check(t, in, 8, false, retry);
		op_base_index(&t->a, 0x8b, T0, T0, T1);
		store_slot(&t->a, &t->bt->tmp, T0);
	}
	emit_stack_check(t, in, -8, true, retry);
	if (in->mem)
		emit_store_from(t, &t->bt->tmp);
	else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		emit_store_constant(t, (uint64_t)o->imm.value.s);
	else if (stolen_home(t, reg))
		emit_store_from(t, stolen_home(t, reg));
	else
		op_base_index(&t->a, 0x89, reg, T0, T1);
	emit_move_rsp(t, -8);
}

void bt_emit_push_slot(struct translation *t, const struct bt_insn *in, const void *slot, uint32_t retry)
{
	emit_stack_check(t, in, -8, true, retry);
	emit_store_from(t, slot);
	emit_move_rsp(t, -8);
}

void bt_emit_pop(struct translation *t, const struct bt_insn *in)
{
	unsigned reg = bt_gpr_number(in->op[0].reg.value);

	emit_stack_check(t, in, 0, false, t->a.pc);
	op_base_index(&t->a, 0x8b, reg, T0, T1);
	if (stolen_home(t, reg))
		store_slot(&t->a, stolen_home(t, reg), reg);
	if (reg != R_SP)
		emit_move_rsp(t, 8);
}

void bt_emit_leave(struct translation *t, const struct bt_insn *in)
{
	uint32_t retry = t->a.pc;

	lea_disp(&t->a, T0, R_BP, 0);
	bt_emit_check(t, in, 8, false, retry);
	op_base_index(&t->a, 0x8b, T0, T0, T1);
	lea_disp(&t->a, R_SP, R_BP, 8);
	mov_rr(&t->a, R_BP, T0);
}

void bt_emit_call(struct translation *t, const struct bt_insn *in)
{
	emit_stack_check(t, in, -8, true, t->a.pc);
	emit_store_return(t, in);
	emit_move_rsp(t, -8);
	bt_emit_goto(t, bt_branch_target(in));
}

void bt_emit_indirect(struct translation *t, const struct bt_insn *in)
{
	uint32_t retry = t->a.pc;
	unsigned reg;

	if (in->mem) {
		bt_emit_address(t, in);
		bt_emit_check(t, in, 8, false, retry);
		op_base_index(&t->a, 0x8b, T0, T0, T1);
	} else {
		reg = bt_gpr_number(in->op[0].reg.value);
		if (stolen_home(t, reg))
			load_slot(&t->a, T0, stolen_home(t, reg));
		else
			mov_rr(&t->a, T0, reg);
	}
	if (in->cls == BT_CALL_IND) {
		store_slot(&t->a, &t->bt->tmp, T0);
		emit_stack_check(t, in, -8, true, retry);
		emit_exchange_return(t, in);
		emit_move_rsp(t, -8);
		load_slot(&t->a, T0, &t->bt->tmp);
	}
	bt_emit_dispatch(t, retry);
}

void bt_emit_ret(struct translation *t, const struct bt_insn *in)
{
	uint32_t start = t->a.pc;

	emit_stack_check(t, in, 0, false, start);
	op_base_index(&t->a, 0x8b, T0, T0, T1);
	emit_move_rsp(t, bt_branch_rsp(in));
	bt_emit_dispatch(t, start);
}

/* -- Going nowhere ------------------------------------------------------------------------------------------- */

/* By what reading finds: on a page that holds code a store has no entry of its own (bt_pass_store()). */
static void take_back_return(struct bt *bt)
{
	const uint8_t *old = (const uint8_t *)&bt->overwritten;
	struct ram *r = bt->v->ram;

	for (unsigned n = 0; n < sizeof(bt->overwritten); n++) { /* it may cross a page */
		uint8_t *at = bt_reach(bt, bt->v->s.gpr[R_SP] + n, 1, false, bt_mmu_mode(bt->v));

		if (!at)
			continue;
		*at = old[n];
		ram_note_write(r, (uint64_t)(at - r->base), 1);
	}
}

/*
 * A branch to a non-canonical address faults itself, before RSP moves and a return address is written. To check that at
 * every branch would cost more than to take it back: no block stands at such an address, so it always leaves here.
 */
void bt_undo_branch(struct bt *bt)
{
	const struct bt_map *m = bt_map_at(bt->cache, bt->branch);

	if (!m)
		return;
	if (m->rsp < 0)
		take_back_return(bt);
	bt->v->s.rip = bt_block_at(bt->cache, bt->branch)->la + m->rip_off;
	bt->v->s.gpr[R_SP] -= (uint64_t)(int64_t)m->rsp;
}
