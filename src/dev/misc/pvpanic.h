/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pvpanic: a port by which a guest says that it has panicked. */
#ifndef DOPPEL_DEV_MISC_PVPANIC_H
#define DOPPEL_DEV_MISC_PVPANIC_H

#include "bus/device.h"
#include "mem/space.h"

#define PVPANIC_PANICKED    0x1 /* nobody in the guest will do anything about it */
#define PVPANIC_CRASHLOADED 0x2 /* the guest writes a dump of itself, and goes on for so long */

struct pvpanic;

/* said() is called with the bits that a guest wrote, of which at least one of `bits` is set; the port reads as `bits`. */
struct pvpanic *pvpanic_new(uint8_t bits, void (*said)(void *opaque, uint8_t events), void *opaque);
int pvpanic_attach(struct pvpanic *p, struct space *pio, uint16_t port);

#endif
