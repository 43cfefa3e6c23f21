/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lockstep: after each block of the fast engine the reference executes the same instructions from the same state, and
 * registers, stores and I/O are compared. docs/lockstep.md says how what is not determined is handled.
 *
 * 1. The engine runs one turn: a block, or one step of the reference (struct vcpu_turn). Reads of devices and
 *    of the time stamp counter, and interrupts, are recorded (lockstep_io.c).
 * 2. What devices have stored meanwhile is copied to the reference's RAM.
 * 3. The reference, a vCPU with RAM of its own, makes as many steps; its I/O comes from the record.
 * 4. A bits of page tables are the engine's: TLBs of different sizes set them at different times.
 * 5. State is compared, and RAM where the reference has stored; all of RAM now and then.
 */
#include "cpu/lockstep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/interp/interp.h"
#include "cpu/lockstep_int.h"

#define PTE_ACCESSED   BIT(5)
#define PTE_DIRTY      BIT(6)
#define FPU_EVERY      16          /* turns between two comparisons of the vector registers */
#define RAM_EVERY      (1u << 22)  /* turns between two comparisons of all RAM */

/* -- Lists of ranges ------------------------------------------------------------------------------------- */

bool ranges_add(struct ranges *r, uint64_t gpa, uint64_t len)
{
	if (r->n == r->room) {
		unsigned room = MAX(64u, r->room * 2);
		struct range *more = realloc(r->r, room * sizeof(*more));

		if (!more)
			return false;
		r->r = more;
		r->room = room;
	}
	r->r[r->n++] = (struct range){ gpa, len };
	return true;
}

/* -- Stores, as they happen --------------------------------------------------------------------------------- */

static void engine_updated(void *opaque, uint64_t gpa, uint64_t len, enum ram_updater by)
{
	struct lockstep *ls = opaque;

	if (by == RAM_BY_WALK) {
		ls->stale |= !ranges_add(&ls->walks, gpa, len);
		return;
	}
	lock_take(&ls->lock);
	ls->lost |= !ranges_add(&ls->updates, gpa, len);
	lock_drop(&ls->lock);
}

static void shadow_updated(void *opaque, uint64_t gpa, uint64_t len, enum ram_updater by)
{
	struct lockstep *ls = opaque;

	if (by == RAM_BY_WALK)
		ls->stale |= !ranges_add(&ls->walks, gpa, len);
}

static void shadow_stored(void *opaque, uint64_t gpa, uint64_t len)
{
	struct lockstep *ls = opaque;

	ls->stale |= !ranges_add(&ls->stores, gpa, len);
}

/* -- All of RAM ------------------------------------------------------------------------------------------------ */

static uint8_t *engine_ram(const struct lockstep *ls, uint64_t gpa)
{
	return ls->v->ram->base + gpa;
}

static uint8_t *shadow_ram(const struct lockstep *ls, uint64_t gpa)
{
	return ls->group.ram->base + gpa;
}

static uint64_t gpa_of_offset(const struct ram *r, uint64_t off)
{
	return off < r->low_size ? off : off - r->low_size + (1ull << 32);
}

/* The next bytes of a RAM's memory file that have ever been written, from *off on; false: none. */
static bool next_data(const struct ram *r, uint64_t *off, uint64_t *end)
{
	off_t data = lseek(r->memfd, (off_t)*off, SEEK_DATA), hole;

	if (data < 0 || (uint64_t)data >= ram_size(r))
		return false;
	hole = lseek(r->memfd, data, SEEK_HOLE);
	*off = (uint64_t)data;
	*end = hole < 0 ? ram_size(r) : MIN((uint64_t)hole, ram_size(r));
	if (*off < r->low_size)
		*end = MIN(*end, r->low_size);
	return true;
}

