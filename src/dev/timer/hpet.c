/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HPET.
 *
 * Specification: Intel, IA-PC HPET 1.0a. Three timers, all periodic if asked, 32 or 64 bits.
 * Missing: interrupts as messages (FSB delivery). Timers do not reach the IOAPIC's inputs below the first route unless they stand in
 * for the 8254 and the clock chip. Ticks that nobody could be told of are not made up for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "dev/limits.h"
#include "dev/timer/hpet.h"

#define TIMERS    3
#define TICK_NS   10ull
#define PERIOD_FS (TICK_NS * 1000000)
#define NEVER     UINT64_MAX

/* Registers, 2.3.1 */
enum { REG_ID = 0x000, REG_CONFIG = 0x010, REG_STATUS = 0x020, REG_COUNTER = 0x0f0, REG_TIMER0 = 0x100, TIMER_STEP = 0x20,
       T_CONFIG = 0x00, T_COMPARATOR = 0x08 };

#define CONFIG_ENABLE  0x1ull
#define CONFIG_LEGACY  0x2ull

/* Timer configuration, 2.3.8 */
#define T_LEVEL        0x0002ull
#define T_ENABLE       0x0004ull
#define T_PERIODIC     0x0008ull
#define T_CAN_PERIODIC 0x0010ull
#define T_CAN_64       0x0020ull
#define T_SET_VALUE    0x0040ull
#define T_32           0x0100ull
#define T_ROUTE        0x3e00ull
#define T_WRITABLE     (T_LEVEL | T_ENABLE | T_PERIODIC | T_SET_VALUE | T_32 | T_ROUTE)
#define ROUTE_OF(c)    ((unsigned)((c) >> 9) & 31)

struct hpet {
	struct device dev;
	struct lock lock;     /* all but the two atomics; RANK_DEVICE */
	struct clock *clock;
	struct irq_line legacy[2], route[HPET_ROUTES];
	uint8_t first_route;
	struct timer timer;
	_Atomic bool replaced;  /* the inputs go nowhere */
	_Atomic bool input[2];  /* levels of them */

	uint64_t config;
	uint32_t status;
	uint64_t counter;     /* while it stands; else what to add to the clock's ticks */
	uint64_t seen;        /* up to where comparators have been looked at */
	uint64_t tconfig[TIMERS], cmp[TIMERS], period[TIMERS];
};

static bool running(const struct hpet *h)
{
	return h->config & CONFIG_ENABLE;
}

static uint64_t count(const struct hpet *h)
{
	return running(h) ? clock_now(h->clock) / TICK_NS + h->counter : h->counter;
}

/* -- Wires --------------------------------------------------------------------------------------------- */

static void input_set(void *opaque, unsigned n, bool level)
{
	struct hpet *h = opaque;

	atomic_store(&h->input[n], level);
	if (!atomic_load(&h->replaced))
		irq_set(&h->legacy[n], level);
}

struct irq_line hpet_input(struct hpet *h, unsigned n)
{
	return (struct irq_line){ .set = input_set, .opaque = h, .n = n };
}

/* Where timer n's interrupt goes now. */
static const struct irq_line *output(const struct hpet *h, unsigned n)
{
	static const struct irq_line nowhere;
	unsigned route = ROUTE_OF(h->tconfig[n]);

	if ((h->config & CONFIG_LEGACY) && n < 2)
		return &h->legacy[n];
	return route >= h->first_route && route - h->first_route < HPET_ROUTES ? &h->route[route - h->first_route] : &nowhere;
}

static bool is_level(const struct hpet *h, unsigned n)
{
	return (h->tconfig[n] & T_LEVEL) && !((h->config & CONFIG_LEGACY) && n < 2);
}

/* Lines are as status and configuration say; `lower` before either changes. */
static void drive(struct hpet *h, bool lower)
{
	for (unsigned n = 0; n < TIMERS; n++)
		if (is_level(h, n) && (h->status & BIT(n)) && (h->tconfig[n] & T_ENABLE))
			irq_set(output(h, n), !lower);
}

static void set_legacy(struct hpet *h, bool on)
{
	if (on == atomic_load(&h->replaced))
		return;
	atomic_store(&h->replaced, on);
	for (unsigned n = 0; n < 2; n++)
		irq_set(&h->legacy[n], !on && atomic_load(&h->input[n]));
}

/* -- Comparators --------------------------------------------------------------------------------------- */

static uint64_t mask_of(const struct hpet *h, unsigned n)
{
	return h->tconfig[n] & T_32 ? UINT32_MAX : UINT64_MAX;
}

/* Ticks from `from` (exclusive) until timer n matches; 0 stands for all of its range. */
static uint64_t distance(const struct hpet *h, unsigned n, uint64_t from)
{
	uint64_t d = (h->cmp[n] - from) & mask_of(h, n);

	return d ? d : mask_of(h, n);
}

