/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The default guest's drivers: modules of Debian's kernel, as an archive for its root file system. */
#ifndef DOPPEL_CLI_MODULES_H
#define DOPPEL_CLI_MODULES_H

#include "base/err.h"
#include "base/strbuf.h"
#include "cli/cache.h"

/*
 * Append the path of an archive with the drivers of our devices, and lists by which modprobe finds them, for the kernel at
 * kernel_path (".../vmlinuz-VERSION"). Made from /lib/modules/VERSION, or else from the kernel's package, which is fetched for
 * it; kept in the cache. Errors have a message that says what to do.
 */
int modules_prepare(struct cache *c, const char *kernel_path, struct strbuf *path, struct err *e);

#endif
