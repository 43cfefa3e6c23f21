/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The software TLB of one vCPU: direct-mapped, one set of entries per privilege mode, tagged by PCID. */
#ifndef DOPPEL_MMU_TLB_H
#define DOPPEL_MMU_TLB_H

#include <stdbool.h>
#include <stdint.h>
#include "mmu/pscache.h"
#include "mmu/walk.h"

#define TLB_ENTRIES 1024 /* per mode; a power of two */

/*
 * tag[access] is the linear page | PCID when that access needs no walk, else TLB_INVALID (no
 * canonical page has that value). addend is host address minus linear address. Only pages of RAM
 * are entered, and a write tag only when the leaf's D bit is set and the page is not read-only.
 */
#define TLB_INVALID 0x8000000000000000ull

/* One flush, for those who keep translations of their own beside these. */
enum tlb_flush_kind {
	TLB_FLUSH_PAGE,      /* the page of la: those of the PCID, and the global ones whatever theirs */
	TLB_FLUSH_PAGE_PCID, /* the page of la: those of the PCID that are not global */
	TLB_FLUSH_PCID,      /* all of the PCID that are not global */
};
struct tlb_flush {
	uint64_t la;
	uint16_t pcid;
	uint8_t kind;
};
#define TLB_LOG_FLUSHES 32

struct tlb_entry {
	uint64_t tag[3]; /* enum mmu_access */
	uintptr_t addend;
	uint64_t gpa;    /* of the page */
	uint8_t page_shift;
	bool global;
	bool listed; /* is in the journal; a listed entry need not be valid any more */
};

struct tlb {
	struct tlb_entry e[MMU_MODES][TLB_ENTRIES];
	/* The slots filled since they were last found empty, so that a flush costs what was used. */
	uint16_t journal[MMU_MODES][TLB_ENTRIES];
	unsigned n_journal[MMU_MODES];
	uint64_t large[16]; /* filter: starts of large pages that have an entry, by a hash */
	uint64_t pcid;      /* low 12 bits of CR3 if CR4.PCIDE, else 0: kept by who loads CR3 */
	struct {
		uint64_t fills, flushes, page_flushes;
	} stats;
	struct pscache ps;  /* flushed with the entries; for mmu_walk_cached() */
	/* What has been flushed so far. */
	struct tlb_log {
		uint64_t all, nonglobal; /* how often everything, and everything that is not global */
		uint64_t n;              /* how often something else: the last of these stand in a ring */
		struct tlb_flush flush[TLB_LOG_FLUSHES];
	} log;
};

static inline struct tlb_entry *tlb_slot(struct tlb *t, enum mmu_mode mode, uint64_t la)
{
	return &t->e[mode][(la >> 12) & (TLB_ENTRIES - 1)];
}

/* Host address of la if an access of this kind is cached for the page, else NULL. */
static inline void *tlb_lookup(struct tlb *t, enum mmu_mode mode, enum mmu_access access, uint64_t la)
{
	struct tlb_entry *e = tlb_slot(t, mode, la);

	if (likely(e->tag[access] == ((la & ~0xfffull) | t->pcid)))
		return (void *)(e->addend + la);
	return NULL;
}

void tlb_init(struct tlb *t);

/* Enter what a walk found; host is the address of the page's first byte, NULL (not RAM) enters nothing. */
void tlb_fill(struct tlb *t, enum mmu_mode mode, uint64_t la, const struct mmu_translation *tr, uint8_t *host,
	      bool readonly);

void tlb_flush_all(struct tlb *t);                      /* every PCID, global pages too */
void tlb_flush_nonglobal(struct tlb *t, uint64_t pcid); /* CR3 load: one PCID, global pages stay */
void tlb_flush_all_nonglobal(struct tlb *t);            /* INVPCID type 3: all PCIDs, global pages stay */
void tlb_flush_page(struct tlb *t, uint64_t la);        /* INVLPG: this PCID and global, whole large page */
void tlb_flush_page_pcid(struct tlb *t, uint64_t la, uint64_t pcid); /* INVPCID type 0: not global pages */
enum invpcid_type { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL_GLOBAL, INVPCID_ALL }; /* SDM vol. 2 */

#endif
