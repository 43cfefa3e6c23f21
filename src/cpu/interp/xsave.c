/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FXSAVE, FXRSTOR and the XSAVE family (SDM vol. 1, 10.5 and ch. 13; vol. 2 for the faults). */
#include <string.h>
#include "base/endian.h"
#include "cpu/cpuid_features.h"
#include "cpu/interp/interp.h"

/*
 * The area: a legacy region in FXSAVE's format, a header, then the components from AVX on, each at
 * its own offset (standard format, CPUID leaf 0xd) or one after the other (compacted).
 *
 *   0 FCW FSW FTW FOP FIP FDP | 24 MXCSR mask | 32 ST0-7 | 160 XMM0-15 | 416 not ours | 512 header | 576 ...
 */
enum {
	OFF_FCW = 0, OFF_FSW = 2, OFF_FTW = 4, OFF_FOP = 6, OFF_FIP = 8, OFF_FDP = 16,
	OFF_MXCSR = 24, OFF_MXCSR_MASK = 28, OFF_ST = 32, OFF_XMM = 160,
	OFF_XSTATE_BV = 512, OFF_XCOMP_BV = 520, OFF_HEADER_REST = 528, OFF_EXTENDED = 576,
	FXSAVE_SIZE = 512, HEADER_SIZE = 64, AREA_MAX = 4096,
	FXSAVE_ALIGN = 16, XSAVE_ALIGN = 64,
};

#define XCOMP_COMPACTED BIT(63)
#define COMP_OPMASK 5

#define FCW_INIT      0x37f
#define FCW_WRITABLE  0x1f3f
#define FCW_FIXED     0x0040 /* reads as 1 */
#define FSW_ES        0x0080 /* an unmasked exception is pending; B (bit 15) is its copy */
#define FSW_B         0x8000
#define FSW_EXCEPTIONS 0x3f
#define FOP_MASK      0x7ff
#define MXCSR_INIT    0x1f80

/* Components that are slices of the vector registers: registers first and up, `len` bytes at `off` of each. */
static const struct {
	uint8_t first, off, len;
} slices[XSAVE_COMPONENTS] = {
	[1] = { 0, 0, 16 },  /* SSE: XMM */
	[2] = { 0, 16, 16 }, /* AVX: upper halves of YMM */
	[6] = { 0, 32, 32 }, /* ZMM_Hi256 */
	[7] = { 16, 0, 64 }, /* Hi16_ZMM */
};

/* An image of the area, and which of its bytes the instruction writes or has read. */
struct image {
	struct {
		uint16_t off, len;
	} piece[2 * XSAVE_COMPONENTS];
	unsigned n;
	_Alignas(8) uint8_t b[AREA_MAX];
};

/* -- Components to and from bytes ------------------------------------------------------------------ */

/* Registers of a component that this mode reaches: outside of 64-bit mode, the first eight. */
static unsigned slice_count(unsigned comp, bool long64)
{
	return long64 ? 16 : slices[comp].first ? 0 : 8;
}

/* Bytes of component comp (1 and up) that this mode reads and writes. */
static unsigned comp_len(unsigned comp, bool long64)
{
	return comp == COMP_OPMASK ? sizeof(((struct x86_fpu *)0)->k) : slice_count(comp, long64) * slices[comp].len;
}

static void comp_get(const struct x86_fpu *f, unsigned comp, bool long64, uint8_t *out)
{
	unsigned len = slices[comp].len;

	if (comp == COMP_OPMASK) {
		memcpy(out, f->k, sizeof(f->k));
		return;
	}
	for (unsigned i = 0; i < slice_count(comp, long64); i++)
		memcpy(out + i * len, f->zmm[slices[comp].first + i] + slices[comp].off, len);
}

/* in == NULL: the initial configuration, which is zeros. */
static void comp_put(struct x86_fpu *f, unsigned comp, bool long64, const uint8_t *in)
{
	static const uint8_t zeros[64];
	unsigned len = slices[comp].len;

	if (comp == COMP_OPMASK) {
		memcpy(f->k, in ? in : zeros, sizeof(f->k));
		return;
	}
	for (unsigned i = 0; i < slice_count(comp, long64); i++)
		memcpy(f->zmm[slices[comp].first + i] + slices[comp].off, in ? in + i * len : zeros, len);
}

