/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The reference engine from the inside: its context, guest memory access, faults, decoded instructions. */
#ifndef DOPPEL_CPU_INTERP_INTERP_H
#define DOPPEL_CPU_INTERP_INTERP_H

#include <setjmp.h>
#include "cpu/interp/insn.h"
#include "cpu/vcpu.h"

struct interp; /* run.c: decode cache, current code page, fault landing */

/* -- Context ---------------------------------------------------------------------------------- */

int interp_new(struct vcpu *v, struct err *e); /* sets v->interp; called by vcpu_new for every engine */
void interp_free(struct vcpu *v);

/*
 * Execute exactly one instruction, with interrupts and exceptions as the architecture orders them
 * around it: a fault is delivered to the guest (then that was the step). Other engines call this for
 * what they refuse. Returns EXIT_KICKED to go on, or why not.
 */
enum vcpu_exit interp_step(struct vcpu *v);

/* What the last step executed, a ZydisMnemonic; 0: it delivered an event before it came to an instruction. */
unsigned interp_last_mnemonic(const struct vcpu *v);

/* The mode in which the code of v is decoded or its privilege may have changed: seg[CS], SS, CR0, EFER,
 * CPL, EFLAGS.AC/VM were written. Every handler that writes one of them calls this. */
void interp_mode_changed(struct vcpu *v);

/* -- Faults: never return; state is that before the instruction ------------------------------- */

_Noreturn void interp_raise(struct vcpu *v, enum x86_vector vec);                   /* no error code */
_Noreturn void interp_raise_err(struct vcpu *v, enum x86_vector vec, uint32_t err); /* with error code */
_Noreturn void interp_raise_pf(struct vcpu *v, uint64_t la, uint32_t err);          /* sets CR2 */

#define GP0(v) interp_raise_err(v, X86_GP, 0)

/*
 * Deliver an event through the IVT or IDT (event.c). Restores the machine to a state from which
 * `next` continues or shuts down; a fault during delivery escalates to #DF and triple fault as
 * SDM vol. 3, 6.15 says. soft: INT n, INT3, INTO: DPL is checked and the saved RIP is next_rip.
 */
enum event_type { EVENT_EXCEPTION, EVENT_INTERRUPT, EVENT_NMI, EVENT_SOFT, EVENT_ICEBP };
struct event {
	enum event_type type;
	uint8_t vector;
	bool has_err;
	uint32_t err;
	uint64_t return_rip; /* RIP to save */
};
/* Returns 0 or raises a nested fault; only run.c calls it, inside its landing. */
void event_deliver(struct vcpu *v, const struct event *ev);

/* -- Memory by linear address ------------------------------------------------------------------ */
/*
 * Every access checks all of its bytes before it changes anything; a fault raises #PF (or #AC) and
 * does not return. mode: interp_mmu_mode(v) for what an instruction does on its own account,
 * MMU_KERNEL for implicit system accesses (descriptor tables, TSS, IDT, stacks of an inner level).
 */
enum mmu_mode interp_mmu_mode(const struct vcpu *v);

uint64_t interp_load(struct vcpu *v, uint64_t la, unsigned size, enum mmu_mode mode);
void interp_store(struct vcpu *v, uint64_t la, unsigned size, uint64_t val, enum mmu_mode mode);
void interp_load_buf(struct vcpu *v, uint64_t la, void *buf, unsigned len, enum mmu_mode mode);
void interp_store_buf(struct vcpu *v, uint64_t la, const void *buf, unsigned len, enum mmu_mode mode);

/* Raise what an access to [la, la + len) would raise, and do nothing else but set A (and D) bits. */
void interp_probe(struct vcpu *v, uint64_t la, unsigned len, enum mmu_access access, enum mmu_mode mode);

/*
 * Translate [la, la+len), len <= 4096, for an access, raising its faults. Returns the host address when
 * all is RAM and contiguous in host memory (then *gpa, if not NULL, is the guest-physical address of
 * the first byte, for ram_note_write() after a store), else NULL: device memory, read-only memory for a
 * write, or a page crossing between pages that are not neighbours.
 */
void *interp_host_ptr(struct vcpu *v, uint64_t la, unsigned len, enum mmu_access access, enum mmu_mode mode,
		      uint64_t *gpa);

/* A compare-exchange of an aligned descriptor or PTE-like word, as the CPU's own locked accesses. */
bool interp_cmpxchg(struct vcpu *v, uint64_t la, unsigned size, uint64_t *expected, uint64_t val,
		    enum mmu_mode mode);

