/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compressed clusters: raw deflate with a window of 4 KiB, or zstd, at any byte of the file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "backend/block/qcow2_impl.h"

#define DEFLATE_WINDOW (-12) /* the format's; negative: no zlib header */

/* The length of what was packed is only known to the sector, so what follows the end is not an error. */
static int inflate_cluster(uint8_t *out, size_t out_len, const uint8_t *in, size_t in_len)
{
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)in, .avail_in = (uInt)in_len, .next_out = out, .avail_out = (uInt)out_len };
	int rc;

	if (inflateInit2(&z, DEFLATE_WINDOW) != Z_OK)
		return -ENOMEM;
	rc = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && !z.avail_out ? 0 : -EIO;
}

static int unzstd_cluster(uint8_t *out, size_t out_len, const uint8_t *in, size_t in_len)
{
	ZSTD_inBuffer i = { in, in_len, 0 };
	ZSTD_outBuffer o = { out, out_len, 0 };
	ZSTD_DCtx *d = ZSTD_createDCtx();
	size_t rc = 1;

	if (!d)
		return -ENOMEM;
	while (rc && o.pos < o.size) {
		const size_t before = i.pos + o.pos;

		rc = ZSTD_decompressStream(d, &o, &i);
		if (ZSTD_isError(rc) || i.pos + o.pos == before)
			break;
	}
	ZSTD_freeDCtx(d);
	return o.pos == o.size && !ZSTD_isError(rc) ? 0 : -EIO;
}

int q2_unpack(struct q2 *q, uint64_t entry)
{
	uint64_t offset, len;
	uint8_t *packed;
	int rc;

	if (q->unpacked_entry == entry && entry)
		return 0;
	q2_packed_place(q, entry, &offset, &len);
	q->unpacked_entry = 0;
	if (!q->unpacked)
		q->unpacked = malloc(q->cluster_size);
	packed = malloc(len);
	if (!packed || !q->unpacked) {
		free(packed);
		return -ENOMEM;
	}
	rc = q->file->ops->pread(q->file, offset, packed, len);
	if (!rc && q->h.compression_type == Q2_COMPRESSION_ZSTD)
		rc = unzstd_cluster(q->unpacked, q->cluster_size, packed, len);
	else if (!rc)
		rc = inflate_cluster(q->unpacked, q->cluster_size, packed, len);
	free(packed);
	if (!rc)
		q->unpacked_entry = entry;
	else if (rc == -EIO)
		q2_corrupt(q, "the compressed cluster at %#llx can't be unpacked", (unsigned long long)offset);
	return rc;
}

static int64_t deflate_cluster(uint8_t *out, size_t room, const uint8_t *in, size_t len)
{
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)in, .avail_in = (uInt)len, .next_out = out, .avail_out = (uInt)room };
	int rc;

	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, DEFLATE_WINDOW, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	rc = deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return rc == Z_STREAM_END ? (int64_t)(room - z.avail_out) : 0;
}

int64_t qcow2_pack(struct image *img, const void *cluster, void *out, size_t room)
{
	const struct q2 *q = q2_of(img);
	size_t n;

	if (q->h.compression_type != Q2_COMPRESSION_ZSTD)
		return deflate_cluster(out, room, cluster, q->cluster_size);
	n = ZSTD_compress(out, room, cluster, q->cluster_size, 0);
	return ZSTD_isError(n) ? 0 : (int64_t)n;
}

/* Room for len bytes: behind the last compressed cluster if its neighbour is free too, else in fresh ones. */
static int find_room(struct q2 *q, uint64_t len, uint64_t *at)
{
	const uint64_t in = q->compressed_next & (q->cluster_size - 1), max = BIT(62 - (q->cluster_bits - 8));
	uint64_t offset, got;
	int rc;

	if (in && in + len <= q->cluster_size) {
		*at = q->compressed_next;
		rc = q2_refcount_add(q, ALIGN_DOWN(*at, q->cluster_size), 1, 1);
		if (rc != -E2BIG) {
			q->compressed_next = in + len < q->cluster_size ? *at + len : 0;
			return rc;
		}
	}
	rc = q2_alloc(q, 1, true, &offset, &got);
	if (rc)
		return rc;
	if (offset + len > max)
		return -EFBIG;
	*at = offset;
	q->compressed_next = len < q->cluster_size ? offset + len : 0;
	return 0;
}

int qcow2_write_packed(struct image *img, uint64_t offset, const void *packed, size_t len)
{
	struct q2 *q = q2_of(img);
	const unsigned x = 62 - (q->cluster_bits - 8);
	struct q2_table *t;
	unsigned index;
	uint64_t at = 0, old, sectors;
	int rc = q2_l2_for_write(q, offset, &t, &index);

	if (!rc)
		rc = find_room(q, len, &at);
	if (!rc)
		rc = q->file->ops->pwrite(q->file, at, packed, len);
	if (!rc)
		rc = q2_l2_for_write(q, offset, &t, &index);
	if (rc)
		return rc;
	sectors = ((at & (Q2_SECTOR - 1)) + len - 1) / Q2_SECTOR;
	old = q2_get_entry(t, index);
	q2_put_entry(q, t, index, Q2_COMPRESSED | sectors << x | at);
	return q2_free_entry(q, old);
}
