/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables of a qcow2 image in memory, and the order in which they go to the file.
 *
 * What must hold whenever the process is killed or the power fails, given that only a sync orders writes and that a
 * sector is written as a whole or not at all:
 *
 *  (1) What a table in the file points to has a refcount in the file that is at least the number of pointers. Else the
 *      cluster would be given out twice.
 *  (2) What a table points to has its contents in the file: data before the L2 entry, L2 table before the L1
 *      entry, refcount block before the refcount table's entry. Else a flushed write would read as garbage, or somebody's
 *      deleted data would come to light.
 *  (3) A cluster is given out again only after the file has no pointer to it any more.
 *
 * So q2_write_back() writes
 *
 *      data (before, by the requests), refcount blocks, L2 tables that nothing points to yet
 *      --- sync; then the refcount table's new entries, with a sync of their own
 *      L2 tables, L1 entries
 *
 * and a flush ends with another sync. Data requests change their L2 entry when their data is written, so a table in
 * memory never points to data that is still on its way. Freed clusters stand in a queue until a sync has
 * come after their table was written (3); only then the count goes down, and into the file at the next flush. Counts that
 * went up too early, or down too late, are leaks and no more.
 *
 * Operations that change many tables at once (snapshots, resizing) make a new table beside the old one and switch over by
 * the header's first sector; meanwhile the header says "dirty", which makes the next one to open the image set all
 * refcounts right. With lazy refcounts it says so from the first allocation until the image is closed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/qcow2_impl.h"
#include "base/tunables.h"

#define MIN_TABLES 8 /* how many a function may hold at the same time, generously */

int q2_cache_init(struct q2 *q, struct q2_cache *c, uint64_t bytes, uint64_t wanted)
{
	unsigned slots = 1;

	c->max = (unsigned)MAX(MIN(bytes >> q->cluster_bits, wanted), (uint64_t)MIN_TABLES);
	while (slots < c->max)
		slots *= 2;
	list_init(&c->lru);
	list_init(&c->dirty);
	c->mask = slots - 1;
	c->hash = calloc(slots, sizeof(*c->hash));
	return c->hash ? 0 : -ENOMEM;
}

void q2_cache_release(struct q2_cache *c)
{
	while (c->hash && !list_empty(&c->lru)) {
		struct q2_table *t = list_entry(c->lru.next, struct q2_table, lru);

		list_del(&t->lru);
		free(t->data);
		free(t);
	}
	free(c->hash);
}

static struct q2_table **slot_of(const struct q2 *q, const struct q2_cache *c, uint64_t offset)
{
	return &c->hash[(offset >> q->cluster_bits) & c->mask];
}

static void unhash(struct q2 *q, struct q2_cache *c, struct q2_table *t)
{
	struct q2_table **p = slot_of(q, c, t->offset);

	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
}

static int write_table(struct q2 *q, struct q2_table *t)
{
	const uint32_t lo = (uint32_t)ALIGN_DOWN(t->lo, Q2_SECTOR), hi = (uint32_t)ALIGN_UP(t->hi, Q2_SECTOR);
	int rc = q->file->ops->pwrite(q->file, t->offset + lo, t->data + lo, hi - lo);

	if (rc)
		return rc;
	q->n_writeback++;
	t->lo = UINT32_MAX;
	t->hi = 0;
	t->fresh = false;
	list_del(&t->dirty);
	return 0;
}

/* The least recently used table's memory, for another one. Refcount blocks may be written at any time: see (1). */
static int evict(struct q2 *q, struct q2_cache *c, struct q2_table **out)
{
	struct q2_table *t = list_entry(c->lru.prev, struct q2_table, lru);
	int rc = 0;

	if (t->lo < t->hi)
		rc = c == &q->refs ? write_table(q, t) : q2_write_back(q);
	if (rc)
		return rc;
	unhash(q, c, t);
	list_del(&t->lru);
	*out = t;
	return 0;
}

static int new_table(struct q2 *q, struct q2_cache *c, struct q2_table **out)
{
	struct q2_table *t;

	if (c->n >= c->max)
		return evict(q, c, out);
	t = calloc(1, sizeof(*t));
	if (!t || posix_memalign((void **)&t->data, 4096, q->cluster_size)) {
		free(t);
		return -ENOMEM;
	}
	c->n++;
	*out = t;
	return 0;
}

