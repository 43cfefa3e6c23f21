/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection of a vsock: what its packets mean for the unix socket behind it (virtio 1.2, 5.10.6).
 *
 * To the guest: data is read from the socket when there is a buffer of the guest's for it, as much as its credit
 * allows; without credit the socket is not looked at. From the guest: data goes to the socket at once; what the socket does not
 * take waits in `out`, whose size is the credit that the guest has. More than that, or a packet that has no place
 * in the connection's state, ends the connection.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/vsock/vsock_impl.h"
#include "base/bits.h"

#define MAX_PIECES   64          /* buffers of one packet to the guest that are used */
#define MAX_READ     (64u * KiB) /* bytes of one packet to the guest */
#define SHUTDOWN_ALL (VSOCK_NO_MORE_RECEIVED | VSOCK_NO_MORE_SENT)

/* -- The table ------------------------------------------------------------------------------------------- */

static struct list *bucket_of(struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	return &v->bucket[(guest_port * 31 + host_port) % VSOCK_BUCKETS];
}

struct conn *conn_find(struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	struct conn *c;

	list_for_each(c, bucket_of(v, guest_port, host_port), hash)
		if (c->guest_port == guest_port && c->host_port == host_port)
			return c;
	return NULL;
}

static void name(struct conn *c, uint32_t guest_port, uint32_t host_port)
{
	c->guest_port = guest_port;
	c->host_port = host_port;
	list_add_tail(bucket_of(c->v, guest_port, host_port), &c->hash);
}

struct conn *conn_new(struct vsock *v, int fd, enum conn_state state)
{
	struct conn *c;
	unsigned slot = 0;

	while (slot < VSOCK_MAX_CONNS && v->conn[slot])
		slot++;
	c = slot < VSOCK_MAX_CONNS ? calloc(1, sizeof(*c)) : NULL;
	if (!c)
		return NULL;
	c->v = v;
	c->fd = fd;
	c->state = state;
	c->slot = slot;
	c->serial = ++v->serial;
	list_init(&c->hash);
	list_init(&c->active);
	v->conn[slot] = c;
	v->n_conns++;
	vsock_wake_locked(v);
	return c;
}

static void close_socket(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->out_len = 0;
}

void conn_free(struct conn *c)
{
	struct vsock *v = c->v;

	close_socket(c);
	list_del(&c->hash);
	list_del(&c->active);
	v->conn[c->slot] = NULL;
	v->n_conns--;
	free(c->out);
	free(c);
	vsock_wake_locked(v);
}

/* The guest hears that the connection is over, then it is forgotten. */
static void kill_conn(struct conn *c)
{
	close_socket(c);
	c->state = CONN_DEAD;
	c->pending = SEND_RST;
	conn_update(c);
}

/* All that the guest has sent is out: over, for it too unless it has gone already. */
static void end_conn(struct conn *c)
{
	if (list_empty(&c->hash))
		conn_free(c);
	else
		kill_conn(c);
}

static uint32_t credit(const struct conn *c)
{
	uint32_t used = c->tx_cnt - c->peer_fwd;

	return used < c->peer_alloc ? c->peer_alloc - used : 0;
}

static bool can_read(const struct conn *c)
{
	return c->state == CONN_UP && c->readable && credit(c);
}

void conn_update(struct conn *c)
{
	list_del(&c->active);
	if (c->pending || can_read(c))
		list_add_tail(&c->v->active, &c->active);
}

bool conn_wants_read(const struct conn *c)
{
	return c->state == CONN_LINE || (c->state == CONN_UP && !c->readable && !c->eof && credit(c));
}

/* -- The host's side ---------------------------------------------------------------------------------------- */

/* A port above those in use. */
static uint32_t free_port(struct vsock *v, uint32_t guest_port)
{
	do {
		if (++v->next_port < VSOCK_FIRST_PORT || v->next_port == UINT32_MAX)
			v->next_port = VSOCK_FIRST_PORT;
	} while (conn_find(v, guest_port, v->next_port));
	return v->next_port;
}

/* "CONNECT port": false when it is something else. */
static bool parse_line(struct conn *c)
{
	static const char word[] = "CONNECT ";
	unsigned long long port;
	char *end;

	c->line[c->line_len - 1] = 0;
	if (strncmp(c->line, word, sizeof(word) - 1) || c->line[sizeof(word) - 1] < '0' || c->line[sizeof(word) - 1] > '9')
		return false;
	port = strtoull(c->line + sizeof(word) - 1, &end, 10);
	if (*end == '\r')
		end++;
	if (*end || port >= UINT32_MAX)
		return false;
	name(c, (uint32_t)port, free_port(c->v, (uint32_t)port));
	c->state = CONN_ASKED;
	c->pending = SEND_REQUEST;
	conn_update(c);
	return true;
}

