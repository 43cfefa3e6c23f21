/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keyboard: scan code sets 1 and 2.
 *
 * Specification: IBM PS/2 Hardware Interface Technical Reference, Keyboards (101- and 102-Key).
 * Missing: set 3 and the commands for it; repeating a key that is held (whoever types sends it again).
 * Ignored: the typematic rate, which is kept for who asks.
 */
#include <linux/input-event-codes.h>
#include <string.h>
#include "base/bits.h"
#include "dev/input/ps2.h"

enum {
	LEDS = 0xed, ECHO = 0xee, SCAN_CODES = 0xf0, ID = 0xf2, RATE = 0xf3, ENABLE = 0xf4, DISABLE = 0xf5, DEFAULTS = 0xf6,
	RESEND = 0xfe, RESET = 0xff,
	ACK = 0xfa, SELF_TEST_OK = 0xaa,
};
#define RATE_DEFAULT   0x2b /* 10.9 a second after half a second */
#define PREFIX         0xe0
#define PREFIX_PAUSE   0xe1
#define RELEASE_SET2   0xf0
#define RELEASE_SET1   0x80
#define SPARE          64   /* room that pressed keys leave for those that are let go */
static const uint8_t keyboard_id[2] = { 0xab, 0x83 };

/* What the 8042 makes of set 2 (IBM PS/2 Hardware Interface Technical Reference, Keyboard and Auxiliary Device Controller). */
static const uint8_t translation[] = {
	0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
	0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
	0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
	0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
	0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
	0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
	0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
	0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
	0x80, 0x81, 0x82, 0x41, 0x54,
};

uint8_t ps2_translate(uint8_t set2)
{
	return set2 < sizeof(translation) ? translation[set2] : set2;
}

/* From the end: F7 and SysRq are the later ones of two. */
static uint8_t set2_of(uint8_t set1)
{
	for (unsigned i = sizeof(translation); i-- > 0;)
		if (translation[i] == set1)
			return (uint8_t)i;
	return 0;
}

/* Codes of set 1 for keys whose number is not the code itself; PREFIX << 8 where that comes first. */
#define E0(code) (PREFIX << 8 | (code))
static const struct {
	uint16_t key, code;
} codes[] = {
	{ KEY_KPENTER, E0(0x1c) }, { KEY_RIGHTCTRL, E0(0x1d) }, { KEY_KPSLASH, E0(0x35) }, { KEY_SYSRQ, E0(0x37) },
	{ KEY_RIGHTALT, E0(0x38) }, { KEY_HOME, E0(0x47) }, { KEY_UP, E0(0x48) }, { KEY_PAGEUP, E0(0x49) }, { KEY_LEFT, E0(0x4b) },
	{ KEY_RIGHT, E0(0x4d) }, { KEY_END, E0(0x4f) }, { KEY_DOWN, E0(0x50) }, { KEY_PAGEDOWN, E0(0x51) },
	{ KEY_INSERT, E0(0x52) }, { KEY_DELETE, E0(0x53) }, { KEY_LEFTMETA, E0(0x5b) }, { KEY_RIGHTMETA, E0(0x5c) },
	{ KEY_COMPOSE, E0(0x5d) }, { KEY_POWER, E0(0x5e) }, { KEY_SLEEP, E0(0x5f) }, { KEY_WAKEUP, E0(0x63) },
	{ KEY_MENU, E0(0x1e) }, { KEY_PREVIOUSSONG, E0(0x10) }, { KEY_NEXTSONG, E0(0x19) }, { KEY_MUTE, E0(0x20) },
	{ KEY_CALC, E0(0x21) }, { KEY_PLAYPAUSE, E0(0x22) }, { KEY_STOPCD, E0(0x24) }, { KEY_VOLUMEDOWN, E0(0x2e) },
	{ KEY_VOLUMEUP, E0(0x30) }, { KEY_HOMEPAGE, E0(0x32) }, { KEY_BOOKMARKS, E0(0x66) }, { KEY_REFRESH, E0(0x67) },
	{ KEY_FORWARD, E0(0x69) }, { KEY_BACK, E0(0x6a) }, { KEY_COMPUTER, E0(0x6b) }, { KEY_MAIL, E0(0x6c) },
	{ KEY_MEDIA, E0(0x6d) }, { KEY_KPEQUAL, 0x59 }, { KEY_KATAKANAHIRAGANA, 0x70 }, { KEY_RO, 0x73 }, { KEY_HENKAN, 0x79 },
	{ KEY_MUHENKAN, 0x7b }, { KEY_YEN, 0x7d }, { KEY_KPCOMMA, 0x7e },
};

