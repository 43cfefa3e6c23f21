/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The execution phase of the floppy controller: reading, writing, verifying and formatting.
 *
 * A step of it takes the sectors up to the last one that the command names, of one or both sides, and no more than the DMA
 * controller has room for. They go between medium and buffer on the disk's thread, and between buffer and host by DMA or by
 * way of the FIFO. The end of the sectors without a terminal count is an error, as on the chip.
 */
#include <string.h>

#include "dev/storage/floppy_impl.h"

#define ID_SIZE 4u /* of a sector, for FORMAT TRACK */

static struct floppy_drive *drive(struct floppy *f)
{
	return &f->d[f->unit];
}

/* -- The end ------------------------------------------------------------------------------------------------ */

void floppy_end(struct floppy *f, uint8_t st0, uint8_t st1, uint8_t st2)
{
	f->bytes[0] = (uint8_t)(st0 | (f->side ? ST0_HEAD : 0) | f->unit);
	f->bytes[1] = st1;
	f->bytes[2] = st2;
	f->bytes[3] = f->cylinder;
	f->bytes[4] = f->side;
	f->bytes[5] = f->sector;
	f->bytes[6] = FLOPPY_SIZE_CODE;
	floppy_result(f, 7, true);
}

/* The address that the result shows: the sector behind those that are done (table 6-6). */
static void step_over(struct floppy *f, uint32_t sectors)
{
	for (; sectors; sectors--) {
		if (f->sector < f->last) {
			f->sector++;
			continue;
		}
		f->sector = 1;
		if (f->both_sides)
			f->side ^= 1;
		if (!f->both_sides || !f->side)
			f->cylinder++;
	}
}

/* -- The medium ------------------------------------------------------------------------------------------------ */

static uint64_t offset_of(const struct floppy_drive *d, unsigned track, unsigned side, unsigned sector)
{
	return (((uint64_t)track * d->format->sides + side) * d->format->spt + sector - 1) * FLOPPY_SECTOR;
}

/* Sectors from the present one to the last, on this side and, as MT says, on the second one. */
static uint32_t sectors_left(const struct floppy *f)
{
	uint32_t n = f->last >= f->sector ? f->last - f->sector + 1u : 1;

	return n + (f->both_sides && !f->side ? f->last : 0);
}

/* Sectors that the host wants: as far as its DMA controller says so. */
static uint32_t sectors_wanted(const struct floppy *f)
{
	const size_t left = i8237_left(f->cfg.dma, f->cfg.dma_channel);

	if (!floppy_uses_dma(f) || f->job == FLOPPY_JOB_VERIFY || !left)
		return UINT32_MAX;
	return (uint32_t)((left + FLOPPY_SECTOR - 1) / FLOPPY_SECTOR);
}

static void transferred(struct floppy *f);
static void to_host(struct floppy *f);

static void medium_done(struct floppy *f, int rc)
{
	if (rc) {
		floppy_end(f, ST0_ABNORMAL, ST1_CRC, ST2_CRC);
		return;
	}
	switch (f->job) {
	case FLOPPY_JOB_READ:
		f->bytes_read += (uint64_t)f->sectors * FLOPPY_SECTOR;
		to_host(f);
		break;
	case FLOPPY_JOB_FORMAT:
		floppy_end(f, 0, 0, 0);
		break;
	default:
		f->bytes_written += (uint64_t)f->sectors * FLOPPY_SECTOR;
		transferred(f);
	}
}

static void io_done(struct blk_request *rq, int rc)
{
	struct floppy *f = rq->opaque;

	lock_take(&f->lock);
	f->io_flying = false;
	if (f->reset_waits) {
		f->reset_waits = false;
		floppy_reset_chip(f, f->dor & DOR_NOT_RESET);
	} else if (f->step == FLOPPY_STEP_MEDIUM && f->dor & DOR_NOT_RESET) {
		f->step = FLOPPY_STEP_NONE;
		medium_done(f, rc);
	}
	lock_drop(&f->lock);
}

/* What an image lacks of a disk's size reads as zero, and can't be written. */
static bool clip(struct floppy *f, const struct floppy_drive *d, uint64_t offset, uint64_t *len)
{
	struct blk_info info;

	blk_info(d->blk, &info);
	*len = (uint64_t)f->sectors * FLOPPY_SECTOR;
	if (offset <= info.size && *len <= info.size - offset)
		return true;
	if (f->job != FLOPPY_JOB_READ)
		return false;
	memset(f->buf, 0, *len);
	*len = offset < info.size ? info.size - offset : 0;
	return true;
}

