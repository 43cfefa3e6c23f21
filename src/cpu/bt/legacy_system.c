/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What system.c is to 64-bit mode, for the others: segment loads, flags and returns, fast system calls, repeated strings.
 *
 * The same rules: no vector registers, the plain cases only, and nothing has changed when one is refused.
 */
#include "cpu/bt/legacy.h"
#include "cpu/bt/system.h"
#include "cpu/rep.h"
#include "x86/desc.h"

/* -- Guest memory --------------------------------------------------------------------------------------------- */

/* Host address of seg:[off, off + size), by the limits that translated code has been checking by; NULL: refuse. */
static void *at(struct bt *bt, unsigned seg, uint32_t off, unsigned size, bool write)
{
	const struct bt_segment *s = &bt->segment[seg];

	if ((int64_t)((uint64_t)off + size - 1) > s->limit[write])
		return NULL;
	return bt_reach(bt, (uint32_t)(s->base + off), size, write, bt_mmu_mode(bt->v));
}

static uint32_t load(const void *p, unsigned size)
{
	return size == 2 ? *(const volatile uint16_t *)p : *(const volatile uint32_t *)p;
}

static void note_write(struct bt *bt, const void *host, uint64_t len)
{
	struct ram *r = bt->v->ram;

	ram_note_write(r, (uint64_t)((const uint8_t *)host - r->base), len);
}

static uint32_t stack_mask(const struct x86_state *s)
{
	return s->seg[SEG_SS].attr & SEG_DB ? UINT32_MAX : 0xffff;
}

/* SS:[SP + disp], by the size of the stack */
static void *stack_at(struct bt *bt, int32_t disp, unsigned size, bool write)
{
	const struct x86_state *s = &bt->v->s;

	return at(bt, SEG_SS, ((uint32_t)s->gpr[R_SP] + (uint32_t)disp) & stack_mask(s), size, write);
}

static void write_narrow(uint64_t *reg, uint32_t val, bool wide32)
{
	*reg = wide32 ? val : (*reg & ~0xffffull) | (val & 0xffff);
}

static void move_sp(struct x86_state *s, int32_t by)
{
	write_narrow(&s->gpr[R_SP], (uint32_t)s->gpr[R_SP] + (uint32_t)by, stack_mask(s) == UINT32_MAX);
}

/* -- Flags ---------------------------------------------------------------------------------------------------- */

static bool iopl_allows(const struct x86_state *s)
{
	return s->cpl <= bits_of(s->rflags, 13, 12);
}

static enum bt_done set_flags(struct x86_state *s, uint64_t val, uint64_t mask)
{
	uint64_t old = s->rflags;

	s->rflags = (((old & ~mask) | (val & mask)) & FL_DEFINED) | FL_1;
	return (old ^ s->rflags) & FL_AC ? BT_MOVED : BT_NEXT;
}

/* Virtual-8086 mode below IOPL 3 is the reference's. */
static bool flags_are_virtual(const struct x86_state *s)
{
	return x86_v86(s) && !iopl_allows(s);
}

enum bt_done bt_do_legacy_pushf(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	void *p = flags_are_virtual(s) ? NULL : stack_at(bt, -(int32_t)site->size, site->size, true);
	uint32_t val = (uint32_t)(s->rflags & ~(FL_VM | FL_RF));

	if (!p)
		return BT_REFUSED;
	if (site->size == 2)
		*(volatile uint16_t *)p = (uint16_t)val;
	else
		*(volatile uint32_t *)p = val;
	note_write(bt, p, site->size);
	move_sp(s, -(int32_t)site->size);
	return BT_NEXT;
}

enum bt_done bt_do_legacy_popf(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	const void *p = flags_are_virtual(s) ? NULL : stack_at(bt, 0, site->size, false);
	uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT;

	if (!p)
		return BT_REFUSED;
	if (site->size == 4)
		mask |= FL_AC | FL_ID;
	if (iopl_allows(s))
		mask |= FL_IF;
	if (s->cpl == 0)
		mask |= FL_IOPL;
	move_sp(s, site->size);
	return set_flags(s, load(p, site->size), mask);
}

/* -- Segments ------------------------------------------------------------------------------------------------- */

