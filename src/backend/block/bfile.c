/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening what an image's bytes are in, by its name. */
#include <stdlib.h>
#include <string.h>

#include "backend/block/bfile.h"

bool bfile_is_uri(const char *name)
{
	return strstr(name, "://") != NULL;
}

int bfile_open(struct bfile **out, struct loop *l, const char *name, unsigned flags, struct err *e)
{
	return bfile_is_uri(name) ? bfile_open_nbd(out, l, name, flags, e) : bfile_open_host(out, l, name, flags, e);
}

void bfile_close(struct bfile *f)
{
	char *name;

	if (!f)
		return;
	name = f->name;
	f->ops->close(f);
	free(name);
}
