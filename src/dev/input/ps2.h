/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What plugs into an 8042's two sockets: keyboard and mouse. No locks: whose they are calls them under its own. */
#ifndef DOPPEL_DEV_INPUT_PS2_H
#define DOPPEL_DEV_INPUT_PS2_H

#include <stdbool.h>
#include <stdint.h>
#include "backend/display/input.h"

#define PS2_REPLY_SIZE 16  /* the longest reply has four bytes */
#define PS2_EVENT_SIZE 256 /* as much as somebody types while the guest does not look */

/* Bytes on their way to the controller: replies to commands go before what happened. Zeroed: empty. */
struct ps2_queue {
	uint8_t reply[PS2_REPLY_SIZE], event[PS2_EVENT_SIZE];
	uint16_t replies, events;
	uint8_t last; /* what was taken last, for who did not understand */
};

void ps2_reply(struct ps2_queue *q, uint8_t val);
bool ps2_event(struct ps2_queue *q, const uint8_t *bytes, unsigned n, unsigned spare); /* false: no room for it and `spare` more */
bool ps2_empty(const struct ps2_queue *q);
uint8_t ps2_take(struct ps2_queue *q); /* it is not empty */
bool ps2_valid(const struct ps2_queue *q); /* of a restored one */

struct ps2_keyboard {
	struct ps2_queue out;
	uint8_t cmd;      /* waits for its parameter, or 0 */
	uint8_t set, rate, leds;
	bool disabled;    /* keys are not sent */
};

void ps2_keyboard_reset(struct ps2_keyboard *k);
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t val);
void ps2_keyboard_key(struct ps2_keyboard *k, unsigned code, bool down);

/* The 8042's translation of a byte of scan code set 2 into set 1; 0xf0, the prefix of a release, is the caller's business. */
uint8_t ps2_translate(uint8_t set2);

struct ps2_mouse {
	struct ps2_queue out;
	uint8_t cmd;      /* as above */
	uint8_t id;       /* 0, 3 with a wheel, 4 with five buttons too */
	uint8_t rate, resolution;
	uint8_t knock[2]; /* the last sample rates: a sequence of three asks for the wheel */
	uint8_t buttons;  /* of enum input_button */
	bool enabled, remote, wrap, twice, moved;
	uint32_t dx, dy, dz; /* not yet reported; signed */
};

void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t val);
void ps2_mouse_event(struct ps2_mouse *m, const struct input_pointer *p);
void ps2_mouse_report(struct ps2_mouse *m); /* the queue has got room */

#endif
