/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a running machine is held, told about, asked and ended: all on its owner's thread, at the wish of others. */
#include "machine/pc.h"
#include "vm/vm_internal.h"

/* -- From any thread ------------------------------------------------------------------------------------ */

/* Note the first end and wake vm_wait(); what comes later happened to a guest that was already over. */
static void note_end(struct vm *vm, enum vm_end end, uint32_t code, bool by_guest)
{
	lock_take(&vm->lock);
	if (!vm->ended && !(vm->holds & VM_HOLD_END && by_guest)) {
		vm->end = end;
		vm->code = code;
		vm->end_by_guest = by_guest;
		if (end == VM_END_POWER_OFF && vm->cfg.hold_at_end) {
			vm->holds |= VM_HOLD_END;
			vm->told |= BIT(VM_EVENT_SHUTDOWN);
		} else {
			vm->ended = true;
		}
		pthread_cond_broadcast(&vm->cond);
	}
	lock_drop(&vm->lock);
}

static void change_holds(struct vm *vm, unsigned clear, unsigned set, unsigned told)
{
	bool held;

	lock_take(&vm->lock);
	held = vm->holds;
	vm->holds = (vm->holds & ~clear) | set;
	vm->told |= told;
	/* Somebody who was quicker than the start; the owner tells of all that follows when it does it. */
	if (vm->state == VM_CREATED && held && !vm->holds)
		vm->told |= BIT(VM_EVENT_RESUME);
	pthread_cond_broadcast(&vm->cond);
	lock_drop(&vm->lock);
}

static void on_panic(struct vm *vm, uint32_t code)
{
	change_holds(vm, 0, vm->cfg.on_panic == VM_PANIC_HOLD ? VM_HOLD_USER : 0, BIT(VM_EVENT_PANICKED));
	if (vm->cfg.on_panic == VM_PANIC_END)
		note_end(vm, VM_END_PANIC, code, true);
}

void vm_on_pc_event(void *opaque, const struct pc_event *ev)
{
	switch (ev->type) {
	case PC_EVENT_SHUTDOWN:
		if (ev->cause == PC_CAUSE_PANIC)
			on_panic(opaque, ev->code);
		else
			note_end(opaque, ev->cause == PC_CAUSE_DEBUG_EXIT ? VM_END_DEBUG_EXIT : VM_END_POWER_OFF, ev->code, true);
		return;
	case PC_EVENT_RESET:
		note_end(opaque, ev->cause == PC_CAUSE_TRIPLE_FAULT ? VM_END_TRIPLE_FAULT : VM_END_RESET, ev->code, true);
		return;
	case PC_EVENT_ERROR:
		note_end(opaque, VM_END_ENGINE, ev->code, true);
		return;
	case PC_EVENT_IO_SPACE:
		change_holds(opaque, VM_HOLD_IO, 0, 0);
		return;
	case PC_EVENT_DEBUG:
		change_holds(opaque, 0, VM_HOLD_DEBUG, 0);
		return;
	case PC_EVENT_IO_ERROR:
		change_holds(opaque, 0, VM_HOLD_IO, BIT(VM_EVENT_IO_ERROR));
		return;
	}
}

void vm_hold(struct vm *vm, unsigned holds)
{
	change_holds(vm, 0, holds, 0);
}

void vm_unhold(struct vm *vm, unsigned holds)
{
	change_holds(vm, holds, 0, 0);
}

unsigned vm_holds(struct vm *vm)
{
	unsigned holds;

	lock_take(&vm->lock);
	holds = vm->holds;
	lock_drop(&vm->lock);
	return holds;
}

enum vm_state vm_state(struct vm *vm)
{
	enum vm_state state;

	lock_take(&vm->lock);
	state = vm->state;
	lock_drop(&vm->lock);
	return state;
}

void vm_stop(struct vm *vm, uint32_t code)
{
	lock_take(&vm->lock);
	if (!vm->stop) {
		vm->stop = true;
		vm->stop_code = code;
		pthread_cond_broadcast(&vm->cond);
	}
	lock_drop(&vm->lock);
}

void vm_request_reset(struct vm *vm)
{
	note_end(vm, VM_END_RESET, 0, false);
}

void vm_request_powerdown(struct vm *vm)
{
	pc_power_button(vm->pc);
	change_holds(vm, 0, 0, BIT(VM_EVENT_POWERDOWN));
}

bool vm_call(struct vm *vm, void (*fn)(struct vm *vm, void *opaque), void *opaque)
{
	struct vm_pending_call call = { .fn = fn, .opaque = opaque };

	lock_take(&vm->lock);
	list_add_tail(&vm->calls, &call.node);
	pthread_cond_broadcast(&vm->cond);
	while (!call.done && !vm->deaf)
		pthread_cond_wait(&vm->cond, &vm->lock.m);
	/* One that is being carried out is off the list already, and ends soon. */
	while (!call.done && list_empty(&call.node))
		pthread_cond_wait(&vm->cond, &vm->lock.m);
	list_del(&call.node);
	lock_drop(&vm->lock);
	return call.done;
}

