/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VGA's window on its memory: which plane an address means, and the graphics controller's way of reading and writing four
 * planes at once.
 *
 * Specification: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem: "Graphics Controller", "Video Memory".
 * Missing: the page that takes address bit 0's place in odd/even modes (it is always 0).
 */
#include "base/bits.h"
#include "base/endian.h"
#include "dev/video/vga_impl.h"

#define BYTES(b)     ((uint32_t)(b) * 0x01010101u) /* one value for each plane */
#define BANK_SHIFT   16
#define ALL_PLANES   0x0f
#define NO_ADDRESS   0xff

/* Windows by bits 3 and 2 of the graphics controller's miscellaneous register. */
static const struct {
	uint32_t start, size;
} windows[4] = { { 0, 0x20000 }, { 0, 0x10000 }, { 0x10000, 0x8000 }, { 0x18000, 0x8000 } };

/* A byte for each plane: all ones where its bit is set. */
static uint32_t expand(unsigned planes)
{
	uint32_t v = 0;

	for (unsigned p = 0; p < VGA_PLANES; p++)
		if (planes & 1u << p)
			v |= 0xffu << (8 * p);
	return v;
}

/* From an address of the window to that of the memory behind it. */
static bool in_window(const struct vga *v, uint64_t off, uint64_t *addr)
{
	unsigned w = v->gr[GR_MISC] >> 2 & 3;

	if (!(v->misc & MISC_RAM) || off < windows[w].start || off - windows[w].start >= windows[w].size)
		return false;
	*addr = off - windows[w].start;
	if (vbe_on(v))
		*addr += (uint64_t)v->vbe[VBE_BANK] << BANK_SHIFT;
	return true;
}

/* The byte of the planes that an address means, and which of them it can reach. */
static unsigned reach(const struct vga *v, uint64_t *addr, bool odd_even)
{
	unsigned planes = ALL_PLANES;

	if (v->seq[SEQ_MEMORY_MODE] & SEQ_CHAIN4) {
		planes = 1u << (*addr & 3);
		*addr &= ~3ull;
	} else if (odd_even) {
		planes = *addr & 1 ? 0x0a : 0x05;
		*addr &= ~1ull;
	}
	*addr &= (vbe_on(v) ? v->mem_size / VGA_PLANES : VGA_PLANE_SIZE) - 1;
	return planes;
}

/* -- Reading ----------------------------------------------------------------------------------------- */

/* One bit for each dot: it has the colour that is looked for, in the planes that matter. */
static uint8_t compare_colours(const struct vga *v)
{
	uint32_t differ = (v->latch ^ expand(v->gr[GR_COMPARE])) & expand(v->gr[GR_DONT_CARE]);

	differ |= differ >> 16;
	differ |= differ >> 8;
	return (uint8_t)~differ;
}

static uint64_t window_read(void *opaque, uint64_t off, unsigned size)
{
	struct vga *v = opaque;
	unsigned planes, map = v->gr[GR_READ_MAP] & 3;
	uint64_t addr;

	if (!in_window(v, off, &addr))
		return NO_ADDRESS;
	if (vbe_linear(v))
		return v->mem[addr & (v->mem_size - 1)];
	planes = reach(v, &addr, v->gr[GR_MODE] & GR_MODE_ODD_EVEN);
	v->latch = get_le32(v->mem + addr * VGA_PLANES);
	if (v->gr[GR_MODE] & GR_MODE_COMPARE)
		return compare_colours(v);
	if (v->seq[SEQ_MEMORY_MODE] & SEQ_CHAIN4)
		map = (unsigned)__builtin_ctz(planes);
	else if (planes != ALL_PLANES)
		map = (map & 2) | (planes & 1 ? 0 : 1);
	return v->latch >> (8 * map) & 0xff;
}

/* -- Writing ----------------------------------------------------------------------------------------- */

static uint8_t rotate(const struct vga *v, uint8_t val)
{
	unsigned n = v->gr[GR_ROTATE] & 7;

	return (uint8_t)(val >> n | val << (8 - n));
}

/* The logical function of the latches, where the bit mask lets it through. */
static uint32_t combine(const struct vga *v, uint32_t val, uint8_t mask)
{
	switch (v->gr[GR_ROTATE] >> 3 & 3) {
	case 1:
		val &= v->latch;
		break;
	case 2:
		val |= v->latch;
		break;
	case 3:
		val ^= v->latch;
		break;
	}
	return (val & BYTES(mask)) | (v->latch & ~BYTES(mask));
}

/* What the four planes get in the four write modes. */
static uint32_t written(const struct vga *v, uint8_t val)
{
	uint32_t fixed = expand(v->gr[GR_SET_RESET]), enable = expand(v->gr[GR_ENABLE_SET_RESET]);

	switch (v->gr[GR_MODE] & GR_MODE_WRITE) {
	case 0:
		return combine(v, (BYTES(rotate(v, val)) & ~enable) | (fixed & enable), v->gr[GR_BIT_MASK]);
	case 1:
		return v->latch;
	case 2:
		return combine(v, expand(val), v->gr[GR_BIT_MASK]);
	default:
		return combine(v, fixed, v->gr[GR_BIT_MASK] & rotate(v, val));
	}
}

static void window_write(void *opaque, uint64_t off, unsigned size, uint64_t wide)
{
	struct vga *v = opaque;
	uint8_t val = (uint8_t)wide;
	uint32_t mask, now;
	unsigned planes;
	uint64_t addr;

	if (!in_window(v, off, &addr))
		return;
	v->changed = true;
	v->window_writes++;
	if (vbe_linear(v)) {
		addr &= v->mem_size - 1;
		v->mem[addr] = val;
		ram_slot_wrote(v->slot, addr, 1);
		return;
	}
	planes = reach(v, &addr, !(v->seq[SEQ_MEMORY_MODE] & SEQ_NO_ODD_EVEN));
	mask = expand(planes & v->seq[SEQ_MAP_MASK]);
	addr *= VGA_PLANES;
	now = get_le32(v->mem + addr);
	put_le32(v->mem + addr, (now & ~mask) | (written(v, val) & mask));
	ram_slot_wrote(v->slot, addr, VGA_PLANES);
}

const struct io_ops vga_window_io = { .read = window_read, .write = window_write, .max_size = 1 };
