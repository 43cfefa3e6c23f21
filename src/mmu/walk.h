/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The walk of the guest's page tables: 32-bit, PAE, 4- and 5-level (SDM vol. 3, ch. 4). */
#ifndef DOPPEL_MMU_WALK_H
#define DOPPEL_MMU_WALK_H

#include <stdbool.h>
#include <stdint.h>
#include "mem/space.h"
#include "x86/state.h"

enum mmu_access { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };

/* Who asks; the index of a TLB's sets. AC: EFLAGS.AC lifts SMAP for explicit accesses. */
enum mmu_mode { MMU_KERNEL, MMU_KERNEL_AC, MMU_USER, MMU_MODES };

struct mmu_translation {
	uint64_t gpa;        /* of la itself, not of its page */
	uint8_t page_shift;  /* 12, 21, 22 or 30 */
	bool global;         /* G set (and CR4.PGE): survives a CR3 load */
	bool dirty;          /* D is set in the leaf: a write needs no further walk */
	bool can_write;      /* for this mode, CR0.WP taken into account */
	bool can_fetch;      /* for this mode: NX, SMEP */
	bool can_read;       /* false only where SMAP forbids what a fetch or other mode may do */
};

/*
 * Translate la for one access. Sets A in every entry on the way and D in the leaf when it is a
 * write, with atomic compare-exchange on guest RAM, only if the access is allowed. Returns 0, or
 * the page-fault error code | MMU_FAULT (error code 0 is a legal one). Entries outside of RAM
 * read as all ones. Never touches host memory outside of RAM. With paging off, identity.
 * gpa_bits is MAXPHYADDR: set bits above are reserved.
 */
#define MMU_FAULT BIT(31)
uint32_t mmu_walk(const struct x86_state *s, struct space *mem, unsigned gpa_bits, uint64_t la,
		  enum mmu_access access, enum mmu_mode mode, struct mmu_translation *out);

/*
 * The same by way of a paging-structure cache. What it says of the levels above the last may be older than memory until
 * the guest flushes (struct tlb does that to its ps); a fault is never one that memory does not confirm.
 */
struct pscache;
uint32_t mmu_walk_cached(struct pscache *ps, uint64_t pcid, const struct x86_state *s, struct space *mem, unsigned gpa_bits,
			 uint64_t la, enum mmu_access access, enum mmu_mode mode, struct mmu_translation *out);

/* The same without setting A or D and without permission checks, for debuggers; false: not mapped. */
bool mmu_translate_debug(const struct x86_state *s, struct space *mem, unsigned gpa_bits, uint64_t la,
			 uint64_t *gpa);

/* Read the four PDPTEs at cr3 (PAE paging). False: a reserved bit is set, which is #GP(0), SDM 4.4.1. */
bool mmu_load_pdptes(struct space *mem, unsigned gpa_bits, uint64_t cr3, uint64_t pdpte[4]);

#endif
