/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tap: a network interface of the host, with checksums and segmentation left to whoever does them best. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "backend/net/impl.h"
#include "backend/net/options.h"
#include "base/bits.h"
#include "base/endian.h"

#define READS_AT_ONCE 64 /* frames before the thread looks at its other duties */

/* struct virtio_net_hdr as the tap device has it (virtio 1.2, 5.1.6), with 12 bytes since the ring has buffers to merge */
enum { HDR_FLAGS = 0, HDR_GSO = 1, HDR_LEN = 2, HDR_GSO_SIZE = 4, HDR_CSUM_START = 6, HDR_CSUM_OFFSET = 8, HDR_SIZE = 12 };
enum { FLAG_NEEDS_CSUM = 1, FLAG_DATA_VALID = 2, GSO_ECN = 0x80 };

struct tap {
	struct net n;
	int fd;
	bool blocked; /* the last write found no room */
};

static void read_hdr(const uint8_t *h, struct net_offload *off)
{
	*off = (struct net_offload){
		.needs_csum = h[HDR_FLAGS] & FLAG_NEEDS_CSUM,
		.csum_valid = h[HDR_FLAGS] & FLAG_DATA_VALID,
		.gso_type = h[HDR_GSO] & ~GSO_ECN,
		.ecn = h[HDR_GSO] & GSO_ECN,
		.hdr_len = get_le16(h + HDR_LEN),
		.gso_size = get_le16(h + HDR_GSO_SIZE),
		.csum_start = get_le16(h + HDR_CSUM_START),
		.csum_offset = get_le16(h + HDR_CSUM_OFFSET),
	};
}

static void write_hdr(uint8_t *h, const struct net_offload *off)
{
	memset(h, 0, HDR_SIZE);
	h[HDR_FLAGS] = off->needs_csum ? FLAG_NEEDS_CSUM : 0;
	h[HDR_GSO] = (uint8_t)(off->gso_type | (off->ecn ? GSO_ECN : 0));
	put_le16(h + HDR_LEN, off->hdr_len);
	put_le16(h + HDR_GSO_SIZE, off->gso_size);
	put_le16(h + HDR_CSUM_START, off->csum_start);
	put_le16(h + HDR_CSUM_OFFSET, off->csum_offset);
}

static unsigned tap_prepare(struct net *n, struct pollfd *fds, unsigned max, int *timeout_ms)
{
	struct tap *t = CONTAINER_OF(n, struct tap, n);

	fds[0] = (struct pollfd){ .fd = t->fd, .events = (short)((net_input_room(n) ? POLLIN : 0) | (t->blocked ? POLLOUT : 0)) };
	return 1;
}

static void tap_ready(struct net *n, const struct pollfd *fds, unsigned count)
{
	struct tap *t = CONTAINER_OF(n, struct tap, n);
	uint8_t buf[HDR_SIZE + NET_MAX_FRAME];
	struct net_offload off;

	t->blocked = false;
	for (unsigned i = 0; i < READS_AT_ONCE && net_input_room(n); i++) {
		ssize_t len = read(t->fd, buf, sizeof(buf));

		if (len <= HDR_SIZE)
			return; /* nothing there, or the interface is down: poll(2) tells when it changes */
		read_hdr(buf, &off);
		net_input(n, buf + HDR_SIZE, (size_t)len - HDR_SIZE, &off);
	}
}

static bool tap_output(struct net *n, const struct net_frame *f)
{
	struct tap *t = CONTAINER_OF(n, struct tap, n);
	uint8_t hdr[HDR_SIZE];
	struct iovec iov[2] = { { hdr, sizeof(hdr) }, { .iov_base = (void *)(uintptr_t)f->data, .iov_len = f->len } };

	write_hdr(hdr, &f->off);
	if (writev(t->fd, iov, 2) >= 0)
		return true;
	t->blocked = errno == EAGAIN;
	return !t->blocked; /* what the host refuses for good is lost, as on a wire */
}

static void tap_offloads(struct net *n, unsigned can)
{
	struct tap *t = CONTAINER_OF(n, struct tap, n);
	unsigned flags = 0;

	if (can & NET_CAN_CSUM)
		flags = TUN_F_CSUM | (can & NET_CAN_TSO4 ? TUN_F_TSO4 : 0) | (can & NET_CAN_TSO6 ? TUN_F_TSO6 : 0) |
			(can & NET_CAN_ECN ? TUN_F_TSO_ECN : 0);
	/* An older kernel may know less of them; without any, net_input() does the work. */
	if (ioctl(t->fd, TUNSETOFFLOAD, flags))
		ioctl(t->fd, TUNSETOFFLOAD, 0);
}

static void tap_close(struct net *n)
{
	struct tap *t = CONTAINER_OF(n, struct tap, n);

	if (t->fd >= 0)
		close(t->fd);
	free(t);
}

static const struct net_ops tap_ops = {
	.name = "tap",
	.prepare = tap_prepare,
	.ready = tap_ready,
	.output = tap_output,
	.offloads = tap_offloads,
	.close = tap_close,
};

/* -- Opening ------------------------------------------------------------------------------------------------ */

static int tap_check(const char *arg, struct err *e)
{
	size_t len = arg ? strlen(arg) : 0;

	if (!len || len >= IFNAMSIZ || strpbrk(arg, "/, "))
		return err_set(e, EINVAL, "network 'tap=%s': give the name of a tap interface, of at most %d characters",
			       arg ? arg : "", IFNAMSIZ - 1);
	return 0;
}

static unsigned mtu_of(const char *name)
{
	struct ifreq ifr = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	strcpy(ifr.ifr_name, name);
	rc = s < 0 ? -1 : ioctl(s, SIOCGIFMTU, &ifr);
	if (s >= 0)
		close(s);
	return rc || ifr.ifr_mtu < 68 || ifr.ifr_mtu > UINT16_MAX ? 1500 : (unsigned)ifr.ifr_mtu;
}

static int attach(struct tap *t, const char *name, struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int size = HDR_SIZE, little = 1;

	t->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (t->fd < 0)
		return err_set(e, errno, "network 'tap=%s': /dev/net/tun: %s; --net user needs no rights", name, strerror(errno));
	strcpy(ifr.ifr_name, name);
	if (ioctl(t->fd, TUNSETIFF, &ifr))
		return err_set(e, errno,
			       "network 'tap=%s': %s; make it first: ip tuntap add %s mode tap user $USER && ip link set %s up",
			       name, strerror(errno), name, name);
	if (ioctl(t->fd, TUNSETVNETHDRSZ, &size) || ioctl(t->fd, TUNSETVNETLE, &little))
		return err_set(e, errno, "network 'tap=%s': %s: it takes Linux 4.8", name, strerror(errno));
	t->n.mtu = mtu_of(name);
	return 0;
}

static int tap_open(struct net **out, const char *arg, struct err *e)
{
	struct tap *t;
	int rc = tap_check(arg, e);

	if (rc)
		return rc;
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(e, ENOMEM, "network 'tap': out of memory");
	t->fd = -1;
	rc = net_init(&t->n, &tap_ops, e);
	t->n.can_send = NET_CAN_CSUM | NET_CAN_TSO4 | NET_CAN_TSO6 | NET_CAN_ECN;
	if (!rc)
		rc = attach(t, arg, e);
	if (!rc)
		rc = net_begin(&t->n, e);
	if (rc)
		net_close(&t->n);
	else
		*out = &t->n;
	return rc;
}

const struct net_kind net_tap = { "tap", tap_open, tap_check };
