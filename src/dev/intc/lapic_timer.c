/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC's timer: one-shot, periodic and TSC-deadline (SDM vol. 3, 11.5.4). It counts at
 * 1 GHz, the bus clock of this machine, divided by the divide configuration register.
 */
#include "dev/intc/lapic_internal.h"
#include "dev/limits.h"

#define DIVIDE_MASK 0xbu
#define NS_PER_SEC  1000000000ull

/* Divide configuration: bits 3, 1 and 0 are log2 of the divisor minus 1, 111 is division by 1. */
static unsigned divide_shift(uint32_t divide)
{
	return (((divide & 3) | (divide & 8) >> 1) + 1) & 7;
}

static uint64_t period_ns(const struct lapic *l)
{
	return (uint64_t)l->timer_initial << divide_shift(l->timer_divide);
}

static unsigned mode(const struct lapic *l)
{
	return LVT_TIMER_MODE(l->lvt[LVT_TIMER]);
}

/* Nanoseconds until the guest's TSC reaches the deadline; 0 when it has. */
static uint64_t deadline_left_ns(const struct lapic *l)
{
	uint64_t now = l->cfg.tsc_now(l->cfg.tsc_opaque);
	uint64_t hz = clock_tsc_hz(l->cfg.clock);
	unsigned __int128 ns;

	if (now >= l->tsc_deadline)
		return 0;
	ns = ((unsigned __int128)(l->tsc_deadline - now) * NS_PER_SEC + hz - 1) / hz;
	return ns > INT64_MAX ? INT64_MAX : (uint64_t)ns;
}

/* A periodic timer that was not looked at for some periods goes on in its phase. */
static void catch_up(struct lapic *l, uint64_t now)
{
	uint64_t period = period_ns(l);

	if (period && now >= l->timer_expiry_ns)
		l->timer_expiry_ns += ((now - l->timer_expiry_ns) / period + 1) * period;
}

void lapic_timer_rearm(struct lapic *l)
{
	uint64_t now = clock_now(l->cfg.clock);
	uint64_t at = l->timer_expiry_ns;

	if (mode(l) == TIMER_TSC_DEADLINE && l->tsc_deadline) {
		timer_arm(&l->timer, now + deadline_left_ns(l));
	} else if (!l->timer_running || (l->lvt[LVT_TIMER] & LVT_MASK) || mode(l) > TIMER_PERIODIC) {
		timer_cancel(&l->timer);
	} else {
		if (mode(l) == TIMER_PERIODIC && period_ns(l) < DEV_TIMER_MIN_PERIOD_NS)
			at = MAX(at, now + DEV_TIMER_MIN_PERIOD_NS);
		timer_arm(&l->timer, at);
	}
}

static void expire(struct lapic *l)
{
	if (!(l->lvt[LVT_TIMER] & LVT_MASK))
		lapic_accept(l, LVT_VECTOR(l->lvt[LVT_TIMER]), false);
}

static void deadline_check(struct lapic *l)
{
	if (l->tsc_deadline && !deadline_left_ns(l)) {
		l->tsc_deadline = 0;
		expire(l);
	}
}

static void count_check(struct lapic *l)
{
	uint64_t now = clock_now(l->cfg.clock);

	if (!l->timer_running || now < l->timer_expiry_ns)
		return;
	if (mode(l) == TIMER_PERIODIC)
		catch_up(l, now);
	else
		l->timer_running = false;
	expire(l);
}

void lapic_timer_cb(void *opaque)
{
	struct lapic *l = opaque;

	lock_take(&l->lock);
	if (mode(l) == TIMER_TSC_DEADLINE)
		deadline_check(l);
	else
		count_check(l);
	lapic_timer_rearm(l);
	lock_drop(&l->lock);
}

void lapic_timer_start(struct lapic *l, uint32_t initial)
{
	if (mode(l) == TIMER_TSC_DEADLINE)
		return; /* writes of the initial count are ignored, 11.5.4.1 */
	l->timer_initial = initial;
	l->timer_running = initial;
	l->timer_expiry_ns = clock_now(l->cfg.clock) + period_ns(l);
	lapic_timer_rearm(l);
}

uint32_t lapic_timer_current(struct lapic *l)
{
	uint64_t now = clock_now(l->cfg.clock);

	if (!l->timer_running || mode(l) == TIMER_TSC_DEADLINE)
		return 0;
	if (mode(l) == TIMER_PERIODIC)
		catch_up(l, now);
	if (now >= l->timer_expiry_ns)
		return 0;
	return MIN((l->timer_expiry_ns - now) >> divide_shift(l->timer_divide), l->timer_initial);
}

/* The count that is left goes on at the new speed. */
void lapic_timer_set_divide(struct lapic *l, uint32_t val)
{
	uint32_t left = lapic_timer_current(l);

	l->timer_divide = val & DIVIDE_MASK;
	if (left) {
		l->timer_expiry_ns = clock_now(l->cfg.clock) + ((uint64_t)left << divide_shift(l->timer_divide));
		lapic_timer_rearm(l);
	}
}

void lapic_timer_mode(struct lapic *l, uint32_t old_lvt)
{
	bool was_deadline = LVT_TIMER_MODE(old_lvt) == TIMER_TSC_DEADLINE;

	/* Going to or from TSC-deadline mode disarms, 11.5.4.1. */
	if (was_deadline != (mode(l) == TIMER_TSC_DEADLINE))
		lapic_timer_stop(l);
	/* A one-shot count that ran out while masked is gone; a periodic one keeps its phase. */
	if (l->timer_running && clock_now(l->cfg.clock) >= l->timer_expiry_ns) {
		if (LVT_TIMER_MODE(old_lvt) == TIMER_PERIODIC)
			catch_up(l, clock_now(l->cfg.clock));
		else
			l->timer_running = false;
	}
	lapic_timer_rearm(l);
}

void lapic_timer_set_deadline(struct lapic *l, uint64_t tsc)
{
	if (mode(l) != TIMER_TSC_DEADLINE)
		return;
	l->tsc_deadline = tsc;
	deadline_check(l);
	lapic_timer_rearm(l);
}

void lapic_timer_stop(struct lapic *l)
{
	l->timer_running = false;
	l->timer_initial = 0;
	l->tsc_deadline = 0;
	timer_cancel(&l->timer);
}
