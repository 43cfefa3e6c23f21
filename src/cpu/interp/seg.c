/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segment descriptors: reading, checking and loading them (SDM vol. 3, 3.4 and 5; APM vol. 2, 4). */
#include "cpu/interp/seg.h"

/* Linear addresses outside of IA-32e mode have 32 bits. */
static uint64_t wrap(const struct vcpu *v, uint64_t la)
{
	return x86_long_mode(&v->s) ? la : (uint32_t)la;
}

bool seg_descriptor_la(const struct vcpu *v, uint16_t sel, unsigned bytes, uint64_t *la)
{
	uint32_t off = sel & 0xfff8u, last = off + bytes - 1;

	if (sel & SEL_TI) {
		if (!(v->s.ldtr.attr & SEG_P) || last > v->s.ldtr.limit)
			return false;
		*la = wrap(v, v->s.ldtr.base + off);
		return true;
	}
	if (last > v->s.gdtr.limit)
		return false;
	*la = wrap(v, v->s.gdtr.base + off);
	return true;
}

uint64_t seg_read_descriptor_err(struct vcpu *v, uint16_t sel, enum x86_vector vec, uint32_t err)
{
	uint64_t la;

	if (!seg_descriptor_la(v, sel, 8, &la))
		interp_raise_err(v, vec, err);
	return interp_load(v, la, 8, MMU_KERNEL);
}

uint64_t seg_read_descriptor(struct vcpu *v, uint16_t sel, enum x86_vector vec)
{
	return seg_read_descriptor_err(v, sel, vec, sel & SEL_MASK);
}

uint64_t seg_read_upper(struct vcpu *v, uint16_t sel, enum x86_vector vec, uint32_t err)
{
	uint64_t la;

	if (!seg_descriptor_la(v, sel, 16, &la))
		interp_raise_err(v, vec, err);
	return interp_load(v, wrap(v, la + 8), 8, MMU_KERNEL);
}

/* Replace the type byte (bits 40-47) of a descriptor, atomically as the CPU does. */
static void change_type(struct vcpu *v, uint16_t sel, uint8_t set, uint8_t clear)
{
	uint64_t la, old;

	if (!seg_descriptor_la(v, sel, 8, &la))
		return; /* the tables were changed by the very task switch under way */
	la = wrap(v, la + 5);
	old = interp_load(v, la, 1, MMU_KERNEL);
	while (!interp_cmpxchg(v, la, 1, &old, (old | set) & (uint8_t)~clear, MMU_KERNEL))
		;
}

uint64_t seg_mark_accessed(struct vcpu *v, uint16_t sel, uint64_t desc)
{
	if (desc_type(desc) & SEG_ACCESSED)
		return desc;
	change_type(v, sel, SEG_ACCESSED, 0);
	return desc | (uint64_t)SEG_ACCESSED << 40;
}

void seg_set_busy(struct vcpu *v, uint16_t sel, bool busy)
{
	/* TSS types 1 and 9 are available, 3 and 11 busy. */
	change_type(v, sel, busy ? 2 : 0, busy ? 0 : 2);
}

struct x86_seg seg_from_descriptor(uint16_t sel, uint64_t desc)
{
	return (struct x86_seg){
		.sel = sel, .attr = desc_attr(desc), .limit = desc_limit(desc), .base = desc_base(desc),
	};
}

struct x86_seg seg_flat(uint16_t sel, uint16_t type, unsigned dpl, uint16_t flags)
{
	return (struct x86_seg){
		.sel = sel,
		.attr = (uint16_t)(type | SEG_S | SEG_P | SEG_G | dpl << 5 | flags),
		.limit = 0xffffffff,
	};
}

struct x86_seg seg_null(uint16_t sel, unsigned dpl)
{
	return (struct x86_seg){ .sel = sel, .attr = (uint16_t)(dpl << 5) };
}

struct x86_seg seg_v86(uint16_t sel)
{
	return (struct x86_seg){
		.sel = sel,
		.attr = SEG_P | 3 << 5 | SEG_S | SEG_RW | SEG_ACCESSED,
		.limit = 0xffff,
		.base = (uint64_t)sel << 4,
	};
}

/* Real mode keeps limit and size as they were: "unreal mode" depends on it. */
void seg_load_real(struct vcpu *v, enum x86_segreg seg, uint16_t sel)
{
	struct x86_seg *s = &v->s.seg[seg];

	if (x86_v86(&v->s)) {
		*s = seg_v86(sel);
		return;
	}
	s->sel = sel;
	s->base = (uint64_t)sel << 4;
	s->attr = (s->attr & (SEG_G | SEG_DB | SEG_AVL)) | SEG_P | SEG_S | SEG_RW | SEG_ACCESSED;
	if (seg == SEG_CS)
		s->attr |= SEG_CODE;
}

/* DS, ES, FS, GS: SDM vol. 2, MOV. */
static void load_data(struct vcpu *v, enum x86_segreg seg, uint16_t sel)
{
	uint64_t d;
	unsigned rpl = SEL_RPL(sel);

	if (sel_is_null(sel)) {
		v->s.seg[seg] = seg_null(sel, 0);
		return;
	}
	d = seg_read_descriptor(v, sel, X86_GP);
	if (!desc_is_readable(d))
		interp_raise_err(v, X86_GP, sel & SEL_MASK);
	if (!desc_is_conforming(d) && (rpl > desc_dpl(d) || v->s.cpl > desc_dpl(d)))
		interp_raise_err(v, X86_GP, sel & SEL_MASK);
	if (!desc_present(d))
		interp_raise_err(v, X86_NP, sel & SEL_MASK);
	d = seg_mark_accessed(v, sel, d);
	v->s.seg[seg] = seg_from_descriptor(sel, d);
}

