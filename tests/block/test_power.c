/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power failures under qcow2: a scribbling workload on a file in memory; the power is cut at every sector boundary of what was
 * written since the last sync, and with the unsynced sectors arriving in any order. Whatever is left must
 * open, have no damage but leaked clusters, and hold everything that was flushed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backend/block/qcow2.h"
#include "base/log.h"
#include "simfile.h"

#define DISK    (256 * KiB)
#define CAP     (2 * MiB)
#define SECTOR  512
#define SECTORS (DISK / SECTOR)
#define CLUSTER 4096

/*
 * What a sector may read as after a cut: what it had at the last flush, or any of what was written to it since.
 * Each write is known by a stamp that fills the sector; 0 is zeroes.
 */
struct shadow {
	uint64_t flushed[SECTORS], latest[SECTORS], oldest[SECTORS];
};

struct world {
	struct loop *loop;
	struct simfile *file, *base;
	struct image *img, *below;
	struct shadow sh;
	uint64_t rng, stamp;
	uint64_t cuts;
};

static uint64_t rnd(struct world *w)
{
	w->rng ^= w->rng >> 12;
	w->rng ^= w->rng << 25;
	w->rng ^= w->rng >> 27;
	return w->rng * 0x2545f4914f6cdd1dull;
}

static void check_sector(const struct world *w, uint64_t i, const uint8_t *data)
{
	const struct shadow *sh = &w->sh;
	uint64_t stamp, k;

	memcpy(&stamp, data, 8);
	for (k = 8; k < SECTOR; k += 8)
		if (memcmp(data, data + k, 8))
			fail_msg("sector %llu is a mixture", (unsigned long long)i);
	/* Stamps only grow, so everything since the last flush is at least `oldest`. Zeroes are written under stamp 0. */
	if (stamp == sh->flushed[i] || stamp == sh->latest[i])
		return;
	if (sh->oldest[i] && (stamp == 0 || (stamp >= sh->oldest[i] && stamp <= w->stamp)))
		return;
	fail_msg("sector %llu has stamp %llu: flushed %llu, latest %llu", (unsigned long long)i, (unsigned long long)stamp,
		 (unsigned long long)sh->flushed[i], (unsigned long long)sh->latest[i]);
}

/* What was left by the cut, opened by a new process. */
static void examine(struct world *w, struct simfile *s)
{
	const struct image_options o = { .no_backing = true };
	static uint8_t buf[DISK];
	struct qcow2_check c = { 0 };
	struct image *img;
	struct err e;

	w->cuts++;
	if (qcow2_open(&img, &s->base, &o, 0, &e))
		fail_msg("%s", e.msg);
	img->backing = w->below;
	if (qcow2_check(img, 0, &c, &e))
		fail_msg("%s", e.msg);
	if (c.corruptions)
		fail_msg("%llu errors", (unsigned long long)c.corruptions);
	assert_int_equal(image_pread(img, 0, buf, DISK), 0);
	for (uint64_t i = 0; i < SECTORS; i++)
		check_sector(w, i, buf + i * SECTOR);
	/* It must go on working: a write, a close, and no damage. */
	assert_int_equal(image_pwrite(img, 0, buf, 3 * SECTOR), 0);
	assert_int_equal(img->ops->sync(img), 0);
	memset(&c, 0, sizeof(c));
	assert_int_equal(qcow2_check(img, 0, &c, &e), 0);
	assert_int_equal(c.corruptions, 0);
	img->backing = NULL;
	assert_int_equal(img->ops->close(img), 0);
}

static void cut_everywhere(struct world *w)
{
	const uint64_t n = sim_pending(w->file);

	for (uint64_t i = 0; i <= n; i++) {
		struct simfile *s;

		/* Long runs of data have no interesting inside. */
		if (n > 200 && i > 20 && i + 20 < n && rnd(w) % (n / 40))
			continue;
		s = sim_cut(w->file, w->loop, i, 0);
		examine(w, s);
		sim_free(s);
		s = sim_cut(w->file, w->loop, i, rnd(w) | 1);
		examine(w, s);
		sim_free(s);
	}
}

static void note(struct world *w, uint64_t at, uint64_t len, uint64_t stamp)
{
	for (uint64_t i = at / SECTOR; i < (at + len) / SECTOR; i++) {
		if (!w->sh.oldest[i])
			w->sh.oldest[i] = stamp ? stamp : w->stamp;
		w->sh.latest[i] = stamp;
	}
}

static void flushed(struct world *w)
{
	for (uint64_t i = 0; i < SECTORS; i++) {
		w->sh.flushed[i] = w->sh.latest[i];
		w->sh.oldest[i] = 0;
	}
}

static void one_write(struct world *w)
{
	static uint8_t buf[8 * CLUSTER];
	const uint64_t len = (rnd(w) % (rnd(w) % 3 ? 8 : 8 * CLUSTER / SECTOR) + 1) * SECTOR;
	const uint64_t at = rnd(w) % ((DISK - len) / SECTOR + 1) * SECTOR;

	w->stamp++;
	switch (rnd(w) % 8) {
	case 0:
		note(w, at, len, 0);
		assert_int_equal(image_zero(w->img, at, len, rnd(w) % 2), 0);
		break;
	default:
		for (uint64_t i = 0; i < len; i += 8)
			memcpy(buf + i, &w->stamp, 8);
		/* It is noted before: the cut may come from inside. */
		note(w, at, len, w->stamp);
		assert_int_equal(image_pwrite(w->img, at, buf, len), 0);
		break;
	}
}

