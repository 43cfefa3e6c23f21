/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The standard VGA card as a PCI function: frame buffer, registers in memory, video BIOS.
 *
 * Specification: QEMU's docs/specs/standard-vga (PCI 1234:1111, revision 2).
 * Missing: EDID (its place reads as zero, which says that there is none); big-endian frame buffers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/bits.h"
#include "dev/video/vga.h"
#include "dev/video/vga_impl.h"

/* BARs, and what the one of registers holds */
#define BAR_FRAME_BUFFER 0
#define BAR_REGISTERS    2
#define REGISTERS_SIZE   0x1000u
#define REGS_VGA         0x400u /* ports from 3c0 to 3df */
#define REGS_VGA_SIZE    0x20u
#define REGS_VGA_PORT    0x10u  /* 3c0, counted from 3b0 */
#define REGS_VBE         0x500u /* 16 bits each */
#define REGS_EXTENDED    0x600u /* size of this part, byte order */
#define EXTENDED_SIZE    8u
#define LITTLE_ENDIAN_BYTES 0x1e1e1e1eu
#define ROM_SIZE_MIN     2048u
#define ROM_SIZE_MAX     (256u * 1024)

struct stdvga {
	struct device dev;
	struct pci_function fn;
	struct vga vga;
	bool has_font;
	uint8_t font[VGA_FONT_SIZE]; /* the ROM's */
};

static const struct pci_ids ids = {
	.vendor = 0x1234, .device = 0x1111, .class_code = 0x030000, .revision = 2, .subvendor = 0x1af4, .subsystem = 0x1100,
};

static uint64_t registers_read(void *opaque, uint64_t off, unsigned size)
{
	struct vga *v = opaque;

	if (off >= REGS_VGA && off < REGS_VGA + REGS_VGA_SIZE) {
		uint64_t low = vga_port_read(v, off - REGS_VGA + REGS_VGA_PORT, 1);

		return size == 1 ? low : low | vga_port_read(v, off - REGS_VGA + REGS_VGA_PORT + 1, 1) << 8;
	}
	if (off >= REGS_VBE && off < REGS_VBE + 2 * VBE_REGS)
		return vbe_read(v, (unsigned)(off - REGS_VBE) / 2);
	if (off >= REGS_EXTENDED && off < REGS_EXTENDED + EXTENDED_SIZE)
		return off < REGS_EXTENDED + 4 ? EXTENDED_SIZE >> (8 * (off & 3)) : LITTLE_ENDIAN_BYTES;
	return off < REGS_VGA ? 0 : UINT64_MAX;
}

static void registers_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct vga *v = opaque;

	if (off >= REGS_VGA && off < REGS_VGA + REGS_VGA_SIZE) {
		vga_port_write(v, off - REGS_VGA + REGS_VGA_PORT, 1, val & 0xff);
		if (size == 2)
			vga_port_write(v, off - REGS_VGA + REGS_VGA_PORT + 1, 1, val >> 8 & 0xff);
	} else if (off >= REGS_VBE && off < REGS_VBE + 2 * VBE_REGS && size == 2) {
		vbe_write(v, (unsigned)(off - REGS_VBE) / 2, (uint16_t)val);
	}
}

static const struct io_ops registers_io = { .read = registers_read, .write = registers_write, .max_size = 2 };
static const struct io_ops ports_io = { .read = vga_port_read, .write = vga_port_write, .max_size = 1 };

/* The ports between 3bb and 3c0 belong to a printer. */
#define MONO_PORTS 0x0cu
#define COLOUR_PORT 0x10u

static uint64_t colour_read(void *opaque, uint64_t off, unsigned size)
{
	return vga_port_read(opaque, off + COLOUR_PORT, size);
}

static void colour_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	vga_port_write(opaque, off + COLOUR_PORT, size, val);
}

static const struct io_ops colour_io = { .read = colour_read, .write = colour_write, .max_size = 1 };

