/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory for the large tables of the translator, which begin empty and fill from their beginning, or everywhere. */
#include <sys/mman.h>

#include "base/bits.h"
#include "cpu/bt/cache.h"

/*
 * What the host makes large pages of. A boot touches 25 MB of these tables, in small pages a page fault each, which were a tenth
 * of the time that translation takes; and a look-up in one of them is a miss of the host's TLB besides.
 */
#define LARGE_PAGE (2ul << 20)

static size_t whole_pages(size_t size)
{
	return ALIGN_UP(size, LARGE_PAGE);
}

void *bt_table_new(size_t size)
{
	size_t len = whole_pages(size), skip;
	uint8_t *p = mmap(NULL, len + LARGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	skip = (size_t)(-(uintptr_t)p & (LARGE_PAGE - 1));
	if (skip)
		munmap(p, skip);
	munmap(p + skip + len, LARGE_PAGE - skip);
	madvise(p + skip, len, MADV_HUGEPAGE); /* (or not: then it has small ones) */
	return p + skip;
}

void bt_table_free(void *p, size_t size)
{
	if (p)
		munmap(p, whole_pages(size));
}
