/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reference engine's run loop: instruction boundaries, events in their order, faults.
 *
 * An instruction is a call of insn->fn. It either completes, and RIP becomes next_rip, or it raises a
 * fault, which longjmps to the landing of interp_run() or interp_step() with the guest's state as
 * before the instruction. The landing delivers the fault; a fault during delivery lands there again
 * with `delivering` set, and becomes a double fault or a shutdown by SDM vol. 3, table 6-5.
 *
 * What can be pending at a boundary is taken in the order of SDM vol. 3, table 6-2: reset and INIT,
 * debug traps of the previous instruction, NMI, interrupt, code breakpoints, then the fetch.
 */
#include <errno.h>
#include <stdlib.h>

#include "cpu/interp/context.h"
#include "cpu/interp/debug.h"
#include "cpu/interp/event.h"
#include "cpu/interp/hostexec.h"

/* -- Faults -------------------------------------------------------------------------------------- */

static _Noreturn void raise_event(struct vcpu *v, uint8_t vector, bool has_err, uint32_t err)
{
	struct interp *c = v->interp;

	c->fault = (struct event){
		.type = EVENT_EXCEPTION,
		.vector = vector,
		.has_err = has_err,
		.err = err,
		.return_rip = v->s.rip,
	};
	longjmp(c->landing, 1);
}

void interp_raise(struct vcpu *v, enum x86_vector vec)
{
	raise_event(v, (uint8_t)vec, false, 0);
}

void interp_raise_err(struct vcpu *v, enum x86_vector vec, uint32_t err)
{
	raise_event(v, (uint8_t)vec, true, err);
}

void interp_raise_pf(struct vcpu *v, uint64_t la, uint32_t err)
{
	v->s.cr2 = la;
	raise_event(v, X86_PF, true, err);
}

void interp_debug_trap(struct vcpu *v, uint64_t dr6_bits)
{
	v->interp->debug_bits |= dr6_bits;
}

/* Deliver; a fault on the way lands again with `delivering` saying what we were at. */
static void deliver(struct vcpu *v, const struct event *ev)
{
	struct interp *c = v->interp;

	c->cur = NULL;
	c->delivering = ev->type == EVENT_EXCEPTION ? ev->vector : X86_NMI; /* NMI: a benign one */
	c->next_rip = v->s.rip;
	event_deliver(v, ev);
	c->delivering = NOT_DELIVERING;
	v->s.rip = c->next_rip;
	v->s.activity = ACT_RUNNING;
	v->s.shadow = SHADOW_NONE;
}

static void count(struct vcpu *v, uint8_t vector)
{
	if (vector == X86_PF)
		v->stats.page_faults++;
	else
		v->stats.exceptions++;
}

/* At the landing: deliver c->fault, or what it has escalated to. False: shutdown. */
static bool deliver_fault(struct vcpu *v)
{
	struct interp *c = v->interp;
	struct event ev = c->fault;

	c->debug_bits = 0;
	if (c->delivering == X86_DF) {
		v->s.activity = ACT_SHUTDOWN;
		c->delivering = NOT_DELIVERING;
		return false;
	}
	if (c->delivering != NOT_DELIVERING && event_makes_double_fault(c->delivering, ev.vector)) {
		ev.vector = X86_DF;
		ev.has_err = true;
		ev.err = 0;
	}
	count(v, ev.vector);
	deliver(v, &ev);
	return true;
}

/* -- Boundaries ------------------------------------------------------------------------------------ */

static inline bool needs_attention(const struct vcpu *v)
{
	return atomic_load_explicit(&v->work, memory_order_relaxed) | v->s.shadow | v->s.activity |
	       (v->s.rflags & (FL_TF | FL_RF)) | (v->s.dr[7] & 0xff) | v->interp->debug_bits;
}

static void deliver_debug_trap(struct vcpu *v)
{
	struct interp *c = v->interp;
	uint64_t bits = c->debug_bits;
	struct event ev = { .type = EVENT_EXCEPTION, .vector = X86_DB, .return_rip = v->s.rip };

	c->debug_bits = 0;
	debug_set_dr6(v, bits);
	count(v, X86_DB);
	deliver(v, &ev);
}

/* NMI or interrupt, if one may be taken now; true when one was. */
static bool deliver_interrupt(struct vcpu *v, uint32_t work)
{
	struct event ev = { .type = EVENT_INTERRUPT, .return_rip = v->s.rip };
	int vector;

	if ((work & WORK_NMI) && !v->s.nmi_blocked) {
		atomic_fetch_and(&v->work, ~(uint32_t)WORK_NMI);
		ev.type = EVENT_NMI;
		ev.vector = X86_NMI;
		v->s.nmi_blocked = true;
		deliver(v, &ev);
		return true;
	}
	if (!(work & WORK_INTR) || !(v->s.rflags & FL_IF))
		return false;
	vector = vcpu_intr_vector(v);
	if (vector < 0)
		return false;
	ev.vector = (uint8_t)vector;
	v->stats.interrupts++;
	deliver(v, &ev);
	return true;
}

