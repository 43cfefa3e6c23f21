/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operands: effective addresses, segment checks, registers, the stack. */
#include "cpu/interp/context.h"

static _Noreturn void raise_segment(struct vcpu *v, enum x86_segreg seg)
{
	interp_raise_err(v, seg == SEG_SS ? X86_SS : X86_GP, 0);
}

/* 64-bit mode: no limits, only FS and GS have a base, the address must be canonical. */
static uint64_t linear64(struct vcpu *v, enum x86_segreg seg, uint64_t off, unsigned len)
{
	uint64_t la = off + (seg >= SEG_FS ? v->s.seg[seg].base : 0);

	if (!x86_canonical(&v->s, la) || !x86_canonical(&v->s, la + len - 1))
		raise_segment(v, seg);
	return la;
}

/* Type and presence, SDM vol. 3, 5.5: what real and virtual-8086 segments always allow. */
static bool type_allows(const struct x86_seg *s, enum mmu_access access)
{
	if (!(s->attr & SEG_P))
		return false;
	if (s->attr & SEG_CODE)
		return access == ACCESS_READ ? s->attr & SEG_RW : access == ACCESS_FETCH;
	return access == ACCESS_READ || (s->attr & SEG_RW);
}

uint64_t interp_linear(struct vcpu *v, enum x86_segreg seg, uint64_t off, unsigned len, enum mmu_access access)
{
	const struct x86_seg *s = &v->s.seg[seg];
	uint64_t last = off + len - 1;

	if (v->interp->long64)
		return linear64(v, seg, off, len);
	if (x86_protected(&v->s) && !type_allows(s, access))
		raise_segment(v, seg);
	if ((s->attr & (SEG_CODE | SEG_CONF)) == SEG_CONF && x86_protected(&v->s)) {
		/* Expand-down: valid offsets are above the limit (SDM vol. 3, 5.3). */
		uint64_t top = (s->attr & SEG_DB) ? 0xffffffff : 0xffff;

		if (off <= s->limit || last > top)
			raise_segment(v, seg);
	} else if (last > s->limit) {
		raise_segment(v, seg);
	}
	return (uint32_t)(s->base + off);
}

uint64_t insn_ea(const struct vcpu *v, const struct insn *in)
{
	return ea_of(v, in);
}

uint64_t insn_la(struct vcpu *v, const struct insn *in, unsigned len, enum mmu_access access)
{
	uint64_t la = la_of(v, in, len, access);

	if (unlikely(v->interp->long64 && !x86_canonical(&v->s, la + len - 1)))
		raise_segment(v, (enum x86_segreg)in->seg);
	return la;
}

static uint64_t reg_read(const struct vcpu *v, unsigned off, unsigned size)
{
	return host_load((const uint8_t *)v->s.gpr + off, size);
}

static void reg_write(struct vcpu *v, unsigned off, unsigned size, uint64_t val)
{
	if (size == 4) {
		size = 8;
		val = (uint32_t)val;
	}
	host_store((uint8_t *)v->s.gpr + off, size, val);
}

uint64_t gpr_read(const struct vcpu *v, unsigned reg, unsigned size)
{
	return reg_read(v, reg * 8, size);
}

void gpr_write(struct vcpu *v, unsigned reg, unsigned size, uint64_t val)
{
	reg_write(v, reg * 8, size, val);
}

uint64_t insn_read_rm(struct vcpu *v, const struct insn *in, unsigned size)
{
	if (in->flags & INSN_RM_IS_MEM)
		return load_fast(v, la_of(v, in, size, ACCESS_READ), size);
	return reg_read(v, in->rm, size);
}

void insn_write_rm(struct vcpu *v, const struct insn *in, unsigned size, uint64_t val)
{
	if (in->flags & INSN_RM_IS_MEM)
		store_fast(v, la_of(v, in, size, ACCESS_WRITE), size, val);
	else
		reg_write(v, in->rm, size, val);
}

uint64_t insn_read_reg(const struct vcpu *v, const struct insn *in, unsigned size)
{
	return reg_read(v, in->reg, size);
}

void insn_write_reg(struct vcpu *v, const struct insn *in, unsigned size, uint64_t val)
{
	reg_write(v, in->reg, size, val);
}

unsigned stack_size(const struct vcpu *v)
{
	if (v->interp->long64)
		return 8;
	return (v->s.seg[SEG_SS].attr & SEG_DB) ? 4 : 2;
}

static uint64_t sp_plus(const struct vcpu *v, int64_t delta)
{
	return (v->s.gpr[R_SP] + delta) & size_mask(stack_size(v));
}

void stack_adjust(struct vcpu *v, int64_t delta)
{
	reg_write(v, R_SP * 8, stack_size(v), sp_plus(v, delta));
}

void stack_push(struct vcpu *v, unsigned size, uint64_t val)
{
	uint64_t la = interp_linear(v, SEG_SS, sp_plus(v, -(int64_t)size), size, ACCESS_WRITE);

	store_fast(v, la, size, val);
	stack_adjust(v, -(int64_t)size);
}

uint64_t stack_peek(struct vcpu *v, int64_t disp, unsigned size)
{
	return load_fast(v, interp_linear(v, SEG_SS, sp_plus(v, disp), size, ACCESS_READ), size);
}

uint64_t stack_pop(struct vcpu *v, unsigned size)
{
	uint64_t val = stack_peek(v, 0, size);

	stack_adjust(v, size);
	return val;
}
