/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How sizes, numbers and memory sizes are written: what is understood, and what is refused with which words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "base/bits.h"
#include "vm/config.h"

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 }, { "1", 1 }, { "4096", 4096 }, { "1k", KiB }, { "64K", 64 * KiB }, { "512M", 512 * MiB },
		{ "512m", 512 * MiB }, { "512MB", 512 * MiB }, { "512MiB", 512 * MiB }, { "4G", 4 * GiB },
		{ "1.5G", 1536 * MiB }, { "0.25T", 256 * GiB }, { "1.000G", GiB }, { "10B", 10 }, { "007K", 7 * KiB },
		{ "18446744073709551615", UINT64_MAX }, { "0.1G", 107374182 }, { "16777215T", 16777215ull << 40 },
	};
	static const char *const bad[] = {
		"", " ", "M", "-1", "+1", "1 G", " 1", "1.", ".5G", "1.G", "1.5", "1..5G", "1.5.5G", "1GG", "1iB", "1Gi",
		"1GiBx", "0x10", "1e3", "1,5G", "1.1234567890123G", "12Q", "G1",
	};
	static const char *const large[] = { "18446744073709551616", "16777216T", "99999999999999999999999T",
					     "18014398509481984K" };
	uint64_t v;
	struct err e;

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		v = ~good[i].bytes;
		assert_int_equal(parse_size(good[i].text, &v, &e), 0);
		assert_int_equal(v, good[i].bytes);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse_size(bad[i], &v, &e), -EINVAL);
		assert_non_null(strstr(e.msg, bad[i]));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(large); i++) {
		assert_int_equal(parse_size(large[i], &v, &e), -ERANGE);
		assert_non_null(strstr(e.msg, "too large"));
	}
}

static void test_numbers(void **state)
{
	static const char *const bad[] = { "", "x", "1x", "-1", " 1", "1 ", "1.5", "0x1" };
	static const char *const range[] = { "1", "9", "99999999999999999999", "18446744073709551618" };
	uint64_t v = 0;
	struct err e;

	assert_int_equal(parse_number("5", "number of things", 2, 8, &v, &e), 0);
	assert_int_equal(v, 5);
	assert_int_equal(parse_number("2", "number of things", 2, 8, &v, &e), 0);
	assert_int_equal(parse_number("8", "number of things", 2, 8, &v, &e), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_number(bad[i], "number of things", 2, 8, &v, &e), -EINVAL);
	for (unsigned i = 0; i < ARRAY_SIZE(range); i++) {
		assert_int_equal(parse_number(range[i], "number of things", 2, 8, &v, &e), -ERANGE);
		assert_non_null(strstr(e.msg, "number of things"));
		assert_non_null(strstr(e.msg, range[i]));
		assert_non_null(strstr(e.msg, "2 to 8"));
	}
}

static void test_memory(void **state)
{
	uint64_t v;
	struct err e;

	assert_int_equal(parse_memory("1M", &v, &e), 0);
	assert_int_equal(v, MiB);
	assert_int_equal(parse_memory("1024G", &v, &e), 0);
	assert_int_equal(parse_memory("1048577", &v, &e), 0);
	assert_int_equal(v, MiB + PAGE_SIZE);
	assert_int_equal(parse_memory("1023K", &v, &e), -ERANGE);
	assert_non_null(strstr(e.msg, "1M to 1024G"));
	assert_int_equal(parse_memory("2T", &v, &e), -ERANGE);
	assert_int_equal(parse_memory("512", &v, &e), -ERANGE);
	assert_non_null(strstr(e.msg, "did you mean 512M"));
	assert_int_equal(parse_memory("lots", &v, &e), -EINVAL);
}

static void test_boot(void **state)
{
	static const char *const bad[] = { "", "x", "cc", "acdn", "c,", "c,menu", "c,menu=x", "c,d", "c,once=", "c,splash-time=70000",
					   "c,splash-time=x", "c,reboot-timeout=-2", "c,colour=red" };
	struct pc_boot b = { 0 };
	struct err e;

	assert_int_equal(parse_boot("dc,once=n,menu=on,splash-time=5000,reboot-timeout=0,strict=on", &b, &e), 0);
	assert_string_equal(b.order, "dc");
	assert_string_equal(b.once, "n");
	assert_true(b.menu && b.strict);
	assert_int_equal(b.splash_ms, 5000);
	assert_int_equal(b.retry_ms, 1);
	assert_int_equal(parse_boot("menu=off,reboot-timeout=-1", &b, &e), 0);
	assert_string_equal(b.order, "dc");
	assert_false(b.menu);
	assert_int_equal(b.retry_ms, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_boot(bad[i], &b, &e), -EINVAL - (strstr(bad[i], "70000") ? ERANGE - EINVAL : 0));
	assert_string_equal(b.order, "dc"); /* what is refused changes nothing */
}

static void test_rtc(void **state)
{
	time_t now = time(NULL);
	int64_t s;
	struct err e;

	assert_int_equal(parse_rtc_base("utc", &s, &e), 0);
	assert_int_equal(s, 0);
	assert_int_equal(parse_rtc_base("base=2001-09-09T01:46:40", &s, &e), 0); /* 1000000000 */
	assert_in_range(1000000000 - s, now, time(NULL));
	assert_int_equal(parse_rtc_base("2001-09-09", &s, &e), 0);
	setenv("TZ", "XXX-3", 1);
	tzset();
	assert_int_equal(parse_rtc_base("localtime", &s, &e), 0);
	assert_int_equal(s, 3 * 3600);
	assert_int_equal(parse_rtc_base("2001-09-09T01:46:40Z", &s, &e), -EINVAL);
	assert_int_equal(parse_rtc_base("now", &s, &e), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_boot),
		cmocka_unit_test(test_rtc),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
