/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Local APIC of one vCPU: acceptance and priority of interrupts, xAPIC page, x2APIC MSRs, IA32_APIC_BASE.
 *
 * Specification: Intel SDM vol. 3, chapter 11. The register file is in lapic_regs.c, the timer in
 * lapic_timer.c, messages in lapic_bus.c.
 * Missing: CMCI, performance-counter and thermal sources (their LVT entries can be programmed and
 * never fire), arbitration priority (reads 0, as since the Pentium 4). The APIC id is read-only.
 * Ignored: focus checking, LINT polarity, level-triggered IPIs (sent as edge).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "dev/intc/lapic_internal.h"

/* The MSRs that are ours, SDM vol. 4 */
#define MSR_APIC_BASE     0x1b
#define MSR_TSC_DEADLINE  0x6e0
#define MSR_X2APIC_FIRST  0x800
#define MSR_X2APIC_LAST   0x8ff

#define APIC_PAGE_SIZE    0x1000u
#define SVR_RESET         0xffu
#define DFR_RESET         0xffffffffu

int lapic_highest(const uint32_t *bits)
{
	for (int i = 7; i >= 0; i--)
		if (bits[i])
			return i * 32 + 31 - __builtin_clz(bits[i]);
	return -1;
}

uint8_t lapic_ppr(const struct lapic *l)
{
	int in_service = lapic_highest(l->isr);

	if (in_service < 0 || l->tpr >> 4 >= (unsigned)in_service >> 4)
		return l->tpr;
	return in_service & 0xf0;
}

/* Does the 8259 have something for this processor? */
static bool ext_pending(const struct lapic *l)
{
	uint32_t lvt = l->lvt[LVT_LINT0];

	if (!lapic_enabled(l))
		return l->lint[0]; /* the pin is the processor's INTR */
	return l->ext_latched || (l->lint[0] && !(lvt & LVT_MASK) && LVT_DELIVERY(lvt) == DELIVERY_EXTINT);
}

/* The request to be served next at the present priority, or -1. */
static int next_vector(const struct lapic *l)
{
	int v = lapic_enabled(l) ? lapic_highest(l->irr) : -1;

	return v >= 0 && v >> 4 > lapic_ppr(l) >> 4 ? v : -1;
}

void lapic_update(struct lapic *l)
{
	bool pending = ext_pending(l) || next_vector(l) >= 0;

	atomic_store(&l->pending, pending);
	if (pending && l->cfg.kick.raise)
		l->cfg.kick.raise(l->cfg.kick.vcpu, CPU_EVENT_INTR, 0);
}

static void set_irr(struct lapic *l, uint8_t vector, bool level)
{
	uint32_t bit = 1u << (vector % 32);

	l->irr[vector / 32] |= bit;
	if (level)
		l->tmr[vector / 32] |= bit;
	else
		l->tmr[vector / 32] &= ~bit;
	lapic_update(l);
}

void lapic_error(struct lapic *l, uint32_t esr_bit)
{
	uint32_t lvt = l->lvt[LVT_ERROR];

	l->esr_latch |= esr_bit;
	if (lvt & LVT_MASK)
		return;
	if (LVT_VECTOR(lvt) >= FIRST_LEGAL_VECTOR)
		set_irr(l, LVT_VECTOR(lvt), false);
	else
		l->esr_latch |= ESR_RECV_VECTOR;
}

void lapic_accept(struct lapic *l, uint8_t vector, bool level)
{
	if (!lapic_enabled(l) || !(l->svr & SVR_ENABLE))
		return;
	if (vector < FIRST_LEGAL_VECTOR)
		lapic_error(l, ESR_RECV_VECTOR);
	else
		set_irr(l, vector, level);
}

