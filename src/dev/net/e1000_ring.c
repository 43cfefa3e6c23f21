/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptor rings of the 82540EM: frames out with checksum and segmentation offload, frames in with address filter. */
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "dev/net/e1000_impl.h"

#define MAC_SIZE      6
#define ETHER_MIN     60
#define TYPE_AT       12       /* of the frame's type, or of its VLAN tag */
#define TAG_SIZE      4
#define VLAN_ID(tag)  ((tag) & 0xfff)
#define ETHER_MAX     1522     /* with VLAN tag; longer ones need LPE */
#define JUMBO_MAX     16384
#define FCS_SIZE      4
#define RA_ENTRIES    16
#define RAH_VALID     0x80000000u

/* A ring by its registers. */
struct ring {
	uint64_t base;
	uint32_t count, head, tail;
};

/* False: it cannot be used. A driver that sets head or tail beyond the end gets nothing done. */
static bool ring_of(struct e1000 *n, uint32_t bal, struct ring *r)
{
	r->base = (uint64_t)*e1000_reg(n, bal + 4) << 32 | (*e1000_reg(n, bal) & ~15u);
	r->count = (*e1000_reg(n, bal + 8) & 0xfff80) / DESC_SIZE;
	r->head = *e1000_reg(n, bal + 16) & 0xffff;
	r->tail = *e1000_reg(n, bal + 24) & 0xffff;
	return r->count && r->head < r->count && r->tail < r->count;
}

static void count(struct e1000 *n, uint32_t reg, uint32_t more)
{
	uint32_t *r = e1000_reg(n, reg);

	*r = more > UINT32_MAX - *r ? UINT32_MAX : *r + more;
}

/* -- Out ---------------------------------------------------------------------------------------------------- */

/* What the context says of the frame, in the terms of networks. */
static void describe(const struct e1000_tx *t, struct net_offload *off)
{
	const uint8_t *c = t->context;
	bool v6;

	*off = (struct net_offload){ 0 };
	if (!(t->popts & TXD_POPTS_TXSM))
		return;
	off->needs_csum = true;
	off->csum_start = c[CTX_TUCSS];
	off->csum_offset = (uint16_t)(c[CTX_TUCSO] - c[CTX_TUCSS]);
	if (!t->tse || !t->tcp || t->len <= (uint32_t)c[CTX_HDRLEN] + get_le16(c + CTX_MSS))
		return;
	v6 = t->len > c[CTX_IPCSS] && t->frame[c[CTX_IPCSS]] >> 4 == 6;
	off->gso_type = v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4;
	off->gso_size = get_le16(c + CTX_MSS);
	off->hdr_len = c[CTX_HDRLEN];
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)sum;
}

/* The IP header's length and checksum; of a large TCP segment the length is the chip's business, and so is the pseudo header's. */
static void finish_headers(struct e1000_tx *t)
{
	const uint8_t *c = t->context;
	uint32_t ip = c[CTX_IPCSS], at = c[CTX_IPCSO], end = get_le16(c + CTX_IPCSE), l4 = c[CTX_TUCSS], sum = 0;
	uint32_t l4_sum = c[CTX_TUCSO];
	bool v6 = t->len > ip && t->frame[ip] >> 4 == 6;

	if (t->tse && ip + 6 <= t->len && l4 <= t->len) {
		uint32_t field = ip + (v6 ? 4 : 2), size = t->len - (v6 ? l4 : ip);

		put_be16(t->frame + field, (uint16_t)size);
		/* Drivers leave the length out of the pseudo header's sum, as it differs from segment to segment. */
		if (l4_sum + 2 <= t->len) {
			uint8_t *p = t->frame + l4_sum;
			uint16_t partial = fold(get_be16(p) + (t->len - l4));

			put_be16(p, partial);
		}
	}
	if (!(t->popts & TXD_POPTS_IXSM) || at + 2 > t->len || ip >= t->len)
		return;
	end = end ? MIN(end + 1, t->len) : t->len;
	t->frame[at] = t->frame[at + 1] = 0;
	for (uint32_t i = ip; i < end; i++)
		sum += (uint32_t)t->frame[i] << ((i - ip) & 1 ? 0 : 8);
	sum = (uint16_t)~fold(sum);
	put_be16(t->frame + at, (uint16_t)sum);
}

/* The same for the frame with a VLAN tag, which is put in last: nothing that the driver says counts its bytes. */
static void shift_offload(struct net_offload *off)
{
	off->csum_start += off->needs_csum ? TAG_SIZE : 0;
	off->hdr_len += off->gso_type != NET_GSO_NONE ? TAG_SIZE : 0;
}

