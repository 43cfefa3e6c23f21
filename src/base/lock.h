/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mutexes with ranks: a thread may take a lock only of a higher rank than all it holds. */
#ifndef DOPPEL_BASE_LOCK_H
#define DOPPEL_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>

/* The order in which locks nest, outermost first. Gaps leave room. */
enum lock_rank {
	RANK_VM = 10,      /* lifecycle of the VM */
	RANK_DISPLAY = 12, /* a screen's surface; it has its chip draw */
	RANK_INPUT = 14,   /* keys and pointer, on their way to a chip */
	RANK_DEVICE = 20,  /* a chip: serial port, PIT, PCI function ... */
	RANK_VIRTIO = 22,  /* a virtio device's registers; a configuration cycle of PCI may reach them */
	RANK_VIRTQ = 25,   /* one virtqueue */
	RANK_SPACE = 30,   /* an address space's region list */
	RANK_VIRTIO_CONFIG = 33, /* a virtio device's interrupt for changes of its configuration */
	RANK_PCI_INTX = 35, /* levels of a PCI bus' interrupt pins */
	RANK_MSIX = 37,    /* the MSI-X table of a function */
	RANK_ROUTER = 38,  /* levels of shared interrupt inputs */
	RANK_INTC = 40,    /* 8259 pair, IOAPIC, the interrupt router */
	RANK_LAPIC = 50,   /* one local APIC */
	RANK_VCPU = 60,    /* a vCPU's sleep */
	RANK_CLOCK = 70,   /* the timer queue */
	RANK_CHR = 80,     /* output queue of a character backend */
	RANK_BLK = 82,     /* request queue of a disk */
	RANK_NET = 84,     /* send queue of a network */
	RANK_VSOCK = 86,   /* connections of a vsock */
	RANK_CODE = 90,    /* the translator's code cache */
	RANK_LEAF = 100,   /* takes nothing inside */
};

struct lock {
	pthread_mutex_t m;
	enum lock_rank rank;
};

void lock_init(struct lock *l, enum lock_rank rank);
void lock_release(struct lock *l); /* undo lock_init */

/* In debug builds (NDEBUG unset) taking locks out of rank order is a BUG(). */
void lock_take(struct lock *l);
bool lock_try(struct lock *l);   /* false: somebody else holds it */
void lock_drop(struct lock *l);

#endif
