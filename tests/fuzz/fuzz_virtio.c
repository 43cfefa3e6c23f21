/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio devices of all types against drivers that write random rings and registers, often nearly right ones; now and
 * then a reset, a pause or a round trip through saved state.
 *
 *   fuzz_virtio [--seconds N] [--iterations N] [--seed S]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/block/blk.h"
#include "backend/chr/chr.h"
#include "backend/net/net.h"
#include "backend/vsock/vsock.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/log.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/fs.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/transport_pci.h"
#include "virtio/vsock.h"
#include "fuzz.h"

#define DEFAULT_SECONDS 2
#define DEFAULT_SEED    0x51ee7
#define RAM_SIZE        (4 * MiB)
#define BAR             0xd0000000ull
#define BAR_STEP        0x100000ull
#define DEVICES         7
#define RINGS           (64 * KiB)  /* rings and buffers are in the first of it, so that they often meet */
#define RARE            512
#define SLOW_S          5
#define HOST_CLIENTS    32
#define RSS_LIMIT_KIB   (512 * 1024)

struct fuzz {
	uint64_t seed;
	struct ram *ram;
	struct space *mem, *pio;
	struct pci_bus *bus;
	struct clock *clock;
	struct blk *blk;
	struct chr *chr;
	struct net *net;
	const char *dir;
	int listener, client[HOST_CLIENTS];
	struct virtio_device *vd[DEVICES];
	struct virtio_pci *pci[DEVICES];
};

static uint64_t rnd(struct fuzz *f)
{
	return fuzz_random(&f->seed);
}

static uint64_t value(struct fuzz *f)
{
	uint64_t r = rnd(f);

	switch (r & 7) {
	case 0:
	case 1:
		return (r >> 8) & 0xf;
	case 2:
		return 1ull << ((r >> 8) & 63);
	case 3:
		return (r >> 8) & 0xffff;
	case 4:
	case 5:
		return (r >> 8) % RINGS;
	case 6:
		return rnd(f);
	default:
		return ~0ull << ((r >> 8) & 63);
	}
}

/* From reset to DRIVER_OK, mostly as it should be. */
static void bring_up(struct fuzz *f, unsigned n)
{
	const uint64_t bar = BAR + n * BAR_STEP;
	uint64_t features = rnd(f) & rnd(f);

	space_write(f->mem, bar + 0x14, 1, 0);
	space_write(f->mem, bar + 0x14, 1, 3);
	for (unsigned w = 0; w < 2; w++) {
		space_write(f->mem, bar + 0, 4, w);
		space_write(f->mem, bar + 8, 4, w);
		features = space_read(f->mem, bar + 4, 4) & (rnd(f) | (w ? 1 : 0));
		space_write(f->mem, bar + 12, 4, features);
	}
	space_write(f->mem, bar + 0x14, 1, 11);
	for (unsigned q = 0; q < MIN(f->vd[n]->n_queues, 6u); q++) {
		space_write(f->mem, bar + 0x16, 2, q);
		space_write(f->mem, bar + 0x18, 2, 1u << (rnd(f) & 7));
		space_write(f->mem, bar + 0x20, 8, ALIGN_DOWN(rnd(f) % RINGS, 16));
		space_write(f->mem, bar + 0x28, 8, ALIGN_DOWN(rnd(f) % RINGS, 4));
		space_write(f->mem, bar + 0x30, 8, ALIGN_DOWN(rnd(f) % RINGS, 4));
		space_write(f->mem, bar + 0x1c, 2, 1);
	}
	space_write(f->mem, bar + 0x14, 1, 15);
}

