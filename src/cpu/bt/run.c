/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator's run loop: find or make the block at RIP, run until an exit, do what the exit asks.
 *
 * Whatever translated code cannot do is done by interp_step(): events at instruction boundaries, system
 * instructions, device memory and page faults. Each way out of translated code leaves the
 * complete state of an instruction boundary behind, so the two take turns freely.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "cpu/bt/clone.h"
#include "cpu/bt/cross.h"
#include "cpu/bt/jumps.h"
#include "cpu/bt/legacy.h"
#include "cpu/bt/system.h"
#include "cpu/interp/interp.h"
#include "mmu/walk.h"

/*
 * The sanitizers' own code, which runs at every access to memory, uses vector registers: there the guest's are in the
 * host's only between bt_fpu_resume() and bt_fpu_park() on both sides of bt_enter(), none of which is instrumented.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EAGER_FPU 1
#else
#define EAGER_FPU 0
#endif

#define KEPT_FLAGS FL_ARITH /* live in the host's RFLAGS while translated code runs */

/* -- Stepping by the reference engine ------------------------------------------------------------------- */

static void fpu_to_state(struct bt *bt)
{
	bt_fpu_park(bt);
	if (bt->fpu_in_image) {
		bt_fpu_to_state(bt);
		bt->fpu_in_image = false;
	}
}

/* fpu: the step may touch x87, vector or mask state. why: for the statistics. The reference may wait for others: outside of the cache. */
static enum vcpu_exit step(struct bt *bt, bool fpu, enum bt_why why)
{
	enum vcpu_exit ex;

	bt_leave(bt);
	bt_fpu_park(bt);
	if (fpu)
		fpu_to_state(bt);
	bt->shadow_rip = BT_NO_SHADOW;
	if (debug_stops_here(bt->v))
		return EXIT_DEBUG;
	bt_turn_step(bt);
	bt->v->stats.bt_interp_steps++;
	bt->why[why]++;
	ex = interp_step(bt->v);
	bt->fallbacks[interp_last_mnemonic(bt->v)]++;
	bt_settle_modes(bt);
	return ex;
}

/* -- What has happened outside of translated code --------------------------------------------------------- */

static void take_requests(struct bt *bt)
{
	bt_tlb_catch_up(bt);
	if (atomic_load_explicit(&bt->drop_writes, memory_order_relaxed) && atomic_exchange(&bt->drop_writes, false))
		bt_tlb_drop_writes(bt);
	if (atomic_load_explicit(&bt->check_pages, memory_order_relaxed) && atomic_exchange(&bt->check_pages, false))
		bt_drop_stale(bt);
}

/* Something at this boundary is for the reference engine: an event, a mode or a debug facility. */
static bool needs_reference(const struct vcpu *v)
{
	uint32_t work = atomic_load(&v->work);
	const struct x86_state *s = &v->s;

	if (!(s->rflags & FL_IF))
		work &= ~(uint32_t)WORK_INTR;
	if (s->nmi_blocked)
		work &= ~(uint32_t)WORK_NMI;
	return work || s->activity != ACT_RUNNING || s->shadow != SHADOW_NONE ||
	       (s->rflags & (FL_TF | FL_RF)) || (s->dr[7] & 0xff) ||
	       (s->cpl == 3 && (s->cr0 & CR0_AM) && (s->rflags & FL_AC));
}

/* -- Looking up ------------------------------------------------------------------------------------------------ */

/* Guest-physical address of the next instruction, if it is in RAM and may be fetched. *global: of a global page. */
static bool fetch_gpa(struct bt *bt, uint64_t la, uint64_t *gpa, bool *global)
{
	struct vcpu *v = bt->v;
	enum mmu_mode mode = v->s.cpl == 3 ? MMU_USER : MMU_KERNEL;
	struct tlb_entry *e = tlb_slot(v->tlb, mode, la);
	struct mmu_translation tr;
	const struct nested_page *page;

	if (e->tag[ACCESS_FETCH] == ((la & PAGE_MASK) | v->tlb->pcid)) {
		*gpa = e->gpa | (la & (PAGE_SIZE - 1));
		*global = e->global;
		return true;
	}
	bt->fetch_fault = 0;
	if (!x86_canonical(&v->s, la))
		return false;
	bt->fetch_fault = mmu_walk_cached(&v->tlb->ps, v->tlb->pcid, &v->s, v->mem, v->cpuid->gpa_bits, la, ACCESS_FETCH,
					  mode, &tr);
	if (bt->fetch_fault)
		return false;
	page = nested_find(v->nested, tr.gpa);
	if (!page->host)
		return false;
	tlb_fill(v->tlb, mode, la, &tr, page->host, page->readonly);
	*gpa = tr.gpa;
	*global = tr.global;
	return true;
}

