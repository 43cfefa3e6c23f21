/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address spaces of one type, port and memory alike: which range belongs to whom, and dispatch. */
#ifndef DOPPEL_MEM_SPACE_H
#define DOPPEL_MEM_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/lock.h"
#include "mem/ram.h"

/*
 * How a chip takes part in a space. off counts from the region's start; size is 1, 2, 4 or 8 and
 * between the region's min and max access, off a multiple of min: wider guest accesses are split into
 * permitted ones, lowest address first; narrower or misaligned reads are cut out of permitted ones, and
 * such writes read, merge and write back. All of one guest access is done under the region's lock, if
 * it has one. A NULL read gives all ones, a NULL write ignores. A call may move or remove regions, its
 * own too; a call that was already under way when its region went may still arrive, so what ops point
 * to must outlive the vCPUs' running.
 */
struct io_ops {
	uint64_t (*read)(void *opaque, uint64_t off, unsigned size);
	void (*write)(void *opaque, uint64_t off, unsigned size, uint64_t val);
	uint8_t min_size, max_size; /* 0 means 1 and 8 */
};

struct space;
struct region;

/* A space of 2^addr_bits addresses (16 for ports, 52 for memory). */
struct space *space_new(const char *name, unsigned addr_bits);
void space_free(struct space *s); /* frees the regions too, not what they point to */

/*
 * Put a region at [base, base + size). The newest region wins where regions overlap; what it hid
 * shows again when it goes. RAM regions name guest RAM, or a chip's memory, at the same guest-physical address;
 * read-only RAM regions ignore writes. Errors: -EINVAL (size 0, or beyond the space).
 */
int space_add_io(struct space *s, struct region **out, const char *name, uint64_t base, uint64_t size,
		 const struct io_ops *ops, void *opaque, struct lock *lock);
int space_add_ram(struct space *s, struct region **out, const char *name, uint64_t base, uint64_t size,
		  struct ram *ram, bool readonly);
/* Read-only RAM whose writes go to a chip: flash memory. */
int space_add_rom(struct space *s, struct region **out, const char *name, uint64_t base, uint64_t size, struct ram *ram,
		  const struct io_ops *ops, void *opaque, struct lock *lock);
void space_remove(struct space *s, struct region *r);
int space_move(struct space *s, struct region *r, uint64_t base); /* as remove and add; keeps its age */

/*
 * A space in which `ram` stands where s has RAM now, and nobody where s has anything else; NULL: out of memory. For
 * a vCPU that runs beside another one (lockstep).
 */
struct space *space_shadow(struct space *s, struct ram *ram);

/* Called, with no lock of the space held, after the map has changed: engines drop cached translations. */
void space_set_listener(struct space *s, void (*changed)(void *opaque), void *opaque);

/*
 * Access by a guest CPU. size is 1, 2, 4 or 8; an access may cross regions and is then split into
 * bytes. Nobody home: reads give all ones, writes go nowhere. Addresses are taken modulo the space.
 */
uint64_t space_read(struct space *s, uint64_t addr, unsigned size);
void space_write(struct space *s, uint64_t addr, unsigned size, uint64_t val);

/*
 * What the page at gpa (4 KiB aligned) is: host address of its bytes when all of it is RAM, else NULL.
 * *readonly is set for RAM that ignores writes. Valid until the next change of the map.
 */
uint8_t *space_page(struct space *s, uint64_t gpa, bool *readonly);

/*
 * Access by a device (DMA) or a loader: any length; RAM only. Returns 0, or -EFAULT when part of the
 * range is not RAM (or is read-only, for a write): then nothing was transferred.
 */
int space_dma_read(struct space *s, uint64_t gpa, void *buf, size_t len);
int space_dma_write(struct space *s, uint64_t gpa, const void *buf, size_t len);

/*
 * DMA without a copy: host addresses of [gpa, gpa + len) as at most max pieces. Returns how many there are; -EFAULT as
 * above, -E2BIG when max is too small. The bytes stay there for as long as the machine exists. Who has written through
 * them says so by space_dma_wrote() of the same range after the last byte was stored, so that code and dirty log follow.
 */
struct iovec;
int space_dma_map(struct space *s, uint64_t gpa, uint64_t len, bool write, struct iovec *iov, unsigned max);
void space_dma_wrote(struct space *s, uint64_t gpa, uint64_t len);

/*
 * The guest does not need the bytes of [gpa, gpa + len) any more: whole pages in it that are RAM are given back to the host
 * and read as zero. What is no RAM is left alone. Returns how many bytes were given back.
 */
uint64_t space_dma_discard(struct space *s, uint64_t gpa, uint64_t len);

/* The map as text, a region a line, for `doppel` debugging and tests. */
struct strbuf;
void space_print(struct space *s, struct strbuf *out);

#endif
