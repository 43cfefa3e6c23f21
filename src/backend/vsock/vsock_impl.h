/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vsock.c (thread, sockets) and vsock_conn.c (one connection's packets) share. */
#ifndef DOPPEL_BACKEND_VSOCK_VSOCK_IMPL_H
#define DOPPEL_BACKEND_VSOCK_VSOCK_IMPL_H

#include <pthread.h>
#include "backend/vsock/vsock.h"
#include "base/list.h"
#include "base/lock.h"

#define VSOCK_MAX_CONNS  256          /* at once, of both directions: each is a descriptor and perhaps a buffer */
#define VSOCK_BUF_ALLOC  (128 * KiB)  /* what a guest may send that the host has not taken yet, for each connection */
#define VSOCK_BUCKETS    64
#define VSOCK_MAX_RESETS 64           /* answers to packets of no connection; more are left out */
#define VSOCK_LINE       32           /* bytes of "CONNECT port\n" */
#define VSOCK_FIRST_PORT (1u << 30)   /* of clients on the host: above what anybody listens on */
#define VSOCK_PATH       100          /* of the socket; with a port behind it it must fit into struct sockaddr_un */

enum conn_state {
	CONN_LINE,   /* a client that has not said yet what it wants */
	CONN_ASKED,  /* the guest is asked */
	CONN_UP,
	CONN_CLOSING, /* the socket is gone; the guest has been told and will confirm */
	CONN_DEAD,   /* as soon as the guest has the reset, it is forgotten */
};

/* What the guest is still to be sent, in this order. */
enum { SEND_REQUEST = 1, SEND_RESPONSE = 2, SEND_CREDIT = 4, SEND_ASK_CREDIT = 8, SEND_SHUTDOWN = 16, SEND_RST = 32 };

/* All guarded by the lock of struct vsock. */
struct conn {
	struct vsock *v;
	enum conn_state state;
	int fd;                       /* -1: none any more */
	unsigned slot;                /* index in vsock.conn */
	uint64_t serial;              /* tells it from a later one in the same slot */
	uint32_t guest_port, host_port;
	struct list hash;             /* vsock.bucket; none: CONN_LINE, or the guest has forgotten it */
	struct list active;           /* vsock.active, while there is something for the guest */
	unsigned pending;             /* SEND_... */
	uint32_t shutdown_flags;      /* to be sent */
	bool readable, eof;           /* the socket has data; its other side sends no more */
	bool guest_done;              /* the guest sends no more */
	bool finishing;               /* the guest has closed; what it sent is still to go out */
	bool asked_credit;
	uint32_t peer_alloc, peer_fwd, tx_cnt; /* the guest's room, what it has taken, what we have sent */
	uint32_t rx_cnt, fwd_cnt, told_fwd;    /* what we got, what the socket has taken, what the guest knows of it */
	uint8_t *out;                 /* VSOCK_BUF_ALLOC bytes once the socket is slow: */
	size_t out_at, out_len;
	char line[VSOCK_LINE];
	unsigned line_len;
};

struct vsock {
	char path[VSOCK_PATH];
	int listen_fd, wake_fd;
	pthread_t thread;
	bool started;

	struct lock lock; /* RANK_VSOCK: guards what follows */
	pthread_cond_t cond;
	bool stop, asleep, in_call;
	void (*ready)(void *opaque);
	void *opaque;
	struct conn *conn[VSOCK_MAX_CONNS];
	unsigned n_conns;
	struct list bucket[VSOCK_BUCKETS];
	struct list active;
	uint64_t serial;
	uint32_t next_port;
	struct {
		uint32_t guest_port, host_port;
	} reset[VSOCK_MAX_RESETS];
	unsigned n_resets;
	uint64_t opened, refused, to_guest, from_guest; /* statistics */
};

/* vsock_conn.c; all with the lock held. */

/* A new connection on fd, or NULL when there are too many; fd stays the caller's then. */
struct conn *conn_new(struct vsock *v, int fd, enum conn_state state);
void conn_free(struct conn *c);
struct conn *conn_find(struct vsock *v, uint32_t guest_port, uint32_t host_port);

/* What the thread saw: the socket can be read, or written. */
void conn_on_readable(struct conn *c);
void conn_on_writable(struct conn *c);
bool conn_wants_read(const struct conn *c);

/* A packet of this connection's, and the next one for the guest; false: there is none. */
void conn_put(struct conn *c, const struct vsock_packet *p, const struct iovec *iov, unsigned n_iov);
bool conn_get(struct conn *c, struct vsock_packet *p, const struct iovec *iov, unsigned n_iov);

/* Put the connection on the list of active ones, or take it off, as it should be. */
void conn_update(struct conn *c);

/* The guest wants to connect to a port of the host. */
void conn_open_host(struct vsock *v, const struct vsock_packet *p);

/* The guest is told that there is no such connection. */
void vsock_refuse(struct vsock *v, uint32_t guest_port, uint32_t host_port);

/* Let the thread look at all sockets again. */
void vsock_wake_locked(struct vsock *v);

#endif
