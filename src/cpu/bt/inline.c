/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System instructions that a kernel executes at every turn, done by a few instructions of the host on the vCPU's state.
 *
 * While translated code runs, x86_state's RFLAGS holds all but the arithmetic flags, which are the host's. None of what is
 * emitted here changes those, but where they are dead: bits are cleared by PEXT and PDEP. What is not a plain
 * case leaves by the exit that system.c serves.
 */
#include "cpu/bt/legacy.h"
#include "cpu/bt/system.h"

#define STATE(field) offsetof(struct x86_state, field)

/* T1 = the vCPU, which begins with its state */
static void load_vcpu(struct translation *t)
{
	_Static_assert(offsetof(struct vcpu, s) == 0, "one pointer for both");
	load_slot(&t->a, T1, &t->bt->state);
}

/* -- Flags ----------------------------------------------------------------------------------------------------- */

static void emit_clear_flag(struct translation *t, const struct bt_insn *in, uint32_t bit, const void *all_but)
{
	load_vcpu(t);
	if (!in->flags_live) {
		op_disp_imm(&t->a, 0x81, 4, T1, STATE(rflags), ~bit);
		return;
	}
	load_disp(&t->a, T0, T1, STATE(rflags));
	mask_slot(&t->a, T0, all_but);
	store_disp(&t->a, T1, STATE(rflags), T0);
}

static void emit_set_flag(struct translation *t, const struct bt_insn *in, uint32_t bit, const void *all_but)
{
	load_vcpu(t);
	if (!in->flags_live) {
		op_disp_imm(&t->a, 0x81, 1, T1, STATE(rflags), bit);
		return;
	}
	load_disp(&t->a, T0, T1, STATE(rflags));
	mask_slot(&t->a, T0, all_but);
	lea_disp(&t->a, T0, T0, (int32_t)bit);
	store_disp(&t->a, T1, STATE(rflags), T0);
}

static void emit_direction(struct translation *t, const struct bt_insn *in)
{
	bool set = in->i.mnemonic == ZYDIS_MNEMONIC_STD;

	if (set)
		emit_set_flag(t, in, FL_DF, &t->bt->no_df_bit);
	else
		emit_clear_flag(t, in, FL_DF, &t->bt->no_df_bit);
	store_slot_imm(&t->a, 1, &t->bt->string_limit, set ? 0 : PAGE_SIZE);
}

/*
 * Plain: nothing is pending, and IF was clear, so that there is a shadow. Something that comes up behind the look at the pending
 * work raises the poll word, as always.
 */
static void emit_sti(struct translation *t, const struct bt_insn *in)
{
	static const uint8_t or_r10_ecx[] = { 0x41, 0x0b, 0xca }; /* or ecx, r10d */
	struct assembler *a = &t->a;
	struct bt_stub *s = bt_add_system_stub(t, NULL, in);

	load_vcpu(t);
	store_slot(a, &t->bt->rcx, R_CX);
	op_disp(a, 0x8b, 0, R_CX, T1, (int32_t)offsetof(struct vcpu, work));
	load_disp(a, T0, T1, STATE(rflags));
	bits_slot(a, 2, T0, &t->bt->if_bit);
	if (in->flags_live)
		lea_full(a, 1, R_CX, R_CX, T0, 0, 0);
	else
		put_bytes(a, or_r10_ecx, sizeof(or_r10_ecx));
	bt_emit_unless_rcx(t, s, RCX_IN_SLOT);
	load_disp(a, T0, T1, STATE(rflags));
	lea_disp(a, T0, T0, FL_IF);
	store_disp(a, T1, STATE(rflags), T0);
	mov_la(a, T0, bt_guest_rip(t, bt_next_rip(in)), MOVES_LA);
	store_slot(a, &t->bt->shadow_rip, T0);
	s->site.retry = a->pc;
}

/* Host flags by way of the host's stack: T1. */
static void emit_read_flags(struct translation *t)
{
	static const uint8_t pushf_pop_r11[] = { 0x9c, 0x41, 0x5b };

	mov_rr(&t->a, T0, R_SP);
	load_slot(&t->a, R_SP, &t->bt->host_rsp);
	put_bytes(&t->a, pushf_pop_r11, sizeof(pushf_pop_r11));
	mov_rr(&t->a, R_SP, T0);
}

