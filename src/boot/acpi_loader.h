/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI tables for firmware to place: the blobs, and the script by which it links them (QEMU's table loader). */
#ifndef DOPPEL_BOOT_ACPI_LOADER_H
#define DOPPEL_BOOT_ACPI_LOADER_H

#include "boot/acpi.h"

/* Names of the fw_cfg files. */
#define ACPI_LOADER_FILE "etc/table-loader"
#define ACPI_TABLES_FILE "etc/acpi/tables"
#define ACPI_RSDP_FILE   "etc/acpi/rsdp"

struct acpi_blobs {
	struct strbuf rsdp, tables, loader;
};

/* Build them; errors as acpi_build(). On an error all are empty. */
int acpi_blobs_build(const struct acpi_platform *c, struct acpi_blobs *out, struct err *e);
void acpi_blobs_release(struct acpi_blobs *b);

#endif
