/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI host bridge with the identity of the Intel 440FX (82441FX), configuration mechanism 1.
 *
 * Specification: PCI Local Bus Specification 3.0, 3.2.2.3.2; Intel 82441FX data sheet (290549-001).
 * Missing: PAM, SMRAM and DRAM registers (the area below 1 MiB is RAM throughout; they read as 0 and
 * are not writable), configuration mechanism 2, special cycles.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "dev/misc/pci_host.h"
#include "dev/misc/reset_ctl.h"

#define ADDR_ENABLE   0x80000000u
#define ADDR_WRITABLE 0x80fffffcu
#define ADDR_BUS(a)   ((uint8_t)((a) >> 16))
#define ADDR_DEVFN(a) ((uint8_t)((a) >> 8))
#define ADDR_REG(a)   ((a) & 0xfc)
#define RESET_OFFSET  1 /* of the reset control register in the address register */
#define REG_PORTS     4

static const struct pci_ids host_ids = {
	.vendor = 0x8086, .device = 0x1237, .class_code = 0x060000, .revision = 2,
};

struct pci_host {
	struct device dev;
	struct lock lock; /* all below, and the bus with its functions' configuration; RANK_DEVICE */
	uint32_t addr;
	struct pci_function fn;
	struct pci_bus *bus;
	struct reset_ctl *reset;
};

/* Only a whole dword access reaches the address register; others pass on to what lies behind. */
static uint64_t addr_read(void *opaque, uint64_t off, unsigned size)
{
	struct pci_host *h = opaque;

	if (off == 0 && size == 4)
		return h->addr;
	if (off == RESET_OFFSET && size == 1)
		return reset_ctl_read(h->reset);
	return size_mask(size);
}

static void addr_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct pci_host *h = opaque;

	if (off == 0 && size == 4)
		h->addr = val & ADDR_WRITABLE;
	else if (off == RESET_OFFSET && size == 1)
		reset_ctl_write(h->reset, val);
}

static uint64_t data_read(void *opaque, uint64_t off, unsigned size)
{
	struct pci_host *h = opaque;

	if (!(h->addr & ADDR_ENABLE))
		return size_mask(size);
	return pci_config_read(h->bus, ADDR_BUS(h->addr), ADDR_DEVFN(h->addr), ADDR_REG(h->addr) + off, size);
}

static void data_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct pci_host *h = opaque;

	if (h->addr & ADDR_ENABLE)
		pci_config_write(h->bus, ADDR_BUS(h->addr), ADDR_DEVFN(h->addr), ADDR_REG(h->addr) + off, size, val);
}

static const struct io_ops addr_io = { .read = addr_read, .write = addr_write, .max_size = 4 };
static const struct io_ops data_io = { .read = data_read, .write = data_write, .max_size = 4 };

int pci_host_attach(struct pci_host *h, struct space *pio, uint16_t base)
{
	struct region *r;
	int rc = space_add_io(pio, &r, "pci-address", base, REG_PORTS, &addr_io, h, &h->lock);

	return rc ? rc : space_add_io(pio, &r, "pci-data", base + REG_PORTS, REG_PORTS, &data_io, h, &h->lock);
}

static void pci_host_reset(struct device *d)
{
	struct pci_host *h = (struct pci_host *)d;

	lock_take(&h->lock);
	h->addr = 0;
	pci_function_reset(&h->fn);
	lock_drop(&h->lock);
}

static int pci_host_post_load(struct device *d)
{
	struct pci_host *h = (struct pci_host *)d;
	int rc;

	if (h->addr & ~ADDR_WRITABLE)
		return -EINVAL;
	lock_take(&h->lock);
	rc = pci_function_post_load(&h->fn);
	lock_drop(&h->lock);
	return rc;
}

static void pci_host_free(struct device *d)
{
	struct pci_host *h = (struct pci_host *)d;

	pci_function_release(&h->fn);
	lock_release(&h->lock);
	free(h);
}

static const struct state_field pci_host_state[] = {
	STATE_U32(struct pci_host, addr),
	STATE_BYTES(struct pci_host, fn.config),
	STATE_END(),
};

static const struct device_ops pci_host_ops = {
	.name = "pci-host",
	.reset = pci_host_reset,
	.post_load = pci_host_post_load,
	.free = pci_host_free,
	.state = pci_host_state,
	.state_version = 1,
};

struct pci_host *pci_host_new(struct pci_bus *bus, struct reset_ctl *reset)
{
	struct pci_host *h = calloc(1, sizeof(*h));

	BUG_ON(!h);
	h->dev.ops = &pci_host_ops;
	list_init(&h->dev.node);
	h->bus = bus;
	h->reset = reset;
	lock_init(&h->lock, RANK_DEVICE);
	pci_function_init(&h->fn, bus, PCI_DEVFN(0, 0), &host_ids);
	pci_function_seal(&h->fn);
	return h;
}