/* A byte at a time, as what follows the line is for the guest. */
static void read_line(struct conn *c)
{
	for (;;) {
		ssize_t n = recv(c->fd, c->line + c->line_len, 1, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || ++c->line_len == VSOCK_LINE) {
			conn_free(c);
			return;
		}
		if (c->line[c->line_len - 1] != '\n')
			continue;
		if (!parse_line(c))
			conn_free(c);
		return;
	}
}

void conn_on_readable(struct conn *c)
{
	if (c->state == CONN_LINE) {
		read_line(c);
		return;
	}
	c->readable = true;
	conn_update(c);
}

/* The socket has taken `n` bytes more: tell the guest now and then. */
static void passed_on(struct conn *c, size_t n)
{
	c->fwd_cnt += (uint32_t)n;
	if (c->fwd_cnt - c->told_fwd >= VSOCK_BUF_ALLOC / 4)
		c->pending |= SEND_CREDIT;
}

/* The guest sends no more, and all is out. */
static void finish_sending(struct conn *c)
{
	if (c->guest_done && !c->out_len && c->fd >= 0)
		shutdown(c->fd, SHUT_WR);
}

void conn_on_writable(struct conn *c)
{
	ssize_t n = send(c->fd, c->out + c->out_at, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		kill_conn(c);
		return;
	}
	c->out_at += (size_t)n;
	c->out_len -= (size_t)n;
	if (c->finishing && !c->out_len) {
		end_conn(c);
		return;
	}
	passed_on(c, (size_t)n);
	finish_sending(c);
	conn_update(c);
}

/* -- Packets of the guest ------------------------------------------------------------------------------------ */

/* The bytes of iov from `skip` on, `len` in all, to the buffer's end. */
static bool keep(struct conn *c, const struct iovec *iov, unsigned n_iov, size_t skip, size_t len)
{
	if (!c->out)
		c->out = malloc(VSOCK_BUF_ALLOC);
	if (!c->out)
		return false;
	memmove(c->out, c->out + c->out_at, c->out_len);
	c->out_at = 0;
	for (unsigned i = 0; i < n_iov && len; i++) {
		size_t here = iov[i].iov_len, n;

		if (skip >= here) {
			skip -= here;
			continue;
		}
		n = MIN(here - skip, len);
		memcpy(c->out + c->out_len, (char *)iov[i].iov_base + skip, n);
		c->out_len += n;
		len -= n;
		skip = 0;
	}
	vsock_wake_locked(c->v);
	return !len;
}

/* False: the connection has to end. */
static bool put_data(struct conn *c, const struct vsock_packet *p, const struct iovec *iov, unsigned n_iov)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n_iov };
	ssize_t n = 0;

	if (c->guest_done || c->fd < 0 || p->len > VSOCK_BUF_ALLOC - (c->rx_cnt - c->fwd_cnt))
		return false;
	c->rx_cnt += p->len;
	if (!c->out_len && p->len)
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	n = MAX(n, 0);
	passed_on(c, (size_t)n);
	return (size_t)n == p->len || keep(c, iov, n_iov, (size_t)n, p->len - (size_t)n);
}

static bool put_response(struct conn *c)
{
	char line[VSOCK_LINE];
	int len = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	if (c->state != CONN_ASKED)
		return false;
	c->state = CONN_UP;
	c->v->opened++;
	vsock_wake_locked(c->v);
	/* The first bytes that the socket is given: there is room. */
	return send(c->fd, line, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) == len;
}

/* True: the connection goes on, in one direction at least. */
static bool put_shutdown(struct conn *c, uint32_t flags)
{
	if (flags & VSOCK_NO_MORE_SENT)
		c->guest_done = true;
	if (flags & VSOCK_NO_MORE_RECEIVED) {
		c->eof = true;
		c->readable = false;
	}
	/* Both: the guest's socket is closed, and waits for our reset. The client still gets all that is on its way. */
	c->finishing |= (flags & SHUTDOWN_ALL) == SHUTDOWN_ALL;
	if (c->finishing)
		return c->out_len;
	finish_sending(c);
	return c->state == CONN_UP;
}

