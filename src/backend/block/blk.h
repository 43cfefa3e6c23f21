/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk as a chip sees it: bytes at offsets, asynchronous requests, and what the image can do. */
#ifndef DOPPEL_BACKEND_BLOCK_BLK_H
#define DOPPEL_BACKEND_BLOCK_BLK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/err.h"
#include "base/list.h"
#include "base/strbuf.h"

struct blk;

enum blk_op {
	BLK_READ,
	BLK_WRITE,
	BLK_FLUSH,        /* all writes that were done before it was submitted are on stable storage when it is done */
	BLK_DISCARD,      /* the bytes are not needed any more and may read as anything that was there, or zero */
	BLK_WRITE_ZEROES, /* the bytes read as zero */
};

/*
 * One request; the caller's memory until done() is called. Offsets and lengths are in bytes, multiples
 * of blk_info.block_size, and inside of the disk: a chip checks what its guest asks for, and the block
 * layer checks again (-EINVAL). Requests under way at the same time may be carried out in any order.
 */
struct blk_request {
	enum blk_op op;
	bool fua;                /* BLK_WRITE, BLK_WRITE_ZEROES: done means on stable storage */
	bool unmap;              /* BLK_WRITE_ZEROES: space may be given back */
	uint64_t offset, len;    /* not for BLK_FLUSH */
	const struct iovec *iov; /* BLK_READ, BLK_WRITE: adds up to len; any host memory, guest RAM too */
	unsigned n_iov;
	/*
	 * Called exactly once, with 0 or -errno, on a thread of the disk's, with no lock held; may submit and may
	 * free the request. Never from inside blk_submit().
	 */
	void (*done)(struct blk_request *r, int rc);
	void *opaque;
	struct list node;        /* the block layer's, from submission until done */
};

/* Queue a request. Never blocks; any thread, under any lock of a rank below RANK_BLK. */
void blk_submit(struct blk *b, struct blk_request *r);

struct blk_info {
	uint64_t size;           /* bytes; a multiple of block_size */
	uint32_t block_size;     /* bytes: the logical block, 512 or 4096 */
	uint32_t physical_size;  /* bytes: writes of this size and alignment need no reading first */
	bool readonly;
	bool discard;            /* BLK_DISCARD does something */
	uint32_t discard_align;  /* bytes */
	bool write_cache;        /* writes may be volatile until BLK_FLUSH */
};
void blk_info(const struct blk *b, struct blk_info *info);

/* What a chip wants to hear; called on the disk's thread, with no lock held; slots may be NULL. */
struct blk_events {
	void (*resized)(void *opaque);       /* blk_info.size has changed */
};
void blk_set_events(struct blk *b, const struct blk_events *ev, void *opaque);

/*
 * Wait until all requests that were submitted are done, but for those that are kept for lack of space (blk_give_up()
 * ends them). Not with a lock that done() takes, nor from done().
 */
void blk_drain(struct blk *b);

/* Request after request with a blocking call, for loaders and tools: -errno. Not from done(). */
int blk_read(struct blk *b, uint64_t offset, void *buf, size_t len);
int blk_write(struct blk *b, uint64_t offset, const void *buf, size_t len);
int blk_write_zeroes(struct blk *b, uint64_t offset, uint64_t len, bool unmap);
int blk_flush(struct blk *b);

/*
 * What happens when the host can't carry out a write for lack of space (-ENOSPC, -EDQUOT): the request is kept, and full(opaque) is
 * called once, on the disk's thread with no lock held. What is kept is tried again every second, and by blk_retry(), after which
 * full() is called again if there is still no space; on(opaque) when nothing is kept any more. Without handlers
 * the request fails.
 */
struct blk_space_handlers {
	void (*full)(void *opaque);
	void (*on)(void *opaque);
};
void blk_set_space_handlers(struct blk *b, const struct blk_space_handlers *h, void *opaque);
void blk_retry(struct blk *b);

/*
 * Wait until all requests are done; what finds no space fails with -ENOSPC. For who can't wait for space, as before a
 * reset: the buffers are somebody else's afterwards. blk_close() does so too. As blk_drain().
 */
void blk_give_up(struct blk *b);

enum blk_cache {
	BLK_CACHE_WRITEBACK, /* the host's page cache; flushes are carried out */
	BLK_CACHE_NONE,      /* O_DIRECT; flushes are carried out */
	BLK_CACHE_WRITETHROUGH, /* each write is on stable storage when it is done */
	BLK_CACHE_UNSAFE,    /* flushes are ignored: for throw-away images */
};

/* A token bucket: `rate` a second, and `burst` at once (0: as much as a tenth of a second's). rate 0: no limit. */
struct blk_limit {
	uint64_t rate, burst;
};

struct blk_options {
	const char *file;        /* path or, for the formats that take it, an URI: nbd://..., nbd+unix://... */
	const char *format;      /* "raw", "qcow2", "nbd"; NULL: by the image's first bytes, never guessed raw over a known magic */
	bool readonly;
	bool ephemeral;          /* writes go to a throw-away overlay; the file is not changed */
	bool discard;            /* pass discards on [blk_options_init: true] */
	enum blk_cache cache;
	uint32_t block_size;     /* logical; 0: 512 */
	struct blk_limit bps, iops;
	const char *secret_file; /* LUKS: file whose bytes are the passphrase; NULL: none */
};
void blk_options_init(struct blk_options *o);

/*
 * Options as text: "FILE[,name=value...]", as --disk has them; a comma in a value is doubled, and file=, format=, driver= may stand
 * first. All strings are copies, for blk_options_release(). Errors (-EINVAL) say what would be right.
 */
int blk_options_parse(struct blk_options *o, const char *text, struct err *e);
void blk_options_release(struct blk_options *o);

/* One option into options whose strings are copies; value "" for a flag that is just named. */
int blk_options_set(struct blk_options *o, const char *name, const char *value, struct err *e);
bool blk_options_has(const char *name, size_t len);

/* "1.5G", "512K", "20MiB", "1000": bytes, powers of 1024. -EINVAL, -ERANGE. */
int blk_parse_size(const char *text, uint64_t *size);

/*
 * Open a disk and start its thread. The image is locked against a second writer (or, read-only, against any
 * writer) in a way that qemu and qemu-img respect and heed. Errors: -errno with a message that says what to do.
 */
int blk_open(struct blk **out, const struct blk_options *o, struct err *e);
void blk_close(struct blk *b); /* drains, flushes, unlocks; NULL is fine; logs what could not be written */
int blk_shut(struct blk *b, struct err *e); /* the same for tools: returns it */

/* Counters as text, a line each: requests, bytes, time by kind; what the format counts. */
void blk_print_stats(const struct blk *b, struct strbuf *out);

/* The name it was opened by and its format, for people. */
const char *blk_file(const struct blk *b);
const char *blk_format(const struct blk *b);

#endif
