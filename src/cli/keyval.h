/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An option's value as QEMU writes them: "first,name=value,name,noname"; or a JSON object. */
#ifndef DOPPEL_CLI_KEYVAL_H
#define DOPPEL_CLI_KEYVAL_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

#define KEYVAL_MAX 64 /* pairs; more are an error */

struct keyval {
	const char *what; /* the option, for messages */
	char *text;       /* as it was written, for messages; ours, as the strings of the pairs */
	struct {
		char *name, *value; /* value NULL: the name alone */
		bool used;
	} pair[KEYVAL_MAX];
	unsigned n;
};

/*
 * Parse text; first: the name that a first part without '=' is the value of, or NULL. A comma in a value is doubled. Nested JSON
 * objects give names with dots, arrays are not known. -EINVAL with a message. Release it in any case.
 */
int keyval_parse(struct keyval *k, const char *what, const char *text, const char *first, struct err *e);
void keyval_release(struct keyval *k);

/* The value of a name (the last one; "on" when it stands alone), or NULL; the pair counts as used. */
const char *keyval_take(struct keyval *k, const char *name);

/* The same without using it. */
const char *keyval_peek(const struct keyval *k, const char *name);

/* on, off, yes, no, true, false, y, n; the name alone, or with "no" in front of it. Without the name *val stays. */
int keyval_take_bool(struct keyval *k, const char *name, bool *val, struct err *e);

/* A decimal or (0x) hexadecimal number of at most max. Without the name *val stays. */
int keyval_take_uint(struct keyval *k, const char *name, uint64_t max, uint64_t *val, struct err *e);

/* Use up a name that changes nothing here. */
void keyval_skip(struct keyval *k, const char *name);

/* Use up a name that may only be said to be off (or on): -EINVAL with the reason when it is not. */
int keyval_only(struct keyval *k, const char *name, bool allowed, const char *why, struct err *e);

/* -EINVAL with a message when a pair has not been used. */
int keyval_done(const struct keyval *k, struct err *e);

/* Parse "on" and its like. */
bool keyval_bool(const char *text, bool *val);

#endif
