/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the VGA shows, line by line as its CRT controller walks through memory: text, four planes, CGA's four colours, 256 colours.
 *
 * Specification: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem: "CRT Controller", "Attribute Controller".
 * Missing: blinking (the cursor and characters are shown steadily); the border.
 */
#include <string.h>
#include "base/bits.h"
#include "dev/video/vga_impl.h"

#define FONT_SLOT   32u /* bytes of plane 2 for each character */
#define MIN_WIDTH   160u /* a smaller picture is one that is only being set up */
#define MIN_HEIGHT  100u
#define LOOK_EVERY  16u /* without a sign of change, one of so many drawings is done: the frame buffer's BAR tells nothing */

/* Where the CRT controller is. */
struct beam {
	uint16_t row_start; /* memory address counter at the line's left end */
	unsigned row;       /* row counter: line of a character */
	bool again;         /* doubled lines: this is the second one */
	unsigned pan;       /* dots */
};

struct geometry {
	unsigned chars, char_dots, lines; /* dots are 8 or 9 */
	bool half_clock;                  /* each dot is shown twice */
};

static struct geometry geometry(const struct vga *v)
{
	const uint8_t *c = v->crtc;
	bool text = !(v->gr[GR_MISC] & GR_MISC_GRAPHICS);

	return (struct geometry){
		.chars = c[CR_HORIZONTAL_END] + 1u,
		.char_dots = text && !(v->seq[SEQ_CLOCKING] & SEQ_8_DOTS) ? 9 : 8,
		.lines = (c[CR_VERTICAL_END] | (c[CR_OVERFLOW] & 0x02u) << 7 | (c[CR_OVERFLOW] & 0x40u) << 3) + 1,
		.half_clock = v->seq[SEQ_CLOCKING] & SEQ_HALF_CLOCK,
	};
}

/* -- Colours ------------------------------------------------------------------------------------------- */

/* The DAC's entries as pixels, behind the mask. */
static void load_colours(struct vga *v)
{
	bool wide = v->vbe[VBE_ENABLE] & VBE_8BIT_DAC;

	for (unsigned i = 0; i < VGA_COLOURS; i++) {
		const uint8_t *c = v->dac + 3 * (i & v->dac_mask);
		uint32_t rgb = (uint32_t)c[0] << 16 | c[1] << 8 | c[2];

		/* Of six bits the upper two fill the lower ones. */
		v->colour[i] = wide ? rgb : (rgb & 0x3f3f3f) << 2 | (rgb >> 4 & 0x030303);
	}
}

/* The pixel of a four-bit colour, through palette and colour select register. */
static uint32_t palette(const struct vga *v, unsigned colour)
{
	unsigned p = v->ar[colour & v->ar[AR_PLANES] & 0x0f], select = v->ar[AR_COLOUR_SELECT];

	if (v->ar[AR_MODE] & AR_MODE_P54)
		p = (p & 0x0f) | (select & 3) << 4;
	return v->colour[(p & 0x3f) | (select & 0x0c) << 4];
}

/* -- Memory ---------------------------------------------------------------------------------------------- */

/* The four planes' bytes at what the memory address counter says, in the addressing mode that is set. */
static const uint8_t *fetch(const struct vga *v, unsigned counter, unsigned row)
{
	uint8_t mode = v->crtc[CR_MODE];
	unsigned addr;

	counter &= 0xffff;
	if (v->crtc[CR_UNDERLINE] & CR_DWORD)
		addr = counter << 2 | (counter >> 14 & 3);
	else if (!(mode & CR_MODE_BYTE))
		addr = counter << 1 | (counter >> (mode & CR_MODE_WRAP ? 15 : 13) & 1);
	else
		addr = counter;
	if (!(mode & CR_MODE_ROW0))
		addr = (addr & ~0x2000u) | (row & 1) << 13;
	if (!(mode & CR_MODE_ROW1))
		addr = (addr & ~0x4000u) | (row & 2) << 13;
	return v->mem + (size_t)(addr & (VGA_PLANE_SIZE - 1)) * VGA_PLANES;
}

/* -- Lines: n characters' dots from `to` on -------------------------------------------------------------- */

static bool cursor_at(const struct vga *v, uint16_t counter, unsigned row)
{
	const uint8_t *c = v->crtc;

	return counter == (c[CR_CURSOR_HIGH] << 8 | c[CR_CURSOR_LOW]) && !(c[CR_CURSOR_START] & CR_CURSOR_OFF) &&
	       row >= (c[CR_CURSOR_START] & 0x1fu) && row <= (c[CR_CURSOR_END] & 0x1fu);
}

