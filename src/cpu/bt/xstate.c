/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's XSAVE and XRSTOR families, by way of the image that the host's registers are saved to.
 *
 * The semantics are those of cpu/interp/xsave.c, to the byte: a component whose registers hold their initial values is not in
 * use, whatever the host's own bookkeeping says, and what is not in use is not written where the instruction optimizes. All that
 * may fault is looked at before anything changes; a fault, an unusual mode or device memory is the reference's. The guest's header is
 * copied before it is judged, so that another CPU cannot change it in between.
 */
#include "cpu/bt/system.h"
#include "cpu/rep.h"

/* Offsets in the area, SDM vol. 1, 13.4 */
enum {
	XS_FTW = 4, XS_FOP = 6, XS_FIP = 8, XS_FDP = 16, XS_MXCSR = 24, XS_MXCSR_MASK = 28, XS_ST = 32, XS_XMM = 160,
	XS_XMM_END = 416, XS_BV = 512, XS_COMP = 520, XS_HEADER_REST = 528, XS_EXTENDED = 576, XS_ALIGN = 64,
};

#define XCOMP_COMPACTED BIT(63)
#define MXCSR_INIT      0x1f80
#define FCW_INIT        0x37f
#define FSW_ES          0x0080
#define FSW_B           0x8000
#define FSW_EXCEPTIONS  0x3f
#define FCW_WRITABLE    0x1f3f
#define FCW_FIXED       0x0040
#define FOP_MASK        0x7ff

/* One instruction: where, what, and the host's pages of the area. */
struct area {
	struct bt *bt;
	uint64_t la, rfbm, comp_bv;
	uint8_t *page[2];  /* of la, and of the page behind */
	bool write, wide;  /* REX.W: 64-bit pointers of the x87 */
};

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	__builtin_memcpy(&v, p, 2);
	return v;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	__builtin_memcpy(&v, p, 4);
	return v;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	__builtin_memcpy(&v, p, 8);
	return v;
}

static void set64(uint8_t *p, uint64_t v)
{
	__builtin_memcpy(p, &v, 8);
}

/* -- Guest memory ----------------------------------------------------------------------------------------------- */

/* [from, to) of the area may be accessed, to at most a page on. Pages that have none of it are left alone. */
static bool reach_area(struct area *m, unsigned from, unsigned to, bool write)
{
	enum mmu_mode mode = bt_mmu_mode(m->bt->v);

	m->write = write;
	for (unsigned n = 0; n < 2; n++) {
		uint64_t page = (m->la & PAGE_MASK) + n * PAGE_SIZE;

		if (m->la + to <= page || m->la + from >= page + PAGE_SIZE)
			continue;
		m->page[n] = bt_reach(m->bt, page, 1, write, mode);
		if (!m->page[n])
			return false;
	}
	return true;
}

/* Copy [off, off + len) of the area from or to a buffer of ours. */
static void copy(struct area *m, unsigned off, void *buf, unsigned len)
{
	uint64_t at = (m->la & (PAGE_SIZE - 1)) + off;
	uint8_t *p = buf;

	while (len) {
		unsigned in_page = (unsigned)(at & (PAGE_SIZE - 1)), n = MIN(len, (unsigned)PAGE_SIZE - in_page);
		uint8_t *host = m->page[at >> PAGE_SHIFT] + in_page;

		if (m->write) {
			rep_copy(host, p, n, 1);
			ram_note_write(m->bt->v->ram, (uint64_t)(host - m->bt->v->ram->base), n);
		} else {
			rep_copy(p, host, n, 1);
		}
		at += n;
		p += n;
		len -= n;
	}
}

/* -- Components ----------------------------------------------------------------------------------------------------- */

static unsigned component_size(const struct bt *bt, unsigned i)
{
	return bt->v->cpuid->xsave[i].size;
}

/* Of component i, 2 and up. */
static unsigned component_offset(const struct bt *bt, unsigned i, uint64_t comp_bv)
{
	const struct xsave_component *c = bt->v->cpuid->xsave;
	unsigned end = XS_EXTENDED;

	if (!(comp_bv & XCOMP_COMPACTED))
		return c[i].offset;
	for (unsigned k = 2; k < i; k++)
		if ((comp_bv & BIT(k)) && c[k].size)
			end = (c[k].align64 ? (unsigned)ALIGN_UP(end, XS_ALIGN) : end) + c[k].size;
	return c[i].align64 ? (unsigned)ALIGN_UP(end, XS_ALIGN) : end;
}

