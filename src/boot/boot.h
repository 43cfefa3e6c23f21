/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Put a kernel, its initrds and its tables into guest RAM, and the boot CPU at the kernel's entry. */
#ifndef DOPPEL_BOOT_BOOT_H
#define DOPPEL_BOOT_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "boot/acpi.h"
#include "boot/e820.h"
#include "boot/smbios.h"
#include "mem/ram.h"
#include "x86/state.h"

/* A file's bytes. Host files are the caller's business: map them (MAP_PRIVATE) and pass the mapping. */
struct boot_blob {
	const void *data;
	size_t len;
	const char *name; /* for messages, as the user wrote it */
	const char *args; /* Multiboot and PVH modules: the module's command line; NULL: name */
};

/* How a Linux bzImage is entered; other formats have one way only. */
enum boot_mode {
	BOOT_AUTO,   /* direct if we can decompress the payload, else setup */
	BOOT_DIRECT, /* decompress on the host and enter vmlinux itself; an error if we can't */
	BOOT_SETUP,  /* always through the kernel's own decompressor */
};

enum boot_format { BOOT_LINUX64, BOOT_LINUX32, BOOT_PVH, BOOT_MULTIBOOT };

struct boot_config {
	struct boot_blob kernel;
	const struct boot_blob *initrds; /* Linux: joined, each padded to 4 bytes; else one module each */
	unsigned n_initrds;
	const char *cmdline;             /* NULL: empty */
	enum boot_mode mode;
	/*
	 * Direct entry only: not 0 moves the kernel to a random virtual address made from it, as the kernel's
	 * own decompressor would (unless cmdline has the word nokaslr); 0 leaves it where it was linked.
	 */
	uint64_t kaslr_seed;
	const void *rng_seed;            /* entropy for the guest's generator (Linux); NULL: none */
	size_t rng_seed_len;             /* at most BOOT_RNG_SEED_MAX */
	const struct acpi_platform *acpi;  /* NULL: no tables */
	const struct smbios_platform *smbios; /* NULL: no tables */
	const struct e820_entry *reserved; /* ranges outside of RAM to report besides RAM */
	unsigned n_reserved;
	bool text_screen;                /* there is a VGA in mode 3, 80 by 25 (Linux) */
};

#define BOOT_RNG_SEED_MAX 256

/* What was done, for `--verbose`, tests and debuggers. Addresses are guest-physical. */
struct boot_info {
	enum boot_format format;
	const char *format_name;  /* static text for people: "Linux bzImage, direct entry" ... */
	bool direct;
	const char *compression;  /* static text; NULL: none was undone */
	uint64_t entry;
	uint64_t kernel_start, kernel_end; /* end of what the kernel needs at once */
	uint64_t initrd_start, initrd_end; /* equal: none */
	uint64_t kaslr_offset;    /* virtual; 0: as linked */
	uint64_t acpi_rsdp;       /* 0: none */
};

/*
 * Detects the format: Linux bzImage (protocol 2.06 and later), ELF with a PVH note, Multiboot 1; each may be
 * compressed as a whole (gzip, xz, lzma, zstd, lz4). Writes into ram (which need not be zero: a reboot)
 * and sets all of *cpu (x86_reset() first) to the entry state. info may be NULL.
 * Errors: -ENOEXEC for a file that is no such kernel, -EINVAL for one that is damaged or options
 * that can't be served, -EFBIG or -E2BIG for what is too large for its place, -ENOMEM when RAM is
 * too small; e names the file and what to do.
 * On error the contents of ram and *cpu are unspecified.
 */
int boot_load(const struct boot_config *c, struct ram *ram, struct x86_state *cpu, struct boot_info *info,
	      struct err *e);

#endif
