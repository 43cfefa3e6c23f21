/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packet commands of a CD-ROM drive: the interpreter, reading, tray, lock, sense and events.
 *
 * Specification: SFF-8020i, MMC-5 (T10/1675-D), SPC-3.
 * Missing: audio, writing, raw and subchannel reading: refused as invalid.
 */
#include <string.h>

#include "dev/storage/ide_impl.h"

/* SPC-3, 4.5.6, annex D; MMC-5, annex F */
enum { SENSE_NONE = 0x00, SENSE_NOT_READY = 0x02, SENSE_ILLEGAL = 0x05, SENSE_ATTENTION = 0x06 };
static const struct ide_sense no_sense = { SENSE_NONE, 0x00, 0x00 }, no_medium = { SENSE_NOT_READY, 0x3a, 0x01 },
	no_medium_open = { SENSE_NOT_READY, 0x3a, 0x02 }, bad_command = { SENSE_ILLEGAL, 0x20, 0x00 },
	locked_in = { SENSE_ILLEGAL, 0x53, 0x02 }, medium_changed = { SENSE_ATTENTION, 0x28, 0x00 };
const struct ide_sense ide_bad_field = { SENSE_ILLEGAL, 0x24, 0x00 }, ide_out_of_range = { SENSE_ILLEGAL, 0x21, 0x00 };

/* GET EVENT STATUS NOTIFICATION, MMC-5 6.6 */
enum { EVENT_POLLED = 0x01, EVENT_CLASS_MEDIA = 4, EVENT_NO_CLASS = 0x80, EVENT_HEADER = 4, EVENT_SIZE = 8 };
enum { MEDIA_NO_CHANGE = 0, MEDIA_EJECT_REQUEST = 1, MEDIA_NEW = 2, MEDIA_REMOVAL = 3 };
enum { MEDIA_TRAY_OPEN = 0x01, MEDIA_PRESENT = 0x02 };

#define LIMIT_MAX 0xfffeu

/* -- Ends and replies ---------------------------------------------------------------------------------------- */

void ide_packet_fail(struct ide_channel *ch, struct ide_sense s)
{
	struct ide_drive *d = ide_active(ch);

	d->sense = s;
	d->nsector = ATAPI_COD | ATAPI_IO;
	ide_end(ch, ATA_READY | ATA_ERR, (uint8_t)(s.key << 4 | (s.key == SENSE_ILLEGAL ? ATA_ABRT : 0)), true);
}

/* Blocks but for the last are of an even length (SFF-8020i, 5.3). */
uint32_t ide_packet_block(const struct ide_channel *ch)
{
	return ch->limit & LIMIT_MAX ? ch->limit & LIMIT_MAX : LIMIT_MAX;
}

void ide_packet_reply(struct ide_channel *ch, uint32_t len, uint32_t allocated)
{
	len = MIN(len, allocated);
	if (len)
		ide_start_data_in(ch, len, ide_packet_block(ch));
	else
		ide_finish(ch);
}

/* -- Reading ---------------------------------------------------------------------------------------------------- */

static void read_sectors(struct ide_channel *ch, uint64_t sector, uint64_t count)
{
	const uint32_t all = ide_cd_sectors(ide_active(ch));

	if (sector > all || count > all - sector) {
		ide_packet_fail(ch, ide_out_of_range);
		return;
	}
	if (count)
		ide_start_medium(ch, false, sector * IDE_CD_SECTOR, count * IDE_CD_SECTOR, ide_packet_block(ch));
	else
		ide_finish(ch);
}

static void cmd_read_10(struct ide_channel *ch, const uint8_t *p)
{
	read_sectors(ch, get_be32(p + 2), get_be16(p + 7));
}

static void cmd_read_12(struct ide_channel *ch, const uint8_t *p)
{
	read_sectors(ch, get_be32(p + 2), get_be32(p + 6));
}

/* READ CD: the user data of a sector, or nothing; there is no more of it in an image. */
static void cmd_read_cd(struct ide_channel *ch, const uint8_t *p)
{
	enum { FIELDS = 0xf8, USER_DATA = 0x10, SUBCHANNEL = 0x07 };
	const uint64_t count = (uint64_t)p[6] << 16 | get_be16(p + 7);

	if ((p[9] & FIELDS) == USER_DATA && !(p[10] & SUBCHANNEL))
		read_sectors(ch, get_be32(p + 2), count);
	else if (!(p[9] & FIELDS) && !(p[10] & SUBCHANNEL))
		read_sectors(ch, get_be32(p + 2), 0);
	else
		ide_packet_fail(ch, ide_bad_field);
}

