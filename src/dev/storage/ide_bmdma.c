/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bus master of an IDE channel: moves the bytes of a DMA command between the medium and guest RAM, without a copy.
 *
 * Specification: Intel 82371FB/82371SB (PIIX, PIIX3) data sheet (290550), 2.7; Programming Interface for Bus Master IDE
 * Controller 1.0.
 * Ignored: the direction bit (the command has one), the rule that a table does not cross 64 KiB.
 */
#include <errno.h>

#include "dev/storage/ide_impl.h"

enum { ENTRY_SIZE = 8, ENTRY_ADDR = 0, ENTRY_COUNT = 4 };
#define ENTRY_LAST   0x80000000u
#define ENTRY_EVEN   0xfffffffeu
#define COUNT_MASK   0xfffeu
#define COUNT_MAX    0x10000u
#define TABLE_MASK   0xfffffffcu

/* -- Memory areas ------------------------------------------------------------------------------------------- */

/* Step to the next area; false: there is none, or the table is in no RAM. */
static bool next_area(struct ide_channel *ch, struct ide_cursor *c)
{
	uint8_t entry[ENTRY_SIZE];
	uint32_t count;

	if (c->last || space_dma_read(ch->ide->mem, c->next, entry, sizeof(entry)))
		return false;
	count = get_le32(entry + ENTRY_COUNT);
	c->addr = get_le32(entry + ENTRY_ADDR) & ENTRY_EVEN;
	c->left = count & COUNT_MASK ? count & COUNT_MASK : COUNT_MAX;
	c->last = count & ENTRY_LAST;
	c->next += ENTRY_SIZE;
	return true;
}

/*
 * Put at most `limit` bytes from the cursor on into ch->iov and ch->piece; fewer where the table ends or there are too
 * many pieces. False: part of it is no RAM that may be used so.
 */
static bool gather(struct ide_channel *ch, struct ide_cursor *c, uint32_t limit, bool write, uint32_t *got)
{
	ch->n_pieces = ch->rq.n_iov = 0;
	for (*got = 0; *got < limit;) {
		uint32_t n;
		int rc;

		if (!c->left && !next_area(ch, c))
			return true;
		n = MIN(c->left, limit - *got);
		if (ch->n_pieces == IDE_MAX_PIECES)
			return true;
		rc = space_dma_map(ch->ide->mem, c->addr, n, write, ch->iov + ch->rq.n_iov, IDE_MAX_PIECES - ch->rq.n_iov);
		if (rc == -E2BIG)
			return true;
		if (rc < 0)
			return false;
		ch->rq.n_iov += (unsigned)rc;
		ch->piece[ch->n_pieces++] = (struct ide_piece){ c->addr, n };
		c->addr += n;
		c->left -= n;
		*got += n;
	}
	return true;
}

/* Whole sectors only: what is gathered beyond the last of them is left for later. */
static bool gather_sectors(struct ide_channel *ch, uint32_t limit, bool write, uint32_t *got)
{
	ch->cursor_after = ch->cursor;
	if (!gather(ch, &ch->cursor_after, limit, write, got))
		return false;
	if (!(*got % ATA_SECTOR))
		return true;
	limit = ALIGN_DOWN(*got, ATA_SECTOR);
	ch->cursor_after = ch->cursor;
	return gather(ch, &ch->cursor_after, limit, write, got);
}

static void rewind_table(struct ide_channel *ch)
{
	ch->cursor = (struct ide_cursor){ .next = ch->bm_table };
}

/* -- The ends of a transfer ------------------------------------------------------------------------------------ */

/* The drive has had, or given, all; the bus master is done too if its table says so. */
static void finish(struct ide_channel *ch)
{
	if (!ch->cursor.left && ch->cursor.last)
		ch->bm_status &= (uint8_t)~BM_ACTIVE;
	ide_finish(ch);
}

/* The table is shorter than the transfer: no interrupt, which is how a driver knows (1.0, 3.1). */
static void too_short(struct ide_channel *ch)
{
	guest_log("ide%u: the bus master's table is shorter than the transfer", ch->n);
	ch->bm_status &= (uint8_t)~BM_ACTIVE;
	ch->phase = IDE_IDLE;
	ch->job = IDE_JOB_NONE;
	ch->io_wanted = false;
	ide_active(ch)->status = ATA_READY;
}

