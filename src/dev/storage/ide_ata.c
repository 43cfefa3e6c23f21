/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of ATA disks, and the few that CD-ROM drives share with them.
 *
 * Specification: AT Attachment with Packet Interface 6 (T13/1410D), chapter 8; write-through of ATA/ATAPI-7.
 * Missing: command queuing, security, host protected area, streaming, CFA, removable-media status, TRIM: aborted, and IDENTIFY
 * DEVICE does not offer them. Ignored: seek, recalibrate, standby timers (nothing turns).
 */
#include <string.h>

#include "dev/storage/ide_impl.h"

#define MAX_LBA28_SECTORS 256u
#define MAX_LBA48_SECTORS 65536u
#define PACKET_SIZE       12u
#define DATA_LOG_SIZE     ATA_SECTOR

enum { POWER_ACTIVE = 0xff, POWER_STANDBY = 0x00 };
enum { SMART_READ_DATA = 0xd0, SMART_READ_THRESHOLDS = 0xd1, SMART_AUTOSAVE = 0xd2, SMART_SAVE = 0xd3, SMART_OFFLINE = 0xd4,
       SMART_READ_LOG = 0xd5, SMART_ENABLE = 0xd8, SMART_DISABLE = 0xd9, SMART_STATUS = 0xda };
enum { SMART_KEY_MID = 0x4f, SMART_KEY_HIGH = 0xc2 };
enum { FEATURE_CACHE_ON = 0x02, FEATURE_MODE = 0x03, FEATURE_LOOK_OFF = 0x55, FEATURE_KEEP = 0x66, FEATURE_CACHE_OFF = 0x82,
       FEATURE_LOOK_ON = 0xaa, FEATURE_REVERT = 0xcc };
#define MODE_LAST_PIO  0x0c
#define MODE_MWDMA     0x20
#define MODE_UDMA      0x40
#define MODE_MAX_MWDMA 2
#define MODE_MAX_UDMA  5

/* -- The end of a command --------------------------------------------------------------------------------- */

void ide_end(struct ide_channel *ch, uint8_t status, uint8_t error, bool interrupt)
{
	struct ide_drive *d = ide_active(ch);

	ch->phase = IDE_IDLE;
	ch->job = IDE_JOB_NONE;
	ch->dma = ch->fua = ch->io_wanted = false;
	d->status = status;
	d->error = error;
	if (interrupt)
		ide_irq(ch, true);
}

void ide_finish(struct ide_channel *ch)
{
	if (ch->packet)
		ide_active(ch)->nsector = ATAPI_COD | ATAPI_IO;
	ide_end(ch, ATA_READY, 0, true);
}

/* A disk that did not find, read or write says where: at the first sector of what was asked of the medium last. */
void ide_fail(struct ide_channel *ch, uint8_t error)
{
	struct ide_drive *d = ide_active(ch);
	const uint64_t sector = ch->pos / ATA_SECTOR;

	if (error & ATA_UNC && d->select & ATA_SELECT_LBA)
		for (unsigned i = 0; i < 3; i++)
			d->lba[i] = (uint8_t)(sector >> 8 * i);
	ide_end(ch, ATA_READY | ATA_ERR, error, true);
}

/* -- Addresses ---------------------------------------------------------------------------------------------- */

/* What a command of the medium is about. */
struct extent {
	uint64_t sector;
	uint32_t count;
};

static struct extent extent48(const struct ide_drive *d)
{
	struct extent x = { 0, (uint32_t)d->hob_nsector << 8 | d->nsector };

	for (unsigned i = 0; i < 3; i++)
		x.sector |= (uint64_t)d->lba[i] << 8 * i | (uint64_t)d->hob_lba[i] << (24 + 8 * i);
	x.count = x.count ? x.count : MAX_LBA48_SECTORS;
	return x;
}

/* By LBA or by cylinder, head and sector, of which the latter begins at 1. False: there is no such sector. */
static bool extent28(const struct ide_drive *d, struct extent *x)
{
	const uint8_t head = d->select & ATA_SELECT_HEAD;
	const uint32_t cylinder = d->lba[1] | (uint32_t)d->lba[2] << 8;

	x->count = d->nsector ? d->nsector : MAX_LBA28_SECTORS;
	if (d->select & ATA_SELECT_LBA) {
		x->sector = d->lba[0] | (uint64_t)cylinder << 8 | (uint64_t)head << 24;
		return true;
	}
	if (!d->lba[0] || d->lba[0] > d->sectors || head >= d->heads)
		return false;
	x->sector = ((uint64_t)cylinder * d->heads + head) * d->sectors + d->lba[0] - 1;
	return true;
}

