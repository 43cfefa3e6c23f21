/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What interrupts look like between chips and processors: line, message, per-CPU controller. */
#ifndef DOPPEL_IRQ_IRQ_H
#define DOPPEL_IRQ_IRQ_H

#include <stdbool.h>
#include <stdint.h>

/* A wire: whoever holds it sets its level; an edge is set(1) then set(0). Zeroed: not connected. */
struct irq_line {
	void (*set)(void *opaque, unsigned n, bool level);
	void *opaque;
	unsigned n;
};

static inline void irq_set(const struct irq_line *l, bool level)
{
	if (l->set)
		l->set(l->opaque, l->n, level);
}

static inline void irq_pulse(const struct irq_line *l)
{
	irq_set(l, true);
	irq_set(l, false);
}

/* A message-signalled interrupt, as a PCI function or the IOAPIC writes it (SDM vol. 3, 11.11). */
struct msi_msg {
	uint64_t addr;
	uint32_t data;
};

struct msi_sink {
	void (*send)(void *opaque, struct msi_msg msg);
	void *opaque;
};

static inline void msi_send(const struct msi_sink *s, struct msi_msg msg)
{
	if (s->send)
		s->send(s->opaque, msg);
}

/*
 * What a processor's interrupt controller tells its vCPU. CPU_EVENT_INTR: ask cpu_intc again;
 * it may be raised too often, never too seldom. Callable from any thread, under any lock of rank
 * up to RANK_LAPIC; it wakes a halted vCPU.
 */
enum cpu_event { CPU_EVENT_INTR, CPU_EVENT_NMI, CPU_EVENT_SMI, CPU_EVENT_INIT, CPU_EVENT_SIPI };

struct cpu_kick {
	void (*raise)(void *vcpu, enum cpu_event ev, unsigned arg); /* arg: the SIPI vector */
	void *vcpu;
};

/*
 * All that a vCPU sees of an APIC or PIC. All calls but reset are made on the vCPU's thread.
 *   pending     is an interrupt ready for this CPU at its current task priority?
 *   ack         accept it: its vector, or -1 when it has gone (then nothing happens)
 *   get/set_tpr CR8: task priority class 0 to 15
 *   rdmsr/wrmsr IA32_APIC_BASE, x2APIC MSRs 0x800-0x8ff, IA32_TSC_DEADLINE; false means #GP(0)
 *   mmio        the xAPIC page: true when gpa is inside this CPU's enabled page and it did the
 *               access; size 1, 2, 4 or 8; for a read *val is the result
 *   reset       INIT (init=true keeps what SDM 11.4.7.3 says) or power-on reset
 */
struct cpu_intc_ops {
	bool (*pending)(void *opaque);
	int (*ack)(void *opaque);
	unsigned (*get_tpr)(void *opaque);
	void (*set_tpr)(void *opaque, unsigned tpr);
	bool (*rdmsr)(void *opaque, uint32_t msr, uint64_t *val);
	bool (*wrmsr)(void *opaque, uint32_t msr, uint64_t val);
	bool (*mmio)(void *opaque, uint64_t gpa, unsigned size, bool write, uint64_t *val);
	void (*reset)(void *opaque, bool init);
};

struct cpu_intc {
	const struct cpu_intc_ops *ops; /* NULL: no controller; INTR never comes */
	void *opaque;
};

#endif