static void load_real(struct x86_state *s, unsigned seg, uint32_t sel)
{
	struct x86_seg *r = &s->seg[seg];

	if (x86_v86(s)) {
		r->attr = SEG_P | 3 << 5;
		r->limit = 0xffff;
	}
	r->attr = (uint16_t)((r->attr & (SEG_G | SEG_DB | SEG_AVL | (x86_v86(s) ? 3 << 5 : 0))) | SEG_P | SEG_S | SEG_RW |
			     SEG_ACCESSED | (seg == SEG_CS && !x86_v86(s) ? SEG_CODE : 0));
	r->sel = (uint16_t)sel;
	r->base = (uint64_t)(sel & 0xffff) << 4;
}

/* ES, DS, FS or GS */
static bool load_data(struct bt *bt, unsigned seg, uint32_t sel)
{
	struct x86_state *s = &bt->v->s;
	uint64_t d;

	if (x86_real_like(s)) {
		load_real(s, seg, sel);
		return true;
	}
	if (sel_is_null((uint16_t)sel)) {
		s->seg[seg] = (struct x86_seg){ .sel = (uint16_t)sel };
		return true;
	}
	d = bt_read_descriptor(bt, sel & 0xffff);
	if (!desc_is_readable(d) || (!desc_is_conforming(d) && (SEL_RPL(sel) > desc_dpl(d) || s->cpl > desc_dpl(d))))
		return false;
	bt_load_descriptor(&s->seg[seg], sel, d);
	return true;
}

/* Which segments are flat is part of the mode. */
static enum bt_done load_and_compare(struct bt *bt, unsigned seg, uint32_t sel)
{
	uint8_t flat = bt_legacy_mode(bt->v).flat;

	if (!load_data(bt, seg, sel))
		return BT_REFUSED;
	return bt_legacy_mode(bt->v).flat == flat ? BT_NEXT : BT_MOVED;
}

enum bt_done bt_do_legacy_mov_sreg(struct bt *bt, const struct bt_site *site)
{
	return load_and_compare(bt, site->size, (uint32_t)bt->v->s.gpr[site->reg]);
}

enum bt_done bt_do_legacy_pop_sreg(struct bt *bt, const struct bt_site *site)
{
	const void *p = stack_at(bt, 0, site->reg, false);
	enum bt_done done;

	if (!p)
		return BT_REFUSED;
	done = load_and_compare(bt, site->size, load(p, 2));
	if (done != BT_REFUSED)
		move_sp(&bt->v->s, site->reg);
	return done;
}

/* -- IRET -------------------------------------------------------------------------------------------------------- */

/* EIP, CS, EFLAGS and, to an outer ring, ESP and SS: as many as there are in a row. */
struct frame {
	uint32_t ip, cs, flags, sp, ss;
};

static bool read_frame(struct bt *bt, struct frame *f, unsigned size, bool outer)
{
	uint32_t item[5] = { 0 };
	const uint8_t *p = stack_at(bt, 0, (outer ? 5 : 3) * size, false);

	if (!p)
		return false;
	for (unsigned n = 0; n < (outer ? 5 : 3); n++)
		item[n] = load(p + n * size, size);
	*f = (struct frame){ item[0], item[1] & 0xffff, item[2], item[3], item[4] & 0xffff };
	return true;
}

static uint64_t flags_returned(const struct x86_state *s, unsigned size)
{
	uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT;

	if (size == 4)
		mask |= FL_RF | FL_AC | FL_ID;
	if (iopl_allows(s))
		mask |= FL_IF;
	if (s->cpl == 0)
		mask |= FL_IOPL | (size == 4 ? FL_VIF | FL_VIP : 0);
	return mask;
}

static enum bt_done iret_real(struct bt *bt, unsigned size)
{
	struct x86_state *s = &bt->v->s;
	struct frame f;

	if (x86_v86(s) || !read_frame(bt, &f, size, false) || f.ip > s->seg[SEG_CS].limit)
		return BT_REFUSED;
	load_real(s, SEG_CS, f.cs);
	s->rip = f.ip;
	move_sp(s, 3 * (int32_t)size);
	set_flags(s, f.flags, flags_returned(s, size) & ~(FL_VIF | FL_VIP));
	s->nmi_blocked = false;
	return BT_MOVED;
}

/* A return to the same ring or to an outer one with a 32-bit stack. */
static enum bt_done iret_protected(struct bt *bt, unsigned size)
{
	struct x86_state *s = &bt->v->s;
	uint64_t code, stack = 0, mask = flags_returned(s, size);
	struct frame f;
	bool outer;

