/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's options about disks: -drive, -blockdev, and what is short for them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "cli/qemu.h"

#define IDE_PLACES    4
#define IDE_UNITS     2 /* on a bus */
#define CDROM_PLACE   2
#define FLOPPY_PLACES 2
#define PLACE_NONE    UINT64_MAX

/* -- What images have in common -------------------------------------------------------------------------------- */

static char *copy(const char *text)
{
	char *c = strdup(text);

	BUG_ON(!c);
	return c;
}

static struct qemu_drive *new_drive(struct qemu *q, const char *what, const char *text, const char *first, struct err *e)
{
	struct qemu_drive *d = &q->drive[q->n_drives];

	if (q->n_drives == QEMU_MAX_BACKENDS) {
		err_set(e, E2BIG, "%s: more than %d disks", what, QEMU_MAX_BACKENDS);
		return NULL;
	}
	q->n_drives++;
	memset(d, 0, sizeof(*d));
	blk_options_init(&d->o);
	return keyval_parse(&d->k, what, text, first, e) ? NULL : d;
}

struct qemu_drive *qemu_drive_find(struct qemu *q, const char *id)
{
	for (unsigned i = 0; i < q->n_drives; i++)
		if (q->drive[i].id && !strcmp(q->drive[i].id, id))
			return &q->drive[i];
	return NULL;
}

/* Ways in which the host carries requests out: here it is always io_uring, or threads. */
static const char *const indifferent[] = { "aio", "locking", "detect-zeroes", "auto-read-only", "node-name", "x-blockdev-amend" };

/* NAME or its throttling.LONG in QEMU's two spellings. */
static const char *take_limit(struct keyval *k, const char *name, const char *other)
{
	const char *value = keyval_take(k, name), *second = keyval_take(k, other);

	return value ? value : second;
}

static int take_limits(struct qemu_drive *d, struct err *e)
{
	const struct {
		const char *name, *rate, *burst;
	} kinds[] = {
		{ "bps", take_limit(&d->k, "bps", "throttling.bps-total"), take_limit(&d->k, "bps_max", "throttling.bps-total-max") },
		{ "iops", take_limit(&d->k, "iops", "throttling.iops-total"), take_limit(&d->k, "iops_max", "throttling.iops-total-max") },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		char text[80];
		int rc;

		if (!kinds[i].rate || !strcmp(kinds[i].rate, "0"))
			continue;
		snprintf(text, sizeof(text), "%.32s%s%.32s", kinds[i].rate, kinds[i].burst ? ":" : "", kinds[i].burst ? kinds[i].burst : "");
		rc = blk_options_set(&d->o, kinds[i].name, text, e);
		if (rc)
			return rc;
	}
	return 0;
}

static int take_cache(struct qemu_drive *d, struct err *e)
{
	const char *cache = keyval_take(&d->k, "cache");
	bool direct = false, no_flush = false, writeback = true;
	int rc = keyval_take_bool(&d->k, "cache.direct", &direct, e);

	if (!rc)
		rc = keyval_take_bool(&d->k, "cache.no-flush", &no_flush, e);
	if (!rc)
		rc = keyval_take_bool(&d->k, "cache.writeback", &writeback, e);
	if (rc)
		return rc;
	if ((cache && !strcmp(cache, "directsync")) || (direct && !writeback))
		return err_set(e, ENOTSUP, "%s: cache=directsync is not built: use none or writethrough", d->k.what);
	d->o.cache = no_flush ? BLK_CACHE_UNSAFE : !writeback ? BLK_CACHE_WRITETHROUGH : direct ? BLK_CACHE_NONE : d->o.cache;
	return cache ? blk_options_set(&d->o, "cache", cache, e) : 0;
}

/* What happens on an error of the host's: the guest sees it, but for a full disk, where it waits. */
static int take_error_actions(struct keyval *k, struct err *e)
{
	const char *w = keyval_take(k, "werror"), *r = keyval_take(k, "rerror");

	if (w && strcmp(w, "enospc"))
		return err_set(e, ENOTSUP, "%s: werror=%s is not built: a full disk stops the guest, other errors are reported (enospc)", k->what, w);
	if (r && strcmp(r, "report"))
		return err_set(e, ENOTSUP, "%s: rerror=%s is not built: errors are reported to the guest (report)", k->what, r);
	return 0;
}

