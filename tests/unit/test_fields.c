/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State tables: round trip, the byte layout, versions, and everything that a forged state can be. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/fields.h"

struct chip {
	uint8_t a;
	uint16_t b;
	uint32_t c;
	uint64_t d;
	bool on;
	uint16_t fifo[3];
	uint8_t blob[5];
	uint32_t not_saved;
	uint8_t young; /* since version 2 */
};

static const struct state_field chip_state[] = {
	STATE_U8(struct chip, a),
	STATE_U16(struct chip, b),
	STATE_U32(struct chip, c),
	STATE_U64(struct chip, d),
	STATE_BOOL(struct chip, on),
	STATE_ARRAY(struct chip, fifo),
	STATE_BYTES(struct chip, blob),
	STATE_FIELD_(uint8_t, struct chip, young, UINT, 1, 2),
	STATE_END(),
};

static const struct chip sample = {
	1, 0x2345, 0x6789abcd, 0x1122334455667788, true, { 7, 8, 9 }, { 1, 2, 3, 4, 5 }, 99, 42
};

/* Two fields, so that their bytes can be spelled out. */
struct small {
	uint8_t x;
	bool y;
};

static const struct state_field small_state[] = {
	STATE_U8(struct small, x),
	STATE_BOOL(struct small, y),
	STATE_END(),
};

static void test_round_trip(void **state)
{
	struct strbuf sb = STRBUF_INIT;
	struct chip got = { .not_saved = 5 };
	struct err e;

	fields_save(chip_state, &sample, &sb);
	assert_int_equal(fields_load(chip_state, 2, &got, sb.buf, sb.len, &e), 0);
	assert_int_equal(got.a, 1);
	assert_int_equal(got.b, 0x2345);
	assert_int_equal(got.c, 0x6789abcd);
	assert_true(got.d == 0x1122334455667788);
	assert_true(got.on);
	assert_memory_equal(got.fifo, sample.fifo, sizeof(got.fifo));
	assert_memory_equal(got.blob, sample.blob, sizeof(got.blob));
	assert_int_equal(got.young, 42);
	assert_int_equal(got.not_saved, 5);
	strbuf_release(&sb);
}

static void test_layout(void **state)
{
	static const uint8_t want[] = { 1, 'x', 1, 0, 0, 0, 0x5a, 1, 'y', 1, 0, 0, 0, 1 };
	struct small s = { 0x5a, true };
	struct strbuf sb = STRBUF_INIT;

	fields_save(small_state, &s, &sb);
	assert_int_equal(sb.len, sizeof(want));
	assert_memory_equal(sb.buf, want, sizeof(want));
	strbuf_release(&sb);
}

static void test_any_order(void **state)
{
	static const uint8_t in[] = { 1, 'y', 1, 0, 0, 0, 1, 1, 'x', 1, 0, 0, 0, 0x5a };
	struct small s = { 0 };

	assert_int_equal(fields_load(small_state, 1, &s, in, sizeof(in), NULL), 0);
	assert_int_equal(s.x, 0x5a);
	assert_true(s.y);
}

/* Load `in` into small, expect -EINVAL with `word` in the message and an unchanged object. */
static void expect_bad(const void *in, size_t len, const char *word)
{
	struct small s = { 0x77, true };
	struct err e = { "" };
	/* A copy without slack behind it, so that the address sanitizer sees any overrun. */
	void *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, in, len);
	assert_int_equal(fields_load(small_state, 1, &s, copy, len, &e), -EINVAL);
	free(copy);
	assert_int_equal(s.x, 0x77);
	assert_true(s.y);
	if (!strstr(e.msg, word))
		fail_msg("\"%s\" does not say %s", e.msg, word);
}

static void test_hostile(void **state)
{
	expect_bad("", 0, "x is missing");
	expect_bad("\1x\1\0\0\0\5", 7, "y is missing");
	expect_bad("\1x\1\0\0\0\5\1x\1\0\0\0\6\1y\1\0\0\0\1", 21, "x is there twice");
	expect_bad("\1x\1\0\0\0\5\1y\1\0\0\0\2", 14, "y");
	expect_bad("\1x\2\0\0\0\5\5\1y\1\0\0\0\1", 15, "x has 2");
	expect_bad("\1x\0\0\0\0\1y\1\0\0\0\1", 13, "x has 0");
	expect_bad("\1z\1\0\0\0\5", 7, "z");
	expect_bad("\0\1\0\0\0\5", 6, "unknown");
	expect_bad("\2xx\1\0\0\0\5", 8, "xx");
	expect_bad("\1x\xff\xff\xff\xff\5", 7, "truncated");
	expect_bad("\xff", 1, "truncated");
	expect_bad("\1x\1\0\0", 5, "truncated");
}

static void test_every_truncation(void **state)
{
	struct strbuf sb = STRBUF_INIT;
	struct small s = { 1, true };

	fields_save(small_state, &s, &sb);
	for (size_t len = 0; len < sb.len; len++)
		expect_bad(sb.buf, len, "");
	strbuf_release(&sb);
}

static void test_versions(void **state)
{
	struct state_field old[sizeof(chip_state) / sizeof(chip_state[0])];
	struct strbuf v1 = STRBUF_INIT, v2 = STRBUF_INIT;
	struct chip got = { .young = 3 };
	struct err e;
	size_t n = sizeof(chip_state) / sizeof(chip_state[0]);

	memcpy(old, chip_state, sizeof(old));
	old[n - 2] = old[n - 1];
	fields_save(old, &sample, &v1);
	fields_save(chip_state, &sample, &v2);
	/* A field younger than the saved version keeps its value; in its own version it must be there. */
	assert_int_equal(fields_load(chip_state, 1, &got, v1.buf, v1.len, &e), 0);
	assert_int_equal(got.young, 3);
	assert_int_equal(got.a, 1);
	assert_int_equal(fields_load(chip_state, 2, &got, v1.buf, v1.len, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "young"));
	assert_int_equal(fields_load(chip_state, 1, &got, v2.buf, v2.len, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "young"));
	strbuf_release(&v1);
	strbuf_release(&v2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_layout),
		cmocka_unit_test(test_any_order), cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_every_truncation), cmocka_unit_test(test_versions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
