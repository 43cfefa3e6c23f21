/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bochs' DISPI registers, and the modes that they set: any size, 8 to 32 bits for each pixel in a linear frame buffer, or
 * the VGA's four planes.
 *
 * Specification: Bochs' VBE display driver documentation (VBE DISPI 0xB0C5); QEMU's docs/specs/standard-vga.
 * Ignored: VBE_LFB (the frame buffer is always there).
 */
#include <string.h>
#include "base/bits.h"
#include "base/endian.h"
#include "dev/video/vga_impl.h"

#define ID_FIRST 0xb0c0
#define ID_LAST  0xb0c5
#define ENABLE_BITS (VBE_ENABLED | VBE_GET_CAPS | VBE_8BIT_DAC | VBE_LFB | VBE_NO_CLEAR)
#define MAX_BPP  32
#define UNIT     (64 * KiB)

static bool depth_valid(unsigned bpp)
{
	return bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 || bpp == 32;
}

/* Bytes from line to line; of one plane with four bits for a pixel. */
static uint32_t line_bytes(const struct vga *v)
{
	unsigned bpp = v->vbe[VBE_BPP];

	return bpp == 4 ? v->vbe[VBE_VIRT_WIDTH] / 8u : v->vbe[VBE_VIRT_WIDTH] * ((bpp + 7) / 8);
}

/* How many lines there is memory for. */
static uint16_t virtual_height(const struct vga *v)
{
	uint32_t line = line_bytes(v), mem = v->vbe[VBE_BPP] == 4 ? v->mem_size / VGA_PLANES : v->mem_size;

	return line ? (uint16_t)MIN(mem / line, UINT16_MAX) : 0;
}

/* The VGA's own registers as the mode has them, for who writes through the window or goes back without setting a mode. */
static void set_vga(struct vga *v)
{
	unsigned lines = v->vbe[VBE_YRES] - 1u;

	v->gr[GR_MISC] = (v->gr[GR_MISC] & ~0x0c) | 0x04 | GR_MISC_GRAPHICS;
	v->crtc[CR_MODE] |= CR_MODE_ROW0 | CR_MODE_ROW1 | CR_MODE_BYTE;
	v->crtc[CR_OFFSET] = (uint8_t)(v->vbe[VBE_VIRT_WIDTH] / 16);
	v->crtc[CR_HORIZONTAL_END] = (uint8_t)(v->vbe[VBE_XRES] / 8 - 1);
	v->crtc[CR_VERTICAL_END] = (uint8_t)lines;
	v->crtc[CR_OVERFLOW] = (uint8_t)((v->crtc[CR_OVERFLOW] & ~0x42) | (lines >> 7 & 0x02) | (lines >> 3 & 0x40) | 0x10);
	v->crtc[CR_LINE_COMPARE] = 0xff;
	v->crtc[CR_MAX_SCAN] = (v->crtc[CR_MAX_SCAN] & ~0x9f) | 0x40;
	v->gr[GR_MODE] &= ~(GR_MODE_SHIFT2 | GR_MODE_256);
	v->seq[SEQ_MAP_MASK] = 0x0f;
	if (v->vbe[VBE_BPP] == 4) {
		v->seq[SEQ_MEMORY_MODE] &= ~SEQ_CHAIN4;
		return;
	}
	v->gr[GR_MODE] |= GR_MODE_256;
	v->seq[SEQ_MEMORY_MODE] |= SEQ_CHAIN4;
}

static void enable(struct vga *v, uint16_t val)
{
	bool was = vbe_on(v);

	v->vbe[VBE_ENABLE] = val & ENABLE_BITS;
	v->vbe[VBE_BANK] = 0;
	if (!(val & VBE_ENABLED) || was)
		return;
	v->vbe[VBE_VIRT_WIDTH] = v->vbe[VBE_XRES];
	v->vbe[VBE_X_OFFSET] = v->vbe[VBE_Y_OFFSET] = 0;
	v->vbe[VBE_VIRT_HEIGHT] = virtual_height(v);
	set_vga(v);
	if (!(val & VBE_NO_CLEAR)) {
		uint64_t len = (uint64_t)line_bytes(v) * v->vbe[VBE_YRES] * (v->vbe[VBE_BPP] == 4 ? VGA_PLANES : 1);

		len = MIN(len, v->mem_size);
		memset(v->mem, 0, len);
		if (len)
			ram_slot_wrote(v->slot, 0, len);
	}
}

static uint16_t capability(unsigned reg, uint16_t val)
{
	switch (reg) {
	case VBE_XRES:
		return DISPLAY_MAX_WIDTH;
	case VBE_YRES:
		return DISPLAY_MAX_HEIGHT;
	case VBE_BPP:
		return MAX_BPP;
	}
	return val;
}

uint16_t vbe_read(const struct vga *v, unsigned reg)
{
	if (reg == VBE_MEMORY_64K)
		return (uint16_t)(v->mem_size / UNIT);
	if (reg >= VBE_REGS)
		return 0;
	return v->vbe[VBE_ENABLE] & VBE_GET_CAPS ? capability(reg, v->vbe[reg]) : v->vbe[reg];
}

