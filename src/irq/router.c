/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interrupt router: fan-out of interrupt inputs to the pins of the interrupt controllers. */
#include <stdlib.h>

#include "base/err.h"
#include "base/lock.h"
#include "irq/router.h"

#define PINS_PER_INPUT 2 /* 8259 pair and IOAPIC */

struct irq_router {
	struct irq_line pin[IRQ_ROUTER_INPUTS][PINS_PER_INPUT];
	struct msi_sink msi;
	struct lock lock;                     /* RANK_ROUTER: levels of shared sources */
	uint32_t high[IRQ_ROUTER_INPUTS];     /* a bit for each source that is high */
	unsigned sources[IRQ_ROUTER_INPUTS];
};

struct irq_router *irq_router_new(void)
{
	struct irq_router *r = calloc(1, sizeof(*r));

	BUG_ON(!r);
	lock_init(&r->lock, RANK_ROUTER);
	return r;
}

void irq_router_free(struct irq_router *r)
{
	lock_release(&r->lock);
	free(r);
}

void irq_router_connect(struct irq_router *r, unsigned n, struct irq_line to)
{
	BUG_ON(n >= IRQ_ROUTER_INPUTS);
	for (unsigned i = 0; i < PINS_PER_INPUT; i++) {
		if (!r->pin[n][i].set) {
			r->pin[n][i] = to;
			return;
		}
	}
	BUG("interrupt input %u has no free connection", n);
}

void irq_router_connect_msi(struct irq_router *r, struct msi_sink to)
{
	r->msi = to;
}

static void router_set(void *opaque, unsigned n, bool level)
{
	struct irq_router *r = opaque;

	for (unsigned i = 0; i < PINS_PER_INPUT; i++)
		irq_set(&r->pin[n][i], level);
}

/* n: the input, and above it the source's bit. */
static void source_set(void *opaque, unsigned n, bool level)
{
	struct irq_router *r = opaque;
	unsigned input = n % IRQ_ROUTER_INPUTS;
	uint32_t bit = 1u << n / IRQ_ROUTER_INPUTS;
	bool before;

	lock_take(&r->lock);
	before = r->high[input];
	r->high[input] = level ? r->high[input] | bit : r->high[input] & ~bit;
	if (before != !!r->high[input])
		router_set(r, input, !before);
	lock_drop(&r->lock);
}

struct irq_line irq_router_source(struct irq_router *r, unsigned n)
{
	BUG_ON(n >= IRQ_ROUTER_INPUTS || r->sources[n] == IRQ_ROUTER_SHARED);
	return (struct irq_line){ .set = source_set, .opaque = r, .n = n + IRQ_ROUTER_INPUTS * r->sources[n]++ };
}

struct irq_line irq_router_line(struct irq_router *r, unsigned n)
{
	BUG_ON(n >= IRQ_ROUTER_INPUTS);
	return (struct irq_line){ .set = router_set, .opaque = r, .n = n };
}

static void router_msi(void *opaque, struct msi_msg msg)
{
	struct irq_router *r = opaque;

	msi_send(&r->msi, msg);
}

struct msi_sink irq_router_msi(struct irq_router *r)
{
	return (struct msi_sink){ .send = router_msi, .opaque = r };
}
