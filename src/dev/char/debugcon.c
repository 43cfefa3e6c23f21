/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debug console port as Bochs (0xe9) and QEMU (0x402) have it. No state.
 *
 * Different: when the reader on the host is slow, bytes are dropped; the port has no way to say "busy".
 */
#include <stdlib.h>

#include "backend/chr/chr.h"
#include "base/err.h"
#include "dev/char/debugcon.h"

struct debugcon {
	struct device dev;
	struct chr *out;
	uint8_t readback;
};

static uint64_t debugcon_read(void *opaque, uint64_t off, unsigned size)
{
	const struct debugcon *c = opaque;

	return c->readback;
}

static void debugcon_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct debugcon *c = opaque;
	uint8_t byte = (uint8_t)val;

	chr_write(c->out, &byte, 1);
}

static const struct io_ops debugcon_io = { .read = debugcon_read, .write = debugcon_write, .max_size = 1 };

int debugcon_attach(struct debugcon *c, struct space *pio, uint16_t port)
{
	struct region *r;

	return space_add_io(pio, &r, "debugcon", port, 1, &debugcon_io, c, NULL);
}

static void debugcon_reset(struct device *d)
{
}

static void debugcon_free(struct device *d)
{
	free(d);
}

static const struct device_ops debugcon_ops = {
	.name = "debugcon",
	.reset = debugcon_reset,
	.free = debugcon_free,
};

struct debugcon *debugcon_new(struct chr *out, uint8_t readback)
{
	struct debugcon *c = calloc(1, sizeof(*c));

	BUG_ON(!c);
	c->dev.ops = &debugcon_ops;
	list_init(&c->dev.node);
	c->out = out;
	c->readback = readback;
	return c;
}
