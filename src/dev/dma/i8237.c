/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two 8237A DMA controllers as in the AT, with their page registers.
 *
 * Specification: Intel 8237A data sheet (231466), IBM PC/AT technical reference.
 * Missing: memory to memory, requests by software, the cascade as such: the second controller does not gate the first one.
 * Ignored: priorities, timing, levels of the request lines (command register); single, block and demand mode are the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "dev/dma/i8237.h"

#define CONTROLLERS 2
#define CHANNELS    4 /* of a controller */
#define PORTS       16
#define MEMORY_SIZE 0x10000u /* bytes, or words, that the address counts through */

enum { REG_COMMAND = 8, REG_REQUEST = 9, REG_MASK = 10, REG_MODE = 11, REG_CLEAR_FF = 12, REG_MASTER_CLEAR = 13, REG_CLEAR_MASK = 14,
       REG_ALL_MASKS = 15 };
enum { MODE_TYPE = 0x0c, TYPE_VERIFY = 0x00, TYPE_TO_MEMORY = 0x04, TYPE_FROM_MEMORY = 0x08, MODE_AUTO = 0x10, MODE_DOWN = 0x20,
       MODE_CASCADE = 0xc0 };
#define COMMAND_OFF 0x04
#define MASK_SET    0x04
#define ALL         0x0f

struct channel {
	uint16_t base_addr, base_count, addr, count;
	uint8_t mode;
};

struct controller {
	struct channel ch[CHANNELS];
	uint8_t command, mask, status;
	bool high; /* the next byte of an address or count is the high one */
};

struct i8237 {
	struct device dev;
	struct lock lock;
	struct space *mem;
	struct controller c[CONTROLLERS];
	uint8_t page[PORTS];
	struct {
		void (*fn)(void *opaque);
		void *opaque;
	} ready[CONTROLLERS * CHANNELS]; /* constant */
};

/* -- The device's side ----------------------------------------------------------------------------------- */

/* Which page register has the upper bits of a channel's address. */
static const uint8_t page_of[CONTROLLERS * CHANNELS] = { 0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa };

/* Where byte `at` of a step stands in memory; the 16-bit channels count words, and their pages are of 128 KiB. */
static uint64_t address(const struct i8237 *d, unsigned n)
{
	const struct channel *ch = &d->c[n / CHANNELS].ch[n % CHANNELS];
	const uint8_t page = d->page[page_of[n]];

	return n < CHANNELS ? (uint64_t)page << 16 | ch->addr : (uint64_t)(page & 0xfe) << 16 | (uint64_t)ch->addr << 1;
}

static bool running(const struct controller *c, unsigned i)
{
	return !(c->command & COMMAND_OFF) && !(c->mask >> i & 1) && (c->ch[i].mode & MODE_CASCADE) != MODE_CASCADE;
}

static void count_out(struct controller *c, unsigned i)
{
	struct channel *ch = &c->ch[i];

	c->status |= (uint8_t)(1 << i);
	if (ch->mode & MODE_AUTO) {
		ch->addr = ch->base_addr;
		ch->count = ch->base_count;
	} else {
		c->mask |= (uint8_t)(1 << i);
	}
}

/* One byte or word; what is no RAM reads as all ones and swallows writes. */
static void move_unit(struct i8237 *d, unsigned n, uint8_t *at, unsigned width)
{
	struct channel *ch = &d->c[n / CHANNELS].ch[n % CHANNELS];

	if ((ch->mode & MODE_TYPE) == TYPE_TO_MEMORY)
		space_dma_write(d->mem, address(d, n), at, width);
	else if ((ch->mode & MODE_TYPE) == TYPE_FROM_MEMORY && space_dma_read(d->mem, address(d, n), at, width))
		memset(at, 0xff, width);
	ch->addr = (uint16_t)(ch->mode & MODE_DOWN ? ch->addr - 1 : ch->addr + 1);
	ch->count--;
}

/* As many units as lie one behind the other in memory, at least one. */
static unsigned move_run(struct i8237 *d, unsigned n, uint8_t *at, unsigned units, unsigned width)
{
	struct channel *ch = &d->c[n / CHANNELS].ch[n % CHANNELS];
	const uint64_t gpa = address(d, n);
	unsigned run = MIN(units, MEMORY_SIZE - ch->addr);

	if (ch->mode & MODE_DOWN) {
		move_unit(d, n, at, width);
		return 1;
	}
	if ((ch->mode & MODE_TYPE) == TYPE_TO_MEMORY)
		space_dma_write(d->mem, gpa, at, (size_t)run * width);
	else if ((ch->mode & MODE_TYPE) == TYPE_FROM_MEMORY && space_dma_read(d->mem, gpa, at, (size_t)run * width))
		memset(at, 0xff, (size_t)run * width);
	ch->addr = (uint16_t)(ch->addr + run);
	ch->count = (uint16_t)(ch->count - run);
	return run;
}

