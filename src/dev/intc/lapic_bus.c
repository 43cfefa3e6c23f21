/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt messages between local APICs, and to them from the IOAPIC and MSI functions (SDM vol. 3, 11.6, 11.11, 11.12.10). */
#include <stdlib.h>

#include "base/err.h"
#include "dev/intc/lapic_internal.h"

#define BROADCAST8  0xffu
#define BROADCAST32 0xffffffffu

/* Interrupt command register */
#define ICR_LOGICAL      BIT(11)
#define ICR_ASSERT       BIT(14)
#define ICR_LEVEL        BIT(15)
#define ICR_SHORTHAND(i) (((i) >> 18) & 3)
enum { TO_DEST, TO_SELF, TO_ALL, TO_OTHERS };

/* Message address and data, 11.11 */
#define MSI_WINDOW(a)   ((a) >> 20)
#define MSI_WINDOW_APIC 0xfee
#define MSI_DEST(a)     (((a) >> 12) & 0xff)
#define MSI_HINT        BIT(3)
#define MSI_LOGICAL     BIT(2)
#define MSI_LEVEL       BIT(15)

#define DFR_FLAT 0xf /* model, in bits 31-28; the other model is cluster, 0 */

/* Logical destination in x2APIC mode: cluster in the upper half, bit of the CPU in it below. */
static bool matches_x2_logical(const struct lapic *l, uint32_t dest)
{
	return dest >> 16 == l->cfg.id >> 4 && (dest & (1u << (l->cfg.id & 15)));
}

static bool matches_flat_or_cluster(const struct lapic *l, uint32_t dest)
{
	uint8_t ldr = l->ldr >> 24;

	if (dest > BROADCAST8)
		return false;
	if (l->dfr >> 28 == DFR_FLAT)
		return ldr & dest;
	return (dest >> 4 == 0xf || dest >> 4 == ldr >> 4) && (ldr & dest & 0xf);
}

/* Is l among the destinations of m? Its lock is held. */
static bool matches(const struct lapic *l, const struct apic_msg *m)
{
	if (m->dest == (m->wide ? BROADCAST32 : BROADCAST8))
		return true;
	if (!m->logical)
		return m->dest == l->cfg.id;
	return lapic_x2(l) ? matches_x2_logical(l, m->dest) : matches_flat_or_cluster(l, m->dest);
}

static void raise(struct lapic *l, enum cpu_event ev, unsigned arg)
{
	if (l->cfg.kick.raise)
		l->cfg.kick.raise(l->cfg.kick.vcpu, ev, arg);
}

/* The message has reached l, whose lock is held. */
static void receive(struct lapic *l, const struct apic_msg *m)
{
	if (!lapic_enabled(l))
		return;
	switch ((enum apic_delivery)m->mode) {
	case DELIVERY_FIXED:
	case DELIVERY_LOWEST:
		lapic_accept(l, m->vector, m->level);
		break;
	case DELIVERY_SMI:
		raise(l, CPU_EVENT_SMI, 0);
		break;
	case DELIVERY_NMI:
		raise(l, CPU_EVENT_NMI, 0);
		break;
	case DELIVERY_INIT:
		raise(l, CPU_EVENT_INIT, 0);
		break;
	case DELIVERY_SIPI:
		raise(l, CPU_EVENT_SIPI, m->vector);
		break;
	case DELIVERY_EXTINT:
		l->ext_latched = true;
		lapic_update(l);
		break;
	case DELIVERY_RESERVED:
		break;
	}
}

static void receive_if_matching(struct lapic *l, const struct apic_msg *m)
{
	lock_take(&l->lock);
	if (matches(l, m))
		receive(l, m);
	lock_drop(&l->lock);
}

/* Its processor priority if l would take the message, else -1. */
static int bid(struct lapic *l, const struct apic_msg *m)
{
	int priority = -1;

	lock_take(&l->lock);
	if (matches(l, m) && lapic_enabled(l) && (l->svr & SVR_ENABLE))
		priority = lapic_ppr(l);
	lock_drop(&l->lock);
	return priority;
}

/* Lowest priority arbitration; among equals the turn goes round. */
static void deliver_lowest(struct lapic_bus *b, const struct apic_msg *m)
{
	unsigned start = atomic_fetch_add(&b->rotor, 1);
	struct lapic *best = NULL;
	int best_priority = 0;

	for (unsigned i = 0; i < b->cfg.cpus; i++) {
		struct lapic *l = b->cpu[(start + i) % b->cfg.cpus];
		int priority = bid(l, m);

		if (priority >= 0 && (!best || priority < best_priority)) {
			best = l;
			best_priority = priority;
		}
	}
	if (best)
		receive_if_matching(best, m);
}

static void deliver(struct lapic_bus *b, const struct apic_msg *m)
{
	if (m->lowest) {
		deliver_lowest(b, m);
	} else if (!m->logical && m->dest < b->cfg.cpus) {
		receive_if_matching(b->cpu[m->dest], m);
	} else {
		for (unsigned i = 0; i < b->cfg.cpus; i++)
			receive_if_matching(b->cpu[i], m);
	}
}

/* Shorthands that reach everybody, SDM vol. 3, table 11-3: with self, only fixed interrupts may go. */
static void deliver_to_all(struct lapic *from, const struct apic_msg *m, bool self)
{
	struct apic_msg all = *m;

	if (self && m->mode != DELIVERY_FIXED)
		return;
	all.wide = true;
	all.dest = BROADCAST32;
	for (unsigned i = 0; i < from->bus->cfg.cpus; i++)
		if (self || from->bus->cpu[i] != from)
			receive_if_matching(from->bus->cpu[i], &all);
}

