/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Privileged and sensitive instructions beside register loads: flags, TLB, MSRs, CPUID, time stamps, HLT;
 * and the table of them all. MONITOR and MWAIT, VMX, SVM, SMX and RSM do not exist for a guest: #UD.
 */
#include "base/endian.h"
#include "cpu/interp/seg.h"
#include "cpu/interp/sysregs.h"
#include "cpu/msr.h"

static bool iopl_allows(const struct vcpu *v)
{
	return v->s.cpl <= bits_of(v->s.rflags, 13, 12);
}

static void insn_nop(struct vcpu *v, const struct insn *in)
{
}

static void insn_ud(struct vcpu *v, const struct insn *in)
{
	interp_raise(v, X86_UD);
}

/* Caches are coherent and invisible here. */
static void insn_privileged_nop(struct vcpu *v, const struct insn *in)
{
	require_cpl0(v);
}

/* -- EFLAGS ------------------------------------------------------------------------------------ */

/* Whether the virtual interrupt flag stands in for IF: VME below IOPL 3, or PVI in ring 3 (vol. 3, 20.3-20.4). */
static bool virtual_if(const struct vcpu *v)
{
	if (x86_real_like(&v->s))
		return x86_v86(&v->s) && (v->s.cr4 & CR4_VME);
	return v->s.cpl == 3 && (v->s.cr4 & CR4_PVI);
}

static void insn_cli(struct vcpu *v, const struct insn *in)
{
	if (iopl_allows(v))
		interp_set_flags(v, 0, FL_IF);
	else if (virtual_if(v))
		interp_set_flags(v, 0, FL_VIF);
	else
		GP0(v);
}

static void insn_sti(struct vcpu *v, const struct insn *in)
{
	if (iopl_allows(v)) {
		if (!(v->s.rflags & FL_IF))
			v->s.shadow = SHADOW_STI;
		interp_set_flags(v, FL_IF, FL_IF);
	} else if (virtual_if(v) && !(v->s.rflags & FL_VIP)) {
		interp_set_flags(v, FL_VIF, FL_VIF);
	} else {
		GP0(v);
	}
}

static void insn_pushf(struct vcpu *v, const struct insn *in)
{
	uint64_t flags = v->s.rflags & ~(FL_VM | FL_RF);

	if (x86_v86(&v->s) && !iopl_allows(v)) {
		if (!(v->s.cr4 & CR4_VME) || in->osize != 2)
			GP0(v);
		flags = (flags & ~FL_IF) | FL_IOPL | ((flags & FL_VIF) ? FL_IF : 0);
	}
	stack_push(v, in->osize, flags);
}

/* Virtual-8086 mode below IOPL 3 with VME: IF goes to VIF. */
static void popf_vme(struct vcpu *v, const struct insn *in)
{
	uint64_t flags;

	if (!(v->s.cr4 & CR4_VME) || in->osize != 2)
		GP0(v);
	flags = stack_peek(v, 0, 2);
	if ((flags & FL_TF) || ((flags & FL_IF) && (v->s.rflags & FL_VIP)))
		GP0(v);
	stack_adjust(v, 2);
	interp_set_flags(v, flags | ((flags & FL_IF) ? FL_VIF : 0), FL_ARITH | FL_TF | FL_DF | FL_NT | FL_VIF);
}

static void insn_popf(struct vcpu *v, const struct insn *in)
{
	uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT;

	if (x86_v86(&v->s) && !iopl_allows(v)) {
		popf_vme(v, in);
		return;
	}
	if (in->osize >= 4)
		mask |= FL_AC | FL_ID;
	if (iopl_allows(v))
		mask |= FL_IF;
	if (v->s.cpl == 0)
		mask |= FL_IOPL;
	interp_set_flags(v, stack_pop(v, in->osize), mask);
}

/* CLAC and STAC raise #UD, not #GP, above ring 0 (SDM vol. 2). */
static void insn_clac(struct vcpu *v, const struct insn *in)
{
	if (v->s.cpl)
		interp_raise(v, X86_UD);
	interp_set_flags(v, 0, FL_AC);
}

static void insn_stac(struct vcpu *v, const struct insn *in)
{
	if (v->s.cpl)
		interp_raise(v, X86_UD);
	interp_set_flags(v, FL_AC, FL_AC);
}

static void insn_hlt(struct vcpu *v, const struct insn *in)
{
	require_cpl0(v);
	v->s.activity = ACT_HALTED;
	v->stats.halts++;
}

/* -- TLB --------------------------------------------------------------------------------------- */

/* Other engines keep translations of their own. */
static void tell_engine(struct vcpu *v)
{
	if (v->engine && v->engine->tlb_flush)
		v->engine->tlb_flush(v);
}

