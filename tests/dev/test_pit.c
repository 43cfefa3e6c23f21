/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 8254 through its ports, against the real clock. */
#include "dev_test.h"

#include "dev/timer/pit.h"

#define PORT 0x40
#define CONTROL 0x43
#define PORT_B 0x61

struct fixture {
	struct bench b;
	struct probe out;
	struct pit *pit;
};

static struct fixture f;

static int setup(void **state)
{
	f = (struct fixture){ 0 };
	bench_init(&f.b);
	f.pit = pit_new(probe_line(&f.out), f.b.clock);
	assert_int_equal(pit_attach(f.pit, f.b.pio, PORT, PORT_B), 0);
	return 0;
}

static int teardown(void **state)
{
	free_device(f.pit);
	bench_release(&f.b);
	return 0;
}

static void program(unsigned n, unsigned mode, uint16_t count)
{
	out8(&f.b, CONTROL, n << 6 | 3 << 4 | mode << 1);
	out8(&f.b, PORT + n, count & 0xff);
	out8(&f.b, PORT + n, count >> 8);
}

static uint16_t latch(unsigned n)
{
	uint8_t lsb;

	out8(&f.b, CONTROL, n << 6);
	lsb = in8(&f.b, PORT + n);
	return lsb | in8(&f.b, PORT + n) << 8;
}

static uint8_t status(unsigned n)
{
	out8(&f.b, CONTROL, 0xe0 | 2u << n);
	return in8(&f.b, PORT + n);
}

static uint64_t ticks(uint64_t ns)
{
	return ns * PIT_HZ / 1000000000;
}

static void test_counts_at_its_rate(void **state)
{
	uint64_t t0, t1, t2, t3;
	uint16_t a, b;

	program(0, 2, 0);
	t0 = clock_now(f.b.clock);
	a = latch(0);
	t1 = clock_now(f.b.clock);
	sleep_ns(10 * MS);
	t2 = clock_now(f.b.clock);
	b = latch(0);
	t3 = clock_now(f.b.clock);
	if (t3 - t0 < 50 * MS) /* else it wrapped on a very busy host */
		assert_in_range((uint16_t)(a - b), ticks(t2 - t1) - 1, ticks(t3 - t0) + 1);
}

static void test_mode0_interrupt(void **state)
{
	program(0, 0, 2386); /* 2 ms */
	assert_false(f.out.level);
	assert_int_equal(status(0) & 0x80, 0);
	assert_true(wait_rises(&f.out, 1, 1000));
	assert_true(f.out.level);
	assert_int_equal(status(0) & 0x80, 0x80);
	sleep_ns(5 * MS);
	assert_int_equal(f.out.rises, 1);
	assert_true(latch(0) > 0x8000); /* it counts on below zero */
	out8(&f.b, CONTROL, 0x30);
	assert_false(f.out.level);
	out8(&f.b, PORT, 0x52); /* one byte of two: not counting yet */
	assert_int_equal(status(0) & 0x40, 0x40);
	sleep_ns(3 * MS);
	assert_false(f.out.level);
}

static unsigned count_rises(unsigned mode, uint16_t count, unsigned ms)
{
	unsigned before;

	program(0, mode, count);
	before = f.out.rises;
	sleep_ns(ms * MS);
	return f.out.rises - before;
}

static void test_periodic_modes(void **state)
{
	uint64_t t0 = clock_now(f.b.clock), dt;
	unsigned n = count_rises(2, 2386, 40);

	dt = clock_now(f.b.clock) - t0;
	assert_in_range(n, 2, dt / (2 * MS) + 1); /* at least: a busy machine may be late */
	t0 = clock_now(f.b.clock);
	n = count_rises(3, 2386, 40);
	dt = clock_now(f.b.clock) - t0;
	assert_in_range(n, 2, dt / (2 * MS) + 1); /* at least: a busy machine may be late */
	/* 1.7 us: coalesced, so that the host's thread sleeps between. */
	t0 = clock_now(f.b.clock);
	n = count_rises(2, 2, 20);
	dt = clock_now(f.b.clock) - t0;
	assert_in_range(n, 2, dt / (50 * US) + 1);
	/* 1 is illegal there: no edges, no harm. */
	assert_int_equal(count_rises(2, 1, 5), 0);
}

static void test_mode4_strobe(void **state)
{
	program(0, 4, 1193);
	assert_int_equal(status(0) & 0x80, 0x80);
	assert_true(wait_rises(&f.out, 2, 1000)); /* at programming, and behind the strobe */
	sleep_ns(5 * MS);
	assert_int_equal(f.out.rises, 2);
}

