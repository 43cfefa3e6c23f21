/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The task-state segment: inner stacks and hardware task switches (SDM vol. 3, ch. 7). */
#ifndef DOPPEL_CPU_INTERP_TASK_H
#define DOPPEL_CPU_INTERP_TASK_H

#include "cpu/interp/interp.h"

enum task_reason { TASK_JMP, TASK_CALL, TASK_IRET, TASK_EVENT };

/* SS and (E)SP of an inner level from the current 16- or 32-bit TSS; #TS(TR | ext) when beyond its limit. */
void tss_inner_stack(struct vcpu *v, unsigned cpl, uint16_t *ss, uint32_t *sp, uint32_t ext);

/* RSPn (n 0 to 2) or ISTn (n 1 to 7) of the current 64-bit TSS. */
uint64_t tss_rsp(struct vcpu *v, unsigned cpl, uint32_t ext);
uint64_t tss_ist(struct vcpu *v, unsigned ist, uint32_t ext);

/*
 * Switch to the task of the TSS selector sel, whose descriptor was read and checked to be a TSS (available, or
 * busy for TASK_IRET) and present. flags: what is saved as the old task's EFLAGS; return_rip: its EIP. Sets
 * the next RIP. Faults before the point of no return are the old task's, later ones the new task's.
 */
void task_switch(struct vcpu *v, uint16_t sel, uint64_t desc, enum task_reason why, uint64_t flags,
		 uint64_t return_rip, uint32_t ext);

/* Through a task gate, whose own checks were made: checks its TSS selector (#GP, #NP) and switches. */
void task_switch_gate(struct vcpu *v, uint64_t gate, enum task_reason why, uint64_t flags,
		      uint64_t return_rip, uint32_t ext);

/* IRET with NT set: back to the task that the current TSS links to. */
void task_return(struct vcpu *v, uint64_t return_rip);

#endif