static void cmd_read_capacity(struct ide_channel *ch, const uint8_t *p)
{
	put_be32(ch->buf, ide_cd_sectors(ide_active(ch)) - 1);
	put_be32(ch->buf + 4, IDE_CD_SECTOR);
	ide_packet_reply(ch, 8, 8);
}

static void cmd_seek(struct ide_channel *ch, const uint8_t *p)
{
	read_sectors(ch, get_be32(p + 2), 0);
}

/* -- State of the drive --------------------------------------------------------------------------------------------- */

static void cmd_ready(struct ide_channel *ch, const uint8_t *p)
{
	ide_finish(ch);
}

static void cmd_request_sense(struct ide_channel *ch, const uint8_t *p)
{
	enum { SENSE_SIZE = 18, CURRENT = 0x70 };
	struct ide_drive *d = ide_active(ch);

	if (!d->sense.key && d->attention.asc) {
		d->sense = d->attention;
		d->attention = no_sense;
	}
	memset(ch->buf, 0, SENSE_SIZE);
	ch->buf[0] = CURRENT;
	ch->buf[2] = d->sense.key;
	ch->buf[7] = SENSE_SIZE - 8;
	ch->buf[12] = d->sense.asc;
	ch->buf[13] = d->sense.ascq;
	d->sense = no_sense;
	ide_packet_reply(ch, SENSE_SIZE, p[4]);
}

static void cmd_prevent(struct ide_channel *ch, const uint8_t *p)
{
	ide_active(ch)->locked = p[4] & 1;
	ide_finish(ch);
}

static void cmd_start_stop(struct ide_channel *ch, const uint8_t *p)
{
	enum { START = 0x01, LOAD_EJECT = 0x02, POWER = 0xf0 };
	struct ide_drive *d = ide_active(ch);

	if (p[4] & POWER || !(p[4] & LOAD_EJECT)) {
		ide_finish(ch); /* power conditions, and the motor */
		return;
	}
	if (!(p[4] & START) && d->locked) {
		ide_packet_fail(ch, locked_in);
		return;
	}
	if (d->tray_open && p[4] & START && d->blk) {
		d->attention = medium_changed;
		d->media_event = MEDIA_NEW;
	} else if (!d->tray_open && !(p[4] & START)) {
		d->media_event = MEDIA_REMOVAL;
	}
	d->tray_open = !(p[4] & START);
	ide_finish(ch);
}

static void cmd_get_event(struct ide_channel *ch, const uint8_t *p)
{
	struct ide_drive *d = ide_active(ch);
	const bool media = p[4] & 1 << EVENT_CLASS_MEDIA;

	if (!(p[1] & EVENT_POLLED)) {
		ide_packet_fail(ch, ide_bad_field);
		return;
	}
	memset(ch->buf, 0, EVENT_SIZE);
	put_be16(ch->buf, media ? EVENT_SIZE - EVENT_HEADER : 0);
	ch->buf[2] = media ? EVENT_CLASS_MEDIA : EVENT_NO_CLASS;
	ch->buf[3] = 1 << EVENT_CLASS_MEDIA;
	if (media) {
		ch->buf[4] = d->media_event;
		ch->buf[5] = (uint8_t)((d->tray_open ? MEDIA_TRAY_OPEN : 0) | (d->blk && !d->tray_open ? MEDIA_PRESENT : 0));
		if (get_be16(p + 7) > EVENT_HEADER)
			d->media_event = MEDIA_NO_CHANGE;
	}
	ide_packet_reply(ch, media ? EVENT_SIZE : EVENT_HEADER, get_be16(p + 7));
}

static void cmd_mechanism_status(struct ide_channel *ch, const uint8_t *p)
{
	memset(ch->buf, 0, 8);
	ch->buf[1] = ide_active(ch)->tray_open ? 0x10 : 0;
	ch->buf[5] = 1; /* one slot */
	ide_packet_reply(ch, 8, get_be16(p + 8));
}

static void cmd_set_speed(struct ide_channel *ch, const uint8_t *p)
{
	ide_finish(ch);
}

/* Parameters have no effect: they are taken, as far as they fit, and forgotten. */
static void cmd_mode_select(struct ide_channel *ch, const uint8_t *p)
{
	const uint32_t len = get_be16(p + 7);

	ch->dma = false;
	if (len > IDE_BUFFER || ide_active(ch)->feature & 1)
		ide_packet_fail(ch, ide_bad_field);
	else if (len)
		ide_start_data_out(ch, IDE_JOB_DISCARD_DATA, len, ide_packet_block(ch));
	else
		ide_finish(ch);
}

