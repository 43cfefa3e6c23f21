/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User-mode network: libslirp turns the guest's connections into sockets of this process. NAT, DHCP and DNS for the guest, and
 * ports of the host that lead into it; no rights are needed.
 *
 * The guest's large TCP segments go into libslirp as they are, with their checksum finished. All of libslirp runs on
 * the network's thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include "backend/net/frame.h"
#include "backend/net/impl.h"
#include "backend/net/options.h"
#include "base/bits.h"
#include "base/log.h"

#define MAX_PUBLISH   64
#define MAX_SOCKETS   900         /* that a guest may have open: net.c waits for 1024; half of the process' limit, if that is less */
#define COUNT_MS      10          /* between two counts of the sockets of a guest that has too many */
#define NAME_SIZE     64
#define NET_DEFAULT   0x0a000200u /* 10.0.2.0, with the hosts that QEMU's users know: */
#define MASK_DEFAULT  24
#define HOST_GATEWAY  2
#define HOST_DNS      3
#define HOST_GUEST    15
#define NS_PER_MS     1000000
#define POLL_MAX_MS   1000        /* how late libslirp may see that a slow timer of its own is due */

struct publish {
	bool udp;
	struct in_addr host, guest;
	uint16_t host_port, guest_port;
};

struct config {
	uint32_t net;          /* host byte order */
	unsigned prefix;
	bool restricted, no_ipv6;
	struct in_addr dns;    /* 0: the usual one */
	char hostname[NAME_SIZE], domain[NAME_SIZE];
	struct publish publish[MAX_PUBLISH];
	unsigned n_publish;
};

/* A timer of libslirp's. */
struct slirp_timer {
	struct list node;
	SlirpTimerCb cb;
	void *opaque;
	int64_t due_ms; /* -1: not armed */
};

struct user {
	struct net n;
	struct config cfg;
	Slirp *slirp;
	unsigned max_sockets, n_sockets; /* that the guest may have; that there were when they were counted */
	unsigned n_maybe;                /* frames since then that may have opened one */
	int64_t counted_ms;
	struct list timers;
	/* While libslirp fills in what to wait for, and hears what came of it. */
	struct pollfd *fds;
	const struct pollfd *results;
	unsigned n_fds, max_fds;
};

/* -- Options ------------------------------------------------------------------------------------------------- */

static struct in_addr host_of(const struct config *c, unsigned host)
{
	return (struct in_addr){ .s_addr = htonl(c->net + host) };
}

/* [tcp:|udp:][ADDRESS:]HOSTPORT:[GUESTADDRESS:]GUESTPORT, as container users know it. */
static int set_publish(void *opaque, char *value, struct err *e)
{
	struct config *c = opaque;
	struct publish p = { .host.s_addr = htonl(INADDR_LOOPBACK) };
	char *part[5], *item;
	unsigned n = 0, at = 0;
	int rc;

	if (c->n_publish == MAX_PUBLISH)
		return err_set(e, E2BIG, "more than %d ports", MAX_PUBLISH);
	while ((item = strsep(&value, ":")) && n < ARRAY_SIZE(part))
		part[n++] = item;
	if (n && (!strcmp(part[0], "udp") || !strcmp(part[0], "tcp")))
		p.udp = *part[at++] == 'u';
	if (item || n - at < 2 || n - at > 4)
		return err_set(e, EINVAL, "write it like 8080:80, udp:5353:53 or 0.0.0.0:8080:80");
	rc = strchr(part[at], '.') ? net_parse_address(part[at++], &p.host, e) : 0;
	if (!rc)
		rc = net_parse_port(part[at++], &p.host_port, e);
	if (!rc && at < n && strchr(part[at], '.'))
		rc = net_parse_address(part[at++], &p.guest, e);
	if (!rc && at + 1 != n)
		return err_set(e, EINVAL, "write it like 8080:80, udp:5353:53 or 0.0.0.0:8080:80");
	if (!rc)
		rc = net_parse_port(part[at], &p.guest_port, e);
	if (!rc)
		c->publish[c->n_publish++] = p;
	return rc;
}

