/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Far transfers: CALL, JMP, RET, IRET, INT and their kin (SDM vol. 2; vol. 3, 5.8). The checks stand in the
 * order of SDM vol. 2's pseudo-code, and all of them before the first change.
 */
#include "base/endian.h"
#include "cpu/interp/event.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/task.h"

#define GATE_PARAMS 0x1fu /* parameter count of a call gate */

static bool privileged_for_io(const struct vcpu *v)
{
	return v->s.cpl <= bits_of(v->s.rflags, 13, 12);
}

/* Go to CS:rip with the stack pointer given. */
static void arrive(struct vcpu *v, uint16_t sel, uint64_t desc, unsigned cpl, uint64_t rip, uint64_t rsp)
{
	seg_set_cs(v, sel, desc, cpl);
	v->s.gpr[R_SP] = rsp;
	interp_set_next_rip(v, rip);
	interp_mode_changed(v);
}

/* -- CALL and JMP ------------------------------------------------------------------------------ */

struct target {
	uint16_t sel;
	uint64_t off;
};

static struct target direct_target(const struct insn *in)
{
	return (struct target){ .sel = in->imm2, .off = (uint64_t)in->imm & size_mask(in->osize) };
}

/* m16:16, m16:32, m16:64; AMD knows no m16:64: with REX.W its offset has 32 bits (APM vol. 3, CALL far). */
static struct target indirect_target(struct vcpu *v, const struct insn *in)
{
	unsigned size = in->osize == 8 && cpuid_vendor_is_amd(v->cpuid) ? 4 : in->osize;
	uint64_t la = insn_la(v, in, size + 2, ACCESS_READ);
	uint8_t buf[10] = { 0 };
	struct target t;

	interp_load_buf(v, la, buf, size + 2, interp_mmu_mode(v));
	t.off = size == 2 ? get_le16(buf) : size == 4 ? get_le32(buf) : get_le64(buf);
	t.sel = get_le16(buf + size);
	return t;
}

static void real_transfer(struct vcpu *v, const struct insn *in, struct target t, bool call)
{
	struct far_stack st;

	far_stack_current(v, &st, 0);
	if (call) {
		far_push(v, &st, in->osize, v->s.seg[SEG_CS].sel);
		far_push(v, &st, in->osize, interp_next_rip(v));
	}
	if (t.off > v->s.seg[SEG_CS].limit)
		GP0(v);
	far_stack_commit(v, &st);
	v->s.gpr[R_SP] = st.sp;
	seg_load_real(v, SEG_CS, t.sel);
	interp_set_next_rip(v, t.off);
	interp_mode_changed(v);
}

/* A code segment at the same privilege. */
static void to_code(struct vcpu *v, const struct insn *in, struct target t, uint64_t d, bool call)
{
	uint32_t err = t.sel & SEL_MASK;
	struct far_stack st;

	if (!desc_is_code(d) || seg_bad_long(v, d))
		interp_raise_err(v, X86_GP, err);
	if (desc_is_conforming(d) ? desc_dpl(d) > v->s.cpl
				  : SEL_RPL(t.sel) > v->s.cpl || desc_dpl(d) != v->s.cpl)
		interp_raise_err(v, X86_GP, err);
	if (!desc_present(d))
		interp_raise_err(v, X86_NP, err);
	far_stack_current(v, &st, 0);
	if (cpuid_vendor_is_amd(v->cpuid)) /* their processors push by the rules of the mode that is called */
		far_stack_set_width(&st, seg_is_64bit(v, d));
	if (call) {
		far_push(v, &st, in->osize, v->s.seg[SEG_CS].sel);
		far_push(v, &st, in->osize, interp_next_rip(v));
	}
	seg_check_rip(v, d, t.off, 0);
	d = seg_mark_accessed(v, t.sel, d);
	far_stack_commit(v, &st);
	arrive(v, t.sel, d, v->s.cpl, t.off, st.sp);
}

/* What a call gate leads to. */
struct gate_call {
	uint16_t sel;
	uint64_t code, off;
	unsigned size;   /* of a pushed item */
	unsigned params;
};

