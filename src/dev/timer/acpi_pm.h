/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI fixed hardware: PM1a event and control registers, PM timer, power button, soft-off. */
#ifndef DOPPEL_DEV_TIMER_ACPI_PM_H
#define DOPPEL_DEV_TIMER_ACPI_PM_H

#include "base/clock.h"
#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

/* Offsets in the block, as in the PIIX4 (82371AB data sheet, 7.2). */
#define ACPI_PM_EVT   0x00 /* 4 bytes: status, enable */
#define ACPI_PM_CNT   0x04 /* 2 bytes */
#define ACPI_PM_TIMER 0x08 /* 4 bytes */
#define ACPI_PM_SIZE  0x0c

#define ACPI_PM_TIMER_HZ 3579545ull

struct acpi_pm;

struct acpi_pm_config {
	struct irq_line sci;
	struct clock *clock;
	bool timer_32bit;       /* else 24 bits */
	uint8_t s5_type;        /* SLP_TYP that means soft-off, 0 to 7 */
	void (*power_off)(void *opaque); /* S5 was entered; under the chip's lock */
	void *opaque;
};

struct acpi_pm *acpi_pm_new(const struct acpi_pm_config *c);

/* The user presses the power button. Any thread. */
void acpi_pm_power_button(struct acpi_pm *a);

/* ACPI_PM_SIZE ports, in that space; shown nowhere yet. */
void acpi_pm_attach(struct acpi_pm *a, struct space *pio);

/* Show the ports at base (at most 0xffc0), 0: nowhere. Calls exclude each other. */
void acpi_pm_place(struct acpi_pm *a, uint16_t base);

#endif
