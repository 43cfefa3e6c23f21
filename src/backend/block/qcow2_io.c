/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests on a qcow2 image.
 *
 * A request is cut into parts where the mapping changes; each part is one transfer. Tables are used and changed only on the
 * loop's thread and without waiting between, so they need no lock; what they need is that no two requests
 * change the mapping of the same cluster, and that nothing is freed that is being read. So a request holds
 * its range of clusters while it is under way, and exclusively if it changes what they map to.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/qcow2_impl.h"

#define INLINE_IOV 8

struct q2_req {
	struct q2 *q;
	struct bio *parent;
	struct range range;
	bool ranged;
	unsigned n_parts; /* under way, and 1 while parts are still being started */
	int rc;
	uint64_t flush_number;
	struct loop_work work;
	struct list node;
};

/* A transfer to or from the file or the backing image; q2_part.bio is what that layer sees. */
struct q2_part {
	struct bio bio;
	struct q2_req *req;
	struct iovec fixed[INLINE_IOV], *iov;
	uint8_t *buf;             /* copy-on-write or encryption: the bytes in the file's form */
	uint64_t guest;           /* where the part of the parent's bytes begins */
	uint64_t len;             /* ... and how many */
	/* Allocating writes: */
	uint64_t first, n, host;  /* guest offset of the first cluster, their number, where they are now */
	bool reused;              /* they had been allocated before */
	uint64_t end;             /* guest offset of what buf and host cover, from first on */
	struct bio cow;           /* reads the old contents */
	struct iovec cow_iov;
	struct list node;
};

static struct q2_req *get_req(struct q2 *q)
{
	struct q2_req *r;

	if (list_empty(&q->free_reqs))
		return calloc(1, sizeof(*r));
	r = list_entry(q->free_reqs.next, struct q2_req, node);
	list_del(&r->node);
	return r;
}

static struct q2_part *get_part(struct q2_req *r)
{
	struct q2 *q = r->q;
	struct q2_part *p;

	if (list_empty(&q->free_parts)) {
		p = calloc(1, sizeof(*p));
	} else {
		p = list_entry(q->free_parts.next, struct q2_part, node);
		list_del(&p->node);
	}
	if (!p)
		return NULL;
	p->req = r;
	p->iov = p->fixed;
	p->buf = NULL;
	p->reused = false;
	r->n_parts++;
	return p;
}

static void put_part(struct q2_part *p)
{
	if (p->iov != p->fixed)
		free(p->iov);
	free(p->buf);
	list_add_tail(&p->req->q->free_parts, &p->node);
}

void q2_free_pools(struct q2 *q)
{
	while (!list_empty(&q->free_reqs)) {
		struct q2_req *r = list_entry(q->free_reqs.next, struct q2_req, node);

		list_del(&r->node);
		free(r);
	}
	while (!list_empty(&q->free_parts)) {
		struct q2_part *p = list_entry(q->free_parts.next, struct q2_part, node);

		list_del(&p->node);
		free(p);
	}
}

static void end_req(struct q2_req *r)
{
	struct q2 *q = r->q;
	struct bio *b = r->parent;
	const int rc = r->rc;

	if (r->ranged)
		ranges_leave(&q->ranges, &r->range);
	list_add_tail(&q->free_reqs, &r->node);
	b->done(b, rc);
}

static void fua_done(struct bio *b, int rc)
{
	struct q2_part *p = CONTAINER_OF(b, struct q2_part, bio);
	struct q2_req *r = p->req;

	if (rc && !r->rc)
		r->rc = rc;
	put_part(p);
	end_req(r);
}

