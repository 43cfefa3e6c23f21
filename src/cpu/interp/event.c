/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Delivery of interrupts and exceptions through the IVT and the IDT (SDM vol. 3, ch. 6; vol. 2, INT n; real
 * mode: 20.1.4; virtual-8086 mode: 20.3). Not implemented: shadow stacks, FRED.
 *
 * Whatever can fault comes before whatever changes registers: descriptors are read and checked, the
 * frame is laid out and probed, and only then is it written and CS:RIP, SS:RSP and RFLAGS are replaced.
 */
#include "cpu/interp/event.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/task.h"

/* Error code bit 1: the index is one of the IDT (SDM vol. 3, 6.13). */
#define ERR_IDT 2u

#define FL_CLEARED (FL_TF | FL_NT | FL_RF | FL_VM)

/* A delivery under way. */
struct delivery {
	const struct event *ev;
	uint32_t ext;      /* the EXT bit of error codes */
	uint64_t flags;    /* to push */
	unsigned size;     /* of a pushed item: 2, 4 or 8 */
	bool trap;         /* trap gate: IF stays */
	unsigned ist;
	uint16_t sel;      /* of the handler */
	uint64_t rip;
	uint64_t code;     /* descriptor of sel */
};

/* -- Classes ----------------------------------------------------------------------------------- */

enum event_class event_classify(uint8_t vector)
{
	switch (vector) {
	case X86_DE:
	case X86_TS:
	case X86_NP:
	case X86_SS:
	case X86_GP:
		return EVENT_CONTRIBUTORY;
	case X86_PF:
		return EVENT_PAGE_FAULT;
	case X86_DF:
		return EVENT_DOUBLE_FAULT;
	default:
		return EVENT_BENIGN;
	}
}

bool event_makes_double_fault(uint8_t first, uint8_t second)
{
	enum event_class a = event_classify(first), b = event_classify(second);

	if (a == EVENT_CONTRIBUTORY)
		return b == EVENT_CONTRIBUTORY;
	return a == EVENT_PAGE_FAULT && (b == EVENT_CONTRIBUTORY || b == EVENT_PAGE_FAULT);
}

/* -- Common parts ------------------------------------------------------------------------------ */

/* RF in the image is set for faults (SDM vol. 3, 17.3.1.1); #DB's depends on its cause, see debug.h. */
static uint64_t flags_image(const struct vcpu *v, const struct event *ev)
{
	bool fault = ev->type == EVENT_EXCEPTION && ev->vector != X86_DB && ev->vector != X86_BP &&
		     ev->vector != X86_OF && ev->vector != X86_DF && ev->vector != X86_MC;

	return v->s.rflags | (fault ? FL_RF : 0);
}

/* #DB handlers may touch the debug registers (17.2.4). */
static void note_delivered(struct vcpu *v, const struct event *ev)
{
	if (ev->vector == X86_DB && (ev->type == EVENT_EXCEPTION || ev->type == EVENT_ICEBP))
		v->s.dr[7] &= ~DR7_GD;
}

static void finish(struct vcpu *v, const struct event *ev, uint64_t rip, uint64_t flags_off)
{
	interp_set_flags(v, 0, flags_off);
	interp_set_next_rip(v, rip);
	note_delivered(v, ev);
	interp_mode_changed(v);
}

/* -- Real mode, and INT n of virtual-8086 mode redirected to the 8086's own table -------------- */

/* Push FLAGS, CS and IP and go where the 4 bytes at la point. */
static void through_ivt(struct vcpu *v, const struct event *ev, uint64_t la, uint64_t flags,
			uint64_t flags_off, uint32_t ext)
{
	uint32_t vec = (uint32_t)interp_load(v, la, 4, MMU_KERNEL);
	struct far_stack st;

	far_stack_current(v, &st, ext);
	far_push(v, &st, 2, flags);
	far_push(v, &st, 2, v->s.seg[SEG_CS].sel);
	far_push(v, &st, 2, ev->return_rip);
	if ((vec & 0xffff) > v->s.seg[SEG_CS].limit)
		interp_raise_err(v, X86_GP, ext);
	far_stack_commit(v, &st);
	v->s.gpr[R_SP] = st.sp;
	seg_load_real(v, SEG_CS, (uint16_t)(vec >> 16));
	finish(v, ev, vec & 0xffff, flags_off);
}

static void deliver_real(struct vcpu *v, const struct event *ev, uint32_t ext)
{
	unsigned off = ev->vector * 4u;

	if (off + 3 > v->s.idtr.limit)
		interp_raise_err(v, X86_GP, ev->vector * 8u | ERR_IDT | ext);
	through_ivt(v, ev, (uint32_t)(v->s.idtr.base + off), v->s.rflags, FL_IF | FL_TF | FL_AC | FL_RF, ext);
}

/* -- The gate ---------------------------------------------------------------------------------- */

static bool gate_type_ok(const struct vcpu *v, uint64_t gate)
{
	if (!desc_is_system(gate))
		return false;
	switch (desc_type(gate)) {
	case SYS_INT32:
	case SYS_TRAP32:
		return true;
	case SYS_INT16:
	case SYS_TRAP16:
	case SYS_TASK_GATE:
		return !x86_long_mode(&v->s);
	default:
		return false;
	}
}

