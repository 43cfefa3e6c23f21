/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio entropy device: the host's random numbers for the guest. */
#ifndef DOPPEL_VIRTIO_RNG_H
#define DOPPEL_VIRTIO_RNG_H

#include "virtio/virtio.h"

/* features: of the rings, as VIRTIO_F_PACKED. */
struct virtio_device *virtio_rng_new(struct space *mem, uint64_t features);

#endif
