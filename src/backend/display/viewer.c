/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Viewers: what is written to get one, the socket that listens, and a thread for each client. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/display/viewer.h"
#include "backend/display/viewer_impl.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/strbuf.h"

#define LOOPBACK  "127.0.0.1"
#define VNC_PORT  5900
#define BACKLOG   16
#define HOW       "give none, vnc=[HOST]:N, vnc=unix:PATH or web=[HOST:]PORT"

enum kind { VIEWER_NONE, VIEWER_VNC, VIEWER_WEB };

/* A specification taken apart. */
struct spec {
	enum kind kind;
	char host[256], path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* path: not empty for a unix socket */
	unsigned port;
	const char *password_file; /* into the text; NULL: none */
};

enum client_state { CLIENT_FREE, CLIENT_SERVED, CLIENT_GONE };

struct client {
	struct viewer *viewer;
	enum client_state state; /* the viewer's lock */
	int fd;
	pthread_t thread;
	struct rfb *rfb;
};

struct viewer {
	struct viewer_common common;
	struct spec spec;
	struct strbuf where;
	int listen_fd, wake_fd; /* wake_fd: a client has gone, or it is over */
	bool bound, started;
	pthread_t thread;
	struct lock lock;       /* RANK_LEAF */
	bool over;              /* its lock */
	struct client client[VIEWER_CLIENTS];
};

/* -- Text ------------------------------------------------------------------------------------------------ */

/* "[HOST:]NUMBER"; the number at most max. */
static bool parse_address(struct spec *s, const char *text, size_t len, unsigned max, bool colon)
{
	char copy[sizeof(s->host)], *at, *end;
	unsigned long n;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	at = strrchr(copy, ':');
	if (colon && !at)
		return false;
	if (at)
		*at = 0;
	else
		at = copy - 1;
	n = strtoul(at + 1, &end, 10);
	if (end == at + 1 || *end || at[1] < '0' || at[1] > '9' || n > max)
		return false;
	s->port = (unsigned)n;
	if (at > copy)
		memcpy(s->host, copy, sizeof(copy));
	return true;
}

static int parse(struct spec *s, const char *text, struct err *e)
{
	const char *comma = strchr(text, ','), *what = strchr(text, '=');
	size_t len = comma ? (size_t)(comma - text) : strlen(text);
	bool known = true;

	*s = (struct spec){ .kind = VIEWER_NONE };
	if (!strcmp(text, "none"))
		return 0;
	if (what && what < text + len)
		len -= (size_t)(++what - text);
	if (what && !strncmp(text, "vnc=", 4)) {
		s->kind = VIEWER_VNC;
		if (!strncmp(what, "unix:", 5) && len > 5 && len - 5 < sizeof(s->path))
			memcpy(s->path, what + 5, len - 5);
		else if (parse_address(s, what, len, UINT16_MAX - VNC_PORT, true))
			s->port += VNC_PORT;
		else
			known = false;
	} else if (what && !strncmp(text, "web=", 4)) {
		s->kind = VIEWER_WEB;
		known = parse_address(s, what, len, UINT16_MAX, false);
	} else {
		known = false;
	}
	if (!known)
		return err_set(e, EINVAL, "display '%s': " HOW, text);
	if (comma && !strncmp(comma, ",password-file=", 15) && comma[15])
		s->password_file = comma + 15;
	else if (comma)
		return err_set(e, EINVAL, "display '%s': what follows the comma can be password-file=FILE", text);
	return 0;
}

int viewer_check(const char *spec, struct err *e)
{
	struct spec s;

	return parse(&s, spec, e);
}

static int read_password(struct viewer *v, struct err *e)
{
	const char *path = v->spec.password_file;
	FILE *f = path ? fopen(path, "re") : NULL;
	char line[VNC_PASSWORD_MAX + 3] = "";

	if (!path)
		return 0;
	if (!f)
		return err_set(e, errno, "display: password file '%s': %s", path, strerror(errno));
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	line[strcspn(line, "\r\n")] = 0;
	if (!*line || strlen(line) > VNC_PASSWORD_MAX)
		return err_set(e, EINVAL, "display: password file '%s': its first line has to have 1 to %d characters, as VNC has no longer ones",
			       path, VNC_PASSWORD_MAX);
	memcpy(v->common.password, line, sizeof(v->common.password));
	return 0;
}