/* VM and RF are never set while translated code runs. */
static void emit_pushf(struct translation *t, const struct bt_insn *in)
{
	uint32_t retry = t->a.pc;

	emit_read_flags(t);
	mask_slot(&t->a, T1, &t->bt->arith_bits);
	load_slot(&t->a, T0, &t->bt->state);
	load_disp(&t->a, T0, T0, STATE(rflags));
	mask_slot(&t->a, T0, &t->bt->other_bits);
	lea_full(&t->a, 1, T0, T0, T1, 0, 0);
	store_slot(&t->a, &t->bt->tmp, T0);
	bt_emit_push_slot(t, in, &t->bt->tmp, retry);
}

/* AC decides which tables translated code uses: the block ends. */
static void emit_ac(struct translation *t, const struct bt_insn *in)
{
	bool set = in->i.mnemonic == ZYDIS_MNEMONIC_STAC;

	if (set)
		emit_set_flag(t, in, FL_AC, &t->bt->no_ac_bit);
	else
		emit_clear_flag(t, in, FL_AC, &t->bt->no_ac_bit);
	t->mode.mmu = set ? MMU_KERNEL_AC : MMU_KERNEL;
	bt_emit_goto(t, bt_next_rip(in));
}

/* -- Registers --------------------------------------------------------------------------------------------------- */

static void emit_swapgs(struct translation *t)
{
	struct assembler *a = &t->a;

	load_vcpu(t);
	load_disp(a, T0, T1, STATE(msr.kernel_gs_base));
	store_slot(a, &t->bt->tmp, T0);
	load_slot(a, T0, &t->bt->seg_base[1]);
	store_disp(a, T1, STATE(msr.kernel_gs_base), T0);
	load_slot(a, T0, &t->bt->tmp);
	store_slot(a, &t->bt->seg_base[1], T0);
	store_disp(a, T1, STATE(seg[SEG_GS].base), T0);
}

/* A stolen register has been loaded: home. */
static void emit_to_register(struct translation *t, const struct bt_insn *in)
{
	unsigned reg = bt_gpr_number(in->op[0].reg.value);

	if (reg == T0)
		store_slot(&t->a, &t->bt->r10, T0);
	else if (reg == T1)
		store_slot(&t->a, &t->bt->r11, T1);
}

static void emit_mov_from_cr(struct translation *t, const struct bt_insn *in)
{
	static const uint16_t field[] = { STATE(cr0), 0, STATE(cr2), STATE(cr3), STATE(cr4) };

	load_vcpu(t);
	op_disp(&t->a, 0x8b, !t->mode.legacy.on, bt_gpr_number(in->op[0].reg.value), T1,
		field[in->op[1].reg.value - ZYDIS_REGISTER_CR0]);
	emit_to_register(t, in);
}

/* reg = the selector in segment register n */
static void emit_selector(struct translation *t, unsigned reg, unsigned n)
{
	load_vcpu(t);
	rex(&t->a, 0, reg, 0, T1); /* movzx reg, word [T1 + disp] */
	put8(&t->a, 0x0f);
	put8(&t->a, 0xb7);
	put8(&t->a, 0x80 | (reg & 7) << 3 | (T1 & 7));
	put32(&t->a, (uint32_t)(STATE(seg) + n * sizeof(struct x86_seg) + offsetof(struct x86_seg, sel)));
}

