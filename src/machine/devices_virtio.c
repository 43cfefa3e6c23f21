/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio devices that can be plugged in by name: each type once, as a PCI function. */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "machine/board.h"
#include "machine/devices.h"
#include "virtio/blk.h"
#include "virtio/rng.h"
#include "virtio/transport_pci.h"

#define MAX_BLK_QUEUES 16
#define MAX_BLK_QUEUES_TEXT "16"

/* -- What all have in common --------------------------------------------------------------------------- */

#define COMMON_PROPS                                                                                             \
	{ "packed", PROP_BOOL, 0, 0, "off", "offer packed rings" },                                              \
	{ "event_idx", PROP_BOOL, 0, 0, "on", "offer the event index" },                                         \
	{ "indirect_desc", PROP_BOOL, 0, 0, "on", "offer indirect descriptors" },                                \
	{ "vectors", PROP_UINT, 0, MSIX_MAX_VECTORS, "0", "MSI-X vectors; 0: one for each queue and one more" },  \
	{ "disable-legacy", PROP_STRING, 0, 0, "on", "there is no legacy interface" }

static uint64_t ring_features(const struct device_config *cfg)
{
	return device_prop_bool(cfg, "packed") ? VIRTIO_F_PACKED : 0;
}

static int plug_pci(struct pc *pc, const struct device_config *cfg, struct virtio_device *vd, struct err *e)
{
	struct virtio_pci_config c = {
		.bus = pc->chips->pci, .msi = irq_router_msi(pc->chips->router),
		.vectors = (unsigned)device_prop_uint(cfg, "vectors"),
	};
	int rc;

	board_add(pc, vd);
	if (!device_prop_bool(cfg, "event_idx"))
		vd->host_features &= ~VIRTIO_F_EVENT_IDX;
	if (!device_prop_bool(cfg, "indirect_desc"))
		vd->host_features &= ~VIRTIO_F_INDIRECT;
	rc = device_pci_devfn(pc, cfg, &c.devfn, e);
	if (!rc)
		board_add(pc, virtio_pci_new(vd, &c));
	return rc;
}

/* -- virtio-blk ----------------------------------------------------------------------------------------- */

static const struct device_prop_spec blk_props[] = {
	{ "serial", PROP_STRING, 0, 0, NULL, "serial number, 20 bytes at most" },
	{ "num-queues", PROP_UINT, 1, MAX_BLK_QUEUES, NULL, "request queues; one for each CPU, up to " MAX_BLK_QUEUES_TEXT
	  ", if not given" },
	{ "queue-size", PROP_UINT, 2, VQ_MAX_SIZE, "256", "entries of a queue, a power of two" },
	COMMON_PROPS,
	{ 0 },
};

static int plug_blk(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	uint64_t queues = device_prop_uint(cfg, "num-queues"), size = device_prop_uint(cfg, "queue-size");
	struct virtio_blk_config c = {
		.blk = cfg->blk, .mem = pc->mem, .serial = device_prop_string(cfg, "serial"), .queue_size = (uint16_t)size,
		.queues = queues ? (unsigned)queues : MIN(pc->group.n, MAX_BLK_QUEUES), .features = ring_features(cfg),
	};

	if (size & (size - 1))
		return err_set(e, EINVAL, "device '%s': queue-size=%u: give a power of two", cfg->driver, (unsigned)size);
	return plug_pci(pc, cfg, virtio_blk_new(&c), e);
}

/* -- virtio-rng ----------------------------------------------------------------------------------------- */

static const struct device_prop_spec rng_props[] = { COMMON_PROPS, { 0 } };

static int plug_rng(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	return plug_pci(pc, cfg, virtio_rng_new(pc->mem, ring_features(cfg)), e);
}

const struct device_driver virtio_drivers[] = {
	{ "virtio-blk-pci", "a disk", DEVICE_BUS_PCI, DEVICE_NEEDS_BLK, blk_props, plug_blk },
	{ "virtio-rng-pci", "the host's random numbers", DEVICE_BUS_PCI, 0, rng_props, plug_rng },
	{ 0 },
};
