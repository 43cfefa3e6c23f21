/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reference counts of a qcow2 image's clusters, and giving out free ones. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/qcow2_impl.h"

uint64_t q2_refcount_in(const uint8_t *block, uint32_t order, uint64_t i)
{
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (order) {
	case 0:
	case 1:
	case 2: {
		const uint32_t bits = 1u << order, per_byte = 8 / bits;

		return block[i / per_byte] >> (i % per_byte * bits) & ((1u << bits) - 1);
	}
	case 3:
		return block[i];
	case 4:
		memcpy(&v16, block + i * 2, 2);
		return be16toh(v16);
	case 5:
		memcpy(&v32, block + i * 4, 4);
		return be32toh(v32);
	default:
		memcpy(&v64, block + i * 8, 8);
		return be64toh(v64);
	}
}

void q2_refcount_put(uint8_t *block, uint32_t order, uint64_t i, uint64_t v)
{
	const uint16_t v16 = htobe16((uint16_t)v);
	const uint32_t v32 = htobe32((uint32_t)v);
	const uint64_t v64 = htobe64(v);

	switch (order) {
	case 0:
	case 1:
	case 2: {
		const uint32_t bits = 1u << order, per_byte = 8 / bits, shift = (uint32_t)(i % per_byte * bits);
		const uint32_t mask = ((1u << bits) - 1) << shift;

		block[i / per_byte] = (uint8_t)((block[i / per_byte] & ~mask) | ((uint32_t)v << shift & mask));
		break;
	}
	case 3:
		block[i] = (uint8_t)v;
		break;
	case 4:
		memcpy(block + i * 2, &v16, 2);
		break;
	case 5:
		memcpy(block + i * 4, &v32, 4);
		break;
	default:
		memcpy(block + i * 8, &v64, 8);
		break;
	}
}

uint64_t q2_max_refcount(const struct q2 *q)
{
	return q->h.refcount_order == 6 ? UINT64_MAX : (1ull << (1u << q->h.refcount_order)) - 1;
}

/* The block that counts this cluster; *t NULL: there is none, all its clusters are free. */
static int find_block(struct q2 *q, uint64_t cluster, struct q2_table **t)
{
	const uint64_t i = cluster >> q->refblock_bits;
	uint64_t offset;

	*t = NULL;
	if (i >= q->reftable_entries)
		return 0;
	offset = q->reftable[i] & ~(uint64_t)0x1ff;
	if (!offset)
		return 0;
	if (offset & (q->cluster_size - 1) || offset >= Q2_MAX_OFFSET)
		return q2_corrupt(q, "refcount block %llu is at the impossible place %#llx", (unsigned long long)i,
				  (unsigned long long)offset);
	return q2_table_get(q, &q->refs, offset, true, t);
}

int q2_refcount_get(struct q2 *q, uint64_t cluster, uint64_t *v)
{
	struct q2_table *t;
	int rc = find_block(q, cluster, &t);

	*v = 0;
	if (!rc && t)
		*v = q2_refcount_in(t->data, q->h.refcount_order, cluster & ((1ull << q->refblock_bits) - 1));
	return rc;
}

static void put(struct q2 *q, struct q2_table *t, uint64_t index, uint64_t v)
{
	const uint32_t at = (uint32_t)((index << q->h.refcount_order) / 8), width = MAX(1u, (1u << q->h.refcount_order) / 8);

	q2_refcount_put(t->data, q->h.refcount_order, index, v);
	q2_table_dirty(&q->refs, t, at, at + width);
}

static void note_entry(struct q2 *q, uint64_t i, uint64_t offset)
{
	q->reftable[i] = offset;
	q->rt_lo = MIN(q->rt_lo, i);
	q->rt_hi = MAX(q->rt_hi, i + 1);
}

/* A block of counts at offset, for region i of the file. */
static int make_block(struct q2 *q, uint64_t i, uint64_t offset, struct q2_table **t)
{
	int rc = q2_table_get(q, &q->refs, offset, false, t);

	if (!rc)
		note_entry(q, i, offset);
	return rc;
}

