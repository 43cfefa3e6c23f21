/* SPDX-License-Identifier: GPL-2.0-or-later */
/* No network: a NIC whose cable is not plugged in. */
#include <errno.h>
#include <stdlib.h>
#include "backend/net/impl.h"

static void none_close(struct net *n)
{
	free(n);
}

static const struct net_ops none_ops = { .name = "none", .close = none_close };

static int none_check(const char *arg, struct err *e)
{
	return arg ? err_set(e, EINVAL, "network 'none': it has no options") : 0;
}

static int none_open(struct net **out, const char *arg, struct err *e)
{
	struct net *n;
	int rc = none_check(arg, e);

	if (rc)
		return rc;
	n = calloc(1, sizeof(*n));
	if (!n)
		return err_set(e, ENOMEM, "network 'none': out of memory");
	rc = net_init(n, &none_ops, e);
	n->link_up = false;
	if (!rc)
		rc = net_begin(n, e);
	if (rc)
		net_close(n);
	else
		*out = n;
	return rc;
}

const struct net_kind net_none = { "none", none_open, none_check };
