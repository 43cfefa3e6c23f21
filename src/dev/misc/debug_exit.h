/* SPDX-License-Identifier: GPL-2.0-or-later */
/* isa-debug-exit: a register by which a test guest ends its machine with a code. */
#ifndef DOPPEL_DEV_MISC_DEBUG_EXIT_H
#define DOPPEL_DEV_MISC_DEBUG_EXIT_H

#include "bus/device.h"
#include "mem/space.h"

struct debug_exit;

/* exit gets the value written (of 1, 2 or 4 bytes). */
struct debug_exit *debug_exit_new(void (*exit)(void *opaque, uint32_t val), void *opaque);

/* Four ports at base. */
int debug_exit_attach(struct debug_exit *x, struct space *pio, uint16_t base);

#endif
