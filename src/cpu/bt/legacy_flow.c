/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stack and control transfers outside of 64-bit mode: by operand size, stack size and address size. */
#include "cpu/bt/legacy.h"
#include "cpu/bt/system.h"

static unsigned operand_size(const struct bt_insn *in)
{
	return in->i.operand_width / 8u;
}

/* -- Registers ----------------------------------------------------------------------------------------------- */

/* lea reg, [base + disp], 16 bits wide (what is above stays) or 32 */
static void lea_narrow(struct assembler *a, bool wide32, unsigned reg, unsigned base, int32_t disp)
{
	if (!wide32)
		put8(a, 0x66);
	rex(a, 0, reg, 0, base);
	put8(a, 0x8d);
	put8(a, 0x80 | (reg & 7) << 3 | (base & 7));
	if ((base & 7) == R_SP)
		put8(a, 0x24);
	put32(a, (uint32_t)disp);
}

static void move_sp(struct translation *t, int32_t by)
{
	lea_narrow(&t->a, t->mode.legacy.stack32, R_SP, R_SP, by);
}

/* mov reg, src of 2 or 4 bytes */
static void mov_sized(struct assembler *a, unsigned size, unsigned reg, unsigned src)
{
	if (size == 2)
		put8(a, 0x66);
	rex(a, 0, src, 0, reg);
	put8(a, 0x89);
	put8(a, 0xc0 | (src & 7) << 3 | (reg & 7));
}

/* The address becomes T0 alone. */
static void join_address(struct translation *t)
{
	lea_full(&t->a, 1, T0, T0, T1, 0, 0);
}

/* mov [T0], T1 */
static void store_t1(struct translation *t, unsigned size)
{
	if (size == 2)
		put8(&t->a, 0x66);
	rex(&t->a, 0, T1, 0, T0);
	put8(&t->a, 0x89);
	put8(&t->a, (T1 & 7) << 3 | (T0 & 7));
}

/* -- Stack ------------------------------------------------------------------------------------------------------ */

static void check_stack(struct translation *t, const struct bt_insn *in, int32_t disp, unsigned size, bool write,
			uint32_t retry)
{
	bt_emit_register_offset(t, R_SP, disp, t->mode.legacy.stack32);
	bt_emit_linear(t, in, SEG_SS, size, write);
	bt_emit_one_check(t, in, size, write, retry);
}

static void store_constant(struct translation *t, unsigned size, uint32_t val)
{
	if (size == 2)
		put8(&t->a, 0x66);
	rex(&t->a, 0, 0, T1, T0);
	put8(&t->a, 0xc7);
	put8(&t->a, 4);
	put8(&t->a, (T1 & 7) << 3 | (T0 & 7));
	put8(&t->a, val & 0xff);
	put8(&t->a, val >> 8 & 0xff);
	if (size == 4) {
		put8(&t->a, val >> 16 & 0xff);
		put8(&t->a, val >> 24);
	}
}

/* T1 = the selector in a segment register */
static void load_selector(struct translation *t, ZydisRegister reg)
{
	unsigned seg = reg - ZYDIS_REGISTER_ES;

	load_slot(&t->a, T1, &t->bt->state);
	rex(&t->a, 0, T1, 0, T1); /* movzx T1d, word [T1 + disp32] */
	put8(&t->a, 0x0f);
	put8(&t->a, 0xb7);
	put8(&t->a, 0x80 | (T1 & 7) << 3 | (T1 & 7));
	put32(&t->a, (uint32_t)(offsetof(struct x86_state, seg) + seg * sizeof(struct x86_seg) + offsetof(struct x86_seg, sel)));
}

