/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All modes but 64-bit mode: compatibility, protected, real and virtual-8086, with 16- and 32-bit code.
 *
 * Their code is re-encoded for the host's 64-bit mode. What a block takes for granted of the segments is part of its mode
 * (struct bt_legacy): base and limit of CS, the sizes of code and stack, and which segments need neither base nor checks;
 * of the others base and limits are in slots (struct bt_segment), read at each access.
 *
 * The address of a block, and of an instruction in a site, is CS.base << 32 | linear address: so an indirect branch
 * verifies base and address in one comparison, and two bases of the same bytes are two blocks.
 */
#ifndef DOPPEL_CPU_BT_LEGACY_H
#define DOPPEL_CPU_BT_LEGACY_H

#include "cpu/bt/insn.h"

static inline bool bt_is_flat(const struct translation *t, unsigned seg, bool write)
{
	return (t->mode.legacy.flat >> seg & 1) && !(write && seg == SEG_CS);
}

/* The block address of offset `off` in CS. */
static inline uint64_t bt_legacy_address(const struct bt_legacy *m, uint32_t off)
{
	return (uint64_t)m->cs_base << 32 | (uint32_t)(m->cs_base + off);
}

/* The offset in CS of a block address, and what translated code calls RIP. */
static inline uint32_t bt_legacy_offset(const struct bt_legacy *m, uint64_t address)
{
	return (uint32_t)address - m->cs_base;
}

static inline uint64_t bt_guest_rip(const struct translation *t, uint64_t address)
{
	return t->mode.legacy.on ? bt_legacy_offset(&t->mode.legacy, address) : address;
}

/* legacy_state.c: what of v's segments decides a translation; all zero in 64-bit mode. And their slots. */
struct bt_legacy bt_legacy_mode(const struct vcpu *v);
void bt_legacy_load(struct bt *bt);

/* legacy_encode.c: in->bytes and the offsets in in->i.raw become those of the same instruction in 64-bit mode. */
void bt_legacy_encode(struct bt_insn *in);

/* An explicit operand is AH, CH, DH or BH: such an instruction with its memory operand at [T0 + T1]. */
bool bt_has_high_byte(const struct bt_insn *in);
void bt_emit_high_byte(struct translation *t, const struct bt_insn *in);

/* legacy_classify.c: bt_classify() and bt_legacy_encode() for these modes. */
void bt_legacy_classify(const struct translation *t, struct bt_insn *in);
/* Of a direct branch. */
uint64_t bt_legacy_target(const struct translation *t, const struct bt_insn *in);

/* segment.c */
/* T0, an offset that is zero-extended, becomes a linear address, if size bytes there may be accessed. */
void bt_emit_linear(struct translation *t, const struct bt_insn *in, unsigned seg, unsigned size, bool write);
/* T0 = the offset of the memory operand, wrapped to the address size. */
void bt_emit_offset(struct translation *t, const struct bt_insn *in, const struct bt_memory *m);
/* T0 = linear address of the memory operand, checked against its segment. */
void bt_emit_legacy_address(struct translation *t, const struct bt_insn *in);
/* T0 = the offset reg + disp, wrapped to 16 bits or 32. */
void bt_emit_register_offset(struct translation *t, unsigned reg, int32_t disp, bool wide32);
/* Leave it to the reference if the offset in T0 is above `last`. */
void bt_emit_offset_check(struct translation *t, const struct bt_insn *in, uint32_t last);
/* opcode reg, [T0 + T1] with an operand of size bytes; opcode is that of the wide form of a pair, or of a byte. */
void bt_op_sized(struct assembler *a, unsigned opcode, unsigned size, unsigned reg);
void bt_load_zero_extended(struct assembler *a, unsigned size); /* T0 = [T0 + T1] */

/* legacy_flow.c, legacy_string.c: emit what bt_legacy_classify() has claimed. */
void bt_emit_legacy(struct translation *t, const struct bt_insn *in);
void bt_emit_legacy_string(struct translation *t, const struct bt_insn *in);

#endif
