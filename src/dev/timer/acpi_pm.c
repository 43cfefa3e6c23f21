/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI fixed hardware in the layout of the PIIX4: PM1a event block, PM1a control, PM timer.
 *
 * Specification: ACPI 6.4, 4.8.3 (fixed hardware registers); Intel 82371AB data sheet, 7.2.
 * Missing: sleep states but S5, sleep button and RTC events (they can be enabled and never come), bus
 * master status, general-purpose events.
 * There is no legacy mode: SCI_EN reads 1 always, as a FADT without SMI_CMD says.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/endian.h"
#include "base/err.h"
#include "dev/timer/acpi_pm.h"

#define NS_PER_SEC 1000000000ull

/* PM1 status and enable bits, ACPI 4.8.4.1 */
#define PM1_TMR    0x0001
#define PM1_GBL    0x0020
#define PM1_PWRBTN 0x0100
#define PM1_SLPBTN 0x0200
#define PM1_RTC    0x0400
#define PM1_EVENTS (PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC)

/* PM1 control, ACPI 4.8.4.2 */
#define CNT_SCI_EN     0x0001
#define CNT_SLP_TYP(v) (((v) >> 10) & 7)
#define CNT_SLP_EN     0x2000
#define CNT_WRITABLE   0x1c02 /* SLP_TYP, BM_RLD */

struct acpi_pm {
	struct device dev;
	struct lock lock; /* all below; RANK_DEVICE */
	uint16_t status, enable, control;
	uint64_t msb_seen;  /* how often the timer's top bit had changed when TMR_STS was last brought up to date */
	struct timer timer;
	struct acpi_pm_config cfg;
	struct space *pio;     /* acpi_pm_place()'s: where it shows */
	struct region *region;
	uint16_t base;
};

static uint64_t ticks_now(const struct acpi_pm *a)
{
	return (unsigned __int128)clock_now(a->cfg.clock) * ACPI_PM_TIMER_HZ / NS_PER_SEC;
}

/* The bit whose change sets TMR_STS. */
static unsigned msb(const struct acpi_pm *a)
{
	return a->cfg.timer_32bit ? 31 : 23;
}

/* Bring TMR_STS, the SCI and the timer that waits for the next change of the top bit up to date. */
static void update(struct acpi_pm *a)
{
	uint64_t changes = ticks_now(a) >> msb(a);
	unsigned __int128 next = ((unsigned __int128)(changes + 1) << msb(a)) * NS_PER_SEC / ACPI_PM_TIMER_HZ + 1;

	if (changes != a->msb_seen)
		a->status |= PM1_TMR;
	a->msb_seen = changes;
	irq_set(&a->cfg.sci, a->status & a->enable & PM1_EVENTS);
	if ((a->enable & PM1_TMR) && !(a->status & PM1_TMR) && next < INT64_MAX)
		timer_arm(&a->timer, next);
	else
		timer_cancel(&a->timer);
}

static void pm_timer(void *opaque)
{
	struct acpi_pm *a = opaque;

	lock_take(&a->lock);
	update(a);
	lock_drop(&a->lock);
}

void acpi_pm_power_button(struct acpi_pm *a)
{
	lock_take(&a->lock);
	a->status |= PM1_PWRBTN;
	update(a);
	lock_drop(&a->lock);
}

/* The block as bytes: a guest access of several sees one value of the timer. */
static uint64_t pm_read(void *opaque, uint64_t off, unsigned size)
{
	struct acpi_pm *a = opaque;
	uint8_t image[ACPI_PM_SIZE] = { 0 };
	uint64_t val = 0;

	if (off < ACPI_PM_CNT)
		update(a);
	put_le16(image + ACPI_PM_EVT, a->status);
	put_le16(image + ACPI_PM_EVT + 2, a->enable);
	put_le16(image + ACPI_PM_CNT, a->control);
	put_le32(image + ACPI_PM_TIMER, ticks_now(a) & (a->cfg.timer_32bit ? UINT32_MAX : BIT(24) - 1));
	memcpy(&val, image + off, MIN(size, ACPI_PM_SIZE - off));
	return val;
}

