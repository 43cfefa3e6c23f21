/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that are plugged into a machine by name: the table of what there is, and their properties. */
#ifndef DOPPEL_MACHINE_DEVICES_H
#define DOPPEL_MACHINE_DEVICES_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/strbuf.h"

struct blk;
struct chr;
struct device_driver;
struct net;
struct pc;

#define DEVICE_MAX_PROPS 32

/* Where isa-debug-exit is for who does not say: the port that test guests for QEMU use most. */
#define DEBUG_EXIT_PORT      0xf4
#define DEBUG_EXIT_PORT_TEXT "0xf4"

/* "name=value" of a -device option, or of what the short options stand for. */
struct device_prop {
	const char *name, *value;
};

/*
 * One device to plug in: the same tree for both command lines. What the pointers point to is the caller's and outlives
 * the machine; backends are opened and closed by the caller.
 */
struct device_config {
	const char *driver; /* name in the table */
	const char *id;     /* NULL: none */
	struct device_prop prop[DEVICE_MAX_PROPS];
	unsigned n_props;
	struct blk *blk;    /* the drive; NULL: none */
	struct net *net;
	struct chr *chr;
};

/* What a driver's devices are plugged into. */
enum device_bus { DEVICE_BUS_PCI, DEVICE_BUS_ISA, DEVICE_BUS_IDE, DEVICE_BUS_FLOPPY, DEVICE_BUS_SERIAL, DEVICE_BUS_SYSTEM };

enum device_prop_type { PROP_BOOL, PROP_UINT, PROP_SIZE, PROP_STRING };

/* A property that a driver has; min and max are inclusive, for PROP_UINT and PROP_SIZE. A table of them ends with name NULL. */
struct device_prop_spec {
	const char *name;
	enum device_prop_type type;
	uint64_t min, max;
	const char *def;  /* as it would be written; NULL: not set */
	const char *help;
};

/* What a driver must be given. */
enum { DEVICE_NEEDS_BLK = 1, DEVICE_NEEDS_NET = 2, DEVICE_NEEDS_CHR = 4, DEVICE_TAKES_BLK = 8, DEVICE_TAKES_CHR = 16 };

struct device_driver {
	const char *name;
	const char *help;
	enum device_bus bus;
	unsigned needs;
	const struct device_prop_spec *props; /* besides id and the bus's addr; NULL: none */
	/* Build it and plug it in while the machine is being built; cfg has been checked against the table. */
	int (*plug)(struct pc *pc, const struct device_config *cfg, struct err *e);
};

/* The driver of that name, or NULL. */
const struct device_driver *device_driver_find(const char *name);

/* The table as text: a line for each driver; or the properties of one. */
void device_drivers_print(struct strbuf *out);
void device_driver_print(const struct device_driver *d, struct strbuf *out);

/* Check driver, property names and values, and the backends it needs. -EINVAL with a message that names the choices. */
int device_check(const struct device_config *cfg, struct err *e);

/* Check and plug in; machine/ only. */
int device_plug(struct pc *pc, const struct device_config *cfg, struct err *e);

/* The value of a property that the driver has, or its default; of a checked configuration. */
const char *device_prop_string(const struct device_config *cfg, const char *name); /* NULL: not set */
uint64_t device_prop_uint(const struct device_config *cfg, const char *name);      /* PROP_UINT, PROP_SIZE; 0: not set */
bool device_prop_bool(const struct device_config *cfg, const char *name);          /* on, off, true, false, yes, no */

/* Set a property; the strings must outlive cfg. -E2BIG with a message when there are too many. */
int device_prop_set(struct device_config *cfg, const char *name, const char *value, struct err *e);

/* The PCI slot and function that "addr" asks for (as 5 or 05.0), else the first free slot. -EBUSY, -EINVAL with a message. */
int device_pci_devfn(struct pc *pc, const struct device_config *cfg, uint8_t *devfn, struct err *e);

#endif