/* The sectors that the command names, all on the medium; else the command has failed. */
static bool get_extent(struct ide_channel *ch, bool ext, struct extent *x)
{
	const struct ide_drive *d = ide_active(ch);
	struct blk_info info;
	bool ok = true;

	blk_info(d->blk, &info);
	if (ext)
		*x = extent48(d);
	else
		ok = extent28(d, x);
	ch->pos = x->sector * ATA_SECTOR;
	if (!ok || x->sector > info.size / ATA_SECTOR || x->count > info.size / ATA_SECTOR - x->sector) {
		ide_fail(ch, ATA_IDNF);
		return false;
	}
	return true;
}

/* -- Reading and writing ---------------------------------------------------------------------------------------- */

enum { EXT = 1, WRITES = 2, DMA = 4, MULTIPLE = 8, FUA = 16 };

static void transfer(struct ide_channel *ch, unsigned how)
{
	const struct ide_drive *d = ide_active(ch);
	struct blk_info info;
	struct extent x;

	blk_info(d->blk, &info);
	if ((how & MULTIPLE && !d->mult) || (how & WRITES && info.readonly)) {
		ide_fail(ch, ATA_ABRT);
		return;
	}
	if (!get_extent(ch, how & EXT, &x))
		return;
	ch->dma = how & DMA;
	ch->fua = how & WRITES && (how & FUA || !d->write_cache);
	ide_start_medium(ch, how & WRITES, ch->pos, (uint64_t)x.count * ATA_SECTOR, ATA_SECTOR * (how & MULTIPLE ? d->mult : 1));
}

static void cmd_read(struct ide_channel *ch) { transfer(ch, 0); }
static void cmd_read_ext(struct ide_channel *ch) { transfer(ch, EXT); }
static void cmd_read_multiple(struct ide_channel *ch) { transfer(ch, MULTIPLE); }
static void cmd_read_multiple_ext(struct ide_channel *ch) { transfer(ch, MULTIPLE | EXT); }
static void cmd_read_dma(struct ide_channel *ch) { transfer(ch, DMA); }
static void cmd_read_dma_ext(struct ide_channel *ch) { transfer(ch, DMA | EXT); }
static void cmd_write(struct ide_channel *ch) { transfer(ch, WRITES); }
static void cmd_write_ext(struct ide_channel *ch) { transfer(ch, WRITES | EXT); }
static void cmd_write_multiple(struct ide_channel *ch) { transfer(ch, WRITES | MULTIPLE); }
static void cmd_write_multiple_ext(struct ide_channel *ch) { transfer(ch, WRITES | MULTIPLE | EXT); }
static void cmd_write_multiple_fua(struct ide_channel *ch) { transfer(ch, WRITES | MULTIPLE | EXT | FUA); }
static void cmd_write_dma(struct ide_channel *ch) { transfer(ch, WRITES | DMA); }
static void cmd_write_dma_ext(struct ide_channel *ch) { transfer(ch, WRITES | DMA | EXT); }
static void cmd_write_dma_fua(struct ide_channel *ch) { transfer(ch, WRITES | DMA | EXT | FUA); }

static void verify(struct ide_channel *ch, bool ext)
{
	struct extent x;

	if (get_extent(ch, ext, &x))
		ide_finish(ch);
}

static void cmd_verify(struct ide_channel *ch) { verify(ch, false); }
static void cmd_verify_ext(struct ide_channel *ch) { verify(ch, true); }

static void put_address(struct ide_drive *d, uint64_t sector, bool ext)
{
	for (unsigned i = 0; i < 3; i++) {
		d->lba[i] = (uint8_t)(sector >> 8 * i);
		if (ext)
			d->hob_lba[i] = (uint8_t)(sector >> (24 + 8 * i));
	}
	if (!ext)
		d->select = (uint8_t)((d->select & ~ATA_SELECT_HEAD) | (sector >> 24 & ATA_SELECT_HEAD));
}

/* The last address; old drivers ask so even where no host protected area is offered. */
static void cmd_native_max(struct ide_channel *ch)
{
	struct blk_info info;

	blk_info(ide_active(ch)->blk, &info);
	put_address(ide_active(ch), MIN(info.size / ATA_SECTOR, 1u << 28) - 1, false);
	ide_finish(ch);
}

static void cmd_native_max_ext(struct ide_channel *ch)
{
	struct blk_info info;

	blk_info(ide_active(ch)->blk, &info);
	put_address(ide_active(ch), info.size / ATA_SECTOR - 1, true);
	ide_finish(ch);
}

static void cmd_flush(struct ide_channel *ch)
{
	ide_start_flush(ch);
}

/* -- Identity and settings ------------------------------------------------------------------------------------------ */