static void copy_ram(struct lockstep *ls)
{
	struct ram *to = ls->group.ram;
	uint64_t off = 0, end;

	madvise(to->base, to->low_size, MADV_REMOVE);
	if (to->high_size)
		madvise(to->base + (1ull << 32), to->high_size, MADV_REMOVE);
	for (; next_data(ls->v->ram, &off, &end); off = end) {
		uint64_t gpa = gpa_of_offset(to, off);

		memcpy(shadow_ram(ls, gpa), engine_ram(ls, gpa), end - off);
	}
	/* The reference's decoded instructions are stale. */
	for (uint64_t gpa = 0; gpa < to->end; gpa += PAGE_SIZE)
		if (atomic_load(&to->flags[gpa >> PAGE_SHIFT]) & RAM_PAGE_CODE)
			ram_written(to, gpa, PAGE_SIZE);
	ls->stores.n = 0;
}

static void compare_pages(struct lockstep *ls, const struct ram *of, struct strbuf *out)
{
	for (uint64_t off = 0, end; !out->len && next_data(of, &off, &end); off = end)
		for (uint64_t gpa = gpa_of_offset(of, off), last = gpa + end - off; gpa < last && !out->len; gpa += PAGE_SIZE) {
			const uint64_t *a = (const uint64_t *)(const void *)engine_ram(ls, gpa);
			const uint64_t *b = (const uint64_t *)(const void *)shadow_ram(ls, gpa);

			for (unsigned i = 0; i < PAGE_SIZE / 8 && !out->len && memcmp(a, b, PAGE_SIZE); i++)
				if (a[i] != b[i])
					strbuf_addf(out, "  RAM %#llx        engine %016llx  reference %016llx\n",
						    (unsigned long long)(gpa + i * 8), (unsigned long long)a[i],
						    (unsigned long long)b[i]);
		}
}

static void compare_all_ram(struct lockstep *ls, struct strbuf *out)
{
	compare_pages(ls, ls->v->ram, out);
	compare_pages(ls, ls->group.ram, out);
}

/* -- The reference begins anew --------------------------------------------------------------------------------------- */

/* The map of memory has changed: the reference's is made after it. */
static void follow_map(struct lockstep *ls)
{
	struct space *mem = space_shadow(ls->v->mem, ls->group.ram);

	if (!mem)
		BUG("out of memory for lockstep's memory map");
	if (ls->group.mem)
		space_free(ls->group.mem);
	ls->group.mem = ls->shadow->mem = mem;
	tlb_flush_all(ls->shadow->tlb);
}

static void begin_anew(struct lockstep *ls)
{
	struct vcpu *v = ls->v, *s = ls->shadow;

	ls->stale = false;
	ls->loose_flags = 0;
	ls->resyncs++;
	if (v->engine->sync_out)
		v->engine->sync_out(v, SYNC_ALL);
	lock_take(&ls->lock);
	ls->updates.n = 0;
	ls->lost = false;
	lock_drop(&ls->lock);
	copy_ram(ls);
	follow_map(ls);
	s->s = v->s;
	s->tlb->pcid = v->tlb->pcid;
	interp_mode_changed(s);
}

void lockstep_resync(struct lockstep *ls)
{
	ls->stale = true;
}

/* -- One turn -------------------------------------------------------------------------------------------------------- */

/* Copy to the reference what devices have stored, and forget it. Returns whether there was any. */
static bool take_updates(struct lockstep *ls)
{
	bool any;

	lock_take(&ls->lock);
	any = ls->updates.n || ls->lost;
	ls->stale |= ls->lost;
	for (unsigned i = 0; i < ls->updates.n; i++) {
		const struct range *r = &ls->updates.r[i];

		if (!ram_contains(ls->group.ram, r->gpa, r->len))
			continue;
		memcpy(shadow_ram(ls, r->gpa), engine_ram(ls, r->gpa), r->len);
		ram_note_write(ls->group.ram, r->gpa, r->len);
	}
	ls->updates.n = 0;
	lock_drop(&ls->lock);
	return any;
}

/*
 * Both engines have set A bits; where only those differ, the engine's count. So does its D bit where an instruction was found
 * to fault after its memory was looked at (alignment of 16 bytes).
 */
