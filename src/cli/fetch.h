/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Getting files out of a Debian package that is not installed. */
#ifndef DOPPEL_CLI_FETCH_H
#define DOPPEL_CLI_FETCH_H

#include "base/err.h"
#include "base/strbuf.h"
#include "cli/tar.h"

struct fetch_request {
	const char *package;   /* "busybox-static" */
	const char *depends;   /* not NULL: take the package that it depends on whose name begins like this */
	const char *member;    /* beginning of the file's path in the package: "boot/vmlinuz-" */
	const char *what;      /* for people: "Debian's kernel" */
};

/*
 * Download by apt-get (which checks signatures) into the directory `work` and unpack the file as
 * work/"file"; its path in the package is appended to name. Nothing is installed. As root, refreshes the
 * package lists when they are missing or out of date, and says so. Errors say which command to run.
 */
int fetch_from_package(const struct fetch_request *rq, const char *work, struct strbuf *name, struct err *e);

/* The same for all files that the visitor wants; rq->member is not looked at. */
int fetch_members(const struct fetch_request *rq, const char *work, const struct tar_visitor *v, void *opaque, struct err *e);

#endif
