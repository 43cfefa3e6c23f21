/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A learning switch (IEEE 802.1D, 802.1Q). The forwarding table is a hash of four-way sets by VLAN and address; an address
 * that finds its set full takes the oldest entry's place, so a port that makes up addresses harms nobody's memory.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "backend/net/impl.h"
#include "backend/net/vswitch.h"
#include "base/bits.h"

#define SETS        1024
#define WAYS        4
#define BURST_NS    20000000ull /* of a limited port's rate: what it may send or get at once */
#define NS_PER_S    1000000000ull
#define MAC_SIZE    6
#define TYPE_OFFSET 12
#define TAG_SIZE    4
#define VLAN_MASK   0xfff

struct entry {
	uint8_t mac[MAC_SIZE];
	uint16_t vlan;             /* 0: empty */
	struct vswitch_port *port;
	uint64_t seen_ns;
};

/* Bytes that may pass; refilled with time. Bursts beyond it are owed. */
struct bucket {
	int64_t level;
	uint64_t filled_ns;
};

struct vswitch_port {
	struct vswitch *sw;
	struct vswitch_port_config cfg;
	struct bucket in, out;
	struct net_count received, sent;
};

struct vswitch {
	struct vswitch_port port[VSWITCH_PORTS];
	unsigned n;
	struct entry table[SETS][WAYS];
};

struct vswitch *vswitch_new(void)
{
	return calloc(1, sizeof(struct vswitch));
}

void vswitch_free(struct vswitch *s)
{
	free(s);
}

static int64_t burst(const struct vswitch_port *p)
{
	return (int64_t)MAX((unsigned __int128)p->cfg.bps * BURST_NS / NS_PER_S, (unsigned __int128)NET_ETHER_MIN);
}

struct vswitch_port *vswitch_add_port(struct vswitch *s, const struct vswitch_port_config *c)
{
	struct vswitch_port *p = &s->port[s->n];

	if (s->n == VSWITCH_PORTS)
		return NULL;
	s->n++;
	*p = (struct vswitch_port){ .sw = s, .cfg = *c };
	p->in.level = p->out.level = burst(p);
	return p;
}

/* -- Limits --------------------------------------------------------------------------------------------------- */

static void refill(const struct vswitch_port *p, struct bucket *b, uint64_t now_ns)
{
	uint64_t passed = now_ns > b->filled_ns ? now_ns - b->filled_ns : 0;
	unsigned __int128 more = (unsigned __int128)p->cfg.bps * MIN(passed, NS_PER_S) / NS_PER_S;

	if (!more)
		return;
	b->level = MIN(b->level + (int64_t)more, burst(p));
	b->filled_ns = now_ns;
}

uint64_t vswitch_wait(struct vswitch_port *p, size_t len, uint64_t now_ns)
{
	if (!p->cfg.bps)
		return 0;
	refill(p, &p->in, now_ns);
	/* A frame larger than the bucket passes when it is full. */
	if (p->in.level >= MIN((int64_t)len, burst(p)))
		return 0;
	return (uint64_t)((unsigned __int128)(MIN((int64_t)len, burst(p)) - p->in.level) * NS_PER_S / p->cfg.bps) + 1;
}

/* -- The table ------------------------------------------------------------------------------------------------- */

static struct entry *set_of(struct vswitch *s, const uint8_t *mac, uint16_t vlan)
{
	uint32_t h = vlan;

	for (unsigned i = 0; i < MAC_SIZE; i++)
		h = (h ^ mac[i]) * 0x01000193u; /* FNV-1a */
	return s->table[(h ^ h >> 16) % SETS];
}

static bool multicast(const uint8_t *mac)
{
	return mac[0] & 1;
}

static struct vswitch_port *lookup(struct vswitch *s, const uint8_t *mac, uint16_t vlan, uint64_t now_ns)
{
	struct entry *e = set_of(s, mac, vlan);

	for (unsigned i = 0; i < WAYS; i++)
		if (e[i].vlan == vlan && !memcmp(e[i].mac, mac, MAC_SIZE))
			return now_ns - e[i].seen_ns < VSWITCH_AGE_NS ? e[i].port : NULL;
	return NULL;
}

static void learn(struct vswitch_port *p, const uint8_t *mac, uint16_t vlan, uint64_t now_ns)
{
	struct entry *e = set_of(p->sw, mac, vlan), *to = e;

	if (multicast(mac))
		return;
	for (unsigned i = 0; i < WAYS; i++) {
		if (e[i].vlan == vlan && !memcmp(e[i].mac, mac, MAC_SIZE)) {
			to = &e[i];
			break;
		}
		if (!e[i].vlan || (to->vlan && e[i].seen_ns < to->seen_ns))
			to = &e[i];
	}
	*to = (struct entry){ .vlan = vlan, .port = p, .seen_ns = now_ns };
	memcpy(to->mac, mac, MAC_SIZE);
}

void vswitch_forget(struct vswitch_port *p)
{
	for (unsigned i = 0; i < SETS; i++)
		for (unsigned w = 0; w < WAYS; w++)
			if (p->sw->table[i][w].port == p)
				p->sw->table[i][w].vlan = 0;
}

