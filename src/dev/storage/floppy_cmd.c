/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands of the floppy controller: their lengths, and those that move no data. Intel 82077AA data sheet, 6. */
#include <string.h>

#include "dev/storage/floppy_impl.h"

#define UNIT(byte)    ((byte) & 3)
#define HEAD(byte)    ((byte) >> 2 & 1)
#define MULTI_TRACK   0x80
#define VERSION_82077 0x90
#define LOCK_BIT      0x80
#define LOCK_RESULT   0x10

static void end_seek(struct floppy *f, unsigned unit, uint8_t st0)
{
	f->st0[unit] = (uint8_t)(ST0_SEEK_END | st0 | unit);
	f->interrupts |= (uint8_t)(1 << unit);
	floppy_idle(f);
	floppy_irq(f, true);
}

/* A step with a disk in the drive clears the disk change line. */
static void move_to(struct floppy_drive *d, unsigned track)
{
	if (track != d->track && d->blk)
		d->changed = false;
	d->track = (uint8_t)track;
}

/* -- Without data ------------------------------------------------------------------------------------------- */

static void cmd_specify(struct floppy *f)
{
	memcpy(f->specify, f->bytes + 1, 2);
	floppy_idle(f);
}

static void cmd_drive_status(struct floppy *f)
{
	const unsigned unit = UNIT(f->bytes[1]);
	const struct floppy_drive *d = floppy_drive(f, unit);
	uint8_t st3 = (uint8_t)(ST3_TWO_SIDES | ST3_READY | (f->bytes[1] & 7));

	if (d && !d->track)
		st3 |= ST3_TRACK_0;
	if (d && d->readonly)
		st3 |= ST3_PROTECTED;
	f->bytes[0] = st3;
	floppy_result(f, 1, false);
}

static void cmd_recalibrate(struct floppy *f)
{
	const unsigned unit = UNIT(f->bytes[1]);
	struct floppy_drive *d = floppy_drive(f, unit);

	if (!d) {
		end_seek(f, unit, ST0_ABNORMAL | ST0_EQUIPMENT); /* no track 0 after all steps */
		return;
	}
	d->changed = d->changed && !d->blk;
	move_to(d, 0);
	end_seek(f, unit, 0);
}

static void cmd_seek(struct floppy *f)
{
	const unsigned unit = UNIT(f->bytes[1]);
	const uint8_t head = f->bytes[1] & ST0_HEAD;
	struct floppy_drive *d = floppy_drive(f, unit);

	if (d)
		move_to(d, f->bytes[2]);
	end_seek(f, unit, head);
}

/* RELATIVE SEEK: bit 6 of the command is the direction, inwards when set. */
static void cmd_relative_seek(struct floppy *f)
{
	enum { INWARDS = 0x40 };
	const unsigned unit = UNIT(f->bytes[1]), by = f->bytes[2];
	struct floppy_drive *d = floppy_drive(f, unit);

	if (d)
		move_to(d, f->bytes[0] & INWARDS ? MIN(d->track + by, UINT8_MAX) : d->track - MIN(d->track, by));
	end_seek(f, unit, f->bytes[1] & ST0_HEAD);
}

/* After a reset it tells of all four units, then of those whose seek has ended; without a reason it is invalid. */
static void cmd_sense_interrupt(struct floppy *f)
{
	const uint8_t which = f->reset_polls ? f->reset_polls : f->interrupts;
	unsigned unit;
	const struct floppy_drive *d;

	floppy_irq(f, false);
	if (!which) {
		f->bytes[0] = ST0_INVALID;
		floppy_result(f, 1, false);
		return;
	}
	unit = (unsigned)__builtin_ctz(which);
	d = floppy_drive(f, unit);
	f->bytes[0] = f->reset_polls ? (uint8_t)(ST0_POLLED | unit) : f->st0[unit];
	f->bytes[1] = d ? d->track : 0;
	if (f->reset_polls)
		f->reset_polls &= (uint8_t)~(1 << unit);
	else
		f->interrupts &= (uint8_t)~(1 << unit);
	floppy_result(f, 2, false);
}

static void cmd_dump(struct floppy *f)
{
	for (unsigned i = 0; i < FLOPPY_UNITS; i++) {
		const struct floppy_drive *d = floppy_drive(f, i);

		f->bytes[i] = d ? d->track : 0;
	}
	memcpy(f->bytes + 4, f->specify, 2);
	f->bytes[6] = f->last;
	f->bytes[7] = (uint8_t)((f->locked ? LOCK_BIT : 0) | (f->perpendicular & 0x3f));
	f->bytes[8] = f->config;
	f->bytes[9] = f->precompensation;
	floppy_result(f, 10, false);
}

static void cmd_version(struct floppy *f)
{
	f->bytes[0] = VERSION_82077;
	floppy_result(f, 1, false);
}

static void cmd_perpendicular(struct floppy *f)
{
	enum { OVERWRITE = 0x80 };

	/* Without OW only the two low bits change (5.2.4). */
	f->perpendicular = f->bytes[1] & OVERWRITE ? f->bytes[1] & 0x3f : (f->perpendicular & 0x3c) | (f->bytes[1] & 3);
	floppy_idle(f);
}

static void cmd_configure(struct floppy *f)
{
	f->config = f->bytes[2];
	f->precompensation = f->bytes[3];
	floppy_idle(f);
}

