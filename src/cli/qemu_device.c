/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's options about devices: -device, -global, -object, -nodefaults. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "cli/qemu.h"

/* -- Names --------------------------------------------------------------------------------------------------- */

/* What QEMU also calls our drivers. */
static const struct {
	const char *name, *driver;
} aliases[] = {
	{ "virtio-blk", "virtio-blk-pci" }, { "virtio-net", "virtio-net-pci" }, { "virtio-serial", "virtio-serial-pci" },
	{ "virtio-balloon", "virtio-balloon-pci" }, { "virtio-rng", "virtio-rng-pci" },
	{ "virtio-blk-pci-non-transitional", "virtio-blk-pci" }, { "virtio-net-pci-non-transitional", "virtio-net-pci" },
	{ "virtio-serial-pci-non-transitional", "virtio-serial-pci" }, { "virtio-balloon-pci-non-transitional", "virtio-balloon-pci" },
	{ "virtio-rng-pci-non-transitional", "virtio-rng-pci" }, { "e1000-82540em", "e1000" }, { "vhost-vsock-pci-non-transitional", "vhost-vsock-pci" },
};

static const char *driver_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(aliases); i++)
		if (!strcmp(aliases[i].name, name))
			return aliases[i].driver;
	return name;
}

bool qemu_answer_device(const char *arg)
{
	struct strbuf sb = STRBUF_INIT;
	const char *comma = strchr(arg, ',');
	const struct device_driver *d;
	char name[64];

	if (!strcmp(arg, "help") || !strcmp(arg, "?")) {
		device_drivers_print(&sb);
		printf("%-24s %-8s %s\n", "isa-serial", "ISA", "a serial port");
	} else {
		if (!comma || (strcmp(comma, ",help") && strcmp(comma, ",?")))
			return false;
		snprintf(name, sizeof(name), "%.*s", (int)(comma - arg), arg);
		d = device_driver_find(driver_name(name));
		if (!d)
			return false;
		device_driver_print(d, &sb);
	}
	fputs(sb.buf, stdout);
	strbuf_release(&sb);
	return true;
}

/* -- Objects and globals ---------------------------------------------------------------------------------------- */

int qemu_add_object(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	static const char *const types[] = { "rng-random", "rng-builtin", "iothread", "secret" };
	struct qemu_object *obj = &q->object[q->n_objects];
	int rc;

	if (q->n_objects == QEMU_MAX_BACKENDS)
		return err_set(e, E2BIG, "-object %s: more than %d", arg, QEMU_MAX_BACKENDS);
	q->n_objects++;
	rc = keyval_parse(&obj->k, "-object", arg, "qom-type", e);
	if (rc)
		return rc;
	obj->type = keyval_take(&obj->k, "qom-type");
	obj->id = keyval_take(&obj->k, "id");
	if (!obj->type || !obj->id)
		return err_set(e, EINVAL, "-object %s: give it a type and id=ID", arg);
	if (qemu_object_find(q, obj->id) != obj)
		return err_set(e, EEXIST, "-object %s: there is one of that name already", arg);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (strcmp(types[i], obj->type))
			continue;
		if (keyval_take(&obj->k, "filename") && strcmp(keyval_peek(&obj->k, "filename"), "/dev/urandom") &&
		    strcmp(keyval_peek(&obj->k, "filename"), "/dev/random"))
			return err_set(e, ENOTSUP, "-object %s: filename= is not built: random numbers are the host kernel's", arg);
		if (!strcmp(obj->type, "secret") && !keyval_take(&obj->k, "file"))
			return err_set(e, ENOTSUP, "-object %s: give a secret in a file: file=FILE", arg);
		return keyval_done(&obj->k, e);
	}
	return err_set(e, ENOTSUP, "-object %s: type '%s' is not built: use rng-random, rng-builtin, iothread or secret", arg, obj->type);
}

const struct qemu_object *qemu_object_find(const struct qemu *q, const char *id)
{
	for (unsigned i = 0; i < q->n_objects; i++)
		if (q->object[i].id && !strcmp(q->object[i].id, id))
			return &q->object[i];
	return NULL;
}

