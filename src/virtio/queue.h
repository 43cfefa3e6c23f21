/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtqueues, split and packed: taking chains of buffers from the guest and giving them back. */
#ifndef DOPPEL_VIRTIO_QUEUE_H
#define DOPPEL_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/lock.h"
#include "mem/space.h"

#define VQ_MAX_SIZE  1024 /* entries of a ring; also the longest chain that is followed */
#define VQ_DESC_SIZE 16

struct virtio_device;
struct virtqueue;

/* A piece of a chain that the device writes. */
struct vq_seg {
	uint64_t gpa, len;
};

/*
 * What the guest put into the queue at once: buffers to be read, then buffers to be written, as they stand in
 * guest RAM. Who writes stores from the start of `in` and gives the chain back with the number of bytes stored.
 */
struct vq_chain {
	struct virtqueue *vq;
	uint32_t generation;  /* of the queue: a reset in between makes the chain worthless */
	uint16_t id;          /* split: index of the first descriptor; packed: buffer id */
	uint16_t slots;       /* of the ring: 1; packed: descriptors */
	unsigned n_out, n_in, n_seg;
	uint64_t out_len, in_len;
	struct iovec *out, *in;
	struct vq_seg *seg;
};

/* One walk's results; the queue's own, before it is copied to a chain of its size. */
struct vq_scratch {
	struct iovec out[VQ_MAX_SIZE], in[VQ_MAX_SIZE];
	struct vq_seg seg[VQ_MAX_SIZE];
	uint8_t table[VQ_MAX_SIZE * VQ_DESC_SIZE]; /* copy of an indirect table */
	unsigned n_out, n_in, n_seg;
	uint64_t out_len, in_len;
};

/* A live ring; all guarded by lock. Host addresses are in guest RAM. */
struct virtqueue {
	struct virtio_device *vd;
	unsigned index;
	struct lock lock;         /* RANK_VIRTQ */
	bool running;             /* enabled, the driver is ready, the machine is not quiesced */
	bool packed, event_idx, indirect;
	uint16_t size;
	uint8_t *desc, *driver, *device; /* 2.7: descriptor table, available, used ring; 2.8: ring, event areas */
	uint64_t desc_gpa, device_gpa;
	uint16_t last_avail, used_idx; /* split: free-running; packed: positions */
	bool avail_wrap, used_wrap;    /* packed */
	uint16_t filled;               /* chains (packed: slots) given back but not yet shown to the guest */
	uint16_t first_flags, first_pos; /* packed: of the first of these, whose flags show them all */
	uint16_t signalled;            /* used_idx at the last interrupt ... */
	bool signalled_valid;          /* ... if there was one */
	bool kicks_off;                /* the driver has been told not to kick */
	uint32_t generation;
	unsigned in_flight;            /* slots of chains of this generation that the device has */
	struct vq_scratch *scratch;
	uint64_t kicks, chains, interrupts; /* statistics */
};

/*
 * All calls are made with the queue's lock held. A ring that breaks the rules puts the device into the state
 * NEEDS_RESET, and from then on there is nothing in it.
 */

/* The next chain, or NULL. When there is none, the driver will kick for the next one. */
struct vq_chain *vq_pop(struct virtqueue *vq);

/* Put the chain that was popped last back as if it had not been. */
void vq_unpop(struct virtqueue *vq, struct vq_chain *c);

/* Is a chain there to be popped? */
bool vq_ready(struct virtqueue *vq);

/* Give a chain back, of which `written` bytes have been stored; frees it. vq_flush() shows it to the guest. */
void vq_fill(struct vq_chain *c, uint64_t written);

/* Show the guest what has been given back, and interrupt it if it wants that. */
void vq_flush(struct virtqueue *vq);

/* Both at once. */
void vq_push(struct vq_chain *c, uint64_t written);

/* Forget a chain; frees it. Only for queues that were reset. */
void vq_drop(struct vq_chain *c);

/* -- Inside of virtio/: queue.c, packed.c, chain.c ---------------------------------------------------- */

/* Start with the rings at these guest-physical addresses. -EFAULT when they are not RAM. */
int vq_start(struct virtqueue *vq, uint16_t size, uint64_t desc, uint64_t driver, uint64_t device);

/* Copy what the walk found. */
struct vq_chain *vq_chain_new(struct virtqueue *vq, uint16_t id, uint16_t slots);

/* Begin a walk; add a descriptor to it: false when the ring is bad, which has then been reported. */
void vq_walk_begin(struct virtqueue *vq);
bool vq_walk_add(struct virtqueue *vq, uint64_t gpa, uint32_t len, bool write);
/* Read an indirect table of len bytes into scratch->table; the number of its descriptors, or 0. */
unsigned vq_read_indirect(struct virtqueue *vq, uint64_t gpa, uint32_t len);

struct vq_chain *vq_packed_pop(struct virtqueue *vq);
bool vq_packed_ready(struct virtqueue *vq);
void vq_packed_unpop(struct virtqueue *vq, const struct vq_chain *c);
void vq_packed_fill(struct virtqueue *vq, const struct vq_chain *c, uint32_t written);
bool vq_packed_publish(struct virtqueue *vq); /* whether to interrupt */

/* A 16-bit field of a ring that the guest reads or writes at the same time. */
static inline uint16_t vq_load(const uint8_t *at)
{
	return __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

static inline void vq_store(uint8_t *at, uint16_t val)
{
	__atomic_store_n((uint16_t *)(void *)at, val, __ATOMIC_RELEASE);
}

/* Nothing moves across this, as atomic_thread_fence(), which the thread sanitizer does not know. */
static inline void vq_barrier(void)
{
	unsigned own = 0;

	__asm__ volatile("lock; addl $0, %0" : "+m"(own) : : "memory", "cc");
}

/* 2.7.10.1: has the index passed the event index between old and new? */
static inline bool vq_need_event(uint16_t event, uint16_t new_idx, uint16_t old)
{
	return (uint16_t)(new_idx - event - 1) < (uint16_t)(new_idx - old);
}

/* Descriptor flags: of both formats, then of the packed one. */
enum { VQ_NEXT = 1, VQ_WRITE = 2, VQ_INDIRECT = 4, VQ_AVAIL = 0x80, VQ_USED = 0x8000 };

#endif
