/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI, the modern interface: capabilities that point into one memory BAR, MSI-X or INTx.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 4.1.
 * Missing: the legacy and transitional interface, ring reset, administration queues, shared memory regions.
 *
 * BAR 1 is MSI-X's. BAR 4, 16 KiB:
 *   0x0000 common configuration   0x1000 ISR   0x2000 device configuration   0x3000 notification, 4 bytes a queue
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "virtio/transport_pci.h"

#define MSIX_BAR    1
#define MODERN_BAR  4
#define BAR_SIZE    0x4000u
#define COMMON_OFF  0x0000u
#define ISR_OFF     0x1000u
#define DEVICE_OFF  0x2000u
#define NOTIFY_OFF  0x3000u
#define NOTIFY_MULT 4u
#define COMMON_LEN  0x38u

#define PCI_CAP_VENDOR     0x09
#define VIRTIO_PCI_VENDOR  0x1af4
#define VIRTIO_PCI_DEVICE  0x1040 /* and the device type */
#define VIRTIO_PCI_REVISION 1     /* 4.1.2.1: not transitional */

/* Types of capabilities, 4.1.4 */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_PCI_CFG };

/* struct virtio_pci_cap: id, next, length, type, bar, id, padding, offset, length; more for some types */
enum { CAP_LEN = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_SIZE = 16, CAP_DATA = 16 };

/* struct virtio_pci_common_cfg, 4.1.4.3 */
enum {
	C_DEVICE_FEATURE_SELECT = 0x00, C_DEVICE_FEATURE = 0x04, C_DRIVER_FEATURE_SELECT = 0x08,
	C_DRIVER_FEATURE = 0x0c, C_CONFIG_VECTOR = 0x10, C_NUM_QUEUES = 0x12, C_STATUS = 0x14, C_GENERATION = 0x15,
	C_QUEUE_SELECT = 0x16, C_QUEUE_SIZE = 0x18, C_QUEUE_VECTOR = 0x1a, C_QUEUE_ENABLE = 0x1c,
	C_QUEUE_NOTIFY_OFF = 0x1e, C_QUEUE_DESC = 0x20, C_QUEUE_DRIVER = 0x28, C_QUEUE_DEVICE = 0x30,
};

enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

struct virtio_pci {
	struct device dev;
	struct virtio_device *vd;
	struct pci_function fn;
	struct msix msix;
	uint8_t cfg_cap;                /* offset of the window for configuration cycles */
	_Atomic uint8_t isr;
	/* vd->lock */
	uint32_t device_select, driver_select;
	uint16_t queue_select;
	_Atomic uint16_t config_vector; /* read by who interrupts */
	_Atomic uint16_t vector[VIRTIO_MAX_QUEUES];
};

/* -- Interrupts ---------------------------------------------------------------------------------------- */

static void raise(struct virtio_pci *p, uint8_t isr, uint16_t vector)
{
	if (msix_enabled(&p->msix)) {
		msix_notify(&p->msix, vector);
		return;
	}
	atomic_fetch_or(&p->isr, isr);
	pci_set_intx(&p->fn, true);
}

static void queue_interrupt(void *opaque, unsigned queue)
{
	struct virtio_pci *p = opaque;

	raise(p, ISR_QUEUE, atomic_load(&p->vector[queue]));
}

static void config_interrupt(void *opaque)
{
	struct virtio_pci *p = opaque;

	raise(p, ISR_CONFIG, atomic_load(&p->config_vector));
}

/* Reading takes the bits and the interrupt away (4.1.4.5). */
static uint8_t read_isr(struct virtio_pci *p)
{
	uint8_t isr;

	pci_set_intx(&p->fn, false);
	isr = atomic_exchange(&p->isr, 0);
	return isr;
}

/* -- Common configuration -------------------------------------------------------------------------------- */

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

static uint64_t *queue_address(struct virtio_device *vd, unsigned q, unsigned off)
{
	if (off < C_QUEUE_DRIVER)
		return &vd->q_desc[q];
	return off < C_QUEUE_DEVICE ? &vd->q_driver[q] : &vd->q_device[q];
}

