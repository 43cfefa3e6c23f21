/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS tables (DMTF DSP0134 2.8): what the machine calls itself, and what it is made of. */
#ifndef DOPPEL_BOOT_SMBIOS_H
#define DOPPEL_BOOT_SMBIOS_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/strbuf.h"

/* Where the anchor and, after it, the tables stand without firmware: an operating system looks for the anchor there. */
#define SMBIOS_BASE 0xf0000ull
#define SMBIOS_SIZE 0x10000ull

#define SMBIOS_ANCHOR_SIZE 31
#define SMBIOS_STRING_MAX  128 /* with its NUL */
#define SMBIOS_UUID_LEN    16

/* The strings that can be set, by structure type. */
enum smbios_string {
	SMBIOS_BIOS_VENDOR, SMBIOS_BIOS_VERSION, SMBIOS_BIOS_DATE,
	SMBIOS_SYS_MANUFACTURER, SMBIOS_SYS_PRODUCT, SMBIOS_SYS_VERSION, SMBIOS_SYS_SERIAL, SMBIOS_SYS_SKU, SMBIOS_SYS_FAMILY,
	SMBIOS_BOARD_MANUFACTURER, SMBIOS_BOARD_PRODUCT, SMBIOS_BOARD_VERSION, SMBIOS_BOARD_SERIAL, SMBIOS_BOARD_ASSET,
	SMBIOS_BOARD_LOCATION,
	SMBIOS_CASE_MANUFACTURER, SMBIOS_CASE_VERSION, SMBIOS_CASE_SERIAL, SMBIOS_CASE_ASSET, SMBIOS_CASE_SKU,
	SMBIOS_CPU_SOCKET, SMBIOS_CPU_MANUFACTURER, SMBIOS_CPU_VERSION, SMBIOS_CPU_SERIAL, SMBIOS_CPU_ASSET, SMBIOS_CPU_PART,
	SMBIOS_MEM_LOCATOR, SMBIOS_MEM_BANK, SMBIOS_MEM_MANUFACTURER, SMBIOS_MEM_SERIAL, SMBIOS_MEM_ASSET, SMBIOS_MEM_PART,
	SMBIOS_STRINGS,
};

/* What the user has said; all zero: nothing. No pointers: copy it freely. */
struct smbios_config {
	char string[SMBIOS_STRINGS][SMBIOS_STRING_MAX]; /* empty: the default */
	uint8_t uuid[SMBIOS_UUID_LEN]; /* in the order it is written; all zero: none */
	bool bios;                     /* type 0 was asked for, so firmware's own does not count */
	bool board;                    /* so was type 2, which there is not otherwise */
	bool uefi;
	uint8_t release[2];            /* of the BIOS: major, minor */
};

/* What the machine has. */
struct smbios_platform {
	struct smbios_config config;
	unsigned cpus;
	uint32_t cpu_signature, cpu_features; /* CPUID leaf 1: EAX, EDX */
	uint64_t ram_low, ram_high;           /* bytes from 0, and from 4 GiB on */
	bool firmware;                        /* it adds its own type 0 if there is none */
};

/*
 * One option as QEMU's -smbios has it: "type=N,name=value,...", a comma in a value doubled. -EINVAL with a message for a type
 * or a name that there is not, or a value that does not fit.
 */
int smbios_parse(struct smbios_config *c, const char *text, struct err *e);

/* "550e8400-e29b-41d4-a716-446655440000" to bytes. -EINVAL with a message. */
int smbios_parse_uuid(uint8_t uuid[SMBIOS_UUID_LEN], const char *text, struct err *e);

/* The structures into tables, and the anchor that says that they stand at guest-physical `base`; both empty before. */
void smbios_build(const struct smbios_platform *p, uint64_t base, struct strbuf *anchor, struct strbuf *tables);

#endif
