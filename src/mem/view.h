/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How mem/ itself looks an address up: the flat view of a space, and atomic copies to and from guest RAM. */
#ifndef DOPPEL_MEM_VIEW_H
#define DOPPEL_MEM_VIEW_H

#include "mem/space.h"

/* A stretch of addresses that belongs to one region, or to nobody (ops and ram NULL). */
struct stretch {
	uint64_t start, end;      /* [start, end) */
	uint64_t base, size;      /* of the region, of which this may show a part */
	const struct io_ops *ops; /* NULL: RAM; with ram: read-only RAM whose writes go there */
	void *opaque;
	struct lock *lock;
	struct ram *ram;
	bool readonly;
};

/* The region at addr, which must be inside the space. False: nobody is there, *out is undefined. */
bool space_lookup(struct space *s, uint64_t addr, struct stretch *out);

/*
 * Bytes of guest RAM may change under us at any moment by the hand of another vCPU, which is as it is
 * on hardware: no byte is read twice, and naturally aligned words are read and written whole.
 */
void guest_copy_from(void *to, const uint8_t *guest, size_t len);
void guest_copy_to(uint8_t *guest, const void *from, size_t len);

#endif
