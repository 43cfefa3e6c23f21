/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio network device. */
#ifndef DOPPEL_VIRTIO_NET_H
#define DOPPEL_VIRTIO_NET_H

#include "backend/net/net.h"
#include "virtio/virtio.h"

#define VIRTIO_NET_MAX_PAIRS 16

struct virtio_net_config {
	struct net *net;       /* borrowed */
	struct space *mem;
	uint8_t mac[6];
	unsigned pairs;        /* of queues: 1 to VIRTIO_NET_MAX_PAIRS */
	uint16_t queue_size;   /* 0: 256 */
	uint16_t mtu;          /* that the guest is told; 0: the network's */
	bool mergeable;        /* offer mergeable receive buffers */
	bool offloads;         /* offer what the network can take or give */
	uint64_t features;     /* of the rings */
};

struct virtio_device *virtio_net_new(const struct virtio_net_config *c);

/* Ask the guest to tell the network where it is, as after a migration. Any thread without locks. */
void virtio_net_announce(struct virtio_device *vd);

#endif
