/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2 images under random requests, against a model in memory and against qemu-img. Run with io_uring and threads. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend/block/qcow2.h"
#include "base/bits.h"
#include "model.h"

#define DISK_SIZE (6 * MiB + 37 * 512) /* the last cluster is cut off */

static char dir[] = "/var/tmp/test_qcow2.XXXXXX";

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *fmt, ...)
{
	char text[1000], command[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(command, sizeof(command), "cd %s && (%s) >log 2>&1", dir, text);
	if (system(command)) {
		snprintf(command, sizeof(command), "cat %s/log", dir);
		if (system(command))
			puts("no output");
		fail_msg("%s", text);
	}
}

static const char *path(const char *name)
{
	static char p[128];

	snprintf(p, sizeof(p), "%s/%s", dir, name);
	return p;
}

static struct blk *open_disk(const char *name, struct blk_options *o)
{
	struct blk *b = NULL;
	struct err e;

	o->file = path(name);
	if (blk_open(&b, o, &e))
		fail_msg("%s", e.msg);
	return b;
}

/* What the disk is by the model, as qemu-img sees it. */
static void compare_by_qemu(struct model *m, const char *image, const char *more)
{
	uint8_t *buf = malloc(m->size);
	int fd;

	run("qemu-img convert %s -O raw %s%s raw", more, *more ? "--image-opts " : "", image);
	fd = open(path("raw"), O_RDONLY);
	assert_true(fd >= 0 && buf);
	assert_int_equal(read(fd, buf, m->size), m->size);
	for (uint64_t at = 0; at < m->size; at += MODEL_SECTOR)
		if (!m->unknown[at / MODEL_SECTOR] && memcmp(buf + at, m->data + at, MODEL_SECTOR))
			fail_msg("qemu-img reads the sector at %#llx otherwise", (unsigned long long)at);
	close(fd);
	free(buf);
}

static void load_model(struct model *m, const char *raw)
{
	int fd = open(path(raw), O_RDONLY);

	assert_true(fd >= 0);
	assert_true(read(fd, m->data, m->size) >= 0);
	close(fd);
}

static struct model m;

static void go(const char *image, struct blk_options *o, uint64_t seed, unsigned n)
{
	m.b = open_disk(image, o);
	m.rng = seed;
	model_run(&m, n, 24);
	model_check(&m);
	blk_close(m.b);
}

/* Images as qemu-img makes them, with every option that we say we can. */
static void test_variants(void **state)
{
	static const char *const options[] = {
		"", "compat=0.10", "cluster_size=512", "cluster_size=4096,refcount_bits=64", "cluster_size=2M",
		"refcount_bits=1", "refcount_bits=2,cluster_size=1024", "refcount_bits=4", "refcount_bits=8", "refcount_bits=32",
		"lazy_refcounts=on", "preallocation=metadata", "preallocation=falloc", "preallocation=full", "compression_type=zstd",
	};
	struct blk_options o;

	blk_options_init(&o);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		run("rm -f v.qcow2; qemu-img create -f qcow2 %s%s v.qcow2 %llu", *options[i] ? "-o " : "", options[i],
		    (unsigned long long)DISK_SIZE);
		o.cache = i % 3 == 1 ? BLK_CACHE_NONE : i % 3 == 2 ? BLK_CACHE_WRITETHROUGH : BLK_CACHE_WRITEBACK;
		model_init(&m, NULL, DISK_SIZE, i + 1);
		go("v.qcow2", &o, i + 1, 400);
		run("qemu-img check v.qcow2");
		compare_by_qemu(&m, "v.qcow2", "");
		go("v.qcow2", &o, i + 100, 200);
		run("qemu-img check v.qcow2");
		compare_by_qemu(&m, "v.qcow2", "");
		model_release(&m);
	}
}

