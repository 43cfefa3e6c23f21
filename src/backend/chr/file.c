/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character backend that writes to a file, device or FIFO; there is no input. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backend/chr/impl.h"

static void file_close(struct chr *c)
{
	chr_close_fd(&c->saved_fd);
}

/* Emptied only when the machine really starts: a mistake elsewhere must not cost the last log. */
static int file_begin(struct chr *c, struct err *e)
{
	struct stat st;

	if (fstat(c->saved_fd, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(c->saved_fd, 0))
		return err_set(e, errno, "serial port file '%s': cannot empty it: %s", c->where, strerror(errno));
	return 0;
}

static const struct chr_ops append_ops = {
	.name = "append",
	.out_fail = chr_reader_lost,
	.close = file_close,
};

static const struct chr_ops file_ops = {
	.name = "file",
	.begin = file_begin,
	.out_fail = chr_reader_lost,
	.close = file_close,
};

static int file_new(struct chr **out, const struct chr_ops *ops, int flags, const char *arg, struct err *e)
{
	struct chr *c;
	int rc = chr_new(&c, ops, e);

	if (rc)
		return rc;
	snprintf(c->where, sizeof(c->where), "%s", arg);
	/* Non-blocking: a FIFO without a reader is an error at once and not a hang. */
	c->saved_fd = open(arg, flags | O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
	if (c->saved_fd < 0) {
		rc = err_set(e, errno, "serial port file '%s': %s; choose a file that can be written", arg,
			     errno == ENXIO ? "a FIFO or device that nobody reads" : strerror(errno));
		chr_free(c);
		return rc;
	}
	c->out_fd = c->saved_fd;
	*out = c;
	return 0;
}

int chr_file_new(struct chr **out, const char *arg, struct err *e)
{
	return file_new(out, &file_ops, 0, arg, e);
}

int chr_append_new(struct chr **out, const char *arg, struct err *e)
{
	return file_new(out, &append_ops, O_APPEND, arg, e);
}
