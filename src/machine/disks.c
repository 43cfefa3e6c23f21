/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a full host does to the machine: a write that finds no space waits, the machine stands still, and goes on when there is
 * space again. The guest notices nothing; who owns the machine is told by events.
 */
#include <stdlib.h>
#include "backend/block/blk.h"
#include "base/log.h"
#include "machine/board.h"

struct pc_disk {
	struct pc *pc;
	struct blk *blk;
	bool full;        /* lock of the disks */
	struct list node;
};

static void on_full(void *opaque)
{
	struct pc_disk *d = opaque;
	struct pc_disks *all = &d->pc->chips->disks;

	log_msg(LOG_ERROR, "disk '%s': the host has no space left for what the guest writes; the machine stands still until there is "
		"some again: make space, and it goes on by itself", blk_file(d->blk));
	lock_take(&all->lock);
	all->n_full += !d->full;
	d->full = true;
	pc_tell(d->pc, PC_EVENT_IO_ERROR, PC_CAUSE_HOST_FULL, 0);
	lock_drop(&all->lock);
}

static void on_space(void *opaque)
{
	struct pc_disk *d = opaque;
	struct pc_disks *all = &d->pc->chips->disks;

	lock_take(&all->lock);
	if (d->full) {
		d->full = false;
		if (!--all->n_full)
			pc_tell(d->pc, PC_EVENT_IO_SPACE, PC_CAUSE_HOST_FULL, 0);
	}
	lock_drop(&all->lock);
}

static const struct blk_space_handlers handlers = { on_full, on_space };

void board_disks_init(struct pc *pc)
{
	list_init(&pc->chips->disks.list);
	lock_init(&pc->chips->disks.lock, RANK_DEVICE);
}

void board_watch_disk(struct pc *pc, struct blk *blk)
{
	struct pc_disk *d = calloc(1, sizeof(*d));

	BUG_ON(!d);
	d->pc = pc;
	d->blk = blk;
	list_add_tail(&pc->chips->disks.list, &d->node);
	blk_set_space_handlers(blk, &handlers, d);
}

void board_unwatch_disk(struct pc *pc, struct blk *blk)
{
	struct pc_disk *d, *next;

	blk_set_space_handlers(blk, NULL, NULL);
	list_for_each_safe(d, next, &pc->chips->disks.list, node) {
		if (d->blk != blk)
			continue;
		on_space(d);
		list_del(&d->node);
		free(d);
	}
}

void board_retry_disks(struct pc *pc)
{
	struct pc_disk *d;

	list_for_each(d, &pc->chips->disks.list, node)
		blk_retry(d->blk);
}

void board_give_up_disks(struct pc *pc)
{
	struct pc_disk *d;

	list_for_each(d, &pc->chips->disks.list, node) {
		bool full;

		lock_take(&pc->chips->disks.lock);
		full = d->full;
		lock_drop(&pc->chips->disks.lock);
		if (full)
			log_msg(LOG_WARN, "disk '%s': what the guest wrote last is lost, as the host has had no space for it",
				blk_file(d->blk));
		blk_give_up(d->blk);
	}
}

void board_disks_release(struct pc *pc)
{
	struct pc_disk *d, *next;

	list_for_each_safe(d, next, &pc->chips->disks.list, node) {
		blk_set_space_handlers(d->blk, NULL, NULL);
		free(d);
	}
	lock_release(&pc->chips->disks.lock);
}
