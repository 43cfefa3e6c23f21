/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AMD PCnet-PCI II Ethernet controller (Am79C970A). */
#ifndef DOPPEL_DEV_NET_PCNET_H
#define DOPPEL_DEV_NET_PCNET_H

#include "bus/device.h"
#include "bus/pci.h"

struct net;
struct pcnet;

struct pcnet_config {
	struct pci_bus *bus;
	uint8_t devfn;
	struct space *mem;  /* where DMA goes */
	struct net *net;    /* borrowed; NULL: no cable */
	uint8_t mac[6];
};

struct pcnet *pcnet_new(const struct pcnet_config *c);

#endif
