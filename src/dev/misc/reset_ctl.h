/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reset control of the chipset: system control port A (0x92 of a PC) and the reset control register (0xcf9). */
#ifndef DOPPEL_DEV_MISC_RESET_CTL_H
#define DOPPEL_DEV_MISC_RESET_CTL_H

#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

struct reset_ctl;

/* fast and full are pulsed when a reset is asked for by port A and by the reset control register. */
struct reset_ctl *reset_ctl_new(struct irq_line fast, struct irq_line full, struct irq_line a20);

/* Port A. */
int reset_ctl_attach(struct reset_ctl *r, struct space *pio, uint16_t port_a);

/* The reset control register, which lies among the ports of the PCI host bridge. Takes the chip's lock. */
uint8_t reset_ctl_read(struct reset_ctl *r);
void reset_ctl_write(struct reset_ctl *r, uint8_t val);

#endif
