/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making qcow2 images. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/qcow2_impl.h"

void qcow2_create_init(struct qcow2_create *c)
{
	*c = (struct qcow2_create){ .version = 3, .cluster_size = 64 * KiB, .refcount_bits = 16 };
}

static int check(const struct qcow2_create *c, const char *name, struct err *e)
{
	if (c->version != 2 && c->version != 3)
		return err_set(e, EINVAL, "%s: version %u; there are 2 (compat=0.10) and 3 (compat=1.1)", name, c->version);
	if (c->cluster_size < 512 || c->cluster_size > 2 * MiB || c->cluster_size & (c->cluster_size - 1))
		return err_set(e, EINVAL, "%s: clusters of %u bytes; a power of two from 512 to 2M", name, c->cluster_size);
	if (!c->refcount_bits || c->refcount_bits > 64 || c->refcount_bits & (c->refcount_bits - 1))
		return err_set(e, EINVAL, "%s: refcounts of %u bits; 1, 2, 4, 8, 16, 32 or 64", name, c->refcount_bits);
	if (c->version == 2 && (c->refcount_bits != 16 || c->lazy_refcounts || c->zstd))
		return err_set(e, EINVAL, "%s: lazy refcounts, other widths than 16 and zstd need compat=1.1", name);
	if (c->backing_file && strlen(c->backing_file) > Q2_MAX_NAME)
		return err_set(e, ENAMETOOLONG, "%s: the backing file's name is longer than %d bytes", name, Q2_MAX_NAME);
	return 0;
}

struct feature {
	uint8_t kind, bit;
	char name[46];
};

/* So that programs that don't know a feature can say what it is. */
static const struct feature features[] = {
	{ 0, 0, "dirty bit" },           { 0, 1, "corrupt bit" },    { 0, 2, "external data file" },
	{ 0, 3, "compression type" },    { 0, 4, "extended L2 entries" }, { 1, 0, "lazy refcounts" },
	{ 2, 0, "bitmaps" },             { 2, 1, "raw external data" },
};
_Static_assert(sizeof(features[0]) == 48, "feature name table entry");

#define FEATURES_MIN_CLUSTER 4096 /* in smaller ones there would be no room left for a backing file's name */

/* Header, refcount table, its first block, and one cluster of L1 table. */
static int write_skeleton(struct q2 *q, const struct qcow2_create *c)
{
	struct q2_ext table = { Q2_EXT_FEATURES, sizeof(features), (uint8_t *)(uintptr_t)features };
	const uint64_t reftable = htobe64(2ull * c->cluster_size);
	uint8_t *block = calloc(1, c->cluster_size);
	int rc = block ? 0 : -ENOMEM;

	for (unsigned i = 0; !rc && i < 4; i++)
		q2_refcount_put(block, q->h.refcount_order, i, 1);
	if (!rc)
		rc = q->file->ops->pwrite(q->file, 2ull * c->cluster_size, block, c->cluster_size);
	if (!rc) {
		memset(block, 0, c->cluster_size);
		rc = q->file->ops->pwrite(q->file, 3ull * c->cluster_size, block, c->cluster_size);
	}
	if (!rc) {
		memcpy(block, &reftable, sizeof(reftable));
		rc = q->file->ops->pwrite(q->file, c->cluster_size, block, c->cluster_size);
	}
	free(block);
	if (rc)
		return rc;
	if (c->version == 3 && c->cluster_size >= FEATURES_MIN_CLUSTER) {
		q->ext = &table;
		q->n_ext = 1;
	}
	rc = q2_write_header(q);
	q->ext = NULL;
	q->n_ext = 0;
	return rc;
}

static unsigned log2_of(uint64_t v)
{
	return (unsigned)__builtin_ctzll(v);
}

static int write_empty(struct bfile *f, const struct qcow2_create *c)
{
	struct q2 q = { .file = f, .cluster_size = c->cluster_size };

	q.h = (struct q2_header){
		.magic = Q2_MAGIC,
		.version = c->version,
		.cluster_bits = log2_of(c->cluster_size),
		.l1_size = 1,
		.l1_offset = 3ull * c->cluster_size,
		.reftable_offset = c->cluster_size,
		.reftable_clusters = 1,
		.refcount_order = log2_of(c->refcount_bits),
		.incompat = c->zstd ? Q2_INCOMPAT_COMPRESSION : 0,
		.compat = c->lazy_refcounts ? Q2_COMPAT_LAZY : 0,
		.compression_type = c->zstd ? Q2_COMPRESSION_ZSTD : Q2_COMPRESSION_ZLIB,
		.header_len = c->version == 2 ? Q2_V2_HEADER_LEN : sizeof(struct q2_header),
	};
	q.backing_file = (char *)(uintptr_t)c->backing_file;
	q.backing_format = (char *)(uintptr_t)c->backing_format;
	return write_skeleton(&q, c);
}

