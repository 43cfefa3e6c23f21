/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of devices that can be plugged in by name, and the check of what is asked for against it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dev/char/debugcon.h"
#include "dev/misc/debug_exit.h"
#include "machine/board.h"
#include "machine/devices.h"

#define PCI_SLOTS 32

/* -- isa-debug-exit --------------------------------------------------------------------------------- */

static const struct device_prop_spec debug_exit_props[] = {
	{ "iobase", PROP_UINT, 0, 0xfffc, "0x501", "first port" },
	{ "iosize", PROP_UINT, 1, 4, "4", "number of ports; there are always four" },
	{ 0 },
};

static void debug_exit(void *opaque, uint32_t val)
{
	pc_tell(opaque, PC_EVENT_SHUTDOWN, PC_CAUSE_DEBUG_EXIT, val);
}

static int plug_debug_exit(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	struct debug_exit *x = board_add(pc, debug_exit_new(debug_exit, pc));

	return debug_exit_attach(x, pc->pio, (uint16_t)device_prop_uint(cfg, "iobase"));
}

/* -- isa-debugcon --------------------------------------------------------------------------------------- */

static const struct device_prop_spec debugcon_props[] = {
	{ "iobase", PROP_UINT, 0, UINT16_MAX, "0xe9", "the port" },
	{ "readback", PROP_UINT, 0, UINT8_MAX, "0xe9", "what it reads as" },
	{ 0 },
};

static int plug_debugcon(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	uint8_t readback = (uint8_t)device_prop_uint(cfg, "readback");
	struct debugcon *c = board_add(pc, debugcon_new(cfg->chr, readback));

	return debugcon_attach(c, pc->pio, (uint16_t)device_prop_uint(cfg, "iobase"));
}

/* -- The table ---------------------------------------------------------------------------------------- */

static const struct device_driver drivers[] = {
	{ "isa-debug-exit", "a port by which a test guest ends its machine with a code", DEVICE_BUS_ISA, 0, debug_exit_props,
	  plug_debug_exit },
	{ "isa-debugcon", "a port whose bytes come out on the host", DEVICE_BUS_ISA, DEVICE_NEEDS_CHR, debugcon_props,
	  plug_debugcon },
	{ 0 },
};

/* All tables; each ends with a NULL name. */
static const struct device_driver *const tables[] = {
	drivers, virtio_drivers, net_drivers, storage_drivers, video_drivers, misc_drivers,
};

/* Properties that every device of a bus has. */
static const struct device_prop_spec pci_props[] = {
	{ "addr", PROP_STRING, 0, 0, NULL, "slot on the bus, as 5 or 05.0; the first free one if not given" },
	{ "bus", PROP_STRING, 0, 0, NULL, "pci.0, the only one" },
	{ 0 },
};

static const char *const bus_names[] = {
	[DEVICE_BUS_PCI] = "PCI", [DEVICE_BUS_ISA] = "ISA", [DEVICE_BUS_IDE] = "IDE", [DEVICE_BUS_FLOPPY] = "floppy",
	[DEVICE_BUS_SERIAL] = "virtio-serial-bus", [DEVICE_BUS_SYSTEM] = "System",
};

const struct device_driver *device_driver_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct device_driver *d = tables[i]; d->name; d++)
			if (!strcmp(d->name, name))
				return d;
	return NULL;
}

void device_drivers_print(struct strbuf *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct device_driver *d = tables[i]; d->name; d++)
			strbuf_addf(out, "%-24s %-8s %s\n", d->name, bus_names[d->bus], d->help);
}

static void print_props(const struct device_prop_spec *p, struct strbuf *out)
{
	static const char *const types[] = {
		[PROP_BOOL] = "on|off", [PROP_UINT] = "number", [PROP_SIZE] = "size", [PROP_STRING] = "text",
	};

	for (; p && p->name; p++) {
		strbuf_addf(out, "  %-20s %-8s %s", p->name, types[p->type], p->help);
		if (p->def)
			strbuf_addf(out, " [%s]", p->def);
		strbuf_add(out, "\n", 1);
	}
}

void device_driver_print(const struct device_driver *d, struct strbuf *out)
{
	strbuf_addf(out, "%s: %s\n", d->name, d->help);
	print_props(d->props, out);
	if (d->bus == DEVICE_BUS_PCI)
		print_props(pci_props, out);
}

/* -- Properties --------------------------------------------------------------------------------------- */

