/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk: requests from any thread, carried out by the disk's own.
 *
 * The thread takes what was submitted, lets it pass the limits, hands it to the image and sleeps in its loop until
 * something is done or new. A request that a done() submits is picked up in the same round, without a system call.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/blk_impl.h"
#include "base/log.h"

#define RETRY_NS 1000000000ull /* between trials of what the host had no space for */

struct rq {
	struct bio bio;
	struct blk *b;
	struct blk_request *r;
	uint64_t start_ns;
	bool was_kept;
	struct list node; /* free_rqs or kept */
};

static bool writes(enum blk_op op)
{
	return op == BLK_WRITE || op == BLK_WRITE_ZEROES || op == BLK_DISCARD;
}

void blk_submit(struct blk *b, struct blk_request *r)
{
	lock_take(&b->lock);
	list_add_tail(&b->incoming, &r->node);
	b->outstanding++;
	lock_drop(&b->lock);
	loop_wake(b->loop);
}

static void end_request(struct blk *b, struct blk_request *r, int rc)
{
	r->done(r, rc);
	lock_take(&b->lock);
	b->outstanding--;
	/* Waking a thread that drains for each request would cost more than the request. */
	if (b->outstanding <= b->n_kept)
		pthread_cond_broadcast(&b->quiet);
	lock_drop(&b->lock);
}

static void count(struct blk *b, const struct rq *q, int rc)
{
	struct blk_counter *c = &b->count[q->r->op];

	atomic_fetch_add_explicit(&c->n, 1, memory_order_relaxed);
	if (q->r->op != BLK_FLUSH)
		atomic_fetch_add_explicit(&c->bytes, q->r->len, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->ns, loop_now() - q->start_ns, memory_order_relaxed);
	if (rc)
		atomic_fetch_add_explicit(&c->errors, 1, memory_order_relaxed);
}

static bool gives_up(const struct blk *b)
{
	return b->stop || b->giving_up;
}

/* True when the request stays with us until there is space. */
static bool keep(struct blk *b, struct rq *q)
{
	const struct blk_space_handlers *h;
	void *opaque;

	lock_take(&b->lock);
	h = gives_up(b) ? NULL : b->space;
	opaque = b->space_opaque;
	if (h)
		b->n_kept++;
	pthread_cond_broadcast(&b->quiet);
	lock_drop(&b->lock);
	if (!h)
		return false;
	if (list_empty(&b->kept))
		b->retry_ns = loop_now() + RETRY_NS;
	list_add_tail(&b->kept, &q->node);
	b->n_full += !q->was_kept;
	q->was_kept = true;
	if (!b->full_reported) {
		b->full_reported = true;
		h->full(opaque);
	}
	return true;
}

/* The request is done. Was it the last of those that had no space? */
static void note_space(struct blk *b, struct rq *q)
{
	const struct blk_space_handlers *h;
	void *opaque;

	if (!q->was_kept)
		return;
	q->was_kept = false;
	if (--b->n_full)
		return;
	b->full_reported = false;
	lock_take(&b->lock);
	h = b->space;
	opaque = b->space_opaque;
	lock_drop(&b->lock);
	if (h)
		h->on(opaque);
}

static void image_done(struct bio *bio, int rc)
{
	struct rq *q = CONTAINER_OF(bio, struct rq, bio);
	struct blk *b = q->b;
	struct blk_request *r = q->r;

	b->active--;
	if (unlikely(rc == -ENOSPC || rc == -EDQUOT) && r->op != BLK_READ && keep(b, q))
		return;
	count(b, q, rc);
	note_space(b, q);
	list_add_tail(&b->free_rqs, &q->node);
	end_request(b, r, rc);
}

static int check(const struct blk *b, const struct blk_request *r)
{
	const uint64_t size = atomic_load_explicit(&b->size, memory_order_relaxed);

	if (r->op == BLK_FLUSH)
		return 0;
	if ((r->offset | r->len) & (b->block_size - 1) || r->offset > size || r->len > size - r->offset)
		return -EINVAL;
	if (r->op <= BLK_WRITE && iov_length(r->iov, r->n_iov) != r->len)
		return -EINVAL;
	return writes(r->op) && b->img->readonly ? -EROFS : 0;
}

static struct rq *get_rq(struct blk *b)
{
	struct rq *q;

	if (list_empty(&b->free_rqs))
		return calloc(1, sizeof(*q));
	q = list_entry(b->free_rqs.next, struct rq, node);
	list_del(&q->node);
	return q;
}

