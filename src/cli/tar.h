/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds files in a tar stream. */
#ifndef DOPPEL_CLI_TAR_H
#define DOPPEL_CLI_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define TAR_NAME_SIZE 256

/*
 * Read the tar archive (ustar or GNU) from fd up to the first regular file whose name (without "./") begins
 * with prefix; its bytes go to out_fd and its name to name. -ENOENT: there is none; -EINVAL: damaged.
 */
int tar_extract(int fd, const char *prefix, int out_fd, char name[TAR_NAME_SIZE], struct err *e);

/* Who looks at a whole archive: want() is asked about each regular file, take() gets the bytes and stops with an error. */
struct tar_visitor {
	bool (*want)(void *opaque, const char *name, uint64_t size);
	int (*take)(void *opaque, const char *name, const void *data, size_t len, struct err *e);
};

/* All of the archive; errors are those of take(), -EINVAL and -ENOMEM. */
int tar_visit(int fd, const struct tar_visitor *v, void *opaque, struct err *e);

#endif