/* -- The table -------------------------------------------------------------------------------------------------------- */

enum { NEEDS_MEDIUM = 1, IN_ATTENTION = 2 /* carried out while a unit attention waits (MMC-5, 4.1.6) */ };

static const struct packet_command {
	uint8_t flags;
	void (*run)(struct ide_channel *ch, const uint8_t *p);
} packets[256] = {
	[0x00] = { NEEDS_MEDIUM, cmd_ready },
	[0x03] = { IN_ATTENTION, cmd_request_sense },
	[0x12] = { IN_ATTENTION, ide_cd_inquiry },
	[0x15] = { 0, cmd_ready },                     /* MODE SELECT (6), without data */
	[0x1a] = { 0, ide_cd_mode_sense },
	[0x1b] = { 0, cmd_start_stop },
	[0x1e] = { 0, cmd_prevent },
	[0x25] = { NEEDS_MEDIUM, cmd_read_capacity },
	[0x28] = { NEEDS_MEDIUM, cmd_read_10 },
	[0x2b] = { NEEDS_MEDIUM, cmd_seek },
	[0x43] = { NEEDS_MEDIUM, ide_cd_read_toc },
	[0x46] = { IN_ATTENTION, ide_cd_get_configuration },
	[0x4a] = { IN_ATTENTION, cmd_get_event },
	[0x51] = { NEEDS_MEDIUM, ide_cd_read_disc_information },
	[0x52] = { NEEDS_MEDIUM, ide_cd_read_track_information },
	[0x55] = { 0, cmd_mode_select },
	[0x5a] = { 0, ide_cd_mode_sense },
	[0xa8] = { NEEDS_MEDIUM, cmd_read_12 },
	[0xad] = { NEEDS_MEDIUM, ide_cd_read_dvd_structure },
	[0xbb] = { 0, cmd_set_speed },
	[0xbd] = { 0, cmd_mechanism_status },
	[0xbe] = { NEEDS_MEDIUM, cmd_read_cd },
};

void ide_packet(struct ide_channel *ch)
{
	struct ide_drive *d = ide_active(ch);
	const struct packet_command *c = &packets[ch->buf[0]];
	uint8_t p[12];

	memcpy(p, ch->buf, sizeof(p));
	ch->dma = d->feature & 1; /* PACKET's DMA bit */
	d->asleep = false;
	if (!c->run) {
		ide_packet_fail(ch, bad_command);
		return;
	}
	if (d->attention.asc && !(c->flags & IN_ATTENTION)) {
		const struct ide_sense s = d->attention;

		d->attention = no_sense;
		ide_packet_fail(ch, s);
		return;
	}
	if (c->flags & NEEDS_MEDIUM && !ide_cd_sectors(d)) {
		ide_packet_fail(ch, d->tray_open ? no_medium_open : no_medium);
		return;
	}
	if (p[0] != 0x03)
		d->sense = no_sense;
	c->run(ch, p);
}

/* -- From outside ------------------------------------------------------------------------------------------------------- */

static struct ide_channel *lock_drive(void *chip, unsigned n, struct ide_drive **d)
{
	struct ide *ide = chip;
	struct ide_channel *ch = &ide->ch[n / IDE_UNITS];

	lock_take(&ch->lock);
	*d = &ch->d[n % IDE_UNITS];
	return ch;
}

static struct blk *media_change(void *chip, unsigned n, struct blk *blk)
{
	struct ide_drive *d;
	struct ide_channel *ch = lock_drive(chip, n, &d);
	struct blk *old = d->blk;

	d->blk = blk;
	d->tray_open = !blk;
	d->locked = d->locked && blk;
	d->media_event = blk ? MEDIA_NEW : MEDIA_REMOVAL;
	d->attention = blk ? medium_changed : d->attention;
	lock_drop(&ch->lock);
	if (old)
		blk_drain(old); /* what is under way on it ends before it is gone */
	return old;
}

static bool press_eject(void *chip, unsigned n)
{
	struct ide_drive *d;
	struct ide_channel *ch = lock_drive(chip, n, &d);
	const bool locked = d->locked && !d->tray_open;

	if (locked)
		d->media_event = MEDIA_EJECT_REQUEST;
	lock_drop(&ch->lock);
	return !locked;
}

static void media_get(void *chip, unsigned n, struct media_state *out)
{
	struct ide_drive *d;
	struct ide_channel *ch = lock_drive(chip, n, &d);

	*out = (struct media_state){ d->blk, d->tray_open, d->locked };
	lock_drop(&ch->lock);
}

const struct media_ops ide_media_ops = { .change = media_change, .press_eject = press_eject, .get = media_get };