static void last_part_done(struct q2_req *r)
{
	struct q2_part *p;

	if (r->rc || !r->parent->fua) {
		end_req(r);
		return;
	}
	/* Stable: all tables, then a sync. */
	r->rc = q2_write_back(r->q);
	p = r->rc ? NULL : get_part(r);
	if (!p) {
		r->rc = r->rc ? r->rc : -ENOMEM;
		end_req(r);
		return;
	}
	p->bio = (struct bio){ .op = BLK_FLUSH, .done = fua_done };
	r->q->file->ops->submit(r->q->file, &p->bio);
}

/* A part is over, or the starting of parts is. */
static void drop(struct q2_req *r, int rc)
{
	if (rc && !r->rc)
		r->rc = rc;
	if (!--r->n_parts)
		last_part_done(r);
}

static void part_done(struct bio *b, int rc)
{
	struct q2_part *p = CONTAINER_OF(b, struct q2_part, bio);
	struct q2_req *r = p->req;

	put_part(p);
	drop(r, rc);
}

/* The vectors of the parent's bytes from guest offset p->guest on, behind skip vectors of our own. */
static bool slice(struct q2_part *p, unsigned before, unsigned behind)
{
	const struct bio *b = p->req->parent;
	const unsigned most = b->n_iov + before + behind;

	if (most > INLINE_IOV) {
		p->iov = malloc(most * sizeof(*p->iov));
		if (!p->iov) {
			p->iov = p->fixed;
			return false;
		}
	}
	p->bio.n_iov = before + behind + iov_slice(p->iov + before, b->iov, b->n_iov, p->guest - b->offset, p->len);
	p->bio.iov = p->iov;
	return true;
}

static void to_file(struct q2_part *p)
{
	struct bfile *f = p->req->q->file;

	f->ops->submit(f, &p->bio);
}

static void decrypt_done(struct bio *b, int rc)
{
	struct q2_part *p = CONTAINER_OF(b, struct q2_part, bio);
	const struct bio *parent = p->req->parent;

	if (!rc)
		rc = luks_decrypt(p->req->q->luks, b->offset, p->buf, p->len);
	if (!rc)
		iov_from_buf(parent->iov, parent->n_iov, p->guest - parent->offset, p->buf, p->len);
	part_done(b, rc);
}

static bool own_buffer(struct q2_part *p, uint64_t len)
{
	if (posix_memalign((void **)&p->buf, 4096, len))
		p->buf = NULL;
	p->fixed[0] = (struct iovec){ p->buf, len };
	p->iov = p->fixed;
	p->bio.iov = p->iov;
	p->bio.n_iov = 1;
	return p->buf;
}

static int read_data(struct q2_req *r, uint64_t guest, const struct q2_map *m)
{
	struct q2_part *p = get_part(r);
	bool ok;

	if (!p)
		return -ENOMEM;
	p->guest = guest;
	p->len = m->len;
	p->bio = (struct bio){ .op = BLK_READ, .offset = m->host, .len = m->len };
	p->bio.done = r->q->luks ? decrypt_done : part_done;
	ok = r->q->luks ? own_buffer(p, m->len) : slice(p, 0, 0);
	if (!ok)
		bio_finish_later(r->q->base.loop, &p->bio, -ENOMEM);
	else
		to_file(p);
	return 0;
}

static int read_backing(struct q2_req *r, uint64_t guest, uint64_t len)
{
	struct image *below = r->q->base.backing;
	const uint64_t there = below && guest < below->size ? MIN(len, below->size - guest) : 0;
	struct q2_part *p;

	if (there < len)
		iov_zero(r->parent->iov, r->parent->n_iov, guest - r->parent->offset + there, len - there);
	if (!there)
		return 0;
	p = get_part(r);
	if (!p)
		return -ENOMEM;
	p->guest = guest;
	p->len = there;
	p->bio = (struct bio){ .op = BLK_READ, .offset = guest, .len = there, .done = part_done };
	if (slice(p, 0, 0))
		below->ops->submit(below, &p->bio);
	else
		bio_finish_later(r->q->base.loop, &p->bio, -ENOMEM);
	return 0;
}

