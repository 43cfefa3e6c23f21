/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a virtual machine is inside; vm/ only. */
#ifndef DOPPEL_VM_VM_INTERNAL_H
#define DOPPEL_VM_VM_INTERNAL_H

#include "base/lock.h"
#include "vm/vm.h"

/* One vm_call() that waits; on its caller's stack. */
struct vm_pending_call {
	void (*fn)(struct vm *vm, void *opaque);
	void *opaque;
	bool done;
	struct list node;
};

struct vm {
	struct vm_config cfg;
	struct pc *pc;
	struct list listeners; /* of struct vm_listener; the owner's thread */

	struct lock lock;      /* guards what follows; vCPU threads take it under chips' locks */
	pthread_cond_t cond;
	enum vm_state state;   /* the owner's thread writes it */
	unsigned holds;
	unsigned told;         /* bits by enum vm_event_type: to be told by the owner's thread */
	bool ended;
	enum vm_end end;
	uint32_t code;
	bool end_by_guest;
	bool stop;             /* asked from outside, for good: outlives a reboot that is under way */
	uint32_t stop_code;
	struct list calls;     /* of struct vm_pending_call */
	bool deaf;             /* vm_end_calls() */
};

/* What the machine says of itself: pc_config.on_event. */
struct pc_event;
void vm_on_pc_event(void *opaque, const struct pc_event *ev);

/* The guest has been set back to its start: tell, and let it run unless it is held. */
void vm_after_reset(struct vm *vm);

#endif
