/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The KVM paravirtual clock: guest time as a line over the guest's TSC, written into guest RAM. */
#ifndef DOPPEL_CPU_PVCLOCK_H
#define DOPPEL_CPU_PVCLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct vcpu;
struct vcpu_group;

/*
 * The one line that all vCPUs of a machine use: guest time is ns at host TSC tsc, and runs on at
 * the policy's TSC frequency. Because there is one, time never goes backwards from one vCPU to
 * another, and the guest is told so (PVCLOCK_TSC_STABLE). Zeroed: not drawn yet.
 */
struct pvclock_base {
	_Atomic bool busy; /* spin lock of what follows */
	bool valid, stopped;
	uint64_t tsc, ns;
};

/* The structure's MSR was written, or tsc_offset changed, or time was stopped: write v's structure
 * again. On v's thread, or while v stands still. Bad guest addresses write nothing. */
void pvclock_update(struct vcpu *v);

/* The guest wrote KVM_WALL_CLOCK_NEW: store the wall-clock time at which guest time was 0 at gpa. */
void pvclock_write_wall(struct vcpu *v, uint64_t gpa);

/*
 * Guest time is about to stand (clock_pause(), a snapshot): call as soon as all vCPUs stand still.
 * The line is drawn anew from clock_now() by the first pvclock_update() that follows, never below what
 * the guest may have read; call that for each vCPU once the clock runs again.
 */
void pvclock_stop(struct vcpu_group *g);

/* Guest time as the guest reads it: ns at this host TSC. Draws the line if there is none. */
uint64_t pvclock_ns(struct vcpu_group *g, uint64_t tsc);

/* mul and shift of the pvclock ABI for a frequency: ns = ((tsc << shift) * mul) >> 32. */
void pvclock_scale(uint64_t tsc_hz, uint32_t *mul, int8_t *shift);

#endif