void lapic_lint_service(struct lapic *l, unsigned pin)
{
	uint32_t *lvt = &l->lvt[LVT_LINT0 + pin];

	if (!l->lint[pin] || (*lvt & (LVT_MASK | LVT_REMOTE_IRR)) || !(*lvt & LVT_LEVEL) ||
	    LVT_DELIVERY(*lvt) != DELIVERY_FIXED)
		return;
	*lvt |= LVT_REMOTE_IRR;
	lapic_accept(l, LVT_VECTOR(*lvt), true);
}

/* What a register write asked for, now that the lock is dropped. */
static void finish(struct lapic *l, const struct lapic_after *after)
{
	if (after->send)
		lapic_send_icr(l, after->icr);
	if (after->eoi >= 0)
		l->bus->cfg.eoi(l->bus->cfg.opaque, after->eoi);
}

/* -- What the vCPU sees ------------------------------------------------------------------------ */

static bool intc_pending(void *opaque)
{
	struct lapic *l = opaque;

	return atomic_load(&l->pending);
}

static int intc_ack(void *opaque)
{
	struct lapic *l = opaque;
	bool ext;
	int v = -1;

	lock_take(&l->lock);
	ext = ext_pending(l);
	if (ext) {
		l->ext_latched = false;
	} else {
		v = next_vector(l);
		if (v >= 0) {
			l->irr[v / 32] &= ~(1u << (v % 32));
			l->isr[v / 32] |= 1u << (v % 32);
		}
	}
	lapic_update(l);
	lock_drop(&l->lock);
	return ext ? l->bus->cfg.ext_ack(l->bus->cfg.opaque) : v;
}

static unsigned intc_get_tpr(void *opaque)
{
	struct lapic *l = opaque;
	unsigned tpr;

	lock_take(&l->lock);
	tpr = l->tpr >> 4;
	lock_drop(&l->lock);
	return tpr;
}

static void intc_set_tpr(void *opaque, unsigned tpr)
{
	struct lapic *l = opaque;

	lock_take(&l->lock);
	l->tpr = (tpr & 0xf) << 4;
	lapic_update(l);
	lock_drop(&l->lock);
}

static void clear_registers(struct lapic *l)
{
	l->tpr = l->ldr = l->esr = l->esr_latch = 0;
	l->icr = 0;
	l->dfr = DFR_RESET;
	l->svr = SVR_RESET;
	for (unsigned i = 0; i < LVT_COUNT; i++)
		l->lvt[i] = LVT_MASK;
	for (unsigned i = 0; i < ARRAY_SIZE(l->irr); i++)
		l->irr[i] = l->isr[i] = l->tmr[i] = 0;
	l->ext_latched = false;
	l->timer_divide = 0;
	lapic_timer_stop(l);
}

/* The transitions of SDM vol. 3, figure 11-27; all others fault. */
static bool base_valid(const struct lapic *l, uint64_t val)
{
	uint64_t allowed = (BIT(l->cfg.gpa_bits) - APIC_PAGE_SIZE) | BASE_BSP | BASE_EXTD | BASE_EN;
	uint64_t mode = val & (BASE_EXTD | BASE_EN), now = l->base_msr & (BASE_EXTD | BASE_EN);

	if (val & ~allowed || mode == BASE_EXTD)
		return false;
	if (now == (BASE_EXTD | BASE_EN))
		return mode != BASE_EN;
	return !(now == 0 && mode == (BASE_EXTD | BASE_EN));
}

static bool write_base(struct lapic *l, uint64_t val)
{
	bool was_x2 = lapic_x2(l);

	if (!base_valid(l, val))
		return false;
	l->base_msr = val;
	if (!lapic_enabled(l))
		clear_registers(l); /* enabling it again is like power-up, 11.4.3 */
	if (lapic_x2(l) && !was_x2)
		l->icr = (uint32_t)l->icr; /* 11.12.5.1 */
	lapic_update(l);
	return true;
}

