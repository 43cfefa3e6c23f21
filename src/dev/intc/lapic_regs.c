/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The local APIC's register file, as the xAPIC page and the x2APIC MSRs both see it (SDM vol. 3, table 11-1 and 11-6). */
#include "dev/intc/lapic_internal.h"

/* Registers by their offset in the page / 16, which is also the MSR number - 0x800. */
enum lapic_reg {
	REG_ID = 0x02,
	REG_VERSION = 0x03,
	REG_TPR = 0x08,
	REG_APR = 0x09,
	REG_PPR = 0x0a,
	REG_EOI = 0x0b,
	REG_RRD = 0x0c,
	REG_LDR = 0x0d,
	REG_DFR = 0x0e,
	REG_SVR = 0x0f,
	REG_ISR0 = 0x10,
	REG_TMR0 = 0x18,
	REG_IRR0 = 0x20,
	REG_ESR = 0x28,
	REG_ICR_LOW = 0x30,
	REG_ICR_HIGH = 0x31,
	REG_LVT0 = 0x32,
	REG_LVT_LAST = REG_LVT0 + LVT_COUNT - 1,
	REG_TIMER_INITIAL = 0x38,
	REG_TIMER_CURRENT = 0x39,
	REG_TIMER_DIVIDE = 0x3e,
	REG_SELF_IPI = 0x3f,
};

/* Integrated APIC, six LVT entries, EOI broadcast can be suppressed; 11.4.8 */
#define VERSION (0x14 | (LVT_COUNT - 1) << 16 | 1u << 24)

#define ICR_WRITABLE    0x000ccfffu /* vector, mode, destination mode, level, trigger, shorthand */
#define ICR_WRITABLE_X2 (0xffffffff00000000ull | ICR_WRITABLE)
#define SVR_WRITABLE    (0xffu | SVR_ENABLE | SVR_EOI_SUPPRESS)
#define DIVIDE_WRITABLE 0xbu
#define LDR_WRITABLE    0xff000000u
#define DFR_FIXED       0x0fffffffu

#define LVT_BASIC (0xffu | LVT_MASK)
#define LVT_MODES 0x700u
static const uint32_t lvt_writable[LVT_COUNT] = {
	[LVT_TIMER] = LVT_BASIC | 3u << 17,
	[LVT_THERMAL] = LVT_BASIC | LVT_MODES,
	[LVT_PERF] = LVT_BASIC | LVT_MODES,
	[LVT_LINT0] = LVT_BASIC | LVT_MODES | LVT_POLARITY | LVT_LEVEL,
	[LVT_LINT1] = LVT_BASIC | LVT_MODES | LVT_POLARITY | LVT_LEVEL,
	[LVT_ERROR] = LVT_BASIC,
};
#define LVT_READ_ONLY (LVT_STATUS | LVT_REMOTE_IRR)

static uint32_t read_id(const struct lapic *l)
{
	return lapic_x2(l) ? l->cfg.id : l->cfg.id << 24;
}

static uint32_t read_ldr(const struct lapic *l)
{
	return lapic_x2(l) ? (l->cfg.id >> 4) << 16 | 1u << (l->cfg.id & 15) : l->ldr;
}

/* Registers that only one of the two modes has. */
static bool mode_read(const struct lapic *l, unsigned reg, uint64_t *val)
{
	bool x2 = lapic_x2(l);

	switch (reg) {
	case REG_ICR_LOW:
		*val = x2 ? l->icr : (uint32_t)l->icr;
		return true;
	case REG_ICR_HIGH:
		*val = l->icr >> 32;
		return !x2;
	case REG_DFR:
		*val = l->dfr;
		return !x2;
	case REG_APR:
	case REG_RRD:
	case REG_EOI: /* write-only; reads as 0 in the page */
		*val = 0;
		return !x2;
	default:
		return false;
	}
}

bool lapic_reg_read(struct lapic *l, unsigned reg, uint64_t *val)
{
	if (reg >= REG_ISR0 && reg < REG_ESR) {
		const uint32_t *set = reg < REG_TMR0 ? l->isr : reg < REG_IRR0 ? l->tmr : l->irr;

		*val = set[reg & 7];
		return true;
	}
	if (reg >= REG_LVT0 && reg <= REG_LVT_LAST) {
		*val = l->lvt[reg - REG_LVT0];
		return true;
	}
	switch (reg) {
	case REG_ID:
		*val = read_id(l);
		return true;
	case REG_VERSION:
		*val = VERSION;
		return true;
	case REG_TPR:
		*val = l->tpr;
		return true;
	case REG_PPR:
		*val = lapic_ppr(l);
		return true;
	case REG_LDR:
		*val = read_ldr(l);
		return true;
	case REG_SVR:
		*val = l->svr;
		return true;
	case REG_ESR:
		*val = l->esr;
		return true;
	case REG_TIMER_INITIAL:
		*val = l->timer_initial;
		return true;
	case REG_TIMER_CURRENT:
		*val = lapic_timer_current(l);
		return true;
	case REG_TIMER_DIVIDE:
		*val = l->timer_divide;
		return true;
	default:
		return mode_read(l, reg, val);
	}
}

static void eoi(struct lapic *l, struct lapic_after *after)
{
	int v = lapic_highest(l->isr);

	if (v < 0)
		return;
	l->isr[v / 32] &= ~(1u << (v % 32));
	if (l->tmr[v / 32] & (1u << (v % 32))) {
		if (!(l->svr & SVR_EOI_SUPPRESS))
			after->eoi = v;
		for (unsigned pin = 0; pin < 2; pin++) {
			uint32_t *lvt = &l->lvt[LVT_LINT0 + pin];

			if (LVT_VECTOR(*lvt) == v && (*lvt & LVT_REMOTE_IRR)) {
				*lvt &= ~LVT_REMOTE_IRR;
				lapic_lint_service(l, pin);
			}
		}
	}
	lapic_update(l);
}

