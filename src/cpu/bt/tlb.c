/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables that translated code reads: filling, flushing by journal, and pages that become code.
 *
 * What belongs to one PCID stands in a window of its own (bt.h), which survives CR3 loads; what the guest flushes is followed by the
 * reference TLB's log, PCID by PCID.
 */
#include <sched.h>

#include "cpu/bt/jumps.h"
#include "mmu/walk.h"

#define GIGABYTE_SHIFT 30
#define LARGE_SHIFT    21

/* Which set has the TLB of a mode. */
static struct bt_set *tlb_set(struct bt *bt, unsigned mode)
{
	return mode == MMU_KERNEL ? &bt->set[BT_KERNEL_SET] : bt->current;
}

/* -- Flushing a set -------------------------------------------------------------------------------------------- */

static void empty_slot(struct bt_tlb *tlb, unsigned i)
{
	tlb->tag[0][i] = tlb->tag[1][i] = bt_no_tag(i);
}

/* A place leaves a journal, that of the others than global pages if `local`. Whether it is to be emptied. */
static bool leaves(uint8_t *state, bool local)
{
	*state &= (uint8_t)~(local ? SLOT_LOCAL : SLOT_LISTED);
	if (local && (*state & SLOT_GLOBAL))
		return false;
	*state &= (uint8_t)~SLOT_GLOBAL;
	return true;
}

static void flush_tlb(struct bt_set *set, bool global)
{
	for (unsigned local = !global; local < 2; local++) {
		struct bt_journal *j = &set->tlb[local];

		for (unsigned n = 0; n < j->n; n++) {
			struct bt_tlb *tlb = &set->view->tlb[j->item[n] >> 16];
			unsigned i = j->item[n] & 0xffff;

			if (leaves(&tlb->state[i], local))
				empty_slot(tlb, i);
		}
		j->n = 0;
	}
	set->nonglobal = false;
}

void bt_set_flush(struct bt *bt, struct bt_set *set, bool global)
{
	if (!set->ready)
		return;
	flush_tlb(set, global);
	bt_jc_flush(bt, set, global);
	set->stack.stale = true;
	bt->v->stats.bt_tlb_flushes++;
}

void bt_tlb_flush(struct bt *bt)
{
	for (unsigned n = 0; n < BT_SETS; n++)
		bt_set_flush(bt, &bt->set[n], true);
	for (unsigned half = 0; half < 2; half++)
		for (unsigned i = 0; i < ARRAY_SIZE(bt->large[0]); i++)
			bt->large[half][i] = 0;
}

/* Of pages that hold code; the others' stay right. */
static void drop_writes(const struct ram *r, struct bt_set *set, const struct bt_journal *j)
{
	for (unsigned n = 0; n < j->n; n++) {
		struct bt_tlb *tlb = &set->view->tlb[j->item[n] >> 16];
		unsigned i = j->item[n] & 0xffff;
		uint64_t gpa = tlb->host[i] - (uint64_t)(uintptr_t)r->base;

		if (tlb->tag[1][i] != bt_no_tag(i) && atomic_load_explicit(&r->flags[gpa >> PAGE_SHIFT], memory_order_relaxed))
			tlb->tag[1][i] = bt_no_tag(i);
	}
}

void bt_tlb_drop_writes(struct bt *bt)
{
	for (unsigned n = 0; n < BT_SETS; n++)
		for (unsigned k = 0; k < 2; k++)
			drop_writes(bt->v->ram, &bt->set[n], &bt->set[n].tlb[k]);
	bt_stack_drop_writes(bt);
}

/* -- One page ----------------------------------------------------------------------------------------------------- */

/* A bit for each 2 MiB, and one for each 1 GiB, from which pages were cut. */
static unsigned large_bit(const struct bt *bt, uint64_t la, unsigned shift)
{
	uint64_t start = la >> shift;

	return (unsigned)((start ^ start >> 10 ^ shift) % (sizeof(bt->large[0]) * 8));
}

static void note_large(struct bt *bt, uint64_t la, unsigned shift)
{
	unsigned pieces = shift == LARGE_SHIFT + 1 ? 2 : 1; /* 4 MiB without PAE: two halves */

	for (unsigned n = 0; n < pieces; n++, la ^= BIT(LARGE_SHIFT)) {
		unsigned bit = large_bit(bt, la, shift > LARGE_SHIFT + 1 ? GIGABYTE_SHIFT : LARGE_SHIFT);

		bt->large[la >> 63][bit / 64] |= BIT(bit % 64);
	}
}

static bool may_be_large(const struct bt *bt, uint64_t la)
{
	const uint64_t *filter = bt->large[la >> 63];
	unsigned a = large_bit(bt, la, LARGE_SHIFT), b = large_bit(bt, la, GIGABYTE_SHIFT);

	return (filter[a / 64] & BIT(a % 64)) || (filter[b / 64] & BIT(b % 64));
}

