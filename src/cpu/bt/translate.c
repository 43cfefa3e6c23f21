/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From guest code to a block: decode a superblock along not-taken branches within one page, run the
 * passes, emit, append the stubs.
 *
 * The layout of a block's host code:
 *
 *   ientry:  is T0 our address?  else to the miss stub    (what jump caches point to)
 *   entry:   is something pending?  else to its stub
 *            the instructions, each beginning at its `retry` address
 *            stubs, each followed by its struct bt_site
 */
#include <stdlib.h>

#include "cpu/bt/insn.h"

/* -- Decoding -------------------------------------------------------------------------------------------- */

static bool decode_one(struct translation *t, const uint8_t *page, uint64_t la, struct bt_insn *in)
{
	unsigned off = (unsigned)(la & (PAGE_SIZE - 1)), left = (unsigned)(PAGE_SIZE - off);

	memset(&in->rip, 0, sizeof(*in) - offsetof(struct bt_insn, rip));
	in->rip = la;
	for (unsigned n = 0; n < MIN(left, 15u); n++)
		in->bytes[n] = ((const volatile uint8_t *)page)[off + n];
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&t->bt->decoder, in->bytes, MIN(left, 15u), &in->i, in->op));
}

/* What cannot be decoded within the page is one instruction for the reference engine. */
static void decode_block(struct translation *t, const uint8_t *page)
{
	uint64_t la = t->b->la;

	while (t->n < BT_MAX_INSNS) {
		struct bt_insn *in = &t->insn[t->n++];

		if (!decode_one(t, page, la, in)) {
			memset(&in->i, 0, sizeof(in->i));
			in->cls = BT_INTERP_FPU;
			return;
		}
		bt_classify(t->bt, in, t->mode);
		la = bt_next_rip(in);
		if (bt_ends_block(in) || (la & PAGE_MASK) != (t->b->la & PAGE_MASK))
			return;
	}
}

/* -- Entries ------------------------------------------------------------------------------------------------ */

static void emit_indirect_entry(struct translation *t)
{
	static const uint8_t cmp_t0_t1[] = { 0x4d, 0x39, 0xda }; /* cmp r10, r11 */
	struct assembler *a = &t->a;
	uint8_t *miss;

	t->b->ientry = a->pc;
	if (!t->insn[0].flags_live) {
		mov_imm(a, T1, t->b->la);
		put_bytes(a, cmp_t0_t1, sizeof(cmp_t0_t1));
		miss = jcc_forward(a, 5); /* jne */
		jump_here(&(struct assembler){ .rw = bt_rw(t->bt, t->bt->miss_stub) }, miss);
		return;
	}
	store_slot(a, &t->bt->rcx, R_CX);
	mov_imm(a, R_CX, 0 - t->b->la);
	lea_full(a, 1, R_CX, R_CX, T0, 0, 0);
	put8(a, 0xe3); /* jrcxz over the way to the miss stub: a 7-byte load and a 5-byte jump */
	put8(a, 12);
	load_slot(a, R_CX, &t->bt->rcx);
	jmp_to(a, t->bt->miss_stub);
	load_slot(a, R_CX, &t->bt->rcx);
}

static void emit_entry(struct translation *t)
{
	struct assembler *a = &t->a;
	struct bt_stub *s = bt_add_stub(t, NULL, SITE_POLL, t->b->la);

	t->b->entry = a->pc;
	if (!t->insn[0].flags_live) {
		put8(a, 0x83); /* cmp dword [poll], 0 */
		modrm_slot(a, 7, &t->bt->poll, 1);
		put8(a, 0);
		s->disp = jcc_forward(a, 5);
		return;
	}
	store_slot(a, &t->bt->rcx, R_CX);
	put8(a, 0x8b); /* mov ecx, [poll] */
	modrm_slot(a, R_CX, &t->bt->poll, 0);
	bt_emit_unless_rcx(t, s);
}

/* -- Instructions ---------------------------------------------------------------------------------------------- */

static void emit_interp(struct translation *t, const struct bt_insn *in)
{
	bt_add_stub(t, jmp_forward(&t->a), in->cls == BT_INTERP ? SITE_INTERP : SITE_INTERP_FPU, in->rip);
}

static void emit_lea_constant(struct translation *t, const struct bt_insn *in)
{
	unsigned reg = bt_gpr_number(in->op[0].reg.value);
	uint64_t la = bt_next_rip(in) + (uint64_t)in->mem->mem.disp.value;

	if (in->i.address_width == 32)
		la = (uint32_t)la;
	mov_imm(&t->a, reg, la);
	if (reg == T0)
		store_slot(&t->a, &t->bt->r10, T0);
	else if (reg == T1)
		store_slot(&t->a, &t->bt->r11, T1);
}

static void emit_memory(struct translation *t, const struct bt_insn *in)
{
	uint32_t retry = t->a.pc;

	bt_emit_address(t, in);
	bt_emit_check(t, in, in->mem->size / 8u, in->writes_mem, retry);
	bt_emit_memory_insn(t, in);
}

