/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hardware task switches with 16- and 32-bit TSSs, and the stacks that a TSS names (SDM vol. 3, ch. 7). */
#include "base/endian.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/task.h"

/* Layouts, SDM vol. 3, figures 7-2 (32 bits), 7-10 (16 bits) and 7-11 (64 bits). */
#define TSS_LINK      0
#define TSS32_ESP0    4
#define TSS32_CR3     28
#define TSS32_EIP     32
#define TSS32_EFLAGS  36
#define TSS32_EAX     40
#define TSS32_ES      72
#define TSS32_LDT     96
#define TSS32_T       100
#define TSS32_SIZE    104
#define TSS16_SP0     2
#define TSS16_IP      14
#define TSS16_FLAGS   16
#define TSS16_AX      18
#define TSS16_ES      34
#define TSS16_LDT     42
#define TSS16_SIZE    44
#define TSS64_RSP0    4
#define TSS64_IST1    36

/* The local breakpoint enables L0-L3 and LE, which a task switch clears (7.3, 17.2.4). */
#define DR7_LOCAL 0x155ull

/* The new task as read from its TSS. */
struct task {
	uint32_t cr3, eip, eflags, gpr[8];
	uint16_t seg[SEG_COUNT], ldt; /* ES, CS, SS, DS, FS, GS */
	bool trap;
};

static bool is_32bit(unsigned type)
{
	return type & 8;
}

static uint64_t tss_la(const struct vcpu *v, uint64_t base, unsigned off)
{
	return x86_long_mode(&v->s) ? base + off : (uint32_t)(base + off);
}

/* -- Stacks ------------------------------------------------------------------------------------ */

static uint64_t checked_la(struct vcpu *v, unsigned off, unsigned len, uint32_t ext)
{
	if (off + len - 1 > v->s.tr.limit)
		interp_raise_err(v, X86_TS, (v->s.tr.sel & SEL_MASK) | ext);
	return tss_la(v, v->s.tr.base, off);
}

void tss_inner_stack(struct vcpu *v, unsigned cpl, uint16_t *ss, uint32_t *sp, uint32_t ext)
{
	uint64_t la;

	if (is_32bit(SEG_TYPE(v->s.tr.attr))) {
		la = checked_la(v, TSS32_ESP0 + cpl * 8, 6, ext);
		*sp = (uint32_t)interp_load(v, la, 4, MMU_KERNEL);
		*ss = (uint16_t)interp_load(v, tss_la(v, la, 4), 2, MMU_KERNEL);
	} else {
		la = checked_la(v, TSS16_SP0 + cpl * 4, 4, ext);
		*sp = (uint32_t)interp_load(v, la, 2, MMU_KERNEL);
		*ss = (uint16_t)interp_load(v, tss_la(v, la, 2), 2, MMU_KERNEL);
	}
}

uint64_t tss_rsp(struct vcpu *v, unsigned cpl, uint32_t ext)
{
	return interp_load(v, checked_la(v, TSS64_RSP0 + cpl * 8, 8, ext), 8, MMU_KERNEL);
}

uint64_t tss_ist(struct vcpu *v, unsigned ist, uint32_t ext)
{
	return interp_load(v, checked_la(v, TSS64_IST1 + (ist - 1) * 8, 8, ext), 8, MMU_KERNEL);
}

/* -- The old task: saved ----------------------------------------------------------------------- */

/* What save_task() writes must be writable before anything changes. */
static void probe_old(struct vcpu *v, uint32_t ext)
{
	bool big = is_32bit(SEG_TYPE(v->s.tr.attr));
	unsigned first = big ? TSS32_EIP : TSS16_IP;
	unsigned end = big ? TSS32_LDT : TSS16_LDT;
	uint64_t la;

	interp_probe(v, checked_la(v, first, end - first, ext), end - first, ACCESS_WRITE, MMU_KERNEL);
	if (seg_descriptor_la(v, v->s.tr.sel, 8, &la))
		interp_probe(v, tss_la(v, la, 5), 1, ACCESS_WRITE, MMU_KERNEL);
}

