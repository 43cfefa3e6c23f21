/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the loaders of boot/ share: places in low memory, writing to guest RAM, entry states. */
#ifndef DOPPEL_BOOT_LOAD_H
#define DOPPEL_BOOT_LOAD_H

#include <stdbool.h>
#include "boot/boot.h"

/*
 * Conventional memory as boot_load() leaves it. A kernel's own segments must stay out of
 * [LOW_BEGIN, LOW_END); all of it is free for the guest as soon as it has read what it needs.
 */
#define LOW_BEGIN       0x1000ull
#define LOW_GDT         0x1000ull  /* four descriptors */
#define LOW_PAGE_TABLES 0x2000ull  /* PML4, PDPT and four page directories: 4 GiB, identity */
#define LOW_INFO        0x8000ull  /* hvm_start_info or Multiboot information, with their lists */
#define LOW_INFO_SIZE   0x8000ull
#define LOW_BOOT_PARAMS 0x10000ull /* Linux "zero page" */
#define LOW_SETUP_DATA  0x11000ull
#define LOW_CMDLINE     0x20000ull
#define LOW_CMDLINE_MAX 0x10000ull /* with its final NUL */
#define LOW_END         0x30000ull

/* GDT selectors of the Linux boot protocol; the other protocols leave the choice to us. */
#define BOOT_CS 0x10
#define BOOT_DS 0x18

struct loader {
	const struct boot_config *c;
	struct ram *ram;
	struct x86_state *cpu;
	struct boot_blob kernel; /* after decompression of the file as a whole */
	struct boot_info info;
	struct e820_map map;
};

/* Write to guest RAM: bytes from another place, or zeroes. -EFAULT: not all RAM; nothing was written. */
int load_bytes(struct loader *l, uint64_t gpa, const void *data, uint64_t len);
int load_zeroes(struct loader *l, uint64_t gpa, uint64_t len);

/* The command line's length; "" for none. -EINVAL when it is longer than max bytes without its NUL. */
int load_cmdline(struct loader *l, uint64_t max, struct err *e);

/*
 * Put all initrds one after the other, each at a multiple of align, as high as possible: below
 * `limit` if they fit between there and info.kernel_end or 1 MiB and info.kernel_start, else (if
 * allowed) higher and above 4 GiB. Fills info.initrd_*; at[i], if at is not NULL, is where the ith begins.
 */
int load_initrds(struct loader *l, uint64_t limit, bool above_4g, unsigned align, uint64_t *at,
		 struct err *e);

/* 64-bit mode with the first 4 GiB mapped to themselves, interrupts off; flat 32-bit mode without paging. */
void load_entry_64(struct loader *l, uint64_t rip);
void load_entry_32(struct loader *l, uint32_t eip);

/* linux.c: whether this is a bzImage at all (HdrS), and loading it. */
bool linux_detect(const struct boot_blob *k);
int linux_load(struct loader *l, struct err *e);

/* pvh.c: ELF with a PVH note. */
struct elf;
int pvh_load(struct loader *l, const struct elf *elf, uint32_t entry, struct err *e);

/* multiboot.c: offset of the Multiboot header in the file, or -1. */
int64_t multiboot_detect(const struct boot_blob *k);
int multiboot_load(struct loader *l, uint32_t header, struct err *e);

#endif
