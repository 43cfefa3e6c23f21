/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads tar archives, POSIX.1-1988 "ustar" as dpkg-deb gives it; long names (GNU) are passed over. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/tar.h"

enum { BLOCK = 512, NAME_LEN = 100, SIZE_AT = 124, SIZE_LEN = 12, SUM_AT = 148, SUM_LEN = 8, TYPE_AT = 156 };

static int read_full(int fd, uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = read(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EINVAL;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_full(int fd, const uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static uint64_t octal(const uint8_t *p, size_t len)
{
	uint64_t v = 0;

	while (len && *p == ' ')
		p++, len--;
	for (; len && *p >= '0' && *p <= '7'; p++, len--)
		v = v << 3 | (*p - '0');
	return v;
}

/* The checksum counts its own field as blanks. */
static bool header_ok(const uint8_t h[BLOCK])
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < BLOCK; i++)
		sum += i >= SUM_AT && i < SUM_AT + SUM_LEN ? ' ' : h[i];
	return sum == octal(h + SUM_AT, SUM_LEN);
}

/* Pass size bytes and their padding on to out_fd, or over them when it is -1. */
static int copy(int fd, uint64_t size, int out_fd)
{
	uint8_t buf[32 * BLOCK];

	while (size) {
		size_t n = size < sizeof(buf) ? (size_t)size : sizeof(buf);
		int rc = read_full(fd, buf, (n + BLOCK - 1) / BLOCK * BLOCK);

		if (!rc && out_fd >= 0)
			rc = write_full(out_fd, buf, n);
		if (rc)
			return rc;
		size -= n;
	}
	return 0;
}

int tar_extract(int fd, const char *prefix, int out_fd, char name[TAR_NAME_SIZE], struct err *e)
{
	uint8_t h[BLOCK];
	uint64_t size;
	size_t skip;
	int rc;

	for (;;) {
		rc = read_full(fd, h, sizeof(h));
		if (rc)
			return err_set(e, -rc, "the archive is cut short or cannot be read");
		if (!h[0])
			return err_set(e, ENOENT, "the archive has no file %s*", prefix);
		if (!header_ok(h))
			return err_set(e, EINVAL, "the archive is damaged");
		skip = h[0] == '.' && h[1] == '/' ? 2 : 0;
		memcpy(name, h + skip, NAME_LEN - skip);
		name[NAME_LEN - skip] = '\0';
		size = octal(h + SIZE_AT, SIZE_LEN);
		if ((h[TYPE_AT] == '0' || !h[TYPE_AT]) && !strncmp(name, prefix, strlen(prefix))) {
			rc = copy(fd, size, out_fd);
			return rc ? err_set(e, -rc, "unpacking %s: %s", name, strerror(-rc)) : 0;
		}
		rc = copy(fd, size, -1);
		if (rc)
			return err_set(e, -rc, "the archive is cut short");
	}
}
