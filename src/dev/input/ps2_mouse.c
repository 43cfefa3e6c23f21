/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mouse: three buttons, or with a wheel, or with a wheel and five, as who asks by its sequence of sample rates gets it.
 *
 * Specification: IBM PS/2 Hardware Interface Technical Reference, Mouse; Microsoft's IntelliMouse and its Explorer.
 * Ignored: the sample rate (movements are sent as they come) and resolution.
 */
#include <string.h>
#include "base/bits.h"
#include "dev/input/ps2.h"

enum {
	SCALING_1 = 0xe6, SCALING_2 = 0xe7, RESOLUTION = 0xe8, STATUS = 0xe9, STREAM = 0xea, READ_DATA = 0xeb, WRAP_OFF = 0xec,
	WRAP = 0xee, REMOTE = 0xf0, ID = 0xf2, RATE = 0xf3, ENABLE = 0xf4, DISABLE = 0xf5, DEFAULTS = 0xf6, RESEND = 0xfe,
	RESET = 0xff,
	ACK = 0xfa, SELF_TEST_OK = 0xaa,
};
enum { ID_PLAIN = 0, ID_WHEEL = 3, ID_FIVE = 4 };
#define RATE_DEFAULT       100
#define RESOLUTION_DEFAULT 2
#define PACKET_ALWAYS      0x08
#define PACKET_X_MINUS     0x10
#define PACKET_Y_MINUS     0x20
#define STATUS_REMOTE      0x40
#define STATUS_ENABLED     0x20
#define STATUS_TWICE       0x10
#define MAX_STEP           127 /* in a packet; the overflow bits are never needed */
#define MAX_WHEEL          7
#define MAX_WAITING        16  /* bytes in the queue beyond which movements are added up */
#define MAX_MOVE           0x4000

static int32_t cut(int32_t val, int32_t max)
{
	return MAX(-max, MIN(val, max));
}

/* Take at most max of what has added up. */
static int32_t take(uint32_t *sum, int32_t max)
{
	int32_t part = cut((int32_t)*sum, max);

	*sum -= (uint32_t)part;
	return part;
}

static unsigned packet(struct ps2_mouse *m, uint8_t *p)
{
	int32_t dx = take(&m->dx, MAX_STEP), dy = take(&m->dy, MAX_STEP), dz = take(&m->dz, MAX_WHEEL);

	m->moved = false;
	p[0] = (uint8_t)(PACKET_ALWAYS | (m->buttons & 7) | (dx < 0 ? PACKET_X_MINUS : 0) | (dy < 0 ? PACKET_Y_MINUS : 0));
	p[1] = (uint8_t)dx;
	p[2] = (uint8_t)dy;
	if (m->id == ID_PLAIN)
		return 3;
	p[3] = (uint8_t)dz;
	if (m->id == ID_FIVE)
		p[3] = (uint8_t)((dz & 0x0f) | (m->buttons & (INPUT_SIDE | INPUT_EXTRA)) << 1);
	return 4;
}

static bool something(const struct ps2_mouse *m)
{
	return m->moved || m->dx || m->dy || (m->dz && m->id != ID_PLAIN);
}

void ps2_mouse_report(struct ps2_mouse *m)
{
	uint8_t p[4];

	while (m->enabled && !m->remote && !m->wrap && m->out.events < MAX_WAITING && something(m))
		ps2_event(&m->out, p, packet(m, p), 0);
}

void ps2_mouse_event(struct ps2_mouse *m, const struct input_pointer *p)
{
	uint8_t buttons = p->buttons & (INPUT_LEFT | INPUT_RIGHT | INPUT_MIDDLE | INPUT_SIDE | INPUT_EXTRA);

	if (!m->enabled && !m->remote) {
		m->buttons = buttons;
		return;
	}
	/* PS/2 counts upwards; a click between two looks of the guest must not be lost with the state that it leaves. */
	m->dx = (uint32_t)cut((int32_t)m->dx + cut(p->dx, MAX_MOVE), MAX_MOVE);
	m->dy = (uint32_t)cut((int32_t)m->dy - cut(p->dy, MAX_MOVE), MAX_MOVE);
	m->dz = (uint32_t)cut((int32_t)m->dz + cut(p->wheel, MAX_MOVE), MAX_MOVE);
	if (m->buttons != buttons) {
		uint8_t bytes[4];

		if (m->moved && m->enabled && !m->remote)
			ps2_event(&m->out, bytes, packet(m, bytes), 0);
		m->buttons = buttons;
		m->moved = true;
	}
	ps2_mouse_report(m);
}

