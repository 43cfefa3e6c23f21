/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio network device.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 5.1.
 * Missing: receive side scaling, hash reports, notification coalescing, standby.
 *
 * Frames go from guest RAM to the network and back without a copy of ours. A received frame goes to the queue
 * pair on which the guest last sent one of the same flow (5.1.6.5.5).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "virtio/net_internal.h"

enum { CFG_MAC = 0, CFG_STATUS = 6, CFG_PAIRS = 8, CFG_MTU = 10, CFG_SIZE = 12 };

/* struct virtio_net_hdr, 5.1.6 */
enum {
	H_FLAGS = 0, H_GSO_TYPE = 1, H_HDR_LEN = 2, H_GSO_SIZE = 4, H_CSUM_START = 6, H_CSUM_OFFSET = 8, H_NUM_BUFFERS = 10,
	H_SIZE = 12,
};
enum { H_F_NEEDS_CSUM = 1, H_F_DATA_VALID = 2, H_GSO_ECN = 0x80 };

#define ETH_HEADER  14
#define FLOW_BYTES  38  /* what the hash looks at: up to the ports of IPv4 without options */
#define MAX_BUFFERS 128 /* that one frame may be spread over */

/* -- Flows ---------------------------------------------------------------------------------------------- */

/* The same for both directions: sums of what is swapped. */
static unsigned flow_hash(const uint8_t *f, size_t len)
{
	uint32_t h = 0;

	if (len < FLOW_BYTES || f[12] != 0x08 || f[13])
		return 0;
	h = get_le32(f + 26) ^ get_le32(f + 30);
	h ^= (uint32_t)(get_le16(f + 34) ^ get_le16(f + 36)) * 0x9e37u;
	h ^= f[23];
	return (h * 0x9e3779b1u) >> 24;
}

static unsigned pair_of(struct virtio_net *n, const uint8_t *head, size_t len)
{
	unsigned pairs = atomic_load(&n->pairs);

	return pairs > 1 ? atomic_load(&n->flow[flow_hash(head, len)]) % pairs : 0;
}

/* -- To the network ---------------------------------------------------------------------------------------- */

static void parse_header(const uint8_t *h, struct net_offload *off)
{
	*off = (struct net_offload){
		.needs_csum = h[H_FLAGS] & H_F_NEEDS_CSUM,
		.gso_type = h[H_GSO_TYPE] & (uint8_t)~H_GSO_ECN,
		.ecn = h[H_GSO_TYPE] & H_GSO_ECN,
		.hdr_len = get_le16(h + H_HDR_LEN),
		.gso_size = get_le16(h + H_GSO_SIZE),
		.csum_start = get_le16(h + H_CSUM_START),
		.csum_offset = get_le16(h + H_CSUM_OFFSET),
	};
}

static void learn_flow(struct virtio_net *n, const struct vq_chain *c, unsigned pair)
{
	uint8_t head[FLOW_BYTES];

	if (atomic_load(&n->pairs) > 1 && sg_read(c->out, c->n_out, H_SIZE, head, sizeof(head)) == sizeof(head))
		atomic_store(&n->flow[flow_hash(head, sizeof(head))], (uint8_t)pair);
}

static bool send_frame(struct virtio_net *n, const struct vq_chain *c)
{
	struct iovec *iov = c->out;
	struct net_offload off;
	unsigned n_iov = c->n_out;
	uint8_t hdr[H_SIZE];
	struct iovec first;
	bool ok;

	sg_read(iov, n_iov, 0, hdr, sizeof(hdr));
	parse_header(hdr, &off);
	/* The chain may have to be sent again: what is cut off its first buffer is put back. */
	sg_skip(&iov, &n_iov, H_SIZE);
	first = n_iov ? *iov : (struct iovec){ 0 };
	ok = net_send(n->net, iov, n_iov, &off);
	if (n_iov && iov == c->out) {
		iov->iov_base = (char *)first.iov_base - H_SIZE;
		iov->iov_len = first.iov_len + H_SIZE;
	}
	return ok;
}

