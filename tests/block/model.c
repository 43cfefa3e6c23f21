/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random requests on a disk, many at a time, against a model of it in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "model.h"

#define MAX_IOV  5
#define MAX_SLOT 64

struct slot {
	struct blk_request r;
	struct model *m;
	bool busy;
	int rc;
	uint8_t *buf;
	struct iovec iov[MAX_IOV];
};

uint64_t model_rnd(struct model *m)
{
	m->rng ^= m->rng >> 12;
	m->rng ^= m->rng << 25;
	m->rng ^= m->rng >> 27;
	return m->rng * 0x2545f4914f6cdd1dull;
}

void model_init(struct model *m, struct blk *b, uint64_t size, uint64_t seed)
{
	*m = (struct model){ .b = b, .size = size, .rng = seed ? seed : 1, .max_len = 256 * KiB, .zeroes = true, .discard = true,
			     .flush = true };
	m->data = calloc(1, size);
	m->unknown = calloc(1, size / MODEL_SECTOR);
	assert_true(m->data && m->unknown);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->cond, NULL);
}

void model_release(struct model *m)
{
	free(m->data);
	free(m->unknown);
	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->cond);
}

static void done(struct blk_request *r, int rc)
{
	struct slot *s = CONTAINER_OF(r, struct slot, r);

	pthread_mutex_lock(&s->m->lock);
	s->rc = rc;
	s->busy = false;
	s->m->n_flying--;
	pthread_cond_broadcast(&s->m->cond);
	pthread_mutex_unlock(&s->m->lock);
}

static void compare(struct model *m, uint64_t offset, const uint8_t *buf, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += MODEL_SECTOR)
		if (!m->unknown[(offset + at) / MODEL_SECTOR] && memcmp(buf + at, m->data + offset + at, MODEL_SECTOR))
			fail_msg("the sector at %#llx is not what was written", (unsigned long long)(offset + at));
}

static void apply(struct model *m, struct slot *s)
{
	const struct blk_request *r = &s->r;

	assert_int_equal(s->rc, 0);
	switch (r->op) {
	case BLK_READ:
		compare(m, r->offset, s->buf, r->len);
		break;
	case BLK_WRITE:
		memcpy(m->data + r->offset, s->buf, r->len);
		memset(m->unknown + r->offset / MODEL_SECTOR, 0, r->len / MODEL_SECTOR);
		break;
	case BLK_WRITE_ZEROES:
		memset(m->data + r->offset, 0, r->len);
		memset(m->unknown + r->offset / MODEL_SECTOR, 0, r->len / MODEL_SECTOR);
		break;
	case BLK_DISCARD:
		memset(m->unknown + r->offset / MODEL_SECTOR, 1, r->len / MODEL_SECTOR);
		break;
	case BLK_FLUSH:
		break;
	}
	s->r.len = 0;
}

static bool overlaps(const struct slot *slots, uint64_t offset, uint64_t len)
{
	for (unsigned i = 0; i < MAX_SLOT; i++)
		if (slots[i].r.len && offset < slots[i].r.offset + slots[i].r.len && slots[i].r.offset < offset + len)
			return true;
	return false;
}

static void choose_range(struct model *m, const struct slot *slots, struct blk_request *r)
{
	do {
		uint64_t max = model_rnd(m) % 4 ? MIN(16 * KiB, m->max_len) : m->max_len;

		r->len = (model_rnd(m) % (max / MODEL_SECTOR) + 1) * MODEL_SECTOR;
		r->len = MIN(r->len, m->size);
		r->offset = model_rnd(m) % ((m->size - r->len) / MODEL_SECTOR + 1) * MODEL_SECTOR;
	} while (overlaps(slots, r->offset, r->len));
}

static void split(struct model *m, struct slot *s)
{
	uint64_t at = 0;

	s->r.n_iov = 0;
	while (at < s->r.len) {
		uint64_t l = s->r.len - at;

		if (s->r.n_iov < MAX_IOV - 1 && l > 1)
			l = model_rnd(m) % l + 1;
		s->iov[s->r.n_iov++] = (struct iovec){ s->buf + at, l };
		at += l;
	}
	s->r.iov = s->iov;
}

static enum blk_op choose_op(struct model *m)
{
	switch (model_rnd(m) % 20) {
	case 0:
		return m->flush ? BLK_FLUSH : BLK_READ;
	case 1:
		return m->discard ? BLK_DISCARD : BLK_WRITE;
	case 2:
	case 3:
		return m->zeroes ? BLK_WRITE_ZEROES : BLK_WRITE;
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
		return BLK_READ;
	default:
		return BLK_WRITE;
	}
}

static void fly(struct model *m, struct slot *slots, struct slot *s)
{
	struct blk_request r = { .op = choose_op(m), .done = done, .fua = model_rnd(m) % 8 == 0, .unmap = model_rnd(m) % 2 };

	if (r.op != BLK_FLUSH)
		choose_range(m, slots, &r);
	s->r = r;
	s->m = m;
	if (r.op == BLK_WRITE) {
		uint64_t v = model_rnd(m);

		for (uint64_t i = 0; i < r.len; i += 8, v += 0x9e3779b97f4a7c15ull)
			memcpy(s->buf + i, &v, 8);
	}
	split(m, s);
	s->busy = true;
	pthread_mutex_lock(&m->lock);
	m->n_flying++;
	pthread_mutex_unlock(&m->lock);
	blk_submit(m->b, &s->r);
}

static struct slot *wait_slot(struct model *m, struct slot *slots, unsigned depth)
{
	struct slot *found = NULL;

	pthread_mutex_lock(&m->lock);
	while (!found) {
		for (unsigned i = 0; i < depth && !found; i++)
			if (!slots[i].busy)
				found = &slots[i];
		if (!found)
			pthread_cond_wait(&m->cond, &m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	return found;
}

void model_run(struct model *m, unsigned n, unsigned depth)
{
	struct slot *slots = calloc(MAX_SLOT, sizeof(*slots));

	assert_true(slots && depth <= MAX_SLOT);
	for (unsigned i = 0; i < depth; i++)
		slots[i].buf = malloc(m->max_len);
	while (n--) {
		struct slot *s = wait_slot(m, slots, depth);

		if (s->r.done)
			apply(m, s);
		fly(m, slots, s);
	}
	blk_drain(m->b);
	for (unsigned i = 0; i < depth; i++) {
		assert_false(slots[i].busy);
		if (slots[i].r.done)
			apply(m, &slots[i]);
		free(slots[i].buf);
	}
	free(slots);
}

void model_check(struct model *m)
{
	uint8_t *buf = malloc(MiB);

	assert_non_null(buf);
	for (uint64_t at = 0; at < m->size; at += MiB) {
		uint64_t len = MIN(MiB, m->size - at);

		assert_int_equal(blk_read(m->b, at, buf, len), 0);
		compare(m, at, buf, len);
	}
	free(buf);
}
