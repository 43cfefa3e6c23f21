/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions on segment registers and descriptors that do not transfer control (SDM vol. 2). */
#include "base/endian.h"
#include "cpu/interp/seg.h"

static void set_zf(struct vcpu *v, bool zf)
{
	interp_set_flags(v, zf ? FL_ZF : 0, FL_ZF);
}

/* -- MOV, PUSH, POP, LDS and its kin ----------------------------------------------------------- */

/* MOV SS and POP SS hold interrupts and debug traps back for one instruction (SDM vol. 3, 6.8.3). */
static void load_with_shadow(struct vcpu *v, enum x86_segreg seg, uint16_t sel)
{
	seg_load(v, seg, sel);
	if (seg == SEG_SS)
		v->s.shadow = SHADOW_MOV_SS;
}

static void insn_mov_to_sreg(struct vcpu *v, const struct insn *in)
{
	load_with_shadow(v, (enum x86_segreg)in->reg, (uint16_t)insn_read_rm(v, in, 2));
}

static void insn_mov_from_sreg(struct vcpu *v, const struct insn *in)
{
	uint16_t sel = v->s.seg[in->reg].sel;

	/* Memory takes 16 bits whatever the operand size; a register is zero-extended. */
	insn_write_rm(v, in, (in->flags & INSN_RM_IS_MEM) ? 2 : in->osize, sel);
}

