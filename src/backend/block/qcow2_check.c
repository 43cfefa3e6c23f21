/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Consistency of a qcow2 image: what points to each cluster is counted by walking all tables, and compared with the
 * refcounts. Repairing sets the refcounts to what was counted, drops pointers that lead nowhere, and puts the
 * "may be written in place" marks right. An L2 table that is met twice under one L1 table is damage, and is not walked twice, so
 * that the time is bounded by the size of the file and the number of snapshots.
 *
 * No count can make a cluster good that is two tables at once, since what is written to the one damages the other: an L1 entry that
 * leads to such is dropped, what else there is of it stays damage.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/qcow2_impl.h"
#include "base/log.h"

#define MAX_CLUSTERS BIT(28) /* of a file that is checked: 1 GiB for counting them */

struct check {
	struct q2 *q;
	struct qcow2_check *out;
	uint32_t *want;     /* pointers to each cluster of the file */
	uint64_t n;         /* clusters in the file */
	uint64_t end;       /* behind the last cluster that is used */
	uint8_t *seen;      /* bit: L2 table was met under this L1 table */
	uint8_t *own;       /* bit: part of a table that nothing else may point to */
	uint8_t *l2;        /* bit: an L2 table */
	bool fix;           /* tables may be changed */
	bool moved;         /* the refcount table is somewhere else now */
	bool active;        /* the L1 table is that of the disk, not of a snapshot */
	uint64_t last_host;
};

static void say(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct check *c, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	if (!c->out->report)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->out->report(c->out->opaque, text);
}

/* False: they are not all in the file. */
static bool refer(struct check *c, uint64_t offset, uint64_t len)
{
	const uint64_t first = offset >> c->q->cluster_bits, behind = q2_clusters(c->q, offset + len);

	if (!len)
		return true;
	if (behind > c->n || behind <= first)
		return false;
	for (uint64_t i = first; i < behind; i++)
		if (c->want[i] < UINT32_MAX)
			c->want[i]++;
	c->end = MAX(c->end, behind);
	return true;
}

static bool bit(const uint8_t *bits, uint64_t cluster)
{
	return bits[cluster / 8] >> (cluster & 7) & 1;
}

static void set_bit(uint8_t *bits, uint64_t cluster)
{
	bits[cluster / 8] |= (uint8_t)(1u << (cluster & 7));
}

/* A table, or what else no other may point to. */
static void refer_own(struct check *c, uint64_t offset, uint64_t len, const char *what)
{
	bool shared = false;

	if (!refer(c, offset, len)) {
		c->out->corruptions++;
		say(c, "%s is outside of the file, at %#" PRIx64, what, offset);
		return;
	}
	for (uint64_t i = offset >> c->q->cluster_bits; len && i < q2_clusters(c->q, offset + len); i++) {
		shared |= bit(c->own, i) || bit(c->l2, i);
		set_bit(c->own, i);
	}
	if (!shared)
		return;
	c->out->corruptions++;
	say(c, "%s is another table, too, at %#" PRIx64, what, offset);
}

/* Count what an entry points to. False when it points nowhere. */
static bool refer_entry(struct check *c, uint64_t entry, uint64_t guest)
{
	uint64_t offset, len;

	switch (q2_entry_kind(c->q, entry)) {
	case Q2_PACKED:
		q2_packed_place(c->q, entry, &offset, &len);
		/* Its last sector may be cut off by the end of the file. */
		len = MIN(len, (c->n << c->q->cluster_bits) - MIN(offset, c->n << c->q->cluster_bits));
		if (c->active) {
			c->out->allocated++;
			c->out->compressed++;
		}
		return len && refer(c, offset, len);
	case Q2_NONE:
		return true;
	default:
		offset = entry & Q2_OFFSET;
		if (!offset)
			return true;
		if (c->active) {
			c->out->allocated++;
			if (c->last_host && offset != c->last_host + c->q->cluster_size)
				c->out->fragmented++;
			c->last_host = offset;
		}
		return !(offset & (c->q->cluster_size - 1)) && refer(c, offset, c->q->cluster_size);
	}
}

static int walk_l2(struct check *c, uint64_t l2, uint64_t guest)
{
	struct q2 *q = c->q;

	for (unsigned k = 0; k < 1u << q->l2_bits; k++, guest += q->cluster_size) {
		struct q2_table *t;
		int rc = q2_table_get(q, &q->l2, l2, true, &t);

		if (rc)
			return rc;
		if (refer_entry(c, q2_get_entry(t, k), guest))
			continue;
		c->out->corruptions++;
		say(c, "guest offset %#" PRIx64 " is mapped outside of the file: entry %#" PRIx64, guest, q2_get_entry(t, k));
		if (c->fix) {
			q2_put_entry(q, t, k, 0);
			c->out->corruptions_fixed++;
		}
	}
	return 0;
}

