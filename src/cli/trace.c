/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The option --trace, and the file that takes the text. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/trace.h"

#define SYNTAX "as in 'bt,file=PATH,from=ADDR,to=ADDR'"

/* A hexadecimal number that ends where its part does. */
static int parse_address(const char *text, size_t len, uint64_t *val, struct err *e)
{
	char *end;

	errno = 0;
	*val = strtoull(text, &end, 16);
	if (!len || end != text + len || errno || !strchr("0123456789abcdefABCDEF", *text))
		return err_set(e, EINVAL, "trace '%.*s': not a hexadecimal address, as in 0xffffffff81000000", (int)len, text);
	return 0;
}

static int parse_part(struct trace_option *o, const char *part, size_t len, struct err *e)
{
	if (len > 5 && !strncmp(part, "file=", 5)) {
		if (len - 5 >= PATH_MAX)
			return err_set(e, ENAMETOOLONG, "trace: the path is longer than %d bytes", PATH_MAX - 1);
		o->path = part + 5;
		o->path_len = len - 5;
		return 0;
	}
	if (len >= 5 && !strncmp(part, "from=", 5))
		return parse_address(part + 5, len - 5, &o->from, e);
	if (len >= 3 && !strncmp(part, "to=", 3))
		return parse_address(part + 3, len - 3, &o->to, e);
	return err_set(e, EINVAL, "trace '%.*s': not known; " SYNTAX, (int)len, part);
}

int trace_parse(struct trace_option *o, const char *arg, struct err *e)
{
	size_t len = strcspn(arg, ",");

	if (len != 2 || strncmp(arg, "bt", 2))
		return err_set(e, EINVAL, "trace '%.*s': only the translator can be traced, " SYNTAX, (int)len, arg);
	*o = (struct trace_option){ .on = true, .to = UINT64_MAX };
	for (arg += len; *arg; arg += len) {
		int rc;

		arg++;
		len = strcspn(arg, ",");
		rc = parse_part(o, arg, len, e);
		if (rc)
			return rc;
	}
	if (o->from > o->to)
		return err_set(e, EINVAL, "trace: from=%#llx is behind to=%#llx", (unsigned long long)o->from, (unsigned long long)o->to);
	return 0;
}

static void write_text(void *opaque, const char *text, size_t len)
{
	int fd = (int)(intptr_t)opaque;
	ssize_t n;

	for (; len; text += n, len -= (size_t)n) {
		n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n < 0)
			return; /* a full disk costs the trace, not the guest */
	}
}

int trace_open(const struct trace_option *o, struct block_tracer *out, struct err *e)
{
	int fd = STDERR_FILENO;
	char path[PATH_MAX];

	if (o->path) {
		snprintf(path, sizeof(path), "%.*s", (int)o->path_len, o->path);
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
		if (fd < 0)
			return err_set(e, errno, "trace file '%s': %s", path, strerror(errno));
	}
	*out = (struct block_tracer){ write_text, (void *)(intptr_t)fd, o->from, o->to };
	return 0;
}
