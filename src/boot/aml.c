/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AML encoding, ACPI 6.4 section 20.2, and resource descriptors, section 6.4. */
#include <string.h>

#include "base/endian.h"
#include "base/err.h"
#include "boot/aml.h"

enum {
	OP_ZERO = 0x00, OP_ONE = 0x01, OP_NAME = 0x08, OP_BYTE = 0x0a, OP_WORD = 0x0b,
	OP_DWORD = 0x0c, OP_STRING = 0x0d, OP_QWORD = 0x0e, OP_SCOPE = 0x10, OP_BUFFER = 0x11, OP_PACKAGE = 0x12,
	OP_EXT = 0x5b, EXT_DEVICE = 0x82,
};

enum { EXT_IRQ_CONSUMER = 0x01, EXT_IRQ_SHARED = 0x08 }; /* neither edge nor active low */

static void put8(struct strbuf *sb, uint8_t v)
{
	strbuf_add(sb, &v, 1);
}

static void put16(struct strbuf *sb, uint16_t v)
{
	uint8_t b[2];

	put_le16(b, v);
	strbuf_add(sb, b, sizeof(b));
}

static void put32(struct strbuf *sb, uint32_t v)
{
	uint8_t b[4];

	put_le32(b, v);
	strbuf_add(sb, b, sizeof(b));
}

static void put64(struct strbuf *sb, uint64_t v)
{
	uint8_t b[8];

	put_le64(b, v);
	strbuf_add(sb, b, sizeof(b));
}

void aml_init(struct aml *a, struct strbuf *out)
{
	a->out = out;
	a->depth = 0;
}

static void open_length(struct aml *a)
{
	BUG_ON(a->depth == AML_MAX_DEPTH);
	a->open[a->depth++] = a->out->len;
}

/*
 * PkgLength, 20.2.4: it counts itself. One byte holds up to 63; else the top two bits of the first
 * byte say how many follow, its low nibble is the least significant.
 */
static unsigned encode_length(uint8_t b[4], size_t contents)
{
	unsigned extra = 0;
	size_t len;

	/* One byte holds 6 bits, two 12, three 20. */
	if (contents + 1 >= 1u << 6)
		extra = contents + 2 < 1u << 12 ? 1 : contents + 3 < 1u << 20 ? 2 : 3;
	len = contents + extra + 1;
	b[0] = (uint8_t)(extra ? extra << 6 | (len & 0xf) : len);
	for (unsigned i = 0; i < extra; i++)
		b[1 + i] = (uint8_t)(len >> (4 + 8 * i));
	return extra + 1;
}

void aml_close(struct aml *a)
{
	static const uint8_t room[4];
	uint8_t b[4];
	size_t at, contents;
	unsigned n;

	BUG_ON(!a->depth);
	at = a->open[--a->depth];
	contents = a->out->len - at;
	n = encode_length(b, contents);
	strbuf_add(a->out, room, n);
	memmove(a->out->buf + at + n, a->out->buf + at, contents);
	memcpy(a->out->buf + at, b, n);
}

/* NameString, 20.2.2, with at most one segment behind the root. */
static void put_name(struct aml *a, const char *name)
{
	BUG_ON(strlen(name) != (*name == '\\' ? 5 : 4));
	strbuf_add(a->out, name, strlen(name));
}

void aml_open_scope(struct aml *a, const char *path)
{
	put8(a->out, OP_SCOPE);
	open_length(a);
	put_name(a, path);
}

void aml_open_device(struct aml *a, const char *name)
{
	put8(a->out, OP_EXT);
	put8(a->out, EXT_DEVICE);
	open_length(a);
	put_name(a, name);
}

void aml_open_package(struct aml *a, uint8_t elements)
{
	put8(a->out, OP_PACKAGE);
	open_length(a);
	put8(a->out, elements);
}

void aml_name(struct aml *a, const char *name)
{
	put8(a->out, OP_NAME);
	put_name(a, name);
}

void aml_int(struct aml *a, uint64_t v)
{
	if (v <= 1) {
		put8(a->out, v ? OP_ONE : OP_ZERO);
	} else if (v <= UINT8_MAX) {
		put8(a->out, OP_BYTE);
		put8(a->out, (uint8_t)v);
	} else if (v <= UINT16_MAX) {
		put8(a->out, OP_WORD);
		put16(a->out, (uint16_t)v);
	} else if (v <= UINT32_MAX) {
		put8(a->out, OP_DWORD);
		put32(a->out, (uint32_t)v);
	} else {
		put8(a->out, OP_QWORD);
		put64(a->out, v);
	}
}

