/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The A20 gate. While the line is off, all of RAM above 1 MiB is covered by a region that clears bit 20 of each
 * address: exact for data and code, and slow, which nobody who leaves it off for long minds.
 *
 * Specification: IBM PC/AT Technical Reference, "Address line 20 gate".
 * Different: ROM and devices above RAM are reached as if the line were on.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "dev/misc/a20.h"

#define LINE_20   MiB
#define HIGH_BASE (4 * GiB)

struct a20 {
	struct device dev;
	struct lock lock; /* all below */
	struct space *mem;
	struct ram *ram;
	bool on[A20_SOURCES];
	struct region *low, *high; /* what covers RAM; NULL while the line is on */
	struct cover {
		struct a20 *a20;
		uint64_t base;
	} cover_low, cover_high;
};

static uint64_t wrapped(const struct cover *c, uint64_t off)
{
	return (c->base + off) & ~LINE_20;
}

/* One byte at a time: an access that crosses a megabyte goes to two places. */
static uint64_t cover_read(void *opaque, uint64_t off, unsigned size)
{
	const struct cover *c = opaque;
	uint8_t byte = 0xff;

	space_dma_read(c->a20->mem, wrapped(c, off), &byte, 1);
	return byte;
}

static void cover_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	const struct cover *c = opaque;
	uint64_t to = wrapped(c, off);
	uint8_t byte = (uint8_t)val;

	if (!ram_contains(c->a20->ram, to, 1))
		return;
	__atomic_store_n(c->a20->ram->base + to, byte, __ATOMIC_RELAXED);
	ram_note_write(c->a20->ram, to, 1);
}

static const struct io_ops cover_ops = { .read = cover_read, .write = cover_write, .min_size = 1, .max_size = 1 };

static struct region *cover(struct a20 *a, struct cover *c, uint64_t base, uint64_t end)
{
	struct region *r = NULL;

	*c = (struct cover){ a, base };
	if (end > base)
		BUG_ON(space_add_io(a->mem, &r, "a20-off", base, end - base, &cover_ops, c, NULL));
	return r;
}

static void update_locked(struct a20 *a)
{
	bool on = false;

	for (unsigned i = 0; i < A20_SOURCES; i++)
		on |= a->on[i];
	if (on) {
		space_remove(a->mem, a->low);
		space_remove(a->mem, a->high);
		a->low = a->high = NULL;
	} else if (!a->low) {
		a->low = cover(a, &a->cover_low, LINE_20, a->ram->low_size);
		a->high = cover(a, &a->cover_high, HIGH_BASE, a->ram->end);
	}
}

static void line_set(void *opaque, unsigned n, bool level)
{
	struct a20 *a = opaque;

	lock_take(&a->lock);
	if (a->on[n] != level) {
		a->on[n] = level;
		update_locked(a);
	}
	lock_drop(&a->lock);
}

struct irq_line a20_line(struct a20 *a, enum a20_source n)
{
	return (struct irq_line){ .set = line_set, .opaque = a, .n = n };
}

/* The sources say by themselves what their reset state is. */
static void a20_reset(struct device *d)
{
}

static int a20_post_load(struct device *d)
{
	struct a20 *a = (struct a20 *)d;

	lock_take(&a->lock);
	update_locked(a);
	lock_drop(&a->lock);
	return 0;
}

static void a20_free(struct device *d)
{
	struct a20 *a = (struct a20 *)d;

	lock_release(&a->lock);
	free(a);
}

static const struct state_field a20_state[] = {
	STATE_BOOL(struct a20, on[A20_KEYBOARD]),
	STATE_BOOL(struct a20, on[A20_PORT_A]),
	STATE_END(),
};

static const struct device_ops a20_ops = {
	.name = "a20",
	.reset = a20_reset,
	.post_load = a20_post_load,
	.free = a20_free,
	.state = a20_state,
	.state_version = 1,
};

struct a20 *a20_new(struct space *mem, struct ram *ram)
{
	struct a20 *a = calloc(1, sizeof(*a));

	BUG_ON(!a);
	a->dev.ops = &a20_ops;
	list_init(&a->dev.node);
	a->mem = mem;
	a->ram = ram;
	a->on[A20_KEYBOARD] = true;
	lock_init(&a->lock, RANK_DEVICE + 2); /* the sources' locks are held around it */
	return a;
}
