/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames over a stream socket: each behind its length as four bytes, most significant first, as QEMU's socket networks have it. */
#ifndef DOPPEL_BACKEND_NET_STREAM_H
#define DOPPEL_BACKEND_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_BUFFER (256u * 1024) /* bytes each way: several of the largest frames */

struct stream {
	int fd;              /* non-blocking; -1: closed */
	uint8_t *in, *out;   /* STREAM_BUFFER each */
	size_t in_len, in_at;   /* received, and how much of it was taken */
	size_t out_len, out_at; /* to send, and how much has gone */
};

/* Take over fd (made non-blocking). -ENOMEM. */
int stream_init(struct stream *s, int fd);
void stream_release(struct stream *s); /* closes; harmless when all zero but fd -1 */

/* Read what is there: false when the other side has gone. */
bool stream_fill(struct stream *s);

/*
 * The next whole frame; it stays valid until the next call. 0: none yet; 1: there; -EPROTO: a length that no frame has, which ends the
 * connection.
 */
int stream_next(struct stream *s, const uint8_t **frame, size_t *len);

/* Queue a frame of at most NET_MAX_FRAME bytes: false when there is no room. */
bool stream_put(struct stream *s, const void *frame, size_t len);

/* Send what is queued, as far as it goes; false when the other side has gone. */
bool stream_flush(struct stream *s);

static inline bool stream_pending(const struct stream *s)
{
	return s->out_at < s->out_len;
}

#endif
