/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 state: to and from the FXSAVE image that stubs use, the environment instructions, FNINIT and FWAIT.
 *
 * The environment is written and read here because its layout depends on the guest's mode and because
 * FIP, FDP and FOP are the guest's, which the host's own FNSTENV cannot know (SDM vol. 1, figures 8-9 to
 * 8-12). FCS and FDS are kept as processors do that have not deprecated them, and stored by the policy.
 */
#include <string.h>

#include "base/endian.h"
#include "cpu/cpuid_features.h"
#include "cpu/interp/hostexec_int.h"

#define FSW_ERRORS  0x003fu /* IE, DE, ZE, OE, UE, PE; the same bits of FCW mask them */
#define FSW_SUMMARY 0x8080u /* ES, and B, which mirrors it */
#define FSW_TOP(w)  (((unsigned)(w) >> 11) & 7)
#define FCW_FIXED   0x0040u
#define FCW_DEFINED 0x1f3fu
#define FCW_INIT    0x037fu
#define FOP_MASK    0x07ffu

static bool error_pending(const struct x86_fpu *f)
{
	return f->fsw & ~f->fcw & FSW_ERRORS;
}

void hx_check_pending(struct vcpu *v)
{
	if (unlikely(error_pending(&v->s.fpu)))
		interp_raise(v, X86_MF);
}

static void update_summary(struct x86_fpu *f)
{
	f->fsw = (uint16_t)(error_pending(f) ? f->fsw | FSW_SUMMARY : f->fsw & ~FSW_SUMMARY);
}

/* Move TOP: physical registers stay, so their places relative to TOP rotate. */
static void set_top(struct x86_fpu *f, unsigned top)
{
	unsigned turn = (top - FSW_TOP(f->fsw)) & 7;
	uint8_t old[8][16];

	memcpy(old, f->st, sizeof(old));
	for (unsigned i = 0; i < 8; i++)
		memcpy(f->st[i], old[(i + turn) & 7], sizeof(old[0]));
	f->fsw = (uint16_t)((f->fsw & ~(7u << 11)) | top << 11);
}

/* -- The stubs' image ------------------------------------------------------------------------------------ */

void hx_fx_load(struct hostexec *hx, const struct x86_fpu *f)
{
	struct hx_fx *fx = &hx->fx;

	fx->fcw = f->fcw;
	fx->fsw = f->fsw;
	fx->ftw = (uint8_t)f->ftw;
	fx->mxcsr = hx->host_mxcsr;
	memcpy(fx->st, f->st, sizeof(fx->st));
}

void hx_fx_store(const struct hostexec *hx, struct x86_fpu *f)
{
	const struct hx_fx *fx = &hx->fx;

	f->fcw = fx->fcw;
	f->fsw = fx->fsw;
	f->ftw = fx->ftw;
	memcpy(f->st, fx->st, sizeof(f->st));
}

void hx_record(struct vcpu *v, const struct insn *in, const struct hx_desc *d)
{
	struct x86_fpu *f = &v->s.fpu;

	f->fop = in->imm2;
	f->fip = v->s.rip;
	f->fcs = v->s.seg[SEG_CS].sel;
	if (d->mem == HX_MEM_NONE)
		return;
	f->fdp = insn_ea(v, in);
	f->fds = v->s.seg[in->seg].sel;
}

/* -- MMX by hand ----------------------------------------------------------------------------------------- */

void hx_mmx_begin(struct vcpu *v)
{
	hx_check(v, HX_MMX);
	hx_check_pending(v);
}

const uint8_t *hx_mmx_reg(const struct x86_fpu *f, unsigned n)
{
	return f->st[(n - FSW_TOP(f->fsw)) & 7];
}

void hx_mmx_end(struct x86_fpu *f)
{
	set_top(f, 0);
	f->ftw = 0xff;
}

/* -- The environment ------------------------------------------------------------------------------------- */

static void init_fpu(struct x86_fpu *f)
{
	set_top(f, 0);
	f->fcw = FCW_INIT;
	f->fsw = f->ftw = f->fop = f->fcs = f->fds = 0;
	f->fip = f->fdp = 0;
}