static int read_packed(struct q2_req *r, uint64_t guest, const struct q2_map *m)
{
	struct q2 *q = r->q;
	int rc = q2_unpack(q, m->entry);

	if (!rc)
		iov_from_buf(r->parent->iov, r->parent->n_iov, guest - r->parent->offset,
			     q->unpacked + (guest & (q->cluster_size - 1)), m->len);
	return rc;
}

static int start_read(struct q2_req *r)
{
	const struct bio *b = r->parent;
	uint64_t at = b->offset;
	int rc = 0;

	while (at < b->offset + b->len && !rc) {
		struct q2_map m;

		rc = q2_map(r->q, at, b->offset + b->len - at, &m);
		if (rc)
			break;
		switch (m.kind) {
		case Q2_DATA:
			rc = read_data(r, at, &m);
			break;
		case Q2_NONE:
			rc = read_backing(r, at, m.len);
			break;
		case Q2_PACKED:
			rc = read_packed(r, at, &m);
			break;
		case Q2_ZEROES:
			iov_zero(b->iov, b->n_iov, at - b->offset, m.len);
			break;
		}
		at += m.len;
	}
	return rc;
}

/* The data of an allocating write is in its new place: now the tables may say so. */
static void written(struct bio *b, int rc)
{
	struct q2_part *p = CONTAINER_OF(b, struct q2_part, bio);
	struct q2 *q = p->req->q;

	if (!rc)
		rc = q2_remap(q, p->first, p->n, p->host);
	else if (!p->reused)
		q2_unalloc(q, p->host, p->n);
	part_done(b, rc);
}

/* p->buf holds whole clusters in plain text: on to the file. */
static void write_buffer(struct q2_part *p)
{
	struct q2_req *r = p->req;
	struct q2 *q = r->q;
	const uint64_t len = p->end - p->first;
	int rc = 0;

	iov_to_buf(r->parent->iov, r->parent->n_iov, p->guest - r->parent->offset, p->buf + (p->guest - p->first), p->len);
	if (q->luks)
		rc = luks_encrypt(q->luks, p->host, p->buf, len);
	p->fixed[0] = (struct iovec){ p->buf, len };
	p->bio = (struct bio){ .op = BLK_WRITE, .offset = p->host, .len = len, .iov = p->fixed, .n_iov = 1, .done = written };
	if (rc)
		bio_finish_later(q->base.loop, &p->bio, rc);
	else
		to_file(p);
}

static void cow_failed(struct q2_part *p, int rc)
{
	p->bio.done = written;
	bio_finish_later(p->req->q->base.loop, &p->bio, rc);
}

/* Read what is in the way of a whole cluster through the old mapping, which stands as long as the range is ours. */
static void cow_read(struct q2_part *p, uint64_t from, uint64_t to, void (*done)(struct bio *b, int rc))
{
	struct q2 *q = p->req->q;
	struct q2_req *r = get_req(q);

	q->n_cow++;
	/* The disk may end inside of its last cluster. */
	to = MIN(to, MAX(q->base.size, from));
	p->cow_iov = (struct iovec){ p->buf + (from - p->first), to - from };
	p->cow = (struct bio){ .op = BLK_READ, .offset = from, .len = to - from, .iov = &p->cow_iov, .n_iov = 1, .done = done };
	if (!r) {
		cow_failed(p, -ENOMEM);
		return;
	}
	*r = (struct q2_req){ .q = q, .parent = &p->cow, .n_parts = 1 };
	r->rc = start_read(r);
	if (r->n_parts > 1) {
		drop(r, 0);
		return;
	}
	bio_finish_later(q->base.loop, &p->cow, r->rc);
	list_add_tail(&q->free_reqs, &r->node);
}

static void cow_tail_done(struct bio *b, int rc)
{
	struct q2_part *p = CONTAINER_OF(b, struct q2_part, cow);

	if (rc)
		cow_failed(p, rc);
	else
		write_buffer(p);
}

