/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character backend that swallows everything and says nothing; it needs no thread. */
#include <stdio.h>
#include "backend/chr/impl.h"

static const struct chr_ops null_ops = { .name = "null", .idle = true };

int chr_null_new(struct chr **out, const char *arg, struct err *e)
{
	int rc = chr_new(out, &null_ops, e);

	if (rc)
		return rc;
	snprintf((*out)->where, sizeof((*out)->where), "nowhere");
	(*out)->reader = CHR_READER_GONE;
	return 0;
}
