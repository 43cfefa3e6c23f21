/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 8042 through its ports, in the steps of operating systems' probes. */
#include "dev_test.h"

#include <linux/input-event-codes.h>

#include "backend/display/input.h"
#include "dev/input/i8042.h"

#define DATA 0x60
#define CMD 0x64

struct fixture {
	struct bench b;
	struct probe kbd, aux, a20, reset;
	struct input *in; /* NULL: nobody types */
	struct i8042 *k;
};

static struct fixture f;

static void set_up(struct input *in)
{
	struct i8042_config c;

	f = (struct fixture){ .in = in };
	bench_init(&f.b);
	c = (struct i8042_config){
		.kbd = probe_line(&f.kbd), .aux = probe_line(&f.aux), .a20 = probe_line(&f.a20),
		.reset = probe_line(&f.reset), .input = in,
	};
	f.k = i8042_new(&c);
	assert_int_equal(i8042_attach(f.k, f.b.pio, DATA, CMD), 0);
}

static int setup(void **state)
{
	set_up(NULL);
	return 0;
}

/* With somebody who types, both interfaces and interrupts on. */
static int setup_input(void **state)
{
	set_up(input_new());
	out8(&f.b, CMD, 0x60);
	out8(&f.b, DATA, 0x07);
	return 0;
}

static int teardown(void **state)
{
	free_device(f.k);
	input_free(f.in);
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

/* -- With keys and a mouse --------------------------------------------------------------------------- */

static void expect_bytes(const char *what, const uint8_t *bytes, unsigned n, bool aux)
{
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(in8(&f.b, CMD) & 0x21, aux ? 0x21 : 0x01);
		if (in8(&f.b, DATA) != bytes[i])
			fail_msg("%s: byte %u is wrong", what, i);
	}
	expect_empty();
}

#define KEYS(...) expect_bytes(#__VA_ARGS__, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), false)
#define MOUSE(...) expect_bytes(#__VA_ARGS__, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), true)

static void press(unsigned code)
{
	input_key(f.in, code, true);
	input_key(f.in, code, false);
}

static void test_keys(void **state)
{
	press(KEY_A);
	assert_true(f.kbd.level);
	KEYS(0x1c, 0xf0, 0x1c);
	assert_int_equal(f.kbd.rises, 3);
	press(KEY_UP);
	KEYS(0xe0, 0x75, 0xe0, 0xf0, 0x75);
	press(KEY_F7);
	KEYS(0x83, 0xf0, 0x83);
	press(KEY_PAUSE);
	KEYS(0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77);
	press(KEY_MICMUTE); /* the keyboard has none */
	expect_empty();
	/* Translated to set 1, as every PC's firmware and system has it. */
	out8(&f.b, CMD, 0x60);
	out8(&f.b, DATA, 0x47);
	press(KEY_A);
	KEYS(0x1e, 0x9e);
	press(KEY_RIGHTCTRL);
	KEYS(0xe0, 0x1d, 0xe0, 0x9d);
	press(KEY_PAUSE);
	KEYS(0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5);
	for (unsigned code = KEY_ESC; code <= KEY_F10; code++) {
		press(code);
		KEYS(code, code | 0x80);
	}
	out8(&f.b, DATA, 0xf2);
	KEYS(0xfa, 0xab, 0x41);
	/* Set 1 itself, without translation; set 3 is refused. */
	out8(&f.b, CMD, 0x60);
	out8(&f.b, DATA, 0x07);
	out8(&f.b, DATA, 0xf0);
	out8(&f.b, DATA, 0x01);
	KEYS(0xfa, 0xfa);
	press(KEY_A);
	KEYS(0x1e, 0x9e);
	out8(&f.b, DATA, 0xf0);
	KEYS(0xfa);
	out8(&f.b, DATA, 0x03);
	KEYS(0xfe);
}

/* Commands do not lose keys; what is too much is lost, but no key stays pressed. */
static void test_keys_and_commands(void **state)
{
	unsigned makes = 0, breaks = 0;

	input_key(f.in, KEY_CAPSLOCK, true);
	input_key(f.in, KEY_CAPSLOCK, false);
	assert_int_equal(in8(&f.b, DATA), 0x58);
	out8(&f.b, DATA, 0xed); /* the release is already in the buffer: half of it */
	KEYS(0xf0, 0xfa, 0x58);
	out8(&f.b, DATA, 0x04);
	KEYS(0xfa);
	assert_int_equal(input_leds(f.in), INPUT_CAPS_LOCK);
	out8(&f.b, DATA, 0xf5);
	KEYS(0xfa);
	press(KEY_A);
	expect_empty();
	out8(&f.b, DATA, 0xf4);
	KEYS(0xfa);
	for (unsigned i = 0; i < 300; i++)
		input_key(f.in, KEY_B, true);
	input_key(f.in, KEY_B, false);
	while (in8(&f.b, CMD) & 1)
		if (in8(&f.b, DATA) == 0xf0)
			breaks++;
		else
			makes++;
	assert_true(makes > 100 && breaks == 1);
	out8(&f.b, DATA, 0xff);
	KEYS(0xfa, 0xaa);
	assert_int_equal(input_leds(f.in), 0);
	out8(&f.b, DATA, 0xfe); /* once more, please */
	KEYS(0xaa);
}

