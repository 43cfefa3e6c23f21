/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host bridge: PCI configuration mechanism 1, and itself as function 0 of the bus. */
#ifndef DOPPEL_DEV_MISC_PCI_HOST_H
#define DOPPEL_DEV_MISC_PCI_HOST_H

#include "bus/device.h"
#include "bus/pci.h"
#include "mem/space.h"

struct pci_host;
struct reset_ctl;
struct pam;

/* pam follows the bridge's registers. Byte accesses to the port after the address register's go to the reset control register. */
struct pci_host *pci_host_new(struct pci_bus *bus, struct reset_ctl *reset, struct pam *pam);

/* Shadow memory as firmware leaves it: all of it RAM. While the machine stands. */
void pci_host_open_shadow(struct pci_host *h);

/* Address register (4 ports) at base, data register (4 ports) behind it. */
int pci_host_attach(struct pci_host *h, struct space *pio, uint16_t base);

#endif
