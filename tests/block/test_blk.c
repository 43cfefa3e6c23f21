/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks on raw files: requests, order, limits, a full host, locks. Run with io_uring and with threads. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend/block/blk.h"
#include "backend/block/loop.h"
#include "base/bits.h"
#include "model.h"

#define DISK_SIZE (8 * MiB)

static char dir[] = "/var/tmp/test_blk.XXXXXX";

static const char *path(const char *name)
{
	static char p[128];

	snprintf(p, sizeof(p), "%s/%s", dir, name);
	return p;
}

static void make_file(const char *p, uint64_t size)
{
	int fd = open(p, O_CREAT | O_RDWR | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static struct blk *open_disk(const char *p, struct blk_options *o)
{
	struct blk *b = NULL;
	struct err e;

	o->file = p;
	if (blk_open(&b, o, &e))
		fail_msg("%s", e.msg);
	return b;
}

static void random_requests(struct blk_options *o)
{
	struct model m;
	struct blk *b;

	make_file(path("random"), DISK_SIZE);
	b = open_disk(path("random"), o);
	model_init(&m, b, DISK_SIZE, 7);
	model_run(&m, 1500, 32);
	model_check(&m);
	blk_close(b);
	m.b = open_disk(path("random"), o);
	model_check(&m);
	blk_close(m.b);
	model_release(&m);
}

static void test_buffered(void **state)
{
	struct blk_options o;

	blk_options_init(&o);
	o.format = "raw";
	random_requests(&o);
}

static void test_direct(void **state)
{
	struct blk_options o;

	blk_options_init(&o);
	o.format = "raw";
	o.cache = BLK_CACHE_NONE;
	random_requests(&o);
}

static void test_writethrough(void **state)
{
	struct blk_options o;
	struct blk_info i;
	struct blk *b;

	blk_options_init(&o);
	o.cache = BLK_CACHE_WRITETHROUGH;
	make_file(path("wt"), DISK_SIZE);
	b = open_disk(path("wt"), &o);
	blk_info(b, &i);
	assert_false(i.write_cache);
	assert_int_equal(i.size, DISK_SIZE);
	assert_int_equal(blk_write(b, 4096, "0123456789abcdef", 16), -EINVAL);
	blk_close(b);
}

/* Requests that the disk must refuse, whatever the chip let pass. */
static void test_bad_requests(void **state)
{
	static uint8_t buf[4096];
	struct blk_options o;
	struct blk *b;

	blk_options_init(&o);
	o.readonly = true;
	make_file(path("bad"), DISK_SIZE + 100);
	b = open_disk(path("bad"), &o);
	assert_int_equal(blk_read(b, DISK_SIZE, buf, 512), 0);
	assert_int_equal(blk_read(b, DISK_SIZE, buf, 1024), -EINVAL);
	assert_int_equal(blk_read(b, UINT64_MAX - 511, buf, 512), -EINVAL);
	assert_int_equal(blk_read(b, 1, buf, 512), -EINVAL);
	assert_int_equal(blk_write(b, 0, buf, 512), -EROFS);
	assert_int_equal(blk_write_zeroes(b, 0, 512, true), -EROFS);
	assert_int_equal(blk_flush(b), 0);
	blk_close(b);
}

/* What begins like another format is not raw unless somebody says so, and can't become so by the guest's doing. */
static void test_probing(void **state)
{
	static const char head[512] = "QFI\xfb";
	struct blk_options o;
	struct blk *b = NULL;
	struct err e;

	blk_options_init(&o);
	make_file(path("probe"), DISK_SIZE);
	b = open_disk(path("probe"), &o);
	assert_string_equal(blk_format(b), "raw");
	assert_int_equal(blk_write(b, 0, head, 512), -EPERM);
	assert_int_equal(blk_write(b, 512, head, 512), 0);
	blk_close(b);
	o.format = "raw";
	b = open_disk(path("probe"), &o);
	assert_int_equal(blk_write(b, 0, head, 512), 0);
	blk_close(b);
	o.format = NULL;
	o.file = path("probe");
	assert_true(blk_open(&b, &o, &e) < 0);
}

static void test_options(void **state)
{
	static const char *const bad[] = { "", "format=raw", "f,cache=fast", "f,bps=1.2.3", "f,iops=many", "f,readonly=perhaps", "f,size=3",
					   "f,block-size=1000", "f,bps=99999999999E" };
	struct blk_options o;
	struct err e;

	assert_int_equal(blk_options_parse(&o, "a,,b=c.img,format=raw,readonly,cache=none,bps=20M:1G,iops=1.5k,discard=ignore", &e), 0);
	assert_string_equal(o.file, "a,b=c.img");
	assert_string_equal(o.format, "raw");
	assert_true(o.readonly && !o.discard && !o.ephemeral && o.cache == BLK_CACHE_NONE);
	assert_true(o.bps.rate == 20 * MiB && o.bps.burst == GiB && o.iops.rate == 1536 && !o.iops.burst);
	blk_options_release(&o);
	assert_int_equal(blk_options_parse(&o, "file=x.qcow2,ephemeral=on,secret=pw,block-size=4096", &e), 0);
	assert_string_equal(o.file, "x.qcow2");
	assert_true(o.ephemeral && o.block_size == 4096);
	blk_options_release(&o);
	assert_int_equal(blk_options_parse(&o, "format=qcow2,file=x", &e), 0);
	assert_string_equal(o.file, "x");
	blk_options_release(&o);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(blk_options_parse(&o, bad[i], &e) < 0 && e.msg[0]);
}

static void test_locks(void **state)
{
	struct blk_options w, r;
	struct blk *a, *b, *c;
	struct err e;

	blk_options_init(&w);
	blk_options_init(&r);
	r.readonly = true;
	make_file(path("locks"), DISK_SIZE);
	a = open_disk(path("locks"), &w);
	w.file = r.file = path("locks");
	assert_int_equal(blk_open(&b, &w, &e), -EAGAIN);
	assert_non_null(strstr(e.msg, "another program"));
	assert_int_equal(blk_open(&b, &r, &e), -EAGAIN);
	blk_close(a);
	a = open_disk(path("locks"), &r);
	c = open_disk(path("locks"), &r);
	assert_int_equal(blk_open(&b, &w, &e), -EAGAIN);
	blk_close(a);
	blk_close(c);
	blk_close(open_disk(path("locks"), &w));
}

struct chain {
	struct blk_request r;
	struct blk *b;
	struct iovec iov;
	atomic_uint *left;
};

static void chain_done(struct blk_request *r, int rc)
{
	struct chain *c = CONTAINER_OF(r, struct chain, r);

	assert_int_equal(rc, 0);
	if (atomic_fetch_sub(c->left, 1) > 1)
		blk_submit(c->b, r);
}

/* done() submits the next one; the thread must not sleep over it. */
static void test_submit_from_done(void **state)
{
	static uint8_t buf[4096];
	struct blk_options o;
	atomic_uint left = 500;
	struct chain c = { .left = &left };

	blk_options_init(&o);
	make_file(path("chain"), DISK_SIZE);
	c.b = open_disk(path("chain"), &o);
	c.iov = (struct iovec){ buf, sizeof(buf) };
	c.r = (struct blk_request){ .op = BLK_READ, .len = sizeof(buf), .iov = &c.iov, .n_iov = 1, .done = chain_done };
	blk_submit(c.b, &c.r);
	while (atomic_load(&left))
		blk_drain(c.b);
	blk_drain(c.b);
	blk_close(c.b);
}

/* 4 MiB/s and a burst of 1 MiB: 5 MiB take 1 s, so a second's worth holds within 10 %. Only "too fast" can fail. */
static void limited(uint64_t bps, uint64_t iops, unsigned n, unsigned len, double seconds)
{
	struct blk_options o;
	struct blk *b;
	uint8_t *buf = calloc(1, len);
	uint64_t start;

	blk_options_init(&o);
	o.bps = (struct blk_limit){ bps, bps / 4 };
	o.iops = (struct blk_limit){ iops, iops / 4 };
	make_file(path("limit"), DISK_SIZE);
	b = open_disk(path("limit"), &o);
	start = loop_now();
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(blk_read(b, (uint64_t)i * len % DISK_SIZE, buf, len), 0);
	assert_true((double)(loop_now() - start) / 1e9 > seconds * 0.9);
	blk_close(b);
	free(buf);
}

static void test_limits(void **state)
{
	limited(4 * MiB, 0, 80, 64 * KiB, 1.0);
	limited(0, 200, 250, 512, 1.0);
}

struct full {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned n, n_on;
};

static void note(struct full *f, unsigned *n)
{
	pthread_mutex_lock(&f->lock);
	++*n;
	pthread_cond_signal(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

static void on_full(void *opaque)
{
	note(opaque, &((struct full *)opaque)->n);
}

static void on_space(void *opaque)
{
	note(opaque, &((struct full *)opaque)->n_on);
}

static const struct blk_space_handlers space_handlers = { on_full, on_space };

static void wait_for(struct full *f, const unsigned *what, unsigned n)
{
	pthread_mutex_lock(&f->lock);
	while (*what < n)
		pthread_cond_wait(&f->cond, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

static bool mount_small(const char *at)
{
	mkdir(at, 0700);
	if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return false;
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	return !mount("tmpfs", at, "tmpfs", 0, "size=2m");
}

static void flag_done(struct blk_request *r, int rc)
{
	*(atomic_int *)r->opaque = rc ? rc : 1;
}

/* Writes stop when the host has no space, with one event, and go on where they were after space is made. */
static void full_and_on(const char *format)
{
	static uint8_t buf[64 * KiB], back[64 * KiB];
	struct full f = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
	struct iovec iov = { buf, sizeof(buf) };
	atomic_int over[64];
	struct blk_request r[64];
	char command[400];
	struct blk_options o;
	struct blk *b;

	memset(buf, 0x5a, sizeof(buf));
	snprintf(command, sizeof(command), "rm -f %s; qemu-img create -q -f %s %s 8M", path("small/disk"), format, path("small/disk"));
	assert_int_equal(system(command), 0);
	blk_options_init(&o);
	o.format = format;
	b = open_disk(path("small/disk"), &o);
	blk_set_space_handlers(b, &space_handlers, &f);
	for (unsigned i = 0; i < 64; i++) {
		over[i] = 0;
		r[i] = (struct blk_request){ .op = BLK_WRITE, .offset = i * sizeof(buf), .len = sizeof(buf), .iov = &iov,
					     .n_iov = 1, .done = flag_done, .opaque = &over[i] };
		blk_submit(b, &r[i]);
	}
	wait_for(&f, &f.n, 1);
	blk_drain(b);
	assert_int_equal(f.n, 1);
	blk_retry(b);
	wait_for(&f, &f.n, 2);
	blk_drain(b);
	assert_int_equal(f.n_on, 0);
	assert_int_equal(mount(NULL, path("small"), NULL, MS_REMOUNT, "size=16m"), 0);
	wait_for(&f, &f.n_on, 1); /* it finds out by itself */
	for (unsigned i = 0; i < 64; i++)
		while (!atomic_load(&over[i]))
			usleep(1000);
	for (unsigned i = 0; i < 64; i++) {
		assert_int_equal(over[i], 1);
		assert_int_equal(blk_read(b, i * sizeof(buf), back, sizeof(back)), 0);
		assert_memory_equal(buf, back, sizeof(buf));
	}
	assert_int_equal(f.n, 2);
	assert_int_equal(blk_flush(b), 0);
	blk_close(b);
	snprintf(command, sizeof(command), "qemu-img check -f %s %s >/dev/null", format, path("small/disk"));
	assert_true(!strcmp(format, "raw") || !system(command));
}

static int truncate_new(const char *file, off_t size)
{
	int fd = open(file, O_RDWR | O_CREAT, 0600), rc = ftruncate(fd, size);

	close(fd);
	return rc;
}

/* Who can't wait gets errors, for all that is under way. */
static void give_up(void)
{
	static uint8_t buf[64 * KiB];
	struct full f = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
	struct iovec iov = { buf, sizeof(buf) };
	struct blk_request r[64];
	atomic_int over[64];
	struct blk_options o;
	unsigned failed = 0;
	struct blk *b;

	blk_options_init(&o);
	o.format = "raw";
	b = open_disk(path("small/disk"), &o);
	blk_set_space_handlers(b, &space_handlers, &f);
	for (unsigned i = 0; i < 64; i++) {
		over[i] = 0;
		r[i] = (struct blk_request){ .op = BLK_WRITE, .offset = i * sizeof(buf), .len = sizeof(buf), .iov = &iov,
					     .n_iov = 1, .done = flag_done, .opaque = &over[i] };
		blk_submit(b, &r[i]);
	}
	wait_for(&f, &f.n, 1);
	blk_give_up(b);
	for (unsigned i = 0; i < 64; i++) {
		assert_true(over[i] == 1 || over[i] == -ENOSPC);
		failed += over[i] != 1;
	}
	assert_in_range(failed, 1, 63);
	assert_int_equal(f.n_on, 1);
	blk_close(b);
}

static void test_full(void **state)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (!mount_small(path("small")))
			_exit(77);
		full_and_on("raw");
		unlink(path("small/disk"));
		assert_int_equal(mount(NULL, path("small"), NULL, MS_REMOUNT, "size=2m"), 0);
		full_and_on("qcow2");
		unlink(path("small/disk"));
		assert_int_equal(mount(NULL, path("small"), NULL, MS_REMOUNT, "size=2m"), 0);
		assert_int_equal(truncate_new(path("small/disk"), 8 * MiB), 0);
		give_up();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
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
		cmocka_unit_test(test_buffered),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_writethrough),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_probing),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_locks),
		cmocka_unit_test(test_submit_from_done),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