/* Nine dots of a character's line, the leftmost in bit 8. */
static unsigned glyph(const struct vga *v, uint8_t ch, uint8_t attr, unsigned row)
{
	uint8_t map = v->seq[SEQ_FONT];
	unsigned font = attr & 0x08 ? (map >> 2 & 3) << 1 | (map >> 5 & 1) : (map & 3) << 1 | (map >> 4 & 1);
	/* The fonts' places: 0, 16, 32, 48 KiB, then 8, 24, 40, 56. */
	unsigned base = (font >> 1) * 0x4000u + (font & 1) * 0x2000u;
	unsigned bits = v->mem[(size_t)(base + ch * FONT_SLOT + row) * VGA_PLANES + 2];

	if ((v->ar[AR_MODE] & AR_MODE_MONO) && (attr & 7) == 1 && row == (v->crtc[CR_UNDERLINE] & 0x1fu))
		bits = 0xff;
	bits <<= 1;
	if ((v->ar[AR_MODE] & AR_MODE_LINE_9) && ch >= 0xc0 && ch <= 0xdf)
		bits |= bits >> 1 & 1;
	return bits;
}

static void text_line(const struct vga *v, const struct beam *b, uint32_t *to, unsigned n, unsigned dots)
{
	for (unsigned i = 0; i < n; i++) {
		uint16_t counter = (uint16_t)(b->row_start + i);
		const uint8_t *m = fetch(v, counter, 0);
		uint8_t attr = m[1], back = attr >> 4;
		unsigned bits = glyph(v, m[0], attr, b->row);
		uint32_t colour[2];

		if (v->ar[AR_MODE] & AR_MODE_BLINK)
			back &= 7;
		if (cursor_at(v, counter, b->row))
			bits = 0x1ff;
		colour[0] = palette(v, back);
		colour[1] = palette(v, attr & 0x0f);
		for (unsigned x = 0; x < dots; x++)
			*to++ = colour[bits >> (8 - x) & 1];
	}
}

static void planar_line(const struct vga *v, const struct beam *b, uint32_t *to, unsigned n)
{
	uint32_t colour[16];

	for (unsigned i = 0; i < 16; i++)
		colour[i] = palette(v, i);
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *m = fetch(v, b->row_start + i, b->row);

		for (int x = 7; x >= 0; x--)
			*to++ = colour[(m[0] >> x & 1) | (m[1] >> x & 1) << 1 | (m[2] >> x & 1) << 2 | (m[3] >> x & 1) << 3];
	}
}

/* Two bits for each dot: those of planes 0 and 2 first, then of 1 and 3. */
static void cga_line(const struct vga *v, const struct beam *b, uint32_t *to, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *m = fetch(v, b->row_start + i, b->row);

		for (unsigned p = 0; p < 2; p++)
			for (int x = 6; x >= 0; x -= 2)
				*to++ = palette(v, (m[p] >> x & 3) | (m[p + 2] >> x & 3) << 2);
	}
}

/* A byte for each pixel of two dots. */
static void line_256(const struct vga *v, const struct beam *b, uint32_t *to, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *m = fetch(v, b->row_start + i, b->row);

		for (unsigned p = 0; p < VGA_PLANES; p++, to += 2)
			to[0] = to[1] = v->colour[m[p]];
	}
}

/* All dots of a line are in v->line, from the panning on. */
static const uint32_t *draw_line(struct vga *v, const struct beam *b, const struct geometry *g)
{
	unsigned n = MIN(g->chars + 1, VGA_MAX_LINE / g->char_dots / 2);

	if (!(v->gr[GR_MISC] & GR_MISC_GRAPHICS))
		text_line(v, b, v->line, n, g->char_dots);
	else if (v->gr[GR_MODE] & GR_MODE_256)
		line_256(v, b, v->line, n);
	else if (v->gr[GR_MODE] & GR_MODE_SHIFT2)
		cga_line(v, b, v->line, n);
	else
		planar_line(v, b, v->line, n);
	if (!g->half_clock)
		return v->line + b->pan;
	for (unsigned i = n * g->char_dots; i-- > 0;)
		v->line[2 * i] = v->line[2 * i + 1] = v->line[i];
	return v->line + 2 * b->pan;
}

/* -- The picture ------------------------------------------------------------------------------------------ */

