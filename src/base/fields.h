/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarative state tables: how a device's fields are saved, restored and versioned. */
#ifndef DOPPEL_BASE_FIELDS_H
#define DOPPEL_BASE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/strbuf.h"

enum state_type { STATE_TYPE_END, STATE_TYPE_UINT, STATE_TYPE_BOOL, STATE_TYPE_BYTES };

struct state_field {
	const char *name;
	enum state_type type;
	uint32_t offset;
	uint32_t size;    /* bytes of one element */
	uint32_t count;   /* elements; 1 for a scalar */
	uint16_t since;   /* version of the table in which it appeared */
};

#define STATE_FIELD_(t, s, m, ty, n, v)                                          \
	{ #m, STATE_TYPE_##ty, offsetof(s, m), sizeof(t), n, v }
#define STATE_U8(s, m)        STATE_FIELD_(uint8_t, s, m, UINT, 1, 1)
#define STATE_U16(s, m)       STATE_FIELD_(uint16_t, s, m, UINT, 1, 1)
#define STATE_U32(s, m)       STATE_FIELD_(uint32_t, s, m, UINT, 1, 1)
#define STATE_U64(s, m)       STATE_FIELD_(uint64_t, s, m, UINT, 1, 1)
#define STATE_BOOL(s, m)      STATE_FIELD_(bool, s, m, BOOL, 1, 1)
/* An array member of unsigned integers, or of bytes. */
#define STATE_ARRAY(s, m)                                                        \
	{ #m, STATE_TYPE_UINT, offsetof(s, m), sizeof(((s *)0)->m[0]),           \
	  sizeof(((s *)0)->m) / sizeof(((s *)0)->m[0]), 1 }
#define STATE_BYTES(s, m)     { #m, STATE_TYPE_BYTES, offsetof(s, m), sizeof(((s *)0)->m), 1, 1 }
#define STATE_END()           { NULL, STATE_TYPE_END, 0, 0, 0, 0 }

/*
 * Append obj's fields to out. Layout, little-endian: per field a u8 name length, the name, a u32
 * byte length, the bytes; integers are stored in their own size.
 */
void fields_save(const struct state_field *f, const void *obj, struct strbuf *out);

/*
 * Read what fields_save wrote by a table of `version`. Every field with since <= version must be
 * there exactly once with its exact size; unknown names, truncation and duplicates are errors
 * (-EINVAL with a message that names the field), and obj is then unchanged. Booleans other than
 * 0 and 1 are errors. The meaning of the values is for the device's post_load to check.
 */
int fields_load(const struct state_field *f, unsigned version, void *obj, const void *buf, size_t len,
		struct err *e);

#endif
