/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table loader's script: allocate two blobs, turn the offsets in them into addresses, make checksums good.
 * Commands are 128 bytes, little-endian, as QEMU's hw/acpi/bios-linker-loader describes them.
 */
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "boot/acpi_loader.h"

enum { CMD_ALLOCATE = 1, CMD_ADD_POINTER = 2, CMD_ADD_CHECKSUM = 3, CMD_SIZE = 128, NAME_SIZE = 56 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };

/* Where the parameters stand. */
enum { CMD_FILE = 4 };
enum { ALLOC_ALIGN = CMD_FILE + NAME_SIZE, ALLOC_ZONE = ALLOC_ALIGN + 4 };
enum { PTR_SOURCE = CMD_FILE + NAME_SIZE, PTR_OFFSET = PTR_SOURCE + NAME_SIZE, PTR_SIZE = PTR_OFFSET + 4 };
enum { SUM_OFFSET = CMD_FILE + NAME_SIZE, SUM_START = SUM_OFFSET + 4, SUM_LENGTH = SUM_START + 4 };

/* Of the tables (boot/acpi.c) */
enum {
	TABLES_AT = 64, TABLES_ALIGN = 64, RSDP_ALIGN = 16, HEADER_SIZE = 36, HEADER_LENGTH = 4, HEADER_CHECKSUM = 9,
	RSDP_SIZE = 36, RSDP_V1_SIZE = 20, RSDP_CHECKSUM = 8, RSDP_RSDT = 16, RSDP_XSDT = 24, RSDP_EXT_CHECKSUM = 32,
	FADT_FACS = 36, FADT_DSDT = 40, FADT_X_DSDT = 140,
};

static uint8_t *command(uint8_t *cmd, uint32_t what, const char *file)
{
	memset(cmd, 0, CMD_SIZE);
	put_le32(cmd, what);
	strcpy((char *)cmd + CMD_FILE, file);
	return cmd;
}

static void allocate(struct strbuf *s, const char *file, uint32_t align, uint8_t zone)
{
	uint8_t buf[CMD_SIZE], *cmd = command(buf, CMD_ALLOCATE, file);

	put_le32(cmd + ALLOC_ALIGN, align);
	cmd[ALLOC_ZONE] = zone;
	strbuf_add(s, cmd, CMD_SIZE);
}

/* The field of `size` bytes at `at` in file holds an offset into the tables: make it an address. */
static void point(struct strbuf *s, const char *file, size_t at, uint8_t size)
{
	uint8_t buf[CMD_SIZE], *cmd = command(buf, CMD_ADD_POINTER, file);

	strcpy((char *)cmd + PTR_SOURCE, ACPI_TABLES_FILE);
	put_le32(cmd + PTR_OFFSET, (uint32_t)at);
	cmd[PTR_SIZE] = size;
	strbuf_add(s, cmd, CMD_SIZE);
}

/* Zero the checksum at `at`, and have it made for [start, start + len). */
static void sum(struct strbuf *s, const char *file, struct strbuf *blob, size_t at, size_t start, size_t len)
{
	uint8_t buf[CMD_SIZE], *cmd = command(buf, CMD_ADD_CHECKSUM, file);

	blob->buf[at] = 0;
	put_le32(cmd + SUM_OFFSET, (uint32_t)at);
	put_le32(cmd + SUM_START, (uint32_t)start);
	put_le32(cmd + SUM_LENGTH, (uint32_t)len);
	strbuf_add(s, cmd, CMD_SIZE);
}

/* The script for a root table (RSDT, XSDT) with entries of `size` bytes. */
static void link_root(struct acpi_blobs *b, size_t at, uint8_t size)
{
	size_t len = get_le32(b->tables.buf + at + HEADER_LENGTH);

	for (size_t entry = at + HEADER_SIZE; entry < at + len; entry += size)
		point(&b->loader, ACPI_TABLES_FILE, entry, size);
	sum(&b->loader, ACPI_TABLES_FILE, &b->tables, at + HEADER_CHECKSUM, at, len);
}

static void link_table(struct acpi_blobs *b, size_t at)
{
	struct strbuf *s = &b->loader;
	size_t len = get_le32(b->tables.buf + at + HEADER_LENGTH), dsdt;

	if (!memcmp(b->tables.buf + at, "FACP", 4)) {
		dsdt = get_le32(b->tables.buf + at + FADT_DSDT);
		sum(s, ACPI_TABLES_FILE, &b->tables, dsdt + HEADER_CHECKSUM, dsdt,
		    get_le32(b->tables.buf + dsdt + HEADER_LENGTH));
		point(s, ACPI_TABLES_FILE, at + FADT_FACS, 4);
		point(s, ACPI_TABLES_FILE, at + FADT_DSDT, 4);
		point(s, ACPI_TABLES_FILE, at + FADT_X_DSDT, 8);
	}
	sum(s, ACPI_TABLES_FILE, &b->tables, at + HEADER_CHECKSUM, at, len);
}

static void link_all(struct acpi_blobs *b)
{
	struct strbuf *s = &b->loader;
	size_t xsdt = get_le64(b->rsdp.buf + RSDP_XSDT), rsdt = get_le32(b->rsdp.buf + RSDP_RSDT);
	size_t end = xsdt + get_le32(b->tables.buf + xsdt + HEADER_LENGTH);

	allocate(s, ACPI_RSDP_FILE, RSDP_ALIGN, ZONE_FSEG);
	allocate(s, ACPI_TABLES_FILE, TABLES_ALIGN, ZONE_HIGH);
	for (size_t entry = xsdt + HEADER_SIZE; entry < end; entry += 8)
		link_table(b, get_le64(b->tables.buf + entry));
	link_root(b, rsdt, 4);
	link_root(b, xsdt, 8);
	point(s, ACPI_RSDP_FILE, RSDP_RSDT, 4);
	point(s, ACPI_RSDP_FILE, RSDP_XSDT, 8);
	sum(s, ACPI_RSDP_FILE, &b->rsdp, RSDP_CHECKSUM, 0, RSDP_V1_SIZE);
	sum(s, ACPI_RSDP_FILE, &b->rsdp, RSDP_EXT_CHECKSUM, 0, RSDP_SIZE);
}

int acpi_blobs_build(const struct acpi_platform *c, struct acpi_blobs *out, struct err *e)
{
	struct strbuf all = STRBUF_INIT;
	int rc;

	memset(out, 0, sizeof(*out));
	/* With the tables at "address" 0, what points at them holds their offsets. */
	rc = acpi_build(c, -(uint64_t)TABLES_AT, UINT32_MAX, &all, e);
	if (!rc) {
		strbuf_add(&out->rsdp, all.buf, RSDP_SIZE);
		strbuf_add(&out->tables, all.buf + TABLES_AT, all.len - TABLES_AT);
		link_all(out);
	}
	strbuf_release(&all);
	return rc;
}

void acpi_blobs_release(struct acpi_blobs *b)
{
	strbuf_release(&b->rsdp);
	strbuf_release(&b->tables);
	strbuf_release(&b->loader);
}
