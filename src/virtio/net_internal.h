/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What net.c and net_ctrl.c share: features, the receive filter, the device. */
#ifndef DOPPEL_VIRTIO_NET_INTERNAL_H
#define DOPPEL_VIRTIO_NET_INTERNAL_H

#include "base/bits.h"
#include "virtio/net.h"

/* Feature bits, 5.1.3 */
#define NET_F_CSUM          BIT(0)
#define NET_F_GUEST_CSUM    BIT(1)
#define NET_F_CTRL_OFFLOADS BIT(2)
#define NET_F_MTU           BIT(3)
#define NET_F_MAC           BIT(5)
#define NET_F_GUEST_TSO4    BIT(7)
#define NET_F_GUEST_TSO6    BIT(8)
#define NET_F_GUEST_ECN     BIT(9)
#define NET_F_GUEST_UFO     BIT(10)
#define NET_F_HOST_TSO4     BIT(11)
#define NET_F_HOST_TSO6     BIT(12)
#define NET_F_HOST_ECN      BIT(13)
#define NET_F_HOST_UFO      BIT(14)
#define NET_F_MRG_RXBUF     BIT(15)
#define NET_F_STATUS        BIT(16)
#define NET_F_CTRL_VQ       BIT(17)
#define NET_F_CTRL_RX       BIT(18)
#define NET_F_CTRL_VLAN     BIT(19)
#define NET_F_CTRL_RX_EXTRA BIT(20)
#define NET_F_ANNOUNCE      BIT(21)
#define NET_F_MQ            BIT(22)
#define NET_F_CTRL_MAC      BIT(23)
#define NET_F_GUEST_USO4    BIT(54)
#define NET_F_GUEST_USO6    BIT(55)
#define NET_F_HOST_USO      BIT(56)

#define NET_S_LINK_UP  1
#define NET_S_ANNOUNCE 2

#define NET_MAC_LEN    6
#define NET_MAX_MACS   64
#define NET_VLANS      4096
#define NET_FLOWS      256

/* What frames the guest wants. All but mac is as after a reset unless the guest uses the control queue. */
struct net_filter {
	uint8_t mac[NET_MAC_LEN];
	uint8_t promisc, allmulti, alluni, nomulti, nouni, nobcast;
	uint8_t n_macs, uni_overflow, multi_overflow; /* more addresses than fit: as if all were wanted */
	uint8_t macs[NET_MAX_MACS * NET_MAC_LEN];
	uint8_t vlans[NET_VLANS / 8];
};

struct virtio_net {
	struct virtio_device vd;
	struct net *net;
	uint8_t mac[NET_MAC_LEN];  /* as configured */
	unsigned max_pairs;
	uint16_t mtu;
	_Atomic uint16_t pairs;    /* in use */
	_Atomic uint8_t announce;  /* the guest is asked to */
	_Atomic bool tx_stuck;     /* the network had no room */
	_Atomic uint8_t flow[NET_FLOWS]; /* which pair the guest sends a flow on, by hash */
	struct lock filter_lock;   /* RANK_LEAF */
	struct net_filter filter;
	_Atomic uint64_t rx_frames, rx_bytes, rx_dropped, rx_filtered, tx_frames, tx_bytes;
};

/* The control queue's index, which depends on what was negotiated. */
unsigned virtio_net_ctrl_queue(const struct virtio_net *n);

/* net_ctrl.c: handle the control queue; does the guest want this frame? */
bool virtio_net_process_ctrl(struct virtio_net *n, struct virtqueue *vq);
bool virtio_net_wants(struct virtio_net *n, const uint8_t *frame, size_t len);
void virtio_net_filter_reset(struct virtio_net *n);

/* Tell the network which offloads the guest can take now. */
void virtio_net_set_offloads(struct virtio_net *n, uint64_t features);

#endif
