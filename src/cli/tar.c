/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads tar archives, POSIX.1-1988 "ustar" as dpkg-deb gives it, with GNU's long names. */
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

/* One member, up to its bytes. */
struct member {
	char name[TAR_NAME_SIZE];
	uint64_t size;
	bool regular;
};

/* A name of its own that is too long for the header; one that is too long for us becomes nobody's. */
static int read_long_name(int fd, uint64_t size, char name[TAR_NAME_SIZE])
{
	uint8_t buf[2 * BLOCK] = { 0 };
	int rc;

	if (size > sizeof(buf))
		return copy(fd, size, -1);
	rc = read_full(fd, buf, (size + BLOCK - 1) / BLOCK * BLOCK);
	if (size <= TAR_NAME_SIZE)
		memcpy(name, buf, size);
	name[TAR_NAME_SIZE - 1] = 0;
	return rc;
}

/* The next member: 1; at the archive's end 0; else an error. */
static int next_member(int fd, struct member *m, struct err *e)
{
	uint8_t h[BLOCK];
	bool named = false;
	int rc;

	for (;;) {
		rc = read_full(fd, h, sizeof(h));
		if (rc)
			return err_set(e, -rc, "the archive is cut short or cannot be read");
		if (!h[0])
			return 0;
		if (!header_ok(h))
			return err_set(e, EINVAL, "the archive is damaged");
		m->size = octal(h + SIZE_AT, SIZE_LEN);
		if (h[TYPE_AT] != 'L')
			break;
		named = true;
		rc = read_long_name(fd, m->size, m->name);
		if (rc)
			return err_set(e, -rc, "the archive is cut short");
	}
	if (!named) {
		memcpy(m->name, h, NAME_LEN);
		m->name[NAME_LEN] = 0;
	}
	if (m->name[0] == '.' && m->name[1] == '/')
		memmove(m->name, m->name + 2, strlen(m->name + 2) + 1);
	m->regular = h[TYPE_AT] == '0' || !h[TYPE_AT];
	return 1;
}

int tar_extract(int fd, const char *prefix, int out_fd, char name[TAR_NAME_SIZE], struct err *e)
{
	struct member m = { 0 };
	int rc;

	for (;;) {
		rc = next_member(fd, &m, e);
		if (rc < 0)
			return rc;
		if (!rc)
			return err_set(e, ENOENT, "the archive has no file %s*", prefix);
		if (m.regular && !strncmp(m.name, prefix, strlen(prefix))) {
			strcpy(name, m.name);
			rc = copy(fd, m.size, out_fd);
			return rc ? err_set(e, -rc, "unpacking %s: %s", name, strerror(-rc)) : 0;
		}
		rc = copy(fd, m.size, -1);
		if (rc)
			return err_set(e, -rc, "the archive is cut short");
	}
}

static int take(int fd, const struct member *m, const struct tar_visitor *v, void *opaque, struct err *e)
{
	uint64_t room = (m->size + BLOCK - 1) / BLOCK * BLOCK;
	uint8_t *data = malloc(room ? room : 1);
	int rc = data ? read_full(fd, data, room) : -ENOMEM;

	if (rc)
		err_set(e, -rc, "unpacking %s: %s", m->name, strerror(-rc));
	else
		rc = v->take(opaque, m->name, data, m->size, e);
	free(data);
	return rc;
}

int tar_visit(int fd, const struct tar_visitor *v, void *opaque, struct err *e)
{
	struct member m = { 0 };
	int rc;

	for (;;) {
		rc = next_member(fd, &m, e);
		if (rc <= 0)
			return rc;
		if (m.regular && v->want(opaque, m.name, m.size)) {
			rc = take(fd, &m, v, opaque, e);
			if (rc)
				return rc;
		} else if ((rc = copy(fd, m.size, -1))) {
			return err_set(e, -rc, "the archive is cut short");
		}
	}
}
