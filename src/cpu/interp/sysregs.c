/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads and stores of control, debug, descriptor-table, LDT and task registers (SDM vol. 2; vol. 3, 2.4-2.8). */
#include "base/endian.h"
#include "cpu/interp/debug.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/sysregs.h"

#define CR8_TPR     0xfull
#define LMSW_BITS   (CR0_PE | CR0_MP | CR0_EM | CR0_TS)
#define BASE_24BIT  0xffffffull /* what LGDT and LIDT load with a 16-bit operand size */

/* -- MOV CRn, DRn ------------------------------------------------------------------------------ */

static uint64_t read_cr(struct vcpu *v, unsigned n)
{
	switch (n) {
	case 0:
		return v->s.cr0;
	case 2:
		return v->s.cr2;
	case 3:
		return v->s.cr3;
	case 4:
		return v->s.cr4;
	default:
		return v->intc.ops ? v->intc.ops->get_tpr(v->intc.opaque) : 0;
	}
}

static int write_cr8(struct vcpu *v, uint64_t val)
{
	if (val & ~CR8_TPR)
		return X86_GP;
	if (v->intc.ops)
		v->intc.ops->set_tpr(v->intc.opaque, (unsigned)val);
	return 0;
}

static int write_cr(struct vcpu *v, unsigned n, uint64_t val)
{
	switch (n) {
	case 0:
		return vcpu_set_cr0(v, val);
	case 2:
		v->s.cr2 = val;
		return 0;
	case 3:
		return vcpu_set_cr3(v, val);
	case 4:
		return vcpu_set_cr4(v, val);
	default:
		return write_cr8(v, val);
	}
}

static void insn_mov_from_cr(struct vcpu *v, const struct insn *in)
{
	require_cpl0(v);
	insn_write_rm(v, in, in->osize, read_cr(v, in->reg));
}

static void set_cr(struct vcpu *v, unsigned n, uint64_t val)
{
	int rc = write_cr(v, n, val);

	if (rc)
		interp_raise_err(v, (enum x86_vector)rc, 0);
	interp_mode_changed(v);
}

static void insn_mov_to_cr(struct vcpu *v, const struct insn *in)
{
	require_cpl0(v);
	set_cr(v, in->reg, insn_read_rm(v, in, in->osize));
}

/* The privilege check comes before the #UD of DR4 and DR5, as on AMD's processors; the GD trap after both. */
static void check_dr(struct vcpu *v, unsigned n)
{
	require_cpl0(v);
	if (n > 7 || ((n == 4 || n == 5) && (v->s.cr4 & CR4_DE)))
		interp_raise(v, X86_UD);
}

static void insn_mov_from_dr(struct vcpu *v, const struct insn *in)
{
	check_dr(v, in->reg);
	insn_write_rm(v, in, in->osize, debug_read_dr(v, in->reg));
}

static void insn_mov_to_dr(struct vcpu *v, const struct insn *in)
{
	check_dr(v, in->reg);
	debug_write_dr(v, in->reg, insn_read_rm(v, in, in->osize));
}

void system_bind_mov(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	bool to = d->op[0].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG;

	switch (ZydisRegisterGetClass(d->op[to ? 0 : 1].reg.value)) {
	case ZYDIS_REGCLASS_CONTROL:
		if (in->reg == 0 || in->reg == 2 || in->reg == 3 || in->reg == 4 || in->reg == 8)
			in->fn = to ? insn_mov_to_cr : insn_mov_from_cr;
		break;
	case ZYDIS_REGCLASS_DEBUG:
		in->fn = to ? insn_mov_to_dr : insn_mov_from_dr;
		break;
	default: /* test registers are gone since the 486: #UD */
		break;
	}
}

void insn_clts(struct vcpu *v, const struct insn *in)
{
	require_cpl0(v);
	v->s.cr0 &= ~CR0_TS;
}

/* LMSW can set PE but not clear it. */
void insn_lmsw(struct vcpu *v, const struct insn *in)
{
	uint64_t val;

	require_cpl0(v);
	val = insn_read_rm(v, in, 2) & LMSW_BITS;
	set_cr(v, 0, (v->s.cr0 & ~(LMSW_BITS & ~CR0_PE)) | val);
}

/* CR4.UMIP: the stores of system registers need CPL 0 (SDM vol. 3, 2.5). */
static void check_umip(struct vcpu *v)
{
	if ((v->s.cr4 & CR4_UMIP) && v->s.cpl)
		GP0(v);
}

/* A 16-bit store to memory, a zero-extended value to a register of the operand size. */
static void store_word(struct vcpu *v, const struct insn *in, uint64_t val)
{
	insn_write_rm(v, in, (in->flags & INSN_RM_IS_MEM) ? 2 : in->osize, val);
}

void insn_smsw(struct vcpu *v, const struct insn *in)
{
	check_umip(v);
	store_word(v, in, v->s.cr0);
}

