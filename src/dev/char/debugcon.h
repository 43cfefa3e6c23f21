/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug console: a port whose bytes come out on the host, as firmware and kernels use for early messages. */
#ifndef DOPPEL_DEV_CHAR_DEBUGCON_H
#define DOPPEL_DEV_CHAR_DEBUGCON_H

#include "bus/device.h"
#include "mem/space.h"

struct chr;
struct debugcon;

/* Reads of the port give readback: 0xe9 tells a guest that the port is there. */
struct debugcon *debugcon_new(struct chr *out, uint8_t readback);

/* One port. */
int debugcon_attach(struct debugcon *c, struct space *pio, uint16_t port);

#endif
