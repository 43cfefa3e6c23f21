/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel img convert: one image into another, by several threads, without what is zero. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/img.h"
#include "cli/progress.h"

#define PIECE       (2 * MiB)
#define GRAIN       (64 * KiB) /* zeroes shorter than this are written */
#define MAX_THREADS 16

struct convert {
	struct img_args *a;
	struct blk *from, *to;
	uint64_t size, to_size;
	uint32_t cluster;     /* of the target, when compressing */
	bool reads_zero;      /* the target does, where nothing was written */
	pthread_mutex_t lock; /* guards down to the end */
	pthread_cond_t moved;
	uint64_t next, done;
	unsigned running;
	int rc;
};

struct extent_call {
	uint64_t at, max;
	struct image_extent x;
};

static int find_extent(struct image *img, void *arg)
{
	struct extent_call *c = arg;
	unsigned depth;

	return image_chain_extent(img, c->at, c->max, &c->x, &depth);
}

struct pack_call {
	uint64_t at;
	const void *data;
	size_t len;
};

static int write_packed(struct image *img, void *arg)
{
	const struct pack_call *p = arg;

	return qcow2_write_packed(img, p->at, p->data, p->len);
}

/* One cluster, compressed if that makes it smaller. buf holds a whole one, with zeroes behind the end of the disk. */
static int put_cluster(struct convert *c, uint64_t at, const uint8_t *buf, uint8_t *packed)
{
	int64_t n;

	if (is_zero(buf, c->cluster))
		return c->reads_zero ? 0 : blk_write_zeroes(c->to, at, MIN(c->cluster, c->to_size - at), true);
	n = qcow2_pack(blk_image(c->to), buf, packed, c->cluster - 1);
	if (n < 0)
		return (int)n;
	if (n) {
		struct pack_call p = { at, packed, (size_t)n };

		return blk_call_at_once(c->to, write_packed, &p);
	}
	return blk_write(c->to, at, buf, MIN(c->cluster, c->to_size - at));
}

/* Runs of data, and of zeroes that are long enough to matter. */
static int put_plain(struct convert *c, uint64_t at, const uint8_t *buf, uint64_t len)
{
	uint64_t from = 0;
	int rc = 0;

	while (from < len && !rc) {
		const bool zero = is_zero(buf + from, MIN(GRAIN, len - from));
		uint64_t to = from;

		while (to < len && is_zero(buf + to, MIN(GRAIN, len - to)) == zero)
			to += MIN(GRAIN, len - to);
		if (!zero)
			rc = blk_write(c->to, at + from, buf + from, to - from);
		else if (!c->reads_zero)
			rc = blk_write_zeroes(c->to, at + from, to - from, true);
		from = to;
	}
	return rc;
}

static int put(struct convert *c, uint64_t at, uint8_t *buf, uint64_t len, uint8_t *packed)
{
	int rc = 0;

	if (!c->a->compress)
		return put_plain(c, at, buf, len);
	memset(buf + len, 0, ALIGN_UP(len, c->cluster) - len);
	for (uint64_t i = 0; i < len && !rc; i += c->cluster)
		rc = put_cluster(c, at + i, buf + i, packed);
	return rc;
}

/* The source's piece, as far as it is not known to be zero. */
static int fetch(struct convert *c, uint64_t at, uint8_t *buf, uint64_t len, bool *any)
{
	int rc = 0;

	*any = false;
	for (uint64_t i = 0; i < len && !rc;) {
		struct extent_call x = { at + i, len - i, { 0 } };

		rc = blk_call_at_once(c->from, find_extent, &x);
		if (rc)
			break;
		x.x.len = MIN(ALIGN_UP(x.x.len, 512), len - i);
		if (x.x.zero || (!x.x.allocated && !x.x.has_host)) {
			memset(buf + i, 0, x.x.len);
		} else {
			*any = true;
			rc = blk_read(c->from, at + i, buf + i, x.x.len);
		}
		i += x.x.len;
	}
	return rc;
}

static int convert_piece(struct convert *c, uint64_t at, uint8_t *buf, uint8_t *packed)
{
	const uint64_t len = MIN(PIECE, c->size - at);
	bool any;
	int rc = fetch(c, at, buf, len, &any);

	if (rc)
		return rc;
	if (!any)
		return c->reads_zero ? 0 : blk_write_zeroes(c->to, at, len, true);
	return put(c, at, buf, len, packed);
}

