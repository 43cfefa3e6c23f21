/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transfers of an IDE channel: what goes through the data register, and requests on the medium.
 *
 * A request runs on the disk's thread while the guest's CPUs go on; the drive is busy until it is done. In PIO the channel's
 * buffer is filled ahead and emptied behind, so that few requests are made; the guest sees the blocks that the
 * specification wants. A command has ended only when all its bytes have been taken by the block layer.
 */
#include <string.h>

#include "dev/storage/ide_impl.h"

/* -- Requests on the medium ------------------------------------------------------------------------------- */

static void present(struct ide_channel *ch, bool interrupt);
static void next_buffer(struct ide_channel *ch);

static void pio_done(struct ide_channel *ch)
{
	const uint32_t len = ch->io_len;

	ch->pos += len;
	ch->left -= len;
	ch->pio_bytes += len;
	if (ch->job == IDE_JOB_READ) {
		ch->at = 0;
		ch->end = len;
		present(ch, true);
	} else if (ch->left) {
		next_buffer(ch);
		present(ch, true);
	} else {
		ide_finish(ch);
	}
}

/* An error of the host's is one of the medium's. */
static void io_failed(struct ide_channel *ch)
{
	static const struct ide_sense unreadable = { 0x03, 0x11, 0x00 };

	if (ch->packet)
		ide_packet_fail(ch, unreadable);
	else
		ide_fail(ch, ch->job == IDE_JOB_READ ? ATA_UNC : ATA_ABRT);
}

static void io_done(struct blk_request *rq, int rc)
{
	struct ide_channel *ch = rq->opaque;

	lock_take(&ch->lock);
	ch->io_flying = false;
	if (rq->op == BLK_READ) /* also what nobody waits for any more is in RAM now */
		for (unsigned i = 0; i < ch->n_pieces; i++)
			space_dma_wrote(ch->ide->mem, ch->piece[i].gpa, ch->piece[i].len);
	if (ch->reset_waits) {
		ch->reset_waits = false;
		ide_reset_drives(ch);
	} else if (ch->io_wanted) {
		ch->io_wanted = false;
		if (rc)
			io_failed(ch);
		else if (ch->job == IDE_JOB_FLUSH)
			ide_finish(ch);
		else if (ch->dma)
			ide_dma_done(ch);
		else
			pio_done(ch);
	}
	lock_drop(&ch->lock);
}

void ide_io(struct ide_channel *ch, enum blk_op op, uint32_t len)
{
	struct blk *blk = ide_active(ch)->blk;

	ch->phase = ch->dma ? IDE_DMA : IDE_BUSY;
	ch->io_wanted = true;
	ch->io_len = len;
	if (ch->quiesced)
		return;
	if (!blk) {
		ch->io_wanted = false;
		io_failed(ch);
		return;
	}
	ch->rq = (struct blk_request){
		.op = op, .fua = ch->fua && op == BLK_WRITE, .offset = op == BLK_FLUSH ? 0 : ch->pos, .len = len, .iov = ch->iov,
		.n_iov = op == BLK_FLUSH ? 0 : ch->rq.n_iov, .done = io_done, .opaque = ch,
	};
	ch->io_flying = true;
	blk_submit(blk, &ch->rq);
}

static void pio_io(struct ide_channel *ch, uint32_t len)
{
	ch->iov[0] = (struct iovec){ ch->buf, len };
	ch->rq.n_iov = 1;
	ch->n_pieces = 0;
	ide_active(ch)->status = ATA_BSY;
	ide_io(ch, ch->job == IDE_JOB_READ ? BLK_READ : BLK_WRITE, len);
}

void ide_io_again(struct ide_channel *ch)
{
	if (!ch->io_wanted || ch->io_flying)
		return;
	if (ch->job == IDE_JOB_FLUSH)
		ide_io(ch, BLK_FLUSH, 0);
	else if (ch->dma)
		ide_dma_run(ch);
	else
		pio_io(ch, ch->io_len);
}

/* -- Blocks through the data register ------------------------------------------------------------------------ */

/* What a packet command's drive says of a block: its length, and which way it goes. */
static void describe_block(struct ide_channel *ch, struct ide_drive *d)
{
	if (!ch->packet)
		return;
	if (ch->job == IDE_JOB_PACKET) {
		d->nsector = ATAPI_COD;
		return;
	}
	d->lba[1] = (uint8_t)ch->drq;
	d->lba[2] = (uint8_t)(ch->drq >> 8);
	d->nsector = ch->phase == IDE_IN ? ATAPI_IO : 0;
}

