/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest time and timers. Bounds from above are generous: the machine may be busy with other things. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/lock.h"

#define MS 1000000ull
#define S  (1000 * MS)

static struct clock *c;

static int setup(void **state)
{
	return clock_new(&c, NULL);
}

static int teardown(void **state)
{
	clock_free(c);
	return 0;
}

static uint64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * S + (uint64_t)ts.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / S), .tv_nsec = (long)(ns % S) };

	nanosleep(&ts, NULL);
}

/* What a callback leaves behind. */
struct shot {
	struct timer t;
	_Atomic unsigned n;
	_Atomic uint64_t at;    /* guest time of the last call */
	_Atomic unsigned order; /* its place among all calls */
};

static _Atomic unsigned shots;

static void shoot(void *opaque)
{
	struct shot *s = opaque;

	s->at = clock_now(s->t.clock);
	s->order = ++shots;
	s->n++;
}

static bool wait_for(const _Atomic unsigned *n, unsigned want, uint64_t limit)
{
	uint64_t end = host_ns() + limit;

	while (*n < want && host_ns() < end)
		sleep_ns(MS / 5);
	return *n >= want;
}

static void test_time_runs(void **state)
{
	uint64_t a = clock_now(c), before = host_ns(), b;

	assert_true(a < 5 * S);
	sleep_ns(20 * MS);
	b = clock_now(c);
	assert_true(b - a >= 20 * MS);
	assert_true(b - a <= host_ns() - before + MS);
	assert_true(clock_wall_ns(c) > 1600000000ull * S);
}

static void test_order_and_punctuality(void **state)
{
	struct shot s[5] = { 0 };
	static const unsigned delay[5] = { 30, 10, 50, 20, 40 }, place[5] = { 3, 1, 5, 2, 4 };
	uint64_t start = clock_now(c);

	shots = 0;
	for (int i = 0; i < 5; i++)
		timer_init(&s[i].t, c, shoot, &s[i]);
	for (int i = 0; i < 5; i++)
		timer_arm(&s[i].t, start + delay[i] * MS);
	assert_true(wait_for(&s[2].n, 1, 5 * S));
	for (int i = 0; i < 5; i++) {
		assert_int_equal(s[i].n, 1);
		assert_int_equal(s[i].order, place[i]);
		assert_true(s[i].at >= start + delay[i] * MS);
		timer_release(&s[i].t);
	}
}

/* On an idle host the median is some 60 us; 2 ms would be a polling loop or a timer slack forgotten. */
static void test_latency(void **state)
{
	struct shot s = { 0 };
	unsigned late = 0;

	timer_init(&s.t, c, shoot, &s);
	for (unsigned i = 1; i <= 20; i++) {
		uint64_t deadline = clock_now(c) + 2 * MS;

		timer_arm(&s.t, deadline);
		assert_true(wait_for(&s.n, i, 5 * S));
		late += s.at - deadline > 2 * MS;
	}
	assert_true(late <= 10);
	timer_release(&s.t);
}

static void test_past_fires_at_once(void **state)
{
	struct shot s = { 0 };

	timer_init(&s.t, c, shoot, &s);
	timer_arm(&s.t, 0);
	assert_true(wait_for(&s.n, 1, 5 * S));
	sleep_ns(5 * MS);
	assert_int_equal(s.n, 1);
	timer_release(&s.t);
}

