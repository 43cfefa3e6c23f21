/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The test device that x86 unit tests for hypervisors expect: ports and memory that keep what is written, interrupt lines. */
#ifndef DOPPEL_DEV_MISC_PC_TESTDEV_H
#define DOPPEL_DEV_MISC_PC_TESTDEV_H

#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

#define PC_TESTDEV_IRQS 24
#define PC_TESTDEV_MEM  0x10000u

struct pc_testdev;

/* Where its parts are. */
struct pc_testdev_places {
	uint16_t data, flush, data_bytes, irq; /* ports: 4 each, and PC_TESTDEV_IRQS */
	uint64_t mem;                          /* PC_TESTDEV_MEM bytes */
};

/* irq[n] follows what is written to the nth port of the interrupt lines. */
struct pc_testdev *pc_testdev_new(const struct irq_line irq[PC_TESTDEV_IRQS]);
int pc_testdev_attach(struct pc_testdev *t, struct space *pio, struct space *mem, const struct pc_testdev_places *at);

#endif