static bool process_tx(struct virtio_net *n, struct virtqueue *vq)
{
	for (unsigned left = vq->size; left; left--) {
		struct vq_chain *c = vq_pop(vq);

		if (!c)
			return false;
		if (c->out_len < H_SIZE) {
			virtio_break(&n->vd, "a frame without its header");
			vq_drop(c);
			return false;
		}
		learn_flow(n, c, vq->index / 2);
		if (!send_frame(n, c)) {
			atomic_store(&n->tx_stuck, true);
			vq_unpop(vq, c);
			return false;
		}
		n->tx_frames++;
		n->tx_bytes += c->out_len - H_SIZE;
		vq_push(c, 0);
	}
	return true;
}

static void on_writable(void *opaque)
{
	struct virtio_net *n = opaque;

	if (!atomic_exchange(&n->tx_stuck, false))
		return;
	for (unsigned i = 0; i < n->max_pairs; i++)
		virtio_wake(&n->vd, 2 * i + 1);
}

/* -- From the network -------------------------------------------------------------------------------------- */

static void make_header(uint8_t *h, const struct net_offload *off, unsigned buffers)
{
	memset(h, 0, H_SIZE);
	h[H_FLAGS] = (off->needs_csum ? H_F_NEEDS_CSUM : 0) | (off->csum_valid ? H_F_DATA_VALID : 0);
	h[H_GSO_TYPE] = off->gso_type | (off->ecn ? H_GSO_ECN : 0);
	put_le16(h + H_HDR_LEN, off->hdr_len);
	put_le16(h + H_GSO_SIZE, off->gso_size);
	put_le16(h + H_CSUM_START, off->csum_start);
	put_le16(h + H_CSUM_OFFSET, off->csum_offset);
	put_le16(h + H_NUM_BUFFERS, (uint16_t)buffers);
}

/* Copy [at, at + len) of the frame into the chain behind `skip` bytes. */
static void copy_part(struct vq_chain *c, size_t skip, const struct iovec *iov, unsigned n_iov, size_t at, size_t len)
{
	for (unsigned i = 0; i < n_iov && len; i++) {
		size_t part;

		if (at >= iov[i].iov_len) {
			at -= iov[i].iov_len;
			continue;
		}
		part = MIN(len, iov[i].iov_len - at);
		sg_write(c->in, c->n_in, skip, (char *)iov[i].iov_base + at, part);
		skip += part;
		len -= part;
		at = 0;
	}
}