static void emit_mov_from_sreg(struct translation *t, const struct bt_insn *in)
{
	static const uint8_t mov_r10_r11w[] = { 0x66, 0x45, 0x89, 0x1a }; /* mov [r10], r11w */
	unsigned n = in->op[1].reg.value - ZYDIS_REGISTER_ES;
	uint32_t retry = t->a.pc;

	if (!in->mem && in->op[0].size == 16) { /* the upper bits stay: mov reg, r11w */
		unsigned reg = bt_gpr_number(in->op[0].reg.value);

		emit_selector(t, T1, n);
		put8(&t->a, 0x66);
		put8(&t->a, 0x44 | reg >> 3);
		put8(&t->a, 0x89);
		put8(&t->a, 0xc0 | (T1 & 7) << 3 | (reg & 7));
		return;
	}
	if (!in->mem) {
		emit_selector(t, bt_gpr_number(in->op[0].reg.value), n);
		emit_to_register(t, in);
		return;
	}
	bt_emit_address(t, in);
	bt_emit_check(t, in, 2, true, retry);
	lea_full(&t->a, 1, T0, T0, T1, 0, 0);
	emit_selector(t, T1, n);
	put_bytes(&t->a, mov_r10_r11w, sizeof(mov_r10_r11w));
}

/* RDFSBASE, RDGSBASE: 64 bits wide */
static void emit_read_base(struct translation *t, const struct bt_insn *in)
{
	load_slot(&t->a, bt_gpr_number(in->op[0].reg.value),
		  &t->bt->seg_base[in->i.mnemonic == ZYDIS_MNEMONIC_RDGSBASE]);
	emit_to_register(t, in);
}

/* Bits 47 to 63 have to be the same: with 1 added to them, those above the lowest are 0. The helper raises the fault. */
static void emit_write_base(struct translation *t, const struct bt_insn *in)
{
	static const uint8_t rorx_r10_r10_47[] = { 0xc4, 0x43, 0xfb, 0xf0, 0xd2, 0x2f };
	struct bt_stub *s = bt_add_system_stub(t, NULL, in);
	struct assembler *a = &t->a;
	unsigned reg = bt_gpr_number(in->op[0].reg.value), gs = in->i.mnemonic == ZYDIS_MNEMONIC_WRGSBASE;

	if (reg == T0 || reg == T1)
		load_slot(a, T0, reg == T0 ? &t->bt->r10 : &t->bt->r11);
	else
		mov_rr(a, T0, reg);
	store_slot(a, &t->bt->tmp, T0);
	put_bytes(a, rorx_r10_r10_47, sizeof(rorx_r10_r10_47));
	lea_disp(a, T0, T0, 1);
	bits_slot(a, 2, T0, &t->bt->sign_bits);
	store_slot(a, &t->bt->rcx, R_CX);
	mov_rr(a, R_CX, T0);
	bt_emit_unless_rcx(t, s, RCX_IN_SLOT);
	load_vcpu(t);
	load_slot(a, T0, &t->bt->tmp);
	store_slot(a, &t->bt->seg_base[gs], T0);
	store_disp(a, T1, gs ? STATE(seg[SEG_GS].base) : STATE(seg[SEG_FS].base), T0);
	s->site.retry = a->pc;
}

/* The host's counter is the guest's; what names the CPU is not. */
static void emit_rdtscp(struct translation *t, const struct bt_insn *in)
{
	put_bytes(&t->a, in->bytes, in->n_bytes);
	load_vcpu(t);
	op_disp(&t->a, 0x8b, 0, R_CX, T1, (int32_t)STATE(msr.tsc_aux));
}

/* -- Bit strings ---------------------------------------------------------------------------------------------------- */

/* T1 = the bit offset, sign-extended */
static void emit_bit_offset(struct translation *t, const struct bt_insn *in, bool wide)
{
	static const uint8_t movsxd_r11_r11d[] = { 0x4d, 0x63, 0xdb };
	unsigned reg = bt_gpr_number(in->op[1].reg.value);

	if (reg == T0)
		load_slot(&t->a, T1, &t->bt->r10);
	else if (reg == T1)
		load_slot(&t->a, T1, &t->bt->r11);
	else
		mov_rr(&t->a, T1, reg);
	if (!wide)
		put_bytes(&t->a, movsxd_r11_r11d, sizeof(movsxd_r11_r11d));
}

