/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 8042 keyboard controller with a keyboard and a mouse. */
#ifndef DOPPEL_DEV_INPUT_I8042_H
#define DOPPEL_DEV_INPUT_I8042_H

#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

struct i8042;
struct input;

struct i8042_config {
	struct irq_line kbd, aux; /* output buffer full: keyboard, mouse */
	struct irq_line a20;
	struct input *input;      /* borrowed; NULL: the keyboard has no keys, and there is no mouse */
	struct irq_line reset;    /* pulsed when the guest pulls the reset line */
};

struct i8042 *i8042_new(const struct i8042_config *c);

/* One port each. */
int i8042_attach(struct i8042 *k, struct space *pio, uint16_t data, uint16_t command);

#endif