static void fire(struct hpet *h, unsigned n)
{
	if (!(h->tconfig[n] & T_ENABLE))
		return;
	if (!is_level(h, n)) {
		irq_pulse(output(h, n));
		return;
	}
	h->status |= BIT(n);
	irq_set(output(h, n), true);
}

/* Timer n has matched at or before `now`: the next match of a periodic one lies behind that. */
static void advance(struct hpet *h, unsigned n, uint64_t now)
{
	uint64_t period = h->period[n] & mask_of(h, n), late = (now - h->cmp[n]) & mask_of(h, n);

	if ((h->tconfig[n] & T_PERIODIC) && period)
		h->cmp[n] = (h->cmp[n] + (late / period + 1) * period) & mask_of(h, n);
}

static void look(struct hpet *h)
{
	uint64_t now = count(h);

	for (unsigned n = 0; n < TIMERS && running(h); n++) {
		if (distance(h, n, h->seen) > now - h->seen)
			continue;
		fire(h, n);
		advance(h, n, now);
	}
	h->seen = now;
}

/* Arm the host's timer for what comes next and somebody waits for. */
static void arm(struct hpet *h)
{
	const uint64_t least = DEV_TIMER_MIN_PERIOD_NS / TICK_NS, most = UINT64_MAX / 4 / TICK_NS;
	uint64_t next = NEVER;

	for (unsigned n = 0; n < TIMERS && running(h); n++)
		if (h->tconfig[n] & T_ENABLE)
			next = MIN(next, MAX(distance(h, n, h->seen), h->tconfig[n] & T_PERIODIC ? least : 1));
	if (next > most)
		timer_cancel(&h->timer);
	else
		timer_arm(&h->timer, clock_now(h->clock) + next * TICK_NS);
}

static void hpet_timer(void *opaque)
{
	struct hpet *h = opaque;

	lock_take(&h->lock);
	look(h);
	arm(h);
	lock_drop(&h->lock);
}

/* -- Registers ----------------------------------------------------------------------------------------- */

static uint64_t read_timer(const struct hpet *h, unsigned n, unsigned reg)
{
	uint64_t routes = (BIT(HPET_ROUTES) - 1) << h->first_route;

	switch (reg) {
	case T_CONFIG:
		return h->tconfig[n] | T_CAN_PERIODIC | T_CAN_64 | routes << 32;
	case T_COMPARATOR:
		return h->cmp[n];
	default:
		return 0;
	}
}

static uint64_t read_register(struct hpet *h, unsigned reg)
{
	if (reg >= REG_TIMER0 && reg < REG_TIMER0 + TIMERS * TIMER_STEP)
		return read_timer(h, (reg - REG_TIMER0) / TIMER_STEP, reg % TIMER_STEP);
	switch (reg) {
	case REG_ID:
		return PERIOD_FS << 32 | HPET_ID;
	case REG_CONFIG:
		return h->config;
	case REG_STATUS:
		return h->status;
	case REG_COUNTER:
		return count(h);
	default:
		return 0;
	}
}

static void write_config(struct hpet *h, uint64_t val)
{
	uint64_t now = count(h);

	drive(h, true);
	h->config = val & (CONFIG_ENABLE | CONFIG_LEGACY);
	h->counter = running(h) ? now - clock_now(h->clock) / TICK_NS : now;
	h->seen = now;
	set_legacy(h, h->config & CONFIG_LEGACY);
	drive(h, false);
}

/* 2.3.9.2.2: a periodic timer's comparator takes its period; with VAL_SET, once, the next match too. */
static void write_comparator(struct hpet *h, unsigned n, uint64_t val, bool all)
{
	bool periodic = h->tconfig[n] & T_PERIODIC;

	val &= mask_of(h, n);
	if (!periodic || (h->tconfig[n] & T_SET_VALUE))
		h->cmp[n] = val;
	if (periodic)
		h->period[n] = val;
	if (all)
		h->tconfig[n] &= ~T_SET_VALUE;
}

static void write_timer(struct hpet *h, unsigned n, unsigned reg, uint64_t val, bool all)
{
	if (reg == T_CONFIG) {
		drive(h, true);
		h->tconfig[n] = val & T_WRITABLE;
		h->cmp[n] &= mask_of(h, n);
		h->period[n] &= mask_of(h, n);
		if (!is_level(h, n))
			h->status &= ~(uint32_t)BIT(n);
		drive(h, false);
	} else if (reg == T_COMPARATOR) {
		write_comparator(h, n, val, all);
	}
}