static bool read_msr(struct lapic *l, uint32_t msr, uint64_t *val)
{
	switch (msr) {
	case MSR_APIC_BASE:
		*val = l->base_msr;
		return true;
	case MSR_TSC_DEADLINE:
		*val = l->tsc_deadline;
		return true;
	default:
		return msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST && lapic_x2(l) &&
		       lapic_reg_read(l, msr - MSR_X2APIC_FIRST, val);
	}
}

static bool intc_rdmsr(void *opaque, uint32_t msr, uint64_t *val)
{
	struct lapic *l = opaque;
	bool ok;

	lock_take(&l->lock);
	ok = read_msr(l, msr, val);
	lock_drop(&l->lock);
	return ok;
}

static bool write_msr(struct lapic *l, uint32_t msr, uint64_t val, struct lapic_after *after)
{
	switch (msr) {
	case MSR_APIC_BASE:
		return write_base(l, val);
	case MSR_TSC_DEADLINE:
		lapic_timer_set_deadline(l, val);
		return true;
	default:
		return msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST && lapic_x2(l) &&
		       lapic_reg_write(l, msr - MSR_X2APIC_FIRST, val, after);
	}
}

static bool intc_wrmsr(void *opaque, uint32_t msr, uint64_t val)
{
	struct lapic_after after = { .eoi = -1 };
	struct lapic *l = opaque;
	bool ok;

	lock_take(&l->lock);
	ok = write_msr(l, msr, val, &after);
	lock_drop(&l->lock);
	finish(l, &after);
	return ok;
}

/*
 * The xAPIC page. Registers are 32 bits wide at multiples of 16; SDM vol. 3, 11.4.1 leaves other
 * accesses undefined: here narrow and wide reads see the register's bytes, and such writes,
 * but for the low half of an 8-byte one, are ignored.
 */
static bool intc_mmio(void *opaque, uint64_t gpa, unsigned size, bool write, uint64_t *val)
{
	struct lapic_after after = { .eoi = -1 };
	struct lapic *l = opaque;
	unsigned off = gpa & (APIC_PAGE_SIZE - 1);
	uint64_t reg_val = 0;

	if ((l->base_msr & (BASE_EN | BASE_EXTD)) != BASE_EN ||
	    ((gpa ^ l->base_msr) & ~(uint64_t)(APIC_PAGE_SIZE - 1)))
		return false;
	lock_take(&l->lock);
	if (!write) {
		if (!lapic_reg_read(l, off >> 4, &reg_val))
			lapic_error(l, ESR_REGISTER);
		*val = (off & 0xc ? 0 : reg_val >> (off & 3) * 8) & size_mask(size);
	} else if (size >= 4 && !(off & 0xf)) {
		if (!lapic_reg_write(l, off >> 4, (uint32_t)*val, &after))
			lapic_error(l, ESR_REGISTER);
	}
	lock_drop(&l->lock);
	finish(l, &after);
	return true;
}

static void lapic_reset(struct lapic *l, bool init)
{
	lock_take(&l->lock);
	clear_registers(l);
	if (!init)
		l->base_msr = BASE_ADDR | BASE_EN | (l->cfg.bsp ? BASE_BSP : 0);
	lapic_update(l);
	lock_drop(&l->lock);
}

static void intc_reset(void *opaque, bool init)
{
	lapic_reset(opaque, init);
}

static const struct cpu_intc_ops lapic_intc_ops = {
	.pending = intc_pending,
	.ack = intc_ack,
	.get_tpr = intc_get_tpr,
	.set_tpr = intc_set_tpr,
	.rdmsr = intc_rdmsr,
	.wrmsr = intc_wrmsr,
	.mmio = intc_mmio,
	.reset = intc_reset,
};

struct cpu_intc lapic_intc(struct lapic *l)
{
	return (struct cpu_intc){ .ops = &lapic_intc_ops, .opaque = l };
}

/* -- Life -------------------------------------------------------------------------------------- */

