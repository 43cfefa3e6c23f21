/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plan of a block's memory accesses: which of them share a check, and where that stands. */
#ifndef DOPPEL_CPU_BT_PLAN_H
#define DOPPEL_CPU_BT_PLAN_H

#include "cpu/bt/bt.h"

#define BT_PLAN_RIP     16 /* a base beside the general registers: the block's address */
#define BT_PLAN_REGS    17
#define BT_PLAN_NONE    0xff
#define BT_PLAN_NO_ROOT 0xffff
#define BT_PLAN_REACH   (1 << 28) /* of offsets from a root */
#define BT_NO_GROUP     (-1)
#define BT_GROUP_SPAN   512 /* bytes; ever larger groups straddle a page ever more often */

/* What a register holds: what some root stands for, plus an offset. */
struct bt_value {
	uint16_t root;
	int32_t off;
};

struct bt_place {
	uint16_t root, index_root; /* index_root is times scale; BT_PLAN_NO_ROOT: none */
	uint8_t scale;
	int32_t off;
};

struct bt_group {
	struct bt_place at;   /* its lowest byte */
	uint16_t size;        /* bytes from there */
	uint16_t members;
	uint8_t base, index;  /* registers that lead there at the check, as the plan's values say */
	uint8_t check, first; /* the check stands before this instruction; the first access is this one's */
	bool write;           /* checked for writing */
	bool perhaps;         /* whose writes may not come: the check must not make the page dirty */
	bool kept;            /* the addend is needed from its slot */
};

struct bt_plan {
	struct {
		struct bt_value value[BT_PLAN_REGS]; /* before the instruction */
		int8_t group;                        /* of its access, or BT_NO_GROUP */
		bool reload;                         /* T1 does not hold the addend */
		/* In a block that relies on the stack window: */
		bool near_sp;                        /* the access is at most BT_STACK_DRIFT from RSP */
		bool verify;                         /* RSP behind it is unknown, or has moved far */
		bool probe;                          /* RSP before it is loose: anchor.c */
	} at[BT_MAX_INSNS];
	struct bt_value last_sp; /* RSP behind the last one */
	struct bt_group group[BT_MAX_GROUPS + 1]; /* the last is the stack window: BT_STACK_GROUP */
	unsigned n_groups;
	uint64_t checks; /* instructions before which a group's check stands */
};

static_assert(BT_MAX_INSNS <= 64, "one bit for each");

static inline bool bt_check_at(const struct bt_plan *p, unsigned n)
{
	return p->checks >> n & 1;
}

struct bt_insn;
struct translation;

/* A group that was not dissolved: the first pass over it found more than the check in place would be. */
static inline bool bt_group_used(const struct bt_group *g)
{
	return g->members > 1 || g->check != g->first;
}

/* plan.c: of n classified instructions whose flags_live is known. The two may be left out. */
enum bt_plan_what { PLAN_GROUPS = 1, PLAN_STACK = 2 /* what goes by the stack window */ };
void bt_plan(struct bt_plan *p, struct bt_insn *in, unsigned n, unsigned what);

/* anchor.c: where a block that relies on the stack window must probe it; the rest of the plan is complete but for reload. */
void bt_anchor(struct bt_plan *p, const struct bt_insn *in, unsigned n);

/* group.c: the checks that stand before instruction n. */
void bt_emit_group_checks(struct translation *t, const struct bt_plan *p, unsigned n);
/* group.c: instruction n, whose access belongs to a group. */
void bt_emit_member(struct translation *t, const struct bt_plan *p, unsigned n);

#endif
