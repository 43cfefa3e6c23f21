/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The little world in which one random instruction runs: the same linear addresses natively and in the guest. */
#ifndef DOPPEL_DIFF_LAYOUT_H
#define DOPPEL_DIFF_LAYOUT_H

#include <stdint.h>
#include "mem/ram.h"

/*
 * The world is mapped twice, so that 32-bit addresses and truly 64-bit ones are both tested:
 *
 *   +0x00000  nothing          +0x10000  code 0
 *   +0x01000  data 0           +0x11000  code 1
 *   +0x02000  data 1           +0x12000  nothing
 *   +0x03000  data 2
 *   +0x04000  read-only
 *   +0x05000  nothing
 *   +0x06000  data 3
 *   +0x07000  nothing
 *
 * Data 0 and 1, and data 2 and read-only, are neighbours in guest-physical memory too; the others are not.
 * Data is not executable. Code is not writable, and full of HLT, which is #GP(0) outside of ring 0: the sign that
 * the instruction was completed and where it went.
 */
#define WORLD_LOW  0x20000000ull
#define WORLD_HIGH 0x345670000000ull
#define WORLD_CODE 0x10000ull
#define WORLD_SIZE 0x12000ull
#define CODE_PAGES 2
#define CODE_SIZE  (CODE_PAGES * PAGE_SIZE)
#define CODE_FILL  0xf4 /* HLT */

/* Pages of memory behind the world, in the order of the image of a batch. */
enum { FRAME_DATA0, FRAME_DATA1, FRAME_DATA2, FRAME_DATA3, FRAME_RO, FRAME_CODE0, FRAME_CODE1, FRAMES };
#define DATA_FRAMES 4
#define IMAGE_FRAMES 5 /* data and read-only: their first contents come from the batch */

struct world_page {
	uint32_t offset;
	uint8_t frame;
	uint8_t writable, executable;
};
extern const struct world_page world_pages[];
extern const unsigned n_world_pages;

/*
 * Selectors: the GDT of Linux on x86-64, so that what ring 3 can see of it (LAR, LSL, far transfers) is the same in
 * both, and an LDT made by modify_ldt(2) for the segments that Linux does not offer.
 */
#define SEL_CS64 0x33
#define SEL_CS32 0x23
#define SEL_DATA 0x2b
enum {
	LDT_CODE16,  /* base WORLD_CODE */
	LDT_CODE32,  /* base WORLD_CODE, limit below its end */
	LDT_DATA32,  /* base of the world, 32-bit stack size */
	LDT_DATA16,  /* the same with a 16-bit stack size */
	LDT_DOWN,    /* expand-down */
	LDT_RODATA,
	LDT_EXECONLY,
	LDT_ABSENT,
	LDT_FLAT16,  /* flat, 16-bit stack size */
	WORLD_LDT_ENTRIES
};
#define LDT_SEL(n) ((uint16_t)((n) << 3 | 7))

struct world_ldt {
	uint32_t base, limit;
	uint8_t seg_32bit, contents, readonly, pages, absent;
};
extern const struct world_ldt world_ldt[WORLD_LDT_ENTRIES];

#define GDT_ENTRIES 16
extern const uint64_t world_gdt[GDT_ENTRIES];

/* The 8-byte descriptor that modify_ldt makes of an entry. */
uint64_t world_ldt_descriptor(const struct world_ldt *e);

/* Base of a segment as loaded from sel; 0 for null and for what is not in the tables. */
uint64_t world_seg_base(uint16_t sel);

/* The descriptor a selector names; 0 if there is none. */
uint64_t world_descriptor(uint16_t sel);

#endif
