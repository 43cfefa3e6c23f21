/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of boot/: memory map, cpio archives, decompression. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/bits.h"
#include "boot/cpio.h"
#include "boot/decompress.h"
#include "boot/e820.h"
#include "kernels.h"

static void check_entry(const struct e820_map *m, unsigned i, uint64_t base, uint64_t end, uint32_t type)
{
	assert_true(i < m->n);
	assert_int_equal(m->e[i].base, base);
	assert_int_equal(m->e[i].base + m->e[i].size, end);
	assert_int_equal(m->e[i].type, type);
}

static void memory_map(void **state)
{
	static const struct e820_entry extra[] = {
		{ 0xfee00000, 0x1000, E820_RESERVED },
		{ 0xfec00000, 0x1000, E820_RESERVED },
		{ 0x200000, 0x1000, E820_ACPI },       /* in RAM: left out */
		{ 0xfec00800, 0x1000, E820_RESERVED }, /* overlaps */
		{ 0xd0000000, 0, E820_RESERVED },      /* empty */
		{ UINT64_MAX - 10, 100, E820_RESERVED }, /* wraps */
	};
	struct ram *ram;
	struct e820_map m;
	struct err e;

	assert_int_equal(ram_new(&ram, 4 * GiB, &e), 0);
	assert_int_equal(e820_build(&m, ram, extra, ARRAY_SIZE(extra)), 4);
	assert_int_equal(m.n, 7);
	check_entry(&m, 0, 0, 0x9fc00, E820_RAM);
	check_entry(&m, 1, 0x9fc00, 0xa0000, E820_RESERVED);
	check_entry(&m, 2, 0xe0000, 0x100000, E820_RESERVED);
	check_entry(&m, 3, 0x100000, 3 * GiB, E820_RAM);
	check_entry(&m, 4, 0xfec00000, 0xfec01000, E820_RESERVED);
	check_entry(&m, 5, 0xfee00000, 0xfee01000, E820_RESERVED);
	check_entry(&m, 6, 4 * GiB, 5 * GiB, E820_RAM);
	ram_free(ram);

	assert_int_equal(ram_new(&ram, 1 * MiB, &e), 0);
	assert_int_equal(e820_build(&m, ram, NULL, 0), 0);
	assert_int_equal(m.n, 3);
	ram_free(ram);
}

static void memory_map_overflow(void **state)
{
	struct e820_entry many[40];
	struct ram *ram;
	struct e820_map m;
	struct err e;

	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct e820_entry){ 0xd0000000 + i * 0x2000, 0x1000, E820_RESERVED };
	assert_int_equal(ram_new(&ram, 64 * MiB, &e), 0);
	assert_int_equal(e820_build(&m, ram, many, ARRAY_SIZE(many)), ARRAY_SIZE(many) - (E820_MAX - 4));
	assert_int_equal(m.n, E820_MAX);
	ram_free(ram);
}

static unsigned long field(const char *entry, unsigned n)
{
	char hex[9] = "";

	memcpy(hex, entry + 6 + 8 * n, 8);
	return strtoul(hex, NULL, 16);
}

static void cpio_archive(void **state)
{
	static const struct {
		const char *name, *data;
		unsigned long mode, rdev;
	} want[] = {
		{ "bin", "", 0040755, 0 },
		{ "bin/x", "hello", 0100755, 0 },
		{ "bin/sh", "x", 0120777, 0 },
		{ "dev_console", "", 0020600, 0x501 },
		{ "TRAILER!!!", "", 0, 0 },
	};
	struct strbuf out = STRBUF_INIT;
	size_t at = 0;

	cpio_dir(&out, "bin", 0755);
	cpio_file(&out, "bin/x", 0755, "hello", 5);
	cpio_symlink(&out, "bin/sh", "x");
	cpio_chardev(&out, "dev_console", 0600, 5, 1);
	cpio_end(&out);
	assert_int_equal(out.len % 512, 0);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const char *p = out.buf + at;
		size_t name_size, size;

		assert_true(at + 110 <= out.len);
		assert_memory_equal(p, "070701", 6);
		assert_int_equal(field(p, 1), want[i].mode);
		assert_int_equal(field(p, 2) | field(p, 3), 0);
		size = field(p, 6);
		assert_int_equal(size, strlen(want[i].data));
		assert_int_equal(field(p, 9) << 8 | field(p, 10), want[i].rdev);
		name_size = field(p, 11);
		assert_int_equal(name_size, strlen(want[i].name) + 1);
		assert_string_equal(p + 110, want[i].name);
		at = ALIGN_UP(at + 110 + name_size, 4);
		assert_memory_equal(out.buf + at, want[i].data, size);
		at = ALIGN_UP(at + size, 4);
	}
	strbuf_release(&out);
}

static void decompression(void **state)
{
	static const char *const names[] = { "gzip", "xz", "zstd", "lz4", "lzma" };
	const size_t len = 300000;
	char *data = malloc(len);

	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * i >> 7);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct strbuf c = STRBUF_INIT;
		struct decompressed d;
		struct err e;

		kernel_compress(names[i], data, len, &c);
		assert_string_equal(decompress_name(c.buf, c.len), names[i]);
		if (decompress(c.buf, c.len, len, &d, &e) && decompress(c.buf, c.len, len + 1, &d, &e))
			fail_msg("%s: %s", names[i], e.msg);
		assert_int_equal(d.len, len);
		assert_memory_equal(d.data, data, len);
		decompress_release(&d);
		decompress_release(&d);
		/* Too large for its place, and cut short */
		assert_true(decompress(c.buf, c.len, len / 2, &d, &e) < 0);
		assert_null(d.data);
		assert_int_equal(decompress(c.buf, c.len / 2, len + 1, &d, &e), -EINVAL);
		assert_true(decompress(c.buf, c.len, 0, &d, &e) < 0);
		strbuf_release(&c);
	}
	assert_null(decompress_name("\177ELF", 4));
	assert_null(decompress_name("\x1f", 1));
	assert_null(decompress_name("", 0));
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_map),
		cmocka_unit_test(memory_map_overflow),
		cmocka_unit_test(cpio_archive),
		cmocka_unit_test(decompression),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