static void cmd_identify(struct ide_channel *ch)
{
	struct ide_drive *d = ide_active(ch);

	/* How a driver finds out that this is no disk (9.12). */
	if (d->kind == IDE_CDROM) {
		ide_set_signature(d);
		ide_fail(ch, ATA_ABRT);
		return;
	}
	ide_identify(ch, d);
	ide_start_data_in(ch, ATA_SECTOR, ATA_SECTOR);
}

static void cmd_identify_packet(struct ide_channel *ch)
{
	ide_identify(ch, ide_active(ch));
	ide_start_data_in(ch, ATA_SECTOR, ATA_SECTOR);
}

static void cmd_diagnostic(struct ide_channel *ch)
{
	for (unsigned i = 0; i < IDE_UNITS; i++)
		ide_set_signature(&ch->d[i]);
	ch->unit = ch->active = 0;
	ch->d[0].select = ch->d[1].select = 0;
	ch->phase = IDE_IDLE;
	ide_irq(ch, true);
}

/* The host tells of which geometry its CHS addresses are; nothing of it is saved on the disk. */
static void cmd_set_geometry(struct ide_channel *ch)
{
	struct ide_drive *d = ide_active(ch);

	if (!d->nsector) {
		ide_fail(ch, ATA_ABRT);
		return;
	}
	d->sectors = d->nsector;
	d->heads = (d->select & ATA_SELECT_HEAD) + 1;
	ide_finish(ch);
}

static void cmd_set_multiple(struct ide_channel *ch)
{
	struct ide_drive *d = ide_active(ch);

	if (d->nsector > IDE_MAX_MULT || d->nsector & (d->nsector - 1)) {
		ide_fail(ch, ATA_ABRT);
		return;
	}
	d->mult = d->nsector;
	ide_finish(ch);
}

static bool set_mode(struct ide_drive *d, uint8_t mode)
{
	if (mode >= MODE_UDMA ? mode > MODE_UDMA + MODE_MAX_UDMA : mode >= MODE_MWDMA ? mode > MODE_MWDMA + MODE_MAX_MWDMA :
	    mode > MODE_LAST_PIO)
		return false;
	d->mode = mode >= MODE_MWDMA ? mode : 0;
	return true;
}

static void cmd_set_features(struct ide_channel *ch)
{
	struct ide_drive *d = ide_active(ch);
	bool ok = true;

	switch (d->feature) {
	case FEATURE_CACHE_ON:
	case FEATURE_CACHE_OFF:
		d->write_cache = d->feature == FEATURE_CACHE_ON;
		/* What is still volatile is not to stay so (8.46.6). */
		if (!d->write_cache && d->kind == IDE_DISK) {
			ide_start_flush(ch);
			return;
		}
		break;
	case FEATURE_MODE:
		ok = set_mode(d, d->nsector);
		break;
	case FEATURE_LOOK_ON:
	case FEATURE_LOOK_OFF:
		d->look_ahead = d->feature == FEATURE_LOOK_ON;
		break;
	case FEATURE_KEEP:
	case FEATURE_REVERT:
		break;
	default:
		ok = false;
	}
	if (ok)
		ide_finish(ch);
	else
		ide_fail(ch, ATA_ABRT);
}

/* -- Power --------------------------------------------------------------------------------------------------------- */

static void cmd_nothing(struct ide_channel *ch)
{
	ide_finish(ch);
}

static void cmd_awake(struct ide_channel *ch)
{
	ide_active(ch)->asleep = false;
	ide_finish(ch);
}

/* Standby puts on stable storage what is in the cache. */
static void cmd_standby(struct ide_channel *ch)
{
	ide_active(ch)->asleep = true;
	if (ide_active(ch)->kind == IDE_DISK)
		ide_start_flush(ch);
	else
		ide_finish(ch);
}

static void cmd_power_mode(struct ide_channel *ch)
{
	ide_active(ch)->nsector = ide_active(ch)->asleep ? POWER_STANDBY : POWER_ACTIVE;
	ide_finish(ch);
}

/* -- SMART ---------------------------------------------------------------------------------------------------------- */

static void smart_enabled(struct ide_channel *ch, struct ide_drive *d)
{
	switch (d->feature) {
	case SMART_READ_DATA:
	case SMART_READ_THRESHOLDS:
		ide_smart_data(ch, d->feature == SMART_READ_THRESHOLDS);
		ide_start_data_in(ch, ATA_SECTOR, ATA_SECTOR);
		break;
	case SMART_READ_LOG:
		memset(ch->buf, 0, DATA_LOG_SIZE); /* no errors, no self-tests */
		ide_start_data_in(ch, DATA_LOG_SIZE, ATA_SECTOR);
		break;
	case SMART_DISABLE:
		d->smart = false;
		ide_finish(ch);
		break;
	case SMART_STATUS: /* the key as it came: no threshold is exceeded */
	case SMART_AUTOSAVE:
	case SMART_SAVE:
	case SMART_OFFLINE:
	case SMART_ENABLE:
		ide_finish(ch);
		break;
	default:
		ide_fail(ch, ATA_ABRT);
	}
}