static void submit_to_image(struct blk *b, struct rq *q)
{
	const struct blk_request *r = q->r;
	const bool unsafe = b->cache == BLK_CACHE_UNSAFE;

	q->bio.op = r->op;
	q->bio.fua = (r->fua || b->cache == BLK_CACHE_WRITETHROUGH) && !unsafe && writes(r->op);
	q->bio.unmap = r->unmap && b->discard;
	q->bio.offset = r->op == BLK_FLUSH ? 0 : r->offset;
	q->bio.len = r->op == BLK_FLUSH ? 0 : r->len;
	q->bio.iov = r->iov;
	q->bio.n_iov = r->op <= BLK_WRITE ? r->n_iov : 0;
	q->bio.done = image_done;
	b->active++;
	b->img->ops->submit(b->img, &q->bio);
}

/* Requests that need nothing of the image. */
static bool trivial(const struct blk *b, const struct blk_request *r)
{
	if (r->op == BLK_FLUSH)
		return b->cache == BLK_CACHE_UNSAFE || b->img->readonly;
	return !r->len || (r->op == BLK_DISCARD && !b->discard);
}

static void start(struct blk *b, struct blk_request *r)
{
	int rc = check(b, r);
	struct rq *q;

	if (rc || trivial(b, r)) {
		end_request(b, r, rc);
		return;
	}
	q = get_rq(b);
	if (!q) {
		end_request(b, r, -ENOMEM);
		return;
	}
	q->b = b;
	q->r = r;
	q->start_ns = loop_now();
	submit_to_image(b, q);
}

/* Nanoseconds until the limits let the next one of those that wait go. */
static uint64_t let_go(struct blk *b)
{
	while (!list_empty(&b->waiting)) {
		struct blk_request *r = list_entry(b->waiting.next, struct blk_request, node);
		const uint64_t now = loop_now(), t1 = throttle_wait(&b->bps, now), t2 = throttle_wait(&b->iops, now);

		if (t1 || t2)
			return MAX(t1, t2);
		throttle_take(&b->bps, r->op <= BLK_WRITE ? r->len : 0);
		throttle_take(&b->iops, 1);
		list_del(&r->node);
		start(b, r);
	}
	return UINT64_MAX;
}

static void take_all(struct list *from, struct list *to)
{
	while (!list_empty(from)) {
		struct list *n = from->next;

		list_del(n);
		list_add_tail(to, n);
	}
}

/* What was kept for lack of space is tried again, or fails. */
static void handle_kept(struct blk *b, bool give_up)
{
	struct list now;

	list_init(&now);
	take_all(&b->kept, &now);
	while (!list_empty(&now)) {
		struct rq *q = list_entry(now.next, struct rq, node);

		list_del(&q->node);
		lock_take(&b->lock);
		b->n_kept--;
		lock_drop(&b->lock);
		if (give_up) {
			struct blk_request *r = q->r;

			count(b, q, -ENOSPC);
			note_space(b, q);
			list_add_tail(&b->free_rqs, &q->node);
			end_request(b, r, -ENOSPC);
		} else {
			submit_to_image(b, q);
		}
	}
}

/* The next call that can be made; false: those that there are must wait until nothing is under way. */
static bool next_call(struct blk *b, struct blk_call_item **out)
{
	struct blk_call_item *c;
	bool none;

	*out = NULL;
	lock_take(&b->lock);
	list_for_each(c, &b->calls, node) {
		if (c->at_once || !b->active) {
			*out = c;
			b->n_at_once -= c->at_once;
			list_del(&c->node);
			break;
		}
	}
	none = list_empty(&b->calls);
	lock_drop(&b->lock);
	return *out || none;
}

/* False: requests are under way that must be waited for first. */
static bool finish_calls(struct blk *b)
{
	struct blk_call_item *c;

	while (next_call(b, &c)) {
		int rc;

		if (!c)
			return true;
		rc = c->fn(b->img, c->arg);
		lock_take(&b->lock);
		c->rc = rc;
		c->over = true;
		pthread_cond_broadcast(&b->quiet);
		lock_drop(&b->lock);
	}
	return false;
}