static void save32(struct vcpu *v, uint64_t flags, uint64_t rip)
{
	uint8_t buf[TSS32_LDT - TSS32_EIP];

	/* The upper halves of the selector slots are reserved and left alone by a load of what is there. */
	interp_load_buf(v, tss_la(v, v->s.tr.base, TSS32_EIP), buf, sizeof(buf), MMU_KERNEL);
	put_le32(buf, (uint32_t)rip);
	put_le32(buf + (TSS32_EFLAGS - TSS32_EIP), (uint32_t)flags);
	for (unsigned i = 0; i < 8; i++)
		put_le32(buf + (TSS32_EAX - TSS32_EIP) + i * 4, (uint32_t)v->s.gpr[i]);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		put_le16(buf + (TSS32_ES - TSS32_EIP) + i * 4, v->s.seg[i].sel);
	interp_store_buf(v, tss_la(v, v->s.tr.base, TSS32_EIP), buf, sizeof(buf), MMU_KERNEL);
}

static void save16(struct vcpu *v, uint64_t flags, uint64_t rip)
{
	uint8_t buf[TSS16_LDT - TSS16_IP];

	put_le16(buf, (uint16_t)rip);
	put_le16(buf + (TSS16_FLAGS - TSS16_IP), (uint16_t)flags);
	for (unsigned i = 0; i < 8; i++)
		put_le16(buf + (TSS16_AX - TSS16_IP) + i * 2, (uint16_t)v->s.gpr[i]);
	for (unsigned i = 0; i < 4; i++)
		put_le16(buf + (TSS16_ES - TSS16_IP) + i * 2, v->s.seg[i].sel);
	interp_store_buf(v, tss_la(v, v->s.tr.base, TSS16_IP), buf, sizeof(buf), MMU_KERNEL);
}

static void save_task(struct vcpu *v, uint64_t flags, uint64_t rip)
{
	if (is_32bit(SEG_TYPE(v->s.tr.attr)))
		save32(v, flags, rip);
	else
		save16(v, flags, rip);
}

/* -- The new task: read ------------------------------------------------------------------------ */

static void read32(struct vcpu *v, uint64_t base, struct task *t)
{
	uint8_t buf[TSS32_SIZE];

	interp_load_buf(v, base, buf, sizeof(buf), MMU_KERNEL);
	t->cr3 = get_le32(buf + TSS32_CR3);
	t->eip = get_le32(buf + TSS32_EIP);
	t->eflags = get_le32(buf + TSS32_EFLAGS);
	for (unsigned i = 0; i < 8; i++)
		t->gpr[i] = get_le32(buf + TSS32_EAX + i * 4);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		t->seg[i] = get_le16(buf + TSS32_ES + i * 4);
	t->ldt = get_le16(buf + TSS32_LDT);
	t->trap = get_le16(buf + TSS32_T) & 1;
}

/* A 16-bit task has no CR3, FS, GS nor upper halves: these become null and all ones. */
static void read16(struct vcpu *v, uint64_t base, struct task *t)
{
	uint8_t buf[TSS16_SIZE];

	interp_load_buf(v, base, buf, sizeof(buf), MMU_KERNEL);
	*t = (struct task){ .eip = get_le16(buf + TSS16_IP), .eflags = get_le16(buf + TSS16_FLAGS) };
	for (unsigned i = 0; i < 8; i++)
		t->gpr[i] = 0xffff0000u | get_le16(buf + TSS16_AX + i * 2);
	for (unsigned i = 0; i < 4; i++)
		t->seg[i] = get_le16(buf + TSS16_ES + i * 2);
	t->ldt = get_le16(buf + TSS16_LDT);
}

/* -- The new task: loaded ---------------------------------------------------------------------- */

