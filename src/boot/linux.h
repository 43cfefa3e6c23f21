/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of Linux' decompressor that is not decompression: address space layout randomization. */
#ifndef DOPPEL_BOOT_LINUX_H
#define DOPPEL_BOOT_LINUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "boot/elf.h"

struct linux_kaslr {
	uint64_t seed;       /* picks the offset */
	uint64_t image_size; /* virtual space that the kernel takes from its link address on */
	uint64_t align;      /* of the offset: CONFIG_PHYSICAL_ALIGN */
	const uint8_t *table; /* what follows the ELF file in the payload */
	uint64_t table_len;
};

/*
 * Relocate the loaded vmlinux by a random virtual offset, which goes to *offset; 0 if it has no relocation
 * table. -EINVAL: the table is damaged (then the kernel in RAM is too).
 */
int linux_randomize(struct loader *l, const struct elf *elf, const struct linux_kaslr *k, uint64_t *offset,
		    struct err *e);

/* Whether the command line (may be NULL) has this word, as the kernel looks for options without a value. */
bool linux_cmdline_has(const char *cmdline, const char *word);

#endif
