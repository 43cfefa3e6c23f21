/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over memory-mapped registers.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 4.2; version 2 of the registers.
 * Missing: the legacy interface (version 1), queue reset, shared memory regions.
 *
 * The specification does not make drivers wait for a reset here: one that comes while a disk still writes into
 * the guest's buffers may be over for the driver before it is for the disk.
 */
#include <stdlib.h>

#include "base/bits.h"
#include "virtio/transport_mmio.h"

#define MAGIC   0x74726976u /* "virt" */
#define VERSION 2u
#define VENDOR  0x1af4u

/* 4.2.2 */
enum {
	R_MAGIC = 0x00, R_VERSION = 0x04, R_DEVICE_ID = 0x08, R_VENDOR_ID = 0x0c, R_DEVICE_FEATURES = 0x10,
	R_DEVICE_FEATURES_SEL = 0x14, R_DRIVER_FEATURES = 0x20, R_DRIVER_FEATURES_SEL = 0x24, R_QUEUE_SEL = 0x30,
	R_QUEUE_NUM_MAX = 0x34, R_QUEUE_NUM = 0x38, R_QUEUE_READY = 0x44, R_QUEUE_NOTIFY = 0x50, R_INT_STATUS = 0x60,
	R_INT_ACK = 0x64, R_STATUS = 0x70, R_QUEUE_DESC = 0x80, R_QUEUE_DRIVER = 0x90, R_QUEUE_DEVICE = 0xa0,
	R_SHM_LEN = 0xb0, R_SHM_LEN_HIGH = 0xb4, R_SHM_BASE = 0xb8, R_SHM_BASE_HIGH = 0xbc, R_CONFIG_GENERATION = 0xfc,
	R_CONFIG = 0x100,
};

enum { INT_QUEUE = 1, INT_CONFIG = 2 };

struct virtio_mmio {
	struct device dev;
	struct virtio_device *vd;
	struct irq_line irq;
	struct lock irq_lock; /* RANK_PCI_INTX: what follows, with the wire */
	uint32_t status;
	/* vd->lock */
	uint32_t device_select, driver_select, queue_select;
};

/* -- Interrupts -------------------------------------------------------------------------------------------- */

static void change_status(struct virtio_mmio *m, uint32_t set, uint32_t clear)
{
	lock_take(&m->irq_lock);
	m->status = (m->status | set) & ~clear;
	irq_set(&m->irq, m->status != 0);
	lock_drop(&m->irq_lock);
}

static void queue_interrupt(void *opaque, unsigned queue)
{
	change_status(opaque, INT_QUEUE, 0);
}

static void config_interrupt(void *opaque)
{
	change_status(opaque, INT_CONFIG, 0);
}

static uint32_t read_status(struct virtio_mmio *m)
{
	uint32_t status;

	lock_take(&m->irq_lock);
	status = m->status;
	lock_drop(&m->irq_lock);
	return status;
}

/* -- Registers ---------------------------------------------------------------------------------------------- */

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

static uint32_t read_locked(struct virtio_mmio *m, unsigned off)
{
	struct virtio_device *vd = m->vd;
	bool there = m->queue_select < vd->n_queues;

	switch (off) {
	case R_MAGIC:
		return MAGIC;
	case R_VERSION:
		return VERSION;
	case R_DEVICE_ID:
		return vd->id;
	case R_VENDOR_ID:
		return VENDOR;
	case R_DEVICE_FEATURES:
		return feature_word(vd->host_features, m->device_select);
	case R_QUEUE_NUM_MAX:
		return there ? vd->queue_size : 0;
	case R_QUEUE_READY:
		return there && vd->q_enabled[m->queue_select];
	case R_INT_STATUS:
		return read_status(m);
	case R_STATUS:
		return virtio_status(vd);
	case R_SHM_LEN: /* no such region: all ones */
	case R_SHM_LEN_HIGH:
	case R_SHM_BASE:
	case R_SHM_BASE_HIGH:
		return UINT32_MAX;
	case R_CONFIG_GENERATION:
		return atomic_load(&vd->config_gen);
	}
	return 0;
}

static void set_half(uint64_t *addr, bool high, uint32_t val)
{
	*addr = high ? (*addr & UINT32_MAX) | (uint64_t)val << 32 : (*addr & ~(uint64_t)UINT32_MAX) | val;
}

