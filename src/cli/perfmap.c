/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes a line for each piece of translated code, for perf(1). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/perfmap.h"

/* One write(2) a line: several vCPUs may have one at a time, and whoever kills us leaves whole lines behind. */
static void made(void *opaque, uint64_t host, uint32_t size, uint64_t la, bool user)
{
	int fd = (int)(intptr_t)opaque;

	if (dprintf(fd, "%" PRIx64 " %" PRIx32 " %s:%" PRIx64 "\n", host, size, user ? "user" : "kernel", la) < 0)
		return; /* a full disk costs the profile, not the guest */
}

int perfmap_open(struct code_listener *out, struct err *e)
{
	char path[64];
	int fd;

	/* An old process' file may be there, and in /tmp somebody else's trap. */
	snprintf(path, sizeof(path), "/tmp/perf-%ld.map", (long)getpid());
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, errno, "%s: %s", path, strerror(errno));
	*out = (struct code_listener){ made, (void *)(intptr_t)fd };
	return 0;
}