/* Every sync inside of the image is a moment at which the log ends: look right before each of them. */
static int (*real_sync)(struct bfile *f);
static void (*real_submit)(struct bfile *f, struct bio *b);
static struct world *watched;

static int watched_sync(struct bfile *f)
{
	if (watched && f == &watched->file->base)
		cut_everywhere(watched);
	return real_sync(f);
}

static void watched_submit(struct bfile *f, struct bio *b)
{
	if (watched && b->op == BLK_FLUSH && f == &watched->file->base)
		cut_everywhere(watched);
	real_submit(f, b);
}

static struct bfile_ops watched_ops;

static void make_base(struct world *w)
{
	const struct image_options o = { 0 };
	struct qcow2_create c;
	static uint8_t buf[DISK];
	struct err e;
	uint64_t stamp = 1;

	qcow2_create_init(&c);
	c.size = DISK;
	c.cluster_size = CLUSTER;
	w->base = sim_new(w->loop, CAP);
	assert_int_equal(qcow2_create(&w->base->base, &c, &e), 0);
	assert_int_equal(qcow2_open(&w->below, &w->base->base, &o, 0, &e), 0);
	for (uint64_t i = 0; i < DISK; i += 8)
		memcpy(buf + i, &stamp, 8);
	assert_int_equal(image_pwrite(w->below, 0, buf, DISK), 0);
	for (uint64_t i = 0; i < SECTORS; i++)
		w->sh.flushed[i] = w->sh.latest[i] = stamp;
	w->stamp = stamp;
}

/* This flushes too. */
static void change_snapshots(struct world *w, unsigned i)
{
	struct qcow2_snapshot_info info;
	char name[16];
	struct err e;
	int rc;

	snprintf(name, sizeof(name), "s%u", i);
	if (qcow2_snapshots(w->img) < 2) {
		rc = qcow2_snapshot_create(w->img, name, &e);
	} else {
		qcow2_snapshot_info(w->img, 0, &info);
		rc = qcow2_snapshot_delete(w->img, info.id, &e);
	}
	if (rc)
		fail_msg("%s", e.msg);
	flushed(w);
}

static void scribble(struct qcow2_create *c, bool backing, uint64_t seed, unsigned n)
{
	const struct image_options o = { .no_backing = true };
	struct world w = { .rng = seed, .stamp = 0 };
	struct err e;

	assert_int_equal(loop_new(&w.loop, &e), 0);
	if (backing) {
		make_base(&w);
		c->backing_file = "base";
		c->backing_format = "qcow2";
	}
	c->size = DISK;
	w.file = sim_new(w.loop, CAP);
	if (qcow2_create(&w.file->base, c, &e) || qcow2_open(&w.img, &w.file->base, &o, 0, &e))
		fail_msg("%s", e.msg);
	w.img->backing = w.below;
	real_sync = w.file->base.ops->sync;
	real_submit = w.file->base.ops->submit;
	watched_ops = *w.file->base.ops;
	watched_ops.sync = watched_sync;
	watched_ops.submit = watched_submit;
	w.file->base.ops = &watched_ops;
	watched = &w;
	for (unsigned i = 0; i < n; i++) {
		one_write(&w);
		if (rnd(&w) % 6 == 0) {
			assert_int_equal(w.img->ops->sync(w.img), 0);
			flushed(&w);
		}
		if (rnd(&w) % 30 == 0)
			change_snapshots(&w, i);
	}
	cut_everywhere(&w);
	watched = NULL;
	w.img->backing = NULL;
	assert_int_equal(w.img->ops->close(w.img), 0);
	sim_free(w.file);
	if (backing) {
		w.below->ops->close(w.below);
		sim_free(w.base);
	}
	loop_free(w.loop);
	printf("%llu power failures\n", (unsigned long long)w.cuts);
}

static void test_plain(void **state)
{
	struct qcow2_create c;

	qcow2_create_init(&c);
	c.cluster_size = CLUSTER;
	scribble(&c, false, 3, 120);
}

/* 512-byte clusters: many L2 tables, refcount blocks, and a refcount table that grows. */
static void test_small_clusters(void **state)
{
	struct qcow2_create c;

	qcow2_create_init(&c);
	c.cluster_size = 512;
	c.refcount_bits = 64;
	scribble(&c, false, 5, 60);
}

static void test_backing(void **state)
{
	struct qcow2_create c;

	qcow2_create_init(&c);
	c.cluster_size = CLUSTER;
	scribble(&c, true, 7, 120);
}

static void test_lazy(void **state)
{
	struct qcow2_create c;

	qcow2_create_init(&c);
	c.cluster_size = CLUSTER;
	c.lazy_refcounts = true;
	scribble(&c, false, 9, 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_small_clusters),
		cmocka_unit_test(test_backing),
		cmocka_unit_test(test_lazy),
	};

	log_set_level(LOG_ERROR); /* not each repair */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