/* -- Clients --------------------------------------------------------------------------------------------- */

static void *client_thread(void *arg)
{
	struct client *c = arg;
	struct viewer *v = c->viewer;
	int fd = dup(c->fd); /* the library closes its own; the other is for shutting it down */

	if (fd >= 0 && v->spec.kind == VIEWER_WEB)
		http_serve(fd, &v->common, c->rfb);
	else if (fd >= 0)
		rfb_serve(c->rfb, fd);
	lock_take(&v->lock);
	c->state = CLIENT_GONE;
	lock_drop(&v->lock);
	eventfd_write(v->wake_fd, 1);
	return NULL;
}

/* The descriptor must be one that select(2) knows. */
static void serve(struct client *c, int fd)
{
	c->fd = fd;
	c->state = CLIENT_SERVED;
	if (fd >= FD_SETSIZE || pthread_create(&c->thread, NULL, client_thread, c)) {
		close(fd);
		c->state = CLIENT_FREE;
	}
}

/* Join the threads that have ended; with `all`, end the others first. Returns a free place, NULL: there is none. */
static struct client *reap(struct viewer *v, bool all)
{
	struct client *free_one = NULL;

	for (unsigned i = 0; i < VIEWER_CLIENTS; i++) {
		struct client *c = &v->client[i];
		enum client_state state;

		lock_take(&v->lock);
		state = c->state;
		lock_drop(&v->lock);
		if (state == CLIENT_SERVED && all)
			shutdown(c->fd, SHUT_RDWR);
		if (state == CLIENT_GONE || (state == CLIENT_SERVED && all)) {
			pthread_join(c->thread, NULL);
			close(c->fd);
			c->state = state = CLIENT_FREE;
		}
		if (state == CLIENT_FREE)
			free_one = c;
	}
	return free_one;
}

static bool is_over(struct viewer *v)
{
	bool over;

	lock_take(&v->lock);
	over = v->over;
	lock_drop(&v->lock);
	return over;
}

static void *listen_thread(void *arg)
{
	struct viewer *v = arg;
	eventfd_t ignored;

	while (!is_over(v)) {
		struct client *c = reap(v, false);
		struct pollfd p[2] = { { .fd = v->wake_fd, .events = POLLIN }, { .fd = v->listen_fd, .events = POLLIN } };
		int fd;

		if (poll(p, c ? 2 : 1, -1) < 0)
			continue;
		if (p[0].revents)
			eventfd_read(v->wake_fd, &ignored);
		if (!c || !p[1].revents)
			continue;
		fd = accept4(v->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			serve(c, fd);
	}
	reap(v, true);
	return NULL;
}

/* -- Listening ------------------------------------------------------------------------------------------- */

/* A socket at which nobody listens any more may go; nothing else. */
static void remove_stale(const struct sockaddr_un *a)
{
	struct stat st;
	int fd;

	if (lstat(a->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof(*a)) && errno == ECONNREFUSED)
		unlink(a->sun_path);
	if (fd >= 0)
		close(fd);
}

static int listen_unix(struct viewer *v, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, v->spec.path, sizeof(a.sun_path));
	remove_stale(&a);
	v->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (v->listen_fd < 0 || fchmod(v->listen_fd, 0600) || bind(v->listen_fd, (const struct sockaddr *)&a, sizeof(a)) ||
	    listen(v->listen_fd, BACKLOG))
		return err_set(e, errno, "display: VNC at '%s': %s; choose a path where a socket can be made", v->spec.path, strerror(errno));
	v->bound = true;
	strbuf_addf(&v->where, "VNC at unix:%s", v->spec.path);
	return 0;
}

static bool is_loopback(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ((const uint8_t *)a->sa_data)[2] == 127;
	return a->sa_family == AF_INET6 && !memcmp((const uint8_t *)a->sa_data + 6, &in6addr_loopback, sizeof(in6addr_loopback));
}

