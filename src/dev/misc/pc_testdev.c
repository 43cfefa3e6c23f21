/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc-testdev, as QEMU's users know it: a register of 32 bits in two places (one takes accesses of any width, the other one byte after the
 * other), a port that makes the hypervisor forget its mapping of a page, a port for each interrupt line, 64 KiB of memory that
 * is reached access by access.
 *
 * Different: nothing is forgotten at the flush port, as no page of ours is mapped lazily by who is tested.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "dev/misc/pc_testdev.h"

#define REG_SIZE 4u

struct pc_testdev {
	struct device dev;
	struct lock lock; /* all below; RANK_DEVICE */
	struct irq_line irq[PC_TESTDEV_IRQS];
	uint8_t data[REG_SIZE];
	uint8_t level[PC_TESTDEV_IRQS];
	uint8_t mem[PC_TESTDEV_MEM];
};

static uint64_t take(const uint8_t *from, unsigned size)
{
	uint64_t val = 0;

	memcpy(&val, from, size);
	return val;
}

static uint64_t data_read(void *opaque, uint64_t off, unsigned size)
{
	return take(((struct pc_testdev *)opaque)->data + off, size);
}

static void data_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	memcpy(((struct pc_testdev *)opaque)->data + off, &val, size);
}

static uint64_t mem_read(void *opaque, uint64_t off, unsigned size)
{
	return take(((struct pc_testdev *)opaque)->mem + off, size);
}

static void mem_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	memcpy(((struct pc_testdev *)opaque)->mem + off, &val, size);
}

static void irq_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct pc_testdev *t = opaque;

	t->level[off] = (uint8_t)val != 0;
	irq_set(&t->irq[off], t->level[off]);
}

static const struct io_ops data_io = { .read = data_read, .write = data_write, .max_size = 4 };
static const struct io_ops bytes_io = { .read = data_read, .write = data_write, .max_size = 1 };
static const struct io_ops mem_io = { .read = mem_read, .write = mem_write };
static const struct io_ops irq_io = { .write = irq_write, .max_size = 1 };
static const struct io_ops flush_io = { .max_size = 4 };

int pc_testdev_attach(struct pc_testdev *t, struct space *pio, struct space *mem, const struct pc_testdev_places *at)
{
	const struct {
		struct space *space;
		const char *name;
		uint64_t base, size;
		const struct io_ops *ops;
	} parts[] = {
		{ pio, "testdev-data", at->data, REG_SIZE, &data_io },
		{ pio, "testdev-flush", at->flush, REG_SIZE, &flush_io },
		{ pio, "testdev-bytes", at->data_bytes, REG_SIZE, &bytes_io },
		{ pio, "testdev-irq", at->irq, PC_TESTDEV_IRQS, &irq_io },
		{ mem, "testdev-mem", at->mem, PC_TESTDEV_MEM, &mem_io },
	};
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts) && !rc; i++) {
		struct region *r;

		rc = space_add_io(parts[i].space, &r, parts[i].name, parts[i].base, parts[i].size, parts[i].ops, t, &t->lock);
	}
	return rc;
}

static void pc_testdev_reset(struct device *d)
{
	struct pc_testdev *t = (struct pc_testdev *)d;

	lock_take(&t->lock);
	memset(t->data, 0, sizeof(t->data));
	memset(t->mem, 0, sizeof(t->mem));
	for (unsigned i = 0; i < PC_TESTDEV_IRQS; i++) {
		if (t->level[i])
			irq_set(&t->irq[i], false);
		t->level[i] = 0;
	}
	lock_drop(&t->lock);
}

static int pc_testdev_post_load(struct device *d)
{
	struct pc_testdev *t = (struct pc_testdev *)d;

	lock_take(&t->lock);
	for (unsigned i = 0; i < PC_TESTDEV_IRQS; i++) {
		t->level[i] = t->level[i] != 0;
		irq_set(&t->irq[i], t->level[i]);
	}
	lock_drop(&t->lock);
	return 0;
}

static void pc_testdev_free(struct device *d)
{
	struct pc_testdev *t = (struct pc_testdev *)d;

	lock_release(&t->lock);
	free(t);
}

static const struct state_field pc_testdev_state[] = {
	STATE_BYTES(struct pc_testdev, data),
	STATE_BYTES(struct pc_testdev, level),
	STATE_BYTES(struct pc_testdev, mem),
	STATE_END(),
};

static const struct device_ops pc_testdev_ops = {
	.name = "pc-testdev",
	.reset = pc_testdev_reset,
	.post_load = pc_testdev_post_load,
	.free = pc_testdev_free,
	.state = pc_testdev_state,
	.state_version = 1,
};

struct pc_testdev *pc_testdev_new(const struct irq_line irq[PC_TESTDEV_IRQS])
{
	struct pc_testdev *t = calloc(1, sizeof(*t));

	BUG_ON(!t);
	t->dev.ops = &pc_testdev_ops;
	list_init(&t->dev.node);
	lock_init(&t->lock, RANK_DEVICE);
	memcpy(t->irq, irq, sizeof(t->irq));
	return t;
}
