/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two halves of the Am79C970A share; dev/net only. */
#ifndef DOPPEL_DEV_NET_PCNET_IMPL_H
#define DOPPEL_DEV_NET_PCNET_IMPL_H

#include "backend/net/net.h"
#include "base/lock.h"
#include "dev/net/pcnet.h"

#define PCNET_CSRS      128
#define PCNET_BCRS      32
#define PCNET_FRAME_MAX 4096 /* the transmit byte count of a descriptor has 12 bits, and a frame may have several */

/* CSR0, data sheet (19436) p. 101 */
enum {
	CSR0_INIT = 0x0001, CSR0_STRT = 0x0002, CSR0_STOP = 0x0004, CSR0_TDMD = 0x0008, CSR0_TXON = 0x0010, CSR0_RXON = 0x0020,
	CSR0_IENA = 0x0040, CSR0_INTR = 0x0080, CSR0_IDON = 0x0100, CSR0_TINT = 0x0200, CSR0_RINT = 0x0400, CSR0_MERR = 0x0800,
	CSR0_MISS = 0x1000, CSR0_CERR = 0x2000, CSR0_BABL = 0x4000, CSR0_ERR = 0x8000,
};

/* Other control and status registers */
enum { CSR_IADR = 1, CSR_MASK = 3, CSR_FEATURES = 4, CSR_LADRF = 8, CSR_PADR = 12, CSR_MODE = 15, CSR_RDRA = 24, CSR_TDRA = 30,
       CSR_STYLE = 58, CSR_RCVRC = 72, CSR_XMTRC = 74, CSR_RCVRL = 76, CSR_XMTRL = 78, CSR_CHIP_ID = 88, CSR_MISSED = 112 };
enum { MODE_DRX = 0x0001, MODE_DTX = 0x0002, MODE_LOOP = 0x0004, MODE_DRCVPA = 0x2000, MODE_DRCVBC = 0x4000, MODE_PROM = 0x8000 };
enum { BCR_MISC = 2, BCR_LED0 = 4, BCR_BUS = 18, BCR_STYLE = 20, BCR_DWIO = 0x80 };

struct pcnet {
	struct device dev;
	struct lock lock; /* all below but fn; RANK_DEVICE */
	struct pci_function fn;
	struct space *mem;
	struct net *net;
	uint8_t prom[16];
	uint16_t rap;
	uint16_t csr[PCNET_CSRS], bcr[PCNET_BCRS];
	bool resume;      /* there may be room for frames again */
	uint8_t tx[PCNET_FRAME_MAX]; /* a frame that is being put together */
	uint32_t tx_len;
	bool tx_too_long;
};

static inline uint32_t pcnet_csr32(const struct pcnet *p, unsigned n)
{
	return (uint32_t)p->csr[n + 1] << 16 | p->csr[n];
}

/* With the lock held. */
void pcnet_update_irq(struct pcnet *p);
bool pcnet_load_init_block(struct pcnet *p); /* false: it cannot be read */
void pcnet_transmit(struct pcnet *p);
bool pcnet_receive(struct pcnet *p, const struct iovec *iov, unsigned n); /* false: no descriptor */

#endif
