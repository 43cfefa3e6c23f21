/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the size of a qcow2 image's disk, and replacing its L1 table as a whole. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/qcow2_impl.h"

/* Write the table into new clusters; stable. */
static int write_l1(struct q2 *q, const uint64_t *l1, uint32_t n, uint64_t *offset)
{
	uint64_t got, clusters = q2_clusters(q, MAX(n, 1u) * 8ull), *be = calloc(clusters, q->cluster_size);
	int rc = be ? q2_alloc(q, clusters, true, offset, &got) : -ENOMEM;

	for (uint32_t i = 0; !rc && i < n; i++)
		be[i] = htobe64(l1[i]);
	if (!rc)
		rc = q->file->ops->pwrite(q->file, *offset, be, clusters << q->cluster_bits);
	free(be);
	return rc ? rc : q2_flush_all(q);
}

int q2_replace_l1(struct q2 *q, uint64_t *l1, uint32_t n, uint64_t disk_size)
{
	const struct q2_header old = q->h;
	uint64_t offset;
	int rc = write_l1(q, l1, n, &offset);

	if (rc)
		return rc;
	q->h.l1_offset = offset;
	q->h.l1_size = n;
	q->h.size = disk_size;
	rc = q2_write_header(q);
	if (!rc)
		rc = bfile_sync(q->file);
	if (rc) {
		q->h = old;
		return rc;
	}
	free(q->l1);
	q->l1 = l1;
	q->l1_lo = UINT32_MAX;
	q->l1_hi = 0;
	q->base.size = disk_size;
	if (old.l1_size)
		rc = q2_free_later(q, old.l1_offset, q2_clusters(q, old.l1_size * 8ull));
	return rc;
}

static int set_size(struct q2 *q, uint64_t size)
{
	const uint64_t old = q->h.size;
	int rc;

	q->h.size = size;
	rc = q2_write_header(q);
	if (!rc)
		rc = bfile_sync(q->file);
	if (rc)
		q->h.size = old;
	else
		q->base.size = size;
	return rc;
}

static int grow(struct q2 *q, uint64_t size)
{
	const uint64_t l2_span = 1ull << (q->cluster_bits + q->l2_bits), entries = size / l2_span + (size % l2_span != 0);
	const uint64_t old = q->h.size, below = q->base.backing ? MIN(q->base.backing->size, size) : 0;
	uint64_t *l1;
	int rc = 0;

	if (entries * 8 > Q2_MAX_L1)
		return -EFBIG;
	if (entries > q->h.l1_size) {
		l1 = calloc(entries, sizeof(*l1));
		if (!l1)
			return -ENOMEM;
		memcpy(l1, q->l1, q->h.l1_size * 8ull);
		rc = q2_replace_l1(q, l1, (uint32_t)entries, old);
		if (rc && q->l1 != l1)
			free(l1);
	}
	/* What the backing file has behind the old end must not come to light. */
	if (!rc && below > old) {
		q->base.size = size;
		rc = image_zero(&q->base, old, below - old, true);
		q->base.size = old;
		if (!rc)
			rc = q2_flush_all(q);
	}
	return rc ? rc : set_size(q, size);
}

static int shrink(struct q2 *q, uint64_t size)
{
	const uint64_t from = ALIGN_UP(size, q->cluster_size), old = q->h.size;
	int rc = 0;

	/* Stable before the clusters go: they are behind the end then, and nobody looks. */
	rc = set_size(q, size);
	if (rc)
		return rc;
	/* Not only hidden: a disk that grows again is zero there. */
	if (from < old)
		rc = q2_zero_clusters(q, from, q2_clusters(q, old - from), true, false);
	if (!rc && size < from && size < old) {
		q->base.size = from;
		rc = image_zero(&q->base, size, from - size, true);
		q->base.size = size;
	}
	return rc ? rc : q2_flush_all(q);
}

int q2_resize(struct image *img, uint64_t size, struct err *e)
{
	struct q2 *q = q2_of(img);
	int rc;

	if (size % Q2_SECTOR || size > INT64_MAX)
		return err_set(e, EINVAL, "%s: %" PRIu64 " bytes: a disk has whole sectors of 512", q->file->name, size);
	if (img->readonly || q->corrupt_found)
		return err_set(e, EROFS, "%s: can't be written to", q->file->name);
	rc = size < q->h.size ? shrink(q, size) : size > q->h.size ? grow(q, size) : 0;
	if (rc == -EFBIG)
		return err_set(e, EFBIG, "%s: too large for clusters of %u bytes; use larger ones (-o cluster_size=)",
			       q->file->name, q->cluster_size);
	return rc ? err_set(e, -rc, "%s: resizing: %s", q->file->name, strerror(-rc)) : 0;
}