static void flush_page(struct bt *bt, struct bt_set *set, const struct tlb_flush *f)
{
	unsigned i = (f->la >> PAGE_SHIFT) & (BT_TLB_ENTRIES - 1), kernel = set == &bt->set[BT_KERNEL_SET];
	bool mine = kernel || set->pcid == f->pcid;

	if (!set->ready)
		return;
	for (unsigned m = 0; m < MMU_MODES; m++) {
		struct bt_tlb *tlb = &set->view->tlb[m];

		if ((m == MMU_KERNEL) == kernel && (mine || (tlb->state[i] & SLOT_GLOBAL)))
			empty_slot(tlb, i);
	}
	if (f->la - set->stack.la < BT_STACK_SIZE)
		set->stack.stale = true;
	if (mine || set->jc_global) {
		bt_jc_flush_page(bt, set, f->la);
		bt_jc_flush_page(bt, set, f->la - PAGE_SIZE); /* its last instruction may reach into this page */
	}
}

/* -- Following the guest's flushes --------------------------------------------------------------------------------- */

/*
 * A flush that spares global entries may be taken for one that does not. The kernel's tables have no PCID: what is not
 * global there is the open window's.
 */
static bool follow(struct bt *bt, const struct tlb_flush *f)
{
	struct bt_set *own = bt_window_find(bt, f->pcid);

	if (f->kind == TLB_FLUSH_PCID) {
		if (own)
			bt_set_flush(bt, own, false);
		if (own == bt->current)
			bt_set_flush(bt, &bt->set[BT_KERNEL_SET], false);
		return true;
	}
	if (may_be_large(bt, f->la))
		return false;
	for (unsigned n = 0; n < BT_SETS; n++)
		flush_page(bt, &bt->set[n], f);
	return true;
}

void bt_tlb_catch_up(struct bt *bt)
{
	const struct tlb *t = bt->v->tlb;
	const struct tlb_log *log = &t->log;
	uint64_t n = bt->flushes_seen;
	bool all = log->all != bt->all_seen || log->n - n > TLB_LOG_FLUSHES;

	if (likely(!all && log->n == n && log->nonglobal == bt->nonglobal_seen && t->pcid == bt->current->pcid))
		return;
	for (; n != log->n && !all; n++)
		all = !follow(bt, &log->flush[n % TLB_LOG_FLUSHES]);
	for (unsigned k = 0; k < BT_SETS && !all && log->nonglobal != bt->nonglobal_seen; k++)
		bt_set_flush(bt, &bt->set[k], false);
	if (all)
		bt_tlb_flush(bt);
	bt->all_seen = log->all;
	bt->nonglobal_seen = log->nonglobal;
	bt->flushes_seen = log->n;
	if (t->pcid != bt->current->pcid)
		bt_window_open(bt, (uint16_t)t->pcid);
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
	struct bt_set *set = tlb_set(bt, mode);
	struct bt_tlb *tlb = &set->view->tlb[mode];
	unsigned i = (la >> PAGE_SHIFT) & (BT_TLB_ENTRIES - 1);

	if (tlb->host[i] != (uint64_t)(uintptr_t)page ||
	    (tlb->tag[0][i] != (la & PAGE_MASK) && tlb->tag[1][i] != (la & PAGE_MASK))) {
		empty_slot(tlb, i);
		tlb->host[i] = (uint64_t)(uintptr_t)page;
		tlb->addend[i] = (uint64_t)(uintptr_t)page - (la & PAGE_MASK);
	}
	bt_journal_add(set->tlb, &tlb->state[i], mode, i, tr->global);
	set->nonglobal = set->nonglobal || !tr->global;
	if (tr->page_shift > PAGE_SHIFT)
		note_large(bt, la, tr->page_shift);
}

/* Nobody but those who hold its code wants to hear of stores to it? */
static bool note_code_page(struct bt *bt, uint64_t gpa, const struct nested_page *page)
{
	bt->code_gpa = gpa;
	bt->code_page = page->host;
	return !page->readonly && atomic_load(page->flags) == RAM_PAGE_CODE;
}

/* access: what the walk is for, which is all that it does to the guest's tables. */
static enum bt_fill fill(struct bt *bt, uint64_t la, unsigned size, bool write, enum mmu_access access, enum mmu_mode mode,
			 uint32_t *err)
{
	struct vcpu *v = bt->v;
	struct mmu_translation tr;
	const struct nested_page *page;

	if (!x86_canonical(&v->s, la) || (la & (PAGE_SIZE - 1)) + size > PAGE_SIZE)
		return BT_NOT_PLAIN;
	v->stats.tlb_misses++;
	*err = mmu_walk_cached(&v->tlb->ps, v->tlb->pcid, &v->s, v->mem, v->cpuid->gpa_bits, la, access, mode, &tr);
	if (*err) {
		*err &= ~(uint32_t)MMU_FAULT;
		return BT_PAGE_FAULT;
	}
	page = nested_find(v->nested, tr.gpa);
	if (!page->host)
		return BT_NOT_PLAIN;
	if (write && !nested_writable(page))
		return note_code_page(bt, tr.gpa, page) ? BT_CODE_PAGE : BT_NOT_PLAIN;
	if (write && access != ACCESS_WRITE && !(tr.can_write && tr.dirty))
		return BT_NOT_PLAIN;
	enter(bt, mode, la, &tr, page->host);
	tlb_set(bt, mode)->view->tlb[mode].tag[write][(la >> PAGE_SHIFT) & (BT_TLB_ENTRIES - 1)] = la & PAGE_MASK;
	return BT_FILLED;
}

