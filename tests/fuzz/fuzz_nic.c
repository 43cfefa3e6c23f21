/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network cards against a hostile driver and a hostile network: random registers, initialization blocks and descriptors, often nearly
 * right ones, while frames of all kinds come in; now and then a reset, a pause, a cable that is pulled, a round trip through
 * saved state. The cards: e1000, pcnet, and virtio-net with its control queue.
 *
 *   fuzz_nic [--seconds N] [--iterations N] [--seed S]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/net/net.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/log.h"
#include "bus/pci.h"
#include "dev/net/e1000.h"
#include "dev/net/e1000_regs.h"
#include "dev/net/pcnet.h"
#include "mem/ram.h"
#include "virtio/net.h"
#include "virtio/transport_pci.h"
#include "fuzz.h"

#define DEFAULT_SECONDS 2
#define DEFAULT_SEED    0x41c5
#define RAM_SIZE        (4 * MiB)
#define RINGS           (64 * KiB) /* rings and buffers are in the first of it, so that they often meet */
#define BAR             0xd0000000ull
#define BAR_STEP        0x100000ull
#define PORTS           0x1000u
#define PORTS_STEP      0x100u
#define RARE            1024
#define SLOW_S          5
#define RSS_LIMIT_KIB   (512 * 1024)

enum { E1000, PCNET, VIRTIO, CARDS };

struct fuzz {
	uint64_t seed;
	struct ram *ram;
	struct space *mem, *pio;
	struct pci_bus *bus;
	struct net *net[CARDS];
	struct device *dev[CARDS], *glue; /* glue: virtio's */
	int peer[CARDS];                  /* other ends of the cards' cables */
	uint64_t tx_ring;                 /* pcnet's */
	uint64_t sent, got;
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
		return r >> 8 & 0xf;
	case 1:
		return 1ull << (r >> 8 & 63);
	case 2:
		return r >> 8 & 0xffff;
	case 3:
		return rnd(f);
	case 4:
		return ~0ull << (r >> 8 & 63);
	default:
		return ALIGN_DOWN((r >> 8) % RINGS, 16);
	}
}

static void scribble(struct fuzz *f, uint64_t at, unsigned words)
{
	for (unsigned i = 0; i < words; i++) {
		uint64_t v = value(f);

		space_dma_write(f->mem, at + i * 4, &v, 4);
	}
}

/* -- The network ------------------------------------------------------------------------------------------- */

/* A frame for a card, or something that is none; and what the card has sent goes away. */
static void exchange(struct fuzz *f, unsigned n)
{
	uint8_t buf[4 + 20000], *frame = buf + 4;
	uint64_t r = rnd(f);
	size_t len = r & 7 ? r >> 8 & 0x7ff : (r >> 8) % 20000;

	memset(frame, (int)(r >> 32 & 0xff), len);
	for (unsigned i = 0; i < 64 && i < len; i++)
		frame[i] = (uint8_t)(rnd(f) >> 56);
	if (len > 14 && !(r >> 40 & 1)) {
		memset(frame, 0xff, 6);
		frame[12] = r >> 41 & 1 ? 0x08 : 0x81; /* IP, or a VLAN tag */
		frame[13] = 0;
	}
	put_le32(buf, __builtin_bswap32((uint32_t)len));
	f->sent += send(f->peer[n], buf, 4 + len, MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
	while (recv(f->peer[n], buf, sizeof(buf), MSG_DONTWAIT) > 0)
		f->got++;
}

/* The link drops a peer that breaks the stream, as half a frame does: another one comes. */
static int dial(const char *dir, unsigned n)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/net%u", dir, n);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -1 : fd;
}

/* -- e1000 --------------------------------------------------------------------------------------------------- */

static void e1000_write(struct fuzz *f, unsigned reg, uint64_t val)
{
	space_write(f->mem, BAR + E1000 * BAR_STEP + reg, 4, (uint32_t)val);
}

