/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pci-testdev (1b36:0005) after QEMU's docs/specs/pci-testdev: BAR 0 is memory, BAR 1 ports; each begins with a header, by which a
 * guest starts one of the BAR's tests, reads where it is to write what, and how many such writes have arrived.
 *
 *	0 test (starts it)   1 width   4 offset   8 data   12 count   16 name, with a zero behind
 *
 * Different: the tests that are named after event descriptors have none, so that their writes are counted too. Missing: BAR 2
 * (membar=), which holds nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "dev/misc/pci_testdev.h"

/* Half of each BAR is for the header, the other one is written to. */
#define MEM_HALF 2048u
#define IO_HALF  128u

enum { HDR_TEST = 0, HDR_WIDTH = 1, HDR_OFFSET = 4, HDR_DATA = 8, HDR_COUNT = 12, HDR_NAME = 16, HDR_MAX = 48 };

#define WIDTH 1 /* of a test's writes, in bytes */

#define TESTS_OF_BAR 3
#define NO_TEST      0xff

struct test {
	const char *name;
	uint16_t offset;
	uint8_t data;
	bool any_data; /* data is only what is proposed */
};

/* Those of BAR 0, then those of BAR 1. */
static const struct test tests[] = {
	{ "mmio-no-eventfd", MEM_HALF + 0, 0xfa, false },
	{ "mmio-wildcard-eventfd", MEM_HALF + 1, 0xce, true },
	{ "mmio-datamatch-eventfd", MEM_HALF + 2, 0xfa, false },
	{ "portio-no-eventfd", IO_HALF + 3, 0xfa, false },
	{ "portio-wildcard-eventfd", IO_HALF + 4, 0xce, true },
	{ "portio-datamatch-eventfd", IO_HALF + 5, 0xfa, false },
};

struct pci_testdev {
	struct device dev;
	struct lock lock; /* the two below; RANK_DEVICE */
	uint8_t current;  /* of tests, or NO_TEST */
	uint32_t count;
	struct pci_function fn;
};

static const struct pci_ids ids = {
	.vendor = 0x1b36, .device = 0x0005, .class_code = 0x00ff00, .subvendor = 0x1af4, .subsystem = 0x1100,
};

static uint64_t header_read(void *opaque, uint64_t off, unsigned size)
{
	struct pci_testdev *t = opaque;
	uint8_t header[HDR_MAX] = { 0 };
	const struct test *test;

	if (t->current == NO_TEST || off >= HDR_MAX)
		return 0;
	test = &tests[t->current];
	header[HDR_TEST] = t->current;
	header[HDR_WIDTH] = WIDTH;
	put_le32(header + HDR_OFFSET, test->offset);
	header[HDR_DATA] = test->data;
	put_le32(header + HDR_COUNT, t->count);
	memcpy(header + HDR_NAME, test->name, strlen(test->name));
	return header[off];
}

static void bar_write(struct pci_testdev *t, unsigned bar, uint64_t off, uint8_t val)
{
	if (off == HDR_TEST) {
		t->count = 0;
		t->current = (uint8_t)(val < TESTS_OF_BAR ? bar * TESTS_OF_BAR + val : NO_TEST);
	} else if (t->current != NO_TEST && t->current / TESTS_OF_BAR == bar && off == tests[t->current].offset &&
		   (tests[t->current].any_data || val == tests[t->current].data)) {
		t->count++;
	}
}

static void mem_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	bar_write(opaque, 0, off, (uint8_t)val);
}

static void io_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	bar_write(opaque, 1, off, (uint8_t)val);
}

static const struct io_ops mem_ops = { .read = header_read, .write = mem_write, .max_size = WIDTH };
static const struct io_ops port_ops = { .read = header_read, .write = io_write, .max_size = WIDTH };

static void pci_testdev_reset(struct device *d)
{
	struct pci_testdev *t = (struct pci_testdev *)d;

	pci_function_reset(&t->fn);
	lock_take(&t->lock);
	t->current = NO_TEST;
	t->count = 0;
	lock_drop(&t->lock);
}

static int pci_testdev_post_load(struct device *d)
{
	struct pci_testdev *t = (struct pci_testdev *)d;

	if (t->current != NO_TEST && t->current >= ARRAY_SIZE(tests))
		return -EINVAL;
	return pci_function_post_load(&t->fn);
}

static void pci_testdev_free(struct device *d)
{
	struct pci_testdev *t = (struct pci_testdev *)d;

	pci_function_release(&t->fn);
	lock_release(&t->lock);
	free(t);
}

static const struct state_field pci_testdev_state[] = {
	STATE_BYTES(struct pci_testdev, fn.config),
	STATE_U8(struct pci_testdev, current),
	STATE_U32(struct pci_testdev, count),
	STATE_END(),
};

static const struct device_ops pci_testdev_ops = {
	.name = "pci-testdev",
	.reset = pci_testdev_reset,
	.post_load = pci_testdev_post_load,
	.free = pci_testdev_free,
	.state = pci_testdev_state,
	.state_version = 1,
};

struct pci_testdev *pci_testdev_new(struct pci_bus *bus, uint8_t devfn)
{
	struct pci_testdev *t = calloc(1, sizeof(*t));
	struct pci_bar mem = { .type = PCI_BAR_MEM32, .size = 2 * MEM_HALF, .name = "pci-testdev", .ops = &mem_ops, .opaque = t };
	struct pci_bar io = { .type = PCI_BAR_IO, .size = 2 * IO_HALF, .name = "pci-testdev-io", .ops = &port_ops, .opaque = t };

	BUG_ON(!t);
	t->dev.ops = &pci_testdev_ops;
	list_init(&t->dev.node);
	lock_init(&t->lock, RANK_DEVICE);
	t->current = NO_TEST;
	mem.lock = io.lock = &t->lock;
	pci_function_init(&t->fn, bus, devfn, &ids);
	pci_add_bar(&t->fn, 0, &mem);
	pci_add_bar(&t->fn, 1, &io);
	pci_function_seal(&t->fn);
	return t;
}