/* The passphrase of an encrypted image: an object of type secret with a file. */
static int take_secret(struct qemu *q, struct qemu_drive *d, struct err *e)
{
	const char *id = take_limit(&d->k, "encrypt.key-secret", "key-secret"), *file;
	struct qemu_object *s;

	keyval_skip(&d->k, "encrypt.format");
	if (!id)
		return 0;
	s = (struct qemu_object *)(uintptr_t)qemu_object_find(q, id);
	file = s && !strcmp(s->type, "secret") ? keyval_peek(&s->k, "file") : NULL;
	if (!file)
		return err_set(e, EINVAL, "%s: '%s': there is no -object secret,id=%s,file=FILE", d->k.what, id, id);
	return blk_options_set(&d->o, "secret", file, e);
}

static int take_common(struct qemu *q, struct qemu_drive *d, struct err *e)
{
	const char *discard = keyval_take(&d->k, "discard");
	int rc = keyval_take_bool(&d->k, "readonly", &d->o.readonly, e);

	if (!rc)
		rc = keyval_take_bool(&d->k, "read-only", &d->o.readonly, e);
	if (!rc && discard)
		rc = blk_options_set(&d->o, "discard", discard, e);
	if (!rc)
		rc = take_cache(d, e);
	if (!rc)
		rc = take_limits(d, e);
	if (!rc)
		rc = take_error_actions(&d->k, e);
	if (!rc)
		rc = keyval_only(&d->k, "copy-on-read", false, "write a new image with doppel img convert", e);
	if (!rc)
		rc = keyval_only(&d->k, "force-share", false, "images are locked", e);
	for (size_t i = 0; i < ARRAY_SIZE(indifferent); i++)
		keyval_skip(&d->k, indifferent[i]);
	return rc ? rc : take_secret(q, d, e);
}

int qemu_drive_open(struct qemu *q, struct qemu_drive *d, struct err *e)
{
	if (d->blk || !d->o.file)
		return 0;
	d->o.ephemeral |= q->snapshot && !d->o.readonly && !d->cdrom;
	return blk_open(&d->blk, &d->o, e);
}

int qemu_set_snapshot(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	q->snapshot = true;
	return 0;
}

/* -- -drive ------------------------------------------------------------------------------------------------------ */

/* The device of a drive that names an interface: as text for -device, in which the drive is called id. */
static int plug_drive(struct qemu *q, struct qemu_drive *d, const char *iface, uint64_t place, struct err *e)
{
	char text[128];

	if (!d->id) {
		snprintf(d->own_id, sizeof(d->own_id), "%s-drive%u", iface, (unsigned)(d - q->drive));
		d->id = d->own_id;
	}
	if (!strcmp(iface, "virtio"))
		snprintf(text, sizeof(text), "virtio-blk-pci,drive=%.64s", d->id);
	else if (!strcmp(iface, "floppy"))
		snprintf(text, sizeof(text), "floppy,unit=%u,drive=%.64s", (unsigned)place, d->id);
	else
		snprintf(text, sizeof(text), "%s,bus=ide.%u,unit=%u,drive=%.64s", d->cdrom ? "ide-cd" : "ide-hd",
			 (unsigned)place / IDE_UNITS, (unsigned)place % IDE_UNITS, d->id);
	return qemu_plug(q, d->k.what, text, e);
}