static void e1000_bring_up(struct fuzz *f)
{
	uint64_t r = rnd(f);

	e1000_write(f, E1000_RDBAH, 0);
	e1000_write(f, E1000_TDBAH, 0);
	e1000_write(f, E1000_RDBAL, ALIGN_DOWN(r % RINGS, 16));
	e1000_write(f, E1000_RDLEN, 128 << (r >> 16 & 3));
	e1000_write(f, E1000_RDH, 0);
	e1000_write(f, E1000_RDT, r >> 18 & 7);
	e1000_write(f, E1000_TDBAL, ALIGN_DOWN((r >> 24) % RINGS, 16));
	e1000_write(f, E1000_TDLEN, 128 << (r >> 40 & 3));
	e1000_write(f, E1000_TDH, 0);
	e1000_write(f, E1000_TDT, 0);
	e1000_write(f, E1000_IMS, rnd(f));
	e1000_write(f, E1000_RXCSUM, rnd(f) & 0x3ff);
	e1000_write(f, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | (rnd(f) & (RCTL_LPE | RCTL_BSEX | RCTL_SECRC | 0x30000)));
	e1000_write(f, E1000_TCTL, TCTL_EN);
}

static uint32_t e1000_read(struct fuzz *f, unsigned reg)
{
	return (uint32_t)space_read(f->mem, BAR + E1000 * BAR_STEP + reg, 4);
}

/* Some descriptors behind those that were sent, and the tail behind them. */
static void e1000_send(struct fuzz *f)
{
	uint64_t base = e1000_read(f, E1000_TDBAL), slots = e1000_read(f, E1000_TDLEN) / 16, tail = e1000_read(f, E1000_TDT);
	unsigned n = 1 + (rnd(f) & 3);
	uint8_t d[16];

	for (unsigned i = 0; i < n && slots; i++) {
		uint64_t r = rnd(f);

		put_le64(d, r & 15 ? rnd(f) % RINGS : value(f));
		put_le16(d + 8, r >> 4 & 7 ? r >> 8 & 0x3ff : (uint16_t)value(f));
		d[10] = (uint8_t)rnd(f);
		d[11] = (uint8_t)((r >> 32 & 0x2d) | (i == n - 1));
		put_le32(d + 12, (uint32_t)rnd(f));
		space_dma_write(f->mem, base + (tail + i) % slots * 16, d, sizeof(d));
	}
	e1000_write(f, E1000_TDT, slots ? (tail + n) % slots : value(f));
	e1000_write(f, E1000_RDT, rnd(f) & 31);
}

static void e1000_step(struct fuzz *f)
{
	static const uint16_t regs[] = {
		E1000_CTRL, E1000_STATUS, E1000_EECD, E1000_EERD, E1000_MDIC, E1000_ICR, E1000_ITR, E1000_ICS, E1000_IMS, E1000_IMC,
		E1000_RCTL, E1000_TCTL, E1000_RDBAL, E1000_RDBAH, E1000_RDLEN, E1000_RDH, E1000_RDT, E1000_TDBAL, E1000_TDBAH,
		E1000_TDLEN, E1000_TDH, E1000_TDT, E1000_RXCSUM, E1000_MTA, E1000_RA, E1000_VFTA, E1000_STATS,
	};
	uint64_t r = rnd(f);

	if (r % 8 == 0)
		e1000_bring_up(f);
	else if (r & 1)
		e1000_send(f);
	else if (r & 2)
		e1000_write(f, regs[(r >> 8) % ARRAY_SIZE(regs)], value(f));
	else if (r & 4)
		space_read(f->mem, BAR + E1000 * BAR_STEP + (r >> 8) % E1000_MMIO_SIZE, 1u << (r >> 3 & 3));
	else
		space_write(f->pio, PORTS + E1000 * PORTS_STEP + (r >> 8) % E1000_IO_SIZE, 1u << (r >> 3) % 3, value(f));
}

/* -- pcnet --------------------------------------------------------------------------------------------------- */

enum { RDP = 0x10, RAP = 0x12, RESET = 0x14, BDP = 0x16 };

static void pcnet_csr(struct fuzz *f, unsigned n, uint64_t val)
{
	space_write(f->pio, PORTS + PCNET * PORTS_STEP + RAP, 2, n);
	space_write(f->pio, PORTS + PCNET * PORTS_STEP + RDP, 2, val & 0xffff);
}

