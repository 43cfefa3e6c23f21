/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the translator's decoder makes of a pattern, and of Zydis' structures, is what Zydis says of each instruction. */
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
	patterns = aligned_alloc(_Alignof(struct bt_patterns), sizeof(*patterns));
	assert_non_null(patterns);
	memset(patterns, 0, sizeof(*patterns));
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

#define SAME(a, b) ((uint64_t)(a) == (uint64_t)(b))

static bool same_raw(const struct bt_raw *r, const ZydisDecodedInstructionRaw *z, const uint8_t *bytes)
{
	bool mandatory = false;

	for (unsigned n = 0; n < z->prefix_count; n++) {
		if (z->prefixes[n].value != bytes[n]) /* what passes rely on, who look at the bytes */
			return false;
		mandatory |= z->prefixes[n].value == 0x66 && z->prefixes[n].type == ZYDIS_PREFIX_TYPE_MANDATORY;
	}
	return SAME(r->prefix_count, z->prefix_count) && r->mandatory_66 == mandatory && SAME(r->rex.W, z->rex.W) &&
	       SAME(r->rex.R, z->rex.R) && SAME(r->vex.offset, z->vex.offset) && SAME(r->evex.offset, z->evex.offset) &&
	       SAME(r->modrm.offset, z->modrm.offset) && SAME(r->modrm.mod, z->modrm.mod) && SAME(r->modrm.reg, z->modrm.reg) &&
	       SAME(r->modrm.rm, z->modrm.rm) && SAME(r->sib.offset, z->sib.offset) && SAME(r->sib.base, z->sib.base) &&
	       SAME(r->disp.value, z->disp.value) && SAME(r->disp.size, z->disp.size) && SAME(r->disp.offset, z->disp.offset) &&
	       SAME(r->imm.value.u, z->imm[0].value.u) && SAME(r->imm.size, z->imm[0].size) &&
	       SAME(r->imm.is_relative, z->imm[0].is_relative);
}

static bool same_flags(const struct bt_flags *f, const ZydisAccessedFlags *z)
{
	if (!z)
		return !f->tested && !f->set && !f->undefined;
	return f->tested == z->tested && f->set == (z->modified | z->set_0 | z->set_1) && f->undefined == z->undefined;
}

static bool same_instruction(const struct bt_decoded *i, const ZydisDecodedInstruction *z, const uint8_t *bytes)
{
	return i->attributes == z->attributes && same_flags(&i->flags, z->cpu_flags) && SAME(i->mnemonic, z->mnemonic) &&
	       SAME(i->mask, z->avx.mask.reg) && SAME(i->machine_mode, z->machine_mode) && SAME(i->length, z->length) &&
	       SAME(i->encoding, z->encoding) && SAME(i->opcode_map, z->opcode_map) && SAME(i->opcode, z->opcode) &&
	       SAME(i->operand_width, z->operand_width) && SAME(i->address_width, z->address_width) &&
	       SAME(i->operand_count, z->operand_count) && SAME(i->operand_count_visible, z->operand_count_visible) &&
	       SAME(i->meta.category, z->meta.category) && SAME(i->meta.isa_set, z->meta.isa_set) &&
	       SAME(i->meta.isa_ext, z->meta.isa_ext) && SAME(i->meta.branch_type, z->meta.branch_type) &&
	       same_raw(&i->raw, &z->raw, bytes);
}

static bool same_operand(const struct bt_operand *o, const ZydisDecodedOperand *z)
{
	if (!SAME(o->type, z->type) || !SAME(o->visibility, z->visibility) || !SAME(o->actions, z->actions) ||
	    !SAME(o->encoding, z->encoding) || !SAME(o->size, z->size))
		return false;
	switch (z->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return SAME(o->reg.value, z->reg.value);
	case ZYDIS_OPERAND_TYPE_MEMORY:
		return SAME(o->mem.type, z->mem.type) && SAME(o->mem.segment, z->mem.segment) && SAME(o->mem.base, z->mem.base) &&
		       SAME(o->mem.index, z->mem.index) && SAME(o->mem.scale, z->mem.scale) && SAME(o->mem.disp.value, z->mem.disp.value);
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		return SAME(o->imm.value.u, z->imm.value.u);
	default:
		return true;
	}
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
	static const struct bt_operand none[BT_DECODE_OPS];
	struct bt_operand op[ZYDIS_MAX_OPERAND_COUNT], op2[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedOperand zop[ZYDIS_MAX_OPERAND_COUNT];
	struct bt_decoded i, i2;
	ZydisDecodedInstruction z;
	bool ok = ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, bytes, len, &z, zop));

	memset(op, 0xcc, sizeof(op));
	memset(&i, 0xcc, sizeof(i));
	memset(&i2, 0x33, sizeof(i2));
	if (bt_decode(patterns, decoder, bytes, len, &i, op) != ok || bt_decode(NULL, decoder, bytes, len, &i2, op2) != ok)
		differ(bytes, len, "whether it is an instruction");
	if (!ok)
		return;
	decoded++;
	by_pattern += bt_pattern_known(patterns, bytes, len);
	if (!same_instruction(&i, &z, bytes))
		differ(bytes, len, "the instruction");
	for (unsigned n = 0; n < z.operand_count; n++)
		if (!same_operand(&op[n], &zop[n]))
			differ(bytes, len, "an operand");
	if (z.operand_count < BT_DECODE_OPS && memcmp(&op[z.operand_count], none, sizeof(op[0]) * (BT_DECODE_OPS - z.operand_count)))
		differ(bytes, len, "an operand that is not there");
	if (memcmp(&i, &i2, sizeof(i)) || memcmp(op, op2, sizeof(op[0]) * z.operand_count))
		differ(bytes, len, "what is made without a pattern");
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
