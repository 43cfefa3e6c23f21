/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System control port A and the PCI reset control register.
 *
 * Specification: IBM PS/2 Hardware Technical Reference, "System Control Port A"; Intel 82371AB
 * (PIIX4) data sheet, 6.9 (RC, reset control register).
 * Ignored: port A's security lock, watchdog and disk lamps (stored); hard and soft reset are the same.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "dev/misc/reset_ctl.h"

#define PORTA_RESET    0x01
#define PORTA_A20      0x02
#define PORTA_WRITABLE 0xdb /* bit 2 is reserved, bit 5 too */

#define RC_HARD        0x02 /* system reset, not only the CPU's */
#define RC_GO          0x04 /* a rising edge resets */
#define RC_FULL        0x08 /* power cycle */
#define RC_STORED      (RC_HARD | RC_FULL)

/* The PCI host bridge's lock, also of a chip, is held around ours. */
#define LOCK_RANK (RANK_DEVICE + 1)

struct reset_ctl {
	struct device dev;
	struct lock lock; /* all below; LOCK_RANK */
	uint8_t port_a, control;
	struct irq_line fast, full, a20;
};

static uint64_t port_a_read(void *opaque, uint64_t off, unsigned size)
{
	struct reset_ctl *r = opaque;

	return r->port_a;
}

static void port_a_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct reset_ctl *r = opaque;
	bool rose = val & ~r->port_a & PORTA_RESET;

	r->port_a = val & PORTA_WRITABLE;
	irq_set(&r->a20, r->port_a & PORTA_A20);
	if (rose)
		irq_pulse(&r->fast);
}

static const struct io_ops port_a_io = { .read = port_a_read, .write = port_a_write, .max_size = 1 };

int reset_ctl_attach(struct reset_ctl *r, struct space *pio, uint16_t port_a)
{
	struct region *region;

	return space_add_io(pio, &region, "port-a", port_a, 1, &port_a_io, r, &r->lock);
}

uint8_t reset_ctl_read(struct reset_ctl *r)
{
	uint8_t v;

	lock_take(&r->lock);
	v = r->control;
	lock_drop(&r->lock);
	return v;
}

void reset_ctl_write(struct reset_ctl *r, uint8_t val)
{
	lock_take(&r->lock);
	r->control = val & RC_STORED;
	if (val & RC_GO)
		irq_pulse(&r->full);
	lock_drop(&r->lock);
}

static void reset_ctl_reset(struct device *d)
{
	struct reset_ctl *r = (struct reset_ctl *)d;

	lock_take(&r->lock);
	r->port_a = PORTA_A20; /* as firmware leaves it */
	r->control = 0;
	irq_set(&r->a20, true);
	lock_drop(&r->lock);
}

static int reset_ctl_post_load(struct device *d)
{
	struct reset_ctl *r = (struct reset_ctl *)d;

	if ((r->port_a & ~PORTA_WRITABLE) || (r->control & ~RC_STORED))
		return -EINVAL;
	irq_set(&r->a20, r->port_a & PORTA_A20);
	return 0;
}

static void reset_ctl_free(struct device *d)
{
	struct reset_ctl *r = (struct reset_ctl *)d;

	lock_release(&r->lock);
	free(r);
}

static const struct state_field reset_ctl_state[] = {
	STATE_U8(struct reset_ctl, port_a),
	STATE_U8(struct reset_ctl, control),
	STATE_END(),
};

static const struct device_ops reset_ctl_ops = {
	.name = "reset-control",
	.reset = reset_ctl_reset,
	.post_load = reset_ctl_post_load,
	.free = reset_ctl_free,
	.state = reset_ctl_state,
	.state_version = 1,
};

struct reset_ctl *reset_ctl_new(struct irq_line fast, struct irq_line full, struct irq_line a20)
{
	struct reset_ctl *r = calloc(1, sizeof(*r));

	BUG_ON(!r);
	r->dev.ops = &reset_ctl_ops;
	list_init(&r->dev.node);
	r->fast = fast;
	r->full = full;
	r->a20 = a20;
	lock_init(&r->lock, LOCK_RANK);
	reset_ctl_reset(&r->dev);
	return r;
}