/* -- Commands ------------------------------------------------------------------------------------------ */

static void defaults(struct ps2_mouse *m)
{
	m->out.events = 0;
	m->rate = RATE_DEFAULT;
	m->resolution = RESOLUTION_DEFAULT;
	m->enabled = m->remote = m->twice = m->moved = false;
	m->dx = m->dy = m->dz = 0;
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
	memset(m, 0, sizeof(*m));
	defaults(m);
}

static void sample_rate(struct ps2_mouse *m, uint8_t rate)
{
	if (m->knock[0] == 200 && m->knock[1] == 100 && rate == 80)
		m->id = ID_WHEEL;
	else if (m->knock[0] == 200 && m->knock[1] == 200 && rate == 80)
		m->id = ID_FIVE;
	m->knock[0] = m->knock[1];
	m->knock[1] = rate;
	m->rate = rate;
}

static void status(struct ps2_mouse *m)
{
	uint8_t b = m->buttons;

	ps2_reply(&m->out, (uint8_t)((m->remote ? STATUS_REMOTE : 0) | (m->enabled ? STATUS_ENABLED : 0) | (m->twice ? STATUS_TWICE : 0) |
				     (b & INPUT_LEFT) << 2 | (b & INPUT_MIDDLE) >> 1 | (b & INPUT_RIGHT) >> 1));
	ps2_reply(&m->out, m->resolution);
	ps2_reply(&m->out, m->rate);
}

/* After the acknowledgement of a command. */
static void carry_out(struct ps2_mouse *m, uint8_t cmd)
{
	uint8_t p[4];

	switch (cmd) {
	case SCALING_1:
	case SCALING_2:
		m->twice = cmd == SCALING_2;
		break;
	case RESOLUTION:
	case RATE:
		m->cmd = cmd;
		break;
	case STATUS:
		status(m);
		break;
	case STREAM:
	case REMOTE:
		m->remote = cmd == REMOTE;
		break;
	case READ_DATA:
		for (unsigned i = 0, n = packet(m, p); i < n; i++)
			ps2_reply(&m->out, p[i]);
		break;
	case WRAP:
	case WRAP_OFF:
		m->wrap = cmd == WRAP;
		break;
	case ID:
		ps2_reply(&m->out, m->id);
		break;
	case ENABLE:
		m->enabled = true;
		break;
	case DISABLE:
		m->enabled = false;
		m->out.events = 0;
		break;
	case DEFAULTS:
		defaults(m);
		break;
	case RESET:
		defaults(m);
		m->id = ID_PLAIN;
		ps2_reply(&m->out, SELF_TEST_OK);
		ps2_reply(&m->out, ID_PLAIN);
		break;
	}
}

static bool known(uint8_t cmd)
{
	return (cmd >= SCALING_1 && cmd <= WRAP_OFF) || cmd == WRAP || cmd == REMOTE || (cmd >= ID && cmd <= DEFAULTS) || cmd == RESET;
}

void ps2_mouse_write(struct ps2_mouse *m, uint8_t val)
{
	uint8_t cmd = m->cmd;

	if (m->wrap && val != WRAP_OFF && val != RESET) {
		ps2_reply(&m->out, val);
		return;
	}
	if (val == RESEND && !cmd) {
		ps2_reply(&m->out, m->out.last);
		return;
	}
	m->out.replies = 0;
	m->cmd = 0;
	if (cmd == RATE || cmd == RESOLUTION) {
		ps2_reply(&m->out, ACK);
		if (cmd == RATE)
			sample_rate(m, val);
		else
			m->resolution = val & 3;
		return;
	}
	m->wrap = m->wrap && val != RESET;
	ps2_reply(&m->out, known(val) ? ACK : RESEND);
	carry_out(m, val);
}
