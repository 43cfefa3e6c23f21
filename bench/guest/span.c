/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The protocol between a benchmark program and bench/run: lines that begin with '@'. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "span.h"

#define NS 1000000000ull

static uint64_t wall_start, cpu_start;

void fail(const char *what)
{
	dprintf(STDOUT_FILENO, "@failed %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

static uint64_t tv_ns(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * NS + (uint64_t)tv->tv_usec * 1000;
}

/* Of this process and of all children that have ended. */
static uint64_t cpu(void)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	return tv_ns(&self.ru_utime) + tv_ns(&self.ru_stime) + tv_ns(&children.ru_utime) + tv_ns(&children.ru_stime);
}

static void wait_for_host(const char *mark)
{
	char c;

	dprintf(STDOUT_FILENO, "@%s\n", mark);
	do {
		if (read(STDIN_FILENO, &c, 1) != 1)
			exit(1);
	} while (c != '\n');
}

void span_begin(void)
{
	wait_for_host("begin");
	cpu_start = cpu();
	wall_start = wall();
}

void span_end(uint64_t checksum, uint64_t operations)
{
	uint64_t w = wall() - wall_start, c = cpu() - cpu_start;

	wait_for_host("end");
	dprintf(STDOUT_FILENO, "@result %016" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", checksum, operations, w, c);
}

uint64_t fnv(uint64_t h, const void *data, uint64_t len)
{
	const uint8_t *p = data;

	while (len--)
		h = (h ^ *p++) * 0x100000001b3u;
	return h;
}