static void write_control(struct acpi_pm *a, uint16_t val, uint16_t mask)
{
	uint16_t writable = CNT_WRITABLE & mask;

	a->control = (a->control & ~writable) | (val & writable);
	if ((val & mask & CNT_SLP_EN) && CNT_SLP_TYP(a->control) == a->cfg.s5_type)
		a->cfg.power_off(a->cfg.opaque);
}

static void write_byte(struct acpi_pm *a, uint64_t off, uint8_t val)
{
	unsigned shift = (off & 1) * 8;

	switch (off & ~1ull) {
	case ACPI_PM_EVT:
		a->status &= ~(val << shift); /* write 1 to clear */
		break;
	case ACPI_PM_EVT + 2:
		a->enable = (a->enable & ~(0xff << shift)) | (val << shift & PM1_EVENTS);
		break;
	case ACPI_PM_CNT:
		write_control(a, val << shift, 0xff << shift);
		break;
	}
}

static void pm_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct acpi_pm *a = opaque;

	update(a);
	for (unsigned i = 0; i < size; i++)
		write_byte(a, off + i, val >> i * 8);
	update(a);
}

static const struct io_ops pm_io = { .read = pm_read, .write = pm_write, .min_size = 1, .max_size = 4 };

void acpi_pm_attach(struct acpi_pm *a, struct space *pio)
{
	a->pio = pio;
}

void acpi_pm_place(struct acpi_pm *a, uint16_t base)
{
	if (base == a->base)
		return;
	space_remove(a->pio, a->region);
	a->region = NULL;
	a->base = base;
	if (base)
		BUG_ON(space_add_io(a->pio, &a->region, "acpi-pm", base, ACPI_PM_SIZE, &pm_io, a, &a->lock));
}

static void acpi_pm_reset(struct device *d)
{
	struct acpi_pm *a = (struct acpi_pm *)d;

	lock_take(&a->lock);
	a->status = a->enable = 0;
	a->control = CNT_SCI_EN;
	a->msb_seen = ticks_now(a) >> msb(a);
	update(a);
	lock_drop(&a->lock);
}

static int acpi_pm_post_load(struct device *d)
{
	struct acpi_pm *a = (struct acpi_pm *)d;

	if ((a->status & ~PM1_EVENTS) || (a->enable & ~PM1_EVENTS) ||
	    (a->control & ~CNT_WRITABLE) != CNT_SCI_EN)
		return -EINVAL;
	lock_take(&a->lock);
	update(a);
	lock_drop(&a->lock);
	return 0;
}

static void acpi_pm_free(struct device *d)
{
	struct acpi_pm *a = (struct acpi_pm *)d;

	timer_release(&a->timer);
	lock_release(&a->lock);
	free(a);
}

static const struct state_field acpi_pm_state[] = {
	STATE_U16(struct acpi_pm, status),
	STATE_U16(struct acpi_pm, enable),
	STATE_U16(struct acpi_pm, control),
	STATE_U64(struct acpi_pm, msb_seen),
	STATE_END(),
};

static const struct device_ops acpi_pm_ops = {
	.name = "acpi-pm",
	.reset = acpi_pm_reset,
	.post_load = acpi_pm_post_load,
	.free = acpi_pm_free,
	.state = acpi_pm_state,
	.state_version = 1,
};

struct acpi_pm *acpi_pm_new(const struct acpi_pm_config *c)
{
	struct acpi_pm *a = calloc(1, sizeof(*a));

	BUG_ON(!a);
	a->dev.ops = &acpi_pm_ops;
	list_init(&a->dev.node);
	a->cfg = *c;
	lock_init(&a->lock, RANK_DEVICE);
	timer_init(&a->timer, c->clock, pm_timer, a);
	acpi_pm_reset(&a->dev);
	return a;
}
