/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots inside of a qcow2 image: each is an L1 table whose clusters are counted once more. While their pointers
 * are counted up or down the header says "dirty" (see qcow2_tables.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/block/qcow2_impl.h"

/* A snapshot in the table; behind it the extra data, the ID, the name, and zeroes to a multiple of 8. */
struct entry {
	uint64_t l1_offset;
	uint32_t l1_size;
	uint16_t id_len, name_len;
	uint32_t date_s, date_ns;
	uint64_t clock_ns;
	uint32_t vm_state_size, extra_len;
} __attribute__((packed));
_Static_assert(sizeof(struct entry) == 40, "snapshot table entry");

struct extra {
	uint64_t vm_state_size, disk_size, icount;
};

#define MAX_EXTRA 1024

static void free_snapshot(struct q2_snapshot *s)
{
	free(s->id);
	free(s->name);
	free(s->extra);
}

void q2_free_snapshots(struct q2 *q)
{
	for (uint32_t i = 0; i < q->n_snapshots; i++)
		free_snapshot(&q->snapshots[i]);
	free(q->snapshots);
}

static char *text(const uint8_t *p, size_t n)
{
	char *s = malloc(n + 1);

	if (s) {
		memcpy(s, p, n);
		s[n] = '\0';
	}
	return s;
}

static int parse_extra(const struct q2 *q, struct q2_snapshot *s, const uint8_t *p, uint32_t len)
{
	struct extra x = { 0 };

	memcpy(&x, p, MIN(len, sizeof(x)));
	if (len >= 8)
		s->vm_state_size = be64toh(x.vm_state_size);
	s->disk_size = len >= 16 ? be64toh(x.disk_size) : q->h.size;
	s->icount = len >= 24 ? be64toh(x.icount) : UINT64_MAX;
	if (len <= sizeof(x))
		return 0;
	s->extra_len = len - (uint32_t)sizeof(x);
	s->extra = malloc(s->extra_len);
	if (!s->extra)
		return -ENOMEM;
	memcpy(s->extra, p + sizeof(x), s->extra_len);
	return 0;
}

/* The snapshot at offset; *len: bytes it takes in the table. */
static int load_one(struct q2 *q, uint64_t offset, struct q2_snapshot *s, uint64_t *len)
{
	struct entry n;
	uint8_t *buf;
	uint32_t extra, id, name;
	int rc = q->file->ops->pread(q->file, offset, &n, sizeof(n));

	if (rc)
		return rc;
	extra = be32toh(n.extra_len);
	id = be16toh(n.id_len);
	name = be16toh(n.name_len);
	if (extra > MAX_EXTRA)
		return -EINVAL;
	*s = (struct q2_snapshot){ .l1_offset = be64toh(n.l1_offset), .l1_size = be32toh(n.l1_size), .date_s = be32toh(n.date_s),
				   .date_frac = be32toh(n.date_ns), .clock_ns = be64toh(n.clock_ns),
				   .vm_state_size = be32toh(n.vm_state_size) };
	if (s->l1_size * 8ull > Q2_MAX_L1 || s->l1_offset & (q->cluster_size - 1) || s->l1_offset >= Q2_MAX_OFFSET)
		return -EINVAL;
	buf = malloc((size_t)extra + id + name + 1);
	if (!buf)
		return -ENOMEM;
	rc = q->file->ops->pread(q->file, offset + sizeof(n), buf, (size_t)extra + id + name);
	if (!rc)
		rc = parse_extra(q, s, buf, extra);
	s->id = text(buf + extra, id);
	s->name = text(buf + extra + id, name);
	free(buf);
	*len = ALIGN_UP(sizeof(n) + extra + id + name, 8);
	return rc ? rc : s->id && s->name ? 0 : -ENOMEM;
}

int q2_load_snapshots(struct q2 *q, struct err *e)
{
	uint64_t at = 0;

	if (!q->h.n_snapshots)
		return 0;
	q->snapshots = calloc(q->h.n_snapshots, sizeof(*q->snapshots));
	if (!q->snapshots)
		return err_set(e, ENOMEM, "%s: no memory", q->file->name);
	while (q->n_snapshots < q->h.n_snapshots) {
		uint64_t len = 0;
		int rc = load_one(q, q->h.snapshots_offset + at, &q->snapshots[q->n_snapshots++], &len);

		at += len;
		if (rc || at > Q2_MAX_SNAPSHOT_TABLE)
			return err_set(e, rc ? -rc : EINVAL, "%s: its snapshot table is damaged", q->file->name);
	}
	q->snapshot_table_size = at;
	return 0;
}

static uint64_t entry_size(const struct q2_snapshot *s)
{
	return ALIGN_UP(sizeof(struct entry) + sizeof(struct extra) + s->extra_len + strlen(s->id) + strlen(s->name), 8);
}

static uint8_t *put_entry(uint8_t *p, const struct q2_snapshot *s)
{
	const uint32_t state = s->vm_state_size > UINT32_MAX ? 0 : (uint32_t)s->vm_state_size;
	const struct entry n = {
		.l1_offset = htobe64(s->l1_offset), .l1_size = htobe32(s->l1_size),
		.id_len = htobe16((uint16_t)strlen(s->id)), .name_len = htobe16((uint16_t)strlen(s->name)),
		.date_s = htobe32(s->date_s), .date_ns = htobe32(s->date_frac), .clock_ns = htobe64(s->clock_ns),
		.vm_state_size = htobe32(state), .extra_len = htobe32((uint32_t)sizeof(struct extra) + s->extra_len)
	};
	const struct extra x = { htobe64(s->vm_state_size), htobe64(s->disk_size), htobe64(s->icount) };
	uint8_t *at = p;

	memcpy(at, &n, sizeof(n));
	at += sizeof(n);
	memcpy(at, &x, sizeof(x));
	at += sizeof(x);
	if (s->extra_len)
		memcpy(at, s->extra, s->extra_len);
	at += s->extra_len;
	memcpy(at, s->id, strlen(s->id));
	memcpy(at + strlen(s->id), s->name, strlen(s->name));
	return p + entry_size(s);
}

/* The table of q->snapshots into new clusters, and the header to it. Stable; the old one's clusters are freed. */
static int write_table(struct q2 *q)
{
	const uint64_t old_offset = q->h.snapshots_offset, old_size = q->snapshot_table_size;
	const uint32_t old_n = q->h.n_snapshots;
	uint64_t size = 0, offset = 0, got;
	uint8_t *buf, *p;
	int rc = 0;

	for (uint32_t i = 0; i < q->n_snapshots; i++)
		size += entry_size(&q->snapshots[i]);
	buf = calloc(1, MAX(q2_clusters(q, size), 1ull) << q->cluster_bits);
	if (!buf)
		return -ENOMEM;
	p = buf;
	for (uint32_t i = 0; i < q->n_snapshots; i++)
		p = put_entry(p, &q->snapshots[i]);
	if (size) {
		rc = q2_alloc(q, q2_clusters(q, size), true, &offset, &got);
		if (!rc)
			rc = q->file->ops->pwrite(q->file, offset, buf, q2_clusters(q, size) << q->cluster_bits);
	}
	free(buf);
	if (!rc)
		rc = q2_flush_all(q);
	if (rc)
		return rc;
	q->h.snapshots_offset = offset;
	q->h.n_snapshots = q->n_snapshots;
	rc = q2_write_header(q);
	if (!rc)
		rc = bfile_sync(q->file);
	if (rc) {
		q->h.snapshots_offset = old_offset;
		q->h.n_snapshots = old_n;
		return rc;
	}
	q->snapshot_table_size = size;
	return old_size ? q2_free_later(q, old_offset, q2_clusters(q, old_size)) : 0;
}

/* Count what an L2 entry points to up or down. Down is only for what nothing in the file points to any more. */
static int count_entry(struct q2 *q, uint64_t entry, int delta)
{
	uint64_t offset, len, first;

	switch (q2_entry_kind(q, entry)) {
	case Q2_PACKED:
		q2_packed_place(q, entry, &offset, &len);
		first = ALIGN_DOWN(offset, q->cluster_size);
		return q2_refcount_add(q, first, q2_clusters(q, offset + len - first), delta);
	case Q2_DATA:
	case Q2_ZEROES:
		return entry & Q2_OFFSET ? q2_refcount_add(q, ALIGN_DOWN(entry & Q2_OFFSET, q->cluster_size), 1, delta) : 0;
	default:
		return 0;
	}
}

/* All that hangs on an L1 table, the L2 tables too but not itself. */
static int count_tree(struct q2 *q, const uint64_t *l1, uint32_t n, int delta)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t l2 = l1[i] & Q2_OFFSET;
		struct q2_table *t;
		int rc = 0;

		if (!l2)
			continue;
		if (l2 & (q->cluster_size - 1) || l2 >= Q2_MAX_OFFSET)
			return q2_corrupt(q, "an L2 table is at the impossible place %#" PRIx64, l2);
		for (unsigned k = 0; k < 1u << q->l2_bits && !rc; k++) {
			rc = q2_table_get(q, &q->l2, l2, true, &t);
			if (!rc)
				rc = count_entry(q, q2_get_entry(t, k), delta);
		}
		if (!rc)
			rc = q2_refcount_add(q, l2, 1, delta);
		if (rc)
			return rc;
		if (delta < 0) {
			uint64_t v;

			if (!q2_refcount_get(q, l2 >> q->cluster_bits, &v) && !v)
				q2_table_drop(q, &q->l2, l2);
		}
	}
	return 0;
}

