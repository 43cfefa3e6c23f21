/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growing byte strings. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bits.h"
#include "base/err.h"
#include "base/strbuf.h"

#define FIRST_CAPACITY 64

void strbuf_release(struct strbuf *sb)
{
	free(sb->buf);
	*sb = (struct strbuf)STRBUF_INIT;
}

/* Make room for `extra` more bytes and the NUL. */
static void grow(struct strbuf *sb, size_t extra)
{
	size_t need, cap;

	BUG_ON(extra > SIZE_MAX / 2 || sb->len > SIZE_MAX / 2 - extra - 1);
	need = sb->len + extra + 1;
	if (need <= sb->cap)
		return;
	cap = MAX(MAX(need, sb->cap + sb->cap / 2), (size_t)FIRST_CAPACITY);
	sb->buf = realloc(sb->buf, cap);
	if (!sb->buf)
		BUG("out of memory for a string of %zu bytes", cap);
	sb->cap = cap;
}

void strbuf_add(struct strbuf *sb, const void *data, size_t len)
{
	grow(sb, len);
	if (len)
		memcpy(sb->buf + sb->len, data, len);
	sb->len += len;
	sb->buf[sb->len] = '\0';
}

void strbuf_addf(struct strbuf *sb, const char *fmt, ...)
{
	char *text;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		BUG("out of memory for a formatted string");
	strbuf_add(sb, text, (size_t)len);
	free(text);
}