/* Take over what other threads have left. True when the disk is to stop and has nothing more to do. */
static bool take_work(struct blk *b)
{
	struct list fresh;
	bool calls, retry, give_up, stop;
	const bool due = !list_empty(&b->kept) && loop_now() >= b->retry_ns;

	list_init(&fresh);
	lock_take(&b->lock);
	take_all(&b->incoming, &fresh);
	calls = !list_empty(&b->calls);
	give_up = gives_up(b) && b->n_kept;
	retry = b->retry;
	b->retry = false;
	stop = b->stop;
	lock_drop(&b->lock);
	if (retry)
		b->full_reported = false; /* who asks wants to hear */
	if (retry || due || give_up)
		handle_kept(b, give_up);
	take_all(&fresh, &b->held);
	if (calls && !finish_calls(b))
		return false;
	while (!list_empty(&b->held)) {
		struct blk_request *r = list_entry(b->held.next, struct blk_request, node);

		list_del(&r->node);
		if (r->op == BLK_FLUSH)
			start(b, r);
		else
			list_add_tail(&b->waiting, &r->node);
	}
	return stop && !b->active && list_empty(&b->waiting);
}

/* Nothing has come since take_work(). */
static bool nothing_new(struct blk *b)
{
	bool nothing;

	lock_take(&b->lock);
	nothing = list_empty(&b->incoming) && !b->n_at_once && (list_empty(&b->calls) || b->active) && !b->retry && !(b->giving_up && b->n_kept) &&
		  (!b->stop || b->active || !list_empty(&b->waiting));
	lock_drop(&b->lock);
	return nothing;
}

struct birth {
	struct blk *b;
	int (*open)(struct blk *b, void *arg, struct err *e);
	void *arg;
	struct err *e;
	bool over; /* blk.lock */
	int rc;
};

/*
 * The image is opened and closed on this thread too: what it does asynchronously meanwhile belongs to the thread
 * that begins with it.
 */
static void *disk_thread(void *arg)
{
	struct birth *birth = arg;
	struct blk *b = birth->b;
	const int rc = birth->open(b, birth->arg, birth->e);

	if (!rc)
		atomic_store(&b->size, ALIGN_DOWN(b->img->size, b->block_size));
	lock_take(&b->lock);
	birth->rc = rc;
	birth->over = true;
	pthread_cond_broadcast(&b->quiet);
	lock_drop(&b->lock);
	if (rc)
		return NULL;
	while (!take_work(b)) {
		uint64_t wait = let_go(b), now = loop_now();

		if (!list_empty(&b->kept))
			wait = MIN(wait, b->retry_ns - MIN(now, b->retry_ns));
		loop_announce_sleep(b->loop);
		loop_step(b->loop, nothing_new(b) ? wait : 0);
	}
	b->close_rc = image_close(b->img);
	return NULL;
}

static void free_lists(struct blk *b)
{
	while (!list_empty(&b->free_rqs)) {
		struct rq *q = list_entry(b->free_rqs.next, struct rq, node);

		list_del(&q->node);
		free(q);
	}
	pthread_cond_destroy(&b->quiet);
	lock_release(&b->lock);
}

int blk_start(struct blk *b, int (*open)(struct blk *b, void *arg, struct err *e), void *arg, struct err *e)
{
	struct birth birth = { .b = b, .open = open, .arg = arg, .e = e };
	sigset_t all, old;
	int rc;

	lock_init(&b->lock, RANK_BLK);
	pthread_cond_init(&b->quiet, NULL);
	list_init(&b->incoming);
	list_init(&b->calls);
	list_init(&b->waiting);
	list_init(&b->held);
	list_init(&b->kept);
	list_init(&b->free_rqs);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&b->thread, NULL, disk_thread, &birth);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		free_lists(b);
		return err_set(e, rc, "%s: no thread for the disk: %s", b->file, strerror(rc));
	}
	lock_take(&b->lock);
	while (!birth.over)
		pthread_cond_wait(&b->quiet, &b->lock.m);
	lock_drop(&b->lock);
	if (birth.rc) {
		pthread_join(b->thread, NULL);
		free_lists(b);
	}
	return birth.rc;
}

int blk_stop(struct blk *b)
{
	lock_take(&b->lock);
	b->stop = true;
	lock_drop(&b->lock);
	loop_wake(b->loop);
	pthread_join(b->thread, NULL);
	free_lists(b);
	return b->close_rc;
}

void blk_drain(struct blk *b)
{
	lock_take(&b->lock);
	while (b->outstanding > b->n_kept)
		pthread_cond_wait(&b->quiet, &b->lock.m);
	lock_drop(&b->lock);
}

void blk_retry(struct blk *b)
{
	lock_take(&b->lock);
	b->retry = true;
	lock_drop(&b->lock);
	loop_wake(b->loop);
}

