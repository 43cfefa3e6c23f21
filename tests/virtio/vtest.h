/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A driver for tests: a virtio device on a PCI bus, set up through its BAR, with rings of either format in guest RAM. */
#ifndef DOPPEL_TESTS_VIRTIO_VTEST_H
#define DOPPEL_TESTS_VIRTIO_VTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/endian.h"
#include "mem/ram.h"
#include "virtio/transport_pci.h"

#define V_RAM     (16ull << 20)
#define V_BAR     0xd0000000ull
#define V_MSIX    0xd0100000ull
#define V_QSIZE   8u
#define V_QUEUES  8u
#define V_RINGS   0x100000ull /* 64 KiB for each queue */
#define V_BUFFERS 0x400000ull /* free for tests */

/* Offsets in the BAR (virtio 1.2, 4.1.4.3) */
enum {
	V_DEV_SEL = 0, V_DEV_FEAT = 4, V_DRV_SEL = 8, V_DRV_FEAT = 12, V_STATUS = 20, V_Q_SEL = 22, V_Q_SIZE = 24,
	V_Q_VECTOR = 26, V_Q_ENABLE = 28, V_Q_DESC = 32, V_Q_DRIVER = 40, V_Q_DEVICE = 48, V_ISR = 0x1000, V_CFG = 0x2000,
	V_NOTIFY = 0x3000,
};

struct v_buf {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

struct v_queue {
	uint16_t avail, used, next;  /* split: indices; next: descriptor to use */
	bool avail_wrap, used_wrap;
};

struct vtest {
	struct ram *ram;
	struct space *mem, *pio;
	struct pci_bus *bus;
	struct virtio_device *vd;
	struct virtio_pci *pci;
	bool packed;
	_Atomic unsigned msis, last_data;
	_Atomic bool intx;
	struct v_queue q[V_QUEUES];
};

void v_init(struct vtest *t);
/* Plug the device in, map its BARs. */
void v_plug(struct vtest *t, struct virtio_device *vd);
void v_release(struct vtest *t); /* frees the device too */

uint64_t v_read(struct vtest *t, unsigned off, unsigned size);
void v_write(struct vtest *t, unsigned off, unsigned size, uint64_t val);

/* From reset to DRIVER_OK with these features (besides VERSION_1, which is added) and n queues. */
void v_setup(struct vtest *t, uint64_t features, unsigned n);
void v_reset(struct vtest *t);

uint8_t *v_ptr(struct vtest *t, uint64_t gpa);
uint64_t v_desc(unsigned q);   /* addresses of the parts of a queue's rings */
uint64_t v_driver(unsigned q);
uint64_t v_device(unsigned q);

/* Offer a chain and kick. */
void v_add(struct vtest *t, unsigned q, const struct v_buf *b, unsigned n);
void v_kick(struct vtest *t, unsigned q);
/* Wait up to 5 s for the next used chain: its length, or -1. */
int64_t v_used(struct vtest *t, unsigned q);
/* v_add, v_kick, v_used. */
int64_t v_do(struct vtest *t, unsigned q, const struct v_buf *b, unsigned n);

bool v_broken(struct vtest *t); /* NEEDS_RESET; waits for it a while */

#endif