static int set_net(void *opaque, char *value, struct err *e)
{
	struct config *c = opaque;
	char *slash = strchr(value, '/'), *end;
	struct in_addr addr;
	unsigned long prefix = MASK_DEFAULT;
	int rc;

	if (slash) {
		*slash = 0;
		prefix = strtoul(slash + 1, &end, 10);
		if (!slash[1] || *end || prefix < 8 || prefix > 28)
			return err_set(e, EINVAL, "'/%s': give a prefix of 8 to 28 bits", slash + 1);
	}
	rc = net_parse_address(value, &addr, e);
	if (rc)
		return rc;
	c->prefix = (unsigned)prefix;
	c->net = ntohl(addr.s_addr) & ~(UINT32_MAX >> prefix);
	return 0;
}

static int set_dns(void *opaque, char *value, struct err *e)
{
	return net_parse_address(value, &((struct config *)opaque)->dns, e);
}

static int set_name(char *to, const char *value, struct err *e)
{
	if (!*value || strlen(value) >= NAME_SIZE)
		return err_set(e, EINVAL, "give a name of 1 to %d characters", NAME_SIZE - 1);
	strcpy(to, value);
	return 0;
}

static int set_hostname(void *opaque, char *value, struct err *e)
{
	return set_name(((struct config *)opaque)->hostname, value, e);
}

static int set_domain(void *opaque, char *value, struct err *e)
{
	return set_name(((struct config *)opaque)->domain, value, e);
}

static int set_flag(bool *to, const char *value, struct err *e)
{
	*to = !*value || !strcmp(value, "on") || !strcmp(value, "yes");
	if (*to || !strcmp(value, "off") || !strcmp(value, "no"))
		return 0;
	return err_set(e, EINVAL, "'%s': give on or off", value);
}

static int set_restrict(void *opaque, char *value, struct err *e)
{
	return set_flag(&((struct config *)opaque)->restricted, value, e);
}

static int set_ipv6(void *opaque, char *value, struct err *e)
{
	struct config *c = opaque;
	bool on;
	int rc = set_flag(&on, value, e);

	c->no_ipv6 = !on;
	return rc;
}

static const struct net_option options[] = {
	{ "publish", set_publish }, { "net", set_net },           { "dns", set_dns },   { "hostname", set_hostname },
	{ "domain", set_domain },   { "restrict", set_restrict }, { "ipv6", set_ipv6 }, { 0 },
};

static int parse(struct config *c, const char *arg, struct err *e)
{
	*c = (struct config){ .net = NET_DEFAULT, .prefix = MASK_DEFAULT, .hostname = "doppel" };
	return net_options_parse(arg, "user", options, c, e);
}

static int user_check(const char *arg, struct err *e)
{
	struct config c;

	return parse(&c, arg, e);
}

/* -- What libslirp calls ---------------------------------------------------------------------------------------- */

static int64_t now_ns(void *opaque)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static ssize_t on_frame(const void *buf, size_t len, void *opaque)
{
	struct user *u = opaque;

	net_input(&u->n, buf, len, NULL);
	return (ssize_t)len;
}

static void on_guest_error(const char *msg, void *opaque)
{
	guest_log("user-mode network: %s", msg);
}

static void *timer_add(SlirpTimerCb cb, void *cb_opaque, void *opaque)
{
	struct user *u = opaque;
	struct slirp_timer *t = calloc(1, sizeof(*t));

	BUG_ON(!t);
	t->cb = cb;
	t->opaque = cb_opaque;
	t->due_ms = -1;
	list_add_tail(&u->timers, &t->node);
	return t;
}

static void timer_remove(void *timer, void *opaque)
{
	struct slirp_timer *t = timer;

	list_del(&t->node);
	free(t);
}

