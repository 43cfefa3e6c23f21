/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8042 keyboard controller of a PS/2-style PC, with a keyboard and a mouse behind it. Where there is nobody who could use them, the
 * keyboard never has a key pressed, and nothing is plugged into the mouse port, which the controller reports by a time-out.
 *
 * Specification: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
 * Controller".
 * Missing: password mode; the time that a byte takes on the wire.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "dev/input/i8042.h"
#include "dev/input/ps2.h"

#define RAM_SIZE    32

/* Status */
#define ST_OBF     0x01
#define ST_SYS     0x04
#define ST_COMMAND 0x08
#define ST_UNLOCK  0x10
#define ST_AUX     0x20
#define ST_TIMEOUT 0x40

/* Command byte, RAM address 0 */
#define CB_KBD_INT 0x01
#define CB_AUX_INT 0x02
#define CB_SYS     0x04
#define CB_KBD_OFF 0x10
#define CB_AUX_OFF 0x20
#define CB_TRANSLATE 0x40 /* scan code set 2 becomes set 1 */
#define CB_RESET   (CB_SYS | CB_KBD_OFF | CB_AUX_OFF)

/* Output port */
#define OUT_NO_RESET 0x01
#define OUT_A20      0x02
#define OUT_KBD_FULL 0x10
#define OUT_AUX_FULL 0x20
#define OUT_RESET    (OUT_NO_RESET | OUT_A20 | 0xc0)

#define INPUT_PORT   0x80 /* keyboard not locked */

/* Controller commands */
enum {
	CMD_READ_RAM = 0x20, CMD_WRITE_RAM = 0x60, CMD_PASSWORD_TEST = 0xa4, CMD_AUX_OFF = 0xa7, CMD_AUX_ON = 0xa8,
	CMD_AUX_TEST = 0xa9, CMD_SELF_TEST = 0xaa, CMD_KBD_TEST = 0xab, CMD_KBD_OFF = 0xad, CMD_KBD_ON = 0xae,
	CMD_READ_INPUT = 0xc0, CMD_READ_OUTPUT = 0xd0, CMD_WRITE_OUTPUT = 0xd1, CMD_WRITE_KBD_BUF = 0xd2,
	CMD_WRITE_AUX_BUF = 0xd3, CMD_WRITE_AUX = 0xd4, CMD_A20_OFF = 0xdd, CMD_A20_ON = 0xdf, CMD_PULSE = 0xf0,
};
#define SELF_TEST_OK  0x55
#define PORT_TEST_OK  0x00
#define NO_PASSWORD   0xf1

#define AUX_NO_ANSWER 0xfe
#define KBD_RELEASE        0xf0
#define TRANSLATED_RELEASE 0x80

enum { FROM_CONTROLLER, FROM_KBD, FROM_AUX };

struct i8042 {
	struct device dev;
	struct lock lock;     /* all below; RANK_DEVICE */
	uint8_t ram[RAM_SIZE];
	uint8_t out_port;
	uint8_t data;         /* the output buffer */
	bool obf, timeout;    /* it is full; the peer did not answer */
	uint8_t from;         /* who filled it */
	uint8_t pending_cmd;  /* controller command that waits for its data byte, or 0 */
	bool last_was_command;
	bool released;        /* the keyboard's release prefix came, which translation makes a bit of the next byte */
	struct ps2_keyboard kbd;
	struct ps2_mouse mouse;
	struct i8042_config cfg;
};

static void update_lines(struct i8042 *k)
{
	irq_set(&k->cfg.kbd, k->obf && k->from == FROM_KBD && (k->ram[0] & CB_KBD_INT));
	irq_set(&k->cfg.aux, k->obf && k->from == FROM_AUX && (k->ram[0] & CB_AUX_INT));
}

static void put(struct i8042 *k, uint8_t val, uint8_t from)
{
	k->data = val;
	k->from = from;
	k->obf = true;
	k->timeout = false;
}