size_t i8237_transfer(struct i8237 *d, unsigned n, bool to_memory, void *buf, size_t len, bool *done)
{
	struct controller *c = &d->c[n / CHANNELS];
	const unsigned i = n % CHANNELS, width = n < CHANNELS ? 1 : 2;
	const uint8_t type = c->ch[i].mode & MODE_TYPE;
	size_t moved = 0;

	*done = false;
	lock_take(&d->lock);
	if (running(c, i) && (type == TYPE_VERIFY || type == (to_memory ? TYPE_TO_MEMORY : TYPE_FROM_MEMORY))) {
		size_t left = (size_t)c->ch[i].count + 1, units = MIN(len / width, left);

		for (*done = units == left && units; moved < units * width;)
			moved += (size_t)move_run(d, n, (uint8_t *)buf + moved, (unsigned)(units - moved / width), width) * width;
		if (*done)
			count_out(c, i);
	}
	lock_drop(&d->lock);
	return moved;
}

size_t i8237_left(struct i8237 *d, unsigned n)
{
	const struct controller *c = &d->c[n / CHANNELS];
	const unsigned i = n % CHANNELS;
	size_t left = 0;

	lock_take(&d->lock);
	if (running(c, i))
		left = ((size_t)c->ch[i].count + 1) << (n >= CHANNELS);
	lock_drop(&d->lock);
	return left;
}

void i8237_on_ready(struct i8237 *d, unsigned n, void (*ready)(void *opaque), void *opaque)
{
	d->ready[n].fn = ready;
	d->ready[n].opaque = opaque;
}

/* -- The guest's side ------------------------------------------------------------------------------------- */

static uint8_t read_half(struct controller *c, uint16_t val)
{
	c->high = !c->high;
	return (uint8_t)(c->high ? val : val >> 8);
}

static void write_half(struct controller *c, uint16_t *base, uint16_t *current, uint8_t val)
{
	*base = (uint16_t)(c->high ? (*base & 0x00ff) | val << 8 : (*base & 0xff00) | val);
	*current = (uint16_t)(c->high ? (*current & 0x00ff) | val << 8 : (*current & 0xff00) | val);
	c->high = !c->high;
}

static uint8_t read_register(struct controller *c, unsigned reg)
{
	uint8_t val = 0;

	if (reg < REG_COMMAND)
		return read_half(c, reg & 1 ? c->ch[reg / 2].count : c->ch[reg / 2].addr);
	if (reg == REG_COMMAND) {
		val = c->status;
		c->status &= (uint8_t)~ALL;
	} else if (reg == REG_ALL_MASKS) {
		val = c->mask | 0xf0;
	}
	return val;
}

static void master_clear(struct controller *c)
{
	c->command = c->status = 0;
	c->mask = ALL;
	c->high = false;
}

static void write_register(struct controller *c, unsigned reg, uint8_t val)
{
	const uint8_t bit = (uint8_t)(1 << (val & 3));

	switch (reg) {
	case REG_COMMAND:
		c->command = val;
		break;
	case REG_MASK:
		c->mask = val & MASK_SET ? c->mask | bit : c->mask & (uint8_t)~bit;
		break;
	case REG_MODE:
		c->ch[val & 3].mode = val & (uint8_t)~3;
		break;
	case REG_CLEAR_FF:
		c->high = false;
		break;
	case REG_MASTER_CLEAR:
		master_clear(c);
		break;
	case REG_CLEAR_MASK:
		c->mask = 0;
		break;
	case REG_ALL_MASKS:
		c->mask = val & ALL;
		break;
	case REG_REQUEST:
		break;
	default:
		if (reg & 1)
			write_half(c, &c->ch[reg / 2].base_count, &c->ch[reg / 2].count, val);
		else
			write_half(c, &c->ch[reg / 2].base_addr, &c->ch[reg / 2].addr, val);
	}
}

/* Devices are called back without the lock: they take theirs first, and then call in here. */
static void write_controller(struct i8237 *d, unsigned n, unsigned reg, uint8_t val)
{
	struct controller *c = &d->c[n];
	unsigned now = 0;

	lock_take(&d->lock);
	write_register(c, reg, val);
	for (unsigned i = 0; reg >= REG_COMMAND && i < CHANNELS; i++)
		now |= (unsigned)running(c, i) << i;
	lock_drop(&d->lock);
	for (unsigned i = 0; i < CHANNELS; i++)
		if (now >> i & 1 && d->ready[n * CHANNELS + i].fn)
			d->ready[n * CHANNELS + i].fn(d->ready[n * CHANNELS + i].opaque);
}

