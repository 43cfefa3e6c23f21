/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest time: a nanosecond clock that stops with the VM, its timers, and the TSC it is tied to. */
#ifndef DOPPEL_BASE_CLOCK_H
#define DOPPEL_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/list.h"

struct clock;

/* Make a clock with its timer thread, running, at 0 ns. */
int clock_new(struct clock **out, struct err *e);
void clock_free(struct clock *c); /* all timers must have been released; joins the thread */

/* Nanoseconds of guest time since clock_new (CLOCK_MONOTONIC, without the paused spans). */
uint64_t clock_now(struct clock *c);

/*
 * Stop and restart guest time; timers do not fire while it stands. Pausing waits for a callback that is
 * under way, so it must be called without any lock that a timer's callback takes.
 */
void clock_pause(struct clock *c, bool paused);

/* Set guest time, as when a snapshot is restored. */
void clock_set(struct clock *c, uint64_t ns);

/* Host real time in ns since 1970 (UTC): what a battery-backed clock chip shows. */
uint64_t clock_wall_ns(struct clock *c);

/* Frequency of the host's TSC in Hz, measured against CLOCK_MONOTONIC at start to within 20 ppm. */
uint64_t clock_tsc_hz(struct clock *c);

/* The host's TSC, and guest time at a given TSC value (for the paravirtual clock). */
static inline uint64_t host_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

/*
 * A timer calls cb(opaque) on the clock's thread once guest time reaches its deadline, with no
 * lock held. cb takes its device's lock itself and must check the device's state again: after
 * timer_cancel() one call that was already under way may still arrive. timer_release() waits for
 * such a call and must therefore be called without the device's lock.
 */
struct timer {
	struct clock *clock;
	void (*cb)(void *opaque);
	void *opaque;
	struct list node;      /* clock's lock */
	uint64_t deadline_ns;  /* clock's lock; UINT64_MAX: not armed */
	bool released;         /* clock's lock: cannot be armed any more */
};

void timer_init(struct timer *t, struct clock *c, void (*cb)(void *opaque), void *opaque);
void timer_release(struct timer *t);
void timer_arm(struct timer *t, uint64_t deadline_ns); /* re-arming moves it; a past deadline fires at once */
void timer_cancel(struct timer *t);

#endif
