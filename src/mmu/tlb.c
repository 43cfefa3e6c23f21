/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Filling and flushing of the software TLB.
 *
 * An entry is one 4 KiB page, also when the guest's page is larger; INVLPG must then find all entries
 * that were cut from the large page (SDM vol. 3, 4.10.4.1). The filter `large` tells when there can be any:
 * it has a bit for each start of a large page that has been entered.
 */
#include <string.h>
#include "mmu/tlb.h"

#define PAGE_NUMBER_SHIFT 12
#define LA_PAGE_MASK      (~0xfffull)
#define LA_PCID_MASK      0xfffull
#define FILTER_BITS       (sizeof(((struct tlb *)0)->large) * 8)
#define ANY_PCID          UINT64_MAX

/* The sizes of large pages: 2 MiB, 4 MiB, 1 GiB. */
static const uint8_t large_shift[] = { 21, 22, 30 };

/* The one valid tag that tells page and PCID of an entry, or TLB_INVALID. */
static uint64_t entry_tag(const struct tlb_entry *e)
{
	for (unsigned i = 0; i < ARRAY_SIZE(e->tag); i++)
		if (e->tag[i] != TLB_INVALID)
			return e->tag[i];
	return TLB_INVALID;
}

static void invalidate(struct tlb_entry *e)
{
	for (unsigned i = 0; i < ARRAY_SIZE(e->tag); i++)
		e->tag[i] = TLB_INVALID;
}

/* -- The filter of large pages ------------------------------------------------------------------- */

static unsigned filter_bit(uint64_t la, unsigned shift)
{
	uint64_t start = la >> shift << (shift - large_shift[0]); /* in units of 2 MiB */

	return (unsigned)((start ^ start >> 10 ^ shift) % FILTER_BITS);
}

static void filter_add(struct tlb *t, uint64_t la, unsigned shift)
{
	unsigned bit = filter_bit(la, shift);

	t->large[bit / 64] |= BIT(bit % 64);
}

static bool filter_may_have(const struct tlb *t, uint64_t la)
{
	for (unsigned i = 0; i < ARRAY_SIZE(large_shift); i++) {
		unsigned bit = filter_bit(la, large_shift[i]);

		if (t->large[bit / 64] & BIT(bit % 64))
			return true;
	}
	return false;
}

/* -- Filling --------------------------------------------------------------------------------------- */

void tlb_init(struct tlb *t)
{
	memset(t, 0, sizeof(*t));
	pscache_init(&t->ps);
	for (unsigned m = 0; m < MMU_MODES; m++)
		for (unsigned i = 0; i < TLB_ENTRIES; i++)
			invalidate(&t->e[m][i]);
}

void tlb_fill(struct tlb *t, enum mmu_mode mode, uint64_t la, const struct mmu_translation *tr, uint8_t *host,
	      bool readonly)
{
	struct tlb_entry *e = tlb_slot(t, mode, la);
	uint64_t page = la & LA_PAGE_MASK, tag = page | t->pcid;

	if (!host)
		return;
	if (!e->listed) {
		e->listed = true;
		t->journal[mode][t->n_journal[mode]++] = (uint16_t)(e - t->e[mode]);
	}
	e->tag[ACCESS_READ] = tr->can_read ? tag : TLB_INVALID;
	e->tag[ACCESS_WRITE] = tr->can_write && tr->dirty && !readonly ? tag : TLB_INVALID;
	e->tag[ACCESS_FETCH] = tr->can_fetch ? tag : TLB_INVALID;
	e->addend = (uintptr_t)host - page;
	e->gpa = tr->gpa & LA_PAGE_MASK;
	e->page_shift = tr->page_shift;
	e->global = tr->global;
	if (tr->page_shift > PAGE_NUMBER_SHIFT)
		filter_add(t, la, tr->page_shift);
	t->stats.fills++;
}

/* -- Flushing ---------------------------------------------------------------------------------------- */

