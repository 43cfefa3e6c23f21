/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System, string and bit-string instructions that a kernel executes often, done between two pieces of translated code.
 *
 * All of this runs while the guest's vector state is in the host's registers: it is compiled without them
 * (see meson.build) and calls only what is. Each function does the plain cases of its instruction as cpu/interp does them
 * and refuses the others before it has changed anything.
 */
#include "cpu/bt/system.h"
#include "cpu/rep.h"
#include "x86/desc.h"

/* -- Guest memory --------------------------------------------------------------------------------------- */

/*
 * Other vCPUs may write the same bytes at any moment, and they need not be aligned: each word is read or written once, as
 * translated code would do it, unseen by the sanitizers.
 */
struct word {
	uint8_t byte[8];
};

static uint64_t load64(const void *guest)
{
	uint64_t val;

	__asm__ volatile("mov %1, %0" : "=r"(val) : "m"(*(const struct word *)guest));
	return val;
}

static void store64(void *guest, uint64_t val)
{
	__asm__ volatile("mov %1, %0" : "=m"(*(struct word *)guest) : "r"(val));
}

static void *reach(struct bt *bt, uint64_t la, unsigned size, bool write)
{
	return bt_reach(bt, la, size, write, bt_mmu_mode(bt->v));
}

/* What C code has stored through a host pointer: the page may just have become code. */
static void wrote(struct bt *bt, const void *host, uint64_t len)
{
	struct ram *r = bt->v->ram;

	ram_note_write(r, (uint64_t)((const uint8_t *)host - r->base), len);
}

/* -- Flags ------------------------------------------------------------------------------------------------- */

static bool iopl_allows(const struct x86_state *s)
{
	return s->cpl <= bits_of(s->rflags, 13, 12);
}

static enum bt_done set_flags(struct x86_state *s, uint64_t val, uint64_t mask)
{
	uint64_t old = s->rflags;

	s->rflags = (((old & ~mask) | (val & mask)) & FL_DEFINED) | FL_1;
	return (old ^ s->rflags) & FL_AC ? BT_MOVED : BT_NEXT; /* AC is part of the mode */
}

static enum bt_done do_cli(struct bt *bt, const struct bt_site *site)
{
	if (!iopl_allows(&bt->v->s))
		return BT_REFUSED;
	return set_flags(&bt->v->s, 0, FL_IF);
}

static enum bt_done do_sti(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;

	if (!iopl_allows(s))
		return BT_REFUSED;
	if (!(s->rflags & FL_IF))
		bt->shadow_rip = s->rip + site->len;
	return set_flags(s, FL_IF, FL_IF);
}

static enum bt_done do_pushf(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	void *p = reach(bt, s->gpr[R_SP] - 8, 8, true);

	if (!p)
		return BT_REFUSED;
	store64(p, s->rflags & ~(FL_VM | FL_RF));
	wrote(bt, p, 8);
	s->gpr[R_SP] -= 8;
	return BT_NEXT;
}

static enum bt_done do_popf(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	const void *p = reach(bt, s->gpr[R_SP], 8, false);
	uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID;

	if (!p)
		return BT_REFUSED;
	if (iopl_allows(s))
		mask |= FL_IF;
	if (s->cpl == 0)
		mask |= FL_IOPL;
	s->gpr[R_SP] += 8;
	return set_flags(s, load64(p), mask);
}

static enum bt_done do_ac(struct bt *bt, const struct bt_site *site)
{
	if (bt->v->s.cpl)
		return BT_REFUSED;
	return set_flags(&bt->v->s, site->op == BT_OP_STAC ? FL_AC : 0, FL_AC);
}

/* -- To ring 0 and back --------------------------------------------------------------------------------------- */

/* kind: SEG_CODE | SEG_L, SEG_CODE | SEG_DB or SEG_DB */
static void load_flat(struct x86_seg *seg, unsigned sel, unsigned cpl, unsigned kind)
{
	seg->sel = (uint16_t)((sel & SEL_MASK) | cpl);
	seg->attr = (uint16_t)(SEG_RW | SEG_ACCESSED | SEG_S | SEG_P | SEG_G | cpl << 5 | kind);
	seg->limit = UINT32_MAX;
	seg->base = 0;
}

