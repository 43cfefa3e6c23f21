/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From guest offsets to places in a qcow2 file: L1 and L2 tables. */
#include <errno.h>

#include "backend/block/qcow2_impl.h"
#include "base/tunables.h"

enum q2_kind q2_entry_kind(const struct q2 *q, uint64_t entry)
{
	if (entry & Q2_COMPRESSED)
		return Q2_PACKED;
	if (q->h.version >= 3 && entry & Q2_ZERO)
		return Q2_ZEROES;
	return entry & Q2_OFFSET ? Q2_DATA : Q2_NONE;
}

void q2_put_entry(struct q2 *q, struct q2_table *t, unsigned index, uint64_t entry)
{
	const uint64_t be = htobe64(entry);

	__builtin_memcpy(t->data + index * 8ull, &be, 8);
	q2_table_dirty(&q->l2, t, index * 8, index * 8 + 8);
}

/* A compressed entry has x bits of offset, and above them the number of further sectors; x depends on the cluster size. */
void q2_packed_place(const struct q2 *q, uint64_t entry, uint64_t *offset, uint64_t *len)
{
	const unsigned x = 62 - (q->cluster_bits - 8);
	const uint64_t sectors = (entry & (Q2_COMPRESSED - 1)) >> x;

	*offset = entry & (BIT(x) - 1);
	*len = (sectors + 1) * Q2_SECTOR - (*offset & (Q2_SECTOR - 1));
}

/* A pointer to whole clusters that can be right. */
static bool plausible(const struct q2 *q, uint64_t offset)
{
	return !(offset & (q->cluster_size - 1)) && offset < Q2_MAX_OFFSET;
}

/* The L2 table for a guest offset, for reading; *t NULL: there is none. */
static int find_l2(struct q2 *q, uint64_t offset, struct q2_table **t)
{
	const uint64_t i = offset >> (q->cluster_bits + q->l2_bits), entry = i < q->h.l1_size ? q->l1[i] : 0;

	*t = NULL;
	if (!(entry & Q2_OFFSET))
		return 0;
	if (!plausible(q, entry & Q2_OFFSET))
		return q2_corrupt(q, "L2 table %llu is at the impossible place %#llx", (unsigned long long)i,
				  (unsigned long long)(entry & Q2_OFFSET));
	return q2_table_get(q, &q->l2, entry & Q2_OFFSET, true, t);
}

static void describe(const struct q2 *q, uint64_t entry, struct q2_map *m)
{
	m->kind = q2_entry_kind(q, entry);
	m->entry = entry;
	m->copied = entry & Q2_COPIED && m->kind != Q2_PACKED;
	m->host = m->kind == Q2_DATA || m->kind == Q2_ZEROES ? entry & Q2_OFFSET : 0;
}

/* The cluster of `next` continues what m describes, whose last cluster is its n-th. */
static bool continues(const struct q2 *q, const struct q2_map *m, uint64_t next, uint64_t n)
{
	struct q2_map x;

	describe(q, next, &x);
	if (x.kind != m->kind || x.kind == Q2_PACKED || x.copied != m->copied)
		return false;
	return m->host ? x.host == m->host + (n << q->cluster_bits) : !x.host;
}

int q2_map(struct q2 *q, uint64_t offset, uint64_t max, struct q2_map *m)
{
	const uint64_t in = offset & (q->cluster_size - 1), l2_span = 1ull << (q->cluster_bits + q->l2_bits);
	const uint64_t here = MIN(max, l2_span - (offset & (l2_span - 1)));
	struct q2_table *t;
	unsigned index = (unsigned)(offset >> q->cluster_bits & ((1u << q->l2_bits) - 1));
	uint64_t n = 1;
	int rc = find_l2(q, offset, &t);

	*m = (struct q2_map){ .kind = Q2_NONE, .len = here };
	if (rc || !t)
		return rc;
	describe(q, q2_get_entry(t, index), m);
	if (m->host && !plausible(q, m->host))
		return q2_corrupt(q, "the cluster of guest offset %#llx is at the impossible place %#llx",
				  (unsigned long long)offset, (unsigned long long)m->host);
	while ((n << q->cluster_bits) - in < here && continues(q, m, q2_get_entry(t, index + (unsigned)n), n))
		n++;
	m->len = MIN(here, (n << q->cluster_bits) - in);
	if (m->kind == Q2_DATA)
		m->host += in;
	return 0;
}