static void pcnet_bring_up(struct fuzz *f)
{
	uint64_t at = ALIGN_DOWN(rnd(f) % RINGS, 4), r = rnd(f), style = r >> 8 & 3;
	uint8_t block[28] = { 0 };

	f->tx_ring = ALIGN_DOWN(rnd(f) % RINGS, 16);
	space_read(f->pio, PORTS + PCNET * PORTS_STEP + RESET, 2);
	space_write(f->pio, PORTS + PCNET * PORTS_STEP + RAP, 2, 20);
	space_write(f->pio, PORTS + PCNET * PORTS_STEP + BDP, 2, style);
	put_le16(block, r & 1 ? 0x8000 : 0);
	if (style) {
		block[2] = (uint8_t)(r >> 16 & 0x50);
		block[3] = (uint8_t)(r >> 24 & 0x50);
		put_le32(block + 20, (uint32_t)ALIGN_DOWN(rnd(f) % RINGS, 16));
		put_le32(block + 24, (uint32_t)f->tx_ring);
	} else {
		put_le32(block + 16, (uint32_t)(ALIGN_DOWN(rnd(f) % RINGS, 8) | (r >> 16 & 7) << 29));
		put_le32(block + 20, (uint32_t)(f->tx_ring | (r >> 24 & 7) << 29));
	}
	space_dma_write(f->mem, at, block, sizeof(block));
	pcnet_csr(f, 1, at);
	pcnet_csr(f, 2, at >> 16);
	pcnet_csr(f, 0, 1);
	pcnet_csr(f, 0, 0x42);
}

/* Descriptors of the style that has buffer, status, length, owned by the card: to be sent, or anywhere. */
static void pcnet_descriptors(struct fuzz *f)
{
	uint64_t at = rnd(f) & 1 ? f->tx_ring : ALIGN_DOWN(rnd(f) % RINGS, 16);

	for (unsigned i = 0; i < 4; i++) {
		uint8_t d[16];
		uint64_t r = rnd(f);

		put_le32(d, (uint32_t)(rnd(f) % RINGS));
		put_le32(d + 4, (uint32_t)(0x8300f000u | (r & 0xfff) | (r >> 12 & 3) << 24));
		put_le32(d + 8, (uint32_t)rnd(f));
		put_le32(d + 12, (uint32_t)(rnd(f) % RINGS));
		if (r >> 20 & 1)
			memcpy(d + 8, d, 4);
		space_dma_write(f->mem, at + i * 16, d, sizeof(d));
	}
	pcnet_csr(f, 0, 0x48);
}

static void pcnet_step(struct fuzz *f)
{
	uint64_t r = rnd(f);

	if (r % 8 == 0)
		pcnet_bring_up(f);
	else if (r & 1)
		pcnet_descriptors(f);
	else if (r & 2)
		pcnet_csr(f, 0, 0x8 | (r >> 8 & 0x7f4b));
	else if (r & 4)
		pcnet_csr(f, r >> 8 & 0x7f, value(f));
	else if (r & 8)
		space_write(f->mem, BAR + PCNET * BAR_STEP + (r >> 8) % 32, 1u << (r >> 4) % 3, value(f));
	else
		space_read(f->pio, PORTS + PCNET * PORTS_STEP + (r >> 8) % 32, 1u << (r >> 4) % 3);
}

/* -- virtio-net ------------------------------------------------------------------------------------------------ */

static void virtio_bring_up(struct fuzz *f)
{
	const uint64_t bar = BAR + VIRTIO * BAR_STEP;

	space_write(f->mem, bar + 0x14, 1, 0);
	space_write(f->mem, bar + 0x14, 1, 3);
	for (unsigned w = 0; w < 2; w++) {
		space_write(f->mem, bar + 0, 4, w);
		space_write(f->mem, bar + 8, 4, w);
		space_write(f->mem, bar + 12, 4, space_read(f->mem, bar + 4, 4) & (rnd(f) | (w ? 1 : 0x20000)));
	}
	space_write(f->mem, bar + 0x14, 1, 11);
	for (unsigned q = 0; q < 5; q++) {
		space_write(f->mem, bar + 0x16, 2, q);
		space_write(f->mem, bar + 0x18, 2, 1u << (rnd(f) & 7));
		space_write(f->mem, bar + 0x20, 8, ALIGN_DOWN(rnd(f) % RINGS, 16));
		space_write(f->mem, bar + 0x28, 8, ALIGN_DOWN(rnd(f) % RINGS, 4));
		space_write(f->mem, bar + 0x30, 8, ALIGN_DOWN(rnd(f) % RINGS, 4));
		space_write(f->mem, bar + 0x1c, 2, 1);
	}
	space_write(f->mem, bar + 0x14, 1, 15);
}

