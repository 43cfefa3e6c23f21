/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI function by which unit tests of hypervisors time writes to memory and to ports. */
#ifndef DOPPEL_DEV_MISC_PCI_TESTDEV_H
#define DOPPEL_DEV_MISC_PCI_TESTDEV_H

#include "bus/device.h"
#include "bus/pci.h"

struct pci_testdev;

struct pci_testdev *pci_testdev_new(struct pci_bus *bus, uint8_t devfn);

#endif
