/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests on a disk image through the block layer alone, like qemu-img bench: same file, same number, size and depth.
 *
 *   bench_disk [-w] [-S STEP] [-t CACHE] [-c N] [-d DEPTH] [-s BYTES] [-f FORMAT] FILE
 *
 * -w writes; -S: bytes from one request to the next, else one behind the other. Prints seconds. All requests use the same memory,
 * as qemu-img's do: with memory of its own for each, large ones measure the host's memory and not the block layer.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backend/block/blk.h"
#include "base/bits.h"

#define MAX_DEPTH 256

struct bench {
	struct blk *b;
	uint64_t left, at, size, len, step;
	bool write;
};

struct slot {
	struct blk_request r;
	struct bench *t;
	struct iovec iov;
};

static uint64_t next(struct bench *t)
{
	uint64_t at = t->at;

	t->at += t->step;
	if (t->at + t->len > t->size)
		t->at %= t->size / t->len * t->len;
	if (t->at + t->len > t->size)
		t->at = 0;
	return at;
}

/* On the disk's thread, as all that follow the first. */
static void done(struct blk_request *r, int rc)
{
	struct slot *s = CONTAINER_OF(r, struct slot, r);
	struct bench *t = s->t;

	if (rc) {
		fprintf(stderr, "bench_disk: %s\n", strerror(-rc));
		exit(1);
	}
	if (!t->left)
		return;
	t->left--;
	r->offset = next(t);
	blk_submit(t->b, r);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Seconds, from when all is ready. */
static double run(struct bench *t, unsigned depth)
{
	struct slot *slots = calloc(depth, sizeof(*slots));
	uint8_t *memory = aligned_alloc(2 * MiB, ALIGN_UP(t->len, 2 * MiB));
	double start;

	memset(memory, 0x5a, t->len);
	t->left -= depth;
	for (unsigned i = 0; slots && i < depth; i++) {
		struct slot *s = &slots[i];

		s->t = t;
		s->iov.iov_len = t->len;
		s->iov.iov_base = memory;
		s->r = (struct blk_request){ .op = t->write ? BLK_WRITE : BLK_READ, .offset = next(t), .len = t->len, .iov = &s->iov,
					     .n_iov = 1, .done = done };
	}
	start = now_s();
	for (unsigned i = 0; slots && i < depth; i++)
		blk_submit(t->b, &slots[i].r);
	blk_drain(t->b);
	start = now_s() - start;
	free(memory);
	free(slots);
	return start;
}

int main(int argc, char **argv)
{
	struct bench t = { .len = 4096, .left = 75000 };
	struct blk_options o;
	struct blk_info info;
	unsigned depth = 64;
	struct err e;
	int c;

	blk_options_init(&o);
	while ((c = getopt(argc, argv, "wS:t:c:d:s:f:")) != -1) {
		switch (c) {
		case 'w':
			t.write = true;
			break;
		case 'S':
			t.step = strtoull(optarg, NULL, 0);
			break;
		case 't':
			if (blk_options_set(&o, "cache", optarg, &e))
				return 2;
			break;
		case 'c':
			t.left = strtoull(optarg, NULL, 0);
			break;
		case 'd':
			depth = (unsigned)MIN(MAX(atoi(optarg), 1), MAX_DEPTH);
			break;
		case 's':
			t.len = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			o.format = optarg;
			break;
		default:
			return 2;
		}
	}
	t.step = t.step ? t.step : t.len;
	o.file = optind < argc ? argv[optind] : "";
	o.readonly = !t.write;
	if (blk_open(&t.b, &o, &e)) {
		fprintf(stderr, "bench_disk: %s\n", e.msg);
		return 1;
	}
	blk_info(t.b, &info);
	t.size = info.size;
	printf("%.3f\n", run(&t, depth));
	blk_close(t.b);
	return 0;
}