/* DRIVER.PROPERTY=VALUE, or driver=,property=,value=. */
int qemu_add_global(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct keyval *k = &q->global[q->n_globals];
	const char *dot = strchr(arg, '.'), *is = strchr(arg, '='), *driver;
	char text[512];
	int rc;

	if (q->n_globals == QEMU_MAX_BACKENDS)
		return err_set(e, E2BIG, "-global %s: more than %d", arg, QEMU_MAX_BACKENDS);
	q->n_globals++;
	if (dot && is && dot < is)
		snprintf(text, sizeof(text), "driver=%.*s,property=%.*s,value=%s", (int)(dot - arg), arg, (int)(is - dot - 1), dot + 1, is + 1);
	else
		snprintf(text, sizeof(text), "%s", arg);
	rc = keyval_parse(k, "-global", text, NULL, e);
	if (rc)
		return rc;
	driver = keyval_take(k, "driver");
	if (!driver || !keyval_take(k, "property") || !keyval_take(k, "value"))
		return err_set(e, EINVAL, "-global %s: write DRIVER.PROPERTY=VALUE", arg);
	if (!device_driver_find(driver_name(driver)))
		return err_set(e, ENOTSUP, "-global %s: device '%s' is not built; '-device help' lists those that are", arg, driver);
	return keyval_done(k, e);
}

int qemu_set_nodefaults(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	q->nodefaults = true;
	return 0;
}

/* -- -device ------------------------------------------------------------------------------------------------------- */

/*
 * Properties of QEMU's devices that ours need not have: value NULL: whatever it is; else they must have that
 * value, which is how ours behave. Only for drivers that have no such property.
 */
static const struct {
	const char *bus, *name, *value, *why;
} extra[] = {
	{ "PCI", "disable-legacy", "on", "virtio devices are modern only" },
	{ "PCI", "disable-modern", "off", "virtio devices are modern only" },
	{ "PCI", "iommu_platform", "off", "there is no IOMMU" },
	{ "PCI", "ats", "off", "there is no IOMMU" },
	{ "PCI", "multifunction", "off", "each device has a slot of its own" },
	{ "PCI", "event_idx", "on", NULL },
	{ "PCI", "indirect_desc", "on", NULL },
	{ "PCI", "scsi", "off", "there are no SCSI commands" },
	{ "PCI", "write-cache", NULL, NULL },
	{ "PCI", "config-wce", NULL, NULL },
	{ "PCI", "romfile", "", "network cards have no boot ROM" },
	{ "PCI", "rombar", NULL, NULL },
	{ "PCI", "vectors", NULL, NULL },
	{ "PCI", "mq", NULL, NULL },
	{ "PCI", "vgamem_mb", NULL, NULL },
	{ "PCI", "xres", NULL, NULL },
	{ "PCI", "yres", NULL, NULL },
	{ "IDE", "write-cache", NULL, NULL },
};

static const struct device_prop_spec *find_spec(const struct device_driver *d, const char *name)
{
	for (const struct device_prop_spec *p = d->props; p && p->name; p++)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

static bool same_bool(const char *a, const char *b)
{
	bool x, y;

	return !strcmp(a, b) || (keyval_bool(a, &x) && keyval_bool(b, &y) && x == y);
}

static int skip_extra(struct qemu_device *dev, const struct device_driver *d, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(extra); i++) {
		const char *value = keyval_peek(&dev->k, extra[i].name);
		bool here = strcmp(extra[i].bus, "PCI") ? d->bus == DEVICE_BUS_IDE : d->bus == DEVICE_BUS_PCI || d->bus == DEVICE_BUS_SYSTEM;

		if (!value || !here || (!extra[i].why && find_spec(d, extra[i].name)))
			continue;
		if (extra[i].value && !same_bool(value, extra[i].value))
			return err_set(e, ENOTSUP, "-device %s: %s=%s is not built: %s", d->name, extra[i].name, value, extra[i].why);
		keyval_skip(&dev->k, extra[i].name);
	}
	return 0;
}

/* rng= and iothread= name objects; that they exist is all. */
static int take_objects(struct qemu *q, struct keyval *k, struct err *e)
{
	static const struct {
		const char *name, *type;
	} refs[] = { { "rng", "rng-" }, { "iothread", "iothread" } };

	for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
		const char *id = keyval_take(k, refs[i].name);
		const struct qemu_object *o = id ? qemu_object_find(q, id) : NULL;

		if (id && (!o || strncmp(o->type, refs[i].type, strlen(refs[i].type))))
			return err_set(e, EINVAL, "-device %s: %s=%s: there is no such -object", k->text, refs[i].name, id);
	}
	return 0;
}

