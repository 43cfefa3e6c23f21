/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel img info, check and map: what is in an image, for people or as the JSON that qemu-img's users know. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/command.h"
#include "cli/img.h"

static void print_json(json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(4) | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(j);
}

/* File names need not be UTF-8, JSON's strings must be. */
static json_t *text(const char *s)
{
	json_t *j = json_string(s);

	return j ? j : json_string("?");
}

static json_t *number(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static const char *human(uint64_t bytes, char *buf, size_t n)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)bytes;
	unsigned u = 0;

	for (; v >= 1024 && u + 1 < ARRAY_SIZE(units); u++)
		v /= 1024;
	snprintf(buf, n, "%.3g %s", v, units[u]);
	return buf;
}

static json_t *snapshots_json(struct image *img)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < qcow2_snapshots(img); i++) {
		struct qcow2_snapshot_info s;
		json_t *j = json_object();

		qcow2_snapshot_info(img, i, &s);
		json_object_set_new(j, "id", text(s.id));
		json_object_set_new(j, "name", text(s.name));
		json_object_set_new(j, "vm-state-size", number(s.vm_state_size));
		json_object_set_new(j, "date-sec", number(s.date_s));
		json_object_set_new(j, "date-nsec", number(s.date_ns));
		json_object_set_new(j, "vm-clock-sec", number(s.clock_ns / 1000000000));
		json_object_set_new(j, "vm-clock-nsec", number(s.clock_ns % 1000000000));
		json_array_append_new(list, j);
	}
	return list;
}

static json_t *specific_json(const struct qcow2_info *q)
{
	json_t *j = json_object(), *data = json_object();

	json_object_set_new(j, "type", json_string("qcow2"));
	json_object_set_new(data, "compat", json_string(q->version == 2 ? "0.10" : "1.1"));
	json_object_set_new(data, "compression-type", json_string(q->zstd ? "zstd" : "zlib"));
	json_object_set_new(data, "lazy-refcounts", json_boolean(q->lazy_refcounts));
	json_object_set_new(data, "refcount-bits", number(q->refcount_bits));
	json_object_set_new(data, "corrupt", json_boolean(q->corrupt));
	json_object_set_new(data, "extended-l2", json_false());
	if (q->encrypted)
		json_object_set_new(data, "encrypt", json_pack("{s:s}", "format", "luks"));
	json_object_set_new(j, "data", data);
	return j;
}

static json_t *info_json(struct image *img, const struct qcow2_info *q, const char *below)
{
	json_t *j = json_object();

	json_object_set_new(j, "filename", text(img->name));
	json_object_set_new(j, "format", json_string(img->ops->name));
	json_object_set_new(j, "virtual-size", number(img->size));
	json_object_set_new(j, "actual-size", number(bfile_allocated(img->file)));
	json_object_set_new(j, "dirty-flag", json_boolean(q && q->dirty));
	if (!q)
		return j;
	json_object_set_new(j, "cluster-size", number(q->cluster_size));
	if (q->encrypted)
		json_object_set_new(j, "encrypted", json_true());
	if (q->backing_file) {
		json_object_set_new(j, "backing-filename", text(q->backing_file));
		json_object_set_new(j, "full-backing-filename", text(below ? below : "?"));
	}
	if (q->backing_file && q->backing_format)
		json_object_set_new(j, "backing-filename-format", text(q->backing_format));
	if (qcow2_snapshots(img))
		json_object_set_new(j, "snapshots", snapshots_json(img));
	json_object_set_new(j, "format-specific", specific_json(q));
	return j;
}

void img_print_snapshots(struct image *img)
{
	if (!qcow2_snapshots(img))
		return;
	printf("Snapshot list:\n%-10s%-24s%10s%20s\n", "ID", "TAG", "VM SIZE", "DATE");
	for (unsigned i = 0; i < qcow2_snapshots(img); i++) {
		struct qcow2_snapshot_info s;
		char size[32], date[32];
		struct tm tm;
		time_t t;

		qcow2_snapshot_info(img, i, &s);
		t = (time_t)s.date_s;
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
		printf("%-10s%-24s%10s%20s\n", s.id, s.name, human(s.vm_state_size, size, sizeof(size)), date);
	}
}