/* Read and check the gate of the event's vector; returns its low 8 bytes and fills d from it. */
static uint64_t read_gate(struct vcpu *v, struct delivery *d)
{
	bool lm = x86_long_mode(&v->s);
	unsigned bytes = lm ? 16 : 8, off = d->ev->vector * bytes;
	uint32_t err = d->ev->vector * 8u | ERR_IDT | d->ext;
	uint64_t la = v->s.idtr.base + off, gate, upper = 0;

	if (off + bytes - 1 > v->s.idtr.limit)
		interp_raise_err(v, X86_GP, err);
	gate = interp_load(v, lm ? la : (uint32_t)la, 8, MMU_KERNEL);
	if (lm)
		upper = interp_load(v, la + 8, 8, MMU_KERNEL);
	if (!gate_type_ok(v, gate))
		interp_raise_err(v, X86_GP, err);
	if (d->ev->type == EVENT_SOFT && desc_dpl(gate) < v->s.cpl)
		interp_raise_err(v, X86_GP, err);
	if (!desc_present(gate))
		interp_raise_err(v, X86_NP, err);

	d->size = lm ? 8 : (desc_type(gate) & 8) ? 4 : 2;
	d->trap = desc_type(gate) & 1;
	d->ist = lm ? (gate >> 32) & 7 : 0;
	d->sel = (uint16_t)(gate >> 16);
	d->rip = gate & 0xffff;
	if (d->size >= 4)
		d->rip |= (gate >> 32) & 0xffff0000;
	d->rip |= upper << 32;
	return gate;
}

/* The handler's code segment. */
static void read_code(struct vcpu *v, struct delivery *d)
{
	uint32_t err = (d->sel & SEL_MASK) | d->ext;

	if (sel_is_null(d->sel))
		interp_raise_err(v, X86_GP, d->ext);
	d->code = seg_read_descriptor_err(v, d->sel, X86_GP, err);
	if (!desc_is_code(d->code) || desc_dpl(d->code) > v->s.cpl)
		interp_raise_err(v, X86_GP, err);
	if (x86_long_mode(&v->s) && (!desc_is_64bit(d->code) || desc_is_big(d->code)))
		interp_raise_err(v, X86_GP, err);
	if (!desc_present(d->code))
		interp_raise_err(v, X86_NP, err);
	/* Virtual-8086 mode is left for ring 0 only. */
	if (x86_v86(&v->s) && (desc_is_conforming(d->code) || desc_dpl(d->code) != 0))
		interp_raise_err(v, X86_GP, err);
}

/* -- The frame --------------------------------------------------------------------------------- */

static void push_frame(struct vcpu *v, const struct delivery *d, struct far_stack *st)
{
	far_push(v, st, d->size, d->flags);
	far_push(v, st, d->size, v->s.seg[SEG_CS].sel);
	far_push(v, st, d->size, d->ev->return_rip);
	if (d->ev->has_err)
		far_push(v, st, d->size, d->ev->err);
}

static void push_old_stack(struct vcpu *v, const struct delivery *d, struct far_stack *st)
{
	far_push(v, st, d->size, v->s.seg[SEG_SS].sel);
	far_push(v, st, d->size, v->s.gpr[R_SP]);
}

static void enter_handler(struct vcpu *v, const struct delivery *d, const struct far_stack *st, unsigned cpl)
{
	uint64_t code = seg_mark_accessed(v, d->sel, d->code);

	far_stack_commit(v, st);
	seg_set_cs(v, d->sel, code, cpl);
	v->s.seg[SEG_SS] = st->ss;
	v->s.gpr[R_SP] = st->sp;
	finish(v, d->ev, d->rip, FL_CLEARED | (d->trap ? 0 : FL_IF));
}

/* IA-32e mode: a 64-bit handler; SS:RSP is always pushed, RSP is aligned to 16 bytes (6.14). */
static void enter_long(struct vcpu *v, const struct delivery *d)
{
	unsigned cpl = desc_is_conforming(d->code) ? v->s.cpl : desc_dpl(d->code);
	struct x86_seg ss = v->s.seg[SEG_SS];
	struct far_stack st;
	uint64_t rsp;

	if (d->ist)
		rsp = tss_ist(v, d->ist, d->ext);
	else if (cpl != v->s.cpl)
		rsp = tss_rsp(v, cpl, d->ext);
	else
		rsp = v->s.gpr[R_SP];
	if (cpl != v->s.cpl)
		ss = seg_null((uint16_t)cpl, cpl);
	far_stack_new(&st, &ss, rsp & ~15ull, true, cpl, d->ext);
	push_old_stack(v, d, &st);
	push_frame(v, d, &st);
	seg_check_rip(v, d->code, d->rip, d->ext);
	enter_handler(v, d, &st, cpl);
}

static void enter_same(struct vcpu *v, const struct delivery *d)
{
	struct far_stack st;

	far_stack_current(v, &st, d->ext);
	push_frame(v, d, &st);
	seg_check_rip(v, d->code, d->rip, d->ext);
	enter_handler(v, d, &st, v->s.cpl);
}