void segment_bind_mov(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	bool to = d->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		  ZydisRegisterGetClass(d->op[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;

	if (in->reg >= SEG_COUNT || (to && in->reg == SEG_CS))
		return; /* #UD */
	in->fn = to ? insn_mov_to_sreg : insn_mov_from_sreg;
}

static void insn_push_sreg(struct vcpu *v, const struct insn *in)
{
	stack_push(v, in->osize, v->s.seg[in->reg].sel);
}

static void insn_pop_sreg(struct vcpu *v, const struct insn *in)
{
	uint64_t sp = v->s.gpr[R_SP], mask = size_mask(stack_size(v));
	uint16_t sel = (uint16_t)stack_peek(v, 0, in->osize);

	/* SP moves by the size of the stack from which the selector came, which POP SS may change. */
	load_with_shadow(v, (enum x86_segreg)in->reg, sel);
	gpr_write(v, R_SP, mask == 0xffff ? 2 : 8, (sp + in->osize) & mask);
}

static void bind_stack(struct insn *in, const struct decoded *d, insn_fn fn)
{
	in->reg = (uint8_t)(d->op[0].reg.value - ZYDIS_REGISTER_ES);
	in->fn = fn;
}

void segment_bind_push(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	bind_stack(in, d, insn_push_sreg);
}

void segment_bind_pop(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	bind_stack(in, d, insn_pop_sreg);
}

/* AMD has no m16:64 pointers: with REX.W the offset in memory is still 32 bits (APM vol. 3, LxS). */
static unsigned pointer_size(const struct vcpu *v, const struct insn *in)
{
	return in->osize == 8 && cpuid_vendor_is_amd(v->cpuid) ? 4 : in->osize;
}

static void load_far_pointer(struct vcpu *v, const struct insn *in, enum x86_segreg seg)
{
	unsigned size = pointer_size(v, in);
	uint64_t la = insn_la(v, in, size + 2, ACCESS_READ), off;
	uint8_t buf[10] = { 0 };
	uint16_t sel;

	interp_load_buf(v, la, buf, size + 2, interp_mmu_mode(v));
	off = size == 2 ? get_le16(buf) : size == 4 ? get_le32(buf) : get_le64(buf);
	sel = get_le16(buf + size);
	seg_load(v, seg, sel);
	insn_write_reg(v, in, in->osize, off);
}

static void insn_lds(struct vcpu *v, const struct insn *in)
{
	load_far_pointer(v, in, SEG_DS);
}

static void insn_les(struct vcpu *v, const struct insn *in)
{
	load_far_pointer(v, in, SEG_ES);
}

static void insn_lfs(struct vcpu *v, const struct insn *in)
{
	load_far_pointer(v, in, SEG_FS);
}

static void insn_lgs(struct vcpu *v, const struct insn *in)
{
	load_far_pointer(v, in, SEG_GS);
}

static void insn_lss(struct vcpu *v, const struct insn *in)
{
	load_far_pointer(v, in, SEG_SS);
}

/* -- LAR, LSL, VERR, VERW, ARPL ---------------------------------------------------------------- */

/* System descriptor types that LAR and LSL accept, as bit masks by type; IA-32e mode has fewer. */
#define LAR_TYPES      (LSL_TYPES | BIT(SYS_CALL16) | BIT(SYS_TASK_GATE) | BIT(SYS_CALL32))
#define LAR_TYPES_LONG (LSL_TYPES_LONG | BIT(SYS_CALL32))
#define LSL_TYPES      (LSL_TYPES_LONG | BIT(SYS_TSS16) | BIT(SYS_TSS16_BUSY))
#define LSL_TYPES_LONG (BIT(SYS_LDT) | BIT(SYS_TSS32) | BIT(SYS_TSS32_BUSY))

/* The descriptor of sel if there is one that is visible at CPL and RPL; types: accepted system types. */
static bool visible_descriptor(struct vcpu *v, uint16_t sel, uint64_t types, uint64_t *d)
{
	uint64_t la;

	if (sel_is_null(sel) || !seg_descriptor_la(v, sel, 8, &la))
		return false;
	*d = interp_load(v, la, 8, MMU_KERNEL);
	if (desc_is_system(*d)) {
		if (!(types & BIT(desc_type(*d))))
			return false;
		if (x86_long_mode(&v->s) && !seg_descriptor_la(v, sel, 16, &la))
			return false;
	}
	return desc_is_conforming(*d) || (desc_dpl(*d) >= v->s.cpl && desc_dpl(*d) >= SEL_RPL(sel));
}

static void require_protected(struct vcpu *v)
{
	if (x86_real_like(&v->s))
		interp_raise(v, X86_UD);
}

static void insn_lar(struct vcpu *v, const struct insn *in)
{
	uint16_t sel;
	uint64_t d;
	bool ok;

	require_protected(v);
	sel = (uint16_t)insn_read_rm(v, in, 2);
	ok = visible_descriptor(v, sel, x86_long_mode(&v->s) ? LAR_TYPES_LONG : LAR_TYPES, &d);
	if (ok)
		insn_write_reg(v, in, in->osize, (d >> 32) & 0xffff00);
	set_zf(v, ok);
}

static void insn_lsl(struct vcpu *v, const struct insn *in)
{
	uint16_t sel;
	uint64_t d;
	bool ok;

	require_protected(v);
	sel = (uint16_t)insn_read_rm(v, in, 2);
	ok = visible_descriptor(v, sel, x86_long_mode(&v->s) ? LSL_TYPES_LONG : LSL_TYPES, &d);
	if (ok)
		insn_write_reg(v, in, in->osize, desc_limit(d));
	set_zf(v, ok);
}

static void insn_verr(struct vcpu *v, const struct insn *in)
{
	uint64_t d;

	require_protected(v);
	set_zf(v, visible_descriptor(v, (uint16_t)insn_read_rm(v, in, 2), 0, &d) && desc_is_readable(d));
}

static void insn_verw(struct vcpu *v, const struct insn *in)
{
	uint64_t d;

	require_protected(v);
	set_zf(v, visible_descriptor(v, (uint16_t)insn_read_rm(v, in, 2), 0, &d) && desc_is_writable_data(d));
}

static void insn_arpl(struct vcpu *v, const struct insn *in)
{
	uint16_t dst, src;

	require_protected(v);
	dst = (uint16_t)insn_read_rm(v, in, 2);
	src = (uint16_t)insn_read_reg(v, in, 2);
	if (SEL_RPL(dst) >= SEL_RPL(src)) {
		set_zf(v, false);
		return;
	}
	insn_write_rm(v, in, 2, (dst & SEL_MASK) | SEL_RPL(src));
	set_zf(v, true);
}

/* -- FS and GS bases --------------------------------------------------------------------------- */

static void insn_swapgs(struct vcpu *v, const struct insn *in)
{
	uint64_t base = v->s.seg[SEG_GS].base;

	if (!x86_64bit(&v->s))
		interp_raise(v, X86_UD);
	if (v->s.cpl)
		GP0(v);
	v->s.seg[SEG_GS].base = v->s.msr.kernel_gs_base;
	v->s.msr.kernel_gs_base = base;
}

static void require_fsgsbase(struct vcpu *v)
{
	if (!x86_64bit(&v->s) || !(v->s.cr4 & CR4_FSGSBASE))
		interp_raise(v, X86_UD);
}

/* There are no 16-bit forms: 66 beside F3 changes nothing. */
static unsigned base_size(const struct insn *in)
{
	return in->osize == 8 ? 8 : 4;
}

static void read_base(struct vcpu *v, const struct insn *in, enum x86_segreg seg)
{
	require_fsgsbase(v);
	insn_write_rm(v, in, base_size(in), v->s.seg[seg].base);
}

static void write_base(struct vcpu *v, const struct insn *in, enum x86_segreg seg)
{
	uint64_t base;

	require_fsgsbase(v);
	base = insn_read_rm(v, in, base_size(in));
	if (!x86_canonical(&v->s, base))
		GP0(v);
	v->s.seg[seg].base = base;
}

static void insn_rdfsbase(struct vcpu *v, const struct insn *in)
{
	read_base(v, in, SEG_FS);
}

static void insn_rdgsbase(struct vcpu *v, const struct insn *in)
{
	read_base(v, in, SEG_GS);
}

static void insn_wrfsbase(struct vcpu *v, const struct insn *in)
{
	write_base(v, in, SEG_FS);
}

static void insn_wrgsbase(struct vcpu *v, const struct insn *in)
{
	write_base(v, in, SEG_GS);
}

const struct insn_def insns_segment[] = {
	{ ZYDIS_MNEMONIC_LDS, insn_lds, NULL },
	{ ZYDIS_MNEMONIC_LES, insn_les, NULL },
	{ ZYDIS_MNEMONIC_LFS, insn_lfs, NULL },
	{ ZYDIS_MNEMONIC_LGS, insn_lgs, NULL },
	{ ZYDIS_MNEMONIC_LSS, insn_lss, NULL },
	{ ZYDIS_MNEMONIC_LAR, insn_lar, NULL },
	{ ZYDIS_MNEMONIC_LSL, insn_lsl, NULL },
	{ ZYDIS_MNEMONIC_VERR, insn_verr, NULL },
	{ ZYDIS_MNEMONIC_VERW, insn_verw, NULL },
	{ ZYDIS_MNEMONIC_ARPL, insn_arpl, NULL },
	{ ZYDIS_MNEMONIC_SWAPGS, insn_swapgs, NULL },
	{ ZYDIS_MNEMONIC_RDFSBASE, insn_rdfsbase, NULL },
	{ ZYDIS_MNEMONIC_RDGSBASE, insn_rdgsbase, NULL },
	{ ZYDIS_MNEMONIC_WRFSBASE, insn_wrfsbase, NULL },
	{ ZYDIS_MNEMONIC_WRGSBASE, insn_wrgsbase, NULL },
	INSN_DEFS_END,
};
