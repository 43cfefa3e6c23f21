/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that sits on a chip - ROM, flash, a frame buffer - and that guests use like RAM, where it is shown in the PCI hole. */
#ifndef DOPPEL_MEM_SLOT_H
#define DOPPEL_MEM_SLOT_H

#include <stddef.h>
#include "mem/ram.h"

struct ram_slot;

#define RAM_SLOTS      8
#define RAM_SLOT_SPACE (128ull << 20) /* bytes in all slots of a machine; sparse */
#define RAM_SLOT_NOWHERE UINT64_MAX

/*
 * Make `size` bytes (a multiple of 4 KiB) of zeroes, shown nowhere yet. They are part of guest RAM's memfd, with flags and
 * versions by guest-physical address as RAM has them. Errors: -ENOSPC when RAM_SLOTS or RAM_SLOT_SPACE are used up. While the
 * machine is being built.
 */
int ram_slot_new(struct ram_slot **out, struct ram *r, uint64_t size, struct err *e);

/* The bytes, for the chip; the same place for as long as the RAM exists. */
uint8_t *ram_slot_host(const struct ram_slot *s);
uint64_t ram_slot_size(const struct ram_slot *s);

/* A copy of [off, off + len), inside of the slot, although the guest may write it meanwhile: words are whole. */
void ram_slot_read(const struct ram_slot *s, uint64_t off, void *buf, size_t len);

/* The chip itself has changed these bytes. */
void ram_slot_wrote(const struct ram_slot *s, uint64_t off, uint64_t len);

/*
 * Show the slot at gpa, between low RAM and 4 GiB, 4 KiB aligned, where no other slot is shown; or, with RAM_SLOT_NOWHERE, not any
 * more. The caller removes its region from the address space before and adds one after. Code that engines hold of the
 * places that change is dropped. A vCPU that has not yet heard may use the former place for a moment more: it is still
 * this slot's memory. Errors: -EINVAL for the address, -EBUSY, what mmap(2) says.
 */
int ram_slot_show(struct ram_slot *s, uint64_t gpa);
uint64_t ram_slot_where(const struct ram_slot *s);

#endif