/* To an inner ring, on the stack of the TSS; from virtual-8086 mode the data segments are pushed and nulled. */
static void enter_inner(struct vcpu *v, const struct delivery *d)
{
	static const enum x86_segreg pushed[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };
	unsigned cpl = desc_dpl(d->code);
	bool v86 = x86_v86(&v->s);
	struct far_stack st;
	struct x86_seg ss;
	uint16_t ss_sel;
	uint64_t desc;
	uint32_t sp;

	tss_inner_stack(v, cpl, &ss_sel, &sp, d->ext);
	desc = seg_check_ss(v, ss_sel, cpl, X86_TS, d->ext);
	ss = seg_from_descriptor(ss_sel, desc);
	far_stack_new(&st, &ss, sp, false, cpl, (ss_sel & SEL_MASK) | d->ext);
	for (unsigned i = 0; v86 && i < ARRAY_SIZE(pushed); i++)
		far_push(v, &st, d->size, v->s.seg[pushed[i]].sel);
	push_old_stack(v, d, &st);
	push_frame(v, d, &st);
	seg_check_rip(v, d->code, d->rip, d->ext);
	st.ss = seg_from_descriptor(ss_sel, seg_mark_accessed(v, ss_sel, desc));
	enter_handler(v, d, &st, cpl);
	for (unsigned i = 0; v86 && i < ARRAY_SIZE(pushed); i++)
		v->s.seg[pushed[i]] = seg_null(0, 0);
}

/* A task gate: the error code goes to the new task's stack (6.12.2). */
static void enter_task(struct vcpu *v, const struct delivery *d, uint64_t gate)
{
	task_switch_gate(v, gate, TASK_EVENT, d->flags, d->ev->return_rip, d->ext);
	if (d->ev->has_err)
		stack_push(v, (SEG_TYPE(v->s.tr.attr) & 8) ? 4 : 2, d->ev->err);
	note_delivered(v, d->ev);
}

void event_deliver(struct vcpu *v, const struct event *ev)
{
	struct delivery d = { .ev = ev, .ext = ev->type != EVENT_SOFT, .flags = flags_image(v, ev) };
	uint64_t gate;

	if (!(v->s.cr0 & CR0_PE)) {
		deliver_real(v, ev, d.ext);
		return;
	}
	gate = read_gate(v, &d);
	if (desc_type(gate) == SYS_TASK_GATE) {
		enter_task(v, &d, gate);
		return;
	}
	read_code(v, &d);
	if (x86_long_mode(&v->s))
		enter_long(v, &d);
	else if (!desc_is_conforming(d.code) && desc_dpl(d.code) < v->s.cpl)
		enter_inner(v, &d);
	else
		enter_same(v, &d);
}

/* -- INT n ------------------------------------------------------------------------------------- */

#define TSS_IOMAP      102 /* offset of the I/O map base */
#define TSS32_MIN      0x67
#define REDIRECT_BYTES 32  /* the redirection bitmap stands right below the I/O map (20.3.3) */

/* The vector's bit in the interrupt redirection bitmap: set means protected-mode handler. */
static bool redirected_to_monitor(struct vcpu *v, uint8_t vector)
{
	const struct x86_seg *tr = &v->s.tr;
	uint32_t off;

	if (!(SEG_TYPE(tr->attr) & 8) || tr->limit < TSS32_MIN)
		GP0(v);
	off = (uint32_t)interp_load(v, (uint32_t)(tr->base + TSS_IOMAP), 2, MMU_KERNEL);
	if (off < REDIRECT_BYTES)
		GP0(v);
	off += vector / 8u - REDIRECT_BYTES;
	if (off > tr->limit)
		GP0(v);
	return (interp_load(v, (uint32_t)(tr->base + off), 1, MMU_KERNEL) >> (vector % 8u)) & 1;
}

/* To the 8086 program's own handler; below IOPL 3 VIF stands for IF (20.3.3.4, methods 5 and 6). */
static void int_n_redirected(struct vcpu *v, const struct event *ev)
{
	uint64_t flags = v->s.rflags, off = FL_TF | FL_RF | FL_IF;

	if ((flags & FL_IOPL) != FL_IOPL) {
		flags = (flags & ~FL_IF) | FL_IOPL | ((flags & FL_VIF) ? FL_IF : 0);
		off = FL_TF | FL_RF | FL_VIF;
	}
	through_ivt(v, ev, ev->vector * 4u, flags, off, 0);
}

void event_int_n(struct vcpu *v, uint8_t vector)
{
	struct event ev = { .type = EVENT_SOFT, .vector = vector, .return_rip = interp_next_rip(v) };

	if (x86_v86(&v->s)) {
		if ((v->s.cr4 & CR4_VME) && !redirected_to_monitor(v, vector)) {
			int_n_redirected(v, &ev);
			return;
		}
		if ((v->s.rflags & FL_IOPL) != FL_IOPL)
			GP0(v);
	}
	event_deliver(v, &ev);
}
