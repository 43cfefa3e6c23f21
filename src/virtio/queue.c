/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues: the split format, and what is common to both.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 2.7.
 * Missing: VIRTIO_F_IN_ORDER, VIRTIO_F_RING_RESET, VIRTIO_F_NOTIFICATION_DATA (not offered).
 *
 * The guest is not trusted: all that stands in a ring is read once, checked, and used from our copy. A chain is
 * followed for at most as many descriptors as the ring or its indirect table has, so a loop ends there.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/endian.h"
#include "virtio/virtio.h"

/* Available ring: flags, idx, ring[size], used_event. Used ring: flags, idx, ring[size] of {id, len}, avail_event. */
#define RING_FLAGS       0
#define RING_IDX         2
#define RING_ENTRIES     4
#define USED_ENTRY_SIZE  8
#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY   1

struct desc {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags, next;
};

static struct desc parse_desc(const uint8_t *p)
{
	return (struct desc){ get_le64(p), get_le32(p + 8), get_le16(p + 12), get_le16(p + 14) };
}

/* -- Start ------------------------------------------------------------------------------------------- */

/* The host address of a part of the ring: RAM in one piece, and aligned. */
static uint8_t *map_ring(struct virtqueue *vq, uint64_t gpa, uint64_t len, unsigned align, bool write)
{
	struct iovec iov;

	if (gpa % align || space_dma_map(vq->vd->mem, gpa, len, write, &iov, 1) != 1)
		return NULL;
	return iov.iov_base;
}

static void map_rings(struct virtqueue *vq, uint64_t desc, uint64_t driver, uint64_t device)
{
	uint64_t n = vq->size, event = vq->event_idx ? 2 : 0;

	vq->desc_gpa = desc;
	vq->device_gpa = device;
	vq->desc = map_ring(vq, desc, n * VQ_DESC_SIZE, 16, vq->packed);
	if (vq->packed) {
		vq->driver = map_ring(vq, driver, 4, 4, false);
		vq->device = map_ring(vq, device, 4, 4, true);
	} else {
		vq->driver = map_ring(vq, driver, RING_ENTRIES + n * 2 + event, 2, false);
		vq->device = map_ring(vq, device, RING_ENTRIES + n * USED_ENTRY_SIZE + event, 4, true);
	}
}

int vq_start(struct virtqueue *vq, uint16_t size, uint64_t desc, uint64_t driver, uint64_t device)
{
	vq->packed = virtio_has(vq->vd, VIRTIO_F_PACKED);
	vq->event_idx = virtio_has(vq->vd, VIRTIO_F_EVENT_IDX);
	vq->indirect = virtio_has(vq->vd, VIRTIO_F_INDIRECT);
	vq->size = size;
	if (!size || size > vq->vd->queue_size || (!vq->packed && (size & (size - 1))))
		return -EINVAL;
	map_rings(vq, desc, driver, device);
	vq->last_avail = vq->used_idx = vq->filled = 0;
	vq->avail_wrap = vq->used_wrap = true;
	vq->signalled_valid = vq->kicks_off = false;
	if (!vq->scratch)
		vq->scratch = malloc(sizeof(*vq->scratch));
	BUG_ON(!vq->scratch);
	return vq->desc && vq->driver && vq->device ? 0 : -EFAULT;
}

/* -- Taking ------------------------------------------------------------------------------------------ */

static void wrote_device(struct virtqueue *vq, uint64_t off, uint64_t len)
{
	space_dma_wrote(vq->vd->mem, vq->device_gpa + off, len);
}

/* Ask for a kick at the next chain, or ask for none while we are looking anyway. */
static void want_kicks(struct virtqueue *vq, bool want)
{
	uint64_t event = RING_ENTRIES + (uint64_t)vq->size * USED_ENTRY_SIZE;

	if (vq->event_idx) {
		if (!want)
			return; /* the event index that was passed is enough */
		vq_store(vq->device + event, vq->last_avail);
		wrote_device(vq, event, 2);
	} else if (vq->kicks_off == want) {
		vq_store(vq->device + RING_FLAGS, want ? 0 : USED_NO_NOTIFY);
		wrote_device(vq, RING_FLAGS, 2);
	}
	vq->kicks_off = !want;
}

static bool split_ready(struct virtqueue *vq)
{
	uint16_t waiting = (uint16_t)(vq_load(vq->driver + RING_IDX) - vq->last_avail);

	if (waiting > vq->size) {
		virtio_break(vq->vd, "an available index that is too far ahead");
		return false;
	}
	return waiting;
}

/* As split_ready(), and if there is nothing, make sure that a kick will tell of the next chain. */
static bool split_ready_or_arm(struct virtqueue *vq)
{
	if (split_ready(vq)) {
		want_kicks(vq, false);
		return true;
	}
	if (atomic_load(&vq->vd->broken))
		return false;
	want_kicks(vq, true);
	/* Either the driver sees that, or we see its new index. */
	vq_barrier();
	return split_ready(vq);
}

static bool walk_indirect(struct virtqueue *vq, const struct desc *d)
{
	unsigned n = vq_read_indirect(vq, d->gpa, d->len), at = 0;
	struct desc e;

	for (unsigned left = n; left; left--) {
		e = parse_desc(vq->scratch->table + at * VQ_DESC_SIZE);
		if (e.flags & VQ_INDIRECT) {
			virtio_break(vq->vd, "an indirect descriptor in an indirect table");
			return false;
		}
		if (!vq_walk_add(vq, e.gpa, e.len, e.flags & VQ_WRITE))
			return false;
		if (!(e.flags & VQ_NEXT))
			return true;
		at = e.next;
		if (at >= n)
			break;
	}
	if (n)
		virtio_break(vq->vd, "an indirect chain that leaves its table or loops");
	return false;
}