static void test_rearm_and_cancel(void **state)
{
	struct shot s = { 0 }, never = { 0 };
	uint64_t now = clock_now(c);

	timer_init(&s.t, c, shoot, &s);
	timer_init(&never.t, c, shoot, &never);
	timer_arm(&never.t, UINT64_MAX - 1);
	timer_arm(&s.t, now + 10 * S);
	timer_arm(&s.t, now + 10 * MS); /* earlier: the sleeping thread must notice */
	assert_true(wait_for(&s.n, 1, 5 * S));
	now = clock_now(c);
	timer_arm(&s.t, now + 10 * MS);
	timer_arm(&s.t, now + 60 * MS); /* later */
	assert_true(wait_for(&s.n, 2, 5 * S));
	assert_true(s.at >= now + 60 * MS);
	timer_arm(&s.t, clock_now(c) + 10 * MS);
	timer_cancel(&s.t);
	timer_cancel(&s.t);
	sleep_ns(25 * MS);
	assert_int_equal(s.n, 2);
	assert_int_equal(never.n, 0);
	timer_release(&s.t);
	timer_release(&never.t);
}

static void test_pause(void **state)
{
	struct shot s = { 0 };
	uint64_t stood, now;

	timer_init(&s.t, c, shoot, &s);
	timer_arm(&s.t, clock_now(c) + 10 * MS);
	clock_pause(c, true);
	stood = clock_now(c);
	sleep_ns(30 * MS);
	assert_true(clock_now(c) == stood);
	timer_arm(&s.t, 0); /* not even a past one */
	sleep_ns(5 * MS);
	assert_int_equal(s.n, 0);
	timer_arm(&s.t, stood + 10 * MS);
	clock_pause(c, true);
	clock_pause(c, false);
	now = clock_now(c);
	assert_true(now >= stood && now < stood + 20 * S);
	assert_true(wait_for(&s.n, 1, 5 * S));
	assert_true(s.at >= stood + 10 * MS);
	timer_release(&s.t);
}

static void test_set(void **state)
{
	struct shot s = { 0 };
	struct clock *own;

	assert_int_equal(clock_new(&own, NULL), 0);
	timer_init(&s.t, own, shoot, &s);
	timer_arm(&s.t, 1000 * S);
	clock_set(own, 1000 * S - 5 * MS); /* ahead of the host's own clock or not, whichever it is */
	assert_true(wait_for(&s.n, 1, 5 * S));
	assert_true(s.at >= 1000 * S && s.at < 1005 * S);
	/* Far beyond the host's uptime: what is added to get host time is negative. */
	clock_set(own, 1ull << 62);
	timer_arm(&s.t, (1ull << 62) + 5 * MS);
	assert_true(wait_for(&s.n, 2, 5 * S));
	assert_true(s.at >= (1ull << 62) + 5 * MS);
	clock_pause(own, true);
	clock_set(own, 77);
	assert_true(clock_now(own) == 77);
	clock_pause(own, false);
	assert_true(clock_now(own) >= 77 && clock_now(own) < 10 * S);
	timer_release(&s.t);
	clock_free(own);
}

static void slow(void *opaque)
{
	struct shot *s = opaque;

	s->order = 1;
	sleep_ns(30 * MS);
	s->n++;
	timer_arm(&s->t, 0);
}

static void test_release_waits(void **state)
{
	struct shot s = { 0 };

	timer_init(&s.t, c, slow, &s);
	timer_arm(&s.t, 0);
	assert_true(wait_for(&s.order, 1, 5 * S));
	timer_release(&s.t);
	assert_true(s.n >= 1); /* the call had ended */
	s.n = 0;
	sleep_ns(40 * MS);
	assert_int_equal(s.n, 0); /* though it armed itself again */
}

static void test_pause_waits(void **state)
{
	struct shot s = { 0 };

	timer_init(&s.t, c, slow, &s);
	timer_arm(&s.t, 0);
	assert_true(wait_for(&s.order, 1, 5 * S));
	clock_pause(c, true);
	assert_true(s.n >= 1);
	s.n = 0;
	sleep_ns(40 * MS);
	assert_int_equal(s.n, 0);
	clock_pause(c, false);
	timer_release(&s.t);
}

static void release_self(void *opaque)
{
	struct shot *s = opaque;

	timer_release(&s->t);
	s->n++;
}