static void emit_insn(struct translation *t, const struct bt_insn *in)
{
	switch (in->cls) {
	case BT_COPY: bt_emit_copy(t, in); break;
	case BT_MEMORY: emit_memory(t, in); break;
	case BT_LEA: emit_lea_constant(t, in); break;
	case BT_NOP: break;
	case BT_PUSH: bt_emit_push(t, in); break;
	case BT_POP: bt_emit_pop(t, in); break;
	case BT_LEAVE: bt_emit_leave(t, in); break;
	case BT_JCC: bt_emit_jcc(t, in); break;
	case BT_JMP: bt_emit_goto(t, bt_next_rip(in) + (uint64_t)in->op[0].imm.value.s); break;
	case BT_CALL: bt_emit_call(t, in); break;
	case BT_JMP_IND:
	case BT_CALL_IND: bt_emit_indirect(t, in); break;
	case BT_RET: bt_emit_ret(t, in); break;
	default: emit_interp(t, in); break;
	}
}

static void emit_insns(struct translation *t)
{
	struct bt *bt = t->bt;

	t->b->map = bt->n_map;
	t->b->insns = (uint16_t)t->n;
	for (unsigned n = 0; n < t->n; n++) {
		const struct bt_insn *in = &t->insn[n];

		bt->map[bt->n_map++] = (struct bt_map){ t->a.pc, (uint32_t)(in->rip - t->b->la), in->fpu };
		emit_insn(t, in);
	}
	if (!bt_ends_block(&t->insn[t->n - 1]))
		bt_emit_goto(t, bt_next_rip(&t->insn[t->n - 1]));
}

/* -- Stubs ------------------------------------------------------------------------------------------------------- */

/* Name the site and leave. The site stands behind the jump, aligned. */
static uint32_t emit_stub(struct bt *bt, struct assembler *a, const struct bt_site *site, bool restore_rcx)
{
	uint32_t start = a->pc, at;

	if (restore_rcx)
		load_slot(a, R_CX, &bt->rcx);
	/* mov dword [exit_site], imm32 is 10 bytes, the jump 5 */
	at = (uint32_t)ALIGN_UP(a->pc + 15, 8);
	store_slot_imm(a, &bt->exit_site, at);
	jmp_to(a, bt->exit_stub);
	while (a->pc < at)
		put8(a, 0xcc);
	put_bytes(a, (const uint8_t *)site, sizeof(*site));
	return start;
}

static void emit_stubs(struct translation *t)
{
	for (unsigned n = 0; n < t->n_stubs; n++) {
		struct bt_stub *s = &t->stub[n];
		uint32_t start = t->a.pc;

		jump_here(&t->a, s->disp);
		emit_stub(t->bt, &t->a, &s->site, s->restore_rcx);
		if (s->site.kind == SITE_POLL) {
			/* The way out of a dropped block: RCX is in place there. */
			t->b->stale_stub = s->restore_rcx ? start + 7 : start;
		}
	}
}

/* Once for each code memory: leaving, and an empty place in a jump cache. */
void bt_emit_common(struct bt *bt)
{
	struct assembler a = { .rw = bt->code_rw, .pc = (uint32_t)(uintptr_t)bt->code_rx };
	struct bt_site miss = { .kind = SITE_INDIRECT };

	bt->exit_stub = a.pc;
	store_slot(&a, &bt->exit_t0, T0);
	store_slot(&a, &bt->exit_t1, T1);
	mov_imm(&a, T1, (uint64_t)(uintptr_t)bt);
	put8(&a, 0xff); /* jmp [exit_fn] */
	modrm_slot(&a, 4, &bt->exit_fn, 0);
	bt->miss_stub = emit_stub(bt, &a, &miss, false);
	bt->code_base_used = bt->code_used = (uint32_t)ALIGN_UP(a.pc - (uint32_t)(uintptr_t)bt->code_rx, 16);
}

struct bt_block *bt_translate(struct bt *bt, uint64_t la, uint64_t gpa, struct bt_mode mode)
{
	struct translation *t = bt->translation;
	uint64_t page = gpa & PAGE_MASK;
	uint32_t start;

	t->bt = bt;
	t->mode = mode;
	t->n = t->n_stubs = 0;
	t->b = bt_block_new(bt);
	t->b->la = la;
	t->b->gpa = gpa;
	t->b->mode = mode;
	t->b->version = ram_mark_code(bt->v->ram, page);
	decode_block(t, bt->v->ram->base + page);
	bt_flag_liveness(t->insn, t->n);
	start = (uint32_t)(uintptr_t)bt->code_rx + bt->code_used;
	t->a = (struct assembler){ .rw = bt_rw(bt, start), .pc = start };
	emit_indirect_entry(t);
	emit_entry(t);
	emit_insns(t);
	emit_stubs(t);
	t->b->end = t->a.pc;
	bt->code_used = (uint32_t)ALIGN_UP(t->a.pc - (uint32_t)(uintptr_t)bt->code_rx, 16);
	bt_block_publish(bt, t->b);
	return t->b;
}
