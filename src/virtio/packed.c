/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues in the packed format: one ring of descriptors that changes hands by two flag bits.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 2.8.
 *
 * A descriptor is available when its AVAIL bit equals the wrap counter and its USED bit does not; it is used
 * when both equal it. So each slot is shown by one 16-bit store of its flags, after everything else.
 */
#include "base/bits.h"
#include "base/endian.h"
#include "virtio/virtio.h"

#define DESC_LEN    8
#define DESC_ID     12
#define DESC_FLAGS  14

/* Event suppression structure, 2.8.14: offset and wrap counter, then flags. */
#define EVENT_FLAGS   2
#define EVENT_ENABLE  0
#define EVENT_DISABLE 1
#define EVENT_DESC    2
#define EVENT_WRAP    0x8000u

static uint8_t *slot(const struct virtqueue *vq, unsigned n)
{
	return vq->desc + (size_t)n * VQ_DESC_SIZE;
}

static bool available(const struct virtqueue *vq, unsigned pos, bool wrap)
{
	uint16_t flags = vq_load(slot(vq, pos) + DESC_FLAGS);

	return !!(flags & VQ_AVAIL) == wrap && !!(flags & VQ_USED) != wrap;
}

bool vq_packed_ready(struct virtqueue *vq)
{
	return available(vq, vq->last_avail, vq->avail_wrap);
}

static void want_kicks(struct virtqueue *vq, bool want)
{
	uint16_t flags = want ? vq->event_idx ? EVENT_DESC : EVENT_ENABLE : EVENT_DISABLE;

	if (vq->kicks_off != want && !(want && vq->event_idx))
		return;
	if (want && vq->event_idx)
		vq_store(vq->device, (uint16_t)(vq->last_avail | (vq->avail_wrap ? EVENT_WRAP : 0)));
	vq_store(vq->device + EVENT_FLAGS, flags);
	space_dma_wrote(vq->vd->mem, vq->device_gpa, 4);
	vq->kicks_off = !want;
}

static bool ready_or_arm(struct virtqueue *vq)
{
	if (vq_packed_ready(vq)) {
		want_kicks(vq, false);
		return true;
	}
	want_kicks(vq, true);
	/* Either the driver sees that, or we see its new descriptor. */
	vq_barrier();
	return vq_packed_ready(vq);
}

/* In an indirect table only WRITE counts, and the order is that of the table (2.8.7). */
static bool walk_indirect(struct virtqueue *vq, uint64_t gpa, uint32_t len)
{
	unsigned n = vq_read_indirect(vq, gpa, len);

	for (unsigned i = 0; i < n; i++) {
		const uint8_t *e = vq->scratch->table + i * VQ_DESC_SIZE;

		if (!vq_walk_add(vq, get_le64(e), get_le32(e + DESC_LEN), get_le16(e + DESC_FLAGS) & VQ_WRITE))
			return false;
	}
	return n;
}

/* Collect the chain at last_avail: how many slots it takes and its id; 0 when it is bad. */
static unsigned walk(struct virtqueue *vq, uint16_t *id)
{
	unsigned pos = vq->last_avail, slots = 0;

	vq_walk_begin(vq);
	while (slots < vq->size) {
		const uint8_t *d = slot(vq, pos);
		uint64_t words[2] = {
			__atomic_load_n((const uint64_t *)(const void *)d, __ATOMIC_RELAXED),
			__atomic_load_n((const uint64_t *)(const void *)(d + 8), __ATOMIC_RELAXED),
		};
		uint32_t len = (uint32_t)words[1];
		uint16_t flags = (uint16_t)(words[1] >> 48);

		*id = (uint16_t)(words[1] >> 32);
		slots++;
		if (flags & VQ_INDIRECT) {
			if (slots == 1 && !(flags & VQ_NEXT))
				return walk_indirect(vq, words[0], len) ? slots : 0;
			virtio_break(vq->vd, "an indirect descriptor in a chain");
			return 0;
		}
		if (!vq_walk_add(vq, words[0], len, flags & VQ_WRITE))
			return 0;
		if (!(flags & VQ_NEXT))
			return slots;
		pos = pos + 1 == vq->size ? 0 : pos + 1;
	}
	virtio_break(vq->vd, "a chain that is longer than the ring");
	return 0;
}