void lapic_virtual_wire(struct lapic *l)
{
	lock_take(&l->lock);
	l->svr = SVR_RESET | SVR_ENABLE;
	l->lvt[LVT_LINT0] = DELIVERY_EXTINT << 8;
	l->lvt[LVT_LINT1] = DELIVERY_NMI << 8;
	lapic_update(l);
	lock_drop(&l->lock);
}

static void device_reset(struct device *d)
{
	lapic_reset((struct lapic *)d, false);
}

/* A count can end no later than one period from now. */
static bool timer_valid(struct lapic *l)
{
	uint64_t longest = ((uint64_t)UINT32_MAX << 7);

	return !l->timer_running || (l->timer_initial && l->timer_expiry_ns <= clock_now(l->cfg.clock) + longest);
}

static bool base_restorable(const struct lapic *l)
{
	uint64_t allowed = (BIT(l->cfg.gpa_bits) - APIC_PAGE_SIZE) | BASE_BSP | BASE_EXTD | BASE_EN;

	return !(l->base_msr & ~allowed) && (l->base_msr & (BASE_EXTD | BASE_EN)) != BASE_EXTD;
}

static int lapic_post_load(struct device *d)
{
	struct lapic *l = (struct lapic *)d;

	if (!base_restorable(l) || !lapic_regs_valid(l) || !timer_valid(l))
		return -EINVAL;
	lock_take(&l->lock);
	lapic_timer_rearm(l);
	lapic_update(l);
	lock_drop(&l->lock);
	return 0;
}

/* The TSC ran on while guest time stood: the deadline is nearer than the timer believes. */
static void lapic_quiesce(struct device *d, bool on)
{
	struct lapic *l = (struct lapic *)d;

	lock_take(&l->lock);
	if (!on)
		lapic_timer_rearm(l);
	lock_drop(&l->lock);
}

static void lapic_free(struct device *d)
{
	struct lapic *l = (struct lapic *)d;

	timer_release(&l->timer);
	lock_release(&l->lock);
	free(l);
}

static const struct state_field lapic_state[] = {
	STATE_U64(struct lapic, base_msr),
	STATE_U32(struct lapic, tpr),
	STATE_U32(struct lapic, ldr),
	STATE_U32(struct lapic, dfr),
	STATE_U32(struct lapic, svr),
	STATE_U32(struct lapic, esr),
	STATE_U32(struct lapic, esr_latch),
	STATE_U64(struct lapic, icr),
	STATE_ARRAY(struct lapic, lvt),
	STATE_ARRAY(struct lapic, irr),
	STATE_ARRAY(struct lapic, isr),
	STATE_ARRAY(struct lapic, tmr),
	STATE_BOOL(struct lapic, lint[0]),
	STATE_BOOL(struct lapic, lint[1]),
	STATE_BOOL(struct lapic, ext_latched),
	STATE_U32(struct lapic, timer_initial),
	STATE_U32(struct lapic, timer_divide),
	STATE_BOOL(struct lapic, timer_running),
	STATE_U64(struct lapic, timer_expiry_ns),
	STATE_U64(struct lapic, tsc_deadline),
	STATE_END(),
};

static const struct device_ops lapic_device_ops = {
	.name = "lapic",
	.reset = device_reset,
	.post_load = lapic_post_load,
	.quiesce = lapic_quiesce,
	.free = lapic_free,
	.state = lapic_state,
	.state_version = 1,
};

struct lapic *lapic_new(struct lapic_bus *b, const struct lapic_config *c)
{
	struct lapic *l = calloc(1, sizeof(*l));

	BUG_ON(!l);
	l->dev.ops = &lapic_device_ops;
	list_init(&l->dev.node);
	l->bus = b;
	l->cfg = *c;
	lock_init(&l->lock, RANK_LAPIC);
	timer_init(&l->timer, c->clock, lapic_timer_cb, l);
	lapic_reset(l, false);
	lapic_bus_add(b, l);
	return l;
}