/* The page that an instruction at la may reach into; *global becomes false if that is not global. */
static uint64_t page_behind(struct bt *bt, uint64_t la, bool *global)
{
	uint64_t gpa;
	bool too;

	la = (la & PAGE_MASK) + PAGE_SIZE;
	if (!fetch_gpa(bt, x86_long_mode(&bt->v->s) ? la : (uint32_t)la, &gpa, &too))
		return BT_UNMAPPED_PAGE;
	*global = *global && too;
	return gpa;
}

/*
 * The TSC goes on while other programs have the CPU, and asking for CPU time costs a tenth of a translation. But no translation
 * takes as long as a turn of another program: one that seems to counts as much as those before it on average.
 */
#define INTERRUPTED_PER_SECOND 5000 /* so many would fit: 200 us, the longest takes 20 */

static void count_translation(struct bt *bt, uint64_t ticks)
{
	uint64_t n = bt->v->stats.bt_translations++;

	if (ticks > bt->v->cpuid->tsc_hz / INTERRUPTED_PER_SECOND)
		ticks = n ? bt->translation_ticks / n : 0;
	bt->translation_ticks += ticks;
}

static struct bt_block *translate(struct bt *bt, uint64_t la, uint64_t gpa, uint64_t gpa2, struct bt_mode mode)
{
	uint64_t start = host_tsc();
	struct bt_block *b = bt_translate(bt, la, gpa, gpa2, mode);

	count_translation(bt, host_tsc() - start);
	bt->v->stats.bt_translated_insns += b->insns;
	return b;
}

static void tell(struct bt *bt, const struct bt_block *b)
{
	const struct code_listener *l = &bt->v->group->code_listener;

	if (l->made)
		l->made(l->opaque, b->ientry, b->end - b->ientry, b->la, bt->v->s.cpl == 3);
}

/*
 * Make the block, unless another vCPU has done so meanwhile. NULL: we are outside, with a request to deal with first; and
 * when we are inside again, what we have held may have gone in a flush (bt->generation tells).
 */
static struct bt_block *make_block(struct bt *bt, uint64_t la, uint64_t gpa, uint64_t gpa2, struct bt_mode mode)
{
	struct bt_cache *c = bt->cache;
	struct bt_block *b;
	bool inside, copy;

	bt_leave(bt);
	bt_fpu_park(bt);
	lock_take(&c->lock);
	b = bt_block_find(bt, la, gpa, gpa2, mode);
	if (!b)
		b = bt_block_wake(bt, la, gpa, mode);
	if (!b) {
		if (!bt_cache_has_room(c))
			bt_cache_flush(bt);
		b = bt->v->group->points.n_breakpoints ? NULL : bt_clone(bt, la, gpa, mode); /* which are by address */
		copy = b;
		if (copy)
			bt->v->stats.bt_copies++;
		else
			b = translate(bt, la, gpa, gpa2, mode);
		tell(bt, b);
		bt_trace(bt, b, copy);
	}
	inside = bt_join(bt);
	lock_drop(&c->lock);
	return inside ? b : NULL;
}

/* The block at RIP, in `mode`. NULL: inside, its fetch faults or it is not in RAM, the reference finds out; outside, look again. */
static struct bt_block *find_in_mode(struct bt *bt, struct bt_mode mode)
{
	struct vcpu *v = bt->v;
	struct bt_block *b;
	uint64_t la = v->s.rip, gpa, gpa2 = BT_NO_PAGE;
	bool global;

