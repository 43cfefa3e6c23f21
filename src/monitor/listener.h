/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets on which monitors listen: on a path, for this user only, or on a TCP port. */
#ifndef DOPPEL_MONITOR_LISTENER_H
#define DOPPEL_MONITOR_LISTENER_H

#include <stdbool.h>
#include <sys/un.h>
#include "base/err.h"

struct listener {
	int fd;                  /* non-blocking; -1: not open */
	bool bound;              /* there is a name to be removed */
	struct sockaddr_un addr; /* of a path */
};

/* A path as a socket's address. what begins messages: "control socket". -EINVAL when it is too long. */
int listener_path(struct sockaddr_un *a, const char *what, const char *path, struct err *e);

/* Connect to it: a descriptor, or -1 with errno. */
int listener_connect(const struct sockaddr_un *a);

/* Listen at a path, for this user only; a socket that an ended program left there is taken over. */
int listener_open_path(struct listener *l, const char *what, const char *path, struct err *e);

/* Listen at where: "unix:PATH", "tcp:[HOST]:PORT" or "[HOST]:PORT", HOST an address or name of this host, by default 127.0.0.1. */
int listener_open(struct listener *l, const char *what, const char *where, struct err *e);

void listener_close(struct listener *l);

#endif
