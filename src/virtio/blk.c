/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio block device.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 5.2.
 * Missing: secure erase, zoned devices, lifetime information.
 *
 * Requests go to the disk from the thread that kicks, data straight from and to guest RAM; they come back on the disk's
 * thread, in any order. Chains of requests under way are held by struct io.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "virtio/blk.h"

#define SECTOR 512u

#define F_SEG_MAX      BIT(2)
#define F_GEOMETRY     BIT(4)
#define F_RO           BIT(5)
#define F_BLK_SIZE     BIT(6)
#define F_FLUSH        BIT(9)
#define F_TOPOLOGY     BIT(10)
#define F_CONFIG_WCE   BIT(11)
#define F_MQ           BIT(12)
#define F_DISCARD      BIT(13)
#define F_WRITE_ZEROES BIT(14)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

/* struct virtio_blk_config */
enum {
	CFG_CAPACITY = 0, CFG_SEG_MAX = 12, CFG_CYLINDERS = 16, CFG_HEADS = 18, CFG_SECTORS = 19, CFG_BLK_SIZE = 20,
	CFG_PHYSICAL_EXP = 24, CFG_MIN_IO = 26, CFG_OPT_IO = 28, CFG_WRITEBACK = 32, CFG_NUM_QUEUES = 34,
	CFG_DISCARD_SECTORS = 36, CFG_DISCARD_SEGS = 40, CFG_DISCARD_ALIGN = 44, CFG_ZEROES_SECTORS = 48,
	CFG_ZEROES_SEGS = 52, CFG_ZEROES_UNMAP = 56, CFG_SIZE = 60,
};

/* Request header: type, reserved, sector; then a range of a discard: sector, count, flags. */
enum { HDR_TYPE = 0, HDR_SECTOR = 8, HDR_SIZE = 16 };
enum { RANGE_SECTOR = 0, RANGE_COUNT = 8, RANGE_FLAGS = 12, RANGE_SIZE = 16 };
#define RANGE_UNMAP 1u

#define MAX_SEGMENTS       254        /* buffers of one request: the default ring without its header and status */
#define MAX_RANGES         32         /* of one discard or write-zeroes */
#define MAX_RANGE_SECTORS  (1u << 22) /* 2 GiB: so that one request does not keep the disk for long */
#define CHS_HEADS   16
#define CHS_SECTORS 63

struct virtio_blk {
	struct virtio_device vd;
	struct blk *blk;
	char serial[VIRTIO_BLK_SERIAL];
	_Atomic uint8_t writeback;
};

/* A request under way. Discards are carried out a range after the other. */
struct io {
	struct blk_request rq;
	struct virtio_blk *b;
	struct vq_chain *chain;
	uint8_t *status;
	unsigned n_ranges, next;
	uint8_t ranges[]; /* n_ranges of RANGE_SIZE */
};

/* -- The end of a request ------------------------------------------------------------------------------- */

/* The status byte is the last that the device may write; all before it counts as written. */
static void finish_locked(struct vq_chain *c, uint8_t *at, uint8_t status)
{
	*at = status;
	vq_push(c, c->in_len);
}

static bool submit_range(struct io *io);

static void on_done(struct blk_request *rq, int rc)
{
	struct io *io = rq->opaque;
	struct virtqueue *vq = io->chain->vq;

	if (!rc && io->next < io->n_ranges) {
		if (submit_range(io))
			return;
		rc = -EINVAL;
	}
	lock_take(&vq->lock);
	finish_locked(io->chain, io->status, rc ? S_IOERR : S_OK);
	lock_drop(&vq->lock);
	free(io);
}

/* -- Requests ---------------------------------------------------------------------------------------------- */

static struct io *io_new(struct virtio_blk *b, struct vq_chain *c, size_t ranges)
{
	struct io *io = calloc(1, sizeof(*io) + ranges * RANGE_SIZE);

	if (!io)
		return NULL;
	io->b = b;
	io->chain = c;
	io->status = sg_last_byte(c->in, c->n_in);
	io->n_ranges = (unsigned)ranges;
	io->rq.done = on_done;
	io->rq.opaque = io;
	return io;
}

static bool in_disk(const struct blk_info *info, uint64_t sector, uint64_t len)
{
	uint64_t off;

	if (__builtin_mul_overflow(sector, SECTOR, &off) || off % info->block_size || len % info->block_size)
		return false;
	return off <= info->size && len <= info->size - off;
}

