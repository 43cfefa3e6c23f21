/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of the test world: its pages and its segment descriptors. */
#include "layout.h"
#include "base/bits.h"

const struct world_page world_pages[] = {
	{ 0x1000, FRAME_DATA0, 1, 0 },
	{ 0x2000, FRAME_DATA1, 1, 0 },
	{ 0x3000, FRAME_DATA2, 1, 0 },
	{ 0x4000, FRAME_RO, 0, 0 },
	{ 0x6000, FRAME_DATA3, 1, 0 },
	{ WORLD_CODE, FRAME_CODE0, 0, 1 },
	{ WORLD_CODE + 0x1000, FRAME_CODE1, 0, 1 },
};
const unsigned n_world_pages = ARRAY_SIZE(world_pages);

#define CODE_BASE ((uint32_t)(WORLD_LOW + WORLD_CODE))
const struct world_ldt world_ldt[WORLD_LDT_ENTRIES] = {
	[LDT_CODE16] = { CODE_BASE, 0xffff, 0, 2, 0, 0, 0 },
	[LDT_CODE32] = { CODE_BASE, 0x1f7f, 1, 2, 0, 0, 0 },
	[LDT_DATA32] = { (uint32_t)WORLD_LOW, 0x6fff, 1, 0, 0, 0, 0 },
	[LDT_DATA16] = { (uint32_t)WORLD_LOW, 0x2fc3, 0, 0, 0, 0, 0 },
	[LDT_DOWN] = { (uint32_t)WORLD_LOW, 0x17ff, 0, 1, 0, 0, 0 },
	[LDT_RODATA] = { (uint32_t)WORLD_LOW, 0x6fff, 1, 0, 1, 0, 0 },
	[LDT_EXECONLY] = { CODE_BASE, 0xffff, 1, 2, 1, 0, 0 },
	[LDT_ABSENT] = { (uint32_t)WORLD_LOW, 0xffff, 1, 0, 0, 0, 1 },
	[LDT_FLAT16] = { 0, 0xfffff, 0, 0, 0, 1, 0 },
};

/* Entries 8 to 11 (TSS, LDT) are filled in by the guest; 15 holds the CPU number in Linux and is left out. */
const uint64_t world_gdt[GDT_ENTRIES] = {
	[1] = 0x00cf9b000000ffff, /* 32-bit kernel code */
	[2] = 0x00af9b000000ffff, /* 64-bit kernel code */
	[3] = 0x00cf93000000ffff, /* kernel data */
	[4] = 0x00cffb000000ffff, /* 32-bit user code */
	[5] = 0x00cff3000000ffff, /* user data */
	[6] = 0x00affb000000ffff, /* 64-bit user code */
};

uint64_t world_ldt_descriptor(const struct world_ldt *e)
{
	/* Descriptor layout: SDM vol. 3, figure 3-8. Type: accessed, writable or readable, contents. */
	uint64_t type = 1 | (e->readonly ? 0 : 2) | (uint64_t)e->contents << 2;
	uint64_t attr = type | BIT(4) | 3 << 5 | (e->absent ? 0 : BIT(7)) | BIT(12) |
			(e->seg_32bit ? BIT(14) : 0) | (e->pages ? BIT(15) : 0);

	attr |= bits_of(e->limit, 19, 16) << 8;
	return (e->limit & 0xffff) | (uint64_t)(e->base & 0xffffff) << 16 | attr << 40 |
	       (uint64_t)(e->base >> 24) << 56;
}

uint64_t world_descriptor(uint16_t sel)
{
	unsigned n = sel >> 3;

	if (sel & 4)
		return n < WORLD_LDT_ENTRIES ? world_ldt_descriptor(&world_ldt[n]) : 0;
	return n < GDT_ENTRIES ? world_gdt[n] : 0;
}

uint64_t world_seg_base(uint16_t sel)
{
	uint64_t d = world_descriptor(sel);

	return bits_of(d, 39, 16) | (d >> 56) << 24;
}
