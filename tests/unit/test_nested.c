/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The nested map: what it says of RAM, ROM, chips and holes, and that a flush forgets it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/bits.h"
#include "mmu/nested.h"

#define RAM_SIZE (4 * MiB)

static struct ram *ram;
static struct space *mem;
static struct region *rom;
static struct nested *n;

static uint64_t chip_read(void *opaque, uint64_t off, unsigned size)
{
	return 0;
}

static void chip_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
}

static const struct io_ops chip = { .read = chip_read, .write = chip_write };

static int setup(void **state)
{
	n = malloc(sizeof(*n));
	if (!n || ram_new(&ram, RAM_SIZE, NULL))
		return -1;
	mem = space_new("memory", 52);
	if (space_add_ram(mem, NULL, "ram", 0, RAM_SIZE, ram, false) ||
	    space_add_ram(mem, &rom, "rom", 0xf0000, 0x10000, ram, true))
		return -1;
	nested_init(n, mem, ram);
	return 0;
}

static int teardown(void **state)
{
	space_free(mem);
	ram_free(ram);
	free(n);
	return 0;
}

static void test_kinds(void **state)
{
	const struct nested_page *p = nested_find(n, 0x5abc);

	assert_true(p->gpa == 0x5000 && p->host == ram->base + 0x5000 && !p->readonly);
	assert_true(nested_writable(p));
	p = nested_find(n, 0xf1000);
	assert_true(p->host == ram->base + 0xf1000 && p->readonly && !nested_writable(p));
	p = nested_find(n, RAM_SIZE);
	assert_true(!p->host && !nested_writable(p));
	p = nested_find(n, UINT64_MAX);
	assert_true(!p->host && !nested_writable(p));
	assert_int_equal(n->stats.misses, 4);
	nested_find(n, 0x5000);
	assert_int_equal(n->stats.hits, 1);
}

/* Pages whose numbers are a multiple of the table apart take each other's place, not each other's answer. */
static void test_conflict(void **state)
{
	uint64_t far = NESTED_ENTRIES * PAGE_SIZE;

	assert_non_null(nested_find(n, 0x5000)->host);
	assert_null(nested_find(n, 0x5000 + far)->host);
	assert_non_null(nested_find(n, 0x5000)->host);
	assert_int_equal(n->stats.misses, 3);
}

/* The page's flags are as they are now, not as when it was looked up. */
static void test_flags(void **state)
{
	const struct nested_page *p = nested_find(n, 0x7000);

	assert_true(nested_writable(p));
	ram_mark_code(ram, 0x7000, PAGE_SIZE);
	assert_false(nested_writable(p));
	ram_note_write(ram, 0x7010, 1); /* what a store does: the code is stale, the page is data again */
	assert_true(nested_writable(nested_find(n, 0x7000)));
}

static void test_flush(void **state)
{
	struct region *r;

	assert_non_null(nested_find(n, 0x9000)->host);
	assert_int_equal(space_add_io(mem, &r, "chip", 0x9000, 0x100, &chip, NULL, NULL), 0);
	nested_flush(n);
	assert_null(nested_find(n, 0x9000)->host);
	assert_non_null(nested_find(n, 0xa000)->host);
	assert_int_equal(n->stats.flushes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_conflict, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flush, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
