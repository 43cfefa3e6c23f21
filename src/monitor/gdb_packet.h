/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets of gdb's remote serial protocol (GDB manual, appendix E): framing, escapes and hexadecimal text. */
#ifndef DOPPEL_MONITOR_GDB_PACKET_H
#define DOPPEL_MONITOR_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/strbuf.h"

#define GDB_PACKET_MAX 0x4000 /* bytes between $ and #; what PacketSize announces */

enum gdb_input {
	GDB_MORE,      /* no packet yet */
	GDB_PACKET,    /* one is in data, NUL-terminated */
	GDB_BAD,       /* one came with a wrong checksum or was too long: it shall be sent again */
	GDB_INTERRUPT, /* Ctrl-C */
	GDB_RESEND,    /* our last packet came with a wrong checksum there */
};

/* A packet as it arrives. */
struct gdb_reader {
	uint8_t data[GDB_PACKET_MAX + 1];
	size_t len;       /* of data, escapes undone */
	unsigned state;
	uint8_t sum, want;
	bool escaped, too_long;
};

/* One byte from the debugger. */
enum gdb_input gdb_reader_byte(struct gdb_reader *r, uint8_t byte);

/* Frame a reply for sending; content is escaped where it must be. */
void gdb_frame(struct strbuf *out, const char *content, size_t len);

/* Bytes to hexadecimal text, and back: how many bytes were made, which ends at what is not hexadecimal. */
void gdb_add_hex(struct strbuf *out, const void *bytes, size_t len);
size_t gdb_from_hex(const char *text, uint8_t *bytes, size_t max);

/* A hexadecimal number at *p, which moves behind it. false: there is none, or it has more than 64 bits. */
bool gdb_number(const char **p, uint64_t *val);

/* The same and the character that must follow. */
bool gdb_number_then(const char **p, uint64_t *val, char then);

#endif
