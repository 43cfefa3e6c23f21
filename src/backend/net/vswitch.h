/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An Ethernet switch in software: learning, VLANs, tenants that do not see each other, limits for each port. */
#ifndef DOPPEL_BACKEND_NET_VSWITCH_H
#define DOPPEL_BACKEND_NET_VSWITCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/strbuf.h"

#define VSWITCH_PORTS     64
#define VSWITCH_VLANS     4096
#define VSWITCH_NAME_SIZE 32
#define VSWITCH_AGE_NS    (300ull * 1000000000) /* IEEE 802.1D, table 7-5: how long an address is remembered */

struct vswitch;
struct vswitch_port;

struct vswitch_port_config {
	/*
	 * Access port (trunk false): untagged frames belong to `vlan`, tagged ones are dropped. Trunk: tagged frames keep their
	 * VLAN, untagged ones belong to `vlan`, in which frames leave untagged. vlan is 1 to 4094.
	 */
	uint16_t vlan;
	bool trunk;
	bool isolated;                  /* exchanges frames only with ports that are not isolated */
	char tenant[VSWITCH_NAME_SIZE]; /* ports exchange frames only with ports of the same tenant */
	uint64_t bps;                   /* bytes a second each way; 0: no limit */
	/* A frame leaves by this port, within vswitch_input() of another; false: no room, it is lost. */
	bool (*output)(void *opaque, const uint8_t *frame, size_t len);
	void *opaque;
};

/* One thread at a time for all calls. */
struct vswitch *vswitch_new(void);
void vswitch_free(struct vswitch *s);

/* NULL when there are VSWITCH_PORTS already. */
struct vswitch_port *vswitch_add_port(struct vswitch *s, const struct vswitch_port_config *c);
void vswitch_forget(struct vswitch_port *p); /* nobody is at the other end now: its addresses are forgotten */

/*
 * How long, in ns, until the port may send a frame of len bytes: 0 now. Who carries its frames waits meanwhile, so that
 * the limit slows the sender down and loses nothing.
 */
uint64_t vswitch_wait(struct vswitch_port *p, size_t len, uint64_t now_ns);

/* A frame came in by the port. */
void vswitch_input(struct vswitch_port *p, const uint8_t *frame, size_t len, uint64_t now_ns);

/* A line for each port: frames and bytes each way, and drops. */
void vswitch_print_stats(const struct vswitch *s, struct strbuf *out);

#endif