/* Header and data of a frame, or a command with room for its answer, or buffers to receive into. */
static void virtio_chain(struct fuzz *f, struct virtio_device *vd)
{
	unsigned q = (unsigned)(rnd(f) % 5), links = q < 4 ? 1 + (rnd(f) & 1) : 2;
	uint64_t desc = vd->q_desc[q], driver = vd->q_driver[q], r = rnd(f), at = rnd(f) % RINGS;
	uint8_t d[16], hdr[16] = { 0 };
	bool rx = q < 4 && !(q & 1);

	if (!vd->q_enabled[q] || desc > RINGS || driver > RINGS)
		return;
	for (unsigned i = 0; i < links; i++) {
		put_le64(d, i ? rnd(f) % RINGS : at);
		put_le32(d + 8, q == 4 ? (i ? 1 : r >> 8 & 0x3f) : r >> 4 & 15 ? (uint32_t)(rnd(f) & 0x7ff) : (uint32_t)value(f));
		put_le16(d + 12, (rx || (q == 4 && i) ? VQ_WRITE : 0) | (i == links - 1 ? 0 : VQ_NEXT));
		put_le16(d + 14, (uint16_t)(i + 1));
		space_dma_write(f->mem, desc + i * 16, d, sizeof(d));
	}
	if (q == 4) {
		hdr[0] = r >> 16 & 7;
		hdr[1] = r >> 20 & 7;
		put_le32(hdr + 2, r >> 24 & 1 ? r >> 25 & 3 : (uint32_t)value(f));
	} else {
		hdr[0] = r >> 16 & 3;
		hdr[1] = r >> 18 & 7;
		put_le16(hdr + 4, (uint16_t)(r >> 22 & 0x7ff));
		put_le16(hdr + 6, (uint16_t)(r >> 34 & 0x3f));
		put_le16(hdr + 8, r >> 41 & 0x1f);
	}
	space_dma_write(f->mem, at, hdr, 12);
	memset(d, 0, sizeof(d));
	space_dma_write(f->mem, driver + 4, d, 16);
	put_le16(d, (uint16_t)(vd->vq[q].last_avail + 1));
	space_dma_write(f->mem, driver + 2, d, 2);
	space_write(f->mem, BAR + VIRTIO * BAR_STEP + 0x3000 + q * 4, 2, q);
}

static void virtio_step(struct fuzz *f)
{
	struct virtio_device *vd = (struct virtio_device *)f->dev[VIRTIO];

	if (rnd(f) % 64 == 0 || (atomic_load(&vd->status) & VIRTIO_S_NEEDS_RESET))
		virtio_bring_up(f);
	virtio_chain(f, vd);
}

/* -- All of them ------------------------------------------------------------------------------------------------ */

static int big_step(struct fuzz *f, unsigned n)
{
	struct device *d = f->dev[n];
	struct strbuf image = STRBUF_INIT;
	struct err e = { "" };
	int rc = 0;

	if (d->ops->quiesce)
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
		if (device_load(d, 1, image.buf, image.len, &e))
			d->ops->reset(d);
		break;
	case 3:
		net_plug(f->net[n], rnd(f) & 3);
		break;
	}
	strbuf_release(&image);
	if (d->ops->quiesce)
		d->ops->quiesce(d, false);
	return rc;
}

static int step(struct fuzz *f)
{
	static void (*const steps[CARDS])(struct fuzz *f) = { e1000_step, pcnet_step, virtio_step };
	uint64_t r = rnd(f);
	unsigned n = (unsigned)(r % CARDS);

	if (r >> 8 & 3)
		steps[n](f);
	else if (r >> 10 & 3)
		exchange(f, n);
	else if (r >> 12 & 7)
		scribble(f, value(f) % RINGS, 8);
	else if ((r >> 16) % (RARE / 128) == 0)
		return big_step(f, n);
	return 0;
}

