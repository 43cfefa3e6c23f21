/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AMD PCnet-PCI II: ports, control registers, interrupts. Rings are in pcnet_ring.c.
 *
 * Specification: AMD Am79C970A PCnet-PCI II data sheet (19436).
 * Missing: the ILACC layout (software style 1), loopback (frames are lost), magic packets, EEPROM programming, expansion ROM.
 * Ignored: timers and burst control (stored), polling of the transmit ring (drivers set TDMD; it is looked at then).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "dev/net/pcnet_impl.h"

#define IO_SIZE   32
#define PROM_SIZE 16
#define INTX_A    1
#define CHIP_ID   0x02621003u /* part number 0x2621 over the manufacturer's 003 */
#define LED_LINK  0x00c0      /* LED0 shows the link ... */
#define LED_ON    0x8000      /* ... and this says that it is up */

/* Word mode: RDP, RAP, RESET, BDP two ports apart; double word mode: four. */
enum { REG_RDP, REG_RAP, REG_RESET, REG_BDP };

#define CSR0_CLEAR  (CSR0_IDON | CSR0_TINT | CSR0_RINT | CSR0_MERR | CSR0_MISS | CSR0_CERR | CSR0_BABL)
#define CSR0_CAUSES (CSR0_IDON | CSR0_TINT | CSR0_RINT | CSR0_MERR | CSR0_MISS | CSR0_BABL)
#define CSR0_ERRORS (CSR0_BABL | CSR0_CERR | CSR0_MISS | CSR0_MERR)
#define CSR3_MASKS  (CSR0_CAUSES)

static const struct pci_ids ids = {
	.vendor = 0x1022, .device = 0x2000, .class_code = 0x020000, .revision = 0x16, .subvendor = 0, .subsystem = 0,
};

void pcnet_update_irq(struct pcnet *p)
{
	uint16_t *csr0 = &p->csr[0];
	bool pending = *csr0 & ~p->csr[CSR_MASK] & CSR0_CAUSES;

	*csr0 &= (uint16_t)~(CSR0_INTR | CSR0_ERR);
	*csr0 |= (uint16_t)((pending ? CSR0_INTR : 0) | (*csr0 & CSR0_ERRORS ? CSR0_ERR : 0));
	pci_set_intx(&p->fn, pending && (*csr0 & CSR0_IENA));
}

/* -- Control and status registers --------------------------------------------------------------------------------- */

static void start(struct pcnet *p)
{
	p->csr[0] &= (uint16_t)~CSR0_STOP;
	p->csr[0] |= CSR0_STRT;
	if (!(p->csr[CSR_MODE] & MODE_DTX))
		p->csr[0] |= CSR0_TXON;
	if (!(p->csr[CSR_MODE] & MODE_DRX))
		p->csr[0] |= CSR0_RXON;
	p->tx_len = 0;
	p->resume = true;
}

static void write_csr0(struct pcnet *p, uint16_t val)
{
	p->csr[0] &= (uint16_t)~(val & CSR0_CLEAR);
	p->csr[0] = (uint16_t)((p->csr[0] & ~CSR0_IENA) | (val & CSR0_IENA));
	if (val & CSR0_STOP) {
		p->csr[0] = CSR0_STOP;
	} else {
		if ((val & CSR0_INIT) && !(p->csr[0] & CSR0_INIT)) {
			p->csr[0] |= pcnet_load_init_block(p) ? CSR0_INIT | CSR0_IDON : CSR0_INIT | CSR0_MERR;
			p->csr[0] &= (uint16_t)~CSR0_STOP;
		}
		if ((val & CSR0_STRT) && !(p->csr[0] & CSR0_STRT))
			start(p);
		if (val & CSR0_TDMD)
			pcnet_transmit(p);
	}
	p->resume |= val & CSR0_RINT;
	pcnet_update_irq(p);
}

/* Most can be written only while the chip is stopped. */
static bool any_time(unsigned n)
{
	return n == CSR_FEATURES || n == CSR_MASK || n == 5 || n == 7 || n == CSR_MISSED || n == 114;
}

