/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A FUSE session over a shared directory: one request in, one answer out. */
#ifndef DOPPEL_VIRTIO_FS_FUSE_H
#define DOPPEL_VIRTIO_FS_FUSE_H

#include "virtio/fs_node.h"
#include "virtio/queue.h"

struct fs_session {
	struct share *share;
	struct fs_table table;
};

/*
 * Carry out the request in the chain's readable buffers and put the answer into the writable ones: how many bytes it
 * has; 0: the request takes none. Negative: it is no request.
 */
int64_t fs_session_handle(struct fs_session *s, struct vq_chain *c);

#endif
