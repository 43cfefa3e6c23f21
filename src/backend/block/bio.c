/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Vectors of memory, ranges that exclude each other, requests that end later. */
#include <string.h>

#include "backend/block/bio.h"

static void finish(struct loop_work *w)
{
	struct bio *b = CONTAINER_OF(w, struct bio, work);

	b->done(b, b->rc);
}

void bio_finish_later(struct loop *l, struct bio *b, int rc)
{
	b->rc = rc;
	b->work.fn = finish;
	loop_defer(l, &b->work);
}

uint64_t iov_length(const struct iovec *iov, unsigned n)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

unsigned iov_slice(struct iovec *out, const struct iovec *iov, unsigned n, uint64_t skip, uint64_t len)
{
	unsigned k = 0;

	for (unsigned i = 0; i < n && len; i++) {
		uint64_t l;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		l = MIN(iov[i].iov_len - skip, len);
		out[k++] = (struct iovec){ (uint8_t *)iov[i].iov_base + skip, l };
		len -= l;
		skip = 0;
	}
	BUG_ON(len);
	return k;
}

enum move { TO_BUF, FROM_BUF, ZERO };

static void iov_move(const struct iovec *iov, unsigned n, uint64_t skip, void *buf, uint64_t len, enum move move)
{
	uint8_t *p = buf;

	for (unsigned i = 0; i < n && len; i++) {
		uint8_t *at = iov[i].iov_base;
		uint64_t l;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		l = MIN(iov[i].iov_len - skip, len);
		if (move == TO_BUF)
			memcpy(p, at + skip, l);
		else if (move == FROM_BUF)
			memcpy(at + skip, p, l);
		else
			memset(at + skip, 0, l);
		p = p ? p + l : NULL;
		len -= l;
		skip = 0;
	}
	BUG_ON(len);
}

void iov_to_buf(const struct iovec *iov, unsigned n, uint64_t skip, void *buf, uint64_t len)
{
	iov_move(iov, n, skip, buf, len, TO_BUF);
}

void iov_from_buf(const struct iovec *iov, unsigned n, uint64_t skip, const void *buf, uint64_t len)
{
	iov_move(iov, n, skip, (void *)(uintptr_t)buf, len, FROM_BUF);
}

void iov_zero(const struct iovec *iov, unsigned n, uint64_t skip, uint64_t len)
{
	iov_move(iov, n, skip, NULL, len, ZERO);
}

bool is_zero(const void *p, size_t len)
{
	const uint8_t *b = p;

	/* The first byte, and that each is like the one before it: memcmp() is fast. */
	return !len || (!b[0] && !memcmp(b, b + 1, len - 1));
}

void ranges_init(struct ranges *rs)
{
	list_init(&rs->held);
	rs->n_exclusive = 0;
}

bool ranges_enter(struct ranges *rs, struct range *r)
{
	struct range *h;

	if (r->exclusive || rs->n_exclusive) {
		list_for_each(h, &rs->held, node) {
			if (h->start < r->end && r->start < h->end && (h->exclusive || r->exclusive)) {
				list_add_tail(&h->waiters, &r->node);
				return false;
			}
		}
	}
	list_init(&r->waiters);
	list_add_tail(&rs->held, &r->node);
	rs->n_exclusive += r->exclusive;
	return true;
}

void ranges_leave(struct ranges *rs, struct range *r)
{
	struct list waiting;

	list_del(&r->node);
	rs->n_exclusive -= r->exclusive;
	list_init(&waiting);
	while (!list_empty(&r->waiters)) {
		struct list *n = r->waiters.next;

		list_del(n);
		list_add_tail(&waiting, n);
	}
	/* granted() may end r's owner, so r is not touched any more. */
	while (!list_empty(&waiting)) {
		struct range *w = list_entry(waiting.next, struct range, node);

		list_del(&w->node);
		if (ranges_enter(rs, w))
			w->granted(w);
	}
}
