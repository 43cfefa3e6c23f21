/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio file system device: a directory of the host, served to the guest's FUSE client. */
#ifndef DOPPEL_VIRTIO_FS_H
#define DOPPEL_VIRTIO_FS_H

#include "backend/share/share.h"
#include "virtio/virtio.h"

#define VIRTIO_FS_TAG 36 /* bytes of a tag at most */

struct virtio_fs_config {
	struct share *share;  /* becomes the device's, which closes it */
	struct space *mem;
	const char *tag;      /* what the guest mounts: mount -t virtiofs TAG /mnt */
	uint64_t features;    /* of the rings */
};

struct virtio_device *virtio_fs_new(const struct virtio_fs_config *c);

#endif