/* index=, or bus= and unit=, or the next free place. */
static int take_place(struct qemu *q, struct qemu_drive *d, const char *iface, uint64_t *place, struct err *e)
{
	bool floppy = !strcmp(iface, "floppy"), ide = !strcmp(iface, "ide");
	unsigned places = floppy ? FLOPPY_PLACES : ide ? IDE_PLACES : QEMU_MAX_BACKENDS;
	uint64_t index = PLACE_NONE, bus = PLACE_NONE, unit = PLACE_NONE;
	int rc = keyval_take_uint(&d->k, "index", places - 1, &index, e);

	if (!rc)
		rc = keyval_take_uint(&d->k, "bus", places, &bus, e);
	if (!rc)
		rc = keyval_take_uint(&d->k, "unit", places, &unit, e);
	if (rc || !(floppy || ide)) {
		*place = index == PLACE_NONE ? 0 : index;
		return rc;
	}
	if (index == PLACE_NONE && (bus != PLACE_NONE || unit != PLACE_NONE))
		index = (bus == PLACE_NONE ? 0 : bus) * (ide ? IDE_UNITS : 0) + (unit == PLACE_NONE ? 0 : unit);
	if (index == PLACE_NONE && d->cdrom && !(q->ide_taken >> CDROM_PLACE & 1))
		index = CDROM_PLACE;
	for (unsigned i = 0; index == PLACE_NONE && i < places; i++)
		if (!((floppy ? q->floppy_taken : q->ide_taken) >> i & 1))
			index = i;
	if (index >= places)
		return err_set(e, EINVAL, "%s %s: there are %u places for %s drives", d->k.what, d->k.text, places, iface);
	if ((floppy ? q->floppy_taken : q->ide_taken) >> index & 1)
		return err_set(e, EBUSY, "%s %s: place %u of %s drives is taken", d->k.what, d->k.text, (unsigned)index, iface);
	*(floppy ? &q->floppy_taken : &q->ide_taken) |= 1u << index;
	*place = index;
	return 0;
}

/* "fat:DIR" and other protocols of QEMU's are not file names. */
static int check_file(const struct qemu_drive *d, const char *file, struct err *e)
{
	static const char *const protocols[] = { "fat:", "ssh:", "http:", "https:", "ftp:", "ftps:", "iscsi:", "rbd:", "json:", "gluster:", "nfs:", "blkdebug:" };

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (!strncmp(file, protocols[i], strlen(protocols[i])))
			return err_set(e, ENOTSUP, "%s: file=%s: '%s' is not built: give a file or an nbd: address", d->k.what, file, protocols[i]);
	return 0;
}

static int take_image(struct qemu *q, struct qemu_drive *d, struct err *e)
{
	const char *file = keyval_take(&d->k, "file"), *format = keyval_take(&d->k, "format"), *driver = keyval_take(&d->k, "driver");
	const char *media = keyval_take(&d->k, "media");
	int rc = keyval_take_bool(&d->k, "snapshot", &d->o.ephemeral, e);

	if (!file)
		file = keyval_take(&d->k, "file.filename");
	if (media && strcmp(media, "disk") && strcmp(media, "cdrom"))
		return err_set(e, EINVAL, "%s: media=%s: give disk or cdrom", d->k.what, media);
	d->cdrom = media && !strcmp(media, "cdrom");
	d->o.readonly = d->cdrom;
	if (!rc && file && *file) {
		rc = check_file(d, file, e);
		d->o.file = copy(file);
	}
	format = format ? format : driver;
	if (!rc && format)
		rc = blk_options_set(&d->o, "format", format, e);
	return rc ? rc : take_common(q, d, e);
}

static int finish_drive(struct qemu *q, struct qemu_drive *d, const char *iface, struct err *e)
{
	uint64_t place = 0;
	int rc = take_place(q, d, iface, &place, e);

	if (!rc)
		rc = keyval_done(&d->k, e);
	if (!rc && !d->o.file && !d->cdrom && strcmp(iface, "floppy") && strcmp(iface, "none"))
		rc = err_set(e, EINVAL, "%s %s: which image? file=FILE", d->k.what, d->k.text);
	if (!rc)
		rc = qemu_drive_open(q, d, e);
	if (!rc && strcmp(iface, "none"))
		rc = plug_drive(q, d, iface, place, e);
	return rc;
}