static void info_text(struct image *img, const struct qcow2_info *q, const char *below)
{
	char size[32];

	printf("image: %s\nfile format: %s\n", img->name, img->ops->name);
	printf("virtual size: %s (%" PRIu64 " bytes)\n", human(img->size, size, sizeof(size)), img->size);
	printf("disk size: %s\n", human(bfile_allocated(img->file), size, sizeof(size)));
	if (!q)
		return;
	printf("cluster size: %u\n", q->cluster_size);
	if (q->backing_file && below && strcmp(below, q->backing_file))
		printf("backing file: %s (actual path: %s)\n", q->backing_file, below);
	else if (q->backing_file)
		printf("backing file: %s\n", q->backing_file);
	if (q->backing_file && q->backing_format)
		printf("backing file format: %s\n", q->backing_format);
	if (q->encrypted)
		puts("encrypted: yes (luks)");
	if (q->dirty)
		puts("not closed: its refcounts will be put right when it is next written to");
	img_print_snapshots(img);
	printf("compat: %s\ncompression type: %s\nlazy refcounts: %s\nrefcount bits: %u\ncorrupt: %s\n", q->version == 2 ? "0.10" : "1.1",
	       q->zstd ? "zstd" : "zlib", q->lazy_refcounts ? "true" : "false", q->refcount_bits, q->corrupt ? "true" : "false");
}

static int info(struct img_args *a)
{
	struct img_file f;
	struct qcow2_info q;
	struct err e;
	char *below = NULL;
	bool qcow2;

	if (img_open(&f, a, a->files[0], a->format, a->share ? BFILE_NO_LOCK : 0, true, &e))
		return cli_fail("img info: %s", e.msg);
	qcow2 = qcow2_info(f.img, &q);
	if (qcow2 && q.backing_file)
		below = image_relative_name(a->files[0], q.backing_file);
	if (a->json)
		print_json(info_json(f.img, qcow2 ? &q : NULL, below));
	else
		info_text(f.img, qcow2 ? &q : NULL, below);
	free(below);
	img_close(&f, &e);
	return STATUS_OK;
}

const struct img_subcommand img_info = {
	.name = "info",
	.options = "+:f:U",
	.synopsis = "[--output=json] [-U] FILE",
	.summary = "Tell what an image is",
	.help = "  --output=human|json  for people [the default] or for programs\n"
		"  -f FORMAT            the image's format, if it can't be found out\n"
		"  -U                   even while a virtual machine writes to it\n",
	.min_files = 1,
	.max_files = 1,
	.run = info,
};

static void complain(void *opaque, const char *line)
{
	unsigned *n = opaque;

	/* A ruined image has millions. */
	if ((*n)++ < 100)
		fprintf(stderr, "%s\n", line);
}

static json_t *check_json(const struct img_args *a, const struct qcow2_check *c)
{
	json_t *j = json_object();

	json_object_set_new(j, "filename", text(a->files[0]));
	json_object_set_new(j, "format", json_string("qcow2"));
	json_object_set_new(j, "check-errors", json_integer(0));
	json_object_set_new(j, "image-end-offset", number(c->image_end));
	json_object_set_new(j, "total-clusters", number(c->total));
	json_object_set_new(j, "allocated-clusters", number(c->allocated));
	if (c->fragmented)
		json_object_set_new(j, "fragmented-clusters", number(c->fragmented));
	if (c->compressed)
		json_object_set_new(j, "compressed-clusters", number(c->compressed));
	if (c->corruptions)
		json_object_set_new(j, "corruptions", number(c->corruptions - c->corruptions_fixed));
	if (c->leaks)
		json_object_set_new(j, "leaks", number(c->leaks - c->leaks_fixed));
	if (c->corruptions_fixed)
		json_object_set_new(j, "corruptions-fixed", number(c->corruptions_fixed));
	if (c->leaks_fixed)
		json_object_set_new(j, "leaks-fixed", number(c->leaks_fixed));
	return j;
}

static void check_text(const struct qcow2_check *c)
{
	const uint64_t bad = c->corruptions - c->corruptions_fixed, leaks = c->leaks - c->leaks_fixed;

	if (c->corruptions_fixed || c->leaks_fixed)
		printf("Repaired: %" PRIu64 " errors, %" PRIu64 " leaked clusters.\n", c->corruptions_fixed, c->leaks_fixed);
	if (bad)
		printf("%" PRIu64 " errors: data may be lost; 'doppel img check -r all' repairs what can be.\n", bad);
	if (leaks)
		printf("%" PRIu64 " leaked clusters: space that nothing uses; 'doppel img check -r leaks' gives it back.\n", leaks);
	if (!bad && !leaks)
		puts("No errors were found on the image.");
	printf("%" PRIu64 "/%" PRIu64 " = %.2f%% allocated, %.2f%% fragmented, %.2f%% compressed clusters\n", c->allocated, c->total,
	       c->total ? (double)c->allocated * 100 / (double)c->total : 0,
	       c->allocated ? (double)c->fragmented * 100 / (double)c->allocated : 0,
	       c->allocated ? (double)c->compressed * 100 / (double)c->allocated : 0);
	printf("Image end offset: %" PRIu64 "\n", c->image_end);
}

