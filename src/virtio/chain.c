/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walking a chain of descriptors: what both ring formats share, with all checks of what a guest wrote. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "virtio/virtio.h"

/*
 * The longest chain in bytes is 2^32 (2.7.5.2). One that says more is refused; so all sums
 * of lengths stay far from overflow.
 */
#define MAX_CHAIN_BYTES BIT(32)

void vq_walk_begin(struct virtqueue *vq)
{
	struct vq_scratch *s = vq->scratch;

	s->n_out = s->n_in = s->n_seg = 0;
	s->out_len = s->in_len = 0;
}

bool vq_walk_add(struct virtqueue *vq, uint64_t gpa, uint32_t len, bool write)
{
	struct vq_scratch *s = vq->scratch;
	struct iovec *iov = write ? s->in : s->out;
	unsigned *n = write ? &s->n_in : &s->n_out;
	int pieces;

	if (!write && s->n_seg) {
		virtio_break(vq->vd, "a buffer to be read behind one to be written");
		return false;
	}
	pieces = s->n_seg < VQ_MAX_SIZE ? space_dma_map(vq->vd->mem, gpa, len, write, iov + *n, VQ_MAX_SIZE - *n) : -1;
	if (pieces < 0 || s->in_len + s->out_len + len > MAX_CHAIN_BYTES) {
		virtio_break(vq->vd, "a buffer outside of RAM, or a chain that is too long");
		return false;
	}
	*n += (unsigned)pieces;
	if (write) {
		s->seg[s->n_seg++] = (struct vq_seg){ gpa, len };
		s->in_len += len;
	} else {
		s->out_len += len;
	}
	return true;
}

unsigned vq_read_indirect(struct virtqueue *vq, uint64_t gpa, uint32_t len)
{
	const char *why = NULL;

	if (!vq->indirect)
		why = "an indirect descriptor without the feature";
	else if (!len || len % VQ_DESC_SIZE || len > VQ_MAX_SIZE * VQ_DESC_SIZE)
		why = "an indirect table of a senseless size";
	else if (space_dma_read(vq->vd->mem, gpa, vq->scratch->table, len))
		why = "an indirect table outside of RAM";
	if (!why)
		return len / VQ_DESC_SIZE;
	virtio_break(vq->vd, why);
	return 0;
}

struct vq_chain *vq_chain_new(struct virtqueue *vq, uint16_t id, uint16_t slots)
{
	const struct vq_scratch *s = vq->scratch;
	size_t iovs = (s->n_out + s->n_in) * sizeof(struct iovec), segs = s->n_seg * sizeof(struct vq_seg);
	struct vq_chain *c;

	/* Otherwise a driver that offers what it has not got back could make us hold any number of chains. */
	if (vq->in_flight + vq->filled + slots > vq->size) {
		virtio_break(vq->vd, "more descriptors under way than the ring has");
		return NULL;
	}
	c = malloc(sizeof(*c) + iovs + segs);
	if (!c) {
		virtio_break(vq->vd, "the host has no memory for a request");
		return NULL;
	}
	*c = (struct vq_chain){
		.vq = vq, .generation = vq->generation, .id = id, .slots = slots, .n_out = s->n_out, .n_in = s->n_in,
		.n_seg = s->n_seg, .out_len = s->out_len, .in_len = s->in_len,
	};
	c->out = (struct iovec *)(c + 1);
	c->in = c->out + c->n_out;
	c->seg = (struct vq_seg *)(c->in + c->n_in);
	memcpy(c->out, s->out, c->n_out * sizeof(struct iovec));
	memcpy(c->in, s->in, c->n_in * sizeof(struct iovec));
	memcpy(c->seg, s->seg, segs);
	vq->in_flight += slots;
	vq->chains++;
	atomic_fetch_add(&vq->vd->in_flight, 1);
	return c;
}

void vq_drop(struct vq_chain *c)
{
	if (c->generation == c->vq->generation)
		c->vq->in_flight -= c->slots;
	atomic_fetch_sub(&c->vq->vd->in_flight, 1);
	free(c);
}