static const struct device_prop_spec *find_in(const struct device_prop_spec *p, const char *name)
{
	for (; p && p->name; p++)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

static const struct device_prop_spec *spec_of(const struct device_driver *d, const char *name)
{
	const struct device_prop_spec *p = find_in(d->props, name);

	return p || d->bus != DEVICE_BUS_PCI ? p : find_in(pci_props, name);
}

static bool to_bool(const char *text, bool *val)
{
	*val = !strcasecmp(text, "on") || !strcasecmp(text, "true") || !strcasecmp(text, "yes");
	return *val || !strcasecmp(text, "off") || !strcasecmp(text, "false") || !strcasecmp(text, "no");
}

/* Decimal, hexadecimal (0x) or, for a size, with one of the letters kKMGT (powers of 1024). */
static bool to_uint(const char *text, bool size, uint64_t *val)
{
	static const char units[] = "KMGT";
	const char *at = NULL;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*val = strtoull(text, &end, strncasecmp(text, "0x", 2) ? 10 : 16);
	if (errno)
		return false;
	if (size && *end)
		at = strchr(units, *end & ~0x20);
	if (at && __builtin_mul_overflow(*val, 1ull << (10 * (at - units + 1)), val))
		return false;
	return !end[at != NULL];
}

static int check_value(const struct device_config *cfg, const struct device_prop_spec *p, const char *text, struct err *e)
{
	uint64_t val;
	bool b;

	switch (p->type) {
	case PROP_STRING:
		return 0;
	case PROP_BOOL:
		if (to_bool(text, &b))
			return 0;
		return err_set(e, EINVAL, "device '%s': %s=%s: give on or off", cfg->driver, p->name, text);
	case PROP_UINT:
	case PROP_SIZE:
		if (to_uint(text, p->type == PROP_SIZE, &val) && val >= p->min && val <= p->max)
			return 0;
		return err_set(e, EINVAL, "device '%s': %s=%s: give %llu to %llu", cfg->driver, p->name, text,
			       (unsigned long long)p->min, (unsigned long long)p->max);
	}
	return 0;
}

static int check_backends(const struct device_config *cfg, const struct device_driver *d, struct err *e)
{
	const struct {
		unsigned needs, takes;
		const void *have;
		const char *option;
	} kinds[] = {
		{ DEVICE_NEEDS_BLK, DEVICE_TAKES_BLK, cfg->blk, "drive" },
		{ DEVICE_NEEDS_NET, 0, cfg->net, "netdev" },
		{ DEVICE_NEEDS_CHR, DEVICE_TAKES_CHR, cfg->chr, "chardev" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if ((d->needs & kinds[i].needs) && !kinds[i].have)
			return err_set(e, EINVAL, "device '%s': give it a %s: %s=ID", d->name, kinds[i].option,
				       kinds[i].option);
		if (!(d->needs & (kinds[i].needs | kinds[i].takes)) && kinds[i].have)
			return err_set(e, EINVAL, "device '%s': it takes no %s", d->name, kinds[i].option);
	}
	return 0;
}

int device_check(const struct device_config *cfg, struct err *e)
{
	const struct device_driver *d = device_driver_find(cfg->driver);

	if (!d)
		return err_set(e, EINVAL, "device '%s': there is none of that name; 'help' lists them", cfg->driver);
	for (unsigned i = 0; i < cfg->n_props; i++) {
		const struct device_prop_spec *p = spec_of(d, cfg->prop[i].name);
		int rc;

		if (!p)
			return err_set(e, EINVAL, "device '%s': it has no property '%s'; '%s,help' lists them", d->name,
				       cfg->prop[i].name, d->name);
		rc = check_value(cfg, p, cfg->prop[i].value, e);
		if (rc)
			return rc;
	}
	return check_backends(cfg, d, e);
}

int device_plug(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	int rc = device_check(cfg, e);

	if (!rc)
		rc = device_driver_find(cfg->driver)->plug(pc, cfg, e);
	if (!rc && cfg->blk)
		board_watch_disk(pc, cfg->blk);
	return rc;
}

/* The last one counts, as on a command line. */
const char *device_prop_string(const struct device_config *cfg, const char *name)
{
	const struct device_prop_spec *p = spec_of(device_driver_find(cfg->driver), name);

	BUG_ON(!p);
	for (unsigned i = cfg->n_props; i-- > 0;)
		if (!strcmp(cfg->prop[i].name, name))
			return cfg->prop[i].value;
	return p->def;
}

uint64_t device_prop_uint(const struct device_config *cfg, const char *name)
{
	const struct device_prop_spec *p = spec_of(device_driver_find(cfg->driver), name);
	const char *text = device_prop_string(cfg, name);
	uint64_t val = 0;

	BUG_ON(text && !to_uint(text, p->type == PROP_SIZE, &val));
	return val;
}

bool device_prop_bool(const struct device_config *cfg, const char *name)
{
	const char *text = device_prop_string(cfg, name);
	bool val = false;

	BUG_ON(text && !to_bool(text, &val));
	return val;
}

int device_prop_set(struct device_config *cfg, const char *name, const char *value, struct err *e)
{
	if (cfg->n_props == DEVICE_MAX_PROPS)
		return err_set(e, E2BIG, "device '%s': more than %d properties; leave some out", cfg->driver, DEVICE_MAX_PROPS);
	cfg->prop[cfg->n_props++] = (struct device_prop){ name, value };
	return 0;
}

/* -- PCI slots ---------------------------------------------------------------------------------------- */

static int first_free(struct pc *pc, const struct device_config *cfg, uint8_t *devfn, struct err *e)
{
	for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
		*devfn = PCI_DEVFN(slot, 0);
		if (pci_slot_free(pc->chips->pci, *devfn))
			return 0;
	}
	return err_set(e, EBUSY, "device '%s': all %d slots of the PCI bus are taken", cfg->driver, PCI_SLOTS - 1);
}

int device_pci_devfn(struct pc *pc, const struct device_config *cfg, uint8_t *devfn, struct err *e)
{
	const char *addr = device_prop_string(cfg, "addr"), *bus = device_prop_string(cfg, "bus");
	unsigned long slot, fn = 0;
	char *end;

	if (bus && strcmp(bus, "pci.0"))
		return err_set(e, EINVAL, "device '%s': bus=%s: the PCI bus is pci.0", cfg->driver, bus);
	if (!addr)
		return first_free(pc, cfg, devfn, e);
	slot = strtoul(addr, &end, 16);
	if (end != addr && *end == '.')
		fn = strtoul(end + 1, &end, 16);
	if (end == addr || *end || slot >= PCI_SLOTS || fn > 7)
		return err_set(e, EINVAL, "device '%s': addr=%s: give a slot in hexadecimal, 1 to 1f, as 5 or 05.0", cfg->driver,
			       addr);
	*devfn = (uint8_t)PCI_DEVFN(slot, fn);
	if (!pci_slot_free(pc->chips->pci, *devfn))
		return err_set(e, EBUSY, "device '%s': addr=%s: that slot is taken", cfg->driver, addr);
	return 0;
}
