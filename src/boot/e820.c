/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Builds the memory map from RAM and what the board reserves. */
#include <stdbool.h>
#include <string.h>

#include "base/bits.h"
#include "boot/e820.h"

/* Insert in order; false: empty, overlapping, or no room. */
static bool insert(struct e820_map *m, uint64_t base, uint64_t size, uint32_t type)
{
	unsigned at = 0;

	if (!size || size > UINT64_MAX - base || m->n == E820_MAX)
		return false;
	while (at < m->n && m->e[at].base < base)
		at++;
	if (at > 0 && m->e[at - 1].base + m->e[at - 1].size > base)
		return false;
	if (at < m->n && m->e[at].base < base + size)
		return false;
	memmove(&m->e[at + 1], &m->e[at], (m->n - at) * sizeof(m->e[0]));
	m->e[at] = (struct e820_entry){ base, size, type };
	m->n++;
	return true;
}

unsigned e820_build(struct e820_map *m, const struct ram *ram, const struct e820_entry *extra, unsigned n)
{
	unsigned left_out = 0;

	m->n = 0;
	insert(m, 0, E820_EBDA_BASE, E820_RAM);
	insert(m, E820_EBDA_BASE, E820_EBDA_END - E820_EBDA_BASE, E820_RESERVED);
	insert(m, E820_BIOS_BASE, E820_BIOS_END - E820_BIOS_BASE, E820_RESERVED);
	if (ram->low_size > E820_BIOS_END)
		insert(m, E820_BIOS_END, ram->low_size - E820_BIOS_END, E820_RAM);
	insert(m, 4 * GiB, ram->high_size, E820_RAM);
	for (unsigned i = 0; i < n; i++)
		left_out += !insert(m, extra[i].base, extra[i].size, extra[i].type);
	return left_out;
}