	if (mode.legacy.on) {
		bt->fetch_fault = 0;
		if (la > mode.legacy.cs_limit)
			return NULL;
		la = (uint32_t)(mode.legacy.cs_base + la);
	}
	if (!fetch_gpa(bt, la, &gpa, &global))
		return NULL;
	if ((la & (PAGE_SIZE - 1)) + BT_MAX_INSN_LEN > PAGE_SIZE)
		gpa2 = page_behind(bt, la, &global);
	la |= (uint64_t)mode.legacy.cs_base << 32;
	b = bt_block_find(bt, la, gpa, gpa2, mode);
	if (!b && !(b = make_block(bt, la, gpa, gpa2, mode)))
		return NULL;
	if (mode.form == FORM_NORMAL)
		bt_jc_set(bt, b, global);
	return b;
}

static struct bt_block *find_form(struct bt *bt, enum bt_form form)
{
	struct bt_mode mode = bt_current_mode(bt);

	mode.form = (uint8_t)form;
	mode.stack = mode.stack && form != FORM_CROSSING; /* whose operand is elsewhere */
	return find_in_mode(bt, mode);
}

static struct bt_block *find_block(struct bt *bt)
{
	return find_form(bt, FORM_NORMAL);
}

/* -- Running -------------------------------------------------------------------------------------------------- */

static void load_context(struct bt *bt)
{
	const struct x86_state *s = &bt->v->s;

	bt->rdi = s->gpr[R_DI];
	bt->r10 = s->gpr[T0];
	bt->r11 = s->gpr[T1];
	bt->seg_base[0] = s->seg[SEG_FS].base;
	bt->seg_base[1] = s->seg[SEG_GS].base;
	bt->string_limit = s->rflags & FL_DF ? 0 : PAGE_SIZE;
	if (!x86_64bit(s))
		bt_legacy_load(bt);
	bt->parked_flags = bt_parked(s->rflags);
	bt->flags = (s->rflags & KEPT_FLAGS) | FL_1 | FL_IF; /* the host's own IF */
}

/* At the boundary behind an STI interrupts still wait. */
static void settle_shadow(struct bt *bt)
{
	struct x86_state *s = &bt->v->s;

	if (s->rip == bt->shadow_rip)
		s->shadow = SHADOW_STI;
	else
		bt->shadow_rip = BT_NO_SHADOW;
}

static void store_context(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;

	s->gpr[T0] = bt->r10;
	s->gpr[T1] = bt->r11;
	s->rflags = (s->rflags & ~KEPT_FLAGS) | (bt->flags & KEPT_FLAGS);
	s->rip = site->kind == SITE_INDIRECT ? bt->exit_t0 : site->rip;
	if (!x86_64bit(s)) /* a block address: legacy.h */
		s->rip = (uint32_t)(s->rip - s->seg[SEG_CS].base);
	if (bt->x87.mem | bt->x87.reg)
		bt_x87_settle(bt);
	settle_shadow(bt);
}

/* By way of a jump cache to a block that has been dropped: the flags, dead in its code, may matter in what stands there now. */
static void keep_parked(struct bt *bt, const struct bt_site *site)
{
	const struct bt_block *b = bt_block_at(bt->cache, (uint32_t)(uintptr_t)site);

	if (b && !atomic_load_explicit(&b->valid, memory_order_relaxed))
		bt->v->s.rflags = (bt->v->s.rflags & ~KEPT_FLAGS) | bt_unparked(bt->parked_flags);
}

/* Inside: run translated code at `code`. */
static struct bt_site *run_code(struct bt *bt, uint32_t code)
{
	struct bt_site *site;

	load_context(bt);
	bt_fpu_resume(bt);
	bt_enter(bt, code);
	if (unlikely(atomic_load_explicit(&bt->passing, memory_order_relaxed) & 1))
		atomic_fetch_add(&bt->passing, 1);
	if (EAGER_FPU || bt->v->turn) /* what lockstep is told of may use them, too */
		bt_fpu_park(bt);
	site = (struct bt_site *)(uintptr_t)bt->exit_site;
	store_context(bt, site);
	if (site->kind == SITE_POLL && site->sub)
		keep_parked(bt, site);
	bt->v->stats.bt_exits++;
	bt->exits[site->kind]++;
	return site;
}