/* BT and its kin with a register offset: T0 moves to the word that holds the bit. */
static void emit_bit(struct translation *t, const struct bt_insn *in)
{
	static const uint8_t sarx_r11_r11_rcx[] = { 0xc4, 0x42, 0xf2, 0xf7, 0xdb };
	struct assembler *a = &t->a;
	bool wide = in->op[1].size == 64;
	uint32_t retry = a->pc;

	bt_emit_address(t, in);
	emit_bit_offset(t, in, wide);
	store_slot(a, &t->bt->rcx, R_CX);
	mov_imm(a, R_CX, wide ? 6 : 5);
	put_bytes(a, sarx_r11_r11_rcx, sizeof(sarx_r11_r11_rcx));
	load_slot(a, R_CX, &t->bt->rcx);
	lea_full(a, !t->mode.legacy.on, T0, T0, T1, wide ? 3 : 2, 0);
	bt_emit_check(t, in, wide ? 8 : 4, in->i.mnemonic != ZYDIS_MNEMONIC_BT, retry);
	lea_full(a, 1, T0, T0, T1, 0, 0);
	emit_bit_offset(t, in, wide);
	bits_slot(a, 2, T1, wide ? &t->bt->bit_63 : &t->bt->bit_31);
	if (in->i.attributes & ZYDIS_ATTRIB_HAS_LOCK)
		put8(a, 0xf0);
	rex(a, wide, T1, 0, T0);
	put8(a, 0x0f);
	put8(a, in->i.opcode);
	put8(a, (T1 & 7) << 3 | (T0 & 7));
}

/* -- Which, and how --------------------------------------------------------------------------------------------------- */

enum bt_class bt_inline_class(enum bt_system_op op, struct bt_mode mode)
{
	switch (op) {
	case BT_OP_PUSHF:
	case BT_OP_MOV_FROM_SREG:
	case BT_OP_BT:
	case BT_OP_BTS:
	case BT_OP_BTR:
	case BT_OP_BTC:
	case BT_OP_MOVS:
	case BT_OP_STOS:
		return BT_INLINE;
	case BT_OP_RDBASE:
	case BT_OP_WRBASE:
		return mode.fsgsbase ? BT_INLINE : BT_SYSTEM;
	case BT_OP_RDTSCP:
		return mode.tsc_native ? BT_INLINE : BT_SYSTEM;
	case BT_OP_CLI:
	case BT_OP_STI:
	case BT_OP_SWAPGS:
	case BT_OP_MOV_FROM_CR:
		return mode.ring0 ? BT_INLINE : BT_SYSTEM;
	case BT_OP_CLAC:
	case BT_OP_STAC:
		return mode.ring0 ? BT_INLINE_END : BT_SYSTEM;
	default:
		return op >= BT_OP_SETS_RIP ? BT_SYSTEM_END : BT_SYSTEM;
	}
}

void bt_emit_inline(struct translation *t, const struct bt_insn *in)
{
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_CLI: emit_clear_flag(t, in, FL_IF, &t->bt->no_if_bit); break;
	case ZYDIS_MNEMONIC_STI: emit_sti(t, in); break;
	case ZYDIS_MNEMONIC_CLD:
	case ZYDIS_MNEMONIC_STD: emit_direction(t, in); break;
	case ZYDIS_MNEMONIC_CLAC:
	case ZYDIS_MNEMONIC_STAC: emit_ac(t, in); break;
	case ZYDIS_MNEMONIC_PUSHFQ: emit_pushf(t, in); break;
	case ZYDIS_MNEMONIC_SWAPGS: emit_swapgs(t); break;
	case ZYDIS_MNEMONIC_RDFSBASE:
	case ZYDIS_MNEMONIC_RDGSBASE: emit_read_base(t, in); break;
	case ZYDIS_MNEMONIC_WRFSBASE:
	case ZYDIS_MNEMONIC_WRGSBASE: emit_write_base(t, in); break;
	case ZYDIS_MNEMONIC_RDTSCP: emit_rdtscp(t, in); break;
	case ZYDIS_MNEMONIC_MOV:
		if (ZydisRegisterGetClass(in->op[1].reg.value) == ZYDIS_REGCLASS_SEGMENT)
			emit_mov_from_sreg(t, in);
		else
			emit_mov_from_cr(t, in);
		break;
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC: emit_bit(t, in); break;
	default: bt_emit_string(t, in); break;
	}
}
