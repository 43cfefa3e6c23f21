/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over memory-mapped registers: for machines or guests without PCI. */
#ifndef DOPPEL_VIRTIO_TRANSPORT_MMIO_H
#define DOPPEL_VIRTIO_TRANSPORT_MMIO_H

#include "irq/irq.h"
#include "virtio/virtio.h"

#define VIRTIO_MMIO_SIZE 0x200u /* bytes of registers: 0x100, and the device's configuration */

struct virtio_mmio;

/* The glue, a device of its own; vd is borrowed and lives longer. irq: level-triggered, high while there is something. */
struct virtio_mmio *virtio_mmio_new(struct virtio_device *vd, struct irq_line irq);

/* Put the registers at base. Errors: those of space_add_io(). */
int virtio_mmio_attach(struct virtio_mmio *m, struct space *mem, uint64_t base);

#endif