static void write_csr(struct pcnet *p, unsigned n, uint16_t val)
{
	if (n == 0) {
		write_csr0(p, val);
		return;
	}
	if (n >= PCNET_CSRS || n == CSR_CHIP_ID || n == CSR_CHIP_ID + 1)
		return;
	if (!(p->csr[0] & CSR0_STOP) && !any_time(n))
		return;
	p->csr[n] = val;
	if (n == CSR_STYLE)
		p->bcr[BCR_STYLE] = val & 0xff;
	if (n == 16 || n == 17) /* other names of CSR1 and CSR2 */
		p->csr[n - 16 + CSR_IADR] = val;
	if (n == CSR_MASK)
		pcnet_update_irq(p);
}

static uint16_t read_csr(const struct pcnet *p, unsigned n)
{
	if (n >= PCNET_CSRS)
		return 0;
	if (n == CSR_STYLE)
		return p->bcr[BCR_STYLE];
	return p->csr[n];
}

static bool cable(const struct pcnet *p)
{
	return p->net && net_link_up(p->net);
}

static uint16_t read_bcr(const struct pcnet *p, unsigned n)
{
	uint16_t val = n < PCNET_BCRS ? p->bcr[n] : 0;

	if (n == BCR_LED0)
		val = (uint16_t)((val & ~LED_ON) | (cable(p) && (val & 0x40) ? LED_ON : 0));
	return val;
}

static void write_bcr(struct pcnet *p, unsigned n, uint16_t val)
{
	if (n < BCR_MISC || n >= PCNET_BCRS)
		return;
	p->bcr[n] = n == BCR_STYLE ? (uint16_t)(val & 0xff) : val;
}

/* -- Ports --------------------------------------------------------------------------------------------------------- */

static void reset_chip(struct pcnet *p)
{
	memset(p->csr, 0, sizeof(p->csr));
	memset(p->bcr, 0, sizeof(p->bcr));
	p->csr[0] = CSR0_STOP;
	p->csr[CSR_FEATURES] = 0x0115;
	for (unsigned i = 0; i < 3; i++)
		p->csr[CSR_PADR + i] = get_le16(p->prom + 2 * i);
	p->csr[CSR_CHIP_ID] = (uint16_t)CHIP_ID;
	p->csr[CSR_CHIP_ID + 1] = CHIP_ID >> 16;
	p->csr[CSR_RCVRL] = p->csr[CSR_RCVRC] = p->csr[CSR_XMTRL] = p->csr[CSR_XMTRC] = UINT16_MAX;
	p->bcr[0] = p->bcr[1] = 0x0005;
	p->bcr[BCR_MISC] = 0x0002;
	p->bcr[BCR_LED0] = LED_LINK;
	p->bcr[5] = 0x0084;
	p->bcr[6] = 0x0088;
	p->bcr[7] = 0x0090;
	p->bcr[BCR_BUS] = 0x9001;
	p->bcr[19] = 0x0002;
	p->bcr[22] = 0xff06;
	p->rap = 0;
	p->tx_len = 0;
	p->tx_too_long = false;
	pcnet_update_irq(p);
}

/* The register behind a port, by the width of accesses. Byte accesses reach the address PROM only. */
static int reg_of(const struct pcnet *p, uint64_t off, unsigned size)
{
	bool dword = p->bcr[BCR_BUS] & BCR_DWIO;

	if (off < PROM_SIZE || size != (dword ? 4 : 2) || off % size)
		return -1;
	off = (off - PROM_SIZE) / size;
	return off <= REG_BDP ? (int)off : -1;
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
	struct pcnet *p = opaque;
	uint64_t val = 0;

	if (off + size <= PROM_SIZE) {
		memcpy(&val, p->prom + off, size);
		return val;
	}
	switch (reg_of(p, off, size)) {
	case REG_RDP:
		return read_csr(p, p->rap);
	case REG_RAP:
		return p->rap;
	case REG_RESET:
		reset_chip(p);
		return 0;
	case REG_BDP:
		return read_bcr(p, p->rap);
	}
	return size_mask(size);
}

static void port_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct pcnet *p = opaque;

	/* A double word to RDP turns double word mode on, until the next reset. */
	if (off == PROM_SIZE && size == 4)
		p->bcr[BCR_BUS] |= BCR_DWIO;
	switch (reg_of(p, off, size)) {
	case REG_RDP:
		write_csr(p, p->rap, (uint16_t)val);
		break;
	case REG_RAP:
		p->rap = val & 0x7f;
		break;
	case REG_BDP:
		write_bcr(p, p->rap, (uint16_t)val);
		break;
	}
	if (p->resume && p->net)
		net_resume(p->net);
	p->resume = false;
}

