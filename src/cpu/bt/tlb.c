/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables that translated code reads: filling, flushing by journal, and pages that become code.
 *
 * They have no address-space tags: entries of global pages survive a CR3 load, the others do not.
 */
#include <sched.h>

#include "cpu/bt/cache.h"
#include "mmu/walk.h"

#define GIGABYTE_SHIFT 30
#define LARGE_SHIFT    21

static void journal_add(struct bt_journal *j, unsigned mode, unsigned i)
{
	j->item[j->n++] = (uint32_t)mode << 16 | i;
}

/* -- Flushing the TLB ------------------------------------------------------------------------------------------ */

static void empty_slot(struct bt_tlb *tlb, unsigned i)
{
	tlb->tag[0][i] = tlb->tag[1][i] = bt_no_tag(i);
}

static void flush_tlb(struct bt *bt, bool global)
{
	struct bt_journal *j = &bt->tlb_journal;
	unsigned kept = 0;

	for (unsigned n = 0; n < j->n; n++) {
		unsigned i = j->item[n] & 0xffff;
		struct bt_tlb *tlb = &bt->tlb[j->item[n] >> 16];

		if (!global && (tlb->state[i] & SLOT_GLOBAL)) {
			j->item[kept++] = j->item[n];
			continue;
		}
		empty_slot(tlb, i);
		tlb->state[i] = 0;
	}
	j->n = kept;
	for (unsigned i = 0; i < ARRAY_SIZE(bt->large) && global; i++)
		bt->large[i] = 0;
}

static void flush_jc(struct bt *bt, bool global)
{
	struct bt_journal *j = &bt->jc_journal;
	unsigned kept = 0;

	for (unsigned n = 0; n < j->n; n++) {
		unsigned mode = j->item[n] >> 16, i = j->item[n] & 0xffff;

		if (!global && (bt->jc_state[mode][i] & SLOT_GLOBAL)) {
			j->item[kept++] = j->item[n];
			continue;
		}
		bt->jc[mode][i] = bt->cache->miss_stub;
		bt->jc_state[mode][i] = 0;
	}
	j->n = kept;
	for (unsigned i = 0; i < ARRAY_SIZE(bt->jc_pages) && !kept; i++)
		bt->jc_pages[i] = 0;
}

void bt_jc_clear(struct bt *bt)
{
	flush_jc(bt, true);
}

void bt_tlb_flush(struct bt *bt)
{
	flush_tlb(bt, true);
	flush_jc(bt, true);
	bt->v->stats.bt_tlb_flushes++;
}

void bt_tlb_drop_writes(struct bt *bt)
{
	struct bt_journal *j = &bt->tlb_journal;

	for (unsigned n = 0; n < j->n; n++)
		bt->tlb[j->item[n] >> 16].tag[1][j->item[n] & 0xffff] = bt_no_tag(j->item[n] & 0xffff);
}

/* -- One page ----------------------------------------------------------------------------------------------------- */

/* A bit for each 2 MiB, and one for each 1 GiB, from which pages were cut. */
static unsigned large_bit(const struct bt *bt, uint64_t la, unsigned shift)
{
	uint64_t start = la >> shift;

	return (unsigned)((start ^ start >> 10 ^ shift) % (sizeof(bt->large) * 8));
}

static void note_large(struct bt *bt, uint64_t la, unsigned shift)
{
	unsigned bit = large_bit(bt, la, shift > LARGE_SHIFT + 1 ? GIGABYTE_SHIFT : LARGE_SHIFT);

	bt->large[bit / 64] |= BIT(bit % 64);
}

static bool may_be_large(const struct bt *bt, uint64_t la)
{
	unsigned a = large_bit(bt, la, LARGE_SHIFT), b = large_bit(bt, la, GIGABYTE_SHIFT);

	return (bt->large[a / 64] & BIT(a % 64)) || (bt->large[b / 64] & BIT(b % 64));
}

/* Targets in one page stand in 4096 places in a row, which stay in the journal. */
static void flush_jc_page(struct bt *bt, uint64_t la)
{
	unsigned page = (la >> PAGE_SHIFT) & 0xffff, first = bt_jc_index(la & PAGE_MASK);

	if (!(bt->jc_pages[page / 64] & BIT(page % 64)))
		return;
	for (unsigned m = 0; m < BT_JC_SETS; m++)
		for (unsigned i = first; i < first + PAGE_SIZE; i++)
			bt->jc[m][i & (BT_JC_ENTRIES - 1)] = bt->cache->miss_stub;
}

static void flush_page(struct bt *bt, uint64_t la)
{
	unsigned i = (la >> PAGE_SHIFT) & (BT_TLB_ENTRIES - 1);

	for (unsigned m = 0; m < MMU_MODES; m++)
		empty_slot(&bt->tlb[m], i);
	flush_jc_page(bt, la);
	flush_jc_page(bt, la - PAGE_SIZE); /* its last instruction may reach into this page */
}

