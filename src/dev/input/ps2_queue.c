/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes from a PS/2 device to its controller. */
#include <string.h>
#include "base/err.h"
#include "dev/input/ps2.h"

void ps2_reply(struct ps2_queue *q, uint8_t val)
{
	if (q->replies < PS2_REPLY_SIZE)
		q->reply[q->replies++] = val;
}

bool ps2_event(struct ps2_queue *q, const uint8_t *bytes, unsigned n, unsigned spare)
{
	if (q->events + n + spare > PS2_EVENT_SIZE)
		return false;
	memcpy(q->event + q->events, bytes, n);
	q->events = (uint16_t)(q->events + n);
	return true;
}

bool ps2_empty(const struct ps2_queue *q)
{
	return !q->replies && !q->events;
}

uint8_t ps2_take(struct ps2_queue *q)
{
	uint8_t *from = q->replies ? q->reply : q->event;
	uint16_t *n = q->replies ? &q->replies : &q->events;

	BUG_ON(!*n);
	q->last = from[0];
	memmove(from, from + 1, --*n);
	return q->last;
}

bool ps2_valid(const struct ps2_queue *q)
{
	return q->replies <= PS2_REPLY_SIZE && q->events <= PS2_EVENT_SIZE;
}
