/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 16550A serial port. */
#ifndef DOPPEL_DEV_CHAR_SERIAL_H
#define DOPPEL_DEV_CHAR_SERIAL_H

#include "base/clock.h"
#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

struct chr;
struct serial;

/* peer is what hangs on the line: borrowed, its handlers become ours; NULL: nothing is plugged in. */
struct serial *serial_new(struct irq_line irq, struct chr *peer, struct clock *clock);

/* Eight ports at base. */
int serial_attach(struct serial *s, struct space *pio, uint16_t base);

#endif
