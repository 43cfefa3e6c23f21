/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Large reads and stores over a page's end, without leaving translated code: unaligned vectors meet one in every page.
 *
 * The stub of a check that has failed finds the offset in T0 to be one of the page after all, and jumps to a routine that all
 * sites of an MMU mode share. Should the page behind be in the TLB, too, the last 64 bytes of the one and the first 64 of the other
 * are put side by side, and the instruction goes on there, with its address in T0 and the addend in T1. Flags are
 * dead on all of the way.
 *
 * A store is made to the same buffer by a copy of its instruction in the stub, and what it has left there goes to both pages, which have been found to be in
 * the TLB for writing by then. Only those instructions that cannot fault: in a stub nobody would know which one it was.
 */
#include "cpu/bt/insn.h"

#define REACH BT_MAX_CROSSING

static const uint8_t inc_r11w[] = { 0x66, 0x41, 0xff, 0xc3 }, dec_r11w[] = { 0x66, 0x41, 0xff, 0xcb };
static const uint8_t cmp_r10_page[] = { 0x49, 0x81, 0xfa, 0, 0x10, 0, 0 }, sub_r10_page[] = { 0x49, 0x81, 0xea, 0, 0x10, 0, 0 };
static const uint8_t sub_r11_r10[] = { 0x4d, 0x29, 0xd3 };

bool bt_stores_over_end(const struct bt_insn *in)
{
	if (in->masked || !in->writes_mem)
		return false;
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS: case ZYDIS_MNEMONIC_MOVUPD: case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_VMOVUPS: case ZYDIS_MNEMONIC_VMOVUPD: case ZYDIS_MNEMONIC_VMOVDQU:
	case ZYDIS_MNEMONIC_VMOVDQU8: case ZYDIS_MNEMONIC_VMOVDQU16: case ZYDIS_MNEMONIC_VMOVDQU32: case ZYDIS_MNEMONIC_VMOVDQU64:
		return true;
	default:
		return false;
	}
}

/* Store the address that the code at this place has once what comes next is emitted; it is put there by known_here(). */
static uint8_t *store_later(struct assembler *a, const void *slot)
{
	store_slot_host(a, 1, slot, 0);
	return a->rw - 4;
}

static void known_here(const struct assembler *a, uint8_t *addr)
{
	memcpy(addr, &a->pc, 4);
}