void bt_tlb_catch_up(struct bt *bt)
{
	const struct tlb_log *log = &bt->v->tlb->log;
	uint64_t cr3 = bt->v->s.cr3, pages = log->pages - bt->pages_seen;
	bool all = log->all != bt->all_seen || pages > TLB_LOG_PAGES;

	if (likely(!all && !pages && log->nonglobal == bt->nonglobal_seen && cr3 == bt->cr3_seen))
		return;
	for (uint64_t n = bt->pages_seen; n != log->pages && !all; n++)
		all = may_be_large(bt, log->page[n % TLB_LOG_PAGES]);
	if (all) {
		bt_tlb_flush(bt);
	} else {
		for (uint64_t n = bt->pages_seen; n != log->pages; n++)
			flush_page(bt, log->page[n % TLB_LOG_PAGES]);
		if (log->nonglobal != bt->nonglobal_seen || cr3 != bt->cr3_seen) {
			flush_tlb(bt, false);
			flush_jc(bt, false);
			bt->v->stats.bt_tlb_flushes++;
		}
	}
	bt->all_seen = log->all;
	bt->nonglobal_seen = log->nonglobal;
	bt->pages_seen = log->pages;
	bt->cr3_seen = cr3;
}

/* -- Filling -------------------------------------------------------------------------------------------------------- */

enum mmu_mode bt_mmu_mode(const struct vcpu *v)
{
	if (v->s.cpl == 3)
		return MMU_USER;
	return v->s.rflags & FL_AC ? MMU_KERNEL_AC : MMU_KERNEL; /* without SMAP they are the same */
}

static void enter(struct bt *bt, enum mmu_mode mode, uint64_t la, const struct mmu_translation *tr, uint8_t *page)
{
	struct bt_tlb *tlb = &bt->tlb[mode];
	unsigned i = (la >> PAGE_SHIFT) & (BT_TLB_ENTRIES - 1);

	if (tlb->host[i] != (uint64_t)(uintptr_t)page ||
	    (tlb->tag[0][i] != (la & PAGE_MASK) && tlb->tag[1][i] != (la & PAGE_MASK))) {
		empty_slot(tlb, i);
		tlb->host[i] = (uint64_t)(uintptr_t)page;
	}
	if (!(tlb->state[i] & SLOT_LISTED))
		journal_add(&bt->tlb_journal, mode, i);
	tlb->state[i] = SLOT_LISTED | (tr->global ? SLOT_GLOBAL : 0);
	if (tr->page_shift > PAGE_SHIFT)
		note_large(bt, la, tr->page_shift);
}

enum bt_fill bt_tlb_fill(struct bt *bt, uint64_t la, unsigned size, bool write, enum mmu_mode mode, uint32_t *err)
{
	struct vcpu *v = bt->v;
	struct mmu_translation tr;
	bool readonly;
	uint8_t *page;

	if (!x86_canonical(&v->s, la) || (la & (PAGE_SIZE - 1)) + size > PAGE_SIZE)
		return BT_NOT_PLAIN;
	v->stats.tlb_misses++;
	*err = mmu_walk(&v->s, v->mem, v->cpuid->gpa_bits, la, write ? ACCESS_WRITE : ACCESS_READ, mode, &tr);
	if (*err) {
		*err &= ~(uint32_t)MMU_FAULT;
		return BT_PAGE_FAULT;
	}
	page = space_page(v->mem, tr.gpa & PAGE_MASK, &readonly);
	if (!page || (write && (readonly || atomic_load(&v->ram->flags[tr.gpa >> PAGE_SHIFT]))))
		return BT_NOT_PLAIN;
	enter(bt, mode, la, &tr, page);
	bt->tlb[mode].tag[write][(la >> PAGE_SHIFT) & (BT_TLB_ENTRIES - 1)] = la & PAGE_MASK;
	return BT_FILLED;
}

void *bt_reach(struct bt *bt, uint64_t la, unsigned size, bool write, enum mmu_mode mode)
{
	struct bt_tlb *tlb = &bt->tlb[mode];
	unsigned i = (la >> PAGE_SHIFT) & (BT_TLB_ENTRIES - 1), off = la & (PAGE_SIZE - 1);
	uint32_t err;

	if (off + size > PAGE_SIZE)
		return NULL;
	if (tlb->tag[write][i] != (la & PAGE_MASK) && bt_tlb_fill(bt, la, size, write, mode, &err) != BT_FILLED)
		return NULL;
	return (void *)(uintptr_t)(tlb->host[i] + off);
}

/* -- Jump caches ---------------------------------------------------------------------------------------------- */

void bt_jc_set(struct bt *bt, const struct bt_block *b, bool global)
{
	unsigned i = bt_jc_index(b->la), page = (b->la >> PAGE_SHIFT) & 0xffff, m = bt_jc_set_of(&b->mode);

	if (!(bt->jc_state[m][i] & SLOT_LISTED))
		journal_add(&bt->jc_journal, m, i);
	bt->jc_state[m][i] = SLOT_LISTED | (global ? SLOT_GLOBAL : 0);
	bt->jc_pages[page / 64] |= BIT(page % 64);
	bt->jc[m][i] = b->ientry;
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
