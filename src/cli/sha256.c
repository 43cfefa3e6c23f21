/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256 in hexadecimal, by GnuTLS, which uses the host's instructions for it. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "cli/sha256.h"

#define DIGEST 32

void sha256_hex(const void *data, size_t len, char hex[SHA256_HEX_SIZE])
{
	uint8_t digest[DIGEST];
	int rc = gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len, digest);

	if (rc)
		BUG("GnuTLS has no SHA-256: %s", gnutls_strerror(rc));
	for (unsigned i = 0; i < DIGEST; i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
}