/* Two bits for each physical register: 0 valid, 1 zero, 2 special, 3 empty (SDM vol. 1, 8.1.7). */
static uint16_t full_tags(const struct x86_fpu *f)
{
	unsigned tags = 0;

	for (unsigned phys = 0; phys < 8; phys++) {
		const uint8_t *r = f->st[(phys - FSW_TOP(f->fsw)) & 7];
		uint64_t mantissa = get_le64(r);
		unsigned exponent = get_le16(r + 8) & 0x7fff, tag = 0;

		if (!(f->ftw & BIT(phys)))
			tag = 3;
		else if (!exponent && !mantissa)
			tag = 1;
		else if (!exponent || exponent == 0x7fff || !(mantissa & BIT(63)))
			tag = 2;
		tags |= tag << phys * 2;
	}
	return (uint16_t)tags;
}

static unsigned env_size(const struct insn *in)
{
	return in->osize == 2 ? 14 : 28;
}

/* Real-like modes hold linear addresses cut around the opcode, the others selector and offset. */
static void put_pointers(const struct vcpu *v, uint32_t w[7])
{
	const struct x86_fpu *f = &v->s.fpu;
	bool selectors = !cpuid_feature_on(v->cpuid, FEAT_ZERO_FCS_FDS);
	uint16_t fop = f->fop & FOP_MASK, fcs = selectors ? f->fcs : 0, fds = selectors ? f->fds : 0;
	uint32_t fip = (uint32_t)f->fip, fdp = (uint32_t)f->fdp;

	if (x86_real_like(&v->s)) {
		fip += (uint32_t)fcs << 4;
		fdp += (uint32_t)fds << 4;
		w[3] = 0xffff0000 | (fip & 0xffff);
		w[4] = fip >> 16 << 12 | fop;
		w[5] = 0xffff0000 | (fdp & 0xffff);
		w[6] = fdp >> 16 << 12;
	} else {
		w[3] = fip;
		w[4] = (uint32_t)fop << 16 | fcs;
		w[5] = fdp;
		w[6] = 0xffff0000 | fds;
	}
}

static void put_env(const struct vcpu *v, const struct insn *in, uint8_t *buf)
{
	const struct x86_fpu *f = &v->s.fpu;
	uint32_t w[7] = { 0xffff0000u | f->fcw, 0xffff0000u | f->fsw, 0xffff0000u | full_tags(f) };

	put_pointers(v, w);
	/* The 16-bit forms are the low words of the 32-bit ones. */
	for (unsigned i = 0; i < 7; i++) {
		if (in->osize == 2)
			put_le16(buf + 2 * i, (uint16_t)w[i]);
		else
			put_le32(buf + 4 * i, w[i]);
	}
}

static void get_pointers(struct vcpu *v, const uint32_t w[7], bool wide)
{
	struct x86_fpu *f = &v->s.fpu;

	if (x86_real_like(&v->s)) {
		f->fcs = f->fds = 0;
		f->fip = (w[3] & 0xffff) | (uint64_t)(w[4] >> 12 & 0xffff) << 16;
		f->fop = w[4] & FOP_MASK;
		f->fdp = (w[5] & 0xffff) | (uint64_t)(w[6] >> 12 & 0xffff) << 16;
	} else {
		f->fip = w[3];
		f->fcs = (uint16_t)w[4];
		f->fop = wide ? w[4] >> 16 & FOP_MASK : 0;
		f->fdp = w[5];
		f->fds = (uint16_t)w[6];
	}
}

static void get_env(struct vcpu *v, const struct insn *in, const uint8_t *buf)
{
	struct x86_fpu *f = &v->s.fpu;
	uint32_t w[7];

	for (unsigned i = 0; i < 7; i++)
		w[i] = in->osize == 2 ? get_le16(buf + 2 * i) : get_le32(buf + 4 * i);
	f->fcw = (uint16_t)((w[0] & FCW_DEFINED) | FCW_FIXED);
	set_top(f, FSW_TOP(w[1]));
	f->fsw = (uint16_t)w[1];
	update_summary(f);
	f->ftw = 0;
	for (unsigned phys = 0; phys < 8; phys++)
		if ((w[2] >> phys * 2 & 3) != 3)
			f->ftw |= (uint16_t)BIT(phys);
	get_pointers(v, w, in->osize != 2);
}