static void test_release_from_callback(void **state)
{
	struct shot s = { 0 };

	timer_init(&s.t, c, release_self, &s);
	timer_arm(&s.t, 0);
	assert_true(wait_for(&s.n, 1, 5 * S));
}

static void *worry(void *arg)
{
	struct shot *s = arg;

	for (unsigned i = 0; i < 2000; i++) {
		timer_arm(&s->t, clock_now(c) + (i % 7) * 10000);
		if (i % 3 == 0)
			timer_cancel(&s->t);
		if (i % 500 == 0)
			clock_pause(c, i % 1000 == 0);
	}
	clock_pause(c, false);
	return NULL;
}

/* For the thread sanitizer, and time must never run backwards. */
static void test_threads(void **state)
{
	struct shot s[3] = { 0 };
	pthread_t th[3];
	uint64_t last = 0;

	for (int i = 0; i < 3; i++) {
		timer_init(&s[i].t, c, shoot, &s[i]);
		assert_int_equal(pthread_create(&th[i], NULL, worry, &s[i]), 0);
	}
	for (int i = 0; i < 20000; i++) {
		uint64_t now = clock_now(c);

		assert_true(now >= last);
		last = now;
	}
	for (int i = 0; i < 3; i++)
		pthread_join(th[i], NULL);
	clock_pause(c, false);
	for (int i = 0; i < 3; i++) {
		unsigned before = s[i].n;

		timer_arm(&s[i].t, 0);
		assert_true(wait_for(&s[i].n, before + 1, 5 * S));
		timer_release(&s[i].t);
	}
}

static void test_idle_costs_nothing(void **state)
{
	struct shot s = { 0 };
	struct rusage a, b;
	long used;

	timer_init(&s.t, c, shoot, &s);
	timer_arm(&s.t, clock_now(c) + 3600 * S);
	getrusage(RUSAGE_SELF, &a);
	sleep_ns(100 * MS);
	getrusage(RUSAGE_SELF, &b);
	used = (b.ru_utime.tv_sec + b.ru_stime.tv_sec - a.ru_utime.tv_sec - a.ru_stime.tv_sec) * 1000000 +
	       b.ru_utime.tv_usec + b.ru_stime.tv_usec - a.ru_utime.tv_usec - a.ru_stime.tv_usec;
	assert_true(used < 10000); /* us of 100 ms */
	assert_true(b.ru_nvcsw - a.ru_nvcsw <= 20);
	timer_release(&s.t);
}

/* Against a measurement of our own, over a longer time; a try that was interrupted does not count. */
static void test_tsc_hz(void **state)
{
	uint64_t t0, t1, n0, n1, hz = clock_tsc_hz(c);
	double mine, ppm = 0;

	for (int tries = 0; tries < 10; tries++) {
		n0 = host_ns();
		t0 = host_tsc();
		sleep_ns(100 * MS);
		n1 = host_ns();
		t1 = host_tsc();
		mine = (double)(t1 - t0) * 1e9 / (double)(n1 - n0);
		ppm = ((double)hz / mine - 1) * 1e6;
		if (ppm < 20 && ppm > -20)
			break;
	}
	if (ppm > 20 || ppm < -20)
		fail_msg("%llu Hz is %.1f ppm off", (unsigned long long)hz, ppm);
	assert_true(clock_tsc_hz(c) == hz);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_time_runs), cmocka_unit_test(test_order_and_punctuality),
		cmocka_unit_test(test_latency), cmocka_unit_test(test_past_fires_at_once),
		cmocka_unit_test(test_rearm_and_cancel), cmocka_unit_test(test_pause),
		cmocka_unit_test(test_set), cmocka_unit_test(test_release_waits),
		cmocka_unit_test(test_pause_waits), cmocka_unit_test(test_release_from_callback),
		cmocka_unit_test(test_threads), cmocka_unit_test(test_idle_costs_nothing),
		cmocka_unit_test(test_tsc_hz),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