static void *worker(void *arg)
{
	struct convert *c = arg;
	uint8_t *buf = aligned_alloc(4096, 2 * PIECE), *packed = malloc(2 * MiB);
	int rc = buf && packed ? 0 : -ENOMEM;

	pthread_mutex_lock(&c->lock);
	while (!rc && !c->rc && c->next < c->size) {
		const uint64_t at = c->next;

		c->next += PIECE;
		pthread_mutex_unlock(&c->lock);
		rc = convert_piece(c, at, buf, packed);
		pthread_mutex_lock(&c->lock);
		c->done += MIN(PIECE, c->size - at);
		pthread_cond_signal(&c->moved);
	}
	if (rc && !c->rc)
		c->rc = rc;
	c->running--;
	pthread_cond_signal(&c->moved);
	pthread_mutex_unlock(&c->lock);
	free(buf);
	free(packed);
	return NULL;
}

static int copy(struct convert *c)
{
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	const unsigned n = (unsigned)MIN(MAX(cpus, 1) + 2, MAX_THREADS);
	pthread_t threads[MAX_THREADS];
	struct progress bar;
	unsigned started = 0;

	if (c->a->progress)
		progress_begin(&bar, "converting", c->size);
	c->running = n;
	for (unsigned i = 0; i < n; i++) {
		if (pthread_create(&threads[started], NULL, worker, c))
			c->running--;
		else
			started++;
	}
	pthread_mutex_lock(&c->lock);
	while (c->running) {
		if (c->a->progress)
			progress_update(&bar, c->done);
		pthread_cond_wait(&c->moved, &c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	if (c->a->progress)
		progress_end(&bar);
	return c->rc ? c->rc : started ? blk_flush(c->to) : -EAGAIN;
}

static int open_source(struct convert *c, struct err *e)
{
	struct blk_options o;
	struct blk_info i;
	int rc;

	blk_options_init(&o);
	o.file = c->a->files[0];
	o.format = c->a->format;
	o.readonly = true;
	o.secret_file = img_secret(c->a);
	rc = blk_open(&c->from, &o, e);
	if (rc)
		return rc;
	blk_info(c->from, &i);
	c->size = i.size;
	return 0;
}

static int open_target(struct convert *c, struct err *e)
{
	struct img_args *a = c->a;
	const char *format = a->out_format ? a->out_format : "raw";
	struct blk_options o;
	struct qcow2_info q;
	struct blk_info i;
	struct stat st;
	int rc = 0;

	c->reads_zero = !a->no_create && !a->backing && !bfile_is_uri(a->files[1]) && (stat(a->files[1], &st) || !S_ISBLK(st.st_mode));
	if (!a->no_create && !bfile_is_uri(a->files[1]))
		rc = img_make(a, a->files[1], format, c->size, e);
	if (rc)
		return rc;
	blk_options_init(&o);
	o.file = a->files[1];
	o.format = bfile_is_uri(a->files[1]) ? "raw" : format;
	o.cache = a->cache;
	o.secret_file = img_secret(a);
	rc = blk_open(&c->to, &o, e);
	if (rc)
		return rc;
	blk_info(c->to, &i);
	c->to_size = i.size;
	if (i.size < c->size)
		return err_set(e, ENOSPC, "%s: has %" PRIu64 " bytes, and the source %" PRIu64, a->files[1], i.size, c->size);
	if (a->compress && !qcow2_info(blk_image(c->to), &q))
		return err_set(e, EINVAL, "%s: only qcow2 images can be compressed; add -O qcow2", a->files[1]);
	if (a->compress && q.encrypted)
		return err_set(e, EINVAL, "%s: encrypted images can't be compressed", a->files[1]);
	c->cluster = a->compress ? q.cluster_size : 0;
	return 0;
}

static int convert(struct img_args *a)
{
	struct convert c = { .a = a, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };
	struct err e, e2;
	int rc = open_source(&c, &e);

	if (!rc)
		rc = open_target(&c, &e);
	if (!rc) {
		rc = copy(&c);
		if (rc)
			err_set(&e, -rc, "%s to %s: %s", a->files[0], a->files[1], strerror(-rc));
	}
	if (blk_shut(c.to, rc ? &e2 : &e) && !rc)
		rc = -EIO;
	blk_close(c.from);
	return rc ? cli_fail("img convert: %s", e.msg) : STATUS_OK;
}

const struct img_subcommand img_convert = {
	.name = "convert",
	.options = "+:f:O:o:b:B:F:cnpqt:",
	.synopsis = "[-f FORMAT] [-O FORMAT] [-c] [-n] [-p] [-o OPTIONS] SOURCE TARGET",
	.summary = "Copy the disk of an image into a new one of another format; zeroes take no space in it",
	.help = "  -f FORMAT            the source's, if it can't be found out\n"
		"  -O FORMAT            the target's: raw [the default] or qcow2\n"
		"  -c                   compress (qcow2)\n"
		"  -n                   the target is there already, and large enough\n"
		"  -p                   show progress\n"
		"  -o NAME=VALUE,...    as for create\n"
		"  -t CACHE             how the target is written: writeback [the default], none, unsafe\n",
	.min_files = 2,
	.max_files = 2,
	.run = convert,
};
