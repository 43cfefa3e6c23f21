/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio memory balloon: the guest gives pages back to the host, when asked and when it has no use for them. */
#ifndef DOPPEL_VIRTIO_BALLOON_H
#define DOPPEL_VIRTIO_BALLOON_H

#include "virtio/virtio.h"

/* Statistics of the guest by tag, 5.5.6.3: name, what it counts. */
#define VIRTIO_BALLOON_STATS(X)                                                  \
	X(swap_in, "bytes swapped in")                                           \
	X(swap_out, "bytes swapped out")                                         \
	X(major_faults, "major page faults")                                     \
	X(minor_faults, "minor page faults")                                     \
	X(free_memory, "bytes of free memory")                                   \
	X(total_memory, "bytes of memory")                                       \
	X(available_memory, "bytes available without swapping")                  \
	X(disk_caches, "bytes that caches could give up")                        \
	X(hugetlb_allocations, "huge pages allocated")                           \
	X(hugetlb_failures, "huge pages that could not be allocated")

struct virtio_balloon_stats {
#define X(name, help) uint64_t name;
	VIRTIO_BALLOON_STATS(X)
#undef X
};

struct virtio_balloon_config {
	struct space *mem;
	struct clock *clock;
	uint64_t initial;         /* bytes that the guest shall give back at once */
	bool deflate_on_oom, reporting;
	unsigned stats_interval;  /* seconds between questions for statistics; 0: only when asked */
	uint64_t features;        /* of the rings */
};

struct virtio_device *virtio_balloon_new(const struct virtio_balloon_config *c);

/* How many bytes the guest shall give back in all, and how many it says it has. Any thread without locks. */
void virtio_balloon_set(struct virtio_device *vd, uint64_t bytes);
uint64_t virtio_balloon_actual(struct virtio_device *vd);

/* The newest statistics; all ones where the guest said nothing. Asks for newer ones. */
void virtio_balloon_stats(struct virtio_device *vd, struct virtio_balloon_stats *out);

#endif
