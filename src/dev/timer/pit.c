/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 8254 programmable interval timer: three counters of 1.193182 MHz. Counter 0 drives an
 * interrupt line, counter 2 the speaker; its gate and output are in port B (0x61 of a PC).
 *
 * Specification: Intel 8254 data sheet (order 231164-005); port B: IBM PC AT Technical Reference.
 * Missing: sound; NMI enables of port B (stored). Counter 1 counts, but the refresh bit of port B
 * toggles at its usual 15 us whatever the guest programs.
 * The interrupt line shows the rising edges of output 0; it falls just before each of them, and
 * when the counter is programmed, so that no host timer is needed for falling edges. Edges closer than
 * DEV_TIMER_MIN_PERIOD_NS coalesce; lost ticks are not made up for.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "dev/limits.h"
#include "dev/timer/pit.h"

#define COUNTERS    3
#define NS_PER_SEC  1000000000ull
#define REFRESH_NS  15085ull /* 18 ticks */

/* Control word */
#define CW_COUNTER(v)  ((v) >> 6)
#define CW_ACCESS(v)   (((v) >> 4) & 3)
#define CW_MODE(v)     (((v) >> 1) & 7)
#define CW_BCD         0x01
#define CW_READ_BACK   3
#define READ_BACK_NO_COUNT  0x20
#define READ_BACK_NO_STATUS 0x10
enum access { ACCESS_LATCH, ACCESS_LSB, ACCESS_MSB, ACCESS_WORD };

/* Status byte of the read-back command */
#define STATUS_OUT  0x80
#define STATUS_NULL 0x40

/* Port B */
#define PORTB_GATE2   0x01
#define PORTB_WRITABLE 0x0f
#define PORTB_REFRESH 0x10
#define PORTB_OUT2    0x20

struct counter {
	uint8_t mode;        /* 0 to 5 */
	uint8_t access;      /* enum access, not ACCESS_LATCH */
	bool bcd, gate;
	bool written;        /* a count was written since the control word */
	bool counting;       /* a count is in the counting element: loaded, triggered */
	bool halted;         /* the gate holds the count at `elapsed` ticks */
	bool null_count;     /* the count written has not reached the counting element */
	uint32_t reload;     /* the count register, 1 to 65536 */
	uint32_t count;      /* what the element was loaded with, 1 to 65536 */
	uint64_t start_ns;   /* guest time at which it was (or would have been) loaded */
	uint64_t elapsed;    /* while halted */
	uint8_t write_lsb;   /* first byte of a word */
	bool write_msb_next, read_msb_next;
	bool count_latched, status_latched;
	uint16_t count_latch;
	uint8_t status_latch;
};

struct pit {
	struct device dev;
	struct lock lock; /* all below; RANK_DEVICE */
	struct counter c[COUNTERS];
	uint8_t port_b;
	uint64_t edge_ns; /* guest time of the next rising edge of output 0; UINT64_MAX: none */
	struct timer timer;
	struct clock *clock;
	struct irq_line out;
};

static uint64_t ns_to_ticks(uint64_t ns)
{
	return (unsigned __int128)ns * PIT_HZ / NS_PER_SEC;
}

/* The first nanosecond at which so many ticks have passed. */
static uint64_t ticks_to_ns(uint64_t ticks)
{
	unsigned __int128 ns = ((unsigned __int128)ticks * NS_PER_SEC + PIT_HZ - 1) / PIT_HZ;

	return ns > INT64_MAX ? INT64_MAX : (uint64_t)ns;
}

static bool periodic(const struct counter *c)
{
	return c->mode == 2 || c->mode == 3;
}

static uint64_t ticks(const struct counter *c, uint64_t now)
{
	if (c->halted)
		return c->elapsed;
	return now > c->start_ns ? ns_to_ticks(now - c->start_ns) : 0;
}

/* A periodic counter takes a new count at the end of its cycle. */
static void counter_sync(struct counter *c, uint64_t now)
{
	uint64_t t, end;

	if (!c->counting || !c->null_count || !periodic(c) || c->halted)
		return;
	t = ticks(c, now);
	if (t < c->count)
		return;
	end = c->start_ns + ticks_to_ns(t - t % c->count);
	c->start_ns = MIN(end, now);
	c->count = c->reload;
	c->null_count = false;
}