/*
 * The code and data selectors are stored as zeros (CPUID says ZERO_FCS_FDS). AMD's CPUs keep the
 * pointers for the handler of a pending exception only, and store zeros otherwise.
 */
static void x87_get(const struct vcpu *v, bool rexw, uint8_t *out)
{
	const struct x86_fpu *f = &v->s.fpu;
	bool pointers = v->cpuid->vendor != VENDOR_AMD || (f->fsw & FSW_ES);

	memset(out, 0, OFF_MXCSR);
	put_le16(out + OFF_FCW, f->fcw);
	put_le16(out + OFF_FSW, f->fsw);
	out[OFF_FTW] = (uint8_t)f->ftw;
	if (pointers) {
		put_le16(out + OFF_FOP, f->fop & FOP_MASK);
		put_le64(out + OFF_FIP, rexw ? f->fip : (uint32_t)f->fip);
		put_le64(out + OFF_FDP, rexw ? f->fdp : (uint32_t)f->fdp);
	}
	for (unsigned i = 0; i < 8; i++) {
		memcpy(out + OFF_ST + 16 * i, f->st[i], 10);
		memset(out + OFF_ST + 16 * i + 10, 0, 6);
	}
}

static void x87_put(struct x86_fpu *f, bool rexw, const uint8_t *in)
{
	f->fcw = (get_le16(in + OFF_FCW) & FCW_WRITABLE) | FCW_FIXED;
	f->fsw = get_le16(in + OFF_FSW) & (uint16_t)~(FSW_ES | FSW_B);
	/* The summary follows from flags and masks, whatever the image says. */
	if (f->fsw & ~f->fcw & FSW_EXCEPTIONS)
		f->fsw |= FSW_ES | FSW_B;
	f->ftw = in[OFF_FTW];
	f->fop = get_le16(in + OFF_FOP) & FOP_MASK;
	f->fip = rexw ? get_le64(in + OFF_FIP) : get_le32(in + OFF_FIP);
	f->fdp = rexw ? get_le64(in + OFF_FDP) : get_le32(in + OFF_FDP);
	for (unsigned i = 0; i < 8; i++) {
		memcpy(f->st[i], in + OFF_ST + 16 * i, 10);
		memset(f->st[i] + 10, 0, 6);
	}
}