/* Reads and writes: false when the guest is to get an error. */
static bool start_rw(struct virtio_blk *b, struct vq_chain *c, bool write, uint64_t sector)
{
	uint64_t len = write ? c->out_len - HDR_SIZE : c->in_len - 1;
	struct blk_info info;
	struct io *io;

	blk_info(b->blk, &info);
	if (!in_disk(&info, sector, len) || (write && info.readonly))
		return false;
	io = io_new(b, c, 0);
	if (!io)
		return false;
	io->rq.op = write ? BLK_WRITE : BLK_READ;
	io->rq.fua = write && !b->writeback;
	io->rq.offset = sector * SECTOR;
	io->rq.len = len;
	if (write) {
		sg_skip(&c->out, &c->n_out, HDR_SIZE);
		io->rq.iov = c->out;
		io->rq.n_iov = c->n_out;
	} else {
		io->rq.iov = c->in;
		io->rq.n_iov = sg_without_last_byte(c->in, c->n_in);
	}
	blk_submit(b->blk, &io->rq);
	return true;
}

static bool start_flush(struct virtio_blk *b, struct vq_chain *c)
{
	struct io *io = io_new(b, c, 0);

	if (!io)
		return false;
	io->rq.op = BLK_FLUSH;
	blk_submit(b->blk, &io->rq);
	return true;
}

/* The next range of a discard or write-zeroes; false when it is none of this disk. */
static bool submit_range(struct io *io)
{
	const uint8_t *r = io->ranges + (size_t)io->next++ * RANGE_SIZE;
	uint64_t sector = get_le64(r + RANGE_SECTOR), count = get_le32(r + RANGE_COUNT);
	uint32_t flags = get_le32(r + RANGE_FLAGS);
	bool zero = io->rq.op == BLK_WRITE_ZEROES;
	struct blk_info info;

	blk_info(io->b->blk, &info);
	if (count > MAX_RANGE_SECTORS || !in_disk(&info, sector, count * SECTOR) || info.readonly)
		return false;
	/* 5.2.6.2: a discard has no flags, a write-zeroes only this one. */
	if (flags & ~(zero ? RANGE_UNMAP : 0))
		return false;
	io->rq.offset = sector * SECTOR;
	io->rq.len = count * SECTOR;
	io->rq.unmap = flags & RANGE_UNMAP;
	io->rq.fua = zero && !io->b->writeback;
	blk_submit(io->b->blk, &io->rq);
	return true;
}

static bool start_ranges(struct virtio_blk *b, struct vq_chain *c, enum blk_op op)
{
	uint64_t len = c->out_len - HDR_SIZE;
	struct io *io;

	if (!len || len % RANGE_SIZE || len > MAX_RANGES * RANGE_SIZE)
		return false;
	io = io_new(b, c, len / RANGE_SIZE);
	if (!io)
		return false;
	io->rq.op = op;
	sg_read(c->out, c->n_out, HDR_SIZE, io->ranges, len);
	if (submit_range(io))
		return true;
	free(io);
	return false;
}

static void get_id(struct virtio_blk *b, struct vq_chain *c, uint8_t *status)
{
	sg_write(c->in, c->n_in, 0, b->serial, MIN(sizeof(b->serial), c->in_len - 1));
	finish_locked(c, status, S_OK);
}

static void handle(struct virtio_blk *b, struct vq_chain *c)
{
	uint8_t hdr[HDR_SIZE], *status;
	bool started = false;

	if (c->out_len < HDR_SIZE || !c->in_len) {
		virtio_break(&b->vd, "a block request without header or status");
		vq_drop(c);
		return;
	}
	status = sg_last_byte(c->in, c->n_in);
	sg_read(c->out, c->n_out, 0, hdr, sizeof(hdr));
	switch (get_le32(hdr + HDR_TYPE)) {
	case T_IN:
		started = start_rw(b, c, false, get_le64(hdr + HDR_SECTOR));
		break;
	case T_OUT:
		started = start_rw(b, c, true, get_le64(hdr + HDR_SECTOR));
		break;
	case T_FLUSH:
		started = start_flush(b, c);
		break;
	case T_DISCARD:
		started = start_ranges(b, c, BLK_DISCARD);
		break;
	case T_WRITE_ZEROES:
		started = start_ranges(b, c, BLK_WRITE_ZEROES);
		break;
	case T_GET_ID:
		get_id(b, c, status);
		return;
	default:
		finish_locked(c, status, S_UNSUPP);
		return;
	}
	if (!started)
		finish_locked(c, status, S_IOERR);
}

static bool blk_process(struct virtio_device *vd, struct virtqueue *vq)
{
	for (unsigned left = vq->size; left; left--) {
		struct vq_chain *c = vq_pop(vq);

		if (!c)
			return false;
		handle((struct virtio_blk *)vd, c);
	}
	return true;
}

/* -- Configuration ---------------------------------------------------------------------------------------- */

