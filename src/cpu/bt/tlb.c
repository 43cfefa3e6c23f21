/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables that translated code reads: filling, flushing by journal, and pages that become code. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cpu/bt/bt.h"
#include "mmu/walk.h"

static void journal_add(struct bt_journal *j, uint32_t item)
{
	if (j->n == j->cap) {
		j->cap = j->cap ? j->cap * 2 : 1024;
		j->item = realloc(j->item, j->cap * sizeof(*j->item));
		BUG_ON(!j->item);
	}
	j->item[j->n++] = item;
}

/* -- TLB --------------------------------------------------------------------------------------------------- */

void bt_tlb_flush(struct bt *bt)
{
	struct bt_journal *j = &bt->tlb_journal;

	for (unsigned n = 0; n < j->n; n++) {
		unsigned mode = j->item[n] >> 16, i = j->item[n] & 0xffff;

		bt->tlb[mode].tag[0][i] = bt->tlb[mode].tag[1][i] = bt_no_tag(i);
	}
	j->n = 0;
	bt_jc_clear(bt);
	bt->v->stats.bt_tlb_flushes++;
}

void bt_tlb_drop_writes(struct bt *bt)
{
	struct bt_journal *j = &bt->tlb_journal;

	for (unsigned n = 0; n < j->n; n++)
		bt->tlb[j->item[n] >> 16].tag[1][j->item[n] & 0xffff] = bt_no_tag(j->item[n] & 0xffff);
}

bool bt_tlb_fill(struct bt *bt, uint64_t la, unsigned size, bool write)
{
	struct vcpu *v = bt->v;
	enum mmu_mode mode = v->s.cpl == 3 ? MMU_USER
			     : (v->s.cr4 & CR4_SMAP) && (v->s.rflags & FL_AC) ? MMU_KERNEL_AC
									       : MMU_KERNEL;
	struct bt_tlb *tlb = &bt->tlb[mode];
	unsigned i = (la >> PAGE_SHIFT) & (BT_TLB_ENTRIES - 1);
	struct mmu_translation tr;
	bool readonly, known;
	uint8_t *page;

	if (!x86_canonical(&v->s, la) || (la & (PAGE_SIZE - 1)) + size > PAGE_SIZE)
		return false;
	v->stats.tlb_misses++;
	if (mmu_walk(&v->s, v->mem, v->cpuid->gpa_bits, la, write ? ACCESS_WRITE : ACCESS_READ, mode, &tr))
		return false;
	page = space_page(v->mem, tr.gpa & PAGE_MASK, &readonly);
	if (!page || (write && (readonly || atomic_load(&v->ram->flags[tr.gpa >> PAGE_SHIFT]))))
		return false;
	known = tlb->host[i] == (uint64_t)(uintptr_t)page &&
		(tlb->tag[0][i] == (la & PAGE_MASK) || tlb->tag[1][i] == (la & PAGE_MASK));
	if (!known) {
		tlb->tag[0][i] = tlb->tag[1][i] = bt_no_tag(i);
		tlb->host[i] = (uint64_t)(uintptr_t)page;
		journal_add(&bt->tlb_journal, (uint32_t)mode << 16 | i);
	}
	tlb->tag[write][i] = la & PAGE_MASK;
	return true;
}

/* -- Jump caches ---------------------------------------------------------------------------------------------- */

void bt_jc_set(struct bt *bt, const struct bt_block *b)
{
	unsigned i = b->la & (BT_JC_ENTRIES - 1);

	if (bt->jc[b->mode.mmu][i] == bt->miss_stub)
		journal_add(&bt->jc_journal, (uint32_t)b->mode.mmu << 16 | i);
	bt->jc[b->mode.mmu][i] = b->ientry;
}

void bt_jc_clear(struct bt *bt)
{
	struct bt_journal *j = &bt->jc_journal;

	for (unsigned n = 0; n < j->n; n++)
		bt->jc[j->item[n] >> 16][j->item[n] & 0xffff] = bt->miss_stub;
	j->n = 0;
}

/* -- Code pages -------------------------------------------------------------------------------------------------- */

/*
 * Translated stores do not look at a page's flags; they have no write tag for a page that holds code.
 * So when a page is marked as code, by whatever engine and before its bytes are read, every vCPU forgets its
 * write tags before it enters translated code again, and who is in it is asked to leave and waited for. The
 * one that marks is outside itself, so two that wait for each other do not.
 */
void bt_page_becomes_code(void *group, uint64_t gpa)
{
	struct vcpu_group *g = group;

	for (unsigned n = 0; n < g->n; n++) {
		struct bt *bt = g->v[n] ? g->v[n]->engine_data : NULL;

		if (!bt)
			continue;
		atomic_store(&bt->drop_writes, true);
		atomic_store(&bt->poll, 1);
		while (atomic_load(&bt->in_code) && atomic_load(&bt->drop_writes))
			sched_yield();
	}
}
