/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A request inside of the block layer, as formats and files pass it down; and ranges that wait for each other. */
#ifndef DOPPEL_BACKEND_BLOCK_BIO_H
#define DOPPEL_BACKEND_BLOCK_BIO_H

#include "backend/block/blk.h"
#include "backend/block/loop.h"

struct bfile;

/* Ranges of an address space that requests hold: an exclusive one shares no byte with any other. */
struct ranges {
	struct list held;     /* struct range */
	unsigned n_exclusive;
};

struct range {
	uint64_t start, end;
	bool exclusive;
	void (*granted)(struct range *r); /* not called when ranges_enter() returned true */
	struct list node;
	struct list waiters;  /* struct range that wait for this one */
};

/*
 * The submitter's memory until done(), which is called on the loop's thread and never from inside of the call
 * that submits. Lengths are not bounded by what a system call can do, nor offsets by the size of the file: what is read
 * behind its end is zero.
 */
struct bio {
	enum blk_op op;
	bool fua, unmap;
	uint64_t offset, len;
	const struct iovec *iov;
	unsigned n_iov;
	void (*done)(struct bio *b, int rc);

	/* The lower layer's. */
	struct bfile *file;
	struct loop_io io;
	struct loop_work work;
	struct iovec *rest;     /* what of iov is still to be done, when it is not all */
	uint8_t *bounce;        /* aligned copy for direct I/O */
	struct iovec bounce_iov;
	uint64_t moved;         /* bytes that are done */
	struct range range;     /* direct writes */
	bool ranged;
	int rc;
};

/* Call b->done(b, rc) from the loop. */
void bio_finish_later(struct loop *l, struct bio *b, int rc);

/* Bytes of n vectors. */
uint64_t iov_length(const struct iovec *iov, unsigned n);

/* Fill out with the part of iov that begins skip bytes in and is len long (all there); returns how many vectors. */
unsigned iov_slice(struct iovec *out, const struct iovec *iov, unsigned n, uint64_t skip, uint64_t len);

/* Between the bytes at skip and a buffer; len bytes must be there. */
void iov_to_buf(const struct iovec *iov, unsigned n, uint64_t skip, void *buf, uint64_t len);
void iov_from_buf(const struct iovec *iov, unsigned n, uint64_t skip, const void *buf, uint64_t len);
void iov_zero(const struct iovec *iov, unsigned n, uint64_t skip, uint64_t len);

/* All bytes are zero. */
bool is_zero(const void *p, size_t len);

/* Ranges that requests hold. enter: true when it is held now, else later by granted(). */
void ranges_init(struct ranges *rs);
bool ranges_enter(struct ranges *rs, struct range *r);
void ranges_leave(struct ranges *rs, struct range *r);

#endif