/* A likely chain at descriptor 0 and on, offered at the queue's next index. */
static void offer_chain(struct fuzz *f, unsigned n)
{
	unsigned q = (unsigned)(rnd(f) % MIN(f->vd[n]->n_queues, 6u)), links = 1 + (rnd(f) & 3);
	const struct virtio_device *vd = f->vd[n];
	uint64_t desc = vd->q_desc[q], driver = vd->q_driver[q];
	uint8_t d[16], le[2];

	if (!vd->q_enabled[q] || desc > RINGS || driver > RINGS)
		return;
	for (unsigned i = 0; i < links; i++) {
		bool last = i == links - 1;

		put_le64(d, rnd(f) & 15 ? rnd(f) % RINGS : value(f));
		put_le32(d + 8, rnd(f) & 15 ? rnd(f) & 0x1ff : (uint32_t)value(f));
		put_le16(d + 12, (uint16_t)((last ? VQ_WRITE : VQ_NEXT) | (rnd(f) & 31 ? 0 : rnd(f) & 7)));
		put_le16(d + 14, rnd(f) & 15 ? (uint16_t)(i + 1) : (uint16_t)value(f));
		space_dma_write(f->mem, desc + i * 16, d, sizeof(d));
	}
	put_le16(le, 0);
	for (unsigned i = 0; i < 4; i++)
		space_dma_write(f->mem, driver + 4 + i * 2, le, 2);
	space_dma_read(f->mem, driver + 2, le, 2);
	put_le16(le, (uint16_t)(vd->vq[q].last_avail + 1));
	space_dma_write(f->mem, driver + 2, le, 2);
	space_write(f->mem, BAR + n * BAR_STEP + 0x3000 + q * 4, 2, q);
}

/* Headers that the types know, with small numbers in them. */
static void scribble(struct fuzz *f)
{
	uint64_t at = rnd(f) % RINGS;

	for (unsigned i = 0; i < 8; i++) {
		uint64_t v = value(f);

		space_dma_write(f->mem, at + i * 4, &v, 4);
	}
}

/* A vsock packet's header with a short range of ports, so that packets meet their connections. */
static void scribble_vsock(struct fuzz *f)
{
	uint64_t at = ALIGN_DOWN(rnd(f) % RINGS, 64), r = rnd(f);
	uint8_t h[44];

	put_le64(h, VIRTIO_VSOCK_MIN_CID);
	put_le64(h + 8, 2);
	put_le32(h + 16, r & 3);
	put_le32(h + 20, r >> 2 & 1 ? 1 : r >> 3 & 3);
	put_le32(h + 24, r >> 5 & 3 ? (uint32_t)(r >> 8 & 0x3f) : (uint32_t)value(f));
	put_le16(h + 28, 1);
	put_le16(h + 30, r >> 16 & 7);
	put_le32(h + 32, r >> 19 & 3);
	put_le32(h + 36, (uint32_t)value(f));
	put_le32(h + 40, (uint32_t)value(f));
	space_dma_write(f->mem, at, h, sizeof(h));
}