static void cow_tail(struct q2_part *p)
{
	const uint64_t from = p->guest + p->len;

	if (from < p->end)
		cow_read(p, from, p->end, cow_tail_done);
	else
		write_buffer(p);
}

static void cow_head_done(struct bio *b, int rc)
{
	struct q2_part *p = CONTAINER_OF(b, struct q2_part, cow);

	if (rc)
		cow_failed(p, rc);
	else
		cow_tail(p);
}

/* The cluster's other bytes read as zero now, and in the new place they are zero already. */
static bool rest_is_zero(const struct q2 *q, const struct q2_map *m, const struct q2_part *p, bool fresh)
{
	if (q->luks || !fresh)
		return false;
	return m->kind == Q2_ZEROES || (m->kind == Q2_NONE && (!q->base.backing || p->first >= q->base.backing->size));
}

static void write_allocated(struct q2_part *p, const struct q2_map *m, bool fresh)
{
	struct q2 *q = p->req->q;
	const uint64_t whole = p->n << q->cluster_bits;

	p->end = p->first + whole;
	p->bio = (struct bio){ .op = BLK_WRITE, .offset = p->host + (p->guest - p->first), .len = p->len, .done = written };
	if (!q->luks && (p->len == whole || rest_is_zero(q, m, p, fresh))) {
		if (slice(p, 0, 0))
			to_file(p);
		else
			cow_failed(p, -ENOMEM);
		return;
	}
	if (posix_memalign((void **)&p->buf, 4096, whole)) {
		p->buf = NULL;
		cow_failed(p, -ENOMEM);
		return;
	}
	memset(p->buf, 0, p->guest - p->first);
	memset(p->buf + (p->guest + p->len - p->first), 0, p->end - p->guest - p->len);
	if (m->kind == Q2_ZEROES || (m->kind == Q2_NONE && !q->base.backing))
		write_buffer(p);
	else if (p->guest > p->first)
		cow_read(p, p->first, p->guest, cow_head_done);
	else
		cow_tail(p);
}

/* Into clusters of their own: as many as there are in a row. *len: how far that goes. */
static int write_new(struct q2_req *r, uint64_t guest, const struct q2_map *m, uint64_t *len)
{
	struct q2 *q = r->q;
	const uint64_t first = ALIGN_DOWN(guest, q->cluster_size), n = q2_clusters(q, guest + m->len - first);
	const uint64_t zero_from = q->zero_from;
	struct q2_table *t;
	unsigned index;
	struct q2_part *p;
	/* The table first, so that later only the entry has to be changed. */
	int rc = q2_l2_for_write(q, guest, &t, &index);

	if (rc)
		return rc;
	p = get_part(r);
	if (!p)
		return -ENOMEM;
	p->guest = guest;
	p->first = first;
	p->n = n;
	p->reused = m->kind == Q2_ZEROES && m->copied && m->host;
	if (p->reused)
		p->host = m->host;
	else
		rc = q2_alloc(q, n, false, &p->host, &p->n);
	if (rc) {
		put_part(p);
		r->n_parts--;
		return rc;
	}
	*len = p->len = MIN(m->len, first + (p->n << q->cluster_bits) - guest);
	write_allocated(p, m, !p->reused && p->host >= zero_from);
	return 0;
}