static bool met_before(struct check *c, uint64_t cluster)
{
	const bool met = bit(c->seen, cluster);

	set_bit(c->seen, cluster);
	return met;
}

/* An L1 table and all under it; entries that can't be right are dropped from it when that is allowed. */
static int walk_l1(struct check *c, uint64_t *l1, uint32_t n)
{
	struct q2 *q = c->q;

	memset(c->seen, 0, c->n / 8 + 1);
	c->last_host = 0;
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t l2 = l1[i] & Q2_OFFSET;
		int rc;

		if (!l2)
			continue;
		if (l2 & (q->cluster_size - 1) || l2 >> q->cluster_bits >= c->n || bit(c->own, l2 >> q->cluster_bits) ||
		    met_before(c, l2 >> q->cluster_bits)) {
			c->out->corruptions++;
			say(c, "L1 entry %u points to no L2 table of its own: %#" PRIx64, i, l2);
			if (c->fix && c->active) {
				l1[i] = 0;
				q->l1_lo = MIN(q->l1_lo, i);
				q->l1_hi = MAX(q->l1_hi, i + 1);
				c->out->corruptions_fixed++;
			}
			continue;
		}
		refer(c, l2, q->cluster_size);
		set_bit(c->l2, l2 >> q->cluster_bits);
		rc = walk_l2(c, l2, (uint64_t)i << (q->cluster_bits + q->l2_bits));
		if (rc)
			return rc;
	}
	return 0;
}

static int walk_snapshots(struct check *c)
{
	struct q2 *q = c->q;

	refer_own(c, q->h.snapshots_offset, q->snapshot_table_size, "the snapshot table");
	for (uint32_t i = 0; i < q->n_snapshots; i++) {
		const struct q2_snapshot *s = &q->snapshots[i];
		uint64_t *l1 = calloc(MAX(s->l1_size, 1u), 8);
		int rc = l1 ? q->file->ops->pread(q->file, s->l1_offset, l1, s->l1_size * 8ull) : -ENOMEM;

		for (uint32_t k = 0; !rc && k < s->l1_size; k++)
			l1[k] = be64toh(l1[k]);
		refer_own(c, s->l1_offset, s->l1_size * 8ull, "a snapshot's L1 table");
		if (!rc)
			rc = walk_l1(c, l1, s->l1_size);
		free(l1);
		if (rc)
			return rc;
	}
	return 0;
}

/* The directory of the dirty bitmaps, if they are in step with the data: others keep them, we count them. */
static int walk_bitmaps(struct check *c)
{
	struct q2 *q = c->q;
	const struct q2_bitmap_ext *x = &q->bitmaps;
	uint64_t at = 0;

	if (!(q->h.autoclear & Q2_AUTOCLEAR_BITMAPS))
		return 0;
	refer_own(c, x->directory_offset, x->directory_size, "the directory of bitmaps");
	for (uint32_t i = 0; i < x->n && at + 24 <= x->directory_size; i++) {
		uint8_t e[24];
		uint64_t table, v;
		uint32_t size, extra;
		uint16_t name;
		int rc = q->file->ops->pread(q->file, x->directory_offset + at, e, sizeof(e));

		memcpy(&table, e, 8);
		memcpy(&size, e + 8, 4);
		memcpy(&name, e + 18, 2);
		memcpy(&extra, e + 20, 4);
		table = be64toh(table);
		size = be32toh(size);
		at = ALIGN_UP(at + 24 + be16toh(name) + be32toh(extra), 8);
		refer_own(c, table, size * 8ull, "a bitmap's table");
		for (uint32_t k = 0; k < size && !rc && (table + k * 8ull) >> q->cluster_bits < c->n; k++) {
			rc = q->file->ops->pread(q->file, table + k * 8ull, &v, 8);
			if (!rc && be64toh(v) & Q2_OFFSET)
				refer_own(c, be64toh(v) & Q2_OFFSET, q->cluster_size, "a bitmap's data");
		}
		if (rc)
			return rc;
	}
	return 0;
}

