/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2 images, versions 2 and 3: opening and closing.
 *
 * Missing: external data files, subclusters (extended L2 entries) and the old AES encryption; such images are
 * refused. Dirty bitmaps are not kept up to date: as the format has it, an image that was written to
 * is marked so that others do not believe them any more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/qcow2_impl.h"
#include "base/log.h"
#include "base/tunables.h"

int q2_corrupt(struct q2 *q, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (q->corrupt_found)
		return -EIO;
	q->corrupt_found = true;
	log_msg(LOG_ERROR, "%s: %s: the image contradicts itself and is not written to any more; see 'doppel img check'",
		q->file->name, text);
	if (!q->base.readonly)
		q2_set_incompat(q, Q2_INCOMPAT_CORRUPT, 0);
	return -EIO;
}

static void submit(struct image *img, struct bio *b)
{
	if (unlikely(q2_of(img)->corrupt_found) && b->op != BLK_READ)
		bio_finish_later(img->loop, b, -EIO);
	else
		q2_submit(img, b);
}

static int extent(struct image *img, uint64_t offset, uint64_t max, struct image_extent *x)
{
	struct q2 *q = q2_of(img);
	struct q2_map m;
	int rc = q2_map(q, offset, max, &m);

	*x = (struct image_extent){ .len = m.len, .allocated = m.kind != Q2_NONE, .zero = m.kind == Q2_ZEROES,
				    .compressed = m.kind == Q2_PACKED, .has_host = m.kind == Q2_DATA && !q->luks, .host = m.host };
	if (m.kind == Q2_NONE && !img->backing)
		x->zero = true;
	return rc;
}

static int sync_image(struct image *img)
{
	struct q2 *q = q2_of(img);

	return img->readonly ? 0 : q->corrupt_found ? -EIO : q2_flush_all(q);
}

static void print_stats(struct image *img, struct strbuf *out)
{
	const struct q2 *q = q2_of(img);

	strbuf_addf(out, "  qcow2: L2 cache %u of %u tables, %" PRIu64 " hits %" PRIu64 " misses; refcounts %u of %u, %" PRIu64
		    " hits %" PRIu64 " misses\n", q->l2.n, q->l2.max, q->l2.hits, q->l2.misses, q->refs.n, q->refs.max,
		    q->refs.hits, q->refs.misses);
	strbuf_addf(out, "  qcow2: %" PRIu64 " clusters allocated, %" PRIu64 " reads for copy-on-write, %" PRIu64
		    " table writes, %" PRIu64 " syncs\n", q->n_alloc, q->n_cow, q->n_writeback, q->file->n_sync);
}

static void free_q2(struct q2 *q)
{
	if (!q)
		return;
	q2_free_pools(q);
	q2_cache_release(&q->l2);
	q2_cache_release(&q->refs);
	q2_free_snapshots(q);
	q2_free_header(q);
	luks_free(q->luks);
	free(q->unpacked);
	free(q->freed);
	free(q->l1);
	free(q->reftable);
	free(q);
}

static int close_image(struct image *img)
{
	struct q2 *q = q2_of(img);
	int rc = 0;

	if (!img->readonly && !q->corrupt_found) {
		q2_quiesce(q);
		q->closing = true;
		rc = q2_flush_all(q);
		if (!rc)
			rc = q2_write_back(q); /* the counts of what the flush has freed */
		if (!rc && q->h.incompat & Q2_INCOMPAT_DIRTY) {
			rc = bfile_sync(q->file);
			if (!rc)
				rc = q2_set_incompat(q, 0, Q2_INCOMPAT_DIRTY);
		}
	}
	free_q2(q);
	return rc;
}

static const struct image_ops qcow2_ops = {
	.name = "qcow2",
	.submit = submit,
	.extent = extent,
	.resize = q2_resize,
	.sync = sync_image,
	.print_stats = print_stats,
	.close = close_image,
};

bool q2_is(struct image *img)
{
	return img->ops == &qcow2_ops;
}

bool qcow2_info(struct image *img, struct qcow2_info *info)
{
	const struct q2 *q = q2_of(img);

	if (!q2_is(img))
		return false;
	*info = (struct qcow2_info){
		.version = q->h.version,
		.refcount_bits = 1u << q->h.refcount_order,
		.cluster_size = q->cluster_size,
		.lazy_refcounts = q->h.compat & Q2_COMPAT_LAZY,
		.zstd = q->h.compression_type == Q2_COMPRESSION_ZSTD,
		.encrypted = q->h.crypt_method == Q2_CRYPT_LUKS,
		.dirty = q->h.incompat & Q2_INCOMPAT_DIRTY,
		.corrupt = q->h.incompat & Q2_INCOMPAT_CORRUPT,
		.backing_file = q->backing_file,
		.backing_format = q->backing_format,
	};
	return true;
}

/* A table of 64-bit numbers. */
static int load_numbers(struct q2 *q, uint64_t offset, uint64_t n, uint64_t **out, const char *what, struct err *e)
{
	uint64_t *v = calloc(n ? n : 1, sizeof(*v));
	int rc = v ? 0 : -ENOMEM;

	if (!rc && n)
		rc = q->file->ops->pread(q->file, offset, v, n * 8);
	if (rc) {
		free(v);
		return err_set(e, -rc, "%s: its %s: %s", q->file->name, what, strerror(-rc));
	}
	for (uint64_t i = 0; i < n; i++)
		v[i] = be64toh(v[i]);
	*out = v;
	return 0;
}

