/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LUKS version 1: finding the key in a header by a passphrase, and encrypting sectors with it. */
#ifndef DOPPEL_BACKEND_BLOCK_LUKS_H
#define DOPPEL_BACKEND_BLOCK_LUKS_H

#include "backend/block/bfile.h"

struct luks;

/*
 * The header is in f at offset and at most len bytes long. secret_file's bytes are the passphrase. -EACCES: there is no
 * passphrase or it is wrong; -ENOTSUP: encrypted in a way that is not for us.
 */
int luks_open(struct luks **out, struct bfile *f, uint64_t offset, uint64_t len, const char *secret_file, struct err *e);
void luks_free(struct luks *l);

/* Whole sectors of 512 bytes that are at this byte of the encrypted space. Only one call at a time. */
int luks_encrypt(struct luks *l, uint64_t offset, void *buf, uint64_t len);
int luks_decrypt(struct luks *l, uint64_t offset, void *buf, uint64_t len);

/* Make a header for a passphrase and a new key: how many bytes it takes, then the bytes. */
uint64_t luks_header_size(void);
int luks_make_header(void *header, const char *secret_file, struct err *e);

/* Where the encrypted bytes begin, from the header's begin. */
uint64_t luks_payload_offset(const struct luks *l);

#endif