int stdvga_attach(struct stdvga *s, struct space *pio, uint16_t ports, uint16_t vbe, struct space *mem, uint64_t window)
{
	struct vga *v = &s->vga;
	struct region *r;
	int rc = space_add_io(pio, &r, "vga-mono", ports, MONO_PORTS, &ports_io, v, &v->lock);

	if (!rc)
		rc = space_add_io(pio, &r, "vga", ports + COLOUR_PORT, VGA_PORTS - COLOUR_PORT, &colour_io, v, &v->lock);
	if (!rc)
		rc = space_add_io(pio, &r, "vbe", vbe, VBE_PORTS, &vbe_io, v, &v->lock);
	return rc ? rc : space_add_io(mem, &r, "vga-window", window, VGA_WINDOW_SIZE, &vga_window_io, v, &v->lock);
}

/* -- Life -------------------------------------------------------------------------------------------------- */

static void reset_registers(struct vga *v)
{
	v->misc = v->feature = v->enable = v->seq_index = v->gr_index = v->ar_index = v->crtc_index = 0;
	memset(v->seq, 0, sizeof(v->seq));
	memset(v->gr, 0, sizeof(v->gr));
	memset(v->ar, 0, sizeof(v->ar));
	memset(v->crtc, 0, sizeof(v->crtc));
	memset(v->dac, 0, sizeof(v->dac));
	v->ar_data = v->dac_reading = false;
	v->dac_mask = 0xff;
	v->dac_read = v->dac_write = v->dac_component = 0;
	v->latch = 0;
	v->changed = true;
	vbe_reset(v);
}

static void stdvga_reset(struct device *d)
{
	struct stdvga *s = (struct stdvga *)d;

	pci_function_reset(&s->fn);
	lock_take(&s->vga.lock);
	reset_registers(&s->vga);
	lock_drop(&s->vga.lock);
}

bool stdvga_has_font(const struct stdvga *s)
{
	return s->has_font;
}

void stdvga_text_mode(struct stdvga *s)
{
	if (!s->has_font)
		return;
	lock_take(&s->vga.lock);
	vga_set_text_mode(&s->vga, s->font);
	lock_drop(&s->vga.lock);
}

static int stdvga_post_load(struct device *d)
{
	struct stdvga *s = (struct stdvga *)d;
	struct vga *v = &s->vga;

	if (pci_function_post_load(&s->fn) || v->dac_component > 2 || !vbe_valid(v))
		return -EINVAL;
	v->changed = true;
	return 0;
}

static void stdvga_free(struct device *d)
{
	struct stdvga *s = (struct stdvga *)d;

	if (s->vga.display)
		display_set_source(s->vga.display, NULL, NULL);
	pci_function_release(&s->fn);
	lock_release(&s->vga.lock);
	free(s);
}

static void stdvga_print_stats(const struct device *d, struct strbuf *out)
{
	const struct vga *v = &((const struct stdvga *)d)->vga;

	strbuf_addf(out, "vga.frames               %14llu  pictures drawn\n", (unsigned long long)v->frames);
	strbuf_addf(out, "vga.window_writes        %14llu  bytes written at 0xa0000\n", (unsigned long long)v->window_writes);
}