static int is_single(struct q2 *q, uint64_t offset, bool *single)
{
	uint64_t v;
	int rc = q2_refcount_get(q, offset >> q->cluster_bits, &v);

	*single = v == 1;
	return rc;
}

/* One L2 table of the active disk. */
static int update_copied_l2(struct q2 *q, uint64_t l2)
{
	for (unsigned k = 0; k < 1u << q->l2_bits; k++) {
		struct q2_table *t;
		uint64_t entry, now;
		bool single;
		int rc = q2_table_get(q, &q->l2, l2, true, &t);

		if (rc)
			return rc;
		entry = q2_get_entry(t, k);
		if (entry & Q2_COMPRESSED || !(entry & Q2_OFFSET))
			continue;
		rc = is_single(q, entry & Q2_OFFSET, &single);
		if (rc)
			return rc;
		now = single ? entry | Q2_COPIED : entry & ~Q2_COPIED;
		if (now != entry)
			q2_put_entry(q, t, k, now);
	}
	return 0;
}

/* The mark "may be written in place" of all the active disk's tables and clusters, by their counts. */
int q2_update_copied(struct q2 *q)
{
	for (uint32_t i = 0; i < q->h.l1_size; i++) {
		const uint64_t l2 = q->l1[i] & Q2_OFFSET;
		uint64_t now;
		bool single;
		int rc;

		if (!l2 || l2 & (q->cluster_size - 1) || l2 >= Q2_MAX_OFFSET)
			continue;
		rc = update_copied_l2(q, l2);
		if (!rc)
			rc = is_single(q, l2, &single);
		if (rc)
			return rc;
		now = single ? l2 | Q2_COPIED : l2;
		if (now == q->l1[i])
			continue;
		q->l1[i] = now;
		q->l1_lo = MIN(q->l1_lo, i);
		q->l1_hi = MAX(q->l1_hi, i + 1);
	}
	return 0;
}

