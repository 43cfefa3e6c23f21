/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ethernet frames with work left over: finish checksums, cut large segments to size. */
#ifndef DOPPEL_BACKEND_NET_FRAME_H
#define DOPPEL_BACKEND_NET_FRAME_H

#include "backend/net/net.h"

/* Whether the offsets in off make sense for a frame of len bytes: to be asked before anything else below. */
bool frame_offload_ok(const struct net_offload *off, size_t len);

/* Put the checksum that off asks for into the frame. */
void frame_finish_csum(uint8_t *frame, size_t len, const struct net_offload *off);

/*
 * Cut a TCP segment (off->gso_type TCPV4 or TCPV6) into frames of gso_size bytes of payload each, checksums finished, and hand
 * them to emit() in order. -EINVAL, and nothing emitted, for headers that are no such segment's.
 */
int frame_segment(const uint8_t *frame, size_t len, const struct net_offload *off,
		  void (*emit)(void *opaque, const uint8_t *frame, size_t len), void *opaque);

#endif
