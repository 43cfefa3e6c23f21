/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images for the tests of drives: nameless files in which each sector begins with its number. */
#ifndef DOPPEL_TESTS_DEV_DISK_TEST_H
#define DOPPEL_TESTS_DEV_DISK_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/block/blk.h"
#include "base/endian.h"

/* A raw image of so many sectors of 512 bytes; exits on an error of the host. */
static inline struct blk *numbered_disk(unsigned sectors, bool readonly)
{
	char name[] = "/tmp/doppel-disk-XXXXXX";
	int fd = mkstemp(name);
	uint8_t sector[512];
	struct blk_options o;
	struct blk *blk;
	struct err e = { "" };

	for (unsigned i = 0; fd >= 0 && i < sectors; i++) {
		for (unsigned k = 0; k < sizeof(sector); k++)
			sector[k] = (uint8_t)(i + k);
		put_le32(sector, i);
		if (write(fd, sector, sizeof(sector)) != sizeof(sector))
			abort();
	}
	close(fd);
	blk_options_init(&o);
	o.file = strdup(name);
	o.format = strdup("raw");
	o.readonly = readonly;
	if (blk_open(&blk, &o, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	blk_options_release(&o);
	unlink(name);
	return blk;
}

#endif