void bt_emit_crossing(struct translation *t, const struct bt_stub *s)
{
	const struct bt_cache *c = t->bt->cache;
	struct assembler *a = &t->a;
	uint8_t *elsewhere, *miss, *store;

	put_bytes(a, cmp_r10_page, sizeof(cmp_r10_page));
	elsewhere = jcc_forward(a, 3); /* jae */
	miss = store_later(a, &t->bt->cross_miss);
	if (s->store) {
		store = store_later(a, &t->bt->cross_go);
		jmp_to(a, c->cross_write[s->mmu]);
		known_here(a, store);
		bt_emit_memory_insn(t, s->store);
		store_slot_imm(a, 1, &t->bt->cross_size, s->site.size);
	}
	store_slot_host(a, 1, &t->bt->cross_go, s->behind);
	jmp_to(a, s->store ? c->cross_flush : c->cross_read[s->mmu]);
	known_here(a, miss);
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

static void op_slot64(struct assembler *a, unsigned opcode, unsigned reg, const void *slot)
{
	put8(a, ASM_GS);
	rex(a, 1, reg, 0, 0);
	put8(a, opcode);
	modrm_of_slot(a, reg, slot, 0);
}

/* From T0 = the offset in the page, T1 = index: T0 = that page's address, if the one behind is in the TLB, too. The offset is in its slot. */
static uint8_t *emit_behind(struct bt *bt, struct assembler *a, const uint64_t *tag)
{
	store_slot(a, &bt->tmp, T0);
	put_bytes(a, inc_r11w, sizeof(inc_r11w)); /* wraps as the index does */
	op_table(a, 0x8b, 1, T0, tag, T1);
	put_bytes(a, sub_r10_page, sizeof(sub_r10_page));
	put_bytes(a, dec_r11w, sizeof(dec_r11w));
	op_table(a, 0x3b, 1, T0, tag, T1); /* cmp */
	return jcc_forward(a, 5); /* jne */
}

static void emit_miss(struct bt *bt, struct assembler *a, uint8_t *miss)
{
	jump_here(a, miss);
	load_slot(a, T0, &bt->tmp);
	op_slot(a, 0xff, 4, &bt->cross_miss); /* jmp */
}

/* reg = what to add to an offset in a page at whose end the operand begins, for its place in the buffer. */
static void emit_buffer(struct bt *bt, struct assembler *a, unsigned reg)
{
	load_slot(a, reg, &bt->self);
	lea_disp(a, reg, reg, (int32_t)offsetof(struct bt, crossing.buffer) + REACH - (int32_t)PAGE_SIZE);
}

static uint32_t emit_read(struct bt *bt, struct assembler *a, const struct bt_tlb *tlb)
{
	uint32_t start = a->pc;
	uint8_t *miss = emit_behind(bt, a, tlb->tag[0]);

	store_slot(a, &bt->cross_la, T0);
	store_slot(a, &bt->rax, R_AX);
	op_table(a, 0x8b, 1, T0, tlb->host, T1);
	emit_copy(bt, a, T0, PAGE_SIZE - REACH, bt->crossing.buffer);
	put_bytes(a, inc_r11w, sizeof(inc_r11w));
	op_table(a, 0x8b, 1, T0, tlb->host, T1);
	emit_copy(bt, a, T0, 0, bt->crossing.buffer + REACH);
	load_slot(a, R_AX, &bt->rax);
	emit_buffer(bt, a, T1);
	load_slot(a, T0, &bt->cross_la);
	put_bytes(a, sub_r11_r10, sizeof(sub_r11_r10));
	op_slot64(a, 0x33, T0, &bt->tmp); /* xor: the address */
	op_slot(a, 0xff, 4, &bt->cross_go); /* jmp */
	emit_miss(bt, a, miss);
	return start;
}

/* [T0 + T1] = the operand's place in the buffer, and where it goes from there. */
static uint32_t emit_write(struct bt *bt, struct assembler *a, const struct bt_tlb *tlb)
{
	uint32_t start = a->pc;
	uint8_t *miss = emit_behind(bt, a, tlb->tag[1]);

	op_table(a, 0x8b, 1, T0, tlb->host, T1);
	op_slot64(a, 0x03, T0, &bt->tmp); /* add */
	store_slot(a, &bt->cross_to[0], T0);
	put_bytes(a, inc_r11w, sizeof(inc_r11w));
	op_table(a, 0x8b, 1, T0, tlb->host, T1);
	store_slot(a, &bt->cross_to[1], T0);
	emit_buffer(bt, a, T1);
	load_slot(a, T0, &bt->tmp);
	op_slot(a, 0xff, 4, &bt->cross_go); /* jmp */
	emit_miss(bt, a, miss);
	return start;
}

/* What a store has left in the buffer goes to both pages: nothing but its own bytes, since the others may be another vCPU's by now. */
static uint32_t emit_flush(struct bt *bt, struct assembler *a)
{
	static const uint8_t rep_movsb[] = { 0xf3, 0xa4 };
	uint32_t start = a->pc;

	store_slot(a, &bt->rsi, R_SI);
	store_slot(a, &bt->rdi, R_DI);
	store_slot(a, &bt->rcx, R_CX);
	emit_buffer(bt, a, R_SI);
	op_slot64(a, 0x03, R_SI, &bt->tmp); /* add */
	mov_imm(a, R_CX, PAGE_SIZE);
	op_slot64(a, 0x2b, R_CX, &bt->tmp); /* sub */
	load_slot(a, R_DI, &bt->cross_to[0]);
	put_bytes(a, rep_movsb, sizeof(rep_movsb));
	load_slot(a, R_CX, &bt->cross_size);
	op_slot64(a, 0x03, R_CX, &bt->tmp);
	lea_disp(a, R_CX, R_CX, -(int32_t)PAGE_SIZE);
	load_slot(a, R_DI, &bt->cross_to[1]);
	put_bytes(a, rep_movsb, sizeof(rep_movsb));
	load_slot(a, R_CX, &bt->rcx);
	load_slot(a, R_DI, &bt->rdi);
	load_slot(a, R_SI, &bt->rsi);
	op_slot(a, 0xff, 4, &bt->cross_go); /* jmp */
	return start;
}

void bt_emit_cross_common(struct bt *bt, struct assembler *a)
{
	struct bt_cache *c = bt->cache;

	for (unsigned m = 0; m < MMU_MODES; m++) {
		c->cross_read[m] = emit_read(bt, a, &bt->tlb[m]);
		c->cross_write[m] = emit_write(bt, a, &bt->tlb[m]);
	}
	c->cross_flush = emit_flush(bt, a);
}
