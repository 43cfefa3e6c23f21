/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stack window: guest pages around RSP mapped side by side in host memory, between two guards, so that user code of 64-bit
 * mode reaches its stack at [its address + a distance] without a check. What it may not reach there the host's MMU refuses.
 *
 * 1. Nothing but RSP plus a constant is used so (plan.c). At a block's beginning RSP is at most BT_STACK_DRIFT outside of the
 *    window: a block that moves it touches the stack there before it is left, or verifies it (anchor.c). From there, or
 *    from where it was verified last, an access is at most BT_STACK_REACH away. Together that is less than a guard.
 * 2. Only blocks that were translated so (bt_mode.stack) rely on it. They are entered from C, which looks at RSP, and from each
 *    other; in the jump caches they have places of their own.
 * 3. A page that is mapped is an entry of the TLB: it was walked to for the same kind of access, and holds until the guest
 *    flushes. Then the window is stale, and before user code runs in it again each of its pages is walked to anew. One that is
 *    another now, or has lost a right, closes the window: whoever forks or gives back his stack would do so again and again.
 * 4. A fault in it maps the page that it is about. Where that cannot be done - the guest's page fault, a device, code - the
 *    same instruction goes on in a block without the window, which finds out what is the matter.
 * 5. Each mapping costs microseconds. So a window opens for code that is still there after a few interrupts.
 */
#include <sys/mman.h>

#include "cpu/bt/jumps.h"
#include "cpu/bt/loop.h"
#include "mmu/walk.h"

#define RESERVED    (BT_STACK_GUARD + BT_STACK_SIZE + BT_STACK_GUARD)
#define PATIENCE    2   /* interrupts before a window opens: 8 ms of a guest with 250 a second */
#define MAX_REFUSED 64  /* faults for nothing, 2 us each, */
#define AFTER_THOSE 250 /* and how many interrupts it is left alone for then */
#define MAY_WRITE   1u

/* -- Mapping -------------------------------------------------------------------------------------------- */

static bool is_mapped(const struct bt_stack *s, unsigned n)
{
	return s->mapped[n / 64] >> (n % 64) & 1;
}

static bool map_page(struct bt *bt, struct bt_stack *s, unsigned n, uint64_t gpa, bool write)
{
	uint8_t *at = s->base + BT_STACK_GUARD + n * PAGE_SIZE;

	if (mmap(at, PAGE_SIZE, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | MAP_FIXED, bt->v->ram->memfd,
		 (off_t)ram_file_offset(bt->v->ram, gpa)) == MAP_FAILED)
		return false;
	s->mapped[n / 64] |= BIT(n % 64);
	s->page[n] = gpa | (write ? MAY_WRITE : 0);
	bt->v->stats.bt_stack_pages++;
	return true;
}

/* The page at la as the TLB has it, which has one for reads at least. */
static bool map_known(struct bt *bt, struct bt_stack *s, uint64_t la)
{
	const struct bt_tlb *tlb = &bt->current->view->tlb[MMU_USER];
	unsigned i = (la >> PAGE_SHIFT) & (BT_TLB_ENTRIES - 1);
	uint64_t gpa = tlb->host[i] - (uint64_t)(uintptr_t)bt->v->ram->base;
	bool write = tlb->tag[1][i] == (la & PAGE_MASK);

	if (!write && tlb->tag[0][i] != (la & PAGE_MASK))
		return false;
	return ram_contains(bt->v->ram, gpa, PAGE_SIZE) && map_page(bt, s, (unsigned)((la - s->la) / PAGE_SIZE), gpa, write);
}

