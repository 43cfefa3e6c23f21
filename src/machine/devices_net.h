/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What network cards have in common as devices; machine/ only. */
#ifndef DOPPEL_MACHINE_DEVICES_NET_H
#define DOPPEL_MACHINE_DEVICES_NET_H

#include "machine/devices.h"

#define DEVICE_MAC_PROP { "mac", PROP_STRING, 0, 0, NULL, "its address; 52:54:00:12:34:56 and following if not given" }

/* The card's address by its "mac" property, or the next one of those that nobody asked for. -EINVAL with a message. */
int device_mac(struct pc *pc, const struct device_config *cfg, uint8_t mac[6], struct err *e);

#endif
