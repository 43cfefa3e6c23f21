/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where an image's bytes are: a file or block device of the host, or an NBD export. */
#ifndef DOPPEL_BACKEND_BLOCK_BFILE_H
#define DOPPEL_BACKEND_BLOCK_BFILE_H

#include "backend/block/bio.h"

/* The calls that return a status block, return 0 or -errno, and can be mixed with asynchronous requests. */
struct bfile_ops {
	const char *name;
	void (*submit)(struct bfile *f, struct bio *b);
	/* All len bytes; what is behind the end of the file reads as zero. */
	int (*pread)(struct bfile *f, uint64_t offset, void *buf, size_t len);
	int (*pwrite)(struct bfile *f, uint64_t offset, const void *buf, size_t len);
	int (*sync)(struct bfile *f);
	/* The current size in bytes, of devices too. */
	int (*size)(struct bfile *f, uint64_t *size);
	/* -ENOTSUP where the size is fixed. */
	int (*truncate)(struct bfile *f, uint64_t size);
	/*
	 * At offset the file has data or a hole: *data, and *len how many bytes of that kind follow (at least 1, at most
	 * max). What can't be found out is data.
	 */
	int (*extent)(struct bfile *f, uint64_t offset, uint64_t max, bool *data, uint64_t *len);
	void (*close)(struct bfile *f);
};

struct bfile {
	const struct bfile_ops *ops;
	struct loop *loop;
	char *name;            /* as the user wrote it */
	bool readonly, fixed_size;
	bool no_sync;          /* BLK_CACHE_UNSAFE: syncs are left out */
	uint32_t align;        /* bytes: what writes should be aligned to */
	uint32_t must_align;   /* bytes: what all requests must be aligned to; 0: nothing */
	uint64_t n_sync;       /* statistic */
};

static inline int bfile_sync(struct bfile *f)
{
	f->n_sync++;
	return f->no_sync ? 0 : f->ops->sync(f);
}

enum {
	BFILE_WRITE = 1,     /* open for writing */
	BFILE_DIRECT = 2,    /* O_DIRECT */
	BFILE_NO_LOCK = 4,   /* don't lock against other users */
	BFILE_TEMPORARY = 8, /* path is a directory: a nameless file there */
	BFILE_SHARE = 16,    /* reading only, others may write */
};

/*
 * Open a file or device of the host. It is locked as qemu does: byte 100 + n for each right that is used, 200 + n for
 * each that others may not have. Errors say what to do.
 */
int bfile_open_host(struct bfile **out, struct loop *l, const char *path, unsigned flags, struct err *e);

/* Make an empty file, or empty one; locked like any that is written to. */
int bfile_create_host(struct bfile **out, struct loop *l, const char *path, struct err *e);

/* nbd://, nbd+unix://, nbds:// ... */
int bfile_open_nbd(struct bfile **out, struct loop *l, const char *uri, unsigned flags, struct err *e);
bool bfile_is_uri(const char *name);

/* Either of both, by the name. */
int bfile_open(struct bfile **out, struct loop *l, const char *name, unsigned flags, struct err *e);

/* Bytes of disk space that a host file takes; 0 when it is none. */
uint64_t bfile_allocated(struct bfile *f);

void bfile_close(struct bfile *f);

/* Lock fd for these uses, or say who is in the way: -EAGAIN. */
int file_lock(int fd, const char *path, bool write, bool share, struct err *e);

#endif
