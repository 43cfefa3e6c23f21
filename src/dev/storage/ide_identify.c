/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an IDE drive says of itself: IDENTIFY DEVICE, IDENTIFY PACKET DEVICE, SMART.
 *
 * Specification: AT Attachment with Packet Interface 6 (T13/1410D), 8.15, 8.16; SMART data as drives have it.
 */
#include <string.h>

#include "dev/storage/ide_impl.h"

#define FIRMWARE "1.0"

/* Words */
enum {
	W_CONFIG = 0, W_CYLINDERS = 1, W_HEADS = 3, W_SECTORS = 6, W_SERIAL = 10, W_FIRMWARE = 23, W_MODEL = 27, W_MAX_MULT = 47,
	W_CAPS = 49, W_CAPS2 = 50, W_PIO_TIMING = 51, W_DMA_TIMING = 52, W_VALID = 53, W_CUR_CYLINDERS = 54, W_CUR_HEADS = 55,
	W_CUR_SECTORS = 56, W_CUR_CAPACITY = 57, W_MULT = 59, W_LBA28 = 60, W_MWDMA = 63, W_PIO = 64, W_CYCLES = 65,
	W_MAJOR = 80, W_SUPPORTED = 82, W_ENABLED = 85, W_UDMA = 88, W_RESET = 93, W_LBA48 = 100, W_SECTOR_SIZE = 106,
};

#define CONFIG_DISK    0x0040 /* fixed */
#define CONFIG_CDROM   0x85c0 /* packet, CD-ROM, removable, DRQ within 50 us, 12-byte packets */
#define MULT_FIXED     0x8000
#define CAPS_DMA_LBA_IORDY 0x0f00
#define CAPS2          0x4000
#define VALID_ALL      0x0007
#define MULT_VALID     0x0100
#define MWDMA_MODES    0x07
#define UDMA_MODES     0x3f   /* up to mode 5 */
#define PIO_MODES      0x03   /* 3 and 4 */
#define CYCLE_NS       120
#define MAJOR_ATA6     0x007e /* ATA-1 to ATA/ATAPI-6 */
#define RESET_MASTER   0x600b /* 80-wire cable; determined by jumper, passed its diagnostics */
#define SECTOR_VALID   0x4000

/* Command sets, words 82 to 84 and 85 to 87 */
#define SET1_SMART     0x0001
#define SET1_POWER     0x0008
#define SET1_PACKET    0x0010
#define SET1_CACHE     0x0020
#define SET1_LOOK      0x0040
#define SET1_RESET     0x0200 /* DEVICE RESET */
#define SET2_LBA48     0x0400
#define SET2_FLUSH     0x1000
#define SET2_FLUSH_EXT 0x2000
#define SET_VALID      0x4000
#define SET3_FUA       0x0040

#define LBA28_MAX      0x0fffffffu
#define CHS_CYLINDERS  16383u
#define CHS_HEADS      16u
#define CHS_SECTORS    63u

struct ide_geometry ide_geometry(uint64_t bytes)
{
	const uint64_t cylinders = bytes / ATA_SECTOR / (CHS_HEADS * CHS_SECTORS);

	return (struct ide_geometry){ (uint16_t)MIN(MAX(cylinders, 1u), CHS_CYLINDERS), CHS_HEADS, CHS_SECTORS };
}

static void put_word(uint8_t *buf, unsigned word, unsigned val)
{
	put_le16(buf + 2 * word, (uint16_t)val);
}

static void put_long(uint8_t *buf, unsigned word, uint32_t val)
{
	put_le32(buf + 2 * word, val);
}

/* Text stands with the bytes of each word exchanged, and is filled with spaces. */
static void put_text(uint8_t *buf, unsigned word, const char *text, size_t room)
{
	const size_t len = strnlen(text, room);

	for (size_t i = 0; i < room; i++)
		buf[2 * word + (i ^ 1)] = i < len ? (uint8_t)text[i] : ' ';
}

static void put_modes(uint8_t *buf, const struct ide_drive *d)
{
	const unsigned chosen = d->mode ? 1u << (8 + (d->mode & 7)) : 0;
	const bool ultra = d->mode & 0x40;

	put_word(buf, W_VALID, VALID_ALL);
	put_word(buf, W_MWDMA, MWDMA_MODES | (ultra ? 0 : chosen));
	put_word(buf, W_UDMA, UDMA_MODES | (ultra ? chosen : 0));
	put_word(buf, W_PIO, PIO_MODES);
	for (unsigned i = 0; i < 4; i++)
		put_word(buf, W_CYCLES + i, CYCLE_NS);
	put_word(buf, W_MAJOR, MAJOR_ATA6);
}

static void put_identity(uint8_t *buf, const struct ide_drive *d)
{
	put_text(buf, W_SERIAL, d->serial, IDE_SERIAL);
	put_text(buf, W_FIRMWARE, FIRMWARE, 8);
	put_text(buf, W_MODEL, d->model, IDE_MODEL);
}