void blk_give_up(struct blk *b)
{
	lock_take(&b->lock);
	b->giving_up++;
	lock_drop(&b->lock);
	loop_wake(b->loop);
	lock_take(&b->lock);
	while (b->outstanding)
		pthread_cond_wait(&b->quiet, &b->lock.m);
	b->giving_up--;
	lock_drop(&b->lock);
}

void blk_set_space_handlers(struct blk *b, const struct blk_space_handlers *h, void *opaque)
{
	lock_take(&b->lock);
	b->space = h;
	b->space_opaque = opaque;
	lock_drop(&b->lock);
}

void blk_set_events(struct blk *b, const struct blk_events *ev, void *opaque)
{
	lock_take(&b->lock);
	b->events = ev ? *ev : (struct blk_events){ 0 };
	b->events_opaque = opaque;
	lock_drop(&b->lock);
}

struct blocking {
	struct blk_request r;
	struct blk *b;
	bool over; /* blk.lock */
	int rc;
};

static void blocking_done(struct blk_request *r, int rc)
{
	struct blocking *w = CONTAINER_OF(r, struct blocking, r);
	struct blk *b = w->b;

	lock_take(&b->lock);
	w->rc = rc;
	w->over = true;
	pthread_cond_broadcast(&b->quiet);
	lock_drop(&b->lock);
}

static int blocking(struct blk *b, enum blk_op op, uint64_t offset, void *buf, uint64_t len, bool unmap)
{
	struct iovec iov = { buf, len };
	struct blocking w = {
		.r = { .op = op, .offset = offset, .len = len, .unmap = unmap, .iov = &iov, .n_iov = 1, .done = blocking_done },
		.b = b
	};

	blk_submit(b, &w.r);
	lock_take(&b->lock);
	while (!w.over)
		pthread_cond_wait(&b->quiet, &b->lock.m);
	lock_drop(&b->lock);
	return w.rc;
}

int blk_read(struct blk *b, uint64_t offset, void *buf, size_t len)
{
	return blocking(b, BLK_READ, offset, buf, len, false);
}

int blk_write(struct blk *b, uint64_t offset, const void *buf, size_t len)
{
	return blocking(b, BLK_WRITE, offset, (void *)(uintptr_t)buf, len, false);
}

int blk_write_zeroes(struct blk *b, uint64_t offset, uint64_t len, bool unmap)
{
	return blocking(b, BLK_WRITE_ZEROES, offset, NULL, len, unmap);
}

int blk_flush(struct blk *b)
{
	return blocking(b, BLK_FLUSH, 0, NULL, 0, false);
}

static int call(struct blk *b, int (*fn)(struct image *img, void *arg), void *arg, bool at_once)
{
	struct blk_call_item c = { .fn = fn, .arg = arg, .at_once = at_once };

	lock_take(&b->lock);
	list_add_tail(&b->calls, &c.node);
	b->n_at_once += at_once;
	lock_drop(&b->lock);
	loop_wake(b->loop);
	lock_take(&b->lock);
	while (!c.over)
		pthread_cond_wait(&b->quiet, &b->lock.m);
	lock_drop(&b->lock);
	return c.rc;
}

int blk_call(struct blk *b, int (*fn)(struct image *img, void *arg), void *arg)
{
	return call(b, fn, arg, false);
}

int blk_call_at_once(struct blk *b, int (*fn)(struct image *img, void *arg), void *arg)
{
	return call(b, fn, arg, true);
}

struct resize {
	struct blk *b;
	uint64_t size;
	struct err *e;
};

static int do_resize(struct image *img, void *arg)
{
	const struct resize *r = arg;
	struct blk *b = r->b;
	struct blk_events ev;
	void *opaque;
	int rc = img->ops->resize(img, r->size, r->e);

	if (rc)
		return rc;
	atomic_store(&b->size, ALIGN_DOWN(img->size, b->block_size));
	lock_take(&b->lock);
	ev = b->events;
	opaque = b->events_opaque;
	lock_drop(&b->lock);
	if (ev.resized)
		ev.resized(opaque);
	return 0;
}

int blk_resize(struct blk *b, uint64_t size, struct err *e)
{
	struct resize r = { b, size, e };

	if (size & (b->block_size - 1))
		return err_set(e, EINVAL, "%s: %" PRIu64 " bytes are not whole blocks of %u", b->file, size, b->block_size);
	return blk_call(b, do_resize, &r);
}
