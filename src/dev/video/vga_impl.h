/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of the VGA that its files share; dev/video/ only. */
#ifndef DOPPEL_DEV_VIDEO_VGA_IMPL_H
#define DOPPEL_DEV_VIDEO_VGA_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backend/display/display.h"
#include "base/bits.h"
#include "base/clock.h"
#include "base/lock.h"
#include "mem/slot.h"
#include "mem/space.h"

#define VGA_PLANE_SIZE  0x10000u /* bytes of each of the four planes */
#define VGA_PLANES      4u
#define VGA_WINDOW_SIZE 0x20000u /* of legacy addresses, from 0xa0000 on */
#define VGA_COLOURS     256u
/* The widest line of the legacy modes: 256 characters and one that panning shows a part of, 9 dots each, doubled. */
#define VGA_MAX_LINE    MAX(DISPLAY_MAX_WIDTH, 257u * 9 * 2)

/* Registers by their index */
enum { SEQ_RESET, SEQ_CLOCKING, SEQ_MAP_MASK, SEQ_FONT, SEQ_MEMORY_MODE, VGA_SEQS };
enum {
	GR_SET_RESET, GR_ENABLE_SET_RESET, GR_COMPARE, GR_ROTATE, GR_READ_MAP, GR_MODE, GR_MISC, GR_DONT_CARE, GR_BIT_MASK, VGA_GRS,
};
enum {
	AR_MODE = 0x10, AR_OVERSCAN, AR_PLANES, AR_PAN, AR_COLOUR_SELECT, VGA_ARS,
};
enum {
	CR_HORIZONTAL_END = 0x01, CR_OVERFLOW = 0x07, CR_PRESET_ROW, CR_MAX_SCAN, CR_CURSOR_START, CR_CURSOR_END, CR_START_HIGH,
	CR_START_LOW, CR_CURSOR_HIGH, CR_CURSOR_LOW, CR_RETRACE_END = 0x11, CR_VERTICAL_END, CR_OFFSET, CR_UNDERLINE,
	CR_MODE = 0x17, CR_LINE_COMPARE, VGA_CRS,
};

/* Bits */
#define MISC_COLOUR       0x01 /* CRTC at 3d4, not 3b4 */
#define MISC_RAM          0x02
#define SEQ_8_DOTS        0x01
#define SEQ_HALF_CLOCK    0x08
#define SEQ_SCREEN_OFF    0x20
#define SEQ_NO_ODD_EVEN   0x04
#define SEQ_CHAIN4        0x08
#define GR_MODE_WRITE     0x03
#define GR_MODE_COMPARE   0x08
#define GR_MODE_ODD_EVEN  0x10
#define GR_MODE_SHIFT2    0x20 /* as CGA's four colours */
#define GR_MODE_256       0x40
#define GR_MISC_GRAPHICS  0x01
#define AR_VIDEO_ON       0x20 /* in the index register */
#define AR_MODE_MONO      0x02
#define AR_MODE_LINE_9    0x04 /* the ninth dot of box drawings repeats the eighth */
#define AR_MODE_BLINK     0x08
#define AR_MODE_PAN_SPLIT 0x20 /* panning ends at the line compare */
#define AR_MODE_P54       0x80 /* colour bits 5 and 4 come from the colour select register */
#define CR_PROTECT        0x80
#define CR_DOUBLE_SCAN    0x80
#define CR_CURSOR_OFF     0x20
#define CR_DWORD          0x40 /* in CR_UNDERLINE */
#define CR_MODE_ROW0      0x01 /* clear: address bit 13 is bit 0 of the row counter */
#define CR_MODE_ROW1      0x02
#define CR_MODE_WRAP      0x20
#define CR_MODE_BYTE      0x40

/* Bochs' DISPI registers */
enum {
	VBE_ID, VBE_XRES, VBE_YRES, VBE_BPP, VBE_ENABLE, VBE_BANK, VBE_VIRT_WIDTH, VBE_VIRT_HEIGHT, VBE_X_OFFSET, VBE_Y_OFFSET,
	VBE_MEMORY_64K, VBE_REGS,
};
#define VBE_ENABLED   0x01
#define VBE_GET_CAPS  0x02
#define VBE_8BIT_DAC  0x20
#define VBE_LFB       0x40
#define VBE_NO_CLEAR  0x80

/*
 * The four planes are interleaved in the card's memory: byte `off` of plane p is at off * 4 + p. The linear
 * modes use the same bytes in order, as the frame buffer's BAR shows them.
 */
struct vga {
	struct lock lock;          /* RANK_DEVICE: all below, but what the guest does to the memory through the frame buffer */
	struct clock *clock;
	struct display *display;   /* NULL: nobody sees it */
	struct ram_slot *slot;     /* the memory */
	uint8_t *mem;
	uint32_t mem_size;

	uint8_t misc, feature, enable;
	uint8_t seq_index, gr_index, ar_index, crtc_index;
	uint8_t seq[VGA_SEQS], gr[VGA_GRS], ar[VGA_ARS], crtc[VGA_CRS];
	bool ar_data;              /* the next write to 3c0 is data */
	uint32_t latch;
	uint8_t dac[VGA_COLOURS * 3];
	uint8_t dac_mask, dac_read, dac_write, dac_component;
	bool dac_reading;
	uint16_t vbe_index, vbe[VBE_REGS];

	bool changed;              /* by the legacy window or a register, since it was last drawn */
	unsigned skipped;          /* how often it was not drawn because of that */
	uint32_t colour[VGA_COLOURS];  /* the DAC's, as pixels, while it is drawn */
	uint32_t line[VGA_MAX_LINE];
	_Atomic uint64_t frames, window_writes; /* statistics */
};

/* vga_mem.c: the legacy window; a byte at `off` from its start. */
extern const struct io_ops vga_window_io;

/* vga.c: a port by its distance from 0x3b0, one byte; for the ports and their window in memory. */
#define VGA_PORTS 0x30
uint64_t vga_port_read(void *opaque, uint64_t off, unsigned size);
void vga_port_write(void *opaque, uint64_t off, unsigned size, uint64_t val);

/* vbe.c */
#define VBE_PORTS 4
extern const struct io_ops vbe_io;  /* index, and data one byte further on */
uint16_t vbe_read(const struct vga *v, unsigned reg);
void vbe_write(struct vga *v, unsigned reg, uint16_t val);
void vbe_reset(struct vga *v);
bool vbe_valid(const struct vga *v); /* of restored registers */
void vbe_draw(struct vga *v, struct display *d);

static inline bool vbe_on(const struct vga *v)
{
	return v->vbe[VBE_ENABLE] & VBE_ENABLED;
}

/* One of the modes in which memory is a line of pixels. */
static inline bool vbe_linear(const struct vga *v)
{
	return vbe_on(v) && v->vbe[VBE_BPP] > 4;
}

/* vga_text.c: the font with 16 lines in a video BIOS, NULL: it has none; and text mode 3 with it, after a reset. */
#define VGA_GLYPH_LINES 16u
#define VGA_FONT_SIZE   (256 * VGA_GLYPH_LINES)
const uint8_t *vga_find_font(const uint8_t *rom, size_t len);
void vga_set_text_mode(struct vga *v, const uint8_t *font);

/* vga_draw.c */
extern const struct display_source vga_source;

#endif
