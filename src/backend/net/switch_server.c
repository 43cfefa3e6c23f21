/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One thread that carries frames between the switch's sockets; a port over its limit is left unread for as long as it takes. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "backend/net/impl.h"
#include "backend/net/options.h"
#include "backend/net/stream.h"
#include "backend/net/switch_server.h"
#include "backend/net/vswitch.h"
#include "base/bits.h"

#define FRAMES_AT_ONCE 64 /* of a port, before the others have their turn */
#define NS_PER_MS      1000000ull
#define VLAN_MAX       4094

struct port {
	struct switch_server *server;
	struct vswitch_port *p;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int listen_fd;
	struct stream s;
	const uint8_t *held; /* a frame that waits for the port's limit; NULL: none */
	size_t held_len;
	uint64_t ready_ns;   /* when it may pass */
};

struct switch_server {
	struct vswitch *sw;
	struct port port[VSWITCH_PORTS];
	unsigned n;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

int switch_server_new(struct switch_server **out, struct err *e)
{
	struct switch_server *s = calloc(1, sizeof(*s));

	*out = NULL;
	if (s)
		s->sw = vswitch_new();
	if (!s || !s->sw) {
		free(s);
		return err_set(e, ENOMEM, "switch: out of memory");
	}
	*out = s;
	return 0;
}

void switch_server_free(struct switch_server *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n; i++) {
		stream_release(&s->port[i].s);
		close(s->port[i].listen_fd);
		unlink(s->port[i].path);
	}
	vswitch_free(s->sw);
	free(s);
}

/* -- Ports ----------------------------------------------------------------------------------------------------- */

static int set_vlan(void *opaque, char *value, struct err *e)
{
	struct vswitch_port_config *c = opaque;
	char *end;
	unsigned long v = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || !v || v > VLAN_MAX)
		return err_set(e, EINVAL, "'%s' is no VLAN; give 1 to %d", value, VLAN_MAX);
	c->vlan = (uint16_t)v;
	return 0;
}

static int set_flag(bool *flag, const char *value, struct err *e)
{
	*flag = true;
	return *value ? err_set(e, EINVAL, "it takes no value") : 0;
}

static int set_trunk(void *opaque, char *value, struct err *e)
{
	return set_flag(&((struct vswitch_port_config *)opaque)->trunk, value, e);
}

static int set_isolated(void *opaque, char *value, struct err *e)
{
	return set_flag(&((struct vswitch_port_config *)opaque)->isolated, value, e);
}

static int set_tenant(void *opaque, char *value, struct err *e)
{
	struct vswitch_port_config *c = opaque;

	if (!*value || strlen(value) >= VSWITCH_NAME_SIZE)
		return err_set(e, EINVAL, "give a name of 1 to %d characters", VSWITCH_NAME_SIZE - 1);
	strcpy(c->tenant, value);
	return 0;
}

static int set_bps(void *opaque, char *value, struct err *e)
{
	static const char units[] = "KMG";
	struct vswitch_port_config *c = opaque;
	const char *unit;
	char *end;

	errno = 0;
	c->bps = strtoull(value, &end, 10);
	unit = *end ? strchr(units, *end & ~0x20) : NULL;
	if (*value < '0' || *value > '9' || errno || !c->bps || (*end && (!unit || end[1])) ||
	    (unit && __builtin_mul_overflow(c->bps, 1ull << 10 * (unit - units + 1), &c->bps)))
		return err_set(e, EINVAL, "'%s': give bytes a second, as in 500K or 10M", value);
	return 0;
}

static const struct net_option port_options[] = {
	{ "vlan", set_vlan }, { "trunk", set_trunk }, { "isolated", set_isolated }, { "tenant", set_tenant },
	{ "bps", set_bps },   { 0 },
};

/* What the switch sends by the port. */
static bool output(void *opaque, const uint8_t *frame, size_t len)
{
	struct port *p = opaque;

	return p->s.fd >= 0 && stream_put(&p->s, frame, len);
}

