/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jump caches: filling, and flushing by journal. */
#include "cpu/bt/jumps.h"

/* In journals the second tables stand behind the first ones. */
#define SECOND BT_JC_SETS

static struct bt_set *set_of(struct bt *bt, unsigned jc)
{
	return bt_jc_of_user(jc) ? bt->current : &bt->set[BT_KERNEL_SET];
}

static void empty_first(struct bt *bt, struct bt_set *set, unsigned jc, unsigned i)
{
	set->view->jc[jc][i] = bt->cache->second_stub[jc];
}

static void make_empty(struct bt *bt, struct bt_set *set, unsigned jc)
{
	for (unsigned i = 0; i < BT_JC_ENTRIES; i++)
		empty_first(bt, set, jc, i);
	for (unsigned i = 0; i < BT_JC_WAYS; i++) /* the others are zero */
		set->view->second[jc][i].la = bt_jc_nowhere(i);
}

void bt_jc_ready(struct bt *bt, struct bt_set *set)
{
	bool kernel = set == &bt->set[BT_KERNEL_SET];

	for (unsigned jc = 0; jc < BT_JC_STACK; jc++)
		if (bt_jc_of_user(jc) != kernel)
			make_empty(bt, set, jc);
}

void bt_jc_ready_stack(struct bt *bt, struct bt_set *set)
{
	if (!set->jc_stack)
		make_empty(bt, set, BT_JC_STACK);
	set->jc_stack = true;
}

/* Where la stands, or an empty place, or in its turn a used one. */
static unsigned second_place(struct bt *bt, const struct bt_jc_second *table, uint64_t la)
{
	unsigned i = bt_jc_second_index(la), use = i + bt->jc_turn % BT_JC_WAYS;

	for (unsigned k = i; k < i + BT_JC_WAYS; k++) {
		if (table[k].la == la)
			return k;
		if (table[k].la == bt_jc_nowhere(k))
			use = k;
	}
	bt->jc_turn++;
	return use;
}

void bt_jc_set(struct bt *bt, const struct bt_block *b, bool global)
{
	unsigned jc = bt_jc_set_of(&b->mode), i = bt_jc_index(b->la), k;
	unsigned page = (b->la >> PAGE_SHIFT) & 0xffff;
	struct bt_set *set = set_of(bt, jc);
	struct bt_jc_second *second;

	k = second_place(bt, set->view->second[jc], b->la);
	second = &set->view->second[jc][k];
	bt_journal_add(set->jc, &set->jc_state[jc][i], jc, i, global);
	bt_journal_add(set->jc, &second->state, SECOND + jc, k, global);
	set->jc_global = set->jc_global || global;
	set->nonglobal = set->nonglobal || !global;
	bt->jc_pages[page / 64] |= BIT(page % 64);
	set->view->jc[jc][i] = b->ientry;
	second->la = b->la;
	second->host = b->ientry;
}

/* -- Flushing ------------------------------------------------------------------------------------------------- */

static void leave(struct bt *bt, struct bt_set *set, unsigned table, unsigned i, bool local)
{
	const uint8_t stays = (uint8_t)~(local ? SLOT_LOCAL : SLOT_LISTED);
	struct bt_jc_second *second;

	if (table < SECOND) {
		set->jc_state[table][i] &= stays;
		empty_first(bt, set, table, i);
		return;
	}
	second = &set->view->second[table - SECOND][i];
	second->state &= stays;
	second->la = bt_jc_nowhere(i);
}

void bt_jc_flush(struct bt *bt, struct bt_set *set, bool global)
{
	for (unsigned local = !global; local < 2; local++) {
		struct bt_journal *j = &set->jc[local];

		for (unsigned n = 0; n < j->n; n++)
			leave(bt, set, j->item[n] >> 16, j->item[n] & 0xffff, local);
		j->n = 0;
	}
	set->jc_global = set->jc_global && set->jc[0].n;
}

void bt_jc_clear(struct bt *bt)
{
	for (unsigned n = 0; n < BT_SETS; n++)
		bt_jc_flush(bt, &bt->set[n], true);
	for (unsigned i = 0; i < ARRAY_SIZE(bt->jc_pages); i++)
		bt->jc_pages[i] = 0;
}

/* Outside of 64-bit mode the upper half says where CS is (legacy.h). */
static bool is_in_page(const struct bt_jc_second *second, uint64_t la)
{
	return !((second->la ^ la) & (uint32_t)PAGE_MASK);
}

/* Targets in one page stand in 4096 first places in a row; others there have their second places yet. What is emptied stays in the journal. */
static void flush_listed(struct bt *bt, struct bt_set *set, const struct bt_journal *j, uint64_t la)
{
	unsigned first = bt_jc_index(la);

	for (unsigned n = 0; n < j->n; n++) {
		unsigned table = j->item[n] >> 16, i = j->item[n] & 0xffff;

		if (table < SECOND && ((i - first) & (BT_JC_ENTRIES - 1)) < PAGE_SIZE)
			empty_first(bt, set, table, i);
		else if (table >= SECOND && is_in_page(&set->view->second[table - SECOND][i], la))
			set->view->second[table - SECOND][i].la = bt_jc_nowhere(i);
	}
}

void bt_jc_flush_page(struct bt *bt, struct bt_set *set, uint64_t la)
{
	unsigned page = (la >> PAGE_SHIFT) & 0xffff;

	if (!(bt->jc_pages[page / 64] & BIT(page % 64)))
		return;
	for (unsigned k = 0; k < 2; k++)
		flush_listed(bt, set, &set->jc[k], la & PAGE_MASK);
}
