/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VGA card through its ports, window and BARs: what is on the screen then, pixel by pixel. */
#include "dev_test.h"

#include <stdlib.h>
#include <string.h>

#include "backend/display/display.h"
#include "base/bits.h"
#include "bus/pci.h"
#include "dev/video/vga.h"

#define MEMORY  (4 * MiB)
#define WINDOW  0xa0000u
#define LFB     0xd0000000u
#define REGS    0xd4000000u
#define ROM     0xd5000000u
#define DEVFN   PCI_DEVFN(2, 0)
#define MAX_PIXELS (1280u * 1024)

struct fixture {
	struct bench b;
	struct ram *ram;
	struct pci_bus *bus;
	struct display *d;
	struct display_view *view;
	struct stdvga *v;
	unsigned width, height, changed_rows;
	uint32_t pixel[MAX_PIXELS];
};

static struct fixture f;

static int setup(void **state)
{
	static const uint8_t rom[3000] = { 0x55, 0xaa, 6 };
	struct pci_bus_config bus = { .mem32 = { RAM_HOLE_START, 0x3ec00000 }, .io = { 0x1000, 0xf000 } };
	struct stdvga_config c = { .devfn = DEVFN, .memory = MEMORY, .rom = rom, .rom_len = sizeof(rom) };
	struct err e;

	memset(&f, 0, sizeof(f));
	bench_init(&f.b);
	assert_int_equal(ram_new(&f.ram, MiB, &e), 0);
	bus.mem = f.b.mem;
	bus.pio = f.b.pio;
	c.bus = f.bus = pci_bus_new(&bus);
	c.ram = f.ram;
	c.clock = f.b.clock;
	c.display = f.d = display_new();
	f.view = display_view_new(f.d);
	assert_int_equal(stdvga_new(&f.v, &c, &e), 0);
	assert_int_equal(stdvga_attach(f.v, f.b.pio, 0x3b0, 0x1ce, f.b.mem, WINDOW), 0);
	return 0;
}

static int teardown(void **state)
{
	free_device(f.v);
	display_view_free(f.view);
	display_free(f.d);
	pci_bus_free(f.bus);
	bench_release(&f.b);
	ram_free(f.ram);
	return 0;
}

static void see(void *opaque, const struct display_surface *s, const struct display_rect *r, bool resized)
{
	assert_true(s->width * s->height <= MAX_PIXELS);
	f.width = s->width;
	f.height = s->height;
	f.changed_rows += r->height;
	memcpy(f.pixel, s->pixel, sizeof(*f.pixel) * s->width * s->height);
}

/* Bring f.pixel up to date; whether anything has changed. */
static bool look(void)
{
	f.changed_rows = 0;
	return display_view_update(f.view, see, NULL);
}

static uint32_t at(unsigned x, unsigned y)
{
	return f.pixel[y * f.width + x] & 0xffffff;
}

/* -- Setting modes, as a video BIOS does ------------------------------------------------------------- */

static void indexed(uint16_t port, uint8_t index, uint8_t val)
{
	out8(&f.b, port, index);
	out8(&f.b, port + 1, val);
}

static void attribute(uint8_t index, uint8_t val)
{
	in8(&f.b, 0x3da);
	out8(&f.b, 0x3c0, index);
	out8(&f.b, 0x3c0, val);
}

struct mode {
	uint8_t misc, seq[5], crtc[25], gr[9], ar_mode, ar_planes;
};

static const struct mode text = {
	0x67, { 3, 0, 3, 0, 2 },
	{ 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff },
	{ 0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff }, 0x0c, 0x0f,
};
static const struct mode planar = {
	0xe3, { 3, 1, 0x0f, 0, 6 },
	{ 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0, 0xe7, 0x04, 0xe3, 0xff },
	{ 0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff }, 0x01, 0x0f,
};
static const struct mode chained = {
	0x63, { 3, 1, 0x0f, 0, 0x0e },
	{ 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff },
	{ 0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff }, 0x41, 0x0f,
};
static const struct mode cga = {
	0x63, { 3, 9, 3, 0, 2 },
	{ 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0, 0x96, 0xb9, 0xa2, 0xff },
	{ 0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff }, 0x01, 0x03,
};

