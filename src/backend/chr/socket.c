/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character backend on a stream socket: a listening one with one client at a time, and the next after it; or a connection. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
	chr_set_reader(c, c->saved_fd >= 0 ? CHR_READER_AWAY : CHR_READER_GONE);
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

static void tcp_close(struct chr *c)
{
	chr_close_fd(&c->out_fd);
	chr_close_fd(&c->saved_fd);
}

/* A listening one by TCP, and all that connect. */
static const struct chr_ops tcp_ops = {
	.name = "tcp",
	.in_end = socket_in_end,
	.out_fail = socket_out_fail,
	.attend = socket_attend,
	.close = tcp_close,
};

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

static int connected(struct chr **out, int fd, const char *arg, struct err *e)
{
	struct chr *c;
	int rc = chr_new(&c, &tcp_ops, e);

	if (rc) {
		close(fd);
		return rc;
	}
	snprintf(c->where, sizeof(c->where), "%s", arg);
	c->in_fd = c->out_fd = fd;
	c->was_open = true;
	*out = c;
	return 0;
}

int chr_unix_client_new(struct chr **out, const char *arg, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(arg) >= sizeof(a.sun_path))
		return err_set(e, ENAMETOOLONG, "socket '%s': the path is longer than %zu bytes; use a shorter one", arg,
			       sizeof(a.sun_path) - 1);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", arg);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof(a))) {
		rc = err_set(e, errno, "socket '%s': cannot connect: %s; is somebody listening there?", arg, strerror(errno));
		chr_close_fd(&fd);
		return rc;
	}
	return connected(out, fd, arg, e);
}

/* Resolve HOST:PORT; no host: all addresses of this one, or its loopback to connect to. Brackets around an IPv6 address. */
static int resolve(const char *arg, bool passive, struct addrinfo **list, struct err *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0 };
	const char *port = strrchr(arg, ':'), *host = arg;
	char name[256];
	int rc;

	if (!port || !port[1] || port - arg >= (int)sizeof(name))
		return err_set(e, EINVAL, "'%s': no address; write HOST:PORT", arg);
	snprintf(name, sizeof(name), "%.*s", (int)(port - arg), arg);
	if (*name == '[' && name[strlen(name) - 1] == ']') {
		name[strlen(name) - 1] = 0;
		host = name + 1;
	} else {
		host = name;
	}
	rc = getaddrinfo(*host ? host : NULL, port + 1, &hints, list);
	return rc ? err_set(e, EINVAL, "'%s': %s", arg, gai_strerror(rc)) : 0;
}

static int tcp_open(const struct addrinfo *a, bool passive)
{
	int one = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | (passive ? SOCK_NONBLOCK : 0), 0), saved;

	if (fd < 0)
		return fd;
	if (passive)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	else
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (passive ? !bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 1) : !connect(fd, a->ai_addr, a->ai_addrlen))
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static int tcp_socket(const char *arg, bool passive, struct err *e)
{
	struct addrinfo *list;
	int fd = -1, rc = resolve(arg, passive, &list, e);

	if (rc)
		return rc;
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
		fd = tcp_open(a, passive);
	if (fd < 0)
		rc = err_set(e, errno, "'%s': cannot %s: %s", arg, passive ? "listen there" : "connect", strerror(errno));
	freeaddrinfo(list);
	return rc ? rc : fd;
}

int chr_tcp_new(struct chr **out, const char *arg, struct err *e)
{
	int fd = tcp_socket(arg, true, e), rc;
	struct chr *c;

	if (fd < 0)
		return fd;
	rc = chr_new(&c, &tcp_ops, e);
	if (rc) {
		close(fd);
		return rc;
	}
	snprintf(c->where, sizeof(c->where), "%s", arg);
	c->reader = CHR_READER_AWAY;
	c->saved_fd = c->listen_fd = fd;
	*out = c;
	return 0;
}

int chr_tcp_client_new(struct chr **out, const char *arg, struct err *e)
{
	int fd = tcp_socket(arg, false, e);

	if (fd >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK)) {
		close(fd);
		return err_set(e, errno, "'%s': %s", arg, strerror(errno));
	}
	return fd < 0 ? fd : connected(out, fd, arg, e);
}
