/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI-to-ISA bridge with the identity of the PIIX3: interrupt routing.
 *
 * Specification: Intel 82371FB/82371SB (PIIX, PIIX3) data sheet (290550), 2.2.
 * Missing: positive decode of ISA ranges (all of them are decoded), DMA and USB registers.
 * Ignored: I/O recovery time, X-bus chip selects, top of memory (stored).
 */
#include <stdlib.h>

#include "base/err.h"
#include "dev/misc/piix.h"

enum { ISA_IORT = 0x4c, XBCS = 0x4e, PIRQ_A = 0x60, TOM = 0x69, DLC = 0x82 };

#define PIRQ_OFF      0x80 /* not routed to an ISA interrupt */
#define PIRQ_WRITABLE 0x8f
#define MULTIFUNCTION 0x80
#define ROUTABLE      0xdef8 /* IRQ 3 to 7, 9 to 12, 14, 15; others mean nothing */

static const struct pci_ids isa_ids = { .vendor = 0x8086, .device = 0x7000, .class_code = 0x060100 };

struct piix_isa {
	struct device dev;
	struct pci_function fn;  /* its registers: the bridge's lock */
	struct lock lock;        /* RANK_PCI_INTX + 1: what follows */
	bool wire[PCI_PINS];
	uint8_t route[PCI_PINS]; /* as in the registers */
	bool level[PIIX_ISA_IRQS];
	struct piix_isa_config cfg;
};

/* Bring the ISA interrupts up to date with wires and routes. */
static void update_locked(struct piix_isa *p)
{
	bool want[PIIX_ISA_IRQS] = { false };

	for (unsigned i = 0; i < PCI_PINS; i++)
		if (p->wire[i] && !(p->route[i] & PIRQ_OFF) && (ROUTABLE >> p->route[i] & 1))
			want[p->route[i]] = true;
	for (unsigned n = 0; n < PIIX_ISA_IRQS; n++) {
		if (want[n] == p->level[n])
			continue;
		p->level[n] = want[n];
		irq_set(&p->cfg.irq[n], want[n]);
	}
}

static void wire_set(void *opaque, unsigned i, bool level)
{
	struct piix_isa *p = opaque;

	lock_take(&p->lock);
	p->wire[i] = level;
	update_locked(p);
	lock_drop(&p->lock);
	irq_set(&p->cfg.direct[i], level);
}

struct irq_line piix_isa_wire(struct piix_isa *p, unsigned i)
{
	return (struct irq_line){ .set = wire_set, .opaque = p, .n = i };
}

static void follow_registers(struct piix_isa *p)
{
	lock_take(&p->lock);
	for (unsigned i = 0; i < PCI_PINS; i++)
		p->route[i] = p->fn.config[PIRQ_A + i];
	update_locked(p);
	lock_drop(&p->lock);
}

static void written(struct pci_function *f, unsigned off, unsigned size)
{
	if (off < PIRQ_A + PCI_PINS && off + size > PIRQ_A)
		follow_registers(CONTAINER_OF(f, struct piix_isa, fn));
}

void piix_isa_route(struct piix_isa *p, unsigned i, uint8_t irq)
{
	p->fn.config[PIRQ_A + i] = irq;
	follow_registers(p);
}

static void piix_isa_reset(struct device *d)
{
	struct piix_isa *p = (struct piix_isa *)d;

	pci_function_reset(&p->fn);
	follow_registers(p);
}

static int piix_isa_post_load(struct device *d)
{
	struct piix_isa *p = (struct piix_isa *)d;
	int rc = pci_function_post_load(&p->fn);

	if (!rc)
		follow_registers(p);
	return rc;
}

static void piix_isa_free(struct device *d)
{
	struct piix_isa *p = (struct piix_isa *)d;

	pci_function_release(&p->fn);
	lock_release(&p->lock);
	free(p);
}

static const struct state_field piix_isa_state[] = {
	STATE_BYTES(struct piix_isa, fn.config),
	STATE_END(),
};

static const struct device_ops piix_isa_ops = {
	.name = "piix-isa",
	.reset = piix_isa_reset,
	.post_load = piix_isa_post_load,
	.free = piix_isa_free,
	.state = piix_isa_state,
	.state_version = 1,
};

struct piix_isa *piix_isa_new(const struct piix_isa_config *c)
{
	struct piix_isa *p = calloc(1, sizeof(*p));

	BUG_ON(!p);
	p->dev.ops = &piix_isa_ops;
	list_init(&p->dev.node);
	p->cfg = *c;
	lock_init(&p->lock, RANK_PCI_INTX + 1);
	pci_function_init(&p->fn, c->bus, c->devfn, &isa_ids);
	p->fn.written = written;
	p->fn.config[PCI_HEADER_TYPE] = MULTIFUNCTION;
	p->fn.config[ISA_IORT] = 0x4d;
	p->fn.config[XBCS] = 0x03;
	p->fn.config[TOM] = 0x02;
	p->fn.writable[ISA_IORT] = p->fn.writable[XBCS] = p->fn.writable[XBCS + 1] = 0xff;
	p->fn.writable[TOM] = p->fn.writable[DLC] = 0xff;
	for (unsigned i = 0; i < PCI_PINS; i++) {
		p->fn.config[PIRQ_A + i] = PIRQ_OFF;
		p->fn.writable[PIRQ_A + i] = PIRQ_WRITABLE;
	}
	pci_function_seal(&p->fn);
	follow_registers(p);
	return p;
}
