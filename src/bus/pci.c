/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A conventional PCI bus: configuration cycles to functions and the decode of their BARs.
 *
 * Specification: PCI Local Bus Specification 3.0, chapter 6.
 * Missing: bridges (there is one bus), status bits that report bus errors.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "base/log.h"
#include "bus/pci.h"
#include "mem/slot.h"

#define FUNCTIONS          256
#define STATUS_CAPS        0x10 /* in the status register */
#define STATUS_INTX        0x08
#define BAR_IO             0x1
#define BAR_MEM64          0x4
#define BAR_PREFETCH       0x8
#define BAR_FLAGS_IO       0x3ull
#define BAR_FLAGS_MEM      0xfull
#define BAR_FLAGS_ROM      0x7ffull
#define ROM_ENABLE         0x1
#define ALL_BARS           (PCI_BARS + 1)
#define COMMAND_WRITABLE   (PCI_CMD_IO | PCI_CMD_MEMORY | PCI_CMD_MASTER | PCI_CMD_INTX_OFF)

struct pci_bus {
	struct pci_bus_config cfg;
	struct pci_function *fn[FUNCTIONS];
	struct lock intx_lock;         /* RANK_PCI_INTX: wires, and the intx_ fields of functions */
	unsigned asserted[PCI_PINS];   /* how many functions drive each wire */
};

struct pci_bus *pci_bus_new(const struct pci_bus_config *c)
{
	struct pci_bus *b = calloc(1, sizeof(*b));

	BUG_ON(!b);
	b->cfg = *c;
	lock_init(&b->intx_lock, RANK_PCI_INTX);
	return b;
}

void pci_bus_free(struct pci_bus *b)
{
	lock_release(&b->intx_lock);
	free(b);
}

void pci_bus_connect_intx(struct pci_bus *b, unsigned i, struct irq_line to)
{
	b->cfg.intx[i] = to;
}

/* -- BARs -------------------------------------------------------------------------------------- */

static const struct pci_window *bar_window(const struct pci_bus *b, const struct pci_bar *bar, uint64_t addr)
{
	if (bar->type == PCI_BAR_IO)
		return &b->cfg.io;
	return addr >> 32 ? &b->cfg.mem64 : &b->cfg.mem32;
}

static unsigned bar_register(unsigned n)
{
	return n == PCI_BAR_OF_ROM ? PCI_ROM : PCI_BAR0 + 4 * n;
}

static uint64_t bar_flags(const struct pci_bar *bar)
{
	if (bar->type == PCI_BAR_ROM)
		return BAR_FLAGS_ROM;
	return bar->type == PCI_BAR_IO ? BAR_FLAGS_IO : BAR_FLAGS_MEM;
}

/* Is BAR n decoded now, and where? */
static bool bar_address(const struct pci_function *f, unsigned n, uint64_t *addr)
{
	const struct pci_bar *bar = &f->bar[n];
	uint16_t command = get_le16(f->config + PCI_COMMAND);
	const uint8_t *reg = f->config + bar_register(n);
	const struct pci_window *w;

	if (!(command & (bar->type == PCI_BAR_IO ? PCI_CMD_IO : PCI_CMD_MEMORY)))
		return false;
	if (bar->type == PCI_BAR_ROM && !(*reg & ROM_ENABLE))
		return false;
	*addr = bar->type == PCI_BAR_MEM64 ? get_le64(reg) : get_le32(reg);
	*addr &= ~bar_flags(bar);
	w = bar_window(f->bus, bar, *addr);
	return *addr >= w->base && bar->size <= w->size && *addr - w->base <= w->size - bar->size;
}

static void bar_unmap(const struct pci_function *f, struct pci_bar *bar)
{
	if (!bar->region)
		return;
	space_remove(bar->type == PCI_BAR_IO ? f->bus->cfg.pio : f->bus->cfg.mem, bar->region);
	bar->region = NULL;
	if (bar->slot)
		ram_slot_show(bar->slot, RAM_SLOT_NOWHERE);
}

