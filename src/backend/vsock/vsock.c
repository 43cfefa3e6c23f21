/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's end of a guest's vsock: the listening socket, the thread, the way of packets to their connections.
 *
 * The thread waits for the sockets and only notes what it sees; the data of a socket that can be read is fetched by vsock_get(),
 * straight into the guest's buffer, and what the guest sends goes to the socket from vsock_put(). So the lock
 * is the one of everything here, and nobody waits under it.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/net/impl.h"
#include "backend/vsock/vsock_impl.h"
#include "base/bits.h"

#define BACKLOG     64
#define OWN_FDS     2   /* the eventfd and the listening socket come first */
#define PORT_DIGITS 11  /* "_" and a port */

void vsock_wake_locked(struct vsock *v)
{
	uint64_t one = 1;

	if (!v->asleep)
		return;
	v->asleep = false;
	if (write(v->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		BUG("vsock: eventfd: %s", strerror(errno));
}

/* -- The thread ------------------------------------------------------------------------------------------ */

struct watch {
	struct pollfd fds[OWN_FDS + VSOCK_MAX_CONNS];
	uint64_t serial[OWN_FDS + VSOCK_MAX_CONNS];
	unsigned slot[OWN_FDS + VSOCK_MAX_CONNS];
	unsigned n;
};

/* What to wait for. A socket that nothing is wanted of is left out: poll(2) would report its end again and again. */
static void fill_locked(struct vsock *v, struct watch *w)
{
	w->fds[0] = (struct pollfd){ .fd = v->wake_fd, .events = POLLIN };
	w->fds[1] = (struct pollfd){ .fd = v->n_conns < VSOCK_MAX_CONNS ? v->listen_fd : -1, .events = POLLIN };
	w->n = OWN_FDS;
	for (unsigned i = 0; i < VSOCK_MAX_CONNS; i++) {
		const struct conn *c = v->conn[i];
		short want;

		if (!c || c->fd < 0)
			continue;
		want = (short)((conn_wants_read(c) ? POLLIN : 0) | (c->out_len ? POLLOUT : 0));
		if (!want)
			continue;
		w->serial[w->n] = c->serial;
		w->slot[w->n] = i;
		w->fds[w->n++] = (struct pollfd){ .fd = c->fd, .events = want };
	}
}

static void accept_locked(struct vsock *v)
{
	int fd = accept4(v->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0 && !conn_new(v, fd, CONN_LINE))
		close(fd);
}

static void look_locked(struct vsock *v, const struct watch *w)
{
	if (w->fds[1].revents)
		accept_locked(v);
	for (unsigned i = OWN_FDS; i < w->n; i++) {
		short got = w->fds[i].revents;
		struct conn *c = v->conn[w->slot[i]];

		if (!got || !c || c->serial != w->serial[i])
			continue;
		if ((got & (POLLOUT | POLLERR)) && c->out_len)
			conn_on_writable(c);
		c = v->conn[w->slot[i]];
		if (c && c->serial == w->serial[i] && (got & (POLLIN | POLLHUP | POLLERR)) && conn_wants_read(c))
			conn_on_readable(c);
	}
}

static void tell_locked(struct vsock *v)
{
	void (*ready)(void *opaque) = v->ready;
	void *opaque = v->opaque;

	if (!ready)
		return;
	v->in_call = true;
	lock_drop(&v->lock);
	ready(opaque);
	lock_take(&v->lock);
	v->in_call = false;
	pthread_cond_broadcast(&v->cond);
}

static bool pending_locked(const struct vsock *v)
{
	return v->n_resets || !list_empty(&v->active);
}

static void *vsock_thread(void *arg)
{
	struct vsock *v = arg;
	struct watch *w = calloc(1, sizeof(*w));
	uint64_t count;

	BUG_ON(!w);
	lock_take(&v->lock);
	while (!v->stop) {
		fill_locked(v, w);
		v->asleep = true;
		lock_drop(&v->lock);
		if (poll(w->fds, w->n, -1) < 0 && errno != EINTR)
			BUG("vsock: poll: %s", strerror(errno));
		if ((w->fds[0].revents & POLLIN) && read(v->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
			BUG("vsock: eventfd: %s", strerror(errno));
		lock_take(&v->lock);
		v->asleep = false;
		look_locked(v, w);
		if (pending_locked(v))
			tell_locked(v);
	}
	lock_drop(&v->lock);
	free(w);
	return NULL;
}

/* -- Packets ------------------------------------------------------------------------------------------------ */

void vsock_refuse(struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	v->refused++;
	if (v->n_resets == VSOCK_MAX_RESETS)
		return; /* the guest does not read its answers */
	v->reset[v->n_resets].guest_port = guest_port;
	v->reset[v->n_resets++].host_port = host_port;
}

void vsock_put(struct vsock *v, const struct vsock_packet *p, const struct iovec *iov, unsigned n_iov)
{
	struct conn *c;

	lock_take(&v->lock);
	v->from_guest += p->len;
	c = conn_find(v, p->guest_port, p->host_port);
	if (c)
		conn_put(c, p, iov, n_iov);
	else if (p->op == VSOCK_REQUEST)
		conn_open_host(v, p);
	else if (p->op != VSOCK_RST)
		vsock_refuse(v, p->guest_port, p->host_port);
	lock_drop(&v->lock);
}

static bool get_locked(struct vsock *v, struct vsock_packet *p, const struct iovec *iov, unsigned n_iov)
{
	if (v->n_resets) {
		v->n_resets--;
		*p = (struct vsock_packet){ .guest_port = v->reset[v->n_resets].guest_port,
					    .host_port = v->reset[v->n_resets].host_port, .op = VSOCK_RST };
		return true;
	}
	while (!list_empty(&v->active)) {
		/* One packet of each connection in turn. */
		struct conn *c = list_entry(v->active.next, struct conn, active);

		list_del(&c->active);
		if (conn_get(c, p, iov, n_iov))
			return true;
	}
	return false;
}

bool vsock_get(struct vsock *v, struct vsock_packet *p, const struct iovec *iov, unsigned n_iov)
{
	bool got;

	lock_take(&v->lock);
	got = get_locked(v, p, iov, n_iov);
	if (got)
		v->to_guest += p->len;
	lock_drop(&v->lock);
	return got;
}

bool vsock_pending(struct vsock *v)
{
	bool pending;

	lock_take(&v->lock);
	pending = pending_locked(v);
	lock_drop(&v->lock);
	return pending;
}

void vsock_reset(struct vsock *v)
{
	lock_take(&v->lock);
	for (unsigned i = 0; i < VSOCK_MAX_CONNS; i++) {
		struct conn *c = v->conn[i];

		if (c && c->state != CONN_LINE && !(c->pending & SEND_REQUEST))
			conn_free(c);
	}
	v->n_resets = 0;
	lock_drop(&v->lock);
}

void vsock_print_stats(struct vsock *v, struct strbuf *out)
{
	lock_take(&v->lock);
	strbuf_addf(out, "vsock  %" PRIu64 " connections, %" PRIu64 " refused, %" PRIu64 " bytes to the guest, %" PRIu64 " from it\n",
		    v->opened, v->refused, v->to_guest, v->from_guest);
	lock_drop(&v->lock);
}

/* -- Life ---------------------------------------------------------------------------------------------------- */

void vsock_set_ready(struct vsock *v, void (*ready)(void *opaque), void *opaque)
{
	lock_take(&v->lock);
	while (v->in_call)
		pthread_cond_wait(&v->cond, &v->lock.m);
	v->ready = ready;
	v->opaque = opaque;
	vsock_wake_locked(v);
	lock_drop(&v->lock);
}

static int begin(struct vsock *v, struct err *e)
{
	int rc;

	v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->wake_fd < 0)
		return err_set(e, errno, "vsock: eventfd: %s", strerror(errno));
	rc = net_unix_listen(v->path, e);
	if (rc < 0)
		return err_prefix(e, rc, "vsock");
	v->listen_fd = rc;
	if (listen(v->listen_fd, BACKLOG))
		return err_set(e, errno, "vsock '%s': listen: %s", v->path, strerror(errno));
	rc = pthread_create(&v->thread, NULL, vsock_thread, v);
	if (rc)
		return err_set(e, rc, "vsock: cannot start a thread: %s", strerror(rc));
	v->started = true;
	pthread_setname_np(v->thread, "doppel-vsock");
	return 0;
}

int vsock_open(struct vsock **out, const char *path, struct err *e)
{
	struct vsock *v;
	int rc;

	*out = NULL;
	if (!*path || strlen(path) >= VSOCK_PATH - PORT_DIGITS)
		return err_set(e, ENAMETOOLONG, "vsock '%s': give a path of 1 to %d bytes", path, VSOCK_PATH - PORT_DIGITS - 1);
	v = calloc(1, sizeof(*v));
	if (!v)
		return err_set(e, ENOMEM, "vsock: out of memory");
	strcpy(v->path, path);
	v->listen_fd = v->wake_fd = -1;
	v->next_port = VSOCK_FIRST_PORT;
	lock_init(&v->lock, RANK_VSOCK);
	pthread_cond_init(&v->cond, NULL);
	list_init(&v->active);
	for (unsigned i = 0; i < VSOCK_BUCKETS; i++)
		list_init(&v->bucket[i]);
	rc = begin(v, e);
	if (rc)
		vsock_close(v);
	else
		*out = v;
	return rc;
}

void vsock_close(struct vsock *v)
{
	if (!v)
		return;
	if (v->started) {
		lock_take(&v->lock);
		v->stop = true;
		vsock_wake_locked(v);
		lock_drop(&v->lock);
		pthread_join(v->thread, NULL);
	}
	for (unsigned i = 0; i < VSOCK_MAX_CONNS; i++)
		if (v->conn[i])
			conn_free(v->conn[i]);
	if (v->listen_fd >= 0) {
		close(v->listen_fd);
		unlink(v->path);
	}
	if (v->wake_fd >= 0)
		close(v->wake_fd);
	pthread_cond_destroy(&v->cond);
	lock_release(&v->lock);
	free(v);
}
