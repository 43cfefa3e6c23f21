/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Helpers of the chips' tests. */
#include "dev_test.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/endian.h"

#define HOSTILE_IMAGES 400

static void probe_set(void *opaque, unsigned n, bool level)
{
	struct probe *p = opaque;

	if (level && !atomic_load(&p->level))
		atomic_fetch_add(&p->rises, 1);
	atomic_store(&p->level, level);
}

struct irq_line probe_line(struct probe *p)
{
	return (struct irq_line){ .set = probe_set, .opaque = p };
}

void bench_init(struct bench *b)
{
	struct err e;

	assert_int_equal(clock_new(&b->clock, &e), 0);
	b->pio = space_new("ports", 16);
	b->mem = space_new("memory", 52);
}

void bench_release(struct bench *b)
{
	space_free(b->pio);
	space_free(b->mem);
	clock_free(b->clock);
}

void sleep_ns(uint64_t ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	nanosleep(&ts, NULL);
}

bool wait_for(bool (*cond)(void *opaque), void *opaque, unsigned ms)
{
	for (unsigned i = 0; i < ms * 5; i++) {
		if (cond(opaque))
			return true;
		sleep_ns(200 * US);
	}
	return cond(opaque);
}

struct rises {
	struct probe *p;
	unsigned at_least;
};

static bool enough_rises(void *opaque)
{
	struct rises *r = opaque;

	return atomic_load(&r->p->rises) >= r->at_least;
}

bool wait_rises(struct probe *p, unsigned at_least, unsigned ms)
{
	struct rises r = { p, at_least };

	return wait_for(enough_rises, &r, ms);
}

void free_device(void *device)
{
	struct device *d = device;

	d->ops->free(d);
}

void reset_device(void *device)
{
	struct device *d = device;

	d->ops->reset(d);
}

static void stop(struct clock *clock, struct device *d, bool on)
{
	if (clock)
		clock_pause(clock, on);
	if (d->ops->quiesce)
		d->ops->quiesce(d, on);
}

void check_round_trip(struct clock *clock, void *device)
{
	struct device *d = device;
	struct strbuf first = STRBUF_INIT, second = STRBUF_INIT;
	struct err e = { "" };

	stop(clock, d, true);
	device_save(d, &first);
	reset_device(d);
	assert_int_equal(device_load(d, d->ops->state_version, first.buf, first.len, &e), 0);
	device_save(d, &second);
	assert_int_equal(first.len, second.len);
	assert_memory_equal(first.buf, second.buf, first.len);

	assert_true(device_load(d, d->ops->state_version, first.buf, first.len - 1, &e) < 0);
	assert_true(device_load(d, d->ops->state_version + 1, first.buf, first.len, &e) < 0);
	assert_int_equal(device_load(d, d->ops->state_version, first.buf, first.len, &e), 0);
	stop(clock, d, false);
	strbuf_release(&first);
	strbuf_release(&second);
}

uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

/* Offset in the image of one of its value bytes (not of names and lengths). */
static size_t pick_value_byte(const struct strbuf *image, uint64_t *seed)
{
	uint64_t skip = next_random(seed) % image->len;
	size_t at = 0;

	for (;;) {
		size_t name = (uint8_t)image->buf[at];
		size_t len = get_le32(image->buf + at + 1 + name);

		if (skip < len)
			return at + 1 + name + 4 + skip;
		skip -= len;
		at += 1 + name + 4 + len;
		if (at >= image->len)
			at = 0;
	}
}

void check_hostile_state(struct clock *clock, void *device, void (*poke)(void *opaque), void *opaque)
{
	struct device *d = device;
	struct strbuf image = STRBUF_INIT;
	uint64_t seed = 0x5eed;
	unsigned taken = 0;
	struct err e;

	stop(clock, d, true);
	device_save(d, &image);
	stop(clock, d, false);
	for (unsigned i = 0; i < HOSTILE_IMAGES; i++) {
		char *bad = malloc(image.len);
		unsigned changes = 1 + i % 3;

		memcpy(bad, image.buf, image.len);
		for (unsigned k = 0; k < changes; k++)
			bad[pick_value_byte(&image, &seed)] = (char)(next_random(&seed) & (i & 1 ? 0xff : 0x01));
		stop(clock, d, true);
		if (!device_load(d, d->ops->state_version, bad, image.len, &e))
			taken++;
		stop(clock, d, false);
		free(bad);
		poke(opaque);
	}
	print_message("%s: %u of %u hostile states were possible ones\n", d->ops->name, taken, HOSTILE_IMAGES);
	reset_device(d);
	strbuf_release(&image);
}