/* The keyboard's next byte for the guest; false: there is none. */
static bool kbd_next(struct i8042 *k, uint8_t *val)
{
	while (!ps2_empty(&k->kbd.out)) {
		*val = ps2_take(&k->kbd.out);
		if (!(k->ram[0] & CB_TRANSLATE))
			return true;
		if (*val == KBD_RELEASE) {
			k->released = true;
			continue;
		}
		*val = ps2_translate(*val) | (k->released ? TRANSLATED_RELEASE : 0);
		k->released = false;
		return true;
	}
	return false;
}

/* A device sends its next byte when the buffer is free and its clock line is let go. */
static void pump(struct i8042 *k)
{
	uint8_t val;

	if (!k->obf && !(k->ram[0] & CB_KBD_OFF) && kbd_next(k, &val))
		put(k, val, FROM_KBD);
	if (!k->obf && !(k->ram[0] & CB_AUX_OFF) && !ps2_empty(&k->mouse.out)) {
		put(k, ps2_take(&k->mouse.out), FROM_AUX);
		ps2_mouse_report(&k->mouse);
	}
	update_lines(k);
}

/* -- Keys and pointer ---------------------------------------------------------------------------- */

static void on_key(void *opaque, unsigned code, bool down)
{
	struct i8042 *k = opaque;

	lock_take(&k->lock);
	ps2_keyboard_key(&k->kbd, code, down);
	pump(k);
	lock_drop(&k->lock);
}

static void on_pointer(void *opaque, const struct input_pointer *p)
{
	struct i8042 *k = opaque;

	lock_take(&k->lock);
	ps2_mouse_event(&k->mouse, p);
	pump(k);
	lock_drop(&k->lock);
}

static const struct input_sink i8042_sink = { .key = on_key, .pointer = on_pointer };

static void show_leds(const struct i8042 *k)
{
	if (k->cfg.input)
		input_set_leds(k->cfg.input, k->kbd.leds);
}

/* -- Controller -------------------------------------------------------------------------------- */

static void write_output_port(struct i8042 *k, uint8_t val)
{
	bool reset = !(val & OUT_NO_RESET);

	k->out_port = val | OUT_NO_RESET;
	irq_set(&k->cfg.a20, val & OUT_A20);
	if (reset)
		irq_pulse(&k->cfg.reset);
}

static uint8_t read_output_port(const struct i8042 *k)
{
	uint8_t v = k->out_port & ~(OUT_KBD_FULL | OUT_AUX_FULL);

	if (k->obf)
		v |= k->from == FROM_AUX ? OUT_AUX_FULL : OUT_KBD_FULL;
	return v;
}

static void self_test(struct i8042 *k)
{
	k->ram[0] = CB_RESET;
	k->kbd.out.replies = k->kbd.out.events = 0;
	k->kbd.cmd = 0;
	k->released = false;
	put(k, SELF_TEST_OK, FROM_CONTROLLER);
}

static void write_command(struct i8042 *k, uint8_t val)
{
	k->pending_cmd = 0;
	if (val >= CMD_READ_RAM && val < CMD_READ_RAM + RAM_SIZE) {
		put(k, k->ram[val - CMD_READ_RAM], FROM_CONTROLLER);
		return;
	}
	if (val >= CMD_WRITE_RAM && val < CMD_WRITE_RAM + RAM_SIZE) {
		k->pending_cmd = val;
		return;
	}
	switch (val) {
	case CMD_PASSWORD_TEST:
		put(k, NO_PASSWORD, FROM_CONTROLLER);
		break;
	case CMD_AUX_OFF:
		k->ram[0] |= CB_AUX_OFF;
		break;
	case CMD_AUX_ON:
		k->ram[0] &= ~CB_AUX_OFF;
		break;
	case CMD_AUX_TEST:
	case CMD_KBD_TEST:
		put(k, PORT_TEST_OK, FROM_CONTROLLER);
		break;
	case CMD_SELF_TEST:
		self_test(k);
		break;
	case CMD_KBD_OFF:
		k->ram[0] |= CB_KBD_OFF;
		break;
	case CMD_KBD_ON:
		k->ram[0] &= ~CB_KBD_OFF;
		break;
	case CMD_READ_INPUT:
		put(k, INPUT_PORT, FROM_CONTROLLER);
		break;
	case CMD_READ_OUTPUT:
		put(k, read_output_port(k), FROM_CONTROLLER);
		break;
	case CMD_WRITE_OUTPUT:
	case CMD_WRITE_KBD_BUF:
	case CMD_WRITE_AUX_BUF:
	case CMD_WRITE_AUX:
		k->pending_cmd = val;
		break;
	case CMD_A20_OFF:
		write_output_port(k, k->out_port & ~OUT_A20);
		break;
	case CMD_A20_ON:
		write_output_port(k, k->out_port | OUT_A20);
		break;
	default:
		/* Pulse output bits 3-0 whose bit in the command is clear; bit 0 is the reset line. */
		if (val >= CMD_PULSE && !(val & OUT_NO_RESET))
			irq_pulse(&k->cfg.reset);
	}
}