static uint64_t read_controller(struct i8237 *d, unsigned n, unsigned reg)
{
	uint64_t val;

	lock_take(&d->lock);
	val = read_register(&d->c[n], reg);
	lock_drop(&d->lock);
	return val;
}

static uint64_t low_read(void *opaque, uint64_t off, unsigned size)
{
	return read_controller(opaque, 0, (unsigned)off);
}

static void low_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	write_controller(opaque, 0, (unsigned)off, (uint8_t)val);
}

static uint64_t high_read(void *opaque, uint64_t off, unsigned size)
{
	return read_controller(opaque, 1, (unsigned)off / 2);
}

static void high_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	write_controller(opaque, 1, (unsigned)off / 2, (uint8_t)val);
}

static uint64_t page_read(void *opaque, uint64_t off, unsigned size)
{
	return ((struct i8237 *)opaque)->page[off];
}

static void page_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	((struct i8237 *)opaque)->page[off] = (uint8_t)val;
}

static const struct io_ops low_ops = { .read = low_read, .write = low_write, .max_size = 1 };
static const struct io_ops high_ops = { .read = high_read, .write = high_write, .max_size = 1 };
static const struct io_ops page_ops = { .read = page_read, .write = page_write, .max_size = 1 };

int i8237_attach(struct i8237 *d, struct space *pio, uint16_t low, uint16_t high, uint16_t pages)
{
	struct region *r;
	int rc = space_add_io(pio, &r, "dma-8bit", low, PORTS, &low_ops, d, NULL);

	if (!rc)
		rc = space_add_io(pio, &r, "dma-16bit", high, 2 * PORTS, &high_ops, d, NULL);
	return rc ? rc : space_add_io(pio, &r, "dma-pages", pages, PORTS, &page_ops, d, &d->lock);
}

/* -- Life ----------------------------------------------------------------------------------------------------- */

static void i8237_reset(struct device *dev)
{
	struct i8237 *d = (struct i8237 *)dev;

	lock_take(&d->lock);
	for (unsigned n = 0; n < CONTROLLERS; n++) {
		d->c[n] = (struct controller){ 0 };
		master_clear(&d->c[n]);
	}
	memset(d->page, 0, sizeof(d->page));
	lock_drop(&d->lock);
}

static int i8237_post_load(struct device *dev)
{
	const struct i8237 *d = (const struct i8237 *)dev;

	return (d->c[0].mask | d->c[1].mask) & ~ALL ? -EINVAL : 0;
}

static void i8237_free(struct device *dev)
{
	struct i8237 *d = (struct i8237 *)dev;

	lock_release(&d->lock);
	free(d);
}

#define CHANNEL_STATE(n, i)                                                                                            \
	STATE_U16(struct i8237, c[n].ch[i].base_addr), STATE_U16(struct i8237, c[n].ch[i].base_count),                 \
	STATE_U16(struct i8237, c[n].ch[i].addr), STATE_U16(struct i8237, c[n].ch[i].count),                           \
	STATE_U8(struct i8237, c[n].ch[i].mode)
#define CONTROLLER_STATE(n)                                                                                            \
	CHANNEL_STATE(n, 0), CHANNEL_STATE(n, 1), CHANNEL_STATE(n, 2), CHANNEL_STATE(n, 3),                            \
	STATE_U8(struct i8237, c[n].command), STATE_U8(struct i8237, c[n].mask), STATE_U8(struct i8237, c[n].status),  \
	STATE_BOOL(struct i8237, c[n].high)

static const struct state_field i8237_state[] = {
	CONTROLLER_STATE(0),
	CONTROLLER_STATE(1),
	STATE_BYTES(struct i8237, page),
	STATE_END(),
};

static const struct device_ops i8237_ops = {
	.name = "i8237",
	.reset = i8237_reset,
	.post_load = i8237_post_load,
	.free = i8237_free,
	.state = i8237_state,
	.state_version = 1,
};

struct i8237 *i8237_new(struct space *mem)
{
	struct i8237 *d = calloc(1, sizeof(*d));

	BUG_ON(!d);
	d->dev.ops = &i8237_ops;
	list_init(&d->dev.node);
	d->mem = mem;
	lock_init(&d->lock, I8237_LOCK_RANK);
	master_clear(&d->c[0]);
	master_clear(&d->c[1]);
	return d;
}