/* Level of the output. */
static bool counter_out(const struct counter *c, uint64_t now)
{
	uint64_t t;

	if (!c->counting)
		return c->mode != 0;
	t = ticks(c, now);
	switch (c->mode) {
	case 0:
	case 1:
		return t >= c->count;
	case 2:
		return !c->gate || t % c->count != c->count - 1;
	case 3:
		return !c->gate || t % c->count < (c->count + 1) / 2;
	default:
		return t != c->count; /* a strobe of one tick */
	}
}

static uint16_t to_bcd(unsigned v)
{
	return v % 10 | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 | (v / 1000 % 10) << 12;
}

static unsigned from_bcd(uint16_t v)
{
	return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12) * 1000;
}

/* What the counting element shows, as the program sees it. */
static uint16_t counter_value(const struct counter *c, uint64_t now)
{
	unsigned modulus = c->bcd ? 10000 : 65536;
	uint64_t t = c->counting ? ticks(c, now) : 0;
	uint32_t v;

	if (c->mode == 3)
		v = c->count - (2 * t) % c->count;
	else if (c->mode == 2)
		v = c->count - t % c->count;
	else
		v = (c->count % modulus + modulus - t % modulus) % modulus; /* goes on below zero */
	v %= modulus;
	return c->bcd ? to_bcd(v) : v;
}

/* Guest time of the next rising edge of the output, later than now; UINT64_MAX: none will come. */
static uint64_t next_edge(const struct counter *c, uint64_t now)
{
	uint64_t t, at, ns;

	if (!c->counting || c->halted)
		return UINT64_MAX;
	t = ticks(c, now);
	if (periodic(c)) {
		if (c->count < 2)
			return UINT64_MAX; /* illegal in these modes: the output never moves */
		at = (t / c->count + 1) * c->count;
	} else {
		at = c->mode < 2 ? c->count : c->count + 1;
		if (t >= at)
			return UINT64_MAX;
	}
	ns = ticks_to_ns(at);
	return ns > INT64_MAX - c->start_ns ? UINT64_MAX : c->start_ns + ns;
}

/* Counter 0 was changed: show its output and wait for its next edge. */
static void update_irq(struct pit *p, uint64_t now)
{
	irq_set(&p->out, counter_out(&p->c[0], now));
	p->edge_ns = next_edge(&p->c[0], now);
	if (p->edge_ns == UINT64_MAX)
		timer_cancel(&p->timer);
	else
		timer_arm(&p->timer, MAX(p->edge_ns, now));
}

static void pit_timer(void *opaque)
{
	struct pit *p = opaque;
	uint64_t now, soonest;

	lock_take(&p->lock);
	now = clock_now(p->clock);
	if (p->edge_ns != UINT64_MAX && now >= p->edge_ns) {
		counter_sync(&p->c[0], now);
		irq_set(&p->out, false);
		irq_set(&p->out, true);
		p->edge_ns = next_edge(&p->c[0], now);
	}
	soonest = ticks_to_ns(p->c[0].count) < DEV_TIMER_MIN_PERIOD_NS ? now + DEV_TIMER_MIN_PERIOD_NS : now;
	if (p->edge_ns != UINT64_MAX)
		timer_arm(&p->timer, MAX(p->edge_ns, soonest));
	lock_drop(&p->lock);
}

/* The counting element starts with the count register. */
static void counter_load(struct counter *c, uint64_t now)
{
	c->count = c->reload;
	c->start_ns = now;
	c->elapsed = 0;
	c->counting = true;
	c->null_count = false;
	c->halted = !c->gate && c->mode != 1 && c->mode != 5;
}

/* A whole count has been written. */
static void set_count(struct counter *c, uint16_t raw, uint64_t now)
{
	unsigned modulus = c->bcd ? 10000 : 65536;
	unsigned v = c->bcd ? from_bcd(raw) % modulus : raw;

	counter_sync(c, now);
	c->reload = v ? v : modulus;
	c->written = true;
	c->null_count = true;
	switch (c->mode) {
	case 0:
	case 4:
		counter_load(c, now);
		break;
	case 2:
	case 3:
		if (!c->counting)
			counter_load(c, now);
		break;
	default:
		break; /* 1 and 5 wait for the gate */
	}
}

static void write_count(struct counter *c, uint8_t val, uint64_t now)
{
	switch (c->access) {
	case ACCESS_LSB:
		set_count(c, val, now);
		break;
	case ACCESS_MSB:
		set_count(c, val << 8, now);
		break;
	default:
		if (c->write_msb_next) {
			set_count(c, val << 8 | c->write_lsb, now);
		} else {
			c->write_lsb = val;
			if (c->mode == 0)
				c->counting = c->halted = false; /* the first byte stops mode 0, its output goes low */
		}
		c->write_msb_next = !c->write_msb_next;
	}
}

