/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Accesses that cross a page: vectors walk over memory at any alignment, and the two pages stand anywhere in the host.
 *
 * What is read is put together in a buffer, and the instruction goes on behind its check with that for its operand. An
 * instruction that writes is run alone, on the buffer, by a translation of its own (FORM_CROSSING), which leaves behind it so
 * that the buffer can be taken apart (SITE_CROSSED). Both pages have been found to be RAM that may be accessed so, and stay it
 * as long as we are inside. Locked instructions and what is larger than a vector are left to the reference.
 *
 * All of this runs while the guest's vector state is in the host's registers.
 */
#include "cpu/bt/cross.h"
#include "cpu/rep.h"

static bool reach_both(struct bt *bt, uint64_t la, unsigned size, bool write)
{
	struct bt_crossing *x = &bt->crossing;
	enum mmu_mode mode = bt_mmu_mode(bt->v);

	x->size[0] = (unsigned)(PAGE_SIZE - (la & (PAGE_SIZE - 1)));
	x->size[1] = size - x->size[0];
	x->part[0] = bt_reach(bt, la, x->size[0], write, mode);
	x->part[1] = x->part[0] ? bt_reach(bt, la + x->size[0], x->size[1], write, mode) : NULL;
	return x->part[1] != NULL;
}

/* In the buffer it is as far from a multiple of 64 as in the guest: instructions that want alignment find out. */
static uint8_t *in_buffer(struct bt *bt, uint64_t la)
{
	return bt->crossing.buffer + (la & (BT_MAX_CROSSING - 1));
}

bool bt_cross_begin(struct bt *bt, uint64_t la, unsigned size, bool write)
{
	struct bt_crossing *x = &bt->crossing;
	uint8_t *b = in_buffer(bt, la);

	if (size > BT_MAX_CROSSING || !reach_both(bt, la, size, write))
		return false;
	rep_copy(b, x->part[0], x->size[0], 1);
	rep_copy(b + x->size[0], x->part[1], x->size[1], 1);
	x->at = b;
	bt->exit_t0 = la;
	bt->exit_t1 = (uint64_t)(uintptr_t)b - la;
	return true;
}

void bt_cross_end(struct bt *bt)
{
	const struct bt_crossing *x = &bt->crossing;

	rep_copy(x->part[0], x->at, x->size[0], 1);
	rep_copy(x->part[1], x->at + x->size[0], x->size[1], 1);
}
