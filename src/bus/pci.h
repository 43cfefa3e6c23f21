/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conventional PCI: configuration space of functions, BAR decode, capability lists, one bus. */
#ifndef DOPPEL_BUS_PCI_H
#define DOPPEL_BUS_PCI_H

#include <stdbool.h>
#include <stdint.h>
#include "irq/irq.h"
#include "mem/space.h"

#define PCI_CONFIG_SIZE 256
#define PCI_BARS        6
#define PCI_BAR_OF_ROM  6 /* number of the expansion ROM among the BARs here; its register is elsewhere */
#define PCI_PINS        4 /* INTA# to INTD# */
#define PCI_DEVFN(slot, fn) ((slot) << 3 | (fn))

/* Header type 0, PCI Local Bus Specification 3.0, 6.1 */
enum {
	PCI_VENDOR_ID = 0x00, PCI_DEVICE_ID = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06, PCI_REVISION = 0x08,
	PCI_CLASS = 0x09, PCI_LATENCY = 0x0d, PCI_HEADER_TYPE = 0x0e, PCI_BAR0 = 0x10, PCI_SUBVENDOR_ID = 0x2c,
	PCI_SUBSYSTEM_ID = 0x2e, PCI_ROM = 0x30, PCI_CAPABILITIES = 0x34, PCI_INTERRUPT_LINE = 0x3c, PCI_INTERRUPT_PIN = 0x3d,
	PCI_HEADER_END = 0x40,
};

/* Command register */
enum { PCI_CMD_IO = 0x1, PCI_CMD_MEMORY = 0x2, PCI_CMD_MASTER = 0x4, PCI_CMD_INTX_OFF = 0x400 };

enum pci_bar_type { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64, PCI_BAR_ROM };

struct pci_bus;
struct ram;
struct ram_slot;

struct pci_bar {
	enum pci_bar_type type;
	bool prefetch;
	uint64_t size;             /* a power of two; at least 4 (I/O), 16 (memory) or 2048 (ROM) */
	struct ram_slot *slot;     /* memory of the chip, of this size, which the guest uses like RAM; else NULL, and ops: */
	struct ram *ram;           /* the slot's */
	const char *name;
	const struct io_ops *ops;
	void *opaque;
	struct lock *lock;         /* of the region, see space_add_io() */
	struct region *region;     /* while it is decoded ... */
	uint64_t mapped_at;        /* ... here */
};

/*
 * A function; embed it in the chip. Its configuration space is guarded by whoever owns the bus: all
 * calls below that take a function are made with the host bridge's lock held, or while the machine
 * is being built or stands.
 */
struct pci_function {
	struct pci_bus *bus;
	uint8_t devfn;
	uint8_t cap_end;           /* where the next capability will go */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];     /* bits that the guest can write */
	uint8_t reset_config[PCI_CONFIG_SIZE]; /* what pci_function_reset() goes back to */
	bool intx_level;           /* what the chip asks for; the bus' INTx lock */
	bool intx_off;             /* as in the command register; the bus' INTx lock */
	bool intx_driven;          /* it is part of the wire's level; the bus' INTx lock */
	/* The guest has written config[off .. off + size - 1]; with the bridge's lock held. NULL: nobody minds. */
	void (*written)(struct pci_function *f, unsigned off, unsigned size);
	/* The guest is about to read it: what is a window on something else is put there now. As above. */
	void (*reading)(struct pci_function *f, unsigned off, unsigned size);
	struct pci_bar bar[PCI_BARS + 1];
};

struct pci_ids {
	uint16_t vendor, device;
	uint32_t class_code;       /* 24 bits: base class, subclass, interface */
	uint8_t revision;
	uint16_t subvendor, subsystem;
};

/* Where BARs may decode: an address outside of its window is as if decoding were off, so that a guest can't
 * put a BAR over RAM or an interrupt controller. Size 0: no such window. */
struct pci_window {
	uint64_t base, size;
};

struct pci_bus_config {
	struct space *mem, *pio;
	struct pci_window io, mem32, mem64;
	/* Pin p (INTA# 0) of slot s is wired to intx[(s + p) % 4], as on PCs; the bus joins what shares a wire. */
	struct irq_line intx[PCI_PINS];
};

struct pci_bus *pci_bus_new(const struct pci_bus_config *c);
void pci_bus_free(struct pci_bus *b);

/* Connect INTx wire i, in place of what the configuration said. While the machine is being built. */
void pci_bus_connect_intx(struct pci_bus *b, unsigned i, struct irq_line to);

/* Fill in the identity of f (zeroed before) and plug it in; the slot must be free. */
void pci_function_init(struct pci_function *f, struct pci_bus *b, uint8_t devfn, const struct pci_ids *ids);
void pci_function_release(struct pci_function *f); /* unplug */

/* Whether nothing is plugged in there. */
bool pci_slot_free(const struct pci_bus *b, uint8_t devfn);

/*
 * What the chip asks for at its pin (PCI_INTERRUPT_PIN): the interrupt status bit follows and, unless the guest has disabled
 * INTx, the wire. Any thread, under any lock of a rank below RANK_PCI_INTX.
 */
void pci_set_intx(struct pci_function *f, bool level);

/*
 * Describe BAR n (a 64-bit one takes n+1 too); PCI_BAR_OF_ROM: the expansion ROM (6.2.5.2), which has a slot. A slot is shown
 * only in the 32-bit window. bar's region and mapped_at are ignored.
 */
void pci_add_bar(struct pci_function *f, unsigned n, const struct pci_bar *bar);

/* Append a capability of `size` bytes, id and next pointer included; returns its offset. */
uint8_t pci_add_capability(struct pci_function *f, uint8_t id, uint8_t size);

/* Take the present contents as reset state. To be called once f is complete. */
void pci_function_seal(struct pci_function *f);
void pci_function_reset(struct pci_function *f);

/*
 * After config[] was restored: all read-only bits must be as sealed, then BARs are decoded anew.
 * -EINVAL if they are not.
 */
int pci_function_post_load(struct pci_function *f);

/* A configuration cycle; size 1, 2 or 4, within a dword. No function there: all ones; no effect. */
uint32_t pci_config_read(struct pci_bus *b, uint8_t bus, uint8_t devfn, unsigned off, unsigned size);
void pci_config_write(struct pci_bus *b, uint8_t bus, uint8_t devfn, unsigned off, unsigned size, uint32_t val);

#endif
