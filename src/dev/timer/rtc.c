/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Motorola MC146818A real-time clock and CMOS RAM.
 *
 * Specification: MC146818A data sheet; the century byte is that of the ACPI FADT.
 * Missing: square wave output, daylight saving (register B bits 3 and 0 are stored), the NMI mask in
 * bit 7 of the index. The time of day ticks with the host's; setting it moves it by whole seconds, so
 * that it keeps the phase of the host's second. Register A's divider bits only start and stop it.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "dev/timer/rtc.h"

#define NS_PER_SEC 1000000000ull
/* UIP is up for the update (1984 us) and 244 us before it; data sheet, "Update cycle". */
#define UIP_NS     (1984000 + 244000)
#define INDEX_MASK 0x7f
/* 6000 years in seconds: no date that the registers can show lies farther from today. */
#define MAX_OFFSET_S (BIT(40))

enum {
	REG_SEC, REG_SEC_ALARM, REG_MIN, REG_MIN_ALARM, REG_HOUR, REG_HOUR_ALARM, REG_WEEKDAY, REG_DAY, REG_MONTH,
	REG_YEAR, REG_A, REG_B, REG_C, REG_D,
};

#define A_UIP        0x80
#define A_DIVIDER    0x70
#define A_RATE       0x0f
#define A_DIV_RESET  0x60 /* dividers held in reset: 11x */
#define B_SET        0x80
#define B_PIE        0x40
#define B_AIE        0x20
#define B_UIE        0x10
#define B_SQWE       0x08
#define B_BINARY     0x04
#define B_24H        0x02
#define C_IRQF       0x80
#define C_PF         0x40
#define C_AF         0x20
#define C_UF         0x10
#define C_FLAGS      (C_PF | C_AF | C_UF)
#define D_VALID      0x80
#define HOUR_PM      0x80
#define ALARM_ANY    0xc0 /* both bits set: don't care */
#define RESET_A      0x26 /* 32768 Hz, 1024 Hz periodic */

struct rtc {
	struct device dev;
	struct lock lock; /* all below; RANK_DEVICE */
	uint8_t index;
	uint8_t cmos[RTC_CMOS_SIZE]; /* time registers in it are current only while the clock is stopped */
	uint64_t offset_s;   /* two's complement: what is added to the host's seconds */
	uint64_t seen_s;     /* time of day up to which flags were set ... */
	uint32_t seen_ns;    /* ... and the nanoseconds of it */
	struct timer timer;
	struct clock *clock;
	struct irq_line irq;
	int64_t base_s;      /* seconds that it was ahead of the host at first */
};

/* Time of day as the chip has it: seconds since 1970 and their fraction. */
struct instant {
	int64_t s;
	uint32_t ns;
};

static struct instant rtc_now(const struct rtc *r)
{
	uint64_t wall = clock_wall_ns(r->clock);

	return (struct instant){ (int64_t)(wall / NS_PER_SEC + r->offset_s), wall % NS_PER_SEC };
}

static bool stopped(const struct rtc *r)
{
	return (r->cmos[REG_B] & B_SET) || (r->cmos[REG_A] & A_DIV_RESET) == A_DIV_RESET;
}

/* -- Registers and calendar -------------------------------------------------------------------- */

static uint8_t encode(const struct rtc *r, unsigned v)
{
	return r->cmos[REG_B] & B_BINARY ? v : v / 10 % 10 << 4 | v % 10;
}