/* t is not in the cache after all. */
static void give_up(struct q2_cache *c, struct q2_table *t)
{
	free(t->data);
	free(t);
	c->n--;
}

int q2_table_get(struct q2 *q, struct q2_cache *c, uint64_t offset, bool load, struct q2_table **out)
{
	struct q2_table **slot = slot_of(q, c, offset), *t;
	int rc;

	for (t = *slot; t && t->offset != offset; t = t->next)
		continue;
	if (t) {
		c->hits++;
		if (c->lru.next != &t->lru) {
			list_del(&t->lru);
			list_add_before(c->lru.next, &t->lru);
		}
	} else {
		c->misses++;
		rc = new_table(q, c, &t);
		if (rc)
			return rc;
		rc = load ? q->file->ops->pread(q->file, offset, t->data, q->cluster_size) : 0;
		if (rc) {
			give_up(c, t);
			return rc;
		}
		t->offset = offset;
		t->lo = UINT32_MAX;
		t->hi = 0;
		t->fresh = false;
		list_init(&t->dirty);
		t->next = *slot;
		*slot = t;
		list_add_before(c->lru.next, &t->lru);
	}
	if (!load) {
		memset(t->data, 0, q->cluster_size);
		t->fresh = true;
		q2_table_dirty(c, t, 0, q->cluster_size);
	}
	*out = t;
	return 0;
}

void q2_table_dirty(struct q2_cache *c, struct q2_table *t, uint32_t lo, uint32_t hi)
{
	if (t->lo >= t->hi)
		list_add_tail(&c->dirty, &t->dirty);
	t->lo = MIN(t->lo, lo);
	t->hi = MAX(t->hi, hi);
}

void q2_table_drop(struct q2 *q, struct q2_cache *c, uint64_t offset)
{
	struct q2_table *t = *slot_of(q, c, offset);

	while (t && t->offset != offset)
		t = t->next;
	if (!t)
		return;
	unhash(q, c, t);
	list_del(&t->lru);
	list_del(&t->dirty);
	give_up(c, t);
}

bool q2_tables_dirty(const struct q2 *q)
{
	return !list_empty(&q->l2.dirty) || q->l1_lo < q->l1_hi ||
	       (!q->lazy && (!list_empty(&q->refs.dirty) || q->rt_lo < q->rt_hi));
}

/* Part of a table of 64-bit numbers, in whole sectors, big-endian. */
static int write_numbers(struct q2 *q, uint64_t offset, const uint64_t *v, uint64_t lo, uint64_t hi, uint64_t n)
{
	const uint64_t per_sector = Q2_SECTOR / 8;
	uint64_t *be;
	int rc;

	lo = ALIGN_DOWN(lo, per_sector);
	hi = MIN(ALIGN_UP(hi, per_sector), n);
	be = malloc((hi - lo) * 8);
	if (!be)
		return -ENOMEM;
	for (uint64_t i = lo; i < hi; i++)
		be[i - lo] = htobe64(v[i]);
	rc = q->file->ops->pwrite(q->file, offset + lo * 8, be, (hi - lo) * 8);
	free(be);
	return rc;
}

static int write_refcounts(struct q2 *q)
{
	struct q2_table *t, *tmp;
	int rc = 0;

	list_for_each_safe(t, tmp, &q->refs.dirty, dirty) {
		rc = write_table(q, t);
		if (rc)
			return rc;
	}
	if (q->rt_lo >= q->rt_hi)
		return 0;
	rc = bfile_sync(q->file);
	if (!rc)
		rc = write_numbers(q, q->h.reftable_offset, q->reftable, q->rt_lo, q->rt_hi, q->reftable_entries);
	if (!rc) {
		q->rt_lo = UINT64_MAX;
		q->rt_hi = 0;
	}
	return rc;
}

static int write_l2(struct q2 *q, bool fresh)
{
	struct q2_table *t, *tmp;

	list_for_each_safe(t, tmp, &q->l2.dirty, dirty) {
		int rc = !fresh || t->fresh ? write_table(q, t) : 0;

		if (rc)
			return rc;
	}
	return 0;
}

