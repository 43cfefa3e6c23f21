/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MOVS and STOS, alone and repeated, on host memory: where all of it lies in one page, or one page each.
 *
 * The pages are checked for the first element as any access is. If the last one is in them too and DF is clear, RSI and RDI become
 * host addresses for the length of the host's own instruction:
 *
 *	jrcxz done                             nothing to do, nothing to check
 *	tmp = host address of [rsi]            MOVS
 *	T1 = host address of [rdi], T0 its offset in the page
 *	cmp rcx, [string_limit]; ja rest       4096, or 0 while DF is set
 *	lea T0, [T0 + rcx * size]; cmp T0, 4096; ja rest
 *	rep movs
 *
 * The rest - DF, several pages, elements across a page's end - is do_string()'s (system.c). The flags are put away where they are
 * live: MOVS and STOS change none.
 */
#include "cpu/bt/insn.h"
#include "cpu/bt/system.h"

struct string_op {
	unsigned size, shift; /* of an element */
	bool movs, repeats;
	uint8_t *to_rest[4];  /* jumps there */
	unsigned jumps;
};

static void leave_if(struct translation *t, struct string_op *op, unsigned cc)
{
	op->to_rest[op->jumps++] = jcc_forward(&t->a, cc);
}

/* -- Flags by way of RAX --------------------------------------------------------------------------------------- */

static void save_flags(struct translation *t)
{
	static const uint8_t lahf_seto_al[] = { 0x9f, 0x0f, 0x90, 0xc0 };

	store_slot(&t->a, &t->bt->rax, R_AX);
	put_bytes(&t->a, lahf_seto_al, sizeof(lahf_seto_al));
	store_slot(&t->a, &t->bt->saved_flags, R_AX);
	load_slot(&t->a, R_AX, &t->bt->rax);
}

static void restore_flags(struct translation *t)
{
	static const uint8_t add_al_127_sahf[] = { 0x04, 0x7f, 0x9e };

	store_slot(&t->a, &t->bt->rax, R_AX);
	load_slot(&t->a, R_AX, &t->bt->saved_flags);
	put_bytes(&t->a, add_al_127_sahf, sizeof(add_al_127_sahf));
	load_slot(&t->a, R_AX, &t->bt->rax);
}

/* -- Pieces ------------------------------------------------------------------------------------------------------ */

/* cmp T0, 4096; ja rest */
static void check_end(struct translation *t, struct string_op *op)
{
	static const uint8_t cmp_r10_4096[] = { 0x49, 0x81, 0xfa, 0x00, 0x10, 0x00, 0x00 };

	put_bytes(&t->a, cmp_r10_4096, sizeof(cmp_r10_4096));
	leave_if(t, op, 7);
}

/* cmp rcx, [string_limit] or cmp dword [string_limit], 0; T1 = host address of [rdi]; all of it in the page */
static void check_range(struct translation *t, struct string_op *op)
{
	static const uint8_t and_r10d_4095[] = { 0x41, 0x81, 0xe2, 0xff, 0x0f, 0x00, 0x00 };
	struct assembler *a = &t->a;

	if (!op->repeats) {
		lea_full(a, 1, T1, T1, T0, 0, 0);
		cmp_slot(a, &t->bt->string_limit, 0);
		leave_if(t, op, 4);
		return;
	}
	put8(a, ASM_GS);
	rex(a, 1, R_CX, 0, 0);
	put8(a, 0x3b);
	modrm_of_slot(a, R_CX, &t->bt->string_limit, 0);
	leave_if(t, op, 7);
	lea_full(a, 1, T1, T1, T0, 0, 0);
	lea_full(a, 1, T0, T0, R_CX, op->shift, 0);
	check_end(t, op);
	if (!op->movs)
		return;
	load_slot(a, T0, &t->bt->tmp);
	put_bytes(a, and_r10d_4095, sizeof(and_r10d_4095));
	lea_full(a, 1, T0, T0, R_CX, op->shift, 0);
	check_end(t, op);
}

/* The host's instruction, with the prefixes that size and repetition ask for. */
static void put_string_insn(struct assembler *a, const struct string_op *op)
{
	if (op->repeats)
		put8(a, 0xf3);
	if (op->size == 2)
		put8(a, 0x66);
	if (op->size == 8)
		put8(a, 0x48);
	put8(a, (op->movs ? 0xa4 : 0xaa) | (op->size > 1));
}

/* T0 = the bytes that it moves by */
static void put_length(struct assembler *a, const struct string_op *op)
{
	if (op->repeats)
		lea_index(a, 1, T0, R_CX, op->shift, 0);
	else
		mov_imm(a, T0, op->size);
}

static void run_natively(struct translation *t, const struct string_op *op)
{
	struct assembler *a = &t->a;

	put_length(a, op);
	if (op->movs) {
		store_slot(a, &t->bt->rsi, R_SI);
		load_slot(a, R_SI, &t->bt->tmp);
	}
	store_slot(a, &t->bt->rdi, R_DI);
	mov_rr(a, R_DI, T1);
	put_string_insn(a, op);
	load_slot(a, R_DI, &t->bt->rdi);
	lea_full(a, 1, R_DI, R_DI, T0, 0, 0);
	if (op->movs) {
		load_slot(a, R_SI, &t->bt->rsi);
		lea_full(a, 1, R_SI, R_SI, T0, 0, 0);
	}
}

/* -- The whole ----------------------------------------------------------------------------------------------------- */

void bt_emit_string(struct translation *t, const struct bt_insn *in)
{
	struct assembler *a = &t->a;
	uint32_t retry = a->pc;
	uint8_t *done[2] = { NULL };
	struct bt_stub *rest;
	struct string_op op = { .size = in->op[0].size / 8u, .repeats = in->i.attributes & ZYDIS_ATTRIB_HAS_REP };

	op.movs = bt_system_op(in) == BT_OP_MOVS;
	op.shift = (unsigned)__builtin_ctz(op.size);
	if (op.repeats) {
		put8(a, 0xe3); /* jrcxz over a jump: what follows is longer than its reach */
		put8(a, 2);
		put8(a, 0xeb);
		put8(a, 5);
		done[0] = jmp_forward(a);
	}
	if (op.movs) {
		lea_disp(a, T0, R_SI, 0);
		bt_emit_check(t, in, op.size, false, retry);
		lea_full(a, 1, T0, T0, T1, 0, 0);
		store_slot(a, &t->bt->tmp, T0);
	}
	lea_disp(a, T0, R_DI, 0);
	bt_emit_check(t, in, op.size, true, retry);
	if (in->flags_live)
		save_flags(t);
	check_range(t, &op);
	run_natively(t, &op);
	if (in->flags_live)
		restore_flags(t);
	done[1] = jmp_forward(a);
	for (unsigned n = 0; n < op.jumps; n++)
		jump_here(a, op.to_rest[n]);
	if (in->flags_live)
		restore_flags(t);
	rest = bt_add_system_stub(t, jmp_forward(a), in);
	rest->site.retry = a->pc;
	for (unsigned n = 0; n < 2; n++)
		if (done[n])
			jump_here(a, done[n]);
}
