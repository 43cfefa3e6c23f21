/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses that cross a page, without the reference engine. */
#ifndef DOPPEL_CPU_BT_CROSS_H
#define DOPPEL_CPU_BT_CROSS_H

#include "cpu/bt/bt.h"

static inline bool bt_crosses(uint64_t la, unsigned size)
{
	return (la & (PAGE_SIZE - 1)) + size > PAGE_SIZE;
}

/*
 * Inside (cache.h): put [la, la + size), which crosses a page, into the buffer, and la and what to add to it into exit_t0 and
 * exit_t1, from where the common resume stub takes T0 and T1. write: it will be written back by bt_cross_end(), before we are
 * outside. False: the reference has to do the access.
 */
bool bt_cross_begin(struct bt *bt, uint64_t la, unsigned size, bool write);
void bt_cross_end(struct bt *bt);

#endif