static void to_mouse(uint8_t val)
{
	out8(&f.b, CMD, 0xd4);
	out8(&f.b, DATA, val);
}

/* The steps of Linux' psmouse. */
static void test_mouse(void **state)
{
	static const uint8_t wheel[] = { 200, 100, 80 }, five[] = { 200, 200, 80 };

	to_mouse(0xff);
	MOUSE(0xfa, 0xaa, 0x00);
	input_move(f.in, 5, 5); /* not yet enabled */
	expect_empty();
	to_mouse(0xe9);
	MOUSE(0xfa, 0x00, 2, 100);
	to_mouse(0xf2);
	MOUSE(0xfa, 0x00);
	to_mouse(0xf4);
	MOUSE(0xfa);
	input_move(f.in, 3, 4);
	assert_true(f.aux.level);
	MOUSE(0x28, 3, 0xfc);
	input_buttons(f.in, INPUT_LEFT);
	MOUSE(0x09, 0, 0);
	input_buttons(f.in, 0);
	MOUSE(0x08, 0, 0);
	input_move(f.in, -300, 0);
	MOUSE(0x18, 0x81, 0, 0x18, 0x81, 0, 0x18, 0xd2, 0);
	for (unsigned i = 0; i < 3; i++) {
		to_mouse(0xf3);
		to_mouse(wheel[i]);
		MOUSE(0xfa, 0xfa);
	}
	to_mouse(0xf2);
	MOUSE(0xfa, 0x03);
	input_wheel(f.in, -1);
	MOUSE(0x08, 0, 0, 0xff);
	for (unsigned i = 0; i < 3; i++) {
		to_mouse(0xf3);
		to_mouse(five[i]);
		MOUSE(0xfa, 0xfa);
	}
	to_mouse(0xf2);
	MOUSE(0xfa, 0x04);
	input_buttons(f.in, INPUT_SIDE);
	MOUSE(0x08, 0, 0, 0x10);
	to_mouse(0xf0); /* remote: only when asked */
	MOUSE(0xfa);
	input_move(f.in, 1, 0);
	expect_empty();
	to_mouse(0xeb);
	MOUSE(0xfa, 0x08, 1, 0, 0x10);
	to_mouse(0xee); /* wrap: a mirror */
	MOUSE(0xfa);
	to_mouse(0xeb);
	MOUSE(0xeb);
	to_mouse(0xec);
	MOUSE(0xfa);
	to_mouse(0x55);
	MOUSE(0xfe);
}

/* What nobody takes is added up; a click keeps its place among movements. */
static void test_mouse_unread(void **state)
{
	int dx = 0, packets = 0, clicks = 0;

	to_mouse(0xf4);
	MOUSE(0xfa);
	for (unsigned i = 0; i < 100; i++)
		input_move(f.in, 10, 0);
	input_buttons(f.in, INPUT_RIGHT);
	input_buttons(f.in, 0);
	while (in8(&f.b, CMD) & 1) {
		uint8_t head = in8(&f.b, DATA);

		dx += (int8_t)in8(&f.b, DATA);
		in8(&f.b, DATA);
		clicks += (head & 2) != 0;
		packets++;
	}
	assert_int_equal(dx, 1000);
	assert_true(packets < 30 && clicks >= 1);
}

static void test_input_state(void **state)
{
	to_mouse(0xf4);
	press(KEY_A);
	input_move(f.in, 700, -3);
	out8(&f.b, DATA, 0xed);
	check_round_trip(f.b.clock, f.k);
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
#define I(t) cmocka_unit_test_setup_teardown(t, setup_input, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_linux_probe), T(test_keyboard), T(test_reset_and_a20), T(test_ram), T(test_state),
		T(test_hostile_state), I(test_keys), I(test_keys_and_commands), I(test_mouse), I(test_mouse_unread), I(test_input_state),
		I(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
