/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2 images: what the rest of the block layer and the tools may ask of them. */
#ifndef DOPPEL_BACKEND_BLOCK_QCOW2_H
#define DOPPEL_BACKEND_BLOCK_QCOW2_H

#include "backend/block/image.h"

/* Open the image in f, and its backing files. depth: how many images are on top of it. f stays the caller's. */
int qcow2_open(struct image **out, struct bfile *f, const struct image_options *o, unsigned depth, struct err *e);

struct qcow2_create {
	uint64_t size;              /* bytes */
	unsigned version;           /* 2 or 3 [3] */
	uint32_t cluster_size;      /* bytes, a power of two, 512 to 2 MiB [64 KiB] */
	unsigned refcount_bits;     /* 1 to 64 [16] */
	bool lazy_refcounts, zstd;
	bool preallocate;           /* clusters for the whole disk */
	const char *backing_file, *backing_format; /* or NULL; only noted in the image */
	const char *secret_file;    /* encrypt with the passphrase in it; NULL: don't */
};
void qcow2_create_init(struct qcow2_create *c);

/* Make an image in f, which is empty. */
int qcow2_create(struct bfile *f, const struct qcow2_create *c, struct err *e);

/*
 * Compressed clusters: pack one cluster of data (any thread): bytes, 0 when it doesn't get smaller than room, -errno; and
 * put it at a cluster's offset (blocks; the disk's thread).
 */
int64_t qcow2_pack(struct image *img, const void *cluster, void *out, size_t room);
int qcow2_write_packed(struct image *img, uint64_t offset, const void *packed, size_t len);

/* Snapshots inside of an image; blocking, with nothing under way. name: ID or name. */
struct qcow2_snapshot_info {
	const char *id, *name;      /* the image's, until the next change */
	uint32_t date_s, date_ns;   /* since 1970, UTC */
	uint64_t clock_ns, vm_state_size, disk_size;
};
unsigned qcow2_snapshots(struct image *img);
void qcow2_snapshot_info(struct image *img, unsigned i, struct qcow2_snapshot_info *info);
int qcow2_snapshot_create(struct image *img, const char *name, struct err *e);
int qcow2_snapshot_delete(struct image *img, const char *name, struct err *e);
int qcow2_snapshot_apply(struct image *img, const char *name, struct err *e);

/* What there is to know about an image; false: it is no qcow2 image. The strings are the image's; NULL: none. */
struct qcow2_info {
	unsigned version, refcount_bits;
	uint32_t cluster_size;
	bool lazy_refcounts, zstd, encrypted, dirty, corrupt;
	const char *backing_file, *backing_format;
};
bool qcow2_info(struct image *img, struct qcow2_info *info);

/* Nothing is allocated any more: all is as the backing file has it. Blocking, with nothing under way. */
int qcow2_make_empty(struct image *img, struct err *e);

enum { QCOW2_FIX_LEAKS = 1, QCOW2_FIX_ERRORS = 2 };

struct qcow2_check {
	void (*report)(void *opaque, const char *line); /* each thing that is wrong; or NULL */
	void *opaque;
	uint64_t corruptions, leaks, corruptions_fixed, leaks_fixed;
	uint64_t total, allocated, compressed, fragmented; /* clusters of the disk */
	uint64_t image_end;                                /* bytes of the file that are used */
};

/* Look for what contradicts itself, and put it right (QCOW2_FIX_*). Blocking, with nothing under way; qcow2 images only. */
int qcow2_check(struct image *img, unsigned fix, struct qcow2_check *out, struct err *e);

/* A throw-away image in a nameless file on top of another one, which stays the caller's. */
int qcow2_open_overlay(struct image **out, struct loop *l, struct image *backing, struct err *e);

/* image_open() for a backing file. */
int image_open_depth(struct image **out, struct loop *l, const char *name, const struct image_options *o, unsigned depth,
		     struct err *e);

#endif
