/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio entropy device.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 5.4. The numbers are getrandom(2)'s, which never blocks once the
 * host has booted, so there is no limit of rate but that of the guest's own speed.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/bits.h"
#include "virtio/rng.h"

/* At once; a larger buffer is filled in part, as the specification allows. */
#define MAX_REQUEST (64 * KiB)

struct virtio_rng {
	struct virtio_device vd;
};

static size_t fill(const struct vq_chain *c)
{
	size_t done = 0;

	for (unsigned i = 0; i < c->n_in && done < MAX_REQUEST; i++) {
		size_t len = MIN(c->in[i].iov_len, MAX_REQUEST - done), at = 0;

		while (at < len) {
			ssize_t n = getrandom((char *)c->in[i].iov_base + at, len - at, 0);

			if (n < 0 && errno != EINTR)
				return done + at;
			at += n > 0 ? (size_t)n : 0;
		}
		done += len;
	}
	return done;
}

static bool rng_process(struct virtio_device *vd, struct virtqueue *vq)
{
	for (unsigned left = vq->size; left; left--) {
		struct vq_chain *c = vq_pop(vq);

		if (!c)
			return false;
		vq_push(c, fill(c));
	}
	return true;
}

static const struct state_field rng_state[] = { VIRTIO_STATE(struct virtio_rng), STATE_END() };

static const struct device_ops rng_dev_ops = {
	.name = "virtio-rng",
	.reset = virtio_dev_reset,
	.post_load = virtio_dev_post_load,
	.quiesce = virtio_dev_quiesce,
	.free = virtio_dev_free,
	.print_stats = virtio_dev_print_stats,
	.state = rng_state,
	.state_version = 1,
};

static const struct virtio_ops rng_ops = { .process = rng_process };

struct virtio_device *virtio_rng_new(struct space *mem, uint64_t features)
{
	const struct virtio_params p = {
		.id = VIRTIO_ID_RNG, .dev_ops = &rng_dev_ops, .ops = &rng_ops, .mem = mem, .features = features, .n_queues = 1,
	};
	struct virtio_rng *r = calloc(1, sizeof(*r));

	BUG_ON(!r);
	virtio_init(&r->vd, &p);
	return &r->vd;
}
