/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets on which monitors listen. */
#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitor/listener.h"

#define BACKLOG   8
#define LOOPBACK  "127.0.0.1"

/* -- Paths -------------------------------------------------------------------------------------------------- */

int listener_path(struct sockaddr_un *a, const char *what, const char *path, struct err *e)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!*path || strlen(path) >= sizeof(a->sun_path))
		return err_set(e, EINVAL, "%s '%s': a socket's path has 1 to %zu bytes; use another", what, path,
			       sizeof(a->sun_path) - 1);
	snprintf(a->sun_path, sizeof(a->sun_path), "%s", path);
	return 0;
}

int listener_connect(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), saved;

	if (fd < 0 || !connect(fd, (const struct sockaddr *)a, sizeof(*a)))
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* Remove a socket at which nobody listens any more; never anything else. */
static void remove_stale(const struct sockaddr_un *a)
{
	struct stat st;
	int fd;

	if (lstat(a->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return;
	fd = listener_connect(a);
	if (fd >= 0)
		close(fd);
	else if (errno == ECONNREFUSED)
		unlink(a->sun_path);
}

int listener_open_path(struct listener *l, const char *what, const char *path, struct err *e)
{
	int rc;

	*l = (struct listener){ .fd = -1 };
	rc = listener_path(&l->addr, what, path, e);
	if (rc)
		return rc;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_set(e, errno, "%s: %s", what, strerror(errno));
	remove_stale(&l->addr);
	/* What the socket's mode is, its name's becomes. */
	if (fchmod(l->fd, 0600) || bind(l->fd, (const struct sockaddr *)&l->addr, sizeof(l->addr))) {
		rc = err_set(e, errno, "%s '%s': %s; choose a path where a socket can be made", what, path, strerror(errno));
	} else {
		l->bound = true;
		rc = listen(l->fd, BACKLOG) ? err_set(e, errno, "%s '%s': %s", what, path, strerror(errno)) : 0;
	}
	if (rc)
		listener_close(l);
	return rc;
}

/* -- Ports --------------------------------------------------------------------------------------------------- */

static int bind_port(struct listener *l, const struct addrinfo *ai)
{
	const int on = 1;

	l->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return -errno;
	if (setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) || bind(l->fd, ai->ai_addr, ai->ai_addrlen) ||
	    listen(l->fd, BACKLOG))
		return -errno;
	return 0;
}

static bool is_port(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	return *text >= '0' && *text <= '9' && !*end && port && port <= UINT16_MAX;
}

/* "[HOST]:PORT" */
static int open_port(struct listener *l, const char *what, const char *where, struct err *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	const char *colon = strrchr(where, ':');
	struct addrinfo *found;
	char host[256];
	int rc;

	*l = (struct listener){ .fd = -1 };
	if (!colon || (size_t)(colon - where) >= sizeof(host) || !is_port(colon + 1))
		return err_set(e, EINVAL, "%s '%s': give tcp:[HOST]:PORT, PORT from 1 to 65535, or unix:PATH", what, where);
	snprintf(host, sizeof(host), "%.*s", (int)(colon - where), where);
	rc = getaddrinfo(*host ? host : LOOPBACK, colon + 1, &hints, &found);
	if (rc)
		return err_set(e, EINVAL, "%s '%s': %s; give tcp:[HOST]:PORT with an address of this host", what, where,
			       gai_strerror(rc));
	rc = bind_port(l, found);
	freeaddrinfo(found);
	if (rc) {
		err_set(e, -rc, "%s '%s': %s; choose another port", what, where, strerror(-rc));
		listener_close(l);
	}
	return rc;
}

int listener_open(struct listener *l, const char *what, const char *where, struct err *e)
{
	if (!strncmp(where, "unix:", 5))
		return listener_open_path(l, what, where + 5, e);
	return open_port(l, what, strncmp(where, "tcp:", 4) ? where : where + 4, e);
}

void listener_close(struct listener *l)
{
	if (l->bound)
		unlink(l->addr.sun_path);
	if (l->fd >= 0)
		close(l->fd);
	l->bound = false;
	l->fd = -1;
}