/* Which entries go. A global one goes by its address, whatever its PCID (SDM 4.10.4.1). */
struct victim {
	uint64_t pcid;   /* or ANY_PCID */
	bool global;     /* global entries go too */
	bool by_address; /* only the page that holds la */
	uint64_t la;
};

static bool matches(const struct tlb_entry *e, uint64_t tag, const struct victim *v)
{
	if (e->global ? !v->global : (v->pcid != ANY_PCID && (tag & LA_PCID_MASK) != v->pcid))
		return false;
	return !v->by_address || ((tag ^ v->la) >> e->page_shift) == 0;
}

/* Drop the victims of one mode and the journal's entries that have become empty. */
static void sweep_mode(struct tlb *t, unsigned mode, const struct victim *v)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < t->n_journal[mode]; i++) {
		uint16_t slot = t->journal[mode][i];
		struct tlb_entry *e = &t->e[mode][slot];
		uint64_t tag = entry_tag(e);

		if (tag == TLB_INVALID || matches(e, tag, v)) {
			invalidate(e);
			e->listed = false;
			continue;
		}
		if (e->page_shift > PAGE_NUMBER_SHIFT)
			filter_add(t, tag, e->page_shift);
		t->journal[mode][kept++] = slot;
	}
	t->n_journal[mode] = kept;
}

static void sweep(struct tlb *t, const struct victim *v)
{
	for (unsigned i = 0; i < ARRAY_SIZE(t->large); i++)
		t->large[i] = 0;
	for (unsigned m = 0; m < MMU_MODES; m++)
		sweep_mode(t, m, v);
}

static void note(struct tlb *t, enum tlb_flush_kind kind, uint64_t la, uint64_t pcid)
{
	t->log.flush[t->log.n++ % TLB_LOG_FLUSHES] =
		(struct tlb_flush){ .la = la, .pcid = (uint16_t)pcid, .kind = (uint8_t)kind };
}

void tlb_flush_all(struct tlb *t)
{
	const struct victim v = { .pcid = ANY_PCID, .global = true };

	t->stats.flushes++;
	t->log.all++;
	pscache_flush(&t->ps);
	sweep(t, &v);
}

void tlb_flush_nonglobal(struct tlb *t, uint64_t pcid)
{
	const struct victim v = { .pcid = pcid };

	t->stats.flushes++;
	note(t, TLB_FLUSH_PCID, 0, pcid);
	pscache_flush_pcid(&t->ps, pcid);
	sweep(t, &v);
}

void tlb_flush_all_nonglobal(struct tlb *t)
{
	const struct victim v = { .pcid = ANY_PCID };

	t->stats.flushes++;
	t->log.nonglobal++;
	pscache_flush(&t->ps);
	sweep(t, &v);
}

static void flush_page(struct tlb *t, const struct victim *v)
{
	t->stats.page_flushes++;
	if (v->global)
		pscache_flush_page(&t->ps, v->la, v->pcid);
	else
		pscache_flush_pcid(&t->ps, v->pcid);
	note(t, v->global ? TLB_FLUSH_PAGE : TLB_FLUSH_PAGE_PCID, v->la, v->pcid);
	if (filter_may_have(t, v->la)) {
		sweep(t, v);
		return;
	}
	for (unsigned m = 0; m < MMU_MODES; m++) {
		struct tlb_entry *e = tlb_slot(t, m, v->la);
		uint64_t tag = entry_tag(e);

		if (tag != TLB_INVALID && matches(e, tag, v))
			invalidate(e);
	}
}

void tlb_flush_page(struct tlb *t, uint64_t la)
{
	const struct victim v = { .pcid = t->pcid, .global = true, .by_address = true, .la = la };

	flush_page(t, &v);
}

void tlb_flush_page_pcid(struct tlb *t, uint64_t la, uint64_t pcid)
{
	const struct victim v = { .pcid = pcid, .by_address = true, .la = la };

	flush_page(t, &v);
}
