/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The devices that options of doppel run ask for: a table of the options, and the properties of their backends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backend/block/blk.h"
#include "backend/chr/chr.h"
#include "backend/net/net.h"
#include "base/bits.h"
#include "cli/devices.h"

#define FLUSH_MS 1000 /* how long a slow reader of a channel may hold up the end */

struct device_option_kind {
	const char *name;        /* of the option */
	const char *driver;      /* NULL: what comes first */
	const char *first;       /* the device's property that comes first; NULL: the backend's business */
	bool blk;                /* what comes first is a disk image */
	const char *second;      /* property behind a colon in what comes first */
	bool net;                /* what comes first is a network */
	bool readonly;           /* the image is never written */
};

static const struct device_option_kind kinds[] = {
	{ "disk", "virtio-blk-pci", NULL, true, NULL, false },
	{ "cdrom", "ide-cd", NULL, true, NULL, false, true },
	{ "floppy", "floppy", NULL, true, NULL, false },
	{ "net", "virtio-net-pci", NULL, false, NULL, true },
	{ "balloon", "virtio-balloon-pci", "size", false, NULL, false },
	{ "share", "virtio-fs-pci", "dir", false, "tag", false },
	{ "vsock", "virtio-vsock-pci", "path", false, NULL, false },
	{ "device", NULL, NULL, false, NULL, false },
};

/* -- Text -------------------------------------------------------------------------------------------- */

/* Cut the part before the next single comma off *p, in place; doubled ones become one. */
static char *cut(char **p)
{
	char *start = *p, *to = start, *from = start;

	while (*from && !(from[0] == ',' && from[1] != ',')) {
		from += *from == ',';
		*to++ = *from++;
	}
	*p = *from ? from + 1 : NULL;
	*to = 0;
	return start;
}

static int parse(struct device_option *o, struct err *e)
{
	char *p = o->text, *colon;

	o->first = cut(&p);
	colon = o->kind->second ? strrchr(o->first, ':') : NULL;
	if (colon) {
		*colon = 0;
		o->second = colon + 1;
	}
	if (!*o->first)
		return err_set(e, EINVAL, "--%s: what comes first is missing", o->kind->name);
	while (p) {
		char *part = cut(&p), *is = strchr(part, '=');

		if (o->n_props == DEVICE_MAX_PROPS)
			return err_set(e, E2BIG, "--%s %s: more than %d properties", o->kind->name, o->first, DEVICE_MAX_PROPS);
		if (is == part || !*part)
			return err_set(e, EINVAL, "--%s %s: a property without a name; write NAME=VALUE", o->kind->name, o->first);
		if (is)
			*is = 0;
		o->prop[o->n_props++] = (struct device_prop){ part, is ? is + 1 : "on" };
	}
	return 0;
}

static const char *find_prop(const struct device_option *o, const char *name)
{
	const char *value = NULL;

	for (unsigned i = 0; i < o->n_props; i++)
		if (!strcmp(o->prop[i].name, name))
			value = o->prop[i].value;
	return value;
}

/* -- Networks ------------------------------------------------------------------------------------------ */

/* The cards that "model=" chooses from. */
static const struct {
	const char *model, *driver;
} models[] = { { "virtio", "virtio-net-pci" }, { "e1000", "e1000" }, { "pcnet", "pcnet" } };

/* Whether a property belongs to the card; the others are the network's. */
static bool of_card(const char *name)
{
	static const char *const names[] = {
		"mac", "addr", "model", "queues", "mtu", "id", "offloads", "mrg_rxbuf", "packed", "event_idx", "indirect_desc", "queue-size",
		"vectors", "bootindex",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

/* The network's specification: what comes first, and its properties. */
static void net_spec(const struct device_option *o, struct strbuf *out)
{
	strbuf_addf(out, "%s", o->first);
	for (unsigned i = 0; i < o->n_props; i++)
		if (!of_card(o->prop[i].name))
			strbuf_addf(out, ",%s=%s", o->prop[i].name, o->prop[i].value);
}

static int net_driver(const struct device_option *o, const char **driver, struct err *e)
{
	const char *model = find_prop(o, "model");

	*driver = models[0].driver;
	if (!model)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
		*driver = models[i].driver;
		if (!strcmp(models[i].model, model))
			return 0;
	}
	return err_set(e, EINVAL, "--net %s: model=%s: give virtio, e1000 or pcnet", o->first, model);
}

static int check_net(const struct device_option *o, struct err *e)
{
	struct strbuf spec = STRBUF_INIT;
	const char *driver;
	int rc = net_driver(o, &driver, e);

	net_spec(o, &spec);
	if (!rc)
		rc = net_check(spec.buf, e);
	strbuf_release(&spec);
	return rc;
}

static int open_net(struct device_option *o, struct device_config *d, struct err *e)
{
	struct strbuf spec = STRBUF_INIT;
	int rc = net_driver(o, &d->driver, e);

	net_spec(o, &spec);
	if (!rc)
		rc = net_open(&o->net, spec.buf, e);
	d->net = o->net;
	strbuf_release(&spec);
	return rc;
}

/* -- Disks ------------------------------------------------------------------------------------------------- */

/* The drives that a disk's "if=" chooses from. */
static const struct {
	const char *interface, *driver;
} interfaces[] = { { "virtio", "virtio-blk-pci" }, { "ide", "ide-hd" } };

static bool chooses_interface(const struct device_option *o, const char *name)
{
	return !strcmp(o->kind->name, "disk") && !strcmp(name, "if");
}

static int disk_driver(const struct device_option *o, const char **driver, struct err *e)
{
	const char *interface = find_prop(o, "if");

	*driver = o->kind->driver;
	if (strcmp(o->kind->name, "disk") || !interface)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(interfaces); i++) {
		*driver = interfaces[i].driver;
		if (!strcmp(interfaces[i].interface, interface))
			return 0;
	}
	return err_set(e, EINVAL, "--disk %s: if=%s: give virtio or ide", o->first, interface);
}

