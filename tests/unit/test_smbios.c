/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS: the structures are well formed, options are read right, and dmidecode finds in the tables what was put in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/endian.h"
#include "boot/smbios.h"

#define DUMP_TABLE 32 /* where dmidecode --from-dump has the table */

static struct smbios_platform platform(void)
{
	return (struct smbios_platform){ .cpus = 3, .cpu_signature = 0xa20f12, .cpu_features = 0x178bfbff, .ram_low = 3 * GiB,
					 .ram_high = 37 * GiB };
}

static uint8_t sum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *b++);
	return s;
}

/* Walk the structures as an operating system does: count them, and note the types. */
static unsigned walk(const struct strbuf *t, uint8_t *types)
{
	const char *p = t->buf, *end = p + t->len;
	unsigned n = 0;

	while (p < end) {
		types[n++] = (uint8_t)*p;
		p += (uint8_t)p[1];
		assert_true(p + 2 <= end);
		while (p[0] || p[1])
			assert_true(++p + 2 <= end);
		p += 2;
	}
	assert_ptr_equal(p, end);
	return n;
}

static void test_tables(void **state)
{
	static const uint8_t expected[] = { 0, 1, 3, 4, 16, 17, 17, 17, 19, 19, 32, 127 };
	struct smbios_platform p = platform();
	struct strbuf anchor = STRBUF_INIT, tables = STRBUF_INIT;
	uint8_t types[64];

	smbios_build(&p, 0xf0020, &anchor, &tables);
	assert_int_equal(anchor.len, SMBIOS_ANCHOR_SIZE);
	assert_int_equal(sum(anchor.buf, anchor.len), 0);
	assert_int_equal(sum(anchor.buf + 16, 15), 0);
	assert_int_equal(get_le32(anchor.buf + 24), 0xf0020);
	assert_int_equal(get_le16(anchor.buf + 22), tables.len);
	assert_int_equal(get_le16(anchor.buf + 28), walk(&tables, types));
	assert_int_equal(walk(&tables, types), sizeof(expected));
	assert_memory_equal(types, expected, sizeof(expected));
	strbuf_release(&anchor);
	strbuf_release(&tables);
	/* Firmware has a type 0 of its own. */
	p.firmware = true;
	smbios_build(&p, 0, &anchor, &tables);
	assert_int_equal(walk(&tables, types), sizeof(expected) - 1);
	assert_int_equal(types[0], 1);
	strbuf_release(&anchor);
	strbuf_release(&tables);
}

/* What dmidecode says of the tables. */
static void dmidecode(const struct smbios_platform *p, char *out, size_t size)
{
	struct strbuf anchor = STRBUF_INIT, tables = STRBUF_INIT;
	static const char zeroes[DUMP_TABLE];
	char path[] = "/tmp/doppel-dmi-XXXXXX", command[100];
	FILE *f = fdopen(mkstemp(path), "w");
	size_t n;

	smbios_build(p, DUMP_TABLE, &anchor, &tables);
	fwrite(anchor.buf, 1, anchor.len, f);
	fwrite(zeroes, 1, DUMP_TABLE - anchor.len, f);
	fwrite(tables.buf, 1, tables.len, f);
	fclose(f);
	strbuf_release(&anchor);
	strbuf_release(&tables);
	snprintf(command, sizeof(command), "PATH=$PATH:/usr/sbin:/sbin dmidecode --from-dump %s", path);
	f = popen(command, "r");
	n = fread(out, 1, size - 1, f);
	out[n] = 0;
	assert_int_equal(pclose(f), 0);
	unlink(path);
}

static void test_dmidecode(void **state)
{
	static const char *const options[] = {
		"type=0,vendor=Firm,,ware Inc,release=1.2,uefi=on", "type=1,product=Widget,serial=S-17",
		"type=1,uuid=550e8400-e29b-41d4-a716-446655440000,sku=x", "type=2,product=Board", "type=3,asset=A1",
		"type=4,version=Model 9", "type=17,manufacturer=Chips",
	};
	static const char *const expected[] = {
		"Vendor: Firm,ware Inc", "BIOS Revision: 1.2", "UEFI is supported", "Product Name: Widget", "Serial Number: S-17",
		"UUID: 550e8400-e29b-41d4-a716-446655440000", "SKU Number: x", "Product Name: Board", "Asset Tag: A1",
		"Version: Model 9", "Core Count: 3", "Manufacturer: Chips", "Size: 16 GB", "Size: 8 GB", "Maximum Capacity: 40 GB",
		"Ending Address: 0x000BFFFFFFF", "Starting Address: 0x00100000000", "ID: 12 0F A2 00 FF FB 8B 17",
		"Status: No errors detected", "SMBIOS 2.8 present",
	};
	struct smbios_platform p = platform();
	static char out[32 * 1024];
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		assert_int_equal(smbios_parse(&p.config, options[i], &e), 0);
	dmidecode(&p, out, sizeof(out));
	assert_null(strstr(out, "Wrong DMI"));
	assert_null(strstr(out, "Invalid"));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		if (!strstr(out, expected[i]))
			fail_msg("dmidecode does not say '%s', but:\n%s", expected[i], out);
}

static void test_refused(void **state)
{
	static const char *const bad[][2] = {
		{ "", "type=" }, { "product=x", "type=" }, { "type=", "types" }, { "type=9", "17" }, { "type=1x", "1x" },
		{ "type=1,product", NULL }, { "type=1,=x", "without a name" }, { "type=1,colour=red", "uuid" },
		{ "type=1,uuid=550e8400", "UUID" }, { "type=1,uuid=550e8400-e29b-41d4-a716-44665544000g", "UUID" },
		{ "type=0,release=1", "release" }, { "type=0,release=256.1", "release" }, { "type=0,uefi=maybe", "uefi" },
		{ "type=1,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=x", "without a name" },
	};
	char text[SMBIOS_STRING_MAX + 32] = "type=1,product=";
	struct smbios_config c = { 0 };
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(smbios_parse(&c, bad[i][0], &e), bad[i][1] ? -EINVAL : 0);
		if (bad[i][1])
			assert_non_null(strstr(e.msg, bad[i][1]));
	}
	memset(text + strlen(text), 'x', SMBIOS_STRING_MAX);
	assert_int_equal(smbios_parse(&c, text, &e), -EINVAL);
	text[strlen("type=1,product=") + SMBIOS_STRING_MAX - 1] = 0;
	assert_int_equal(smbios_parse(&c, text, &e), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_dmidecode),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