static void latch_count(struct counter *c, uint64_t now)
{
	if (c->count_latched)
		return;
	c->count_latched = true;
	c->count_latch = counter_value(c, now);
}

static void latch_status(struct counter *c, uint64_t now)
{
	if (c->status_latched)
		return;
	c->status_latched = true;
	c->status_latch = (counter_out(c, now) ? STATUS_OUT : 0) | (c->null_count ? STATUS_NULL : 0) |
			  c->access << 4 | c->mode << 1 | c->bcd;
}

static void read_back(struct pit *p, uint8_t val, uint64_t now)
{
	for (unsigned i = 0; i < COUNTERS; i++) {
		struct counter *c = &p->c[i];

		if (!(val & (2u << i)))
			continue;
		counter_sync(c, now);
		if (!(val & READ_BACK_NO_COUNT))
			latch_count(c, now);
		if (!(val & READ_BACK_NO_STATUS))
			latch_status(c, now);
	}
}

static void write_control(struct pit *p, uint8_t val, uint64_t now)
{
	unsigned n = CW_COUNTER(val);
	struct counter *c;

	if (n == CW_READ_BACK) {
		read_back(p, val, now);
		return;
	}
	c = &p->c[n];
	counter_sync(c, now);
	if (CW_ACCESS(val) == ACCESS_LATCH) {
		latch_count(c, now);
		return;
	}
	c->access = CW_ACCESS(val);
	c->mode = CW_MODE(val) > 5 ? CW_MODE(val) - 4 : CW_MODE(val); /* 6 and 7 are 2 and 3 */
	c->bcd = val & CW_BCD;
	c->written = c->counting = c->halted = false;
	c->null_count = true;
	c->write_msb_next = c->read_msb_next = false;
	c->count_latched = c->status_latched = false;
	if (n == 0)
		update_irq(p, now);
}

static uint8_t read_counter(struct counter *c, uint64_t now)
{
	uint16_t v;
	bool msb;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status_latch;
	}
	counter_sync(c, now);
	v = c->count_latched ? c->count_latch : counter_value(c, now);
	msb = c->access == ACCESS_MSB || (c->access == ACCESS_WORD && c->read_msb_next);
	if (c->access == ACCESS_WORD)
		c->read_msb_next = !c->read_msb_next;
	/* A latch holds until it has been read whole. */
	if (c->access != ACCESS_WORD || msb)
		c->count_latched = false;
	return msb ? v >> 8 : v;
}

static void set_gate(struct counter *c, bool gate, uint64_t now)
{
	bool rose = gate && !c->gate;

	if (c->gate == gate)
		return;
	counter_sync(c, now);
	if (!gate && c->counting && c->mode != 1 && c->mode != 5) {
		c->elapsed = ticks(c, now);
		c->halted = true;
	}
	c->gate = gate;
	if (!rose || !c->written)
		return;
	if (c->mode == 0 || c->mode == 4) {
		if (c->halted) {
			c->start_ns = now - MIN(now, ticks_to_ns(c->elapsed));
			c->halted = false;
		}
	} else {
		counter_load(c, now); /* the other modes start over */
	}
}

static uint64_t pit_read(void *opaque, uint64_t off, unsigned size)
{
	struct pit *p = opaque;

	if (off >= COUNTERS)
		return 0xff; /* the control word cannot be read */
	return read_counter(&p->c[off], clock_now(p->clock));
}

static void pit_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct pit *p = opaque;
	uint64_t now = clock_now(p->clock);

	if (off >= COUNTERS) {
		write_control(p, val, now);
		return;
	}
	write_count(&p->c[off], val, now);
	if (off == 0)
		update_irq(p, now);
}

static uint64_t port_b_read(void *opaque, uint64_t off, unsigned size)
{
	struct pit *p = opaque;
	uint64_t now = clock_now(p->clock);
	uint8_t v = p->port_b;

	counter_sync(&p->c[2], now);
	if (counter_out(&p->c[2], now))
		v |= PORTB_OUT2;
	if (now / REFRESH_NS & 1)
		v |= PORTB_REFRESH;
	return v;
}