static void x87_init(struct x86_fpu *f)
{
	memset(f->st, 0, sizeof(f->st));
	f->fcw = FCW_INIT;
	f->fsw = f->ftw = f->fop = 0;
	f->fip = f->fdp = 0;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

/* XINUSE (SDM vol. 1, 13.6): the components that are not in their initial configuration. MXCSR apart. */
static uint64_t in_use(const struct vcpu *v)
{
	const struct x86_fpu *f = &v->s.fpu;
	bool long64 = x86_64bit(&v->s);
	uint8_t buf[1024];
	uint64_t bits = 0;

	if (f->fcw != FCW_INIT || f->fsw || f->ftw || f->fop || f->fip || f->fdp ||
	    !all_zero(&f->st[0][0], sizeof(f->st)))
		bits |= XCR0_X87;
	for (unsigned i = 1; i < XSAVE_COMPONENTS; i++) {
		if (!(v->s.xcr0 & BIT(i)))
			continue;
		comp_get(f, i, long64, buf);
		if (!all_zero(buf, comp_len(i, long64)))
			bits |= BIT(i);
	}
	return bits;
}

/* -- Images and guest memory -------------------------------------------------------------------------- */

/* Where component i stands; in the compacted format, after those before it in comp_bv. */
static unsigned comp_offset(const struct vcpu *v, unsigned i, uint64_t comp_bv)
{
	const struct xsave_component *c = &v->cpuid->xsave[i];
	uint32_t end;

	if (!(comp_bv & XCOMP_COMPACTED))
		return c->offset;
	end = cpuid_xsave_size(v->cpuid, comp_bv & (BIT(i) - 1), true);
	return c->align64 ? (unsigned)ALIGN_UP(end, 64) : end;
}

static uint8_t *add_piece(struct image *m, unsigned off, unsigned len)
{
	if (len) {
		BUG_ON(off + len > AREA_MAX || m->n >= ARRAY_SIZE(m->piece));
		m->piece[m->n].off = (uint16_t)off;
		m->piece[m->n].len = (uint16_t)len;
		m->n++;
	}
	return m->b + off;
}

static uint64_t piece_la(const struct vcpu *v, uint64_t la, unsigned off)
{
	return x86_64bit(&v->s) ? la + off : (uint32_t)(la + off);
}

/* Write the pieces; all are probed before the first changes. */
static void image_store(struct vcpu *v, const struct image *m, uint64_t la)
{
	enum mmu_mode mode = interp_mmu_mode(v);

	for (unsigned i = 0; i < m->n; i++)
		interp_probe(v, piece_la(v, la, m->piece[i].off), m->piece[i].len, ACCESS_WRITE, mode);
	for (unsigned i = 0; i < m->n; i++)
		interp_store_buf(v, piece_la(v, la, m->piece[i].off), m->b + m->piece[i].off, m->piece[i].len, mode);
}

/* Read [off, off + len) of the area into its place in the image. */
static void image_load(struct vcpu *v, struct image *m, uint64_t la, unsigned off, unsigned len)
{
	if (len)
		interp_load_buf(v, piece_la(v, la, off), m->b + off, len, interp_mmu_mode(v));
}

/* The image is 4 KiB: not for clearing each time. */
static void image_init(struct image *m)
{
	m->n = 0;
}

static void put_x87(struct vcpu *v, struct image *m, bool rexw)
{
	x87_get(v, rexw, m->b);
	add_piece(m, OFF_FCW, OFF_MXCSR);
	add_piece(m, OFF_ST, OFF_XMM - OFF_ST);
}

static void put_mxcsr(struct vcpu *v, struct image *m)
{
	uint8_t *p = add_piece(m, OFF_MXCSR, 8);

	put_le32(p, v->s.fpu.mxcsr);
	put_le32(p + 4, v->cpuid->mxcsr_mask);
}

static void put_component(struct vcpu *v, struct image *m, unsigned comp, unsigned off)
{
	bool long64 = x86_64bit(&v->s);

	comp_get(&v->s.fpu, comp, long64, add_piece(m, off, comp_len(comp, long64)));
}

static void load_mxcsr_checked(struct vcpu *v, const struct image *m)
{
	if (get_le32(m->b + OFF_MXCSR) & ~v->cpuid->mxcsr_mask)
		GP0(v);
}

/* The alignment counts after the limit (or canonicality) of the first byte and before the others', as on AMD's. */
static uint64_t aligned_la(struct vcpu *v, const struct insn *in, unsigned align, unsigned size,
			   enum mmu_access access)
{
	if (insn_la(v, in, 1, access) % align)
		GP0(v);
	return insn_la(v, in, size, access);
}

/* -- FXSAVE and FXRSTOR (SDM vol. 1, 10.5) --------------------------------------------------------------- */

static uint64_t fxsave_operand(struct vcpu *v, const struct insn *in, enum mmu_access access)
{
	if (v->s.cr0 & (CR0_EM | CR0_TS))
		interp_raise(v, X86_NM);
	return aligned_la(v, in, FXSAVE_ALIGN, FXSAVE_SIZE, access);
}

/* AMD's EFER.FFXSR: ring 0 in 64-bit mode leaves the XMM registers out. */
static bool fast_fxsr(const struct vcpu *v)
{
	return (v->s.efer & EFER_FFXSR) && v->s.cpl == 0 && x86_64bit(&v->s);
}

static void op_fxsave(struct vcpu *v, const struct insn *in)
{
	uint64_t la = fxsave_operand(v, in, ACCESS_WRITE);
	struct image m;

	interp_probe(v, la, FXSAVE_SIZE, ACCESS_WRITE, interp_mmu_mode(v)); /* with what is not written */
	image_init(&m);
	put_x87(v, &m, in->mnemonic == ZYDIS_MNEMONIC_FXSAVE64);
	put_mxcsr(v, &m);
	if (!fast_fxsr(v))
		put_component(v, &m, 1, OFF_XMM);
	image_store(v, &m, la);
}

static void op_fxrstor(struct vcpu *v, const struct insn *in)
{
	uint64_t la = fxsave_operand(v, in, ACCESS_READ);
	struct image m;

	image_load(v, &m, la, 0, FXSAVE_SIZE);
	load_mxcsr_checked(v, &m);
	x87_put(&v->s.fpu, in->mnemonic == ZYDIS_MNEMONIC_FXRSTOR64, m.b);
	v->s.fpu.mxcsr = get_le32(m.b + OFF_MXCSR);
	if (!fast_fxsr(v))
		comp_put(&v->s.fpu, 1, x86_64bit(&v->s), m.b + OFF_XMM);
}

/* -- XSAVE, XSAVEOPT, XSAVEC, XSAVES (SDM vol. 1, 13.7 and 13.9-13.11) ------------------------------------ */

/* The faults that come before any look at memory; the requested-feature bitmap. */
static uint64_t xsave_checks(struct vcpu *v, bool supervisor)
{
	uint64_t mask = (uint32_t)v->s.gpr[R_AX] | v->s.gpr[R_DX] << 32;

	if (!(v->s.cr4 & CR4_OSXSAVE))
		interp_raise(v, X86_UD);
	if (v->s.cr0 & CR0_TS)
		interp_raise(v, X86_NM);
	if (supervisor && v->s.cpl)
		GP0(v);
	return mask & (v->s.xcr0 | (supervisor ? v->s.xss : 0));
}

/* The components of `save` into the image; MXCSR is the caller's. */
static void put_components(struct vcpu *v, struct image *m, uint64_t save, uint64_t comp_bv, bool rexw)
{
	if (save & XCR0_X87)
		put_x87(v, m, rexw);
	if (save & XCR0_SSE)
		put_component(v, m, 1, OFF_XMM);
	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++)
		if (save & BIT(i))
			put_component(v, m, i, comp_offset(v, i, comp_bv));
}

