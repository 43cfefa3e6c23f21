/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the translator's decoder makes of a pattern is what Zydis says of each instruction of it, to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "cpu/bt/insn.h"
#include "passes.h"

#define SEED      0x9e3779b97f4a7c15ull
#define PREFIXED  3                     /* of all instructions that begin with two prefixes, one in so many */
#define RANDOM    200000                /* of random bytes */

static struct tiny *t;
static const ZydisDecoder *decoder;
static struct bt_patterns *patterns;
static uint64_t seed;
static unsigned decoded, by_pattern;

static int set_up(void **state)
{
	t = passes_machine(TINY_LONG);
	decoder = &((struct bt *)t->v->engine_data)->cache->decoder[CODE_64];
	patterns = bt_patterns_new();
	assert_non_null(patterns);
	seed = SEED;
	decoded = by_pattern = 0;
	return 0;
}

static int tear_down(void **state)
{
	free(patterns);
	tiny_free(t);
	return 0;
}

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void differ(const uint8_t *bytes, unsigned len, const char *what)
{
	char text[3 * BT_DECODE_BYTES + 1] = "";

	for (unsigned n = 0; n < BT_MAX_INSN_LEN; n++)
		snprintf(text + 3 * n, 4, "%02x ", bytes[n]);
	fail_msg("%s(at most %u bytes): %s differs", text, len, what);
}

static void compare(const uint8_t *bytes, unsigned len)
{
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT], op2[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction i, i2;
	bool ok = ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, bytes, len, &i, op));

	memset(op2, 0xcc, sizeof(op2));
	if (bt_decode(patterns, decoder, bytes, len, &i2, op2) != ok)
		differ(bytes, len, "whether it is an instruction");
	if (!ok)
		return;
	decoded++;
	by_pattern += op2[ZYDIS_MAX_OPERAND_COUNT - 1].id == 0xcc; /* Zydis sets all to 0 */
	if (memcmp(&i, &i2, sizeof(i)))
		differ(bytes, len, "the instruction");
	if (memcmp(op, op2, sizeof(op[0]) * MAX(i.operand_count, BT_DECODE_OPS)))
		differ(bytes, len, "an operand");
	if (!bt_decode(patterns, decoder, bytes, len, &i2, NULL) || memcmp(&i, &i2, sizeof(i)))
		differ(bytes, len, "the instruction without operands");
}

/* Behind the prefixes: each opcode of both maps, with each ModRM, and a SIB, displacement and immediate at random. */
static void all_opcodes(const uint8_t *prefix, unsigned n, unsigned one_in)
{
	uint8_t bytes[BT_DECODE_BYTES];

	for (unsigned k = 0; k < 2 * 256 * 256; k++) {
		unsigned at = n;

		if (one_in > 1 && random64() % one_in)
			continue;
		for (unsigned b = 0; b < BT_DECODE_BYTES; b += 8)
			memcpy(bytes + b, &(uint64_t){ random64() }, 8);
		memcpy(bytes, prefix, n);
		if (k >> 16)
			bytes[at++] = 0x0f;
		bytes[at++] = (uint8_t)(k >> 8);
		bytes[at] = (uint8_t)k;
		compare(bytes, BT_MAX_INSN_LEN);
	}
}

static void test_all_opcodes(void **state)
{
	static const uint8_t rex[] = { 0x40, 0x41, 0x44, 0x48, 0x4f, 0x46 };

	all_opcodes(rex, 0, 1);
	for (unsigned n = 0; n < sizeof(rex); n++)
		all_opcodes(&rex[n], 1, n < 4 ? 1 : 2);
	assert_true(by_pattern > decoded / 2);
}

static void test_prefixes(void **state)
{
	static const uint8_t prefix[] = { 0x66, 0xf2, 0xf3, 0xf0, 0x64, 0x65, 0x67, 0x2e, 0x36, 0x3e, 0x26 };
	uint8_t bytes[3];

	for (unsigned n = 0; n < sizeof(prefix); n++) {
		all_opcodes(&prefix[n], 1, 2 * PREFIXED);
		bytes[0] = prefix[n];
		bytes[1] = (uint8_t)(0x40 | (random64() & 15));
		all_opcodes(bytes, 2, 2 * PREFIXED);
	}
	for (unsigned n = 0; n < 6 * 6; n++) {
		bytes[0] = prefix[n / 6];
		bytes[1] = prefix[n % 6];
		bytes[2] = (uint8_t)(0x48 | (random64() & 7));
		all_opcodes(bytes, 2 + (n & 1), 8 * PREFIXED);
	}
	assert_true(by_pattern > decoded / 3);
}

/* Cut at each length; and random bytes, prefixes in any order among them. */
static void test_lengths(void **state)
{
	static const uint8_t likely[] = { 0x66, 0xf2, 0xf3, 0xf0, 0x64, 0x65, 0x48, 0x41, 0x4d, 0x0f };
	uint8_t bytes[BT_DECODE_BYTES];

	for (unsigned k = 0; k < RANDOM; k++) {
		for (unsigned b = 0; b < BT_DECODE_BYTES; b += 8)
			memcpy(bytes + b, &(uint64_t){ random64() }, 8);
		for (unsigned n = 0; n < k % 4; n++)
			bytes[n] = likely[random64() % sizeof(likely)];
		compare(bytes, (unsigned)(random64() % BT_MAX_INSN_LEN) + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_opcodes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_prefixes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lengths, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