static void port_b_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct pit *p = opaque;

	p->port_b = val & PORTB_WRITABLE;
	set_gate(&p->c[2], val & PORTB_GATE2, clock_now(p->clock));
}

static const struct io_ops pit_io = { .read = pit_read, .write = pit_write, .max_size = 1 };
static const struct io_ops port_b_io = { .read = port_b_read, .write = port_b_write, .max_size = 1 };

int pit_attach(struct pit *p, struct space *pio, uint16_t base, uint16_t port_b)
{
	struct region *r;
	int rc = space_add_io(pio, &r, "pit", base, COUNTERS + 1, &pit_io, p, &p->lock);

	return rc ? rc : space_add_io(pio, &r, "port-b", port_b, 1, &port_b_io, p, &p->lock);
}

static void pit_reset(struct device *d)
{
	struct pit *p = (struct pit *)d;

	lock_take(&p->lock);
	for (unsigned i = 0; i < COUNTERS; i++)
		p->c[i] = (struct counter){
			.access = ACCESS_WORD, .gate = i != 2, .reload = 65536, .count = 65536,
		};
	p->port_b = 0;
	update_irq(p, clock_now(p->clock));
	lock_drop(&p->lock);
}

static bool counter_valid(const struct counter *c, uint64_t now)
{
	return c->mode <= 5 && c->access >= ACCESS_LSB && c->access <= ACCESS_WORD && c->count >= 1 &&
	       c->count <= 65536 && c->reload >= 1 && c->reload <= 65536 && c->start_ns <= now &&
	       c->elapsed <= INT64_MAX && (c->counting || !c->halted) && (c->written || !c->counting);
}

static int pit_post_load(struct device *d)
{
	struct pit *p = (struct pit *)d;
	uint64_t now = clock_now(p->clock);

	for (unsigned i = 0; i < COUNTERS; i++)
		if (!counter_valid(&p->c[i], now))
			return -EINVAL;
	if ((p->port_b & ~PORTB_WRITABLE) || p->c[2].gate != (p->port_b & PORTB_GATE2) || !p->c[0].gate || !p->c[1].gate)
		return -EINVAL;
	lock_take(&p->lock);
	counter_sync(&p->c[0], now);
	update_irq(p, now);
	lock_drop(&p->lock);
	return 0;
}

static void pit_free(struct device *d)
{
	struct pit *p = (struct pit *)d;

	timer_release(&p->timer);
	lock_release(&p->lock);
	free(p);
}

#define COUNTER_STATE(n)                                                                                             \
	STATE_U8(struct pit, c[n].mode), STATE_U8(struct pit, c[n].access), STATE_BOOL(struct pit, c[n].bcd),        \
		STATE_BOOL(struct pit, c[n].gate), STATE_BOOL(struct pit, c[n].written),                             \
		STATE_BOOL(struct pit, c[n].counting), STATE_BOOL(struct pit, c[n].halted),                          \
		STATE_BOOL(struct pit, c[n].null_count), STATE_U32(struct pit, c[n].reload),                         \
		STATE_U32(struct pit, c[n].count), STATE_U64(struct pit, c[n].start_ns),                             \
		STATE_U64(struct pit, c[n].elapsed), STATE_U8(struct pit, c[n].write_lsb),                           \
		STATE_BOOL(struct pit, c[n].write_msb_next), STATE_BOOL(struct pit, c[n].read_msb_next),             \
		STATE_BOOL(struct pit, c[n].count_latched), STATE_BOOL(struct pit, c[n].status_latched),             \
		STATE_U16(struct pit, c[n].count_latch), STATE_U8(struct pit, c[n].status_latch)

static const struct state_field pit_state[] = {
	COUNTER_STATE(0), COUNTER_STATE(1), COUNTER_STATE(2), STATE_U8(struct pit, port_b), STATE_END(),
};

static const struct device_ops pit_ops = {
	.name = "pit",
	.reset = pit_reset,
	.post_load = pit_post_load,
	.free = pit_free,
	.state = pit_state,
	.state_version = 1,
};

struct pit *pit_new(struct irq_line out, struct clock *clock)
{
	struct pit *p = calloc(1, sizeof(*p));

	BUG_ON(!p);
	p->dev.ops = &pit_ops;
	list_init(&p->dev.node);
	p->out = out;
	p->clock = clock;
	lock_init(&p->lock, RANK_DEVICE);
	timer_init(&p->timer, clock, pit_timer, p);
	pit_reset(&p->dev);
	return p;
}
