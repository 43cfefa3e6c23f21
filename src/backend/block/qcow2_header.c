/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header of a qcow2 image and its extensions: reading with distrust, writing back with all that we don't know in place. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/qcow2_impl.h"

/* The header's fields in the host's byte order and back: the same operation. */
static void swap(struct q2_header *h)
{
	h->magic = be32toh(h->magic);
	h->version = be32toh(h->version);
	h->backing_offset = be64toh(h->backing_offset);
	h->backing_len = be32toh(h->backing_len);
	h->cluster_bits = be32toh(h->cluster_bits);
	h->size = be64toh(h->size);
	h->crypt_method = be32toh(h->crypt_method);
	h->l1_size = be32toh(h->l1_size);
	h->l1_offset = be64toh(h->l1_offset);
	h->reftable_offset = be64toh(h->reftable_offset);
	h->reftable_clusters = be32toh(h->reftable_clusters);
	h->n_snapshots = be32toh(h->n_snapshots);
	h->snapshots_offset = be64toh(h->snapshots_offset);
	h->incompat = be64toh(h->incompat);
	h->compat = be64toh(h->compat);
	h->autoclear = be64toh(h->autoclear);
	h->refcount_order = be32toh(h->refcount_order);
	h->header_len = be32toh(h->header_len);
}

static int bad(struct q2 *q, struct err *e, const char *what)
{
	return err_set(e, EINVAL, "%s: damaged or no qcow2 image: %s; 'doppel img check' may tell more", q->file->name, what);
}

static int check_geometry(struct q2 *q, struct err *e)
{
	const struct q2_header *h = &q->h;
	const uint64_t mask = (1ull << h->cluster_bits) - 1, l2_span = 1ull << (2 * h->cluster_bits - 3);

	if (h->l1_size * 8ull > Q2_MAX_L1)
		return bad(q, e, "its L1 table is larger than 32 MiB");
	if (h->size > INT64_MAX || h->size / l2_span + (h->size % l2_span != 0) > h->l1_size)
		return bad(q, e, "its L1 table is too small for the size of the disk");
	if ((h->l1_offset & mask) || h->l1_offset >= Q2_MAX_OFFSET || (h->l1_size && !h->l1_offset))
		return bad(q, e, "its L1 table is at an impossible place");
	if ((h->reftable_offset & mask) || h->reftable_offset >= Q2_MAX_OFFSET || !h->reftable_offset)
		return bad(q, e, "its refcount table is at an impossible place");
	if ((uint64_t)h->reftable_clusters << h->cluster_bits > Q2_MAX_REFTABLE || !h->reftable_clusters)
		return bad(q, e, "its refcount table has an impossible size");
	if (h->n_snapshots > Q2_MAX_SNAPSHOTS || (h->snapshots_offset & mask) || h->snapshots_offset >= Q2_MAX_OFFSET)
		return bad(q, e, "its snapshot table is impossible");
	if (h->backing_offset && (h->backing_len > Q2_MAX_NAME || h->backing_offset < h->header_len ||
				  h->backing_offset > mask + 1 - h->backing_len))
		return bad(q, e, "the name of its backing file is at an impossible place");
	return 0;
}

static int check_features(struct q2 *q, struct err *e)
{
	const struct q2_header *h = &q->h;
	const uint64_t known = Q2_INCOMPAT_DIRTY | Q2_INCOMPAT_CORRUPT | Q2_INCOMPAT_COMPRESSION;

	if (h->incompat & Q2_INCOMPAT_DATA_FILE)
		return err_set(e, ENOTSUP, "%s: keeps its data in another file, which is not for us; 'qemu-img convert -O qcow2' "
			       "makes one image of both", q->file->name);
	if (h->incompat & Q2_INCOMPAT_EXTENDED_L2)
		return err_set(e, ENOTSUP, "%s: has subclusters (extended L2 entries), which are not for us; "
			       "'qemu-img convert -O qcow2' makes an image without", q->file->name);
	if (h->incompat & ~known)
		return err_set(e, ENOTSUP, "%s: needs features that we don't know (bits %#" PRIx64 "); convert it with the program "
			       "that made it", q->file->name, h->incompat & ~known);
	if (h->compression_type > Q2_COMPRESSION_ZSTD)
		return err_set(e, ENOTSUP, "%s: compressed in a way that we don't know (%u)", q->file->name, h->compression_type);
	if (h->crypt_method == Q2_CRYPT_AES)
		return err_set(e, ENOTSUP, "%s: has the old AES encryption, which is broken and not for us; 'qemu-img convert' it to "
			       "encrypt.format=luks", q->file->name);
	if (h->crypt_method > Q2_CRYPT_LUKS)
		return bad(q, e, "its kind of encryption is unknown");
	if (h->refcount_order > 6)
		return bad(q, e, "its refcounts have an impossible width");
	return 0;
}