/* XSAVE and XSAVEOPT: standard format. optimize: leave out what is in its initial configuration. */
static void xsave_standard(struct vcpu *v, const struct insn *in, bool optimize, bool rexw)
{
	uint64_t rfbm = xsave_checks(v, false), used = in_use(v), old;
	uint64_t la = aligned_la(v, in, XSAVE_ALIGN, cpuid_xsave_size(v->cpuid, rfbm, false), ACCESS_WRITE);
	struct image m;

	image_init(&m);
	interp_probe(v, piece_la(v, la, OFF_XSTATE_BV), 8, ACCESS_WRITE, interp_mmu_mode(v));
	old = interp_load(v, piece_la(v, la, OFF_XSTATE_BV), 8, interp_mmu_mode(v));
	put_components(v, &m, optimize ? rfbm & used : rfbm, 0, rexw);
	if (rfbm & (XCR0_SSE | XCR0_AVX))
		put_mxcsr(v, &m);
	put_le64(add_piece(&m, OFF_XSTATE_BV, 8), (old & ~rfbm) | (used & rfbm));
	image_store(v, &m, la);
}

/* XSAVEC and XSAVES: compacted format. */
static void xsave_compacted(struct vcpu *v, const struct insn *in, bool supervisor, bool rexw)
{
	uint64_t rfbm = xsave_checks(v, supervisor), used = in_use(v), comp_bv = rfbm | XCOMP_COMPACTED;
	uint64_t la = aligned_la(v, in, XSAVE_ALIGN, cpuid_xsave_size(v->cpuid, rfbm, true), ACCESS_WRITE);
	struct image m;
	uint8_t *header;

	image_init(&m);
	/* Here MXCSR belongs to SSE and makes it count as in use. */
	if (v->s.fpu.mxcsr != MXCSR_INIT)
		used |= XCR0_SSE;
	put_components(v, &m, rfbm & used, comp_bv, rexw);
	if (rfbm & used & XCR0_SSE)
		put_mxcsr(v, &m);
	header = add_piece(&m, OFF_XSTATE_BV, 16);
	put_le64(header, rfbm & used);
	put_le64(header + 8, comp_bv);
	image_store(v, &m, la);
}