static void emit_push(struct translation *t, const struct bt_insn *in)
{
	const struct bt_operand *o = &in->op[0];
	unsigned size = operand_size(in);
	uint32_t retry = t->a.pc;

	if (in->mem) {
		bt_emit_address(t, in);
		bt_emit_check(t, in, size, false, retry);
		bt_load_zero_extended(&t->a, size);
		store_slot(&t->a, &t->bt->tmp, T0);
	}
	check_stack(t, in, -(int32_t)size, size, true, retry);
	if (in->mem) {
		join_address(t);
		load_slot(&t->a, T1, &t->bt->tmp);
		store_t1(t, size);
	} else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		store_constant(t, size, (uint32_t)o->imm.value.s);
	} else if (ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_SEGMENT) {
		join_address(t);
		load_selector(t, o->reg.value);
		store_t1(t, size);
	} else {
		bt_op_sized(&t->a, 0x89, size, bt_gpr_number(o->reg.value));
	}
	move_sp(t, -(int32_t)size);
}

static void emit_pop_memory(struct translation *t, const struct bt_insn *in, uint32_t retry)
{
	unsigned size = operand_size(in);

	bt_load_zero_extended(&t->a, size);
	store_slot(&t->a, &t->bt->tmp, T0);
	bt_emit_address(t, in);
	bt_emit_check(t, in, size, true, retry);
	join_address(t);
	load_slot(&t->a, T1, &t->bt->tmp);
	store_t1(t, size);
	move_sp(t, (int32_t)size);
}

static void emit_pop(struct translation *t, const struct bt_insn *in)
{
	unsigned size = operand_size(in), reg = in->mem ? 0 : bt_gpr_number(in->op[0].reg.value);
	uint32_t retry = t->a.pc;

	check_stack(t, in, 0, size, false, retry);
	if (in->mem) {
		emit_pop_memory(t, in, retry);
	} else if (reg == R_SP) { /* what is popped wins; above 16 bits of it, the sum */
		bt_load_zero_extended(&t->a, size);
		move_sp(t, (int32_t)size);
		mov_sized(&t->a, size, R_SP, T0);
	} else {
		bt_op_sized(&t->a, 0x8b, size, reg);
		move_sp(t, (int32_t)size);
	}
}

static void emit_leave(struct translation *t, const struct bt_insn *in)
{
	unsigned size = operand_size(in);
	uint32_t retry = t->a.pc;

	bt_emit_register_offset(t, R_BP, 0, t->mode.legacy.stack32);
	bt_emit_linear(t, in, SEG_SS, size, false);
	bt_emit_check(t, in, size, false, retry);
	bt_load_zero_extended(&t->a, size);
	lea_narrow(&t->a, t->mode.legacy.stack32, R_SP, R_BP, (int32_t)size);
	mov_sized(&t->a, size, R_BP, T0);
}

/* All eight in one access, unless they wrap around or cross a page: the reference does those. */
static void check_all(struct translation *t, const struct bt_insn *in, int32_t disp, unsigned size, bool write)
{
	uint32_t retry = t->a.pc;

	bt_emit_register_offset(t, R_SP, disp, t->mode.legacy.stack32);
	if (!t->mode.legacy.stack32)
		bt_emit_offset_check(t, in, 0x10000 - size);
	bt_emit_linear(t, in, SEG_SS, size, write);
	bt_emit_check(t, in, size, write, retry);
	join_address(t);
}

/* mov with [T0 + the place of reg in PUSHA's frame] */
static void move_in_frame(struct assembler *a, unsigned opcode, unsigned size, unsigned reg)
{
	if (size == 2)
		put8(a, 0x66);
	rex(a, 0, reg, 0, T0);
	put8(a, opcode);
	put8(a, 0x40 | reg << 3 | (T0 & 7));
	put8(a, (7 - reg) * size);
}

static void emit_push_all(struct translation *t, const struct bt_insn *in)
{
	unsigned size = in->i.mnemonic == ZYDIS_MNEMONIC_PUSHA ? 2 : 4;

	check_all(t, in, -8 * (int32_t)size, 8 * size, true);
	for (unsigned reg = 0; reg < 8; reg++)
		move_in_frame(&t->a, 0x89, size, reg);
	move_sp(t, -8 * (int32_t)size);
}

