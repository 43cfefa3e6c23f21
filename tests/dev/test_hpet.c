/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The HPET through its registers: counter, one-shot and periodic timers, legacy replacement, level interrupts, state. */
#include "dev_test.h"

#include <string.h>

#include "dev/timer/hpet.h"

#define BASE  0xfed00000ull
#define ROUTE 20u

struct fixture {
	struct bench b;
	struct hpet *h;
	struct probe legacy[2], route[HPET_ROUTES];
};

static struct fixture f;

static int setup(void **state)
{
	struct hpet_config c = { .first_route = ROUTE };

	f = (struct fixture){ 0 };
	bench_init(&f.b);
	c.clock = f.b.clock;
	for (unsigned i = 0; i < 2; i++)
		c.legacy[i] = probe_line(&f.legacy[i]);
	for (unsigned i = 0; i < HPET_ROUTES; i++)
		c.route[i] = probe_line(&f.route[i]);
	f.h = hpet_new(&c);
	assert_int_equal(hpet_attach(f.h, f.b.mem, BASE), 0);
	return 0;
}

static int teardown(void **state)
{
	free_device(f.h);
	bench_release(&f.b);
	return 0;
}

static uint64_t get(unsigned reg)
{
	return space_read(f.b.mem, BASE + reg, 8);
}

static void put(unsigned reg, uint64_t val)
{
	space_write(f.b.mem, BASE + reg, 8, val);
}

static void test_counter(void **state)
{
	uint64_t before;

	assert_int_equal(get(0), 10000000ull << 32 | 0x8086a201);
	assert_int_equal(space_read(f.b.mem, BASE + 4, 4), 10000000);
	sleep_ns(1000);
	assert_int_equal(get(0xf0), 0);
	put(0xf0, 0x1234567890);
	put(0x10, 1);
	before = get(0xf0);
	assert_true(before >= 0x1234567890);
	sleep_ns(5 * MS);
	assert_true(get(0xf0) - before >= 500000);
	put(0xf0, 0); /* not while it runs */
	assert_true(get(0xf0) > before);
	put(0x10, 0);
	before = get(0xf0);
	sleep_ns(1000);
	assert_int_equal(get(0xf0), before);
}

static void test_one_shot(void **state)
{
	put(0x140, ROUTE << 9 | 0x4);
	put(0x148, 200000);
	put(0x10, 1);
	assert_true(wait_rises(&f.route[0], 1, 10000));
	assert_true(get(0xf0) >= 200000);
	sleep_ns(5 * MS);
	assert_int_equal(f.route[0].rises, 1);
	/* Level: the line is high until the status bit is cleared. */
	put(0x140, (ROUTE + 1) << 9 | 0x6);
	put(0x148, get(0xf0) + 100000);
	assert_true(wait_rises(&f.route[1], 1, 10000));
	assert_true(f.route[1].level);
	assert_int_equal(get(0x20), 4);
	put(0x20, 4);
	assert_false(f.route[1].level);
	assert_int_equal(get(0x20), 0);
}

/* As Linux sets up its tick: periodic, value set, 32 bits, in place of the 8254. */
static void test_legacy(void **state)
{
	struct irq_line pit = hpet_input(f.h, 0);

	irq_set(&pit, true);
	assert_true(f.legacy[0].level);
	irq_set(&pit, false);
	put(0x100, 0x4 | 0x8 | 0x40 | 0x100);
	put(0x108, 100000);
	put(0x108, 100000);
	put(0x10, 3);
	assert_true(wait_rises(&f.legacy[0], 6, 10000));
	irq_set(&pit, true); /* goes nowhere */
	assert_true(get(0x108) <= UINT32_MAX);
	put(0x10, 0);
	assert_true(f.legacy[0].level); /* the 8254's again */
}

static void poke(void *opaque)
{
	for (unsigned reg = 0; reg < HPET_SIZE; reg += 4)
		space_write(f.b.mem, BASE + reg, 4, reg * 0x01010101u);
	get(0xf0);
}

static void test_state(void **state)
{
	put(0x120, (ROUTE + 2) << 9 | 0x6 | 0x8 | 0x40);
	put(0x128, 1000);
	put(0x10, 1);
	assert_true(wait_rises(&f.route[2], 1, 10000));
	put(0x10, 0);
	check_round_trip(f.b.clock, f.h);
	check_hostile_state(f.b.clock, f.h, poke, NULL);
}

static void test_garbage(void **state)
{
	uint64_t seed = 11;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = next_random(&seed);

		if (r & 1)
			space_write(f.b.mem, BASE + (r >> 8) % HPET_SIZE, 1u << (r >> 4 & 3), next_random(&seed) >> (r >> 32 & 63));
		else
			space_read(f.b.mem, BASE + (r >> 8) % HPET_SIZE, 1u << (r >> 4 & 3));
	}
	reset_device(f.h);
	assert_int_equal(get(0xf0), 0);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = { T(test_counter), T(test_one_shot), T(test_legacy), T(test_state), T(test_garbage) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
