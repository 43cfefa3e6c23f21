/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The contents of the DSDT: what the board has, in AML. */
#ifndef DOPPEL_BOOT_DSDT_H
#define DOPPEL_BOOT_DSDT_H

#include "base/strbuf.h"
#include "boot/acpi.h"

/* Append the table's AML, without the table header. */
void dsdt_body(const struct acpi_platform *p, struct strbuf *out);

#endif