/* DAC entry i is the grey i (of 64) plus red for the upper ones; the palette is one to one. */
static void set_mode(const struct mode *m)
{
	out8(&f.b, 0x3c2, m->misc);
	for (unsigned i = 0; i < 5; i++)
		indexed(0x3c4, i, m->seq[i]);
	indexed(0x3d4, 0x11, 0); /* unprotect */
	for (unsigned i = 0; i < 25; i++)
		indexed(0x3d4, i, m->crtc[i]);
	for (unsigned i = 0; i < 9; i++)
		indexed(0x3ce, i, m->gr[i]);
	for (unsigned i = 0; i < 16; i++)
		attribute(i, i);
	attribute(0x10, m->ar_mode);
	attribute(0x12, m->ar_planes);
	attribute(0x13, m->ar_mode & 4 ? 8 : 0);
	out8(&f.b, 0x3c6, 0xff);
	out8(&f.b, 0x3c8, 0);
	for (unsigned i = 0; i < 256; i++)
		for (unsigned c = 0; c < 3; c++)
			out8(&f.b, 0x3c9, c ? i & 63 : i >> 2);
	in8(&f.b, 0x3da);
	out8(&f.b, 0x3c0, 0x20);
}

static uint32_t six(unsigned v)
{
	return v << 2 | v >> 4;
}

static uint32_t colour(unsigned i)
{
	return six(i >> 2) << 16 | six(i & 63) << 8 | six(i & 63);
}

static void poke8(uint32_t addr, uint8_t val)
{
	space_write(f.b.mem, addr, 1, val);
}

/* A glyph of 16 lines into plane 2, as a BIOS loads a font. */
static void load_glyph(uint8_t ch, const uint8_t *rows)
{
	indexed(0x3c4, 2, 4);
	indexed(0x3c4, 4, 6);
	indexed(0x3ce, 5, 0);
	indexed(0x3ce, 6, 4);
	for (unsigned i = 0; i < 16; i++)
		poke8(WINDOW + ch * 32 + i, rows[i]);
	indexed(0x3c4, 2, text.seq[2]);
	indexed(0x3c4, 4, text.seq[4]);
	indexed(0x3ce, 5, text.gr[5]);
	indexed(0x3ce, 6, text.gr[6]);
}

/* -- Legacy modes ------------------------------------------------------------------------------------ */

static const uint8_t glyph_a[16] = { 0, 0, 0x10, 0x38, 0x6c, 0xc6, 0xc6, 0xfe, 0xc6, 0xc6, 0xc6, 0xc6 };
static const uint8_t glyph_line[16] = { [7] = 0xff, [8] = 0xff };

static void put_char(unsigned col, unsigned row, uint8_t ch, uint8_t attr)
{
	poke8(0xb8000 + 2 * (row * 80 + col), ch);
	poke8(0xb8000 + 2 * (row * 80 + col) + 1, attr);
}

static void expect_glyph(unsigned col, unsigned row, const uint8_t *rows, uint8_t attr, bool ninth)
{
	for (unsigned y = 0; y < 16; y++)
		for (unsigned x = 0; x < 9; x++) {
			bool on = x < 8 ? rows[y] >> (7 - x) & 1 : ninth && (rows[y] & 1);

			assert_int_equal(at(col * 9 + x, row * 16 + y), colour(on ? attr & 15 : attr >> 4));
		}
}