static void timer_set(void *timer, int64_t due_ms, void *opaque)
{
	((struct slirp_timer *)timer)->due_ms = due_ms;
}

static void ignore_fd(int fd, void *opaque)
{
}

/* It is called on this thread only, which looks again before it sleeps. */
static void on_notify(void *opaque)
{
}

static const SlirpCb callbacks = {
	.send_packet = on_frame,
	.guest_error = on_guest_error,
	.clock_get_ns = now_ns,
	.timer_new = timer_add,
	.timer_free = timer_remove,
	.timer_mod = timer_set,
	.register_poll_fd = ignore_fd,
	.unregister_poll_fd = ignore_fd,
	.notify = on_notify,
};

/* -- How many sockets a guest may have -------------------------------------------------------------------------- */

enum { ETH_TYPE = 12, IP4_PROTO = 23, IP6_PROTO = 20, IP4_HEADER = 14, IP4_MIN = 20, IP6_HEADER = 54, TCP_FLAGS = 13, UDP_DEST = 2 };
enum { PROTO_TCP = 6, PROTO_UDP = 17, TCP_SYN = 0x02, TCP_ACK = 0x10, DHCP_SERVER = 67 };

/* Connections get three quarters, so that a guest that has too many of them can still ask for names. */
static unsigned limit_of(const struct user *u, unsigned proto)
{
	return proto == PROTO_TCP ? u->max_sockets / 4 * 3 : u->max_sockets;
}

/*
 * libslirp tells of its sockets only in a table for people, a line each under a headline. What it wants to be waited for is less: a UDP
 * socket whose peer was unreachable is left out, but stays open until its time is up.
 */
static void count_sockets(struct user *u)
{
	char *table = slirp_connection_info(u->slirp);
	unsigned lines = 0;

	for (const char *c = table; c && *c; c++)
		lines += *c == '\n';
	free(table);
	u->n_sockets = lines ? lines - 1 : 0;
	u->n_maybe = 0;
	u->counted_ms = now_ns(u) / NS_PER_MS;
}

/* Whether they were counted lately and were too many: a guest that goes on trying does not have them counted each time. */
static bool surely_full(struct user *u, unsigned limit)
{
	return u->n_sockets >= limit && now_ns(u) / NS_PER_MS < u->counted_ms + COUNT_MS;
}

