/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets of gdb's remote serial protocol: framing, escapes and hexadecimal text. */
#include "monitor/gdb_packet.h"

#define ESCAPE      '}'
#define ESCAPE_XOR  0x20
#define CTRL_C      0x03

enum { OUTSIDE, CONTENT, SUM_HIGH, SUM_LOW };

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void add_content(struct gdb_reader *r, uint8_t byte)
{
	r->sum = (uint8_t)(r->sum + byte);
	if (byte == ESCAPE && !r->escaped) {
		r->escaped = true;
		return;
	}
	if (r->escaped)
		byte ^= ESCAPE_XOR;
	r->escaped = false;
	if (r->len == GDB_PACKET_MAX)
		r->too_long = true;
	else
		r->data[r->len++] = byte;
}

static enum gdb_input outside(struct gdb_reader *r, uint8_t byte)
{
	switch (byte) {
	case '$':
		r->len = 0;
		r->sum = 0;
		r->escaped = r->too_long = false;
		r->state = CONTENT;
		return GDB_MORE;
	case CTRL_C:
		return GDB_INTERRUPT;
	case '-':
		return GDB_RESEND;
	default: /* acknowledgements, noise */
		return GDB_MORE;
	}
}

enum gdb_input gdb_reader_byte(struct gdb_reader *r, uint8_t byte)
{
	int digit = hex_digit((char)byte);

	switch (r->state) {
	case CONTENT:
		if (byte == '#')
			r->state = SUM_HIGH;
		else
			add_content(r, byte);
		return GDB_MORE;
	case SUM_HIGH:
		r->want = (uint8_t)(digit << 4);
		r->state = digit < 0 ? OUTSIDE : SUM_LOW;
		return digit < 0 ? GDB_BAD : GDB_MORE;
	case SUM_LOW:
		r->state = OUTSIDE;
		r->data[r->len] = 0;
		return digit < 0 || r->too_long || (r->want | digit) != r->sum ? GDB_BAD : GDB_PACKET;
	default:
		return outside(r, byte);
	}
}

void gdb_frame(struct strbuf *out, const char *content, size_t len)
{
	uint8_t sum = 0;

	strbuf_add(out, "$", 1);
	for (size_t n = 0; n < len; n++) {
		char pair[2] = { ESCAPE, (char)(content[n] ^ ESCAPE_XOR) };
		char c = content[n];
		bool escape = c == '$' || c == '#' || c == ESCAPE || c == '*';

		strbuf_add(out, escape ? pair : &c, escape ? 2 : 1);
		sum = (uint8_t)(sum + (escape ? pair[0] + pair[1] : c));
	}
	strbuf_addf(out, "#%02x", sum);
}

void gdb_add_hex(struct strbuf *out, const void *bytes, size_t len)
{
	for (size_t n = 0; n < len; n++)
		strbuf_addf(out, "%02x", ((const uint8_t *)bytes)[n]);
}

size_t gdb_from_hex(const char *text, uint8_t *bytes, size_t max)
{
	size_t n = 0;

	for (; n < max; n++) {
		int high = hex_digit(text[2 * n]), low = high < 0 ? -1 : hex_digit(text[2 * n + 1]);

		if (low < 0)
			break;
		bytes[n] = (uint8_t)(high << 4 | low);
	}
	return n;
}

bool gdb_number(const char **p, uint64_t *val)
{
	unsigned digits = 0;

	for (*val = 0; hex_digit(**p) >= 0; ++*p, digits++)
		*val = *val << 4 | (unsigned)hex_digit(**p);
	return digits && digits <= 16;
}

bool gdb_number_then(const char **p, uint64_t *val, char then)
{
	if (!gdb_number(p, val) || **p != then)
		return false;
	++*p;
	return true;
}
