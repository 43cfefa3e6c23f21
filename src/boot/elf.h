/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF executables of either class as kernels are made of (System V ABI, ch. 4 and 5). */
#ifndef DOPPEL_BOOT_ELF_H
#define DOPPEL_BOOT_ELF_H

#include <stdbool.h>
#include "boot/load.h"

#define ELF_MAX_SEGMENTS 64

struct elf_segment {
	uint32_t type;
	uint64_t offset, vaddr, paddr, filesz, memsz; /* file bytes are inside of the file */
};

struct elf {
	const struct boot_blob *file;
	bool is_64;
	bool interpreted; /* needs a dynamic linker */
	uint64_t entry;
	struct elf_segment seg[ELF_MAX_SEGMENTS];
	unsigned n;
	uint64_t end; /* one past the last byte that headers and segments claim */
};

#define ELF_PT_LOAD   1
#define ELF_PT_INTERP 3
#define ELF_PT_NOTE   4

bool elf_detect(const struct boot_blob *k);

/* Parse and check. Errors: -ENOEXEC for another machine, byte order or kind of file, -EINVAL for damage. */
int elf_parse(struct elf *elf, const struct boot_blob *file, struct err *e);

/*
 * Copy every PT_LOAD segment to its physical address and clear its bss. All must be RAM and outside
 * of [LOW_BEGIN, LOW_END) and the BIOS areas. *start and *end: what they span.
 */
int elf_load(struct loader *l, const struct elf *elf, uint64_t *start, uint64_t *end, struct err *e);

/* Whether all of [gpa, +len) came from the file bytes of one loaded segment. */
bool elf_loaded(const struct elf *elf, uint64_t gpa, uint64_t len);

/* The entry's physical address: a virtual one is translated by the segment that it lies in. */
uint64_t elf_entry_phys(const struct elf *elf);

/* Find a note; its descriptor and the length of that, or NULL. */
const uint8_t *elf_note(const struct elf *elf, const char *owner, uint32_t type, uint32_t *len);

#endif