static void put_geometry(uint8_t *buf, const struct ide_drive *d, const struct blk_info *info)
{
	const struct ide_geometry g = ide_geometry(info->size);
	const uint64_t sectors = info->size / ATA_SECTOR;
	const unsigned cylinders = (unsigned)MIN(sectors / (d->heads * d->sectors), UINT16_MAX);

	put_word(buf, W_CYLINDERS, g.cylinders);
	put_word(buf, W_HEADS, g.heads);
	put_word(buf, W_SECTORS, g.sectors);
	put_word(buf, W_CUR_CYLINDERS, cylinders);
	put_word(buf, W_CUR_HEADS, d->heads);
	put_word(buf, W_CUR_SECTORS, d->sectors);
	put_long(buf, W_CUR_CAPACITY, cylinders * d->heads * d->sectors);
	put_long(buf, W_LBA28, (uint32_t)MIN(sectors, LBA28_MAX));
	put_long(buf, W_LBA48, (uint32_t)sectors);
	put_long(buf, W_LBA48 + 2, (uint32_t)(sectors >> 32));
	if (info->physical_size > ATA_SECTOR)
		put_word(buf, W_SECTOR_SIZE, SECTOR_VALID | 0x2000 | (unsigned)__builtin_ctz(info->physical_size / ATA_SECTOR));
	else
		put_word(buf, W_SECTOR_SIZE, SECTOR_VALID);
}

static void identify_disk(uint8_t *buf, const struct ide_drive *d)
{
	struct blk_info info;

	blk_info(d->blk, &info);
	put_word(buf, W_CONFIG, CONFIG_DISK);
	put_geometry(buf, d, &info);
	put_word(buf, W_MAX_MULT, MULT_FIXED | IDE_MAX_MULT);
	put_word(buf, W_CAPS, CAPS_DMA_LBA_IORDY);
	put_word(buf, W_CAPS2, CAPS2);
	put_word(buf, W_MULT, d->mult ? MULT_VALID | d->mult : 0);
	put_word(buf, W_SUPPORTED, SET_VALID | SET1_SMART | SET1_POWER | SET1_CACHE | SET1_LOOK);
	put_word(buf, W_SUPPORTED + 1, SET_VALID | SET2_LBA48 | SET2_FLUSH | SET2_FLUSH_EXT);
	put_word(buf, W_SUPPORTED + 2, SET_VALID | SET3_FUA);
	put_word(buf, W_ENABLED, SET_VALID | (d->smart ? SET1_SMART : 0) | SET1_POWER | (d->write_cache ? SET1_CACHE : 0) |
		 (d->look_ahead ? SET1_LOOK : 0));
	put_word(buf, W_ENABLED + 1, SET_VALID | SET2_LBA48 | SET2_FLUSH | SET2_FLUSH_EXT);
	put_word(buf, W_ENABLED + 2, SET_VALID | SET3_FUA);
	put_word(buf, W_RESET, RESET_MASTER);
}

static void identify_cdrom(uint8_t *buf, const struct ide_drive *d)
{
	put_word(buf, W_CONFIG, CONFIG_CDROM);
	put_word(buf, W_CAPS, CAPS_DMA_LBA_IORDY);
	put_word(buf, W_SUPPORTED, SET_VALID | SET1_PACKET | SET1_POWER | SET1_RESET);
	put_word(buf, W_SUPPORTED + 1, SET_VALID);
	put_word(buf, W_SUPPORTED + 2, SET_VALID);
	put_word(buf, W_ENABLED, SET_VALID | SET1_PACKET | SET1_POWER | SET1_RESET);
	put_word(buf, W_ENABLED + 1, SET_VALID);
	put_word(buf, W_ENABLED + 2, SET_VALID);
	put_word(buf, W_RESET, RESET_MASTER);
}

void ide_identify(struct ide_channel *ch, const struct ide_drive *d)
{
	memset(ch->buf, 0, ATA_SECTOR);
	put_identity(ch->buf, d);
	put_modes(ch->buf, d);
	if (d->kind == IDE_DISK)
		identify_disk(ch->buf, d);
	else
		identify_cdrom(ch->buf, d);
}

/* -- SMART ------------------------------------------------------------------------------------------------ */

enum { SMART_ATTRIBUTES = 2, SMART_ENTRY = 12, SMART_CAPS = 368, SMART_CHECKSUM = 511 };

/* Attributes: number, flags, value and worst, threshold. A disk that never gets worse. */
static const struct {
	uint8_t id, flags, value, threshold;
} attributes[] = {
	{ 1, 0x03, 100, 6 },   /* read error rate */
	{ 3, 0x03, 100, 0 },   /* spin-up time */
	{ 5, 0x03, 100, 36 },  /* reallocated sectors */
	{ 9, 0x03, 100, 0 },   /* power-on hours */
	{ 12, 0x03, 100, 0 },  /* power cycles */
	{ 190, 0x03, 69, 50 }, /* temperature */
};

void ide_smart_data(struct ide_channel *ch, bool thresholds)
{
	uint8_t *buf = ch->buf, sum = 0;

	memset(buf, 0, ATA_SECTOR);
	buf[0] = 1; /* revision */
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		uint8_t *at = buf + SMART_ATTRIBUTES + SMART_ENTRY * i;

		at[0] = attributes[i].id;
		at[1] = thresholds ? attributes[i].threshold : attributes[i].flags;
		if (!thresholds)
			at[3] = at[4] = attributes[i].value;
	}
	if (!thresholds)
		buf[SMART_CAPS] = 0x02; /* attributes are saved by themselves */
	for (unsigned i = 0; i < SMART_CHECKSUM; i++)
		sum = (uint8_t)(sum + buf[i]);
	buf[SMART_CHECKSUM] = (uint8_t)-sum;
}