/* The protocol for which libslirp may open a socket when it gets this frame; 0: it opens none. */
static unsigned may_open(const uint8_t *f, size_t len)
{
	unsigned type = f[ETH_TYPE] << 8 | f[ETH_TYPE + 1], proto;
	size_t at;

	if (len < IP4_HEADER + IP4_MIN || (type != 0x0800 && type != 0x86dd) || (type == 0x86dd && len < IP6_HEADER))
		return 0;
	at = type == 0x0800 ? IP4_HEADER + (f[IP4_HEADER] & 0xfu) * 4 : IP6_HEADER;
	proto = type == 0x0800 ? f[IP4_PROTO] : f[IP6_PROTO];
	if (proto == PROTO_TCP && at + TCP_FLAGS < len && (f[at + TCP_FLAGS] & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return 0;
	if (proto == PROTO_UDP && at + UDP_DEST + 1 < len && (f[at + UDP_DEST] << 8 | f[at + UDP_DEST + 1]) == DHCP_SERVER)
		return 0;
	return proto;
}

/* Whether there may be the socket more that this frame may open. */
static bool admit(struct user *u, const struct net_frame *f)
{
	unsigned proto = may_open(f->data, f->len), limit = limit_of(u, proto);

	if (!proto)
		return true;
	if (u->n_sockets + u->n_maybe >= limit && !surely_full(u, limit))
		count_sockets(u);
	if (u->n_sockets + u->n_maybe < limit) {
		u->n_maybe++;
		return true;
	}
	guest_log("user-mode network: the guest has %u connections; no more until some have ended", u->n_sockets);
	lock_take(&u->n.lock);
	u->n.sent.dropped++;
	lock_drop(&u->n.lock);
	return false;
}

static void set_limit(struct user *u)
{
	struct rlimit lim = { MAX_SOCKETS, 0 };

	getrlimit(RLIMIT_NOFILE, &lim);
	u->max_sockets = (unsigned)MIN(lim.rlim_cur / 2, (rlim_t)MAX_SOCKETS);
}

/* -- On the thread ----------------------------------------------------------------------------------------------- */

static int add_poll(int fd, int events, void *opaque)
{
	struct user *u = opaque;
	int listening = 0;
	socklen_t size = sizeof(listening);
	short want = 0;

	if (u->n_fds == u->max_fds)
		return -1; /* looked at again once others have closed */
	/* Nor are clients of published ports let in. */
	if (unlikely(u->n_sockets >= limit_of(u, PROTO_TCP)) && !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) && listening)
		return -1;
	want |= events & SLIRP_POLL_IN ? POLLIN : 0;
	want |= events & SLIRP_POLL_OUT ? POLLOUT : 0;
	want |= events & SLIRP_POLL_PRI ? POLLPRI : 0;
	u->fds[u->n_fds] = (struct pollfd){ .fd = fd, .events = want };
	return (int)u->n_fds++;
}

static int get_revents(int idx, void *opaque)
{
	const struct user *u = opaque;
	int got = 0;
	short r;

	if (idx < 0 || (unsigned)idx >= u->n_fds)
		return 0;
	r = u->results[idx].revents;
	got |= r & POLLIN ? SLIRP_POLL_IN : 0;
	got |= r & POLLOUT ? SLIRP_POLL_OUT : 0;
	got |= r & POLLPRI ? SLIRP_POLL_PRI : 0;
	got |= r & POLLERR ? SLIRP_POLL_ERR : 0;
	got |= r & POLLHUP ? SLIRP_POLL_HUP : 0;
	return got;
}

static unsigned user_prepare(struct net *n, struct pollfd *fds, unsigned max, int *timeout_ms)
{
	struct user *u = CONTAINER_OF(n, struct user, n);
	uint32_t wait = UINT32_MAX;
	int64_t now = now_ns(u) / NS_PER_MS;
	struct slirp_timer *t;

	u->n_fds = 0;
	/* While the guest takes nothing, the host's data waits in the host's sockets. */
	if (!net_input_room(n)) {
		*timeout_ms = POLL_MAX_MS;
		return 0;
	}
	u->fds = fds;
	u->max_fds = max;
	if (unlikely(u->n_sockets >= limit_of(u, PROTO_TCP)) && !surely_full(u, limit_of(u, PROTO_TCP)))
		count_sockets(u);
	slirp_pollfds_fill(u->slirp, &wait, add_poll, u);
	list_for_each(t, &u->timers, node)
		if (t->due_ms >= 0)
			wait = (uint32_t)MIN(wait, (uint64_t)MAX(t->due_ms - now, 0));
	*timeout_ms = wait == UINT32_MAX ? -1 : (int)MIN(wait, (uint32_t)POLL_MAX_MS);
	u->n_sockets = MAX(u->n_sockets, u->n_fds); /* clients of published ports have come without a frame of the guest's */
	return u->n_fds;
}

static void run_timers(struct user *u)
{
	int64_t now = now_ns(u) / NS_PER_MS;
	struct slirp_timer *t, *next;

	list_for_each_safe(t, next, &u->timers, node) {
		if (t->due_ms < 0 || t->due_ms > now)
			continue;
		t->due_ms = -1;
		t->cb(t->opaque);
	}
}

static void user_ready(struct net *n, const struct pollfd *fds, unsigned count)
{
	struct user *u = CONTAINER_OF(n, struct user, n);

	run_timers(u);
	if (!net_input_room(n))
		return;
	u->results = fds;
	slirp_pollfds_poll(u->slirp, 0, get_revents, u);
}

static bool user_output(struct net *n, const struct net_frame *f)
{
	struct user *u = CONTAINER_OF(n, struct user, n);
	uint8_t copy[NET_MAX_FRAME];

	if (!admit(u, f))
		return true; /* dropped */
	if (!f->off.needs_csum) {
		slirp_input(u->slirp, f->data, (int)f->len);
		return true;
	}
	memcpy(copy, f->data, f->len);
	frame_finish_csum(copy, f->len, &f->off);
	slirp_input(u->slirp, copy, (int)f->len);
	return true;
}

static void user_close(struct net *n)
{
	struct user *u = CONTAINER_OF(n, struct user, n);

	if (u->slirp)
		slirp_cleanup(u->slirp);
	free(u);
}

static const struct net_ops user_ops = {
	.name = "user",
	.prepare = user_prepare,
	.ready = user_ready,
	.output = user_output,
	.close = user_close,
};

/* -- Opening --------------------------------------------------------------------------------------------------------- */

static int publish_all(struct user *u, struct err *e)
{
	const struct config *c = &u->cfg;

	for (unsigned i = 0; i < c->n_publish; i++) {
		const struct publish *p = &c->publish[i];
		struct in_addr guest = p->guest.s_addr ? p->guest : host_of(c, HOST_GUEST);
		char host[INET_ADDRSTRLEN] = "";

		if (!slirp_add_hostfwd(u->slirp, p->udp, p->host, p->host_port, guest, p->guest_port))
			continue;
		inet_ntop(AF_INET, &p->host, host, sizeof(host));
		return err_set(e, errno, "network 'user': cannot publish %s port %s:%u: %s; is it taken, or below 1024?",
			       p->udp ? "udp" : "tcp", host, p->host_port, strerror(errno));
	}
	return 0;
}

static Slirp *make_slirp(struct user *u)
{
	const struct config *c = &u->cfg;
	SlirpConfig sc = {
		.version = 4,
		.restricted = c->restricted,
		.in_enabled = true,
		.vnetwork = host_of(c, 0),
		.vnetmask.s_addr = htonl(~(UINT32_MAX >> c->prefix)),
		.vhost = host_of(c, HOST_GATEWAY),
		.in6_enabled = !c->no_ipv6,
		.vprefix_len = 64,
		.vhostname = c->hostname,
		.vdhcp_start = host_of(c, HOST_GUEST),
		.vnameserver = c->dns.s_addr ? c->dns : host_of(c, HOST_DNS),
		.vdomainname = *c->domain ? c->domain : NULL,
	};

	inet_pton(AF_INET6, "fec0::", &sc.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &sc.vhost6);
	inet_pton(AF_INET6, "fec0::3", &sc.vnameserver6);
	return slirp_new(&sc, &callbacks, u);
}

static int user_open(struct net **out, const char *arg, struct err *e)
{
	struct user *u = calloc(1, sizeof(*u));
	int rc;

	if (!u)
		return err_set(e, ENOMEM, "network 'user': out of memory");
	list_init(&u->timers);
	set_limit(u);
	rc = net_init(&u->n, &user_ops, e);
	u->n.can_send = NET_CAN_CSUM | NET_CAN_TSO4 | NET_CAN_TSO6;
	if (!rc)
		rc = parse(&u->cfg, arg, e);
	if (!rc) {
		u->slirp = make_slirp(u);
		rc = u->slirp ? publish_all(u, e) : err_set(e, EINVAL, "network 'user': libslirp does not start");
	}
	if (!rc)
		rc = net_begin(&u->n, e);
	if (rc)
		net_close(&u->n);
	else
		*out = &u->n;
	return rc;
}

const struct net_kind net_user = { "user", user_open, user_check };
