/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A driver for tests: a virtio device on a PCI bus, set up through its BAR, with rings of either format in guest RAM. */
#include <unistd.h>

#include "vtest.h"

#define WAIT_STEPS 5000 /* milliseconds */

static void on_msi(void *opaque, struct msi_msg msg)
{
	struct vtest *t = opaque;

	atomic_store(&t->last_data, msg.data);
	atomic_fetch_add(&t->msis, 1);
}

static void on_intx(void *opaque, unsigned n, bool level)
{
	struct vtest *t = opaque;

	atomic_store(&t->intx, level);
}

void v_init(struct vtest *t)
{
	struct pci_bus_config bc;
	struct region *r;
	struct err e;

	memset(t, 0, sizeof(*t));
	assert_int_equal(ram_new(&t->ram, V_RAM, &e), 0);
	t->mem = space_new("memory", 52);
	t->pio = space_new("ports", 16);
	assert_int_equal(space_add_ram(t->mem, &r, "ram", 0, V_RAM, t->ram, false), 0);
	bc = (struct pci_bus_config){
		.mem = t->mem, .pio = t->pio, .io = { 0x1000, 0xf000 }, .mem32 = { 0xc0000000, 0x3ec00000 },
	};
	for (unsigned i = 0; i < PCI_PINS; i++)
		bc.intx[i] = (struct irq_line){ on_intx, t, i };
	t->bus = pci_bus_new(&bc);
}

void v_plug(struct vtest *t, struct virtio_device *vd)
{
	const struct virtio_pci_config c = { .bus = t->bus, .devfn = PCI_DEVFN(3, 0), .msi = { on_msi, t } };

	t->vd = vd;
	t->pci = virtio_pci_new(vd, &c);
	pci_config_write(t->bus, 0, PCI_DEVFN(3, 0), PCI_BAR0 + 4, 4, V_MSIX);
	pci_config_write(t->bus, 0, PCI_DEVFN(3, 0), PCI_BAR0 + 16, 4, V_BAR);
	pci_config_write(t->bus, 0, PCI_DEVFN(3, 0), PCI_COMMAND, 2, PCI_CMD_MEMORY | PCI_CMD_MASTER);
}

void v_release(struct vtest *t)
{
	struct device *glue = (struct device *)t->pci;

	t->vd->dev.ops->quiesce(&t->vd->dev, true);
	glue->ops->free(glue);
	t->vd->dev.ops->free(&t->vd->dev);
	pci_bus_free(t->bus);
	space_free(t->pio);
	space_free(t->mem);
	ram_free(t->ram);
}

uint64_t v_read(struct vtest *t, unsigned off, unsigned size)
{
	return space_read(t->mem, V_BAR + off, size);
}

void v_write(struct vtest *t, unsigned off, unsigned size, uint64_t val)
{
	space_write(t->mem, V_BAR + off, size, val);
}

uint8_t *v_ptr(struct vtest *t, uint64_t gpa)
{
	return t->ram->base + gpa;
}

uint64_t v_desc(unsigned q)
{
	return V_RINGS + q * 0x10000;
}

uint64_t v_driver(unsigned q)
{
	return v_desc(q) + 0x4000;
}

uint64_t v_device(unsigned q)
{
	return v_desc(q) + 0x8000;
}

void v_reset(struct vtest *t)
{
	v_write(t, V_STATUS, 1, 0);
	for (unsigned i = 0; i < WAIT_STEPS && v_read(t, V_STATUS, 1); i++)
		usleep(1000);
	assert_int_equal(v_read(t, V_STATUS, 1), 0);
	memset(t->q, 0, sizeof(t->q));
	memset(v_ptr(t, V_RINGS), 0, 0x10000 * V_QUEUES);
}

void v_setup(struct vtest *t, uint64_t features, unsigned n)
{
	v_reset(t);
	features |= VIRTIO_F_VERSION_1;
	t->packed = features & VIRTIO_F_PACKED;
	v_write(t, V_STATUS, 1, 3);
	for (unsigned w = 0; w < 2; w++) {
		v_write(t, V_DRV_SEL, 4, w);
		v_write(t, V_DRV_FEAT, 4, (uint32_t)(features >> (32 * w)));
	}
	v_write(t, V_STATUS, 1, 11);
	assert_int_equal(v_read(t, V_STATUS, 1), 11);
	for (unsigned q = 0; q < n; q++) {
		v_write(t, V_Q_SEL, 2, q);
		v_write(t, V_Q_SIZE, 2, V_QSIZE);
		v_write(t, V_Q_DESC, 8, v_desc(q));
		v_write(t, V_Q_DRIVER, 4, v_driver(q));
		v_write(t, V_Q_DRIVER + 4, 4, 0);
		v_write(t, V_Q_DEVICE, 8, v_device(q));
		v_write(t, V_Q_ENABLE, 2, 1);
		t->q[q].avail_wrap = t->q[q].used_wrap = true;
	}
	v_write(t, V_STATUS, 1, 15);
}

