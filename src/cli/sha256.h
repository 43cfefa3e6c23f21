/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256 (FIPS 180-4), for checking files in the cache. */
#ifndef DOPPEL_CLI_SHA256_H
#define DOPPEL_CLI_SHA256_H

#include <stddef.h>

#define SHA256_HEX_SIZE 65 /* 64 hexadecimal digits and NUL */

void sha256_hex(const void *data, size_t len, char hex[SHA256_HEX_SIZE]);

#endif