	if (x86_long_mode(s) || (s->rflags & FL_NT) || !read_frame(bt, &f, size, false) || (size == 4 && (f.flags & FL_VM)))
		return BT_REFUSED;
	outer = SEL_RPL(f.cs) > s->cpl;
	code = bt_read_descriptor(bt, f.cs);
	if (SEL_RPL(f.cs) < s->cpl || !desc_is_code(code) || desc_is_conforming(code) || desc_is_64bit(code) ||
	    desc_dpl(code) != SEL_RPL(f.cs) || f.ip > desc_limit(code))
		return BT_REFUSED;
	if (outer) {
		if (size != 4 || !read_frame(bt, &f, size, true))
			return BT_REFUSED;
		stack = bt_read_descriptor(bt, f.ss);
		if (!desc_is_writable_data(stack) || !desc_is_big(stack) || desc_dpl(stack) != SEL_RPL(f.cs) ||
		    SEL_RPL(f.ss) != SEL_RPL(f.cs))
			return BT_REFUSED;
	}
	bt_load_descriptor(&s->seg[SEG_CS], f.cs, code);
	s->rip = f.ip;
	if (outer) {
		bt_load_descriptor(&s->seg[SEG_SS], f.ss, stack);
		s->cpl = SEL_RPL(f.cs);
		s->gpr[R_SP] = f.sp;
		bt_null_inner_segments(s);
	} else {
		move_sp(s, 3 * (int32_t)size);
	}
	set_flags(s, f.flags, mask);
	s->nmi_blocked = false;
	return BT_MOVED;
}

enum bt_done bt_do_legacy_iret(struct bt *bt, const struct bt_site *site)
{
	return x86_real_like(&bt->v->s) ? iret_real(bt, site->size) : iret_protected(bt, site->size);
}

/* -- SYSENTER and SYSEXIT ------------------------------------------------------------------------------------------ */

static void load_flat(struct x86_seg *seg, unsigned sel, unsigned cpl, bool code)
{
	seg->sel = (uint16_t)((sel & SEL_MASK) | cpl);
	seg->attr = (uint16_t)(SEG_RW | SEG_ACCESSED | SEG_S | SEG_P | SEG_G | SEG_DB | cpl << 5 | (code ? SEG_CODE : 0));
	seg->limit = UINT32_MAX;
	seg->base = 0;
}

enum bt_done bt_do_sysenter(struct bt *bt, const struct bt_site *site)
{
	struct x86_state *s = &bt->v->s;
	bool exit = site->op == BT_OP_SYSEXIT;
	unsigned cs = (unsigned)s->msr.sysenter_cs & SEL_MASK, cpl = exit ? 3 : 0;

	if (!x86_protected(s) || x86_long_mode(s) || !cs || (exit && s->cpl))
		return BT_REFUSED;
	s->gpr[R_SP] = (uint32_t)(exit ? s->gpr[R_CX] : s->msr.sysenter_esp);
	s->rip = (uint32_t)(exit ? s->gpr[R_DX] : s->msr.sysenter_eip);
	if (!exit)
		set_flags(s, 0, FL_VM | FL_IF | FL_RF);
	load_flat(&s->seg[SEG_CS], cs + (exit ? 16 : 0), cpl, true);
	load_flat(&s->seg[SEG_SS], cs + (exit ? 24 : 8), cpl, false);
	s->cpl = (uint8_t)cpl;
	return BT_MOVED;
}

/* -- Strings --------------------------------------------------------------------------------------------------------- */

#define COMPARE(prefix, op)                                                                                  \
	__asm__ volatile(prefix " " op "; lahf; seto %%al"                                                   \
			 : "+S"(s), "+D"(d), "+c"(n), "+a"(ax)                                               \
			 : : "memory", "cc")
#define COMPARE_SIZES(prefix, op)                                                                            \
	switch (size) {                                                                                      \
	case 1: COMPARE(prefix, op "b"); break;                                                              \
	case 2: COMPARE(prefix, op "w"); break;                                                              \
	default: COMPARE(prefix, op "l"); break;                                                             \
	}

