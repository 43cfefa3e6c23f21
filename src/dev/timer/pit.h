/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 8254 programmable interval timer, with the speaker port that shows counter 2. */
#ifndef DOPPEL_DEV_TIMER_PIT_H
#define DOPPEL_DEV_TIMER_PIT_H

#include "base/clock.h"
#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

#define PIT_HZ 1193182ull

struct pit;

/* out is the output of counter 0. */
struct pit *pit_new(struct irq_line out, struct clock *clock);

/* Four ports of the counters at base, and the speaker and refresh port ("port B"). */
int pit_attach(struct pit *p, struct space *pio, uint16_t base, uint16_t port_b);

#endif
