/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the boot order and the clock's first time are written. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "vm/config.h"

#define BOOT_LETTERS "abcdn"
#define RETRY_MAX_MS 0xfffffffeu

static int parse_order(char order[PC_BOOT_DRIVES + 1], const char *text, struct err *e)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (!strchr(BOOT_LETTERS, text[i]) || strchr(text + i + 1, text[i]))
			return err_set(e, EINVAL, "boot order '%s': give each of the letters a (floppy), c (disk), d (CD), n (network) at "
				       "most once", text);
	if (!n || n > PC_BOOT_DRIVES)
		return err_set(e, EINVAL, "boot order '%s': give one to %d letters, as in cd", text, PC_BOOT_DRIVES);
	strcpy(order, text);
	return 0;
}

static int parse_switch(bool *on, const char *name, const char *value, struct err *e)
{
	*on = !strcmp(value, "on");
	return *on || !strcmp(value, "off") ? 0 : err_set(e, EINVAL, "boot: %s=%s: give on or off", name, value);
}

static int parse_ms(uint64_t *ms, const char *name, const char *value, uint64_t max, struct err *e)
{
	return parse_number(value, name, 0, max, ms, e);
}

static int set_boot(struct pc_boot *b, const char *name, const char *value, struct err *e)
{
	uint64_t ms = 0;
	int rc;

	if (!strcmp(name, "order"))
		return parse_order(b->order, value, e);
	if (!strcmp(name, "once"))
		return parse_order(b->once, value, e);
	if (!strcmp(name, "menu"))
		return parse_switch(&b->menu, name, value, e);
	if (!strcmp(name, "strict"))
		return parse_switch(&b->strict, name, value, e);
	if (!strcmp(name, "splash-time")) {
		rc = parse_ms(&ms, name, value, UINT16_MAX, e);
		b->splash_ms = (uint16_t)ms;
		return rc;
	}
	if (!strcmp(name, "reboot-timeout")) {
		rc = strcmp(value, "-1") ? parse_ms(&ms, name, value, RETRY_MAX_MS, e) : 0;
		b->retry_ms = strcmp(value, "-1") ? (uint32_t)ms + 1 : 0;
		return rc;
	}
	return err_set(e, EINVAL, "boot: there is no '%s'; give order, once, menu, splash-time, reboot-timeout or strict", name);
}

int parse_boot(const char *text, struct pc_boot *b, struct err *e)
{
	struct pc_boot result = *b;
	char part[64], *is;
	int rc = 0;

	for (const char *p = text, *end; !rc; p = end + 1) {
		end = strchrnul(p, ',');
		if ((size_t)(end - p) >= sizeof(part))
			return err_set(e, EINVAL, "boot '%s': too long", text);
		memcpy(part, p, (size_t)(end - p));
		part[end - p] = 0;
		is = strchr(part, '=');
		if (is)
			*is = 0;
		if (!is && p != text)
			rc = err_set(e, EINVAL, "boot '%s': write NAME=VALUE after the order", text);
		else
			rc = set_boot(&result, is ? part : "order", is ? is + 1 : part, e);
		if (!*end)
			break;
	}
	if (!rc)
		*b = result;
	return rc;
}

int parse_rtc_base(const char *text, int64_t *offset_s, struct err *e)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d" };
	const char *base = strncmp(text, "base=", 5) ? text : text + 5;
	time_t now = time(NULL);
	struct tm tm;

	*offset_s = 0;
	if (!strcmp(base, "utc"))
		return 0;
	if (!strcmp(base, "localtime")) {
		localtime_r(&now, &tm);
		*offset_s = tm.tm_gmtoff;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const char *end;

		memset(&tm, 0, sizeof(tm));
		end = strptime(base, forms[i], &tm);
		if (!end || *end)
			continue;
		*offset_s = timegm(&tm) - now;
		return 0;
	}
	return err_set(e, EINVAL, "clock '%s': give utc, localtime or a date as 2006-06-17T16:01:21", base);
}