static int take_backends(struct qemu *q, struct qemu_device *dev, struct device_config *d, struct err *e)
{
	const char *drive = keyval_take(&dev->k, "drive"), *netdev = keyval_take(&dev->k, "netdev");
	const char *chardev = keyval_take(&dev->k, "chardev");
	int rc = 0;

	if (drive) {
		struct qemu_drive *x = qemu_drive_find(q, drive);

		if (!x)
			return err_set(e, EINVAL, "-device %s: drive=%s: there is no -drive or -blockdev of that name", d->driver, drive);
		if (x->user)
			return err_set(e, EBUSY, "-device %s: drive=%s: %s has it already", d->driver, drive, x->user);
		x->user = "a device";
		x->cdrom |= !strcmp(d->driver, "ide-cd");
		rc = qemu_drive_open(q, x, e);
		d->blk = x->blk;
	}
	if (!rc && netdev) {
		struct qemu_netdev *n = qemu_netdev_find(q, netdev);

		if (!n)
			return err_set(e, EINVAL, "-device %s: netdev=%s: there is no -netdev of that name", d->driver, netdev);
		if (n->user)
			return err_set(e, EBUSY, "-device %s: netdev=%s: a card has it already", d->driver, netdev);
		n->user = d->driver;
		d->net = n->net;
	}
	if (!rc && chardev) {
		d->chr = qemu_chr_use(q, chardev, d->driver, e);
		rc = d->chr ? 0 : -EINVAL;
	}
	return rc;
}

/* The globals, then what the device itself says. */
static int set_props(struct qemu *q, struct qemu_device *dev, struct device_config *d, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; i < q->n_globals && !rc; i++)
		if (!strcmp(driver_name(keyval_peek(&q->global[i], "driver")), d->driver))
			rc = device_prop_set(d, keyval_peek(&q->global[i], "property"), keyval_peek(&q->global[i], "value"), e);
	for (unsigned i = 0; i < dev->k.n && !rc; i++) {
		const char *value = dev->k.pair[i].value;

		if (!dev->k.pair[i].used)
			rc = device_prop_set(d, dev->k.pair[i].name, value ? value : "on", e);
	}
	return rc;
}

static int plug(struct qemu *q, struct qemu_device *dev, struct err *e)
{
	const char *name = keyval_take(&dev->k, "driver");
	const struct device_driver *driver;
	struct device_config *d;
	int rc;

	if (!name)
		return err_set(e, EINVAL, "-device %s: which one? '-device help' lists them", dev->k.text);
	if (!strcmp(name, "isa-serial"))
		return qemu_serial_use(q, &dev->k, e);
	driver = device_driver_find(driver_name(name));
	if (!driver)
		return err_set(e, ENOTSUP, "%s: device '%s' is not built; '-device help' lists those that are", dev->k.what, name);
	d = vm_config_add_device(&q->cfg, driver->name, e);
	if (!d)
		return -E2BIG;
	d->id = keyval_take(&dev->k, "id");
	for (unsigned i = 0; d->id && i + 1 < q->cfg.n_devices; i++)
		if (q->cfg.device[i].id && !strcmp(q->cfg.device[i].id, d->id))
			return err_set(e, EEXIST, "-device %s: id=%s: there is one of that name already", name, d->id);
	rc = take_objects(q, &dev->k, e);
	if (!rc)
		rc = take_backends(q, dev, d, e);
	if (!rc)
		rc = skip_extra(dev, driver, e);
	if (!rc)
		rc = set_props(q, dev, d, e);
	return rc ? rc : device_check(d, e);
}

int qemu_plug(struct qemu *q, const char *what, const char *text, struct err *e)
{
	struct qemu_device *dev = calloc(1, sizeof(*dev));
	int rc;

	BUG_ON(!dev);
	list_add_tail(&q->devices, &dev->node);
	rc = keyval_parse(&dev->k, what, text, "driver", e);
	return rc ? rc : plug(q, dev, e);
}

int qemu_add_device(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	return qemu_plug(q, "-device", arg, e);
}
