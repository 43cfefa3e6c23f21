/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that are put into a guest: mapped read-only, and checked not to have changed since. */
#ifndef DOPPEL_CLI_FILE_H
#define DOPPEL_CLI_FILE_H

#include <sys/stat.h>
#include "base/err.h"
#include "boot/boot.h"

struct mapped_file {
	const char *path, *what; /* as the user wrote it; "kernel" */
	int fd;
	void *data;
	size_t len;
	struct timespec mtime;
};

/* Open and map a regular, non-empty file; errors name what and path and say what to do. */
int file_map(struct mapped_file *f, const char *path, const char *what, struct err *e);
void file_unmap(struct mapped_file *f); /* harmless when f is zero */

/* Before the bytes are used again: a file that was rewritten or cut in the meantime is an error. */
int file_recheck(const struct mapped_file *f, struct err *e);

/* The bytes are not needed for now: they need not count as our memory. */
void file_idle(const struct mapped_file *f);

static inline struct boot_blob file_blob(const struct mapped_file *f)
{
	return (struct boot_blob){ .data = f->data, .len = f->len, .name = f->path };
}

#endif
