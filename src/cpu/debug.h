/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A debugger outside of the guest: breakpoints, watchpoints and steps that the guest does not see.
 *
 * Breakpoints are linear addresses in a table beside the vCPUs; no byte of the guest is changed. The translator ends its blocks
 * in front of them and comes out there; the reference looks at every instruction. While there are watchpoints, the reference
 * executes everything. A vCPU that meets one comes back from run() with EXIT_DEBUG and waits to be paused.
 */
#ifndef DOPPEL_CPU_DEBUG_H
#define DOPPEL_CPU_DEBUG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cpu/engine.h"

struct vcpu;
struct vcpu_group;

#define DEBUG_MAX_BREAKPOINTS 256
#define DEBUG_MAX_WATCHPOINTS 16

enum debug_access { DEBUG_WRITE = 1, DEBUG_READ = 2, DEBUG_ACCESS = 3 };

struct debug_watchpoint {
	uint64_t la, len;
	enum debug_access access;
};

/* Of all vCPUs; changed only while they stand still. */
struct debug_points {
	uint64_t breakpoint[DEBUG_MAX_BREAKPOINTS];
	unsigned n_breakpoints;
	struct debug_watchpoint watchpoint[DEBUG_MAX_WATCHPOINTS];
	unsigned n_watchpoints;
};

enum debug_stop { DEBUG_NO_STOP, DEBUG_STEPPED, DEBUG_AT_BREAKPOINT, DEBUG_WATCHED };

/* One vCPU's. */
struct vcpu_debug {
	bool step;            /* execute one instruction, with interrupts held back, then EXIT_DEBUG */
	bool watching;        /* there are watchpoints */
	unsigned written;     /* SYNC_ groups of v->s that a debugger has changed: the engine hears of them before it goes on */
	enum debug_stop stop; /* why the last EXIT_DEBUG; whoever lets it go on clears it */
	struct debug_watchpoint hit; /* DEBUG_WATCHED: the watchpoint */
};

/* Add or remove; the vCPUs stand still. 0, -ENOSPC, -ENOENT. Adding what is there is fine. */
int debug_add_breakpoint(struct vcpu_group *g, uint64_t la);
int debug_remove_breakpoint(struct vcpu_group *g, uint64_t la);
int debug_add_watchpoint(struct vcpu_group *g, const struct debug_watchpoint *w);
int debug_remove_watchpoint(struct vcpu_group *g, const struct debug_watchpoint *w);
void debug_clear(struct vcpu_group *g); /* all of them, and steps that were asked for */

bool debug_breakpoint_at(const struct vcpu_group *g, uint64_t la);

/* Linear address of the next instruction. */
uint64_t debug_pc(const struct vcpu *v);

/* The vCPU is about to execute the instruction at debug_pc(): true, with the reason noted, if there is a breakpoint. */
bool debug_stops_here(struct vcpu *v);

/* The reference has accessed [la, la + len). */
void debug_note_access(struct vcpu *v, uint64_t la, unsigned len, bool write);

/* In place of the engine's run(), when debug_takes_over(): by the reference, one instruction after the other. */
bool debug_takes_over(const struct vcpu *v);
enum vcpu_exit debug_run(struct vcpu *v);

/*
 * Memory at a linear address, by the page tables of v, which stands still; protection does not matter, nothing is marked as
 * accessed. Device memory is not touched: it reads as unmapped. Returns how many bytes it could, from the first one on.
 */
size_t debug_read_memory(const struct vcpu *v, uint64_t la, void *buf, size_t len);
size_t debug_write_memory(struct vcpu *v, uint64_t la, const void *buf, size_t len);

#endif