/* The next block of the buffer. */
static void present(struct ide_channel *ch, bool interrupt)
{
	struct ide_drive *d = ide_active(ch);

	ch->phase = ch->job == IDE_JOB_READ || ch->job == IDE_JOB_DATA_IN ? IDE_IN : IDE_OUT;
	ch->drq = MIN(ch->block, ch->end - ch->at);
	describe_block(ch, d);
	d->status = ATA_READY | ATA_DRQ;
	if (interrupt)
		ide_irq(ch, true);
}

/* The next bytes of a transfer to or from the medium will be in the buffer. */
static void next_buffer(struct ide_channel *ch)
{
	ch->at = 0;
	ch->end = (uint32_t)MIN(ch->left, IDE_BUFFER);
}

/* The guest has had all. Only a packet command says so with one more interrupt (9.5, 9.8). */
static void all_read(struct ide_channel *ch)
{
	if (ch->packet)
		ide_finish(ch);
	else
		ide_end(ch, ATA_READY, 0, false);
}

/* The guest has read, or written, all of a block. */
static void block_done(struct ide_channel *ch)
{
	if (ch->at < ch->end) {
		present(ch, true);
		return;
	}
	switch (ch->job) {
	case IDE_JOB_READ:
		if (ch->left) {
			next_buffer(ch);
			pio_io(ch, ch->end);
		} else {
			all_read(ch);
		}
		break;
	case IDE_JOB_DATA_IN:
		all_read(ch);
		break;
	case IDE_JOB_WRITE:
		pio_io(ch, ch->end);
		break;
	case IDE_JOB_PACKET:
		ide_packet(ch);
		break;
	default:
		ide_finish(ch);
	}
}

uint32_t ide_data_read(struct ide_channel *ch, unsigned size)
{
	uint32_t val = 0, n;

	if (ch->phase != IDE_IN || ch->unit != ch->active)
		return 0;
	n = MIN(size, ch->drq);
	memcpy(&val, ch->buf + ch->at, n);
	ch->at += n;
	ch->drq -= n;
	if (!ch->drq)
		block_done(ch);
	return val;
}

void ide_data_write(struct ide_channel *ch, unsigned size, uint32_t val)
{
	uint32_t n;

	if (ch->phase != IDE_OUT || ch->unit != ch->active)
		return;
	n = MIN(size, ch->drq);
	memcpy(ch->buf + ch->at, &val, n);
	ch->at += n;
	ch->drq -= n;
	if (!ch->drq)
		block_done(ch);
}

/* -- Starts ---------------------------------------------------------------------------------------------------- */

static void begin(struct ide_channel *ch, enum ide_job job, uint64_t left, uint32_t block)
{
	ch->job = job;
	ch->left = left;
	ch->block = block;
	ch->at = ch->end = ch->drq = 0;
}

/* The drive is ready for DMA, which begins when the bus master is too. */
static void begin_dma(struct ide_channel *ch)
{
	ch->phase = IDE_DMA;
	ide_active(ch)->status = ATA_READY | ATA_DRQ;
	ide_dma_run(ch);
}

void ide_start_medium(struct ide_channel *ch, bool write, uint64_t pos, uint64_t len, uint32_t block)
{
	begin(ch, write ? IDE_JOB_WRITE : IDE_JOB_READ, len, block);
	ch->pos = pos;
	if (ch->dma) {
		begin_dma(ch);
		return;
	}
	next_buffer(ch);
	if (write)
		present(ch, false);
	else
		pio_io(ch, ch->end);
}

void ide_start_data_in(struct ide_channel *ch, uint32_t len, uint32_t block)
{
	begin(ch, IDE_JOB_DATA_IN, len, block);
	ch->end = len;
	if (ch->dma)
		begin_dma(ch);
	else
		present(ch, true);
}

void ide_start_data_out(struct ide_channel *ch, enum ide_job job, uint32_t len, uint32_t block)
{
	begin(ch, job, 0, block);
	ch->end = len;
	present(ch, job == IDE_JOB_DISCARD_DATA);
}

void ide_start_flush(struct ide_channel *ch)
{
	begin(ch, IDE_JOB_FLUSH, 0, 0);
	ch->dma = false;
	ide_active(ch)->status = ATA_BSY;
	ide_io(ch, BLK_FLUSH, 0);
}