static void blk_config_read(struct virtio_device *vd, uint8_t *buf)
{
	struct virtio_blk *b = (struct virtio_blk *)vd;
	struct blk_info info;
	uint64_t cylinders;

	blk_info(b->blk, &info);
	cylinders = info.size / SECTOR / CHS_HEADS / CHS_SECTORS;
	put_le64(buf + CFG_CAPACITY, info.size / SECTOR);
	put_le32(buf + CFG_SEG_MAX, MAX_SEGMENTS);
	put_le16(buf + CFG_CYLINDERS, (uint16_t)MIN(cylinders, UINT16_MAX));
	buf[CFG_HEADS] = CHS_HEADS;
	buf[CFG_SECTORS] = CHS_SECTORS;
	put_le32(buf + CFG_BLK_SIZE, info.block_size);
	buf[CFG_PHYSICAL_EXP] = (uint8_t)__builtin_ctz(MAX(info.physical_size / info.block_size, 1u));
	put_le16(buf + CFG_MIN_IO, (uint16_t)MAX(info.physical_size / info.block_size, 1u));
	buf[CFG_WRITEBACK] = b->writeback;
	put_le16(buf + CFG_NUM_QUEUES, (uint16_t)vd->n_queues);
	put_le32(buf + CFG_DISCARD_SECTORS, MAX_RANGE_SECTORS);
	put_le32(buf + CFG_DISCARD_SEGS, MAX_RANGES);
	put_le32(buf + CFG_DISCARD_ALIGN, MAX(info.discard_align, info.block_size) / SECTOR);
	put_le32(buf + CFG_ZEROES_SECTORS, MAX_RANGE_SECTORS);
	put_le32(buf + CFG_ZEROES_SEGS, MAX_RANGES);
	buf[CFG_ZEROES_UNMAP] = 1;
}

static void blk_config_write(struct virtio_device *vd, unsigned off, unsigned size, uint64_t val)
{
	struct virtio_blk *b = (struct virtio_blk *)vd;

	if (off == CFG_WRITEBACK && size == 1 && virtio_has(vd, F_CONFIG_WCE))
		b->writeback = val & 1;
}

/* A driver that can't flush gets a disk that needs no flushing (5.2.6.2). */
static void blk_ready(struct virtio_device *vd)
{
	struct virtio_blk *b = (struct virtio_blk *)vd;

	if (!virtio_has(vd, F_FLUSH) && !virtio_has(vd, F_CONFIG_WCE))
		b->writeback = 0;
}

static void blk_reset(struct virtio_device *vd)
{
	((struct virtio_blk *)vd)->writeback = 1;
}

static void blk_type_drain(struct virtio_device *vd)
{
	blk_drain(((struct virtio_blk *)vd)->blk);
}

static int blk_post_load(struct virtio_device *vd)
{
	return ((struct virtio_blk *)vd)->writeback > 1 ? -EINVAL : 0;
}

static void on_resized(void *opaque)
{
	virtio_config_changed(opaque);
}

static const struct blk_events blk_event_ops = { .resized = on_resized };

static void blk_free(struct virtio_device *vd)
{
	struct virtio_blk *b = (struct virtio_blk *)vd;

	blk_drain(b->blk);
	blk_set_events(b->blk, NULL, NULL);
}

static const struct state_field blk_state[] = {
	VIRTIO_STATE(struct virtio_blk),
	STATE_U8(struct virtio_blk, writeback),
	STATE_END(),
};

static const struct device_ops blk_dev_ops = {
	.name = "virtio-blk",
	.reset = virtio_dev_reset,
	.post_load = virtio_dev_post_load,
	.quiesce = virtio_dev_quiesce,
	.free = virtio_dev_free,
	.print_stats = virtio_dev_print_stats,
	.state = blk_state,
	.state_version = 1,
};

static const struct virtio_ops blk_ops = {
	.process = blk_process,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.ready = blk_ready,
	.reset = blk_reset,
	.drain = blk_type_drain,
	.post_load = blk_post_load,
	.free = blk_free,
};

struct virtio_device *virtio_blk_new(const struct virtio_blk_config *c)
{
	uint64_t features = F_SEG_MAX | F_GEOMETRY | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | F_CONFIG_WCE;
	struct virtio_params p = {
		.id = VIRTIO_ID_BLOCK, .dev_ops = &blk_dev_ops, .ops = &blk_ops, .mem = c->mem, .n_queues = c->queues,
		.queue_size = c->queue_size, .config_size = CFG_SIZE,
	};
	struct virtio_blk *b = calloc(1, sizeof(*b));
	struct blk_info info;

	BUG_ON(!b);
	blk_info(c->blk, &info);
	if (info.readonly)
		features |= F_RO;
	else
		features |= F_WRITE_ZEROES | (info.discard ? F_DISCARD : 0);
	if (c->queues > 1)
		features |= F_MQ;
	p.features = features | c->features;
	b->blk = c->blk;
	b->writeback = 1;
	if (c->serial)
		memcpy(b->serial, c->serial, strnlen(c->serial, sizeof(b->serial)));
	virtio_init(&b->vd, &p);
	blk_set_events(c->blk, &blk_event_ops, b);
	return &b->vd;
}
