/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the networks share: the thread, the queues both ways, and what each kind does on the thread. */
#ifndef DOPPEL_BACKEND_NET_IMPL_H
#define DOPPEL_BACKEND_NET_IMPL_H

#include <poll.h>
#include <pthread.h>
#include "backend/net/net.h"
#include "base/list.h"
#include "base/lock.h"

#define NET_QUEUE_BYTES  (1u << 20) /* of frames that wait, each way: a few of the largest, a thousand usual ones */
#define NET_ETHER_HEADER 14
#define NET_ETHER_MIN    60         /* without FCS; shorter frames are padded for who wants that */

struct net_frame {
	struct list node;
	struct net_offload off;
	uint32_t len;
	uint8_t data[];
};

struct net_queue {
	struct list frames;
	size_t bytes;
};

/* Counters of one direction; the lock of the network. */
struct net_count {
	uint64_t frames, bytes, dropped;
};

/* All calls on the network's thread, without its lock; NULL slots do nothing. */
struct net_ops {
	const char *name;
	/* Fill in what to wait for, at most max of them; *timeout_ms may be lowered (-1: no limit). Returns how many. */
	unsigned (*prepare)(struct net *n, struct pollfd *fds, unsigned max, int *timeout_ms);
	/* The fds have been waited for; also called when only time has passed. */
	void (*ready)(struct net *n, const struct pollfd *fds, unsigned count);
	/* A frame from the guest. False: not now; it comes again after the next ready(). */
	bool (*output)(struct net *n, const struct net_frame *f);
	/* What the NIC can receive has changed. */
	void (*offloads)(struct net *n, unsigned can);
	/* The thread has ended (or never begun): give everything back. */
	void (*close)(struct net *n);
};

struct net {
	const struct net_ops *ops;
	unsigned can_send;       /* constant after open */
	unsigned mtu;            /* as can_send */
	pthread_t thread;
	bool thread_started;
	int wake_fd;             /* eventfd */

	struct lock lock;        /* RANK_NET: guards what follows */
	pthread_cond_t cond;     /* a call of a handler is over */
	const struct net_handlers *h;
	void *opaque;
	bool in_call;
	unsigned can_receive, told_receive; /* by the NIC; what ops->offloads() heard last */
	bool carrier, unplugged; /* what the backend says, and the owner of the machine */
	bool link_up, told_link; /* both together; and what the NIC has heard */
	struct net_queue out;    /* from the guest */
	bool starved;            /* net_send() was refused */
	bool stop;
	struct net_count sent, received;

	struct net_queue in;     /* for the guest; the thread's own */
};

/* Set up the part above of a backend's own structure. net_begin() starts the thread; on an error, net_close(). */
int net_init(struct net *n, const struct net_ops *ops, struct err *e);
int net_begin(struct net *n, struct err *e);

/*
 * On the thread: a frame for the guest, of at most NET_MAX_FRAME bytes; kept when the NIC has no room, dropped when too much is kept
 * or no NIC is there. What the NIC can't take off (checksum, segmentation) is done here.
 */
void net_input(struct net *n, const void *frame, size_t len, const struct net_offload *off);

/* Whether net_input() would keep a frame: a backend reads no more from the host while it would not. On the thread. */
bool net_input_room(const struct net *n);

/* On the thread: the link's state as the NIC sees it. */
void net_set_link(struct net *n, bool up);

/* Constructors by name, arg is what follows the name and its '=' (NULL: nothing). */
struct net_kind {
	const char *name;
	int (*open)(struct net **out, const char *arg, struct err *e);
	int (*check)(const char *arg, struct err *e);
};
extern const struct net_kind net_user, net_tap, net_link, net_switch, net_none;

/* A listening unix stream socket at path, non-blocking; what was left there by a process that has gone is replaced. */
int net_unix_listen(const char *path, struct err *e);

#endif
