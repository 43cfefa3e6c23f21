/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process that scribbles on a disk is killed at random points. Everything that it had flushed must be there, and qemu-img
 * may find leaked clusters and nothing else. What was flushed is told through shared memory.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend/block/blk.h"
#include "base/bits.h"
#include "base/log.h"

#define DISK    (16 * MiB)
#define UNIT    4096u
#define UNITS   (DISK / UNIT)
#define ROUNDS  12

struct shared {
	atomic_uint_fast64_t issued[UNITS];  /* stamps that may be there */
	atomic_uint_fast64_t flushed[UNITS]; /* stamps that must be there, or later ones */
	atomic_uint_fast64_t flushes;
};

static char dir[] = "/var/tmp/test_kill.XXXXXX";
static struct shared *shared;

static int command(const char *fmt, const char *options)
{
	char text[400], whole[500];
	int status;

	snprintf(text, sizeof(text), fmt, options);
	snprintf(whole, sizeof(whole), "cd %s && (%s) >log 2>&1", dir, text);
	status = system(whole);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static struct blk *open_disk(void)
{
	struct blk_options o;
	struct blk *b;
	struct err e;
	char path[100];

	snprintf(path, sizeof(path), "%s/k.qcow2", dir);
	blk_options_init(&o);
	o.file = path;
	if (blk_open(&b, &o, &e))
		fail_msg("%s", e.msg);
	return b;
}

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1dull;
}

static void fill(uint8_t *buf, uint64_t stamp)
{
	for (unsigned i = 0; i < UNIT; i += 8)
		memcpy(buf + i, &stamp, 8);
}

/* The child: until it is killed. */
static void scribble(uint64_t seed, uint64_t stamp)
{
	static uint8_t buf[16 * UNIT];
	static uint64_t done[UNITS];
	struct blk *b = open_disk();

	for (;;) {
		const uint64_t n = rnd(&seed) % 16 + 1, at = rnd(&seed) % (UNITS - n);

		stamp++;
		for (uint64_t i = 0; i < n; i++) {
			fill(buf + i * UNIT, stamp);
			atomic_store(&shared->issued[at + i], stamp);
		}
		if (blk_write(b, at * UNIT, buf, n * UNIT))
			_exit(1);
		for (uint64_t i = 0; i < n; i++)
			done[at + i] = stamp;
		if (rnd(&seed) % 8)
			continue;
		if (blk_flush(b))
			_exit(1);
		for (uint64_t i = 0; i < UNITS; i++)
			if (done[i])
				atomic_store(&shared->flushed[i], done[i]);
		atomic_fetch_add(&shared->flushes, 1);
	}
}

static void check_disk(void)
{
	static uint8_t buf[DISK];
	struct blk *b = open_disk();

	assert_int_equal(blk_read(b, 0, buf, DISK), 0);
	blk_close(b);
	for (uint64_t i = 0; i < UNITS; i++) {
		uint64_t stamp;

		memcpy(&stamp, buf + i * UNIT, 8);
		if (stamp < atomic_load(&shared->flushed[i]) || stamp > atomic_load(&shared->issued[i]))
			fail_msg("unit %llu has stamp %llu, flushed was %llu", (unsigned long long)i, (unsigned long long)stamp,
				 (unsigned long long)atomic_load(&shared->flushed[i]));
		/* What is there now stays. */
		atomic_store(&shared->flushed[i], stamp);
	}
}

static void one_round(uint64_t *seed, unsigned round, bool lazy)
{
	const uint64_t before = atomic_load(&shared->flushes);
	pid_t pid = fork();
	int status;

	if (!pid)
		scribble(rnd(seed) | 1, (uint64_t)(round + 1) << 32);
	/* From a moment after the first flush on. */
	while (atomic_load(&shared->flushes) == before && !waitpid(pid, &status, WNOHANG))
		usleep(1000);
	usleep((useconds_t)(rnd(seed) % 60000));
	kill(pid, SIGKILL);
	assert_true(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	rnd(seed);
	if (!lazy) {
		/* The killed process' lock may last a moment longer than it. */
		status = command("for i in $(seq 50); do qemu-img check k.qcow2; rc=$?; [ $rc = 1 ] || exit $rc; sleep 0.1; done; exit 1", "");
		assert_true(status == 0 || status == 3);
	}
	check_disk();
	if (lazy)
		assert_int_equal(command("qemu-img check k.qcow2", ""), 0);
}

static void killed(const char *options, bool lazy)
{
	uint64_t seed = (uint64_t)getpid() << 32 | 1;

	memset(shared, 0, sizeof(*shared));
	assert_int_equal(command("rm -f k.qcow2; qemu-img create -f qcow2 %s k.qcow2 16M", options), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		one_round(&seed, i, lazy);
	assert_int_equal(command("qemu-img check -r leaks k.qcow2", ""), 0);
}

static void test_plain(void **state)
{
	killed("-o cluster_size=4096", false);
}

static void test_default(void **state)
{
	killed("", false);
}

static void test_lazy(void **state)
{
	killed("-o lazy_refcounts=on,cluster_size=8192", true);
}

static int setup(void **state)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return mkdtemp(dir) && shared != MAP_FAILED ? 0 : -1;
}

static int teardown(void **state)
{
	char text[200];

	snprintf(text, sizeof(text), "rm -rf %s", dir);
	return system(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_lazy),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, setup, teardown);
}
