/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Error messages that travel up to whoever reports them, and the end of the road for our own bugs. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"

int err_set(struct err *e, int errnum, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
		va_end(ap);
		/* It may quote a file name or a file: no escape sequence of theirs reaches the terminal. */
		for (char *p = e->msg; *p; p++)
			if ((unsigned char)*p < ' ' || *p == 0x7f)
				*p = '?';
	}
	return -errnum;
}

int err_prefix(struct err *e, int rc, const char *fmt, ...)
{
	char old[sizeof(e->msg)];
	va_list ap;
	int n;

	if (!e)
		return rc;
	memcpy(old, e->msg, sizeof(old));
	va_start(ap, fmt);
	n = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(e->msg))
		snprintf(e->msg + n, sizeof(e->msg) - (size_t)n, ": %s", old);
	return rc;
}

void bug_at(const char *file, int line, const char *fmt, ...)
{
	char msg[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	/* Straight to stderr: the log's own state may be what is broken. CR for a terminal in raw mode. */
	fprintf(stderr, "\r\ndoppel: BUG at %s:%d: %s\r\n", file, line, msg);
	abort();
}
