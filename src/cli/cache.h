/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory where the default guest's files are kept: ${XDG_CACHE_HOME:-~/.cache}/doppel. */
#ifndef DOPPEL_CLI_CACHE_H
#define DOPPEL_CLI_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include "base/err.h"
#include "base/strbuf.h"

/*
 * Each file NAME has a NAME.sum beside it with its size and SHA-256. Files come by a rename and only
 * while the lock is held, so nobody sees a half-written one; what does not match its sum is as if
 * it were not there.
 */
struct cache {
	struct strbuf dir;
	int lock_fd;
};

/* The directory's path, whether it is there or not. -ENOENT: neither XDG_CACHE_HOME nor HOME is set. */
int cache_path(struct strbuf *dir, struct err *e);

/* Make it if need be, and lock it; says so on standard error when another doppel has to be waited for. */
int cache_open(struct cache *c, struct err *e);
void cache_close(struct cache *c);

/* Append "dir/name" to path if a sound file of that name is there. */
bool cache_find(const struct cache *c, const char *name, struct strbuf *path);

/* Keep the file at `from` (in the same file system) or these bytes as name, and append its path. */
int cache_keep_file(struct cache *c, const char *name, const char *from, struct strbuf *path, struct err *e);
int cache_keep_bytes(struct cache *c, const char *name, const void *data, size_t len, struct strbuf *path,
		     struct err *e);

/* Remove what begins with prefix except for keep: older versions. */
void cache_prune(struct cache *c, const char *prefix, const char *keep);

/* A new empty directory in the cache for work; cache_remove_work() removes it with the files in it. */
int cache_make_work(struct cache *c, struct strbuf *dir, struct err *e);
void cache_remove_work(const char *dir);

/*
 * The newest file (by version in its name) in dir that begins and ends like this, and is readable:
 * its name without dir, allocated; NULL: none.
 */
char *newest_file(const char *dir, const char *prefix, const char *suffix);

#endif
