/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks that privileged instructions share, and the rows of the system table by file. */
#ifndef DOPPEL_CPU_INTERP_SYSREGS_H
#define DOPPEL_CPU_INTERP_SYSREGS_H

#include "cpu/interp/interp.h"

/* CPL 0, else #GP(0); real mode is CPL 0, virtual-8086 mode CPL 3. */
static inline void require_cpl0(struct vcpu *v)
{
	if (v->s.cpl)
		GP0(v);
}

/* sysregs.c: descriptor-table registers, CR0 by LMSW, task and LDT registers. */
void insn_lgdt(struct vcpu *v, const struct insn *in);
void insn_lidt(struct vcpu *v, const struct insn *in);
void insn_sgdt(struct vcpu *v, const struct insn *in);
void insn_sidt(struct vcpu *v, const struct insn *in);
void insn_lldt(struct vcpu *v, const struct insn *in);
void insn_sldt(struct vcpu *v, const struct insn *in);
void insn_ltr(struct vcpu *v, const struct insn *in);
void insn_str(struct vcpu *v, const struct insn *in);
void insn_lmsw(struct vcpu *v, const struct insn *in);
void insn_smsw(struct vcpu *v, const struct insn *in);
void insn_clts(struct vcpu *v, const struct insn *in);

/* syscall.c */
void insn_syscall(struct vcpu *v, const struct insn *in);
void insn_sysret(struct vcpu *v, const struct insn *in);
void insn_sysenter(struct vcpu *v, const struct insn *in);
void insn_sysexit(struct vcpu *v, const struct insn *in);

#endif