enum bt_fill bt_tlb_fill(struct bt *bt, uint64_t la, unsigned size, bool write, enum mmu_mode mode, uint32_t *err)
{
	return fill(bt, la, size, write, write ? ACCESS_WRITE : ACCESS_READ, mode, err);
}

enum bt_fill bt_tlb_fill_site(struct bt *bt, const struct bt_site *site, uint64_t la, uint32_t *err)
{
	enum mmu_mode mode = bt_mmu_mode(bt->v);
	enum bt_fill done;

	if (!site->masked)
		return bt_tlb_fill(bt, la, site->size, site->write, mode, err);
	done = fill(bt, la, site->size, true, ACCESS_READ, mode, err);
	return done == BT_FILLED ? done : BT_NOT_PLAIN;
}

void *bt_reach(struct bt *bt, uint64_t la, unsigned size, bool write, enum mmu_mode mode)
{
	struct bt_tlb *tlb = &bt->current->view->tlb[mode];
	unsigned i = (la >> PAGE_SHIFT) & (BT_TLB_ENTRIES - 1), off = la & (PAGE_SIZE - 1);
	uint32_t err;

	if (off + size > PAGE_SIZE)
		return NULL;
	if (tlb->tag[write][i] != (la & PAGE_MASK) && bt_tlb_fill(bt, la, size, write, mode, &err) != BT_FILLED)
		return NULL;
	return (void *)(uintptr_t)(tlb->host[i] + off);
}

bool bt_tlb_thrashes(struct bt *bt, uint32_t retry, uint64_t la)
{
	bool again = bt->retried == retry && bt->missed[1] == la && bt->missed[0] != la;

	bt->retried = retry;
	bt->missed[1] = bt->missed[0];
	bt->missed[0] = la;
	return again;
}

/* -- Code pages -------------------------------------------------------------------------------------------------- */

/*
 * Translated stores do not look at a page's flags; they have no write tag for a page that holds code.
 * So when a page is marked as code, by whatever engine and before its bytes are read, every vCPU forgets its
 * write tags before it enters translated code again, and who is in it is asked to leave and waited for. The
 * one that marks is outside itself, so two that wait for each other do not.
 */
static void drop_writes_of(struct bt *bt)
{
	atomic_store(&bt->drop_writes, true);
	atomic_store(&bt->poll, 1);
	while (atomic_load(&bt->in_code) && atomic_load(&bt->drop_writes))
		sched_yield();
}

/* Only for the store that is under way: the next one finds the marker's bits. */
static void await_store(struct bt *bt)
{
	uint32_t passing = atomic_load(&bt->passing);

	if (!(passing & 1))
		return;
	atomic_store(&bt->poll, 1);
	while (atomic_load(&bt->in_code) && atomic_load(&bt->passing) == passing)
		sched_yield();
}

void bt_page_becomes_code(void *group, uint64_t gpa, bool page)
{
	struct vcpu_group *g = group;

	for (unsigned n = 0; n < g->n; n++) {
		struct bt *bt = g->v[n] ? g->v[n]->engine_data : NULL;

		if (bt && page)
			drop_writes_of(bt);
		else if (bt)
			await_store(bt);
	}
}

/*
 * One store beside code at a time, from an exit to the next one. The marker sets its pieces' bits and then looks for us; we say that we
 * are about to store and then look at the bits: either it waits for us or we leave the store to the reference.
 */
bool bt_pass_store(struct bt *bt, uint64_t la, unsigned size)
{
	const struct ram *r = bt->v->ram;
	uint64_t page = bt->code_gpa >> PAGE_SHIFT, off = la & (PAGE_SIZE - 1);

	atomic_fetch_add(&bt->passing, 1);
	/* (Not marked any more: who marks it again waits for all of us.) */
	if (atomic_load(&r->granules[page]) & ram_granules(off, size)) {
		atomic_fetch_add(&bt->passing, 1);
		return false;
	}
	bt->exit_t0 = la;
	bt->exit_t1 = (uint64_t)(uintptr_t)bt->code_page - (la & PAGE_MASK);
	bt->v->stats.bt_beside_code++;
	return true;
}
