/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fw_cfg device: numbered items and named files that firmware reads byte by byte or by DMA.
 *
 * Specification: QEMU's docs/specs/fw_cfg.txt (the interface is QEMU's own).
 * Missing: writing to items (no file of ours is writable, as their directory entries cannot say), memory-mapped registers.
 * Ignored: writes to the data register, as in QEMU since 2.4.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "dev/misc/fw_cfg.h"

#define FIXED_KEYS  FW_CFG_FILE_DIR
#define FIRST_FILE  0x20
#define NO_KEY      0xffff
#define KEY_MASK    0x3fff /* above: "write" and "of the architecture", which we have none of */

enum { DATA_OFFSET = 1, DMA_OFFSET = 4, DMA_SIZE = 8, SELECTOR_SIZE = 2 };

/* Identification: the traditional interface, and DMA. */
#define ID_VALUE 0x3
#define DMA_SIGNATURE "QEMU CFG"

/* struct FWCfgDmaAccess, big-endian */
enum { DMA_CONTROL = 0, DMA_LENGTH = 4, DMA_ADDRESS = 8, DMA_DESC_SIZE = 16 };
enum { CTL_ERROR = 0x1, CTL_READ = 0x2, CTL_SKIP = 0x4, CTL_SELECT = 0x8, CTL_WRITE = 0x10 };

#define DMA_MAX   (64 * MiB) /* more at once is nothing that firmware does, and would hold up a vCPU */
#define DMA_CHUNK 4096

/* Directory entry: size, key, 2 bytes reserved, name */
enum { DIR_COUNT_SIZE = 4, DIR_ENTRY_SIZE = 64, DIR_KEY = 4, DIR_NAME = 8 };

struct item {
	uint8_t *data;
	size_t len;
};

struct fw_cfg {
	struct device dev;
	struct lock lock; /* all below; RANK_DEVICE */
	struct space *mem;
	uint16_t key;
	uint32_t off;
	uint64_t dma_addr; /* of the descriptor, as far as it was written */
	struct item fixed[FIXED_KEYS], dir;
	struct item file[FW_CFG_FILES];
	char name[FW_CFG_FILES][FW_CFG_NAME_MAX + 1];
	unsigned n_files;
};

/* -- Items --------------------------------------------------------------------------------------- */

static void set_item(struct item *it, const void *data, size_t len)
{
	free(it->data);
	it->data = malloc(len + !len);
	BUG_ON(!it->data);
	memcpy(it->data, data, len);
	it->len = len;
}

static const struct item *selected(const struct fw_cfg *f)
{
	uint16_t key = f->key & KEY_MASK;

	if (f->key != key)
		return NULL;
	if (key < FIXED_KEYS)
		return &f->fixed[key];
	if (key == FW_CFG_FILE_DIR)
		return &f->dir;
	return key >= FIRST_FILE && key - FIRST_FILE < (int)f->n_files ? &f->file[key - FIRST_FILE] : NULL;
}

/* Copy the next len bytes of the selected item, zeroes behind its end. */
static void take(struct fw_cfg *f, uint8_t *buf, size_t len)
{
	const struct item *it = selected(f);
	size_t have = it && f->off < it->len ? MIN(len, it->len - f->off) : 0;

	if (have)
		memcpy(buf, it->data + f->off, have);
	memset(buf + have, 0, len - have);
	f->off = (uint32_t)MIN(f->off + (uint64_t)len, UINT32_MAX);
}

static void build_dir(struct fw_cfg *f)
{
	uint8_t dir[DIR_COUNT_SIZE + DIR_ENTRY_SIZE * FW_CFG_FILES] = { 0 };

	put_le32(dir, __builtin_bswap32(f->n_files));
	for (unsigned i = 0; i < f->n_files; i++) {
		uint8_t *entry = dir + DIR_COUNT_SIZE + DIR_ENTRY_SIZE * i;

		put_le32(entry, __builtin_bswap32((uint32_t)f->file[i].len));
		put_le16(entry + DIR_KEY, __builtin_bswap16((uint16_t)(FIRST_FILE + i)));
		memcpy(entry + DIR_NAME, f->name[i], strlen(f->name[i]));
	}
	set_item(&f->dir, dir, DIR_COUNT_SIZE + DIR_ENTRY_SIZE * f->n_files);
}

void fw_cfg_set(struct fw_cfg *f, uint16_t key, const void *data, size_t len)
{
	BUG_ON(key >= FIXED_KEYS);
	set_item(&f->fixed[key], data, len);
}

void fw_cfg_set_u16(struct fw_cfg *f, uint16_t key, uint16_t val)
{
	uint8_t bytes[2];

	put_le16(bytes, val);
	fw_cfg_set(f, key, bytes, sizeof(bytes));
}

int fw_cfg_set_file(struct fw_cfg *f, const char *name, const void *data, size_t len)
{
	unsigned i = 0;

	if (!*name || strlen(name) > FW_CFG_NAME_MAX)
		return -EINVAL;
	while (i < f->n_files && strcmp(f->name[i], name))
		i++;
	if (i == FW_CFG_FILES)
		return -ENOSPC;
	set_item(&f->file[i], data, len);
	if (i == f->n_files) {
		strcpy(f->name[i], name);
		f->n_files++;
	}
	build_dir(f);
	return 0;
}

/* -- DMA ------------------------------------------------------------------------------------------ */