/* A more privileged code segment: the stack comes from the TSS, parameters are copied (vol. 3, 5.8.5). */
static void gate_to_inner(struct vcpu *v, const struct gate_call *g)
{
	unsigned cpl = desc_dpl(g->code);
	bool lm = x86_long_mode(&v->s);
	uint64_t rsp, ss_desc = 0, code;
	struct far_stack st;
	struct x86_seg ss;
	uint16_t ss_sel = (uint16_t)cpl;
	uint32_t sp;

	if (lm) {
		rsp = tss_rsp(v, cpl, 0);
		ss = seg_null(ss_sel, cpl);
	} else {
		tss_inner_stack(v, cpl, &ss_sel, &sp, 0);
		rsp = sp;
		ss_desc = seg_check_ss(v, ss_sel, cpl, X86_TS, 0);
		ss = seg_from_descriptor(ss_sel, ss_desc);
	}
	far_stack_new(&st, &ss, rsp, lm, cpl, lm ? 0 : ss_sel & SEL_MASK);
	far_push(v, &st, g->size, v->s.seg[SEG_SS].sel);
	far_push(v, &st, g->size, v->s.gpr[R_SP]);
	for (unsigned i = g->params; i-- > 0;)
		far_push(v, &st, g->size, stack_peek(v, (int64_t)i * g->size, g->size));
	far_push(v, &st, g->size, v->s.seg[SEG_CS].sel);
	far_push(v, &st, g->size, interp_next_rip(v));
	seg_check_rip(v, g->code, g->off, 0);
	if (!lm)
		st.ss = seg_from_descriptor(ss_sel, seg_mark_accessed(v, ss_sel, ss_desc));
	code = seg_mark_accessed(v, g->sel, g->code);
	far_stack_commit(v, &st);
	v->s.seg[SEG_SS] = st.ss;
	arrive(v, g->sel, code, cpl, g->off, st.sp);
}

static void gate_to_same(struct vcpu *v, const struct gate_call *g, bool call)
{
	struct far_stack st;
	uint64_t code;

	far_stack_current(v, &st, 0);
	if (call) {
		far_push(v, &st, g->size, v->s.seg[SEG_CS].sel);
		far_push(v, &st, g->size, interp_next_rip(v));
	}
	seg_check_rip(v, g->code, g->off, 0);
	code = seg_mark_accessed(v, g->sel, g->code);
	far_stack_commit(v, &st);
	arrive(v, g->sel, code, v->s.cpl, g->off, st.sp);
}

static void read_call_gate(struct vcpu *v, uint16_t sel, uint64_t d, struct gate_call *g)
{
	uint64_t upper = 0;
	bool lm = x86_long_mode(&v->s);
	uint32_t err = sel & SEL_MASK;

	if (lm) {
		upper = seg_read_upper(v, sel, X86_GP, err);
		/* The type field of the upper half has to be 0 (vol. 3, 5.8.3.1). */
		if (bits_of(upper, 44, 40))
			interp_raise_err(v, X86_GP, err);
	}
	if (desc_dpl(d) < v->s.cpl || desc_dpl(d) < SEL_RPL(sel))
		interp_raise_err(v, X86_GP, err);
	if (!desc_present(d))
		interp_raise_err(v, X86_NP, err);
	g->sel = (uint16_t)(d >> 16);
	g->size = lm ? 8 : desc_type(d) == SYS_CALL32 ? 4 : 2;
	g->params = lm ? 0 : (unsigned)(d >> 32) & GATE_PARAMS;
	g->off = d & 0xffff;
	if (g->size >= 4)
		g->off |= (d >> 32) & 0xffff0000;
	g->off |= upper << 32;
}

