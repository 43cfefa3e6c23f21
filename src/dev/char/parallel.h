/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parallel port of a PC, with a printer at it that is always ready: its bytes come out on the host. */
#ifndef DOPPEL_DEV_CHAR_PARALLEL_H
#define DOPPEL_DEV_CHAR_PARALLEL_H

#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

struct chr;
struct parallel;

/* out is borrowed and outlives the chip. */
struct parallel *parallel_new(struct irq_line irq, struct chr *out);

/* Data, status and control at base. */
int parallel_attach(struct parallel *p, struct space *pio, uint16_t base);

#endif
