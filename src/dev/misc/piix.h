/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PIIX3 ISA bridge and the PIIX4 power management function, as functions of the PCI bus. */
#ifndef DOPPEL_DEV_MISC_PIIX_H
#define DOPPEL_DEV_MISC_PIIX_H

#include "bus/device.h"
#include "bus/pci.h"
#include "irq/irq.h"

#define PIIX_ISA_IRQS 16

struct piix_isa;

/*
 * The ISA bridge routes the bus' four wires to ISA interrupts by its PIRQ registers. irq[n] is the wire of ISA interrupt n, which
 * other chips may share; direct[i] hears wire i whatever the registers say (an IOAPIC input of its own; may be unconnected).
 */
struct piix_isa_config {
	struct pci_bus *bus;
	uint8_t devfn;
	struct irq_line irq[PIIX_ISA_IRQS];
	struct irq_line direct[PCI_PINS];
};
struct piix_isa *piix_isa_new(const struct piix_isa_config *c);

/* What the bus' INTx wire i is to be connected to. */
struct irq_line piix_isa_wire(struct piix_isa *p, unsigned i);

/* Set a PIRQ register as firmware would. While the machine is being built or stands. */
void piix_isa_route(struct piix_isa *p, unsigned i, uint8_t irq);

struct acpi_pm;
struct piix_pm;

struct piix_pm_config {
	struct pci_bus *bus;
	uint8_t devfn;
	struct space *pio;
	struct acpi_pm *pm;
};

/* The PM function: shows the ACPI block and the SMBus host where its registers put them; nowhere after a reset. */
struct piix_pm *piix_pm_new(const struct piix_pm_config *c);

/* Put them there, as firmware would. While the machine is being built or stands. */
void piix_pm_enable(struct piix_pm *p, uint16_t pm_base, uint16_t smb_base);

#endif
