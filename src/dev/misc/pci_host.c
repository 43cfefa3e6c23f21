/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI host bridge with the identity of the Intel 440FX (82441FX), configuration mechanism 1.
 *
 * Specification: PCI Local Bus Specification 3.0, 3.2.2.3.2; Intel 82441FX data sheet (290549-001).
 * Missing: SMRAM (there is no SMM), DRAM timing and sizing (stored), configuration mechanism 2, special cycles.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "dev/misc/pam.h"
#include "dev/misc/pci_host.h"
#include "dev/misc/reset_ctl.h"

#define ADDR_ENABLE   0x80000000u
#define ADDR_WRITABLE 0x80fffffcu
#define ADDR_BUS(a)   ((uint8_t)((a) >> 16))
#define ADDR_DEVFN(a) ((uint8_t)((a) >> 8))
#define ADDR_REG(a)   ((a) & 0xfc)
#define RESET_OFFSET  1 /* of the reset control register in the address register */
#define REG_PORTS     4

enum { PAM0 = 0x59, DRB = 0x60, SMRAM = 0x72 };
#define DRBS           8
#define SMRAM_WRITABLE 0x7f
#define PAM_BITS       0x33 /* of a register: read and write of both segments */

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
	struct pam *pam;
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

static void follow_registers(struct pci_host *h)
{
	for (unsigned i = 0; i < PAM_REGS; i++)
		pam_set(h->pam, i, h->fn.config[PAM0 + i]);
}

static void written(struct pci_function *f, unsigned off, unsigned size)
{
	if (off < PAM0 + PAM_REGS && off + size > PAM0)
		follow_registers(CONTAINER_OF(f, struct pci_host, fn));
}

void pci_host_open_shadow(struct pci_host *h)
{
	lock_take(&h->lock);
	memset(h->fn.config + PAM0 + 1, PAM_BITS, PAM_REGS - 1);
	h->fn.config[PAM0] = PAM_BITS & 0xf0; /* its lower half means nothing */
	follow_registers(h);
	lock_drop(&h->lock);
}

static void pci_host_reset(struct device *d)
{
	struct pci_host *h = (struct pci_host *)d;

	lock_take(&h->lock);
	h->addr = 0;
	pci_function_reset(&h->fn);
	pam_reset(h->pam);
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
	if (!rc)
		follow_registers(h);
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

struct pci_host *pci_host_new(struct pci_bus *bus, struct reset_ctl *reset, struct pam *pam)
{
	struct pci_host *h = calloc(1, sizeof(*h));

	BUG_ON(!h);
	h->dev.ops = &pci_host_ops;
	list_init(&h->dev.node);
	h->bus = bus;
	h->reset = reset;
	h->pam = pam;
	lock_init(&h->lock, RANK_DEVICE);
	pci_function_init(&h->fn, bus, PCI_DEVFN(0, 0), &host_ids);
	h->fn.written = written;
	for (unsigned i = 0; i < PAM_REGS; i++)
		h->fn.writable[PAM0 + i] = PAM_BITS;
	for (unsigned i = 0; i < DRBS; i++)
		h->fn.writable[DRB + i] = 0xff;
	h->fn.writable[SMRAM] = SMRAM_WRITABLE;
	pci_function_seal(&h->fn);
	return h;
}
