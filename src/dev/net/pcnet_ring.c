/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Initialization block and descriptor rings of the Am79C970A, in the layouts that BCR20 chooses from. */
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "dev/net/pcnet_impl.h"

#define ETHER_MIN   60
#define ETHER_MAX   1518
#define MAC_SIZE    6
#define FCS_SIZE    4
#define STYLE_MASK  0xff
#define CRC_POLY    0xedb88320u /* IEEE 802.3, reflected */

/* Status bits, as in the upper half of a 32-bit descriptor's second word */
enum { D_OWN = 0x8000, D_ERR = 0x4000, D_STP = 0x0200, D_ENP = 0x0100, D_BUFF = 0x0400, D_PAM = 0x0040, D_LAFM = 0x0020, D_BAM = 0x0010 };

struct desc {
	uint64_t at;
	uint32_t addr;
	uint16_t status;
	uint32_t size;  /* bytes of its buffer */
	uint32_t count; /* receive: bytes of the message */
};

static unsigned style(const struct pcnet *p)
{
	return p->bcr[BCR_STYLE] & STYLE_MASK;
}

static bool wide(const struct pcnet *p)
{
	return style(p) != 0;
}

static uint32_t desc_size(const struct pcnet *p)
{
	return wide(p) ? 16 : 8;
}

/* -- Initialization block, p. 42 ---------------------------------------------------------------------------- */

static void set_ring(struct pcnet *p, unsigned base, unsigned len, unsigned pos, uint32_t addr, unsigned log2)
{
	uint16_t n = (uint16_t)-(1 << MIN(log2, 9u)); /* lengths are kept as two's complements */

	p->csr[base] = (uint16_t)addr;
	p->csr[base + 1] = (uint16_t)(addr >> 16);
	p->csr[len] = n;
	p->csr[pos] = n;
}

bool pcnet_load_init_block(struct pcnet *p)
{
	uint8_t b[28];
	size_t len = wide(p) ? 28 : 24, padr = wide(p) ? 4 : 2, ladrf = wide(p) ? 12 : 8;
	uint32_t rx, tx;

	if (space_dma_read(p->mem, pcnet_csr32(p, CSR_IADR) & (wide(p) ? ~3u : 0xfffffe), b, len))
		return false;
	p->csr[CSR_MODE] = get_le16(b);
	for (unsigned i = 0; i < 3; i++)
		p->csr[CSR_PADR + i] = get_le16(b + padr + 2 * i);
	for (unsigned i = 0; i < 4; i++)
		p->csr[CSR_LADRF + i] = get_le16(b + ladrf + 2 * i);
	rx = get_le32(b + (wide(p) ? 20 : 16));
	tx = get_le32(b + (wide(p) ? 24 : 20));
	if (wide(p)) {
		set_ring(p, CSR_RDRA, CSR_RCVRL, CSR_RCVRC, rx & ~15u, b[2] >> 4);
		set_ring(p, CSR_TDRA, CSR_XMTRL, CSR_XMTRC, tx & ~15u, b[3] >> 4);
	} else {
		set_ring(p, CSR_RDRA, CSR_RCVRL, CSR_RCVRC, rx & 0xfffff8, rx >> 29);
		set_ring(p, CSR_TDRA, CSR_XMTRL, CSR_XMTRC, tx & 0xfffff8, tx >> 29);
	}
	return true;
}

/* -- Descriptors ----------------------------------------------------------------------------------------------- */

/* Counters run from minus the length up to -1. */
static uint64_t place(const struct pcnet *p, unsigned base, unsigned len, unsigned pos)
{
	uint16_t size = (uint16_t)-p->csr[len], left = (uint16_t)-p->csr[pos];

	return pcnet_csr32(p, base) + (uint64_t)(uint16_t)(size - MIN(left, size)) * desc_size(p);
}

static void advance(struct pcnet *p, unsigned len, unsigned pos)
{
	p->csr[pos]++;
	if (!p->csr[pos])
		p->csr[pos] = p->csr[len];
}

/* A byte count is a two's complement of 12 bits under four ones. */
static uint32_t buffer_bytes(uint16_t bcnt)
{
	return (uint32_t)(-bcnt & 0xfff);
}

static bool load(const struct pcnet *p, uint64_t at, struct desc *d)
{
	uint8_t b[16];

	d->at = at;
	if (space_dma_read(p->mem, at, b, desc_size(p)))
		return false;
	if (!wide(p)) {
		d->addr = get_le16(b) | (uint32_t)b[2] << 16;
		d->status = (uint16_t)(b[3] << 8);
		d->size = buffer_bytes(get_le16(b + 4));
		return true;
	}
	d->addr = get_le32(b + (style(p) == 3 ? 8 : 0));
	d->size = buffer_bytes(get_le16(b + 4));
	d->status = get_le16(b + 6);
	return true;
}

/* Give it back: status last, as the driver polls the OWN bit in it. */
static void store(const struct pcnet *p, const struct desc *d, bool receive)
{
	uint8_t count[4], status[2];

	if (!wide(p)) {
		put_le16(count, (uint16_t)d->count);
		if (receive)
			space_dma_write(p->mem, d->at + 6, count, 2);
		status[0] = (uint8_t)(d->status >> 8);
		space_dma_write(p->mem, d->at + 3, status, 1);
		return;
	}
	put_le32(count, d->count);
	if (receive)
		space_dma_write(p->mem, d->at + (style(p) == 3 ? 0 : 8), count, 4);
	put_le16(status, d->status);
	space_dma_write(p->mem, d->at + 6, status, 2);
}

