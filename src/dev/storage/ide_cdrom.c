/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a CD-ROM drive says of itself and of its medium: one session with one data track, as ISO images are.
 *
 * Specification: MMC-5 (T10/1675-D), chapters 5 to 7; SPC-3, 6.4; SFF-8020i, 10.8.
 */
#include <string.h>

#include "dev/storage/ide_impl.h"

#define FRAMES_PER_SECOND 75u
#define LEAD_IN_FRAMES    150u
#define CD_MAX_SECTORS    (80u * 60 * FRAMES_PER_SECOND) /* what is larger is a DVD */
#define LEAD_OUT          0xaau
#define DATA_TRACK        0x14u /* ADR 1, data, not copied */
#define PROFILE_CD        0x0008u
#define PROFILE_DVD       0x0010u
#define SPEED_KB          5632u /* 32 times, and all that drivers ask for */

uint32_t ide_cd_sectors(const struct ide_drive *d)
{
	struct blk_info info;

	if (!d->blk || d->tray_open)
		return 0;
	blk_info(d->blk, &info);
	return (uint32_t)MIN(info.size / IDE_CD_SECTOR, UINT32_MAX);
}

static bool is_dvd(const struct ide_drive *d)
{
	return ide_cd_sectors(d) > CD_MAX_SECTORS;
}

/* -- The drive ------------------------------------------------------------------------------------------- */

/* Text in INQUIRY's fields, filled with spaces. */
static void put_field(uint8_t *at, const char *text, size_t room)
{
	const size_t len = strnlen(text, room);

	memset(at, ' ', room);
	memcpy(at, text, len);
}

void ide_cd_inquiry(struct ide_channel *ch, const uint8_t *p)
{
	enum { INQUIRY_SIZE = 36, TYPE_CDROM = 0x05, REMOVABLE = 0x80, ATAPI_FORMAT = 0x21, VITAL_DATA = 0x01 };
	uint8_t *buf = ch->buf;

	if (p[1] & VITAL_DATA || p[2]) {
		ide_packet_fail(ch, ide_bad_field);
		return;
	}
	memset(buf, 0, INQUIRY_SIZE);
	buf[0] = TYPE_CDROM;
	buf[1] = REMOVABLE;
	buf[3] = ATAPI_FORMAT;
	buf[4] = INQUIRY_SIZE - 5;
	put_field(buf + 8, "DOPPEL", 8);
	put_field(buf + 16, ide_active(ch)->model, 16);
	put_field(buf + 32, "1.0", 4);
	ide_packet_reply(ch, INQUIRY_SIZE, get_be16(p + 3));
}

enum { PAGE_ERRORS = 0x01, PAGE_AUDIO = 0x0e, PAGE_CAPABILITIES = 0x2a, PAGE_ALL = 0x3f };

static uint32_t add_errors(uint8_t *at)
{
	static const uint8_t page[8] = { PAGE_ERRORS, 6, 0, 5 };

	memcpy(at, page, sizeof(page));
	return sizeof(page);
}

/* All data channels muted: there is no sound. */
static uint32_t add_audio(uint8_t *at)
{
	static const uint8_t page[16] = { PAGE_AUDIO, 14, 4 };

	memcpy(at, page, sizeof(page));
	return sizeof(page);
}

/* MMC-3, 5.5.10: it reads CDs and DVDs, has a tray, ejects and locks. */
static uint32_t add_capabilities(const struct ide_drive *d, uint8_t *at)
{
	enum { SIZE = 22, READS_R_RW = 0x03, READS_DVD = 0x38, TRAY = 0x20, EJECTS = 0x08, LOCKS = 0x01, LOCKED = 0x02 };

	memset(at, 0, SIZE);
	at[0] = PAGE_CAPABILITIES;
	at[1] = SIZE - 2;
	at[2] = READS_R_RW | READS_DVD;
	at[4] = 0x70; /* mode 2, multiple sessions */
	at[6] = (uint8_t)(TRAY | EJECTS | LOCKS | (d->locked ? LOCKED : 0));
	put_be16(at + 8, SPEED_KB);
	put_be16(at + 12, 512); /* KiB of buffer */
	put_be16(at + 14, SPEED_KB);
	return SIZE;
}