void lapic_send_icr(struct lapic *l, uint64_t icr)
{
	struct apic_msg m = {
		.dest = lapic_x2(l) ? icr >> 32 : icr >> 56,
		.wide = lapic_x2(l),
		.logical = icr & ICR_LOGICAL,
		.mode = (icr >> 8) & 7,
		.vector = icr,
	};

	/* INIT level de-assert does nothing on processors since the Pentium 4; the others have no level. */
	if (m.mode == DELIVERY_INIT && (icr & ICR_LEVEL) && !(icr & ICR_ASSERT))
		return;
	if (m.mode == DELIVERY_RESERVED || m.mode == DELIVERY_EXTINT)
		return;
	if ((m.mode == DELIVERY_FIXED || m.mode == DELIVERY_LOWEST) && m.vector < FIRST_LEGAL_VECTOR) {
		lock_take(&l->lock);
		lapic_error(l, ESR_SEND_VECTOR);
		lock_drop(&l->lock);
		return;
	}
	m.lowest = m.mode == DELIVERY_LOWEST;
	switch (ICR_SHORTHAND(icr)) {
	case TO_DEST:
		deliver(l->bus, &m);
		break;
	case TO_SELF:
		lock_take(&l->lock);
		if (m.mode == DELIVERY_FIXED)
			receive(l, &m);
		lock_drop(&l->lock);
		break;
	case TO_ALL:
		deliver_to_all(l, &m, true);
		break;
	case TO_OTHERS:
		deliver_to_all(l, &m, false);
		break;
	}
}

static void bus_msi(void *opaque, struct msi_msg msg)
{
	struct apic_msg m = {
		.dest = MSI_DEST(msg.addr),
		.logical = msg.addr & MSI_LOGICAL,
		.level = msg.data & MSI_LEVEL,
		.mode = (msg.data >> 8) & 7,
		.vector = msg.data,
	};

	if (MSI_WINDOW(msg.addr) != MSI_WINDOW_APIC || m.mode == DELIVERY_SIPI)
		return;
	m.lowest = m.mode == DELIVERY_LOWEST || (m.mode == DELIVERY_FIXED && (msg.addr & MSI_HINT));
	deliver(opaque, &m);
}

struct msi_sink lapic_bus_msi(struct lapic_bus *b)
{
	return (struct msi_sink){ .send = bus_msi, .opaque = b };
}

/* A level- or edge-triggered LINT pin in one of the modes that its LVT entry can have. */
static void lint_changed(struct lapic *l, unsigned pin, bool rose)
{
	uint32_t *lvt = &l->lvt[LVT_LINT0 + pin];

	if (!lapic_enabled(l)) {
		/* A disabled APIC's pins are the processor's own INTR and NMI, SDM vol. 3, 11.4.3. */
		if (pin == 1 && rose)
			raise(l, CPU_EVENT_NMI, 0);
	} else if (*lvt & LVT_MASK) {
		return;
	} else if (LVT_DELIVERY(*lvt) == DELIVERY_NMI && rose) {
		raise(l, CPU_EVENT_NMI, 0);
	} else if (LVT_DELIVERY(*lvt) == DELIVERY_INIT && rose) {
		raise(l, CPU_EVENT_INIT, 0);
	} else if (LVT_DELIVERY(*lvt) == DELIVERY_SMI && rose) {
		raise(l, CPU_EVENT_SMI, 0);
	} else if (LVT_DELIVERY(*lvt) == DELIVERY_FIXED && !(*lvt & LVT_LEVEL) && rose) {
		lapic_accept(l, LVT_VECTOR(*lvt), false);
	} else if (LVT_DELIVERY(*lvt) == DELIVERY_FIXED) {
		lapic_lint_service(l, pin);
	}
	lapic_update(l);
}

static void bus_lint(void *opaque, unsigned pin, bool level)
{
	struct lapic_bus *b = opaque;

	for (unsigned i = 0; i < b->cfg.cpus; i++) {
		struct lapic *l = b->cpu[i];
		bool rose;

		lock_take(&l->lock);
		rose = level && !l->lint[pin];
		l->lint[pin] = level;
		lint_changed(l, pin, rose);
		lock_drop(&l->lock);
	}
}

struct irq_line lapic_bus_lint(struct lapic_bus *b, unsigned pin)
{
	BUG_ON(pin > 1);
	return (struct irq_line){ .set = bus_lint, .opaque = b, .n = pin };
}

void lapic_bus_add(struct lapic_bus *b, struct lapic *l)
{
	BUG_ON(l->cfg.id >= b->cfg.cpus || b->cpu[l->cfg.id]);
	b->cpu[l->cfg.id] = l;
}

struct lapic_bus *lapic_bus_new(const struct lapic_bus_config *c)
{
	struct lapic_bus *b = calloc(1, sizeof(*b));

	BUG_ON(!b || !c->cpus || c->cpus >= BROADCAST8);
	b->cfg = *c;
	b->cpu = calloc(c->cpus, sizeof(struct lapic *));
	BUG_ON(!b->cpu);
	return b;
}

void lapic_bus_free(struct lapic_bus *b)
{
	free(b->cpu);
	free(b);
}