/* A chain: raw, smaller than what is on it, below compressed qcow2, below the image that is written to. */
static void test_backing(void **state)
{
	struct blk_options o;

	blk_options_init(&o);
	for (unsigned i = 0; i < 4; i++) {
		const char *type = i & 1 ? "zstd" : "zlib";

		run("rm -f *; head -c 2500000 /dev/urandom >base.raw; truncate -s 3M base.raw; seq 900000 | head -c 3000000 >text");
		run("qemu-img create -f qcow2 -o compression_type=%s -b base.raw -F raw mid.qcow2 5M", type);
		run("qemu-img convert -c -f raw -O qcow2 -o compression_type=%s text packed.qcow2", type);
		run("qemu-io -f qcow2 -c 'write -P 7 2M 1M' -c 'write -z 1M 300k' mid.qcow2");
		run("qemu-img create -f qcow2 -o compat=%s -b %s -F qcow2 top.qcow2 %llu", i & 2 ? "0.10" : "1.1",
		    i & 1 ? "packed.qcow2" : "mid.qcow2", (unsigned long long)DISK_SIZE);
		run("qemu-img convert -O raw top.qcow2 flat");
		model_init(&m, NULL, DISK_SIZE, i + 1);
		load_model(&m, "flat");
		m.b = open_disk("top.qcow2", &o);
		model_check(&m);
		blk_close(m.b);
		go("top.qcow2", &o, i + 1, 500);
		run("qemu-img check top.qcow2");
		compare_by_qemu(&m, "top.qcow2", "");
		model_release(&m);
	}
}

static void test_luks(void **state)
{
	char text[300];
	struct blk_options o;
	struct blk *b;
	struct err e;

	blk_options_init(&o);
	run("rm -f *; printf 'open sesame' >secret; printf wrong >wrong");
	/* Where threads move between CPUs its measuring of their time fails in one of four times, and then at once. */
	run("for i in $(seq 100); do rm -f l.qcow2; qemu-img create --object secret,id=s,file=secret -f qcow2 "
	    "-o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=100 l.qcow2 %llu && exit 0; done; exit 1",
	    (unsigned long long)DISK_SIZE);
	o.file = path("l.qcow2");
	assert_int_equal(blk_open(&b, &o, &e), -EACCES);
	assert_non_null(strstr(e.msg, "passphrase"));
	snprintf(text, sizeof(text), "%s/wrong", dir);
	o.secret_file = text;
	assert_int_equal(blk_open(&b, &o, &e), -EACCES);
	snprintf(text, sizeof(text), "%s/secret", dir);
	model_init(&m, NULL, DISK_SIZE, 3);
	go("l.qcow2", &o, 3, 400);
	run("qemu-img check --object secret,id=s,file=secret --image-opts driver=qcow2,file.filename=l.qcow2,encrypt.key-secret=s");
	compare_by_qemu(&m, "driver=qcow2,file.filename=l.qcow2,encrypt.key-secret=s", "--object secret,id=s,file=secret");
	model_release(&m);
}

/* Ones that are not for us say so. */
static void test_refused(void **state)
{
	static const char *const options[] = { "extended_l2=on", "data_file=ext.raw" };
	struct blk_options o;
	struct blk *b;
	struct err e;

	blk_options_init(&o);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		run("rm -f *; qemu-img create -f qcow2 -o %s r.qcow2 4M", options[i]);
		o.file = path("r.qcow2");
		assert_int_equal(blk_open(&b, &o, &e), -ENOTSUP);
		assert_non_null(strstr(e.msg, "qemu-img convert"));
	}
	run("rm -f *; qemu-img create -f vmdk r.vmdk 4M");
	o.file = path("r.vmdk");
	assert_int_equal(blk_open(&b, &o, &e), -ENOTSUP);
}

struct snap {
	const char *name;
	int (*fn)(struct image *img, const char *name, struct err *e);
	struct err e;
};

static int call_snap(struct image *img, void *arg)
{
	struct snap *s = arg;

	return s->fn(img, s->name, &s->e);
}

static void snapshot(int (*fn)(struct image *img, const char *name, struct err *e), const char *name)
{
	struct snap s = { .name = name, .fn = fn };

	if (blk_call(m.b, call_snap, &s))
		fail_msg("%s", s.e.msg);
}