static uint64_t missed_address(const struct bt *bt, const struct bt_site *site)
{
	uint64_t tag = bt->current->view->tlb[bt_mmu_mode(bt->v)].tag[site->write][bt->exit_t1 & (BT_TLB_ENTRIES - 1)];

	switch (site->t0) {
	case T0_XOR_TAG: return bt->exit_t0 ^ tag;
	case T0_MINUS_TAG: return bt->exit_t0 + tag;
	default: return bt->exit_t0;
	}
}

/*
 * RF only says that a code breakpoint does not trap again, and that the image of the next instruction's fault has it, which
 * it has anyway. With no breakpoints and nothing pending it may as well be clear before that instruction as behind it.
 */
static void settle_rf(struct vcpu *v)
{
	const uint64_t rf = v->s.rflags & FL_RF;

	v->s.rflags &= ~FL_RF;
	if (rf && needs_reference(v))
		v->s.rflags |= FL_RF;
}

/*
 * Go on at RIP by way of the jump cache, as an indirect branch does; its own mode's, which may be another than before. Returns host
 * code, or 0: by the loop.
 */
static uint32_t go_on(struct bt *bt)
{
	const struct x86_state *s = &bt->v->s;
	unsigned jc;

	if (bt->v->turn)
		return 0;
	settle_rf(bt->v);
	if (needs_reference(bt->v) || !x86_64bit(s) || !x86_canonical(s, s->rip))
		return 0;
	bt_tlb_catch_up(bt);
	bt->entry_t0 = s->rip;
	jc = bt_mmu_mode(bt->v);
	if (jc == MMU_USER && bt_stack_usable(bt))
		jc = BT_JC_STACK;
	return (uint32_t)bt->current->view->jc[jc][bt_jc_index(s->rip)];
}

/*
 * Whether to go back into the block that was left. Not when code was written since it was entered: what we have just done may have
 * stored into this very block without notice, since the page has lost its mark by another's store; or it was an instruction that
 * serializes. And not when the vCPU is to stop: who is sent back passes no poll, and may be here again at once.
 */
static bool may_resume(const struct bt *bt)
{
	return !atomic_load(&bt->check_pages) && !(atomic_load(&bt->v->work) & WORK_EXIT);
}

/* Again the instruction that was left, now that its page can be reached. Behind an STI it still is only where the loop is to see that. */
static uint32_t retry(struct bt *bt, const struct bt_site *site)
{
	if (!may_resume(bt))
		return 0;
	bt->v->s.shadow = SHADOW_NONE; /* still behind shadow_rip, if it was */
	return site->retry;
}

/* Returns host code to go on at, as handle_exit() does. */
static uint32_t do_system(struct bt *bt, const struct bt_site *site, enum vcpu_exit *ex)
{
	struct vcpu *v = bt->v;
	bool fpu = site->op == BT_OP_XSAVE || site->op == BT_OP_XRSTOR;

	bt->system_ops[site->op]++;
	v->s.shadow = SHADOW_NONE; /* unless it is refused, this was the instruction behind an STI */
	switch (bt_system(bt, site)) {
	case BT_NEXT:
		if (!needs_reference(v) && may_resume(bt))
			return site->retry;
		settle_shadow(bt);
		return 0;
	case BT_MOVED:
		return go_on(bt);
	case BT_OUTSIDE:
		bt_settle_modes(bt);
		return bt_join(bt) ? go_on(bt) : 0;
	default:
		settle_shadow(bt);
		*ex = step(bt, fpu, WHY_REFUSED);
		return 0;
	}
}

/* Misaligned, the access might raise something else first: vector state, and what has 16 bytes. */
static bool only_page_faults(struct bt *bt, const struct bt_site *site)
{
	return site->size <= 8 && !bt_site_touches_fpu(bt->cache, site);
}

/* The access of an instruction that only reads crosses a page. Returns host code to go on at, or 0: not done. */
static uint32_t cross_read(struct bt *bt, const struct bt_site *site, uint64_t la)
{
	if (!site->pass || !bt_cross_begin(bt, la, site->size, false))
		return 0;
	bt->v->s.shadow = SHADOW_NONE;
	bt->resume_at = site->pass;
	return bt->cache->resume_stub;
}

