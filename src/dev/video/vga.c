/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of the VGA.
 *
 * Specification: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem (1992).
 * Missing: interrupts at the vertical retrace, the monitor's sense bits, light pen.
 * Ignored: CRTC timing but for the size of the picture; the clock select bits; the sequencer's reset.
 */
#include "base/bits.h"
#include "dev/video/vga_impl.h"

/* Ports, from 0x3b0 on */
enum {
	PORT_CRTC_MONO = 0x04, PORT_STATUS_MONO = 0x0a, PORT_AR = 0x10, PORT_AR_READ, PORT_MISC, PORT_ENABLE, PORT_SEQ,
	PORT_SEQ_DATA, PORT_DAC_MASK, PORT_DAC_READ, PORT_DAC_WRITE, PORT_DAC_DATA, PORT_FEATURE_READ, PORT_MISC_READ = 0x1c,
	PORT_GR = 0x1e, PORT_GR_DATA, PORT_CRTC = 0x24, PORT_CRTC_DATA, PORT_STATUS = 0x2a,
};

#define STATUS_BLANK   0x01
#define STATUS_RETRACE 0x08
#define NOBODY         0xff

/* 640 by 480 at 60 Hz: 525 lines of 800 dots, of which 480 and 640 show something; lines 490 and 491 are the retrace. */
#define LINE_NS        31778u
#define LINE_SHOWN_NS  25422u
#define FRAME_LINES    525u
#define SHOWN_LINES    480u
#define RETRACE_FIRST  490u
#define RETRACE_LAST   491u

/* Which bits of a register there are. */
static const uint8_t seq_bits[VGA_SEQS] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e };
static const uint8_t gr_bits[VGA_GRS] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff };
static const uint8_t ar_bits[VGA_ARS - AR_MODE] = { 0xef, 0xff, 0x3f, 0x0f, 0x0f };

/* -- Attribute controller --------------------------------------------------------------------------- */

static void ar_write(struct vga *v, uint8_t val)
{
	unsigned i = v->ar_index & 0x1f;

	v->ar_data = !v->ar_data;
	if (v->ar_data)
		v->ar_index = val & 0x3f;
	else if (i < AR_MODE)
		v->ar[i] = val & 0x3f;
	else if (i < VGA_ARS)
		v->ar[i] = val & ar_bits[i - AR_MODE];
}

static uint8_t ar_read(const struct vga *v)
{
	unsigned i = v->ar_index & 0x1f;

	return i < VGA_ARS ? v->ar[i] : 0;
}

/* Where the beam would be tells whether it shows something. Reading resets the attribute controller's flip-flop. */
static uint8_t status_read(struct vga *v)
{
	uint64_t now = clock_now(v->clock);
	unsigned line = (unsigned)(now / LINE_NS % FRAME_LINES);
	uint8_t s = 0;

	v->ar_data = false;
	if (line >= SHOWN_LINES || now % LINE_NS >= LINE_SHOWN_NS)
		s |= STATUS_BLANK;
	if (line >= RETRACE_FIRST && line <= RETRACE_LAST)
		s |= STATUS_RETRACE;
	return s;
}

/* -- DAC ---------------------------------------------------------------------------------------------- */

static uint8_t dac_read(struct vga *v)
{
	uint8_t val = v->dac[v->dac_read * 3u + v->dac_component];

	if (++v->dac_component == 3) {
		v->dac_component = 0;
		v->dac_read++;
	}
	return val;
}

static void dac_write(struct vga *v, uint8_t val)
{
	if (!(v->vbe[VBE_ENABLE] & VBE_8BIT_DAC))
		val &= 0x3f;
	v->dac[v->dac_write * 3u + v->dac_component] = val;
	if (++v->dac_component == 3) {
		v->dac_component = 0;
		v->dac_write++;
	}
}

static void dac_index(struct vga *v, uint8_t val, bool reading)
{
	v->dac_reading = reading;
	v->dac_component = 0;
	if (reading)
		v->dac_read = val;
	else
		v->dac_write = val;
}

/* -- CRT controller ------------------------------------------------------------------------------------ */

