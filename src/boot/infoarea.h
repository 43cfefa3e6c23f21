/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bump allocation in the low page that holds boot information, its lists and strings. */
#ifndef DOPPEL_BOOT_INFOAREA_H
#define DOPPEL_BOOT_INFOAREA_H

#include <string.h>
#include "boot/load.h"

struct info_area {
	struct loader *l;
	uint64_t next;
};

static inline void info_area_init(struct info_area *a, struct loader *l)
{
	a->l = l;
	a->next = LOW_INFO;
}

/* Room for len bytes, 8-byte aligned; its address, or 0 when the area is full. */
static inline uint64_t info_alloc(struct info_area *a, uint64_t len)
{
	uint64_t at = a->next;

	if (len > LOW_INFO + LOW_INFO_SIZE - at)
		return 0;
	a->next = MIN((at + len + 7) & ~7ull, LOW_INFO + LOW_INFO_SIZE);
	return at;
}

/* A copy of a string; its address, or 0 when the area is full. */
static inline uint64_t info_string(struct info_area *a, const char *s)
{
	uint64_t len = strlen(s) + 1, at = info_alloc(a, len);

	if (at)
		load_bytes(a->l, at, s, len);
	return at;
}

/* A file's name without its path on the host, which is not the guest's business. */
static inline const char *file_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path ? path : "";
}

/* What a module's command line is. */
static inline const char *module_args(const struct boot_blob *b)
{
	return b->args ? b->args : file_name(b->name);
}

#endif
