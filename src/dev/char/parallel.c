/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standard parallel port.
 *
 * Specification: IBM PC AT Technical Reference, "Parallel Printer Adapter"; IEEE 1284, compatibility mode.
 * Missing: the port's other modes (bidirectional, EPP, ECP). Interrupts come with the acknowledgement, when strobe falls.
 * While the reader on the host is slow the printer is busy.
 */
#include <errno.h>
#include <stdlib.h>

#include "backend/chr/chr.h"
#include "base/err.h"
#include "base/lock.h"
#include "dev/char/parallel.h"

enum { REG_DATA, REG_STATUS, REG_CONTROL, REGS };

#define STATUS_READY    0x80 /* inverted: busy */
#define STATUS_ACK      0x40 /* inverted */
#define STATUS_SELECTED 0x10
#define STATUS_NO_ERROR 0x08
#define CTRL_STROBE     0x01
#define CTRL_INIT       0x04 /* inverted: 0 holds the printer in reset */
#define CTRL_IRQ        0x10
#define CTRL_STORED     0x3f
#define CTRL_ONES       0xc0

struct parallel {
	struct device dev;
	struct lock lock; /* all below; RANK_DEVICE */
	struct irq_line irq;
	struct chr *out;
	uint8_t data, control;
	bool busy;        /* `held` has not been taken yet */
	uint8_t held;
};

static void print(struct parallel *p, uint8_t byte)
{
	p->held = byte;
	p->busy = !chr_write(p->out, &byte, 1);
}

static void parallel_writable(void *opaque)
{
	struct parallel *p = opaque;

	lock_take(&p->lock);
	if (p->busy)
		print(p, p->held);
	lock_drop(&p->lock);
}

static void write_control(struct parallel *p, uint8_t val)
{
	uint8_t before = p->control;

	p->control = val & CTRL_STORED;
	if ((val & CTRL_STROBE) && !(before & CTRL_STROBE) && (val & CTRL_INIT) && !p->busy)
		print(p, p->data);
	if (!(val & CTRL_STROBE) && (before & CTRL_STROBE) && (val & CTRL_IRQ))
		irq_pulse(&p->irq);
}

static uint64_t parallel_read(void *opaque, uint64_t off, unsigned size)
{
	const struct parallel *p = opaque;

	switch (off) {
	case REG_DATA:
		return p->data;
	case REG_STATUS:
		return (p->busy ? 0 : STATUS_READY) | STATUS_ACK | STATUS_SELECTED | STATUS_NO_ERROR;
	default:
		return p->control | CTRL_ONES;
	}
}

static void parallel_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct parallel *p = opaque;

	if (off == REG_DATA)
		p->data = (uint8_t)val;
	else if (off == REG_CONTROL)
		write_control(p, (uint8_t)val);
}

static const struct io_ops parallel_io = { .read = parallel_read, .write = parallel_write, .max_size = 1 };

int parallel_attach(struct parallel *p, struct space *pio, uint16_t base)
{
	struct region *r;

	return space_add_io(pio, &r, "parallel", base, REGS, &parallel_io, p, &p->lock);
}

static void parallel_reset(struct device *d)
{
	struct parallel *p = (struct parallel *)d;

	lock_take(&p->lock);
	p->data = 0;
	p->control = CTRL_INIT;
	p->busy = false;
	lock_drop(&p->lock);
}

static int parallel_post_load(struct device *d)
{
	struct parallel *p = (struct parallel *)d;

	lock_take(&p->lock);
	p->control &= CTRL_STORED;
	if (p->busy)
		print(p, p->held);
	lock_drop(&p->lock);
	return 0;
}

static void parallel_free(struct device *d)
{
	struct parallel *p = (struct parallel *)d;

	chr_set_handlers(p->out, NULL, NULL);
	lock_release(&p->lock);
	free(p);
}

static const struct state_field parallel_state[] = {
	STATE_U8(struct parallel, data),
	STATE_U8(struct parallel, control),
	STATE_BOOL(struct parallel, busy),
	STATE_U8(struct parallel, held),
	STATE_END(),
};

static const struct device_ops parallel_ops = {
	.name = "parallel",
	.reset = parallel_reset,
	.post_load = parallel_post_load,
	.free = parallel_free,
	.state = parallel_state,
	.state_version = 1,
};

static const struct chr_handlers handlers = { .writable = parallel_writable };

struct parallel *parallel_new(struct irq_line irq, struct chr *out)
{
	struct parallel *p = calloc(1, sizeof(*p));

	BUG_ON(!p);
	p->dev.ops = &parallel_ops;
	list_init(&p->dev.node);
	lock_init(&p->lock, RANK_DEVICE);
	p->irq = irq;
	p->out = out;
	p->control = CTRL_INIT;
	chr_set_handlers(out, &handlers, p);
	return p;
}
