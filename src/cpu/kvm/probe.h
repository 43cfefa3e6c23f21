/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /dev/kvm is worth on this host: opening it says little, so guest code is run and measured. */
#ifndef DOPPEL_CPU_KVM_PROBE_H
#define DOPPEL_CPU_KVM_PROBE_H

#include <stdbool.h>

/*
 * A host that is itself a virtual machine without hardware support may still offer /dev/kvm and then
 * emulate ring 0 instruction by instruction, at under a million loops a second; hardware makes thousands of millions.
 */
#define KVM_USABLE_LOOPS 100e6

struct kvm_probe {
	bool present;            /* there is a /dev/kvm */
	bool opens;              /* and we may open it */
	bool runs;               /* and guest code ran to its end in time */
	double loops_per_second; /* of a two-instruction loop in ring 0, when it runs */
	char problem[96];        /* why not, when one of the above is false; empty otherwise */
};

/* Takes at most KVM_PROBE_MS, whatever the kernel does; forks, so call it before making threads. */
void kvm_probe(struct kvm_probe *p);
#define KVM_PROBE_MS 300

static inline bool kvm_usable(const struct kvm_probe *p)
{
	return p->runs && p->loops_per_second >= KVM_USABLE_LOOPS;
}

#endif