static bool dma_read(struct fw_cfg *f, uint64_t gpa, uint32_t len)
{
	uint8_t chunk[DMA_CHUNK];

	while (len) {
		uint32_t n = MIN(len, DMA_CHUNK);

		take(f, chunk, n);
		if (space_dma_write(f->mem, gpa, chunk, n))
			return false;
		gpa += n;
		len -= n;
	}
	return true;
}

/* Carry out the transfer that the descriptor at dma_addr asks for. */
static void dma_run(struct fw_cfg *f)
{
	uint64_t desc = f->dma_addr;
	uint8_t d[DMA_DESC_SIZE];
	uint32_t control, len, result = 0;
	uint64_t gpa;

	f->dma_addr = 0;
	if (space_dma_read(f->mem, desc, d, sizeof(d)))
		return;
	control = __builtin_bswap32(get_le32(d + DMA_CONTROL));
	len = __builtin_bswap32(get_le32(d + DMA_LENGTH));
	gpa = __builtin_bswap64(get_le64(d + DMA_ADDRESS));
	if (control & CTL_SELECT) {
		f->key = (uint16_t)(control >> 16);
		f->off = 0;
	}
	if (control & CTL_READ)
		result = len <= DMA_MAX && dma_read(f, gpa, len) ? 0 : CTL_ERROR;
	else if (control & CTL_WRITE)
		result = CTL_ERROR;
	else if (control & CTL_SKIP)
		f->off = (uint32_t)MIN(f->off + (uint64_t)len, UINT32_MAX);
	put_le32(d, __builtin_bswap32(result));
	space_dma_write(f->mem, desc + DMA_CONTROL, d, sizeof(uint32_t));
}

/* -- Registers ------------------------------------------------------------------------------------- */

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
	struct fw_cfg *f = opaque;
	uint8_t byte = 0;

	if (off == DATA_OFFSET && size == 1)
		take(f, &byte, 1);
	return byte;
}

static void port_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct fw_cfg *f = opaque;

	if (off == 0 && size == 2) {
		f->key = (uint16_t)val;
		f->off = 0;
	}
}

/* Big-endian; the half at the higher ports starts the transfer. */
static uint64_t dma_reg_read(void *opaque, uint64_t off, unsigned size)
{
	uint64_t signature = get_le64(DMA_SIGNATURE);

	return signature >> (8 * off) & size_mask(size);
}

static void dma_reg_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct fw_cfg *f = opaque;

	if (size == 8 && off == 0) {
		f->dma_addr = __builtin_bswap64(val);
		dma_run(f);
	} else if (size == 4 && off == 0) {
		f->dma_addr = (uint64_t)__builtin_bswap32((uint32_t)val) << 32;
	} else if (size == 4 && off == 4) {
		f->dma_addr |= __builtin_bswap32((uint32_t)val);
		dma_run(f);
	}
}

static const struct io_ops port_io = { .read = port_read, .write = port_write, .max_size = 2 };
static const struct io_ops dma_io = { .read = dma_reg_read, .write = dma_reg_write, .max_size = 8 };

int fw_cfg_attach(struct fw_cfg *f, struct space *pio, uint16_t base)
{
	struct region *r;
	int rc = space_add_io(pio, &r, "fw-cfg", base, SELECTOR_SIZE, &port_io, f, &f->lock);

	return rc ? rc : space_add_io(pio, &r, "fw-cfg-dma", base + DMA_OFFSET, DMA_SIZE, &dma_io, f, &f->lock);
}

/* -- Life ------------------------------------------------------------------------------------------ */

static void fw_cfg_reset(struct device *d)
{
	struct fw_cfg *f = (struct fw_cfg *)d;

	lock_take(&f->lock);
	f->key = FW_CFG_SIGNATURE;
	f->off = 0;
	f->dma_addr = 0;
	lock_drop(&f->lock);
}

/* Any key and offset that a guest can set is harmless. */
static int fw_cfg_post_load(struct device *d)
{
	return 0;
}

static void fw_cfg_free(struct device *d)
{
	struct fw_cfg *f = (struct fw_cfg *)d;

	for (unsigned i = 0; i < FIXED_KEYS; i++)
		free(f->fixed[i].data);
	for (unsigned i = 0; i < f->n_files; i++)
		free(f->file[i].data);
	free(f->dir.data);
	lock_release(&f->lock);
	free(f);
}

static const struct state_field fw_cfg_state[] = {
	STATE_U16(struct fw_cfg, key),
	STATE_U32(struct fw_cfg, off),
	STATE_U64(struct fw_cfg, dma_addr),
	STATE_END(),
};

static const struct device_ops fw_cfg_ops = {
	.name = "fw-cfg",
	.reset = fw_cfg_reset,
	.post_load = fw_cfg_post_load,
	.free = fw_cfg_free,
	.state = fw_cfg_state,
	.state_version = 1,
};

struct fw_cfg *fw_cfg_new(struct space *mem)
{
	struct fw_cfg *f = calloc(1, sizeof(*f));
	uint8_t id[4];

	BUG_ON(!f);
	f->dev.ops = &fw_cfg_ops;
	list_init(&f->dev.node);
	f->mem = mem;
	lock_init(&f->lock, RANK_DEVICE);
	put_le32(id, ID_VALUE);
	fw_cfg_set(f, FW_CFG_SIGNATURE, "QEMU", 4);
	fw_cfg_set(f, FW_CFG_ID, id, sizeof(id));
	build_dir(f);
	return f;
}
