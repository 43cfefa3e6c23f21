/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The nested map: direct-mapped, filled from the memory space. */
#include "mmu/nested.h"

void nested_flush(struct nested *n)
{
	n->stats.flushes++;
	for (unsigned i = 0; i < NESTED_ENTRIES; i++)
		n->page[i].gpa = NESTED_NONE;
}

void nested_init(struct nested *n, struct space *mem, struct ram *ram)
{
	*n = (struct nested){ .mem = mem, .ram = ram };
	nested_flush(n);
	n->stats.flushes = 0;
}

const struct nested_page *nested_find(struct nested *n, uint64_t gpa)
{
	struct nested_page *p = &n->page[(gpa >> PAGE_SHIFT) & (NESTED_ENTRIES - 1)];

	gpa &= PAGE_MASK;
	if (p->gpa == gpa) {
		n->stats.hits++;
		return p;
	}
	n->stats.misses++;
	p->gpa = gpa;
	p->host = space_page(n->mem, gpa, &p->readonly);
	p->flags = p->host ? &n->ram->flags[gpa >> PAGE_SHIFT] : NULL;
	return p;
}