static void test_text(void **state)
{
	set_mode(&text);
	load_glyph('A', glyph_a);
	load_glyph(0xc4, glyph_line);
	put_char(0, 0, 'A', 0x07);
	put_char(79, 24, 'A', 0x1e);
	put_char(5, 3, 0xc4, 0x2a);
	indexed(0x3d4, 0x0e, 0x00); /* the cursor, at column 2 */
	indexed(0x3d4, 0x0f, 2);
	assert_true(look());
	assert_int_equal(f.width, 720);
	assert_int_equal(f.height, 400);
	expect_glyph(0, 0, glyph_a, 0x07, false);
	expect_glyph(79, 24, glyph_a, 0x1e, false);
	expect_glyph(5, 3, glyph_line, 0x2a, true);
	for (unsigned y = 0; y < 16; y++)
		assert_int_equal(at(2 * 9, y), colour(0)); /* black on black: attribute 0 */
	poke8(0xb8005, 0x07);
	assert_true(look());
	for (unsigned y = 0; y < 16; y++)
		assert_int_equal(at(2 * 9, y), colour(y == 13 || y == 14 ? 7 : 0));
	assert_false(look());
	/* The guest reads what it wrote, in both planes. */
	assert_int_equal(space_read(f.b.mem, 0xb8000, 2), 0x0741);
	assert_int_equal(space_read(f.b.mem, WINDOW, 1), 0xff); /* not mapped now */
}

static void test_scrolling(void **state)
{
	set_mode(&text);
	load_glyph('A', glyph_a);
	indexed(0x3d4, 0x0a, 0x20); /* no cursor */
	put_char(3, 10, 'A', 0x07);
	indexed(0x3d4, 0x0d, 80); /* begin one line further down */
	look();
	expect_glyph(3, 9, glyph_a, 0x07, false);
	indexed(0x3d4, 0x0d, 0);
	indexed(0x3d4, 0x08, 4); /* and four scan lines */
	look();
	assert_int_equal(at(3 * 9 + 3, 10 * 16 + 2 - 4), colour(7));
	indexed(0x3d4, 0x08, 0);
	indexed(0x3d4, 0x07, 0x0f); /* split: from line 200 on, memory from 0 */
	indexed(0x3d4, 0x09, 0x0f);
	indexed(0x3d4, 0x18, 199);
	put_char(0, 0, 'A', 0x04);
	look();
	for (unsigned y = 0; y < 16; y++)
		assert_int_equal(at(3, 200 + y), at(3, y));
	assert_int_equal(at(3, 202), colour(4));
	/* Screen off, and on again. */
	indexed(0x3c4, 1, 0x20);
	look();
	assert_int_equal(at(3, 202), 0);
	indexed(0x3c4, 1, 0);
	look();
	assert_int_equal(at(3, 202), colour(4));
}

static void test_planar(void **state)
{
	set_mode(&planar);
	indexed(0x3c4, 2, 0x05); /* planes 0 and 2 */
	poke8(WINDOW + 80 * 100 + 10, 0x81);
	look();
	assert_int_equal(f.width, 640);
	assert_int_equal(f.height, 480);
	for (unsigned x = 0; x < 8; x++)
		assert_int_equal(at(80 + x, 100), colour(x == 0 || x == 7 ? 5 : 0));
	indexed(0x3c4, 2, 0x0f);
	/* Set/reset through the bit mask: four dots of colour 9, the others stay. */
	indexed(0x3ce, 0, 9);
	indexed(0x3ce, 1, 0x0f);
	indexed(0x3ce, 8, 0x3c);
	space_read(f.b.mem, WINDOW + 80 * 100 + 10, 1);
	poke8(WINDOW + 80 * 100 + 10, 0);
	look();
	for (unsigned x = 0; x < 8; x++)
		assert_int_equal(at(80 + x, 100), colour(x == 0 || x == 7 ? 5 : x >= 2 && x <= 5 ? 9 : 0));
	/* Read mode 1: which dots have colour 9. */
	indexed(0x3ce, 5, 0x08);
	indexed(0x3ce, 2, 9);
	indexed(0x3ce, 7, 0x0f);
	assert_int_equal(space_read(f.b.mem, WINDOW + 80 * 100 + 10, 1), 0x3c);
	/* Write mode 1 copies the latches, 2 writes a colour, 3 a colour where the data say; XOR. */
	indexed(0x3ce, 5, 1);
	poke8(WINDOW, 0);
	indexed(0x3ce, 5, 2);
	indexed(0x3ce, 8, 0x0f);
	space_read(f.b.mem, WINDOW + 1, 1);
	poke8(WINDOW + 1, 0x0c);
	indexed(0x3ce, 5, 3);
	indexed(0x3ce, 8, 0xff);
	indexed(0x3ce, 3, 0x18);
	space_read(f.b.mem, WINDOW + 1, 1);
	poke8(WINDOW + 1, 0xc3);
	look();
	for (unsigned x = 0; x < 8; x++) {
		assert_int_equal(at(x, 0), at(80 + x, 100));
		assert_int_equal(at(8 + x, 0), colour((x >= 4 ? 12 : 0) ^ (x < 2 || x > 5 ? 9 : 0)));
	}
}

