/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys and a pointer: what is held, and which chip hears of it. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backend/display/input.h"
#include "base/bits.h"
#include "base/err.h"
#include "base/lock.h"

#define SINKS      8
#define MAX_SCREEN 0x10000u /* pixels; none is larger */

struct input {
	struct lock lock; /* RANK_INPUT: all but leds */
	struct {
		const struct input_sink *sink;
		void *opaque;
	} to[SINKS];
	unsigned n;
	bool held[INPUT_KEYS];
	unsigned buttons;
	unsigned x, y;    /* the last absolute position, in pixels */
	_Atomic unsigned leds;
};

struct input *input_new(void)
{
	struct input *in = calloc(1, sizeof(*in));

	BUG_ON(!in);
	lock_init(&in->lock, RANK_INPUT);
	return in;
}

void input_free(struct input *in)
{
	if (!in)
		return;
	lock_release(&in->lock);
	free(in);
}

int input_add_sink(struct input *in, const struct input_sink *sink, void *opaque)
{
	int rc = -ENOSPC;

	lock_take(&in->lock);
	if (in->n < SINKS) {
		in->to[in->n].sink = sink;
		in->to[in->n++].opaque = opaque;
		rc = 0;
	}
	lock_drop(&in->lock);
	return rc;
}

void input_remove_sink(struct input *in, void *opaque)
{
	lock_take(&in->lock);
	for (unsigned i = 0; i < in->n; i++) {
		if (in->to[i].opaque != opaque)
			continue;
		in->n--;
		for (unsigned j = i--; j < in->n; j++)
			in->to[j] = in->to[j + 1];
	}
	lock_drop(&in->lock);
}

void input_set_leds(struct input *in, unsigned leds)
{
	atomic_store(&in->leds, leds);
}

unsigned input_leds(const struct input *in)
{
	return atomic_load(&in->leds);
}

/* -- Keys ------------------------------------------------------------------------------------------ */

static void send_key_locked(struct input *in, unsigned code, bool down)
{
	if (!down && !in->held[code])
		return;
	in->held[code] = down;
	for (unsigned i = in->n; i-- > 0;) {
		if (!in->to[i].sink->key)
			continue;
		in->to[i].sink->key(in->to[i].opaque, code, down);
		return;
	}
}

void input_key(struct input *in, unsigned code, bool down)
{
	if (code >= INPUT_KEYS)
		return;
	lock_take(&in->lock);
	send_key_locked(in, code, down);
	lock_drop(&in->lock);
}

bool input_key_held(struct input *in, unsigned code)
{
	bool held;

	lock_take(&in->lock);
	held = code < INPUT_KEYS && in->held[code];
	lock_drop(&in->lock);
	return held;
}

/* -- Pointer --------------------------------------------------------------------------------------- */

static void send_pointer_locked(struct input *in, struct input_pointer p)
{
	p.buttons = in->buttons;
	for (unsigned i = in->n; i-- > 0;) {
		if (!in->to[i].sink->pointer)
			continue;
		in->to[i].sink->pointer(in->to[i].opaque, &p);
		return;
	}
}

void input_move(struct input *in, int dx, int dy)
{
	lock_take(&in->lock);
	send_pointer_locked(in, (struct input_pointer){ .dx = dx, .dy = dy });
	lock_drop(&in->lock);
}

static uint16_t scaled(unsigned at, unsigned size)
{
	return size > 1 ? (uint16_t)((uint64_t)at * INPUT_ABS_MAX / (size - 1)) : 0;
}

void input_move_to(struct input *in, unsigned x, unsigned y, unsigned width, unsigned height)
{
	struct input_pointer p = { .absolute = true };

	if (!width || !height)
		return;
	width = MIN(width, MAX_SCREEN);
	height = MIN(height, MAX_SCREEN);
	x = MIN(x, width - 1);
	y = MIN(y, height - 1);
	p.x = scaled(x, width);
	p.y = scaled(y, height);
	lock_take(&in->lock);
	if (in->x != x || in->y != y) {
		p.dx = (int)x - (int)in->x;
		p.dy = (int)y - (int)in->y;
		in->x = x;
		in->y = y;
		send_pointer_locked(in, p);
	}
	lock_drop(&in->lock);
}

static void set_buttons_locked(struct input *in, unsigned held)
{
	if (in->buttons == held)
		return;
	in->buttons = held;
	send_pointer_locked(in, (struct input_pointer){ 0 });
}

void input_buttons(struct input *in, unsigned held)
{
	lock_take(&in->lock);
	set_buttons_locked(in, held);
	lock_drop(&in->lock);
}

void input_wheel(struct input *in, int notches)
{
	lock_take(&in->lock);
	send_pointer_locked(in, (struct input_pointer){ .wheel = notches });
	lock_drop(&in->lock);
}

void input_release_all(struct input *in)
{
	lock_take(&in->lock);
	for (unsigned code = 0; code < INPUT_KEYS; code++)
		send_key_locked(in, code, false);
	set_buttons_locked(in, 0);
	lock_drop(&in->lock);
}