/* Around operations that count many clusters. */
static int begin(struct q2 *q)
{
	int rc;

	q2_quiesce(q);
	rc = q2_flush_all(q);
	return rc ? rc : q2_set_incompat(q, Q2_INCOMPAT_DIRTY, 0);
}

static int end(struct q2 *q, int rc)
{
	const bool lazy = q->lazy;

	if (rc)
		return rc;
	q->lazy = false;
	rc = q2_flush_all(q);
	if (!rc)
		rc = q2_flush_all(q); /* with the counts of what the first has freed */
	q->lazy = lazy;
	return rc ? rc : q2_set_incompat(q, 0, Q2_INCOMPAT_DIRTY);
}

static int find(const struct q2 *q, const char *name)
{
	for (uint32_t i = 0; i < q->n_snapshots; i++)
		if (!strcmp(q->snapshots[i].id, name))
			return (int)i;
	for (uint32_t i = 0; i < q->n_snapshots; i++)
		if (!strcmp(q->snapshots[i].name, name))
			return (int)i;
	return -1;
}

static int can(struct image *img, struct q2 **q, struct err *e)
{
	if (!q2_is(img))
		return err_set(e, ENOTSUP, "%s: a %s image has no snapshots inside; convert it to qcow2", img->name, img->ops->name);
	*q = q2_of(img);
	if (img->readonly || (*q)->corrupt_found)
		return err_set(e, EROFS, "%s: can't be written to", img->name);
	return 0;
}

