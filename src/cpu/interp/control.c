/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Near control transfers: jumps, calls, returns and loops. */
#include "cpu/interp/alu.h"
#include "cpu/interp/context.h"

static bool may_go_to(const struct vcpu *v, uint64_t off)
{
	return v->interp->long64 ? x86_canonical(&v->s, off) : off <= v->s.seg[SEG_CS].limit;
}

/* Checks come before any change: a bad target faults on the branch itself. */
static uint64_t checked_target(struct vcpu *v, unsigned osize, uint64_t off)
{
	off &= size_mask(osize);
	if (!may_go_to(v, off))
		GP0(v);
	return off;
}

void interp_branch(struct vcpu *v, const struct insn *in, uint64_t off)
{
	v->interp->next_rip = checked_target(v, in->osize, off);
}

static void jmp_rel(struct vcpu *v, const struct insn *in)
{
	interp_branch(v, in, v->interp->next_rip + (uint64_t)in->imm);
}

static void jmp_rm(struct vcpu *v, const struct insn *in)
{
	interp_branch(v, in, insn_read_rm(v, in, in->osize));
}

static void jcc(struct vcpu *v, const struct insn *in)
{
	if (condition(in->cond, v->s.rflags))
		interp_branch(v, in, v->interp->next_rip + (uint64_t)in->imm);
}

/* Which of its faults is first the manuals leave open; AMD's processors look at the stack before the target. */
static void call_to(struct vcpu *v, const struct insn *in, uint64_t off)
{
	uint64_t sp = (v->s.gpr[R_SP] - in->osize) & size_mask(stack_size(v)), target;

	if (!may_go_to(v, off & size_mask(in->osize)))
		interp_probe(v, interp_linear(v, SEG_SS, sp, in->osize, ACCESS_WRITE), in->osize, ACCESS_WRITE,
			     v->interp->mmu_mode);
	target = checked_target(v, in->osize, off);
	stack_push(v, in->osize, v->interp->next_rip);
	v->interp->next_rip = target;
}

static void call_rel(struct vcpu *v, const struct insn *in)
{
	call_to(v, in, v->interp->next_rip + (uint64_t)in->imm);
}

static void call_rm(struct vcpu *v, const struct insn *in)
{
	call_to(v, in, insn_read_rm(v, in, in->osize));
}

static void ret(struct vcpu *v, const struct insn *in)
{
	uint64_t target = checked_target(v, in->osize, stack_peek(v, 0, in->osize));

	stack_adjust(v, in->osize + (uint16_t)in->imm);
	v->interp->next_rip = target;
}

/* In 64-bit mode an operand-size prefix counts on AMD processors only (APM vol. 3, 1.2.2), under REX.W never. */
static void set_size(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	if (d->i.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 && (in->flags & INSN_OPSIZE) && !d->i.raw.rex.W)
		in->osize = cpuid_vendor_is_amd(v->cpuid) ? 2 : 8;
}

static bool is_far(const struct decoded *d)
{
	return d->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

static void bind_jmp(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	if (!is_far(d))
		set_size(v, in, d);
	if (is_far(d))
		far_bind_jmp(v, in, d);
	else
		in->fn = d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? jmp_rel : jmp_rm;
}

static void bind_call(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	if (!is_far(d))
		set_size(v, in, d);
	if (is_far(d))
		far_bind_call(v, in, d);
	else
		in->fn = d->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? call_rel : call_rm;
}

static void bind_ret(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	if (!is_far(d))
		set_size(v, in, d);
	if (is_far(d))
		far_bind_ret(v, in, d);
	else
		in->fn = ret;
}

/* LOOP, LOOPE, LOOPNE count in xCX of the address size. */
static void loop(struct vcpu *v, const struct insn *in)
{
	uint64_t count = (gpr_read(v, R_CX, in->asize) - 1) & size_mask(in->asize);
	bool take = count != 0;

	if (in->mnemonic == ZYDIS_MNEMONIC_LOOPE)
		take = take && (v->s.rflags & FL_ZF);
	else if (in->mnemonic == ZYDIS_MNEMONIC_LOOPNE)
		take = take && !(v->s.rflags & FL_ZF);
	if (take)
		interp_branch(v, in, v->interp->next_rip + (uint64_t)in->imm);
	gpr_write(v, R_CX, in->asize, count);
}

static void jcxz(struct vcpu *v, const struct insn *in)
{
	if (!gpr_read(v, R_CX, in->asize))
		interp_branch(v, in, v->interp->next_rip + (uint64_t)in->imm);
}

#define BIND(name)                                                                                           \
	static void bind_##name(struct vcpu *v, struct insn *in, const struct decoded *d)                    \
	{                                                                                                    \
		set_size(v, in, d);                                                                          \
		in->fn = name;                                                                               \
	}
BIND(jcc)
BIND(loop)
BIND(jcxz)

#define JCC(CC) { ZYDIS_MNEMONIC_J##CC, NULL, bind_jcc }
const struct insn_def insns_control[] = {
	{ ZYDIS_MNEMONIC_JMP, NULL, bind_jmp },
	{ ZYDIS_MNEMONIC_CALL, NULL, bind_call },
	{ ZYDIS_MNEMONIC_RET, NULL, bind_ret },
	JCC(O), JCC(NO), JCC(B), JCC(NB), JCC(Z), JCC(NZ), JCC(BE), JCC(NBE),
	JCC(S), JCC(NS), JCC(P), JCC(NP), JCC(L), JCC(NL), JCC(LE), JCC(NLE),
	{ ZYDIS_MNEMONIC_LOOP, NULL, bind_loop },
	{ ZYDIS_MNEMONIC_LOOPE, NULL, bind_loop },
	{ ZYDIS_MNEMONIC_LOOPNE, NULL, bind_loop },
	{ ZYDIS_MNEMONIC_JCXZ, NULL, bind_jcxz },
	{ ZYDIS_MNEMONIC_JECXZ, NULL, bind_jcxz },
	{ ZYDIS_MNEMONIC_JRCXZ, NULL, bind_jcxz },
	INSN_DEFS_END,
};
