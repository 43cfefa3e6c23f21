/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internet checksums (RFC 1071) and TCP segmentation of frames whose guest or network left them to us. Every offset comes
 * from outside: nothing is read or written that was not checked against the frame's length.
 */
#include <errno.h>
#include <string.h>
#include "backend/net/frame.h"
#include "backend/net/impl.h"
#include "base/bits.h"
#include "base/endian.h"

enum { CSUM_SIZE = 2, VLAN_TAG = 4, TYPE_OFFSET = 12 };
enum { ETHERTYPE_V4 = 0x0800, ETHERTYPE_V6 = 0x86dd, ETHERTYPE_VLAN = 0x8100 };

/* IPv4 (RFC 791), IPv6 (RFC 8200) and TCP (RFC 9293) headers */
enum { V4_MIN = 20, V4_LEN = 2, V4_ID = 4, V4_PROTO = 9, V4_CSUM = 10, V4_SRC = 12, V4_ADDRS = 8 };
enum { V6_SIZE = 40, V6_LEN = 4, V6_NEXT = 6, V6_SRC = 8, V6_ADDRS = 32 };
enum { TCP_MIN = 20, TCP_SEQ = 4, TCP_OFFSET = 12, TCP_FLAGS = 13, TCP_CSUM = 16, PROTO_TCP = 6 };
enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80 };

/* One's complement sum of bytes, in memory order: eight at a time, as the order of the halves does not matter. */
static uint64_t sum_bytes(const uint8_t *p, size_t len, uint64_t sum)
{
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, p, 8);
		sum += word;
		sum += sum < word; /* end-around carry */
	}
	if (len) {
		uint64_t word = 0;

		memcpy(&word, p, len);
		sum += word;
		sum += sum < word;
	}
	return sum;
}

/* The 16-bit checksum of a sum, ready to be stored with memcpy. */
static uint16_t fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)~sum;
}

bool frame_offload_ok(const struct net_offload *off, size_t len)
{
	if (off->needs_csum && ((size_t)off->csum_start + off->csum_offset + CSUM_SIZE > len || off->csum_start > len))
		return false;
	return off->gso_type == NET_GSO_NONE || off->gso_size;
}

void frame_finish_csum(uint8_t *frame, size_t len, const struct net_offload *off)
{
	uint16_t csum = fold(sum_bytes(frame + off->csum_start, len - off->csum_start, 0));

	/* A UDP checksum of zero means that there is none (RFC 768); all ones is the same number. */
	if (!csum)
		csum = UINT16_MAX;
	memcpy(frame + off->csum_start + off->csum_offset, &csum, sizeof(csum));
}

/* Where the headers of a TCP segment are. */
struct headers {
	size_t ip, tcp, payload;
	bool v6;
};

static bool find_tcp(const uint8_t *frame, size_t len, struct headers *h)
{
	uint16_t type;

	h->ip = NET_ETHER_HEADER;
	if (len < NET_ETHER_HEADER + VLAN_TAG)
		return false;
	type = get_be16(frame + TYPE_OFFSET);
	if (type == ETHERTYPE_VLAN) {
		type = get_be16(frame + TYPE_OFFSET + VLAN_TAG);
		h->ip += VLAN_TAG;
	}
	h->v6 = type == ETHERTYPE_V6;
	if (len < h->ip + (h->v6 ? V6_SIZE : V4_MIN))
		return false;
	if (h->v6) {
		if (frame[h->ip + V6_NEXT] != PROTO_TCP)
			return false;
		h->tcp = h->ip + V6_SIZE;
	} else {
		size_t ihl = (frame[h->ip] & 0xf) * 4u;

		if (type != ETHERTYPE_V4 || ihl < V4_MIN || frame[h->ip + V4_PROTO] != PROTO_TCP)
			return false;
		h->tcp = h->ip + ihl;
	}
	if (len < h->tcp + TCP_MIN)
		return false;
	h->payload = h->tcp + (frame[h->tcp + TCP_OFFSET] >> 4) * 4u;
	return h->payload >= h->tcp + TCP_MIN && h->payload <= len;
}

/* Length, identification and checksums of a finished segment; frame holds len bytes. */
static void finish_segment(uint8_t *frame, size_t len, const struct headers *h, uint16_t id)
{
	uint8_t *ip = frame + h->ip, *tcp = frame + h->tcp;
	uint16_t tcp_len = (uint16_t)(len - h->tcp), csum;
	uint8_t pseudo[4] = { 0, PROTO_TCP };
	uint64_t sum;

	if (h->v6) {
		put_be16(ip + V6_LEN, tcp_len);
		sum = sum_bytes(ip + V6_SRC, V6_ADDRS, 0);
	} else {
		put_be16(ip + V4_LEN, (uint16_t)(len - h->ip));
		put_be16(ip + V4_ID, id);
		put_be16(ip + V4_CSUM, 0);
		csum = fold(sum_bytes(ip, h->tcp - h->ip, 0));
		memcpy(ip + V4_CSUM, &csum, sizeof(csum));
		sum = sum_bytes(ip + V4_SRC, V4_ADDRS, 0);
	}
	put_be16(pseudo + 2, tcp_len);
	put_be16(tcp + TCP_CSUM, 0);
	sum = sum_bytes(pseudo, sizeof(pseudo), sum);
	csum = fold(sum_bytes(tcp, tcp_len, sum));
	memcpy(tcp + TCP_CSUM, &csum, sizeof(csum));
}

int frame_segment(const uint8_t *frame, size_t len, const struct net_offload *off,
		  void (*emit)(void *opaque, const uint8_t *frame, size_t len), void *opaque)
{
	uint8_t out[NET_MAX_FRAME];
	struct headers h;
	uint32_t seq;
	uint16_t id;

	if (len > NET_MAX_FRAME || !off->gso_size || !find_tcp(frame, len, &h))
		return -EINVAL;
	seq = get_be32(frame + h.tcp + TCP_SEQ);
	id = get_be16(frame + h.ip + V4_ID);
	for (size_t at = h.payload; at < len || at == h.payload; at += off->gso_size, id++) {
		size_t n = MIN(len - at, off->gso_size);
		bool last = at + n == len;

		memcpy(out, frame, h.payload);
		memcpy(out + h.payload, frame + at, n);
		put_be32(out + h.tcp + TCP_SEQ, seq + (uint32_t)(at - h.payload));
		if (!last)
			out[h.tcp + TCP_FLAGS] &= (uint8_t)~(TCP_FIN | TCP_PSH);
		if (at != h.payload)
			out[h.tcp + TCP_FLAGS] &= (uint8_t)~TCP_CWR;
		finish_segment(out, h.payload + n, &h, id);
		emit(opaque, out, h.payload + n);
		if (last)
			break;
	}
	return 0;
}
