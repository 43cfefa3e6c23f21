/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The local APIC from the inside: its registers, shared by lapic.c, lapic_timer.c and lapic_bus.c. */
#ifndef DOPPEL_DEV_INTC_LAPIC_INTERNAL_H
#define DOPPEL_DEV_INTC_LAPIC_INTERNAL_H

#include <stdatomic.h>
#include "base/lock.h"
#include "dev/intc/lapic.h"

/* Delivery modes, SDM vol. 3, 11.6.1 */
enum apic_delivery {
	DELIVERY_FIXED, DELIVERY_LOWEST, DELIVERY_SMI, DELIVERY_RESERVED, DELIVERY_NMI, DELIVERY_INIT,
	DELIVERY_SIPI, DELIVERY_EXTINT,
};

/* Local vector table in register order from 0x320 on, SDM vol. 3, figure 11-8 */
enum lvt_index { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };
#define LVT_VECTOR(e)    ((uint8_t)(e))
#define LVT_DELIVERY(e)  (((e) >> 8) & 7)
#define LVT_STATUS       (1u << 12)
#define LVT_POLARITY     (1u << 13)
#define LVT_REMOTE_IRR   (1u << 14)
#define LVT_LEVEL        (1u << 15)
#define LVT_MASK         (1u << 16)
#define LVT_TIMER_MODE(e) (((e) >> 17) & 3)
enum { TIMER_ONESHOT, TIMER_PERIODIC, TIMER_TSC_DEADLINE, TIMER_RESERVED };

/* IA32_APIC_BASE, SDM vol. 3, 11.4.4 and 11.12.1 */
#define BASE_BSP   BIT(8)
#define BASE_EXTD  BIT(10)
#define BASE_EN    BIT(11)
#define BASE_ADDR  0xfee00000ull

/* Spurious vector register */
#define SVR_ENABLE       (1u << 8)
#define SVR_EOI_SUPPRESS (1u << 12)

/* Error status, SDM vol. 3, 11.5.3 */
#define ESR_SEND_VECTOR (1u << 5)
#define ESR_RECV_VECTOR (1u << 6)
#define ESR_REGISTER    (1u << 7)

#define FIRST_LEGAL_VECTOR 16

struct lapic {
	struct device dev;
	struct lock lock;         /* all that changes below; RANK_LAPIC */
	_Atomic bool pending;     /* written under the lock: an interrupt is ready at the present priority */

	uint64_t base_msr;        /* changed by its own vCPU's thread only (or while that stands) */
	uint32_t tpr, ldr, dfr, svr;
	uint32_t esr, esr_latch;  /* what a read shows; what the next write will make it show */
	uint64_t icr;
	uint32_t lvt[LVT_COUNT];
	uint32_t irr[8], isr[8], tmr[8];
	bool lint[2];             /* levels of the pins */
	bool ext_latched;         /* an ExtINT message came from the IOAPIC */

	uint32_t timer_initial;
	uint32_t timer_divide;    /* divide configuration register */
	bool timer_running;
	uint64_t timer_expiry_ns; /* guest time of the present run's end */
	uint64_t tsc_deadline;    /* 0: not armed */
	struct timer timer;

	struct lapic_bus *bus;
	struct lapic_config cfg;
};

struct lapic_bus {
	struct lapic_bus_config cfg;
	struct lapic **cpu;   /* cfg.cpus of them, constant once the machine is built */
	_Atomic unsigned rotor; /* where the next search for the lowest priority starts */
};

/* An interrupt message on its way. */
struct apic_msg {
	uint32_t dest;
	bool wide;            /* dest has 32 bits (x2APIC), not 8 */
	bool logical, lowest; /* lowest: one of the destinations, the least busy */
	bool level;
	uint8_t mode;         /* enum apic_delivery */
	uint8_t vector;
};

static inline bool lapic_x2(const struct lapic *l)
{
	return l->base_msr & BASE_EXTD;
}

static inline bool lapic_enabled(const struct lapic *l)
{
	return l->base_msr & BASE_EN;
}

/* lapic.c; all with the lock held. */
int lapic_highest(const uint32_t *bits);             /* highest vector set, or -1 */
uint8_t lapic_ppr(const struct lapic *l);            /* processor priority */
void lapic_update(struct lapic *l);                  /* recompute pending, and kick when there is something */
void lapic_error(struct lapic *l, uint32_t esr_bit);
void lapic_accept(struct lapic *l, uint8_t vector, bool level); /* a fixed interrupt arrived */
void lapic_lint_service(struct lapic *l, unsigned pin); /* a level-triggered fixed LINT pin, if asserted, fires */

/* lapic_timer.c; all but the callback with the lock held. */
void lapic_timer_cb(void *opaque);
void lapic_timer_start(struct lapic *l, uint32_t initial); /* write of the initial count */
uint32_t lapic_timer_current(struct lapic *l);
void lapic_timer_set_divide(struct lapic *l, uint32_t val);
void lapic_timer_mode(struct lapic *l, uint32_t old_lvt);  /* LVT_TIMER was written */
void lapic_timer_set_deadline(struct lapic *l, uint64_t tsc);
void lapic_timer_stop(struct lapic *l);
void lapic_timer_rearm(struct lapic *l);             /* program the host's timer anew from the state */

/* lapic_bus.c; without any LAPIC's lock. */
void lapic_bus_add(struct lapic_bus *b, struct lapic *l);
void lapic_send_icr(struct lapic *l, uint64_t icr);  /* icr with the destination in bits 63-32 */

/* lapic_regs.c: the register file. Lock held; false: there is no such register, or not this way. */
struct lapic_after {
	bool send;     /* an IPI is to be sent, by icr ... */
	uint64_t icr;
	int eoi;       /* ... or this vector's EOI to be broadcast, once the lock is dropped; -1: none */
};
bool lapic_reg_read(struct lapic *l, unsigned reg, uint64_t *val);
bool lapic_reg_write(struct lapic *l, unsigned reg, uint64_t val, struct lapic_after *after);
bool lapic_regs_valid(const struct lapic *l); /* is this a state that writes could have led to? */

#endif
