/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IDE disks, CD-ROM drives and floppy drives that can be plugged in by name, and the change of their media. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/block/blk.h"
#include "base/bits.h"
#include "dev/storage/floppy.h"
#include "dev/storage/ide.h"
#include "dev/timer/rtc.h"
#include "machine/board.h"
#include "machine/bootorder.h"
#include "machine/devices.h"

/* -- Media -------------------------------------------------------------------------------------------------- */

static void add_media(struct pc *pc, const struct device_config *cfg, const char *name, struct media_drive drive)
{
	struct pc_chips *c = pc->chips;
	struct pc_media *m;

	BUG_ON(c->n_media == PC_MAX_MEDIA);
	m = &c->media[c->n_media++];
	snprintf(m->id, sizeof(m->id), "%s", cfg->id ? cfg->id : name);
	m->drive = drive;
}

static int find_media(struct pc *pc, const char *id, struct pc_media **out, struct err *e)
{
	struct pc_chips *c = pc->chips;
	struct strbuf names = STRBUF_INIT;

	for (unsigned i = 0; i < c->n_media; i++) {
		*out = &c->media[i];
		if (!strcmp((*out)->id, id))
			return 0;
	}
	for (unsigned i = 0; i < c->n_media; i++)
		strbuf_addf(&names, "%s%s", i ? ", " : "; there is ", c->media[i].id);
	err_set(e, ENODEV, "drive '%s': there is no such drive whose medium can be changed%s", id, names.len ? names.buf : "");
	strbuf_release(&names);
	return -ENODEV;
}

/* A floppy disk has its size; block devices with other blocks than a disk's are none of an AT's. */
static int check_medium(const char *what, const char *name, const struct blk *blk, bool floppy, struct err *e)
{
	struct blk_info info;

	if (!blk)
		return 0;
	blk_info(blk, &info);
	if (info.block_size != 512)
		return err_set(e, EINVAL, "%s '%s': the drive has blocks of 512 bytes, not of %u; leave out block_size", what, name,
			       info.block_size);
	if (floppy && info.size > FLOPPY_MAX_BYTES)
		return err_set(e, EINVAL, "%s '%s': %s is larger than a floppy disk, 2880 KiB at most", what, name, blk_file(blk));
	return 0;
}

static bool is_floppy(const struct pc *pc, const struct pc_media *m)
{
	return m->drive.chip == pc->chips->floppy;
}

/* Another medium, or none; the former one is nobody's business any more. */
static struct blk *put_in(struct pc *pc, struct pc_media *m, struct blk *blk)
{
	struct blk *old;

	if (blk)
		board_watch_disk(pc, blk);
	old = m->drive.ops->change(m->drive.chip, m->drive.n, blk);
	if (old)
		board_unwatch_disk(pc, old);
	return old;
}

int pc_media_change(struct pc *pc, const char *id, struct blk *blk, struct blk **old, struct err *e)
{
	struct pc_media *m;
	int rc = find_media(pc, id, &m, e);

	if (!rc)
		rc = check_medium("drive", id, blk, is_floppy(pc, m), e);
	if (!rc)
		*old = put_in(pc, m, blk);
	return rc;
}

int pc_media_eject(struct pc *pc, const char *id, bool force, struct blk **old, struct err *e)
{
	struct pc_media *m;
	int rc = find_media(pc, id, &m, e);

	if (rc)
		return rc;
	if (!m->drive.ops->press_eject(m->drive.chip, m->drive.n) && !force)
		return err_set(e, EBUSY, "drive '%s': the guest has locked it, and was told of the wish; try again, or force it", id);
	*old = put_in(pc, m, NULL);
	return 0;
}

bool pc_media_get(struct pc *pc, unsigned n, struct pc_media_info *out)
{
	struct pc_media *m = &pc->chips->media[n];
	struct media_state s;

	if (n >= pc->chips->n_media)
		return false;
	m->drive.ops->get(m->drive.chip, m->drive.n, &s);
	*out = (struct pc_media_info){ m->id, !is_floppy(pc, m), s.blk, s.tray_open, s.locked };
	return true;
}

/* -- IDE -------------------------------------------------------------------------------------------------------- */

