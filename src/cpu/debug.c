/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A debugger outside of the guest: its points, stepping, and memory by linear address. */
#include <errno.h>

#include "cpu/interp/interp.h"
#include "mmu/walk.h"

/* -- Points ------------------------------------------------------------------------------------------------ */

static void tell_engines(struct vcpu_group *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		struct vcpu *v = g->v[i];

		v->debug.watching = g->points.n_watchpoints != 0;
		if (v->engine->breakpoints_changed)
			v->engine->breakpoints_changed(v);
	}
}

static unsigned find_breakpoint(const struct debug_points *p, uint64_t la)
{
	unsigned n = 0;

	while (n < p->n_breakpoints && p->breakpoint[n] != la)
		n++;
	return n;
}

bool debug_breakpoint_at(const struct vcpu_group *g, uint64_t la)
{
	return find_breakpoint(&g->points, la) < g->points.n_breakpoints;
}

int debug_add_breakpoint(struct vcpu_group *g, uint64_t la)
{
	struct debug_points *p = &g->points;

	if (debug_breakpoint_at(g, la))
		return 0;
	if (p->n_breakpoints == DEBUG_MAX_BREAKPOINTS)
		return -ENOSPC;
	p->breakpoint[p->n_breakpoints++] = la;
	tell_engines(g);
	return 0;
}

int debug_remove_breakpoint(struct vcpu_group *g, uint64_t la)
{
	struct debug_points *p = &g->points;
	unsigned n = find_breakpoint(p, la);

	if (n == p->n_breakpoints)
		return -ENOENT;
	p->breakpoint[n] = p->breakpoint[--p->n_breakpoints];
	tell_engines(g);
	return 0;
}

static unsigned find_watchpoint(const struct debug_points *p, const struct debug_watchpoint *w)
{
	unsigned n = 0;

	while (n < p->n_watchpoints && (p->watchpoint[n].la != w->la || p->watchpoint[n].len != w->len ||
					p->watchpoint[n].access != w->access))
		n++;
	return n;
}

int debug_add_watchpoint(struct vcpu_group *g, const struct debug_watchpoint *w)
{
	struct debug_points *p = &g->points;

	if (find_watchpoint(p, w) < p->n_watchpoints)
		return 0;
	if (p->n_watchpoints == DEBUG_MAX_WATCHPOINTS)
		return -ENOSPC;
	p->watchpoint[p->n_watchpoints++] = *w;
	tell_engines(g);
	return 0;
}

int debug_remove_watchpoint(struct vcpu_group *g, const struct debug_watchpoint *w)
{
	struct debug_points *p = &g->points;
	unsigned n = find_watchpoint(p, w);

	if (n == p->n_watchpoints)
		return -ENOENT;
	p->watchpoint[n] = p->watchpoint[--p->n_watchpoints];
	tell_engines(g);
	return 0;
}

void debug_clear(struct vcpu_group *g)
{
	g->points.n_breakpoints = g->points.n_watchpoints = 0;
	tell_engines(g);
	for (unsigned i = 0; i < g->n; i++) {
		g->v[i]->debug.step = false;
		g->v[i]->debug.stop = DEBUG_NO_STOP;
	}
}

void debug_note_access(struct vcpu *v, uint64_t la, unsigned len, bool write)
{
	const struct debug_points *p = &v->group->points;

	for (unsigned n = 0; n < p->n_watchpoints; n++) {
		const struct debug_watchpoint *w = &p->watchpoint[n];

		if (!(w->access & (write ? DEBUG_WRITE : DEBUG_READ)) || !(la - w->la < w->len || w->la - la < len))
			continue;
		v->debug.stop = DEBUG_WATCHED;
		v->debug.hit = *w;
	}
}

/* -- Running ------------------------------------------------------------------------------------------------- */

uint64_t debug_pc(const struct vcpu *v)
{
	const struct x86_state *s = &v->s;

	if (x86_64bit(s))
		return s->rip;
	return (uint32_t)(s->seg[SEG_CS].base + s->rip);
}

bool debug_stops_here(struct vcpu *v)
{
	if (!v->group->points.n_breakpoints || v->s.activity != ACT_RUNNING || !debug_breakpoint_at(v->group, debug_pc(v)))
		return false;
	v->debug.stop = DEBUG_AT_BREAKPOINT;
	return true;
}

bool debug_takes_over(const struct vcpu *v)
{
	return v->debug.step || v->debug.watching || (v->group->points.n_breakpoints && !v->engine->breakpoints_changed);
}

/*
 * One instruction. Interrupts wait, as the person who steps wants to see the next line, not the timer's handler: the shadow of an
 * STI does that and ends with the instruction.
 */
static enum vcpu_exit step_quietly(struct vcpu *v)
{
	bool held = v->s.activity == ACT_RUNNING && v->s.shadow == SHADOW_NONE;
	enum vcpu_exit ex;

	v->debug.step = false;
	if (held)
		v->s.shadow = SHADOW_STI;
	ex = interp_step(v);
	if (v->debug.stop == DEBUG_NO_STOP)
		v->debug.stop = DEBUG_STEPPED;
	return ex == EXIT_SHUTDOWN || ex == EXIT_INTERNAL ? ex : EXIT_DEBUG;
}

static enum vcpu_exit go_by_reference(struct vcpu *v)
{
	enum vcpu_exit ex;

	if (v->debug.step)
		return step_quietly(v);
	for (;;) {
		if (atomic_load(&v->work) & WORK_EXIT)
			return EXIT_KICKED;
		if (debug_stops_here(v))
			return EXIT_DEBUG;
		ex = interp_step(v);
		if (v->debug.stop == DEBUG_WATCHED)
			return EXIT_DEBUG;
		if (ex != EXIT_KICKED)
			return ex;
	}
}

enum vcpu_exit debug_run(struct vcpu *v)
{
	enum vcpu_exit ex;

	if (v->engine->sync_out)
		v->engine->sync_out(v, SYNC_ALL);
	ex = go_by_reference(v);
	if (v->engine->sync_in)
		v->engine->sync_in(v, SYNC_ALL);
	return ex;
}

/* -- Memory --------------------------------------------------------------------------------------------------- */

/* The guest-physical address of la, and how much of [la, la + len) lies in its page; 0: it is not RAM. */
static size_t find_piece(const struct vcpu *v, uint64_t la, size_t len, uint64_t *gpa)
{
	size_t left = PAGE_SIZE - (la & (PAGE_SIZE - 1));

	if (!x86_long_mode(&v->s))
		la = (uint32_t)la;
	len = MIN(len, left);
	if (!mmu_translate_debug(&v->s, v->mem, v->cpuid->gpa_bits, la, gpa))
		return 0;
	return ram_contains(v->ram, *gpa, len) ? len : 0;
}

size_t debug_read_memory(const struct vcpu *v, uint64_t la, void *buf, size_t len)
{
	size_t done = 0, n;
	uint64_t gpa;

	while (done < len && (n = find_piece(v, la + done, len - done, &gpa))) {
		if (space_dma_read(v->mem, gpa, (uint8_t *)buf + done, n))
			break;
		done += n;
	}
	return done;
}

size_t debug_write_memory(struct vcpu *v, uint64_t la, const void *buf, size_t len)
{
	size_t done = 0, n;
	uint64_t gpa;

	while (done < len && (n = find_piece(v, la + done, len - done, &gpa))) {
		if (space_dma_write(v->mem, gpa, (const uint8_t *)buf + done, n))
			break;
		done += n;
	}
	return done;
}
