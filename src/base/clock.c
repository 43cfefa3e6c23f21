/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest time and its timers: a thread that sleeps until the earliest deadline, and the TSC's frequency. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include "base/bits.h"
#include "base/clock.h"
#include "base/lock.h"

#define NS_PER_S        1000000000ull
#define NOT_ARMED       UINT64_MAX
#define KEEP            UINT64_MAX /* a time: the one that it is */
#define TSC_SAMPLES     16         /* tries for a tight bracket around one reading */
#define TSC_SPAN_NS     20000000ull /* shortest baseline: 100 ns of error are 5 ppm of it */
#define TSC_ROUND_HZ    1000ull    /* finer digits are noise */

/* One reading of the TSC and of CLOCK_MONOTONIC at the same moment. */
struct tsc_sample {
	uint64_t tsc, ns;
};

struct clock {
	struct lock lock; /* RANK_CLOCK: the timer queue, and who writes what `seq` covers */
	pthread_cond_t wake; /* the thread: the queue's head or the time has changed */
	pthread_cond_t idle; /* whoever waits for `running` to return */
	pthread_t thread;
	struct list queue;     /* lock: armed timers, earliest first */
	struct timer *running; /* lock: whose callback is under way */
	bool quit;             /* lock */

	/*
	 * Guest time is CLOCK_MONOTONIC - offset, or stands at `frozen` while paused. Read without the
	 * lock: seq is odd while a writer is between the two, and a reader that saw it move tries again.
	 */
	_Atomic uint32_t seq;
	_Atomic uint64_t offset, frozen;
	_Atomic bool paused;

	struct tsc_sample first;
	_Atomic uint64_t tsc_hz; /* 0: not yet measured */
};

static uint64_t host_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* -- Guest time ------------------------------------------------------------------------------- */

/*
 * A sequence lock without fences (which the thread sanitizer does not know): the acquiring loads keep
 * the second look at seq behind the fields, the releasing stores in time_change_locked() keep them behind the
 * first step of seq.
 */
uint64_t clock_now(struct clock *c)
{
	for (;;) {
		uint32_t seq = atomic_load_explicit(&c->seq, memory_order_acquire);
		bool paused = atomic_load_explicit(&c->paused, memory_order_acquire);
		uint64_t offset = atomic_load_explicit(&c->offset, memory_order_acquire);
		uint64_t frozen = atomic_load_explicit(&c->frozen, memory_order_acquire);
		uint64_t host = host_ns(CLOCK_MONOTONIC);

		if (!(seq & 1) && atomic_load_explicit(&c->seq, memory_order_acquire) == seq)
			return paused ? frozen : host - offset;
	}
}

/*
 * Stop, restart or set time; ns is the new guest time, or KEEP. The host's clock is read only when seq is
 * odd for everyone (the exchange is a full barrier): no reader has seen a later time than that, so
 * stopping never turns time back. Lock held.
 */
static void time_change_locked(struct clock *c, bool paused, uint64_t ns)
{
	uint64_t host;

	atomic_fetch_add(&c->seq, 1);
	host = host_ns(CLOCK_MONOTONIC);
	if (ns == KEEP)
		ns = atomic_load(&c->paused) ? atomic_load(&c->frozen) : host - atomic_load(&c->offset);
	atomic_store_explicit(&c->offset, host - ns, memory_order_release);
	atomic_store_explicit(&c->frozen, ns, memory_order_release);
	atomic_store_explicit(&c->paused, paused, memory_order_release);
	atomic_fetch_add(&c->seq, 1);
	pthread_cond_signal(&c->wake);
}

/* A callback that pauses the clock or releases its timer must not wait for itself. */
static bool on_clock_thread(const struct clock *c)
{
	return pthread_equal(pthread_self(), c->thread);
}

void clock_pause(struct clock *c, bool paused)
{
	lock_take(&c->lock);
	if (atomic_load(&c->paused) != paused)
		time_change_locked(c, paused, KEEP);
	while (paused && c->running && !on_clock_thread(c))
		pthread_cond_wait(&c->idle, &c->lock.m);
	lock_drop(&c->lock);
}

void clock_set(struct clock *c, uint64_t ns)
{
	lock_take(&c->lock);
	time_change_locked(c, atomic_load(&c->paused), ns);
	lock_drop(&c->lock);
}

uint64_t clock_wall_ns(struct clock *c)
{
	return host_ns(CLOCK_REALTIME);
}

/* -- The timer thread ------------------------------------------------------------------------- */

/* Sleep until guest time `deadline`, or until something changes. Lock held, time running. */
static void sleep_until_locked(struct clock *c, uint64_t deadline)
{
	uint64_t offset = atomic_load_explicit(&c->offset, memory_order_relaxed);
	uint64_t host = deadline + offset; /* offset may be "negative", after clock_set() */
	struct timespec ts;

	/* Past the end of host time, 2^63 ns: as good as never. */
	if (host > INT64_MAX || (offset <= INT64_MAX && host < deadline))
		host = INT64_MAX;
	ts.tv_sec = (time_t)(host / NS_PER_S);
	ts.tv_nsec = (long)(host % NS_PER_S);
	pthread_cond_timedwait(&c->wake, &c->lock.m, &ts);
}

static void fire_locked(struct clock *c, struct timer *t)
{
	list_del(&t->node);
	t->deadline_ns = NOT_ARMED;
	c->running = t;
	lock_drop(&c->lock);
	t->cb(t->opaque);
	lock_take(&c->lock);
	c->running = NULL;
	pthread_cond_broadcast(&c->idle);
}