static enum bt_done do_syscall(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	unsigned cs = (unsigned)(s->msr.star >> 32) & 0xffff;

	if (!(s->efer & EFER_SCE) || !x86_long_mode(s) || (!x86_64bit(s) && !cpuid_vendor_is_amd(bt->v->cpuid)))
		return BT_REFUSED;
	s->gpr[R_CX] = s->rip + site->len;
	s->gpr[R_11] = s->rflags & ~FL_RF;
	set_flags(s, 0, (s->msr.sfmask & UINT32_MAX) | FL_RF | FL_VM);
	s->rip = x86_64bit(s) ? s->msr.lstar : s->msr.cstar;
	load_flat(&s->seg[SEG_CS], cs, 0, SEG_CODE | SEG_L);
	load_flat(&s->seg[SEG_SS], (cs & SEL_MASK) + 8, 0, SEG_DB);
	s->cpl = 0;
	return BT_MOVED;
}

static enum bt_done do_sysret(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	unsigned base = (unsigned)(s->msr.star >> 48) & SEL_MASK;
	bool to64 = site->reg;

	if (!(s->efer & EFER_SCE) || s->cpl || (to64 && !x86_canonical(s, s->gpr[R_CX])))
		return BT_REFUSED;
	set_flags(s, s->gpr[R_11], FL_DEFINED & ~(FL_RF | FL_VM));
	load_flat(&s->seg[SEG_CS], base + (to64 ? 16 : 0), 3, SEG_CODE | (to64 ? SEG_L : SEG_DB));
	load_flat(&s->seg[SEG_SS], base + 8, 3, SEG_DB);
	s->cpl = 3;
	s->rip = to64 ? s->gpr[R_CX] : (uint32_t)s->gpr[R_CX];
	return BT_MOVED;
}

uint64_t bt_read_descriptor(struct bt *bt, unsigned sel)
{
	const struct x86_state *s = &bt->v->s;
	const void *p;
	uint64_t d;

	if ((sel & SEL_TI) || (sel | 7) > s->gdtr.limit)
		return 0;
	p = bt_reach(bt, s->gdtr.base + (sel & 0xfff8u), 8, false, MMU_KERNEL);
	d = p ? load64(p) : 0;
	return desc_present(d) && !desc_is_system(d) && (desc_type(d) & SEG_ACCESSED) ? d : 0;
}

void bt_load_descriptor(struct x86_seg *seg, unsigned sel, uint64_t d)
{
	uint32_t limit = (uint32_t)(d & 0xffff) | (uint32_t)((d >> 32) & 0xf0000);

	seg->sel = (uint16_t)sel;
	seg->attr = desc_attr(d);
	seg->limit = (seg->attr & SEG_G) ? limit << 12 | 0xfff : limit;
	seg->base = desc_base(d);
}

void bt_null_inner_segments(struct x86_state *s)
{
	static const uint8_t data[] = { SEG_ES, SEG_FS, SEG_GS, SEG_DS };

	for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
		struct x86_seg *seg = &s->seg[data[i]];
		bool conforming = (seg->attr & SEG_CODE) && (seg->attr & SEG_CONF);

		if ((seg->attr & SEG_P) && SEG_DPL(seg->attr) < s->cpl && !conforming) {
			seg->sel = 0;
			seg->attr = 0;
		}
	}
}

/* Both descriptors of a return to code at cpl, fit to be loaded. A null SS is fine in 64-bit code below ring 3. */
static bool return_segments(struct bt *bt, unsigned cs, unsigned ss, uint64_t *code, uint64_t *stack)
{
	unsigned cpl = cs & 3;

	*code = bt_read_descriptor(bt, cs);
	if (!desc_is_code(*code) || desc_is_conforming(*code) || (desc_is_64bit(*code) && desc_is_big(*code)) ||
	    desc_dpl(*code) != cpl || cpl < bt->v->s.cpl || SEL_RPL(ss) != cpl)
		return false;
	if (sel_is_null((uint16_t)ss)) {
		*stack = 0;
		return cpl != 3 && desc_is_64bit(*code);
	}
	*stack = bt_read_descriptor(bt, ss);
	return *stack && desc_is_writable_data(*stack) && desc_dpl(*stack) == cpl;
}