static void write_data(struct i8042 *k, uint8_t val)
{
	uint8_t cmd = k->pending_cmd;

	k->pending_cmd = 0;
	switch (cmd) {
	case 0:
		k->ram[0] &= ~CB_KBD_OFF; /* sending to the keyboard enables it */
		ps2_keyboard_write(&k->kbd, val);
		show_leds(k);
		break;
	case CMD_WRITE_OUTPUT:
		write_output_port(k, val);
		break;
	case CMD_WRITE_KBD_BUF:
		put(k, val, FROM_KBD);
		break;
	case CMD_WRITE_AUX_BUF:
		put(k, val, FROM_AUX);
		break;
	case CMD_WRITE_AUX:
		if (k->cfg.input) {
			k->ram[0] &= ~CB_AUX_OFF;
			ps2_mouse_write(&k->mouse, val);
			break;
		}
		put(k, AUX_NO_ANSWER, FROM_AUX);
		k->timeout = true;
		break;
	default:
		k->ram[cmd - CMD_WRITE_RAM] = val;
	}
}

static uint64_t data_read(void *opaque, uint64_t off, unsigned size)
{
	struct i8042 *k = opaque;
	uint8_t val = k->data;

	k->obf = k->timeout = false;
	update_lines(k); /* the line falls before the next byte raises it: each is an edge */
	pump(k);
	return val;
}

static void data_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct i8042 *k = opaque;

	k->last_was_command = false;
	write_data(k, val);
	pump(k);
}

static uint64_t status_read(void *opaque, uint64_t off, unsigned size)
{
	struct i8042 *k = opaque;
	uint8_t v = ST_UNLOCK;

	if (k->obf)
		v |= ST_OBF | (k->from == FROM_AUX ? ST_AUX : 0) | (k->timeout ? ST_TIMEOUT : 0);
	if (k->ram[0] & CB_SYS)
		v |= ST_SYS;
	if (k->last_was_command)
		v |= ST_COMMAND;
	return v;
}

static void command_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct i8042 *k = opaque;

	k->last_was_command = true;
	write_command(k, val);
	pump(k);
}

static const struct io_ops data_io = { .read = data_read, .write = data_write, .max_size = 1 };
static const struct io_ops command_io = { .read = status_read, .write = command_write, .max_size = 1 };

int i8042_attach(struct i8042 *k, struct space *pio, uint16_t data, uint16_t command)
{
	struct region *r;
	int rc = space_add_io(pio, &r, "i8042-data", data, 1, &data_io, k, &k->lock);

	return rc ? rc : space_add_io(pio, &r, "i8042-command", command, 1, &command_io, k, &k->lock);
}

/* -- Life -------------------------------------------------------------------------------------- */

static void i8042_reset(struct device *d)
{
	struct i8042 *k = (struct i8042 *)d;

	lock_take(&k->lock);
	for (unsigned i = 0; i < RAM_SIZE; i++)
		k->ram[i] = 0;
	k->ram[0] = CB_RESET;
	k->out_port = OUT_RESET;
	k->data = k->from = k->pending_cmd = 0;
	k->obf = k->timeout = k->last_was_command = k->released = false;
	ps2_keyboard_reset(&k->kbd);
	ps2_mouse_reset(&k->mouse);
	show_leds(k);
	irq_set(&k->cfg.a20, true);
	update_lines(k);
	lock_drop(&k->lock);
}

