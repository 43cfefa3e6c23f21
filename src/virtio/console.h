/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio console: consoles and named byte channels between guest and host, many on one device. */
#ifndef DOPPEL_VIRTIO_CONSOLE_H
#define DOPPEL_VIRTIO_CONSOLE_H

#include "backend/chr/chr.h"
#include "virtio/virtio.h"

#define VIRTIO_CONSOLE_MAX_PORTS 31 /* two queues each, and two for control */
#define VIRTIO_CONSOLE_MAX_NAME  64

/* max_ports: 1 to VIRTIO_CONSOLE_MAX_PORTS. features: of the rings. */
struct virtio_device *virtio_console_new(struct space *mem, unsigned max_ports, uint64_t features);

/*
 * Add a port while the machine is being built: a console (hvcN in Linux) or a named channel (/dev/virtio-ports/NAME). chr is
 * borrowed; NULL: nothing is connected. nr: its number, -1: the first free one; 0 is for a console. -EBUSY when it is
 * taken or there is none, -EINVAL for a senseless number or name.
 */
int virtio_console_add_port(struct virtio_device *vd, int nr, const char *name, bool console, struct chr *chr, struct err *e);

/* The size of the terminal behind all consoles; any thread without locks. */
void virtio_console_resize(struct virtio_device *vd, uint16_t cols, uint16_t rows);

#endif