void bt_stack_close(struct bt *bt, struct bt_stack *s)
{
	if (!s->open)
		return;
	s->open = s->stale = false;
	s->ticks = s->refused = s->patience = 0;
	for (unsigned n = 0; n < ARRAY_SIZE(s->mapped); n++)
		s->mapped[n] = 0;
	bt->v->stats.bt_stack_closed++;
	/* Should the host refuse, what is mapped there stays out of use: so does the window. */
	if (mmap(s->base + BT_STACK_GUARD, BT_STACK_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
	    MAP_FAILED)
		s->patience = UINT16_MAX;
}

void bt_stack_free(struct bt_stack *s)
{
	if (s->base)
		munmap(s->base, RESERVED);
	s->base = NULL;
}

static bool reserve(struct bt_stack *s)
{
	void *p;

	if (s->base)
		return true;
	p = mmap(NULL, RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	s->base = p;
	return true;
}

/* Most of it below RSP, for stacks grow downwards. */
static void open_window(struct bt *bt)
{
	struct bt_stack *s = &bt->current->stack;
	uint64_t rsp = bt->v->s.gpr[R_SP];

	bt_stack_close(bt, s);
	if (s->patience == UINT16_MAX || !reserve(s))
		return;
	bt_jc_ready_stack(bt, bt->current);
	s->la = (rsp & PAGE_MASK) - BT_STACK_SIZE / 4 * 3;
	s->open = true;
	s->ticks = 0;
	bt->v->stats.bt_stack_opened++;
	map_known(bt, s, rsp - PAGE_SIZE);
	map_known(bt, s, rsp);
	map_known(bt, s, rsp + PAGE_SIZE);
}

/* -- What the guest has changed ------------------------------------------------------------------------------ */

static bool page_stands(struct bt *bt, uint64_t la, uint64_t page)
{
	struct vcpu *v = bt->v;
	const struct nested_page *nested;
	struct mmu_translation tr;

	if (mmu_walk_cached(&v->tlb->ps, v->tlb->pcid, &v->s, v->mem, v->cpuid->gpa_bits, la, ACCESS_READ, MMU_USER, &tr))
		return false;
	nested = nested_find(v->nested, tr.gpa);
	if (!nested->host || (tr.gpa & PAGE_MASK) != (page & PAGE_MASK))
		return false;
	return !(page & MAY_WRITE) || (tr.can_write && tr.dirty && nested_writable(nested));
}

static bool still_stands(struct bt *bt, const struct bt_stack *s)
{
	for (unsigned n = 0; n < BT_STACK_PAGES; n++)
		if (is_mapped(s, n) && !page_stands(bt, s->la + n * PAGE_SIZE, s->page[n]))
			return false;
	return true;
}

void bt_stack_drop_writes(struct bt *bt)
{
	const struct ram *r = bt->v->ram;

	for (unsigned k = 0; k < BT_WINDOWS; k++) {
		struct bt_stack *s = &bt->set[k].stack;

		for (unsigned n = 0; n < BT_STACK_PAGES && s->open; n++)
			if (is_mapped(s, n) && (s->page[n] & MAY_WRITE) && atomic_load(&r->flags[s->page[n] >> PAGE_SHIFT]))
				bt_stack_close(bt, s);
	}
}

/* -- Use ------------------------------------------------------------------------------------------------------- */

static bool is_inside(const struct bt *bt, const struct bt_stack *s)
{
	return s->open && bt->v->s.gpr[R_SP] - s->la < BT_STACK_SIZE;
}

bool bt_stack_usable(struct bt *bt)
{
	struct bt_stack *s = &bt->current->stack;

	if (bt->v->group->stack_window == STACK_WINDOW_ALWAYS && !is_inside(bt, s))
		open_window(bt);
	if (!is_inside(bt, s))
		return false;
	if (s->stale && !still_stands(bt, s)) {
		bt_stack_close(bt, s);
		return false;
	}
	s->stale = false;
	s->ticks = 0;
	bt->group[BT_STACK_GROUP] = (uint64_t)(uintptr_t)s->base + BT_STACK_GUARD - s->la;
	bt->stack_minus_la = 0 - s->la;
	return true;
}

void bt_tick(struct bt *bt)
{
	struct bt_stack *s = &bt->current->stack;

	bt_loop_tick(bt);
	if (bt->v->s.cpl != 3 || !x86_64bit(&bt->v->s) || bt->v->group->stack_window == STACK_WINDOW_NEVER || bt_stack_usable(bt))
		return;
	if (++s->ticks >= MAX(s->patience, PATIENCE))
		open_window(bt);
}

/* Faults in the guards are for nothing, too. */
bool bt_stack_map(struct bt *bt, bool write)
{
	struct bt_stack *s = &bt->current->stack;
	uint64_t off = bt->stack_fault - (uint64_t)(uintptr_t)s->base - BT_STACK_GUARD, la = s->la + off;
	uint32_t err;

	if (off < BT_STACK_SIZE && bt_tlb_fill(bt, la, 1, write, MMU_USER, &err) == BT_FILLED && map_known(bt, s, la))
		return true;
	if (++s->refused >= MAX_REFUSED) {
		bt_stack_close(bt, s);
		s->patience = AFTER_THOSE;
	}
	return false;
}
