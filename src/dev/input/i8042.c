/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 8042 keyboard controller of a PS/2-style PC. The keyboard behind it answers all commands and never
 * has a key pressed; nothing is plugged into the mouse port, which the controller reports by a time-out.
 *
 * Specification: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
 * Controller" and "Keyboards".
 * Missing: password mode, scan code sets but 2 (translation has nothing to translate).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "dev/input/i8042.h"

#define RAM_SIZE    32
#define QUEUE_SIZE  16 /* of the keyboard; a reply has at most 4 bytes */

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

/* Keyboard commands and replies */
enum {
	KBD_LEDS = 0xed, KBD_ECHO = 0xee, KBD_SCANCODES = 0xf0, KBD_ID = 0xf2, KBD_RATE = 0xf3, KBD_ENABLE = 0xf4,
	KBD_RESET_DEFAULT = 0xf6, KBD_RESET = 0xff,
	KBD_ACK = 0xfa, KBD_SELF_TEST_OK = 0xaa, KBD_RESEND = 0xfe, KBD_DISABLE = 0xf5,
};
#define KBD_SCANCODE_SET 2
static const uint8_t kbd_id[2] = { 0xab, 0x83 };

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
	uint8_t kbd_cmd;      /* keyboard command that waits for its parameter, or 0 */
	uint8_t queue[QUEUE_SIZE]; /* of the keyboard's replies */
	uint8_t queued;
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

/* The keyboard sends its next byte when the buffer is free and its clock line is let go. */
static void pump(struct i8042 *k)
{
	if (!k->obf && k->queued && !(k->ram[0] & CB_KBD_OFF)) {
		put(k, k->queue[0], FROM_KBD);
		k->queued--;
		for (unsigned i = 0; i < k->queued; i++)
			k->queue[i] = k->queue[i + 1];
	}
	update_lines(k);
}

/* -- Keyboard ---------------------------------------------------------------------------------- */

static void kbd_send(struct i8042 *k, uint8_t val)
{
	if (k->queued < QUEUE_SIZE)
		k->queue[k->queued++] = val;
}

static void kbd_parameter(struct i8042 *k, uint8_t val)
{
	bool query = k->kbd_cmd == KBD_SCANCODES && val == 0;

	k->kbd_cmd = 0;
	kbd_send(k, KBD_ACK);
	if (query)
		kbd_send(k, KBD_SCANCODE_SET);
}

static void kbd_write(struct i8042 *k, uint8_t val)
{
	k->queued = 0; /* a command cancels what was not sent yet */
	if (k->kbd_cmd && val < KBD_LEDS) {
		kbd_parameter(k, val);
		return;
	}
	k->kbd_cmd = 0;
	switch (val) {
	case KBD_ECHO:
		kbd_send(k, KBD_ECHO);
		break;
	case KBD_LEDS:
	case KBD_SCANCODES:
	case KBD_RATE:
		k->kbd_cmd = val;
		kbd_send(k, KBD_ACK);
		break;
	case KBD_ID:
		kbd_send(k, KBD_ACK);
		kbd_send(k, kbd_id[0]);
		kbd_send(k, kbd_id[1]);
		break;
	case KBD_ENABLE:
	case KBD_DISABLE:
	case KBD_RESET_DEFAULT:
		kbd_send(k, KBD_ACK);
		break;
	case KBD_RESET:
		kbd_send(k, KBD_ACK);
		kbd_send(k, KBD_SELF_TEST_OK);
		break;
	default:
		kbd_send(k, KBD_RESEND);
	}
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
	k->queued = 0;
	k->kbd_cmd = 0;
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
		kbd_write(k, val);
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
		put(k, KBD_RESEND, FROM_AUX); /* nobody there */
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
	k->data = k->from = k->pending_cmd = k->kbd_cmd = k->queued = 0;
	k->obf = k->timeout = k->last_was_command = false;
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

	if (k->from > FROM_AUX || k->queued > QUEUE_SIZE || !pending_valid(k->pending_cmd) ||
	    !(k->out_port & OUT_NO_RESET))
		return -EINVAL;
	lock_take(&k->lock);
	irq_set(&k->cfg.a20, k->out_port & OUT_A20);
	update_lines(k);
	lock_drop(&k->lock);
	return 0;
}

static void i8042_free(struct device *d)
{
	struct i8042 *k = (struct i8042 *)d;

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
	STATE_U8(struct i8042, kbd_cmd),
	STATE_BYTES(struct i8042, queue),
	STATE_U8(struct i8042, queued),
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
	return k;
}
