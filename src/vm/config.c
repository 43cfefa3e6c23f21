/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the values of a virtual machine's configuration are written. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "base/bits.h"
#include "vm/config.h"

#define SIZE_EXAMPLE "write it like 512M or 4G"
#define MAX_FRACTION 12 /* decimal places; more say nothing about bytes in a TiB */

/* Digits at *p into *val; false when there are none or too many for 64 bits. */
static bool parse_digits(const char **p, uint64_t *val)
{
	const char *start = *p;

	for (*val = 0; isdigit((unsigned char)**p); (*p)++)
		if (__builtin_mul_overflow(*val, 10, val) || __builtin_add_overflow(*val, (uint64_t)(**p - '0'), val))
			return false;
	return *p != start;
}

static bool parse_unit(const char *p, uint64_t *unit)
{
	static const char letters[] = "KMGT";
	const char *at = *p ? strchr(letters, toupper((unsigned char)*p)) : NULL;

	*unit = 1;
	if (at) {
		*unit = 1ull << (10 * (at - letters + 1));
		p++;
	}
	return !*p || !strcasecmp(p, "B") || (at && !strcasecmp(p, "iB"));
}

/* unit * 0.digits, where it is a whole number. */
static bool add_fraction(const char *digits, size_t n, uint64_t unit, uint64_t *bytes)
{
	unsigned __int128 num = 0, den = 1;

	for (size_t i = 0; i < n; i++) {
		num = num * 10 + (unsigned)(digits[i] - '0');
		den *= 10;
	}
	num *= unit;
	if (unit == 1 && num)
		return false;
	/* 0.1G is no whole number of bytes; nobody minds. */
	return !__builtin_add_overflow(*bytes, (uint64_t)(num / den), bytes);
}

int parse_size(const char *text, uint64_t *bytes, struct err *e)
{
	const char *p = text, *fraction = NULL;
	uint64_t whole, unit;
	size_t n = 0;

	if (!parse_digits(&p, &whole)) {
		if (p != text)
			return err_set(e, ERANGE, "size '%s': too large", text);
		return err_set(e, EINVAL, "size '%s': not a size; " SIZE_EXAMPLE, text);
	}
	if (*p == '.') {
		fraction = ++p;
		n = strspn(p, "0123456789");
		p += n;
	}
	if ((fraction && (!n || n > MAX_FRACTION)) || !parse_unit(p, &unit))
		return err_set(e, EINVAL, "size '%s': not a size; " SIZE_EXAMPLE, text);
	if (__builtin_mul_overflow(whole, unit, bytes))
		return err_set(e, ERANGE, "size '%s': too large", text);
	if (fraction && !add_fraction(fraction, n, unit, bytes))
		return err_set(e, EINVAL, "size '%s': a fraction of a byte; " SIZE_EXAMPLE, text);
	return 0;
}

int parse_number(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *val, struct err *e)
{
	const char *p = text;

	if ((!parse_digits(&p, val) && p == text) || (*p && !isdigit((unsigned char)*p)))
		return err_set(e, EINVAL, "%s '%s': not a number; use %llu to %llu", what, text,
			       (unsigned long long)min, (unsigned long long)max);
	if (*p || *val < min || *val > max)
		return err_set(e, ERANGE, "%s '%s': out of range; use %llu to %llu", what, text,
			       (unsigned long long)min, (unsigned long long)max);
	return 0;
}

struct device_config *vm_config_add_device(struct vm_config *c, const char *driver, struct err *e)
{
	struct device_config *d = &c->device[c->n_devices];

	if (c->n_devices == VM_MAX_DEVICES) {
		err_set(e, E2BIG, "device '%s': more than %d devices; leave some out", driver, VM_MAX_DEVICES);
		return NULL;
	}
	c->n_devices++;
	*d = (struct device_config){ .driver = driver };
	return d;
}

int parse_memory(const char *text, uint64_t *bytes, struct err *e)
{
	int rc = parse_size(text, bytes, e);

	if (rc)
		return err_prefix(e, rc, "memory");
	if (*bytes < VM_MIN_MEMORY && isdigit((unsigned char)text[strlen(text) - 1]))
		return err_set(e, ERANGE, "memory size '%s': that is bytes, and less than 1M; did you mean %sM?", text,
			       text);
	if (*bytes < VM_MIN_MEMORY || *bytes > RAM_MAX_SIZE)
		return err_set(e, ERANGE, "memory size '%s': out of range; use 1M to %lluG", text,
			       (unsigned long long)(RAM_MAX_SIZE / GiB));
	*bytes = ALIGN_UP(*bytes, PAGE_SIZE);
	return 0;
}