static size_t frame_length(const struct iovec *iov, unsigned n)
{
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

enum verdict { TAKEN, NO_ROOM, DROPPED };

/* Pop as many chains as the frame takes. */
static enum verdict gather(struct virtio_net *n, struct virtqueue *vq, size_t total, struct vq_chain **c, unsigned *count)
{
	unsigned max = virtio_has(&n->vd, NET_F_MRG_RXBUF) ? MAX_BUFFERS : 1;
	size_t room = 0;

	for (*count = 0; room < total && *count < max; (*count)++) {
		struct vq_chain *chain = vq_pop(vq);

		if (!chain)
			return NO_ROOM;
		c[*count] = chain;
		room += chain->in_len;
		/* The header is in the first buffer as a whole. */
		if (!*count && chain->in_len < H_SIZE) {
			virtio_break(&n->vd, "a receive buffer that is shorter than the header");
			(*count)++;
			return DROPPED;
		}
	}
	return room < total ? DROPPED : TAKEN;
}

static enum verdict receive_locked(struct virtio_net *n, struct virtqueue *vq, const struct iovec *iov, unsigned n_iov,
				   const struct net_offload *off)
{
	size_t len = frame_length(iov, n_iov), at = 0;
	struct vq_chain *c[MAX_BUFFERS];
	enum verdict v;
	unsigned count;
	uint8_t hdr[H_SIZE];

	if (!vq->running)
		return atomic_load(&n->vd.quiesced) ? NO_ROOM : DROPPED;
	v = gather(n, vq, len + H_SIZE, c, &count);
	if (v != TAKEN) {
		while (count)
			vq_unpop(vq, c[--count]);
		return atomic_load(&n->vd.broken) ? DROPPED : v;
	}
	make_header(hdr, off, count);
	sg_write(c[0]->in, c[0]->n_in, 0, hdr, sizeof(hdr));
	for (unsigned i = 0; i < count; i++) {
		size_t skip = i ? 0 : H_SIZE, part = MIN(len - at, c[i]->in_len - skip);

		copy_part(c[i], skip, iov, n_iov, at, part);
		at += part;
		vq_fill(c[i], skip + part);
	}
	vq_flush(vq);
	return TAKEN;
}

static bool on_receive(void *opaque, const struct iovec *iov, unsigned n_iov, const struct net_offload *off)
{
	struct virtio_net *n = opaque;
	uint8_t head[FLOW_BYTES];
	size_t len = sg_read(iov, n_iov, 0, head, sizeof(head));
	struct virtqueue *vq = &n->vd.vq[2 * pair_of(n, head, len)];
	enum verdict v;

	if (len < ETH_HEADER || !virtio_net_wants(n, head, len)) {
		n->rx_filtered++;
		return true;
	}
	lock_take(&vq->lock);
	v = receive_locked(n, vq, iov, n_iov, off);
	lock_drop(&vq->lock);
	if (v == TAKEN) {
		n->rx_frames++;
		n->rx_bytes += frame_length(iov, n_iov);
	} else if (v == DROPPED) {
		n->rx_dropped++;
	}
	return v != NO_ROOM;
}

static void on_link(void *opaque, bool up)
{
	struct virtio_net *n = opaque;

	virtio_config_changed(&n->vd);
}

static const struct net_handlers handlers = { .receive = on_receive, .writable = on_writable, .link = on_link };

/* -- Queues and configuration ------------------------------------------------------------------------------ */

unsigned virtio_net_ctrl_queue(const struct virtio_net *n)
{
	return virtio_has(&n->vd, NET_F_MQ) ? 2 * n->max_pairs : 2;
}

static bool net_process(struct virtio_device *vd, struct virtqueue *vq)
{
	struct virtio_net *n = (struct virtio_net *)vd;

	if (vq->index == virtio_net_ctrl_queue(n) && virtio_has(vd, NET_F_CTRL_VQ))
		return virtio_net_process_ctrl(n, vq);
	if (vq->index >= 2 * n->max_pairs)
		return false;
	if (vq->index & 1)
		return process_tx(n, vq);
	/* New buffers for frames that had no room. */
	net_resume(n->net);
	return false;
}

static void net_config_read(struct virtio_device *vd, uint8_t *buf)
{
	struct virtio_net *n = (struct virtio_net *)vd;

	lock_take(&n->filter_lock);
	memcpy(buf + CFG_MAC, n->filter.mac, NET_MAC_LEN);
	lock_drop(&n->filter_lock);
	put_le16(buf + CFG_STATUS, (net_link_up(n->net) ? NET_S_LINK_UP : 0) |
				   (atomic_load(&n->announce) ? NET_S_ANNOUNCE : 0));
	put_le16(buf + CFG_PAIRS, (uint16_t)n->max_pairs);
	put_le16(buf + CFG_MTU, n->mtu);
}

static const struct {
	unsigned can;
	uint64_t host, guest; /* features for sending and receiving */
} offloads[] = {
	{ NET_CAN_CSUM, NET_F_CSUM, NET_F_GUEST_CSUM },
	{ NET_CAN_TSO4, NET_F_HOST_TSO4, NET_F_GUEST_TSO4 },
	{ NET_CAN_TSO6, NET_F_HOST_TSO6, NET_F_GUEST_TSO6 },
	{ NET_CAN_ECN, NET_F_HOST_ECN, NET_F_GUEST_ECN },
	{ NET_CAN_UFO, NET_F_HOST_UFO, NET_F_GUEST_UFO },
	{ NET_CAN_USO, NET_F_HOST_USO, NET_F_GUEST_USO4 | NET_F_GUEST_USO6 },
};

void virtio_net_set_offloads(struct virtio_net *n, uint64_t features)
{
	unsigned can = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offloads); i++)
		if ((features & offloads[i].guest) == offloads[i].guest)
			can |= offloads[i].can;
	net_set_can_receive(n->net, can);
}

