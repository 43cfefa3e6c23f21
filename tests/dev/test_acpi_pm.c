/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI fixed hardware through its ports. */
#include "dev_test.h"

#include "dev/timer/acpi_pm.h"

#define PORT 0x600
#define STS (PORT)
#define EN (PORT + 2)
#define CNT (PORT + ACPI_PM_CNT)
#define TMR (PORT + ACPI_PM_TIMER)

struct fixture {
	struct bench b;
	struct probe sci;
	struct acpi_pm *pm;
	unsigned offs;
};

static struct fixture f;

static void power_off(void *opaque)
{
	f.offs++;
}

static void make(bool timer_32bit)
{
	struct acpi_pm_config c = {
		.sci = probe_line(&f.sci), .clock = f.b.clock, .timer_32bit = timer_32bit, .s5_type = 5,
		.power_off = power_off,
	};

	f.pm = acpi_pm_new(&c);
	acpi_pm_attach(f.pm, f.b.pio);
	acpi_pm_place(f.pm, PORT);
}

static int setup(void **state)
{
	f = (struct fixture){ 0 };
	bench_init(&f.b);
	make(true);
	return 0;
}

static int teardown(void **state)
{
	free_device(f.pm);
	bench_release(&f.b);
	return 0;
}

static uint32_t in(uint16_t port, unsigned size)
{
	return space_read(f.b.pio, port, size);
}

static void out(uint16_t port, unsigned size, uint32_t val)
{
	space_write(f.b.pio, port, size, val);
}

static void test_timer_rate(void **state)
{
	uint64_t t0 = clock_now(f.b.clock), t1, t2, t3;
	uint32_t a = in(TMR, 4), b;

	t1 = clock_now(f.b.clock);
	sleep_ns(10 * MS);
	t2 = clock_now(f.b.clock);
	b = in(TMR, 4);
	t3 = clock_now(f.b.clock);
	assert_in_range(b - a, (t2 - t1) * ACPI_PM_TIMER_HZ / 1000000000 - 1,
			(t3 - t0) * ACPI_PM_TIMER_HZ / 1000000000 + 1);
	out(TMR, 4, 0); /* read-only */
	assert_true(in(TMR, 4) >= b);
}

static void test_24_bits_and_overflow(void **state)
{
	free_device(f.pm);
	space_free(f.b.pio);
	f.b.pio = space_new("ports", 16);
	make(false);
	/* The top bit changes every 2^23 ticks, 2.34 s: go there by setting the clock. */
	clock_set(f.b.clock, 4686000000ull); /* 2^24 ticks are at 4.68696 s */
	reset_device(f.pm);
	out(EN, 2, 1);
	assert_true(in(TMR, 4) > 0xff0000);
	assert_false(f.sci.level);
	assert_true(wait_rises(&f.sci, 1, 1000));
	assert_true(in(TMR, 4) < 0x800000);
	assert_int_equal(in(STS, 2), 1);
	out(STS, 2, 1); /* write 1 to clear */
	assert_false(f.sci.level);
	assert_int_equal(in(STS, 2), 0);
}

static void test_power_button(void **state)
{
	acpi_pm_power_button(f.pm);
	assert_false(f.sci.level); /* not enabled */
	assert_int_equal(in(STS, 2), 0x100);
	out(EN, 2, 0x100);
	assert_true(f.sci.level);
	out(STS, 2, 0xfeff);
	assert_true(f.sci.level);
	out(STS + 1, 1, 0x01);
	assert_false(f.sci.level);
	assert_int_equal(in(EN, 2), 0x100);
	out(EN, 2, 0xffff);
	assert_int_equal(in(EN, 2), 0x0721); /* the fixed events: Linux checks that RTC_EN sticks */
}

static void test_control(void **state)
{
	assert_int_equal(in(CNT, 2), 1); /* SCI_EN */
	out(CNT, 2, 0);
	assert_int_equal(in(CNT, 2), 1);
	out(CNT, 2, 5 << 10);
	assert_int_equal(f.offs, 0);
	out(CNT, 2, 3 << 10 | 1 << 13); /* another sleep type */
	assert_int_equal(f.offs, 0);
	assert_int_equal(in(CNT, 2), 3 << 10 | 1); /* SLP_EN reads 0 */
	out(CNT, 2, 5 << 10 | 1 << 13);
	assert_int_equal(f.offs, 1);
	out(CNT + 1, 1, 0x34);
	assert_int_equal(f.offs, 2);
}

static void test_access_sizes(void **state)
{
	out(STS, 4, 0x01210000); /* status and enable at once */
	assert_int_equal(in(STS, 4), 0x01210000);
	assert_int_equal(in(STS + 3, 1), 0x01);
	assert_int_equal(in(EN, 4), 0x00010121); /* across the blocks */
	assert_int_equal(in(PORT + 6, 2), 0);
	out(PORT + 6, 4, ~0u);
}

static void test_state(void **state)
{
	out(EN, 2, 0x101);
	out(CNT, 2, 2 << 10);
	acpi_pm_power_button(f.pm);
	check_round_trip(f.b.clock, f.pm);
	assert_true(f.sci.level);
	assert_int_equal(in(CNT, 2), 2 << 10 | 1);
	reset_device(f.pm);
	assert_false(f.sci.level);
	assert_int_equal(in(EN, 2), 0);
}

static void poke(void *opaque)
{
	for (unsigned i = 0; i < ACPI_PM_SIZE; i++)
		in(PORT + i, 4);
	acpi_pm_power_button(f.pm);
}

static void test_hostile_state(void **state)
{
	check_hostile_state(f.b.clock, f.pm, poke, NULL);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_timer_rate), T(test_24_bits_and_overflow), T(test_power_button), T(test_control),
		T(test_access_sizes), T(test_state), T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
