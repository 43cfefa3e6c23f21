/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PUSH, POP and their multiple forms, ENTER and LEAVE. */
#include "cpu/interp/context.h"

static void push_reg(struct vcpu *v, const struct insn *in)
{
	stack_push(v, in->osize, gpr_read(v, in->rm / 8u, in->osize));
}

static void push_mem(struct vcpu *v, const struct insn *in)
{
	stack_push(v, in->osize, insn_read_rm(v, in, in->osize));
}

static void push_imm(struct vcpu *v, const struct insn *in)
{
	stack_push(v, in->osize, (uint64_t)in->imm);
}

static void pop_reg(struct vcpu *v, const struct insn *in)
{
	uint64_t val = stack_pop(v, in->osize);

	gpr_write(v, in->rm / 8u, in->osize, val);
}

/* The address is computed with the incremented stack pointer (SDM vol. 2, POP); a fault undoes that. */
static void pop_mem(struct vcpu *v, const struct insn *in)
{
	uint64_t val = stack_peek(v, 0, in->osize), old = v->s.gpr[R_SP], ea;

	stack_adjust(v, in->osize);
	ea = ea_of(v, in);
	v->s.gpr[R_SP] = old;
	store_fast(v, interp_linear(v, (enum x86_segreg)in->seg, ea, in->osize, ACCESS_WRITE), in->osize, val);
	stack_adjust(v, in->osize);
}

static bool is_segment(const struct decoded *d)
{
	return d->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       ZydisRegisterGetClass(d->op[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

static void bind_push(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	if (is_segment(d))
		segment_bind_push(v, in, d);
	else if (d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		in->fn = push_imm;
	else
		in->fn = in->flags & INSN_RM_IS_MEM ? push_mem : push_reg;
}

static void bind_pop(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	if (is_segment(d))
		segment_bind_pop(v, in, d);
	else
		in->fn = in->flags & INSN_RM_IS_MEM ? pop_mem : pop_reg;
}

/* All eight are probed first, so that a fault leaves nothing half pushed in registers or memory. */
static void pusha(struct vcpu *v, const struct insn *in)
{
	unsigned size = in->osize;
	uint64_t sp = v->s.gpr[R_SP];

	for (unsigned n = 1; n <= 8; n++) {
		uint64_t off = (sp - n * size) & size_mask(stack_size(v));

		interp_probe(v, interp_linear(v, SEG_SS, off, size, ACCESS_WRITE), size, ACCESS_WRITE,
			     v->interp->mmu_mode);
	}
	for (unsigned r = 0; r < 8; r++)
		stack_push(v, size, r == R_SP ? sp : v->s.gpr[r]);
}

static void popa(struct vcpu *v, const struct insn *in)
{
	unsigned size = in->osize;
	uint64_t val[8];

	for (int r = 7; r >= 0; r--)
		val[r] = stack_peek(v, (int64_t)(7 - r) * size, size);
	for (unsigned r = 0; r < 8; r++)
		if (r != R_SP)
			gpr_write(v, r, size, val[r]);
	stack_adjust(v, 8 * (int64_t)size);
}

static void store_stack(struct vcpu *v, uint64_t sp, unsigned size, uint64_t val)
{
	uint64_t off = sp & size_mask(stack_size(v));

	store_fast(v, interp_linear(v, SEG_SS, off, size, ACCESS_WRITE), size, val);
}

/*
 * SDM vol. 2, ENTER: imm is the frame's size, imm2 the nesting level. Memory is written as it goes, as
 * processors do; registers change when no fault is left: the last is that of a write to the new stack top.
 */
static void enter(struct vcpu *v, const struct insn *in)
{
	unsigned size = in->osize, level = in->imm2 & 31;
	uint64_t mask = size_mask(stack_size(v)), sp = v->s.gpr[R_SP], bp = v->s.gpr[R_BP];
	/* On a 16-bit stack the upper half of ESP stays, and goes into the frame pointer. */
	uint64_t frame = mask == 0xffff ? (sp & ~mask) | ((sp - size) & mask) : (sp - size) & mask;
	uint64_t last = (frame - level * size - (uint16_t)in->imm) & mask;

	store_stack(v, frame, size, bp);
	for (unsigned n = 1; n < level; n++) {
		uint64_t display = (bp - n * size) & mask;

		store_stack(v, frame - n * size, size,
			    load_fast(v, interp_linear(v, SEG_SS, display, size, ACCESS_READ), size));
	}
	if (level)
		store_stack(v, frame - level * size, size, frame);
	interp_probe(v, interp_linear(v, SEG_SS, last, size, ACCESS_WRITE), size, ACCESS_WRITE, v->interp->mmu_mode);
	gpr_write(v, R_BP, size, frame);
	stack_adjust(v, (int64_t)(last - sp));
}

static void leave(struct vcpu *v, const struct insn *in)
{
	unsigned size = in->osize, ss = stack_size(v);
	uint64_t sp = v->s.gpr[R_BP] & size_mask(ss);
	uint64_t val = load_fast(v, interp_linear(v, SEG_SS, sp, size, ACCESS_READ), size);

	stack_adjust(v, (int64_t)(sp - v->s.gpr[R_SP]) + size);
	gpr_write(v, R_BP, size, val);
}

const struct insn_def insns_stack[] = {
	{ ZYDIS_MNEMONIC_PUSH, NULL, bind_push },
	{ ZYDIS_MNEMONIC_POP, NULL, bind_pop },
	{ ZYDIS_MNEMONIC_PUSHA, pusha, NULL },
	{ ZYDIS_MNEMONIC_PUSHAD, pusha, NULL },
	{ ZYDIS_MNEMONIC_POPA, popa, NULL },
	{ ZYDIS_MNEMONIC_POPAD, popa, NULL },
	{ ZYDIS_MNEMONIC_ENTER, enter, NULL },
	{ ZYDIS_MNEMONIC_LEAVE, leave, NULL },
	INSN_DEFS_END,
};
