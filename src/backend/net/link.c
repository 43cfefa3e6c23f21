/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Links to other processes: a unix socket's stream of frames (another doppel, `doppel switch`, QEMU's socket networks), or UDP
 * with a frame in each datagram. The NIC's link is up while somebody is at the other end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "backend/net/impl.h"
#include "backend/net/options.h"
#include "backend/net/stream.h"
#include "base/bits.h"

#define RETRY_MS      500 /* between two tries to reach the other end */
#define READS_AT_ONCE 64

#define LINK_EXAMPLE "write it like link=unix:/run/peer.sock, link=unix:/run/peer.sock,listen or link=udp:5000:192.0.2.1:5001"

struct config {
	bool udp, listen;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct sockaddr_in local, peer;
};

struct link {
	struct net n;
	struct config cfg;
	int listen_fd, udp_fd;
	struct stream s;  /* the peer's */
	bool bound;       /* the socket file is ours */
};

/* -- Options ------------------------------------------------------------------------------------------------- */

static int parse_unix(struct config *c, const char *arg, struct err *e)
{
	const char *comma = strchr(arg, ',');
	size_t len = comma ? (size_t)(comma - arg) : strlen(arg);

	if (!len || len >= sizeof(c->path))
		return err_set(e, EINVAL, "network 'link=unix:%s': a socket's path has 1 to %zu characters", arg,
			       sizeof(c->path) - 1);
	memcpy(c->path, arg, len);
	c->path[len] = 0;
	c->listen = comma && (!strcmp(comma, ",listen") || !strcmp(comma, ",listen=on"));
	if (comma && !c->listen)
		return err_set(e, EINVAL, "network 'link=unix:%s': " LINK_EXAMPLE, arg);
	return 0;
}

/* LOCALPORT:ADDRESS:PORT */
static int parse_udp(struct config *c, const char *arg, struct err *e)
{
	char copy[64], *rest = copy, *local, *address;
	uint16_t port = 0, peer_port = 0;
	int rc;

	if (strlen(arg) >= sizeof(copy))
		return err_set(e, EINVAL, "network 'link=udp:%s': " LINK_EXAMPLE, arg);
	strcpy(copy, arg);
	local = strsep(&rest, ":");
	address = strsep(&rest, ":");
	if (!address || !rest)
		return err_set(e, EINVAL, "network 'link=udp:%s': " LINK_EXAMPLE, arg);
	rc = net_parse_port(local, &port, e);
	if (!rc)
		rc = net_parse_address(address, &c->peer.sin_addr, e);
	if (!rc)
		rc = net_parse_port(rest, &peer_port, e);
	if (rc)
		return err_prefix(e, rc, "network 'link=udp:%s'", arg);
	c->udp = true;
	c->local = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
	c->peer.sin_family = AF_INET;
	c->peer.sin_port = htons(peer_port);
	return 0;
}

static int parse(struct config *c, const char *arg, struct err *e)
{
	*c = (struct config){ 0 };
	if (arg && !strncmp(arg, "unix:", 5))
		return parse_unix(c, arg + 5, e);
	if (arg && !strncmp(arg, "udp:", 4))
		return parse_udp(c, arg + 4, e);
	return err_set(e, EINVAL, "network 'link=%s': " LINK_EXAMPLE, arg ? arg : "");
}

static int link_check(const char *arg, struct err *e)
{
	struct config c;

	return parse(&c, arg, e);
}

static int switch_check(const char *arg, struct err *e)
{
	struct config c;

	if (!arg || strchr(arg, ','))
		return err_set(e, EINVAL, "network 'switch=%s': give the path of a port of 'doppel switch'", arg ? arg : "");
	return parse_unix(&c, arg, e);
}

/* -- Streams ---------------------------------------------------------------------------------------------------- */

static struct sockaddr_un unix_address(const struct config *c)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, c->path, sizeof(a.sun_path));
	return a;
}

static void hang_up(struct link *l)
{
	stream_release(&l->s);
	net_set_link(&l->n, false);
}

static void pick_up(struct link *l, int fd)
{
	if (stream_init(&l->s, fd))
		return;
	net_set_link(&l->n, true);
}