/* The header of the encryption goes into clusters of its own. */
static int add_luks(struct q2 *q, const struct qcow2_create *c, struct err *e)
{
	const uint64_t size = luks_header_size(), n = q2_clusters(q, size);
	uint8_t *header = calloc(1, n << q->cluster_bits);
	uint64_t offset, got;
	int rc;

	if (!header)
		return err_set(e, ENOMEM, "%s: no memory", q->file->name);
	rc = luks_make_header(header, c->secret_file, e);
	if (!rc) {
		rc = q2_alloc(q, n, true, &offset, &got);
		if (!rc)
			rc = q->file->ops->pwrite(q->file, offset, header, n << q->cluster_bits);
		if (!rc)
			rc = q2_flush_all(q);
		if (!rc) {
			q->h.crypt_method = Q2_CRYPT_LUKS;
			q->luks_offset = offset;
			q->luks_len = size;
			rc = q2_write_header(q);
		}
		if (rc)
			err_set(e, -rc, "%s: writing the encryption's header: %s", q->file->name, strerror(-rc));
	}
	free(header);
	return rc;
}

/* Clusters for the whole disk; what is in them reads as zero. */
static int preallocate(struct q2 *q)
{
	const uint64_t all = q2_clusters(q, q->h.size);
	uint64_t end = 0;
	int rc = 0;

	for (uint64_t done = 0, got; done < all && !rc; done += got) {
		uint64_t host;

		rc = q2_alloc(q, MIN(all - done, 1ull << q->l2_bits), false, &host, &got);
		if (!rc)
			rc = q2_remap(q, done << q->cluster_bits, got, host);
		end = MAX(end, host + (got << q->cluster_bits));
	}
	if (!rc && end)
		rc = q->file->ops->truncate(q->file, end);
	return rc == -ENOTSUP ? 0 : rc;
}

int qcow2_create(struct bfile *f, const struct qcow2_create *c, struct err *e)
{
	const struct image_options o = { .no_backing = true, .repair = true };
	struct image *img;
	struct q2 *q;
	int rc = check(c, f->name, e), rc2;

	if (rc)
		return rc;
	rc = write_empty(f, c);
	if (rc)
		return err_set(e, -rc, "%s: writing: %s", f->name, strerror(-rc));
	rc = qcow2_open(&img, f, &o, 0, e);
	if (rc)
		return rc;
	q = q2_of(img);
	q->lazy = false;
	img->name = f->name; /* image_close() is not what closes it */
	if (c->secret_file)
		rc = add_luks(q, c, e);
	if (!rc)
		rc = q2_resize(img, c->size, e);
	if (!rc && c->preallocate) {
		rc = preallocate(q);
		if (rc)
			err_set(e, -rc, "%s: allocating: %s", f->name, strerror(-rc));
	}
	rc2 = img->ops->close(img);
	if (!rc && rc2)
		rc = err_set(e, -rc2, "%s: writing: %s", f->name, strerror(-rc2));
	return rc;
}

int qcow2_open_overlay(struct image **out, struct loop *l, struct image *backing, struct err *e)
{
	const char *dir = getenv("TMPDIR");
	const struct image_options o = { .no_sync = true };
	struct qcow2_create c;
	struct bfile *f;
	int rc = bfile_open_host(&f, l, dir && *dir ? dir : "/var/tmp", BFILE_WRITE | BFILE_TEMPORARY, e);

	if (rc)
		return err_prefix(e, rc, "a throw-away file for what is written");
	qcow2_create_init(&c);
	c.size = backing->size;
	f->no_sync = true;
	rc = qcow2_create(f, &c, e);
	if (!rc)
		rc = qcow2_open(out, f, &o, 0, e);
	if (rc) {
		bfile_close(f);
		return rc;
	}
	(*out)->name = strdup("(throw-away)");
	(*out)->backing = backing;
	return 0;
}