/* The address is not checked against limits, and a non-canonical one does nothing (SDM vol. 2, INVLPG). */
static void insn_invlpg(struct vcpu *v, const struct insn *in)
{
	uint64_t la = insn_ea(v, in);

	require_cpl0(v);
	if (!x86_64bit(&v->s))
		la = (uint32_t)(la + v->s.seg[in->seg].base);
	else if (in->seg >= SEG_FS)
		la += v->s.seg[in->seg].base;
	if (!x86_canonical(&v->s, la))
		return;
	tlb_flush_page(v->tlb, la);
	tell_engine(v);
}

static void insn_invpcid(struct vcpu *v, const struct insn *in)
{
	uint64_t type, pcid, la;
	uint8_t desc[16];

	require_cpl0(v);
	type = insn_read_reg(v, in, x86_64bit(&v->s) ? 8 : 4);
	interp_load_buf(v, insn_la(v, in, sizeof(desc), ACCESS_READ), desc, sizeof(desc), interp_mmu_mode(v));
	pcid = get_le64(desc);
	la = get_le64(desc + 8);
	if (type > INVPCID_ALL || pcid & ~CR3_PCID_MASK)
		GP0(v);
	if (type <= INVPCID_CONTEXT && pcid && !(v->s.cr4 & CR4_PCIDE))
		GP0(v);
	if (type == INVPCID_ADDRESS && !x86_canonical(&v->s, la))
		GP0(v);
	switch (type) {
	case INVPCID_ADDRESS:
		tlb_flush_page_pcid(v->tlb, la, pcid);
		break;
	case INVPCID_CONTEXT:
		tlb_flush_nonglobal(v->tlb, pcid);
		break;
	case INVPCID_ALL_GLOBAL:
		tlb_flush_all(v->tlb);
		break;
	default:
		tlb_flush_all_nonglobal(v->tlb);
		break;
	}
	tell_engine(v);
}

/* -- MSRs, CPUID, time ------------------------------------------------------------------------- */

static void write_edx_eax(struct vcpu *v, uint64_t val)
{
	v->s.gpr[R_AX] = (uint32_t)val;
	v->s.gpr[R_DX] = val >> 32;
}

static void insn_rdmsr(struct vcpu *v, const struct insn *in)
{
	uint64_t val;

	require_cpl0(v);
	if (!msr_read(v, (uint32_t)v->s.gpr[R_CX], &val))
		GP0(v);
	write_edx_eax(v, val);
}

static void insn_wrmsr(struct vcpu *v, const struct insn *in)
{
	uint64_t val = (uint32_t)v->s.gpr[R_AX] | v->s.gpr[R_DX] << 32;

	require_cpl0(v);
	if (!msr_write(v, (uint32_t)v->s.gpr[R_CX], val))
		GP0(v);
	interp_mode_changed(v);
}

static void insn_cpuid(struct vcpu *v, const struct insn *in)
{
	uint32_t out[4];

	cpuid_query(v, (uint32_t)v->s.gpr[R_AX], (uint32_t)v->s.gpr[R_CX], out);
	v->s.gpr[R_AX] = out[0];
	v->s.gpr[R_BX] = out[1];
	v->s.gpr[R_CX] = out[2];
	v->s.gpr[R_DX] = out[3];
}

static void check_tsd(struct vcpu *v)
{
	if ((v->s.cr4 & CR4_TSD) && v->s.cpl)
		GP0(v);
}

static void insn_rdtsc(struct vcpu *v, const struct insn *in)
{
	check_tsd(v);
	write_edx_eax(v, vcpu_read_tsc(v));
}

static void insn_rdtscp(struct vcpu *v, const struct insn *in)
{
	check_tsd(v);
	write_edx_eax(v, vcpu_read_tsc(v));
	v->s.gpr[R_CX] = (uint32_t)v->s.msr.tsc_aux;
}

static void insn_rdpid(struct vcpu *v, const struct insn *in)
{
	insn_write_rm(v, in, x86_64bit(&v->s) ? 8 : 4, (uint32_t)v->s.msr.tsc_aux);
}

/* The policy gives no performance counters, so that every index is a wrong one. */
static void insn_rdpmc(struct vcpu *v, const struct insn *in)
{
	GP0(v);
}

/*
 * VMCALL and VMMCALL, whichever the CPU's vendor has: CPUID names KVM, whose guests may try its hypercalls.
 * There are none: the answer is that of KVM to an unknown one (Linux, Documentation/virt/kvm/x86/hypercalls.rst).
 */
static void insn_hypercall(struct vcpu *v, const struct insn *in)
{
	enum { KVM_EPERM = 1, KVM_ENOSYS = 1000 };

	gpr_write(v, R_AX, x86_64bit(&v->s) ? 8 : 4, (uint64_t)(v->s.cpl ? -KVM_EPERM : -KVM_ENOSYS));
}

#define UD(m) { ZYDIS_MNEMONIC_##m, insn_ud, NULL }