#define FL_IRET (FL_ARITH | FL_TF | FL_DF | FL_NT | FL_RF | FL_AC | FL_ID)

static enum bt_done do_iretq(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	const uint8_t *frame = reach(bt, s->gpr[R_SP], sizeof(uint64_t[5]), false);
	uint64_t code, stack, mask = FL_IRET, f[5];
	struct x86_seg seg;
	unsigned cs, ss, old_cpl = s->cpl;

	if (!frame || (s->rflags & FL_NT))
		return BT_REFUSED;
	for (unsigned i = 0; i < ARRAY_SIZE(f); i++)
		f[i] = load64(frame + i * 8);
	cs = f[1] & 0xffff;
	ss = f[4] & 0xffff;
	if ((cs & 3) % 3 || s->cpl % 3 || !return_segments(bt, cs, ss, &code, &stack))
		return BT_REFUSED;
	bt_load_descriptor(&seg, cs, code);
	/* In compatibility mode RSP keeps as much as the stack's size says: the reference's, but where it is all. */
	if (desc_is_64bit(code) ? !x86_canonical(s, f[0]) : f[0] > seg.limit || f[3] > UINT32_MAX || !desc_is_big(stack))
		return BT_REFUSED;
	if (iopl_allows(s))
		mask |= FL_IF;
	if (s->cpl == 0)
		mask |= FL_IOPL | FL_VIF | FL_VIP;
	s->nmi_blocked = false;
	s->seg[SEG_CS] = seg;
	bt_load_descriptor(&s->seg[SEG_SS], ss, stack);
	if (!stack)
		s->seg[SEG_SS].attr = (uint16_t)((cs & 3) << 5);
	s->cpl = cs & 3;
	s->rip = f[0];
	s->gpr[R_SP] = f[3];
	if (s->cpl != old_cpl)
		bt_null_inner_segments(s);
	set_flags(s, f[2], mask);
	return BT_MOVED;
}

/* -- Registers ---------------------------------------------------------------------------------------------------- */

static enum bt_done do_swapgs(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	uint64_t base = s->seg[SEG_GS].base;

	if (s->cpl)
		return BT_REFUSED;
	s->seg[SEG_GS].base = s->msr.kernel_gs_base;
	s->msr.kernel_gs_base = base;
	return BT_NEXT;
}

static enum bt_done do_rdtscp(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	uint64_t tsc;

	if ((s->cr4 & CR4_TSD) && s->cpl)
		return BT_REFUSED;
	tsc = vcpu_read_tsc(bt->v);
	s->gpr[R_AX] = (uint32_t)tsc;
	s->gpr[R_DX] = tsc >> 32;
	if (site->op == BT_OP_RDTSCP)
		s->gpr[R_CX] = (uint32_t)s->msr.tsc_aux;
	return BT_NEXT;
}

static enum bt_done do_mov_from_cr(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	const uint64_t val[] = { s->cr0, 0, s->cr2, s->cr3, s->cr4 };

	if (s->cpl)
		return BT_REFUSED;
	s->gpr[site->reg] = val[site->size];
	return BT_NEXT;
}

static enum bt_done do_mov_from_sreg(struct bt *bt, const struct bt_site *site)
{
	bt->v->s.gpr[site->reg] = bt->v->s.seg[site->size].sel;
	return BT_NEXT;
}

static enum bt_done do_mov_to_sreg(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	unsigned sel = s->gpr[site->reg] & 0xffff;
	uint64_t d;

	if (sel_is_null((uint16_t)sel)) {
		s->seg[site->size] = (struct x86_seg){ .sel = (uint16_t)sel };
		return BT_NEXT;
	}
	d = bt_read_descriptor(bt, sel);
	if (!desc_is_readable(d) || (!desc_is_conforming(d) && (SEL_RPL(sel) > desc_dpl(d) || s->cpl > desc_dpl(d))))
		return BT_REFUSED;
	bt_load_descriptor(&s->seg[site->size], sel, d);
	return BT_NEXT;
}

