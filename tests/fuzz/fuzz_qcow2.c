/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Damaged qcow2 images and LUKS headers: opened, read, written, checked, repaired, with snapshots made and deleted.
 *
 *   fuzz_qcow2 [--seconds N] [--iterations N] [--seed S]
 *
 * Ends at whichever comes first. Images are in memory. Nothing may crash or hang, and a repair must leave an image that opens
 * and in which the check finds nothing. A failure names the iteration's seed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/block/luks.h"
#include "backend/block/qcow2.h"
#include "base/log.h"
#include "fuzz.h"
#include "simfile.h"

#define DEFAULT_SECONDS 3
#define DEFAULT_SEED    0x9c0
#define DISK            (512 * KiB)
#define CAP             (2 * MiB)
#define N_TEMPLATES     5

struct fuzz {
	uint64_t rng;
	struct loop *loop;
	struct simfile *templates[N_TEMPLATES];
	struct simfile *luks;
	char secret[64];
	uint64_t opened, refused, repaired, luks_opened;
};

static uint64_t rnd(struct fuzz *f)
{
	return fuzz_random(&f->rng);
}

static uint64_t below(struct fuzz *f, uint64_t n)
{
	return fuzz_below(&f->rng, n);
}

static void fail(uint64_t seed, const char *what, const char *msg)
{
	fprintf(stderr, "fuzz_qcow2: %s: '%s' (repeat with --seed %#" PRIx64 " --iterations 1)\n", what, msg, seed);
	exit(1);
}

static void make_template(struct fuzz *f, unsigned i)
{
	static const uint32_t cluster[N_TEMPLATES] = { 512, 4096, 4096, 65536, 4096 };
	static const unsigned bits[N_TEMPLATES] = { 16, 1, 64, 16, 16 };
	const struct image_options o = { .no_backing = true };
	static uint8_t buf[65536], packed[65536];
	struct qcow2_create c;
	struct image *img;
	struct err e;
	int64_t n;

	qcow2_create_init(&c);
	c.size = DISK;
	c.cluster_size = cluster[i];
	c.refcount_bits = bits[i];
	c.version = i == 4 ? 2 : 3;
	c.zstd = i == 2;
	c.lazy_refcounts = i == 1;
	f->templates[i] = sim_new(f->loop, CAP);
	if (qcow2_create(&f->templates[i]->base, &c, &e) || qcow2_open(&img, &f->templates[i]->base, &o, 0, &e))
		fail(0, "template", e.msg);
	memset(buf, 'x', sizeof(buf));
	image_pwrite(img, 0, buf, 40000 / 512 * 512);
	image_zero(img, 8192, 16384, false);
	n = qcow2_pack(img, buf, packed, cluster[i] - 1);
	if (n > 0)
		qcow2_write_packed(img, 131072, packed, (size_t)n);
	if (bits[i] > 1)
		qcow2_snapshot_create(img, "s", &e);
	image_pwrite(img, 4096, buf, 8192);
	img->ops->close(img);
	f->templates[i]->base.ops->sync(&f->templates[i]->base);
}

static void make_luks(struct fuzz *f)
{
	const char text[] = "open sesame";
	uint8_t *header = calloc(1, luks_header_size());
	struct err e;
	int fd;

	strcpy(f->secret, "/tmp/fuzz_qcow2.XXXXXX");
	fd = mkstemp(f->secret);
	if (!header || fd < 0 || write(fd, text, sizeof(text) - 1) < 0 || luks_make_header(header, f->secret, &e))
		fail(0, "LUKS template", strerror(errno));
	close(fd);
	f->luks = sim_new(f->loop, 4 * MiB);
	f->luks->base.ops->pwrite(&f->luks->base, 0, header, luks_header_size());
	f->luks->base.ops->sync(&f->luks->base);
	free(header);
}

static uint64_t odd_number(struct fuzz *f)
{
	static const uint64_t odd[] = {
		0, 1, 2, 0x7f, 0xff, 0x1ff, 0x200, 0xfff, 0x1000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
		0x00fffffffffffe00, 0x7fffffffffffffff, 0x8000000000000000, 0x8000000000001000, 0x4000000000000000,
		0xffffffffffffffff, 0x1ff000, 0x200000,
	};

	return rnd(f) & 3 ? odd[below(f, ARRAY_SIZE(odd))] : below(f, 512) * 512 | (rnd(f) & (1ull << 63));
}

static void damage(struct fuzz *f, struct simfile *s)
{
	static const uint64_t reach[] = { 0x70, 0x400, 0x4000, CAP };

	for (uint64_t n = below(f, 6) + 1; n; n--) {
		uint64_t range = MIN(reach[below(f, ARRAY_SIZE(reach))], s->size), at = below(f, range), v = odd_number(f);
		uint8_t be[8];

		for (unsigned i = 0; i < 8; i++)
			be[i] = (uint8_t)(v >> (56 - 8 * i));
		if (below(f, 4) == 0)
			s->now[at] ^= (uint8_t)(1u << below(f, 8));
		else if (below(f, 2))
			memcpy(s->now + MIN(at & ~3ull, s->size - 4), be + 4, 4);
		else
			memcpy(s->now + MIN(at & ~7ull, s->size - 8), be, 8);
	}
	if (!below(f, 8))
		s->base.ops->truncate(&s->base, below(f, s->size) + 1);
}