static void write_queue(struct virtio_mmio *m, unsigned off, uint32_t val)
{
	struct virtio_device *vd = m->vd;
	unsigned q = m->queue_select;

	if (q >= vd->n_queues)
		return;
	if (off == R_QUEUE_READY && val & 1)
		virtio_queue_enable(vd, q);
	else if (off == R_QUEUE_READY)
		virtio_queue_disable(vd, q);
	if (vd->q_enabled[q])
		return;
	if (off == R_QUEUE_NUM)
		vd->q_size[q] = (uint16_t)MIN(val, UINT16_MAX);
	else if ((off & ~4u) == R_QUEUE_DESC)
		set_half(&vd->q_desc[q], off & 4, val);
	else if ((off & ~4u) == R_QUEUE_DRIVER)
		set_half(&vd->q_driver[q], off & 4, val);
	else if ((off & ~4u) == R_QUEUE_DEVICE)
		set_half(&vd->q_device[q], off & 4, val);
}

static void write_locked(struct virtio_mmio *m, unsigned off, uint32_t val)
{
	struct virtio_device *vd = m->vd;

	switch (off) {
	case R_DEVICE_FEATURES_SEL:
		m->device_select = val;
		return;
	case R_DRIVER_FEATURES_SEL:
		m->driver_select = val;
		return;
	case R_DRIVER_FEATURES:
		virtio_set_features(vd, m->driver_select, val);
		return;
	case R_QUEUE_SEL:
		m->queue_select = val;
		return;
	case R_INT_ACK:
		change_status(m, 0, val);
		return;
	case R_STATUS:
		virtio_set_status(vd, (uint8_t)val);
		if (!(uint8_t)val)
			change_status(m, 0, UINT32_MAX);
		return;
	}
	write_queue(m, off, val);
}

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
	struct virtio_mmio *m = opaque;
	uint64_t val = 0;

	lock_take(&m->vd->lock);
	if (off >= R_CONFIG)
		val = virtio_config_read(m->vd, (unsigned)off - R_CONFIG, size);
	else if (size == 4 && !(off & 3))
		val = read_locked(m, (unsigned)off);
	lock_drop(&m->vd->lock);
	return val;
}

static void mmio_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct virtio_mmio *m = opaque;

	if (off == R_QUEUE_NOTIFY) {
		virtio_kick(m->vd, (unsigned)val);
		return;
	}
	lock_take(&m->vd->lock);
	if (off >= R_CONFIG)
		virtio_config_write(m->vd, (unsigned)off - R_CONFIG, size, val);
	else if (size == 4 && !(off & 3))
		write_locked(m, (unsigned)off, (uint32_t)val);
	lock_drop(&m->vd->lock);
}

static const struct io_ops mmio_io = { .read = mmio_read, .write = mmio_write };

int virtio_mmio_attach(struct virtio_mmio *m, struct space *mem, uint64_t base)
{
	struct region *r;

	return space_add_io(mem, &r, m->vd->dev.ops->name, base, VIRTIO_MMIO_SIZE, &mmio_io, m, NULL);
}

/* -- Life -------------------------------------------------------------------------------------------------- */

static void virtio_mmio_reset(struct device *d)
{
	struct virtio_mmio *m = (struct virtio_mmio *)d;

	lock_take(&m->vd->lock);
	m->device_select = m->driver_select = m->queue_select = 0;
	change_status(m, 0, UINT32_MAX);
	lock_drop(&m->vd->lock);
}

static int virtio_mmio_post_load(struct device *d)
{
	change_status((struct virtio_mmio *)d, 0, ~(uint32_t)(INT_QUEUE | INT_CONFIG));
	return 0;
}

static void virtio_mmio_free(struct device *d)
{
	struct virtio_mmio *m = (struct virtio_mmio *)d;

	lock_release(&m->irq_lock);
	free(m);
}

static const struct state_field virtio_mmio_state[] = {
	STATE_U32(struct virtio_mmio, status),
	STATE_U32(struct virtio_mmio, device_select),
	STATE_U32(struct virtio_mmio, driver_select),
	STATE_U32(struct virtio_mmio, queue_select),
	STATE_END(),
};

static const struct device_ops virtio_mmio_ops = {
	.name = "virtio-mmio",
	.reset = virtio_mmio_reset,
	.post_load = virtio_mmio_post_load,
	.free = virtio_mmio_free,
	.state = virtio_mmio_state,
	.state_version = 1,
};

struct virtio_mmio *virtio_mmio_new(struct virtio_device *vd, struct irq_line irq)
{
	struct virtio_mmio *m = calloc(1, sizeof(*m));

	BUG_ON(!m);
	m->dev.ops = &virtio_mmio_ops;
	list_init(&m->dev.node);
	m->vd = vd;
	m->irq = irq;
	lock_init(&m->irq_lock, RANK_PCI_INTX);
	vd->transport = (struct virtio_transport){ queue_interrupt, config_interrupt, m };
	return m;
}