int q2_write_back(struct q2 *q)
{
	int rc = q->lazy && !q->closing ? 0 : write_refcounts(q);

	if (!rc)
		rc = write_l2(q, true);
	if (rc || (list_empty(&q->l2.dirty) && q->l1_lo >= q->l1_hi))
		return rc;
	rc = bfile_sync(q->file);
	if (!rc)
		rc = write_l2(q, false);
	if (!rc && q->l1_lo < q->l1_hi)
		rc = write_numbers(q, q->h.l1_offset, q->l1, q->l1_lo, q->l1_hi, q->h.l1_size);
	if (!rc) {
		q->l1_lo = UINT32_MAX;
		q->l1_hi = 0;
	}
	return rc;
}

int q2_flush_all(struct q2 *q)
{
	int rc = q2_write_back(q);

	if (!rc)
		rc = bfile_sync(q->file);
	if (!rc)
		q2_freed_stable(q, q2_freed_now(q), false);
	return rc;
}

int q2_free_later(struct q2 *q, uint64_t offset, uint64_t n)
{
	struct q2_freed *last = q->freed_n > q->freed_head ? &q->freed[q->freed_n - 1] : NULL;

	q2_table_drop(q, &q->l2, offset);
	if (last && q->freed_base + q->freed_n > q->freed_fence && last->offset + (last->n << q->cluster_bits) == offset) {
		last->n += n;
		return 0;
	}
	if (q->freed_n == q->freed_cap) {
		size_t cap = MAX(q->freed_cap * 2, (size_t)64);
		struct q2_freed *more = realloc(q->freed, cap * sizeof(*more));

		if (!more)
			return -ENOMEM; /* the clusters leak */
		q->freed = more;
		q->freed_cap = cap;
	}
	q->freed[q->freed_n++] = (struct q2_freed){ offset, n };
	return 0;
}

uint64_t q2_freed_now(struct q2 *q)
{
	q->freed_fence = q->freed_base + q->freed_n;
	return q->freed_fence;
}

struct punch {
	struct bio bio;
	struct q2 *q;
};

static void punched(struct bio *b, int rc)
{
	struct punch *p = CONTAINER_OF(b, struct punch, bio);

	/* Whether the host could give the space back or not. */
	q2_refcount_add(p->q, b->offset, b->len >> p->q->cluster_bits, -1);
	p->q->n_punch--;
	free(p);
}

/* Clusters whose last pointer has gone: the host may have the space, and then they are free. */
static void punch(struct q2 *q, uint64_t offset, uint64_t n)
{
	struct punch *p = calloc(1, sizeof(*p));

	if (!p) {
		q2_refcount_add(q, offset, n, -1);
		return;
	}
	p->q = q;
	p->bio = (struct bio){ .op = BLK_DISCARD, .offset = offset, .len = n << q->cluster_bits, .done = punched };
	q->n_punch++;
	q->file->ops->submit(q->file, &p->bio);
}

static void set_free(struct q2 *q, const struct q2_freed *f, bool with_punch)
{
	uint64_t run = 0;

	if (!with_punch) {
		q2_refcount_add(q, f->offset, f->n, -1);
		return;
	}
	for (uint64_t i = 0; i <= f->n; i++) {
		uint64_t v = 0;

		if (i < f->n && !q2_refcount_get(q, (f->offset >> q->cluster_bits) + i, &v) && v == 1) {
			run++;
			continue;
		}
		if (run)
			punch(q, f->offset + ((i - run) << q->cluster_bits), run);
		run = 0;
		if (i < f->n)
			q2_refcount_add(q, f->offset + (i << q->cluster_bits), 1, -1);
	}
}

void q2_freed_stable(struct q2 *q, uint64_t number, bool with_punch)
{
	while (q->freed_head < q->freed_n && q->freed_base + q->freed_head < number) {
		const struct q2_freed f = q->freed[q->freed_head++];

		set_free(q, &f, with_punch);
	}
	if (q->freed_head == q->freed_n) {
		q->freed_base += q->freed_n;
		q->freed_head = q->freed_n = 0;
	}
}

void q2_quiesce(struct q2 *q)
{
	while (q->n_punch)
		loop_step(q->base.loop, UINT64_MAX);
}
