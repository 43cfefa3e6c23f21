/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio block device. */
#ifndef DOPPEL_VIRTIO_BLK_H
#define DOPPEL_VIRTIO_BLK_H

#include "backend/block/blk.h"
#include "virtio/virtio.h"

#define VIRTIO_BLK_SERIAL 20 /* bytes of the serial number */

struct virtio_blk_config {
	struct blk *blk;     /* borrowed */
	struct space *mem;
	unsigned queues;     /* 1 to VIRTIO_MAX_QUEUES */
	uint16_t queue_size; /* 0: 256 */
	const char *serial;  /* NULL: none; cut at VIRTIO_BLK_SERIAL */
	uint64_t features;   /* of the rings */
};

struct virtio_device *virtio_blk_new(const struct virtio_blk_config *c);

#endif
