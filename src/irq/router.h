/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where an interrupt source ends: each global system interrupt (GSI) on up to two chips' pins, messages at the APICs. */
#ifndef DOPPEL_IRQ_ROUTER_H
#define DOPPEL_IRQ_ROUTER_H

#include "irq/irq.h"

#define IRQ_ROUTER_INPUTS 24

struct irq_router;

struct irq_router *irq_router_new(void);
void irq_router_free(struct irq_router *r);

/*
 * Connect input n (below IRQ_ROUTER_INPUTS) to one more pin, at most two; messages to a sink. Only
 * while the machine is being built: afterwards the router is constant and needs no lock.
 */
void irq_router_connect(struct irq_router *r, unsigned n, struct irq_line to);
void irq_router_connect_msi(struct irq_router *r, struct msi_sink to);

/*
 * One of several sources of input n, at most IRQ_ROUTER_SHARED: the input is high while any of them is. Only while the machine is
 * being built. An input with such sources has no others.
 */
struct irq_line irq_router_source(struct irq_router *r, unsigned n);
#define IRQ_ROUTER_SHARED 32

/* What a chip gets: the wire of input n, and the way for its messages. Callable under any lock below RANK_INTC. */
struct irq_line irq_router_line(struct irq_router *r, unsigned n);
struct msi_sink irq_router_msi(struct irq_router *r);

#endif
