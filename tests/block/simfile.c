/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file in memory that remembers every write since the last sync, and can lose power. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "simfile.h"

#define SECTOR 512

static struct simfile *sim(struct bfile *f)
{
	return CONTAINER_OF(f, struct simfile, base);
}

static int sim_pread(struct bfile *f, uint64_t offset, void *buf, size_t len)
{
	struct simfile *s = sim(f);
	const uint64_t there = offset < s->size ? MIN(len, s->size - offset) : 0;

	memcpy(buf, s->now + offset, there);
	memset((uint8_t *)buf + there, 0, len - there);
	return 0;
}

static int apply(struct simfile *s, uint64_t offset, const void *buf, uint64_t len)
{
	if (offset + len > s->cap)
		return -ENOSPC;
	if (buf)
		memcpy(s->now + offset, buf, len);
	else
		memset(s->now + offset, 0, len);
	s->size = MAX(s->size, offset + len);
	return 0;
}

static int sim_pwrite(struct bfile *f, uint64_t offset, const void *buf, size_t len)
{
	struct simfile *s = sim(f);
	int rc = apply(s, offset, buf, len);

	if (rc)
		return rc;
	if (s->n_log == s->cap_log) {
		s->cap_log = MAX(s->cap_log * 2, (size_t)256);
		s->log = realloc(s->log, s->cap_log * sizeof(*s->log));
		BUG_ON(!s->log);
	}
	s->log[s->n_log] = (struct sim_write){ offset, len, malloc(len) };
	memcpy(s->log[s->n_log++].data, s->now + offset, len);
	s->total += (len + SECTOR - 1) / SECTOR;
	return 0;
}

static void clear_log(struct simfile *s)
{
	while (s->n_log)
		free(s->log[--s->n_log].data);
}

static int sim_sync(struct bfile *f)
{
	struct simfile *s = sim(f);

	for (size_t i = 0; i < s->n_log; i++)
		memcpy(s->stable + s->log[i].offset, s->log[i].data, s->log[i].len);
	s->stable_size = s->size;
	clear_log(s);
	return 0;
}

static void sim_submit(struct bfile *f, struct bio *b)
{
	uint8_t *buf = malloc(b->len + 1);
	int rc = 0;

	switch (b->op) {
	case BLK_READ:
		rc = sim_pread(f, b->offset, buf, b->len);
		iov_from_buf(b->iov, b->n_iov, 0, buf, b->len);
		break;
	case BLK_WRITE:
		iov_to_buf(b->iov, b->n_iov, 0, buf, b->len);
		rc = sim_pwrite(f, b->offset, buf, b->len);
		break;
	case BLK_FLUSH:
		rc = sim_sync(f);
		break;
	case BLK_WRITE_ZEROES:
	case BLK_DISCARD:
		memset(buf, 0, b->len);
		if (b->offset < sim(f)->size)
			rc = sim_pwrite(f, b->offset, buf, MIN(b->len, sim(f)->size - b->offset));
		break;
	}
	free(buf);
	bio_finish_later(f->loop, b, rc);
}

static int sim_size(struct bfile *f, uint64_t *size)
{
	*size = sim(f)->size;
	return 0;
}

static int sim_truncate(struct bfile *f, uint64_t size)
{
	struct simfile *s = sim(f);

	if (size > s->cap)
		return -ENOSPC;
	if (size < s->size)
		memset(s->now + size, 0, s->size - size); /* so it reads when it is longer again */
	s->size = size;
	return 0;
}

static int sim_extent(struct bfile *f, uint64_t offset, uint64_t max, bool *data, uint64_t *len)
{
	*data = true;
	*len = max;
	return 0;
}

void sim_free(struct simfile *s)
{
	clear_log(s);
	free(s->log);
	free(s->now);
	free(s->stable);
	free(s->base.name);
	free(s);
}

static void sim_close(struct bfile *f)
{
	f->name = NULL; /* bfile_close() frees it */
	sim_free(sim(f));
}

static const struct bfile_ops sim_ops = {
	.name = "sim",
	.submit = sim_submit,
	.pread = sim_pread,
	.pwrite = sim_pwrite,
	.sync = sim_sync,
	.size = sim_size,
	.truncate = sim_truncate,
	.extent = sim_extent,
	.close = sim_close,
};

struct simfile *sim_new(struct loop *l, uint64_t cap)
{
	struct simfile *s = calloc(1, sizeof(*s));

	BUG_ON(!s);
	s->base = (struct bfile){ .ops = &sim_ops, .loop = l, .name = strdup("sim"), .align = SECTOR };
	s->now = calloc(1, cap);
	s->stable = calloc(1, cap);
	s->cap = cap;
	BUG_ON(!s->now || !s->stable);
	return s;
}

uint64_t sim_pending(const struct simfile *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->n_log; i++)
		n += (s->log[i].len + SECTOR - 1) / SECTOR;
	return n;
}

struct simfile *sim_cut(const struct simfile *s, struct loop *l, uint64_t sectors, uint64_t seed)
{
	struct simfile *c = sim_new(l, s->cap);

	memcpy(c->now, s->stable, s->cap);
	c->size = s->stable_size;
	for (size_t i = 0; i < s->n_log; i++) {
		const struct sim_write *w = &s->log[i];

		for (uint64_t at = 0; at < w->len; at += SECTOR) {
			bool arrived = sectors > 0;

			sectors -= arrived;
			if (!arrived && seed) {
				seed ^= seed >> 12;
				seed ^= seed << 25;
				seed ^= seed >> 27;
				arrived = seed * 0x2545f4914f6cdd1dull >> 63;
			}
			if (arrived)
				apply(c, w->offset + at, w->data + at, MIN(SECTOR, w->len - at));
		}
	}
	memcpy(c->stable, c->now, c->cap);
	c->stable_size = c->size;
	return c;
}