/* MODE SENSE (6) and (10): a header, no block descriptors, pages. Changeable values (control 1): none is. */
void ide_cd_mode_sense(struct ide_channel *ch, const uint8_t *p)
{
	enum { MODE_SENSE_6 = 0x1a, CHANGEABLE = 1 };
	const struct ide_drive *d = ide_active(ch);
	const bool six = p[0] == MODE_SENSE_6;
	const uint8_t page = p[2] & 0x3f, control = p[2] >> 6;
	const uint32_t header = six ? 4 : 8;
	uint32_t len = header;

	memset(ch->buf, 0, header);
	if (page == PAGE_ERRORS || page == PAGE_ALL)
		len += add_errors(ch->buf + len);
	if (page == PAGE_AUDIO || page == PAGE_ALL)
		len += add_audio(ch->buf + len);
	if (page == PAGE_CAPABILITIES || page == PAGE_ALL)
		len += add_capabilities(d, ch->buf + len);
	if (len == header || (control == CHANGEABLE && page == PAGE_ALL)) {
		ide_packet_fail(ch, ide_bad_field);
		return;
	}
	if (control == CHANGEABLE)
		memset(ch->buf + header + 2, 0, len - header - 2);
	/* Medium type: data CD, no disc, door open. */
	ch->buf[six ? 1 : 2] = d->tray_open ? 0x71 : d->blk ? 0x01 : 0x70;
	if (six)
		ch->buf[0] = (uint8_t)(len - 1);
	else
		put_be16(ch->buf, (uint16_t)(len - 2));
	ide_packet_reply(ch, len, six ? p[4] : get_be16(p + 7));
}

/* -- Features, MMC-5 5.3 ------------------------------------------------------------------------------------- */

static uint32_t add_feature(uint8_t *at, uint16_t code, uint8_t flags, const uint8_t *data, uint8_t len)
{
	put_be16(at, code);
	at[2] = flags; /* version, persistent, current */
	at[3] = len;
	memcpy(at + 4, data, len);
	return 4u + len;
}

void ide_cd_get_configuration(struct ide_channel *ch, const uint8_t *p)
{
	enum { HEADER = 8, PERSISTENT = 0x02, CURRENT = 0x01, ONE = 2 };
	const struct ide_drive *d = ide_active(ch);
	const uint16_t current = !ide_cd_sectors(d) ? 0 : is_dvd(d) ? PROFILE_DVD : PROFILE_CD;
	const uint8_t profiles[8] = {
		0, PROFILE_DVD, current == PROFILE_DVD, 0, 0, PROFILE_CD, current == PROFILE_CD, 0,
	};
	static const uint8_t core[8] = { 0, 0, 0, 2 /* ATAPI */, 1 }, removable[4] = { 0x29 /* tray, eject, lock */ };
	const struct {
		uint16_t code;
		uint8_t flags;
		const uint8_t *data;
		uint8_t len;
	} features[] = {
		{ 0x0000, PERSISTENT | CURRENT, profiles, sizeof(profiles) },
		{ 0x0001, 0x08 | PERSISTENT | CURRENT, core, sizeof(core) },
		{ 0x0003, PERSISTENT | CURRENT, removable, sizeof(removable) },
	};
	const uint16_t from = get_be16(p + 2);
	uint32_t len = HEADER;

	memset(ch->buf, 0, HEADER);
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		if ((p[1] & 3) == ONE ? features[i].code == from : features[i].code >= from)
			len += add_feature(ch->buf + len, features[i].code, features[i].flags, features[i].data, features[i].len);
	put_be32(ch->buf, len - 4);
	put_be16(ch->buf + 6, current);
	ide_packet_reply(ch, len, get_be16(p + 7));
}

/* -- The medium ------------------------------------------------------------------------------------------------- */

/* An address as LBA, or as minute, second and frame. */
static void put_address(uint8_t *at, uint32_t sector, bool msf)
{
	const uint32_t frame = sector + LEAD_IN_FRAMES;

	if (!msf) {
		put_be32(at, sector);
		return;
	}
	at[0] = 0;
	at[1] = (uint8_t)(frame / FRAMES_PER_SECOND / 60);
	at[2] = (uint8_t)(frame / FRAMES_PER_SECOND % 60);
	at[3] = (uint8_t)(frame % FRAMES_PER_SECOND);
}

static uint32_t add_track(uint8_t *at, uint8_t track, uint32_t sector, bool msf)
{
	memset(at, 0, 8);
	at[1] = DATA_TRACK;
	at[2] = track;
	put_address(at + 4, sector, msf);
	return 8;
}

/* Format 2: the lead-in's entries, in minutes, seconds and frames; point, and what it says. */
static uint32_t add_raw(uint8_t *at, uint8_t point, uint32_t sector)
{
	uint8_t msf[4];

	put_address(msf, sector, true);
	memset(at, 0, 11);
	at[0] = 1; /* session */
	at[1] = DATA_TRACK;
	at[3] = point;
	if (point == 0xa0 || point == 0xa1)
		at[8] = 1; /* the first, the last track */
	else
		memcpy(at + 8, msf + 1, 3);
	return 11;
}