struct vq_chain *vq_packed_pop(struct virtqueue *vq)
{
	struct vq_chain *c;
	uint16_t id = 0;
	unsigned slots;

	if (!ready_or_arm(vq))
		return NULL;
	slots = walk(vq, &id);
	if (!slots)
		return NULL;
	c = vq_chain_new(vq, id, (uint16_t)slots);
	if (!c)
		return NULL;
	vq->last_avail += (uint16_t)slots;
	if (vq->last_avail >= vq->size) {
		vq->last_avail -= vq->size;
		vq->avail_wrap = !vq->avail_wrap;
	}
	return c;
}

void vq_packed_unpop(struct virtqueue *vq, const struct vq_chain *c)
{
	if (vq->last_avail < c->slots) {
		vq->last_avail += vq->size;
		vq->avail_wrap = !vq->avail_wrap;
	}
	vq->last_avail -= c->slots;
}

void vq_packed_fill(struct virtqueue *vq, const struct vq_chain *c, uint32_t written)
{
	unsigned pos = vq->used_idx + vq->filled;
	bool wrap = vq->used_wrap;
	uint16_t flags;
	uint8_t *d;

	if (pos >= vq->size) {
		pos -= vq->size;
		wrap = !wrap;
	}
	d = slot(vq, pos);
	flags = (wrap ? VQ_AVAIL | VQ_USED : 0) | (c->n_seg ? VQ_WRITE : 0);
	__atomic_store_n((uint32_t *)(void *)(d + DESC_LEN), written, __ATOMIC_RELAXED);
	__atomic_store_n((uint16_t *)(void *)(d + DESC_ID), c->id, __ATOMIC_RELAXED);
	if (vq->filled) {
		vq_store(d + DESC_FLAGS, flags);
	} else {
		vq->first_flags = flags;
		vq->first_pos = (uint16_t)pos;
	}
	space_dma_wrote(vq->vd->mem, vq->desc_gpa + (uint64_t)pos * VQ_DESC_SIZE, VQ_DESC_SIZE);
	vq->filled += c->slots;
}

/* 2.8.10: does the driver want an interrupt for the step from old to used_idx? */
static bool wants_interrupt(struct virtqueue *vq, uint16_t old, bool wrapped)
{
	uint16_t flags, event, off;

	flags = vq_load(vq->driver + EVENT_FLAGS) & 3;
	if (flags != EVENT_DESC || !vq->event_idx)
		return flags != EVENT_DISABLE;
	event = vq_load(vq->driver);
	off = event & (uint16_t)~EVENT_WRAP;
	if (!!(event & EVENT_WRAP) != vq->used_wrap)
		off -= vq->size;
	return vq_need_event(off, vq->used_idx, wrapped ? (uint16_t)(old - vq->size) : old);
}

bool vq_packed_publish(struct virtqueue *vq)
{
	uint16_t old = vq->used_idx;
	bool wrapped = vq->used_idx + vq->filled >= vq->size;

	vq_store(slot(vq, vq->first_pos) + DESC_FLAGS, vq->first_flags);
	space_dma_wrote(vq->vd->mem, vq->desc_gpa + (uint64_t)vq->first_pos * VQ_DESC_SIZE, VQ_DESC_SIZE);
	vq->used_idx += vq->filled;
	if (wrapped) {
		vq->used_idx -= vq->size;
		vq->used_wrap = !vq->used_wrap;
	}
	/* Either the driver sees the flags, or we see that it wants an interrupt. */
	vq_barrier();
	return wants_interrupt(vq, old, wrapped);
}