static const struct state_field stdvga_state[] = {
	STATE_BYTES(struct stdvga, fn.config),
	STATE_U8(struct stdvga, vga.misc),
	STATE_U8(struct stdvga, vga.feature),
	STATE_U8(struct stdvga, vga.enable),
	STATE_U8(struct stdvga, vga.seq_index),
	STATE_U8(struct stdvga, vga.gr_index),
	STATE_U8(struct stdvga, vga.ar_index),
	STATE_U8(struct stdvga, vga.crtc_index),
	STATE_BYTES(struct stdvga, vga.seq),
	STATE_BYTES(struct stdvga, vga.gr),
	STATE_BYTES(struct stdvga, vga.ar),
	STATE_BYTES(struct stdvga, vga.crtc),
	STATE_BOOL(struct stdvga, vga.ar_data),
	STATE_U32(struct stdvga, vga.latch),
	STATE_BYTES(struct stdvga, vga.dac),
	STATE_U8(struct stdvga, vga.dac_mask),
	STATE_U8(struct stdvga, vga.dac_read),
	STATE_U8(struct stdvga, vga.dac_write),
	STATE_U8(struct stdvga, vga.dac_component),
	STATE_BOOL(struct stdvga, vga.dac_reading),
	STATE_U16(struct stdvga, vga.vbe_index),
	STATE_ARRAY(struct stdvga, vga.vbe),
	STATE_END(),
};

static const struct device_ops stdvga_ops = {
	.name = "VGA",
	.reset = stdvga_reset,
	.post_load = stdvga_post_load,
	.free = stdvga_free,
	.state = stdvga_state,
	.state_version = 1,
	.print_stats = stdvga_print_stats,
};

static int make_rom(struct stdvga *s, const struct stdvga_config *c, struct err *e)
{
	struct pci_bar rom = { .type = PCI_BAR_ROM, .size = ROM_SIZE_MIN, .name = "vga-rom", .ram = c->ram };
	const uint8_t *font;
	int rc;

	if (!c->rom)
		return 0;
	if (c->rom_len > ROM_SIZE_MAX)
		return err_set(e, EINVAL, "video BIOS: %zu bytes are too many for a ROM; it takes 256 KiB", c->rom_len);
	while (rom.size < MAX(c->rom_len, PAGE_SIZE))
		rom.size *= 2;
	rc = ram_slot_new(&rom.slot, c->ram, rom.size, e);
	if (rc)
		return rc;
	memcpy(ram_slot_host(rom.slot), c->rom, c->rom_len);
	font = vga_find_font(c->rom, c->rom_len);
	s->has_font = font;
	if (font)
		memcpy(s->font, font, sizeof(s->font));
	pci_add_bar(&s->fn, PCI_BAR_OF_ROM, &rom);
	return 0;
}

int stdvga_new(struct stdvga **out, const struct stdvga_config *c, struct err *e)
{
	struct stdvga *s = calloc(1, sizeof(*s));
	struct pci_bar frame_buffer = { .type = PCI_BAR_MEM32, .prefetch = true, .size = c->memory, .name = "vga-memory", .ram = c->ram };
	struct pci_bar registers = { .type = PCI_BAR_MEM32, .size = REGISTERS_SIZE, .name = "vga-registers", .ops = &registers_io };
	struct vga *v = &s->vga;
	int rc;

	BUG_ON(!s || c->memory < STDVGA_MEMORY_MIN || c->memory > STDVGA_MEMORY_MAX || (c->memory & (c->memory - 1)));
	s->dev.ops = &stdvga_ops;
	list_init(&s->dev.node);
	lock_init(&v->lock, RANK_DEVICE);
	v->clock = c->clock;
	v->mem_size = (uint32_t)c->memory;
	pci_function_init(&s->fn, c->bus, c->devfn, &ids);
	rc = ram_slot_new(&v->slot, c->ram, c->memory, e);
	if (!rc)
		rc = make_rom(s, c, e);
	if (rc) {
		stdvga_free(&s->dev);
		return rc;
	}
	v->mem = ram_slot_host(v->slot);
	frame_buffer.slot = v->slot;
	registers.opaque = v;
	registers.lock = &v->lock;
	pci_add_bar(&s->fn, BAR_FRAME_BUFFER, &frame_buffer);
	pci_add_bar(&s->fn, BAR_REGISTERS, &registers);
	pci_function_seal(&s->fn);
	reset_registers(v);
	v->display = c->display;
	if (v->display)
		display_set_source(v->display, &vga_source, v);
	*out = s;
	return 0;
}