/* Memory of a chip is shown by mapping it; two chips' memory cannot stand in one place. */
static void bar_map_slot(struct space *s, struct pci_bar *bar, uint64_t addr)
{
	int rc = ram_slot_show(bar->slot, addr);

	if (rc) {
		guest_log("PCI: %s cannot be shown at %#llx: %s", bar->name, (unsigned long long)addr, strerror(-rc));
		return;
	}
	BUG_ON(space_add_ram(s, &bar->region, bar->name, addr, bar->size, bar->ram, bar->type == PCI_BAR_ROM));
}

static void bars_update(struct pci_function *f)
{
	for (unsigned n = 0; n < ALL_BARS; n++) {
		struct pci_bar *bar = &f->bar[n];
		struct space *s = bar->type == PCI_BAR_IO ? f->bus->cfg.pio : f->bus->cfg.mem;
		uint64_t addr = 0;
		bool decoded = bar->type != PCI_BAR_NONE && bar_address(f, n, &addr);

		if (bar->region && decoded && bar->mapped_at == addr)
			continue;
		bar_unmap(f, bar);
		if (!decoded)
			continue;
		bar->mapped_at = addr;
		if (bar->slot) {
			bar_map_slot(s, bar, addr);
			continue;
		}
		/* Fails only outside of the space, which the windows are not. */
		BUG_ON(space_add_io(s, &bar->region, bar->name, addr, bar->size, bar->ops, bar->opaque, bar->lock));
	}
}

void pci_add_bar(struct pci_function *f, unsigned n, const struct pci_bar *bar)
{
	unsigned off = bar_register(n);
	uint64_t mask = ~(bar->size - 1);
	uint32_t flags = bar->type == PCI_BAR_IO ? BAR_IO : 0;
	bool wide = bar->type == PCI_BAR_MEM64, rom = bar->type == PCI_BAR_ROM;

	BUG_ON(rom != (n == PCI_BAR_OF_ROM) || n + wide >= (rom ? ALL_BARS : PCI_BARS) || (rom && (!bar->slot || bar->size <= BAR_FLAGS_ROM)));
	BUG_ON((bar->size & (bar->size - 1)) || bar->size < (flags & BAR_IO ? 4 : 16));
	BUG_ON(!wide && bar->size > 1ull << 31);
	f->bar[n] = *bar;
	f->bar[n].region = NULL;
	put_le32(f->writable + off, mask | (rom ? ROM_ENABLE : 0));
	if (wide)
		put_le32(f->writable + off + 4, mask >> 32);
	if (!(flags & BAR_IO))
		flags |= (wide ? BAR_MEM64 : 0) | (bar->prefetch ? BAR_PREFETCH : 0);
	put_le32(f->config + off, flags);
}

/* -- INTx -------------------------------------------------------------------------------------- */

static void intx_update_locked(struct pci_function *f)
{
	unsigned pin = f->config[PCI_INTERRUPT_PIN];
	unsigned wire = ((f->devfn >> 3) + pin - 1) % PCI_PINS;
	bool drive = pin && f->intx_level && !f->intx_off;
	unsigned before = f->bus->asserted[wire];

	if (drive == f->intx_driven)
		return;
	f->intx_driven = drive;
	f->bus->asserted[wire] += drive ? 1 : -1;
	if (!before != !f->bus->asserted[wire])
		irq_set(&f->bus->cfg.intx[wire], drive);
}

void pci_set_intx(struct pci_function *f, bool level)
{
	lock_take(&f->bus->intx_lock);
	f->intx_level = level;
	intx_update_locked(f);
	lock_drop(&f->bus->intx_lock);
}

/* The command register may have changed. */
static void intx_follow_command(struct pci_function *f)
{
	lock_take(&f->bus->intx_lock);
	f->intx_off = get_le16(f->config + PCI_COMMAND) & PCI_CMD_INTX_OFF;
	intx_update_locked(f);
	lock_drop(&f->bus->intx_lock);
}

static bool intx_asked(struct pci_function *f)
{
	bool level;

	lock_take(&f->bus->intx_lock);
	level = f->intx_level;
	lock_drop(&f->bus->intx_lock);
	return level;
}