/* A program on the host that connects to the guest, or takes its connections and says something. */
static void host_client(struct fuzz *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	unsigned i = (unsigned)(rnd(f) % HOST_CLIENTS);
	char line[32];

	if (f->client[i] > 0)
		close(f->client[i]);
	f->client[i] = rnd(f) & 1 ? accept(f->listener, NULL, NULL) : -1;
	snprintf(line, sizeof(line), "CONNECT %u\ntext", (unsigned)(rnd(f) & 3));
	if (f->client[i] < 0) {
		f->client[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		snprintf(a.sun_path, sizeof(a.sun_path), "%s/vsock", f->dir);
		if (connect(f->client[i], (struct sockaddr *)&a, sizeof(a)))
			return;
	}
	send(f->client[i], line, rnd(f) % (strlen(line) + 1), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int listen_for_guest(struct fuzz *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/vsock_1", f->dir);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	return bind(f->listener, (struct sockaddr *)&a, sizeof(a)) || listen(f->listener, HOST_CLIENTS) ? -errno : 0;
}

static int big_step(struct fuzz *f, unsigned n)
{
	struct device *d = &f->vd[n]->dev;
	struct strbuf image = STRBUF_INIT;
	struct err e = { "" };
	int rc = 0;

	host_client(f);
	d->ops->quiesce(d, true);
	switch (rnd(f) & 3) {
	case 0:
		d->ops->reset(d);
		break;
	case 1:
		device_save(d, &image);
		rc = device_load(d, 1, image.buf, image.len, &e);
		if (rc)
			fprintf(stderr, "%s refuses the state that it saved: %s\n", d->ops->name, e.msg);
		break;
	case 2:
		device_save(d, &image);
		image.buf[rnd(f) % image.len] ^= (char)(1 << (rnd(f) & 7));
		device_load(d, 1, image.buf, image.len, &e);
		break;
	}
	strbuf_release(&image);
	d->ops->quiesce(d, false);
	bring_up(f, n);
	return rc;
}

static int step(struct fuzz *f)
{
	unsigned n = (unsigned)(rnd(f) % DEVICES);
	uint64_t bar = BAR + n * BAR_STEP, r = rnd(f);

	if (r % RARE == 0)
		return big_step(f, n);
	switch (r >> 32 & 7) {
	case 0:
		space_write(f->mem, bar + rnd(f) % 0x40, 1u << (rnd(f) & 3), value(f));
		break;
	case 1:
		space_read(f->mem, bar + rnd(f) % 0x3000, 1u << (rnd(f) & 3));
		break;
	case 2:
		space_write(f->mem, bar + 0x2000 + (rnd(f) & 63), 1u << (rnd(f) & 3), value(f));
		break;
	case 3:
		scribble(f);
		scribble_vsock(f);
		break;
	default:
		if (!(rnd(f) & 15) || (atomic_load(&f->vd[n]->status) & VIRTIO_S_NEEDS_RESET))
			bring_up(f, n);
		offer_chain(f, n);
	}
	return 0;
}

static void plug(struct fuzz *f, unsigned n, struct virtio_device *vd)
{
	const struct virtio_pci_config c = { .bus = f->bus, .devfn = (uint8_t)PCI_DEVFN(n + 1, 0) };

	f->vd[n] = vd;
	f->pci[n] = virtio_pci_new(vd, &c);
	pci_config_write(f->bus, 0, c.devfn, PCI_BAR0 + 16, 4, (uint32_t)(BAR + n * BAR_STEP));
	pci_config_write(f->bus, 0, c.devfn, PCI_COMMAND, 2, PCI_CMD_MEMORY);
}

static int build(struct fuzz *f, const char *dir, struct err *e)
{
	struct virtio_blk_config blk = { .queues = 2, .serial = "fuzz", .features = VIRTIO_F_PACKED };
	struct virtio_balloon_config balloon = { .initial = MiB, .deflate_on_oom = true, .reporting = true };
	struct virtio_fs_config fs = { .tag = "fuzz" };
	struct virtio_vsock_config vsock = { .cid = VIRTIO_VSOCK_MIN_CID };
	struct virtio_net_config net = { .pairs = 2, .mergeable = true, .offloads = true };
	struct pci_bus_config bc = { .mem32 = { 0xc0000000, 0x3ec00000 } };
	struct blk_options bo;
	struct region *r;
	char image[64], socket_path[64];
	int rc = ram_new(&f->ram, RAM_SIZE, e);

	f->dir = dir;
	snprintf(image, sizeof(image), "%s/disk", dir);
	snprintf(socket_path, sizeof(socket_path), "%s/vsock", dir);
	if (rc || (rc = clock_new(&f->clock, e)) || (rc = chr_open(&f->chr, "null", e)) || (rc = net_open(&f->net, "none", e)))
		return rc;
	blk_options_init(&bo);
	bo.file = image;
	bo.format = "raw";
	if ((rc = blk_open(&f->blk, &bo, e)) || (rc = share_open(&fs.share, dir, false, e)))
		return rc;
	if ((rc = listen_for_guest(f)) || (rc = vsock_open(&vsock.vsock, socket_path, e)))
		return rc;
	f->mem = space_new("memory", 52);
	f->pio = space_new("ports", 16);
	space_add_ram(f->mem, &r, "ram", 0, RAM_SIZE, f->ram, false);
	bc.mem = blk.mem = balloon.mem = fs.mem = net.mem = vsock.mem = f->mem;
	bc.pio = f->pio;
	f->bus = pci_bus_new(&bc);
	blk.blk = f->blk;
	net.net = f->net;
	balloon.clock = f->clock;
	plug(f, 0, virtio_rng_new(f->mem, VIRTIO_F_PACKED));
	plug(f, 1, virtio_blk_new(&blk));
	plug(f, 2, virtio_console_new(f->mem, 4, VIRTIO_F_PACKED));
	plug(f, 3, virtio_balloon_new(&balloon));
	plug(f, 4, virtio_fs_new(&fs));
	plug(f, 5, virtio_net_new(&net));
	plug(f, 6, virtio_vsock_new(&vsock));
	return virtio_console_add_port(f->vd[2], 0, NULL, true, f->chr, e);
}

static void tear_down(struct fuzz *f)
{
	for (unsigned n = 0; n < DEVICES; n++) {
		struct device *d = &f->vd[n]->dev, *g = (struct device *)f->pci[n];

		d->ops->quiesce(d, true);
		g->ops->free(g);
		d->ops->free(d);
	}
	for (unsigned i = 0; i < HOST_CLIENTS; i++)
		if (f->client[i] > 0)
			close(f->client[i]);
	close(f->listener);
	pci_bus_free(f->bus);
	blk_close(f->blk);
	chr_free(f->chr);
	net_close(f->net);
	space_free(f->mem);
	space_free(f->pio);
	ram_free(f->ram);
	clock_free(f->clock);
}

static int run(struct fuzz *f, double seconds, uint64_t iterations)
{
	double start = fuzz_now(), before = start, now;
	struct rusage ru;
	uint64_t i;
	int rc = 0;

	for (i = 0; i < iterations && !rc; i++) {
		rc = step(f);
		if (i % 64)
			continue;
		now = fuzz_now();
		if (now - before > SLOW_S) {
			fprintf(stderr, "64 steps before number %" PRIu64 " took %.1f s\n", i, now - before);
			rc = 1;
		}
		before = now;
		if (now - start >= seconds)
			break;
	}
	getrusage(RUSAGE_SELF, &ru);
	printf("%" PRIu64 " steps, %ld KiB; chains taken:", i, ru.ru_maxrss);
	for (unsigned n = 0; n < DEVICES; n++) {
		uint64_t chains = 0;

		for (unsigned q = 0; q < f->vd[n]->n_queues; q++)
			chains += f->vd[n]->vq[q].chains;
		printf(" %s %" PRIu64, f->vd[n]->dev.ops->name, chains);
	}
	printf("\n");
	return rc || ru.ru_maxrss > RSS_LIMIT_KIB;
}

int main(int argc, char **argv)
{
	const struct fuzz_options o = fuzz_parse(argc, argv, DEFAULT_SECONDS, DEFAULT_SEED);
	struct fuzz f = { .seed = o.seed };
	char dir[] = "/tmp/fuzz_virtio.XXXXXX", command[64];
	struct err e = { "" };
	int rc;

	printf("seed %#" PRIx64 "\n", f.seed);
	fflush(stdout);
	log_set_level(LOG_ERROR);
	snprintf(command, sizeof(command), "truncate -s 1M %s/disk", mkdtemp(dir));
	rc = system(command);
	if (!rc)
		rc = build(&f, dir, &e);
	if (rc) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	rc = run(&f, o.seconds, o.iterations);
	tear_down(&f);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) || rc;
}
