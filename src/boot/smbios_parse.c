/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS options as text, "type=1,product=Widget": which names there are, and what is refused. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "boot/smbios.h"

static const struct {
	uint8_t type;
	uint8_t which; /* enum smbios_string */
	const char *name;
} names[] = {
	{ 0, SMBIOS_BIOS_VENDOR, "vendor" }, { 0, SMBIOS_BIOS_VERSION, "version" }, { 0, SMBIOS_BIOS_DATE, "date" },
	{ 1, SMBIOS_SYS_MANUFACTURER, "manufacturer" }, { 1, SMBIOS_SYS_PRODUCT, "product" }, { 1, SMBIOS_SYS_VERSION, "version" },
	{ 1, SMBIOS_SYS_SERIAL, "serial" }, { 1, SMBIOS_SYS_SKU, "sku" }, { 1, SMBIOS_SYS_FAMILY, "family" },
	{ 2, SMBIOS_BOARD_MANUFACTURER, "manufacturer" }, { 2, SMBIOS_BOARD_PRODUCT, "product" },
	{ 2, SMBIOS_BOARD_VERSION, "version" }, { 2, SMBIOS_BOARD_SERIAL, "serial" }, { 2, SMBIOS_BOARD_ASSET, "asset" },
	{ 2, SMBIOS_BOARD_LOCATION, "location" },
	{ 3, SMBIOS_CASE_MANUFACTURER, "manufacturer" }, { 3, SMBIOS_CASE_VERSION, "version" }, { 3, SMBIOS_CASE_SERIAL, "serial" },
	{ 3, SMBIOS_CASE_ASSET, "asset" }, { 3, SMBIOS_CASE_SKU, "sku" },
	{ 4, SMBIOS_CPU_SOCKET, "sock_pfx" }, { 4, SMBIOS_CPU_MANUFACTURER, "manufacturer" }, { 4, SMBIOS_CPU_VERSION, "version" },
	{ 4, SMBIOS_CPU_SERIAL, "serial" }, { 4, SMBIOS_CPU_ASSET, "asset" }, { 4, SMBIOS_CPU_PART, "part" },
	{ 17, SMBIOS_MEM_LOCATOR, "loc_pfx" }, { 17, SMBIOS_MEM_BANK, "bank" }, { 17, SMBIOS_MEM_MANUFACTURER, "manufacturer" },
	{ 17, SMBIOS_MEM_SERIAL, "serial" }, { 17, SMBIOS_MEM_ASSET, "asset" }, { 17, SMBIOS_MEM_PART, "part" },
};

/* The next "name=value" of *p into the two buffers, doubled commas undone; false: too long, or no name. */
static bool next_pair(const char **p, char *name, size_t name_size, char *value, size_t value_size)
{
	size_t n = strcspn(*p, "=,"), len = 0;
	const char *s = *p + n;

	if (!n || n >= name_size)
		return false;
	memcpy(name, *p, n);
	name[n] = 0;
	s += *s == '=';
	for (; *s && !(*s == ',' && s[1] != ','); s++) {
		s += *s == ',';
		if (len + 1 == value_size)
			return false;
		value[len++] = *s;
	}
	value[len] = 0;
	*p = *s ? s + 1 : s;
	return true;
}

int smbios_parse_uuid(uint8_t uuid[SMBIOS_UUID_LEN], const char *text, struct err *e)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	unsigned n = 0;
	const char *s = text;

	for (const char *f = form; *f; f++, s++)
		if (*f == '-' ? *s != '-' : !isxdigit((unsigned char)*s))
			break;
	if (s - text != sizeof(form) - 1 || *s)
		return err_set(e, EINVAL, "UUID '%s': write it like 550e8400-e29b-41d4-a716-446655440000", text);
	for (s = text; *s; s += 2) {
		char byte[3] = { 0 };

		s += *s == '-';
		memcpy(byte, s, 2);
		uuid[n++] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return 0;
}

/* The values of type 0 and 1 that are no strings; 1: it is none of them. */
static int set_special(struct smbios_config *c, unsigned type, const char *name, const char *value, struct err *e)
{
	unsigned n = 0, *release = (unsigned[2]){ 0 };

	if (type == 1 && !strcmp(name, "uuid"))
		return smbios_parse_uuid(c->uuid, value, e);
	if (type == 0 && !strcmp(name, "uefi")) {
		c->uefi = !*value || !strcmp(value, "on");
		return c->uefi || !strcmp(value, "off") ? 0 : err_set(e, EINVAL, "SMBIOS type 0: uefi=%s: give on or off", value);
	}
	if (type || strcmp(name, "release"))
		return 1;
	if (sscanf(value, "%3u.%3u%n", &release[0], &release[1], &n) != 2 || value[n] || release[0] > UINT8_MAX ||
	    release[1] > UINT8_MAX)
		return err_set(e, EINVAL, "SMBIOS type 0: release=%s: give two numbers up to 255, as 1.2", value);
	c->release[0] = (uint8_t)release[0];
	c->release[1] = (uint8_t)release[1];
	return 0;
}

static int set_value(struct smbios_config *c, unsigned type, const char *name, const char *value, struct err *e)
{
	struct strbuf known = STRBUF_INIT;
	int rc = set_special(c, type, name, value, e);

	if (rc <= 0)
		return rc;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i].type != type)
			continue;
		if (!strcmp(names[i].name, name)) {
			strbuf_release(&known);
			strcpy(c->string[names[i].which], value);
			return 0;
		}
		strbuf_addf(&known, "%s%s", known.len ? ", " : "", names[i].name);
	}
	rc = err_set(e, EINVAL, "SMBIOS type %u: it has no '%s'; there are %s%s", type, name, known.buf,
		     type == 0 ? ", release, uefi" : type == 1 ? ", uuid" : "");
	strbuf_release(&known);
	return rc;
}

static int parse_type(const char *value, unsigned *type, struct err *e)
{
	char *last;

	*type = (unsigned)strtoul(value, &last, 10);
	for (size_t i = 0; isdigit((unsigned char)*value) && !*last && i < ARRAY_SIZE(names); i++)
		if (names[i].type == *type)
			return 0;
	return err_set(e, EINVAL, "SMBIOS type '%s': what can be set are the types 0 to 4 and 17", value);
}

int smbios_parse(struct smbios_config *c, const char *text, struct err *e)
{
	char name[32], value[SMBIOS_STRING_MAX];
	const char *p = text;
	unsigned type;
	int rc;

	if (!next_pair(&p, name, sizeof(name), value, sizeof(value)) || strcmp(name, "type"))
		return err_set(e, EINVAL, "SMBIOS '%s': write it like type=1,product=NAME", text);
	rc = parse_type(value, &type, e);
	if (rc)
		return rc;
	c->bios |= type == 0;
	c->board |= type == 2;
	while (*p && !rc) {
		if (!next_pair(&p, name, sizeof(name), value, sizeof(value)))
			return err_set(e, EINVAL, "SMBIOS '%s': there is a value of more than %d bytes, or one without a name", text,
				       SMBIOS_STRING_MAX - 1);
		rc = set_value(c, type, name, value, e);
	}
	return rc;
}