static void test_256_colours(void **state)
{
	set_mode(&chained);
	poke8(WINDOW + 320 * 50 + 7, 200);
	look();
	assert_int_equal(f.width, 640);
	assert_int_equal(f.height, 400);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(at(14 + i % 2, 100 + i / 2), colour(200));
	assert_int_equal(at(13, 100), colour(0));
	assert_int_equal(space_read(f.b.mem, WINDOW + 320 * 50 + 7, 1), 200);
	/* Unchained: 4 dots for each address, a plane each. */
	indexed(0x3c4, 4, 6);
	indexed(0x3d4, 0x14, 0);
	indexed(0x3d4, 0x17, 0xe3);
	indexed(0x3c4, 2, 4);
	poke8(WINDOW + 80 * 20 + 3, 99);
	look();
	assert_int_equal(at(2 * (3 * 4 + 2), 40), colour(99));
	assert_int_equal(at(2 * (3 * 4 + 1), 40), colour(0));
}

static void test_cga(void **state)
{
	set_mode(&cga);
	poke8(0xb8000, 0x1b);          /* 0 1 2 3 */
	poke8(0xb8000 + 0x2000, 0xc0); /* odd lines have their own half */
	look();
	assert_int_equal(f.width, 640);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(at(2 * i, 0), colour(i));
	assert_int_equal(at(0, 2), colour(3));
	assert_int_equal(at(0, 4), colour(0));
}

static void test_registers(void **state)
{
	set_mode(&text);
	assert_int_equal(in8(&f.b, 0x3cc), 0x67);
	indexed(0x3d4, 0x11, 0x8e);
	indexed(0x3d4, 0x01, 0x12); /* protected */
	assert_int_equal(in8(&f.b, 0x3d5), 0x4f);
	assert_int_equal(in8(&f.b, 0x3b5), 0xff);
	out8(&f.b, 0x3c2, 0x66); /* the other place */
	assert_int_equal(in8(&f.b, 0x3d5), 0xff);
	assert_int_equal(in8(&f.b, 0x3b5), 0x4f);
	out8(&f.b, 0x3c2, 0x67);
	out8(&f.b, 0x3c7, 10);
	assert_int_equal(in8(&f.b, 0x3c7), 3);
	for (unsigned i = 10; i < 13; i++)
		for (unsigned c = 0; c < 3; c++)
			assert_int_equal(in8(&f.b, 0x3c9), c ? i : i >> 2);
	/* The retrace comes and goes. */
	for (unsigned want = 0; want < 3; want++)
		while ((in8(&f.b, 0x3da) >> 3 & 1) != want % 2)
			;
}

/* -- The linear modes --------------------------------------------------------------------------------- */

static void vbe(uint16_t reg, uint16_t val)
{
	space_write(f.b.pio, 0x1ce, 2, reg);
	space_write(f.b.pio, 0x1cf, 2, val);
}

