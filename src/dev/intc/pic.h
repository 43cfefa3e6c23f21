/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two cascaded 8259A interrupt controllers with the ELCR of the ISA bridge. */
#ifndef DOPPEL_DEV_INTC_PIC_H
#define DOPPEL_DEV_INTC_PIC_H

#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

struct pic;

/* out is the INTR pin of the master. */
struct pic *pic_new(struct irq_line out);

/* Input n, 0 to 15; 2 is the cascade and leads nowhere. Callable under locks below RANK_INTC. */
struct irq_line pic_input(struct pic *p, unsigned n);

/*
 * The INTA cycle: the vector of the highest request, which goes in service; spurious IRQ 7 or 15
 * (no in-service bit) when the request has gone. Takes RANK_INTC.
 */
int pic_ack(struct pic *p);

/* Two ports at master, two at slave, two at elcr. */
int pic_attach(struct pic *p, struct space *pio, uint16_t master, uint16_t slave, uint16_t elcr);

/* What firmware does for a level-triggered source: set the ELCR bit of input n. */
void pic_set_level_triggered(struct pic *p, unsigned n);

#endif