void ide_cd_read_toc(struct ide_channel *ch, const uint8_t *p)
{
	const uint32_t sectors = ide_cd_sectors(ide_active(ch));
	const bool msf = p[1] & 0x02;
	const uint8_t track = p[6], format = p[2] & 0xf ? p[2] & 0xf : p[9] >> 6; /* the latter as in SFF-8020i */
	uint32_t len = 4;

	ch->buf[2] = ch->buf[3] = 1; /* first and last track, or session */
	switch (format) {
	case 0:
		if (track > 1 && track != LEAD_OUT) {
			ide_packet_fail(ch, ide_bad_field);
			return;
		}
		if (track <= 1)
			len += add_track(ch->buf + len, 1, 0, msf);
		len += add_track(ch->buf + len, LEAD_OUT, sectors, msf);
		break;
	case 1:
		len += add_track(ch->buf + len, 1, 0, msf);
		break;
	case 2:
		len += add_raw(ch->buf + len, 0xa0, 0);
		len += add_raw(ch->buf + len, 0xa1, 0);
		len += add_raw(ch->buf + len, 0xa2, sectors);
		len += add_raw(ch->buf + len, 1, 0);
		break;
	default:
		ide_packet_fail(ch, ide_bad_field);
		return;
	}
	put_be16(ch->buf, (uint16_t)(len - 2));
	ide_packet_reply(ch, len, get_be16(p + 7));
}

void ide_cd_read_disc_information(struct ide_channel *ch, const uint8_t *p)
{
	enum { SIZE = 34, COMPLETE = 0x0e };

	if (p[1] & 7) {
		ide_packet_fail(ch, ide_bad_field);
		return;
	}
	memset(ch->buf, 0, SIZE);
	put_be16(ch->buf, SIZE - 2);
	ch->buf[2] = COMPLETE; /* disc and last session */
	ch->buf[3] = ch->buf[4] = ch->buf[5] = ch->buf[6] = 1;
	ch->buf[7] = 0x20;     /* for unrestricted use */
	ide_packet_reply(ch, SIZE, get_be16(p + 7));
}

void ide_cd_read_track_information(struct ide_channel *ch, const uint8_t *p)
{
	enum { SIZE = 36, DATA = 0x04, MODE_1 = 0x01 };
	const uint32_t sectors = ide_cd_sectors(ide_active(ch)), what = get_be32(p + 2);
	const bool there = (p[1] & 3) ? what == 1 : what < sectors;

	if (!there) {
		ide_packet_fail(ch, ide_bad_field);
		return;
	}
	memset(ch->buf, 0, SIZE);
	put_be16(ch->buf, SIZE - 2);
	ch->buf[2] = ch->buf[3] = 1;
	ch->buf[5] = DATA;
	ch->buf[6] = MODE_1;
	put_be32(ch->buf + 24, sectors);
	ide_packet_reply(ch, SIZE, get_be16(p + 7));
}

void ide_cd_read_dvd_structure(struct ide_channel *ch, const uint8_t *p)
{
	enum { PHYSICAL = 0x00, COPYRIGHT = 0x01, MANUFACTURER = 0x04, PHYSICAL_SIZE = 2052, MANUFACTURER_SIZE = 2052, FIRST = 0x30000 };
	const uint32_t sectors = ide_cd_sectors(ide_active(ch));
	uint32_t len = 0;

	if (is_dvd(ide_active(ch)) && !p[1] && !p[6])
		len = p[7] == PHYSICAL ? PHYSICAL_SIZE : p[7] == COPYRIGHT ? 8 : p[7] == MANUFACTURER ? MANUFACTURER_SIZE : 0;
	if (!len) {
		ide_packet_fail(ch, ide_bad_field);
		return;
	}
	memset(ch->buf, 0, len);
	put_be16(ch->buf, (uint16_t)(len - 2));
	if (p[7] == PHYSICAL) {
		ch->buf[4] = 0x01; /* DVD-ROM, version 1 */
		ch->buf[5] = 0x0f; /* 120 mm, no maximum rate */
		ch->buf[6] = 0x01; /* one layer, embossed */
		put_be32(ch->buf + 8, FIRST);
		put_be32(ch->buf + 12, FIRST + sectors - 1);
	}
	ide_packet_reply(ch, len, get_be16(p + 8));
}