static int check(struct img_args *a)
{
	unsigned complaints = 0;
	struct qcow2_check c = { .report = complain, .opaque = &complaints };
	struct img_file f;
	struct qcow2_info q;
	struct err e, e2;
	int rc;

	if (img_open(&f, a, a->files[0], a->format, a->fix ? BFILE_WRITE : a->share ? BFILE_NO_LOCK : 0, true, &e))
		return cli_fail("img check: %s", e.msg);
	if (!qcow2_info(f.img, &q)) {
		cli_fail("img check: %s: a %s image has nothing to be checked", a->files[0], f.img->ops->name);
		img_close(&f, &e);
		return IMG_NO_CHECK;
	}
	rc = qcow2_check(f.img, a->fix, &c, &e);
	if (img_close(&f, rc ? &e2 : &e) && !rc)
		rc = -EIO;
	if (rc)
		return cli_fail("img check: %s", e.msg);
	if (a->json)
		print_json(check_json(a, &c));
	else if (!a->quiet)
		check_text(&c);
	return c.corruptions > c.corruptions_fixed ? IMG_CORRUPT : c.leaks > c.leaks_fixed ? IMG_LEAKS : STATUS_OK;
}

const struct img_subcommand img_check = {
	.name = "check",
	.options = "+:f:r:qU",
	.synopsis = "[-r leaks|all] [--output=json] FILE",
	.summary = "Look for damage in a qcow2 image. Status 0: none, 2: errors, 3: only leaked clusters",
	.help = "  -r leaks             give leaked clusters back\n"
		"  -r all               repair all that can be; make a copy first\n"
		"  --output=human|json  for people [the default] or for programs\n"
		"  -f FORMAT            the image's format, if it can't be found out\n"
		"  -q                   say nothing but errors\n",
	.min_files = 1,
	.max_files = 1,
	.run = check,
};

struct piece {
	struct image_extent x;
	uint64_t start;
	unsigned depth;
	bool any;
};

static const char *file_of(struct image *img, unsigned depth)
{
	while (depth-- && img->backing)
		img = img->backing;
	return img->name;
}

static void print_piece(const struct piece *p, struct image *img, json_t *list)
{
	if (list) {
		json_t *j = json_pack("{s:I, s:I, s:i, s:b, s:b, s:b}", "start", (json_int_t)p->start, "length", (json_int_t)p->x.len,
				      "depth", (int)p->depth, "present", p->x.allocated, "zero", p->x.zero, "data",
				      p->x.allocated && !p->x.zero);

		if (p->x.has_host)
			json_object_set_new(j, "offset", number(p->x.host));
		json_array_append_new(list, j);
	} else if (p->x.allocated && !p->x.zero) {
		printf("%#-16" PRIx64 "%#-16" PRIx64, p->start, p->x.len);
		if (p->x.has_host)
			printf("%#-16" PRIx64 "%s\n", p->x.host, file_of(img, p->depth));
		else
			printf("%-16s%s\n", p->x.compressed ? "compressed" : "encrypted", file_of(img, p->depth));
	}
}

static bool joins(const struct piece *p, const struct image_extent *x, unsigned depth)
{
	return p->any && p->depth == depth && p->x.allocated == x->allocated && p->x.zero == x->zero &&
	       p->x.compressed == x->compressed && p->x.has_host == x->has_host &&
	       (!x->has_host || p->x.host + p->x.len == x->host);
}

static int map(struct img_args *a)
{
	struct piece p = { 0 };
	struct img_file f;
	struct err e;
	json_t *list = a->json ? json_array() : NULL;
	uint64_t size;
	int rc = 0;

	if (img_open(&f, a, a->files[0], a->format, a->share ? BFILE_NO_LOCK : 0, false, &e))
		return cli_fail("img map: %s", e.msg);
	size = f.img->size;
	if (!list)
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
	for (uint64_t at = 0; at < size && !rc;) {
		struct image_extent x;
		unsigned depth;

		rc = image_chain_extent(f.img, at, size - at, &x, &depth);
		if (rc)
			break;
		if (joins(&p, &x, depth)) {
			p.x.len += x.len;
		} else {
			if (p.any)
				print_piece(&p, f.img, list);
			p = (struct piece){ .x = x, .start = at, .depth = depth, .any = true };
		}
		at += x.len;
	}
	if (p.any)
		print_piece(&p, f.img, list);
	if (list)
		print_json(list);
	img_close(&f, &e);
	return rc ? cli_fail("img map: %s: %s", a->files[0], strerror(-rc)) : STATUS_OK;
}

const struct img_subcommand img_map = {
	.name = "map",
	.options = "+:f:U",
	.synopsis = "[--output=json] FILE",
	.summary = "Tell where the parts of the disk are, in the image and its backing files",
	.help = "  --output=human|json  data only, for people [the default]; or everything, for programs\n"
		"  -f FORMAT            the image's format, if it can't be found out\n",
	.min_files = 1,
	.max_files = 1,
	.run = map,
};