static uint16_t vbe_get(uint16_t reg)
{
	space_write(f.b.pio, 0x1ce, 2, reg);
	return (uint16_t)space_read(f.b.pio, 0x1cf, 2);
}

static void vbe_mode(uint16_t width, uint16_t height, uint16_t bpp)
{
	vbe(4, 0);
	vbe(1, width);
	vbe(2, height);
	vbe(3, bpp);
	vbe(4, 0x41);
}

static void map_bars(void)
{
	pci_config_write(f.bus, 0, DEVFN, PCI_BAR0, 4, LFB);
	pci_config_write(f.bus, 0, DEVFN, PCI_BAR0 + 8, 4, REGS);
	pci_config_write(f.bus, 0, DEVFN, PCI_COMMAND, 2, PCI_CMD_MEMORY | PCI_CMD_IO);
}

static void test_linear(void **state)
{
	static const struct {
		uint16_t bpp;
		unsigned bytes;
		uint32_t raw, want;
	} depth[] = {
		{ 15, 2, 0x7c1f, 0xff00ff }, { 16, 2, 0x07e0, 0x00ff00 }, { 16, 2, 0x8000, 0x840000 }, { 24, 3, 0x123456, 0x123456 },
		{ 32, 4, 0xaa102030, 0x102030 },
	};

	map_bars();
	for (size_t i = 0; i < ARRAY_SIZE(depth); i++) {
		vbe_mode(800, 600, depth[i].bpp);
		for (unsigned b = 0; b < depth[i].bytes; b++)
			poke8(LFB + (800 * 599 + 799) * depth[i].bytes + b, depth[i].raw >> (8 * b) & 0xff);
		assert_true(look());
		assert_int_equal(f.width, 800);
		assert_int_equal(f.height, 600);
		assert_int_equal(at(799, 599), depth[i].want);
		assert_int_equal(at(798, 599), 0);
	}
	/* Only what changes is reported. */
	assert_false(look());
	space_write(f.b.mem, LFB + 4 * (800 * 300 + 5), 4, 0x445566);
	assert_true(look());
	assert_true(f.changed_rows <= 16);
	assert_int_equal(at(5, 300), 0x445566);
	/* A wider line, and another beginning. */
	vbe(6, 900);
	vbe(8, 3);
	vbe(9, 2);
	space_write(f.b.mem, LFB + 4 * (900 * 2 + 3), 4, 0x010203);
	look();
	assert_int_equal(at(0, 0), 0x010203);
	/* 8 bits, by way of the window's banks; and the DAC with 8 bits. */
	vbe_mode(1024, 768, 8);
	vbe(4, 0x61);
	vbe(5, 3);
	out8(&f.b, 0x3c2, 0x67);
	poke8(WINDOW + 5, 77);
	out8(&f.b, 0x3c6, 0xff);
	out8(&f.b, 0x3c8, 77);
	for (unsigned c = 0; c < 3; c++)
		out8(&f.b, 0x3c9, 0x81 + c);
	look();
	assert_int_equal(at((3 * 65536 + 5) % 1024, (3 * 65536 + 5) / 1024), 0x818283);
	assert_int_equal(space_read(f.b.mem, LFB + 3 * 65536 + 5, 1), 77);
	/* More than there is memory for is black. */
	vbe_mode(1280, 1024, 32);
	space_write(f.b.mem, LFB, 4, 0x998877);
	look();
	assert_int_equal(at(0, 0), 0x998877);
	assert_int_equal(at(0, 1023), 0);
}