void vm_end_calls(struct vm *vm)
{
	lock_take(&vm->lock);
	vm->deaf = true;
	pthread_cond_broadcast(&vm->cond);
	lock_drop(&vm->lock);
}

/* -- The owner's thread ---------------------------------------------------------------------------------- */

void vm_listen(struct vm *vm, struct vm_listener *l)
{
	list_add_tail(&vm->listeners, &l->node);
}

void vm_unlisten(struct vm_listener *l)
{
	list_del(&l->node);
}

/* Without the lock: a listener may hold, stop and ask. */
static void tell(struct vm *vm, enum vm_event_type type)
{
	struct vm_event ev = { .type = type, .holds = vm_holds(vm) };
	struct vm_listener *l, *next;

	lock_take(&vm->lock);
	ev.end = vm->ended || !vm->stop ? vm->end : VM_END_STOPPED;
	ev.by_guest = ev.end != VM_END_STOPPED && vm->end_by_guest;
	lock_drop(&vm->lock);
	list_for_each_safe(l, next, &vm->listeners, node)
		l->on_event(l, &ev);
}

static void tell_all_locked(struct vm *vm)
{
	unsigned told = vm->told;

	vm->told = 0;
	lock_drop(&vm->lock);
	for (unsigned t = 0; t < VM_N_EVENTS; t++)
		if (told & BIT(t))
			tell(vm, t);
	lock_take(&vm->lock);
}

static void stand_locked(struct vm *vm, bool stand)
{
	vm->state = stand ? VM_PAUSED : VM_RUNNING;
	lock_drop(&vm->lock);
	pc_pause(vm->pc, stand);
	lock_take(&vm->lock);
	vm->told |= BIT(stand ? VM_EVENT_STOP : VM_EVENT_RESUME);
}

/* The machine stands still for all calls that wait, and whoever made them is woken. */
static void answer_locked(struct vm *vm)
{
	bool running = vm->state == VM_RUNNING;

	lock_drop(&vm->lock);
	if (running)
		pc_pause(vm->pc, true);
	lock_take(&vm->lock);
	while (!list_empty(&vm->calls)) {
		struct vm_pending_call *call = list_entry(vm->calls.next, struct vm_pending_call, node);

		list_del(&call->node);
		lock_drop(&vm->lock);
		call->fn(vm, call->opaque);
		lock_take(&vm->lock);
		call->done = true;
		pthread_cond_broadcast(&vm->cond);
	}
	lock_drop(&vm->lock);
	if (running)
		pc_pause(vm->pc, false);
	lock_take(&vm->lock);
}

/* Do one thing that waits for the owner; false: there is none. */
static bool attend_locked(struct vm *vm)
{
	if (vm->told)
		tell_all_locked(vm);
	else if (vm->state == VM_RUNNING && vm->holds)
		stand_locked(vm, true);
	else if (!list_empty(&vm->calls))
		answer_locked(vm);
	else if (vm->state == VM_PAUSED && !vm->holds && !vm->ended && !vm->stop)
		stand_locked(vm, false);
	else
		return false;
	return true;
}

enum vm_end vm_wait(struct vm *vm, uint32_t *code)
{
	enum vm_end end;

	lock_take(&vm->lock);
	for (;;) {
		if (attend_locked(vm))
			continue;
		if (vm->ended || vm->stop)
			break;
		pthread_cond_wait(&vm->cond, &vm->lock.m);
	}
	end = vm->ended ? vm->end : VM_END_STOPPED;
	*code = vm->ended ? vm->code : vm->stop_code;
	vm->state = VM_ENDED;
	lock_drop(&vm->lock);
	pc_pause(vm->pc, true);
	return end;
}

void vm_over(struct vm *vm)
{
	tell(vm, VM_EVENT_SHUTDOWN);
}

int vm_start(struct vm *vm, struct err *e)
{
	int rc = pc_start(vm->pc, e);
	bool held;

	if (rc)
		return rc;
	lock_take(&vm->lock);
	held = vm->holds;
	vm->state = held ? VM_PAUSED : VM_RUNNING;
	lock_drop(&vm->lock);
	pc_pause(vm->pc, held);
	return 0;
}

void vm_after_reset(struct vm *vm)
{
	bool held;

	tell(vm, VM_EVENT_RESET);
	lock_take(&vm->lock);
	vm->ended = false;
	vm->holds &= ~(unsigned)(VM_HOLD_END | VM_HOLD_IO);
	held = vm->holds;
	vm->state = held ? VM_PAUSED : VM_RUNNING;
	lock_drop(&vm->lock);
	pc_pause(vm->pc, held);
}
