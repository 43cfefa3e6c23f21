/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * isa-debug-exit as QEMU's users know it: a write to the register calls for the machine's end. The
 * meaning of the value is the caller's. Reads give 0. No state.
 */
#include <stdlib.h>

#include "base/err.h"
#include "dev/misc/debug_exit.h"

#define DEBUG_EXIT_SIZE 4

struct debug_exit {
	struct device dev;
	void (*exit)(void *opaque, uint32_t val);
	void *opaque;
};

static uint64_t debug_exit_read(void *opaque, uint64_t off, unsigned size)
{
	return 0;
}

static void debug_exit_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct debug_exit *x = opaque;

	x->exit(x->opaque, val);
}

static const struct io_ops debug_exit_io = { .read = debug_exit_read, .write = debug_exit_write, .max_size = 4 };

int debug_exit_attach(struct debug_exit *x, struct space *pio, uint16_t base)
{
	struct region *r;

	return space_add_io(pio, &r, "debug-exit", base, DEBUG_EXIT_SIZE, &debug_exit_io, x, NULL);
}

static void debug_exit_reset(struct device *d)
{
}

static void debug_exit_free(struct device *d)
{
	free(d);
}

static const struct device_ops debug_exit_ops = {
	.name = "debug-exit",
	.reset = debug_exit_reset,
	.free = debug_exit_free,
};

struct debug_exit *debug_exit_new(void (*exit)(void *opaque, uint32_t val), void *opaque)
{
	struct debug_exit *x = calloc(1, sizeof(*x));

	BUG_ON(!x);
	x->dev.ops = &debug_exit_ops;
	list_init(&x->dev.node);
	x->exit = exit;
	x->opaque = opaque;
	return x;
}
