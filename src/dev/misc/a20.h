/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gate of address line 20, by which an AT's memory wraps at odd megabytes as the 8086's did. */
#ifndef DOPPEL_DEV_MISC_A20_H
#define DOPPEL_DEV_MISC_A20_H

#include "bus/device.h"
#include "irq/irq.h"
#include "mem/ram.h"
#include "mem/space.h"

/* Who can hold the line on: it is on while any of them does. */
enum a20_source { A20_KEYBOARD, A20_PORT_A, A20_SOURCES };

struct a20;

/* On at first. */
struct a20 *a20_new(struct space *mem, struct ram *ram);
struct irq_line a20_line(struct a20 *a, enum a20_source n);

#endif