static void settle_accessed_bits(struct lockstep *ls)
{
	uint64_t differ = PTE_ACCESSED | (ls->turn.n && !ls->turn.left ? PTE_DIRTY : 0);

	for (unsigned i = 0; i < ls->walks.n; i++) {
		const struct range *r = &ls->walks.r[i];
		uint64_t a = 0, b = 0;

		if (!ram_contains(ls->group.ram, r->gpa, r->len))
			continue;
		memcpy(&a, engine_ram(ls, r->gpa), r->len);
		memcpy(&b, shadow_ram(ls, r->gpa), r->len);
		if (a == b || ((a ^ b) & ~differ))
			continue;
		memcpy(shadow_ram(ls, r->gpa), &a, r->len);
		ram_note_write(ls->group.ram, r->gpa, r->len);
		ls->accessed_bits++;
	}
	ls->walks.n = 0;
}

static void adopt_flags(struct lockstep *ls, uint64_t rflags, uint64_t mask)
{
	struct x86_state *s = &ls->shadow->s;

	ls->dead_flags += ((s->rflags ^ rflags) & mask) != 0;
	s->rflags = (s->rflags & ~mask) | (rflags & mask);
}

/* Where the bits of an image of RFLAGS stand in a store: one over a page's end is two stores. */
static uint64_t flag_bits_of_store(const struct ranges *stores, unsigned i, uint64_t mask)
{
	const struct range *r = &stores->r[i], *before = r - 1;

	if (i && !(r->gpa & (PAGE_SIZE - 1)) && !((before->gpa + before->len) & (PAGE_SIZE - 1)) && before->len + r->len <= 8)
		return mask >> 8 * before->len;
	if (r->len == 1 && (r->gpa & (PAGE_SIZE - 1)) != PAGE_SIZE - 1)
		return 0; /* no image is that small */
	return r->len <= 8 ? mask : 0;
}

/* What the reference has stored where the two differ in nothing but those flags: an image of RFLAGS. */
static void adopt_flag_images(struct lockstep *ls, uint64_t mask)
{
	for (unsigned i = 0; i < ls->stores.n; i++) {
		const struct range *r = &ls->stores.r[i];
		uint64_t bits = flag_bits_of_store(&ls->stores, i, mask), x = 0, y = 0;

		if (!bits)
			continue;
		memcpy(&x, engine_ram(ls, r->gpa), r->len);
		memcpy(&y, shadow_ram(ls, r->gpa), r->len);
		if (x != y && !((x ^ y) & ~bits))
			memcpy(shadow_ram(ls, r->gpa), &x, r->len);
	}
}

/*
 * Flags that may differ, of three kinds (docs/lockstep.md). Undefined ones become the engine's. Dead ones may differ until they
 * are set; the reference keeps the right ones. And where an exception in the middle of a block has pushed dead ones, or
 * before a step that may push them, they become the engine's.
 */
static void settle_flags(struct lockstep *ls, unsigned steps)
{
	const struct vcpu_turn *t = &ls->turn;
	uint64_t any = 0;
	unsigned last = MIN(steps, t->n) - 1;

	if (t->flags_dead && !t->left) {
		adopt_flags(ls, ls->v->s.rflags, FL_ARITH);
		adopt_flag_images(ls, FL_ARITH);
		ls->loose_flags = 0;
		return;
	}
	if (t->n && !steps) /* left by its first check */
		ls->loose_flags = FL_ARITH;
	if (!t->n || !steps)
		return;
	for (unsigned i = 0; i <= last; i++)
		any |= t->undefined[i];
	adopt_flags(ls, ls->v->s.rflags, t->undefined[last]);
	if (any)
		adopt_flag_images(ls, any);
	ls->loose_flags = t->flags_dead ? FL_ARITH : t->dead[last] | (ls->loose_flags & t->kept[last]);
}

static void compare_stores(struct lockstep *ls, struct strbuf *out)
{
	for (unsigned i = 0; i < ls->stores.n; i++) {
		const struct range *r = &ls->stores.r[i];
		uint64_t at = r->gpa & ~7ull;

		if (!memcmp(engine_ram(ls, r->gpa), shadow_ram(ls, r->gpa), r->len))
			continue;
		for (; at < r->gpa + r->len; at += 8) {
			uint64_t a, b;

			memcpy(&a, engine_ram(ls, at), 8);
			memcpy(&b, shadow_ram(ls, at), 8);
			if (a != b) {
				strbuf_addf(out, "  RAM %#-16llx engine %016llx  reference %016llx\n", (unsigned long long)at,
					    (unsigned long long)a, (unsigned long long)b);
				break;
			}
		}
	}
	ls->stores.n = 0;
}

