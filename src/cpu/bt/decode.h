/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoding of 64-bit code from what Zydis has said of an instruction of the same pattern.
 *
 * Zydis decodes; but it walks hundreds of KB of tables for it, which are cold between two translations, and takes half of a
 * translation's time. What it says depends on little of an instruction: the pattern, that is prefixes, opcode, and of ModRM at
 * most whether it is memory and the opcode extension. The rest are numbers of registers, displacement and immediate, which
 * stand at places that are the same for all. So the first instruction of a pattern is decoded by Zydis, and what it said is kept
 * in two cache lines; from these are made the fields of all others, equal to the byte (tests/unit/test_bt_decode.c).
 *
 * Not of any pattern, and always Zydis': VEX, EVEX and XOP, the maps behind 0F 38 and 0F 3A, x87, the registers of segments,
 * control and debugging, addresses of 32 bits, other prefixes than below, and all that Zydis refuses.
 */
#ifndef DOPPEL_CPU_BT_DECODE_H
#define DOPPEL_CPU_BT_DECODE_H

#include <Zydis/Zydis.h>
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define BT_PATTERNS_LOG2   11
#define BT_PATTERNS        (1u << BT_PATTERNS_LOG2)
#define BT_PATTERN_OPS     6
#define BT_DECODE_BYTES 16   /* readable at the address of an instruction */
#define BT_DECODE_OPS   4    /* of the operands, so many are defined, however few there are */

struct bt_pattern_op {
	uint16_t reg;          /* a register as it is or that of number 0; of memory the base; or a constant */
	uint16_t size;
	uint16_t element_size, element_count;
	uint8_t actions, encoding;
	uint8_t fill : 4, element_type : 4;
	uint8_t visibility : 2, mem_type : 3, segment : 3; /* counted from ES */
};

struct bt_pattern {
	_Alignas(64) uint32_t key; /* 0: empty */
	uint16_t mnemonic;
	uint8_t imm_bytes;     /* behind ModRM, SIB and displacement */
	uint8_t imm_signed : 1, imm_relative : 1, modrm : 1, refused : 1;
	uint64_t attributes;   /* but for those of ModRM's address */
	const ZydisAccessedFlags *cpu_flags, *fpu_flags;
	uint8_t prefix_type[3];
	uint8_t operands, operands_visible;
	uint8_t stack_width, operand_width, address_width;
	uint8_t category, isa_set, isa_ext, branch_type, exception_class;
	struct bt_pattern_op op[BT_PATTERN_OPS];
};

static_assert(sizeof(struct bt_pattern) == 128, "a pattern fits into two cache lines");

/* One of them for each decoder. */
struct bt_patterns {
	struct bt_pattern pattern[BT_PATTERNS];
};

struct bt_patterns *bt_patterns_new(void); /* for free(); NULL: out of memory */

/*
 * What ZydisDecoderDecodeFull() does for len of the bytes; op NULL: without operands. patterns NULL: by Zydis alone, as it must be
 * outside of 64-bit mode. False: no instruction, or more than len bytes.
 */
bool bt_decode(struct bt_patterns *patterns, const ZydisDecoder *d, const uint8_t bytes[BT_DECODE_BYTES], unsigned len,
	       ZydisDecodedInstruction *i, ZydisDecodedOperand *op);

#endif