static inline void execute(struct vcpu *v);

/* Instructions that clear TF on their way into the kernel are not followed by a trap (APM vol. 3, SYSCALL; vol. 2, 13.1.4). */
static bool enters_kernel(const struct insn *in)
{
	switch (in ? in->mnemonic : ZYDIS_MNEMONIC_INVALID) {
	case ZYDIS_MNEMONIC_SYSCALL:
	case ZYDIS_MNEMONIC_INT:
	case ZYDIS_MNEMONIC_INT1:
	case ZYDIS_MNEMONIC_INT3:
	case ZYDIS_MNEMONIC_INTO:
		return true;
	default:
		return false;
	}
}

/* Execute one instruction with everything a debugger in the guest may have switched on. */
static void execute_traced(struct vcpu *v)
{
	bool stepping = v->s.rflags & FL_TF;
	uint64_t hit;

	v->s.shadow = SHADOW_NONE;
	if ((v->s.dr[7] & 0xff) && !(v->s.rflags & FL_RF)) {
		hit = debug_code_breakpoint(v, (x86_64bit(&v->s) ? 0 : v->s.seg[SEG_CS].base) + v->s.rip);
		if (hit) {
			debug_set_dr6(v, hit);
			interp_raise(v, X86_DB);
		}
	}
	v->s.rflags &= ~FL_RF;
	execute(v);
	if (stepping && ((v->s.rflags & FL_TF) || !enters_kernel(v->interp->cur)))
		v->interp->debug_bits |= DR6_BS;
}

/*
 * The slow way through a boundary: returns EXIT_KICKED after an instruction or an event, with *done
 * set when run() has to come back with the returned reason. `stepping`: ignore WORK_EXIT.
 */
static enum vcpu_exit attend(struct vcpu *v, bool stepping, bool *done)
{
	uint32_t work = atomic_load(&v->work);

	*done = true;
	if ((work & WORK_EXIT) && !stepping)
		return EXIT_KICKED;
	if (work & (WORK_INIT | WORK_SIPI | WORK_TLB | WORK_SMI)) {
		vcpu_take_work(v);
		interp_mode_changed(v);
	}
	if (v->s.activity == ACT_SHUTDOWN)
		return EXIT_SHUTDOWN;
	if (v->s.activity == ACT_WAIT_SIPI)
		return EXIT_HALTED;
	*done = false;
	if (v->interp->debug_bits && v->s.shadow != SHADOW_MOV_SS) {
		deliver_debug_trap(v);
		return EXIT_KICKED;
	}
	if (v->s.shadow == SHADOW_NONE && deliver_interrupt(v, work))
		return EXIT_KICKED;
	if (v->s.activity == ACT_HALTED) {
		*done = true;
		return EXIT_HALTED;
	}
	execute_traced(v);
	return EXIT_KICKED;
}

/* -- Execution ---------------------------------------------------------------------------------------- */

/* The cached instruction at CS:RIP, if its translation, its bytes and its mode are still the ones cached. */
static inline const struct insn *cached_insn(struct vcpu *v)
{
	struct interp *c = v->interp;
	uint64_t la = c->long64 ? v->s.rip : (uint32_t)(v->s.seg[SEG_CS].base + v->s.rip);
	struct tlb_entry *e = tlb_slot(v->tlb, c->fetch_mode, la);
	uint64_t gpa = e->gpa | (la & 0xfff), key = insn_key(c, gpa);
	struct insn *in = insn_slot(c, key);

	if (unlikely(e->tag[ACCESS_FETCH] != ((la & PAGE_MASK) | v->tlb->pcid) || in->key != key))
		return NULL;
	if (unlikely(in->version !=
		     atomic_load_explicit(&v->ram->version[gpa >> PAGE_SHIFT], memory_order_relaxed))) {
		v->stats.code_invalidations++;
		return NULL;
	}
	if (unlikely(!c->long64 && v->s.rip + in->len - 1 > v->s.seg[SEG_CS].limit))
		return NULL;
	return in;
}

static inline void execute(struct vcpu *v)
{
	struct interp *c = v->interp;
	const struct insn *in = cached_insn(v);

	if (unlikely(!in))
		in = decode_fetch(v);
	c->cur = in;
	c->next_rip = (v->s.rip + in->len) & c->rip_mask;
	in->fn(v, in);
	v->s.rip = c->next_rip;
	v->stats.instructions++;
}

