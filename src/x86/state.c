/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What power-on and INIT leave in the registers (SDM vol. 3, table 9-1; x87 and SSE: vol. 1, 8.1 and 10.2). */
#include <string.h>
#include "x86/state.h"

#define RESET_RIP        0xfff0u
#define RESET_CS_SEL     0xf000u
#define RESET_CS_BASE    0xffff0000u
#define RESET_LIMIT      0xffffu
#define RESET_FCW        0x0040u /* power-on; FNINIT would give 037f */
#define RESET_FTW        0xffu   /* power-on tag word 5555: all eight hold (zero) values; abridged, FXSAVE format */
#define RESET_MXCSR      0x1f80u
#define RESET_PAT        0x0007040600070406ull /* SDM vol. 3, 11.12.4 */
#define SEG_DATA16       (SEG_P | SEG_S | SEG_RW | SEG_ACCESSED)
#define SEG_CODE16       (SEG_DATA16 | SEG_CODE)
#define SEG_LDT          (SEG_P | 2)
#define SEG_TSS32_BUSY   (SEG_P | 11)
/* Fast strings on; no branch trace store, no PEBS (SDM vol. 4, IA32_MISC_ENABLE). */
#define RESET_MISC_ENABLE (BIT(0) | BIT(11) | BIT(12))

static const struct x86_seg reset_data = { .attr = SEG_DATA16, .limit = RESET_LIMIT };
static const struct x86_seg reset_code = { .sel = RESET_CS_SEL, .attr = SEG_CODE16, .limit = RESET_LIMIT,
					   .base = RESET_CS_BASE };
static const struct x86_seg reset_ldtr = { .attr = SEG_LDT, .limit = RESET_LIMIT };
static const struct x86_seg reset_tr = { .attr = SEG_TSS32_BUSY, .limit = RESET_LIMIT };

static void reset_fpu(struct x86_fpu *f)
{
	memset(f, 0, sizeof(*f));
	f->fcw = RESET_FCW;
	f->ftw = RESET_FTW;
	f->mxcsr = RESET_MXCSR;
}

/*
 * What INIT leaves alone: x87, MMX and vector registers, MXCSR, XCR0, IA32_XSS, CR0.CD and CR0.NW, the
 * TSC and all MSRs but EFER. The paravirtual clock is off after it, as KVM has it: the guest that
 * comes next owns other memory.
 */
void x86_reset(struct x86_state *s, bool init)
{
	struct x86_state old = *s;

	memset(s, 0, sizeof(*s));
	s->rip = RESET_RIP;
	s->rflags = FL_1;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = reset_data;
	s->seg[SEG_CS] = reset_code;
	s->ldtr = reset_ldtr;
	s->tr = reset_tr;
	s->gdtr.limit = RESET_LIMIT;
	s->idtr.limit = RESET_LIMIT;
	s->cr0 = CR0_CD | CR0_NW | CR0_ET;
	s->dr[6] = DR6_FIXED;
	s->dr[7] = DR7_FIXED;
	s->activity = ACT_RUNNING;

	if (init) {
		s->cr0 = (old.cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
		s->xcr0 = old.xcr0;
		s->xss = old.xss;
		s->msr = old.msr;
		s->msr.kvm_system_time = 0;
		s->fpu = old.fpu;
		return;
	}
	s->xcr0 = XCR0_X87;
	s->msr.pat = RESET_PAT;
	s->msr.misc_enable = RESET_MISC_ENABLE;
	reset_fpu(&s->fpu);
}
