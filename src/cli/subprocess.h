/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running a host program to its end, with its output caught. */
#ifndef DOPPEL_CLI_SUBPROCESS_H
#define DOPPEL_CLI_SUBPROCESS_H

#include <stdbool.h>
#include <sys/types.h>
#include "base/err.h"
#include "base/strbuf.h"

struct subprocess {
	const char *const *argv; /* found along the PATH; runs with LC_ALL=C and no input */
	const char *dir;         /* where it runs; NULL: here */
	struct strbuf *out;      /* standard output is appended; NULL: dropped */
	struct strbuf *err;      /* standard error likewise */
	void (*tick)(void *opaque); /* called some ten times a second meanwhile; may be NULL */
	void *opaque;
};

/*
 * Returns its exit status, 128 + the signal that killed it, or -errno with a message when it could
 * not be run at all.
 */
int subprocess_run(const struct subprocess *s, struct err *e);

/* Start a program whose output is read from *fd. Ends with subprocess_close(), which returns as above. */
int subprocess_open(const char *const *argv, pid_t *pid, int *fd, struct err *e);
int subprocess_close(pid_t pid, int fd);

/* The last line of text that is not empty, for messages; "" when there is none. Cuts it out of sb. */
const char *last_line(struct strbuf *sb);

#endif