static enum vcpu_exit run_loop(struct vcpu *v)
{
	for (;;) {
		if (unlikely(needs_attention(v))) {
			bool done;
			enum vcpu_exit ex = attend(v, false, &done);

			if (done)
				return ex;
			continue;
		}
		execute(v);
	}
}

static enum vcpu_exit interp_run(struct vcpu *v)
{
	interp_mode_changed(v);
	v->stats.exits++;
	if (setjmp(v->interp->landing) && !deliver_fault(v))
		return EXIT_SHUTDOWN;
	return run_loop(v);
}

static enum vcpu_exit step_once(struct vcpu *v)
{
	bool done;
	enum vcpu_exit ex = EXIT_KICKED;

	if (needs_attention(v))
		ex = attend(v, true, &done);
	else
		execute(v);
	/* The trap of a single-stepped instruction belongs to its step. */
	if (v->interp->debug_bits && v->s.shadow != SHADOW_MOV_SS)
		deliver_debug_trap(v);
	return ex;
}

enum vcpu_exit interp_step(struct vcpu *v)
{
	interp_mode_changed(v);
	if (setjmp(v->interp->landing))
		return deliver_fault(v) ? EXIT_KICKED : EXIT_SHUTDOWN;
	return step_once(v);
}

unsigned interp_last_mnemonic(const struct vcpu *v)
{
	return v->interp->cur ? v->interp->cur->mnemonic : ZYDIS_MNEMONIC_INVALID;
}

/* -- Context ---------------------------------------------------------------------------------------------- */

void interp_mode_changed(struct vcpu *v)
{
	struct interp *c = v->interp;
	const struct x86_state *s = &v->s;
	const struct x86_seg *cs = &s->seg[SEG_CS];
	bool big = cs->attr & SEG_DB;

	c->long64 = x86_64bit(s);
	c->rip_mask = c->long64 ? UINT64_MAX : UINT32_MAX;
	if (c->long64)
		c->decode_mode = ZYDIS_MACHINE_MODE_LONG_64;
	else if (x86_long_mode(s))
		c->decode_mode = big ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 : ZYDIS_MACHINE_MODE_LONG_COMPAT_16;
	else if (x86_protected(s))
		c->decode_mode = big ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16;
	else
		c->decode_mode = ZYDIS_MACHINE_MODE_REAL_16;
	c->canonical_shift = (s->cr4 & CR4_LA57) ? 7 : 16;
	c->fetch_mode = s->cpl == 3 ? MMU_USER : MMU_KERNEL;
	c->mmu_mode = interp_mmu_mode(v);
	c->align_check = s->cpl == 3 && (s->cr0 & CR0_AM) && (s->rflags & FL_AC);
}

enum mmu_mode interp_mmu_mode(const struct vcpu *v)
{
	if (v->s.cpl == 3)
		return MMU_USER;
	return (v->s.cr4 & CR4_SMAP) && (v->s.rflags & FL_AC) ? MMU_KERNEL_AC : MMU_KERNEL;
}

void interp_set_flags(struct vcpu *v, uint64_t val, uint64_t mask)
{
	uint64_t old = v->s.rflags;

	v->s.rflags = (((old & ~mask) | (val & mask)) & FL_DEFINED) | FL_1;
	if ((old ^ v->s.rflags) & (FL_AC | FL_VM))
		interp_mode_changed(v);
}

uint64_t interp_next_rip(const struct vcpu *v)
{
	return v->interp->next_rip;
}

void interp_set_next_rip(struct vcpu *v, uint64_t rip)
{
	v->interp->next_rip = rip;
}

struct hostexec **interp_hostexec_slot(struct vcpu *v)
{
	return &v->interp->hostexec;
}

void interp_flush_decoded(struct vcpu *v)
{
	decode_flush(v->interp);
}

int interp_new(struct vcpu *v, struct err *e)
{
	struct interp *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, ENOMEM, "vCPU %u: no memory for the interpreter", v->index);
	c->delivering = NOT_DELIVERING;
	rc = decode_init(c, v->cpuid, e);
	if (rc) {
		decode_release(c);
		free(c);
		return rc;
	}
	v->interp = c;
	return 0;
}

void interp_free(struct vcpu *v)
{
	if (!v->interp)
		return;
	if (v->interp->hostexec)
		hostexec_free(v->interp->hostexec);
	decode_release(v->interp);
	free(v->interp);
	v->interp = NULL;
}

static void interp_sync_in(struct vcpu *v, unsigned groups)
{
	if (groups & (SYNC_GPR | SYNC_SEG | SYNC_CR))
		interp_mode_changed(v);
}

const struct engine_ops interp_engine = {
	.name = "interp",
	.summary = "reference interpreter: complete, precise, slow; needs nothing of the host",
	.run = interp_run,
	.sync_in = interp_sync_in,
};
