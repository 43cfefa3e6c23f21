/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The AT's two 8237 DMA controllers with their page registers: moves bytes between ISA devices and the low 16 MiB. */
#ifndef DOPPEL_DEV_DMA_I8237_H
#define DOPPEL_DEV_DMA_I8237_H

#include <stdbool.h>
#include <stddef.h>
#include "bus/device.h"
#include "mem/space.h"

struct i8237;

struct i8237 *i8237_new(struct space *mem);

/* Ports: 16 of the 8-bit controller, 32 of the 16-bit one, 16 page registers. */
int i8237_attach(struct i8237 *d, struct space *pio, uint16_t low, uint16_t high, uint16_t pages);

/*
 * Channel n (0 to 7, not 4) as its device sees it; under any lock of a rank below I8237_LOCK_RANK.
 * transfer: move at most len bytes; returns how many the controller moved, fewer when its count has run out (*done) or 0 when it is not
 * programmed for that direction yet. left: bytes until its count runs out, 0 when it is masked.
 */
#define I8237_LOCK_RANK (RANK_DEVICE + 1)
size_t i8237_transfer(struct i8237 *d, unsigned n, bool to_memory, void *buf, size_t len, bool *done);
size_t i8237_left(struct i8237 *d, unsigned n);

/* Called with no lock of the controller held when the guest has let channel n go. While the machine is being built. */
void i8237_on_ready(struct i8237 *d, unsigned n, void (*ready)(void *opaque), void *opaque);

#endif