/* Somebody connects to us, or we to them. */
static void try_connect(struct link *l)
{
	struct sockaddr_un a = unix_address(&l->cfg);
	int fd;

	if (l->listen_fd >= 0) {
		fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			pick_up(l, fd);
		return;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		close(fd);
	else
		pick_up(l, fd);
}

static void read_stream(struct link *l)
{
	const uint8_t *frame;
	size_t len;
	int rc = 0;

	if (!stream_fill(&l->s)) {
		hang_up(l);
		return;
	}
	while (net_input_room(&l->n) && (rc = stream_next(&l->s, &frame, &len)) > 0)
		net_input(&l->n, frame, len, NULL);
	if (rc < 0)
		hang_up(l);
}

/* -- On the thread ------------------------------------------------------------------------------------------------ */

static unsigned link_prepare(struct net *n, struct pollfd *fds, unsigned max, int *timeout_ms)
{
	struct link *l = CONTAINER_OF(n, struct link, n);
	short in = net_input_room(n) ? POLLIN : 0;

	if (l->cfg.udp) {
		fds[0] = (struct pollfd){ .fd = l->udp_fd, .events = in };
		return 1;
	}
	if (l->s.fd >= 0) {
		fds[0] = (struct pollfd){ .fd = l->s.fd, .events = (short)(in | (stream_pending(&l->s) ? POLLOUT : 0)) };
		return 1;
	}
	if (l->listen_fd < 0) {
		*timeout_ms = RETRY_MS;
		return 0;
	}
	fds[0] = (struct pollfd){ .fd = l->listen_fd, .events = POLLIN };
	return 1;
}

static void read_udp(struct link *l)
{
	uint8_t buf[NET_MAX_FRAME];

	for (unsigned i = 0; i < READS_AT_ONCE && net_input_room(&l->n); i++) {
		struct sockaddr_in from = { 0 };
		socklen_t from_len = sizeof(from);
		ssize_t len = recvfrom(l->udp_fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_len);

		if (len < 0)
			return;
		if (from.sin_addr.s_addr == l->cfg.peer.sin_addr.s_addr && from.sin_port == l->cfg.peer.sin_port)
			net_input(&l->n, buf, (size_t)len, NULL);
	}
}

static void link_ready(struct net *n, const struct pollfd *fds, unsigned count)
{
	struct link *l = CONTAINER_OF(n, struct link, n);

	if (l->cfg.udp) {
		read_udp(l);
		return;
	}
	if (l->s.fd < 0)
		try_connect(l);
	if (l->s.fd >= 0)
		read_stream(l);
	if (l->s.fd >= 0 && !stream_flush(&l->s))
		hang_up(l);
}

static bool link_output(struct net *n, const struct net_frame *f)
{
	struct link *l = CONTAINER_OF(n, struct link, n);

	if (l->cfg.udp) {
		ssize_t sent = sendto(l->udp_fd, f->data, f->len, 0, (struct sockaddr *)&l->cfg.peer, sizeof(l->cfg.peer));

		return sent >= 0 || errno != EAGAIN;
	}
	if (l->s.fd < 0)
		return true; /* nobody there: lost, as on a wire */
	if (!stream_put(&l->s, f->data, f->len))
		return false;
	if (!stream_flush(&l->s))
		hang_up(l);
	return true;
}

static void link_close(struct net *n)
{
	struct link *l = CONTAINER_OF(n, struct link, n);

	stream_release(&l->s);
	if (l->listen_fd >= 0)
		close(l->listen_fd);
	if (l->udp_fd >= 0)
		close(l->udp_fd);
	if (l->bound)
		unlink(l->cfg.path);
	free(l);
}

static const struct net_ops link_ops = {
	.name = "link",
	.prepare = link_prepare,
	.ready = link_ready,
	.output = link_output,
	.close = link_close,
};

/* -- Opening --------------------------------------------------------------------------------------------------------- */

static int open_udp(struct link *l, struct err *e)
{
	l->udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->udp_fd < 0 || bind(l->udp_fd, (struct sockaddr *)&l->cfg.local, sizeof(l->cfg.local)))
		return err_set(e, errno, "network 'link': UDP port %u: %s", ntohs(l->cfg.local.sin_port), strerror(errno));
	return 0;
}

int net_unix_listen(const char *path, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), probe, rc;

	strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	if (fd < 0)
		return err_set(e, errno, "'%s': socket: %s", path, strerror(errno));
	rc = bind(fd, (struct sockaddr *)&a, sizeof(a));
	if (rc && errno == EADDRINUSE) {
		/* A file that nobody listens on was left behind. */
		probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (probe >= 0 && connect(probe, (struct sockaddr *)&a, sizeof(a)) && errno == ECONNREFUSED && !unlink(path))
			rc = bind(fd, (struct sockaddr *)&a, sizeof(a));
		else
			errno = EADDRINUSE;
		if (probe >= 0)
			close(probe);
	}
	if (!rc)
		rc = listen(fd, 1);
	if (!rc)
		return fd;
	rc = err_set(e, errno, "'%s': cannot listen there: %s", path, strerror(errno));
	close(fd);
	return rc;
}

static int open_stream(struct link *l, struct err *e)
{
	net_set_link(&l->n, false);
	l->n.told_link = true;
	if (!l->cfg.listen) {
		try_connect(l); /* who is there already is there from the start */
		return 0;
	}
	l->listen_fd = net_unix_listen(l->cfg.path, e);
	if (l->listen_fd < 0)
		return err_prefix(e, l->listen_fd, "network 'link'");
	l->bound = true;
	return 0;
}

static int open_config(struct net **out, const struct config *c, struct err *e)
{
	struct link *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(e, ENOMEM, "network 'link': out of memory");
	l->cfg = *c;
	l->s.fd = l->listen_fd = l->udp_fd = -1;
	rc = net_init(&l->n, &link_ops, e);
	if (!rc)
		rc = c->udp ? open_udp(l, e) : open_stream(l, e);
	if (!rc)
		rc = net_begin(&l->n, e);
	if (rc)
		net_close(&l->n);
	else
		*out = &l->n;
	return rc;
}

static int link_open(struct net **out, const char *arg, struct err *e)
{
	struct config c;
	int rc = parse(&c, arg, e);

	return rc ? rc : open_config(out, &c, e);
}

static int switch_open(struct net **out, const char *arg, struct err *e)
{
	struct config c = { 0 };
	int rc = switch_check(arg, e);

	if (!rc)
		rc = parse_unix(&c, arg, e);
	return rc ? rc : open_config(out, &c, e);
}

const struct net_kind net_link = { "link", link_open, link_check };
const struct net_kind net_switch = { "switch", switch_open, switch_check };