/* 0: the keyboard has no such key. */
static uint16_t set1_of(unsigned key)
{
	if (key <= KEY_KPDOT || key == KEY_102ND || key == KEY_F11 || key == KEY_F12)
		return (uint16_t)key;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].key == key)
			return codes[i].code;
	return 0;
}

/* It has no release; both are sent when it is pressed. */
static void send_pause(struct ps2_keyboard *k)
{
	static const uint8_t set1[] = { PREFIX_PAUSE, 0x1d, 0x45, PREFIX_PAUSE, 0x9d, 0xc5 };
	static const uint8_t set2[] = { PREFIX_PAUSE, 0x14, 0x77, PREFIX_PAUSE, RELEASE_SET2, 0x14, RELEASE_SET2, 0x77 };

	if (k->set == 1)
		ps2_event(&k->out, set1, sizeof(set1), SPARE);
	else
		ps2_event(&k->out, set2, sizeof(set2), SPARE);
}

void ps2_keyboard_key(struct ps2_keyboard *k, unsigned key, bool down)
{
	uint16_t code = set1_of(key);
	uint8_t bytes[3];
	unsigned n = 0;

	if (k->disabled)
		return;
	if (key == KEY_PAUSE && down)
		send_pause(k);
	if (!code)
		return;
	if (code >> 8)
		bytes[n++] = PREFIX;
	if (k->set == 1) {
		bytes[n++] = (uint8_t)(code | (down ? 0 : RELEASE_SET1));
	} else {
		if (!down)
			bytes[n++] = RELEASE_SET2;
		bytes[n++] = set2_of((uint8_t)code);
	}
	ps2_event(&k->out, bytes, n, down ? SPARE : 0);
}

/* -- Commands ---------------------------------------------------------------------------------------- */

static void defaults(struct ps2_keyboard *k)
{
	k->out.events = 0;
	k->set = 2;
	k->rate = RATE_DEFAULT;
	k->disabled = false;
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
	memset(k, 0, sizeof(*k));
	defaults(k);
}

static void parameter(struct ps2_keyboard *k, uint8_t val)
{
	uint8_t cmd = k->cmd;

	k->cmd = 0;
	if (cmd == SCAN_CODES && val > 2) {
		ps2_reply(&k->out, RESEND);
		return;
	}
	ps2_reply(&k->out, ACK);
	if (cmd == LEDS)
		k->leds = val & (INPUT_SCROLL_LOCK | INPUT_NUM_LOCK | INPUT_CAPS_LOCK);
	else if (cmd == RATE)
		k->rate = val & 0x7f;
	else if (val)
		k->set = val;
	else
		ps2_reply(&k->out, k->set);
}

void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t val)
{
	struct ps2_queue *q = &k->out;

	if (val == RESEND) {
		ps2_reply(q, q->last);
		return;
	}
	q->replies = 0; /* a command cancels the answer to the one before */
	if (k->cmd && val < LEDS) {
		parameter(k, val);
		return;
	}
	k->cmd = 0;
	switch (val) {
	case ECHO:
		ps2_reply(q, ECHO);
		return;
	case LEDS:
	case SCAN_CODES:
	case RATE:
		k->cmd = val;
		break;
	case ENABLE:
		q->events = 0;
		k->disabled = false;
		break;
	case DISABLE:
	case DEFAULTS:
	case RESET:
		defaults(k);
		k->disabled = val == DISABLE;
		if (val == RESET)
			k->leds = 0;
		break;
	case ID:
		break;
	default:
		ps2_reply(q, RESEND);
		return;
	}
	ps2_reply(q, ACK);
	if (val == RESET)
		ps2_reply(q, SELF_TEST_OK);
	for (unsigned i = 0; val == ID && i < sizeof(keyboard_id); i++)
		ps2_reply(q, keyboard_id[i]);
}