#define IDE_PROPS                                                                                               \
	{ "bus", PROP_STRING, 0, 0, NULL, "ide.0 or ide.1; the first free place if not given" },                \
	{ "unit", PROP_UINT, 0, IDE_UNITS - 1, NULL, "0 master, 1 slave" },                                     \
	{ "serial", PROP_STRING, 0, 0, NULL, "serial number, 20 characters at most" },                          \
	{ "model", PROP_STRING, 0, 0, NULL, "model, 40 characters at most" },                               \
	DEVICE_BOOT_PROP

static const struct device_prop_spec ide_props[] = { IDE_PROPS, { 0 } };

struct place {
	unsigned channel, unit;
};

/* A place that is asked for by bus, by unit, or by neither; a CD-ROM drive comes to the second channel first, as is usual. */
static int find_place(struct ide *ide, const struct device_config *cfg, bool cdrom, struct place *out, struct err *e)
{
	const char *bus = device_prop_string(cfg, "bus"), *unit = device_prop_string(cfg, "unit");
	const unsigned want = unit ? (unsigned)device_prop_uint(cfg, "unit") : 0;

	if (bus && strcmp(bus, "ide.0") && strcmp(bus, "ide.1"))
		return err_set(e, EINVAL, "device '%s': bus=%s: give ide.0 or ide.1", cfg->driver, bus);
	for (unsigned i = 0; i < IDE_CHANNELS * IDE_UNITS; i++) {
		const unsigned channel = (i / IDE_UNITS + cdrom) % IDE_CHANNELS;

		*out = (struct place){ channel, i % IDE_UNITS };
		if ((bus && bus[4] != (char)('0' + channel)) || (unit && want != out->unit))
			continue;
		if (ide_place_free(ide, channel, out->unit))
			return 0;
	}
	if (bus || unit)
		return err_set(e, EBUSY, "device '%s': the place that bus and unit name is taken", cfg->driver);
	return err_set(e, EBUSY, "device '%s': all four places for IDE drives are taken", cfg->driver);
}

static int plug_ide(struct pc *pc, const struct device_config *cfg, bool cdrom, struct err *e)
{
	struct ide_drive_config c = {
		.cdrom = cdrom, .blk = cfg->blk, .serial = device_prop_string(cfg, "serial"), .model = device_prop_string(cfg, "model"),
	};
	struct ide *ide = board_ide(pc);
	char name[PC_MEDIA_ID], path[32];
	struct place at = { 0, 0 };
	int rc = check_medium("device", cfg->driver, cfg->blk, false, e);

	if (!rc)
		rc = find_place(ide, cfg, cdrom, &at, e);
	if (rc)
		return rc;
	ide_plug(ide, at.channel, at.unit, &c);
	snprintf(name, sizeof(name), "ide%u-cd%u", at.channel, at.unit);
	if (cdrom)
		add_media(pc, cfg, name, ide_media(ide, at.channel, at.unit));
	snprintf(path, sizeof(path), "/drive@%u/disk@%u", at.channel, at.unit);
	return board_boot_pci(pc, cfg, PIIX_IDE_DEVFN, "ide", path, e);
}

static int plug_hd(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	return plug_ide(pc, cfg, false, e);
}

static int plug_cd(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	return plug_ide(pc, cfg, true, e);
}

/* -- Floppy ------------------------------------------------------------------------------------------------------ */

static const struct device_prop_spec floppy_props[] = {
	{ "unit", PROP_UINT, 0, FLOPPY_DRIVES - 1, NULL, "0 is A:, 1 is B:; the first free one if not given" },
	DEVICE_BOOT_PROP,
	{ "drive-type", PROP_STRING, 0, 0, "auto", "120, 144, 288 (in 10 KB), or auto: as the medium wants it" },
	{ 0 },
};

static int drive_type(const struct device_config *cfg, enum floppy_type *out, struct err *e)
{
	static const struct {
		const char *name;
		enum floppy_type type;
	} types[] = {
		{ "auto", FLOPPY_TYPE_NONE }, { "120", FLOPPY_TYPE_120 }, { "144", FLOPPY_TYPE_144 }, { "288", FLOPPY_TYPE_288 },
	};
	const char *text = device_prop_string(cfg, "drive-type");

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		*out = types[i].type;
		if (!strcmp(types[i].name, text))
			return 0;
	}
	return err_set(e, EINVAL, "device '%s': drive-type=%s: give auto, 120, 144 or 288", cfg->driver, text);
}

