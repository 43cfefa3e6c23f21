/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory map as PC firmware reports it (ACPI 6.4, 15.1). */
#ifndef DOPPEL_BOOT_E820_H
#define DOPPEL_BOOT_E820_H

#include <stdint.h>
#include "mem/ram.h"

enum e820_type { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4 };

struct e820_entry {
	uint64_t base, size;
	uint32_t type; /* enum e820_type */
};

#define E820_MAX 32

struct e820_map {
	struct e820_entry e[E820_MAX]; /* ascending, no overlaps */
	unsigned n;
};

#define E820_EBDA_BASE 0x9fc00ull  /* extended BIOS data area: the last KiB of conventional memory */
#define E820_EBDA_END  0xa0000ull
#define E820_BIOS_BASE 0xe0000ull  /* ACPI tables and what else firmware leaves */
#define E820_BIOS_END  0x100000ull

/*
 * RAM without the legacy hole (0xa0000 to 1 MiB), EBDA and BIOS areas reserved, RAM above 4 GiB,
 * then the n extra entries in their places. Extra entries that are empty, overlap others or exceed
 * the map's room are left out: returns how many.
 */
unsigned e820_build(struct e820_map *m, const struct ram *ram, const struct e820_entry *extra, unsigned n);

#endif
