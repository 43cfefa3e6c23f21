/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writer for cpio archives of the "newc" kind, as Linux unpacks them into its root file system. */
#ifndef DOPPEL_BOOT_CPIO_H
#define DOPPEL_BOOT_CPIO_H

#include <stddef.h>
#include <stdint.h>
#include "base/strbuf.h"

/*
 * Append entries to an archive in out; names are without leading slash, parents come before their
 * children, owner is root, times are 0 so that the same input gives the same bytes. perm is the
 * permission bits (0755). Entries are 4-byte aligned from the archive's start: out must be empty
 * or a multiple of 4 bytes long at the first call.
 */
void cpio_dir(struct strbuf *out, const char *name, unsigned perm);
void cpio_file(struct strbuf *out, const char *name, unsigned perm, const void *data, size_t len);
void cpio_symlink(struct strbuf *out, const char *name, const char *target);
void cpio_chardev(struct strbuf *out, const char *name, unsigned perm, unsigned major, unsigned minor);
void cpio_end(struct strbuf *out); /* the trailer; pads to 512 bytes */

#endif
