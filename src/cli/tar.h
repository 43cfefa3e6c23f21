/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds one file in a tar stream. */
#ifndef DOPPEL_CLI_TAR_H
#define DOPPEL_CLI_TAR_H

#include "base/err.h"

#define TAR_NAME_SIZE 256

/*
 * Read the tar archive (ustar or GNU) from fd up to the first regular file whose name (without "./") begins
 * with prefix; its bytes go to out_fd and its name to name. -ENOENT: there is none; -EINVAL: damaged.
 */
int tar_extract(int fd, const char *prefix, int out_fd, char name[TAR_NAME_SIZE], struct err *e);

#endif
