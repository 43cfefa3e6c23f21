/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The code that looks into the second places of jump caches. */
#include "cpu/bt/insn.h"
#include "cpu/bt/jumps.h"

/* bt_jc_index() of T0 in T1, without flags. */
void bt_emit_jc_index(struct assembler *a)
{
	static const uint8_t rorx_t1_t0[] = { 0xc4, 0x43, 0xfb, 0xf0, 0xda, 0x10 }; /* rorx r11, r10, 16 */
	static const uint8_t movzx_t1_t1w[] = { 0x45, 0x0f, 0xb7, 0xdb };           /* movzx r11d, r11w */

	put_bytes(a, rorx_t1_t0, sizeof(rorx_t1_t0));
	lea_full(a, 1, T1, T1, T0, 0, 0);
	put_bytes(a, movzx_t1_t1w, sizeof(movzx_t1_t1w));
}

/* An opcode with [T1 + disp], disp from GS. */
static void op_at_t1(struct assembler *a, unsigned opcode, unsigned w, unsigned reg, const void *table)
{
	put8(a, ASM_GS);
	op_disp(a, opcode, w, reg, T1, (int32_t)slot_offset(a, table));
}

static void emit_second(struct bt *bt, struct assembler *a, const uint64_t *first, const struct bt_jc_second *table)
{
	static const uint8_t imul_t1_t0[] = { 0x4d, 0x69, 0xda };     /* imul r11, r10, imm32 */
	static const uint8_t shr_t1[] = { 0x49, 0xc1, 0xeb, 32 - 6 }; /* bt_jc_second_index(), times an entry's size */
	static const uint8_t and_t1[] = { 0x41, 0x81, 0xe3 };
	uint8_t *found[BT_JC_WAYS - 1];

	_Static_assert(sizeof(*table) * BT_JC_WAYS == 1 << 6 && !(BT_JC_MULTIPLIER >> 31), "what the code says");
	if (bt->v->group->count_jumps)
		inc_slot(a, &bt->seconds);
	put_bytes(a, imul_t1_t0, sizeof(imul_t1_t0));
	put32(a, BT_JC_MULTIPLIER);
	put_bytes(a, shr_t1, sizeof(shr_t1));
	put_bytes(a, and_t1, sizeof(and_t1));
	put32(a, BT_JC_ENTRIES * (unsigned)sizeof(*table) - (1 << 6));
	for (unsigned n = 0; n < BT_JC_WAYS; n++) {
		if (n)
			lea_disp(a, T1, T1, sizeof(*table));
		op_at_t1(a, 0x3b, 1, T0, &table->la); /* cmp */
		if (n < BT_JC_WAYS - 1)
			found[n] = jcc_forward(a, 4); /* je */
	}
	put8(a, 0x0f); /* jne */
	put8(a, 0x85);
	put32(a, bt->cache->miss_stub - (a->pc + 4));
	for (unsigned n = 0; n < BT_JC_WAYS - 1; n++)
		jump_here(a, found[n]);
	store_slot(a, &bt->rax, R_AX);
	op_at_t1(a, 0x8b, 0, R_AX, &table->host); /* mov */
	bt_emit_jc_index(a);
	op_table(a, 0x89, 1, R_AX, first, T1); /* mov [jc + T1 * 8], rax */
	load_slot(a, R_AX, &bt->rax);
	op_table(a, 0xff, 0, 4, first, T1); /* jmp [jc + T1 * 8] */
}

void bt_emit_seconds(struct bt *bt, struct assembler *a)
{
	for (unsigned jc = 0; jc < BT_JC_SETS; jc++) {
		while (a->pc & 15)
			put8(a, 0xcc);
		bt->cache->second_stub[jc] = a->pc;
		emit_second(bt, a, bt->jc[jc], bt->second[jc]);
	}
}
