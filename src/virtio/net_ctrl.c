/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio network device: the control queue and the receive filter that it sets.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 5.1.6.5.
 */
#include <string.h>

#include "base/endian.h"
#include "virtio/net_internal.h"

enum { CLASS_RX, CLASS_MAC, CLASS_VLAN, CLASS_ANNOUNCE, CLASS_MQ, CLASS_OFFLOADS };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST };
enum { MAC_TABLE_SET, MAC_ADDR_SET };
enum { VLAN_ADD, VLAN_DEL };
enum { ACK_OK = 0, ACK_ERR = 1 };

#define ETH_TYPE_OFF 12
#define ETH_VLAN     0x8100
#define VLAN_TCI_OFF 14
#define VLAN_MASK    0xfff

#define GUEST_OFFLOADS (NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN | NET_F_GUEST_UFO | \
			NET_F_GUEST_USO4 | NET_F_GUEST_USO6)

/* -- The filter ---------------------------------------------------------------------------------------- */

/* Until the guest sets a filter, it gets all frames, as it must if it can't set one. */
void virtio_net_filter_reset(struct virtio_net *n)
{
	lock_take(&n->filter_lock);
	memset(&n->filter, 0, sizeof(n->filter));
	memcpy(n->filter.mac, n->mac, NET_MAC_LEN);
	n->filter.promisc = 1;
	lock_drop(&n->filter_lock);
}

static bool in_table(const struct net_filter *f, const uint8_t *mac)
{
	for (unsigned i = 0; i < f->n_macs; i++)
		if (!memcmp(f->macs + i * NET_MAC_LEN, mac, NET_MAC_LEN))
			return true;
	return false;
}

