/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a virtual machine: created, running, paused, ended; and what ended it. */
#ifndef DOPPEL_VM_VM_H
#define DOPPEL_VM_VM_H

#include "base/list.h"
#include "base/strbuf.h"
#include "vm/config.h"

enum vm_state {
	VM_CREATED, /* built and its kernel loaded; nothing has run */
	VM_RUNNING,
	VM_PAUSED,  /* by a hold */
	VM_ENDED,   /* the guest stands still after what vm_wait() returned */
};

enum vm_end {
	VM_END_POWER_OFF,
	VM_END_DEBUG_EXIT,   /* code: what the guest wrote to the isa-debug-exit port */
	VM_END_RESET,        /* the guest asked for a reset */
	VM_END_TRIPLE_FAULT, /* code: which vCPU */
	VM_END_PANIC,        /* the guest has said that it has panicked */
	VM_END_ENGINE,       /* the engine could not go on and has logged why */
	VM_END_STOPPED,      /* vm_stop(): code is what it was given */
};

/* Why the machine stands still although it has not ended: it runs while there is no hold. */
enum vm_hold {
	VM_HOLD_USER = 1 << 0,  /* somebody said stop, or wants to begin that way (-S) */
	VM_HOLD_DEBUG = 1 << 1, /* a debugger looks at it */
	VM_HOLD_IO = 1 << 2,    /* a disk's writes wait for space on the host */
	VM_HOLD_END = 1 << 3,   /* the guest is over, and config said to keep it; only a reset gets it on */
};

enum vm_event_type {
	VM_EVENT_STOP,      /* the vCPUs stand still: holds tells why */
	VM_EVENT_RESUME,
	VM_EVENT_RESET,
	VM_EVENT_SHUTDOWN,  /* it is over: end tells how */
	VM_EVENT_POWERDOWN, /* the power button was pressed */
	VM_EVENT_IO_ERROR,  /* a disk is full; STOP follows */
	VM_EVENT_PANICKED,  /* the guest says so; vm_config.on_panic tells what follows */
	VM_N_EVENTS,
};

/* What became of the machine. */
struct vm_event {
	enum vm_event_type type;
	unsigned holds;   /* of enum vm_hold */
	enum vm_end end;  /* RESET, SHUTDOWN */
	bool by_guest;    /* RESET, SHUTDOWN: not a person or program outside */
};

/* Who is told; the member of whatever listens. Called on the owner's thread with no lock held; vm_call() is out there. */
struct vm_listener {
	void (*on_event)(struct vm_listener *l, const struct vm_event *ev);
	struct list node;
};

struct vm;

/*
 * Build the machine and load the kernel; no guest code runs. Errors: those of pc_new() and
 * boot_load(). *info tells what was loaded; may be NULL.
 */
int vm_new(struct vm **out, const struct vm_config *cfg, struct boot_info *info, struct err *e);
void vm_free(struct vm *vm); /* in any state; NULL is fine */

/* Start the vCPUs; with a hold they stand at their first instruction. Created only. */
int vm_start(struct vm *vm, struct err *e);

/*
 * Add and take away holds. Any thread, also under chips' locks: it takes effect on the owner's thread, in vm_wait(); a vm_call()
 * made after it finds it done.
 */
void vm_hold(struct vm *vm, unsigned holds);
void vm_unhold(struct vm *vm, unsigned holds);
unsigned vm_holds(struct vm *vm);
enum vm_state vm_state(struct vm *vm);

/*
 * Have fn called on the owner's thread, in vm_wait(), with the vCPUs standing still, and wait for it. Any thread but the owner's
 * and the vCPUs', with no lock held. false: not called, as vm_end_calls() came first, which the owner calls before such
 * threads have to end. An end of the guest does not hinder it, unless nobody waits for one again.
 */
bool vm_call(struct vm *vm, void (*fn)(struct vm *vm, void *opaque), void *opaque);
void vm_end_calls(struct vm *vm);

/* On the owner's thread; before it starts, or by vm_call(). Listeners live until they are removed, or longer than the VM. */
void vm_listen(struct vm *vm, struct vm_listener *l);
void vm_unlisten(struct vm_listener *l);

/* The vCPUs and what they share, for debuggers; by vm_call(). */
struct vcpu_group *vm_vcpus(struct vm *vm);

/* Wait for the end; then the guest stands still, and vm_reset() or vm_over() may follow. One thread only, the owner's. */
enum vm_end vm_wait(struct vm *vm, uint32_t *code);

/* Make vm_wait() return VM_END_STOPPED; any thread, any state, any number of times: the first end counts. */
void vm_stop(struct vm *vm, uint32_t code);

/* Press the reset button: vm_wait() returns VM_END_RESET. Press the power button. Any thread. */
void vm_request_reset(struct vm *vm);
void vm_request_powerdown(struct vm *vm);

/*
 * After the end: power-on reset, and run, unless held. With firmware, RAM keeps its bytes; without, RAM is emptied and the kernel
 * loaded again, as there is nobody who would find it.
 */
int vm_reset(struct vm *vm, struct err *e);

/* After the end: there will be no reset. Listeners are told. */
void vm_over(struct vm *vm);

/* A network card's cable, as pc_set_link(). */
int vm_set_link(struct vm *vm, const char *name, bool up, struct err *e);

/* Drives whose medium can be changed, as pc_media_change() and its like; change and eject by vm_call(). */
int vm_media_change(struct vm *vm, const char *id, struct blk *blk, struct blk **old, struct err *e);
int vm_media_eject(struct vm *vm, const char *id, bool force, struct blk **old, struct err *e);
bool vm_media_get(struct vm *vm, unsigned n, struct pc_media_info *out);

/* The balloon, as pc_balloon_set() and pc_balloon_actual(). */
int vm_balloon_set(struct vm *vm, uint64_t bytes, struct err *e);
int vm_balloon_actual(struct vm *vm, uint64_t *bytes, struct err *e);

/*
 * The present picture of the screen as a PNG file, or its bytes (display_png()); any thread that holds no lock, in any state. -ENODEV with a
 * message: there is none. And who takes keys and the pointer's movements (backend/display/input.h), NULL: nobody.
 */
int vm_screendump(struct vm *vm, const char *path, struct err *e);
int vm_screendump_bytes(struct vm *vm, struct strbuf *out, struct err *e);
struct input *vm_input(const struct vm *vm);

/* Where vCPU `cpu` stands, as one line of text: its program counter and control registers. Ended, or paused. */
void vm_print_cpu(const struct vm *vm, unsigned cpu, struct strbuf *out);

/* The statistics of all vCPUs as text, a counter a line. Ended, or paused. */
void vm_print_stats(const struct vm *vm, struct strbuf *out);

#endif
