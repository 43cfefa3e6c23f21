/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jump caches: from the address of a target to its code, for indirect jumps and those that leave their page.
 *
 * A target has two places in them. The first one is a bare host address that the jump goes to; the block there compares its own
 * address with what was meant, and if that is another one (or the place is empty) goes to the table's stub. The stub looks
 * through the four entries among which the target has its second place, by another index, and puts what it finds there back into the
 * first one. Only what is in neither leaves for C, which fills both.
 *
 * 1. There is a pair of tables for each kind of mode that has code of its own at the same address: a block only knows of which
 *    kind it is, not who has jumped to it.
 * 2. Both places of a target are filled together, and are in the same journals from then on until these are flushed: so
 *    code may put the target back into its first place without more ado. Who flushes what is not global cannot know whether
 *    code has done so in a place that is in both journals, and empties all that are in his.
 * 3. Both lead to the block's indirect entry, which stays where it is when the block is dropped, as a way out.
 * 4. A second place is compared, whole, so nothing has to stand in an empty one but an address with another index. A target
 *    stands in one of its four at most: the newest is what counts.
 */
#ifndef DOPPEL_CPU_BT_JUMPS_H
#define DOPPEL_CPU_BT_JUMPS_H

#include "cpu/bt/cache.h"

struct assembler;

/* A place is about to be filled. It may be in both journals, if it was used for both kinds of pages, but in none twice. */
static inline void bt_journal_add(struct bt_journal journal[2], uint8_t *state, unsigned table, unsigned i, bool global)
{
	uint8_t listed = global ? SLOT_LISTED : SLOT_LOCAL;
	struct bt_journal *j = &journal[!global];

	if (!(*state & listed))
		j->item[j->n++] = (uint32_t)table << 16 | i;
	*state = (uint8_t)((*state & (SLOT_LISTED | SLOT_LOCAL)) | listed | (global ? SLOT_GLOBAL : 0));
}

/* The first of the four, which share a cache line. All bits of the target take part: what meets in the first table does not here. */
#define BT_JC_WAYS       4
#define BT_JC_MULTIPLIER 0x61c88647u /* 2^32 / the golden ratio squared */
static inline unsigned bt_jc_second_index(uint64_t target)
{
	return (target * BT_JC_MULTIPLIER >> 32) * BT_JC_WAYS & (BT_JC_ENTRIES - 1);
}

/* What an empty second place i says: not the address of anything that is looked for there. */
static inline uint64_t bt_jc_nowhere(unsigned i)
{
	return i < BT_JC_WAYS ? BIT(32) : 0; /* whose indices are that of the multiplier, and 0 */
}

void bt_jc_ready(struct bt *bt, struct bt_set *set);                 /* empty tables, but for */
void bt_jc_ready_stack(struct bt *bt, struct bt_set *set);           /* that of a window whose stack window is opened for the first time */
void bt_jc_set(struct bt *bt, const struct bt_block *b, bool global); /* global: it stands in global pages only */
void bt_jc_flush(struct bt *bt, struct bt_set *set, bool global);    /* global entries too */
void bt_jc_flush_page(struct bt *bt, struct bt_set *set, uint64_t la); /* targets in that page, and perhaps others */
void bt_jc_clear(struct bt *bt);                                     /* all of them */

/* Once for each code memory, the tables' stubs. T0 is the target, the flags are parked. */
void bt_emit_seconds(struct bt *bt, struct assembler *a);
void bt_emit_jc_index(struct assembler *a); /* bt_jc_index() of T0 in T1, without flags */

#endif
