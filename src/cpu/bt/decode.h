/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoding of 64-bit code from what Zydis has said of an instruction of the same pattern.
 *
 * Zydis decodes; but it walks hundreds of KB of tables for it, which are cold between two translations, and takes half of a
 * translation's time. What it says depends on little of an instruction: the pattern, that is prefixes, opcode, and of ModRM at
 * most whether it is memory and the opcode extension. The rest are numbers of registers, displacement and immediate, which
 * stand at places that are the same for all. So the first instruction of a pattern is decoded by Zydis, and what it said is kept
 * in two cache lines; from these are made the records of all others, the same as by Zydis (tests/unit/test_bt_decode.c).
 *
 * Not of any pattern, and always Zydis': VEX, EVEX and XOP, the maps behind 0F 38 and 0F 3A, x87, the registers of segments,
 * control and debugging, addresses of 32 bits, other prefixes than below, and all that Zydis refuses.
 */
#ifndef DOPPEL_CPU_BT_DECODE_H
#define DOPPEL_CPU_BT_DECODE_H

#include <Zydis/Zydis.h>
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BT_PATTERNS_LOG2   11
#define BT_PATTERNS        (1u << BT_PATTERNS_LOG2)
#define BT_PATTERN_OPS     4
#define BT_PATTERN_FILL_BITS 4
#define BT_DECODE_BYTES 16   /* readable at the address of an instruction */
#define BT_DECODE_OPS   4    /* of the operands, so many are defined, however few there are */

/*
 * What the passes know of an instruction and of an operand: of Zydis' structures, which are 650 bytes for an instruction with two
 * operands, what somebody asks for, by the same names and with the same meanings, in 150. Nothing is left open: equal
 * instructions are equal to the byte.
 */
struct bt_memory {
	uint16_t segment, base, index;
	uint8_t scale, type;
	struct {
		int64_t value;
	} disp;
};

struct bt_operand {
	uint8_t type, visibility, actions, encoding;
	uint16_t size; /* bits */
	uint16_t zero;
	union {
		struct {
			uint16_t value;
		} reg;
		struct bt_memory mem;
		struct {
			union {
				uint64_t u;
				int64_t s;
			} value;
		} imm;
	};
};

static_assert(sizeof(struct bt_operand) == 24, "operands are small");

/* Where the parts stand, as offsets in the instruction; 0: it has none. */
struct bt_raw {
	uint8_t prefix_count;  /* REX included: so many bytes at its beginning */
	bool mandatory_66;     /* of which a 66 belongs to the opcode */
	struct {
		uint8_t W, R;
	} rex;
	struct {
		uint8_t offset;
	} vex, evex;
	struct {
		uint8_t offset, mod, reg, rm;
	} modrm;
	struct {
		uint8_t offset, base;
	} sib;
	struct {
		int64_t value;
		uint8_t size, offset; /* size: in bits */
	} disp;
	struct {
		union {
			uint64_t u;
			int64_t s;
		} value;
		uint8_t size;
		bool is_relative;
	} imm; /* the first one */
};

struct bt_flags {
	uint32_t tested, set, undefined; /* ZYDIS_CPUFLAG; set: to 0, to 1, or by the result */
};

struct bt_decoded {
	uint64_t attributes;
	struct bt_flags flags;
	uint16_t mnemonic;
	uint16_t mask;         /* the register of an AVX-512 mask */
	uint8_t machine_mode, length, encoding, opcode_map, opcode;
	uint8_t operand_width, address_width;
	uint8_t operand_count, operand_count_visible;
	struct {
		uint8_t category, isa_set, isa_ext, branch_type;
	} meta;
	struct bt_raw raw;
};

static_assert(ZYDIS_MNEMONIC_MAX_VALUE <= UINT16_MAX && ZYDIS_REGISTER_MAX_VALUE <= UINT16_MAX &&
		      ZYDIS_CATEGORY_MAX_VALUE <= UINT8_MAX && ZYDIS_ISA_SET_MAX_VALUE <= UINT8_MAX && ZYDIS_ISA_EXT_MAX_VALUE <= UINT8_MAX,
	      "Zydis' enumerations fit");

/* The beginning of struct bt_decoded, which is the same for all of a pattern but for length, rex.R and modrm.mod. */
#define BT_PATTERN_FIXED offsetof(struct bt_decoded, raw.modrm.reg)

struct bt_pattern {
	_Alignas(64) uint32_t key; /* 0: empty */
	uint8_t imm_bytes;     /* behind ModRM, SIB and displacement */
	bool imm_signed : 1, imm_relative : 1, refused : 1;
	uint16_t fill;         /* BT_PATTERN_FILL_BITS for each operand: what is added to its value */
	uint8_t fixed[BT_PATTERN_FIXED];
	_Alignas(64) struct {
		uint64_t head, value; /* of struct bt_operand: up to its register, memory or constant; and 8 bytes of that */
	} op[BT_PATTERN_OPS];
};

static_assert(sizeof(struct bt_pattern) == 128, "a pattern fits into two cache lines");

/* One of them for each decoder; all 0 at first. */
struct bt_patterns {
	struct bt_pattern pattern[BT_PATTERNS];
};

/*
 * What ZydisDecoderDecodeFull() says of len of the bytes; op NULL: without operands, else ZYDIS_MAX_OPERAND_COUNT of them. patterns
 * NULL: by Zydis alone, as it must be outside of 64-bit mode. False: no instruction, or more than len bytes.
 */
bool bt_decode(struct bt_patterns *patterns, const ZydisDecoder *d, const uint8_t bytes[BT_DECODE_BYTES], unsigned len,
	       struct bt_decoded *i, struct bt_operand *op);

/* For tests: whether there is a pattern for it. */
bool bt_pattern_known(const struct bt_patterns *patterns, const uint8_t bytes[BT_DECODE_BYTES], unsigned len);

#endif
