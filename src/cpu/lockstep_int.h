/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of lockstep share; nobody else includes this. */
#ifndef DOPPEL_CPU_LOCKSTEP_INT_H
#define DOPPEL_CPU_LOCKSTEP_INT_H

#include "base/lock.h"
#include "cpu/lockstep.h"

/* What the engine's vCPU met that the reference cannot find out for itself, in order. */
enum record_kind { REC_IN, REC_OUT, REC_MMIO_READ, REC_MMIO_WRITE, REC_TSC, REC_ACK, REC_TPR_READ, REC_TPR_WRITE, REC_RDMSR,
		   REC_WRMSR };

struct record {
	uint8_t kind; /* enum record_kind */
	uint8_t size;
	bool ok;      /* of an MSR */
	uint64_t addr, val;
};

struct records {
	struct record *r;
	unsigned n, room, next; /* next: the first that the reference has not met yet */
};

struct range {
	uint64_t gpa, len;
};

struct ranges {
	struct range *r;
	unsigned n, room;
};

#define LOCKSTEP_HISTORY 32 /* instructions that a report shows */

struct lockstep {
	struct vcpu *v, *shadow;
	struct vcpu_group group; /* the shadow's */
	struct vcpu *shadows[1];
	struct vcpu_turn turn;
	struct cpu_intc intc;    /* the engine's real one */
	struct space *pio, *pio_tap; /* the same of its ports, and what stands in their place */
	struct ram_tracer tracer, shadow_tracer;

	bool in_turn;            /* the engine runs: record */
	bool stale;              /* the reference begins anew from the engine's state */
	struct records rec;
	char io_difference[160]; /* the reference did other I/O; empty: no */
	struct ranges stores;    /* the reference's in this turn */
	struct ranges walks;     /* A and D bits that either has set in this turn */
	struct lock lock;        /* guards updates and lost */
	struct ranges updates;   /* by devices */
	bool lost;               /* some of those could not be noted */

	struct {
		uint64_t rip;
		uint64_t turn;
	} history[LOCKSTEP_HISTORY]; /* a ring: what the reference executed last */
	uint64_t insns_before;   /* value of insns before the turn */
	uint64_t turns, insns, resyncs, dead_flags, accessed_bits;
	uint64_t limit;          /* turns of one run; 0: any number */
	uint64_t io_flags;       /* bits of what is written to a device that may differ: an image of dead flags may be among it */
	uint64_t loose_flags;    /* arithmetic flags that may differ now: dead ones */
	unsigned since_fpu;      /* turns since the vector registers were compared */
	uint64_t turn_rip;       /* where the turn began */
	struct strbuf report;
};

/* lockstep_io.c: stand between the vCPUs and the world. */
int lockstep_io_init(struct lockstep *ls, struct err *e);
void lockstep_io_release(struct lockstep *ls);
/* The next record is an interrupt's vector. */
bool lockstep_next_is_interrupt(const struct lockstep *ls);

bool ranges_add(struct ranges *r, uint64_t gpa, uint64_t len); /* false: no memory */

/* lockstep_report.c: what differs between both states, as lines of text; nothing: no difference. fpu: vector registers, too. */
void lockstep_compare_state(struct lockstep *ls, bool fpu, struct strbuf *out);
/* The whole report of a difference that is described by `what`. */
void lockstep_write_report(struct lockstep *ls, const struct strbuf *what);

#endif