static void through_call_gate(struct vcpu *v, uint16_t sel, uint64_t d, bool call)
{
	struct gate_call g;
	uint32_t err;
	bool inner;

	read_call_gate(v, sel, d, &g);
	if (sel_is_null(g.sel))
		GP0(v);
	err = g.sel & SEL_MASK;
	g.code = seg_read_descriptor(v, g.sel, X86_GP);
	if (!desc_is_code(g.code) || desc_dpl(g.code) > v->s.cpl)
		interp_raise_err(v, X86_GP, err);
	if (x86_long_mode(&v->s) && (!desc_is_64bit(g.code) || desc_is_big(g.code)))
		interp_raise_err(v, X86_GP, err);
	inner = !desc_is_conforming(g.code) && desc_dpl(g.code) < v->s.cpl;
	if (!call && inner)
		interp_raise_err(v, X86_GP, err);
	if (!desc_present(g.code))
		interp_raise_err(v, X86_NP, err);
	if (inner)
		gate_to_inner(v, &g);
	else
		gate_to_same(v, &g, call);
}

/* A task gate or a TSS: privilege is that of a data access (vol. 3, 7.3). */
static void to_task(struct vcpu *v, uint16_t sel, uint64_t d, bool call)
{
	enum task_reason why = call ? TASK_CALL : TASK_JMP;
	uint64_t next = interp_next_rip(v);
	uint32_t err = sel & SEL_MASK;

	if (desc_dpl(d) < v->s.cpl || desc_dpl(d) < SEL_RPL(sel))
		interp_raise_err(v, X86_GP, err);
	if (desc_type(d) != SYS_TASK_GATE && (sel & SEL_TI))
		interp_raise_err(v, X86_GP, err);
	if (!desc_present(d))
		interp_raise_err(v, X86_NP, err);
	if (desc_type(d) == SYS_TASK_GATE)
		task_switch_gate(v, d, why, v->s.rflags, next, 0);
	else
		task_switch(v, sel, d, why, v->s.rflags, next, 0);
}

static void transfer(struct vcpu *v, const struct insn *in, struct target t, bool call)
{
	uint64_t d;

	if (x86_real_like(&v->s)) {
		real_transfer(v, in, t, call);
		return;
	}
	if (sel_is_null(t.sel))
		GP0(v);
	d = seg_read_descriptor(v, t.sel, X86_GP);
	if (!desc_is_system(d)) {
		to_code(v, in, t, d, call);
		return;
	}
	if (desc_type(d) == SYS_CALL32 || (desc_type(d) == SYS_CALL16 && !x86_long_mode(&v->s)))
		through_call_gate(v, t.sel, d, call);
	else if (!x86_long_mode(&v->s) && (desc_type(d) == SYS_TASK_GATE || desc_type(d) == SYS_TSS16 ||
					   desc_type(d) == SYS_TSS32))
		to_task(v, t.sel, d, call);
	else
		interp_raise_err(v, X86_GP, t.sel & SEL_MASK);
}

static void insn_call_direct(struct vcpu *v, const struct insn *in)
{
	transfer(v, in, direct_target(in), true);
}

static void insn_call_indirect(struct vcpu *v, const struct insn *in)
{
	transfer(v, in, indirect_target(v, in), true);
}

static void insn_jmp_direct(struct vcpu *v, const struct insn *in)
{
	transfer(v, in, direct_target(in), false);
}

static void insn_jmp_indirect(struct vcpu *v, const struct insn *in)
{
	transfer(v, in, indirect_target(v, in), false);
}

void far_bind_call(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	in->fn = (in->flags & INSN_RM_IS_MEM) ? insn_call_indirect : insn_call_direct;
}

void far_bind_jmp(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	in->fn = (in->flags & INSN_RM_IS_MEM) ? insn_jmp_indirect : insn_jmp_direct;
}

/* -- RET and IRET ------------------------------------------------------------------------------ */

/* A return under way: RET or IRET, same or outer level. */
struct far_return {
	uint16_t sel;      /* CS */
	uint64_t rip;
	uint64_t code;     /* its descriptor */
	unsigned size;     /* of a popped item */
	unsigned frame;    /* bytes from RSP up to the outer RSP and SS */
	unsigned release;  /* RET n: bytes to drop on both stacks */
};