static unsigned area_size(const struct bt *bt, uint64_t components, uint64_t comp_bv)
{
	unsigned end = XS_EXTENDED;

	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++)
		if ((components & BIT(i)) && component_size(bt, i))
			end = MAX(end, component_offset(bt, i, comp_bv) + component_size(bt, i));
	return end;
}

/* Where the components begin and end that are in memory; the header is always. legacy: MXCSR is, at least. */
static bool reach_components(struct area *m, uint64_t components, bool legacy, bool write)
{
	legacy |= components & (XCR0_X87 | XCR0_SSE);
	return reach_area(m, legacy ? 0 : XS_BV, area_size(m->bt, components, m->comp_bv), write);
}

static bool zeros(const uint8_t *p, unsigned len)
{
	uint64_t any = 0;

	for (unsigned i = 0; i < len && !any; i += 8)
		any = get64(p + i);
	return !any;
}

static uint8_t *image_of(struct bt *bt, unsigned i)
{
	return i == 1 ? bt->fpu + XS_XMM : bt->fpu + bt->xs_offset[i];
}

/* ST(i) are 10 bytes each in places of 16. */
static bool x87_in_use(const struct bt *bt)
{
	const struct x86_fpu *f = &bt->v->s.fpu;
	const uint8_t *x = bt->fpu;

	return get16(x) != FCW_INIT || get16(x + 2) || x[XS_FTW] || f->fop || f->fip || f->fdp || !zeros(x + XS_ST, 128);
}

/* Of the image, which is not masked by XSTATE_BV any more: clean_image(). */
static uint64_t in_use(struct bt *bt)
{
	uint64_t bits = x87_in_use(bt) ? XCR0_X87 : 0;

	if (!zeros(bt->fpu + XS_XMM, XS_XMM_END - XS_XMM))
		bits |= XCR0_SSE;
	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++)
		if ((bt->v->s.xcr0 & BIT(i)) && component_size(bt, i) && !zeros(image_of(bt, i), component_size(bt, i)))
			bits |= BIT(i);
	return bits;
}

static void clear(uint8_t *p, unsigned len)
{
	rep_fill(p, 0, len, 1);
}

static void init_x87(uint8_t *x)
{
	clear(x, XS_MXCSR);
	x[0] = (uint8_t)FCW_INIT;
	x[1] = FCW_INIT >> 8;
	clear(x + XS_ST, XS_XMM - XS_ST);
}

/* Write out what XSTATE_BV says is in its initial configuration, so that the bytes can be looked at. */
static void clean_image(struct bt *bt)
{
	uint64_t bv = get64(bt->fpu + XS_BV);

	if (!(bv & XCR0_X87))
		init_x87(bt->fpu);
	if (!(bv & XCR0_SSE))
		clear(bt->fpu + XS_XMM, XS_XMM_END - XS_XMM);
	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++)
		if ((bt->xsave_mask & ~bv & BIT(i)) && component_size(bt, i))
			clear(image_of(bt, i), component_size(bt, i));
	set64(bt->fpu + XS_BV, bt->xsave_mask);
}

/* -- Saving ---------------------------------------------------------------------------------------------------------- */

/* The requested-feature bitmap; *ok: nothing of an unusual state is asked for. */
static uint64_t requested(const struct bt *bt, bool supervisor, bool *ok)
{
	const struct x86_state *s = &bt->v->s;
	uint64_t mask = (uint32_t)s->gpr[R_AX] | s->gpr[R_DX] << 32;

	*ok = x86_64bit(s) && (s->cr4 & CR4_OSXSAVE) && !(s->cr0 & CR0_TS) && !(supervisor && (s->cpl || (mask & s->xss)));
	return mask & s->xcr0;
}

static void save_x87(struct area *m)
{
	const struct bt *bt = m->bt;
	const struct x86_fpu *f = &bt->v->s.fpu;
	bool pointers = bt->v->cpuid->vendor != VENDOR_AMD || (get16(bt->fpu + 2) & FSW_ES);
	uint8_t head[XS_MXCSR], st[XS_XMM - XS_ST];
	uint16_t fop = f->fop & FOP_MASK;

	clear(head, sizeof(head));
	__builtin_memcpy(head, bt->fpu, 4);
	head[XS_FTW] = bt->fpu[XS_FTW];
	if (pointers) {
		__builtin_memcpy(head + XS_FOP, &fop, 2);
		set64(head + XS_FIP, m->wide ? f->fip : (uint32_t)f->fip);
		set64(head + XS_FDP, m->wide ? f->fdp : (uint32_t)f->fdp);
	}
	copy(m, 0, head, sizeof(head));
	rep_copy(st, bt->fpu + XS_ST, sizeof(st), 1);
	for (unsigned i = 0; i < 8; i++)
		clear(st + i * 16 + 10, 6);
	copy(m, XS_ST, st, sizeof(st));
}

