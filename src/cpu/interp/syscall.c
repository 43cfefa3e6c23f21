/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SYSCALL, SYSRET, SYSENTER and SYSEXIT (SDM vol. 2; APM vol. 3).
 *
 * The vendors differ, and the guest sees the one that its CPUID names:
 *   SYSCALL, SYSRET    Intel: 64-bit mode only. AMD: every protected mode (STAR[31:0], CSTAR).
 *   SYSENTER, SYSEXIT  Intel: every protected mode. AMD: not in IA-32e mode (#UD).
 *   SYSRET to a non-canonical RCX  Intel: #GP(0) in ring 0. AMD: the fetch faults in ring 3.
 * Not modelled: AMD's SYSRET leaves SS base, limit and attributes as they were; here they are the flat ones.
 */
#include "cpu/interp/seg.h"
#include "cpu/interp/sysregs.h"

#define TYPE_CODE (SEG_CODE | SEG_RW | SEG_ACCESSED)
#define TYPE_DATA (SEG_RW | SEG_ACCESSED)

static bool amd(const struct vcpu *v)
{
	return cpuid_vendor_is_amd(v->cpuid);
}

/* Both segments flat, CS with RPL and DPL cpl; then RIP and the mode. */
static void enter(struct vcpu *v, uint16_t cs, uint16_t ss, unsigned cpl, bool long64, uint64_t rip)
{
	cs = (uint16_t)((cs & SEL_MASK) | cpl);
	ss = (uint16_t)((ss & SEL_MASK) | cpl);
	v->s.seg[SEG_CS] = seg_flat(cs, TYPE_CODE, cpl, long64 ? SEG_L : SEG_DB);
	v->s.seg[SEG_SS] = seg_flat(ss, TYPE_DATA, cpl, SEG_DB);
	v->s.cpl = (uint8_t)cpl;
	interp_set_next_rip(v, long64 ? rip : (uint32_t)rip);
	interp_mode_changed(v);
}

static void check_syscall(struct vcpu *v)
{
	if (!(v->s.efer & EFER_SCE) || x86_real_like(&v->s) || (!x86_64bit(&v->s) && !amd(v)))
		interp_raise(v, X86_UD);
}

void insn_syscall(struct vcpu *v, const struct insn *in)
{
	uint64_t star = v->s.msr.star, next = interp_next_rip(v), target;
	uint16_t cs = (uint16_t)(star >> 32);

	check_syscall(v);
	if (!x86_long_mode(&v->s)) {
		gpr_write(v, R_CX, 4, next);
		interp_set_flags(v, 0, FL_VM | FL_IF | FL_RF);
		enter(v, cs, (uint16_t)(cs + 8), 0, false, (uint32_t)star);
		return;
	}
	target = x86_64bit(&v->s) ? v->s.msr.lstar : v->s.msr.cstar;
	v->s.gpr[R_CX] = next;
	v->s.gpr[R_11] = v->s.rflags & ~FL_RF;
	interp_set_flags(v, 0, (v->s.msr.sfmask & UINT32_MAX) | FL_RF | FL_VM);
	enter(v, cs, (uint16_t)((cs & SEL_MASK) + 8), 0, true, target);
}

void insn_sysret(struct vcpu *v, const struct insn *in)
{
	uint16_t base = (uint16_t)(v->s.msr.star >> 48) & SEL_MASK;
	bool to64 = in->osize == 8;

	check_syscall(v);
	require_cpl0(v);
	if (to64 && !amd(v) && !x86_canonical(&v->s, v->s.gpr[R_CX]))
		GP0(v);
	if (x86_long_mode(&v->s))
		interp_set_flags(v, v->s.gpr[R_11], FL_DEFINED & ~(FL_RF | FL_VM));
	else
		interp_set_flags(v, FL_IF, FL_IF | FL_VM | FL_RF);
	enter(v, to64 ? base + 16 : base, (uint16_t)(base + 8), 3, to64, v->s.gpr[R_CX]);
}

static void check_sysenter(struct vcpu *v)
{
	if (amd(v) && x86_long_mode(&v->s))
		interp_raise(v, X86_UD);
	if (!(v->s.cr0 & CR0_PE) || sel_is_null((uint16_t)v->s.msr.sysenter_cs))
		GP0(v);
}

void insn_sysenter(struct vcpu *v, const struct insn *in)
{
	uint16_t cs = (uint16_t)v->s.msr.sysenter_cs & SEL_MASK;
	bool lm = x86_long_mode(&v->s);

	check_sysenter(v);
	interp_set_flags(v, 0, FL_VM | FL_IF | FL_RF);
	v->s.gpr[R_SP] = lm ? v->s.msr.sysenter_esp : (uint32_t)v->s.msr.sysenter_esp;
	enter(v, cs, (uint16_t)(cs + 8), 0, lm, v->s.msr.sysenter_eip);
}

/* User segments stand behind the kernel's: 16 and 24 on for 32 bits, 32 and 40 on for 64. */
void insn_sysexit(struct vcpu *v, const struct insn *in)
{
	uint16_t base = (uint16_t)v->s.msr.sysenter_cs & SEL_MASK;
	uint64_t rsp = v->s.gpr[R_CX], rip = v->s.gpr[R_DX];
	bool to64 = in->osize == 8;

	require_cpl0(v);
	check_sysenter(v);
	if (to64 && (!x86_canonical(&v->s, rsp) || !x86_canonical(&v->s, rip)))
		GP0(v);
	v->s.gpr[R_SP] = to64 ? rsp : (uint32_t)rsp;
	enter(v, (uint16_t)(base + (to64 ? 32 : 16)), (uint16_t)(base + (to64 ? 40 : 24)), 3, to64, rip);
}
