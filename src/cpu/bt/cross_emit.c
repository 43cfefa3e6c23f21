/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Large reads over a page's end, without leaving translated code: unaligned vectors meet one in every page.
 *
 * The stub of a check that has failed finds the offset in T0 to be one of the page after all, and jumps to a routine that all
 * sites of an MMU mode share. Should the page behind be in the TLB, too, the last 64 bytes of the one and the first 64 of the other
 * are put side by side, and the instruction goes on there, with its address in T0 and the addend in T1. Flags are dead on all of the way.
 */
#include "cpu/bt/insn.h"

#define REACH BT_MAX_CROSSING

static const uint8_t inc_r11w[] = { 0x66, 0x41, 0xff, 0xc3 }, dec_r11w[] = { 0x66, 0x41, 0xff, 0xcb };
static const uint8_t cmp_r10_page[] = { 0x49, 0x81, 0xfa, 0, 0x10, 0, 0 }, sub_r10_page[] = { 0x49, 0x81, 0xea, 0, 0x10, 0, 0 };
static const uint8_t sub_r11_r10[] = { 0x4d, 0x29, 0xd3 };

void bt_emit_crossing(struct translation *t, const struct bt_stub *s)
{
	struct assembler *a = &t->a;
	uint8_t *elsewhere, *miss;

	put_bytes(a, cmp_r10_page, sizeof(cmp_r10_page));
	elsewhere = jcc_forward(a, 3); /* jae */
	store_slot_host(a, 1, &t->bt->cross_go, s->behind);
	store_slot_host(a, 1, &t->bt->cross_miss, a->pc);
	miss = a->rw - 4;
	jmp_to(a, t->bt->cache->cross_read[s->mmu]);
	memcpy(miss, &a->pc, 4);
	jump_here(a, elsewhere);
}

/* From the host page in `base`, at `from`, to the buffer, through RAX. */
static void emit_copy(struct bt *bt, struct assembler *a, unsigned base, int32_t from, uint8_t *to)
{
	for (unsigned n = 0; n < REACH; n += 8) {
		op_disp(a, 0x8b, 1, R_AX, base, from + (int32_t)n);
		store_slot(a, to + n, R_AX);
	}
}

/* T0 = the offset in the page, T1 = index. */
static uint32_t emit_read(struct bt *bt, struct assembler *a, const struct bt_tlb *tlb)
{
	uint32_t start = a->pc;
	uint8_t *miss;

	store_slot(a, &bt->tmp, T0);
	put_bytes(a, inc_r11w, sizeof(inc_r11w)); /* wraps as the index does */
	op_table(a, 0x8b, 1, T0, tlb->tag[0], T1);
	put_bytes(a, sub_r10_page, sizeof(sub_r10_page));
	put_bytes(a, dec_r11w, sizeof(dec_r11w));
	op_table(a, 0x3b, 1, T0, tlb->tag[0], T1); /* cmp */
	miss = jcc_forward(a, 5); /* jne */
	store_slot(a, &bt->cross_la, T0);
	store_slot(a, &bt->rax, R_AX);
	op_table(a, 0x8b, 1, T0, tlb->host, T1);
	emit_copy(bt, a, T0, PAGE_SIZE - REACH, bt->crossing.buffer);
	put_bytes(a, inc_r11w, sizeof(inc_r11w));
	op_table(a, 0x8b, 1, T0, tlb->host, T1);
	emit_copy(bt, a, T0, 0, bt->crossing.buffer + REACH);
	load_slot(a, R_AX, &bt->rax);
	load_slot(a, T1, &bt->self);
	lea_disp(a, T1, T1, (int32_t)offsetof(struct bt, crossing.buffer) + REACH - (int32_t)PAGE_SIZE);
	load_slot(a, T0, &bt->cross_la);
	put_bytes(a, sub_r11_r10, sizeof(sub_r11_r10));
	put8(a, ASM_GS);
	rex(a, 1, T0, 0, 0);
	put8(a, 0x33); /* xor T0, [tmp]: the address */
	modrm_of_slot(a, T0, &bt->tmp, 0);
	op_slot(a, 0xff, 4, &bt->cross_go); /* jmp */
	jump_here(a, miss);
	load_slot(a, T0, &bt->tmp);
	op_slot(a, 0xff, 4, &bt->cross_miss);
	return start;
}

void bt_emit_cross_reads(struct bt *bt, struct assembler *a)
{
	for (unsigned m = 0; m < MMU_MODES; m++)
		bt->cache->cross_read[m] = emit_read(bt, a, &bt->tlb[m]);
}