static void note_where(struct viewer *v, const char *host)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	char port[8] = "";

	if (!getsockname(v->listen_fd, (struct sockaddr *)&a, &len))
		getnameinfo((struct sockaddr *)&a, len, NULL, 0, port, sizeof(port), NI_NUMERICSERV);
	if (v->spec.kind == VIEWER_WEB)
		strbuf_addf(&v->where, "a web page at http://%s:%s/", host, port);
	else
		strbuf_addf(&v->where, "VNC at %s:%s", host, port);
	if (!*v->common.password && !is_loopback((struct sockaddr *)&a))
		log_msg(LOG_WARN, "display: who reaches %s:%s sees the screen and types; a password-file= would ask them", host, port);
}

static int listen_tcp(struct viewer *v, struct err *e)
{
	const char *host = *v->spec.host ? v->spec.host : LOOPBACK;
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *a = NULL;
	char port[8];
	int rc, on = 1;

	snprintf(port, sizeof(port), "%u", v->spec.port);
	rc = getaddrinfo(host, port, &hints, &a);
	if (rc)
		return err_set(e, EINVAL, "display: '%s' is no address of this computer: %s", host, gai_strerror(rc));
	v->listen_fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (v->listen_fd < 0 || setsockopt(v->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(v->listen_fd, a->ai_addr, a->ai_addrlen) || listen(v->listen_fd, BACKLOG))
		rc = err_set(e, errno, "display: cannot listen at %s:%u: %s; choose another port", host, v->spec.port, strerror(errno));
	freeaddrinfo(a);
	if (!rc)
		note_where(v, host);
	return rc;
}

/* -- Life ------------------------------------------------------------------------------------------------ */

static int prepare(struct viewer *v, struct err *e)
{
	int rc = read_password(v, e);

	if (!rc && v->spec.kind == VIEWER_WEB && access(NOVNC "/vnc.html", R_OK))
		return err_set(e, errno, "display: '%s': %s; install Debian's package novnc", NOVNC, strerror(errno));
	v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!rc && v->wake_fd < 0)
		rc = err_set(e, errno, "display: %s", strerror(errno));
	if (!rc)
		rc = *v->spec.path ? listen_unix(v, e) : listen_tcp(v, e);
	for (unsigned i = 0; !rc && i < VIEWER_CLIENTS; i++)
		v->client[i].rfb = rfb_new(&v->common);
	return rc;
}

int viewer_start(struct viewer *v, struct err *e)
{
	int rc = pthread_create(&v->thread, NULL, listen_thread, v);

	v->started = !rc;
	return rc ? err_set(e, rc, "display: cannot make a thread: %s", strerror(rc)) : 0;
}

int viewer_open(struct viewer **out, const char *spec, struct display *d, struct input *in, struct err *e)
{
	struct viewer *v = calloc(1, sizeof(*v));
	int rc;

	BUG_ON(!v);
	*out = NULL;
	lock_init(&v->lock, RANK_LEAF);
	v->listen_fd = v->wake_fd = -1;
	v->common.display = d;
	v->common.input = in;
	for (unsigned i = 0; i < VIEWER_CLIENTS; i++)
		v->client[i].viewer = v;
	rc = parse(&v->spec, spec, e);
	memcpy(v->common.host, v->spec.host, sizeof(v->common.host));
	if (!rc && v->spec.kind != VIEWER_NONE)
		rc = prepare(v, e);
	if (rc || v->spec.kind == VIEWER_NONE) {
		viewer_close(v);
		return rc;
	}
	*out = v;
	return 0;
}

void viewer_close(struct viewer *v)
{
	if (!v)
		return;
	lock_take(&v->lock);
	v->over = true;
	lock_drop(&v->lock);
	if (v->started) {
		eventfd_write(v->wake_fd, 1);
		pthread_join(v->thread, NULL);
	}
	if (v->bound)
		unlink(v->spec.path);
	if (v->listen_fd >= 0)
		close(v->listen_fd);
	if (v->wake_fd >= 0)
		close(v->wake_fd);
	for (unsigned i = 0; i < VIEWER_CLIENTS; i++)
		rfb_free(v->client[i].rfb);
	strbuf_release(&v->where);
	lock_release(&v->lock);
	free(v);
}

const char *viewer_where(const struct viewer *v)
{
	return v->where.buf;
}