static uint64_t queue_read(struct virtio_pci *p, unsigned off)
{
	struct virtio_device *vd = p->vd;
	unsigned q = p->queue_select;

	if (q >= vd->n_queues)
		return 0;
	switch (off) {
	case C_QUEUE_SIZE:
		return vd->q_size[q];
	case C_QUEUE_VECTOR:
		return atomic_load(&p->vector[q]);
	case C_QUEUE_ENABLE:
		return vd->q_enabled[q];
	case C_QUEUE_NOTIFY_OFF:
		return q;
	}
	if (off >= C_QUEUE_DESC && off < COMMON_LEN)
		return *queue_address(vd, q, off) >> (off & 4 ? 32 : 0);
	return 0;
}

static uint64_t common_read(struct virtio_pci *p, unsigned off)
{
	struct virtio_device *vd = p->vd;

	switch (off) {
	case C_DEVICE_FEATURE_SELECT:
		return p->device_select;
	case C_DEVICE_FEATURE:
		return feature_word(vd->host_features, p->device_select);
	case C_DRIVER_FEATURE_SELECT:
		return p->driver_select;
	case C_DRIVER_FEATURE:
		return feature_word(vd->guest_features, p->driver_select);
	case C_CONFIG_VECTOR:
		return atomic_load(&p->config_vector);
	case C_NUM_QUEUES:
		return vd->n_queues;
	case C_STATUS:
		return virtio_status(vd);
	case C_GENERATION:
		return atomic_load(&vd->config_gen);
	case C_QUEUE_SELECT:
		return p->queue_select;
	}
	return queue_read(p, off);
}

/* A vector that is not there reads back as none (4.1.5.1.2.1). */
static uint16_t valid_vector(const struct virtio_pci *p, uint64_t val)
{
	return val < p->msix.vectors ? (uint16_t)val : MSIX_NO_VECTOR;
}

static void set_queue_address(struct virtio_device *vd, unsigned q, unsigned off, unsigned size, uint64_t val)
{
	uint64_t *addr = queue_address(vd, q, off);

	if (size == 8)
		*addr = val;
	else if (off & 4)
		*addr = (*addr & UINT32_MAX) | val << 32;
	else
		*addr = (*addr & ~(uint64_t)UINT32_MAX) | val;
}

static void queue_write(struct virtio_pci *p, unsigned off, unsigned size, uint64_t val)
{
	struct virtio_device *vd = p->vd;
	unsigned q = p->queue_select;

	if (q >= vd->n_queues)
		return;
	if (off == C_QUEUE_VECTOR)
		atomic_store(&p->vector[q], valid_vector(p, val));
	if (vd->q_enabled[q])
		return;
	if (off == C_QUEUE_SIZE)
		vd->q_size[q] = (uint16_t)val;
	else if (off == C_QUEUE_ENABLE && val == 1)
		virtio_queue_enable(vd, q);
	else if (off >= C_QUEUE_DESC && off < COMMON_LEN && size >= 4)
		set_queue_address(vd, q, off, size, val);
}

static void forget_vectors(struct virtio_pci *p)
{
	atomic_store(&p->config_vector, MSIX_NO_VECTOR);
	for (unsigned q = 0; q < VIRTIO_MAX_QUEUES; q++)
		atomic_store(&p->vector[q], MSIX_NO_VECTOR);
}

static void common_write(struct virtio_pci *p, unsigned off, unsigned size, uint64_t val)
{
	struct virtio_device *vd = p->vd;

	switch (off) {
	case C_DEVICE_FEATURE_SELECT:
		p->device_select = (uint32_t)val;
		return;
	case C_DRIVER_FEATURE_SELECT:
		p->driver_select = (uint32_t)val;
		return;
	case C_DRIVER_FEATURE:
		virtio_set_features(vd, p->driver_select, (uint32_t)val);
		return;
	case C_CONFIG_VECTOR:
		atomic_store(&p->config_vector, valid_vector(p, val));
		return;
	case C_STATUS:
		virtio_set_status(vd, (uint8_t)val);
		if (!(uint8_t)val) {
			forget_vectors(p);
			read_isr(p);
		}
		return;
	case C_QUEUE_SELECT:
		p->queue_select = (uint16_t)val;
		return;
	}
	queue_write(p, off, size, val);
}

/* -- The BAR ------------------------------------------------------------------------------------------------ */

