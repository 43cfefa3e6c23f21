/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The canonical state of one vCPU: what every engine loads from, stores to and hands over. */
#ifndef DOPPEL_X86_STATE_H
#define DOPPEL_X86_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include "x86/bits.h"

/*
 * A segment register with its hidden part. attr has the layout of descriptor bits 40-55 (the
 * VMX/SVM "access rights" without the limit nibble between):
 *
 *   15 14  13   12   11..8  7   6..5  4   3..0
 *    G D/B  L   AVL    0    P   DPL   S   type
 *
 * limit is in bytes (granularity applied). A null or unusable register has P clear.
 */
struct x86_seg {
	uint16_t sel;
	uint16_t attr;
	uint32_t limit;
	uint64_t base;
};

#define SEG_TYPE(a)  ((a) & 0xf)
#define SEG_S        0x0010 /* code or data; clear: system */
#define SEG_DPL(a)   (((a) >> 5) & 3)
#define SEG_P        0x0080
#define SEG_AVL      0x1000
#define SEG_L        0x2000
#define SEG_DB       0x4000
#define SEG_G        0x8000
#define SEG_CODE     0x0008 /* type bit: code (with S) */
#define SEG_CONF     0x0004 /* code: conforming; data: expand-down */
#define SEG_RW       0x0002 /* code: readable; data: writable */
#define SEG_ACCESSED 0x0001

struct x86_dtable {
	uint64_t base;
	uint16_t limit;
};

/*
 * x87, MMX, SSE, AVX and AVX-512 state. Each vector register stands whole in zmm[n], whatever
 * width the guest uses; MMX registers are the low 8 bytes of st[] as in FXSAVE. st[i] is ST(i),
 * relative to TOP, as in the FXSAVE image; ftw is the abridged tag word (bit set: valid) by
 * physical register, as there.
 */
struct x86_fpu {
	_Alignas(64) uint8_t zmm[32][64];
	uint64_t k[8];
	uint8_t st[8][16];
	uint16_t fcw, fsw, ftw, fop;
	uint64_t fip, fdp; /* offsets in fcs and fds */
	uint32_t mxcsr;
	uint16_t fcs, fds; /* selectors of the last x87 instruction and of its operand */
};

enum x86_activity {
	ACT_RUNNING,
	ACT_HALTED,   /* after HLT: an interrupt, NMI or INIT wakes it */
	ACT_WAIT_SIPI,
	ACT_SHUTDOWN, /* after a triple fault */
};

/* What blocks interrupts for one instruction, SDM vol. 3, 6.8.3 */
enum x86_shadow { SHADOW_NONE, SHADOW_STI, SHADOW_MOV_SS };

struct x86_state {
	uint64_t gpr[16]; /* enum x86_reg */
	uint64_t rip;     /* offset in CS of the next instruction */
	uint64_t rflags;  /* FL_1 always set */
	struct x86_seg seg[SEG_COUNT], ldtr, tr;
	struct x86_dtable gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4;
	uint64_t efer, xcr0, xss;
	uint64_t dr[8]; /* 0-3, 6, 7 */
	uint64_t pdpte[4]; /* PAE paging: loaded with CR3, SDM vol. 3, 4.4.1 */
	uint8_t cpl;     /* SS.DPL; 3 in virtual-8086 mode, 0 in real mode */
	uint8_t shadow;  /* enum x86_shadow */
	bool nmi_blocked;
	uint8_t activity; /* enum x86_activity */

	struct {
		uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
		uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
		uint64_t tsc_offset; /* guest TSC = host TSC + this */
		uint64_t tsc_adjust, tsc_aux, pat, misc_enable, spec_ctrl;
		uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
		uint64_t mcg_status;
		uint64_t kvm_system_time, kvm_wall_clock;
	} msr;

	struct x86_fpu fpu;
};

/* Power-on and INIT state (SDM vol. 3, table 9-1). INIT keeps what that table says it keeps. */
void x86_reset(struct x86_state *s, bool init);

static inline bool x86_long_mode(const struct x86_state *s) /* IA-32e mode active, compatibility included */
{
	return s->efer & EFER_LMA;
}

static inline bool x86_64bit(const struct x86_state *s)
{
	return (s->efer & EFER_LMA) && (s->seg[SEG_CS].attr & SEG_L);
}

static inline bool x86_protected(const struct x86_state *s) /* protected and not virtual-8086 */
{
	return (s->cr0 & CR0_PE) && !(s->rflags & FL_VM);
}

static inline bool x86_v86(const struct x86_state *s)
{
	return s->rflags & FL_VM;
}

static inline bool x86_real_like(const struct x86_state *s) /* real or virtual-8086: base = sel << 4 */
{
	return !x86_protected(s);
}

/* Canonical for the paging mode in force: 48 bits, or 57 with CR4.LA57. */
static inline bool x86_canonical(const struct x86_state *s, uint64_t la)
{
	unsigned bits = (s->cr4 & CR4_LA57) ? 57 : 48;

	return (uint64_t)((int64_t)(la << (64 - bits)) >> (64 - bits)) == la;
}

#endif
