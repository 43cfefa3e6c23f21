/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys and a pointer: from whoever has them (a viewer, a monitor's command) to the chips that pass them to the guest. */
#ifndef DOPPEL_BACKEND_DISPLAY_INPUT_H
#define DOPPEL_BACKEND_DISPLAY_INPUT_H

#include <stdbool.h>
#include <stdint.h>

struct input;

/* Keys are numbered as in <linux/input-event-codes.h>: KEY_A is 30. All are below this. */
#define INPUT_KEYS 0x300u

/* Buttons of a pointer: bits. */
enum input_button { INPUT_LEFT = 1, INPUT_RIGHT = 2, INPUT_MIDDLE = 4, INPUT_SIDE = 8, INPUT_EXTRA = 16 };

/* The full width and height of absolute positions: 0 is the left and upper edge, this the right and lower one. */
#define INPUT_ABS_MAX 0x7fffu

/* Lights of a keyboard: bits. */
enum input_led { INPUT_SCROLL_LOCK = 1, INPUT_NUM_LOCK = 2, INPUT_CAPS_LOCK = 4 };

/*
 * One event of the pointer. Movements in pixels, right and down are positive; wheel: notches, towards the user is
 * positive. x and y are the absolute position, 0 to INPUT_ABS_MAX, for chips that can point so, and undefined unless `absolute`.
 */
struct input_pointer {
	int dx, dy, wheel;
	bool absolute;
	uint16_t x, y;
	unsigned buttons; /* that are held now */
};

/*
 * A chip that takes events; slots may be NULL. Called on any thread, with a lock of RANK_INPUT held.
 *   key      went down (again, when it repeats) or up
 *   pointer  moved, or its buttons or wheel did
 */
struct input_sink {
	void (*key)(void *opaque, unsigned code, bool down);
	void (*pointer)(void *opaque, const struct input_pointer *p);
};

struct input *input_new(void);
void input_free(struct input *in); /* NULL is fine */

/* Plug a chip in: the one that came last gets the events. And out again: it is not called after this. -ENOSPC: there are too many. */
int input_add_sink(struct input *in, const struct input_sink *sink, void *opaque);
void input_remove_sink(struct input *in, void *opaque);

/* What the guest has set; for the chip, under any lock. And for who wants to know. */
void input_set_leds(struct input *in, unsigned leds);
unsigned input_leds(const struct input *in);

/*
 * For who has the keys; any thread. Unknown codes are ignored. A key that goes down twice repeats; input_release_all() lets go
 * of all keys and buttons that are held, as when a viewer goes away.
 */
void input_key(struct input *in, unsigned code, bool down);
bool input_key_held(struct input *in, unsigned code);
void input_release_all(struct input *in);

/* Move by pixels; or to a pixel of a screen of this size, the first time from where the pointer is believed to be. */
void input_move(struct input *in, int dx, int dy);
void input_move_to(struct input *in, unsigned x, unsigned y, unsigned width, unsigned height);
void input_buttons(struct input *in, unsigned held);
void input_wheel(struct input *in, int notches);

/* The key of a name as QEMU's send-key has it ("ret", "ctrl", "a", "kp_7"); -1: there is none. And back; NULL: it has no name. */
int input_key_by_name(const char *name);
const char *input_key_name(unsigned code);

/*
 * The key of a US keyboard that stands for a Unicode character below 128 or a keysym of X11 (RFC 6143, 7.5.4); -1: none. *shift:
 * 1 when it takes the shift key, 0 when that must not be held, -1 when it does not matter.
 */
int input_key_by_keysym(uint32_t keysym, int *shift);

#endif