static void check_return_code(struct vcpu *v, struct far_return *r)
{
	uint32_t err = r->sel & SEL_MASK;
	unsigned rpl = SEL_RPL(r->sel);

	if (sel_is_null(r->sel))
		GP0(v);
	r->code = seg_read_descriptor(v, r->sel, X86_GP);
	if (!desc_is_code(r->code) || seg_bad_long(v, r->code) || rpl < v->s.cpl)
		interp_raise_err(v, X86_GP, err);
	if (desc_is_conforming(r->code) ? desc_dpl(r->code) > rpl : desc_dpl(r->code) != rpl)
		interp_raise_err(v, X86_GP, err);
	if (!desc_present(r->code))
		interp_raise_err(v, X86_NP, err);
}

/* Data segments that the outer level may not use become null (vol. 3, 5.8.6); a 64-bit base stays. */
static void null_inner_segments(struct vcpu *v)
{
	static const enum x86_segreg data[] = { SEG_ES, SEG_FS, SEG_GS, SEG_DS };

	for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
		struct x86_seg *s = &v->s.seg[data[i]];
		bool conforming = (s->attr & SEG_CODE) && (s->attr & SEG_CONF);

		if ((s->attr & SEG_P) && SEG_DPL(s->attr) < v->s.cpl && !conforming) {
			s->sel = 0;
			s->attr = 0;
		}
	}
}

static uint64_t outer_rsp(const struct vcpu *v, const struct far_return *r, uint64_t ss_desc, uint64_t rsp)
{
	rsp += r->release;
	if (seg_is_64bit(v, r->code))
		return rsp;
	if (desc_is_big(ss_desc))
		return (uint32_t)rsp;
	/* A 16-bit stack: bits 31:16 stay what they were in the inner level. */
	return (v->s.gpr[R_SP] & 0xffff0000) | (rsp & 0xffff);
}

/* Pop SS:RSP too, and go out to the level of CS.RPL; in 64-bit mode IRET comes here for the same level also. */
static void return_with_stack(struct vcpu *v, const struct far_return *r)
{
	uint64_t rsp = stack_peek(v, r->frame, r->size), ss_desc = 0, code;
	uint16_t ss = (uint16_t)stack_peek(v, r->frame + r->size, r->size);
	unsigned cpl = SEL_RPL(r->sel), old_cpl = v->s.cpl;
	struct x86_seg seg;

	if (sel_is_null(ss) && seg_is_64bit(v, r->code) && cpl != 3 && SEL_RPL(ss) == cpl) {
		seg = seg_null(ss, cpl);
		seg_check_rip(v, r->code, r->rip, 0);
	} else {
		ss_desc = seg_check_ss(v, ss, cpl, X86_GP, 0);
		seg_check_rip(v, r->code, r->rip, 0);
		ss_desc = seg_mark_accessed(v, ss, ss_desc);
		seg = seg_from_descriptor(ss, ss_desc);
	}
	code = seg_mark_accessed(v, r->sel, r->code);
	rsp = outer_rsp(v, r, ss_desc, rsp);
	v->s.seg[SEG_SS] = seg;
	arrive(v, r->sel, code, cpl, r->rip, rsp);
	if (cpl != old_cpl)
		null_inner_segments(v);
}

static void return_same(struct vcpu *v, const struct far_return *r)
{
	uint64_t code;

	seg_check_rip(v, r->code, r->rip, 0);
	code = seg_mark_accessed(v, r->sel, r->code);
	stack_adjust(v, r->frame);
	arrive(v, r->sel, code, v->s.cpl, r->rip, v->s.gpr[R_SP]);
	stack_adjust(v, r->release); /* by the stack of the mode arrived in */
}