/* The header proper, into q->h. */
static int read_fixed(struct q2 *q, struct err *e)
{
	struct q2_header *h = &q->h;
	int rc = q->file->ops->pread(q->file, 0, h, sizeof(*h));

	if (rc)
		return err_set(e, -rc, "%s: its header: %s", q->file->name, strerror(-rc));
	swap(h);
	if (h->magic != Q2_MAGIC)
		return err_set(e, EINVAL, "%s: no qcow2 image; leave the format out to have it found", q->file->name);
	if (h->version != 2 && h->version != 3)
		return err_set(e, ENOTSUP, "%s: version %u of the qcow2 format; 2 and 3 are for us", q->file->name, h->version);
	if (h->cluster_bits < Q2_MIN_CLUSTER_BITS || h->cluster_bits > Q2_MAX_CLUSTER_BITS)
		return bad(q, e, "impossible size of clusters");
	if (h->version == 2) {
		h->incompat = h->compat = h->autoclear = 0;
		h->refcount_order = 4;
		h->header_len = Q2_V2_HEADER_LEN;
	}
	if (h->header_len > (1u << h->cluster_bits) || (h->version == 3 && h->header_len < Q2_V3_HEADER_LEN))
		return bad(q, e, "impossible length of the header");
	if (h->header_len <= offsetof(struct q2_header, compression_type))
		h->compression_type = Q2_COMPRESSION_ZLIB;
	return 0;
}

static char *copy_text(const uint8_t *p, size_t n)
{
	char *s = malloc(n + 1);

	if (s) {
		memcpy(s, p, n);
		s[n] = '\0';
	}
	return s;
}

static int keep_ext(struct q2 *q, uint32_t type, const uint8_t *p, uint32_t len)
{
	struct q2_ext *more = realloc(q->ext, (q->n_ext + 1) * sizeof(*more));
	uint8_t *copy = malloc(len ? len : 1);

	if (more)
		q->ext = more;
	if (!more || !copy) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, p, len);
	q->ext[q->n_ext++] = (struct q2_ext){ type, len, copy };
	return 0;
}