void vbe_write(struct vga *v, unsigned reg, uint16_t val)
{
	v->changed = true;
	switch (reg) {
	case VBE_ID:
		if (val >= ID_FIRST && val <= ID_LAST)
			v->vbe[reg] = val;
		break;
	case VBE_XRES:
		v->vbe[reg] = MAX(8, MIN(val, DISPLAY_MAX_WIDTH));
		v->vbe[VBE_VIRT_WIDTH] = MAX(v->vbe[VBE_VIRT_WIDTH], v->vbe[VBE_XRES]);
		break;
	case VBE_YRES:
		v->vbe[reg] = MAX(1, MIN(val, DISPLAY_MAX_HEIGHT));
		break;
	case VBE_BPP:
		if (depth_valid(val ? val : 8))
			v->vbe[reg] = val ? val : 8;
		break;
	case VBE_ENABLE:
		enable(v, val);
		break;
	case VBE_BANK:
		v->vbe[reg] = val & (v->mem_size / UNIT - 1);
		break;
	case VBE_VIRT_WIDTH:
		v->vbe[reg] = MAX(val, v->vbe[VBE_XRES]);
		v->vbe[VBE_VIRT_HEIGHT] = virtual_height(v);
		break;
	case VBE_X_OFFSET:
	case VBE_Y_OFFSET:
		v->vbe[reg] = val;
		break;
	}
}

void vbe_reset(struct vga *v)
{
	memset(v->vbe, 0, sizeof(v->vbe));
	v->vbe_index = 0;
	v->vbe[VBE_ID] = ID_LAST;
	v->vbe[VBE_XRES] = v->vbe[VBE_VIRT_WIDTH] = 640;
	v->vbe[VBE_YRES] = 480;
	v->vbe[VBE_BPP] = 8;
}

bool vbe_valid(const struct vga *v)
{
	const uint16_t *r = v->vbe;

	return r[VBE_XRES] >= 8 && r[VBE_XRES] <= DISPLAY_MAX_WIDTH && r[VBE_YRES] >= 1 && r[VBE_YRES] <= DISPLAY_MAX_HEIGHT &&
	       depth_valid(r[VBE_BPP]) && r[VBE_VIRT_WIDTH] >= r[VBE_XRES] && r[VBE_BANK] < v->mem_size / UNIT &&
	       !(r[VBE_ENABLE] & ~ENABLE_BITS);
}

/* -- Ports ------------------------------------------------------------------------------------------- */

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
	const struct vga *v = opaque;

	return off ? vbe_read(v, v->vbe_index) : v->vbe_index;
}

static void port_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct vga *v = opaque;

	if (size != 2)
		return;
	if (off)
		vbe_write(v, v->vbe_index, (uint16_t)val);
	else
		v->vbe_index = (uint16_t)val;
}

const struct io_ops vbe_io = { .read = port_read, .write = port_write, .max_size = 2 };

/* -- Drawing ----------------------------------------------------------------------------------------- */

static uint32_t from_15(uint16_t p)
{
	uint32_t r = p >> 10 & 31, g = p >> 5 & 31, b = p & 31;

	return (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
}

static uint32_t from_16(uint16_t p)
{
	uint32_t r = p >> 11, g = p >> 5 & 63, b = p & 31;

	return (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
}

/* n pixels from their bytes. */
static void convert(const struct vga *v, uint32_t *to, const uint8_t *from, unsigned n)
{
	switch (v->vbe[VBE_BPP]) {
	case 8:
		for (unsigned i = 0; i < n; i++)
			to[i] = v->colour[from[i]];
		break;
	case 15:
		for (unsigned i = 0; i < n; i++)
			to[i] = from_15(get_le16(from + 2 * i));
		break;
	case 16:
		for (unsigned i = 0; i < n; i++)
			to[i] = from_16(get_le16(from + 2 * i));
		break;
	case 24:
		for (unsigned i = 0; i < n; i++)
			to[i] = from[3 * i] | from[3 * i + 1] << 8 | (uint32_t)from[3 * i + 2] << 16;
		break;
	case 32:
		memcpy(to, from, n * 4);
		break;
	}
}

/* Line y as it is in memory, black behind its end. */
static void draw_line(struct vga *v, struct display *d, unsigned y, unsigned width)
{
	unsigned pixel = (v->vbe[VBE_BPP] + 7u) / 8;
	uint64_t at = ((uint64_t)v->vbe[VBE_Y_OFFSET] + y) * line_bytes(v) + (uint64_t)v->vbe[VBE_X_OFFSET] * pixel;
	unsigned n = at >= v->mem_size ? 0 : (unsigned)MIN(width, (v->mem_size - at) / pixel);
	uint8_t bytes[DISPLAY_MAX_WIDTH * 4];

	if (n)
		ram_slot_read(v->slot, at, bytes, n * pixel);
	convert(v, v->line, bytes, n);
	memset(v->line + n, 0, (width - n) * sizeof(*v->line));
	display_row(d, y, v->line);
}

void vbe_draw(struct vga *v, struct display *d)
{
	const struct display_surface *s = display_resize(d, v->vbe[VBE_XRES], v->vbe[VBE_YRES]);

	for (unsigned y = 0; y < s->height; y++)
		draw_line(v, d, y, s->width);
}