static void emit_pop_all(struct translation *t, const struct bt_insn *in)
{
	unsigned size = in->i.mnemonic == ZYDIS_MNEMONIC_POPA ? 2 : 4;

	check_all(t, in, 0, 8 * size, false);
	for (unsigned reg = 0; reg < 8; reg++)
		if (reg != R_SP)
			move_in_frame(&t->a, 0x8b, size, reg);
	move_sp(t, 8 * (int32_t)size);
}

/* -- Branches ------------------------------------------------------------------------------------------------------ */

/* T0 is an offset of size bytes, zero-extended: leave unless CS reaches there. */
static void check_target(struct translation *t, const struct bt_insn *in, unsigned size)
{
	uint32_t limit = t->mode.legacy.cs_limit;

	if (limit != UINT32_MAX && (size != 2 || limit < 0xffff))
		bt_emit_offset_check(t, in, limit);
}

/* T0 is an offset in CS: go there. */
static void go_to_offset(struct translation *t, uint32_t start)
{
	if (t->mode.legacy.cs_base) {
		lea_narrow(&t->a, true, T0, T0, (int32_t)t->mode.legacy.cs_base);
		mov_imm(&t->a, T1, (uint64_t)t->mode.legacy.cs_base << 32);
		lea_full(&t->a, 1, T0, T0, T1, 0, 0);
	}
	bt_emit_dispatch(t, start);
}

static void push_return(struct translation *t, const struct bt_insn *in, uint32_t retry)
{
	unsigned size = operand_size(in);

	check_stack(t, in, -(int32_t)size, size, true, retry);
	store_constant(t, size, bt_legacy_offset(&t->mode.legacy, bt_next_rip(in)));
	move_sp(t, -(int32_t)size);
}

/* JMP and CALL */
static void emit_transfer(struct translation *t, const struct bt_insn *in)
{
	bool call = in->i.mnemonic == ZYDIS_MNEMONIC_CALL;
	unsigned size = operand_size(in);
	uint32_t start = t->a.pc;

	if (in->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		if (call)
			push_return(t, in, start);
		bt_emit_goto(t, bt_legacy_target(t, in));
		return;
	}
	if (in->mem) {
		bt_emit_address(t, in);
		bt_emit_check(t, in, size, false, start);
		bt_load_zero_extended(&t->a, size);
	} else if (size == 2) {
		rex(&t->a, 0, T0, 0, 0); /* movzx T0d, r16 */
		put8(&t->a, 0x0f);
		put8(&t->a, 0xb7);
		put8(&t->a, 0xc0 | (T0 & 7) << 3 | bt_gpr_number(in->op[0].reg.value));
	} else {
		mov_sized(&t->a, 4, T0, bt_gpr_number(in->op[0].reg.value));
	}
	check_target(t, in, size);
	if (call) {
		store_slot(&t->a, &t->bt->tmp, T0);
		push_return(t, in, start);
		load_slot(&t->a, T0, &t->bt->tmp);
	}
	go_to_offset(t, start);
}

static void emit_ret(struct translation *t, const struct bt_insn *in)
{
	unsigned size = operand_size(in);
	bool pops = in->i.operand_count_visible && in->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	uint32_t start = t->a.pc;

	check_stack(t, in, 0, size, false, start);
	bt_load_zero_extended(&t->a, size);
	check_target(t, in, size);
	move_sp(t, (int32_t)size + (pops ? (uint16_t)in->op[0].imm.value.u : 0));
	go_to_offset(t, start);
}

/* -- LOOP and JCXZ --------------------------------------------------------------------------------------------------- */

