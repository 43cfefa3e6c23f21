/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The MSI-X capability of a PCI function: its table and pending bits in a BAR, and the messages it sends. */
#ifndef DOPPEL_BUS_MSIX_H
#define DOPPEL_BUS_MSIX_H

#include "bus/pci.h"
#include "irq/irq.h"

#define MSIX_MAX_VECTORS 128
#define MSIX_ENTRY_SIZE  16
#define MSIX_BAR_SIZE    4096ull
#define MSIX_NO_VECTOR   0xffffu

/* PCI Local Bus Specification 3.0, 6.8.2. Embed it in the function's chip; table and pba are what a snapshot saves. */
struct msix {
	struct pci_function *f;
	struct msi_sink sink;
	unsigned vectors;
	uint8_t cap;            /* offset of the capability */
	struct lock lock;       /* RANK_MSIX: all below */
	bool enabled, masked;   /* as in the message control register */
	uint8_t table[MSIX_MAX_VECTORS * MSIX_ENTRY_SIZE];
	uint8_t pba[MSIX_MAX_VECTORS / 8];
};

/* Add capability and BAR (a 32-bit one of MSIX_BAR_SIZE); before pci_function_seal(). 1 to MSIX_MAX_VECTORS vectors. */
void msix_init(struct msix *m, struct pci_function *f, unsigned bar, unsigned vectors, struct msi_sink sink);
void msix_release(struct msix *m);

/* The function's hooks: configuration written (struct pci_function), power-on reset, state restored (-EINVAL). */
void msix_config_written(struct msix *m, unsigned off, unsigned size);
void msix_reset(struct msix *m);
int msix_post_load(struct msix *m);

/* The guest uses MSI-X now, so INTx is silent. Any thread, under any lock below RANK_MSIX; so the following. */
bool msix_enabled(struct msix *m);

/* Send vector's message, or note it as pending while it is masked. Vectors that are not there are ignored. */
void msix_notify(struct msix *m, unsigned vector);

#endif