/* The same of one that writes. */
static uint32_t cross_write(struct bt *bt, const struct bt_site *site, uint64_t la)
{
	unsigned size = site->size;
	struct bt_block *b;

	if (!site->cross || needs_reference(bt->v) || !(b = find_form(bt, FORM_CROSSING)))
		return 0;
	if (!bt_cross_begin(bt, la, size, true))
		return 0;
	bt_turn_step(bt);
	return bt->v->turn ? b->body : b->entry;
}

static uint32_t do_crossing(struct bt *bt, const struct bt_site *site, uint64_t la, enum vcpu_exit *ex)
{
	uint32_t code = site->write ? cross_write(bt, site, la) : cross_read(bt, site, la);

	if (!code)
		*ex = step(bt, true, WHY_CROSSING);
	return code;
}

static uint32_t do_miss(struct bt *bt, const struct bt_site *site, enum vcpu_exit *ex)
{
	struct vcpu *v = bt->v;
	enum bt_fill fill = BT_NOT_PLAIN;
	uint64_t la = missed_address(bt, site);
	uint32_t err;

	if (bt_crosses(la, site->size))
		return do_crossing(bt, site, la, ex);
	if (!bt_tlb_thrashes(bt, site->retry, la))
		fill = bt_tlb_fill_site(bt, site, la, &err);
	if (fill == BT_FILLED)
		return retry(bt, site);
	if (fill == BT_CODE_PAGE && site->pass && may_resume(bt) && bt_pass_store(bt, la, site->size)) {
		v->s.shadow = SHADOW_NONE;
		bt->resume_at = site->pass;
		return bt->cache->resume_stub;
	}
	bt_turn_step(bt);
	if (fill == BT_PAGE_FAULT && only_page_faults(bt, site) && bt_deliver_fault(bt, X86_PF, err)) {
		v->s.cr2 = la;
		v->stats.page_faults++;
		bt->shadow_rip = BT_NO_SHADOW;
		return go_on(bt);
	}
	*ex = step(bt, bt_site_touches_fpu(bt->cache, site), WHY_MEMORY);
	return 0;
}

/* Within a page: a remapped page's old blocks do not lead to its new ones. And who relies on the stack window goes on so. */
static bool may_chain(struct bt_cache *c, const struct bt_site *site, const struct bt_block *b)
{
	const struct bt_block *from;

	if (!site->patch || b->gpa2 != BT_NO_PAGE)
		return false;
	from = bt_block_at(c, site->patch);
	return (from->gpa & PAGE_MASK) == (b->gpa & PAGE_MASK) && from->mode.stack == b->mode.stack;
}

/* The check of a group has failed: its page was not in the TLB, or the span is not in one page that may be accessed so. */
static uint32_t do_group_miss(struct bt *bt, const struct bt_site *site)
{
	uint32_t generation = bt->generation;
	uint64_t la = missed_address(bt, site);
	struct bt_block *b;
	uint32_t err;

	if (!bt_crosses(la, site->size) && !bt_tlb_thrashes(bt, site->retry, la) &&
	    bt_tlb_fill_site(bt, site, la, &err) == BT_FILLED)
		return retry(bt, site);
	if (needs_reference(bt->v) || !(b = find_form(bt, FORM_UNGROUPED)))
		return 0;
	if (bt->v->turn) {
		bt_turn_go_on(bt, b);
		return b->body;
	}
	if (generation == bt->generation && may_chain(bt->cache, site, b))
		bt_chain(bt, site, b);
	return b->entry;
}

/* The host has faulted in the stack window: map the page, or let a block without the window find out what is wrong. */
static uint32_t do_stack_fault(struct bt *bt, const struct bt_site *site)
{
	struct bt_mode mode;
	struct bt_block *b;

	if (bt_stack_map(bt, site->write)) {
		bt->resume_at = retry(bt, site);
		return bt->resume_at ? bt->cache->resume_stub : 0;
	}
	mode = bt_current_mode(bt);
	mode.form = FORM_UNGROUPED;
	mode.stack = 0;
	if (needs_reference(bt->v) || !(b = find_in_mode(bt, mode)))
		return 0;
	if (!bt->v->turn)
		return b->entry;
	bt_turn_go_on(bt, b);
	return b->body;
}