/* CX or ECX decides, and is left as it is. The host's own LOOPs know no CX. */
static void emit_count_jump(struct translation *t, const struct bt_insn *in)
{
	static const uint8_t movzx_ecx_cx[] = { 0x0f, 0xb7, 0xc9 }, mov_ecx_ecx[] = { 0x89, 0xc9 };
	bool wide32 = in->i.address_width == 32, zero = in->i.opcode == 0xe3;
	struct assembler *a = &t->a;
	uint8_t *flag = NULL, *not_taken;

	if (!zero)
		lea_narrow(a, wide32, R_CX, R_CX, -1);
	if (in->i.mnemonic == ZYDIS_MNEMONIC_LOOPE)
		flag = jcc_forward(a, 5);
	else if (in->i.mnemonic == ZYDIS_MNEMONIC_LOOPNE)
		flag = jcc_forward(a, 4);
	mov_rr(a, T1, R_CX);
	if (wide32)
		put_bytes(a, mov_ecx_ecx, sizeof(mov_ecx_ecx));
	else
		put_bytes(a, movzx_ecx_cx, sizeof(movzx_ecx_cx));
	put8(a, 0xe3); /* jrcxz: over the jump, or over the jump over the jump */
	put8(a, zero ? 5 : 2);
	if (!zero) {
		put8(a, 0xeb);
		put8(a, 5);
	}
	not_taken = jmp_forward(a);
	mov_rr(a, R_CX, T1);
	bt_emit_goto(t, bt_legacy_target(t, in));
	jump_here(a, not_taken);
	mov_rr(a, R_CX, T1);
	if (flag)
		jump_here(a, flag);
}

static void emit_conditional(struct translation *t, const struct bt_insn *in)
{
	unsigned op = in->i.opcode;

	if ((op & 0xf0) == 0x70 || (op & 0xf0) == 0x80)
		bt_emit_jcc_to(t, op & 0xf, bt_legacy_target(t, in));
	else
		emit_count_jump(t, in);
}

/* -- LEA ------------------------------------------------------------------------------------------------------------------ */

static void emit_lea(struct translation *t, const struct bt_insn *in)
{
	bt_emit_offset(t, in, &in->mem->mem);
	mov_sized(&t->a, operand_size(in), bt_gpr_number(in->op[0].reg.value), T0);
}

/* MOV from a segment register: memory takes 16 bits, whatever the operand size. */
static void emit_mov_from_sreg(struct translation *t, const struct bt_insn *in)
{
	uint32_t retry = t->a.pc;

	if (!in->mem) {
		load_selector(t, in->op[1].reg.value);
		mov_sized(&t->a, operand_size(in), bt_gpr_number(in->op[0].reg.value), T1);
		return;
	}
	bt_emit_address(t, in);
	bt_emit_check(t, in, 2, true, retry);
	join_address(t);
	load_selector(t, in->op[1].reg.value);
	store_t1(t, 2);
}

/* -- All of them ------------------------------------------------------------------------------------------------------------ */

void bt_emit_legacy(struct translation *t, const struct bt_insn *in)
{
	if (in->cls == BT_LEGACY_JCC) {
		emit_conditional(t, in);
		return;
	}
	switch (in->i.mnemonic) {
	case ZYDIS_MNEMONIC_LEA: emit_lea(t, in); break;
	case ZYDIS_MNEMONIC_MOV: emit_mov_from_sreg(t, in); break;
	case ZYDIS_MNEMONIC_PUSH: emit_push(t, in); break;
	case ZYDIS_MNEMONIC_POP: emit_pop(t, in); break;
	case ZYDIS_MNEMONIC_PUSHA:
	case ZYDIS_MNEMONIC_PUSHAD: emit_push_all(t, in); break;
	case ZYDIS_MNEMONIC_POPA:
	case ZYDIS_MNEMONIC_POPAD: emit_pop_all(t, in); break;
	case ZYDIS_MNEMONIC_LEAVE: emit_leave(t, in); break;
	case ZYDIS_MNEMONIC_JMP:
	case ZYDIS_MNEMONIC_CALL: emit_transfer(t, in); break;
	case ZYDIS_MNEMONIC_RET: emit_ret(t, in); break;
	default: bt_emit_legacy_string(t, in); break;
	}
}