static void add_split(struct vtest *t, unsigned q, const struct v_buf *b, unsigned n)
{
	struct v_queue *vq = &t->q[q];
	uint8_t *avail = v_ptr(t, v_driver(q));
	uint16_t head = vq->next;

	for (unsigned i = 0; i < n; i++) {
		uint8_t *d = v_ptr(t, v_desc(q) + vq->next % V_QSIZE * 16);
		bool last = i == n - 1;

		put_le64(d, b[i].gpa);
		put_le32(d + 8, b[i].len);
		put_le16(d + 12, (b[i].write ? VQ_WRITE : 0) | (last ? 0 : VQ_NEXT));
		vq->next = (uint16_t)((vq->next + 1) % V_QSIZE);
		put_le16(d + 14, vq->next);
	}
	put_le16(avail + 4 + 2 * (vq->avail % V_QSIZE), head);
	vq->avail++;
	vq_store(avail + 2, vq->avail);
}

static void add_packed(struct vtest *t, unsigned q, const struct v_buf *b, unsigned n)
{
	struct v_queue *vq = &t->q[q];
	uint8_t *first = NULL;
	uint16_t first_flags = 0;

	for (unsigned i = 0; i < n; i++) {
		uint8_t *d = v_ptr(t, v_desc(q) + vq->avail * 16);
		uint16_t flags = (b[i].write ? VQ_WRITE : 0) | (i == n - 1 ? 0 : VQ_NEXT) |
				 (vq->avail_wrap ? VQ_AVAIL : VQ_USED);

		put_le64(d, b[i].gpa);
		put_le32(d + 8, b[i].len);
		put_le16(d + 12, (uint16_t)n); /* the id: how many to skip */
		if (i) {
			vq_store(d + 14, flags);
		} else {
			first = d;
			first_flags = flags;
		}
		if (++vq->avail == V_QSIZE) {
			vq->avail = 0;
			vq->avail_wrap = !vq->avail_wrap;
		}
	}
	vq_store(first + 14, first_flags);
}

void v_add(struct vtest *t, unsigned q, const struct v_buf *b, unsigned n)
{
	if (t->packed)
		add_packed(t, q, b, n);
	else
		add_split(t, q, b, n);
}

void v_kick(struct vtest *t, unsigned q)
{
	v_write(t, V_NOTIFY + 4 * q, 2, q);
}

static bool used_split(struct vtest *t, unsigned q, int64_t *len)
{
	uint8_t *used = v_ptr(t, v_device(q));
	struct v_queue *vq = &t->q[q];

	if (vq_load(used + 2) == vq->used)
		return false;
	*len = get_le32(used + 4 + vq->used % V_QSIZE * 8 + 4);
	vq->used++;
	return true;
}

static bool used_packed(struct vtest *t, unsigned q, int64_t *len)
{
	struct v_queue *vq = &t->q[q];
	uint8_t *d = v_ptr(t, v_desc(q) + vq->used * 16);
	uint16_t flags = vq_load(d + 14);

	if (!!(flags & VQ_AVAIL) != vq->used_wrap || !!(flags & VQ_USED) != vq->used_wrap)
		return false;
	*len = get_le32(d + 8);
	vq->used += get_le16(d + 12);
	if (vq->used >= V_QSIZE) {
		vq->used -= V_QSIZE;
		vq->used_wrap = !vq->used_wrap;
	}
	return true;
}

int64_t v_used(struct vtest *t, unsigned q)
{
	int64_t len;

	for (unsigned i = 0; i < WAIT_STEPS; i++, usleep(1000))
		if (t->packed ? used_packed(t, q, &len) : used_split(t, q, &len))
			return len;
	return -1;
}

int64_t v_do(struct vtest *t, unsigned q, const struct v_buf *b, unsigned n)
{
	v_add(t, q, b, n);
	v_kick(t, q);
	return v_used(t, q);
}

bool v_broken(struct vtest *t)
{
	for (unsigned i = 0; i < 500; i++, usleep(1000))
		if (v_read(t, V_STATUS, 1) & VIRTIO_S_NEEDS_RESET)
			return true;
	return false;
}