static uint64_t bar_read(void *opaque, uint64_t off, unsigned size)
{
	struct virtio_pci *p = opaque;
	uint64_t val = 0;

	if (off >= ISR_OFF && off < DEVICE_OFF)
		return off == ISR_OFF ? read_isr(p) : 0;
	lock_take(&p->vd->lock);
	if (off < COMMON_LEN)
		val = common_read(p, (unsigned)off);
	else if (off >= DEVICE_OFF && off < NOTIFY_OFF)
		val = virtio_config_read(p->vd, (unsigned)off - DEVICE_OFF, size);
	lock_drop(&p->vd->lock);
	return val;
}

static void bar_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct virtio_pci *p = opaque;

	if (off >= NOTIFY_OFF) {
		virtio_kick(p->vd, (unsigned)(off - NOTIFY_OFF) / NOTIFY_MULT);
		return;
	}
	lock_take(&p->vd->lock);
	if (off < COMMON_LEN)
		common_write(p, (unsigned)off, size, val);
	else if (off >= DEVICE_OFF)
		virtio_config_write(p->vd, (unsigned)off - DEVICE_OFF, size, val);
	lock_drop(&p->vd->lock);
}

/* The device's lock is taken inside, where it is needed: kicks take only their queue's. */
static const struct io_ops bar_io = { .read = bar_read, .write = bar_write };

/* -- Configuration space ---------------------------------------------------------------------------------- */

/* 4.1.4.9: a window on the BAR for who can't map it. Whether its registers say something sensible. */
static bool window(const struct virtio_pci *p, uint32_t *off, uint32_t *len)
{
	const uint8_t *cap = p->fn.config + p->cfg_cap;

	*off = get_le32(cap + CAP_OFFSET);
	*len = get_le32(cap + CAP_LENGTH);
	return cap[CAP_BAR] == MODERN_BAR && (*len == 1 || *len == 2 || *len == 4) && !(*off % *len) && *off < BAR_SIZE;
}

static bool is_window_data(const struct virtio_pci *p, unsigned off, unsigned size)
{
	unsigned data = p->cfg_cap + CAP_DATA;

	return off < data + 4 && off + size > data;
}

static void config_reading(struct pci_function *f, unsigned off, unsigned size)
{
	struct virtio_pci *p = CONTAINER_OF(f, struct virtio_pci, fn);
	uint32_t at, len;

	if (is_window_data(p, off, size) && window(p, &at, &len))
		put_le32(f->config + p->cfg_cap + CAP_DATA, (uint32_t)(bar_read(p, at, len) & size_mask(len)));
}

static void config_written(struct pci_function *f, unsigned off, unsigned size)
{
	struct virtio_pci *p = CONTAINER_OF(f, struct virtio_pci, fn);
	uint32_t at, len;

	msix_config_written(&p->msix, off, size);
	if (is_window_data(p, off, size) && window(p, &at, &len))
		bar_write(p, at, len, get_le32(f->config + p->cfg_cap + CAP_DATA) & size_mask(len));
}

static uint8_t add_cap(struct virtio_pci *p, uint8_t type, uint8_t size, uint32_t off, uint32_t len)
{
	uint8_t at = pci_add_capability(&p->fn, PCI_CAP_VENDOR, size);
	uint8_t *cap = p->fn.config + at;

	cap[CAP_LEN] = size;
	cap[CAP_TYPE] = type;
	cap[CAP_BAR] = MODERN_BAR;
	put_le32(cap + CAP_OFFSET, off);
	put_le32(cap + CAP_LENGTH, len);
	return at;
}

static void add_capabilities(struct virtio_pci *p)
{
	uint8_t at;

	add_cap(p, CAP_COMMON, CAP_SIZE, COMMON_OFF, COMMON_LEN);
	at = add_cap(p, CAP_NOTIFY, CAP_SIZE + 4, NOTIFY_OFF, p->vd->n_queues * NOTIFY_MULT);
	put_le32(p->fn.config + at + CAP_SIZE, NOTIFY_MULT);
	add_cap(p, CAP_ISR, CAP_SIZE, ISR_OFF, 1);
	if (p->vd->config_size)
		add_cap(p, CAP_DEVICE, CAP_SIZE, DEVICE_OFF, p->vd->config_size);
	p->cfg_cap = add_cap(p, CAP_PCI_CFG, CAP_SIZE + 4, 0, 0);
	p->fn.writable[p->cfg_cap + CAP_BAR] = 0xff;
	memset(p->fn.writable + p->cfg_cap + CAP_OFFSET, 0xff, 12);
}