/* Everything that cannot fault. The segments stand there by selector only until they are checked. */
static void load_registers(struct vcpu *v, const struct task *t, bool nested)
{
	uint64_t flags = t->eflags | (nested ? FL_NT : 0);
	bool v86 = t->eflags & FL_VM;

	v->s.rip = t->eip;
	interp_set_next_rip(v, t->eip);
	for (unsigned i = 0; i < 8; i++)
		v->s.gpr[i] = t->gpr[i];
	v->s.cpl = v86 ? 3 : (uint8_t)SEL_RPL(t->seg[SEG_CS]);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		v->s.seg[i] = v86 ? seg_v86(t->seg[i]) : seg_null(t->seg[i], v->s.cpl);
	v->s.ldtr = seg_null(t->ldt, 0);
	v->s.cr0 |= CR0_TS;
	v->s.dr[7] &= ~DR7_LOCAL;
	interp_set_flags(v, flags, FL_DEFINED);
	interp_mode_changed(v);
}

static void load_ldt(struct vcpu *v, uint16_t sel, uint32_t ext)
{
	uint32_t err = (sel & SEL_MASK) | ext;
	uint64_t d;

	if (sel_is_null(sel))
		return;
	if (sel & SEL_TI)
		interp_raise_err(v, X86_TS, err);
	d = seg_read_descriptor_err(v, sel, X86_TS, err);
	if (!desc_is_system(d) || desc_type(d) != SYS_LDT || !desc_present(d))
		interp_raise_err(v, X86_TS, err);
	v->s.ldtr = seg_from_descriptor(sel, d);
}

static void load_cs(struct vcpu *v, uint16_t sel, uint32_t ext)
{
	uint32_t err = (sel & SEL_MASK) | ext;
	uint64_t d;

	if (sel_is_null(sel))
		interp_raise_err(v, X86_TS, err);
	d = seg_read_descriptor_err(v, sel, X86_TS, err);
	if (!desc_is_code(d) ||
	    (desc_is_conforming(d) ? desc_dpl(d) > SEL_RPL(sel) : desc_dpl(d) != SEL_RPL(sel)))
		interp_raise_err(v, X86_TS, err);
	if (!desc_present(d))
		interp_raise_err(v, X86_NP, err);
	seg_set_cs(v, sel, seg_mark_accessed(v, sel, d), SEL_RPL(sel));
}

static void load_data(struct vcpu *v, enum x86_segreg seg, uint16_t sel, uint32_t ext)
{
	uint32_t err = (sel & SEL_MASK) | ext;
	uint64_t d;

	if (sel_is_null(sel))
		return;
	d = seg_read_descriptor_err(v, sel, X86_TS, err);
	if (!desc_is_readable(d) ||
	    (!desc_is_conforming(d) && (desc_dpl(d) < v->s.cpl || desc_dpl(d) < SEL_RPL(sel))))
		interp_raise_err(v, X86_TS, err);
	if (!desc_present(d))
		interp_raise_err(v, X86_NP, err);
	v->s.seg[seg] = seg_from_descriptor(sel, seg_mark_accessed(v, sel, d));
}

/* Faults here are the new task's (SDM vol. 3, table 7-1). */
static void load_segments(struct vcpu *v, const struct task *t, uint32_t ext)
{
	uint16_t ss = t->seg[SEG_SS];
	uint64_t d;

	load_ldt(v, t->ldt, ext);
	if (!(t->eflags & FL_VM)) {
		load_cs(v, t->seg[SEG_CS], ext);
		d = seg_check_ss(v, ss, v->s.cpl, X86_TS, ext);
		v->s.seg[SEG_SS] = seg_from_descriptor(ss, seg_mark_accessed(v, ss, d));
		load_data(v, SEG_ES, t->seg[SEG_ES], ext);
		load_data(v, SEG_DS, t->seg[SEG_DS], ext);
		load_data(v, SEG_FS, t->seg[SEG_FS], ext);
		load_data(v, SEG_GS, t->seg[SEG_GS], ext);
	}
	interp_mode_changed(v);
	if (t->eip > v->s.seg[SEG_CS].limit)
		interp_raise_err(v, X86_GP, ext);
}

/* -- The switch -------------------------------------------------------------------------------- */