static unsigned panning(const struct vga *v)
{
	unsigned pan = v->ar[AR_PAN];

	if (v->gr[GR_MODE] & GR_MODE_256)
		return pan & 6;
	if (!(v->gr[GR_MISC] & GR_MISC_GRAPHICS) && !(v->seq[SEQ_CLOCKING] & SEQ_8_DOTS))
		return pan >= 8 ? 0 : pan + 1;
	return pan & 7;
}

static struct beam start_of_frame(const struct vga *v)
{
	const uint8_t *c = v->crtc;

	return (struct beam){
		.row_start = (uint16_t)((c[CR_START_HIGH] << 8 | c[CR_START_LOW]) + (c[CR_PRESET_ROW] >> 5 & 3)),
		.row = c[CR_PRESET_ROW] & 0x1f,
		.pan = panning(v),
	};
}

/* To the next line. */
static void advance(const struct vga *v, struct beam *b, unsigned y)
{
	const uint8_t *c = v->crtc;
	unsigned compare = c[CR_LINE_COMPARE] | (c[CR_OVERFLOW] & 0x10u) << 4 | (c[CR_MAX_SCAN] & 0x40u) << 3;

	if (y == compare) {
		*b = (struct beam){ .pan = v->ar[AR_MODE] & AR_MODE_PAN_SPLIT ? 0 : b->pan };
		return;
	}
	b->again = (c[CR_MAX_SCAN] & CR_DOUBLE_SCAN) && !b->again;
	if (b->again)
		return;
	if (b->row == (c[CR_MAX_SCAN] & 0x1fu)) {
		b->row = 0;
		b->row_start = (uint16_t)(b->row_start + 2 * c[CR_OFFSET]);
	} else {
		b->row = (b->row + 1) & 0x1f;
	}
}

static void draw_vga(struct vga *v, struct display *d)
{
	struct geometry g = geometry(v);
	unsigned width = g.chars * g.char_dots * (g.half_clock ? 2 : 1);
	const struct display_surface *s = display_resize(d, width, g.lines);
	struct beam b = start_of_frame(v);

	for (unsigned y = 0; y < s->height; y++) {
		display_row(d, y, draw_line(v, &b, &g));
		advance(v, &b, y);
	}
}

/* Four bits for each pixel in a size of the linear modes' registers: as many bytes of each plane as those say. */
static void draw_vbe_planar(struct vga *v, struct display *d)
{
	const struct display_surface *s = display_resize(d, v->vbe[VBE_XRES], v->vbe[VBE_YRES]);
	unsigned line = v->vbe[VBE_VIRT_WIDTH] / 8u, x = v->vbe[VBE_X_OFFSET];
	uint32_t colour[16];

	for (unsigned i = 0; i < 16; i++)
		colour[i] = palette(v, i);
	for (unsigned y = 0; y < s->height; y++) {
		uint64_t at = ((uint64_t)v->vbe[VBE_Y_OFFSET] + y) * line + x / 8;

		for (unsigned i = 0; i < s->width; i++) {
			const uint8_t *m = v->mem + ((at + (x % 8 + i) / 8) * VGA_PLANES & (v->mem_size - 1));
			unsigned bit = 7 - (x + i) % 8;

			v->line[i] = colour[(m[0] >> bit & 1) | (m[1] >> bit & 1) << 1 | (m[2] >> bit & 1) << 2 |
					    (m[3] >> bit & 1) << 3];
		}
		display_row(d, y, v->line);
	}
}

static void draw_black(struct vga *v, struct display *d)
{
	struct geometry g = geometry(v);
	unsigned width = g.chars * g.char_dots * (g.half_clock ? 2 : 1);
	bool sane = width >= MIN_WIDTH && g.lines >= MIN_HEIGHT;
	const struct display_surface *s = display_resize(d, sane ? width : 640, sane ? g.lines : 480);

	memset(v->line, 0, sizeof(v->line));
	for (unsigned y = 0; y < s->height; y++)
		display_row(d, y, v->line);
}

static void draw(void *opaque, struct display *d, bool all)
{
	struct vga *v = opaque;

	lock_take(&v->lock);
	if (all || v->changed || vbe_linear(v) || ++v->skipped >= LOOK_EVERY) {
		v->changed = false;
		v->skipped = 0;
		v->frames++;
		load_colours(v);
		if (vbe_linear(v))
			vbe_draw(v, d);
		else if (!(v->ar_index & AR_VIDEO_ON) || (v->seq[SEQ_CLOCKING] & SEQ_SCREEN_OFF))
			draw_black(v, d);
		else if (vbe_on(v))
			draw_vbe_planar(v, d);
		else
			draw_vga(v, d);
	}
	lock_drop(&v->lock);
}

const struct display_source vga_source = { .draw = draw };