static void insn_ret_far(struct vcpu *v, const struct insn *in)
{
	unsigned size = in->osize, release = in->imm & 0xffff;
	struct far_return r = { .size = size };

	r.rip = stack_peek(v, 0, size);
	r.sel = (uint16_t)stack_peek(v, size, size);
	if (x86_real_like(&v->s)) {
		if (r.rip > v->s.seg[SEG_CS].limit)
			GP0(v);
		stack_adjust(v, 2 * size + release);
		seg_load_real(v, SEG_CS, r.sel);
		interp_set_next_rip(v, r.rip);
		interp_mode_changed(v);
		return;
	}
	check_return_code(v, &r);
	r.release = release;
	r.frame = 2 * size;
	if (SEL_RPL(r.sel) == v->s.cpl) {
		return_same(v, &r);
		return;
	}
	/* The outer SS:RSP stand above the parameters. */
	r.frame += release;
	return_with_stack(v, &r);
}

void far_bind_ret(struct vcpu *v, struct insn *in, const struct decoded *d)
{
	in->fn = insn_ret_far;
}

#define FL_IRET16 (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT)
#define FL_IRET32 (FL_IRET16 | FL_RF | FL_AC | FL_ID)

/* Real mode, and virtual-8086 mode at IOPL 3: three pops. */
static void iret_real(struct vcpu *v, const struct insn *in)
{
	unsigned size = in->osize;
	uint64_t ip = stack_peek(v, 0, size), flags = stack_peek(v, 2 * size, size);
	uint16_t cs = (uint16_t)stack_peek(v, size, size);
	uint64_t mask = size == 2 ? FL_IRET16 : FL_IRET32;

	if (ip > v->s.seg[SEG_CS].limit)
		GP0(v);
	if (x86_v86(&v->s))
		mask &= ~FL_IOPL;
	stack_adjust(v, 3 * size);
	seg_load_real(v, SEG_CS, cs);
	interp_set_next_rip(v, ip);
	interp_set_flags(v, flags, mask);
	interp_mode_changed(v);
}

/* Virtual-8086 mode below IOPL 3: with VME a 16-bit IRET moves IF to VIF (SDM vol. 2, IRET). */
static void iret_v86(struct vcpu *v, const struct insn *in)
{
	uint64_t flags, ip;
	uint16_t cs;

	if ((v->s.rflags & FL_IOPL) == FL_IOPL) {
		iret_real(v, in);
		return;
	}
	if (!(v->s.cr4 & CR4_VME) || in->osize != 2)
		GP0(v);
	ip = stack_peek(v, 0, 2);
	cs = (uint16_t)stack_peek(v, 2, 2);
	flags = stack_peek(v, 4, 2);
	if ((flags & FL_TF) || ((flags & FL_IF) && (v->s.rflags & FL_VIP)))
		GP0(v);
	stack_adjust(v, 6);
	seg_load_real(v, SEG_CS, cs);
	interp_set_next_rip(v, ip);
	interp_set_flags(v, flags | ((flags & FL_IF) ? FL_VIF : 0), (FL_IRET16 & ~(FL_IOPL | FL_IF)) | FL_VIF);
	interp_mode_changed(v);
}

