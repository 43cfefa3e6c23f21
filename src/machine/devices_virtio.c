/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio devices that can be plugged in by name: each type as a PCI function and without PCI. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/vsock/vsock.h"
#include "base/bits.h"
#include "machine/board.h"
#include "machine/bootorder.h"
#include "machine/devices.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/fs.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/transport_pci.h"
#include "virtio/vsock.h"

#define DEFAULT_NET_PAIRS 4u
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

/* "virtio-blk-device" is virtio-blk without PCI. */
static bool is_mmio(const struct device_config *cfg)
{
	return device_driver_find(cfg->driver)->bus == DEVICE_BUS_SYSTEM;
}

/* How firmware's path of a device goes on; no name: nobody boots from it. */
struct boot_path {
	const char *name, *rest;
};

static const struct boot_path no_boot, disk_boot = { "scsi", "/disk@0,0" }, net_boot = { "ethernet", "/ethernet-phy@0" };

static int plug_virtio(struct pc *pc, const struct device_config *cfg, const struct boot_path *boot, struct virtio_device *vd,
		       struct err *e)
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
	if (is_mmio(cfg))
		return board_add_virtio_mmio(pc, vd, e);
	rc = device_pci_devfn(pc, cfg, &c.devfn, e);
	if (!rc)
		board_add(pc, virtio_pci_new(vd, &c));
	return rc || !boot->name ? rc : board_boot_pci(pc, cfg, c.devfn, boot->name, boot->rest, e);
}

/* -- virtio-blk ----------------------------------------------------------------------------------------- */

static const struct device_prop_spec blk_props[] = {
	{ "serial", PROP_STRING, 0, 0, NULL, "serial number, 20 bytes at most" },
	{ "num-queues", PROP_UINT, 1, MAX_BLK_QUEUES, NULL, "request queues; one for each CPU, up to " MAX_BLK_QUEUES_TEXT
	  ", if not given" },
	{ "queue-size", PROP_UINT, 2, VQ_MAX_SIZE, "256", "entries of a queue, a power of two" },
	DEVICE_BOOT_PROP,
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
	return plug_virtio(pc, cfg, &disk_boot, virtio_blk_new(&c), e);
}

/* -- virtio-net ----------------------------------------------------------------------------------------- */

#define MAC_LEN 6
#define MIN_MTU 68 /* of IPv4 */
#define MMIO_MACS 1 /* from here on the last bytes of cards without PCI: slots are multiples of 8 */

static const struct device_prop_spec net_props[] = {
	{ "mac", PROP_STRING, 0, 0, NULL, "address, as 52:54:00:12:34:56; made from its place on the bus if not given" },
	{ "queues", PROP_UINT, 1, VIRTIO_NET_MAX_PAIRS, NULL, "pairs of queues; one for each CPU, up to 4, if not given" },
	{ "mtu", PROP_UINT, MIN_MTU, UINT16_MAX, NULL, "MTU that the guest is told; the network's if not given" },
	{ "mrg_rxbuf", PROP_BOOL, 0, 0, "on", "offer mergeable receive buffers" },
	{ "offloads", PROP_BOOL, 0, 0, "on", "offer checksum and segmentation offloads" },
	DEVICE_BOOT_PROP,
	{ "queue-size", PROP_UINT, 2, VQ_MAX_SIZE, "256", "entries of a queue, a power of two" },
	COMMON_PROPS,
	{ 0 },
};

/* Of the form given, and no group address. */
static bool parse_mac(const char *text, uint8_t *mac)
{
	for (unsigned i = 0; i < MAC_LEN; i++, text++) {
		char *end;
		unsigned long v = strtoul(text, &end, 16);

		if (end == text || end - text > 2 || v > UINT8_MAX || *end != (i == MAC_LEN - 1 ? 0 : ':'))
			return false;
		mac[i] = (uint8_t)v;
		text = end;
	}
	return !(mac[0] & 1);
}

static int plug_net(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	const char *mac = device_prop_string(cfg, "mac");
	uint64_t pairs = device_prop_uint(cfg, "queues"), size = device_prop_uint(cfg, "queue-size");
	struct virtio_net_config c = {
		.net = cfg->net, .mem = pc->mem, .mergeable = device_prop_bool(cfg, "mrg_rxbuf"),
		.offloads = device_prop_bool(cfg, "offloads"), .mtu = (uint16_t)device_prop_uint(cfg, "mtu"), .features = ring_features(cfg), .queue_size = (uint16_t)size,
		.pairs = pairs ? (unsigned)pairs : MIN(pc->group.n, DEFAULT_NET_PAIRS), .mac = { 0x52, 0x54, 0x00, 0x12, 0x34, 0 },
	};
	uint8_t devfn = 0;
	int rc;

	if (size & (size - 1))
		return err_set(e, EINVAL, "device '%s': queue-size=%u: give a power of two", cfg->driver, (unsigned)size);
	if (mac && !parse_mac(mac, c.mac))
		return err_set(e, EINVAL, "device '%s': mac=%s: write it like 52:54:00:12:34:56, the first byte even", cfg->driver,
			       mac);
	if (!mac && is_mmio(cfg)) {
		c.mac[MAC_LEN - 1] = (uint8_t)(MMIO_MACS + pc->chips->n_virtio_mmio);
	} else if (!mac) {
		rc = device_pci_devfn(pc, cfg, &devfn, e);
		if (rc)
			return rc;
		c.mac[MAC_LEN - 1] = devfn;
	}
	return plug_virtio(pc, cfg, &net_boot, virtio_net_new(&c), e);
}