/* Send what was put together, of which this is the last descriptor. False: not now. */
static bool send_frame(struct e1000 *n, const uint8_t *desc)
{
	const bool tagged = (desc[TX_CMD] & TXD_CMD_VLE) && (*e1000_reg(n, E1000_CTRL) & CTRL_VME);
	struct e1000_tx *t = &n->tx;
	uint8_t tag[TAG_SIZE];
	struct net_offload off;
	struct iovec iov[] = { { t->frame, TYPE_AT }, { tag, tagged ? TAG_SIZE : 0 }, { t->frame + TYPE_AT, 0 } };

	if (t->too_long || !t->len || t->len > sizeof(t->frame) - TAG_SIZE || !n->net)
		return true;
	if (!t->finished)
		finish_headers(t);
	t->finished = true;
	describe(t, &off);
	if (t->len < ETHER_MIN) {
		memset(t->frame + t->len, 0, ETHER_MIN - t->len);
	}
	iov[2].iov_len = MAX(t->len, ETHER_MIN) - TYPE_AT;
	if (tagged) {
		put_be16(tag, (uint16_t)*e1000_reg(n, E1000_VET));
		put_be16(tag + 2, get_le16(desc + TX_SPECIAL));
		shift_offload(&off);
	}
	if (!net_send(n->net, iov, ARRAY_SIZE(iov), &off))
		return false;
	count(n, E1000_GPTC, 1);
	count(n, E1000_TPT, 1);
	count(n, E1000_GOTCL, t->len);
	count(n, E1000_TOTL, t->len);
	return true;
}

/* Add a descriptor's bytes to the frame. */
static void gather(struct e1000 *n, const uint8_t *desc, uint32_t len)
{
	struct e1000_tx *t = &n->tx;

	if (len > sizeof(t->frame) - t->len || space_dma_read(n->mem, get_le64(desc), t->frame + t->len, len))
		t->too_long = true;
	else
		t->len += len;
}

static void legacy_checksum(struct e1000_tx *t, const uint8_t *desc)
{
	if (!(desc[TX_CMD] & TXD_CMD_IC))
		return;
	memset(t->context, 0, sizeof(t->context));
	t->context[CTX_TUCSS] = desc[TX_CSS];
	t->context[CTX_TUCSO] = desc[TX_CSO];
	t->popts = TXD_POPTS_TXSM;
}

/* One descriptor; false: its frame cannot go now. */
static bool transmit_one(struct e1000 *n, const uint8_t *desc)
{
	struct e1000_tx *t = &n->tx;
	uint32_t dcmd = get_le32(desc + TX_LENGTH);
	bool extended = desc[TX_CMD] & TXD_CMD_DEXT, data = (dcmd >> 20 & 0xf) == TXD_DTYP_DATA;

	if (extended && !data) {
		memcpy(t->context, desc, DESC_SIZE);
		t->tcp = desc[TX_CMD] & CTX_TUCMD_TCP;
		return true;
	}
	if (!t->len && !t->too_long) {
		t->popts = extended ? desc[TX_POPTS] : 0;
		t->tse = extended && (desc[TX_CMD] & TXD_CMD_TSE);
	}
	gather(n, desc, extended ? dcmd & 0xfffff : dcmd & 0xffff);
	if (!(desc[TX_CMD] & TXD_CMD_EOP))
		return true;
	if (!extended)
		legacy_checksum(t, desc);
	if (!send_frame(n, desc)) {
		t->len -= t->too_long ? 0 : extended ? dcmd & 0xfffff : dcmd & 0xffff; /* it comes again */
		return false;
	}
	t->len = 0;
	t->too_long = t->finished = false;
	return true;
}

void e1000_transmit(struct e1000 *n)
{
	uint32_t cause = 0;
	struct ring r;

	if (!(*e1000_reg(n, E1000_TCTL) & TCTL_EN) || !ring_of(n, E1000_TDBAL, &r) || r.head == r.tail)
		return;
	for (uint32_t i = 0; i < r.count && r.head != r.tail; i++) {
		uint64_t at = r.base + (uint64_t)r.head * DESC_SIZE;
		uint8_t desc[DESC_SIZE];

		if (space_dma_read(n->mem, at, desc, sizeof(desc)) || !transmit_one(n, desc))
			break;
		if (desc[TX_CMD] & TXD_CMD_RS) {
			desc[TX_STATUS] |= TXD_STAT_DD;
			space_dma_write(n->mem, at + TX_STATUS, desc + TX_STATUS, 1);
			cause |= ICR_TXDW;
		}
		r.head = r.head + 1 == r.count ? 0 : r.head + 1;
	}
	*e1000_reg(n, E1000_TDH) = r.head;
	if (r.head == r.tail)
		cause |= ICR_TXQE;
	e1000_raise(n, cause);
}

/* -- In ------------------------------------------------------------------------------------------------------- */

static bool multicast_wanted(struct e1000 *n, const uint8_t *dst)
{
	static const uint8_t shift[] = { 4, 3, 2, 0 };
	uint32_t hash = (get_le16(dst + 4) >> shift[RCTL_MO(*e1000_reg(n, E1000_RCTL))]) & 0xfff;

	return *e1000_reg(n, E1000_MTA + (hash >> 5) * 4) >> (hash & 31) & 1;
}

