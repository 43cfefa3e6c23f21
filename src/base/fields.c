/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saving and loading by state tables; what is loaded may have been forged. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/bits.h"
#include "base/endian.h"
#include "base/fields.h"

#define NAME_MAX_LEN 255 /* a u8 */

static uint32_t field_bytes(const struct state_field *f)
{
	uint64_t n = (uint64_t)f->size * f->count;

	BUG_ON(n > UINT32_MAX);
	return (uint32_t)n;
}

static unsigned field_count(const struct state_field *f)
{
	unsigned n = 0;

	while (f[n].type != STATE_TYPE_END)
		n++;
	return n;
}

void fields_save(const struct state_field *f, const void *obj, struct strbuf *out)
{
	for (; f->type != STATE_TYPE_END; f++) {
		size_t name_len = strlen(f->name);
		uint8_t name_byte = (uint8_t)name_len;
		uint8_t len[4];

		BUG_ON(name_len > NAME_MAX_LEN);
		put_le32(len, field_bytes(f));
		strbuf_add(out, &name_byte, 1);
		strbuf_add(out, f->name, name_len);
		strbuf_add(out, len, sizeof(len));
		strbuf_add(out, (const uint8_t *)obj + f->offset, field_bytes(f));
	}
}

struct record {
	const char *name;
	uint8_t name_len;
	uint32_t len;
	const uint8_t *bytes;
};

/* Cut the next record off [*p, end). */
static bool next_record(const uint8_t **p, const uint8_t *end, struct record *r)
{
	if (*p == end)
		return false;
	r->name_len = *(*p)++;
	if ((size_t)(end - *p) < (size_t)r->name_len + 4)
		return false;
	r->name = (const char *)*p;
	*p += r->name_len;
	r->len = get_le32(*p);
	*p += 4;
	if ((size_t)(end - *p) < r->len)
		return false;
	r->bytes = *p;
	*p += r->len;
	return true;
}

static int find_field(const struct state_field *f, unsigned version, const struct record *r)
{
	for (int i = 0; f[i].type != STATE_TYPE_END; i++)
		if (f[i].since <= version && strlen(f[i].name) == r->name_len &&
		    !memcmp(f[i].name, r->name, r->name_len))
			return i;
	return -1;
}

static int check_value(const struct state_field *f, const struct record *r, struct err *e)
{
	if (r->len != field_bytes(f))
		return err_set(e, EINVAL, "state field %s has %u bytes instead of %u", f->name, r->len,
			       field_bytes(f));
	for (uint32_t i = 0; f->type == STATE_TYPE_BOOL && i < r->len; i++)
		if (r->bytes[i] > 1)
			return err_set(e, EINVAL, "state field %s: %u is not a boolean", f->name,
				       r->bytes[i]);
	return 0;
}

/* Find the bytes of every field in buf; where[] has one slot per field, all NULL at first. */
static int locate(const struct state_field *f, unsigned version, const void *buf, size_t len,
		  const uint8_t **where, struct err *e)
{
	const uint8_t *p = buf, *end = p + len;
	struct record r;
	unsigned n_found = 0;
	int i, rc;

	while (p != end) {
		if (!next_record(&p, end, &r))
			return err_set(e, EINVAL, "state is truncated after %u of its fields", n_found);
		i = find_field(f, version, &r);
		if (i < 0)
			return err_set(e, EINVAL, "state has an unknown field %.*s", r.name_len, r.name);
		if (where[i])
			return err_set(e, EINVAL, "state field %s is there twice", f[i].name);
		rc = check_value(&f[i], &r, e);
		if (rc)
			return rc;
		where[i] = r.bytes;
		n_found++;
	}
	for (i = 0; f[i].type != STATE_TYPE_END; i++)
		if (f[i].since <= version && !where[i])
			return err_set(e, EINVAL, "state field %s is missing", f[i].name);
	return 0;
}

int fields_load(const struct state_field *f, unsigned version, void *obj, const void *buf, size_t len,
		struct err *e)
{
	unsigned n = field_count(f);
	const uint8_t **where = calloc(n + 1, sizeof(*where));
	int rc;

	if (!where)
		return err_set(e, ENOMEM, "out of memory for %u state fields", n);
	rc = locate(f, version, buf, len, where, e);
	for (unsigned i = 0; !rc && i < n; i++)
		if (where[i])
			memcpy((uint8_t *)obj + f[i].offset, where[i], field_bytes(&f[i]));
	free(where);
	return rc;
}