static bool wants_locked(const struct virtio_net *n, const uint8_t *frame, size_t len)
{
	static const uint8_t broadcast[NET_MAC_LEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const struct net_filter *f = &n->filter;

	if (f->promisc)
		return true;
	if (virtio_has(&n->vd, NET_F_CTRL_VLAN) && len >= VLAN_TCI_OFF + 2 && frame[ETH_TYPE_OFF] == ETH_VLAN >> 8 &&
	    frame[ETH_TYPE_OFF + 1] == (ETH_VLAN & 0xff)) {
		unsigned vlan = (frame[VLAN_TCI_OFF] << 8 | frame[VLAN_TCI_OFF + 1]) & VLAN_MASK;

		if (!(f->vlans[vlan / 8] & BIT(vlan % 8)))
			return false;
	}
	if (!memcmp(frame, broadcast, NET_MAC_LEN))
		return !f->nobcast;
	if (frame[0] & 1)
		return !f->nomulti && (f->allmulti || f->multi_overflow || in_table(f, frame));
	if (f->nouni)
		return false;
	return f->alluni || f->uni_overflow || !memcmp(frame, f->mac, NET_MAC_LEN) || in_table(f, frame);
}

bool virtio_net_wants(struct virtio_net *n, const uint8_t *frame, size_t len)
{
	bool wants;

	lock_take(&n->filter_lock);
	wants = wants_locked(n, frame, len);
	lock_drop(&n->filter_lock);
	return wants;
}

/* -- Commands ------------------------------------------------------------------------------------------- */

static bool set_mode(struct net_filter *f, uint8_t cmd, const struct vq_chain *c)
{
	uint8_t *const modes[] = {
		[RX_PROMISC] = &f->promisc, [RX_ALLMULTI] = &f->allmulti, [RX_ALLUNI] = &f->alluni,
		[RX_NOMULTI] = &f->nomulti, [RX_NOUNI] = &f->nouni, [RX_NOBCAST] = &f->nobcast,
	};
	uint8_t on;

	if (cmd >= ARRAY_SIZE(modes) || sg_read(c->out, c->n_out, 2, &on, 1) != 1)
		return false;
	*modes[cmd] = on != 0;
	return true;
}

/* One of the two lists of a table: a number and as many addresses. Moves *off behind it. */
static bool add_table(struct net_filter *f, const struct vq_chain *c, size_t *off, uint8_t *overflow)
{
	uint8_t le[4];
	uint64_t count;

	if (sg_read(c->out, c->n_out, *off, le, sizeof(le)) != sizeof(le))
		return false;
	*off += sizeof(le);
	count = get_le32(le);
	if (count * NET_MAC_LEN > c->out_len - *off)
		return false;
	*overflow = count > (uint64_t)(NET_MAX_MACS - f->n_macs);
	if (!*overflow) {
		sg_read(c->out, c->n_out, *off, f->macs + f->n_macs * NET_MAC_LEN, count * NET_MAC_LEN);
		f->n_macs += (uint8_t)count;
	}
	*off += count * NET_MAC_LEN;
	return true;
}

static bool set_mac(struct net_filter *f, uint8_t cmd, const struct vq_chain *c)
{
	size_t off = 2;

	if (cmd == MAC_ADDR_SET)
		return sg_read(c->out, c->n_out, off, f->mac, NET_MAC_LEN) == NET_MAC_LEN;
	if (cmd != MAC_TABLE_SET)
		return false;
	f->n_macs = 0;
	return add_table(f, c, &off, &f->uni_overflow) && add_table(f, c, &off, &f->multi_overflow);
}

static bool set_vlan(struct net_filter *f, uint8_t cmd, const struct vq_chain *c)
{
	uint8_t le[2];
	unsigned vlan;

	if (cmd > VLAN_DEL || sg_read(c->out, c->n_out, 2, le, sizeof(le)) != sizeof(le))
		return false;
	vlan = get_le16(le);
	if (vlan > VLAN_MASK)
		return false;
	if (cmd == VLAN_ADD)
		f->vlans[vlan / 8] |= (uint8_t)BIT(vlan % 8);
	else
		f->vlans[vlan / 8] &= (uint8_t)~BIT(vlan % 8);
	return true;
}

static bool set_pairs(struct virtio_net *n, const struct vq_chain *c)
{
	uint8_t le[2];

	if (sg_read(c->out, c->n_out, 2, le, sizeof(le)) != sizeof(le) || !get_le16(le) || get_le16(le) > n->max_pairs)
		return false;
	atomic_store(&n->pairs, get_le16(le));
	return true;
}

static bool set_offloads(struct virtio_net *n, const struct vq_chain *c)
{
	uint8_t le[8];

	if (sg_read(c->out, c->n_out, 2, le, sizeof(le)) != sizeof(le))
		return false;
	if (get_le64(le) & ~(n->vd.guest_features & GUEST_OFFLOADS))
		return false;
	virtio_net_set_offloads(n, get_le64(le));
	return true;
}

static bool run(struct virtio_net *n, uint8_t class, uint8_t cmd, const struct vq_chain *c)
{
	bool ok = false;

	switch (class) {
	case CLASS_ANNOUNCE:
		atomic_store(&n->announce, 0);
		return true;
	case CLASS_MQ:
		return set_pairs(n, c);
	case CLASS_OFFLOADS:
		return set_offloads(n, c);
	}
	lock_take(&n->filter_lock);
	if (class == CLASS_RX)
		ok = set_mode(&n->filter, cmd, c);
	else if (class == CLASS_MAC)
		ok = set_mac(&n->filter, cmd, c);
	else if (class == CLASS_VLAN)
		ok = set_vlan(&n->filter, cmd, c);
	lock_drop(&n->filter_lock);
	return ok;
}

bool virtio_net_process_ctrl(struct virtio_net *n, struct virtqueue *vq)
{
	for (unsigned left = vq->size; left; left--) {
		struct vq_chain *c = vq_pop(vq);
		uint8_t hdr[2], ack = ACK_ERR;

		if (!c)
			return false;
		if (!c->in_len || sg_read(c->out, c->n_out, 0, hdr, sizeof(hdr)) != sizeof(hdr)) {
			virtio_break(&n->vd, "a network command without header or room for an answer");
			vq_drop(c);
			return false;
		}
		if (run(n, hdr[0], hdr[1], c))
			ack = ACK_OK;
		sg_write(c->in, c->n_in, 0, &ack, 1);
		vq_push(c, 1);
	}
	return true;
}