const struct insn_def insns_system[] = {
	{ ZYDIS_MNEMONIC_SERIALIZE, insn_nop, NULL },
	{ ZYDIS_MNEMONIC_VMCALL, insn_hypercall, NULL },
	{ ZYDIS_MNEMONIC_VMMCALL, insn_hypercall, NULL },
	{ ZYDIS_MNEMONIC_INVD, insn_privileged_nop, NULL },
	{ ZYDIS_MNEMONIC_WBINVD, insn_privileged_nop, NULL },
	{ ZYDIS_MNEMONIC_CLI, insn_cli, NULL },
	{ ZYDIS_MNEMONIC_STI, insn_sti, NULL },
	{ ZYDIS_MNEMONIC_PUSHF, insn_pushf, NULL },
	{ ZYDIS_MNEMONIC_PUSHFD, insn_pushf, NULL },
	{ ZYDIS_MNEMONIC_PUSHFQ, insn_pushf, NULL },
	{ ZYDIS_MNEMONIC_POPF, insn_popf, NULL },
	{ ZYDIS_MNEMONIC_POPFD, insn_popf, NULL },
	{ ZYDIS_MNEMONIC_POPFQ, insn_popf, NULL },
	{ ZYDIS_MNEMONIC_CLAC, insn_clac, NULL },
	{ ZYDIS_MNEMONIC_STAC, insn_stac, NULL },
	{ ZYDIS_MNEMONIC_HLT, insn_hlt, NULL },
	{ ZYDIS_MNEMONIC_INVLPG, insn_invlpg, NULL },
	{ ZYDIS_MNEMONIC_INVPCID, insn_invpcid, NULL },
	{ ZYDIS_MNEMONIC_RDMSR, insn_rdmsr, NULL },
	{ ZYDIS_MNEMONIC_WRMSR, insn_wrmsr, NULL },
	{ ZYDIS_MNEMONIC_CPUID, insn_cpuid, NULL },
	{ ZYDIS_MNEMONIC_RDTSC, insn_rdtsc, NULL },
	{ ZYDIS_MNEMONIC_RDTSCP, insn_rdtscp, NULL },
	{ ZYDIS_MNEMONIC_RDPID, insn_rdpid, NULL },
	{ ZYDIS_MNEMONIC_RDPMC, insn_rdpmc, NULL },
	{ ZYDIS_MNEMONIC_LGDT, insn_lgdt, NULL },
	{ ZYDIS_MNEMONIC_LIDT, insn_lidt, NULL },
	{ ZYDIS_MNEMONIC_SGDT, insn_sgdt, NULL },
	{ ZYDIS_MNEMONIC_SIDT, insn_sidt, NULL },
	{ ZYDIS_MNEMONIC_LLDT, insn_lldt, NULL },
	{ ZYDIS_MNEMONIC_SLDT, insn_sldt, NULL },
	{ ZYDIS_MNEMONIC_LTR, insn_ltr, NULL },
	{ ZYDIS_MNEMONIC_STR, insn_str, NULL },
	{ ZYDIS_MNEMONIC_LMSW, insn_lmsw, NULL },
	{ ZYDIS_MNEMONIC_SMSW, insn_smsw, NULL },
	{ ZYDIS_MNEMONIC_CLTS, insn_clts, NULL },
	{ ZYDIS_MNEMONIC_SYSCALL, insn_syscall, NULL },
	{ ZYDIS_MNEMONIC_SYSRET, insn_sysret, NULL },
	{ ZYDIS_MNEMONIC_SYSENTER, insn_sysenter, NULL },
	{ ZYDIS_MNEMONIC_SYSEXIT, insn_sysexit, NULL },
	/* What is not there for a guest, whatever the host has. */
	UD(UD0), UD(UD1), UD(UD2), UD(RSM), UD(GETSEC),
	UD(MONITOR), UD(MWAIT), UD(MONITORX), UD(MWAITX), UD(UMONITOR), UD(UMWAIT), UD(TPAUSE),
	UD(VMLAUNCH), UD(VMRESUME), UD(VMXOFF), UD(VMXON), UD(VMFUNC), UD(VMCLEAR), UD(VMPTRLD),
	UD(VMPTRST), UD(VMREAD), UD(VMWRITE), UD(INVEPT), UD(INVVPID),
	UD(VMRUN), UD(VMLOAD), UD(VMSAVE), UD(STGI), UD(CLGI), UD(SKINIT), UD(INVLPGA), UD(INVLPGB),
	UD(TLBSYNC), UD(PSMASH), UD(PVALIDATE), UD(RMPADJUST), UD(RMPUPDATE),
	UD(ENCLS), UD(ENCLU), UD(ENCLV), UD(PCONFIG), UD(RDPRU), UD(ENQCMD), UD(ENQCMDS), UD(HRESET),
	UD(CLUI), UD(STUI), UD(TESTUI), UD(UIRET), UD(SENDUIPI),
	UD(SETSSBSY), UD(RSTORSSP), UD(SAVEPREVSSP), UD(CLRSSBSY), UD(WRSSD), UD(WRSSQ), UD(WRUSSD), UD(WRUSSQ),
	UD(TDCALL), UD(SEAMCALL), UD(SEAMOPS), UD(SEAMRET),
	INSN_DEFS_END,
};