void floppy_io_again(struct floppy *f)
{
	struct floppy_drive *d = floppy_drive(f, f->unit);
	uint64_t offset, len;

	if (f->step != FLOPPY_STEP_MEDIUM || f->io_flying || f->quiesced)
		return;
	if (!d || !d->format) {
		floppy_end(f, ST0_ABNORMAL, ST1_NO_MARK, 0); /* it was taken out meanwhile */
		return;
	}
	offset = offset_of(d, f->cylinder, f->side, f->sector);
	if (!clip(f, d, offset, &len)) {
		floppy_end(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
		return;
	}
	f->iov = (struct iovec){ f->buf, len };
	f->rq = (struct blk_request){
		.op = f->job == FLOPPY_JOB_READ ? BLK_READ : BLK_WRITE, .offset = len ? offset : 0, .len = len, .iov = &f->iov, .n_iov = 1,
		.done = io_done, .opaque = f,
	};
	f->io_flying = true;
	blk_submit(d->blk, &f->rq);
}

static void medium(struct floppy *f)
{
	f->step = FLOPPY_STEP_MEDIUM;
	floppy_io_again(f);
}

/* -- The host ---------------------------------------------------------------------------------------------------- */

/* A step's bytes have all gone where they belong. */
static void transferred(struct floppy *f)
{
	step_over(f, f->sectors);
	if (f->count_done)
		floppy_end(f, 0, 0, 0);
	else
		floppy_end(f, ST0_ABNORMAL, ST1_END, 0);
}

/* The buffer is read out, or full, or the host has had enough. */
static void host_done(struct floppy *f)
{
	f->step = FLOPPY_STEP_NONE;
	if (f->job == FLOPPY_JOB_READ) {
		f->sectors = (f->at + FLOPPY_SECTOR - 1) / FLOPPY_SECTOR;
		transferred(f);
		return;
	}
	if (f->job == FLOPPY_JOB_FORMAT) {
		memset(f->buf, f->bytes[5], (size_t)f->sectors * FLOPPY_SECTOR);
		medium(f);
		return;
	}
	f->sectors = (f->at + FLOPPY_SECTOR - 1) / FLOPPY_SECTOR;
	memset(f->buf + f->at, 0, f->sectors * FLOPPY_SECTOR - f->at);
	medium(f);
}

void floppy_go_on(struct floppy *f)
{
	const size_t n = i8237_transfer(f->cfg.dma, f->cfg.dma_channel, f->job == FLOPPY_JOB_READ, f->buf + f->at, f->end - f->at,
					&f->count_done);

	f->at += (uint32_t)n;
	if (f->count_done || f->at == f->end)
		host_done(f);
}

/* Bytes [0, end) of the buffer are the host's turn. */
static void to_host(struct floppy *f)
{
	f->step = FLOPPY_STEP_HOST;
	f->at = 0;
	f->end = f->job == FLOPPY_JOB_FORMAT ? f->last * ID_SIZE : f->sectors * FLOPPY_SECTOR;
	f->count_done = false;
	if (floppy_uses_dma(f))
		floppy_go_on(f);
	else
		floppy_irq(f, true);
}

uint8_t floppy_data_read(struct floppy *f)
{
	uint8_t val;

	if (f->step != FLOPPY_STEP_HOST || floppy_uses_dma(f) || f->job != FLOPPY_JOB_READ)
		return 0;
	floppy_irq(f, false);
	val = f->buf[f->at++];
	if (f->at == f->end)
		host_done(f);
	return val;
}

void floppy_data_write(struct floppy *f, uint8_t val)
{
	if (f->step != FLOPPY_STEP_HOST || floppy_uses_dma(f) || f->job == FLOPPY_JOB_READ)
		return;
	floppy_irq(f, false);
	f->buf[f->at++] = val;
	if (f->at == f->end)
		host_done(f);
}

/* -- The start ------------------------------------------------------------------------------------------------------ */

/* Whether the medium can be read where the head is; else the command has ended. */
static bool find_medium(struct floppy *f)
{
	const struct floppy_drive *d = floppy_drive(f, f->unit);

	if (!d || !d->format || f->rate != d->format->rate || d->track >= d->format->tracks || f->side >= d->format->sides)
		floppy_end(f, ST0_ABNORMAL, ST1_NO_MARK, 0);
	else if (f->cylinder != d->track)
		floppy_end(f, ST0_ABNORMAL, ST1_NO_DATA, ST2_WRONG_CYLINDER);
	else if (!f->sector || f->sector > d->format->spt || f->side != f->head)
		floppy_end(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
	else if (d->readonly && (f->job == FLOPPY_JOB_WRITE || f->job == FLOPPY_JOB_FORMAT))
		floppy_end(f, ST0_ABNORMAL, ST1_PROTECTED, 0);
	else
		return true;
	return false;
}

/* A command whose last sector is not on the track finds it when it comes there: what is before it is moved. */
static uint32_t sectors_there(const struct floppy *f, const struct floppy_drive *d)
{
	const uint32_t spt = d->format->spt;

	if (f->last > spt)
		return spt - f->sector + 1;
	if (f->both_sides && !f->side && d->format->sides < 2)
		return f->last >= f->sector ? f->last - f->sector + 1u : 1;
	return sectors_left(f);
}

void floppy_start(struct floppy *f)
{
	f->sectors = 0;
	f->count_done = false;
	if (!find_medium(f))
		return;
	if (f->job == FLOPPY_JOB_FORMAT && (!f->last || f->last > drive(f)->format->spt)) {
		floppy_end(f, ST0_ABNORMAL, ST1_NO_DATA, 0);
		return;
	}
	f->sectors = MIN(sectors_there(f, drive(f)), sectors_wanted(f));
	switch (f->job) {
	case FLOPPY_JOB_READ:
		medium(f);
		break;
	case FLOPPY_JOB_VERIFY:
		f->count_done = true; /* it ends with its last sector, without one */
		transferred(f);
		break;
	case FLOPPY_JOB_FORMAT:
		f->sectors = f->last;
		to_host(f);
		break;
	default:
		to_host(f);
	}
}
