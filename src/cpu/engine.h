/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one interface behind which every way of running guest code stands. */
#ifndef DOPPEL_CPU_ENGINE_H
#define DOPPEL_CPU_ENGINE_H

#include <stdint.h>
#include "base/err.h"

struct strbuf;
struct vcpu;

/* Why run() came back. Guest I/O is done inside of run(), by space_read/space_write. */
enum vcpu_exit {
	EXIT_KICKED,   /* WORK_EXIT is set in the pending-work word */
	EXIT_HALTED,   /* activity is ACT_HALTED and nothing wakes it yet */
	EXIT_SHUTDOWN, /* triple fault */
	EXIT_DEBUG,    /* a debugger's breakpoint, watchpoint or step: see vcpu->debug */
	EXIT_INTERNAL, /* the engine cannot go on; it has logged why */
};

/* Groups of vCPU state, for sync_out/sync_in. */
enum {
	SYNC_GPR = 1 << 0, /* gpr, rip, rflags */
	SYNC_SEG = 1 << 1, /* segments, descriptor tables, cpl */
	SYNC_CR = 1 << 2,  /* control registers, EFER, PDPTEs */
	SYNC_DR = 1 << 3,
	SYNC_MSR = 1 << 4,
	SYNC_FPU = 1 << 5, /* x87 to AVX-512, XCR0 */
	SYNC_EVENT = 1 << 6, /* shadow, nmi_blocked, activity */
	SYNC_ALL = (1 << 7) - 1,
};

/*
 * All calls for one vCPU are made on that vCPU's thread, but for kick, code_changed and
 * memory_changed, which come from any thread. Slots that an engine does not need are NULL.
 */
struct engine_ops {
	const char *name;
	const char *summary; /* for `doppel doctor` */
	int (*init)(struct vcpu *v, struct err *e);
	/* Run guest code until there is a reason to come back; takes pending events itself. */
	enum vcpu_exit (*run)(struct vcpu *v);
	/* A bit of the pending-work word was set: make run() look at it soon. */
	void (*kick)(struct vcpu *v);
	/* Bring the named groups of vcpu->s up to date / say that they were changed. */
	void (*sync_out)(struct vcpu *v, unsigned groups);
	void (*sync_in)(struct vcpu *v, unsigned groups);
	void (*tlb_flush)(struct vcpu *v);
	void (*code_changed)(struct vcpu *v, uint64_t gpa, uint64_t len);
	void (*memory_changed)(struct vcpu *v); /* the map of the memory space changed */
	/* A debugger changed its breakpoints (cpu/debug.h), which run() heeds; all vCPUs stand still. NULL: it heeds none. */
	void (*breakpoints_changed)(struct vcpu *v);
	void (*destroy)(struct vcpu *v);
	void (*print_stats)(struct vcpu *v, struct strbuf *out); /* lines beside those of cpu/stats.h */
	/* What the engine has made of the code at rip, as text, for reports of lockstep. */
	void (*dump_block)(struct vcpu *v, uint64_t rip, struct strbuf *out);
};

extern const struct engine_ops interp_engine;

#endif