/* EISA ids, 19.3.4: three letters of 5 bits, then four hexadecimal digits, the whole big-endian. */
void aml_string(struct aml *a, const char *text)
{
	put8(a->out, OP_STRING);
	strbuf_add(a->out, text, strlen(text) + 1);
}

void aml_eisaid(struct aml *a, const char *id)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 7; i++) {
		unsigned c = (unsigned char)id[i];

		if (i < 3)
			v = v << 5 | ((c - 0x40) & 0x1f);
		else
			v = v << 4 | (c <= '9' ? c - '0' : c - 'A' + 10);
	}
	put8(a->out, OP_DWORD);
	put32(a->out, __builtin_bswap32(v));
}

void aml_buffer(struct aml *a, const void *data, size_t len)
{
	put8(a->out, OP_BUFFER);
	open_length(a);
	aml_int(a, len);
	strbuf_add(a->out, data, len);
	aml_close(a);
}

/* Small descriptors, 6.4.2: tag and length in one byte. */
enum { RES_IRQ = 0x22, RES_DMA = 0x2a, RES_IO = 0x47, RES_END = 0x79, IO_DECODE_16 = 1 };

void res_io(struct strbuf *r, uint16_t port, uint8_t len)
{
	put8(r, RES_IO);
	put8(r, IO_DECODE_16);
	put16(r, port);
	put16(r, port);
	put8(r, 1); /* alignment */
	put8(r, len);
}

void res_irq(struct strbuf *r, unsigned irq)
{
	put8(r, RES_IRQ);
	put16(r, (uint16_t)(1u << irq));
}

/* 6.4.2.2: compatible timing, no bus master, 8 bits at a time. */
void res_dma(struct strbuf *r, unsigned channel)
{
	put8(r, RES_DMA);
	put8(r, (uint8_t)(1u << channel));
	put8(r, 0);
}

void res_end(struct strbuf *r)
{
	put8(r, RES_END);
	put8(r, 0); /* checksum 0: to be taken as right */
}

/* Large descriptors, 6.4.3. Address spaces: fixed at both ends, positive decode. */
enum {
	RES_FIXED32 = 0x86, RES_DWORD = 0x87, RES_WORD = 0x88, RES_EXT_IRQ = 0x89, RES_QWORD = 0x8a,
	SPACE_MEMORY = 0, SPACE_IO = 1, SPACE_BUS = 2,
	MIN_MAX_FIXED = 0x0c, IO_ENTIRE_RANGE = 3, MEMORY_READ_WRITE = 1,
};

void res_fixed_memory(struct strbuf *r, uint32_t base, uint32_t size)
{
	put8(r, RES_FIXED32);
	put16(r, 9);
	put8(r, MEMORY_READ_WRITE);
	put32(r, base);
	put32(r, size);
}

/* Extended interrupt, 6.4.3.6. */
void res_gsi_shared(struct strbuf *r, uint32_t gsi)
{
	put8(r, RES_EXT_IRQ);
	put16(r, 6);
	put8(r, EXT_IRQ_SHARED | EXT_IRQ_CONSUMER);
	put8(r, 1);
	put32(r, gsi);
}

static void word_window(struct strbuf *r, uint8_t space, uint8_t type_flags, uint32_t first, uint32_t size)
{
	put8(r, RES_WORD);
	put16(r, 13);
	put8(r, space);
	put8(r, MIN_MAX_FIXED);
	put8(r, type_flags);
	put16(r, 0); /* granularity */
	put16(r, (uint16_t)first);
	put16(r, (uint16_t)(first + size - 1));
	put16(r, 0); /* translation */
	put16(r, (uint16_t)size);
}

void res_bus_numbers(struct strbuf *r, uint8_t first, uint8_t last)
{
	word_window(r, SPACE_BUS, 0, first, last - first + 1u);
}

void res_io_window(struct strbuf *r, uint16_t base, uint32_t size)
{
	word_window(r, SPACE_IO, IO_ENTIRE_RANGE, base, size);
}

void res_memory_window32(struct strbuf *r, uint32_t base, uint32_t size)
{
	put8(r, RES_DWORD);
	put16(r, 23);
	put8(r, SPACE_MEMORY);
	put8(r, MIN_MAX_FIXED);
	put8(r, MEMORY_READ_WRITE);
	put32(r, 0);
	put32(r, base);
	put32(r, base + size - 1);
	put32(r, 0);
	put32(r, size);
}

void res_memory_window64(struct strbuf *r, uint64_t base, uint64_t size)
{
	put8(r, RES_QWORD);
	put16(r, 43);
	put8(r, SPACE_MEMORY);
	put8(r, MIN_MAX_FIXED);
	put8(r, MEMORY_READ_WRITE);
	put64(r, 0);
	put64(r, base);
	put64(r, base + size - 1);
	put64(r, 0);
	put64(r, size);
}