static uint64_t be64_at(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static uint32_t be32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static int take_ext(struct q2 *q, uint32_t type, const uint8_t *p, uint32_t len, struct err *e)
{
	switch (type) {
	case Q2_EXT_FORMAT:
		free(q->backing_format);
		q->backing_format = copy_text(p, len);
		return q->backing_format ? 0 : -ENOMEM;
	case Q2_EXT_CRYPTO:
		if (len != 16)
			return bad(q, e, "the pointer to its encryption header is malformed");
		q->luks_offset = be64_at(p);
		q->luks_len = be64_at(p + 8);
		return q->luks_offset >= Q2_MAX_OFFSET || q->luks_len > 64 * MiB ?
		       bad(q, e, "its encryption header is at an impossible place") : 0;
	case Q2_EXT_BITMAPS:
		if (len == 24)
			q->bitmaps = (struct q2_bitmap_ext){ be32_at(p), be64_at(p + 8), be64_at(p + 16) };
		return keep_ext(q, type, p, len);
	default:
		return keep_ext(q, type, p, len);
	}
}

static int read_extensions(struct q2 *q, const uint8_t *cluster, struct err *e)
{
	const uint32_t end = q->h.backing_offset ? (uint32_t)q->h.backing_offset : 1u << q->h.cluster_bits;
	uint32_t at = q->h.header_len;

	while (at + 8 <= end) {
		const uint32_t type = be32_at(cluster + at), len = be32_at(cluster + at + 4);
		int rc;

		if (type == Q2_EXT_END)
			break;
		at += 8;
		if (len > end - at)
			return bad(q, e, "a header extension is longer than the header");
		rc = take_ext(q, type, cluster + at, len, e);
		if (rc == -ENOMEM)
			return err_set(e, ENOMEM, "%s: no memory", q->file->name);
		if (rc)
			return rc;
		at = (uint32_t)ALIGN_UP(at + len, 8);
	}
	return 0;
}

int q2_read_header(struct q2 *q, struct err *e)
{
	uint8_t *cluster;
	int rc = read_fixed(q, e);

	if (!rc)
		rc = check_features(q, e);
	if (!rc)
		rc = check_geometry(q, e);
	if (rc)
		return rc;
	cluster = malloc(1u << q->h.cluster_bits);
	if (!cluster)
		return err_set(e, ENOMEM, "%s: no memory", q->file->name);
	rc = q->file->ops->pread(q->file, 0, cluster, 1u << q->h.cluster_bits);
	if (rc)
		err_set(e, -rc, "%s: its header: %s", q->file->name, strerror(-rc));
	else
		rc = read_extensions(q, cluster, e);
	if (!rc && q->h.backing_offset && q->h.backing_len) {
		q->backing_file = copy_text(cluster + q->h.backing_offset, q->h.backing_len);
		rc = q->backing_file ? 0 : err_set(e, ENOMEM, "%s: no memory", q->file->name);
	}
	if (!rc && q->h.crypt_method == Q2_CRYPT_LUKS && !q->luks_offset)
		rc = bad(q, e, "it has no encryption header");
	free(cluster);
	return rc;
}

void q2_free_header(struct q2 *q)
{
	for (unsigned i = 0; i < q->n_ext; i++)
		free(q->ext[i].data);
	free(q->ext);
	free(q->backing_format);
	free(q->backing_file);
}

static uint8_t *add_ext(uint8_t *p, const uint8_t *end, uint32_t type, const void *data, uint32_t len)
{
	const uint32_t be[2] = { htobe32(type), htobe32(len) };

	if (!p || (size_t)(end - p) < 8 + ALIGN_UP(len, 8))
		return NULL;
	memcpy(p, be, 8);
	if (len)
		memcpy(p + 8, data, len);
	return p + 8 + ALIGN_UP(len, 8);
}

/* The whole first cluster; returns how many bytes of it matter, or -ENOSPC. */
static int compose(struct q2 *q, uint8_t *cluster)
{
	const uint8_t *end = cluster + q->cluster_size;
	const uint64_t crypto[2] = { htobe64(q->luks_offset), htobe64(q->luks_len) };
	uint8_t *p = cluster + q->h.header_len;
	const size_t name = q->backing_file ? strlen(q->backing_file) : 0;
	struct q2_header h;

	memset(p, 0, q->cluster_size - q->h.header_len);
	if (q->backing_format)
		p = add_ext(p, end, Q2_EXT_FORMAT, q->backing_format, (uint32_t)strlen(q->backing_format));
	if (q->h.crypt_method == Q2_CRYPT_LUKS)
		p = add_ext(p, end, Q2_EXT_CRYPTO, crypto, sizeof(crypto));
	for (unsigned i = 0; i < q->n_ext; i++)
		p = add_ext(p, end, q->ext[i].type, q->ext[i].data, q->ext[i].len);
	p = add_ext(p, end, Q2_EXT_END, NULL, 0);
	if (!p || (size_t)(end - p) < name)
		return -ENOSPC;
	q->h.backing_offset = name ? (uint64_t)(p - cluster) : 0;
	q->h.backing_len = (uint32_t)name;
	if (name)
		memcpy(p, q->backing_file, name);
	h = q->h;
	swap(&h);
	memcpy(cluster, &h, MIN(sizeof(h), (size_t)q->h.header_len));
	return (int)(p + name - cluster);
}

int q2_write_header(struct q2 *q)
{
	uint8_t *cluster = malloc(q->cluster_size);
	int rc, len;

	if (!cluster)
		return -ENOMEM;
	/* What a longer header has that we don't know stays as it is. */
	rc = q->file->ops->pread(q->file, 0, cluster, q->cluster_size);
	len = rc ? rc : compose(q, cluster);
	if (len > 0)
		rc = q->file->ops->pwrite(q->file, 0, cluster, MIN(ALIGN_UP((uint64_t)len, Q2_SECTOR), q->cluster_size));
	free(cluster);
	return len < 0 ? len : rc;
}

int q2_set_incompat(struct q2 *q, uint64_t set, uint64_t clear)
{
	int rc;

	if (q->h.version < 3)
		return 0;
	q->h.incompat = (q->h.incompat | set) & ~clear;
	rc = q2_write_header(q);
	return rc ? rc : bfile_sync(q->file);
}

int q2_set_backing(struct q2 *q, const char *file, const char *format, struct err *e)
{
	char *old_file = q->backing_file, *old_format = q->backing_format;
	int rc;

	if (file && strlen(file) > Q2_MAX_NAME)
		return err_set(e, ENAMETOOLONG, "%s: the name of its backing file is longer than %d bytes", q->file->name, Q2_MAX_NAME);
	q->backing_file = file ? strdup(file) : NULL;
	q->backing_format = format ? strdup(format) : NULL;
	rc = q2_write_header(q);
	if (rc) {
		free(q->backing_file);
		free(q->backing_format);
		q->backing_file = old_file;
		q->backing_format = old_format;
		return err_set(e, -rc, "%s: writing its header: %s", q->file->name,
			       rc == -ENOSPC ? "there is no room for the backing file's name" : strerror(-rc));
	}
	free(old_file);
	free(old_format);
	return 0;
}