/* -- GDTR, IDTR -------------------------------------------------------------------------------- */

static void load_table(struct vcpu *v, const struct insn *in, struct x86_dtable *t)
{
	bool long64 = x86_64bit(&v->s);
	unsigned len = long64 ? 10 : 6;
	uint8_t buf[10] = { 0 };
	uint64_t base;

	require_cpl0(v);
	interp_load_buf(v, insn_la(v, in, len, ACCESS_READ), buf, len, interp_mmu_mode(v));
	base = long64 ? get_le64(buf + 2) : get_le32(buf + 2);
	if (long64 && !x86_canonical(&v->s, base))
		GP0(v);
	if (!long64 && in->osize == 2)
		base &= BASE_24BIT;
	*t = (struct x86_dtable){ .base = base, .limit = get_le16(buf) };
}

/* The whole base is stored whatever the operand size (SDM vol. 2, SGDT). */
static void store_table(struct vcpu *v, const struct insn *in, const struct x86_dtable *t)
{
	unsigned len = x86_64bit(&v->s) ? 10 : 6;
	uint8_t buf[10];

	check_umip(v);
	put_le16(buf, t->limit);
	put_le64(buf + 2, t->base);
	interp_store_buf(v, insn_la(v, in, len, ACCESS_WRITE), buf, len, interp_mmu_mode(v));
}

void insn_lgdt(struct vcpu *v, const struct insn *in)
{
	load_table(v, in, &v->s.gdtr);
}

void insn_lidt(struct vcpu *v, const struct insn *in)
{
	load_table(v, in, &v->s.idtr);
}

void insn_sgdt(struct vcpu *v, const struct insn *in)
{
	store_table(v, in, &v->s.gdtr);
}

void insn_sidt(struct vcpu *v, const struct insn *in)
{
	store_table(v, in, &v->s.idtr);
}

/* -- LDTR, TR ---------------------------------------------------------------------------------- */

static void require_protected(struct vcpu *v)
{
	if (x86_real_like(&v->s))
		interp_raise(v, X86_UD);
}

/* The upper half of a system descriptor in IA-32e mode: base bits 63:32, canonical, and no type. */
static uint64_t upper_base(struct vcpu *v, uint16_t sel, uint64_t desc)
{
	uint32_t err = sel & SEL_MASK;
	uint64_t upper, base;

	if (!x86_long_mode(&v->s))
		return desc_base(desc);
	upper = seg_read_upper(v, sel, X86_GP, err);
	base = desc_base(desc) | upper << 32;
	if (bits_of(upper, 44, 40) || !x86_canonical(&v->s, base))
		interp_raise_err(v, X86_GP, err);
	return base;
}

void insn_lldt(struct vcpu *v, const struct insn *in)
{
	uint16_t sel;
	uint32_t err;
	uint64_t d, base;

	require_protected(v);
	require_cpl0(v);
	sel = (uint16_t)insn_read_rm(v, in, 2);
	err = sel & SEL_MASK;
	if (sel_is_null(sel)) {
		v->s.ldtr = seg_null(sel, 0);
		return;
	}
	if (sel & SEL_TI)
		interp_raise_err(v, X86_GP, err);
	d = seg_read_descriptor(v, sel, X86_GP);
	if (!desc_is_system(d) || desc_type(d) != SYS_LDT)
		interp_raise_err(v, X86_GP, err);
	if (!desc_present(d))
		interp_raise_err(v, X86_NP, err);
	base = upper_base(v, sel, d);
	v->s.ldtr = seg_from_descriptor(sel, d);
	v->s.ldtr.base = base;
}

void insn_ltr(struct vcpu *v, const struct insn *in)
{
	uint16_t sel;
	uint32_t err;
	uint64_t d, base;

	require_protected(v);
	require_cpl0(v);
	sel = (uint16_t)insn_read_rm(v, in, 2);
	err = sel & SEL_MASK;
	if (sel_is_null(sel))
		GP0(v);
	if (sel & SEL_TI)
		interp_raise_err(v, X86_GP, err);
	d = seg_read_descriptor(v, sel, X86_GP);
	if (!desc_is_system(d) ||
	    (desc_type(d) != SYS_TSS32 && (desc_type(d) != SYS_TSS16 || x86_long_mode(&v->s))))
		interp_raise_err(v, X86_GP, err);
	if (!desc_present(d))
		interp_raise_err(v, X86_NP, err);
	base = upper_base(v, sel, d);
	seg_set_busy(v, sel, true);
	v->s.tr = seg_from_descriptor(sel, d);
	v->s.tr.attr |= 2; /* busy */
	v->s.tr.base = base;
}

void insn_sldt(struct vcpu *v, const struct insn *in)
{
	require_protected(v);
	check_umip(v);
	store_word(v, in, v->s.ldtr.sel);
}

void insn_str(struct vcpu *v, const struct insn *in)
{
	require_protected(v);
	check_umip(v);
	store_word(v, in, v->s.tr.sel);
}
