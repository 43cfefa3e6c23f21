/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes spread over buffers: copying parts of them, and leaving parts out. */
#include <string.h>

#include "base/bits.h"
#include "virtio/sg.h"

/* The piece of buffer *i at *off, of at most len bytes; 0 at the end. Moves both. */
static size_t next_piece(const struct iovec *iov, unsigned n, unsigned *i, size_t *off, size_t len, char **at)
{
	size_t here;

	while (*i < n && *off >= iov[*i].iov_len) {
		*off -= iov[*i].iov_len;
		(*i)++;
	}
	if (*i == n)
		return 0;
	here = MIN(len, iov[*i].iov_len - *off);
	*at = (char *)iov[*i].iov_base + *off;
	*off += here;
	return here;
}

size_t sg_read(const struct iovec *iov, unsigned n, size_t off, void *buf, size_t len)
{
	size_t done = 0, here;
	unsigned i = 0;
	char *at;

	for (; done < len; done += here) {
		here = next_piece(iov, n, &i, &off, len - done, &at);
		if (!here)
			break;
		memcpy((char *)buf + done, at, here);
	}
	return done;
}

size_t sg_write(const struct iovec *iov, unsigned n, size_t off, const void *buf, size_t len)
{
	size_t done = 0, here;
	unsigned i = 0;
	char *at;

	for (; done < len; done += here) {
		here = next_piece(iov, n, &i, &off, len - done, &at);
		if (!here)
			break;
		memcpy(at, (const char *)buf + done, here);
	}
	return done;
}

size_t sg_zero(const struct iovec *iov, unsigned n, size_t off, size_t len)
{
	size_t done = 0, here;
	unsigned i = 0;
	char *at;

	for (; done < len; done += here) {
		here = next_piece(iov, n, &i, &off, len - done, &at);
		if (!here)
			break;
		memset(at, 0, here);
	}
	return done;
}

unsigned sg_slice(struct iovec *out, const struct iovec *iov, unsigned n, size_t off, size_t len)
{
	unsigned i = 0, count = 0;
	size_t here;
	char *at;

	for (; len; len -= here) {
		here = next_piece(iov, n, &i, &off, len, &at);
		if (!here)
			break;
		out[count++] = (struct iovec){ at, here };
	}
	return count;
}

void sg_skip(struct iovec **iov, unsigned *n, size_t off)
{
	for (; *n && off >= (*iov)->iov_len; (*iov)++, (*n)--)
		off -= (*iov)->iov_len;
	if (!*n)
		return;
	(*iov)->iov_base = (char *)(*iov)->iov_base + off;
	(*iov)->iov_len -= off;
}

void *sg_last_byte(const struct iovec *iov, unsigned n)
{
	while (!iov[n - 1].iov_len)
		n--;
	return (char *)iov[n - 1].iov_base + iov[n - 1].iov_len - 1;
}

unsigned sg_without_last_byte(struct iovec *iov, unsigned n)
{
	while (!iov[n - 1].iov_len)
		n--;
	iov[n - 1].iov_len--;
	return iov[n - 1].iov_len ? n : n - 1;
}