static int write_in_place(struct q2_req *r, uint64_t guest, const struct q2_map *m)
{
	struct q2 *q = r->q;
	struct q2_part *p;
	int rc = 0;

	if (q2_is_metadata(q, m->host, m->len))
		return q2_corrupt(q, "guest offset %#llx is mapped to the image's own tables", (unsigned long long)guest);
	p = get_part(r);
	if (!p)
		return -ENOMEM;
	p->guest = guest;
	p->len = m->len;
	p->bio = (struct bio){ .op = BLK_WRITE, .offset = m->host, .len = m->len, .done = part_done };
	if (!q->luks) {
		rc = slice(p, 0, 0) ? 0 : -ENOMEM;
	} else if (own_buffer(p, m->len)) {
		iov_to_buf(r->parent->iov, r->parent->n_iov, guest - r->parent->offset, p->buf, m->len);
		rc = luks_encrypt(q->luks, m->host, p->buf, m->len);
	} else {
		rc = -ENOMEM;
	}
	if (rc)
		bio_finish_later(q->base.loop, &p->bio, rc);
	else
		to_file(p);
	return 0;
}

static int start_write(struct q2_req *r)
{
	const struct bio *b = r->parent;
	uint64_t at = b->offset;
	int rc = 0;

	while (at < b->offset + b->len && !rc) {
		struct q2_map m;

		rc = q2_map(r->q, at, b->offset + b->len - at, &m);
		if (rc)
			break;
		if (m.kind == Q2_DATA && m.copied)
			rc = write_in_place(r, at, &m);
		else
			rc = write_new(r, at, &m, &m.len);
		at += m.len;
	}
	return rc;
}

static const uint8_t zeroes[64 * KiB];

struct edge {
	struct bio bio;
	struct q2_part *p;
	struct iovec iov[Q2_MAX_CLUSTER_BITS > 16 ? 1u << (Q2_MAX_CLUSTER_BITS - 16) : 1];
};

static void edge_done(struct bio *b, int rc)
{
	struct edge *e = CONTAINER_OF(b, struct edge, bio);
	struct q2_part *p = e->p;

	free(e);
	part_done(&p->bio, rc);
}

/* Less than a cluster that is to be zero: written, unless it is zero already. */
static int zero_edge(struct q2_req *r, uint64_t from, uint64_t to)
{
	struct q2 *q = r->q;
	struct q2_map m;
	struct q2_part *p;
	struct q2_req *sub;
	struct edge *e;
	unsigned n = 0;
	int rc = from < to ? q2_map(q, from, to - from, &m) : 0;

	if (rc || from >= to || m.kind == Q2_ZEROES || (m.kind == Q2_NONE && !q->base.backing))
		return rc;
	e = calloc(1, sizeof(*e));
	sub = get_req(q);
	p = e && sub ? get_part(r) : NULL;
	if (!p) {
		free(e);
		if (sub)
			list_add_tail(&q->free_reqs, &sub->node);
		return -ENOMEM;
	}
	e->p = p;
	for (uint64_t left = to - from; left; left -= e->iov[n++].iov_len)
		e->iov[n] = (struct iovec){ (void *)(uintptr_t)zeroes, MIN(left, sizeof(zeroes)) };
	e->bio = (struct bio){ .op = BLK_WRITE, .offset = from, .len = to - from, .iov = e->iov, .n_iov = n, .done = edge_done };
	*sub = (struct q2_req){ .q = q, .parent = &e->bio, .n_parts = 1 };
	sub->rc = start_write(sub);
	drop(sub, 0);
	return 0;
}

static bool below(const struct q2 *q)
{
	return q->base.backing || q->backing_file;
}

static int start_zero(struct q2_req *r)
{
	struct q2 *q = r->q;
	const struct bio *b = r->parent;
	const bool discard = b->op == BLK_DISCARD;
	/* The last cluster of the disk may be cut off; what is behind the end does not matter. */
	const uint64_t end = b->offset + b->len, whole_end = end == q->base.size ? ALIGN_UP(end, q->cluster_size) : end;
	const uint64_t from = ALIGN_UP(b->offset, q->cluster_size), to = ALIGN_DOWN(whole_end, q->cluster_size);
	uint64_t at = b->offset;
	int rc = 0;

	if (discard || (from < to && (q->h.version >= 3 || !below(q)))) {
		rc = from < to ? q2_zero_clusters(q, from, (to - from) >> q->cluster_bits, b->unmap || discard, discard) : 0;
		if (!rc && !discard)
			rc = zero_edge(r, at, from);
		return rc || discard ? rc : zero_edge(r, MIN(to, end), end);
	}
	/* No whole cluster, or a version without a way to say that one is zero. */
	while (at < end && !rc) {
		const uint64_t next = MIN(end, ALIGN_DOWN(at, q->cluster_size) + q->cluster_size);

		rc = zero_edge(r, at, next);
		at = next;
	}
	return rc;
}

