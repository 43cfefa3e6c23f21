/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the chips' tests share: a board of spaces and a clock, probes on wires, the save/restore round trip. */
#ifndef DOPPEL_TESTS_DEV_DEV_TEST_H
#define DOPPEL_TESTS_DEV_DEV_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "bus/device.h"
#include "irq/irq.h"
#include "mem/space.h"

#define MS 1000000ull
#define US 1000ull

/* The end of a wire: what its level is and how often it rose. */
struct probe {
	_Atomic bool level;
	_Atomic unsigned rises;
};

struct irq_line probe_line(struct probe *p);

struct bench {
	struct clock *clock;
	struct space *pio, *mem;
};

void bench_init(struct bench *b);
void bench_release(struct bench *b); /* after the chips have been freed */

static inline uint8_t in8(struct bench *b, uint16_t port)
{
	return space_read(b->pio, port, 1);
}

static inline void out8(struct bench *b, uint16_t port, uint8_t val)
{
	space_write(b->pio, port, 1, val);
}

/* Guest time passes, really. */
void sleep_ns(uint64_t ns);

/* Wait until cond() is true, at most ms milliseconds; whether it became so. */
bool wait_for(bool (*cond)(void *opaque), void *opaque, unsigned ms);
bool wait_rises(struct probe *p, unsigned at_least, unsigned ms);

/*
 * Save, disturb by a reset, load, save: both images must be the same. Also a truncated image must be refused.
 * The clock, if one is given, stands meanwhile, as that of a stopped machine.
 */
void check_round_trip(struct clock *clock, void *device);

/*
 * Load images of the device with one to three value bytes changed, many of them. Each may be refused or
 * taken; poke() then uses the chip. The device is left in reset state.
 */
void check_hostile_state(struct clock *clock, void *device, void (*poke)(void *opaque), void *opaque);

void free_device(void *device);
void reset_device(void *device);

/* Deterministic pseudo-random numbers (xorshift64*). */
uint64_t next_random(uint64_t *state);

#endif