/* -- Out ---------------------------------------------------------------------------------------------------------- */

static bool send_frame(struct pcnet *p)
{
	struct iovec iov = { p->tx, p->tx_len };

	if (p->tx_too_long || !p->net || p->tx_len < 14 || (p->csr[CSR_MODE] & MODE_LOOP))
		return true;
	if (iov.iov_len < ETHER_MIN) {
		memset(p->tx + p->tx_len, 0, ETHER_MIN - p->tx_len);
		iov.iov_len = ETHER_MIN;
	}
	return net_send(p->net, &iov, 1, NULL);
}

/* One buffer; false: the frame that it ends cannot go now. */
static bool take_buffer(struct pcnet *p, const struct desc *d)
{
	uint32_t before = p->tx_len;

	if (d->status & D_STP) {
		before = p->tx_len = 0;
		p->tx_too_long = false;
	}
	if (d->size > sizeof(p->tx) - p->tx_len || space_dma_read(p->mem, d->addr, p->tx + p->tx_len, d->size))
		p->tx_too_long = true;
	else
		p->tx_len += d->size;
	if (!(d->status & D_ENP) || send_frame(p))
		return true;
	p->tx_len = before;
	return false;
}

void pcnet_transmit(struct pcnet *p)
{
	uint32_t count = (uint16_t)-p->csr[CSR_XMTRL];

	if (!(p->csr[0] & CSR0_TXON))
		return;
	for (; count; count--) {
		struct desc d = { 0 };

		if (!load(p, place(p, CSR_TDRA, CSR_XMTRL, CSR_XMTRC), &d)) {
			p->csr[0] |= CSR0_MERR;
			break;
		}
		if (!(d.status & D_OWN) || !take_buffer(p, &d))
			break;
		d.status &= (uint16_t)~D_OWN;
		store(p, &d, false);
		advance(p, CSR_XMTRL, CSR_XMTRC);
		if (d.status & D_ENP)
			p->csr[0] |= CSR0_TINT;
	}
	pcnet_update_irq(p);
}

/* -- In ------------------------------------------------------------------------------------------------------------ */

/* The logical address filter takes the CRC's upper six bits. */
static bool filter_takes(const struct pcnet *p, const uint8_t *dst)
{
	uint32_t crc = UINT32_MAX;

	for (unsigned i = 0; i < MAC_SIZE * 8; i++) {
		bool bit = (crc ^ (uint32_t)(dst[i / 8] >> i % 8)) & 1;

		crc = crc >> 1 ^ (bit ? CRC_POLY : 0);
	}
	return p->csr[CSR_LADRF + (crc >> 30)] >> (crc >> 26 & 15) & 1;
}

/* Which of the match bits the frame gets; false: it is not for us. */
static bool match(const struct pcnet *p, const uint8_t *dst, uint16_t *bits)
{
	static const uint8_t broadcast[MAC_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	uint16_t mode = p->csr[CSR_MODE];

	*bits = 0;
	if (!memcmp(dst, broadcast, MAC_SIZE))
		*bits = mode & MODE_DRCVBC ? 0 : D_BAM;
	else if (dst[0] & 1)
		*bits = filter_takes(p, dst) ? D_LAFM : 0;
	else if (!memcmp(dst, &p->csr[CSR_PADR], MAC_SIZE))
		*bits = mode & MODE_DRCVPA ? 0 : D_PAM;
	return *bits || (mode & MODE_PROM);
}

/* The frame into one buffer after the other; the last one that there is holds what fits. */
static void fill(struct pcnet *p, struct desc *d, const uint8_t *frame, uint32_t len, uint16_t bits)
{
	uint32_t done = 0;

	d->status = (uint16_t)(D_STP | bits);
	for (;;) {
		uint32_t part = MIN(len - done, d->size);
		struct desc next = { 0 };

		space_dma_write(p->mem, d->addr, frame + done, part);
		done += part;
		d->count = len;
		advance(p, CSR_RCVRL, CSR_RCVRC);
		if (done == len) {
			d->status |= D_ENP;
			store(p, d, true);
			return;
		}
		if (!part || !load(p, place(p, CSR_RDRA, CSR_RCVRL, CSR_RCVRC), &next) || !(next.status & D_OWN)) {
			d->status |= D_ERR | D_BUFF | D_ENP;
			store(p, d, true);
			return;
		}
		store(p, d, true);
		*d = next;
		d->status = bits;
	}
}

bool pcnet_receive(struct pcnet *p, const struct iovec *iov, unsigned n)
{
	uint8_t frame[ETHER_MAX + FCS_SIZE + ETHER_MIN];
	struct desc d = { 0 };
	uint16_t bits;
	uint32_t len;

	if (!(p->csr[0] & CSR0_RXON))
		return true;
	len = (uint32_t)net_gather(frame, ETHER_MAX, iov, n);
	if (len < MAC_SIZE || !match(p, frame, &bits))
		return true;
	if (len < ETHER_MIN) {
		memset(frame + len, 0, ETHER_MIN - len);
		len = ETHER_MIN;
	}
	memset(frame + len, 0, FCS_SIZE); /* drivers only skip it */
	if (!load(p, place(p, CSR_RDRA, CSR_RCVRL, CSR_RCVRC), &d)) {
		p->csr[0] |= CSR0_MERR;
		pcnet_update_irq(p);
		return true;
	}
	if (!(d.status & D_OWN))
		return false;
	fill(p, &d, frame, len + FCS_SIZE, bits);
	p->csr[0] |= CSR0_RINT;
	pcnet_update_irq(p);
	return true;
}