static int fill(struct q2 *q, struct q2_snapshot *s, const char *name)
{
	unsigned long max = 0;
	struct timespec now;
	char id[24];

	for (uint32_t i = 0; i < q->n_snapshots; i++)
		max = MAX(max, strtoul(q->snapshots[i].id, NULL, 10));
	snprintf(id, sizeof(id), "%lu", max + 1);
	clock_gettime(CLOCK_REALTIME, &now);
	*s = (struct q2_snapshot){ .l1_size = q->h.l1_size, .disk_size = q->h.size, .date_s = (uint32_t)now.tv_sec,
				   .date_frac = (uint32_t)now.tv_nsec, .icount = UINT64_MAX, .id = strdup(id), .name = strdup(name) };
	return s->id && s->name ? 0 : -ENOMEM;
}

/* A copy of the active L1 table, for the snapshot. */
static int copy_l1(struct q2 *q, uint64_t *offset)
{
	const uint64_t n = q2_clusters(q, MAX(q->h.l1_size, 1u) * 8ull);
	uint64_t got, *be = calloc(n, q->cluster_size);
	int rc = be ? q2_alloc(q, n, true, offset, &got) : -ENOMEM;

	for (uint32_t i = 0; !rc && i < q->h.l1_size; i++)
		be[i] = htobe64(q->l1[i] & ~Q2_COPIED);
	if (!rc)
		rc = q->file->ops->pwrite(q->file, *offset, be, n << q->cluster_bits);
	free(be);
	return rc;
}

int qcow2_snapshot_create(struct image *img, const char *name, struct err *e)
{
	struct q2_snapshot *more, s = { 0 };
	struct q2 *q;
	int rc = can(img, &q, e);

	if (rc)
		return rc;
	if (!*name || strlen(name) > 255)
		return err_set(e, EINVAL, "%s: a snapshot's name has 1 to 255 bytes", img->name);
	if (find(q, name) >= 0)
		return err_set(e, EEXIST, "%s: there is a snapshot '%s' already; delete it first or choose another name", img->name, name);
	if (q->n_snapshots == Q2_MAX_SNAPSHOTS)
		return err_set(e, ENOSPC, "%s: there are %u snapshots, the most there can be", img->name, Q2_MAX_SNAPSHOTS);
	more = realloc(q->snapshots, (q->n_snapshots + 1) * sizeof(*more));
	if (more)
		q->snapshots = more;
	rc = more ? fill(q, &s, name) : -ENOMEM;
	if (!rc)
		rc = begin(q);
	if (!rc)
		rc = copy_l1(q, &s.l1_offset);
	if (!rc)
		rc = count_tree(q, q->l1, q->h.l1_size, 1);
	if (!rc)
		rc = q2_update_copied(q);
	if (!rc) {
		q->snapshots[q->n_snapshots++] = s;
		rc = write_table(q);
		if (rc)
			q->n_snapshots--;
	}
	if (rc)
		free_snapshot(&s);
	rc = end(q, rc);
	return rc ? err_set(e, -rc, "%s: making a snapshot: %s", img->name, rc == -E2BIG ? "its refcounts are too narrow for one more"
			    : strerror(-rc)) : 0;
}

static int load_l1(struct q2 *q, const struct q2_snapshot *s, uint32_t n, uint64_t **out)
{
	uint64_t *l1 = calloc(MAX(n, 1u), sizeof(*l1));
	int rc = l1 ? q->file->ops->pread(q->file, s->l1_offset, l1, MIN(n, s->l1_size) * 8ull) : -ENOMEM;

	if (rc) {
		free(l1);
		return rc;
	}
	for (uint32_t i = 0; i < n; i++)
		l1[i] = be64toh(l1[i]) & ~Q2_COPIED;
	*out = l1;
	return 0;
}

