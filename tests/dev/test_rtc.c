/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The MC146818 through its ports, against the host's time. */
#include "dev_test.h"

#include <time.h>

#include "dev/timer/rtc.h"

#define PORT 0x70

struct fixture {
	struct bench b;
	struct probe irq;
	struct rtc *rtc;
};

static struct fixture f;

static int setup(void **state)
{
	f = (struct fixture){ 0 };
	bench_init(&f.b);
	f.rtc = rtc_new(probe_line(&f.irq), f.b.clock, 0);
	assert_int_equal(rtc_attach(f.rtc, f.b.pio, PORT), 0);
	return 0;
}

static int teardown(void **state)
{
	free_device(f.rtc);
	bench_release(&f.b);
	return 0;
}

static uint8_t get(uint8_t i)
{
	out8(&f.b, PORT, i);
	return in8(&f.b, PORT + 1);
}

static void set(uint8_t i, uint8_t val)
{
	out8(&f.b, PORT, i);
	out8(&f.b, PORT + 1, val);
}

static unsigned bcd(uint8_t v)
{
	return (v >> 4) * 10 + (v & 15);
}

/* As an operating system reads it: not during an update. */
static time_t read_time(void)
{
	struct tm tm = { 0 };

	while (get(10) & 0x80)
		;
	tm.tm_sec = bcd(get(0));
	tm.tm_min = bcd(get(2));
	tm.tm_hour = bcd(get(4));
	tm.tm_mday = bcd(get(7));
	tm.tm_mon = bcd(get(8)) - 1;
	tm.tm_year = bcd(get(9)) + bcd(get(RTC_CENTURY)) * 100 - 1900;
	return timegm(&tm);
}

static void test_shows_host_time(void **state)
{
	time_t before = time(NULL), shown = read_time(), after = time(NULL);
	struct tm tm;

	assert_in_range(shown, before - 1, after + 1);
	gmtime_r(&shown, &tm);
	assert_int_equal(get(6), tm.tm_wday + 1);
	assert_int_equal(get(13), 0x80);
	assert_int_equal(get(11), 0x02);
}

/* The wait for UIP of all who set their clock by it. */
static void test_update_in_progress(void **state)
{
	bool seen = false;
	uint8_t sec;

	for (uint64_t t0 = clock_now(f.b.clock); !seen && clock_now(f.b.clock) - t0 < 3000 * MS;)
		seen = get(10) & 0x80;
	assert_true(seen);
	sec = get(0);
	sleep_ns(3 * MS);
	assert_int_equal(get(10) & 0x80, 0);
	assert_int_not_equal(get(0), sec);
}

static void set_time(uint8_t c, uint8_t y, uint8_t mo, uint8_t d, uint8_t h, uint8_t mi, uint8_t s)
{
	set(11, get(11) | 0x80);
	set(RTC_CENTURY, c);
	set(9, y);
	set(8, mo);
	set(7, d);
	set(4, h);
	set(2, mi);
	set(0, s);
	set(11, get(11) & 0x7f);
}

static void test_set_and_formats(void **state)
{
	set_time(0x19, 0x99, 0x12, 0x31, 0x23, 0x30, 0x10);
	assert_in_range(read_time(), 946683010, 946683012);
	assert_int_equal(get(4), 0x23);
	set(11, 0x06); /* binary */
	assert_int_equal(get(4), 23);
	assert_int_equal(get(9), 99);
	assert_int_equal(get(RTC_CENTURY), 19);
	set(11, 0x04); /* binary, 12 hours */
	assert_int_equal(get(4), 0x80 | 11);
	set(11, 0x00); /* BCD, 12 hours */
	assert_int_equal(get(4), 0x80 | 0x11);
	set(4, 0x12); /* 12 AM is midnight */
	set(11, 0x02);
	assert_int_equal(get(4), 0x00);
	set(4, 0x12);
	set(11, 0x00);
	assert_int_equal(get(4), 0x80 | 0x12); /* noon */
}

static void test_set_bit_freezes(void **state)
{
	uint8_t sec;

	set(11, 0x82);
	sec = get(0);
	sleep_ns(1100 * MS);
	assert_int_equal(get(0), sec);
	assert_int_equal(get(10) & 0x80, 0);
	assert_int_equal(get(12) & 0x10, 0); /* no update-ended either */
	set(11, 0x02);
	assert_in_range(read_time(), time(NULL) - 3, time(NULL));
}