static void net_ready(struct virtio_device *vd)
{
	struct virtio_net *n = (struct virtio_net *)vd;

	virtio_net_set_offloads(n, vd->guest_features);
	atomic_store(&n->tx_stuck, false);
	net_resume(n->net);
}

static void net_reset(struct virtio_device *vd)
{
	struct virtio_net *n = (struct virtio_net *)vd;

	virtio_net_filter_reset(n);
	atomic_store(&n->pairs, 1);
	atomic_store(&n->announce, 0);
	atomic_store(&n->tx_stuck, false);
	net_set_can_receive(n->net, 0);
}

static int net_post_load(struct virtio_device *vd)
{
	struct virtio_net *n = (struct virtio_net *)vd;
	uint16_t pairs = atomic_load(&n->pairs);

	if (!pairs || pairs > n->max_pairs || n->filter.n_macs > NET_MAX_MACS)
		return -EINVAL;
	virtio_net_set_offloads(n, vd->guest_features);
	return 0;
}

static void net_free(struct virtio_device *vd)
{
	struct virtio_net *n = (struct virtio_net *)vd;

	net_set_handlers(n->net, NULL, NULL);
	lock_release(&n->filter_lock);
}

/* -- Life ----------------------------------------------------------------------------------------------- */

static const struct state_field net_state[] = {
	VIRTIO_STATE(struct virtio_net),
	STATE_U16(struct virtio_net, pairs),
	STATE_BYTES(struct virtio_net, filter),
	STATE_END(),
};

static const struct device_ops net_dev_ops = {
	.name = "virtio-net",
	.reset = virtio_dev_reset,
	.post_load = virtio_dev_post_load,
	.quiesce = virtio_dev_quiesce,
	.free = virtio_dev_free,
	.print_stats = virtio_dev_print_stats,
	.state = net_state,
	.state_version = 1,
};

static const struct virtio_ops net_ops = {
	.process = net_process,
	.config_read = net_config_read,
	.ready = net_ready,
	.reset = net_reset,
	.post_load = net_post_load,
	.free = net_free,
};

static uint64_t offload_features(const struct net *net)
{
	unsigned can = net_can_send(net);
	/* What a guest can receive is the guest's business: the network is told and makes complete frames of the rest. */
	uint64_t f = NET_F_CTRL_OFFLOADS;

	for (size_t i = 0; i < ARRAY_SIZE(offloads); i++)
		f |= offloads[i].guest | (can & offloads[i].can ? offloads[i].host : 0);
	return f;
}

struct virtio_device *virtio_net_new(const struct virtio_net_config *c)
{
	struct virtio_net *n = calloc(1, sizeof(*n));
	struct virtio_params p = {
		.id = VIRTIO_ID_NET, .dev_ops = &net_dev_ops, .ops = &net_ops, .mem = c->mem, .n_queues = 2 * c->pairs + 1,
		.queue_size = c->queue_size, .config_size = CFG_SIZE,
		.features = c->features | NET_F_MAC | NET_F_STATUS | NET_F_MTU | NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_VLAN |
			    NET_F_CTRL_RX_EXTRA | NET_F_ANNOUNCE | NET_F_CTRL_MAC,
	};

	BUG_ON(!n || !c->pairs || c->pairs > VIRTIO_NET_MAX_PAIRS);
	p.features |= (c->mergeable ? NET_F_MRG_RXBUF : 0) | (c->pairs > 1 ? NET_F_MQ : 0);
	p.features |= c->offloads ? offload_features(c->net) : 0;
	n->net = c->net;
	n->max_pairs = c->pairs;
	n->pairs = 1;
	n->mtu = c->mtu ? c->mtu : (uint16_t)net_mtu(c->net);
	memcpy(n->mac, c->mac, NET_MAC_LEN);
	lock_init(&n->filter_lock, RANK_LEAF);
	virtio_net_filter_reset(n);
	virtio_init(&n->vd, &p);
	net_set_handlers(c->net, &handlers, n);
	return &n->vd;
}

void virtio_net_announce(struct virtio_device *vd)
{
	struct virtio_net *n = (struct virtio_net *)vd;

	if (!virtio_has(vd, NET_F_ANNOUNCE))
		return;
	atomic_store(&n->announce, 1);
	virtio_config_changed(vd);
}
