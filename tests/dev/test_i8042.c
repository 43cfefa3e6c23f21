/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 8042 through its ports, in the steps of operating systems' probes. */
#include "dev_test.h"

#include "dev/input/i8042.h"

#define DATA 0x60
#define CMD 0x64

struct fixture {
	struct bench b;
	struct probe kbd, aux, a20, reset;
	struct i8042 *k;
};

static struct fixture f;

static int setup(void **state)
{
	struct i8042_config c;

	f = (struct fixture){ 0 };
	bench_init(&f.b);
	c = (struct i8042_config){
		.kbd = probe_line(&f.kbd), .aux = probe_line(&f.aux), .a20 = probe_line(&f.a20),
		.reset = probe_line(&f.reset),
	};
	f.k = i8042_new(&c);
	assert_int_equal(i8042_attach(f.k, f.b.pio, DATA, CMD), 0);
	return 0;
}

static int teardown(void **state)
{
	free_device(f.k);
	bench_release(&f.b);
	return 0;
}

static void expect(uint8_t val, bool aux)
{
	assert_int_equal(in8(&f.b, CMD) & 0x21, aux ? 0x21 : 0x01);
	assert_int_equal(in8(&f.b, DATA), val);
}

static void expect_empty(void)
{
	assert_int_equal(in8(&f.b, CMD) & 0x01, 0);
}

/* The controller part of Linux's i8042 driver. */
static void test_linux_probe(void **state)
{
	expect_empty();
	out8(&f.b, CMD, 0x20);
	expect(0x34, false); /* both interfaces off, system flag */
	out8(&f.b, CMD, 0xaa);
	expect(0x55, false);
	out8(&f.b, CMD, 0x60);
	out8(&f.b, DATA, 0x74);
	out8(&f.b, CMD, 0x20);
	expect(0x74, false);
	out8(&f.b, CMD, 0xd3); /* auxiliary loop */
	out8(&f.b, DATA, 0x5a);
	expect(0x5a, true);
	out8(&f.b, CMD, 0xa9);
	expect(0x00, false);
	out8(&f.b, CMD, 0xa8);
	out8(&f.b, CMD, 0x20);
	assert_int_equal(in8(&f.b, DATA) & 0x20, 0);
	out8(&f.b, CMD, 0xa7);
	out8(&f.b, CMD, 0x20);
	assert_int_equal(in8(&f.b, DATA) & 0x20, 0x20);
	out8(&f.b, CMD, 0xab);
	expect(0x00, false);
	/* Nobody at the mouse port: a time-out. */
	out8(&f.b, CMD, 0xd4);
	out8(&f.b, DATA, 0xf2);
	assert_int_equal(in8(&f.b, CMD) & 0x61, 0x61);
	assert_int_equal(in8(&f.b, DATA), 0xfe);
	expect_empty();
}

static void test_keyboard(void **state)
{
	out8(&f.b, CMD, 0x60);
	out8(&f.b, DATA, 0x05); /* interrupt and clock on */
	out8(&f.b, DATA, 0xff);
	assert_int_equal(f.kbd.rises, 1);
	expect(0xfa, false);
	assert_int_equal(f.kbd.rises, 2); /* each byte is an edge */
	expect(0xaa, false);
	assert_false(f.kbd.level);
	out8(&f.b, DATA, 0xf2);
	expect(0xfa, false);
	expect(0xab, false);
	expect(0x83, false);
	out8(&f.b, DATA, 0xed);
	expect(0xfa, false);
	out8(&f.b, DATA, 0x07);
	expect(0xfa, false);
	out8(&f.b, DATA, 0xf0);
	expect(0xfa, false);
	out8(&f.b, DATA, 0x00);
	expect(0xfa, false);
	expect(0x02, false);
	out8(&f.b, DATA, 0xee);
	expect(0xee, false);
	out8(&f.b, DATA, 0x12);
	expect(0xfe, false); /* resend: not a command */
	out8(&f.b, CMD, 0xad);
	out8(&f.b, CMD, 0xd2); /* as if the keyboard had sent it */
	out8(&f.b, DATA, 0x1c);
	assert_true(f.kbd.level);
	expect(0x1c, false);
	expect_empty();
}

static void test_reset_and_a20(void **state)
{
	assert_true(f.a20.level);
	out8(&f.b, CMD, 0xd1);
	out8(&f.b, DATA, 0xdd);
	assert_false(f.a20.level);
	out8(&f.b, CMD, 0xd0);
	assert_int_equal(in8(&f.b, DATA) & 0x03, 0x01);
	out8(&f.b, CMD, 0xdf);
	assert_true(f.a20.level);
	out8(&f.b, CMD, 0xf1); /* pulses nothing that is wired */
	out8(&f.b, CMD, 0xff);
	assert_int_equal(f.reset.rises, 0);
	out8(&f.b, CMD, 0xfe);
	assert_int_equal(f.reset.rises, 1);
	out8(&f.b, CMD, 0xd1);
	out8(&f.b, DATA, 0x02);
	assert_int_equal(f.reset.rises, 2);
}

static void test_ram(void **state)
{
	for (unsigned i = 1; i < 32; i++) {
		out8(&f.b, CMD, 0x60 + i);
		out8(&f.b, DATA, i * 7);
	}
	for (unsigned i = 1; i < 32; i++) {
		out8(&f.b, CMD, 0x20 + i);
		expect((i * 7) & 0xff, false);
	}
	out8(&f.b, CMD, 0xc0);
	expect(0x80, false);
	out8(&f.b, CMD, 0xa4);
	expect(0xf1, false);
}

static void test_state(void **state)
{
	out8(&f.b, CMD, 0x60);
	out8(&f.b, DATA, 0x05);
	out8(&f.b, DATA, 0xf2);
	out8(&f.b, CMD, 0xd1); /* waits for its byte */
	check_round_trip(f.b.clock, f.k);
	out8(&f.b, DATA, 0xdd);
	assert_false(f.a20.level);
	expect(0xfa, false);
	expect(0xab, false);
	expect(0x83, false);
	reset_device(f.k);
	assert_true(f.a20.level);
	expect_empty();
}

static void poke(void *opaque)
{
	for (unsigned i = 0; i < 20; i++)
		in8(&f.b, DATA);
	out8(&f.b, DATA, 0x55);
	out8(&f.b, DATA, 0xf2);
	in8(&f.b, CMD);
	out8(&f.b, CMD, 0x3f);
}

static void test_hostile_state(void **state)
{
	out8(&f.b, DATA, 0xf2);
	check_hostile_state(f.b.clock, f.k, poke, NULL);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_linux_probe), T(test_keyboard), T(test_reset_and_a20), T(test_ram), T(test_state),
		T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
