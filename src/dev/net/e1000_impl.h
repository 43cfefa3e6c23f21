/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two halves of the 82540EM share; dev/net only. */
#ifndef DOPPEL_DEV_NET_E1000_IMPL_H
#define DOPPEL_DEV_NET_E1000_IMPL_H

#include <errno.h>
#include "backend/net/net.h"
#include "base/lock.h"
#include "dev/net/e1000.h"
#include "dev/net/e1000_regs.h"

#define E1000_EEPROM_WORDS 64
#define E1000_PHY_REGS     32

/* A frame that is being put together from descriptors. */
struct e1000_tx {
	uint8_t context[DESC_SIZE]; /* the last context descriptor */
	bool tcp;                   /* it is one of TCP, not UDP */
	uint8_t frame[NET_MAX_FRAME];
	uint32_t len;
	uint8_t popts;              /* of the first data descriptor */
	bool tse, too_long;
	bool finished;              /* its headers are; it waits for the network */
};

struct e1000 {
	struct device dev;
	struct lock lock; /* all below but fn; RANK_DEVICE */
	struct pci_function fn;
	struct space *mem;
	struct net *net;
	uint8_t mac[6];
	uint32_t reg[E1000_REGS_SIZE / 4];
	uint16_t phy[E1000_PHY_REGS], eeprom[E1000_EEPROM_WORDS];
	uint32_t icr, ims, eecd, ioaddr;
	uint16_t eeprom_in;  /* opcode and address as they come */
	uint8_t eeprom_bits; /* clocked since the start bit */
	bool resume;         /* there may be room for frames again */
	struct e1000_tx tx;
};

static inline uint32_t *e1000_reg(struct e1000 *n, uint32_t off)
{
	return &n->reg[off % E1000_REGS_SIZE / 4];
}

/* With the lock held. */
void e1000_raise(struct e1000 *n, uint32_t cause);
void e1000_transmit(struct e1000 *n);                                          /* what lies between TDH and TDT */
bool e1000_receive(struct e1000 *n, const struct iovec *iov, unsigned count); /* false: no descriptors */

#endif
