/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Intel 82540EM Gigabit Ethernet controller, for guests without virtio. */
#ifndef DOPPEL_DEV_NET_E1000_H
#define DOPPEL_DEV_NET_E1000_H

#include "bus/device.h"
#include "bus/pci.h"

struct e1000;
struct net;

struct e1000_config {
	struct pci_bus *bus;
	uint8_t devfn;
	struct space *mem;  /* where DMA goes */
	struct net *net;    /* borrowed; NULL: no cable */
	uint8_t mac[6];
};

struct e1000 *e1000_new(const struct e1000_config *c);

#endif
