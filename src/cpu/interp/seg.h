/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors, their checks and loads, and stacks other than SS:RSP, for all that changes segments. */
#ifndef DOPPEL_CPU_INTERP_SEG_H
#define DOPPEL_CPU_INTERP_SEG_H

#include "cpu/interp/interp.h"
#include "x86/desc.h"

/* The linear address of sel's descriptor of `bytes` (8 or 16) bytes; false: outside of its table. */
bool seg_descriptor_la(const struct vcpu *v, uint16_t sel, unsigned bytes, uint64_t *la);

/* seg_read_descriptor() with EXT or an explicit error code; a null selector is not checked for. */
uint64_t seg_read_descriptor_err(struct vcpu *v, uint16_t sel, enum x86_vector vec, uint32_t err);
/* The upper 8 bytes of a system descriptor in IA-32e mode; faults with vec(err) outside of the table. */
uint64_t seg_read_upper(struct vcpu *v, uint16_t sel, enum x86_vector vec, uint32_t err);

/* Set the accessed bit of a code or data descriptor in its table if it is clear; the descriptor with it set. */
uint64_t seg_mark_accessed(struct vcpu *v, uint16_t sel, uint64_t desc);
/* Set or clear the busy bit of a TSS descriptor in the GDT. */
void seg_set_busy(struct vcpu *v, uint16_t sel, bool busy);

/* Fill a hidden part, no checks, no effects. */
struct x86_seg seg_from_descriptor(uint16_t sel, uint64_t desc);
/* The flat segments that SYSCALL and its kin load. */
struct x86_seg seg_flat(uint16_t sel, uint16_t type, unsigned dpl, uint16_t flags);
/* A null selector's: unusable; dpl is kept because SS.DPL is the CPL. */
struct x86_seg seg_null(uint16_t sel, unsigned dpl);
/* Real and virtual-8086 mode. */
struct x86_seg seg_v86(uint16_t sel);
void seg_load_real(struct vcpu *v, enum x86_segreg seg, uint16_t sel);

/* Put a checked code descriptor into CS with RPL = cpl and make cpl the CPL. The caller calls interp_mode_changed(). */
void seg_set_cs(struct vcpu *v, uint16_t sel, uint64_t desc, unsigned cpl);

/*
 * The check that CS:rip can be jumped to: within the limit of desc, or canonical if desc is 64-bit code
 * of IA-32e mode; else #GP(err).
 */
void seg_check_rip(struct vcpu *v, uint64_t desc, uint64_t rip, uint32_t err);

/* L and D both set in IA-32e mode is no valid code segment (SDM vol. 3, 5.2.1). */
static inline bool seg_bad_long(const struct vcpu *v, uint64_t desc)
{
	return x86_long_mode(&v->s) && desc_is_64bit(desc) && desc_is_big(desc);
}

/* Whether code with this descriptor runs in 64-bit mode. */
static inline bool seg_is_64bit(const struct vcpu *v, uint64_t desc)
{
	return x86_long_mode(&v->s) && desc_is_64bit(desc);
}

/*
 * A return to CPL `cpl` through SS selector sel (RET, IRET: vec is #GP) or an inner stack (calls and
 * events: vec is #TS): all checks, SDM vol. 2, RET and INT n. err is or-ed into error codes (EXT).
 * The descriptor; not yet marked accessed.
 */
uint64_t seg_check_ss(struct vcpu *v, uint16_t sel, unsigned cpl, enum x86_vector vec, uint32_t ext);

/* -- Stacks under construction ----------------------------------------------------------------- */

/* Pushes are collected, all are checked, and only then is the first byte written. */
#define STACK_MAX_ITEMS 40 /* a call gate's 31 parameters and the frame */

struct far_stack {
	struct x86_seg ss;
	uint64_t sp;       /* all of RSP as it will be; the low `width` bytes move with each push */
	uint8_t width;     /* 2, 4, 8 */
	bool check;        /* protected mode: an unusable SS faults */
	uint32_t err;      /* error code of #SS */
	enum mmu_mode mode;
	unsigned n;
	struct {
		uint64_t la, val;
		unsigned size;
	} item[STACK_MAX_ITEMS];
};

/* The current stack, or one with a checked descriptor. cpl: whose accesses the pushes are. */
void far_stack_current(struct vcpu *v, struct far_stack *st, uint32_t err);
void far_stack_new(struct far_stack *st, const struct x86_seg *ss, uint64_t sp, bool long64, unsigned cpl,
		   uint32_t err);
/* Pushes to come follow the rules of 64-bit mode, or of SS.B. */
void far_stack_set_width(struct far_stack *st, bool long64);
void far_push(struct vcpu *v, struct far_stack *st, unsigned size, uint64_t val); /* raises #SS(err) */
/* Check all items (#PF), then write them. To set RSP and SS is the caller's. */
void far_stack_commit(struct vcpu *v, const struct far_stack *st);
#endif
