/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A growing byte string, always NUL-terminated behind its length. */
#ifndef DOPPEL_BASE_STRBUF_H
#define DOPPEL_BASE_STRBUF_H

#include <stddef.h>

struct strbuf {
	char *buf; /* never NULL after the first append */
	size_t len, cap;
};

#define STRBUF_INIT { NULL, 0, 0 }

void strbuf_release(struct strbuf *sb);
void strbuf_add(struct strbuf *sb, const void *data, size_t len); /* out of memory is a BUG() */
void strbuf_addf(struct strbuf *sb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