static void use(struct fuzz *f, struct image *img)
{
	static uint8_t buf[65536];
	struct err e;

	for (uint64_t n = below(f, 12); n; n--) {
		const uint64_t len = (below(f, sizeof(buf) / 512) + 1) * 512;
		/* A damaged image can have the size of a planet. */
		const uint64_t at = below(f, MIN(img->size, below(f, 2) ? DISK : img->size) / 512 + 1) * 512;
		struct image_extent x;

		if (at > img->size || len > img->size - at)
			continue;
		switch (below(f, 8)) {
		case 0:
			image_zero(img, at, len, below(f, 2));
			break;
		case 1:
			img->ops->extent(img, at, len, &x);
			break;
		case 2:
			img->ops->sync(img);
			break;
		case 3:
			if (img->size < GiB)
				qcow2_snapshot_create(img, "new", &e);
			break;
		case 4:
			if (img->size < GiB)
				qcow2_snapshot_delete(img, below(f, 2) ? "s" : "new", &e);
			break;
		case 5:
			image_pread(img, at, buf, len);
			break;
		default:
			image_pwrite(img, at, buf, len);
			break;
		}
	}
}

/* What was repaired must be without fault when it is opened again. */
static void repair(struct fuzz *f, struct image *img, struct simfile *s, uint64_t seed)
{
	const struct image_options o = { .no_backing = true };
	struct qcow2_check c = { 0 };
	struct err e = { "" };
	int rc = qcow2_check(img, QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS, &c, &e);

	rc = img->ops->close(img) || rc;
	if (rc || c.corruptions > c.corruptions_fixed)
		return;
	if (qcow2_open(&img, &s->base, &o, 0, &e))
		fail(seed, "a repaired image does not open", e.msg);
	memset(&c, 0, sizeof(c));
	if (!qcow2_check(img, 0, &c, &e) && c.corruptions)
		fail(seed, "a repaired image is damaged", "");
	img->ops->close(img);
	f->repaired++;
}

static void one(struct fuzz *f)
{
	const uint64_t seed = f->rng;
	struct simfile *s = sim_cut(f->templates[below(f, N_TEMPLATES)], f->loop, 0, 0);
	const bool fix = below(f, 3) == 0;
	const struct image_options o = { .no_backing = true, .repair = fix };
	struct err e = { "" };
	struct image *img;

	damage(f, s);
	s->base.readonly = !fix && below(f, 3) == 0;
	if (qcow2_open(&img, &s->base, &o, 0, &e)) {
		f->refused++;
		if (!e.msg[0] || strchr(e.msg, '\n'))
			fail(seed, "no proper message", e.msg);
	} else if (fix) {
		f->opened++;
		repair(f, img, s, seed);
	} else {
		f->opened++;
		use(f, img);
		img->ops->close(img);
	}
	sim_free(s);
}

/* Iterations are kept small: they are what they cost. */
static void one_luks(struct fuzz *f)
{
	static const unsigned iterations[] = { 164, 212, 260 };
	const uint64_t seed = f->rng;
	struct simfile *s = sim_cut(f->luks, f->loop, 0, 0);
	struct err e = { "" };
	struct luks *l;

	for (uint64_t n = below(f, 5); n; n--) {
		uint64_t v = odd_number(f);

		memcpy(s->now + below(f, 592 - 8), &v, below(f, 8) + 1);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(iterations); i++)
		memset(s->now + iterations[i], 0, 2);
	for (unsigned i = 0; i < 8; i++)
		memset(s->now + 208 + i * 48 + 4, 0, 3);
	if (luks_open(&l, &s->base, 0, below(f, 4) ? 4 * MiB : below(f, 4096), f->secret, &e)) {
		if (!e.msg[0])
			fail(seed, "no proper message", e.msg);
	} else {
		f->luks_opened++;
		luks_free(l);
	}
	sim_free(s);
}

int main(int argc, char **argv)
{
	const struct fuzz_options o = fuzz_parse(argc, argv, DEFAULT_SECONDS, DEFAULT_SEED);
	struct fuzz f = { .rng = o.seed };
	struct err e;
	double start;
	uint64_t n;

	log_set_output(-1, false);
	if (loop_new(&f.loop, &e)) {
		fprintf(stderr, "fuzz_qcow2: %s\n", e.msg);
		return 1;
	}
	for (unsigned i = 0; i < N_TEMPLATES; i++)
		make_template(&f, i);
	make_luks(&f);
	start = fuzz_now();
	for (n = 0; fuzz_goes_on(&o, start, n); n++) {
		one(&f);
		if (n % 50 == 49)
			one_luks(&f);
	}
	printf("fuzz_qcow2: %" PRIu64 " images: %" PRIu64 " opened, %" PRIu64 " refused, %" PRIu64 " repaired; %" PRIu64
	       " LUKS headers opened\n", n, f.opened, f.refused, f.repaired, f.luks_opened);
	for (unsigned i = 0; i < N_TEMPLATES; i++)
		sim_free(f.templates[i]);
	sim_free(f.luks);
	loop_free(f.loop);
	unlink(f.secret);
	return !f.opened || !f.refused ? (o.iterations >= FUZZ_LEAST) : 0;
}