/* Counter 2 with its gate, as Linux calibrates its TSC by it. */
static void test_gate_and_port_b(void **state)
{
	uint64_t t0, dt;

	out8(&f.b, PORT_B, (in8(&f.b, PORT_B) & ~0x02) | 0x01);
	program(2, 0, 11932); /* 10 ms */
	t0 = clock_now(f.b.clock);
	assert_int_equal(in8(&f.b, PORT_B) & 0x21, 0x01);
	while (!(in8(&f.b, PORT_B) & 0x20))
		if (clock_now(f.b.clock) - t0 > 1000 * MS)
			break;
	dt = clock_now(f.b.clock) - t0;
	assert_in_range(dt, 9990 * US, 1000 * MS);
	/* The gate holds mode 0 ... */
	program(2, 0, 5966);
	out8(&f.b, PORT_B, 0);
	sleep_ns(8 * MS);
	assert_int_equal(in8(&f.b, PORT_B) & 0x20, 0);
	assert_int_equal(latch(2), latch(2));
	out8(&f.b, PORT_B, 1); /* ... and lets it go on */
	sleep_ns(7 * MS);
	assert_int_equal(in8(&f.b, PORT_B) & 0x20, 0x20);
	/* In mode 1 a rising gate is the trigger. */
	out8(&f.b, PORT_B, 0);
	program(2, 1, 1193);
	assert_int_equal(in8(&f.b, PORT_B) & 0x20, 0x20);
	sleep_ns(2 * MS);
	out8(&f.b, PORT_B, 1);
	assert_int_equal(in8(&f.b, PORT_B) & 0x20, 0);
	sleep_ns(2 * MS);
	assert_int_equal(in8(&f.b, PORT_B) & 0x20, 0x20);
	/* In modes 2 and 3 a low gate holds the output high. */
	program(2, 3, 1000);
	out8(&f.b, PORT_B, 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(in8(&f.b, PORT_B) & 0x20, 0x20);
}

static void test_refresh_bit(void **state)
{
	unsigned toggles = 0;
	uint8_t last = in8(&f.b, PORT_B);
	uint64_t t0 = clock_now(f.b.clock);

	while (clock_now(f.b.clock) - t0 < 2 * MS) {
		uint8_t v = in8(&f.b, PORT_B);

		toggles += (v ^ last) >> 4 & 1;
		last = v;
	}
	assert_in_range(toggles, 4, 140); /* every 15 us, if the host lets us look that often */
}

static void test_access_modes_and_latches(void **state)
{
	out8(&f.b, CONTROL, 0x90); /* counter 2, LSB only, mode 0, gate low: the count stands */
	out8(&f.b, PORT + 2, 0x34);
	assert_int_equal(in8(&f.b, PORT + 2), 0x34);
	assert_int_equal(in8(&f.b, PORT + 2), 0x34);
	assert_int_equal(status(2), 0x10);
	out8(&f.b, CONTROL, 0xa0); /* MSB only */
	out8(&f.b, PORT + 2, 0x12);
	assert_int_equal(in8(&f.b, PORT + 2), 0x12);
	program(2, 0, 0x4567);
	out8(&f.b, CONTROL, 0xc8); /* read back: status and count of counter 2 */
	assert_int_equal(in8(&f.b, PORT + 2), 0x30);
	assert_int_equal(in8(&f.b, PORT + 2), 0x67);
	assert_int_equal(in8(&f.b, PORT + 2), 0x45);
	out8(&f.b, CONTROL, 0x80);
	out8(&f.b, CONTROL, 0x80); /* the second latch command is ignored */
	assert_int_equal(in8(&f.b, PORT + 2), 0x67);
	assert_int_equal(in8(&f.b, PORT + 2), 0x45);
	assert_int_equal(in8(&f.b, CONTROL), 0xff);
}

static void test_bcd(void **state)
{
	out8(&f.b, CONTROL, 0xb1); /* counter 2, word, mode 0, BCD */
	out8(&f.b, PORT + 2, 0x34);
	out8(&f.b, PORT + 2, 0x12);
	assert_int_equal(latch(2), 0x1234);
	out8(&f.b, PORT + 2, 0); /* 0 is 10000 */
	out8(&f.b, PORT + 2, 0);
	assert_int_equal(latch(2), 0);
	out8(&f.b, PORT + 2, 0xff); /* digits that are none */
	out8(&f.b, PORT + 2, 0xff);
	latch(2);
	out8(&f.b, PORT_B, 1);
	sleep_ns(1 * MS);
	assert_true((latch(2) & 0xf) < 10);
}

/* A new count of a periodic counter waits for the end of the cycle. */
static void test_new_count_in_mode2(void **state)
{
	program(0, 2, 11932);
	out8(&f.b, PORT, 100);
	out8(&f.b, PORT, 0);
	assert_int_equal(status(0) & 0x40, 0x40);
	assert_true(latch(0) > 100);
	sleep_ns(11 * MS);
	assert_true(latch(0) <= 100);
	assert_int_equal(status(0) & 0x40, 0);
}

static void test_state(void **state)
{
	program(0, 2, 2386);
	out8(&f.b, PORT_B, 3);
	program(2, 3, 4000);
	out8(&f.b, CONTROL, 0x80);
	check_round_trip(f.b.clock, f.pit);
	assert_int_equal(in8(&f.b, PORT_B) & 0x0f, 3);
	f.out.rises = 0;
	assert_true(wait_rises(&f.out, 3, 1000)); /* it ticks on */
	reset_device(f.pit);
	f.out.rises = 0;
	sleep_ns(5 * MS);
	assert_int_equal(f.out.rises, 0);
}

static void poke(void *opaque)
{
	for (unsigned n = 0; n < 3; n++) {
		latch(n);
		status(n);
	}
	out8(&f.b, PORT_B, in8(&f.b, PORT_B) ^ 1);
	latch(2);
	out8(&f.b, PORT, 7);
	out8(&f.b, PORT_B, 1);
}

static void test_hostile_state(void **state)
{
	program(0, 2, 50000);
	program(1, 1, 3);
	out8(&f.b, PORT_B, 1);
	program(2, 3, 1000);
	check_hostile_state(f.b.clock, f.pit, poke, NULL);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_counts_at_its_rate), T(test_mode0_interrupt), T(test_periodic_modes), T(test_mode4_strobe),
		T(test_gate_and_port_b), T(test_refresh_bit), T(test_access_modes_and_latches), T(test_bcd),
		T(test_new_count_in_mode2), T(test_state), T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