static void op_xsave(struct vcpu *v, const struct insn *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
		xsave_standard(v, in, false, in->mnemonic == ZYDIS_MNEMONIC_XSAVE64);
		break;
	case ZYDIS_MNEMONIC_XSAVEOPT:
	case ZYDIS_MNEMONIC_XSAVEOPT64:
		xsave_standard(v, in, true, in->mnemonic == ZYDIS_MNEMONIC_XSAVEOPT64);
		break;
	case ZYDIS_MNEMONIC_XSAVEC:
	case ZYDIS_MNEMONIC_XSAVEC64:
		xsave_compacted(v, in, false, in->mnemonic == ZYDIS_MNEMONIC_XSAVEC64);
		break;
	default:
		xsave_compacted(v, in, true, in->mnemonic == ZYDIS_MNEMONIC_XSAVES64);
		break;
	}
}

/* -- XRSTOR and XRSTORS (SDM vol. 1, 13.8 and 13.12) ------------------------------------------------------ */

static void check_header_standard(struct vcpu *v, const struct image *m)
{
	/* Bytes 23:8 are to be zero; bit 63 of the first eight is, as this is the standard form. */
	if ((get_le64(m->b + OFF_XSTATE_BV) & ~v->s.xcr0) || !all_zero(m->b + OFF_XCOMP_BV, 16))
		GP0(v);
}

static void check_header_compacted(struct vcpu *v, const struct image *m, uint64_t enabled)
{
	uint64_t bv = get_le64(m->b + OFF_XSTATE_BV), comp = get_le64(m->b + OFF_XCOMP_BV) & ~XCOMP_COMPACTED;

	if ((comp & ~enabled) || (bv & ~comp) || !all_zero(m->b + OFF_HEADER_REST, OFF_EXTENDED - OFF_HEADER_REST))
		GP0(v);
}

/* Change the registers; nothing faults any more. load: the components that come from the image. */
static void xrstor_apply(struct vcpu *v, const struct image *m, uint64_t rfbm, uint64_t load, uint64_t comp_bv,
			 bool rexw)
{
	struct x86_fpu *f = &v->s.fpu;
	bool long64 = x86_64bit(&v->s);

	if (load & XCR0_X87)
		x87_put(f, rexw, m->b);
	else if (rfbm & XCR0_X87)
		x87_init(f);
	if (rfbm & XCR0_SSE)
		comp_put(f, 1, long64, load & XCR0_SSE ? m->b + OFF_XMM : NULL);
	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++)
		if (rfbm & BIT(i))
			comp_put(f, i, long64, load & BIT(i) ? m->b + comp_offset(v, i, comp_bv) : NULL);
}

/* Read what the components of `load` take from memory; with mxcsr, that too. */
static void xrstor_load(struct vcpu *v, struct image *m, uint64_t la, uint64_t load, uint64_t comp_bv, bool mxcsr)
{
	bool long64 = x86_64bit(&v->s);

	if (mxcsr) {
		image_load(v, m, la, OFF_MXCSR, 4);
		load_mxcsr_checked(v, m);
	}
	if (load & XCR0_X87) {
		image_load(v, m, la, 0, OFF_MXCSR);
		image_load(v, m, la, OFF_ST, OFF_XMM - OFF_ST);
	}
	if (load & XCR0_SSE)
		image_load(v, m, la, OFF_XMM, comp_len(1, long64));
	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++)
		if (load & BIT(i))
			image_load(v, m, la, comp_offset(v, i, comp_bv), comp_len(i, long64));
}

static void xrstor(struct vcpu *v, const struct insn *in, bool supervisor, bool rexw)
{
	uint64_t rfbm = xsave_checks(v, supervisor), comp_bv, load;
	uint64_t la = aligned_la(v, in, XSAVE_ALIGN, OFF_EXTENDED, ACCESS_READ);
	struct image m;
	bool compacted, mxcsr;

	image_load(v, &m, la, OFF_XSTATE_BV, HEADER_SIZE);
	comp_bv = get_le64(m.b + OFF_XCOMP_BV);
	load = get_le64(m.b + OFF_XSTATE_BV) & rfbm;
	compacted = comp_bv & XCOMP_COMPACTED;
	if (compacted ? !cpuid_feature_on(v->cpuid, FEAT_XSAVEC) : supervisor)
		GP0(v);
	if (compacted)
		check_header_compacted(v, &m, v->s.xcr0 | (supervisor ? v->s.xss : 0));
	else
		check_header_standard(v, &m);
	/* The segment's limit for all of the area; for 64-bit mode that its end is canonical too. */
	insn_la(v, in, cpuid_xsave_size(v->cpuid, compacted ? comp_bv : load, compacted), ACCESS_READ);

	/* Standard: MXCSR comes from memory even if SSE is in its initial configuration. Compacted: with SSE. */
	mxcsr = compacted ? load & XCR0_SSE : rfbm & (XCR0_SSE | XCR0_AVX);
	xrstor_load(v, &m, la, load, comp_bv, mxcsr);
	xrstor_apply(v, &m, rfbm, load, comp_bv, rexw);
	if (mxcsr)
		v->s.fpu.mxcsr = get_le32(m.b + OFF_MXCSR);
	else if (rfbm & XCR0_SSE)
		v->s.fpu.mxcsr = MXCSR_INIT;
}

