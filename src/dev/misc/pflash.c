/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parallel flash, 8 bits wide, with the Intel/Sharp extended command set.
 *
 * Specification: Intel 28F640J5/28FxxxJ3 data sheets (commands, status), JEDEC JESD68 and JEP137 (CFI query); block size and the
 * status of an idle chip as QEMU's machines have them, for which OVMF is written: after "clear status" it reads 0.
 * Missing: block lock bits, suspending, the protection register (their commands are accepted and do nothing).
 * Different: an operation is done at once; programming ANDs, as hardware does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "dev/misc/pflash.h"

enum {
	CMD_PROGRAM = 0x10, CMD_ERASE = 0x20, CMD_PROGRAM2 = 0x40, CMD_CLEAR_STATUS = 0x50, CMD_LOCK = 0x60, CMD_READ_STATUS = 0x70,
	CMD_READ_ID = 0x90, CMD_QUERY = 0x98, CMD_CONFIRM = 0xd0, CMD_BUFFER = 0xe8, CMD_READ_ARRAY = 0xff,
};

#define STATUS_READY      0x80
#define STATUS_ERASE_ERR  0x20
#define STATUS_PROG_ERR   0x10
#define STATUS_PROTECTED  0x02
#define STATUS_SEQUENCE   (STATUS_ERASE_ERR | STATUS_PROG_ERR)

#define ID_MANUFACTURER 0x89
#define ID_DEVICE       0x18
#define BUFFER_SIZE     32u  /* of "write to buffer"; a power of two */
#define CFI_SIZE        0x3d

/* Where the chip is in a command. */
enum step { STEP_FIRST, STEP_DATA, STEP_CONFIRM, STEP_COUNT, STEP_FILL };

struct pflash {
	struct device dev;
	struct lock lock;          /* all below; RANK_DEVICE */
	struct space *mem;
	struct ram *ram;
	struct ram_slot *slot;
	struct blk *blk;
	uint64_t base, size;
	bool readonly;
	struct region *commands;   /* NULL: the contents show */

	uint8_t cmd, status, step; /* cmd: what reads show; step: enum step */
	uint8_t pending;           /* the command whose step it is */
	uint8_t left;              /* bytes of the buffer still to come, less 1 */
	uint32_t buffer_at;
	uint8_t buffer[BUFFER_SIZE];
	uint32_t buffer_lo, buffer_hi; /* what was put into it: [lo, hi) */

	uint64_t dirty_lo, dirty_hi; /* not in the image yet; empty: lo >= hi */
	bool writing;              /* a request is under way: the next one waits, so that they are done in order */
	struct blk_request request;
	struct iovec iov;
	uint8_t *copy;             /* what is being written */
};

/* -- The image --------------------------------------------------------------------------------------- */

static void written(struct blk_request *r, int rc);

/* Write what is dirty, from a copy: the guest may go on. */
static void write_back_locked(struct pflash *p)
{
	uint64_t lo = ALIGN_DOWN(p->dirty_lo, PFLASH_BLOCK_SIZE), hi = ALIGN_UP(p->dirty_hi, PFLASH_BLOCK_SIZE);

	if (p->writing || p->dirty_lo >= p->dirty_hi)
		return;
	memcpy(p->copy + lo, ram_slot_host(p->slot) + lo, hi - lo);
	p->iov = (struct iovec){ p->copy + lo, hi - lo };
	p->request = (struct blk_request){ .op = BLK_WRITE, .fua = true, .offset = lo, .len = hi - lo, .iov = &p->iov, .n_iov = 1,
					   .done = written, .opaque = p };
	p->writing = true;
	p->dirty_lo = p->size;
	p->dirty_hi = 0;
	blk_submit(p->blk, &p->request);
}

/* An error has been logged by the block layer; the guest has been told that it was done, as a chip has it. */
static void written(struct blk_request *r, int rc)
{
	struct pflash *p = r->opaque;

	lock_take(&p->lock);
	p->writing = false;
	write_back_locked(p);
	lock_drop(&p->lock);
}

static void changed(struct pflash *p, uint64_t off, uint64_t len)
{
	p->dirty_lo = MIN(p->dirty_lo, off);
	p->dirty_hi = MAX(p->dirty_hi, off + len);
	ram_note_write(p->ram, p->base + off, len);
}

/* -- Commands ---------------------------------------------------------------------------------------- */

static const struct io_ops pflash_io;

/* Show the contents, or what commands make of reads. */
static void show(struct pflash *p, bool contents)
{
	if (contents == !p->commands)
		return;
	if (contents) {
		space_remove(p->mem, p->commands);
		p->commands = NULL;
	} else {
		BUG_ON(space_add_io(p->mem, &p->commands, "pflash-commands", p->base, p->size, &pflash_io, p, &p->lock));
	}
}

static void read_array(struct pflash *p)
{
	p->cmd = CMD_READ_ARRAY;
	p->step = STEP_FIRST;
	show(p, true);
	write_back_locked(p);
}

/* The operation is over: reads show the status. */
static void finish(struct pflash *p, uint8_t status)
{
	p->status |= STATUS_READY | status;
	p->cmd = CMD_READ_STATUS;
	p->step = STEP_FIRST;
}

