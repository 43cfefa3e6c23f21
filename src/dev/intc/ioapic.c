/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O APIC with 24 inputs.
 *
 * Specification: Intel 82093AA data sheet (order 290566-001); version 0x20 with the EOI register as in
 * the Intel 5-series PCH data sheet, 13.5. Message format: SDM vol. 3, 11.11.
 * Missing: nothing known. Ignored: the polarity bit (a wire says "asserted", not high or low), the
 * arbitration register's value. Delivery status always reads 0 (idle): messages leave at once.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "dev/intc/ioapic.h"

#define IOAPIC_WINDOW  0x1000
#define IOAPIC_VERSION 0x20

/* Memory-mapped registers */
#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REG_EOI    0x40

/* Indirect registers */
#define IND_ID   0x00
#define IND_VER  0x01
#define IND_ARB  0x02
#define IND_RTE0 0x10
#define ID_MASK  0x0f000000u

/* Redirection table entry, data sheet 3.2.4 */
#define RTE_VECTOR(e)     ((uint8_t)(e))
#define RTE_DELIVERY(e)   (((e) >> 8) & 7)
#define RTE_LOGICAL       BIT(11)
#define RTE_STATUS        BIT(12)
#define RTE_REMOTE_IRR    BIT(14)
#define RTE_LEVEL         BIT(15)
#define RTE_MASK          BIT(16)
#define RTE_DEST(e)       ((e) >> 56)
#define RTE_READ_ONLY     (RTE_STATUS | RTE_REMOTE_IRR)
#define RTE_WRITABLE      (0xff0000000001ffffull & ~RTE_READ_ONLY)

#define DELIVERY_LOWEST   1

/* Message address and data, SDM vol. 3, 11.11.1 and 11.11.2 */
#define MSI_BASE          0xfee00000u
#define MSI_DEST_SHIFT    12
#define MSI_HINT          BIT(3)
#define MSI_LOGICAL       BIT(2)
#define MSI_DATA_LEVEL    BIT(15)
#define MSI_DATA_ASSERT   BIT(14)

struct ioapic {
	struct device dev;
	struct lock lock; /* all below; RANK_INTC */
	uint8_t select;
	uint32_t id;
	uint32_t lines;   /* level of the inputs now */
	uint64_t rte[IOAPIC_PINS];
	struct msi_sink out;
};

static void deliver(struct ioapic *a, uint64_t e)
{
	struct msi_msg msg = {
		.addr = MSI_BASE | RTE_DEST(e) << MSI_DEST_SHIFT,
		.data = RTE_VECTOR(e) | RTE_DELIVERY(e) << 8,
	};

	if (e & RTE_LOGICAL)
		msg.addr |= MSI_LOGICAL;
	if (RTE_DELIVERY(e) == DELIVERY_LOWEST)
		msg.addr |= MSI_HINT;
	if (e & RTE_LEVEL)
		msg.data |= MSI_DATA_LEVEL | MSI_DATA_ASSERT;
	msi_send(&a->out, msg);
}

/* A level-triggered input that is asserted, unmasked and not waiting for an EOI fires. */
static void service_level(struct ioapic *a, unsigned n)
{
	uint64_t e = a->rte[n];

	if (!(e & RTE_LEVEL) || (e & (RTE_MASK | RTE_REMOTE_IRR)) || !(a->lines & (1u << n)))
		return;
	a->rte[n] |= RTE_REMOTE_IRR;
	deliver(a, e);
}

static void ioapic_set_input(void *opaque, unsigned n, bool level)
{
	struct ioapic *a = opaque;
	uint32_t bit = 1u << n;
	bool rose;

	lock_take(&a->lock);
	rose = level && !(a->lines & bit);
	a->lines = level ? a->lines | bit : a->lines & ~bit;
	/* An edge on a masked input is lost, as the data sheet says. */
	if (rose && !(a->rte[n] & (RTE_LEVEL | RTE_MASK)))
		deliver(a, a->rte[n]);
	service_level(a, n);
	lock_drop(&a->lock);
}

struct irq_line ioapic_input(struct ioapic *a, unsigned n)
{
	BUG_ON(n >= IOAPIC_PINS);
	return (struct irq_line){ .set = ioapic_set_input, .opaque = a, .n = n };
}

static void eoi(struct ioapic *a, uint8_t vector)
{
	for (unsigned n = 0; n < IOAPIC_PINS; n++) {
		if (!(a->rte[n] & RTE_REMOTE_IRR) || RTE_VECTOR(a->rte[n]) != vector)
			continue;
		a->rte[n] &= ~RTE_REMOTE_IRR;
		service_level(a, n);
	}
}