/* Only with 64-bit operands. */
static enum bt_done do_base(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	uint64_t *base = &s->seg[site->size].base, *reg = &s->gpr[site->reg];

	if (!(s->cr4 & CR4_FSGSBASE) || (site->op == BT_OP_WRBASE && !x86_canonical(s, *reg)))
		return BT_REFUSED;
	if (site->op == BT_OP_WRBASE)
		*base = *reg;
	else
		*reg = *base;
	return BT_NEXT;
}

static enum bt_done do_mov_to_cr3(struct bt *bt, const struct bt_site *site)
{
	struct vcpu *v = bt->v;

	if (v->s.cpl || vcpu_set_cr3(v, x86_64bit(&v->s) ? v->s.gpr[site->reg] : (uint32_t)v->s.gpr[site->reg]))
		return BT_REFUSED;
	v->s.rip += site->len;
	return BT_MOVED;
}

static uint64_t *base_msr(struct x86_state *s)
{
	switch ((uint32_t)s->gpr[R_CX]) {
	case MSR_FS_BASE: return &s->seg[SEG_FS].base;
	case MSR_GS_BASE: return &s->seg[SEG_GS].base;
	case MSR_KERNEL_GS_BASE: return &s->msr.kernel_gs_base;
	default: return NULL;
	}
}

static enum bt_done do_msr(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	uint64_t *msr = base_msr(s), val = (uint32_t)s->gpr[R_AX] | s->gpr[R_DX] << 32;

	/* Canonical by the width that the CPU supports, which is not CR4's to say (cpu/msr.c); by 48 bits it is by either. */
	if (s->cpl || !msr || (uint64_t)((int64_t)(val << 16) >> 16) != val)
		return bt_do_any_msr(bt, site);
	if (site->op == BT_OP_WRMSR) {
		*msr = val;
	} else {
		s->gpr[R_AX] = (uint32_t)*msr;
		s->gpr[R_DX] = *msr >> 32;
	}
	return BT_NEXT;
}

static enum bt_done do_invlpg(struct bt *bt, const struct bt_site *site)
{
	struct vcpu *v = bt->v;

	if (v->s.cpl)
		return BT_REFUSED;
	if (x86_canonical(&v->s, bt->exit_t0))
		tlb_flush_page(v->tlb, bt->exit_t0);
	v->s.rip += site->len;
	return BT_MOVED;
}

static enum bt_done do_invpcid(struct bt *bt, const struct bt_site *site)
{
	struct vcpu *v = bt->v;
	uint64_t type = v->s.gpr[site->reg], pcid, la;
	const uint8_t *p;

	if (v->s.cpl || !x86_canonical(&v->s, bt->exit_t0) || !(p = reach(bt, bt->exit_t0, 16, false)))
		return BT_REFUSED;
	pcid = load64(p);
	la = load64(p + 8);
	if (type > INVPCID_ALL || pcid & ~CR3_PCID_MASK || (type <= INVPCID_CONTEXT && pcid && !(v->s.cr4 & CR4_PCIDE)) ||
	    (type == INVPCID_ADDRESS && !x86_canonical(&v->s, la)))
		return BT_REFUSED;
	if (type == INVPCID_ADDRESS)
		tlb_flush_page_pcid(v->tlb, la, pcid);
	else if (type == INVPCID_CONTEXT)
		tlb_flush_nonglobal(v->tlb, pcid);
	else if (type == INVPCID_ALL_GLOBAL)
		tlb_flush_all(v->tlb);
	else
		tlb_flush_all_nonglobal(v->tlb);
	v->s.rip += site->len;
	return BT_MOVED;
}

/* -- Bits ------------------------------------------------------------------------------------------------------------ */

