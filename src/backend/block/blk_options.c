/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk's options as text: FILE[,name=value...], a comma that belongs to a value doubled. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/block/blk.h"
#include "base/bits.h"

struct option {
	const char *name, *alias;
	const char *what; /* what it takes, for the message when it gets something else */
	int (*set)(struct blk_options *o, const char *value);
};

static int set_flag(bool *flag, const char *value, bool meaning)
{
	if (!*value || !strcmp(value, "on") || !strcmp(value, "yes"))
		*flag = meaning;
	else if (!strcmp(value, "off") || !strcmp(value, "no"))
		*flag = !meaning;
	else
		return -EINVAL;
	return 0;
}

static int set_readonly(struct blk_options *o, const char *value)
{
	return set_flag(&o->readonly, value, true);
}

static int set_ephemeral(struct blk_options *o, const char *value)
{
	return set_flag(&o->ephemeral, value, true);
}

/* "on" and "off", or as qemu has them "unmap" and "ignore". */
static int set_discard(struct blk_options *o, const char *value)
{
	if (!strcmp(value, "unmap"))
		value = "on";
	else if (!strcmp(value, "ignore"))
		value = "off";
	return set_flag(&o->discard, value, true);
}

static int set_cache(struct blk_options *o, const char *value)
{
	static const struct {
		const char *name;
		enum blk_cache cache;
	} modes[] = {
		{ "writeback", BLK_CACHE_WRITEBACK },
		{ "none", BLK_CACHE_NONE },
		{ "writethrough", BLK_CACHE_WRITETHROUGH },
		{ "unsafe", BLK_CACHE_UNSAFE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (!strcmp(modes[i].name, value)) {
			o->cache = modes[i].cache;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_format(struct blk_options *o, const char *value)
{
	o->format = strdup(value);
	return o->format ? 0 : -ENOMEM;
}

static int set_secret(struct blk_options *o, const char *value)
{
	o->secret_file = strdup(value);
	return o->secret_file ? 0 : -ENOMEM;
}

static int set_block_size(struct blk_options *o, const char *value)
{
	o->block_size = !strcmp(value, "512") ? 512 : !strcmp(value, "4096") || !strcmp(value, "4K") ? 4096 : 0;
	return o->block_size ? 0 : -EINVAL;
}

int blk_parse_size(const char *text, uint64_t *size)
{
	static const char units[] = "KMGTPE";
	unsigned shift = 0;
	const char *unit;
	double v;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	*size = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	v = (double)*size;
	if (*end == '.')
		v = strtod(text, &end);
	if (*end && (unit = strchr(units, *end & ~0x20))) {
		shift = (unsigned)(unit - units + 1) * 10;
		end++;
		if (end[0] == 'i' && end[1] == 'B')
			end += 2;
	} else if (*end == 'b' || *end == 'B') {
		end++;
	}
	if (*end)
		return -EINVAL;
	if (v * (double)(1ull << shift) >= 9.2e18)
		return -ERANGE;
	*size = strchr(text, '.') ? (uint64_t)(v * (double)(1ull << shift)) : *size << shift;
	return 0;
}

/* RATE or RATE:BURST. */
static int set_limit(struct blk_limit *l, const char *value)
{
	char rate[32];
	const char *colon = strchr(value, ':');
	const size_t n = colon ? (size_t)(colon - value) : strlen(value);

	if (n >= sizeof(rate))
		return -EINVAL;
	memcpy(rate, value, n);
	rate[n] = '\0';
	l->burst = 0;
	if (blk_parse_size(rate, &l->rate))
		return -EINVAL;
	return colon ? blk_parse_size(colon + 1, &l->burst) : 0;
}

static int set_bps(struct blk_options *o, const char *value)
{
	return set_limit(&o->bps, value);
}

static int set_iops(struct blk_options *o, const char *value)
{
	return set_limit(&o->iops, value);
}

static const struct option options[] = {
	{ "format", "driver", "raw, qcow2 or nbd", set_format },
	{ "readonly", "read-only", "on or off", set_readonly },
	{ "ephemeral", "snapshot", "on or off", set_ephemeral },
	{ "cache", NULL, "writeback, none, writethrough or unsafe", set_cache },
	{ "discard", NULL, "on or off", set_discard },
	{ "bps", "throttling.bps-total", "bytes a second, as in 20M, or with a burst as in 20M:100M", set_bps },
	{ "iops", "throttling.iops-total", "requests a second, as in 500, or with a burst as in 500:2000", set_iops },
	{ "block-size", "logical_block_size", "512 or 4096", set_block_size },
	{ "secret", NULL, "a file with the passphrase", set_secret },
};

bool blk_options_has(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if ((strlen(options[i].name) == len && !memcmp(options[i].name, name, len)) ||
		    (options[i].alias && strlen(options[i].alias) == len && !memcmp(options[i].alias, name, len)))
			return true;
	return false;
}

int blk_options_set(struct blk_options *o, const char *name, const char *value, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		int rc;

		if (strcmp(options[i].name, name) && (!options[i].alias || strcmp(options[i].alias, name)))
			continue;
		rc = options[i].set(o, value);
		return rc ? err_set(e, -rc, "%s=%s: %s takes %s", name, value, name, options[i].what) : 0;
	}
	return err_set(e, EINVAL, "'%s': a disk has no such option; it has format, readonly, ephemeral, cache, discard, bps, iops, "
		       "block-size and secret", name);
}

/* The word up to the next single comma, with doubled ones made single; *p moves behind it. */
static char *next_word(const char **p)
{
	char *word = malloc(strlen(*p) + 1), *to = word;
	const char *s = *p;

	if (!word)
		return NULL;
	while (*s) {
		if (*s == ',' && *++s != ',')
			break;
		*to++ = *s++;
	}
	*to = '\0';
	*p = s;
	return word;
}

int blk_options_parse(struct blk_options *o, const char *text, struct err *e)
{
	bool first = true;
	int rc = 0;

	blk_options_init(o);
	while (*text && !rc) {
		char *word = next_word(&text), *value;

		if (!word)
			return err_set(e, ENOMEM, "disk: no memory");
		value = strchr(word, '=');
		if (first && strncmp(word, "file=", 5) && (!value || !blk_options_has(word, (size_t)(value - word)))) {
			o->file = word;
			first = false;
			continue;
		}
		first = false;
		if (value)
			*value++ = '\0';
		if (value && !strcmp(word, "file") && !o->file)
			o->file = strdup(value);
		else
			rc = blk_options_set(o, word, value ? value : "", e);
		free(word);
	}
	if (!rc && (!o->file || !*o->file))
		rc = err_set(e, EINVAL, "no file is named; FILE[,format=F][,readonly][,cache=C]...");
	if (rc)
		blk_options_release(o);
	return rc;
}

void blk_options_release(struct blk_options *o)
{
	free((char *)(uintptr_t)o->file);
	free((char *)(uintptr_t)o->format);
	free((char *)(uintptr_t)o->secret_file);
	o->file = o->format = o->secret_file = NULL;
}