static void test_vbe_registers(void **state)
{
	assert_int_equal(vbe_get(0), 0xb0c5);
	vbe(0, 0xb0c2);
	assert_int_equal(vbe_get(0), 0xb0c2);
	assert_int_equal(vbe_get(10), MEMORY / 65536);
	vbe(4, 2);
	assert_true(vbe_get(1) >= 1920 && vbe_get(3) == 32);
	vbe(4, 0);
	vbe(1, 0xffff);
	assert_true(vbe_get(1) <= DISPLAY_MAX_WIDTH);
	vbe(3, 7);
	assert_int_equal(vbe_get(3), 8);
	map_bars();
	assert_int_equal(space_read(f.b.mem, REGS + 0x500, 2), 0xb0c2);
	space_write(f.b.mem, REGS + 0x502, 2, 640);
	assert_int_equal(vbe_get(1), 640);
	assert_int_equal(space_read(f.b.mem, REGS + 0x604, 4), 0x1e1e1e1e);
	space_write(f.b.mem, REGS + 0x400 + 0x3c2 - 0x3c0, 1, 0x63);
	assert_int_equal(in8(&f.b, 0x3cc), 0x63);
	assert_int_equal(space_read(f.b.mem, REGS, 4), 0); /* no EDID */
}

/* -- The card ----------------------------------------------------------------------------------------- */

static void test_rom(void **state)
{
	pci_config_write(f.bus, 0, DEVFN, PCI_ROM, 4, 0xffffffff);
	assert_int_equal(pci_config_read(f.bus, 0, DEVFN, PCI_ROM, 4), 0xfffff001);
	pci_config_write(f.bus, 0, DEVFN, PCI_ROM, 4, ROM);
	pci_config_write(f.bus, 0, DEVFN, PCI_COMMAND, 2, PCI_CMD_MEMORY);
	assert_int_equal(space_read(f.b.mem, ROM, 2), 0xffff);
	pci_config_write(f.bus, 0, DEVFN, PCI_ROM, 4, ROM | 1);
	assert_int_equal(space_read(f.b.mem, ROM, 2), 0xaa55);
	poke8(ROM, 0); /* read-only */
	assert_int_equal(space_read(f.b.mem, ROM, 2), 0xaa55);
	/* Two of the card's memories in one place: one is not shown, and nothing else happens. */
	pci_config_write(f.bus, 0, DEVFN, PCI_BAR0, 4, ROM & ~(uint32_t)(MEMORY - 1));
	pci_config_write(f.bus, 0, DEVFN, PCI_BAR0, 4, LFB);
	space_write(f.b.mem, LFB, 4, 0x1234);
	assert_int_equal(space_read(f.b.mem, LFB, 4), 0x1234);
	pci_config_write(f.bus, 0, DEVFN, PCI_COMMAND, 2, 0);
	assert_int_equal(space_read(f.b.mem, ROM, 2), 0xffff);
}

static void test_state(void **state)
{
	map_bars();
	set_mode(&planar);
	indexed(0x3c4, 2, 0x0f);
	poke8(WINDOW, 0x5a);
	out8(&f.b, 0x3c8, 5);
	out8(&f.b, 0x3c9, 1);
	vbe(1, 320);
	check_round_trip(f.b.clock, f.v);
	look();
	assert_int_equal(at(1, 0), colour(15));
	assert_int_equal(vbe_get(1), 320);
	reset_device(f.v);
	look();
	assert_int_equal(at(1, 0), 0);
}

/* A larger picture than the test keeps is fine for the card. */
static void glance(void *opaque, const struct display_surface *s, const struct display_rect *r, bool resized)
{
}

static void poke(void *opaque)
{
	display_view_update(f.view, glance, NULL);
	for (unsigned i = 0; i < 64; i++) {
		space_write(f.b.mem, WINDOW + i * 0x7ff, 1, i);
		space_read(f.b.mem, WINDOW + i * 0x7ff, 1);
	}
	for (uint16_t port = 0x3b0; port < 0x3e0; port++)
		in8(&f.b, port);
	space_read(f.b.mem, LFB + 100, 4);
}

static void test_hostile_state(void **state)
{
	map_bars();
	set_mode(&planar);
	check_hostile_state(f.b.clock, f.v, poke, NULL);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_text), T(test_scrolling), T(test_planar), T(test_256_colours), T(test_cga), T(test_registers), T(test_linear),
		T(test_vbe_registers), T(test_rom), T(test_state), T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
