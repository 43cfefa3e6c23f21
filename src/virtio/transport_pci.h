/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI: a function with a virtio device behind it. */
#ifndef DOPPEL_VIRTIO_TRANSPORT_PCI_H
#define DOPPEL_VIRTIO_TRANSPORT_PCI_H

#include "bus/msix.h"
#include "virtio/virtio.h"

struct virtio_pci;

struct virtio_pci_config {
	struct pci_bus *bus;
	uint8_t devfn;
	struct msi_sink msi;
	unsigned vectors; /* MSI-X vectors; 0: one for each queue and one for the configuration */
};

/* The glue, a device of its own; vd is borrowed and lives longer. Plugs the function in. */
struct virtio_pci *virtio_pci_new(struct virtio_device *vd, const struct virtio_pci_config *c);

#endif