static int plug(struct fuzz *f, const char *dir, struct err *e)
{
	struct e1000_config ec = { .bus = f->bus, .devfn = PCI_DEVFN(1, 0), .mem = f->mem, .mac = { 0x52, 0x54, 0, 1, 2, 3 } };
	struct pcnet_config pc = { .bus = f->bus, .devfn = PCI_DEVFN(2, 0), .mem = f->mem, .mac = { 0x52, 0x54, 0, 1, 2, 4 } };
	struct virtio_net_config vc = { .mem = f->mem, .pairs = 2, .mergeable = true, .offloads = true, .mac = { 0x52, 0x54, 0, 1, 2, 5 } };
	const struct virtio_pci_config glue = { .bus = f->bus, .devfn = PCI_DEVFN(3, 0) };

	for (unsigned n = 0; n < CARDS; n++) {
		char spec[80];
		int rc;

		snprintf(spec, sizeof(spec), "link=unix:%s/net%u,listen", dir, n);
		rc = net_open(&f->net[n], spec, e);
		if (rc)
			return rc;
		f->peer[n] = dial(dir, n);
	}
	ec.net = f->net[E1000];
	pc.net = f->net[PCNET];
	vc.net = f->net[VIRTIO];
	f->dev[E1000] = (struct device *)e1000_new(&ec);
	f->dev[PCNET] = (struct device *)pcnet_new(&pc);
	f->dev[VIRTIO] = (struct device *)virtio_net_new(&vc);
	f->glue = (struct device *)virtio_pci_new((struct virtio_device *)f->dev[VIRTIO], &glue);
	for (unsigned n = 0; n < CARDS; n++) {
		unsigned io = n == E1000 ? 4 : 0, mem = n == E1000 ? 0 : n == PCNET ? 4 : 16;
		uint8_t devfn = (uint8_t)PCI_DEVFN(n + 1, 0);

		if (n != VIRTIO)
			pci_config_write(f->bus, 0, devfn, PCI_BAR0 + io, 4, PORTS + n * PORTS_STEP);
		pci_config_write(f->bus, 0, devfn, PCI_BAR0 + mem, 4, (uint32_t)(BAR + n * BAR_STEP));
		pci_config_write(f->bus, 0, devfn, PCI_COMMAND, 2, PCI_CMD_IO | PCI_CMD_MEMORY | PCI_CMD_MASTER);
	}
	return 0;
}

static int build(struct fuzz *f, const char *dir, struct err *e)
{
	struct pci_bus_config bc = { .io = { 0x1000, 0xf000 }, .mem32 = { 0xc0000000, 0x3ec00000 } };
	struct region *r;
	int rc = ram_new(&f->ram, RAM_SIZE, e);

	if (rc)
		return rc;
	f->mem = space_new("memory", 52);
	f->pio = space_new("ports", 16);
	space_add_ram(f->mem, &r, "ram", 0, RAM_SIZE, f->ram, false);
	bc.mem = f->mem;
	bc.pio = f->pio;
	f->bus = pci_bus_new(&bc);
	return plug(f, dir, e);
}

static void tear_down(struct fuzz *f)
{
	f->dev[VIRTIO]->ops->quiesce(f->dev[VIRTIO], true);
	f->glue->ops->free(f->glue);
	for (unsigned n = 0; n < CARDS; n++) {
		f->dev[n]->ops->free(f->dev[n]);
		net_close(f->net[n]);
		close(f->peer[n]);
	}
	pci_bus_free(f->bus);
	space_free(f->mem);
	space_free(f->pio);
	ram_free(f->ram);
}

static int run(struct fuzz *f, const char *dir, double seconds, uint64_t iterations)
{
	double start = fuzz_now(), before = start, now;
	struct strbuf sb = STRBUF_INIT;
	struct rusage ru;
	uint64_t i;
	int rc = 0;

	for (i = 0; i < iterations && !rc; i++) {
		rc = step(f);
		if (i % 4096 == 0) {
			unsigned n = (unsigned)(i / 4096 % CARDS);

			close(f->peer[n]);
			f->peer[n] = dial(dir, n);
			net_plug(f->net[n], true);
		}
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
	printf("%" PRIu64 " steps, %ld KiB; %" PRIu64 " frames offered, %" PRIu64 " pieces came out\n", i, ru.ru_maxrss, f->sent, f->got);
	for (unsigned n = 0; n < CARDS; n++)
		net_print_stats(f->net[n], &sb);
	printf("%s", sb.buf);
	strbuf_release(&sb);
	return rc || ru.ru_maxrss > RSS_LIMIT_KIB;
}

int main(int argc, char **argv)
{
	const struct fuzz_options o = fuzz_parse(argc, argv, DEFAULT_SECONDS, DEFAULT_SEED);
	struct fuzz f = { .seed = o.seed };
	char dir[] = "/tmp/fuzz_nic.XXXXXX", command[64];
	struct err e = { "" };
	int rc;

	printf("seed %#" PRIx64 "\n", f.seed);
	fflush(stdout);
	log_set_level(LOG_ERROR);
	rc = mkdtemp(dir) ? build(&f, dir, &e) : -1;
	if (rc) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	rc = run(&f, dir, o.seconds, o.iterations);
	tear_down(&f);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) || rc;
}
