/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saving and loading a device by its table: what fails leaves the device as after a reset. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include "bus/device.h"

struct lamp {
	struct device dev;
	uint8_t brightness; /* 0 to 10 */
	bool on;
	uint8_t colour; /* since version 2 */
	unsigned derived;
};

static void lamp_reset(struct device *d)
{
	struct lamp *l = (struct lamp *)d;

	l->brightness = 5;
	l->on = false;
	l->colour = 1;
	l->derived = 0;
}

static int lamp_post_load(struct device *d)
{
	struct lamp *l = (struct lamp *)d;

	if (l->brightness > 10)
		return -EINVAL;
	l->derived = l->on * l->brightness;
	return 0;
}

static const struct state_field lamp_state[] = {
	STATE_U8(struct lamp, brightness),
	STATE_BOOL(struct lamp, on),
	STATE_FIELD_(uint8_t, struct lamp, colour, UINT, 1, 2),
	STATE_END(),
};

static const struct device_ops lamp_ops = {
	.name = "lamp",
	.reset = lamp_reset,
	.post_load = lamp_post_load,
	.state = lamp_state,
	.state_version = 2,
};

static const char version_1[] = "\12brightness\1\0\0\0\11\2on\1\0\0\0\1";

static void test_round_trip(void **state)
{
	struct lamp a = { .dev.ops = &lamp_ops, .brightness = 9, .on = true, .colour = 7 };
	struct lamp b = { .dev.ops = &lamp_ops };
	struct strbuf sb = STRBUF_INIT;

	device_save(&a.dev, &sb);
	assert_int_equal(device_load(&b.dev, 2, sb.buf, sb.len, NULL), 0);
	assert_true(b.brightness == 9 && b.on && b.colour == 7 && b.derived == 9);
	strbuf_release(&sb);
}

static void test_old_version(void **state)
{
	struct lamp l = { .dev.ops = &lamp_ops, .colour = 99 };

	assert_int_equal(device_load(&l.dev, 1, version_1, sizeof(version_1) - 1, NULL), 0);
	assert_true(l.brightness == 9 && l.on && l.derived == 9);
	assert_int_equal(l.colour, 1); /* as after reset */
}

static void expect_reset(unsigned version, const char *buf, size_t len, const char *word)
{
	struct lamp l = { .dev.ops = &lamp_ops, .brightness = 8, .on = true, .colour = 99 };
	struct err e = { "" };

	assert_int_equal(device_load(&l.dev, version, buf, len, &e), -EINVAL);
	assert_true(l.brightness == 5 && !l.on && l.colour == 1 && l.derived == 0);
	assert_ptr_equal(strstr(e.msg, "lamp: "), e.msg);
	assert_non_null(strstr(e.msg, word));
}

static void test_bad(void **state)
{
	char bright[sizeof(version_1)];

	memcpy(bright, version_1, sizeof(bright));
	bright[15] = 11;
	expect_reset(1, bright, sizeof(bright) - 1, "not one");
	expect_reset(1, version_1, sizeof(version_1) - 2, "truncated");
	expect_reset(2, version_1, sizeof(version_1) - 1, "colour");
	expect_reset(3, version_1, sizeof(version_1) - 1, "newer");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_old_version),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
