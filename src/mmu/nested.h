/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nested map of one vCPU: guest-physical page -> host address, rights and the page's flags. A cache of what the
 * memory space says, flushed when that changes; only the vCPU's thread uses it.
 */
#ifndef DOPPEL_MMU_NESTED_H
#define DOPPEL_MMU_NESTED_H

#include <stdbool.h>
#include <stdint.h>
#include "mem/space.h"

#define NESTED_ENTRIES 4096 /* a power of two */

struct nested_page {
	uint64_t gpa;    /* of the page, or NESTED_NONE */
	uint8_t *host;   /* of its first byte; NULL: it is not RAM */
	_Atomic uint8_t *flags; /* RAM_PAGE_*, as they are now; NULL with host */
	bool readonly;   /* writes go to the space (ROM), or are the reference's */
};

#define NESTED_NONE UINT64_MAX

struct nested {
	struct space *mem;
	struct ram *ram;
	struct nested_page page[NESTED_ENTRIES];
	struct {
		uint64_t hits, misses, flushes;
	} stats;
};

/* The page of RAM is `ram`'s. */
void nested_init(struct nested *n, struct space *mem, struct ram *ram);

/* The page that contains gpa; valid until the next call. */
const struct nested_page *nested_find(struct nested *n, uint64_t gpa);

void nested_flush(struct nested *n); /* the memory space has changed */

/* Whether a store may go straight to the host address: no one wants to hear of it. */
static inline bool nested_writable(const struct nested_page *p)
{
	return p->host && !p->readonly && !atomic_load(p->flags);
}

#endif