/* Up to n > 0 elements of CMPS or SCAS; how many are left, and the flags of the last. */
static uint64_t compare(bool scas, bool while_equal, unsigned size, const uint8_t *s, const uint8_t *d, uint64_t n, uint64_t ax,
			uint64_t *flags)
{
	if (scas && while_equal)
		COMPARE_SIZES("repe", "scas")
	else if (scas)
		COMPARE_SIZES("repne", "scas")
	else if (while_equal)
		COMPARE_SIZES("repe", "cmps")
	else
		COMPARE_SIZES("repne", "cmps")
	*flags = (ax >> 8 & (FL_ARITH & 0xff)) | ((ax & 1) ? FL_OF : 0);
	return n;
}

struct string_run {
	struct bt *bt;
	unsigned size, op; /* of an element; enum bt_legacy_string */
	unsigned source;   /* segment of [SI] */
	bool wide32, while_equal;
};

/* Elements from the offset in reg that lie in its page, below its limit and before the offset wraps; their host address. */
static uint64_t reachable(const struct string_run *r, unsigned seg, unsigned reg, bool write, uint64_t count, uint8_t **host)
{
	uint64_t off = r->bt->v->s.gpr[reg] & (r->wide32 ? UINT32_MAX : 0xffffu), top = r->wide32 ? UINT32_MAX : 0xffffu;
	const struct bt_segment *s = &r->bt->segment[seg];
	uint64_t la = (uint32_t)(s->base + off), bytes = PAGE_SIZE - (la & (PAGE_SIZE - 1));

	if ((int64_t)off > s->limit[write])
		return 0;
	bytes = MIN(bytes, MIN((uint64_t)s->limit[write], top) - off + 1);
	count = MIN(count, bytes / r->size);
	*host = count ? at(r->bt, seg, (uint32_t)off, r->size, write) : NULL;
	return *host ? count : 0;
}

static void advance(const struct string_run *r, unsigned reg, uint64_t by)
{
	uint64_t *p = &r->bt->v->s.gpr[reg];

	write_narrow(p, (uint32_t)(*p + by), r->wide32);
}

/* As many elements as lie in the current pages; 0: one that the reference has to do. *ended: by what was compared. */
static uint64_t string_piece(const struct string_run *r, uint64_t count, bool *ended)
{
	bool src = r->op == BT_STRING_MOVS || r->op == BT_STRING_CMPS, write = r->op == BT_STRING_MOVS || r->op == BT_STRING_STOS;
	struct x86_state *s = &r->bt->v->s;
	uint8_t *from = NULL, *to;
	uint64_t n = count, flags;

	if (src)
		n = reachable(r, r->source, R_SI, false, n, &from);
	n = n ? reachable(r, SEG_ES, R_DI, write, n, &to) : 0;
	if (!n)
		return 0;
	if (r->op == BT_STRING_MOVS)
		rep_copy(to, from, n, r->size);
	else if (r->op == BT_STRING_STOS)
		rep_fill(to, s->gpr[R_AX], n, r->size);
	else {
		n -= compare(r->op == BT_STRING_SCAS, r->while_equal, r->size, from, to, n, s->gpr[R_AX], &flags);
		s->rflags = (s->rflags & ~FL_ARITH) | flags;
		*ended = ((flags & FL_ZF) != 0) != r->while_equal;
	}
	if (write)
		note_write(r->bt, to, n * r->size);
	if (src)
		advance(r, R_SI, n * r->size);
	advance(r, R_DI, n * r->size);
	advance(r, R_CX, 0 - n);
	return n;
}

/* Committed piece by piece, as do_string(). */
enum bt_done bt_do_legacy_string(struct bt *bt, const struct bt_site *site)
{
	const struct string_run r = { .bt = bt, .size = site->size, .op = site->reg & BT_STRING_OP, .source = site->write,
				      .wide32 = site->sub, .while_equal = site->reg & BT_STRING_WHILE_EQUAL };
	struct x86_state *s = &bt->v->s;
	uint64_t count = s->gpr[R_CX] & (r.wide32 ? UINT32_MAX : 0xffffu), n;
	bool ended = false;

	if (s->rflags & FL_DF)
		return BT_REFUSED;
	while (count && !ended) {
		n = string_piece(&r, count, &ended);
		if (!n)
			return BT_REFUSED;
		count -= n;
		if (count && !ended && atomic_load(&bt->v->work)) {
			s->rflags |= FL_RF; /* as an interrupt between iterations pushes it */
			return BT_REFUSED;
		}
	}
	return BT_NEXT;
}