uint64_t seg_check_ss(struct vcpu *v, uint16_t sel, unsigned cpl, enum x86_vector vec, uint32_t ext)
{
	uint32_t err = (sel & SEL_MASK) | ext;
	uint64_t d;

	if (sel_is_null(sel))
		interp_raise_err(v, vec, ext);
	d = seg_read_descriptor_err(v, sel, vec, err);
	if (SEL_RPL(sel) != cpl || !desc_is_writable_data(d) || desc_dpl(d) != cpl)
		interp_raise_err(v, vec, err);
	if (!desc_present(d))
		interp_raise_err(v, X86_SS, err);
	return d;
}

static void load_ss(struct vcpu *v, uint16_t sel)
{
	uint64_t d;

	/* 64-bit mode: a null SS is allowed below ring 3 when its RPL is the CPL. */
	if (sel_is_null(sel) && x86_64bit(&v->s) && v->s.cpl < 3 && SEL_RPL(sel) == v->s.cpl) {
		v->s.seg[SEG_SS] = seg_null(sel, v->s.cpl);
		return;
	}
	d = seg_check_ss(v, sel, v->s.cpl, X86_GP, 0);
	d = seg_mark_accessed(v, sel, d);
	v->s.seg[SEG_SS] = seg_from_descriptor(sel, d);
}

void seg_load(struct vcpu *v, enum x86_segreg seg, uint16_t sel)
{
	if (x86_real_like(&v->s))
		seg_load_real(v, seg, sel);
	else if (seg == SEG_SS)
		load_ss(v, sel);
	else
		load_data(v, seg, sel);
	if (seg == SEG_SS)
		interp_mode_changed(v);
}

void seg_set_cs(struct vcpu *v, uint16_t sel, uint64_t desc, unsigned cpl)
{
	v->s.seg[SEG_CS] = seg_from_descriptor((uint16_t)((sel & SEL_MASK) | cpl), desc);
	v->s.cpl = (uint8_t)cpl;
}

void seg_check_rip(struct vcpu *v, uint64_t desc, uint64_t rip, uint32_t err)
{
	if (seg_is_64bit(v, desc) ? !x86_canonical(&v->s, rip) : rip > desc_limit(desc))
		interp_raise_err(v, X86_GP, err);
}

/* -- Stacks under construction ----------------------------------------------------------------- */

void far_stack_set_width(struct far_stack *st, bool long64)
{
	st->width = long64 ? 8 : (st->ss.attr & SEG_DB) ? 4 : 2;
}

void far_stack_new(struct far_stack *st, const struct x86_seg *ss, uint64_t sp, bool long64, unsigned cpl,
		   uint32_t err)
{
	*st = (struct far_stack){ .ss = *ss, .sp = sp, .check = true, .err = err };
	far_stack_set_width(st, long64);
	st->mode = cpl == 3 ? MMU_USER : MMU_KERNEL;
}

void far_stack_current(struct vcpu *v, struct far_stack *st, uint32_t err)
{
	far_stack_new(st, &v->s.seg[SEG_SS], v->s.gpr[R_SP], x86_64bit(&v->s), v->s.cpl, err);
	st->mode = interp_mmu_mode(v);
	st->check = x86_protected(&v->s);
}

/* As interp_linear() for SS, on a stack segment that is not loaded. */
static uint64_t item_la(struct vcpu *v, const struct far_stack *st, uint64_t off, unsigned size)
{
	const struct x86_seg *ss = &st->ss;
	uint64_t last = off + size - 1;
	bool ok;

	if (st->width == 8) {
		if (!x86_canonical(&v->s, off) || !x86_canonical(&v->s, last))
			interp_raise_err(v, X86_SS, st->err);
		return off;
	}
	if ((ss->attr & (SEG_CODE | SEG_CONF)) == SEG_CONF)
		ok = off > ss->limit && last <= ((ss->attr & SEG_DB) ? 0xffffffffull : 0xffffull);
	else
		ok = last <= ss->limit;
	if (!ok || (st->check && !(ss->attr & SEG_P)))
		interp_raise_err(v, X86_SS, st->err);
	return (uint32_t)(ss->base + off);
}

void far_push(struct vcpu *v, struct far_stack *st, unsigned size, uint64_t val)
{
	uint64_t mask = size_mask(st->width), off = (st->sp - size) & mask;

	BUG_ON(st->n >= STACK_MAX_ITEMS);
	st->item[st->n].la = item_la(v, st, off, size);
	st->item[st->n].val = val;
	st->item[st->n].size = size;
	st->n++;
	st->sp = st->width == 2 ? (st->sp & ~mask) | off : off;
}

void far_stack_commit(struct vcpu *v, const struct far_stack *st)
{
	for (unsigned i = 0; i < st->n; i++)
		interp_probe(v, st->item[i].la, st->item[i].size, ACCESS_WRITE, st->mode);
	for (unsigned i = 0; i < st->n; i++)
		interp_store(v, st->item[i].la, st->item[i].size, st->item[i].val, st->mode);
}
