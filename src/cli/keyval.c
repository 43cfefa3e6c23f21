/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An option's value as QEMU writes them: "first,name=value,name,noname"; or a JSON object. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/bits.h"
#include "cli/keyval.h"

#define JSON_DEPTH 8 /* of objects in objects */

/* -- Parsing ------------------------------------------------------------------------------------------- */

static char *copy(const char *s)
{
	char *c = strdup(s);

	BUG_ON(!c);
	return c;
}

static int add(struct keyval *k, char *name, char *value, struct err *e)
{
	if (k->n == KEYVAL_MAX) {
		free(name);
		free(value);
		return err_set(e, E2BIG, "%s: more than %d properties", k->what, KEYVAL_MAX);
	}
	k->pair[k->n].name = name;
	k->pair[k->n].value = value;
	k->pair[k->n++].used = false;
	return 0;
}

/* The part before the next single comma, doubled ones made single; *p moves behind it, NULL: it was the last. */
static char *cut(const char **p)
{
	char *part = malloc(strlen(*p) + 1), *to = part;
	const char *s = *p;

	BUG_ON(!part);
	while (*s && !(s[0] == ',' && s[1] != ',')) {
		s += *s == ',';
		*to++ = *s++;
	}
	*to = 0;
	*p = *s ? s + 1 : NULL;
	return part;
}

static int parse_text(struct keyval *k, const char *text, const char *first, struct err *e)
{
	const char *p = *text ? text : NULL;
	int rc = 0;

	while (p && !rc) {
		char *part = cut(&p), *is = strchr(part, '=');

		if (!is && first && *part) {
			rc = add(k, copy(first), part, e);
		} else if (is == part || !*part) {
			rc = err_set(e, EINVAL, "%s %s: a property without a name; write NAME=VALUE", k->what, text);
			free(part);
		} else {
			char *value = is ? copy(is + 1) : NULL;

			if (is)
				*is = 0;
			rc = add(k, part, value, e);
		}
		first = NULL;
	}
	return rc;
}

static int flatten(struct keyval *k, json_t *object, const char *prefix, unsigned depth, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach(object, key, v) {
		char name[128], number[32];
		int rc;

		if (snprintf(name, sizeof(name), "%s%s", prefix, key) >= (int)sizeof(name) - 1 || depth == JSON_DEPTH)
			return err_set(e, EINVAL, "%s: '%.32s...': no such property", k->what, key);
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
		if (json_is_object(v)) {
			snprintf(name + strlen(name), 2, ".");
			rc = flatten(k, v, name, depth + 1, e);
		} else if (json_is_string(v)) {
			rc = add(k, copy(name), copy(json_string_value(v)), e);
		} else if (json_is_boolean(v)) {
			rc = add(k, copy(name), copy(json_is_true(v) ? "on" : "off"), e);
		} else if (json_is_integer(v)) {
			rc = add(k, copy(name), copy(number), e);
		} else if (json_is_null(v)) {
			rc = 0;
		} else {
			rc = err_set(e, EINVAL, "%s: '%s': a text, number or boolean is expected", k->what, name);
		}
		if (rc)
			return rc;
	}
	return 0;
}

static int parse_json(struct keyval *k, const char *text, struct err *e)
{
	json_error_t where;
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &where);
	int rc;

	if (!json_is_object(root)) {
		json_decref(root);
		return err_set(e, EINVAL, "%s: no JSON object: %s", k->what, where.text);
	}
	rc = flatten(k, root, "", 0, e);
	json_decref(root);
	return rc;
}

int keyval_parse(struct keyval *k, const char *what, const char *text, const char *first, struct err *e)
{
	memset(k, 0, sizeof(*k));
	k->what = what;
	k->text = copy(text);
	return *text == '{' ? parse_json(k, text, e) : parse_text(k, text, first, e);
}

void keyval_release(struct keyval *k)
{
	for (unsigned i = 0; i < k->n; i++) {
		free(k->pair[i].name);
		free(k->pair[i].value);
	}
	free(k->text);
	k->n = 0;
	k->text = NULL;
}

/* -- Looking up ------------------------------------------------------------------------------------------ */

const char *keyval_peek(const struct keyval *k, const char *name)
{
	for (unsigned i = k->n; i-- > 0;)
		if (!strcmp(k->pair[i].name, name))
			return k->pair[i].value ? k->pair[i].value : "on";
	return NULL;
}

void keyval_skip(struct keyval *k, const char *name)
{
	for (unsigned i = 0; i < k->n; i++)
		if (!strcmp(k->pair[i].name, name))
			k->pair[i].used = true;
}

const char *keyval_take(struct keyval *k, const char *name)
{
	keyval_skip(k, name);
	return keyval_peek(k, name);
}

bool keyval_bool(const char *text, bool *val)
{
	static const char *const words[2][4] = { { "off", "no", "false", "n" }, { "on", "yes", "true", "y" } };

	for (unsigned v = 0; v < 2; v++)
		for (size_t i = 0; i < ARRAY_SIZE(words[v]); i++)
			if (!strcmp(text, words[v][i])) {
				*val = v;
				return true;
			}
	return false;
}

int keyval_take_bool(struct keyval *k, const char *name, bool *val, struct err *e)
{
	for (unsigned i = 0; i < k->n; i++) {
		const char *n = k->pair[i].name, *value = k->pair[i].value;

		if (!value && !strncmp(n, "no", 2) && !strcmp(n + 2, name))
			*val = false;
		else if (strcmp(n, name))
			continue;
		else if (!keyval_bool(value ? value : "on", val))
			return err_set(e, EINVAL, "%s %s: %s=%s: give on or off", k->what, k->text, name, value);
		k->pair[i].used = true;
	}
	return 0;
}

int keyval_take_uint(struct keyval *k, const char *name, uint64_t max, uint64_t *val, struct err *e)
{
	const char *text = keyval_take(k, name);
	uint64_t v;
	char *end;

	if (!text)
		return 0;
	errno = 0;
	v = strtoull(text, &end, strncmp(text, "0x", 2) ? 10 : 16);
	if (*text < '0' || *text > '9' || *end || errno || v > max)
		return err_set(e, EINVAL, "%s %s: %s=%s: give a number up to %llu", k->what, k->text, name, text,
			       (unsigned long long)max);
	*val = v;
	return 0;
}

int keyval_only(struct keyval *k, const char *name, bool allowed, const char *why, struct err *e)
{
	bool val = allowed;
	int rc = keyval_take_bool(k, name, &val, e);

	if (!rc && val != allowed)
		return err_set(e, EINVAL, "%s %s: %s=%s is not built: %s", k->what, k->text, name, val ? "on" : "off", why);
	return rc;
}

int keyval_done(const struct keyval *k, struct err *e)
{
	for (unsigned i = 0; i < k->n; i++)
		if (!k->pair[i].used)
			return err_set(e, EINVAL, "%s %s: property '%s' is not known or not built; leave it out", k->what, k->text,
				       k->pair[i].name);
	return 0;
}