/*
 * Do what the exit asks for. Returns host code to go on at, or 0: go on at RIP. *ex is EXIT_KICKED
 * unless the guest has halted or shut down.
 */
static uint32_t handle_exit(struct bt *bt, const struct bt_site *site, enum vcpu_exit *ex)
{
	uint32_t generation = bt->generation;
	struct bt_block *b;

	switch (site->kind) {
	case SITE_LOOKUP:
		if (needs_reference(bt->v) || !(b = find_block(bt)))
			return 0;
		/* A flush has taken the site with it. */
		if (generation == bt->generation && may_chain(bt->cache, site, b))
			bt_chain(bt, site, b);
		return b->entry;
	case SITE_TLB:
		return do_miss(bt, site, ex);
	case SITE_GROUP:
		return do_group_miss(bt, site);
	case SITE_STACK:
		return do_stack_fault(bt, site);
	case SITE_OFF_STACK:
		return !bt->v->turn && !needs_reference(bt->v) && (b = find_block(bt)) ? b->entry : 0;
	case SITE_CROSSED:
		bt_cross_end(bt);
		return !bt->v->turn && !needs_reference(bt->v) && (b = find_block(bt)) ? b->entry : 0;
	case SITE_INDIRECT:
		if (!x86_canonical(&bt->v->s, bt->v->s.rip)) {
			bt_fpu_park(bt);
			bt_undo_branch(bt);
			*ex = step(bt, false, WHY_FETCH);
			return 0;
		}
		return !needs_reference(bt->v) && (b = find_block(bt)) ? b->entry : 0;
	case SITE_SYSTEM:
		return do_system(bt, site, ex);
	case SITE_INTERP:
	case SITE_INTERP_FPU:
		*ex = step(bt, site->kind == SITE_INTERP_FPU, site->sub ? WHY_SEGMENT : WHY_INSTRUCTION);
		return 0;
	default:
		return 0;
	}
}

/* The page at RIP cannot be fetched: deliver that if it is a plain case. */
static bool fetch_faults(struct bt *bt)
{
	struct vcpu *v = bt->v;
	uint64_t la = x86_64bit(&v->s) ? v->s.rip : (uint32_t)(v->s.seg[SEG_CS].base + v->s.rip);

	bt_turn_step(bt);
	if (!bt->fetch_fault || !bt_deliver_fault(bt, X86_PF, bt->fetch_fault & ~(uint32_t)MMU_FAULT))
		return false;
	v->s.cr2 = la;
	v->stats.page_faults++;
	bt->shadow_rip = BT_NO_SHADOW;
	return true;
}

/* Run translated code from RIP on until there is something for the loop to look at. */
static enum vcpu_exit run_blocks(struct bt *bt)
{
	enum vcpu_exit ex = EXIT_KICKED;
	struct bt_site last, *site; /* the last exit; its site may not outlive what is done about it */
	struct bt_block *b;
	uint32_t code;

	if (!bt_join(bt))
		return EXIT_KICKED;
	b = find_block(bt);
	if (!b && atomic_load_explicit(&bt->in_code, memory_order_relaxed)) {
		bt_leave(bt);
		return fetch_faults(bt) ? EXIT_KICKED : step(bt, true, WHY_FETCH);
	}
	if (!b)
		return EXIT_KICKED;
	bt_turn_begin(bt, b);
	code = bt->v->turn ? bt_turn_entry(b) : b->entry;
	do {
		site = run_code(bt, code);
		last = *site;
		last.rip = bt->v->s.rip; /* the site's is a block address: legacy.h */
		code = handle_exit(bt, site, &ex);
	} while (code);
	bt_turn_end(bt, &last);
	bt_leave(bt);
	return ex;
}

static enum vcpu_exit bt_run(struct vcpu *v)
{
	struct bt *bt = v->engine_data;
	enum vcpu_exit ex = EXIT_KICKED;

