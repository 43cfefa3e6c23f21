/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a virtual machine: created, running, paused, ended; and what ended it. */
#ifndef DOPPEL_VM_VM_H
#define DOPPEL_VM_VM_H

#include "base/strbuf.h"
#include "vm/config.h"

enum vm_state {
	VM_CREATED, /* built and its kernel loaded; nothing has run */
	VM_RUNNING,
	VM_PAUSED,  /* by vm_pause() */
	VM_ENDED,   /* the guest stands still after what vm_wait() returned */
};

enum vm_end {
	VM_END_POWER_OFF,
	VM_END_DEBUG_EXIT,   /* code: what the guest wrote to the isa-debug-exit port */
	VM_END_RESET,        /* the guest asked for a reset */
	VM_END_TRIPLE_FAULT, /* code: which vCPU */
	VM_END_ENGINE,       /* the engine could not go on and has logged why */
	VM_END_STOPPED,      /* vm_stop(): code is what it was given */
};

struct vm;

/*
 * Build the machine and load the kernel; no guest code runs. Errors: those of pc_new() and
 * boot_load(). *info tells what was loaded; may be NULL.
 */
int vm_new(struct vm **out, const struct vm_config *cfg, struct boot_info *info, struct err *e);
void vm_free(struct vm *vm); /* in any state; NULL is fine */

/* Start the vCPUs. Created only. */
int vm_start(struct vm *vm, struct err *e);

/* Stop (returns when all vCPUs stand still) and go on again; without effect unless running or paused. */
void vm_pause(struct vm *vm, bool paused);
enum vm_state vm_state(const struct vm *vm);

/* Wait for the end; then the guest stands still, and vm_reset() may follow. One thread only. */
enum vm_end vm_wait(struct vm *vm, uint32_t *code);

/* Make vm_wait() return VM_END_STOPPED; any thread, any state, any number of times: the first end counts. */
void vm_stop(struct vm *vm, uint32_t code);

/*
 * After the end: power-on reset, and run. With firmware, RAM keeps its bytes; without, RAM is emptied and the kernel
 * loaded again, as there is nobody who would find it.
 */
int vm_reset(struct vm *vm, struct err *e);

/* The balloon, as pc_balloon_set() and pc_balloon_actual(). */
int vm_balloon_set(struct vm *vm, uint64_t bytes, struct err *e);
int vm_balloon_actual(struct vm *vm, uint64_t *bytes, struct err *e);

/* Where vCPU `cpu` stands, as one line of text: its program counter and control registers. Ended, or paused. */
void vm_print_cpu(const struct vm *vm, unsigned cpu, struct strbuf *out);

/* The statistics of all vCPUs as text, a counter a line. Ended, or paused. */
void vm_print_stats(const struct vm *vm, struct strbuf *out);

/*
 * The same while it runs, from any thread but the owner's: who is in vm_wait() prints them, with the vCPUs paused for the
 * moment. Waits for that; false: vm_no_more_questions() came first, which the owner calls before such threads have to end.
 */
bool vm_ask_stats(struct vm *vm, struct strbuf *out);
void vm_no_more_questions(struct vm *vm);

#endif
