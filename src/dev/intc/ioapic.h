/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The I/O APIC: 24 interrupt inputs turned into messages to local APICs. */
#ifndef DOPPEL_DEV_INTC_IOAPIC_H
#define DOPPEL_DEV_INTC_IOAPIC_H

#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

#define IOAPIC_PINS 24

struct ioapic;

struct ioapic *ioapic_new(struct msi_sink out);

/* Input n, 0 to 23. Callable under locks below RANK_INTC. */
struct irq_line ioapic_input(struct ioapic *a, unsigned n);

/* A processor broadcast EOI for this vector: level-triggered entries with it may fire again. Takes RANK_INTC. */
void ioapic_eoi(struct ioapic *a, uint8_t vector);

/* A page at base. */
int ioapic_attach(struct ioapic *a, struct space *mem, uint64_t base);

#endif