static void note_history(struct lockstep *ls)
{
	unsigned i = (unsigned)(ls->insns++ % LOCKSTEP_HISTORY);

	ls->history[i].rip = ls->shadow->s.rip;
	ls->history[i].turn = ls->turns;
}

/* Let the reference go as far as the engine has gone. nmi: that was the last thing the engine did. */
static enum vcpu_exit follow(struct lockstep *ls, bool nmi)
{
	const struct vcpu_turn *turn = &ls->turn;
	unsigned steps = turn->left ? turn->n : turn->steps;
	struct vcpu *s = ls->shadow;
	enum vcpu_exit ex = EXIT_KICKED;

	ls->io_flags = turn->flags_dead && !turn->left ? FL_ARITH : 0;
	for (unsigned i = 0; i < steps; i++) {
		/* Events are taken by the reference, whichever it is, which is always the last step of a turn. */
		if (!turn->left && i == steps - 1)
			atomic_fetch_or(&s->work, (lockstep_next_is_interrupt(ls) ? WORK_INTR : 0) | (nmi ? WORK_NMI : 0));
		note_history(ls);
		ex = interp_step(s);
		if (turn->left && i + 1 < steps && s->s.rip != turn->rip[i + 1])
			break;
	}
	atomic_store(&s->work, 0);
	return ex;
}

static bool compare_turn(struct lockstep *ls, enum vcpu_exit ex, enum vcpu_exit shadow_ex, struct strbuf *out)
{
	bool fpu = ++ls->since_fpu >= FPU_EVERY || ex != EXIT_KICKED;

	settle_accessed_bits(ls);
	settle_flags(ls, (unsigned)(ls->insns - ls->insns_before));
	if (fpu) {
		ls->since_fpu = 0;
		if (ls->v->engine->sync_out)
			ls->v->engine->sync_out(ls->v, SYNC_FPU);
	}
	lockstep_compare_state(ls, fpu, out);
	compare_stores(ls, out);
	if (!ls->io_difference[0] && ls->rec.next < ls->rec.n)
		strbuf_addf(out, "  I/O: %u accesses of the engine that the reference did not make\n", ls->rec.n - ls->rec.next);
	if (ls->io_difference[0])
		strbuf_addf(out, "  I/O: %s\n", ls->io_difference);
	if ((ex == EXIT_SHUTDOWN) != (shadow_ex == EXIT_SHUTDOWN))
		strbuf_addf(out, "  triple fault: the %s only\n", ex == EXIT_SHUTDOWN ? "engine" : "reference");
	if (!out->len && (ex != EXIT_KICKED || !(ls->turns % RAM_EVERY)))
		compare_all_ram(ls, out);
	return !out->len;
}

static enum vcpu_exit turn(struct lockstep *ls)
{
	struct vcpu *v = ls->v;
	uint32_t work = atomic_load(&v->work), left;
	struct strbuf what = STRBUF_INIT;
	enum vcpu_exit ex, shadow_ex;
	bool nmi, updated;
	uint64_t rflags;

	if (work & WORK_TLB)
		follow_map(ls);
	ls->rec.n = ls->rec.next = 0;
	ls->turn_rip = v->s.rip;
	rflags = v->s.rflags;
	ls->in_turn = true;
	ex = v->engine->run(v);
	ls->in_turn = false;
	ls->turns++;
	left = atomic_load(&v->work);
	/* Reset by INIT, started by SIPI, or a string instruction broken off: the reference goes on from there. */
	ls->stale |= (work & ~left & (WORK_INIT | WORK_SIPI)) || (left & WORK_EXIT);
	updated = take_updates(ls);
	if (ls->stale)
		return ex;
	nmi = (work & ~left & WORK_NMI) != 0;
	if (!ls->turn.n) { /* a step from where a block has left dead flags */
		adopt_flags(ls, rflags, ls->loose_flags);
		ls->loose_flags = 0;
	}
	ls->insns_before = ls->insns;
	shadow_ex = follow(ls, nmi);
	updated |= take_updates(ls);
	if (!compare_turn(ls, ex, shadow_ex, &what)) {
		if (updated) {
			ls->stale = true;
		} else {
			lockstep_write_report(ls, &what);
			ex = EXIT_INTERNAL;
		}
	}
	ls->io_difference[0] = 0;
	strbuf_release(&what);
	return ex;
}

