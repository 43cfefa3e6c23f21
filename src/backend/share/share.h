/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A directory of the host that is shared with a guest: operations on paths below it that can't leave it. */
#ifndef DOPPEL_BACKEND_SHARE_SHARE_H
#define DOPPEL_BACKEND_SHARE_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "base/err.h"

struct share;
struct share_file; /* an open file or directory */

/*
 * Paths are relative to the shared directory, "" is the directory itself; parts are separated by single slashes and are
 * neither empty nor "." nor "..". No symbolic link is ever followed, so that what is reached is below the directory
 * whatever a guest has put there. All calls give 0 (or a count) or -errno, are made by one thread at a time, and may block
 * as files do. With a read-only share what would change something is -EROFS.
 *
 * Everything is done with the rights of this process. Files of its own user and group are shown as root's, since
 * root is who uses them in the guest. Set-user-ID and set-group-ID bits are never set, and device nodes never made.
 */
int share_open(struct share **out, const char *dir, bool readonly, struct err *e);
void share_close(struct share *s); /* NULL is fine; files must have been closed */

struct share_attr {
	uint64_t ino, size, blocks;      /* blocks of 512 bytes */
	int64_t atime, mtime, ctime;     /* seconds since 1970 ... */
	uint32_t atime_ns, mtime_ns, ctime_ns;
	uint32_t mode, nlink, uid, gid, rdev, blksize;
};

enum { SHARE_SET_MODE = 1, SHARE_SET_OWNER = 2, SHARE_SET_GROUP = 4, SHARE_SET_SIZE = 8, SHARE_SET_ATIME = 16, SHARE_SET_MTIME = 32,
       SHARE_SET_ATIME_NOW = 64, SHARE_SET_MTIME_NOW = 128 };

/* f: an open file of that path, or NULL. */
int share_stat(struct share *s, const char *path, struct share_file *f, struct share_attr *out);
int share_setattr(struct share *s, const char *path, struct share_file *f, unsigned what, const struct share_attr *a);

int share_readlink(struct share *s, const char *path, char *buf, size_t len); /* bytes, no NUL */
int share_symlink(struct share *s, const char *path, const char *target);
int share_mknod(struct share *s, const char *path, uint32_t mode); /* regular files, FIFOs and sockets */
int share_mkdir(struct share *s, const char *path, uint32_t mode);
int share_unlink(struct share *s, const char *path, bool dir);
int share_link(struct share *s, const char *old, const char *path);
int share_rename(struct share *s, const char *old, const char *path, unsigned flags); /* as renameat2(2) */

struct share_statfs {
	uint64_t blocks, bfree, bavail, files, ffree;
	uint32_t bsize, namelen, frsize;
};
int share_statfs(struct share *s, struct share_statfs *out);

/* flags as open(2): access mode, O_TRUNC, O_APPEND; for creating O_EXCL too. Only regular files are opened. */
int share_file_open(struct share *s, const char *path, uint32_t flags, struct share_file **out);
int share_file_create(struct share *s, const char *path, uint32_t flags, uint32_t mode, struct share_file **out);
int share_dir_open(struct share *s, const char *path, struct share_file **out);
void share_file_close(struct share_file *f);

ssize_t share_file_read(struct share_file *f, const struct iovec *iov, unsigned n, uint64_t off);
ssize_t share_file_write(struct share_file *f, const struct iovec *iov, unsigned n, uint64_t off);
int share_file_sync(struct share_file *f, bool data_only);
int share_file_allocate(struct share_file *f, uint32_t mode, uint64_t off, uint64_t len);
int64_t share_file_seek(struct share_file *f, uint64_t off, uint32_t whence); /* SEEK_DATA, SEEK_HOLE */

/* The next entry of a directory from the position `off` (0: the first) on: 1, 0 at the end. name is valid until the next call. */
struct share_entry {
	uint64_t ino, next;  /* next: position of the following entry */
	uint32_t type;       /* DT_... */
	const char *name;
};
int share_dir_read(struct share_file *f, uint64_t off, struct share_entry *out);

#endif