static void save_components(struct area *m, uint64_t save)
{
	struct bt *bt = m->bt;

	if (save & XCR0_X87)
		save_x87(m);
	if (save & XCR0_SSE)
		copy(m, XS_XMM, bt->fpu + XS_XMM, XS_XMM_END - XS_XMM);
	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++)
		if (save & BIT(i))
			copy(m, component_offset(bt, i, m->comp_bv), image_of(bt, i), component_size(bt, i));
}

static void save_mxcsr(struct area *m)
{
	uint8_t word[8];
	uint32_t mask = m->bt->v->cpuid->mxcsr_mask;

	__builtin_memcpy(word, m->bt->fpu + XS_MXCSR, 4);
	__builtin_memcpy(word + 4, &mask, 4);
	copy(m, XS_MXCSR, word, sizeof(word));
}

static uint64_t load_word(struct area *m, unsigned off)
{
	uint8_t word[8];
	bool write = m->write;

	m->write = false;
	copy(m, off, word, sizeof(word));
	m->write = write;
	return get64(word);
}

static void store_word(struct area *m, unsigned off, uint64_t val)
{
	uint8_t word[8];

	set64(word, val);
	copy(m, off, word, sizeof(word));
}

static struct area area_of(struct bt *bt, const struct bt_site *site)
{
	return (struct area){ .bt = bt, .la = bt->exit_t0, .wide = site->reg };
}

static bool usable(const struct area *m, unsigned size)
{
	return !(m->la % XS_ALIGN) && x86_canonical(&m->bt->v->s, m->la) &&
	       x86_canonical(&m->bt->v->s, m->la + size - 1);
}

enum bt_done bt_do_xsave(struct bt *bt, const struct bt_site *site)
{
	bool compact = site->size != BT_XSAVE && site->size != BT_XSAVEOPT, ok;
	struct area m = area_of(bt, site);
	uint64_t used, save, bv;

	m.rfbm = requested(bt, site->size == BT_XSAVES, &ok);
	m.comp_bv = compact ? m.rfbm | XCOMP_COMPACTED : 0;
	if (!ok || !usable(&m, area_size(bt, m.rfbm, m.comp_bv)))
		return BT_REFUSED;
	bt_fpu_snapshot(bt);
	clean_image(bt);
	used = in_use(bt);
	if (compact && get32(bt->fpu + XS_MXCSR) != MXCSR_INIT)
		used |= XCR0_SSE;
	save = site->size == BT_XSAVE ? m.rfbm : m.rfbm & used;
	/* Standard: the header is read too; what may be written may be read. */
	if (!reach_components(&m, save, !compact && (m.rfbm & XCR0_AVX), true))
		return BT_REFUSED;
	if (compact) {
		save_components(&m, save);
		if (m.rfbm & used & XCR0_SSE)
			save_mxcsr(&m);
		store_word(&m, XS_BV, m.rfbm & used);
		store_word(&m, XS_COMP, m.comp_bv);
		return BT_NEXT;
	}
	bv = load_word(&m, XS_BV);
	save_components(&m, save);
	if (m.rfbm & (XCR0_SSE | XCR0_AVX))
		save_mxcsr(&m);
	store_word(&m, XS_BV, (bv & ~m.rfbm) | (used & m.rfbm));
	return BT_NEXT;
}

/* -- Restoring ------------------------------------------------------------------------------------------------------- */

static bool header_ok(const struct area *m, const uint8_t *h, bool supervisor)
{
	uint64_t bv = get64(h), comp = get64(h + 8), xcr0 = m->bt->v->s.xcr0;

	if (!(comp & XCOMP_COMPACTED))
		return !supervisor && !(bv & ~xcr0) && !comp && !get64(h + 16);
	comp &= ~XCOMP_COMPACTED;
	return !(comp & ~xcr0) && !(bv & ~comp) && zeros(h + 16, XS_EXTENDED - XS_HEADER_REST);
}

