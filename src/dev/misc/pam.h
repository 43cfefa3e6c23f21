/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shadow memory control of the 440FX: what the processor sees between 768 KiB and 1 MiB, ROM or RAM. */
#ifndef DOPPEL_DEV_MISC_PAM_H
#define DOPPEL_DEV_MISC_PAM_H

#include "mem/ram.h"
#include "mem/space.h"

#define PAM_BASE 0xc0000ull
#define PAM_END  0x100000ull
#define PAM_REGS 7 /* 82441FX data sheet, 3.2.18: PAM0 to PAM6, each with two segments of four bits */

#define PAM_READ  0x1 /* of a segment's bits: reads go to RAM */
#define PAM_WRITE 0x2 /* ... writes do */

struct pam;

/* The area below 1 MiB of mem belongs to it; RAM there at first. */
struct pam *pam_new(struct space *mem, struct ram *ram);
void pam_free(struct pam *p); /* before the space */

/*
 * The system ROM shows in the last `len` bytes below 1 MiB (a multiple of 16 KiB, at most 128 KiB) where reads do not go to RAM;
 * elsewhere nothing does. The bytes must outlive the chip. On reset they are in place.
 */
void pam_set_rom(struct pam *p, const void *rom, uint64_t len);

/* A register was written. Under the bridge's lock. */
void pam_set(struct pam *p, unsigned reg, uint8_t val);

/* The ROM's bytes are back, whatever was in RAM at its place; with all registers zero. */
void pam_reset(struct pam *p);

#endif
