/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Token buckets. A request may go while the bucket is not empty and may overdraw it, so that any size passes. */
#include "backend/block/throttle.h"
#include "base/bits.h"

#define NS 1e9

void throttle_init(struct throttle *t, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
	*t = (struct throttle){ .rate = (double)rate, .burst = burst ? (double)burst : MAX((double)rate / 10, 1.0),
				.last_ns = now_ns };
	t->level = t->burst;
}

uint64_t throttle_wait(struct throttle *t, uint64_t now_ns)
{
	if (t->rate <= 0)
		return 0;
	t->level = MIN(t->burst, t->level + (double)(now_ns - t->last_ns) * t->rate / NS);
	t->last_ns = now_ns;
	return t->level > 0 ? 0 : (uint64_t)(-t->level * NS / t->rate) + 1;
}

void throttle_take(struct throttle *t, uint64_t cost)
{
	if (t->rate > 0)
		t->level -= (double)cost;
}