	v->stats.exits++;
	bt_fault_thread(bt);
	bt_settle_modes(bt); /* the state may have been set from outside */
	while (ex == EXIT_KICKED) {
		atomic_store(&bt->poll, v->turn != NULL);
		bt_turn_begin(bt, NULL);
		if (atomic_load(&v->work) & WORK_EXIT)
			break;
		take_requests(bt);
		if (atomic_load(&v->work) & WORK_INTR)
			bt_tick(bt);
		ex = needs_reference(v) ? step(bt, true, WHY_BOUNDARY) : run_blocks(bt);
		if (v->turn) {
			v->turn->steps = MAX(v->turn->steps, bt->turn_stepped);
			break;
		}
	}
	bt_fpu_park(bt);
	return ex;
}

/* -- Engine ------------------------------------------------------------------------------------------------------- */

static void bt_kick(struct vcpu *v)
{
	struct bt *bt = v->engine_data;

	if (bt)
		atomic_store(&bt->poll, 1);
}

static void bt_code_changed(struct vcpu *v, uint64_t gpa, uint64_t len)
{
	struct bt *bt = v->engine_data;

	bt_note_written(bt, gpa, len);
	atomic_store(&bt->check_pages, true);
	atomic_store(&bt->poll, 1);
}

/* The vCPUs stand outside of a cache that they share. */
static void bt_breakpoints_changed(struct vcpu *v)
{
	struct bt *bt = v->engine_data;

	if (v->index)
		return;
	lock_take(&bt->cache->lock);
	bt_cache_flush(bt);
	lock_drop(&bt->cache->lock);
}

static void bt_sync_out(struct vcpu *v, unsigned groups)
{
	if (groups & SYNC_FPU)
		fpu_to_state(v->engine_data);
}

static void bt_sync_in(struct vcpu *v, unsigned groups)
{
	struct bt *bt = v->engine_data;

	if (!bt)
		return;
	if (groups & SYNC_FPU)
		bt->fpu_in_image = false;
	if (groups & (SYNC_SEG | SYNC_CR))
		bt_tlb_flush(bt);
}

static void bt_destroy(struct vcpu *v)
{
	struct bt *bt = v->engine_data;

	if (!bt)
		return;
	v->engine_data = NULL;
	bt_fault_release(bt);
	bt_cache_put(bt);
	bt_delete(bt);
}

static int bt_init(struct vcpu *v, struct err *e)
{
	struct bt *bt = bt_new(e);
	int rc;

	if (!bt)
		return -ENOMEM;
	bt->v = v;
	bt->self = (uint64_t)(uintptr_t)bt;
	bt->state = &v->s;
	bt->exit_fn = (uint64_t)(uintptr_t)bt_exit;
	bt->page_bits = PAGE_MASK;
	bt->arith_bits = FL_ARITH;
	bt->other_bits = ~FL_ARITH;
	bt->if_bit = FL_IF;
	bt->no_if_bit = ~FL_IF;
	bt->no_df_bit = ~FL_DF;
	bt->no_ac_bit = ~FL_AC;
	bt->bit_31 = 31;
	bt->bit_63 = 63;
	bt->sign_bits = 0x1fffe;
	bt->stack_out_bits = ~(BT_STACK_SIZE - 1);
	bt->shadow_rip = BT_NO_SHADOW;
	v->engine_data = bt;
	rc = bt_fpu_init(bt, e);
	if (!rc)
		rc = bt_cache_get(bt, e);
	if (!rc)
		rc = bt_fault_init(bt, e);
	if (rc) {
		bt_destroy(v);
		return rc;
	}
	bt_set_ready(bt, &bt->set[BT_KERNEL_SET]);
	bt_set_ready(bt, &bt->set[0]);
	ram_set_mark_listener(v->ram, bt_page_becomes_code, v->group);
	return 0;
}

const struct engine_ops bt_engine = {
	.name = "bt",
	.summary = "binary translator: every mode at a fraction of native speed; needs BMI2 and XSAVE",
	.init = bt_init,
	.run = bt_run,
	.kick = bt_kick,
	.sync_out = bt_sync_out,
	.sync_in = bt_sync_in,
	.code_changed = bt_code_changed,
	.breakpoints_changed = bt_breakpoints_changed,
	.dump_block = bt_dump_block,
	.destroy = bt_destroy,
	.print_stats = bt_print_stats,
};