int qcow2_snapshot_delete(struct image *img, const char *name, struct err *e)
{
	struct q2_snapshot s;
	uint64_t *l1 = NULL;
	struct q2 *q;
	int rc = can(img, &q, e), i;

	if (rc)
		return rc;
	i = find(q, name);
	if (i < 0)
		return err_set(e, ENOENT, "%s: there is no snapshot '%s'; 'doppel img snapshot -l' lists them", img->name, name);
	s = q->snapshots[i];
	rc = load_l1(q, &s, s.l1_size, &l1);
	if (!rc)
		rc = begin(q);
	if (!rc) {
		q->n_snapshots--;
		memmove(&q->snapshots[i], &q->snapshots[i + 1], (q->n_snapshots - (uint32_t)i) * sizeof(s));
		rc = write_table(q);
		if (rc) {
			memmove(&q->snapshots[i + 1], &q->snapshots[i], (q->n_snapshots - (uint32_t)i) * sizeof(s));
			q->snapshots[i] = s;
			q->n_snapshots++;
		} else {
			free_snapshot(&s);
		}
	}
	if (!rc)
		rc = count_tree(q, l1, s.l1_size, -1);
	if (!rc)
		rc = q2_free_later(q, s.l1_offset, q2_clusters(q, MAX(s.l1_size, 1u) * 8ull));
	if (!rc)
		rc = q2_update_copied(q);
	free(l1);
	rc = end(q, rc);
	return rc ? err_set(e, -rc, "%s: deleting the snapshot: %s", img->name, strerror(-rc)) : 0;
}

/* The active disk becomes what the snapshot is. */
static int apply(struct q2 *q, const struct q2_snapshot *s)
{
	const uint64_t l2_span = 1ull << (q->cluster_bits + q->l2_bits);
	const uint32_t n = MAX(s->l1_size, (uint32_t)(s->disk_size / l2_span + (s->disk_size % l2_span != 0))), old_n = q->h.l1_size;
	uint64_t *l1, *old = malloc(MAX(old_n, 1u) * 8ull);
	int rc = old ? load_l1(q, s, n, &l1) : -ENOMEM;

	if (rc) {
		free(old);
		return rc;
	}
	memcpy(old, q->l1, old_n * 8ull);
	rc = count_tree(q, l1, n, 1);
	if (!rc)
		rc = q2_replace_l1(q, l1, n, s->disk_size);
	if (q->l1 != l1)
		free(l1);
	if (!rc)
		rc = count_tree(q, old, old_n, -1);
	free(old);
	return rc ? rc : q2_update_copied(q);
}

int qcow2_snapshot_apply(struct image *img, const char *name, struct err *e)
{
	struct q2 *q;
	int rc = can(img, &q, e), i;

	if (rc)
		return rc;
	i = find(q, name);
	if (i < 0)
		return err_set(e, ENOENT, "%s: there is no snapshot '%s'; 'doppel img snapshot -l' lists them", img->name, name);
	if (q->snapshots[i].disk_size > INT64_MAX)
		return err_set(e, EINVAL, "%s: the snapshot's size is impossible", img->name);
	rc = begin(q);
	if (!rc)
		rc = apply(q, &q->snapshots[i]);
	rc = end(q, rc);
	return rc ? err_set(e, -rc, "%s: going back to the snapshot: %s", img->name, strerror(-rc)) : 0;
}

int qcow2_make_empty(struct image *img, struct err *e)
{
	struct q2_snapshot nothing = { 0 };
	struct q2 *q;
	int rc = can(img, &q, e);

	if (rc)
		return rc;
	nothing.disk_size = q->h.size;
	rc = begin(q);
	if (!rc)
		rc = apply(q, &nothing);
	rc = end(q, rc);
	return rc ? err_set(e, -rc, "%s: emptying it: %s", img->name, strerror(-rc)) : 0;
}

unsigned qcow2_snapshots(struct image *img)
{
	return q2_is(img) ? q2_of(img)->n_snapshots : 0;
}

void qcow2_snapshot_info(struct image *img, unsigned i, struct qcow2_snapshot_info *info)
{
	const struct q2_snapshot *s = &q2_of(img)->snapshots[i];

	*info = (struct qcow2_snapshot_info){ .id = s->id, .name = s->name, .date_s = s->date_s, .date_ns = s->date_frac,
					      .clock_ns = s->clock_ns, .vm_state_size = s->vm_state_size, .disk_size = s->disk_size };
}