static int dispatch(struct q2_req *r)
{
	switch (r->parent->op) {
	case BLK_READ:
		return start_read(r);
	case BLK_WRITE:
		return start_write(r);
	default:
		return start_zero(r);
	}
}

/* Does the write need only what is allocated already? */
static bool in_place(struct q2 *q, const struct bio *b)
{
	uint64_t at = b->offset;

	while (at < b->offset + b->len) {
		struct q2_map m;

		if (q2_map(q, at, b->offset + b->len - at, &m) || m.kind != Q2_DATA || !m.copied)
			return false;
		at += m.len;
	}
	return true;
}

static void late_end(struct loop_work *w)
{
	drop(CONTAINER_OF(w, struct q2_req, work), 0);
}

static void start(struct q2_req *r)
{
	r->n_parts = 1;
	r->rc = dispatch(r);
	/* done() must not be called from inside of the submission. */
	if (r->n_parts == 1) {
		r->work.fn = late_end;
		loop_defer(r->q->base.loop, &r->work);
	} else {
		drop(r, 0);
	}
}

static void enter(struct q2_req *r);

static void granted(struct range *range)
{
	struct q2_req *r = CONTAINER_OF(range, struct q2_req, range);

	/* What it waited for may have taken the clusters away that it wanted to write to. */
	if (r->parent->op == BLK_WRITE && !range->exclusive && !in_place(r->q, r->parent)) {
		ranges_leave(&r->q->ranges, range);
		enter(r);
		return;
	}
	start(r);
}

static void enter(struct q2_req *r)
{
	const struct bio *b = r->parent;
	const uint64_t mask = r->q->cluster_size;

	r->ranged = true;
	r->range = (struct range){ .start = ALIGN_DOWN(b->offset, mask), .end = ALIGN_UP(b->offset + b->len, mask),
				   .granted = granted };
	r->range.exclusive = b->op != BLK_READ && (b->op != BLK_WRITE || !in_place(r->q, b));
	if (ranges_enter(&r->q->ranges, &r->range))
		start(r);
}

static void flush_done(struct bio *b, int rc)
{
	struct q2_part *p = CONTAINER_OF(b, struct q2_part, bio);
	struct q2_req *r = p->req;

	if (!rc)
		q2_freed_stable(r->q, r->flush_number, true);
	put_part(p);
	r->rc = rc;
	end_req(r);
}

static void start_flush(struct q2_req *r)
{
	struct q2 *q = r->q;
	struct q2_part *p = get_part(r);
	int rc = p ? q2_write_back(q) : -ENOMEM;

	if (rc) {
		struct bio *b = r->parent;

		if (p)
			put_part(p);
		list_add_tail(&q->free_reqs, &r->node);
		bio_finish_later(q->base.loop, b, rc);
		return;
	}
	r->flush_number = q2_freed_now(q);
	p->bio = (struct bio){ .op = BLK_FLUSH, .done = flush_done };
	to_file(p);
}

void q2_submit(struct image *img, struct bio *b)
{
	struct q2 *q = q2_of(img);
	struct q2_req *r = get_req(q);

	if (!r) {
		bio_finish_later(img->loop, b, -ENOMEM);
		return;
	}
	*r = (struct q2_req){ .q = q, .parent = b, .n_parts = 1 };
	if (b->op == BLK_FLUSH)
		start_flush(r);
	else
		enter(r);
}
