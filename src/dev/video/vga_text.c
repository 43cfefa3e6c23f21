/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text mode 3 as a video BIOS leaves it, for machines that start without one: registers, colours, font, an empty screen.
 *
 * Specification: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem: "BIOS Modes", mode 3+ (80 by 25, 9 by 16 dots).
 */
#include <string.h>
#include "dev/video/vga_impl.h"

#define TEXT_PLANE   0
#define COLOUR_PLANE 1
#define FONT_PLANE   2
#define FONT_SLOT    32u  /* bytes of its plane for each character */
#define BLANK        0x20
#define LIGHT_GREY   0x07
#define EGA_COLOURS  64u
#define DAC_STRONG   0x2a /* two thirds of 0x3f, for a colour's upper bit; and one third */
#define DAC_WEAK     0x15

/* Character 1, a smiling face; before it comes character 0, which is blank. The fonts with 8 and 14 lines have it otherwise. */
static const uint8_t face[VGA_GLYPH_LINES] = { 0, 0, 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e };

static const uint8_t mode_seq[VGA_SEQS] = { 0x03, 0x00, 0x03, 0x00, 0x02 };
static const uint8_t mode_gr[VGA_GRS] = { 0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff };
static const uint8_t mode_crtc[VGA_CRS] = {
	0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
	0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
};
static const uint8_t mode_ar[VGA_ARS] = {
	0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00,
};
#define MODE_MISC 0x67 /* 28 MHz, 400 lines, memory on, CRTC at 3d4 */

const uint8_t *vga_find_font(const uint8_t *rom, size_t len)
{
	static const uint8_t blank[VGA_GLYPH_LINES];

	for (size_t i = 0; len >= VGA_FONT_SIZE && i <= len - VGA_FONT_SIZE; i++)
		if (!memcmp(rom + i, blank, sizeof(blank)) && !memcmp(rom + i + sizeof(blank), face, sizeof(face)))
			return rom + i;
	return NULL;
}

/* Bits 2 to 0 are red, green and blue at two thirds, bits 5 to 3 the same at one third. */
static void set_colours(struct vga *v)
{
	memset(v->dac, 0, sizeof(v->dac));
	for (unsigned i = 0; i < EGA_COLOURS; i++)
		for (unsigned c = 0; c < 3; c++)
			v->dac[3 * i + c] = (i >> (2 - c) & 1 ? DAC_STRONG : 0) + (i >> (5 - c) & 1 ? DAC_WEAK : 0);
}

/* In odd/even mode a character and its colours are at the same even address of their planes. */
static void set_memory(struct vga *v, const uint8_t *font)
{
	memset(v->mem, 0, VGA_PLANE_SIZE * VGA_PLANES);
	for (unsigned off = 0; off < VGA_PLANE_SIZE; off += 2) {
		v->mem[off * VGA_PLANES + TEXT_PLANE] = BLANK;
		v->mem[off * VGA_PLANES + COLOUR_PLANE] = LIGHT_GREY;
	}
	for (unsigned i = 0; i < VGA_FONT_SIZE; i++)
		v->mem[(i / VGA_GLYPH_LINES * FONT_SLOT + i % VGA_GLYPH_LINES) * VGA_PLANES + FONT_PLANE] = font[i];
	ram_slot_wrote(v->slot, 0, VGA_PLANE_SIZE * VGA_PLANES);
}

void vga_set_text_mode(struct vga *v, const uint8_t *font)
{
	v->misc = MODE_MISC;
	v->enable = 1;
	memcpy(v->seq, mode_seq, sizeof(v->seq));
	memcpy(v->gr, mode_gr, sizeof(v->gr));
	memcpy(v->crtc, mode_crtc, sizeof(v->crtc));
	memcpy(v->ar, mode_ar, sizeof(v->ar));
	v->ar_index = AR_VIDEO_ON;
	v->ar_data = false;
	set_colours(v);
	set_memory(v, font);
	v->changed = true;
}
