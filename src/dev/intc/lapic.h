/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APICs, one for each vCPU, and the bus on which they send each other interrupts. */
#ifndef DOPPEL_DEV_INTC_LAPIC_H
#define DOPPEL_DEV_INTC_LAPIC_H

#include "base/clock.h"
#include "bus/device.h"
#include "irq/irq.h"

struct lapic;
struct lapic_bus;

/* What the APICs of a machine reach outside of themselves. Called with no lock held. */
struct lapic_bus_config {
	unsigned cpus;                                /* how many APICs will come, ids 0 to cpus-1; below 255 */
	void (*eoi)(void *opaque, uint8_t vector);    /* broadcast EOI of a level-triggered vector */
	int (*ext_ack)(void *opaque);                 /* INTA to the external controller: its vector */
	void *opaque;
};

/* The LAPICs are made after the bus and go before it. */
struct lapic_bus *lapic_bus_new(const struct lapic_bus_config *c);
void lapic_bus_free(struct lapic_bus *b);

/* Where interrupt messages (0xfeexxxxx) go. Callable under locks below RANK_LAPIC. */
struct msi_sink lapic_bus_msi(struct lapic_bus *b);

/* Pin 0 or 1: LINT0 (the 8259's INTR) or LINT1 (NMI) of all processors. As above. */
struct irq_line lapic_bus_lint(struct lapic_bus *b, unsigned pin);

struct lapic_config {
	unsigned id;         /* APIC id and place on the bus */
	bool bsp;            /* the boot processor */
	unsigned gpa_bits;   /* MAXPHYADDR: bits of IA32_APIC_BASE */
	struct clock *clock;
	struct cpu_kick kick;
	uint64_t (*tsc_now)(void *opaque); /* the guest's TSC; called on any thread under the APIC's lock */
	void *tsc_opaque;
};

struct lapic *lapic_new(struct lapic_bus *b, const struct lapic_config *c);

/* What the vCPU sees of it. All calls but reset on its thread; reset also while it stands. */
struct cpu_intc lapic_intc(struct lapic *l);

/*
 * What firmware leaves on the boot processor: APIC enabled by software, LINT0 takes the 8259's
 * interrupts, LINT1 is NMI (virtual wire mode, MultiProcessor Specification 3.6.2.2).
 */
void lapic_virtual_wire(struct lapic *l);

#endif
