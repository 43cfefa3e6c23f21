/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How ram.c and slot.c share the table of slots; mem/ only. */
#ifndef DOPPEL_MEM_SLOTS_H
#define DOPPEL_MEM_SLOTS_H

#include "base/lock.h"
#include "mem/slot.h"

struct ram_slot {
	struct ram_slots *table;
	uint64_t size, file_off; /* bytes; where in the memfd */
	uint8_t *host;
	_Atomic uint64_t gpa;    /* RAM_SLOT_NOWHERE: not shown */
};

struct ram_slots {
	struct ram *ram;
	struct lock lock; /* RANK_LEAF: changes of gpa */
	_Atomic unsigned n;
	uint64_t used;    /* bytes of RAM_SLOT_SPACE */
	struct ram_slot slot[RAM_SLOTS];
};

struct ram_slots *ram_slots(const struct ram *r);
void ram_slots_init(struct ram_slots *t, struct ram *r);
void ram_slots_release(struct ram_slots *t);

/* Whether all of [gpa, gpa + len) is in one slot that is shown; where a byte of one is in the memfd. */
bool ram_slots_contain(const struct ram_slots *t, uint64_t gpa, uint64_t len);
uint64_t ram_slots_offset(const struct ram_slots *t, uint64_t gpa);

#endif
