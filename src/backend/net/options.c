/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of a network's specification. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backend/net/options.h"

static const struct net_option *find(const struct net_option *table, const char *name)
{
	for (; table->name; table++)
		if (!strcmp(table->name, name))
			return table;
	return NULL;
}

int net_options_parse(const char *text, const char *what, const struct net_option *table, void *opaque, struct err *e)
{
	char *copy, *next, *item;
	int rc = 0;

	if (!text)
		return 0;
	copy = next = strdup(text);
	if (!copy)
		return err_set(e, ENOMEM, "network '%s': out of memory", what);
	while (!rc && (item = strsep(&next, ","))) {
		char *value = strchr(item, '=');
		const struct net_option *o;

		if (!*item)
			continue;
		if (value)
			*value++ = 0;
		o = find(table, item);
		if (!o)
			rc = err_set(e, EINVAL, "network '%s': it has no option '%s'; 'man doppel' lists them", what, item);
		else
			rc = o->set(opaque, value ? value : copy + strlen(text), e);
		if (rc && o)
			err_prefix(e, rc, "network '%s': %s", what, item);
	}
	free(copy);
	return rc;
}

int net_parse_address(const char *text, struct in_addr *addr, struct err *e)
{
	if (inet_pton(AF_INET, text, addr) == 1)
		return 0;
	return err_set(e, EINVAL, "'%s' is no IPv4 address; write it like 10.0.2.15", text);
}

int net_parse_port(const char *text, uint16_t *port, struct err *e)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || !v || v > UINT16_MAX)
		return err_set(e, EINVAL, "'%s' is no port; give 1 to 65535", text);
	*port = (uint16_t)v;
	return 0;
}
