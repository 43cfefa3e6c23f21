/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buffers of a frame stream. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/net/net.h"
#include "backend/net/stream.h"

#define LENGTH_SIZE 4

int stream_init(struct stream *s, int fd)
{
	*s = (struct stream){ .fd = fd };
	s->in = malloc(STREAM_BUFFER);
	s->out = malloc(STREAM_BUFFER);
	if (s->in && s->out && !fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
		return 0;
	stream_release(s);
	return -ENOMEM;
}

void stream_release(struct stream *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->in);
	free(s->out);
	*s = (struct stream){ .fd = -1 };
}

/* Move what is left to the front. */
static void compact(uint8_t *buf, size_t *at, size_t *len)
{
	if (!*at)
		return;
	memmove(buf, buf + *at, *len - *at);
	*len -= *at;
	*at = 0;
}

bool stream_fill(struct stream *s)
{
	ssize_t n;

	compact(s->in, &s->in_at, &s->in_len);
	if (s->in_len == STREAM_BUFFER)
		return true;
	n = recv(s->fd, s->in + s->in_len, STREAM_BUFFER - s->in_len, 0);
	if (n > 0)
		s->in_len += (size_t)n;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

int stream_next(struct stream *s, const uint8_t **frame, size_t *len)
{
	const uint8_t *p = s->in + s->in_at;
	size_t have = s->in_len - s->in_at, size;

	if (have < LENGTH_SIZE)
		return 0;
	size = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
	if (!size || size > NET_MAX_FRAME)
		return -EPROTO;
	if (have < LENGTH_SIZE + size)
		return 0;
	*frame = p + LENGTH_SIZE;
	*len = size;
	s->in_at += LENGTH_SIZE + size;
	return 1;
}

bool stream_put(struct stream *s, const void *frame, size_t len)
{
	uint8_t *to;

	if (s->out_len + LENGTH_SIZE + len > STREAM_BUFFER)
		compact(s->out, &s->out_at, &s->out_len);
	if (s->out_len + LENGTH_SIZE + len > STREAM_BUFFER)
		return false;
	to = s->out + s->out_len;
	to[0] = (uint8_t)(len >> 24);
	to[1] = (uint8_t)(len >> 16);
	to[2] = (uint8_t)(len >> 8);
	to[3] = (uint8_t)len;
	memcpy(to + LENGTH_SIZE, frame, len);
	s->out_len += LENGTH_SIZE + len;
	return true;
}

bool stream_flush(struct stream *s)
{
	while (stream_pending(s)) {
		ssize_t n = send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		s->out_at += (size_t)n;
	}
	s->out_at = s->out_len = 0;
	return true;
}