static const struct io_ops port_ops = { .read = port_read, .write = port_write, .max_size = 4 };

/* -- Life ------------------------------------------------------------------------------------------------------------ */

static bool on_receive(void *opaque, const struct iovec *iov, unsigned n, const struct net_offload *off)
{
	struct pcnet *p = opaque;
	bool taken;

	lock_take(&p->lock);
	taken = pcnet_receive(p, iov, n);
	lock_drop(&p->lock);
	return taken;
}

static void on_writable(void *opaque)
{
	struct pcnet *p = opaque;

	lock_take(&p->lock);
	pcnet_transmit(p);
	lock_drop(&p->lock);
}

static const struct net_handlers net_handlers = { .receive = on_receive, .writable = on_writable };

static void pcnet_reset(struct device *d)
{
	struct pcnet *p = (struct pcnet *)d;

	pci_function_reset(&p->fn);
	lock_take(&p->lock);
	reset_chip(p);
	lock_drop(&p->lock);
}

static int pcnet_post_load(struct device *d)
{
	struct pcnet *p = (struct pcnet *)d;

	if (pci_function_post_load(&p->fn) || p->tx_len > sizeof(p->tx) || p->rap > 0x7f)
		return -EINVAL;
	lock_take(&p->lock);
	pcnet_update_irq(p);
	lock_drop(&p->lock);
	return 0;
}

static void pcnet_free(struct device *d)
{
	struct pcnet *p = (struct pcnet *)d;

	if (p->net)
		net_set_handlers(p->net, NULL, NULL);
	pci_function_release(&p->fn);
	lock_release(&p->lock);
	free(p);
}

static const struct state_field pcnet_state[] = {
	STATE_BYTES(struct pcnet, fn.config),
	STATE_U16(struct pcnet, rap),
	STATE_ARRAY(struct pcnet, csr),
	STATE_ARRAY(struct pcnet, bcr),
	STATE_BYTES(struct pcnet, tx),
	STATE_U32(struct pcnet, tx_len),
	STATE_BOOL(struct pcnet, tx_too_long),
	STATE_END(),
};

static const struct device_ops pcnet_ops = {
	.name = "pcnet",
	.reset = pcnet_reset,
	.post_load = pcnet_post_load,
	.free = pcnet_free,
	.state = pcnet_state,
	.state_version = 1,
};

static void fill_prom(struct pcnet *p, const uint8_t *mac)
{
	uint16_t sum = 0;

	memcpy(p->prom, mac, 6);
	p->prom[14] = p->prom[15] = 'W';
	for (unsigned i = 0; i < PROM_SIZE; i++)
		sum = (uint16_t)(sum + p->prom[i]);
	put_le16(p->prom + 12, sum);
}

struct pcnet *pcnet_new(const struct pcnet_config *c)
{
	struct pcnet *p = calloc(1, sizeof(*p));
	struct pci_bar io = { .type = PCI_BAR_IO, .size = IO_SIZE, .name = "pcnet-io", .ops = &port_ops, .opaque = p };
	struct pci_bar mem = { .type = PCI_BAR_MEM32, .size = IO_SIZE, .name = "pcnet", .ops = &port_ops, .opaque = p };

	BUG_ON(!p);
	p->dev.ops = &pcnet_ops;
	list_init(&p->dev.node);
	lock_init(&p->lock, RANK_DEVICE);
	p->mem = c->mem;
	p->net = c->net;
	fill_prom(p, c->mac);
	pci_function_init(&p->fn, c->bus, c->devfn, &ids);
	p->fn.config[PCI_INTERRUPT_PIN] = INTX_A;
	io.lock = mem.lock = &p->lock;
	pci_add_bar(&p->fn, 0, &io);
	pci_add_bar(&p->fn, 1, &mem);
	pci_function_seal(&p->fn);
	reset_chip(p);
	if (p->net) {
		net_set_can_receive(p->net, 0);
		net_set_handlers(p->net, &net_handlers, p);
	}
	return p;
}