/* From ring 0 to virtual-8086 mode: ESP, SS, ES, DS, FS, GS follow EFLAGS on the stack. */
static void iret_to_v86(struct vcpu *v, uint64_t eip, uint16_t cs, uint64_t flags)
{
	static const enum x86_segreg popped[] = { SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	uint32_t esp = (uint32_t)stack_peek(v, 12, 4);
	uint16_t sel[ARRAY_SIZE(popped)];

	for (unsigned i = 0; i < ARRAY_SIZE(popped); i++)
		sel[i] = (uint16_t)stack_peek(v, 16 + (int64_t)i * 4, 4);
	if (eip > 0xffff)
		GP0(v);
	interp_set_flags(v, flags, FL_DEFINED);
	for (unsigned i = 0; i < ARRAY_SIZE(popped); i++)
		v->s.seg[popped[i]] = seg_v86(sel[i]);
	v->s.seg[SEG_CS] = seg_v86(cs);
	v->s.cpl = 3;
	v->s.gpr[R_SP] = esp;
	interp_set_next_rip(v, eip);
	interp_mode_changed(v);
}

/* What IRET may change, by the privilege it runs with. */
static uint64_t iret_flags_mask(const struct vcpu *v, unsigned size)
{
	uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT;

	if (size >= 4)
		mask |= FL_RF | FL_AC | FL_ID;
	if (privileged_for_io(v))
		mask |= FL_IF;
	if (v->s.cpl == 0)
		mask |= FL_IOPL | (size >= 4 ? FL_VIF | FL_VIP : 0);
	return mask;
}

static void iret_protected(struct vcpu *v, const struct insn *in)
{
	struct far_return r = { .size = in->osize, .frame = 3 * in->osize };
	uint64_t flags, mask = iret_flags_mask(v, in->osize);

	r.rip = stack_peek(v, 0, r.size);
	r.sel = (uint16_t)stack_peek(v, r.size, r.size);
	flags = stack_peek(v, 2 * r.size, r.size);
	if ((flags & FL_VM) && r.size == 4 && v->s.cpl == 0 && !x86_long_mode(&v->s)) {
		iret_to_v86(v, r.rip, r.sel, flags);
		return;
	}
	check_return_code(v, &r);
	if (SEL_RPL(r.sel) != v->s.cpl || x86_64bit(&v->s))
		return_with_stack(v, &r);
	else
		return_same(v, &r);
	interp_set_flags(v, flags, mask);
	interp_mode_changed(v);
}

static void insn_iret(struct vcpu *v, const struct insn *in)
{
	/* IRET unblocks NMIs even if it faults (SDM vol. 3, 6.7.1). */
	v->s.nmi_blocked = false;
	if (x86_v86(&v->s)) {
		iret_v86(v, in);
	} else if (x86_real_like(&v->s)) {
		iret_real(v, in);
	} else if (v->s.rflags & FL_NT) {
		if (x86_long_mode(&v->s))
			GP0(v);
		task_return(v, interp_next_rip(v));
	} else {
		iret_protected(v, in);
	}
}

/* -- Software interrupts ----------------------------------------------------------------------- */

static void soft_event(struct vcpu *v, enum event_type type, uint8_t vector)
{
	struct event ev = { .type = type, .vector = vector, .return_rip = interp_next_rip(v) };

	event_deliver(v, &ev);
}

static void insn_int(struct vcpu *v, const struct insn *in)
{
	event_int_n(v, (uint8_t)in->imm);
}

static void insn_int3(struct vcpu *v, const struct insn *in)
{
	soft_event(v, EVENT_SOFT, X86_BP);
}

static void insn_into(struct vcpu *v, const struct insn *in)
{
	if (v->s.rflags & FL_OF)
		soft_event(v, EVENT_SOFT, X86_OF);
}

static void insn_int1(struct vcpu *v, const struct insn *in)
{
	soft_event(v, EVENT_ICEBP, X86_DB);
}

static void insn_bound(struct vcpu *v, const struct insn *in)
{
	unsigned size = in->osize;
	uint64_t la = insn_la(v, in, size * 2, ACCESS_READ);
	uint8_t buf[8];
	int64_t index = sign_extend(insn_read_reg(v, in, size), size * 8), low, high;

	interp_load_buf(v, la, buf, size * 2, interp_mmu_mode(v));
	low = size == 2 ? (int16_t)get_le16(buf) : (int32_t)get_le32(buf);
	high = size == 2 ? (int16_t)get_le16(buf + 2) : (int32_t)get_le32(buf + 4);
	if (index < low || index > high)
		interp_raise(v, X86_BR);
}

const struct insn_def insns_far[] = {
	{ ZYDIS_MNEMONIC_IRET, insn_iret, NULL },
	{ ZYDIS_MNEMONIC_IRETD, insn_iret, NULL },
	{ ZYDIS_MNEMONIC_IRETQ, insn_iret, NULL },
	{ ZYDIS_MNEMONIC_INT, insn_int, NULL },
	{ ZYDIS_MNEMONIC_INT3, insn_int3, NULL },
	{ ZYDIS_MNEMONIC_INTO, insn_into, NULL },
	{ ZYDIS_MNEMONIC_INT1, insn_int1, NULL },
	{ ZYDIS_MNEMONIC_BOUND, insn_bound, NULL },
	INSN_DEFS_END,
};
