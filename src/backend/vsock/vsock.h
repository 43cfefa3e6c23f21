/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's end of a guest's vsock: connections between the guest's ports and unix sockets, in packets. */
#ifndef DOPPEL_BACKEND_VSOCK_VSOCK_H
#define DOPPEL_BACKEND_VSOCK_VSOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/err.h"
#include "base/strbuf.h"

/*
 * Who wants to reach the guest's port N connects to the socket at PATH, writes "CONNECT N\n" and gets "OK M\n", with the
 * number of its own port, or the end of the connection when nobody listens in the guest. A guest that connects to port P of
 * the host (CID 2) reaches whoever listens on the socket PATH_P.
 */
struct vsock;

/* Operations of packets, and flags of a shutdown (virtio 1.2, 5.10.6) */
enum vsock_op {
	VSOCK_REQUEST = 1, VSOCK_RESPONSE = 2, VSOCK_RST = 3, VSOCK_SHUTDOWN = 4, VSOCK_RW = 5, VSOCK_CREDIT_UPDATE = 6,
	VSOCK_CREDIT_REQUEST = 7,
};
enum { VSOCK_NO_MORE_RECEIVED = 1, VSOCK_NO_MORE_SENT = 2 };

/* A packet of a stream, in host byte order; its data is beside it. */
struct vsock_packet {
	uint32_t guest_port, host_port;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt; /* the sender's room for the stream, and what it has passed on */
	uint32_t len;                /* bytes of data */
};

/* Listen at path. Errors: -ENAMETOOLONG, those of binding; with a message. */
int vsock_open(struct vsock **out, const char *path, struct err *e);
void vsock_close(struct vsock *v); /* NULL is fine */

/*
 * ready(opaque) is called on a thread of its own, with no lock held, when vsock_get() may have something new. NULL
 * removes it and returns when no call is under way.
 */
void vsock_set_ready(struct vsock *v, void (*ready)(void *opaque), void *opaque);

/* A packet of the guest's, with the p->len bytes that iov holds. Any thread, under any lock of a rank below RANK_VSOCK; never blocks. */
void vsock_put(struct vsock *v, const struct vsock_packet *p, const struct iovec *iov, unsigned n_iov);

/*
 * The next packet for the guest: p, and p->len bytes of data stored to iov, which has room for at least one. False: there is
 * none now, and p is not touched. As vsock_put().
 */
bool vsock_get(struct vsock *v, struct vsock_packet *p, const struct iovec *iov, unsigned n_iov);
bool vsock_pending(struct vsock *v); /* vsock_get() is worth a call */

/* The guest has forgotten all connections: they end on the host. Clients whose request it has not seen stay. */
void vsock_reset(struct vsock *v);

/* Counters as text. */
void vsock_print_stats(struct vsock *v, struct strbuf *out);

#endif