static void test_calendar_rolls_over(void **state)
{
	set_time(0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x59);
	sleep_ns(1100 * MS);
	assert_int_equal(get(8), 0x02);
	assert_int_equal(get(7), 0x29);
	assert_int_equal(get(4), 0x00);
}

static void test_nonsense_date(void **state)
{
	for (unsigned v = 0; v < 256; v += 15) {
		set_time(v, v, v, v, v, v, v);
		read_time();
		set(11, 0x04);
		set_time(v, v, v, v, v, v, v);
		get(9);
		set(11, 0x02);
	}
}

static void test_periodic_interrupt(void **state)
{
	set(10, 0x26); /* 1024 Hz */
	set(11, 0x42);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(wait_rises(&f.irq, i + 1, 1000));
		sleep_ns(5 * MS);
		assert_int_equal(f.irq.rises, i + 1); /* nothing more before C was read */
		assert_int_equal(get(12) & 0xc0, 0xc0);
		assert_false(f.irq.level);
	}
	set(11, 0x02);
	get(12);
	sleep_ns(5 * MS);
	assert_int_equal(f.irq.rises, 5);
	assert_int_equal(get(12) & 0xc0, 0x40); /* the flag without the interrupt */
	set(10, 0x20);
	get(12);
	sleep_ns(5 * MS);
	assert_int_equal(get(12) & 0x40, 0); /* rate 0: never */
}

static void test_update_and_alarm_interrupt(void **state)
{
	uint64_t wall;

	set_time(0x20, 0x20, 0x01, 0x01, 0x10, 0x20, 0x58);
	set(1, 0x00);
	set(3, 0x21);
	set(5, 0xff); /* any hour */
	get(12);
	set(11, 0x22); /* alarm at :21:00 */
	assert_true(wait_rises(&f.irq, 1, 4000));
	assert_int_equal(bcd(get(0)), 0);
	assert_int_equal(get(12) & 0xb0, 0xb0);
	set(11, 0x12);
	assert_true(wait_rises(&f.irq, 2, 2000));
	wall = clock_wall_ns(f.b.clock) % 1000000000;
	assert_true(wall < 500 * MS); /* at the change of the second (and the host is not that slow) */
	assert_int_equal(get(12) & 0x90, 0x90);
}

static void test_impossible_alarm(void **state)
{
	set(1, 0x75);
	set(3, 0x75);
	set(5, 0x75);
	set(11, 0x22);
	sleep_ns(1100 * MS);
	assert_int_equal(f.irq.rises, 0);
	assert_int_equal(get(12) & 0x20, 0);
}

static void test_cmos_and_index(void **state)
{
	rtc_set_cmos(f.rtc, 0x15, 0x80);
	assert_int_equal(get(0x15), 0x80);
	set(0x7f, 0xa5);
	assert_int_equal(get(0xff), 0xa5); /* bit 7 is the NMI mask */
	assert_int_equal(in8(&f.b, PORT), 0xff);
	reset_device(f.rtc);
	assert_int_equal(get(0x7f), 0xa5); /* battery-backed */
	set(13, 0);
	assert_int_equal(get(13), 0x80);
}

static void test_state(void **state)
{
	set_time(0x20, 0x30, 0x06, 0x15, 0x12, 0x00, 0x00);
	set(0x40, 0x77);
	set(10, 0x26);
	get(12);
	set(11, 0x02);
	check_round_trip(f.b.clock, f.rtc);
	assert_int_equal(get(9), 0x30);
	assert_int_equal(get(0x40), 0x77);
	set(11, 0x42);
	check_round_trip(f.b.clock, f.rtc);
	get(12);
	assert_true(wait_rises(&f.irq, 1, 1000));
}

static void poke(void *opaque)
{
	for (unsigned i = 0; i < 64; i++)
		get(i);
	set(11, 0x72);
	set(11, 0x80);
	set(11, 0x00);
}

static void test_hostile_state(void **state)
{
	check_hostile_state(f.b.clock, f.rtc, poke, NULL);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_shows_host_time), T(test_update_in_progress), T(test_set_and_formats),
		T(test_set_bit_freezes), T(test_calendar_rolls_over), T(test_nonsense_date),
		T(test_periodic_interrupt), T(test_update_and_alarm_interrupt), T(test_impossible_alarm),
		T(test_cmos_and_index), T(test_state), T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