static void crtc_write(struct vga *v, uint8_t val)
{
	unsigned i = v->crtc_index;

	if (i >= VGA_CRS)
		return;
	if (i <= CR_OVERFLOW && (v->crtc[CR_RETRACE_END] & CR_PROTECT)) {
		if (i == CR_OVERFLOW) /* its line compare bit is not protected */
			v->crtc[i] = (v->crtc[i] & ~0x10) | (val & 0x10);
		return;
	}
	v->crtc[i] = val;
}

/* CRTC, input status and feature control are at one of two places, as the miscellaneous register says. Gives the colour card's. */
static unsigned place(const struct vga *v, unsigned port)
{
	bool colour = v->misc & MISC_COLOUR;

	switch (port) {
	case PORT_CRTC_MONO:
	case PORT_CRTC_MONO + 1:
	case PORT_STATUS_MONO:
		return colour ? NOBODY : port + PORT_CRTC - PORT_CRTC_MONO;
	case PORT_CRTC:
	case PORT_CRTC_DATA:
	case PORT_STATUS:
		return colour ? port : NOBODY;
	}
	return port;
}

/* -- Ports ----------------------------------------------------------------------------------------------- */

uint64_t vga_port_read(void *opaque, uint64_t off, unsigned size)
{
	struct vga *v = opaque;

	switch (place(v, (unsigned)off)) {
	case PORT_AR:
		return v->ar_index;
	case PORT_AR_READ:
		return ar_read(v);
	case PORT_MISC: /* input status 0 */
		return 0;
	case PORT_ENABLE:
		return v->enable;
	case PORT_SEQ:
		return v->seq_index;
	case PORT_SEQ_DATA:
		return v->seq_index < VGA_SEQS ? v->seq[v->seq_index] : 0;
	case PORT_DAC_MASK:
		return v->dac_mask;
	case PORT_DAC_READ:
		return v->dac_reading ? 3 : 0;
	case PORT_DAC_WRITE:
		return v->dac_write;
	case PORT_DAC_DATA:
		return dac_read(v);
	case PORT_FEATURE_READ:
		return v->feature;
	case PORT_MISC_READ:
		return v->misc;
	case PORT_GR:
		return v->gr_index;
	case PORT_GR_DATA:
		return v->gr_index < VGA_GRS ? v->gr[v->gr_index] : 0;
	case PORT_CRTC:
		return v->crtc_index;
	case PORT_CRTC_DATA:
		return v->crtc_index < VGA_CRS ? v->crtc[v->crtc_index] : 0;
	case PORT_STATUS:
		return status_read(v);
	}
	return NOBODY;
}

void vga_port_write(void *opaque, uint64_t off, unsigned size, uint64_t wide)
{
	struct vga *v = opaque;
	uint8_t val = (uint8_t)wide;

	v->changed = true;
	switch (place(v, (unsigned)off)) {
	case PORT_AR:
		ar_write(v, val);
		break;
	case PORT_MISC:
		v->misc = val;
		break;
	case PORT_ENABLE:
		v->enable = val & 1;
		break;
	case PORT_SEQ:
		v->seq_index = val & 7;
		break;
	case PORT_SEQ_DATA:
		if (v->seq_index < VGA_SEQS)
			v->seq[v->seq_index] = val & seq_bits[v->seq_index];
		break;
	case PORT_DAC_MASK:
		v->dac_mask = val;
		break;
	case PORT_DAC_READ:
	case PORT_DAC_WRITE:
		dac_index(v, val, off == PORT_DAC_READ);
		break;
	case PORT_DAC_DATA:
		dac_write(v, val);
		break;
	case PORT_GR:
		v->gr_index = val & 0x0f;
		break;
	case PORT_GR_DATA:
		if (v->gr_index < VGA_GRS)
			v->gr[v->gr_index] = val & gr_bits[v->gr_index];
		break;
	case PORT_CRTC:
		v->crtc_index = val & 0x3f;
		break;
	case PORT_CRTC_DATA:
		crtc_write(v, val);
		break;
	case PORT_STATUS:
		v->feature = val & 0x0b;
		break;
	}
}