/* -- Life ------------------------------------------------------------------------------------------------- */

/* Class codes as drivers and people expect them; anything else is an unclassified device. */
static uint32_t class_of(enum virtio_id id)
{
	switch (id) {
	case VIRTIO_ID_NET:
		return 0x020000;
	case VIRTIO_ID_BLOCK:
		return 0x010000;
	case VIRTIO_ID_CONSOLE:
		return 0x078000;
	case VIRTIO_ID_FS:
		return 0x018000;
	default:
		return 0x00ff00;
	}
}

static void virtio_pci_reset(struct device *d)
{
	struct virtio_pci *p = (struct virtio_pci *)d;

	pci_function_reset(&p->fn);
	msix_reset(&p->msix);
	lock_take(&p->vd->lock);
	p->device_select = p->driver_select = 0;
	p->queue_select = 0;
	forget_vectors(p);
	read_isr(p);
	lock_drop(&p->vd->lock);
}

static int virtio_pci_post_load(struct device *d)
{
	struct virtio_pci *p = (struct virtio_pci *)d;
	int rc = pci_function_post_load(&p->fn);

	if (!rc)
		rc = msix_post_load(&p->msix);
	if (rc)
		return rc;
	pci_set_intx(&p->fn, atomic_load(&p->isr) != 0);
	return 0;
}

static void virtio_pci_free(struct device *d)
{
	struct virtio_pci *p = (struct virtio_pci *)d;

	pci_function_release(&p->fn);
	msix_release(&p->msix);
	free(p);
}

static const struct state_field virtio_pci_state[] = {
	STATE_BYTES(struct virtio_pci, fn.config),
	STATE_BYTES(struct virtio_pci, msix.table),
	STATE_BYTES(struct virtio_pci, msix.pba),
	STATE_U8(struct virtio_pci, isr),
	STATE_U32(struct virtio_pci, device_select),
	STATE_U32(struct virtio_pci, driver_select),
	STATE_U16(struct virtio_pci, queue_select),
	STATE_U16(struct virtio_pci, config_vector),
	STATE_ARRAY(struct virtio_pci, vector),
	STATE_END(),
};

static const struct device_ops virtio_pci_ops = {
	.name = "virtio-pci",
	.reset = virtio_pci_reset,
	.post_load = virtio_pci_post_load,
	.free = virtio_pci_free,
	.state = virtio_pci_state,
	.state_version = 1,
};

struct virtio_pci *virtio_pci_new(struct virtio_device *vd, const struct virtio_pci_config *c)
{
	struct virtio_pci *p = calloc(1, sizeof(*p));
	const struct pci_ids ids = {
		.vendor = VIRTIO_PCI_VENDOR, .device = (uint16_t)(VIRTIO_PCI_DEVICE + vd->id), .class_code = class_of(vd->id),
		.revision = VIRTIO_PCI_REVISION, .subvendor = VIRTIO_PCI_VENDOR, .subsystem = 0x40,
	};
	const struct pci_bar bar = {
		.type = PCI_BAR_MEM64, .prefetch = true, .size = BAR_SIZE, .name = vd->dev.ops->name, .ops = &bar_io, .opaque = p,
	};

	BUG_ON(!p);
	p->dev.ops = &virtio_pci_ops;
	list_init(&p->dev.node);
	p->vd = vd;
	pci_function_init(&p->fn, c->bus, c->devfn, &ids);
	p->fn.config[PCI_INTERRUPT_PIN] = 1;
	p->fn.written = config_written;
	p->fn.reading = config_reading;
	msix_init(&p->msix, &p->fn, MSIX_BAR, c->vectors ? c->vectors : vd->n_queues + 1, c->msi);
	pci_add_bar(&p->fn, MODERN_BAR, &bar);
	add_capabilities(p);
	pci_function_seal(&p->fn);
	forget_vectors(p);
	vd->transport = (struct virtio_transport){ queue_interrupt, config_interrupt, p };
	return p;
}