/*
 * The refcount table is full: make a larger one where nothing is yet, with the blocks that count it. Blocks and table
 * are stable before the header points to the table.
 */
static int grow_reftable(struct q2 *q, uint64_t entry)
{
	const uint64_t per_cluster = q->cluster_size / 8, first = q->reftable_entries, region = 1ull << q->refblock_bits;
	const uint64_t clusters = q2_clusters(q, MAX(entry + 1, first + first / 2 + 1) * 8);
	const uint64_t base = first << q->refblock_bits, old_offset = q->h.reftable_offset;
	const uint32_t old_clusters = q->h.reftable_clusters;
	const bool lazy = q->lazy;
	uint64_t blocks = 1, *table;
	struct q2_table *t;
	int rc = 0;

	while (blocks * region < blocks + clusters)
		blocks++;
	if (clusters << q->cluster_bits > Q2_MAX_REFTABLE || (base + blocks + clusters) << q->cluster_bits >= Q2_MAX_OFFSET ||
	    first + blocks > clusters * per_cluster)
		return -EFBIG;
	table = realloc(q->reftable, clusters << q->cluster_bits);
	if (!table)
		return -ENOMEM;
	memset(table + first, 0, (clusters << q->cluster_bits) - first * 8);
	q->reftable = table;
	q->reftable_entries = clusters * per_cluster;
	for (uint64_t i = 0; i < blocks && !rc; i++)
		rc = make_block(q, first + i, (base + i) << q->cluster_bits, &t);
	for (uint64_t c = base; c < base + blocks + clusters && !rc; c++)
		rc = q2_refcount_set(q, c, 1);
	if (rc) {
		q->reftable_entries = first;
		return rc;
	}
	q->h.reftable_offset = (base + blocks) << q->cluster_bits;
	q->h.reftable_clusters = (uint32_t)clusters;
	q->rt_lo = 0;
	q->rt_hi = q->reftable_entries;
	q->lazy = false; /* these counts are to be written in any case */
	rc = q2_write_back(q);
	q->lazy = lazy;
	if (!rc)
		rc = bfile_sync(q->file);
	if (!rc)
		rc = q2_write_header(q);
	if (!rc)
		rc = q2_free_later(q, old_offset, old_clusters);
	return rc;
}

/* While repairing nothing is known to be free but what is behind the end of the file. */
static int make_block_behind(struct q2 *q, uint64_t i, struct q2_table **t)
{
	const uint64_t cluster = q->repair_at++;
	int rc = make_block(q, i, cluster << q->cluster_bits, t);

	if (!rc)
		rc = q2_refcount_set(q, cluster, 1);
	return rc ? rc : q2_table_get(q, &q->refs, cluster << q->cluster_bits, true, t);
}

/* The block for this cluster; where there is none, the first cluster of what it counts becomes it. */
static int need_block(struct q2 *q, uint64_t cluster, struct q2_table **t)
{
	const uint64_t i = cluster >> q->refblock_bits;
	int rc = find_block(q, cluster, t);

	if (rc || *t)
		return rc;
	if (i >= q->reftable_entries) {
		rc = grow_reftable(q, i);
		if (!rc)
			rc = find_block(q, cluster, t);
		if (rc || *t)
			return rc;
	}
	if (q->repair_at)
		return make_block_behind(q, i, t);
	if (q2_is_metadata(q, (i << q->refblock_bits) << q->cluster_bits, q->cluster_size))
		return q2_corrupt(q, "refcount block %llu is missing", (unsigned long long)i);
	rc = make_block(q, i, (i << q->refblock_bits) << q->cluster_bits, t);
	if (rc)
		return rc;
	put(q, *t, 0, 1);
	q->zero_from = MAX(q->zero_from, ((i << q->refblock_bits) + 1) << q->cluster_bits);
	return 0;
}