/* -- Frames ------------------------------------------------------------------------------------------------------ */

static uint16_t type_of(const uint8_t *frame)
{
	return (uint16_t)(frame[TYPE_OFFSET] << 8 | frame[TYPE_OFFSET + 1]);
}

#define TYPE_VLAN 0x8100

/* The VLAN of a frame that came by the port; 0: it has no business here. */
static uint16_t classify(const struct vswitch_port *p, const uint8_t *frame, size_t len, bool *tagged)
{
	uint16_t vlan;

	*tagged = type_of(frame) == TYPE_VLAN;
	if (!*tagged)
		return p->cfg.vlan;
	if (!p->cfg.trunk || len < NET_ETHER_HEADER + TAG_SIZE)
		return 0;
	vlan = (uint16_t)((frame[TYPE_OFFSET + 2] << 8 | frame[TYPE_OFFSET + 3]) & VLAN_MASK);
	return vlan == VLAN_MASK ? 0 : vlan ? vlan : p->cfg.vlan; /* 0 is a priority tag only */
}

static bool may_pass(const struct vswitch_port *from, const struct vswitch_port *to, uint16_t vlan)
{
	return from != to && (to->cfg.trunk || to->cfg.vlan == vlan) && !(from->cfg.isolated && to->cfg.isolated) &&
	       !strcmp(from->cfg.tenant, to->cfg.tenant);
}

static bool within_limit(struct vswitch_port *p, size_t len, uint64_t now_ns)
{
	if (!p->cfg.bps)
		return true;
	refill(p, &p->out, now_ns);
	if (p->out.level <= 0)
		return false;
	p->out.level -= (int64_t)len;
	return true;
}

/* Send by a port, with or without the tag as it wants it. */
static void send_by(struct vswitch_port *p, const uint8_t *frame, size_t len, bool tagged, uint16_t vlan, uint64_t now_ns)
{
	bool want_tag = p->cfg.trunk && vlan != p->cfg.vlan;
	uint8_t copy[NET_MAX_FRAME + TAG_SIZE];

	if (tagged && !want_tag) {
		memcpy(copy, frame, TYPE_OFFSET);
		memcpy(copy + TYPE_OFFSET, frame + TYPE_OFFSET + TAG_SIZE, len - TYPE_OFFSET - TAG_SIZE);
		len -= TAG_SIZE;
		frame = copy;
	} else if (!tagged && want_tag) {
		memcpy(copy, frame, TYPE_OFFSET);
		copy[TYPE_OFFSET] = TYPE_VLAN >> 8;
		copy[TYPE_OFFSET + 1] = TYPE_VLAN & 0xff;
		copy[TYPE_OFFSET + 2] = (uint8_t)(vlan >> 8);
		copy[TYPE_OFFSET + 3] = (uint8_t)vlan;
		memcpy(copy + TYPE_OFFSET + TAG_SIZE, frame + TYPE_OFFSET, len - TYPE_OFFSET);
		len += TAG_SIZE;
		frame = copy;
	}
	if (len > NET_MAX_FRAME || !within_limit(p, len, now_ns) || !p->cfg.output(p->cfg.opaque, frame, len)) {
		p->sent.dropped++;
		return;
	}
	p->sent.frames++;
	p->sent.bytes += len;
}

void vswitch_input(struct vswitch_port *p, const uint8_t *frame, size_t len, uint64_t now_ns)
{
	struct vswitch *s = p->sw;
	struct vswitch_port *to;
	uint16_t vlan = 0;
	bool tagged;

	p->in.level -= p->cfg.bps ? (int64_t)len : 0;
	if (len >= NET_ETHER_HEADER && len <= NET_MAX_FRAME)
		vlan = classify(p, frame, len, &tagged);
	if (!vlan) {
		p->received.dropped++;
		return;
	}
	p->received.frames++;
	p->received.bytes += len;
	learn(p, frame + MAC_SIZE, vlan, now_ns);
	to = multicast(frame) ? NULL : lookup(s, frame, vlan, now_ns);
	/* Who is not in the same part of the network is as unknown as a stranger: flooding keeps away from it too. */
	if (to && may_pass(p, to, vlan)) {
		send_by(to, frame, len, tagged, vlan, now_ns);
		return;
	}
	if (to == p)
		return;
	for (unsigned i = 0; i < s->n; i++)
		if (may_pass(p, &s->port[i], vlan))
			send_by(&s->port[i], frame, len, tagged, vlan, now_ns);
}

void vswitch_print_stats(const struct vswitch *s, struct strbuf *out)
{
	for (unsigned i = 0; i < s->n; i++) {
		const struct vswitch_port *p = &s->port[i];

		strbuf_addf(out,
			    "port %2u: in %" PRIu64 " frames, %" PRIu64 " bytes, %" PRIu64 " dropped; out %" PRIu64
			    " frames, %" PRIu64 " bytes, %" PRIu64 " dropped\n",
			    i + 1, p->received.frames, p->received.bytes, p->received.dropped, p->sent.frames,
			    p->sent.bytes, p->sent.dropped);
	}
}