/* unit= or index=: 0 is the firmware, 1 its variables. They are plugged in in that order, when all are known. */
static int add_pflash(struct qemu *q, struct qemu_drive *d, struct err *e)
{
	uint64_t unit = q->flash[0] ? 1 : 0;
	int rc = keyval_take_uint(&d->k, "unit", QEMU_FLASHES - 1, &unit, e);

	if (!rc)
		rc = keyval_take_uint(&d->k, "index", QEMU_FLASHES - 1, &unit, e);
	if (!rc)
		rc = keyval_done(&d->k, e);
	if (!rc && (!d->o.file || q->flash[unit]))
		rc = err_set(e, EINVAL, "%s %s: give each of the %d places one file", d->k.what, d->k.text, QEMU_FLASHES);
	if (!rc)
		rc = qemu_drive_open(q, d, e);
	q->flash[unit] = d;
	return rc;
}

int qemu_plug_flash(struct qemu *q, struct err *e)
{
	int rc = 0;

	if (!q->flash[0] && q->flash[1])
		return err_set(e, EINVAL, "-drive if=pflash,unit=1: there is no unit=0 with the firmware");
	for (unsigned i = 0; i < QEMU_FLASHES && q->flash[i] && !rc; i++) {
		struct qemu_drive *d = q->flash[i];
		char text[80];

		if (!d->id) {
			snprintf(d->own_id, sizeof(d->own_id), "pflash%u", i);
			d->id = d->own_id;
		}
		snprintf(text, sizeof(text), "cfi.pflash01,drive=%.48s", d->id);
		rc = qemu_plug(q, d->k.what, text, e);
	}
	return rc;
}

static int add_drive(struct qemu *q, const char *what, const char *text, struct err *e)
{
	static const char *const ifaces[] = { "ide", "virtio", "floppy", "none" };
	struct qemu_drive *d = new_drive(q, what, text, NULL, e);
	const char *iface;
	int rc;

	if (!d)
		return -EINVAL;
	iface = keyval_take(&d->k, "if");
	d->id = keyval_take(&d->k, "id");
	if (d->id && qemu_drive_find(q, d->id) != d)
		return err_set(e, EEXIST, "%s: id=%s: there is one of that name already", what, d->id);
	rc = take_image(q, d, e);
	if (rc)
		return rc;
	if (!iface)
		iface = "ide";
	if (!strcmp(iface, "pflash"))
		return add_pflash(q, d, e);
	for (size_t i = 0; i < ARRAY_SIZE(ifaces); i++)
		if (!strcmp(ifaces[i], iface))
			return finish_drive(q, d, iface, e);
	return err_set(e, ENOTSUP, "%s: if=%s is not built: use ide, virtio, floppy, pflash or none", what, iface);
}

int qemu_add_drive(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	return add_drive(q, "-drive", arg, e);
}

/* A file name as a value: its commas doubled. */
static int add_file(struct qemu *q, const char *what, const char *file, const char *rest, struct err *e)
{
	struct strbuf text = STRBUF_INIT;
	int rc;

	strbuf_addf(&text, "file=");
	for (const char *p = file; *p; p++)
		strbuf_addf(&text, *p == ',' ? ",%c" : "%c", *p);
	strbuf_addf(&text, ",%s", rest);
	rc = add_drive(q, what, text.buf, e);
	strbuf_release(&text);
	return rc;
}

int qemu_add_disk(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	char rest[32];

	snprintf(rest, sizeof(rest), "index=%d", o->name[2] - 'a');
	return add_file(q, o->help ? "-hd" : "disk image", arg, rest, e);
}

int qemu_add_cdrom(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	return add_file(q, "-cdrom", arg, "index=2,media=cdrom", e);
}

int qemu_add_floppy(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	return add_file(q, o->name[2] == 'a' ? "-fda" : "-fdb", arg, o->name[2] == 'a' ? "if=floppy,index=0" : "if=floppy,index=1", e);
}

int qemu_add_pflash(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	return add_file(q, "-pflash", arg, "if=pflash,format=raw", e);
}

/* -- -blockdev ------------------------------------------------------------------------------------------------------ */