static void *clock_thread(void *arg)
{
	struct clock *c = arg;

	prctl(PR_SET_NAME, "doppel-clock");
	prctl(PR_SET_TIMERSLACK, 1ul); /* ns; the default of 50 us would be added to each guest timer */
	lock_take(&c->lock);
	while (!c->quit) {
		struct timer *t = list_entry(c->queue.next, struct timer, node);

		if (list_empty(&c->queue) || atomic_load(&c->paused))
			pthread_cond_wait(&c->wake, &c->lock.m);
		else if (t->deadline_ns > clock_now(c))
			sleep_until_locked(c, t->deadline_ns);
		else
			fire_locked(c, t);
	}
	lock_drop(&c->lock);
	return NULL;
}

void timer_init(struct timer *t, struct clock *c, void (*cb)(void *opaque), void *opaque)
{
	*t = (struct timer){ .clock = c, .cb = cb, .opaque = opaque, .deadline_ns = NOT_ARMED };
	list_init(&t->node);
}

static void arm_locked(struct clock *c, struct timer *t, uint64_t deadline_ns)
{
	struct timer *it;

	list_del(&t->node);
	t->deadline_ns = t->released ? NOT_ARMED : deadline_ns;
	if (t->deadline_ns == NOT_ARMED)
		return;
	list_for_each(it, &c->queue, node)
		if (it->deadline_ns > deadline_ns)
			break;
	list_add_before(&it->node, &t->node); /* the list's head when nothing is later */
	if (c->queue.next == &t->node)
		pthread_cond_signal(&c->wake);
}

void timer_arm(struct timer *t, uint64_t deadline_ns)
{
	lock_take(&t->clock->lock);
	arm_locked(t->clock, t, deadline_ns);
	lock_drop(&t->clock->lock);
}

void timer_cancel(struct timer *t)
{
	timer_arm(t, NOT_ARMED);
}

void timer_release(struct timer *t)
{
	struct clock *c = t->clock;

	lock_take(&c->lock);
	t->released = true; /* the call under way may try to arm it again */
	arm_locked(c, t, NOT_ARMED);
	while (c->running == t && !on_clock_thread(c))
		pthread_cond_wait(&c->idle, &c->lock.m);
	lock_drop(&c->lock);
}

/* -- The TSC ------------------------------------------------------------------------------------ */

/* The TSC is read between two looks at the clock; of several tries the one least disturbed counts. */
static struct tsc_sample tsc_sample(void)
{
	struct tsc_sample best = { 0 };
	uint64_t best_width = UINT64_MAX;

	for (unsigned i = 0; i < TSC_SAMPLES; i++) {
		uint64_t before = host_tsc(), ns = host_ns(CLOCK_MONOTONIC), after = host_tsc();

		if (after - before < best_width) {
			best_width = after - before;
			best = (struct tsc_sample){ before + best_width / 2, ns };
		}
	}
	return best;
}

uint64_t clock_tsc_hz(struct clock *c)
{
	uint64_t hz = atomic_load(&c->tsc_hz), now = host_ns(CLOCK_MONOTONIC);
	struct tsc_sample last;

	if (hz)
		return hz;
	if (now - c->first.ns < TSC_SPAN_NS) {
		struct timespec ts = { .tv_nsec = (long)(TSC_SPAN_NS - (now - c->first.ns)) };

		while (nanosleep(&ts, &ts) && errno == EINTR)
			;
	}
	last = tsc_sample();
	hz = (uint64_t)((unsigned __int128)(last.tsc - c->first.tsc) * NS_PER_S / (last.ns - c->first.ns));
	hz = (hz + TSC_ROUND_HZ / 2) / TSC_ROUND_HZ * TSC_ROUND_HZ;
	/* Whoever measured first has decided: the answer never changes. */
	now = 0;
	return atomic_compare_exchange_strong(&c->tsc_hz, &now, hz) ? hz : now;
}

/* -- Life and death ------------------------------------------------------------------------------ */

/* Start the thread with all signals blocked: they are for the threads that expect them. */
static int start_thread(struct clock *c)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* The lock keeps the new thread from looking at c->thread before it is stored. */
	lock_take(&c->lock);
	rc = pthread_create(&c->thread, NULL, clock_thread, c);
	lock_drop(&c->lock);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static void destroy(struct clock *c)
{
	pthread_cond_destroy(&c->wake);
	pthread_cond_destroy(&c->idle);
	lock_release(&c->lock);
	free(c);
}

int clock_new(struct clock **out, struct err *e)
{
	struct clock *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;
	int rc;

	if (!c)
		return err_set(e, ENOMEM, "clock: out of memory");
	lock_init(&c->lock, RANK_CLOCK);
	list_init(&c->queue);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	pthread_cond_init(&c->idle, &attr);
	pthread_condattr_destroy(&attr);
	atomic_init(&c->offset, host_ns(CLOCK_MONOTONIC));
	c->first = tsc_sample();
	rc = start_thread(c);
	if (rc) {
		destroy(c);
		return err_set(e, rc, "clock: cannot start its thread: %s", strerror(rc));
	}
	*out = c;
	return 0;
}

void clock_free(struct clock *c)
{
	if (!c)
		return;
	lock_take(&c->lock);
	BUG_ON(!list_empty(&c->queue));
	c->quit = true;
	pthread_cond_signal(&c->wake);
	lock_drop(&c->lock);
	pthread_join(c->thread, NULL);
	destroy(c);
}