/* All properties: a disk's into b, the others into d, which may be NULL, to check only. */
static int sort_props(const struct device_option *o, struct blk_options *b, struct device_config *d, struct err *e)
{
	int rc;

	for (unsigned i = 0; i < o->n_props; i++) {
		const struct device_prop *p = &o->prop[i];

		if (o->kind->blk && blk_options_has(p->name, strlen(p->name))) {
			rc = blk_options_set(b, p->name, p->value, e);
			if (rc)
				return rc;
			continue;
		}
		if (chooses_interface(o, p->name))
			continue;
		if (!d || (o->kind->net && (!of_card(p->name) || !strcmp(p->name, "model"))))
			continue;
		if (!strcmp(p->name, "id"))
			d->id = p->value;
		else if (!o->kind->driver && (!strcmp(p->name, "chardev") || !strcmp(p->name, "netdev") || !strcmp(p->name, "drive")))
			continue;
		else if ((rc = device_prop_set(d, p->name, p->value, e)))
			return rc;
	}
	return 0;
}

/* -- Options ------------------------------------------------------------------------------------------- */

int device_options_add(struct device_options *o, const char *name, const char *arg, struct err *e)
{
	struct device_option *d = &o->option[o->n];
	struct blk_options ignored;
	const char *ignored_driver;
	int rc;

	if (o->n == VM_MAX_DEVICES)
		return err_set(e, E2BIG, "--%s %s: more than %d devices; leave some out", name, arg, VM_MAX_DEVICES);
	*d = (struct device_option){ .kind = kinds };
	while (strcmp(d->kind->name, name))
		d->kind++;
	d->text = strdup(arg);
	BUG_ON(!d->text);
	o->n++;
	rc = parse(d, e);
	if (!rc && !d->kind->driver && !device_driver_find(d->first))
		rc = err_set(e, EINVAL, "device '%s': there is none of that name; 'help' lists them", d->first);
	if (!rc && d->kind->net)
		rc = check_net(d, e);
	if (!rc)
		rc = disk_driver(d, &ignored_driver, e);
	blk_options_init(&ignored);
	if (!rc)
		rc = sort_props(d, &ignored, NULL, e);
	blk_options_release(&ignored);
	return rc;
}

static int open_one(struct device_option *o, bool ephemeral, struct vm_config *c, struct err *e)
{
	const struct device_option_kind *k = o->kind;
	struct device_config *d = vm_config_add_device(c, k->driver ? k->driver : o->first, e);
	const char *chardev = k->driver ? NULL : find_prop(o, "chardev");
	const char *drive = k->driver ? NULL : find_prop(o, "drive");
	const char *netdev = k->driver ? NULL : find_prop(o, "netdev");
	struct blk_options b;
	int rc;

	if (!d)
		return -E2BIG;
	blk_options_init(&b);
	rc = k->net ? open_net(o, d, e) : 0;
	if (!rc)
		rc = sort_props(o, &b, d, e);
	if (!rc && o->second)
		rc = device_prop_set(d, k->second, o->second, e);
	if (!rc && k->first)
		rc = device_prop_set(d, k->first, o->first, e);
	if (!rc && k->blk)
		rc = disk_driver(o, &d->driver, e);
	if (!rc && k->blk) {
		b.file = strdup(o->first);
		b.readonly |= k->readonly;
		b.ephemeral |= ephemeral;
		rc = blk_open(&o->blk, &b, e);
		d->blk = o->blk;
	}
	if (!rc && drive) {
		rc = blk_options_parse(&b, drive, e);
		b.ephemeral |= ephemeral;
		if (!rc)
			rc = blk_open(&o->blk, &b, e);
		d->blk = o->blk;
	}
	blk_options_release(&b);
	if (!rc && netdev) {
		rc = net_open(&o->net, netdev, e);
		d->net = o->net;
	}
	if (!rc && chardev) {
		rc = chr_open(&o->chr, chardev, e);
		d->chr = o->chr;
	}
	return rc;
}

int device_options_open(struct device_options *o, struct vm_config *c, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; i < o->n && !rc; i++)
		rc = open_one(&o->option[i], o->ephemeral, c, e);
	return rc;
}

void device_options_needs(const struct device_options *o, bool *any, bool *dhcp, struct strbuf *shares)
{
	*any = o->n;
	*dhcp = false;
	for (unsigned i = 0; i < o->n; i++) {
		const struct device_option *d = &o->option[i];
		const char *net = d->kind->net ? d->first : find_prop(d, "netdev"), *tag = find_prop(d, "tag"), *slash;

		*dhcp |= net && !strncmp(net, "user", strlen("user"));
		if (!d->kind->second)
			continue;
		slash = strrchr(d->first, '/');
		strbuf_addf(shares, "%s\n", d->second ? d->second : tag ? tag : slash ? slash + 1 : d->first);
	}
}

int device_options_begin(struct device_options *o, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; i < o->n && !rc; i++)
		if (o->option[i].chr)
			rc = chr_begin(o->option[i].chr, e);
	return rc;
}

void device_options_release(struct device_options *o)
{
	for (unsigned i = 0; i < o->n; i++) {
		blk_close(o->option[i].blk);
		net_close(o->option[i].net);
		if (o->option[i].chr)
			chr_flush(o->option[i].chr, FLUSH_MS);
		chr_free(o->option[i].chr);
		free(o->option[i].text);
	}
	o->n = 0;
}
