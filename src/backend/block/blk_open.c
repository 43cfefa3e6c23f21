/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening and closing disks, and what there is to know about one. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/blk_impl.h"
#include "backend/block/qcow2.h"
#include "base/log.h"

#define MAX_BLOCK 4096

void blk_options_init(struct blk_options *o)
{
	*o = (struct blk_options){ .discard = true };
}

static int check_options(const struct blk_options *o, struct err *e)
{
	if (!o->file || !*o->file)
		return err_set(e, EINVAL, "disk: no file is named; say which");
	if (o->block_size && o->block_size != 512 && o->block_size != MAX_BLOCK)
		return err_set(e, EINVAL, "%s: blocks of %u bytes: disks have 512 or %u", o->file, o->block_size, MAX_BLOCK);
	return 0;
}

static int open_image(struct blk *b, void *arg, struct err *e)
{
	const struct blk_options *o = arg;
	const bool write = !o->readonly && !o->ephemeral;
	const struct image_options io = {
		.format = o->format,
		.flags = (write ? BFILE_WRITE : 0) | (o->cache == BLK_CACHE_NONE ? BFILE_DIRECT : 0),
		.no_sync = o->cache == BLK_CACHE_UNSAFE,
		.secret_file = o->secret_file,
	};
	struct image *top;
	int rc = image_open(&b->img, b->loop, o->file, &io, e);

	if (!rc && b->img->file->must_align > b->block_size) {
		rc = err_set(e, EINVAL, "%s: has blocks of %u bytes; add block-size=4096", o->file, b->img->file->must_align);
		image_close(b->img);
	}
	if (rc || !o->ephemeral)
		return rc;
	rc = qcow2_open_overlay(&top, b->loop, b->img, e);
	if (rc) {
		image_close(b->img);
		return rc;
	}
	top->own_backing = true;
	b->img = top;
	b->cache = BLK_CACHE_UNSAFE;
	b->ephemeral = true;
	return 0;
}

static void free_blk(struct blk *b)
{
	loop_free(b->loop);
	free(b->file);
	free(b);
}

int blk_open(struct blk **out, const struct blk_options *o, struct err *e)
{
	struct blk *b;
	int rc = check_options(o, e);

	if (rc)
		return rc;
	b = calloc(1, sizeof(*b));
	if (!b || !(b->file = strdup(o->file))) {
		free(b);
		return err_set(e, ENOMEM, "%s: no memory", o->file);
	}
	b->discard = o->discard;
	b->cache = o->cache;
	b->block_size = o->block_size ? o->block_size : 512;
	throttle_init(&b->bps, o->bps.rate, o->bps.burst, loop_now());
	throttle_init(&b->iops, o->iops.rate, o->iops.burst, loop_now());
	rc = loop_new(&b->loop, e);
	if (!rc)
		rc = blk_start(b, open_image, (void *)(uintptr_t)o, e);
	if (rc) {
		free_blk(b);
		return rc;
	}
	*out = b;
	return 0;
}

int blk_shut(struct blk *b, struct err *e)
{
	int rc;

	if (!b)
		return 0;
	rc = blk_stop(b);
	if (rc)
		err_set(e, -rc, "%s: what was left to be written could not be: %s", b->file, strerror(-rc));
	free_blk(b);
	return rc;
}

void blk_close(struct blk *b)
{
	struct err e;

	if (blk_shut(b, &e))
		log_msg(LOG_ERROR, "%s", e.msg);
}

void blk_info(const struct blk *b, struct blk_info *info)
{
	*info = (struct blk_info){
		.size = atomic_load(&b->size),
		.block_size = b->block_size,
		.physical_size = MIN(MAX(b->img->file->align, b->block_size), (uint32_t)MAX_BLOCK),
		.readonly = b->img->readonly,
		.discard = b->discard && !b->img->readonly,
		.discard_align = MAX(b->img->discard_align, b->block_size),
		.write_cache = b->cache != BLK_CACHE_WRITETHROUGH,
	};
}

const char *blk_file(const struct blk *b)
{
	return b->file;
}

const char *blk_format(const struct blk *b)
{
	return b->ephemeral ? b->img->backing->ops->name : b->img->ops->name;
}

struct image *blk_image(struct blk *b)
{
	return b->img;
}

void blk_print_stats(const struct blk *b, struct strbuf *out)
{
	static const char *const names[BLK_N_OPS] = { "read", "write", "flush", "discard", "write zeroes" };

	strbuf_addf(out, "disk %s (%s, %s)\n", b->file, blk_format(b), loop_engine_name(b->loop));
	for (unsigned i = 0; i < BLK_N_OPS; i++) {
		const struct blk_counter *c = &b->count[i];
		const uint64_t n = atomic_load(&c->n);

		if (n)
			strbuf_addf(out, "  %-12s %10" PRIu64 " requests %14" PRIu64 " bytes %10" PRIu64 " us each %6" PRIu64
				    " errors\n", names[i], n, (uint64_t)atomic_load(&c->bytes),
				    (uint64_t)atomic_load(&c->ns) / n / 1000, (uint64_t)atomic_load(&c->errors));
	}
	if (b->img->ops->print_stats)
		b->img->ops->print_stats(b->img, out);
}