/* -- virtio-rng ----------------------------------------------------------------------------------------- */

static const struct device_prop_spec rng_props[] = { COMMON_PROPS, { 0 } };

static int plug_rng(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	return plug_virtio(pc, cfg, &no_boot, virtio_rng_new(pc->mem, ring_features(cfg)), e);
}

/* -- virtio-serial and its ports ------------------------------------------------------------------------- */

#define DEFAULT_PORTS "16"

static const struct device_prop_spec serial_props[] = {
	{ "max_ports", PROP_UINT, 1, VIRTIO_CONSOLE_MAX_PORTS, DEFAULT_PORTS, "ports that it has room for" },
	COMMON_PROPS,
	{ 0 },
};

static const struct device_prop_spec port_props[] = {
	{ "name", PROP_STRING, 0, 0, NULL, "the guest finds it as /dev/virtio-ports/NAME" },
	{ "nr", PROP_UINT, 0, VIRTIO_CONSOLE_MAX_PORTS - 1, NULL, "number; the first free one if not given" },
	{ "bus", PROP_STRING, 0, 0, NULL, "ports belong to the virtio-serial device before them" },
	{ 0 },
};

static int plug_serial(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	unsigned ports = (unsigned)device_prop_uint(cfg, "max_ports");

	pc->chips->virtio_console = virtio_console_new(pc->mem, ports, ring_features(cfg));
	return plug_virtio(pc, cfg, &no_boot, pc->chips->virtio_console, e);
}

static int plug_port(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	const char *nr = device_prop_string(cfg, "nr");

	if (!pc->chips->virtio_console)
		return err_set(e, EINVAL, "device '%s': give a virtio-serial-pci before it", cfg->driver);
	return virtio_console_add_port(pc->chips->virtio_console, nr ? (int)device_prop_uint(cfg, "nr") : -1,
				       device_prop_string(cfg, "name"), !strcmp(cfg->driver, "virtconsole"), cfg->chr, e);
}

/* -- virtio-balloon -------------------------------------------------------------------------------------- */

static const struct device_prop_spec balloon_props[] = {
	{ "deflate-on-oom", PROP_BOOL, 0, 0, "on", "a guest that is short of memory may take it back" },
	{ "free-page-reporting", PROP_BOOL, 0, 0, "on", "the guest tells which pages it does not use" },
	{ "guest-stats-polling-interval", PROP_UINT, 0, 86400, "0", "seconds between questions for statistics; 0: when asked" },
	{ "size", PROP_SIZE, 0, RAM_MAX_SIZE, "0", "bytes that the guest shall give back at once" },
	COMMON_PROPS,
	{ 0 },
};

static int plug_balloon(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	const struct virtio_balloon_config c = {
		.mem = pc->mem, .clock = pc->clock, .initial = device_prop_uint(cfg, "size"),
		.deflate_on_oom = device_prop_bool(cfg, "deflate-on-oom"),
		.reporting = device_prop_bool(cfg, "free-page-reporting"),
		.stats_interval = (unsigned)device_prop_uint(cfg, "guest-stats-polling-interval"), .features = ring_features(cfg),
	};

	if (pc->chips->virtio_balloon)
		return err_set(e, EEXIST, "device '%s': there is one already, and one is enough", cfg->driver);
	if (c.initial >= ram_size(pc->ram))
		return err_set(e, ERANGE, "device '%s': size: more than the guest's memory", cfg->driver);
	pc->chips->virtio_balloon = virtio_balloon_new(&c);
	return plug_virtio(pc, cfg, &no_boot, pc->chips->virtio_balloon, e);
}

/* -- virtio-fs ------------------------------------------------------------------------------------------- */

static const struct device_prop_spec fs_props[] = {
	{ "dir", PROP_STRING, 0, 0, NULL, "directory of the host" },
	{ "tag", PROP_STRING, 0, 0, NULL, "what the guest mounts; the directory's last name if not given" },
	{ "readonly", PROP_BOOL, 0, 0, "off", "the guest can change nothing" },
	COMMON_PROPS,
	{ 0 },
};