/* The refcount table's clusters are something else's too, or not in the file: an empty one behind the end takes its place. */
static void move_reftable(struct check *c)
{
	struct q2 *q = c->q;

	c->out->corruptions++;
	say(c, "the refcount table at %#" PRIx64 " is in the way of something else", q->h.reftable_offset);
	if (!c->fix)
		return;
	q->h.reftable_offset = q->repair_at << q->cluster_bits;
	q->repair_at += q->h.reftable_clusters;
	memset(q->reftable, 0, q->reftable_entries * 8);
	q->rt_lo = 0;
	q->rt_hi = q->reftable_entries;
	c->moved = true;
	c->out->corruptions_fixed++;
}

static bool reftable_fits(const struct check *c)
{
	const struct q2 *q = c->q;
	const uint64_t first = q->h.reftable_offset >> q->cluster_bits;

	if (first + q->h.reftable_clusters > c->n)
		return false;
	for (uint64_t i = 0; i < q->h.reftable_clusters; i++)
		if (c->want[first + i])
			return false;
	return true;
}

/* The refcount table and its blocks. Blocks that can't be are dropped: their counts are made anew. */
static void walk_refcounts(struct check *c)
{
	struct q2 *q = c->q;

	if (reftable_fits(c))
		refer(c, q->h.reftable_offset, (uint64_t)q->h.reftable_clusters << q->cluster_bits);
	else
		move_reftable(c);
	for (uint64_t i = 0; i < q->reftable_entries; i++) {
		const uint64_t offset = q->reftable[i], cluster = offset >> q->cluster_bits;

		if (!offset)
			continue;
		if (!(offset & (q->cluster_size - 1)) && cluster < c->n && !c->want[cluster]) {
			refer(c, offset, q->cluster_size);
			continue;
		}
		c->out->corruptions++;
		say(c, "refcount block %" PRIu64 " is at the impossible place %#" PRIx64, i, offset);
		if (c->fix) {
			q->reftable[i] = 0;
			q->rt_lo = MIN(q->rt_lo, i);
			q->rt_hi = MAX(q->rt_hi, i + 1);
			c->out->corruptions_fixed++;
		}
	}
}

/* Everything that points to clusters. Refcount blocks last: then it is known whether one is something else too. */
static int walk(struct check *c)
{
	struct q2 *q = c->q;
	int rc;

	refer_own(c, 0, q->cluster_size, "the header");
	refer_own(c, q->h.l1_offset, q->h.l1_size * 8ull, "the L1 table");
	refer_own(c, q->luks_offset, q->luks_len, "the encryption's header");
	c->active = true;
	rc = walk_l1(c, q->l1, q->h.l1_size);
	c->active = false;
	if (!rc)
		rc = walk_snapshots(c);
	if (!rc)
		rc = walk_bitmaps(c);
	if (!rc)
		walk_refcounts(c);
	return rc;
}

/* Compare, and set. While setting, new refcount blocks are made where nothing is. */
static int settle(struct check *c, unsigned fix)
{
	struct q2 *q = c->q;
	int rc = 0;

	for (uint64_t i = 0; i < c->n && !rc; i++) {
		uint64_t have;
		bool leak;

		rc = q2_refcount_get(q, i, &have);
		if (rc || have == c->want[i])
			continue;
		leak = have > c->want[i];
		*(leak ? &c->out->leaks : &c->out->corruptions) += 1;
		say(c, "%s cluster %" PRIu64 ": counted %" PRIu64 " times, used %u times", leak ? "leaked" : "damaged", i, have,
		    c->want[i]);
		if (!(fix & (leak ? QCOW2_FIX_LEAKS : QCOW2_FIX_ERRORS)))
			continue;
		rc = q2_refcount_set(q, i, MIN(c->want[i], q2_max_refcount(q)));
		/* What narrow counts can't express stays damage. */
		if (!rc && c->want[i] <= q2_max_refcount(q))
			*(leak ? &c->out->leaks_fixed : &c->out->corruptions_fixed) += 1;
	}
	for (uint64_t i = 0; i < q->h.reftable_clusters && c->moved && !rc; i++)
		rc = q2_refcount_set(q, (q->h.reftable_offset >> q->cluster_bits) + i, 1);
	return rc;
}