static void program(struct pflash *p, uint64_t off, const uint8_t *data, unsigned len)
{
	uint8_t *to = ram_slot_host(p->slot) + off;

	if (p->readonly) {
		finish(p, STATUS_PROG_ERR | STATUS_PROTECTED);
		return;
	}
	for (unsigned i = 0; i < len; i++)
		__atomic_store_n(to + i, to[i] & data[i], __ATOMIC_RELAXED);
	changed(p, off, len);
	finish(p, 0);
}

static void erase(struct pflash *p, uint64_t off)
{
	off = ALIGN_DOWN(off, PFLASH_BLOCK_SIZE);
	if (p->readonly) {
		finish(p, STATUS_ERASE_ERR | STATUS_PROTECTED);
		return;
	}
	memset(ram_slot_host(p->slot) + off, 0xff, PFLASH_BLOCK_SIZE);
	changed(p, off, PFLASH_BLOCK_SIZE);
	finish(p, 0);
}

static void first_write(struct pflash *p, uint8_t val)
{
	show(p, false);
	p->pending = val;
	switch (val) {
	case CMD_PROGRAM:
	case CMD_PROGRAM2:
		p->step = STEP_DATA;
		p->cmd = CMD_READ_STATUS;
		return;
	case CMD_ERASE:
	case CMD_LOCK:
		p->step = STEP_CONFIRM;
		p->cmd = CMD_READ_STATUS;
		return;
	case CMD_BUFFER:
		p->status |= STATUS_READY; /* the buffer is free */
		p->step = STEP_COUNT;
		p->cmd = CMD_READ_STATUS;
		return;
	case CMD_CLEAR_STATUS:
		p->status = 0;
		read_array(p);
		return;
	case CMD_READ_STATUS:
	case CMD_READ_ID:
	case CMD_QUERY:
		p->cmd = val;
		return;
	default:
		read_array(p);
	}
}

/* The buffer holds an aligned block of the chip; what the guest did not write of it stays. */
static void fill_buffer(struct pflash *p, uint64_t off, uint8_t val)
{
	uint32_t at = off % BUFFER_SIZE;

	if (p->buffer_lo >= p->buffer_hi)
		p->buffer_at = (uint32_t)(off - at);
	if (off - at == p->buffer_at) {
		p->buffer[at] = val;
		p->buffer_lo = MIN(p->buffer_lo, at);
		p->buffer_hi = MAX(p->buffer_hi, at + 1);
	}
	p->step = p->left ? STEP_FILL : STEP_CONFIRM;
	p->left -= p->left > 0;
}

static void confirm(struct pflash *p, uint64_t off, uint8_t val)
{
	if (p->pending == CMD_LOCK)
		finish(p, 0);
	else if (val != CMD_CONFIRM)
		finish(p, STATUS_SEQUENCE);
	else if (p->pending == CMD_ERASE)
		erase(p, off);
	else if (p->buffer_lo < p->buffer_hi)
		program(p, p->buffer_at + p->buffer_lo, p->buffer + p->buffer_lo, p->buffer_hi - p->buffer_lo);
	else
		finish(p, 0);
}

static void pflash_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct pflash *p = opaque;
	uint8_t byte = (uint8_t)val;

	switch (p->step) {
	case STEP_FIRST:
		first_write(p, byte);
		return;
	case STEP_DATA:
		program(p, off, &byte, 1);
		return;
	case STEP_COUNT:
		p->left = byte % BUFFER_SIZE;
		memset(p->buffer, 0xff, sizeof(p->buffer));
		p->buffer_lo = BUFFER_SIZE;
		p->buffer_hi = 0;
		p->step = STEP_FILL;
		return;
	case STEP_FILL:
		fill_buffer(p, off, byte);
		return;
	default:
		confirm(p, off, byte);
	}
}

/* -- Reads while a command is under way ---------------------------------------------------------------- */

/* JESD68: vendor command set 1, sizes and times; one region of equal blocks. */
static uint8_t query(const struct pflash *p, uint64_t off)
{
	const uint32_t blocks = (uint32_t)(p->size / PFLASH_BLOCK_SIZE) - 1;
	uint8_t t[CFI_SIZE] = {
		[0x10] = 'Q', 'R', 'Y', 0x01, 0x00, 0x31, [0x1b] = 0x45, 0x55, [0x1f] = 0x07, 0x07, 0x0a, [0x23] = 0x04, 0x04, 0x04,
		[0x2c] = 1, [0x31] = 'P', 'R', 'I', '1', '0',
	};

	t[0x27] = (uint8_t)(63 - __builtin_clzll(2 * p->size - 1)); /* 2^n bytes */
	t[0x2a] = (uint8_t)__builtin_ctz(BUFFER_SIZE);
	put_le16(t + 0x2d, (uint16_t)blocks);
	put_le16(t + 0x2f, PFLASH_BLOCK_SIZE / 256);
	return off < sizeof(t) ? t[off] : 0;
}