static void cmd_smart(struct ide_channel *ch)
{
	struct ide_drive *d = ide_active(ch);

	if (d->feature == SMART_ENABLE)
		d->smart = true;
	if (d->lba[1] == SMART_KEY_MID && d->lba[2] == SMART_KEY_HIGH && d->smart)
		smart_enabled(ch, d);
	else
		ide_fail(ch, ATA_ABRT);
}

/* -- Packets ---------------------------------------------------------------------------------------------------------- */

enum { PACKET_DMA = 0x01, PACKET_OVERLAP = 0x02 };

static void cmd_packet(struct ide_channel *ch)
{
	struct ide_drive *d = ide_active(ch);

	if (d->feature & PACKET_OVERLAP) {
		ide_fail(ch, ATA_ABRT);
		return;
	}
	ch->packet = true;
	ch->limit = (uint16_t)(d->lba[1] | d->lba[2] << 8);
	ide_start_data_out(ch, IDE_JOB_PACKET, PACKET_SIZE, PACKET_SIZE);
	ch->dma = d->feature & PACKET_DMA;
}

/* -- The table ----------------------------------------------------------------------------------------------------------- */

enum { DISK = 1 << IDE_DISK, CD = 1 << IDE_CDROM, BOTH = DISK | CD };

static const struct command {
	uint8_t kinds;
	void (*run)(struct ide_channel *ch);
} commands[256] = {
	[0x10 ... 0x1f] = { DISK, cmd_nothing },       /* recalibrate */
	[0x20] = { DISK, cmd_read },
	[0x21] = { DISK, cmd_read },                   /* without retries */
	[0x24] = { DISK, cmd_read_ext },
	[0x25] = { DISK, cmd_read_dma_ext },
	[0x27] = { DISK, cmd_native_max_ext },
	[0x29] = { DISK, cmd_read_multiple_ext },
	[0x30] = { DISK, cmd_write },
	[0x31] = { DISK, cmd_write },
	[0x34] = { DISK, cmd_write_ext },
	[0x35] = { DISK, cmd_write_dma_ext },
	[0x39] = { DISK, cmd_write_multiple_ext },
	[0x3d] = { DISK, cmd_write_dma_fua },
	[0x40] = { DISK, cmd_verify },
	[0x41] = { DISK, cmd_verify },
	[0x42] = { DISK, cmd_verify_ext },
	[0x70] = { DISK, cmd_nothing },                /* seek */
	[0x90] = { BOTH, cmd_diagnostic },
	[0x91] = { DISK, cmd_set_geometry },
	[0x94] = { BOTH, cmd_standby },                /* 94 to 99: the same as e0 to e6, as old drivers have them */
	[0x95] = { BOTH, cmd_awake },
	[0x96] = { BOTH, cmd_standby },
	[0x97] = { BOTH, cmd_awake },
	[0x98] = { BOTH, cmd_power_mode },
	[0x99] = { BOTH, cmd_standby },
	[0xa0] = { CD, cmd_packet },
	[0xa1] = { CD, cmd_identify_packet },
	[0xb0] = { DISK, cmd_smart },
	[0xc4] = { DISK, cmd_read_multiple },
	[0xc5] = { DISK, cmd_write_multiple },
	[0xc6] = { DISK, cmd_set_multiple },
	[0xc8] = { DISK, cmd_read_dma },
	[0xc9] = { DISK, cmd_read_dma },
	[0xca] = { DISK, cmd_write_dma },
	[0xcb] = { DISK, cmd_write_dma },
	[0xce] = { DISK, cmd_write_multiple_fua },
	[0xe0] = { BOTH, cmd_standby },
	[0xe1] = { BOTH, cmd_awake },                  /* idle immediate */
	[0xe2] = { BOTH, cmd_standby },
	[0xe3] = { BOTH, cmd_awake },                  /* idle */
	[0xe5] = { BOTH, cmd_power_mode },
	[0xe6] = { BOTH, cmd_standby },                /* sleep: any access wakes it */
	[0xe7] = { DISK, cmd_flush },
	[0xea] = { DISK, cmd_flush },
	[0xec] = { BOTH, cmd_identify },
	[0xef] = { BOTH, cmd_set_features },
	[0xf8] = { DISK, cmd_native_max },
};

void ide_command(struct ide_channel *ch, uint8_t command)
{
	const struct command *c = &commands[command];

	ch->dma = ch->fua = ch->packet = false;
	ide_active(ch)->error = 0;
	if (c->kinds >> ide_active(ch)->kind & 1)
		c->run(ch);
	else
		ide_fail(ch, ATA_ABRT);
}