static unsigned decode(const struct rtc *r, uint8_t v)
{
	return r->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t encode_hour(const struct rtc *r, unsigned hour)
{
	if (r->cmos[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct rtc *r, uint8_t v)
{
	if (r->cmos[REG_B] & B_24H)
		return decode(r, v);
	return decode(r, v & ~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

/* Put the time of day into the registers. */
static void show_time(struct rtc *r)
{
	time_t s = rtc_now(r).s;
	struct tm tm;

	if (!gmtime_r(&s, &tm))
		return;
	r->cmos[REG_SEC] = encode(r, tm.tm_sec);
	r->cmos[REG_MIN] = encode(r, tm.tm_min);
	r->cmos[REG_HOUR] = encode_hour(r, tm.tm_hour);
	r->cmos[REG_WEEKDAY] = encode(r, tm.tm_wday + 1);
	r->cmos[REG_DAY] = encode(r, tm.tm_mday);
	r->cmos[REG_MONTH] = encode(r, tm.tm_mon + 1);
	r->cmos[REG_YEAR] = encode(r, (unsigned)(tm.tm_year + 1900) % 100);
	r->cmos[RTC_CENTURY] = encode(r, (unsigned)(tm.tm_year + 1900) / 100 % 100);
}

/* Make the time of day what the registers say; nonsense in them gives some date, as timegm() has it. */
static void take_time(struct rtc *r)
{
	struct tm tm = {
		.tm_sec = decode(r, r->cmos[REG_SEC]),
		.tm_min = decode(r, r->cmos[REG_MIN]),
		.tm_hour = decode_hour(r, r->cmos[REG_HOUR]),
		.tm_mday = decode(r, r->cmos[REG_DAY]),
		.tm_mon = (int)decode(r, r->cmos[REG_MONTH]) - 1,
		.tm_year = (int)(decode(r, r->cmos[RTC_CENTURY]) * 100 + decode(r, r->cmos[REG_YEAR])) - 1900,
	};
	struct instant t;

	r->offset_s = (uint64_t)timegm(&tm) - clock_wall_ns(r->clock) / NS_PER_SEC;
	t = rtc_now(r);
	r->seen_s = t.s;
	r->seen_ns = t.ns;
}

static bool is_time_register(unsigned i)
{
	return i == REG_SEC || i == REG_MIN || (i >= REG_HOUR && i <= REG_YEAR && i != REG_HOUR_ALARM) ||
	       i == RTC_CENTURY;
}

/* -- Interrupts -------------------------------------------------------------------------------- */

/* Period of the periodic interrupt in 1/32768 s; 0: none. Rates 1 and 2 are those of 8 and 9. */
static unsigned periodic_ticks(const struct rtc *r)
{
	unsigned rate = r->cmos[REG_A] & A_RATE;

	if (!rate || (r->cmos[REG_A] & A_DIV_RESET) == A_DIV_RESET)
		return 0;
	return 1u << ((rate < 3 ? rate + 7 : rate) - 1);
}

/* How many periods of 1/32768 s are in t; wraps harmlessly for far dates. */
static uint64_t to_ticks(struct instant t)
{
	return (uint64_t)t.s * 32768 + (uint64_t)t.ns * 32768 / NS_PER_SEC;
}

/* One alarm register against one unit of the time; -1 is "any". */
static int alarm_value(const struct rtc *r, unsigned reg, unsigned limit)
{
	uint8_t raw = r->cmos[reg];
	unsigned v;

	if ((raw & ALARM_ANY) == ALARM_ANY)
		return -1;
	v = reg == REG_HOUR_ALARM ? decode_hour(r, raw) : decode(r, raw);
	return v < limit ? (int)v : (int)limit; /* limit never matches */
}

/* Seconds from s (exclusive) to the next alarm, 1 to 86400; 0: it never comes. */
static unsigned alarm_distance(const struct rtc *r, int64_t s)
{
	int sec = alarm_value(r, REG_SEC_ALARM, 60), min = alarm_value(r, REG_MIN_ALARM, 60);
	int hour = alarm_value(r, REG_HOUR_ALARM, 24);
	unsigned d = 1;

	if (sec == 60 || min == 60 || hour == 24)
		return 0;
	while (d <= 86400) {
		unsigned of_day = (unsigned)(((s + d) % 86400 + 86400) % 86400);

		if (hour >= 0 && of_day / 3600 != (unsigned)hour)
			d += 3600 - of_day % 3600;
		else if (min >= 0 && of_day / 60 % 60 != (unsigned)min)
			d += 60 - of_day % 60;
		else if (sec >= 0 && of_day % 60 != (unsigned)sec)
			d++;
		else
			return d;
	}
	return 0;
}

/* Set the flags of all that has happened since the last look. */
static void set_flags(struct rtc *r, struct instant t)
{
	struct instant seen = { (int64_t)r->seen_s, r->seen_ns };
	unsigned period = periodic_ticks(r), d;

	if (t.s < seen.s || (t.s == seen.s && t.ns < seen.ns))
		seen = t; /* the host's clock was set back */
	if (period && to_ticks(t) / period != to_ticks(seen) / period)
		r->cmos[REG_C] |= C_PF;
	if (t.s != seen.s && !stopped(r)) {
		r->cmos[REG_C] |= C_UF;
		d = alarm_distance(r, seen.s);
		if (d && (int64_t)d <= t.s - seen.s)
			r->cmos[REG_C] |= C_AF;
	}
	r->seen_s = t.s;
	r->seen_ns = t.ns;
}

/* Nanoseconds until the next event that is enabled and whose flag is not yet set; UINT64_MAX: none. */
static uint64_t until_next(const struct rtc *r, struct instant t)
{
	uint8_t want = r->cmos[REG_B] & ~r->cmos[REG_C];
	unsigned period = periodic_ticks(r), d;
	uint64_t next = UINT64_MAX, to_second = NS_PER_SEC - t.ns;

	if ((want & B_PIE) && period) {
		uint64_t left = period - to_ticks(t) % period; /* ticks; the current one is partly gone */

		next = left * NS_PER_SEC / 32768;
	}
	if (stopped(r))
		return next;
	if (want & B_UIE)
		next = MIN(next, to_second);
	if (want & B_AIE) {
		d = alarm_distance(r, t.s);
		if (d)
			next = MIN(next, to_second + (d - 1) * NS_PER_SEC);
	}
	return next;
}

/* Make interrupt line and timer follow from the flags. */
static void follow_flags(struct rtc *r, struct instant t)
{
	uint64_t wait;

	r->cmos[REG_C] &= C_FLAGS;
	if (r->cmos[REG_C] & r->cmos[REG_B] & C_FLAGS) /* enable and flag bits stand in the same places */
		r->cmos[REG_C] |= C_IRQF;
	irq_set(&r->irq, r->cmos[REG_C] & C_IRQF);
	wait = until_next(r, t);
	if (wait == UINT64_MAX)
		timer_cancel(&r->timer);
	else
		timer_arm(&r->timer, clock_now(r->clock) + wait);
}

/* Bring flags, interrupt line and timer up to date. */
static void rtc_update(struct rtc *r)
{
	struct instant t = rtc_now(r);

	set_flags(r, t);
	follow_flags(r, t);
}

static void rtc_timer(void *opaque)
{
	struct rtc *r = opaque;

	lock_take(&r->lock);
	rtc_update(r);
	lock_drop(&r->lock);
}

/* -- Ports ------------------------------------------------------------------------------------- */

static uint8_t read_register(struct rtc *r, unsigned i)
{
	uint8_t v;

	if (is_time_register(i) && !stopped(r))
		show_time(r);
	switch (i) {
	case REG_A:
		v = r->cmos[REG_A];
		return !stopped(r) && rtc_now(r).ns >= NS_PER_SEC - UIP_NS ? v | A_UIP : v;
	case REG_C:
		rtc_update(r);
		v = r->cmos[REG_C];
		r->cmos[REG_C] = 0;
		rtc_update(r);
		return v;
	case REG_D:
		return D_VALID;
	default:
		return r->cmos[i];
	}
}

/* A or B is written: the clock may stop (keep its time in the registers) or start (from them). */
static void write_control(struct rtc *r, unsigned i, uint8_t val)
{
	bool was_stopped = stopped(r);

	set_flags(r, rtc_now(r));
	/* Stopping shows the time in the old data mode; the registers do not follow a change of mode. */
	if (!was_stopped)
		show_time(r);
	if (i == REG_A)
		r->cmos[REG_A] = val & ~A_UIP;
	else
		r->cmos[REG_B] = val & B_SET ? val & ~B_UIE : val; /* SET clears UIE */
	if (was_stopped && !stopped(r))
		take_time(r);
	rtc_update(r);
}

static void write_register(struct rtc *r, unsigned i, uint8_t val)
{
	switch (i) {
	case REG_A:
	case REG_B:
		write_control(r, i, val);
		return;
	case REG_C:
	case REG_D:
		return; /* read-only */
	case REG_SEC_ALARM:
	case REG_MIN_ALARM:
	case REG_HOUR_ALARM:
		set_flags(r, rtc_now(r));
		r->cmos[i] = val;
		rtc_update(r);
		return;
	}
	if (is_time_register(i) && !stopped(r)) {
		set_flags(r, rtc_now(r));
		show_time(r);
		r->cmos[i] = val;
		take_time(r);
		rtc_update(r);
	} else {
		r->cmos[i] = val;
	}
}

static uint64_t rtc_read(void *opaque, uint64_t off, unsigned size)
{
	struct rtc *r = opaque;

	return off ? read_register(r, r->index) : 0xff; /* the index is write-only */
}

static void rtc_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct rtc *r = opaque;

	if (off)
		write_register(r, r->index, val);
	else
		r->index = val & INDEX_MASK;
}

static const struct io_ops rtc_io = { .read = rtc_read, .write = rtc_write, .max_size = 1 };

int rtc_attach(struct rtc *r, struct space *pio, uint16_t base)
{
	struct region *region;

	return space_add_io(pio, &region, "rtc", base, 2, &rtc_io, r, &r->lock);
}

void rtc_set_cmos(struct rtc *r, unsigned index, uint8_t val)
{
	BUG_ON(index < RTC_CMOS_FIRST || index >= RTC_CMOS_SIZE || index == RTC_CENTURY);
	lock_take(&r->lock);
	r->cmos[index] = val;
	lock_drop(&r->lock);
}

/* -- Life -------------------------------------------------------------------------------------- */

/* The reset pin: interrupts off, flags clear; time and CMOS RAM are on the battery. */
static void rtc_reset(struct device *d)
{
	struct rtc *r = (struct rtc *)d;

	lock_take(&r->lock);
	r->index = 0;
	r->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
	r->cmos[REG_C] = 0;
	rtc_update(r);
	lock_drop(&r->lock);
}

static bool state_valid(const struct rtc *r)
{
	return r->index <= INDEX_MASK && r->seen_ns < NS_PER_SEC && !(r->cmos[REG_A] & A_UIP) &&
	       r->offset_s + MAX_OFFSET_S <= 2 * MAX_OFFSET_S && r->seen_s + MAX_OFFSET_S <= 2 * MAX_OFFSET_S;
}

/* A new battery: the time it was made with. */
static void power_up(struct rtc *r)
{
	struct instant t;

	r->offset_s = (uint64_t)r->base_s;
	r->cmos[REG_A] = RESET_A;
	r->cmos[REG_B] = B_24H;
	t = rtc_now(r);
	r->seen_s = t.s;
	r->seen_ns = t.ns;
}

static int rtc_post_load(struct device *d)
{
	struct rtc *r = (struct rtc *)d;

	if (!state_valid(r)) {
		power_up(r); /* a reset would keep the time */
		return -EINVAL;
	}
	lock_take(&r->lock);
	follow_flags(r, rtc_now(r)); /* what happened since it was saved, the next look finds */
	lock_drop(&r->lock);
	return 0;
}

/* The time of day went on while guest time and its timers stood. */
static void rtc_quiesce(struct device *d, bool on)
{
	struct rtc *r = (struct rtc *)d;

	lock_take(&r->lock);
	if (!on)
		rtc_update(r);
	lock_drop(&r->lock);
}

static void rtc_free(struct device *d)
{
	struct rtc *r = (struct rtc *)d;

	timer_release(&r->timer);
	lock_release(&r->lock);
	free(r);
}

static const struct state_field rtc_state[] = {
	STATE_U8(struct rtc, index),
	STATE_BYTES(struct rtc, cmos),
	STATE_U64(struct rtc, offset_s),
	STATE_U64(struct rtc, seen_s),
	STATE_U32(struct rtc, seen_ns),
	STATE_END(),
};

static const struct device_ops rtc_ops = {
	.name = "rtc",
	.reset = rtc_reset,
	.post_load = rtc_post_load,
	.quiesce = rtc_quiesce,
	.free = rtc_free,
	.state = rtc_state,
	.state_version = 1,
};

struct rtc *rtc_new(struct irq_line irq, struct clock *clock, int64_t offset_s)
{
	struct rtc *r = calloc(1, sizeof(*r));

	BUG_ON(!r);
	r->dev.ops = &rtc_ops;
	list_init(&r->dev.node);
	r->irq = irq;
	r->clock = clock;
	r->base_s = offset_s;
	power_up(r);
	lock_init(&r->lock, RANK_DEVICE);
	timer_init(&r->timer, clock, rtc_timer, r);
	rtc_reset(&r->dev);
	return r;
}
