/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic on the ISA bus. No state.
 *
 * Specification: QEMU's docs/specs/pvpanic (the interface is QEMU's own): bits that are not offered are ignored.
 */
#include <stdlib.h>

#include "base/err.h"
#include "dev/misc/pvpanic.h"

struct pvpanic {
	struct device dev;
	uint8_t bits;
	void (*said)(void *opaque, uint8_t events);
	void *opaque;
};

static uint64_t pvpanic_read(void *opaque, uint64_t off, unsigned size)
{
	return ((const struct pvpanic *)opaque)->bits;
}

static void pvpanic_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct pvpanic *p = opaque;

	if (val & p->bits)
		p->said(p->opaque, (uint8_t)val & p->bits);
}

static const struct io_ops pvpanic_io = { .read = pvpanic_read, .write = pvpanic_write, .max_size = 1 };

int pvpanic_attach(struct pvpanic *p, struct space *pio, uint16_t port)
{
	struct region *r;

	return space_add_io(pio, &r, "pvpanic", port, 1, &pvpanic_io, p, NULL);
}

static void pvpanic_reset(struct device *d)
{
}

static void pvpanic_free(struct device *d)
{
	free(d);
}

static const struct device_ops pvpanic_ops = {
	.name = "pvpanic",
	.reset = pvpanic_reset,
	.free = pvpanic_free,
};

struct pvpanic *pvpanic_new(uint8_t bits, void (*said)(void *opaque, uint8_t events), void *opaque)
{
	struct pvpanic *p = calloc(1, sizeof(*p));

	BUG_ON(!p);
	p->dev.ops = &pvpanic_ops;
	list_init(&p->dev.node);
	p->bits = bits;
	p->said = said;
	p->opaque = opaque;
	return p;
}
