/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The compressions that kernels come in, undone on the host. */
#ifndef DOPPEL_BOOT_DECOMPRESS_H
#define DOPPEL_BOOT_DECOMPRESS_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct decompressed {
	void *data;
	size_t len;
	size_t map_len;
};

/* Name of the compression that the data begins with, or NULL when it is none that we undo. */
const char *decompress_name(const void *data, size_t len);

/*
 * Undo it. At most max bytes come out (then -EFBIG); what follows the compressed stream is ignored,
 * but for LZ4, whose streams have no end of their own.
 * Errors: -EINVAL for damaged data or none that decompress_name() knows, -ENOMEM.
 */
int decompress(const void *data, size_t len, size_t max, struct decompressed *out, struct err *e);
void decompress_release(struct decompressed *d);

#endif