void conn_put(struct conn *c, const struct vsock_packet *p, const struct iovec *iov, unsigned n_iov)
{
	bool ok = c->state == CONN_UP;

	if (c->state == CONN_DEAD && p->op != VSOCK_RST)
		return;
	c->peer_alloc = p->buf_alloc;
	c->peer_fwd = p->fwd_cnt;
	c->asked_credit = false;
	switch (p->op) {
	case VSOCK_RST:
		list_del(&c->hash);
		list_del(&c->active);
		if (!c->finishing || !c->out_len)
			conn_free(c);
		return;
	case VSOCK_RESPONSE:
		ok = put_response(c);
		break;
	case VSOCK_SHUTDOWN:
		ok = put_shutdown(c, p->flags);
		break;
	case VSOCK_RW:
		ok = ok && put_data(c, p, iov, n_iov);
		break;
	case VSOCK_CREDIT_UPDATE:
		ok |= c->state == CONN_CLOSING;
		break;
	case VSOCK_CREDIT_REQUEST:
		ok |= c->state == CONN_CLOSING;
		c->pending |= SEND_CREDIT;
		break;
	default:
		ok = false;
	}
	if (!ok) {
		kill_conn(c);
		return;
	}
	conn_update(c);
	if (conn_wants_read(c))
		vsock_wake_locked(c->v);
}

void conn_open_host(struct vsock *v, const struct vsock_packet *p)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct conn *c = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", v->path, p->host_port);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a)))
		c = conn_new(v, fd, CONN_UP);
	if (!c) {
		if (fd >= 0)
			close(fd);
		vsock_refuse(v, p->guest_port, p->host_port);
		return;
	}
	name(c, p->guest_port, p->host_port);
	c->peer_alloc = p->buf_alloc;
	c->peer_fwd = p->fwd_cnt;
	c->pending = SEND_RESPONSE;
	v->opened++;
	conn_update(c);
}

/* -- Packets for the guest -------------------------------------------------------------------------------------- */

/* The other side sends no more; or it is gone altogether. */
static void at_eof(struct conn *c)
{
	struct pollfd p = { .fd = c->fd };

	c->eof = true;
	c->readable = false;
	c->pending |= SEND_SHUTDOWN;
	c->shutdown_flags = VSOCK_NO_MORE_SENT;
	if (poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR))) {
		c->shutdown_flags = SHUTDOWN_ALL;
		close_socket(c);
		c->state = CONN_CLOSING;
	}
}

/* Data into the guest's buffer: how much, or 0 when there is none after all. */
static uint32_t read_data(struct conn *c, const struct iovec *iov, unsigned n_iov)
{
	struct iovec part[MAX_PIECES];
	uint32_t room = MIN(credit(c), MAX_READ), left = room;
	unsigned n = 0;
	ssize_t got;

	for (; n < MIN(n_iov, (unsigned)MAX_PIECES) && left; n++) {
		part[n] = (struct iovec){ iov[n].iov_base, MIN(iov[n].iov_len, left) };
		left -= (uint32_t)part[n].iov_len;
	}
	got = readv(c->fd, part, (int)n);
	if (got > 0) {
		/* Less than there was room for: no more just now. */
		if ((size_t)got < room - left)
			c->readable = false;
		return (uint32_t)got;
	}
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		c->readable = false;
	else
		at_eof(c);
	return 0;
}

/* The kind of the next packet; 0: none. */
static uint16_t take_pending(struct conn *c)
{
	static const struct {
		unsigned bit;
		uint16_t op;
	} kinds[] = {
		{ SEND_REQUEST, VSOCK_REQUEST },         { SEND_RESPONSE, VSOCK_RESPONSE },
		{ SEND_CREDIT, VSOCK_CREDIT_UPDATE },    { SEND_ASK_CREDIT, VSOCK_CREDIT_REQUEST },
		{ SEND_SHUTDOWN, VSOCK_SHUTDOWN },       { SEND_RST, VSOCK_RST },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (c->pending & kinds[i].bit) {
			c->pending &= ~kinds[i].bit;
			return kinds[i].op;
		}
	}
	return 0;
}

bool conn_get(struct conn *c, struct vsock_packet *p, const struct iovec *iov, unsigned n_iov)
{
	uint32_t len = 0;
	uint16_t op = take_pending(c);

	if (!op && can_read(c)) {
		len = read_data(c, iov, n_iov);
		op = len ? VSOCK_RW : take_pending(c);
		c->tx_cnt += len;
		if (len && !credit(c) && !c->asked_credit) {
			c->asked_credit = true;
			c->pending |= SEND_ASK_CREDIT;
		}
		vsock_wake_locked(c->v);
	}
	if (!op)
		return false;
	*p = (struct vsock_packet){
		.guest_port = c->guest_port, .host_port = c->host_port, .op = op, .buf_alloc = VSOCK_BUF_ALLOC,
		.flags = op == VSOCK_SHUTDOWN ? c->shutdown_flags : 0, .fwd_cnt = c->fwd_cnt, .len = len,
	};
	c->told_fwd = c->fwd_cnt;
	if (op == VSOCK_RST)
		conn_free(c);
	else
		conn_update(c);
	return true;
}