/* BT and its kin with a register offset: the word of memory that holds the bit, from T0 on. */
static enum bt_done do_bit(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	bool write = site->op != BT_OP_BT;
	unsigned bits = site->size * 8u, up = 64 - bits;
	int64_t off = (int64_t)(s->gpr[site->reg] << up) >> up;
	uint64_t la = bt->exit_t0 + (uint64_t)((off >> __builtin_ctz(bits)) * site->size);
	uint64_t old, bit = BIT((uint64_t)off & (bits - 1));
	void *p;

	if (la & (site->size - 1u)) /* may cross a page */
		return BT_REFUSED;
	p = reach(bt, la, site->size, write);
	if (!p)
		return BT_REFUSED;
	if (site->size == 8)
		old = __atomic_load_n((uint64_t *)p, __ATOMIC_RELAXED);
	else
		old = __atomic_load_n((uint32_t *)p, __ATOMIC_RELAXED);
	if (write && site->size == 8) {
		old = site->op == BT_OP_BTS   ? __atomic_fetch_or((uint64_t *)p, bit, __ATOMIC_SEQ_CST)
		      : site->op == BT_OP_BTR ? __atomic_fetch_and((uint64_t *)p, ~bit, __ATOMIC_SEQ_CST)
					      : __atomic_fetch_xor((uint64_t *)p, bit, __ATOMIC_SEQ_CST);
	} else if (write) {
		old = site->op == BT_OP_BTS   ? __atomic_fetch_or((uint32_t *)p, (uint32_t)bit, __ATOMIC_SEQ_CST)
		      : site->op == BT_OP_BTR ? __atomic_fetch_and((uint32_t *)p, (uint32_t)~bit, __ATOMIC_SEQ_CST)
					      : __atomic_fetch_xor((uint32_t *)p, (uint32_t)bit, __ATOMIC_SEQ_CST);
	}
	if (write)
		wrote(bt, p, site->size);
	return set_flags(s, old & bit ? FL_CF : 0, FL_CF);
}

/* -- Strings ---------------------------------------------------------------------------------------------------------- */

/* As many elements as lie in the current pages; 0: one that the reference has to do. */
static uint64_t string_piece(struct bt *bt, const struct bt_site *site, uint64_t count)
{
	struct x86_state *s = &bt->v->s;
	uint64_t dst = s->gpr[R_DI], src = s->gpr[R_SI], left = PAGE_SIZE - (dst & (PAGE_SIZE - 1)), n;
	bool movs = site->op == BT_OP_MOVS;
	uint8_t *d, *from = NULL;

	if (movs)
		left = MIN(left, PAGE_SIZE - (src & (PAGE_SIZE - 1)));
	n = MIN(left / site->size, count);
	/* The source first: a page that is not written in the end does not become dirty. */
	if (!n || (movs && !(from = reach(bt, src, 1, false))) || !(d = reach(bt, dst, 1, true)))
		return 0;
	/* Filling the destination's entry may have put the source's out of the way, not its page. */
	if (movs)
		rep_copy(d, from, n, site->size);
	else
		rep_fill(d, s->gpr[R_AX], n, site->size);
	wrote(bt, d, n * site->size);
	s->gpr[R_DI] += n * site->size;
	if (movs)
		s->gpr[R_SI] += n * site->size;
	return n;
}

/* Committed piece by piece; what is left when one is refused is the reference's, from where it stands. */
static enum bt_done do_string(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	bool repeats = site->reg;
	uint64_t n;

	if (s->rflags & FL_DF)
		return BT_REFUSED;
	if (!repeats)
		return string_piece(bt, site, 1) ? BT_NEXT : BT_REFUSED;
	while (s->gpr[R_CX]) {
		n = string_piece(bt, site, s->gpr[R_CX]);
		if (!n)
			return BT_REFUSED;
		s->gpr[R_CX] -= n;
		if (s->gpr[R_CX] && vcpu_pauses_rep(bt->v, false)) {
			s->rflags |= FL_RF; /* as an interrupt between iterations pushes it */
			return BT_REFUSED;
		}
	}
	return BT_NEXT;
}

/* -- All of them ---------------------------------------------------------------------------------------------------------- */

enum bt_done bt_system(struct bt *bt, const struct bt_site *site)
{
	static enum bt_done (*const op[BT_OP_COUNT])(struct bt *bt, const struct bt_site *site) = {
#define X(op, fn, name) [BT_OP_##op] = fn,
		BT_OPS_NEXT(X)
		BT_OPS_JUMP(X)
#undef X
	};
	uint64_t rip = bt->v->s.rip;
	enum bt_done done = op[site->op](bt, site);

	/* What has moved to the next instruction only because its mode changed. (Refused or outside, the site may be gone.) */
	if (done == BT_NEXT || (done == BT_MOVED && bt->v->s.rip == rip && site->op < BT_OP_SETS_RIP))
		bt->v->s.rip += site->len;
	return done;
}