int q2_refcount_set(struct q2 *q, uint64_t cluster, uint64_t v)
{
	struct q2_table *t;
	int rc = 0;

	if (q->lazy && !(q->h.incompat & Q2_INCOMPAT_DIRTY))
		rc = q2_set_incompat(q, Q2_INCOMPAT_DIRTY, 0);
	if (!rc)
		rc = v ? need_block(q, cluster, &t) : find_block(q, cluster, &t);
	if (rc || !t)
		return rc;
	put(q, t, cluster & ((1ull << q->refblock_bits) - 1), v);
	if (v)
		q->zero_from = MAX(q->zero_from, (cluster + 1) << q->cluster_bits);
	else
		q->free_hint = MIN(q->free_hint, cluster);
	return 0;
}

int q2_refcount_add(struct q2 *q, uint64_t offset, uint64_t n, int delta)
{
	const uint64_t first = offset >> q->cluster_bits;

	for (uint64_t c = first; c < first + n; c++) {
		uint64_t v;
		int rc = q2_refcount_get(q, c, &v);

		if (rc)
			return rc;
		if (delta < 0 && !v)
			return q2_corrupt(q, "cluster %#llx is in use but counted as free", (unsigned long long)c);
		if (delta > 0 && v == q2_max_refcount(q))
			return -E2BIG;
		rc = q2_refcount_set(q, c, v + (uint64_t)(int64_t)delta);
		if (rc)
			return rc;
	}
	return 0;
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a_len && b_len && a < b + b_len && b < a + a_len;
}

bool q2_is_metadata(struct q2 *q, uint64_t offset, uint64_t len)
{
	return overlap(offset, len, 0, q->cluster_size) || overlap(offset, len, q->h.l1_offset, q->h.l1_size * 8ull) ||
	       overlap(offset, len, q->h.reftable_offset, (uint64_t)q->h.reftable_clusters << q->cluster_bits) ||
	       overlap(offset, len, q->h.snapshots_offset, q->snapshot_table_size) ||
	       overlap(offset, len, q->luks_offset, q->luks_len);
}

/* The first free cluster from c on. */
static int next_free(struct q2 *q, uint64_t *c)
{
	for (;; ++*c) {
		uint64_t v;
		int rc;

		/* The first cluster of a region that has no block will be its block. */
		if (!(*c & ((1ull << q->refblock_bits) - 1))) {
			struct q2_table *t;

			rc = need_block(q, *c, &t);
			if (rc)
				return rc;
		}
		rc = q2_refcount_get(q, *c, &v);
		if (rc || !v)
			return rc;
	}
}

static int try_run(struct q2 *q, uint64_t first, uint64_t n, uint64_t *got)
{
	const uint64_t region = 1ull << q->refblock_bits;

	for (*got = 1; *got < n; ++*got) {
		uint64_t v = 0, c = first + *got;
		struct q2_table *t;
		int rc = c & (region - 1) ? 0 : need_block(q, c, &t);

		if (!rc)
			rc = q2_refcount_get(q, c, &v);
		if (rc)
			return rc;
		if (v)
			break;
	}
	return 0;
}

int q2_alloc(struct q2 *q, uint64_t n, bool exact, uint64_t *offset, uint64_t *got)
{
	uint64_t c = q->free_hint;
	bool first = true;
	int rc;

	for (;;) {
		rc = next_free(q, &c);
		if (rc)
			return rc;
		if (first)
			q->free_hint = c;
		first = false;
		if ((c + n) << q->cluster_bits >= Q2_MAX_OFFSET)
			return -EFBIG;
		rc = try_run(q, c, n, got);
		if (rc)
			return rc;
		if (*got == n || !exact)
			break;
		c += *got;
	}
	*offset = c << q->cluster_bits;
	if (q2_is_metadata(q, *offset, *got << q->cluster_bits))
		return q2_corrupt(q, "the cluster at %#llx is in use but counted as free", (unsigned long long)*offset);
	for (uint64_t i = 0; i < *got; i++) {
		rc = q2_refcount_set(q, c + i, 1);
		if (rc)
			return rc;
	}
	if (c == q->free_hint)
		q->free_hint = c + *got;
	q->n_alloc += *got;
	return 0;
}

void q2_unalloc(struct q2 *q, uint64_t offset, uint64_t n)
{
	q2_refcount_add(q, offset, n, -1);
}