static int plug_fs(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	const char *dir = device_prop_string(cfg, "dir"), *slash = dir ? strrchr(dir, '/') : NULL;
	struct virtio_fs_config c = { .mem = pc->mem, .tag = device_prop_string(cfg, "tag"), .features = ring_features(cfg) };
	int rc;

	if (!dir)
		return err_set(e, EINVAL, "device '%s': give it a directory: dir=PATH", cfg->driver);
	if (!c.tag)
		c.tag = slash ? slash + 1 : dir;
	if (!*c.tag || strlen(c.tag) > VIRTIO_FS_TAG)
		return err_set(e, EINVAL, "device '%s': dir=%s: give a tag of 1 to %d bytes: tag=NAME", cfg->driver, dir,
			       VIRTIO_FS_TAG);
	rc = share_open(&c.share, dir, device_prop_bool(cfg, "readonly"), e);
	return rc ? rc : plug_virtio(pc, cfg, &no_boot, virtio_fs_new(&c), e);
}

/* -- virtio-vsock ---------------------------------------------------------------------------------------- */

static const struct device_prop_spec vsock_props[] = {
	{ "path", PROP_STRING, 0, 0, NULL, "socket on the host for who wants to reach the guest" },
	{ "cid", PROP_UINT, VIRTIO_VSOCK_MIN_CID, UINT32_MAX - 1, "3", "the guest's address" },
	COMMON_PROPS,
	{ 0 },
};

static int plug_vsock(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	const char *path = device_prop_string(cfg, "path");
	struct virtio_vsock_config c = {
		.mem = pc->mem, .cid = (uint32_t)device_prop_uint(cfg, "cid"), .features = ring_features(cfg),
	};
	int rc;

	if (!path)
		return err_set(e, EINVAL, "device '%s': give it a socket: path=PATH", cfg->driver);
	rc = vsock_open(&c.vsock, path, e);
	return rc ? rc : plug_virtio(pc, cfg, &no_boot, virtio_vsock_new(&c), e);
}

int pc_balloon_set(struct pc *pc, uint64_t bytes, struct err *e)
{
	if (!pc->chips->virtio_balloon)
		return err_set(e, ENODEV, "balloon: the machine has none; give it --balloon");
	if (bytes >= ram_size(pc->ram))
		return err_set(e, ERANGE, "balloon: more than the guest's memory");
	virtio_balloon_set(pc->chips->virtio_balloon, bytes);
	return 0;
}

int pc_balloon_actual(struct pc *pc, uint64_t *bytes, struct err *e)
{
	if (!pc->chips->virtio_balloon)
		return err_set(e, ENODEV, "balloon: the machine has none; give it --balloon");
	*bytes = virtio_balloon_actual(pc->chips->virtio_balloon);
	return 0;
}

const struct device_driver virtio_drivers[] = {
	{ "virtio-blk-pci", "a disk", DEVICE_BUS_PCI, DEVICE_NEEDS_BLK, blk_props, plug_blk },
	{ "virtio-serial-pci", "consoles and channels", DEVICE_BUS_PCI, 0, serial_props, plug_serial },
	{ "virtconsole", "a console of virtio-serial", DEVICE_BUS_SERIAL, DEVICE_TAKES_CHR, port_props, plug_port },
	{ "virtserialport", "a named channel of virtio-serial", DEVICE_BUS_SERIAL, DEVICE_TAKES_CHR, port_props, plug_port },
	{ "virtio-balloon-pci", "takes memory back from the guest", DEVICE_BUS_PCI, 0, balloon_props, plug_balloon },
	{ "virtio-fs-pci", "a directory of the host", DEVICE_BUS_PCI, 0, fs_props, plug_fs },
	{ "virtio-net-pci", "a network card", DEVICE_BUS_PCI, DEVICE_NEEDS_NET, net_props, plug_net },
	{ "virtio-rng-pci", "the host's random numbers", DEVICE_BUS_PCI, 0, rng_props, plug_rng },
	{ "virtio-vsock-pci", "sockets between guest and host", DEVICE_BUS_PCI, 0, vsock_props, plug_vsock },
	{ "virtio-blk-device", "a disk, without PCI", DEVICE_BUS_SYSTEM, DEVICE_NEEDS_BLK, blk_props, plug_blk },
	{ "virtio-serial-device", "consoles and channels, without PCI", DEVICE_BUS_SYSTEM, 0, serial_props, plug_serial },
	{ "virtio-balloon-device", "takes memory back from the guest, without PCI", DEVICE_BUS_SYSTEM, 0, balloon_props, plug_balloon },
	{ "virtio-fs-device", "a directory of the host, without PCI", DEVICE_BUS_SYSTEM, 0, fs_props, plug_fs },
	{ "virtio-net-device", "a network card, without PCI", DEVICE_BUS_SYSTEM, DEVICE_NEEDS_NET, net_props, plug_net },
	{ "virtio-vsock-device", "sockets between guest and host, without PCI", DEVICE_BUS_SYSTEM, 0, vsock_props, plug_vsock },
	{ "virtio-rng-device", "the host's random numbers, without PCI", DEVICE_BUS_SYSTEM, 0, rng_props, plug_rng },
	{ 0 },
};