/* -- Instructions ---------------------------------------------------------------------------------------- */

#define ST_BYTES 80 /* eight registers of ten bytes in FNSAVE's image */

/* Checks that come first, and the linear address of an image of len bytes. */
static uint64_t env_la(struct vcpu *v, const struct insn *in, unsigned len, enum mmu_access access)
{
	unsigned item = in->osize == 2 ? 2 : 4;

	hx_check(v, HX_X87);
	if (access == ACCESS_READ) /* FLDENV and FRSTOR wait, FNSTENV and FNSAVE do not */
		hx_check_pending(v);
	hx_check_alignment(v, insn_la(v, in, item, access), item);
	return insn_la(v, in, len, access);
}

static void insn_fninit(struct vcpu *v, const struct insn *in)
{
	hx_check(v, HX_X87);
	init_fpu(&v->s.fpu);
}

/* EM does not matter to it, and TS only with MP (SDM vol. 3, table 2-2). */
static void insn_fwait(struct vcpu *v, const struct insn *in)
{
	if ((v->s.cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		interp_raise(v, X86_NM);
	hx_check_pending(v);
}

static void insn_fnstenv(struct vcpu *v, const struct insn *in)
{
	uint8_t buf[28];
	uint64_t la;

	la = env_la(v, in, env_size(in), ACCESS_WRITE);
	put_env(v, in, buf);
	interp_store_buf(v, la, buf, env_size(in), v->interp->mmu_mode);
	v->s.fpu.fcw |= FSW_ERRORS;
	update_summary(&v->s.fpu);
}

static void insn_fldenv(struct vcpu *v, const struct insn *in)
{
	uint8_t buf[28];
	uint64_t la = env_la(v, in, env_size(in), ACCESS_READ);

	interp_load_buf(v, la, buf, env_size(in), v->interp->mmu_mode);
	get_env(v, in, buf);
}

static void insn_fnsave(struct vcpu *v, const struct insn *in)
{
	uint8_t buf[28 + ST_BYTES];
	unsigned env = env_size(in);
	uint64_t la = env_la(v, in, env + ST_BYTES, ACCESS_WRITE);

	put_env(v, in, buf);
	for (unsigned i = 0; i < 8; i++)
		memcpy(buf + env + 10 * i, v->s.fpu.st[i], 10);
	interp_store_buf(v, la, buf, env + ST_BYTES, v->interp->mmu_mode);
	init_fpu(&v->s.fpu);
}

static void insn_frstor(struct vcpu *v, const struct insn *in)
{
	uint8_t buf[28 + ST_BYTES];
	unsigned env = env_size(in);
	uint64_t la = env_la(v, in, env + ST_BYTES, ACCESS_READ);

	interp_load_buf(v, la, buf, env + ST_BYTES, v->interp->mmu_mode);
	get_env(v, in, buf);
	for (unsigned i = 0; i < 8; i++) {
		memset(v->s.fpu.st[i], 0, sizeof(v->s.fpu.st[i]));
		memcpy(v->s.fpu.st[i], buf + env + 10 * i, 10);
	}
}

insn_fn hx_bind_x87_control(const struct decoded *d)
{
	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_FNINIT:
		return insn_fninit;
	case ZYDIS_MNEMONIC_FWAIT:
		return insn_fwait;
	case ZYDIS_MNEMONIC_FNSTENV:
		return insn_fnstenv;
	case ZYDIS_MNEMONIC_FLDENV:
		return insn_fldenv;
	case ZYDIS_MNEMONIC_FNSAVE:
		return insn_fnsave;
	case ZYDIS_MNEMONIC_FRSTOR:
		return insn_frstor;
	default:
		return NULL;
	}
}