/* all: no other half of the register is going to be written. */
static void write_register(struct hpet *h, unsigned reg, uint64_t val, bool all)
{
	if (reg >= REG_TIMER0 && reg < REG_TIMER0 + TIMERS * TIMER_STEP) {
		write_timer(h, (reg - REG_TIMER0) / TIMER_STEP, reg % TIMER_STEP, val, all);
	} else if (reg == REG_CONFIG) {
		write_config(h, val);
	} else if (reg == REG_STATUS) {
		drive(h, true);
		h->status &= ~(uint32_t)val;
		drive(h, false);
	} else if (reg == REG_COUNTER && !running(h)) {
		h->counter = h->seen = val;
	}
}

static uint64_t hpet_read(void *opaque, uint64_t off, unsigned size)
{
	uint64_t val = read_register(opaque, (unsigned)off & ~7u);

	return size == 8 ? val : (uint32_t)(val >> (off & 4) * 8);
}

static void hpet_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct hpet *h = opaque;
	unsigned reg = (unsigned)off & ~7u, shift = (unsigned)(off & 4) * 8, n = (reg - REG_TIMER0) / TIMER_STEP;
	bool all = size == 8 || shift || (reg >= REG_TIMER0 && n < TIMERS && (h->tconfig[n] & T_32));

	look(h);
	if (size == 4) {
		uint64_t half = (uint64_t)UINT32_MAX << shift, old = reg == REG_STATUS ? 0 : read_register(h, reg);

		val = (old & ~half) | val << shift;
	}
	write_register(h, reg, val, all);
	arm(h);
}

static const struct io_ops hpet_io = { .read = hpet_read, .write = hpet_write, .min_size = 4, .max_size = 8 };

int hpet_attach(struct hpet *h, struct space *mem, uint64_t base)
{
	struct region *r;

	return space_add_io(mem, &r, "hpet", base, HPET_SIZE, &hpet_io, h, &h->lock);
}

/* -- Life ---------------------------------------------------------------------------------------------- */

static void clear(struct hpet *h)
{
	h->config = h->counter = h->seen = 0;
	h->status = 0;
	memset(h->tconfig, 0, sizeof(h->tconfig));
	memset(h->period, 0, sizeof(h->period));
	memset(h->cmp, 0xff, sizeof(h->cmp)); /* 2.3.9.1: all ones */
}

static void hpet_reset(struct device *d)
{
	struct hpet *h = (struct hpet *)d;

	lock_take(&h->lock);
	drive(h, true);
	clear(h);
	set_legacy(h, false);
	arm(h);
	lock_drop(&h->lock);
}

static bool state_valid(const struct hpet *h)
{
	bool ok = !(h->config & ~(CONFIG_ENABLE | CONFIG_LEGACY)) && h->status < BIT(TIMERS);

	for (unsigned n = 0; n < TIMERS; n++)
		ok &= !(h->tconfig[n] & ~T_WRITABLE) && h->cmp[n] <= mask_of(h, n) && h->period[n] <= mask_of(h, n);
	return ok;
}

static int hpet_post_load(struct device *d)
{
	struct hpet *h = (struct hpet *)d;
	bool ok = state_valid(h);

	lock_take(&h->lock);
	if (!ok)
		clear(h);
	h->seen = count(h) - MIN(count(h) - h->seen, UINT32_MAX / 2);
	set_legacy(h, h->config & CONFIG_LEGACY);
	drive(h, false);
	arm(h);
	lock_drop(&h->lock);
	return ok ? 0 : -EINVAL;
}

static void hpet_free(struct device *d)
{
	struct hpet *h = (struct hpet *)d;

	timer_release(&h->timer);
	lock_release(&h->lock);
	free(h);
}

static const struct state_field hpet_state[] = {
	STATE_U64(struct hpet, config),
	STATE_U32(struct hpet, status),
	STATE_U64(struct hpet, counter),
	STATE_U64(struct hpet, seen),
	STATE_ARRAY(struct hpet, tconfig),
	STATE_ARRAY(struct hpet, cmp),
	STATE_ARRAY(struct hpet, period),
	STATE_END(),
};

static const struct device_ops hpet_ops = {
	.name = "hpet",
	.reset = hpet_reset,
	.post_load = hpet_post_load,
	.free = hpet_free,
	.state = hpet_state,
	.state_version = 1,
};

struct hpet *hpet_new(const struct hpet_config *c)
{
	struct hpet *h = calloc(1, sizeof(*h));

	BUG_ON(!h);
	h->dev.ops = &hpet_ops;
	list_init(&h->dev.node);
	lock_init(&h->lock, RANK_DEVICE);
	h->clock = c->clock;
	memcpy(h->legacy, c->legacy, sizeof(h->legacy));
	memcpy(h->route, c->route, sizeof(h->route));
	h->first_route = c->first_route;
	clear(h);
	timer_init(&h->timer, c->clock, hpet_timer, h);
	return h;
}
