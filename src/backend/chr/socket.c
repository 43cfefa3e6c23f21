/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character backend on a listening Unix stream socket: one client at a time, and the next after it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "backend/chr/impl.h"

/* saved_fd keeps the listening socket; listen_fd is it while nobody is connected. */

static void socket_hang_up(struct chr *c)
{
	int fd = c->out_fd;

	c->in_fd = c->out_fd = -1;
	chr_close_fd(&fd);
	c->listen_fd = c->saved_fd;
	chr_set_reader(c, CHR_READER_AWAY);
}

/* A client may end its own sending and go on reading: only a hang-up is the end of both. */
static void socket_in_end(struct chr *c, bool hup)
{
	if (hup)
		socket_hang_up(c);
	else
		c->in_fd = -1;
}

static void socket_out_fail(struct chr *c, int errnum)
{
	socket_hang_up(c);
}

static void socket_attend(struct chr *c)
{
	int fd = accept4(c->saved_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	c->in_fd = c->out_fd = fd;
	c->listen_fd = -1;
	chr_set_reader(c, CHR_READER_HERE);
}

static void socket_close(struct chr *c)
{
	chr_close_fd(&c->out_fd);
	if (c->saved_fd >= 0)
		unlink(c->where);
	chr_close_fd(&c->saved_fd);
}

static const struct chr_ops socket_ops = {
	.name = "unix",
	.in_end = socket_in_end,
	.out_fail = socket_out_fail,
	.attend = socket_attend,
	.close = socket_close,
};

/* Remove a socket that an ended program left behind; never anything else. */
static int remove_stale(const struct sockaddr_un *a, struct err *e)
{
	struct stat st;
	int fd, rc;

	if (lstat(a->sun_path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, EEXIST, "serial port socket '%s': a file of that name exists; choose another",
			       a->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, errno, "serial port socket '%s': %s", a->sun_path, strerror(errno));
	rc = connect(fd, (const struct sockaddr *)a, sizeof(*a)) ? errno : 0;
	close(fd);
	if (rc != ECONNREFUSED)
		return err_set(e, EADDRINUSE, "serial port socket '%s': another program listens there; choose another path",
			       a->sun_path);
	unlink(a->sun_path);
	return 0;
}

static int socket_listen(struct chr *c, const char *path, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, ENAMETOOLONG, "serial port socket '%s': the path is longer than %zu bytes; use a shorter one",
			       path, sizeof(a.sun_path) - 1);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	rc = remove_stale(&a, e);
	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) || listen(fd, 1)) {
		rc = err_set(e, errno, "serial port socket '%s': %s; choose a path where a socket can be made", path,
			     strerror(errno));
		chr_close_fd(&fd);
		return rc;
	}
	c->saved_fd = c->listen_fd = fd;
	return 0;
}

int chr_socket_new(struct chr **out, const char *arg, struct err *e)
{
	struct chr *c;
	int rc = chr_new(&c, &socket_ops, e);

	if (rc)
		return rc;
	snprintf(c->where, sizeof(c->where), "%s", arg);
	c->reader = CHR_READER_AWAY;
	rc = socket_listen(c, arg, e);
	if (rc) {
		chr_free(c);
		return rc;
	}
	*out = c;
	return 0;
}
