/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading "name=value,name=value" behind a network's kind. */
#ifndef DOPPEL_BACKEND_NET_OPTIONS_H
#define DOPPEL_BACKEND_NET_OPTIONS_H

#include <netinet/in.h>
#include <stdint.h>
#include "base/err.h"

/* One option of a list; set() gets the value ("" without '='), and may refuse it with a message. */
struct net_option {
	const char *name;
	int (*set)(void *opaque, char *value, struct err *e);
};

/*
 * Go through text (NULL: nothing), calling set() in order. table ends with name NULL. what names the network in messages.
 * The values are in a copy that is gone afterwards.
 */
int net_options_parse(const char *text, const char *what, const struct net_option *table, void *opaque, struct err *e);

/* "1.2.3.4", and a port of 1 to 65535; -EINVAL with a message. */
int net_parse_address(const char *text, struct in_addr *addr, struct err *e);
int net_parse_port(const char *text, uint16_t *port, struct err *e);

#endif