static void cmd_lock(struct floppy *f)
{
	f->locked = f->bytes[0] & LOCK_BIT;
	f->bytes[0] = f->locked ? LOCK_RESULT : 0;
	floppy_result(f, 1, false);
}

static void cmd_invalid(struct floppy *f)
{
	f->bytes[0] = ST0_INVALID;
	floppy_result(f, 1, false);
}

/* -- With data ------------------------------------------------------------------------------------------------- */

/* READ ID: the first sector that comes by. */
static void cmd_read_id(struct floppy *f)
{
	const struct floppy_drive *d;

	f->unit = UNIT(f->bytes[1]);
	f->head = f->side = HEAD(f->bytes[1]);
	d = floppy_drive(f, f->unit);
	f->cylinder = d ? d->track : 0;
	f->sector = 1;
	f->phase = FLOPPY_EXECUTION;
	if (!d || !d->format || f->rate != d->format->rate || d->track >= d->format->tracks || f->side >= d->format->sides)
		floppy_end(f, ST0_ABNORMAL, ST1_NO_MARK, 0);
	else
		floppy_end(f, 0, 0, 0);
}

/* The seven parameters that reading and writing have. */
static void start(struct floppy *f, enum floppy_job job)
{
	struct floppy_drive *d;

	f->job = (uint8_t)job;
	f->both_sides = f->bytes[0] & MULTI_TRACK;
	f->unit = UNIT(f->bytes[1]);
	f->head = HEAD(f->bytes[1]);
	f->cylinder = f->bytes[2];
	f->side = f->bytes[3] & 1;
	f->sector = f->bytes[4];
	f->last = f->bytes[6];
	f->phase = FLOPPY_EXECUTION;
	d = floppy_drive(f, f->unit);
	if (d && f->config & CONFIG_IMPLIED_SEEK)
		move_to(d, f->cylinder);
	if (f->bytes[5] == FLOPPY_SIZE_CODE)
		floppy_start(f);
	else
		floppy_end(f, ST0_ABNORMAL, ST1_NO_DATA, 0); /* no sector of that size */
}

static void cmd_read(struct floppy *f)
{
	start(f, FLOPPY_JOB_READ);
}

static void cmd_verify(struct floppy *f)
{
	start(f, FLOPPY_JOB_VERIFY);
}

static void cmd_write(struct floppy *f)
{
	start(f, FLOPPY_JOB_WRITE);
}

/* READ TRACK begins with the first sector. */
static void cmd_read_track(struct floppy *f)
{
	f->bytes[0] &= (uint8_t)~MULTI_TRACK;
	f->bytes[4] = 1;
	start(f, FLOPPY_JOB_READ);
}

/* Unit and head, size code, sectors of the track, gap, filler. */
static void cmd_format(struct floppy *f)
{
	const struct floppy_drive *d;

	f->job = FLOPPY_JOB_FORMAT;
	f->both_sides = false;
	f->unit = UNIT(f->bytes[1]);
	f->head = f->side = HEAD(f->bytes[1]);
	d = floppy_drive(f, f->unit);
	f->cylinder = d ? d->track : 0;
	f->sector = 1;
	f->last = f->bytes[3];
	f->phase = FLOPPY_EXECUTION;
	if (f->bytes[2] == FLOPPY_SIZE_CODE)
		floppy_start(f);
	else
		floppy_end(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
}

/* -- The table --------------------------------------------------------------------------------------------------- */

static const struct command {
	uint8_t mask, code; /* of the first byte */
	uint8_t length;     /* with it */
	void (*run)(struct floppy *f);
} commands[] = {
	{ 0x9f, 0x02, 9, cmd_read_track },
	{ 0xff, 0x03, 3, cmd_specify },
	{ 0xff, 0x04, 2, cmd_drive_status },
	{ 0x3f, 0x05, 9, cmd_write },
	{ 0x1f, 0x06, 9, cmd_read },
	{ 0xff, 0x07, 2, cmd_recalibrate },
	{ 0xff, 0x08, 1, cmd_sense_interrupt },
	{ 0x3f, 0x09, 9, cmd_write },        /* deleted data */
	{ 0xbf, 0x0a, 2, cmd_read_id },
	{ 0x1f, 0x0c, 9, cmd_read },         /* deleted data */
	{ 0xbf, 0x0d, 6, cmd_format },
	{ 0xff, 0x0e, 1, cmd_dump },
	{ 0xff, 0x0f, 3, cmd_seek },
	{ 0xbf, 0x8f, 3, cmd_relative_seek },
	{ 0xff, 0x10, 1, cmd_version },
	{ 0xff, 0x12, 2, cmd_perpendicular },
	{ 0xff, 0x13, 4, cmd_configure },
	{ 0x7f, 0x14, 1, cmd_lock },
	{ 0x1f, 0x16, 9, cmd_verify },
	{ 0, 0, 1, cmd_invalid },            /* matches all that is left */
};

static const struct command *find(uint8_t first)
{
	const struct command *c = commands;

	while ((first & c->mask) != c->code)
		c++;
	return c;
}

unsigned floppy_command_length(uint8_t first)
{
	return find(first)->length;
}

/* Whatever ends without a result phase, or with one, says so by floppy_idle() or floppy_result(). */
void floppy_command(struct floppy *f)
{
	find(f->bytes[0])->run(f);
}