static int load_tables(struct q2 *q, struct err *e)
{
	const uint64_t l2_span = 1ull << (q->cluster_bits + q->l2_bits);
	uint64_t file_size;
	int rc = q->file->ops->size(q->file, &file_size);

	if (rc)
		return err_set(e, -rc, "%s: its size: %s", q->file->name, strerror(-rc));
	q->zero_from = q->file->fixed_size ? UINT64_MAX : ALIGN_UP(file_size, q->cluster_size);
	q->reftable_entries = ((uint64_t)q->h.reftable_clusters << q->cluster_bits) / 8;
	rc = load_numbers(q, q->h.l1_offset, q->h.l1_size, &q->l1, "L1 table", e);
	if (!rc)
		rc = load_numbers(q, q->h.reftable_offset, q->reftable_entries, &q->reftable, "refcount table", e);
	if (rc)
		return rc;
	if (q2_cache_init(q, &q->l2, TUNE_QCOW2_L2_CACHE, q->h.size / l2_span + 1) ||
	    q2_cache_init(q, &q->refs, TUNE_QCOW2_REFCOUNT_CACHE, UINT64_MAX))
		return err_set(e, ENOMEM, "%s: no memory for its tables", q->file->name);
	return q2_load_snapshots(q, e);
}

static int open_backing(struct q2 *q, const struct image_options *o, unsigned depth, struct err *e)
{
	struct image_options below = { .format = q->backing_format, .flags = o->flags & BFILE_DIRECT, .no_sync = o->no_sync,
				       .secret_file = o->secret_file };
	char *name;
	int rc;

	if (!q->backing_file || o->no_backing)
		return 0;
	name = image_relative_name(q->file->name, q->backing_file);
	if (!name)
		return err_set(e, ENOMEM, "%s: no memory", q->file->name);
	rc = image_open_depth(&q->base.backing, q->file->loop, name, &below, depth + 1, e);
	if (rc) {
		free(name);
		return depth ? rc : err_prefix(e, rc, "%s: its backing file", q->file->name);
	}
	q->base.own_backing = true;
	q->base.backing_name = name;
	return 0;
}

/* What an image that will be written to must be put right before. */
static int make_writable(struct q2 *q, const struct image_options *o, struct err *e)
{
	int rc = 0;

	if (q->h.incompat & Q2_INCOMPAT_CORRUPT && !o->repair)
		return err_set(e, EIO, "%s: is marked as corrupt; open it read-only to save what is in it, or try 'doppel img check -r all'",
			       q->file->name);
	if (q->h.incompat & Q2_INCOMPAT_DIRTY && !o->repair)
		rc = q2_repair_dirty(q, e);
	/* Bitmaps and whatever else would have to be kept in step with the data and won't be. */
	if (!rc && q->h.autoclear) {
		q->h.autoclear = 0;
		rc = q2_write_header(q);
		if (rc)
			err_set(e, -rc, "%s: writing its header: %s", q->file->name, strerror(-rc));
	}
	q->lazy = !rc && q->h.compat & Q2_COMPAT_LAZY;
	return rc;
}

static struct q2 *new_q2(struct bfile *f)
{
	struct q2 *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->file = f;
	q->base.ops = &qcow2_ops;
	q->base.file = f;
	q->base.loop = f->loop;
	q->base.readonly = f->readonly;
	q->l1_lo = UINT32_MAX;
	q->rt_lo = UINT64_MAX;
	list_init(&q->free_reqs);
	list_init(&q->free_parts);
	list_init(&q->l2.lru);
	list_init(&q->l2.dirty);
	list_init(&q->refs.lru);
	list_init(&q->refs.dirty);
	ranges_init(&q->ranges);
	return q;
}

int qcow2_open(struct image **out, struct bfile *f, const struct image_options *o, unsigned depth, struct err *e)
{
	struct q2 *q = new_q2(f);
	int rc = q ? q2_read_header(q, e) : err_set(e, ENOMEM, "%s: no memory", f->name);

	if (rc)
		goto fail;
	q->cluster_bits = q->h.cluster_bits;
	q->cluster_size = 1u << q->cluster_bits;
	q->l2_bits = q->cluster_bits - 3;
	q->refblock_bits = q->cluster_bits + 3 - q->h.refcount_order;
	q->base.size = q->h.size;
	q->base.discard_align = q->base.cluster_size = q->cluster_size;
	rc = load_tables(q, e);
	if (!rc && q->h.crypt_method == Q2_CRYPT_LUKS && (o->secret_file || !o->repair))
		rc = luks_open(&q->luks, f, q->luks_offset, q->luks_len, o->secret_file, e);
	if (!rc)
		rc = open_backing(q, o, depth, e);
	if (!rc && !f->readonly)
		rc = make_writable(q, o, e);
	if (rc)
		goto fail;
	*out = &q->base;
	return 0;
fail:
	if (q) {
		image_close(q->base.backing);
		free(q->base.backing_name);
	}
	free_q2(q);
	return rc;
}