/* Snapshots made, gone back to and deleted by us, while the disk is written to; and those that qemu-img made. */
static void test_snapshots(void **state)
{
	static const char *const options[] = { "cluster_size=4096", "lazy_refcounts=on", "compat=0.10" };
	uint8_t *then = malloc(DISK_SIZE);
	struct blk_options o;

	blk_options_init(&o);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		run("rm -f *; qemu-img create -f qcow2 -o %s s.qcow2 %llu", options[i], (unsigned long long)DISK_SIZE);
		model_init(&m, NULL, DISK_SIZE, i + 5);
		m.discard = false;
		go("s.qcow2", &o, 5, 200);
		run("qemu-img snapshot -c theirs s.qcow2");
		memcpy(then, m.data, DISK_SIZE);
		m.b = open_disk("s.qcow2", &o);
		model_run(&m, 200, 16);
		snapshot(qcow2_snapshot_create, "ours");
		model_run(&m, 200, 16);
		snapshot(qcow2_snapshot_create, "later");
		model_run(&m, 100, 16);
		snapshot(qcow2_snapshot_delete, "ours");
		model_check(&m);
		blk_close(m.b);
		run("qemu-img check s.qcow2");
		compare_by_qemu(&m, "s.qcow2", "");
		m.b = open_disk("s.qcow2", &o);
		snapshot(qcow2_snapshot_apply, "theirs");
		memcpy(m.data, then, DISK_SIZE);
		model_check(&m);
		model_run(&m, 100, 16);
		blk_close(m.b);
		run("qemu-img check s.qcow2 && qemu-img snapshot -a theirs s.qcow2 && qemu-img check s.qcow2");
		memcpy(m.data, then, DISK_SIZE);
		compare_by_qemu(&m, "s.qcow2", "");
		run("qemu-img snapshot -d theirs s.qcow2 && qemu-img snapshot -d later s.qcow2 && qemu-img check s.qcow2");
		model_release(&m);
	}
	free(then);
}

static void test_ephemeral(void **state)
{
	struct blk_options o;

	blk_options_init(&o);
	o.ephemeral = true;
	run("rm -f *; qemu-img create -f qcow2 e.qcow2 %llu; head -c 1000000 /dev/urandom >flat; "
	    "qemu-img convert -n -f raw -O qcow2 flat e.qcow2; sha256sum e.qcow2 >sum", (unsigned long long)DISK_SIZE);
	model_init(&m, NULL, DISK_SIZE, 9);
	load_model(&m, "flat");
	go("e.qcow2", &o, 9, 300);
	run("sha256sum -c sum");
	model_release(&m);
}

/* The disk's size changes while it is open; what comes back after shrinking is zero. */
static void test_resize(void **state)
{
	static const uint64_t sizes[] = { 9 * MiB, 3 * MiB + 1024, 5 * MiB + 512, 512, 40 * MiB };
	struct blk_options o;
	struct err e;

	blk_options_init(&o);
	run("rm -f *; head -c 8M /dev/urandom >base.raw; qemu-img create -f qcow2 -b base.raw -F raw -o cluster_size=4096 z.qcow2 4M");
	model_init(&m, NULL, 40 * MiB, 4);
	load_model(&m, "base.raw");
	memset(m.data + 4 * MiB, 0, 36 * MiB);
	m.size = 4 * MiB;
	m.b = open_disk("z.qcow2", &o);
	model_run(&m, 200, 16);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (blk_resize(m.b, sizes[i], &e))
			fail_msg("%s", e.msg);
		if (sizes[i] < m.size) {
			memset(m.data + sizes[i], 0, 40 * MiB - sizes[i]);
			memset(m.unknown + sizes[i] / MODEL_SECTOR, 0, (40 * MiB - sizes[i]) / MODEL_SECTOR);
		}
		m.size = sizes[i];
		model_check(&m);
		model_run(&m, 100, m.size > MiB ? 16 : 1);
		model_check(&m);
	}
	blk_close(m.b);
	run("qemu-img check z.qcow2");
	compare_by_qemu(&m, "z.qcow2", "");
	model_release(&m);
}

/* A process that dies with lazy refcounts leaves them wrong; the next one to open the image puts them right. */
static void test_dirty(void **state)
{
	struct blk_options o;

	blk_options_init(&o);
	run("rm -f *; qemu-img create -f qcow2 -o lazy_refcounts=on d.qcow2 %llu", (unsigned long long)DISK_SIZE);
	model_init(&m, NULL, DISK_SIZE, 2);
	m.b = open_disk("d.qcow2", &o);
	model_run(&m, 200, 16);
	assert_int_equal(blk_flush(m.b), 0);
	run("cp d.qcow2 dead.qcow2");
	blk_close(m.b);
	m.b = open_disk("dead.qcow2", &o);
	model_check(&m);
	blk_close(m.b);
	run("qemu-img check dead.qcow2");
	compare_by_qemu(&m, "dead.qcow2", "");
	model_release(&m);
}

static int setup(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_variants),  cmocka_unit_test(test_backing), cmocka_unit_test(test_luks),
		cmocka_unit_test(test_refused),   cmocka_unit_test(test_snapshots), cmocka_unit_test(test_ephemeral),
		cmocka_unit_test(test_resize),    cmocka_unit_test(test_dirty),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
