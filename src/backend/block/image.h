/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An image: the bytes of a disk in some format, in a file, perhaps on top of another image. For the block layer and tools. */
#ifndef DOPPEL_BACKEND_BLOCK_IMAGE_H
#define DOPPEL_BACKEND_BLOCK_IMAGE_H

#include "backend/block/bfile.h"

struct image;
struct luks_secret;

/* What a range of an image is. */
struct image_extent {
	uint64_t len;       /* bytes that are alike */
	bool allocated;     /* this image says what they are; else its backing file does, or they are zero */
	bool zero;          /* reads as zero (in this image; not looked for in data) */
	bool compressed;
	bool has_host;      /* they are at `host` in the file as they are */
	uint64_t host;
};

struct image_ops {
	const char *name;
	void (*submit)(struct image *img, struct bio *b);
	/* offset + max must be inside of the image; blocks. 0 or -errno. */
	int (*extent)(struct image *img, uint64_t offset, uint64_t max, struct image_extent *x);
	int (*resize)(struct image *img, uint64_t size, struct err *e); /* blocks; nothing may be under way */
	/* Everything that was acknowledged to stable storage; blocks; nothing may be under way. */
	int (*sync)(struct image *img);
	void (*print_stats)(struct image *img, struct strbuf *out);     /* or NULL */
	int (*close)(struct image *img); /* -errno when something could not be written; frees it in any case */
};

struct image {
	const struct image_ops *ops;
	struct loop *loop;
	struct bfile *file;
	struct image *backing;     /* or NULL */
	bool own_backing;          /* closed with this image */
	char *name, *backing_name; /* backing_name: as it was opened; NULL: none */
	uint64_t size;             /* bytes */
	bool readonly;
	uint32_t discard_align;    /* bytes */
	uint32_t cluster_size;     /* bytes that are allocated at a time; 1 where that means nothing */
};

/* How to open an image, and all under it. */
struct image_options {
	const char *format;      /* NULL: look */
	unsigned flags;          /* BFILE_* */
	bool no_backing;         /* open it alone */
	bool repair;             /* the caller checks or repairs: let damage that a VM must not run on pass */
	bool no_sync;            /* for throw-away images */
	const char *secret_file; /* or NULL */
};

int image_open(struct image **out, struct loop *l, const char *name, const struct image_options *o, struct err *e);

/* Writes what is cached. Also the file, and the backing image if it came with it. */
int image_close(struct image *img);

/* Blocking read and write on the loop's thread (or before it has one): runs the loop. */
int image_pread(struct image *img, uint64_t offset, void *buf, size_t len);
int image_pwrite(struct image *img, uint64_t offset, const void *buf, size_t len);
int image_zero(struct image *img, uint64_t offset, uint64_t len, bool unmap);

/* The extent of the whole chain: which image says what is there (depth 0: img), clipped to what they agree on. */
int image_chain_extent(struct image *img, uint64_t offset, uint64_t max, struct image_extent *x, unsigned *depth);

/* The formats. They take over f in any case but -EAGAIN. */
int raw_open(struct image **out, struct bfile *f, bool probed, struct err *e);

/* Name of the format whose magic these first bytes have, or NULL. n: at least IMAGE_PROBE_LEN. */
#define IMAGE_PROBE_LEN 512
const char *image_probe(const uint8_t *head, size_t n);

/* `name` is relative to the image `of`: what it is from here. NULL without memory. */
char *image_relative_name(const char *of, const char *name);

/* The image of a disk, for tools; calls that need the disk to stand still are made through blk_call(). */
struct image *blk_image(struct blk *b);

/* Run fn(img, arg) on the disk's thread with no request under way; returns what it returns. Not from done(). */
int blk_call(struct blk *b, int (*fn)(struct image *img, void *arg), void *arg);

/* The same between requests that are under way: for what does not touch what they do. */
int blk_call_at_once(struct blk *b, int (*fn)(struct image *img, void *arg), void *arg);

/* Change the disk's size: all events are sent. Blocks; not from done(). */
int blk_resize(struct blk *b, uint64_t size, struct err *e);

#endif