void ioapic_eoi(struct ioapic *a, uint8_t vector)
{
	lock_take(&a->lock);
	eoi(a, vector);
	lock_drop(&a->lock);
}

static uint32_t indirect_read(const struct ioapic *a)
{
	unsigned n = (a->select - IND_RTE0) / 2u;

	if (a->select == IND_ID || a->select == IND_ARB)
		return a->id;
	if (a->select == IND_VER)
		return (IOAPIC_PINS - 1) << 16 | IOAPIC_VERSION;
	if (a->select < IND_RTE0 || n >= IOAPIC_PINS)
		return 0;
	return a->select & 1 ? a->rte[n] >> 32 : a->rte[n];
}

static void indirect_write(struct ioapic *a, uint32_t val)
{
	unsigned n = (a->select - IND_RTE0) / 2u;
	uint64_t e;

	if (a->select == IND_ID)
		a->id = val & ID_MASK;
	if (a->select < IND_RTE0 || n >= IOAPIC_PINS)
		return;
	e = a->select & 1 ? (uint64_t)val << 32 | (uint32_t)a->rte[n] : (a->rte[n] & ~0xffffffffull) | val;
	e = (e & RTE_WRITABLE) | (a->rte[n] & RTE_REMOTE_IRR);
	/* Remote IRR has no meaning for edge-triggered entries; drivers clear it by this. */
	if (!(e & RTE_LEVEL))
		e &= ~RTE_REMOTE_IRR;
	a->rte[n] = e;
	service_level(a, n);
}

static uint64_t ioapic_read(void *opaque, uint64_t off, unsigned size)
{
	struct ioapic *a = opaque;

	switch (off) {
	case REG_SELECT:
		return a->select;
	case REG_WINDOW:
		return indirect_read(a);
	default:
		return 0;
	}
}

static void ioapic_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct ioapic *a = opaque;

	switch (off) {
	case REG_SELECT:
		a->select = val;
		break;
	case REG_WINDOW:
		indirect_write(a, val);
		break;
	case REG_EOI:
		eoi(a, val);
		break;
	}
}

static const struct io_ops ioapic_io = { .read = ioapic_read, .write = ioapic_write, .min_size = 4, .max_size = 4 };

int ioapic_attach(struct ioapic *a, struct space *mem, uint64_t base)
{
	struct region *r;

	return space_add_io(mem, &r, "ioapic", base, IOAPIC_WINDOW, &ioapic_io, a, &a->lock);
}

static void ioapic_reset(struct device *d)
{
	struct ioapic *a = (struct ioapic *)d;

	lock_take(&a->lock);
	a->select = 0;
	a->id = 0;
	for (unsigned n = 0; n < IOAPIC_PINS; n++)
		a->rte[n] = RTE_MASK;
	lock_drop(&a->lock);
}

static int ioapic_post_load(struct device *d)
{
	struct ioapic *a = (struct ioapic *)d;

	if (a->lines >= 1u << IOAPIC_PINS) {
		a->lines = 0; /* a reset would keep them */
		return -EINVAL;
	}
	if (a->id & ~ID_MASK)
		return -EINVAL;
	for (unsigned n = 0; n < IOAPIC_PINS; n++) {
		uint64_t e = a->rte[n];

		if ((e & ~(RTE_WRITABLE | RTE_REMOTE_IRR)) || ((e & RTE_REMOTE_IRR) && !(e & RTE_LEVEL)))
			return -EINVAL;
	}
	return 0;
}

static void ioapic_free(struct device *d)
{
	struct ioapic *a = (struct ioapic *)d;

	lock_release(&a->lock);
	free(a);
}

static const struct state_field ioapic_state[] = {
	STATE_U8(struct ioapic, select),
	STATE_U32(struct ioapic, id),
	STATE_U32(struct ioapic, lines),
	STATE_ARRAY(struct ioapic, rte),
	STATE_END(),
};

static const struct device_ops ioapic_ops = {
	.name = "ioapic",
	.reset = ioapic_reset,
	.post_load = ioapic_post_load,
	.free = ioapic_free,
	.state = ioapic_state,
	.state_version = 1,
};

struct ioapic *ioapic_new(struct msi_sink out)
{
	struct ioapic *a = calloc(1, sizeof(*a));

	BUG_ON(!a);
	a->dev.ops = &ioapic_ops;
	list_init(&a->dev.node);
	a->out = out;
	lock_init(&a->lock, RANK_INTC);
	ioapic_reset(&a->dev);
	return a;
}
