/* SPDX-License-Identifier: GPL-2.0-or-later */
/* High precision event timers: a counter of 100 MHz and three comparators, which can stand in for the 8254 and the clock chip. */
#ifndef DOPPEL_DEV_TIMER_HPET_H
#define DOPPEL_DEV_TIMER_HPET_H

#include "base/clock.h"
#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

#define HPET_SIZE     1024u
#define HPET_ID       0x8086a201u /* vendor, legacy replacement, 64 bits, three timers, revision 1 */
#define HPET_ROUTES   4
#define HPET_MIN_TICK 100u        /* of the ACPI table: periodic interrupts come no closer */

struct hpet_config {
	struct clock *clock;
	struct irq_line legacy[2];          /* where the 8254's and the clock chip's interrupts go */
	struct irq_line route[HPET_ROUTES]; /* IOAPIC inputs for the timers ... */
	uint8_t first_route;                /* ... and the number of the first one */
};

struct hpet;
struct hpet *hpet_new(const struct hpet_config *c);

/* What the 8254 (0) and the clock chip (1) drive instead: it goes on to legacy[n] unless the timers stand in for them. */
struct irq_line hpet_input(struct hpet *h, unsigned n);

/* Registers, HPET_SIZE bytes. */
int hpet_attach(struct hpet *h, struct space *mem, uint64_t base);

#endif