static void load_x87(struct area *m)
{
	struct x86_fpu *f = &m->bt->v->s.fpu;
	uint8_t *x = m->bt->fpu, head[XS_MXCSR];
	uint16_t fcw, fsw;

	copy(m, 0, head, sizeof(head));
	copy(m, XS_ST, x + XS_ST, XS_XMM - XS_ST);
	fcw = (get16(head) & FCW_WRITABLE) | FCW_FIXED;
	fsw = get16(head + 2) & (uint16_t)~(FSW_ES | FSW_B);
	if (fsw & ~fcw & FSW_EXCEPTIONS)
		fsw |= FSW_ES | FSW_B;
	clear(x, XS_MXCSR);
	__builtin_memcpy(x, &fcw, 2);
	__builtin_memcpy(x + 2, &fsw, 2);
	x[XS_FTW] = head[XS_FTW];
	for (unsigned i = 0; i < 8; i++)
		clear(x + XS_ST + i * 16 + 10, 6);
	f->fop = get16(head + XS_FOP) & FOP_MASK;
	f->fip = m->wide ? get64(head + XS_FIP) : get32(head + XS_FIP);
	f->fdp = m->wide ? get64(head + XS_FDP) : get32(head + XS_FDP);
}

static void load_components(struct area *m, uint64_t load)
{
	struct bt *bt = m->bt;
	struct x86_fpu *f = &bt->v->s.fpu;

	if (load & XCR0_X87) {
		load_x87(m);
	} else if (m->rfbm & XCR0_X87) {
		init_x87(bt->fpu);
		f->fop = 0;
		f->fip = f->fdp = 0;
	}
	if (load & XCR0_SSE)
		copy(m, XS_XMM, bt->fpu + XS_XMM, XS_XMM_END - XS_XMM);
	else if (m->rfbm & XCR0_SSE)
		clear(bt->fpu + XS_XMM, XS_XMM_END - XS_XMM);
	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++)
		if (load & BIT(i))
			copy(m, component_offset(bt, i, m->comp_bv), image_of(bt, i), component_size(bt, i));
		else if ((m->rfbm & BIT(i)) && component_size(bt, i))
			clear(image_of(bt, i), component_size(bt, i));
	/* What is all in its initial configuration is said to be so: cheaper to load, and for the host to know. */
	set64(bt->fpu + XS_BV, (get64(bt->fpu + XS_BV) & ~m->rfbm) | load);
}

enum bt_done bt_do_xrstor(struct bt *bt, const struct bt_site *site)
{
	bool supervisor = site->size == BT_XSAVES, ok, compact;
	struct area m = area_of(bt, site);
	uint8_t header[XS_EXTENDED - XS_BV];
	uint32_t mxcsr = MXCSR_INIT;
	uint64_t load;

	m.rfbm = requested(bt, supervisor, &ok);
	if (!ok || !usable(&m, XS_EXTENDED) || !reach_area(&m, XS_BV, XS_EXTENDED, false))
		return BT_REFUSED;
	copy(&m, XS_BV, header, sizeof(header));
	m.comp_bv = get64(header + 8);
	compact = m.comp_bv & XCOMP_COMPACTED;
	load = get64(header) & m.rfbm;
	if (!header_ok(&m, header, supervisor))
		return BT_REFUSED;
	if (!usable(&m, area_size(bt, compact ? m.comp_bv : load, m.comp_bv)) ||
	    !reach_components(&m, load, !compact && (m.rfbm & (XCR0_SSE | XCR0_AVX)), false))
		return BT_REFUSED;
	if (compact ? load & XCR0_SSE : m.rfbm & (XCR0_SSE | XCR0_AVX))
		mxcsr = (uint32_t)load_word(&m, XS_MXCSR);
	else if (!(m.rfbm & XCR0_SSE))
		mxcsr = UINT32_MAX; /* stays */
	if (mxcsr != UINT32_MAX && (mxcsr & ~bt->v->cpuid->mxcsr_mask))
		return BT_REFUSED;
	bt_fpu_snapshot(bt);
	clean_image(bt);
	if (mxcsr == UINT32_MAX)
		mxcsr = get32(bt->fpu + XS_MXCSR);
	load_components(&m, load);
	__builtin_memcpy(bt->fpu + XS_MXCSR, &mxcsr, 4);
	bt_fpu_reload(bt);
	return BT_NEXT;
}