/* An NBD server's address, from the parts that "server" has. */
static int nbd_address(struct qemu_drive *d, const char *prefix, struct err *e)
{
	static const char *const names[] = { "type", "path", "host", "port" };
	const char *v[ARRAY_SIZE(names)], *export;
	char uri[1024], name[64];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "%sserver.%s", prefix, names[i]);
		v[i] = keyval_take(&d->k, name);
	}
	snprintf(name, sizeof(name), "%sexport", prefix);
	export = keyval_take(&d->k, name);
	if (v[0] && !strcmp(v[0], "unix") && v[1])
		snprintf(uri, sizeof(uri), "nbd+unix:///%.255s?socket=%.511s", export ? export : "", v[1]);
	else if (v[0] && !strcmp(v[0], "inet") && v[2] && v[3])
		snprintf(uri, sizeof(uri), "nbd://%.255s:%.15s/%.255s", v[2], v[3], export ? export : "");
	else
		return err_set(e, EINVAL, "-blockdev: nbd: give server.type=unix,server.path=PATH or server.type=inet,server.host=H,server.port=P");
	d->o.file = copy(uri);
	return 0;
}

/* The file or server at the bottom of a node. */
static int take_protocol(struct qemu_drive *d, const char *driver, const char *prefix, struct err *e)
{
	char name[64];
	const char *file;

	if (!strcmp(driver, "nbd"))
		return nbd_address(d, prefix, e);
	if (strcmp(driver, "file") && strcmp(driver, "host_device"))
		return err_set(e, ENOTSUP, "-blockdev: driver=%s is not built: use file, host_device, raw, qcow2 or nbd", driver);
	snprintf(name, sizeof(name), "%sfilename", prefix);
	file = keyval_take(&d->k, name);
	if (!file)
		return err_set(e, EINVAL, "-blockdev %s: %s=FILE is missing", d->k.text, name);
	d->o.file = copy(file);
	return 0;
}

/* What the file's node says and the format's does not. */
static void inherit(struct qemu_drive *d, const struct qemu_drive *below, const char *driver)
{
	d->o.file = copy(below->o.file);
	d->o.readonly |= below->o.readonly;
	if (d->o.cache == BLK_CACHE_WRITEBACK)
		d->o.cache = below->o.cache;
	d->o.format = copy(!strcmp(below->o.format, "nbd") && !strcmp(driver, "raw") ? "nbd" : driver);
}

static int take_format(struct qemu *q, struct qemu_drive *d, const char *driver, struct err *e)
{
	const char *file = keyval_take(&d->k, "file"), *protocol = keyval_take(&d->k, "file.driver");
	struct qemu_drive *below = file ? qemu_drive_find(q, file) : NULL;
	static const char *const nested[] = { "file.node-name", "file.aio", "file.locking", "file.auto-read-only", "file.discard",
					      "file.read-only", "file.cache.direct", "file.cache.no-flush" };

	for (size_t i = 0; i < ARRAY_SIZE(nested); i++)
		keyval_skip(&d->k, nested[i]);
	if (protocol) {
		d->o.format = copy(strcmp(protocol, "nbd") ? driver : protocol);
		return take_protocol(d, protocol, "file.", e);
	}
	if (!below || !below->protocol)
		return err_set(e, EINVAL, "-blockdev %s: file=NODE: give the node of a file before it", d->k.text);
	if (below->user)
		return err_set(e, EBUSY, "-blockdev %s: file=%s: it is in use", d->k.text, file);
	below->user = "-blockdev";
	inherit(d, below, driver);
	return 0;
}

int qemu_add_blockdev(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct qemu_drive *d = new_drive(q, "-blockdev", arg, "driver", e);
	const char *driver;
	int rc;

	if (!d)
		return -EINVAL;
	driver = keyval_take(&d->k, "driver");
	d->id = keyval_take(&d->k, "node-name");
	if (!driver || !d->id)
		return err_set(e, EINVAL, "-blockdev %s: give it driver= and node-name=", arg);
	if (qemu_drive_find(q, d->id) != d)
		return err_set(e, EEXIST, "-blockdev: node-name=%s: there is one of that name already", d->id);
	if (!strcmp(driver, "raw") || !strcmp(driver, "qcow2")) {
		rc = take_format(q, d, driver, e);
	} else {
		d->protocol = true;
		rc = take_protocol(d, driver, "", e);
		d->o.format = copy(strcmp(driver, "nbd") ? "raw" : "nbd");
	}
	if (!rc)
		rc = take_common(q, d, e);
	return rc ? rc : keyval_done(&d->k, e);
}