static void op_xrstor(struct vcpu *v, const struct insn *in)
{
	xrstor(v, in, false, in->mnemonic == ZYDIS_MNEMONIC_XRSTOR64);
}

static void op_xrstors(struct vcpu *v, const struct insn *in)
{
	xrstor(v, in, true, in->mnemonic == ZYDIS_MNEMONIC_XRSTORS64);
}

/* -- XGETBV and XSETBV (SDM vol. 2) ------------------------------------------------------------------------ */

static void op_xgetbv(struct vcpu *v, const struct insn *in)
{
	uint32_t ecx = (uint32_t)v->s.gpr[R_CX];
	uint64_t val = v->s.xcr0;

	if (!(v->s.cr4 & CR4_OSXSAVE))
		interp_raise(v, X86_UD);
	if (ecx > 1 || (ecx == 1 && !cpuid_feature_on(v->cpuid, FEAT_XGETBV1)))
		GP0(v);
	if (ecx == 1) /* and XINUSE, where MXCSR counts as SSE */
		val &= in_use(v) | (v->s.fpu.mxcsr != MXCSR_INIT ? XCR0_SSE : 0);
	v->s.gpr[R_AX] = (uint32_t)val;
	v->s.gpr[R_DX] = val >> 32;
}

static void op_xsetbv(struct vcpu *v, const struct insn *in)
{
	if (!(v->s.cr4 & CR4_OSXSAVE))
		interp_raise(v, X86_UD);
	if (v->s.cpl || (uint32_t)v->s.gpr[R_CX] != 0 ||
	    vcpu_set_xcr0(v, (uint32_t)v->s.gpr[R_AX] | v->s.gpr[R_DX] << 32))
		GP0(v);
}

const struct insn_def insns_xsave[] = {
	{ ZYDIS_MNEMONIC_FXSAVE, op_fxsave, NULL },
	{ ZYDIS_MNEMONIC_FXSAVE64, op_fxsave, NULL },
	{ ZYDIS_MNEMONIC_FXRSTOR, op_fxrstor, NULL },
	{ ZYDIS_MNEMONIC_FXRSTOR64, op_fxrstor, NULL },
	{ ZYDIS_MNEMONIC_XSAVE, op_xsave, NULL },
	{ ZYDIS_MNEMONIC_XSAVE64, op_xsave, NULL },
	{ ZYDIS_MNEMONIC_XSAVEOPT, op_xsave, NULL },
	{ ZYDIS_MNEMONIC_XSAVEOPT64, op_xsave, NULL },
	{ ZYDIS_MNEMONIC_XSAVEC, op_xsave, NULL },
	{ ZYDIS_MNEMONIC_XSAVEC64, op_xsave, NULL },
	{ ZYDIS_MNEMONIC_XSAVES, op_xsave, NULL },
	{ ZYDIS_MNEMONIC_XSAVES64, op_xsave, NULL },
	{ ZYDIS_MNEMONIC_XRSTOR, op_xrstor, NULL },
	{ ZYDIS_MNEMONIC_XRSTOR64, op_xrstor, NULL },
	{ ZYDIS_MNEMONIC_XRSTORS, op_xrstors, NULL },
	{ ZYDIS_MNEMONIC_XRSTORS64, op_xrstors, NULL },
	{ ZYDIS_MNEMONIC_XGETBV, op_xgetbv, NULL },
	{ ZYDIS_MNEMONIC_XSETBV, op_xsetbv, NULL },
	INSN_DEFS_END,
};