static bool pending_valid(uint8_t cmd)
{
	return cmd == 0 || (cmd >= CMD_WRITE_RAM && cmd < CMD_WRITE_RAM + RAM_SIZE) ||
	       (cmd >= CMD_WRITE_OUTPUT && cmd <= CMD_WRITE_AUX);
}

static int i8042_post_load(struct device *d)
{
	struct i8042 *k = (struct i8042 *)d;

	if (k->from > FROM_AUX || !ps2_valid(&k->kbd.out) || !ps2_valid(&k->mouse.out) || !pending_valid(k->pending_cmd) ||
	    !(k->out_port & OUT_NO_RESET) || k->kbd.set < 1 || k->kbd.set > 2)
		return -EINVAL;
	lock_take(&k->lock);
	irq_set(&k->cfg.a20, k->out_port & OUT_A20);
	show_leds(k);
	update_lines(k);
	lock_drop(&k->lock);
	return 0;
}

static void i8042_free(struct device *d)
{
	struct i8042 *k = (struct i8042 *)d;

	if (k->cfg.input)
		input_remove_sink(k->cfg.input, k);
	lock_release(&k->lock);
	free(k);
}

static const struct state_field i8042_state[] = {
	STATE_BYTES(struct i8042, ram),
	STATE_U8(struct i8042, out_port),
	STATE_U8(struct i8042, data),
	STATE_BOOL(struct i8042, obf),
	STATE_BOOL(struct i8042, timeout),
	STATE_U8(struct i8042, from),
	STATE_U8(struct i8042, pending_cmd),
	STATE_BOOL(struct i8042, last_was_command),
	STATE_BOOL(struct i8042, released),
	STATE_BYTES(struct i8042, kbd.out.reply),
	STATE_BYTES(struct i8042, kbd.out.event),
	STATE_U16(struct i8042, kbd.out.replies),
	STATE_U16(struct i8042, kbd.out.events),
	STATE_U8(struct i8042, kbd.out.last),
	STATE_U8(struct i8042, kbd.cmd),
	STATE_U8(struct i8042, kbd.set),
	STATE_U8(struct i8042, kbd.rate),
	STATE_U8(struct i8042, kbd.leds),
	STATE_BOOL(struct i8042, kbd.disabled),
	STATE_BYTES(struct i8042, mouse.out.reply),
	STATE_BYTES(struct i8042, mouse.out.event),
	STATE_U16(struct i8042, mouse.out.replies),
	STATE_U16(struct i8042, mouse.out.events),
	STATE_U8(struct i8042, mouse.out.last),
	STATE_U8(struct i8042, mouse.cmd),
	STATE_U8(struct i8042, mouse.id),
	STATE_U8(struct i8042, mouse.rate),
	STATE_U8(struct i8042, mouse.resolution),
	STATE_U8(struct i8042, mouse.buttons),
	STATE_BYTES(struct i8042, mouse.knock),
	STATE_BOOL(struct i8042, mouse.enabled),
	STATE_BOOL(struct i8042, mouse.remote),
	STATE_BOOL(struct i8042, mouse.wrap),
	STATE_BOOL(struct i8042, mouse.twice),
	STATE_BOOL(struct i8042, mouse.moved),
	STATE_U32(struct i8042, mouse.dx),
	STATE_U32(struct i8042, mouse.dy),
	STATE_U32(struct i8042, mouse.dz),
	STATE_END(),
};

static const struct device_ops i8042_ops = {
	.name = "i8042",
	.reset = i8042_reset,
	.post_load = i8042_post_load,
	.free = i8042_free,
	.state = i8042_state,
	.state_version = 1,
};

struct i8042 *i8042_new(const struct i8042_config *c)
{
	struct i8042 *k = calloc(1, sizeof(*k));

	BUG_ON(!k);
	k->dev.ops = &i8042_ops;
	list_init(&k->dev.node);
	k->cfg = *c;
	lock_init(&k->lock, RANK_DEVICE);
	i8042_reset(&k->dev);
	if (k->cfg.input)
		BUG_ON(input_add_sink(k->cfg.input, &i8042_sink, k));
	return k;
}