void lockstep_limit(struct lockstep *ls, uint64_t turns)
{
	ls->limit = turns;
}

enum vcpu_exit lockstep_run(struct lockstep *ls)
{
	const uint64_t first = ls->turns;
	enum vcpu_exit ex;

	if (ls->report.len)
		return EXIT_INTERNAL;
	do {
		if (ls->stale)
			begin_anew(ls);
		ex = turn(ls);
	} while (ex == EXIT_KICKED && !(atomic_load(&ls->v->work) & WORK_EXIT) &&
		 (!ls->limit || ls->turns - first < ls->limit));
	return ex;
}

/* -- Life ------------------------------------------------------------------------------------------------------------------ */

int lockstep_new(struct vcpu *v, struct err *e)
{
	struct lockstep *ls;
	int rc;

	if (v->engine == &interp_engine)
		return err_set(e, EINVAL, "lockstep: engine 'interp' is the reference itself; compare another: --engine bt");
	ls = calloc(1, sizeof(*ls));
	if (!ls)
		return err_set(e, ENOMEM, "lockstep: out of memory");
	v->lockstep = ls;
	ls->v = v;
	ls->stale = true;
	lock_init(&ls->lock, RANK_LEAF);
	ls->group = (struct vcpu_group){ .v = ls->shadows, .clock = v->clock, .cpuid = v->cpuid };
	ls->tracer = (struct ram_tracer){ .updated = engine_updated, .opaque = ls };
	ls->shadow_tracer = (struct ram_tracer){ .updated = shadow_updated, .stored = shadow_stored, .opaque = ls };
	rc = ram_new(&ls->group.ram, ram_size(v->ram), e);
	if (!rc)
		rc = vcpu_new(&ls->shadow, &ls->group, v->index, &interp_engine, e);
	if (!rc)
		rc = lockstep_io_init(ls, e);
	if (rc) {
		lockstep_free(v);
		return rc;
	}
	ls->shadows[0] = ls->shadow;
	ls->group.n = 1;
	ls->shadow->lockstep = ls;
	v->turn = ls->shadow->turn = &ls->turn;
	ram_trace(v->ram, &ls->tracer, false);
	ram_trace(ls->group.ram, &ls->shadow_tracer, true);
	return 0;
}

void lockstep_free(struct vcpu *v)
{
	struct lockstep *ls = v->lockstep;

	if (!ls)
		return;
	v->lockstep = NULL;
	v->turn = NULL;
	v->ram->tracer = NULL;
	lockstep_io_release(ls);
	if (ls->shadow)
		ls->shadow->lockstep = NULL;
	vcpu_free(ls->shadow);
	if (ls->group.mem)
		space_free(ls->group.mem);
	if (ls->group.ram)
		ram_free(ls->group.ram);
	free(ls->stores.r);
	free(ls->walks.r);
	free(ls->updates.r);
	lock_release(&ls->lock);
	strbuf_release(&ls->report);
	free(ls);
}

const char *lockstep_report(const struct lockstep *ls)
{
	return ls->report.len ? ls->report.buf : "";
}

void lockstep_print_stats(const struct lockstep *ls, struct strbuf *out)
{
	strbuf_addf(out, "lockstep.turns            %14llu  blocks and single steps compared\n", (unsigned long long)ls->turns);
	strbuf_addf(out, "lockstep.instructions     %14llu  instructions of the reference\n", (unsigned long long)ls->insns);
	strbuf_addf(out, "lockstep.resyncs          %14llu  fresh starts of the reference, the first one included\n",
		    (unsigned long long)ls->resyncs);
	strbuf_addf(out, "lockstep.accessed_bits    %14llu  A bits of page tables that only one had set\n",
		    (unsigned long long)ls->accessed_bits);
	strbuf_addf(out, "lockstep.dead_flags       %14llu  faults at which dead flags differed\n",
		    (unsigned long long)ls->dead_flags);
}