static void write_lvt(struct lapic *l, unsigned i, uint32_t val)
{
	uint32_t old = l->lvt[i];

	val = (val & lvt_writable[i]) | (old & LVT_REMOTE_IRR);
	if (!(l->svr & SVR_ENABLE))
		val |= LVT_MASK; /* 11.4.7.2: cannot be cleared while disabled */
	if (!(val & LVT_LEVEL) || LVT_DELIVERY(val) != DELIVERY_FIXED)
		val &= ~LVT_REMOTE_IRR;
	l->lvt[i] = val;
	if (i == LVT_TIMER)
		lapic_timer_mode(l, old);
	if (i == LVT_LINT0 || i == LVT_LINT1)
		lapic_lint_service(l, i - LVT_LINT0);
	lapic_update(l);
}

static void write_svr(struct lapic *l, uint32_t val)
{
	l->svr = val & SVR_WRITABLE;
	if (!(l->svr & SVR_ENABLE)) {
		for (unsigned i = 0; i < LVT_COUNT; i++)
			l->lvt[i] |= LVT_MASK;
		lapic_timer_rearm(l);
	}
	lapic_update(l);
}

/* Bits of an MSR that must be zero in x2APIC mode, 11.12.1.3; all ones: not writable there. */
static uint64_t x2_reserved(unsigned reg)
{
	if (reg >= REG_LVT0 && reg <= REG_LVT_LAST)
		return ~(uint64_t)(lvt_writable[reg - REG_LVT0] | LVT_READ_ONLY);
	switch (reg) {
	case REG_TPR:
	case REG_SELF_IPI:
		return ~0xffull;
	case REG_EOI:
	case REG_ESR:
		return ~0ull;
	case REG_SVR:
		return ~(uint64_t)SVR_WRITABLE;
	case REG_ICR_LOW:
		return ~ICR_WRITABLE_X2;
	case REG_TIMER_INITIAL:
		return ~0xffffffffull;
	case REG_TIMER_DIVIDE:
		return ~(uint64_t)DIVIDE_WRITABLE;
	default:
		return 0;
	}
}

/* Registers that only one of the two modes has, or that differ. */
static bool mode_write(struct lapic *l, unsigned reg, uint64_t val, struct lapic_after *after)
{
	bool x2 = lapic_x2(l);

	switch (reg) {
	case REG_ICR_LOW:
		l->icr = x2 ? val : (l->icr & ~0xffffffffull) | (val & ICR_WRITABLE);
		after->send = true;
		after->icr = l->icr;
		return true;
	case REG_ICR_HIGH:
		if (!x2)
			l->icr = (uint32_t)l->icr | (val & 0xff000000) << 32;
		return !x2;
	case REG_LDR:
		if (!x2)
			l->ldr = val & LDR_WRITABLE;
		return !x2;
	case REG_DFR:
		if (!x2)
			l->dfr = val | DFR_FIXED;
		return !x2;
	case REG_SELF_IPI:
		if (x2)
			lapic_accept(l, val, false);
		return x2;
	case REG_ID: /* read-only since it is the number by which messages find us */
		return !x2;
	default:
		return false;
	}
}

bool lapic_reg_write(struct lapic *l, unsigned reg, uint64_t val, struct lapic_after *after)
{
	if (lapic_x2(l) && (val & x2_reserved(reg)))
		return false;
	if (reg >= REG_LVT0 && reg <= REG_LVT_LAST) {
		write_lvt(l, reg - REG_LVT0, val);
		return true;
	}
	switch (reg) {
	case REG_TPR:
		l->tpr = val & 0xff;
		lapic_update(l);
		return true;
	case REG_EOI:
		eoi(l, after);
		return true;
	case REG_SVR:
		write_svr(l, val);
		return true;
	case REG_ESR:
		l->esr = l->esr_latch;
		l->esr_latch = 0;
		return true;
	case REG_TIMER_INITIAL:
		lapic_timer_start(l, val);
		return true;
	case REG_TIMER_DIVIDE:
		lapic_timer_set_divide(l, val);
		return true;
	default:
		return mode_write(l, reg, val, after);
	}
}

static bool vectors_valid(const uint32_t *set)
{
	return !(set[0] & ((1u << FIRST_LEGAL_VECTOR) - 1));
}

bool lapic_regs_valid(const struct lapic *l)
{
	for (unsigned i = 0; i < LVT_COUNT; i++) {
		bool lint = i == LVT_LINT0 || i == LVT_LINT1;

		if (l->lvt[i] & ~(lvt_writable[i] | (lint ? LVT_REMOTE_IRR : 0)))
			return false;
		if (!(l->svr & SVR_ENABLE) && !(l->lvt[i] & LVT_MASK))
			return false;
	}
	if (!vectors_valid(l->irr) || !vectors_valid(l->isr) || !vectors_valid(l->tmr))
		return false;
	if (l->tpr > 0xff || (l->svr & ~SVR_WRITABLE) || (l->timer_divide & ~DIVIDE_WRITABLE))
		return false;
	if ((l->ldr & ~LDR_WRITABLE) || (l->dfr & DFR_FIXED) != DFR_FIXED || (l->icr & ~ICR_WRITABLE_X2))
		return false;
	return !((l->esr | l->esr_latch) & ~(ESR_SEND_VECTOR | ESR_RECV_VECTOR | ESR_REGISTER));
}
