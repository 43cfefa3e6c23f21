/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One virtual CPU: its state, its thread and the word through which the world reaches it. */
#ifndef DOPPEL_CPU_VCPU_H
#define DOPPEL_CPU_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/clock.h"
#include "base/lock.h"
#include "cpu/cpuid.h"
#include "cpu/debug.h"
#include "cpu/engine.h"
#include "cpu/pvclock.h"
#include "cpu/stats.h"
#include "irq/irq.h"
#include "mem/space.h"
#include "mmu/nested.h"
#include "mmu/tlb.h"
#include "x86/state.h"

/*
 * The pending-work word. Any thread sets bits through vcpu_raise(); the vCPU's thread clears the
 * ones it has dealt with. Engines poll it at every block (the reference: every instruction).
 */
enum {
	WORK_EXIT = 1 << 0, /* leave run(): pause, stop, reset, engine change */
	WORK_INTR = 1 << 1, /* ask cpu_intc */
	WORK_NMI = 1 << 2,
	WORK_INIT = 1 << 3,
	WORK_SIPI = 1 << 4,
	WORK_TLB = 1 << 5,  /* flush the TLB (memory map changed) */
	WORK_SMI = 1 << 6,  /* ignored: no SMM */
};

struct interp;
struct lockstep;
struct vcpu_group;

/*
 * Turn by turn: while vcpu->turn is set, run() comes back after at most one block of translated code or one step of the
 * reference, and says here how far it has come, so that the reference can be brought to the same place (cpu/lockstep.c).
 */
#define TURN_INSNS 128
struct vcpu_turn {
	uint64_t rip[TURN_INSNS]; /* of the block's instructions, in the order in which they run if no branch is taken */
	/* Of the arithmetic flags behind each: undefined by the manuals; wrong, maybe, but dead; as they were before the block. */
	uint16_t undefined[TURN_INSNS], dead[TURN_INSNS], kept[TURN_INSNS];
	unsigned n;               /* how many; 0: no block */
	unsigned steps;           /* steps of the reference to the same place, unless left */
	bool left;                /* the block ran to its end or left by a branch */
	bool flags_dead;          /* all of them may be wrong; if not left, at a fault */
};

struct vcpu {
	struct x86_state s; /* the vCPU's thread, or anyone while it is stopped */
	_Atomic uint32_t work;
	unsigned index;     /* 0 is the boot processor; also its APIC id */
	_Atomic uint32_t sipi_vector;

	struct space *mem, *pio;
	struct ram *ram;
	struct clock *clock;
	struct cpu_intc intc;
	const struct cpuid_policy *cpuid;
	const struct engine_ops *engine;
	void *engine_data;     /* the engine's own */
	struct interp *interp; /* the reference engine's context: every vCPU has one, for interp_step() */
	struct tlb *tlb;
	struct nested *nested; /* the memory space by pages */
	struct vcpu_stats stats;
	struct vcpu_turn *turn;    /* NULL, or where run() says what it did: it comes back after each block */
	struct lockstep *lockstep; /* NULL, or the reference that runs beside the engine */
	struct vcpu_debug debug; /* the vCPU's thread, or anyone while it is stopped */

	struct vcpu_group *group;
	pthread_t thread;
	bool thread_started;
	pthread_mutex_t sleep_lock; /* guards the wait in HLT and in pause */
	pthread_cond_t sleep_cond;
	_Atomic bool sleeping;      /* the thread is about to wait, or waits, for a bit of work */
	bool paused;                /* sleep_lock: what is asked */
	bool stopped_ack;           /* sleep_lock: the thread stands still */
	bool stepping;              /* sleep_lock: vcpu_step() waits */
	bool quit;                  /* sleep_lock */
};

/* Who is told what code at host addresses an engine has made of the guest's at la; called with the engine's locks held. */
struct code_listener {
	void (*made)(void *opaque, uint64_t host, uint32_t size, uint64_t la, bool user);
	void *opaque;
};

/*
 * Who is given each block that the translator makes of guest code in [from, to] (linear addresses), as text: a call for
 * each, with the engine's locks held.
 */
struct block_tracer {
	void (*text)(void *opaque, const char *text, size_t len);
	void *opaque;
	uint64_t from, to;
};

/* Whether user code may reach its stack by a window that needs no checks (cpu/bt/stack.c): when it runs for long, or at once. */
enum stack_window { STACK_WINDOW_HOT, STACK_WINDOW_NEVER, STACK_WINDOW_ALWAYS };