static bool walk(struct virtqueue *vq, uint16_t head)
{
	uint16_t at = head;

	vq_walk_begin(vq);
	for (unsigned left = vq->size; left; left--) {
		struct desc d;
		uint8_t copy[VQ_DESC_SIZE];

		if (at >= vq->size)
			break;
		/* One copy: what is checked must be what is used. */
		for (unsigned i = 0; i < VQ_DESC_SIZE; i += 8)
			put_le64(copy + i, __atomic_load_n((const uint64_t *)(const void *)
							   (vq->desc + at * VQ_DESC_SIZE + i), __ATOMIC_RELAXED));
		d = parse_desc(copy);
		if (d.flags & VQ_INDIRECT) {
			if (!(d.flags & VQ_NEXT))
				return walk_indirect(vq, &d);
			virtio_break(vq->vd, "an indirect descriptor with a successor");
			return false;
		}
		if (!vq_walk_add(vq, d.gpa, d.len, d.flags & VQ_WRITE))
			return false;
		if (!(d.flags & VQ_NEXT))
			return true;
		at = d.next;
	}
	virtio_break(vq->vd, "a chain that leaves the ring or loops");
	return false;
}

static bool usable(const struct virtqueue *vq)
{
	return vq->running && !atomic_load(&vq->vd->broken);
}

bool vq_ready(struct virtqueue *vq)
{
	if (!usable(vq))
		return false;
	return vq->packed ? vq_packed_ready(vq) : split_ready(vq);
}

struct vq_chain *vq_pop(struct virtqueue *vq)
{
	struct vq_chain *c;
	uint16_t head;

	if (!usable(vq))
		return NULL;
	if (vq->packed)
		return vq_packed_pop(vq);
	if (!split_ready_or_arm(vq))
		return NULL;
	head = vq_load(vq->driver + RING_ENTRIES + 2 * (vq->last_avail & (vq->size - 1)));
	if (!walk(vq, head))
		return NULL;
	c = vq_chain_new(vq, head, 1);
	if (c)
		vq->last_avail++;
	return c;
}

void vq_unpop(struct virtqueue *vq, struct vq_chain *c)
{
	if (c->generation == vq->generation) {
		if (vq->packed)
			vq_packed_unpop(vq, c);
		else
			vq->last_avail--;
	}
	vq->chains--;
	vq_drop(c);
}

/* -- Giving back --------------------------------------------------------------------------------------- */

/* The dirty log and engines hear of what was stored. */
static void note_written(const struct vq_chain *c, uint64_t written)
{
	for (unsigned i = 0; i < c->n_seg && written; i++) {
		uint64_t n = MIN(written, c->seg[i].len);

		if (n)
			space_dma_wrote(c->vq->vd->mem, c->seg[i].gpa, n);
		written -= n;
	}
}

static void split_fill(struct virtqueue *vq, uint32_t id, uint32_t written)
{
	uint16_t slot = (uint16_t)(vq->used_idx + vq->filled) & (vq->size - 1);
	uint64_t off = RING_ENTRIES + (uint64_t)slot * USED_ENTRY_SIZE;

	__atomic_store_n((uint32_t *)(void *)(vq->device + off), id, __ATOMIC_RELAXED);
	__atomic_store_n((uint32_t *)(void *)(vq->device + off + 4), written, __ATOMIC_RELAXED);
	wrote_device(vq, off, USED_ENTRY_SIZE);
	vq->filled++;
}

/* Move the used index; whether the driver wants to be interrupted for that. */
static bool split_publish(struct virtqueue *vq)
{
	uint16_t old = vq->signalled, event;
	bool valid = vq->signalled_valid;

	vq->used_idx += vq->filled;
	vq_store(vq->device + RING_IDX, vq->used_idx);
	wrote_device(vq, RING_IDX, 2);
	/* Either the driver sees the index, or we see that it wants an interrupt. */
	vq_barrier();
	if (!vq->event_idx)
		return !(vq_load(vq->driver + RING_FLAGS) & AVAIL_NO_INTERRUPT);
	event = vq_load(vq->driver + RING_ENTRIES + 2 * vq->size);
	vq->signalled = vq->used_idx;
	vq->signalled_valid = true;
	return !valid || vq_need_event(event, vq->used_idx, old);
}

void vq_fill(struct vq_chain *c, uint64_t written)
{
	struct virtqueue *vq = c->vq;

	note_written(c, written);
	if (c->generation == vq->generation && !atomic_load(&vq->vd->broken)) {
		uint32_t len = (uint32_t)MIN(written, UINT32_MAX);

		if (vq->packed)
			vq_packed_fill(vq, c, len);
		else
			split_fill(vq, c->id, len);
	}
	vq_drop(c);
}

void vq_flush(struct virtqueue *vq)
{
	bool interrupt;

	if (!vq->filled)
		return;
	interrupt = vq->packed ? vq_packed_publish(vq) : split_publish(vq);
	vq->filled = 0;
	if (!interrupt)
		return;
	vq->interrupts++;
	vq->vd->transport.queue_interrupt(vq->vd->transport.opaque, vq->index);
}

void vq_push(struct vq_chain *c, uint64_t written)
{
	struct virtqueue *vq = c->vq;

	vq_fill(c, written);
	vq_flush(vq);
}
