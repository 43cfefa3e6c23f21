/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A token bucket: so much a second, and a burst of so much at once. */
#ifndef DOPPEL_BACKEND_BLOCK_THROTTLE_H
#define DOPPEL_BACKEND_BLOCK_THROTTLE_H

#include <stdint.h>

struct throttle {
	double rate;      /* tokens a second; 0: no limit */
	double burst;     /* the bucket's size */
	double level;     /* tokens in it; may go below zero, by one request */
	uint64_t last_ns; /* when level was right */
};

void throttle_init(struct throttle *t, uint64_t rate, uint64_t burst, uint64_t now_ns);

/* Nanoseconds until a request may go; 0: now. */
uint64_t throttle_wait(struct throttle *t, uint64_t now_ns);

/* A request of this cost goes. */
void throttle_take(struct throttle *t, uint64_t cost);

#endif