/* What all vCPUs of a machine have in common, and whom they tell about their end. */
struct vcpu_group {
	struct vcpu **v;
	unsigned n;
	struct space *mem, *pio;
	struct ram *ram;
	struct clock *clock;
	const struct cpuid_policy *cpuid;
	struct pvclock_base pvclock; /* zeroed at start */
	struct debug_points points; /* a debugger's */
	struct code_listener code_listener; /* made NULL: nobody */
	struct block_tracer block_tracer; /* text NULL: nobody */
	bool count_jumps;      /* translated code counts them for the statistics, which costs a little */
	enum stack_window stack_window;
	uint32_t code_size;    /* bytes for translated code; 0: TUNE_BT_CODE_SIZE */
	void *engine_shared;   /* the engine's own: what its contexts of these vCPUs have in common */
	/* Called on the vCPU's thread when it shuts down (triple fault), fails, or has met a debugger's point. */
	void (*on_exit)(void *opaque, struct vcpu *v, enum vcpu_exit why);
	void *opaque;
};

/* Make vCPU `index` in power-on state (vCPUs other than 0 wait for SIPI), without a thread. */
int vcpu_new(struct vcpu **out, struct vcpu_group *g, unsigned index, const struct engine_ops *engine, struct err *e);
void vcpu_free(struct vcpu *v);

/* Run the engine, in lockstep if that was asked for, until it has a reason to come back. What the thread does. */
enum vcpu_exit vcpu_run(struct vcpu *v);

int vcpu_start(struct vcpu *v, struct err *e); /* make its thread; it begins paused */
void vcpu_pause(struct vcpu *v);               /* returns when it stands at an instruction boundary */
void vcpu_resume(struct vcpu *v);
/*
 * Execute one instruction on a vCPU that is paused, and pause it again; interrupts wait, guest time stands. It may not have moved,
 * if it is halted or waits to be started.
 */
void vcpu_step(struct vcpu *v);
void vcpu_join(struct vcpu *v);                /* stop for good */
void vcpu_reset(struct vcpu *v, bool init);    /* paused or own thread only; resets its intc too */

/* Set bits in the pending-work word and make sure that they are seen; any thread. */
void vcpu_raise(struct vcpu *v, uint32_t work);

/* A listener for space_set_listener(): every vCPU of the group (opaque) drops its cached translations. */
void vcpu_group_memory_changed(void *opaque);
/* A listener for ram_set_listener(): the group's (opaque) engines hear that code of theirs was written. */
void vcpu_group_code_changed(void *opaque, uint64_t gpa, uint64_t len);

/* The kick callback for this vCPU's interrupt controller. */
struct cpu_kick vcpu_kick(struct vcpu *v);

/*
 * Engine-side helpers, on the vCPU's thread.
 * vcpu_take_work: deal with INIT, SIPI, TLB work. Afterwards s.activity tells whether to go on.
 * vcpu_intr_vector: WORK_INTR was set: ask the controller; the vector or -1. Clears WORK_INTR when
 *   nothing is pending. The caller has checked IF and the shadow.
 */
void vcpu_take_work(struct vcpu *v);
int vcpu_intr_vector(struct vcpu *v);

/* Physical accesses that are not to RAM: this CPU's APIC page, then the memory space; ports. */
uint64_t vcpu_mmio_read(struct vcpu *v, uint64_t gpa, unsigned size);
void vcpu_mmio_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t val);
uint64_t vcpu_pio_read(struct vcpu *v, uint16_t port, unsigned size);
void vcpu_pio_write(struct vcpu *v, uint16_t port, unsigned size, uint64_t val);

static inline uint64_t vcpu_tsc(const struct vcpu *v)
{
	return host_tsc() + v->s.msr.tsc_offset;
}

/*
 * Whether a repeated string instruction pauses between two elements because something is pending, or its batch is full. Not in
 * lockstep, where both engines would have to do so behind the same element.
 */
static inline bool vcpu_pauses_rep(struct vcpu *v, bool batch_full)
{
	uint32_t work = atomic_load_explicit(&v->work, memory_order_relaxed);

	return unlikely(v->turn) ? work & WORK_EXIT : work || batch_full;
}

/* The same as an instruction of the guest reads it: in lockstep both engines read the same. */
uint64_t vcpu_read_tsc(struct vcpu *v);

/*
 * The register moves with side effects that every engine shares; new values were not checked.
 * Return 0, or the vector to raise with error code 0 (X86_GP). They flush the TLB as SDM vol. 3,
 * 4.10.4.1 says and keep EFER.LMA, PDPTEs and tlb->pcid right.
 */
int vcpu_set_cr0(struct vcpu *v, uint64_t val);
int vcpu_set_cr3(struct vcpu *v, uint64_t val);
int vcpu_set_cr4(struct vcpu *v, uint64_t val);
int vcpu_set_xcr0(struct vcpu *v, uint64_t val);
int vcpu_set_efer(struct vcpu *v, uint64_t val);

#endif