static int plug_floppy(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	const char *want = device_prop_string(cfg, "unit");
	unsigned unit = want ? (unsigned)device_prop_uint(cfg, "unit") : 0;
	enum floppy_type type;
	char name[PC_MEDIA_ID];
	struct floppy *f;
	int rc = drive_type(cfg, &type, e);

	if (!rc)
		rc = check_medium("device", cfg->driver, cfg->blk, true, e);
	if (!rc)
		rc = board_floppy(pc, &f, e);
	if (rc)
		return rc;
	while (!want && unit < FLOPPY_DRIVES - 1 && !floppy_place_free(f, unit))
		unit++;
	if (!floppy_place_free(f, unit))
		return err_set(e, EBUSY, "device '%s': drive %u is there already; there are two, 0 and 1", cfg->driver, unit);
	floppy_plug(f, unit, type, cfg->blk);
	snprintf(name, sizeof(name), "floppy%u", unit);
	add_media(pc, cfg, name, floppy_media(f, unit));
	return board_boot_path(pc, cfg, e, "/pci@i0cf8/isa@1/fdc@%04x/floppy@%u", PC_FLOPPY_PORT, unit);
}

const struct device_driver storage_drivers[] = {
	{ "ide-hd", "an IDE disk", DEVICE_BUS_IDE, DEVICE_NEEDS_BLK, ide_props, plug_hd },
	{ "ide-cd", "an IDE CD-ROM drive", DEVICE_BUS_IDE, DEVICE_TAKES_BLK, ide_props, plug_cd },
	{ "floppy", "a floppy drive", DEVICE_BUS_FLOPPY, DEVICE_TAKES_BLK, floppy_props, plug_floppy },
	{ 0 },
};

/* -- CMOS RAM ------------------------------------------------------------------------------------------------------ */

enum { CMOS_FLOPPY = 0x10, CMOS_EQUIPMENT = 0x14, CMOS_TRANSLATION = 0x39 };
enum { EQUIPMENT_FLOPPY = 0x01, EQUIPMENT_SECOND_FLOPPY = 0x40 };
enum { TRANSLATE_NONE = 0, TRANSLATE_LBA = 1 };
#define BIOS_CYLINDERS 1024 /* that the BIOS' interface can name */

/* How the BIOS turns a disk's geometry into one of its interface; two bits for each. */
static uint8_t translations(const struct pc *pc)
{
	uint8_t all = 0;

	for (unsigned i = 0; i < IDE_CHANNELS * IDE_UNITS; i++) {
		const uint64_t bytes = ide_disk_bytes(pc->chips->ide, i / IDE_UNITS, i % IDE_UNITS);
		const uint8_t how = ide_geometry(bytes).cylinders > BIOS_CYLINDERS ? TRANSLATE_LBA : TRANSLATE_NONE;

		all |= (uint8_t)(how << 2 * i);
	}
	return all;
}

void storage_fill_cmos(struct pc *pc, uint8_t equipment)
{
	struct pc_chips *c = pc->chips;
	enum floppy_type a = FLOPPY_TYPE_NONE, b = FLOPPY_TYPE_NONE;

	if (c->floppy) {
		a = floppy_type(c->floppy, 0);
		b = floppy_type(c->floppy, 1);
	}
	if (a != FLOPPY_TYPE_NONE || b != FLOPPY_TYPE_NONE)
		equipment |= EQUIPMENT_FLOPPY;
	if (b != FLOPPY_TYPE_NONE)
		equipment |= EQUIPMENT_SECOND_FLOPPY;
	rtc_set_cmos(c->rtc, CMOS_FLOPPY, (uint8_t)(a << 4 | b));
	rtc_set_cmos(c->rtc, CMOS_EQUIPMENT, equipment);
	if (c->ide)
		rtc_set_cmos(c->rtc, CMOS_TRANSLATION, translations(pc));
}