static uint64_t pflash_read(void *opaque, uint64_t off, unsigned size)
{
	const struct pflash *p = opaque;

	switch (p->cmd) {
	case CMD_READ_STATUS:
		return p->status;
	case CMD_READ_ID:
		return (off & 0xff) == 0 ? ID_MANUFACTURER : (off & 0xff) == 1 ? ID_DEVICE : 0;
	case CMD_QUERY:
		return query(p, off);
	default:
		return ram_slot_host(p->slot)[off];
	}
}

static const struct io_ops pflash_io = { .read = pflash_read, .write = pflash_write, .max_size = 1 };

/* -- Life ------------------------------------------------------------------------------------------------ */

static void pflash_reset(struct device *d)
{
	struct pflash *p = (struct pflash *)d;

	lock_take(&p->lock);
	p->status = 0;
	read_array(p);
	lock_drop(&p->lock);
}

static int pflash_post_load(struct device *d)
{
	struct pflash *p = (struct pflash *)d;

	if (p->step > STEP_FILL || p->left >= BUFFER_SIZE || p->buffer_at % BUFFER_SIZE || p->buffer_at >= p->size ||
	    p->buffer_lo > BUFFER_SIZE || p->buffer_hi > BUFFER_SIZE) {
		p->left = 0;
		p->buffer_at = p->buffer_hi = 0;
		p->buffer_lo = BUFFER_SIZE;
		pflash_reset(d);
		return -EINVAL;
	}
	lock_take(&p->lock);
	show(p, p->cmd == CMD_READ_ARRAY);
	lock_drop(&p->lock);
	return 0;
}

static void pflash_quiesce(struct device *d, bool on)
{
	struct pflash *p = (struct pflash *)d;

	lock_take(&p->lock);
	if (on)
		write_back_locked(p);
	lock_drop(&p->lock);
	/* Twice: what became dirty behind a request that was under way goes by the next one. */
	for (unsigned i = 0; on && i < 2; i++)
		blk_drain(p->blk);
}

static void pflash_free(struct device *d)
{
	struct pflash *p = (struct pflash *)d;

	pflash_quiesce(d, true);
	lock_release(&p->lock);
	free(p->copy);
	free(p);
}

static const struct state_field pflash_state[] = {
	STATE_U8(struct pflash, cmd),
	STATE_U8(struct pflash, status),
	STATE_U8(struct pflash, step),
	STATE_U8(struct pflash, pending),
	STATE_U8(struct pflash, left),
	STATE_U32(struct pflash, buffer_at),
	STATE_BYTES(struct pflash, buffer),
	STATE_U32(struct pflash, buffer_lo),
	STATE_U32(struct pflash, buffer_hi),
	STATE_END(),
};

static const struct device_ops pflash_ops = {
	.name = "pflash",
	.reset = pflash_reset,
	.post_load = pflash_post_load,
	.quiesce = pflash_quiesce,
	.free = pflash_free,
	.state = pflash_state,
	.state_version = 1,
};

/* The chip's memory with the image in it, where the guest sees it. */
static int load(struct pflash *p, struct err *e)
{
	struct region *rom;
	int rc = ram_slot_new(&p->slot, p->ram, p->size, e);

	if (rc)
		return rc;
	rc = blk_read(p->blk, 0, ram_slot_host(p->slot), p->size);
	if (!rc)
		rc = ram_slot_show(p->slot, p->base);
	if (!rc)
		rc = space_add_rom(p->mem, &rom, "pflash", p->base, p->size, p->ram, &pflash_io, p, &p->lock);
	return rc ? err_set(e, -rc, "flash '%s': cannot show it: %s", blk_file(p->blk), strerror(-rc)) : 0;
}

int pflash_new(struct pflash **out, const struct pflash_config *c, struct err *e)
{
	struct blk_info info;
	struct pflash *p;
	int rc;

	*out = NULL;
	blk_info(c->blk, &info);
	if (!info.size || info.size % PFLASH_BLOCK_SIZE)
		return err_set(e, EINVAL, "flash '%s': %llu bytes is no size of a flash chip; it takes a multiple of %u", blk_file(c->blk),
			       (unsigned long long)info.size, PFLASH_BLOCK_SIZE);
	p = calloc(1, sizeof(*p));
	BUG_ON(!p);
	p->dev.ops = &pflash_ops;
	list_init(&p->dev.node);
	lock_init(&p->lock, RANK_DEVICE);
	p->mem = c->mem;
	p->ram = c->ram;
	p->blk = c->blk;
	p->base = c->base;
	p->size = p->dirty_lo = info.size;
	p->buffer_lo = BUFFER_SIZE;
	p->readonly = info.readonly;
	p->cmd = CMD_READ_ARRAY;
	p->copy = malloc(p->size);
	BUG_ON(!p->copy);
	rc = load(p, e);
	if (rc) {
		pflash_free(&p->dev);
		return rc;
	}
	*out = p;
	return 0;
}

const uint8_t *pflash_bytes(const struct pflash *p)
{
	return ram_slot_host(p->slot);
}

uint64_t pflash_size(const struct pflash *p)
{
	return p->size;
}
