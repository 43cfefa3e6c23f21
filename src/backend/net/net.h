/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network as a NIC sees it: frames out, frames in, what the other side can take off its hands. */
#ifndef DOPPEL_BACKEND_NET_NET_H
#define DOPPEL_BACKEND_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/err.h"
#include "base/strbuf.h"

struct net;

#define NET_MAX_FRAME 65550 /* bytes: the largest TCP segment to be cut up later, with its Ethernet header and a VLAN tag */

/*
 * What is still to be done to a frame, in the terms of virtio 1.2, 5.1.6 (struct virtio_net_hdr), host byte
 * order. All zero: a plain frame, complete. Offsets are from the start of the frame and come from a guest
 * or the network: whoever uses them checks them.
 */
struct net_offload {
	bool needs_csum;      /* put the checksum of [csum_start, end) at csum_start + csum_offset */
	bool csum_valid;      /* receive: checksums have been verified */
	uint8_t gso_type;     /* enum net_gso */
	bool ecn;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
};

enum net_gso { NET_GSO_NONE = 0, NET_GSO_TCPV4 = 1, NET_GSO_UDP = 3, NET_GSO_TCPV6 = 4, NET_GSO_UDP_L4 = 5 };

/* Sets of what a side can take: bits. */
enum { NET_CAN_CSUM = 1, NET_CAN_TSO4 = 2, NET_CAN_TSO6 = 4, NET_CAN_ECN = 8, NET_CAN_UFO = 16, NET_CAN_USO = 32 };

/*
 * What a NIC wants to hear; slots may be NULL. Called on the network's thread with no lock held.
 *   receive   a frame (destination address first, no FCS). False: no room; the same frame comes again after
 *             net_resume(), and nothing else before.
 *   writable  an earlier net_send() was refused, and now there is room.
 *   link      the link has come up or gone down.
 */
struct net_handlers {
	bool (*receive)(void *opaque, const struct iovec *iov, unsigned n, const struct net_offload *off);
	void (*writable)(void *opaque);
	void (*link)(void *opaque, bool up);
};

/* Copy a frame's pieces into buf, one behind the other: its length, or 0 when it is longer than room. For NICs that need it whole. */
size_t net_gather(void *buf, size_t room, const struct iovec *iov, unsigned n);

/* Returns when no call of the former handlers is under way; NULL removes them. Nothing is received before. */
void net_set_handlers(struct net *n, const struct net_handlers *h, void *opaque);

/*
 * Send a frame: it is copied or handed on before the call returns. Never blocks; any thread, under any lock
 * of a rank below RANK_NET. False: no room, try again after writable(). A frame shorter than an
 * Ethernet header, or longer than NET_MAX_FRAME, or with offsets outside of it, is dropped and counted.
 */
bool net_send(struct net *n, const struct iovec *iov, unsigned n_iov, const struct net_offload *off);

/* The NIC has room again for a frame that receive() refused. Any thread, as net_send(). */
void net_resume(struct net *n);

/* What net_send() takes (enum above); and tell it what receive() takes: at first nothing. */
unsigned net_can_send(const struct net *n);
void net_set_can_receive(struct net *n, unsigned can);

bool net_link_up(const struct net *n);

/* Pull the cable out of the NIC, or put it back: the link is up when the network has one too. Any thread without locks. */
void net_plug(struct net *n, bool plugged);

unsigned net_mtu(const struct net *n); /* bytes of payload; 1500 where the network does not say */

/* Counters as text, a line each: frames and bytes each way, drops by cause. */
void net_print_stats(const struct net *n, struct strbuf *out);

/*
 * Open by a specification, as after --net: user[,publish=H:G...], tap=NAME, switch=NAME..., socket=..., none; see
 * docs/network.md. net_check() as far as that is possible without opening anything.
 */
int net_open(struct net **out, const char *spec, struct err *e);
int net_check(const char *spec, struct err *e);
void net_close(struct net *n); /* NULL is fine */

#endif
