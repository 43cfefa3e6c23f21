/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices by name: what is refused, with which words, and how properties read. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "machine/devices.h"

static void assert_refused(const struct device_config *cfg, const char *words)
{
	struct err e = { "" };

	assert_int_not_equal(device_check(cfg, &e), 0);
	if (!strstr(e.msg, words))
		fail_msg("'%s' does not say '%s'", e.msg, words);
}

static void test_refused(void **state)
{
	struct device_config cfg = { .driver = "flux-capacitor" };
	struct err e = { "" };
	int blk;

	assert_refused(&cfg, "flux-capacitor");
	cfg.driver = "isa-debug-exit";
	assert_int_equal(device_check(&cfg, &e), 0);
	cfg.blk = (void *)&blk;
	assert_refused(&cfg, "takes no drive");
	cfg.blk = NULL;
	assert_int_equal(device_prop_set(&cfg, "colour", "red", &e), 0);
	assert_refused(&cfg, "no property 'colour'");
	static const char *const wrong[] = { "", "x", "-1", "0xfffd", "0x10000", "12z", "99999999999999999999", " 1" };
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cfg.prop[0] = (struct device_prop){ "iobase", wrong[i] };
		assert_refused(&cfg, "give 0 to 65532");
	}
}

static void test_values(void **state)
{
	struct device_config cfg = { .driver = "isa-debug-exit" };
	struct err e = { "" };

	assert_int_equal(device_prop_uint(&cfg, "iobase"), 0x501);
	assert_int_equal(device_prop_set(&cfg, "iobase", "0xf4", &e), 0);
	assert_int_equal(device_prop_uint(&cfg, "iobase"), 0xf4);
	assert_int_equal(device_prop_set(&cfg, "iobase", "500", &e), 0); /* the last one counts */
	assert_int_equal(device_prop_uint(&cfg, "iobase"), 500);
	while (cfg.n_props < DEVICE_MAX_PROPS)
		assert_int_equal(device_prop_set(&cfg, "iobase", "1", &e), 0);
	assert_int_equal(device_prop_set(&cfg, "iobase", "2", &e), -E2BIG);
	assert_non_null(strstr(e.msg, "isa-debug-exit"));
}

static void test_help(void **state)
{
	struct strbuf sb = STRBUF_INIT;

	device_drivers_print(&sb);
	assert_non_null(strstr(sb.buf, "isa-debug-exit"));
	sb.len = 0;
	device_driver_print(device_driver_find("isa-debug-exit"), &sb);
	assert_non_null(strstr(sb.buf, "iobase"));
	assert_non_null(strstr(sb.buf, "0x501"));
	strbuf_release(&sb);
	assert_null(device_driver_find("isa-debug"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused), cmocka_unit_test(test_values), cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