/* Marks of the active disk that do not fit the counts: number, or -errno. */
static int64_t count_marks(struct check *c)
{
	struct q2 *q = c->q;
	int64_t wrong = 0;

	for (uint32_t i = 0; i < q->h.l1_size; i++) {
		const uint64_t l2 = q->l1[i] & Q2_OFFSET;

		if (!l2 || l2 & (q->cluster_size - 1) || l2 >> q->cluster_bits >= c->n)
			continue;
		wrong += (c->want[l2 >> q->cluster_bits] == 1) != ((q->l1[i] & Q2_COPIED) != 0);
		for (unsigned k = 0; k < 1u << q->l2_bits; k++) {
			struct q2_table *t;
			uint64_t e, host;
			int rc = q2_table_get(q, &q->l2, l2, true, &t);

			if (rc)
				return rc;
			e = q2_get_entry(t, k);
			host = (e & Q2_OFFSET) >> q->cluster_bits;
			if (e & Q2_COMPRESSED || !(e & Q2_OFFSET) || host >= c->n)
				continue;
			wrong += (c->want[host] == 1) != ((e & Q2_COPIED) != 0);
		}
	}
	return wrong;
}

static int check_marks(struct check *c)
{
	int64_t wrong = count_marks(c);
	int rc = 0;

	if (wrong <= 0)
		return (int)wrong;
	c->out->corruptions += (uint64_t)wrong;
	say(c, "%" PRId64 " clusters have a wrong mark whether they may be written in place", wrong);
	if (c->fix) {
		rc = q2_update_copied(c->q);
		if (!rc)
			c->out->corruptions_fixed += (uint64_t)wrong;
	}
	return rc;
}

static int prepare(struct check *c, struct err *e)
{
	struct q2 *q = c->q;
	uint64_t size;
	int rc = q->file->ops->size(q->file, &size);

	if (rc)
		return err_set(e, -rc, "%s: its size: %s", q->file->name, strerror(-rc));
	c->n = q2_clusters(q, size);
	if (c->n > MAX_CLUSTERS)
		return err_set(e, EFBIG, "%s: has %" PRIu64 " clusters, too many to be checked; use larger ones", q->file->name, c->n);
	c->want = calloc(c->n + 1, sizeof(*c->want));
	c->seen = calloc(c->n / 8 + 1, 1);
	c->own = calloc(c->n / 8 + 1, 1);
	c->l2 = calloc(c->n / 8 + 1, 1);
	return c->want && c->seen && c->own && c->l2 ? 0 : err_set(e, ENOMEM, "%s: no memory to check it", q->file->name);
}

static int repair_end(struct check *c)
{
	struct q2 *q = c->q;
	const bool lazy = q->lazy;
	int rc;

	q->corrupt_found = false;
	q->lazy = false;
	q->free_hint = 0;
	rc = q2_flush_all(q);
	if (!rc && c->moved) {
		rc = q2_write_header(q);
		if (!rc)
			rc = bfile_sync(q->file);
	}
	q->lazy = lazy;
	if (!rc && c->out->corruptions == c->out->corruptions_fixed)
		rc = q2_set_incompat(q, 0, Q2_INCOMPAT_DIRTY | Q2_INCOMPAT_CORRUPT);
	return rc;
}

int qcow2_check(struct image *img, unsigned fix, struct qcow2_check *out, struct err *e)
{
	struct q2 *q = q2_of(img);
	struct check c = { .q = q, .out = out, .fix = fix & QCOW2_FIX_ERRORS };
	const bool was_corrupt = q->corrupt_found;
	int rc;

	q2_quiesce(q);
	rc = img->readonly ? 0 : q2_flush_all(q);
	if (rc)
		return err_set(e, -rc, "%s: writing: %s", q->file->name, strerror(-rc));
	rc = prepare(&c, e);
	if (!rc) {
		q->corrupt_found = true; /* what is found is reported here, and only here */
		q->repair_at = c.n;
		out->total = q2_clusters(q, q->h.size);
		rc = walk(&c);
		if (!rc)
			rc = settle(&c, fix);
		if (!rc)
			rc = check_marks(&c);
		out->image_end = c.end << q->cluster_bits;
		q->corrupt_found = was_corrupt;
		q->repair_at = 0;
		if (!rc && fix)
			rc = repair_end(&c);
		if (rc)
			err_set(e, -rc, "%s: the check could not be finished: %s", q->file->name, strerror(-rc));
	}
	free(c.want);
	free(c.seen);
	free(c.own);
	free(c.l2);
	return rc;
}

int q2_repair_dirty(struct q2 *q, struct err *e)
{
	struct qcow2_check out = { 0 };
	int rc = qcow2_check(&q->base, QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS, &out, e);

	if (rc)
		return rc;
	log_msg(LOG_WARN, "%s: was not closed; %" PRIu64 " refcounts were put right", q->file->name,
		out.leaks_fixed + out.corruptions_fixed);
	if (out.corruptions > out.corruptions_fixed)
		return err_set(e, EIO, "%s: is damaged beyond what can be put right; see 'doppel img check'", q->file->name);
	return 0;
}