/* All of the new TSS that is touched must be there before anything changes. */
static void probe_new(struct vcpu *v, uint16_t sel, uint64_t desc, bool nested, uint32_t ext)
{
	bool big = is_32bit(desc_type(desc));
	uint64_t base = desc_base(desc), la;

	if (desc_limit(desc) < (big ? TSS32_SIZE : TSS16_SIZE) - 1)
		interp_raise_err(v, X86_TS, (sel & SEL_MASK) | ext);
	interp_probe(v, base, big ? TSS32_SIZE : TSS16_SIZE, ACCESS_READ, MMU_KERNEL);
	if (nested)
		interp_probe(v, base + TSS_LINK, 2, ACCESS_WRITE, MMU_KERNEL);
	if (seg_descriptor_la(v, sel, 8, &la))
		interp_probe(v, tss_la(v, la, 5), 1, ACCESS_WRITE, MMU_KERNEL);
}

void task_switch(struct vcpu *v, uint16_t sel, uint64_t desc, enum task_reason why, uint64_t flags,
		 uint64_t return_rip, uint32_t ext)
{
	bool nested = why == TASK_CALL || why == TASK_EVENT;
	uint64_t base = desc_base(desc);
	struct task t;
	int rc;

	probe_new(v, sel, desc, nested, ext);
	probe_old(v, ext);

	if (!nested)
		seg_set_busy(v, v->s.tr.sel, false);
	save_task(v, why == TASK_IRET ? flags & ~FL_NT : flags, return_rip);
	if (nested)
		interp_store(v, base + TSS_LINK, 2, v->s.tr.sel, MMU_KERNEL);
	if (why != TASK_IRET)
		seg_set_busy(v, sel, true);
	if (is_32bit(desc_type(desc)))
		read32(v, base, &t);
	else
		read16(v, base, &t);
	v->s.tr = seg_from_descriptor(sel, desc);
	v->s.tr.attr |= 2; /* busy */

	/* The point of no return. */
	load_registers(v, &t, nested);
	if (is_32bit(desc_type(desc)) && (v->s.cr0 & CR0_PG)) {
		rc = vcpu_set_cr3(v, t.cr3);
		if (rc)
			interp_raise_err(v, (enum x86_vector)rc, ext);
	}
	if (t.trap)
		interp_debug_trap(v, DR6_BT);
	load_segments(v, &t, ext);
}

void task_switch_gate(struct vcpu *v, uint64_t gate, enum task_reason why, uint64_t flags,
		      uint64_t return_rip, uint32_t ext)
{
	uint16_t sel = (uint16_t)(gate >> 16);
	uint32_t err = (sel & SEL_MASK) | ext;
	uint64_t d;

	if (sel & SEL_TI)
		interp_raise_err(v, X86_GP, err);
	d = seg_read_descriptor_err(v, sel, X86_GP, err);
	if (!desc_is_system(d) || (desc_type(d) != SYS_TSS16 && desc_type(d) != SYS_TSS32))
		interp_raise_err(v, X86_GP, err);
	if (!desc_present(d))
		interp_raise_err(v, X86_NP, err);
	task_switch(v, sel, d, why, flags, return_rip, ext);
}

void task_return(struct vcpu *v, uint64_t return_rip)
{
	uint16_t sel = (uint16_t)interp_load(v, v->s.tr.base + TSS_LINK, 2, MMU_KERNEL);
	uint32_t err = sel & SEL_MASK;
	uint64_t d;

	if (sel & SEL_TI)
		interp_raise_err(v, X86_TS, err);
	d = seg_read_descriptor_err(v, sel, X86_TS, err);
	if (!desc_is_system(d) || (desc_type(d) != SYS_TSS16_BUSY && desc_type(d) != SYS_TSS32_BUSY))
		interp_raise_err(v, X86_TS, err);
	if (!desc_present(d))
		interp_raise_err(v, X86_NP, err);
	task_switch(v, sel, d, TASK_IRET, v->s.rflags, return_rip, 0);
}