int switch_server_add(struct switch_server *s, const char *spec, struct err *e)
{
	struct port *p = &s->port[s->n];
	struct vswitch_port_config c = { .vlan = 1, .output = output, .opaque = p };
	size_t len = strcspn(spec, ",");
	int rc;

	if (s->n == VSWITCH_PORTS)
		return err_set(e, E2BIG, "switch port '%s': more than %d ports", spec, VSWITCH_PORTS);
	if (!len || len >= sizeof(p->path))
		return err_set(e, EINVAL, "switch port '%s': a socket's path has 1 to %zu characters", spec, sizeof(p->path) - 1);
	*p = (struct port){ .server = s, .s.fd = -1 };
	memcpy(p->path, spec, len);
	rc = spec[len] ? net_options_parse(spec + len + 1, p->path, port_options, &c, e) : 0;
	if (rc)
		return rc;
	p->listen_fd = net_unix_listen(p->path, e);
	if (p->listen_fd < 0)
		return err_prefix(e, p->listen_fd, "switch port");
	p->p = vswitch_add_port(s->sw, &c);
	s->n++;
	return 0;
}

/* -- Carrying frames ---------------------------------------------------------------------------------------------- */

static void unplug(struct port *p)
{
	stream_release(&p->s);
	p->held = NULL;
	vswitch_forget(p->p);
}

/* Pass on the port's frames as far as its limit allows. */
static void carry(struct port *p, uint64_t now)
{
	for (unsigned i = 0; i < FRAMES_AT_ONCE; i++) {
		uint64_t wait;

		if (!p->held) {
			int rc = stream_next(&p->s, &p->held, &p->held_len);

			if (rc < 0)
				unplug(p);
			if (rc <= 0) {
				p->held = NULL;
				return;
			}
		}
		wait = vswitch_wait(p->p, p->held_len, now);
		p->ready_ns = now + wait;
		if (wait)
			return;
		vswitch_input(p->p, p->held, p->held_len, now);
		p->held = NULL;
	}
	p->ready_ns = now; /* there may be more */
}

static void attend(struct port *p, short revents, uint64_t now)
{
	int fd;

	if (p->s.fd < 0) {
		fd = revents & POLLIN ? accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
		if (fd >= 0)
			stream_init(&p->s, fd);
		return;
	}
	/* A held frame stands in the buffer: nothing may be moved there until it has gone. */
	if (!p->held && (revents & (POLLIN | POLLHUP | POLLERR)) && !stream_fill(&p->s)) {
		unplug(p);
		return;
	}
	if (p->s.fd >= 0 && now >= p->ready_ns)
		carry(p, now);
}

/* Whether the port has whole frames that no poll would tell about, and when they may go. */
static bool waits(const struct port *p)
{
	return p->s.fd >= 0 && (p->held || p->s.in_at < p->s.in_len);
}

static int prepare(struct switch_server *s, struct pollfd *fds, uint64_t now)
{
	int timeout = -1;

	for (unsigned i = 0; i < s->n; i++) {
		struct port *p = &s->port[i];
		bool plugged = p->s.fd >= 0;
		short events = p->held ? 0 : POLLIN;

		fds[i] = (struct pollfd){ .fd = plugged ? p->s.fd : p->listen_fd, .events = events };
		if (plugged && stream_pending(&p->s))
			fds[i].events |= POLLOUT;
		if (p->held) {
			uint64_t ms = p->ready_ns > now ? (p->ready_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;

			timeout = timeout < 0 ? (int)ms : (int)MIN((uint64_t)timeout, ms);
		}
	}
	return timeout;
}

int switch_server_run(struct switch_server *s, int stop_fd, struct err *e)
{
	struct pollfd fds[VSWITCH_PORTS + 1];
	bool more = false;

	for (;;) {
		int timeout = prepare(s, fds, now_ns());
		uint64_t now;

		fds[s->n] = (struct pollfd){ .fd = stop_fd, .events = POLLIN };
		if (poll(fds, s->n + 1, more ? 0 : timeout) < 0 && errno != EINTR)
			return err_set(e, errno, "switch: poll: %s", strerror(errno));
		if (fds[s->n].revents)
			return 0;
		now = now_ns();
		more = false;
		for (unsigned i = 0; i < s->n; i++)
			attend(&s->port[i], fds[i].revents, now);
		for (unsigned i = 0; i < s->n; i++) {
			struct port *p = &s->port[i];
			size_t before = p->s.in_at;

			if (p->s.fd >= 0 && !stream_flush(&p->s))
				unplug(p);
			if (waits(p) && !p->held)
				carry(p, now);
			more |= p->s.in_at != before;
		}
	}
}

void switch_server_print_stats(const struct switch_server *s, struct strbuf *out)
{
	for (unsigned i = 0; i < s->n; i++)
		strbuf_addf(out, "port %2u: %s\n", i + 1, s->port[i].path);
	vswitch_print_stats(s->sw, out);
}
