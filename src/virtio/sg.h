/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes spread over buffers: copying parts of them, and leaving parts out. */
#ifndef DOPPEL_VIRTIO_SG_H
#define DOPPEL_VIRTIO_SG_H

#include <stddef.h>
#include <sys/uio.h>

/* Copy from offset `off` on; returns how many bytes were there or had room. */
size_t sg_read(const struct iovec *iov, unsigned n, size_t off, void *buf, size_t len);
size_t sg_write(const struct iovec *iov, unsigned n, size_t off, const void *buf, size_t len);
size_t sg_zero(const struct iovec *iov, unsigned n, size_t off, size_t len);

/* The buffers of [off, off + len) into out, which has room for n; their number. Shorter when there is less. */
unsigned sg_slice(struct iovec *out, const struct iovec *iov, unsigned n, size_t off, size_t len);

/* Leave the first `off` bytes, or the last one (which must be there), out of buffers that are the caller's own. */
void sg_skip(struct iovec **iov, unsigned *n, size_t off);
void *sg_last_byte(const struct iovec *iov, unsigned n);
unsigned sg_without_last_byte(struct iovec *iov, unsigned n); /* how many buffers remain */

#endif