static bool wanted(struct e1000 *n, const uint8_t *dst)
{
	static const uint8_t broadcast[MAC_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint32_t rctl = *e1000_reg(n, E1000_RCTL);

	if (!memcmp(dst, broadcast, MAC_SIZE))
		return rctl & (RCTL_BAM | RCTL_MPE);
	if (dst[0] & 1)
		return (rctl & RCTL_MPE) || multicast_wanted(n, dst);
	if (rctl & RCTL_UPE)
		return true;
	for (unsigned i = 0; i < RA_ENTRIES; i++)
		if ((*e1000_reg(n, E1000_RA + 8 * i + 4) & RAH_VALID) && !memcmp(e1000_reg(n, E1000_RA + 8 * i), dst, MAC_SIZE))
			return true;
	return false;
}

static uint32_t buffer_size(uint32_t rctl)
{
	uint32_t size = 2048u >> RCTL_BSIZE(rctl);

	return rctl & RCTL_BSEX ? size * 16 : size;
}

/* A tag is taken out where the driver wants that; false: its VLAN is filtered out. */
static bool take_tag(struct e1000 *n, uint8_t *frame, uint32_t *len, uint16_t *tag, uint8_t *status)
{
	uint16_t found;

	if (*len < TYPE_AT + TAG_SIZE || get_be16(frame + TYPE_AT) != (uint16_t)*e1000_reg(n, E1000_VET))
		return true;
	found = get_be16(frame + TYPE_AT + 2);
	if ((*e1000_reg(n, E1000_RCTL) & RCTL_VFE) &&
	    !(*e1000_reg(n, E1000_VFTA + VLAN_ID(found) / 32 * 4) >> VLAN_ID(found) % 32 & 1))
		return false;
	if (!(*e1000_reg(n, E1000_CTRL) & CTRL_VME))
		return true;
	*tag = found;
	*status |= RXD_STAT_VP;
	*len -= TAG_SIZE;
	memmove(frame + TYPE_AT, frame + TYPE_AT + TAG_SIZE, *len - TYPE_AT);
	return true;
}

/* Put the frame into as many descriptors as it takes; there are enough. */
static void fill(struct e1000 *n, struct ring *r, const uint8_t *frame, uint32_t len, uint32_t size, uint16_t tag, uint8_t status)
{
	for (uint32_t done = 0; done < len; done += size) {
		uint64_t at = r->base + (uint64_t)r->head * DESC_SIZE;
		uint32_t part = MIN(len - done, size);
		uint8_t desc[DESC_SIZE];

		if (space_dma_read(n->mem, at, desc, sizeof(desc)))
			return;
		if (get_le64(desc))
			space_dma_write(n->mem, get_le64(desc), frame + done, part);
		put_le16(desc + RX_LENGTH, (uint16_t)part);
		put_le16(desc + RX_CSUM, 0);
		desc[RX_STATUS] = status | RXD_STAT_DD | RXD_STAT_IXSM | (done + part == len ? RXD_STAT_EOP : 0);
		desc[RX_ERRORS] = 0;
		put_le16(desc + RX_SPECIAL, tag);
		space_dma_write(n->mem, at + RX_LENGTH, desc + RX_LENGTH, DESC_SIZE - RX_LENGTH);
		r->head = r->head + 1 == r->count ? 0 : r->head + 1;
	}
}

/* Descriptors that are the chip's. */
static uint32_t available(const struct ring *r)
{
	return r->tail >= r->head ? r->tail - r->head : r->count - r->head + r->tail;
}

bool e1000_receive(struct e1000 *n, const struct iovec *iov, unsigned n_iov)
{
	uint32_t rctl = *e1000_reg(n, E1000_RCTL), size = buffer_size(rctl), len, cause = ICR_RXT0;
	uint8_t frame[NET_MAX_FRAME + FCS_SIZE], status = 0;
	uint16_t tag = 0;
	struct ring r;

	if (!(rctl & RCTL_EN))
		return true; /* nobody listens */
	len = (uint32_t)net_gather(frame, NET_MAX_FRAME, iov, n_iov);
	if (len < MAC_SIZE || len > (rctl & RCTL_LPE ? JUMBO_MAX : ETHER_MAX) || !wanted(n, frame) ||
	    !take_tag(n, frame, &len, &tag, &status))
		return true;
	if (len < ETHER_MIN) {
		memset(frame + len, 0, ETHER_MIN - len);
		len = ETHER_MIN;
	}
	if (!(rctl & RCTL_SECRC)) {
		memset(frame + len, 0, FCS_SIZE); /* drivers only skip it */
		len += FCS_SIZE;
	}
	if (!ring_of(n, E1000_RDBAL, &r))
		return true;
	if (available(&r) < (len + size - 1) / size) {
		count(n, E1000_MPC, 1);
		e1000_raise(n, ICR_RXO);
		return false;
	}
	fill(n, &r, frame, len, size, tag, status);
	*e1000_reg(n, E1000_RDH) = r.head;
	count(n, E1000_GPRC, 1);
	count(n, E1000_TPR, 1);
	count(n, E1000_GORCL, len);
	count(n, E1000_TORL, len);
	if (available(&r) <= r.count >> (RCTL_RDMTS(rctl) + 1))
		cause |= ICR_RXDMT0;
	e1000_raise(n, cause);
	return true;
}
