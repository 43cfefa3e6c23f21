/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The paging-structure cache of one vCPU (SDM vol. 3, 4.10.3): where the entries above the last level led, so that a TLB
 * miss reads one entry of the guest's tables instead of four.
 *
 * An entry is for 2 MiB of linear addresses of one PCID. It stands for the page table below a PDE, or for the page of 2 MiB or more
 * that an entry maps. As on a processor it may be older than the tables in memory until the guest flushes; unlike on a
 * processor it never causes a fault: who finds one with it walks again without.
 */
#ifndef DOPPEL_MMU_PSCACHE_H
#define DOPPEL_MMU_PSCACHE_H

#include <stdbool.h>
#include <stdint.h>

#define PSCACHE_ENTRIES 512 /* a power of two: 1 GiB of linear addresses without a conflict */
#define PSCACHE_SHIFT   21
#define PSCACHE_EPOCHS  64  /* PCIDs that are 64 apart are flushed together */

struct ram;

struct pscache_entry {
	uint64_t tag;    /* linear address >> 21 << 12 | PCID; with the epoch decides whether it is valid */
	uint64_t epoch;
	uint64_t gpa;    /* of the page table, or of the large page's 2 MiB */
	struct ram *ram; /* what the page table stands in */
	uint8_t page_shift; /* of the large page; 12: there is a page table */
	bool user, write, xd;  /* rights: U and W in all entries, XD in any; of a large page, its own too */
	bool global, dirty;    /* of a large page */
};

struct pscache {
	struct pscache_entry e[PSCACHE_ENTRIES];
	uint64_t epoch[PSCACHE_EPOCHS]; /* the entries of a PCID that are older are gone */
	uint64_t next_epoch;
	bool global[2]; /* by half of the address space: entries of global pages have been filled since all were flushed */
	struct {
		uint64_t hits, misses, flushes, stale; /* stale: hits that did not allow what memory does */
	} stats;
};

static inline uint64_t pscache_tag(uint64_t la, uint64_t pcid)
{
	return la >> PSCACHE_SHIFT << 12 | pcid;
}

static inline struct pscache_entry *pscache_slot(struct pscache *c, uint64_t la, uint64_t pcid)
{
	return &c->e[((la >> PSCACHE_SHIFT) ^ pcid << 5) & (PSCACHE_ENTRIES - 1)];
}

void pscache_init(struct pscache *c);

/* The entry for la, or NULL. pcid has 12 bits. */
const struct pscache_entry *pscache_find(struct pscache *c, uint64_t la, uint64_t pcid);

/* Enter what a walk found; tag and epoch are filled in. */
void pscache_fill(struct pscache *c, uint64_t la, uint64_t pcid, const struct pscache_entry *e);

void pscache_flush(struct pscache *c);                     /* everything */
void pscache_flush_pcid(struct pscache *c, uint64_t pcid); /* CR3 load; INVPCID of one PCID, whatever its address (4.10.4.1) */
/* INVLPG: what flush_pcid drops, and the global page that holds la whatever its PCID. */
void pscache_flush_page(struct pscache *c, uint64_t la, uint64_t pcid);

#endif
