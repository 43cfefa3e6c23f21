/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A flash chip with Intel's command set, in which firmware keeps its code or its variables; the image is a disk's. */
#ifndef DOPPEL_DEV_MISC_PFLASH_H
#define DOPPEL_DEV_MISC_PFLASH_H

#include "backend/block/blk.h"
#include "bus/device.h"
#include "mem/slot.h"
#include "mem/space.h"

#define PFLASH_BLOCK_SIZE 4096u /* what one erase command empties */

struct pflash_config {
	struct space *mem;
	struct ram *ram;
	uint64_t base;         /* guest-physical, in the PCI hole; the chip ends where its image does */
	struct blk *blk;       /* outlives the chip; a read-only one makes a chip that is locked */
};

struct pflash;

/*
 * Read the image and show it. -EINVAL for a size that is no multiple of PFLASH_BLOCK_SIZE, errors of the image, of
 * ram_slot_new() and ram_slot_show(). What the guest programs goes to the image when the chip is told to show its contents
 * again, and is on stable storage soon after that; at the latest when the machine is paused or freed.
 */
int pflash_new(struct pflash **out, const struct pflash_config *c, struct err *e);

/* The bytes, and how many there are. */
const uint8_t *pflash_bytes(const struct pflash *p);
uint64_t pflash_size(const struct pflash *p);

#endif
