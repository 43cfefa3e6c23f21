/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio socket device: connections between guest and host without a network. */
#ifndef DOPPEL_VIRTIO_VSOCK_H
#define DOPPEL_VIRTIO_VSOCK_H

#include "virtio/virtio.h"

struct vsock;

#define VIRTIO_VSOCK_MIN_CID 3 /* 0 to 2 are the hypervisor, this system and the host */

struct virtio_vsock_config {
	struct space *mem;
	struct vsock *vsock;  /* the device's from now on */
	uint32_t cid;         /* the guest's address, VIRTIO_VSOCK_MIN_CID or more */
	uint64_t features;    /* of the rings */
};

struct virtio_device *virtio_vsock_new(const struct virtio_vsock_config *c);

#endif