/* -- Memory by segment ------------------------------------------------------------------------- */
/*
 * Linear address of seg:off for an access of len bytes with the checks of SDM vol. 3, 5.3-5.4: limit,
 * type, null selector, canonical; #SS(0) for SS (and for a RBP/RSP base in 64-bit mode), else #GP(0).
 */
uint64_t interp_linear(struct vcpu *v, enum x86_segreg seg, uint64_t off, unsigned len, enum mmu_access access);

/* Effective address of the instruction's memory operand: the offset, wrapped to the address size. */
uint64_t insn_ea(const struct vcpu *v, const struct insn *in);
/* The linear address of the memory operand, checked for an access of len bytes. */
uint64_t insn_la(struct vcpu *v, const struct insn *in, unsigned len, enum mmu_access access);

/* Operands: size in bytes 1, 2, 4, 8; 32-bit register writes clear the upper half. */
uint64_t insn_read_rm(struct vcpu *v, const struct insn *in, unsigned size);
void insn_write_rm(struct vcpu *v, const struct insn *in, unsigned size, uint64_t val);
uint64_t insn_read_reg(const struct vcpu *v, const struct insn *in, unsigned size);
void insn_write_reg(struct vcpu *v, const struct insn *in, unsigned size, uint64_t val);
void gpr_write(struct vcpu *v, unsigned reg, unsigned size, uint64_t val); /* reg: enum x86_reg */
uint64_t gpr_read(const struct vcpu *v, unsigned reg, unsigned size);

/* The stack by SS and its size (SS.B, 64-bit mode): 2, 4 or 8 bytes. */
unsigned stack_size(const struct vcpu *v);
/* Push and pop of one item of `size` bytes; RSP changes only when the access succeeded. */
void stack_push(struct vcpu *v, unsigned size, uint64_t val);
uint64_t stack_pop(struct vcpu *v, unsigned size);
/* Read the item at SS:[SP + disp], and move SP by delta, wrapped to the stack size. */
uint64_t stack_peek(struct vcpu *v, int64_t disp, unsigned size);
void stack_adjust(struct vcpu *v, int64_t delta);

/* -- Control flow ------------------------------------------------------------------------------ */
/* Where the run loop goes after this instruction (offset in CS). Preset to the following one. */
uint64_t interp_next_rip(const struct vcpu *v);
void interp_set_next_rip(struct vcpu *v, uint64_t rip);
/* Near branch to off: truncated to the operand size, checked against CS limit or canonical (#GP(0)). */
void interp_branch(struct vcpu *v, const struct insn *in, uint64_t off);

/* A data breakpoint or single step matched during this instruction: DR6 bits to deliver after it. */
void interp_debug_trap(struct vcpu *v, uint64_t dr6_bits);

/* Load flags: bits in mask come from val; reserved bits keep their fixed values. Tracks TF and AC. */
void interp_set_flags(struct vcpu *v, uint64_t val, uint64_t mask);

/* -- Segments (seg.c) ---------------------------------------------------------------------------- */
/* Raw 8- or 16-byte descriptor of sel; faults with vec(sel & ~3) when outside of its table. */
uint64_t seg_read_descriptor(struct vcpu *v, uint16_t sel, enum x86_vector vec);
/* Load ES, SS, DS, FS or GS as MOV/POP/LSS do, in any mode, with all checks; not CS. */
void seg_load(struct vcpu *v, enum x86_segreg seg, uint16_t sel);

/*
 * Mnemonics that Zydis uses for several instructions: the table of integer.c, stack.c or control.c has the
 * row, and hands the forms that are not its own to these (seg.c, system.c, far.c).
 */
void segment_bind_mov(struct vcpu *v, struct insn *in, const struct decoded *d);  /* MOV to or from Sreg */
void segment_bind_push(struct vcpu *v, struct insn *in, const struct decoded *d); /* PUSH Sreg */
void segment_bind_pop(struct vcpu *v, struct insn *in, const struct decoded *d);  /* POP Sreg */
void system_bind_mov(struct vcpu *v, struct insn *in, const struct decoded *d);   /* MOV to or from CRn, DRn */
void far_bind_call(struct vcpu *v, struct insn *in, const struct decoded *d);     /* far CALL, JMP, RET */
void far_bind_jmp(struct vcpu *v, struct insn *in, const struct decoded *d);
void far_bind_ret(struct vcpu *v, struct insn *in, const struct decoded *d);

/* -- Tables of instructions, one per file, merged by decode.c ------------------------------------ */
extern const struct insn_def insns_integer[], insns_muldiv[], insns_stack[], insns_string[], insns_control[], insns_far[], insns_segment[],
	insns_system[], insns_io[], insns_xsave[];

#endif