/* A table of its own for L1 entry i: empty, or a copy of one that snapshots share. */
static int make_l2(struct q2 *q, uint64_t i, struct q2_table **t)
{
	const uint64_t old = q->l1[i] & Q2_OFFSET;
	struct q2_table *from;
	uint64_t at, got;
	int rc = q2_alloc(q, 1, true, &at, &got);

	if (rc)
		return rc;
	rc = q2_table_get(q, &q->l2, at, false, t);
	if (!rc && old) {
		rc = q2_table_get(q, &q->l2, old, true, &from);
		if (!rc)
			__builtin_memcpy((*t)->data, from->data, q->cluster_size);
	}
	if (rc) {
		q2_table_drop(q, &q->l2, at);
		q2_unalloc(q, at, 1);
		return rc;
	}
	q->l1[i] = at | Q2_COPIED;
	q->l1_lo = MIN(q->l1_lo, (uint32_t)i);
	q->l1_hi = MAX(q->l1_hi, (uint32_t)i + 1);
	return old ? q2_free_later(q, old, 1) : 0;
}

int q2_l2_for_write(struct q2 *q, uint64_t offset, struct q2_table **t, unsigned *index)
{
	const uint64_t i = offset >> (q->cluster_bits + q->l2_bits);
	int rc;

	if (i >= q->h.l1_size)
		return q2_corrupt(q, "the L1 table ends before guest offset %#llx", (unsigned long long)offset);
	*index = (unsigned)(offset >> q->cluster_bits & ((1u << q->l2_bits) - 1));
	rc = find_l2(q, offset, t);
	if (rc || (*t && q->l1[i] & Q2_COPIED))
		return rc;
	return make_l2(q, i, t);
}

int q2_free_entry(struct q2 *q, uint64_t entry)
{
	uint64_t offset, len, first;

	switch (q2_entry_kind(q, entry)) {
	case Q2_PACKED:
		q2_packed_place(q, entry, &offset, &len);
		first = ALIGN_DOWN(offset, q->cluster_size);
		q->unpacked_entry = 0;
		return q2_free_later(q, first, q2_clusters(q, offset + len - first));
	case Q2_DATA:
	case Q2_ZEROES:
		if (!(entry & Q2_OFFSET))
			return 0;
		if (!plausible(q, entry & Q2_OFFSET))
			return q2_corrupt(q, "a cluster is at the impossible place %#llx", (unsigned long long)(entry & Q2_OFFSET));
		return q2_free_later(q, entry & Q2_OFFSET, 1);
	default:
		return 0;
	}
}

int q2_remap(struct q2 *q, uint64_t offset, uint64_t n, uint64_t host)
{
	for (uint64_t k = 0; k < n; k++, offset += q->cluster_size, host += q->cluster_size) {
		struct q2_table *t;
		unsigned index;
		uint64_t old;
		int rc = q2_l2_for_write(q, offset, &t, &index);

		if (rc)
			return rc;
		old = q2_get_entry(t, index);
		q2_put_entry(q, t, index, host | Q2_COPIED);
		if (old & Q2_COMPRESSED || (old & Q2_OFFSET) != host)
			q2_free_entry(q, old);
	}
	return 0;
}

/* What the entry of a cluster becomes when it is to read as zero. */
static uint64_t zero_entry(const struct q2 *q, uint64_t old, bool unmap, bool discard)
{
	const enum q2_kind kind = q2_entry_kind(q, old);
	const bool below = q->base.backing || q->backing_file;

	if (kind == Q2_NONE && (discard || !below))
		return old;
	if (kind == Q2_ZEROES && (!unmap || !(old & Q2_OFFSET)))
		return old;
	if (q->h.version >= 3 && !unmap && kind == Q2_DATA && old & Q2_COPIED)
		return old | Q2_ZERO;
	return below && q->h.version >= 3 ? Q2_ZERO : 0;
}

int q2_zero_clusters(struct q2 *q, uint64_t offset, uint64_t n, bool unmap, bool discard)
{
	const uint64_t l2_span = 1ull << (q->cluster_bits + q->l2_bits);

	for (uint64_t end = offset + (n << q->cluster_bits); offset < end; offset += q->cluster_size) {
		const bool below = q->base.backing || q->backing_file;
		struct q2_table *t;
		unsigned index;
		uint64_t old, now;
		int rc = find_l2(q, offset, &t);

		if (rc)
			return rc;
		/* Where there is no table there is nothing to free, and without a backing file nothing to hide. */
		if (!t && (discard || !below)) {
			offset = MIN(end, ALIGN_UP(offset + 1, l2_span)) - q->cluster_size;
			continue;
		}
		index = (unsigned)(offset >> q->cluster_bits & ((1u << q->l2_bits) - 1));
		old = t ? q2_get_entry(t, index) : 0;
		now = zero_entry(q, old, unmap, discard);
		if (now == old)
			continue;
		rc = q2_l2_for_write(q, offset, &t, &index);
		if (rc)
			return rc;
		q2_put_entry(q, t, index, now);
		if ((now & Q2_OFFSET) != (old & Q2_OFFSET) || old & Q2_COMPRESSED)
			q2_free_entry(q, old);
		if (q->freed_n - q->freed_head > TUNE_QCOW2_MAX_FREED) {
			rc = q2_flush_all(q);
			if (rc)
				return rc;
		}
	}
	return 0;
}
