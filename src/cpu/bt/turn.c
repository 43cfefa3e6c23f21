/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One turn of the run loop, as lockstep wants to know it: which instructions of a block ran, and how it was left. */
#include "cpu/bt/cache.h"
#include "cpu/bt/loop.h"

/* The instructions of the block that stand before rip. */
static unsigned instructions_before(const struct vcpu_turn *turn, uint64_t rip)
{
	unsigned i = 0;

	while (i < turn->n && turn->rip[i] != rip)
		i++;
	return i;
}

/* Behind instruction i, by the block's own marks and what was before the block. */
static void append(struct vcpu_turn *turn, uint64_t rip, const struct bt_flag_marks *marks, uint16_t undefined, uint16_t dead,
		   uint16_t before)
{
	uint16_t kept = bt_unpack_flags(marks->kept);

	turn->rip[turn->n] = rip;
	turn->undefined[turn->n] = bt_unpack_flags(marks->undefined) | (undefined & kept);
	turn->dead[turn->n] = bt_unpack_flags(marks->dead) | (dead & kept);
	turn->kept[turn->n] = before & kept;
	turn->n++;
}

static void append_block(struct bt *bt, const struct bt_block *b)
{
	struct vcpu_turn *turn = bt->v->turn;
	unsigned n = turn->n;
	uint16_t undefined = n ? turn->undefined[n - 1] : 0, dead = n ? turn->dead[n - 1] : 0;
	uint16_t before = n ? turn->kept[n - 1] : FL_ARITH;

	BUG_ON(n + b->insns > TURN_INSNS);
	for (unsigned i = 0; i < b->insns; i++) {
		const struct bt_map *m = &bt->cache->map[b->map + i];

		append(turn, bt->v->s.rip + m->rip_off, &m->marks, undefined, dead, before);
	}
}

void bt_turn_begin(struct bt *bt, const struct bt_block *b)
{
	struct vcpu_turn *turn = bt->v->turn;

	bt->loop_most = turn ? 0 : BT_LOOP_CHUNK - 1;
	if (!turn)
		return;
	bt->turn_stepped = false;
	bt->turn_chunks = bt->loop_chunks;
	turn->n = turn->steps = 0;
	turn->left = turn->flags_dead = false;
	if (!b)
		return;
	append_block(bt, b);
	bt->turn_loop = b->loop_insns;
}

/*
 * Polls always have something to say then, and only the one at the beginning is passed over. A loop goes by its second form,
 * for one iteration (bt->loop_most).
 */
uint32_t bt_turn_entry(const struct bt_block *b)
{
	return b->loop_body ? b->loop_body : b->body;
}

void bt_turn_go_on(struct bt *bt, const struct bt_block *b)
{
	struct vcpu_turn *turn = bt->v->turn;

	turn->n = instructions_before(turn, bt->v->s.rip);
	append_block(bt, b);
}

void bt_turn_step(struct bt *bt)
{
	bt->turn_stepped = true;
	bt->turn_step_rip = bt->v->s.rip;
}

void bt_turn_end(struct bt *bt, const struct bt_site *last)
{
	struct vcpu_turn *turn = bt->v->turn;

	if (!turn)
		return;
	if (bt->loop_chunks != bt->turn_chunks) /* its second form is left where the loop ends */
		turn->n = bt->turn_loop;
	if (bt->turn_stepped) {
		turn->steps = instructions_before(turn, bt->turn_step_rip) + 1;
		turn->flags_dead = turn->n;
		return;
	}
	switch (last->kind) {
	case SITE_POLL:
		turn->flags_dead = last->sub;
		turn->left = true;
		break;
	case SITE_LOOKUP: /* back to a loop's beginning the flags are those of what counts its iterations, and dead (loop_emit.c) */
		turn->flags_dead = last->sub;
		turn->left = true;
		break;
	case SITE_INDIRECT:
		turn->left = true;
		break;
	case SITE_TLB:
	case SITE_GROUP:
	case SITE_STACK:
	case SITE_OFF_STACK:
		turn->steps = instructions_before(turn, last->rip);
		turn->flags_dead = true; /* by the check that failed */
		break;
	default:
		turn->steps = instructions_before(turn, last->rip) + 1;
		break;
	}
}