/* The table names what is no RAM. */
static void fault(struct ide_channel *ch)
{
	static const struct ide_sense aborted = { 0x0b, 0x00, 0x00 };

	guest_log("ide%u: DMA to or from an address without memory", ch->n);
	ch->io_wanted = false;
	ch->bm_status = (uint8_t)((ch->bm_status & ~BM_ACTIVE) | BM_ERROR);
	if (ch->packet)
		ide_packet_fail(ch, aborted);
	else
		ide_fail(ch, ATA_ABRT);
}

/* -- Steps --------------------------------------------------------------------------------------------------------- */

/* A reply that stands in the buffer. */
static void copy_reply(struct ide_channel *ch)
{
	struct ide_cursor c = ch->cursor;
	uint32_t got = 0, at = 0;

	if (!gather(ch, &c, ch->end, true, &got)) {
		fault(ch);
		return;
	}
	for (unsigned i = 0; i < ch->n_pieces; i++) {
		if (space_dma_write(ch->ide->mem, ch->piece[i].gpa, ch->buf + at, ch->piece[i].len)) {
			fault(ch);
			return;
		}
		at += (uint32_t)ch->piece[i].len;
	}
	ch->cursor = c;
	ch->dma_bytes += got;
	if (got < ch->end)
		too_short(ch);
	else
		finish(ch);
}

void ide_dma_run(struct ide_channel *ch)
{
	const bool write = ch->job == IDE_JOB_READ; /* into RAM */
	uint32_t got;

	if (ch->phase != IDE_DMA || ch->io_flying || !(ch->bm_status & BM_ACTIVE) || !ch->bm_master)
		return;
	if (ch->job == IDE_JOB_DATA_IN)
		copy_reply(ch);
	else if (!gather_sectors(ch, (uint32_t)MIN(ch->left, IDE_DMA_CHUNK), write, &got))
		fault(ch);
	else if (!got)
		too_short(ch);
	else
		ide_io(ch, write ? BLK_READ : BLK_WRITE, got);
}

void ide_dma_done(struct ide_channel *ch)
{
	ch->cursor = ch->cursor_after;
	ch->pos += ch->io_len;
	ch->left -= ch->io_len;
	ch->dma_bytes += ch->io_len;
	if (ch->left)
		ide_dma_run(ch);
	else
		finish(ch);
}

/* -- Registers -------------------------------------------------------------------------------------------------------- */

static struct ide_channel *channel_at(void *opaque, uint64_t off)
{
	struct ide *i = opaque;

	return &i->ch[off / BM_PORTS % IDE_CHANNELS];
}

static uint64_t bm_read(void *opaque, uint64_t off, unsigned size)
{
	struct ide_channel *ch = channel_at(opaque, off);
	uint8_t val;

	lock_take(&ch->lock);
	switch (off % BM_PORTS) {
	case BM_COMMAND:
		val = ch->bm_command;
		break;
	case BM_STATUS:
		val = ch->bm_status;
		break;
	default:
		val = off % BM_PORTS < BM_TABLE ? UINT8_MAX : (uint8_t)(ch->bm_table >> 8 * (off % 4));
	}
	lock_drop(&ch->lock);
	return val;
}

/* A stop ends the transfer: the drive waits until it is reset or started anew, with the table from its beginning. */
static void write_bm_command(struct ide_channel *ch, uint8_t val)
{
	const bool was = ch->bm_command & BM_START;

	ch->bm_command = val & (BM_START | BM_TO_MEMORY);
	if (val & BM_START && !was) {
		ch->bm_status |= BM_ACTIVE;
		if (!ch->io_flying)
			rewind_table(ch);
		ide_dma_run(ch);
	} else if (!(val & BM_START)) {
		ch->bm_status &= (uint8_t)~BM_ACTIVE;
	}
}

static void bm_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct ide_channel *ch = channel_at(opaque, off);
	const unsigned reg = off % BM_PORTS, shift = 8 * (off % 4);

	lock_take(&ch->lock);
	if (reg == BM_COMMAND) {
		write_bm_command(ch, (uint8_t)val);
	} else if (reg == BM_STATUS) {
		ch->bm_status &= (uint8_t)~(val & (BM_ERROR | BM_INTERRUPT));
		ch->bm_status = (uint8_t)((ch->bm_status & ~BM_CAPABLE) | (val & BM_CAPABLE));
	} else if (reg >= BM_TABLE) {
		ch->bm_table = ((ch->bm_table & ~(0xffu << shift)) | (uint32_t)(uint8_t)val << shift) & TABLE_MASK;
	}
	lock_drop(&ch->lock);
}

const struct io_ops ide_bm_ops = { .read = bm_read, .write = bm_write, .max_size = 1 };