/* -- Functions --------------------------------------------------------------------------------- */

void pci_function_init(struct pci_function *f, struct pci_bus *b, uint8_t devfn, const struct pci_ids *ids)
{
	BUG_ON(b->fn[devfn]);
	b->fn[devfn] = f;
	f->bus = b;
	f->devfn = devfn;
	f->cap_end = PCI_HEADER_END;
	put_le16(f->config + PCI_VENDOR_ID, ids->vendor);
	put_le16(f->config + PCI_DEVICE_ID, ids->device);
	f->config[PCI_REVISION] = ids->revision;
	put_le16(f->config + PCI_CLASS, ids->class_code);
	f->config[PCI_CLASS + 2] = ids->class_code >> 16;
	put_le16(f->config + PCI_SUBVENDOR_ID, ids->subvendor);
	put_le16(f->config + PCI_SUBSYSTEM_ID, ids->subsystem);
	put_le16(f->writable + PCI_COMMAND, COMMAND_WRITABLE);
	f->writable[PCI_LATENCY] = 0xff;
	f->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_function_release(struct pci_function *f)
{
	for (unsigned n = 0; n < ALL_BARS; n++)
		bar_unmap(f, &f->bar[n]);
	pci_set_intx(f, false);
	f->bus->fn[f->devfn] = NULL;
}

bool pci_slot_free(const struct pci_bus *b, uint8_t devfn)
{
	return !b->fn[devfn];
}

uint8_t pci_add_capability(struct pci_function *f, uint8_t id, uint8_t size)
{
	uint8_t at = f->cap_end;

	BUG_ON(size < 2 || at + size > PCI_CONFIG_SIZE);
	f->config[at] = id;
	f->config[at + 1] = f->config[PCI_CAPABILITIES];
	f->config[PCI_CAPABILITIES] = at;
	f->config[PCI_STATUS] |= STATUS_CAPS;
	f->cap_end = MIN(ALIGN_UP(at + size, 4), PCI_CONFIG_SIZE - 1);
	return at;
}

void pci_function_seal(struct pci_function *f)
{
	memcpy(f->reset_config, f->config, sizeof(f->config));
}

void pci_function_reset(struct pci_function *f)
{
	memcpy(f->config, f->reset_config, sizeof(f->config));
	bars_update(f);
	intx_follow_command(f);
}

int pci_function_post_load(struct pci_function *f)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		if ((f->config[i] ^ f->reset_config[i]) & ~f->writable[i])
			return -EINVAL;
	bars_update(f);
	intx_follow_command(f);
	return 0;
}

/* -- Configuration cycles ---------------------------------------------------------------------- */

static struct pci_function *find(struct pci_bus *b, uint8_t bus, uint8_t devfn, unsigned off, unsigned size)
{
	if (bus || off >= PCI_CONFIG_SIZE || (off & 3) + size > 4)
		return NULL;
	return b->fn[devfn];
}

uint32_t pci_config_read(struct pci_bus *b, uint8_t bus, uint8_t devfn, unsigned off, unsigned size)
{
	struct pci_function *f = find(b, bus, devfn, off, size);
	uint32_t val = 0;

	if (!f)
		return size_mask(size);
	if (f->reading)
		f->reading(f, off, size);
	memcpy(&val, f->config + off, size);
	if (off <= PCI_STATUS && off + size > PCI_STATUS && intx_asked(f))
		val |= (uint32_t)STATUS_INTX << (8 * (PCI_STATUS - off));
	return val;
}

void pci_config_write(struct pci_bus *b, uint8_t bus, uint8_t devfn, unsigned off, unsigned size, uint32_t val)
{
	struct pci_function *f = find(b, bus, devfn, off, size);

	if (!f)
		return;
	for (unsigned i = off; i < off + size; i++, val >>= 8)
		f->config[i] = (f->config[i] & ~f->writable[i]) | (val & f->writable[i]);
	if (off < PCI_ROM + 4 && off + size > PCI_COMMAND) {
		bars_update(f);
		intx_follow_command(f);
	}
	if (f->written)
		f->written(f, off, size);
}
