/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The programmable attribute map of the 440FX host bridge.
 *
 * Specification: Intel 82441FX data sheet (290549-001), 3.2.18.
 * Different: the system ROM's bytes stand in the RAM behind its place, copied on reset, and show from there: an engine runs
 * code only from memory that is at its own guest-physical address. So a guest that writes to shadow RAM and then
 * turns its reads to ROM again sees what it wrote; firmware copies ROM to RAM, which is the same either way.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"
#include "dev/misc/pam.h"

#define SEGMENTS     13
#define SEGMENT_SIZE 0x4000ull
#define F_SEGMENT    12 /* 0xf0000 to 1 MiB, PAM0's upper half */
#define F_BASE       0xf0000ull

struct segment {
	struct pam *pam;
	uint64_t base, size;
	struct region *region; /* NULL: nobody is there */
	uint8_t attr;
	bool rom;
};

struct pam {
	struct space *mem;
	struct ram *ram;
	const uint8_t *rom;
	uint64_t rom_len;
	struct segment seg[SEGMENTS];
};

/* Writes to RAM under what reads as nothing. */
static void hidden_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct segment *s = opaque;
	uint8_t bytes[8];
	uint8_t *to = s->pam->ram->base + s->base + off;

	memcpy(bytes, &val, sizeof(bytes));
	for (unsigned i = 0; i < size; i++)
		__atomic_store_n(to + i, bytes[i], __ATOMIC_RELAXED);
	ram_note_write(s->pam->ram, s->base + off, size);
}

static const struct io_ops hidden_ops = { .write = hidden_write };

/*
 *  read  write   with ROM           without
 *  PCI   PCI     bytes, read-only   nobody
 *  PCI   RAM     bytes, writable    reads nothing, writes to RAM
 *  RAM   PCI     bytes, read-only   bytes, read-only
 *  RAM   RAM     bytes, writable    bytes, writable
 */
static void show(struct segment *s)
{
	bool write = s->attr & PAM_WRITE, bytes = s->rom || (s->attr & PAM_READ);
	struct region *before = s->region;
	int rc = 0;

	s->region = NULL;
	if (bytes)
		rc = space_add_ram(s->pam->mem, &s->region, "shadow", s->base, s->size, s->pam->ram, !write);
	else if (write)
		rc = space_add_io(s->pam->mem, &s->region, "shadow-write", s->base, s->size, &hidden_ops, s, NULL);
	BUG_ON(rc);
	space_remove(s->pam->mem, before);
}

static void set_segment(struct segment *s, uint8_t attr)
{
	attr &= PAM_READ | PAM_WRITE;
	if (attr == s->attr)
		return;
	s->attr = attr;
	show(s);
}

/* PAM0: the upper half is the F segment; PAM1 to PAM6: two segments of 16 KiB from 768 KiB up. */
void pam_set(struct pam *p, unsigned reg, uint8_t val)
{
	BUG_ON(reg >= PAM_REGS);
	if (reg)
		set_segment(&p->seg[2 * (reg - 1)], val);
	set_segment(reg ? &p->seg[2 * (reg - 1) + 1] : &p->seg[F_SEGMENT], val >> 4);
}

void pam_set_rom(struct pam *p, const void *rom, uint64_t len)
{
	BUG_ON(len % SEGMENT_SIZE || len > PAM_END - PAM_BASE);
	p->rom = rom;
	p->rom_len = len;
	for (unsigned i = 0; i < SEGMENTS; i++) {
		p->seg[i].rom = p->seg[i].base >= PAM_END - len;
		show(&p->seg[i]);
	}
}

void pam_reset(struct pam *p)
{
	uint64_t base = PAM_END - p->rom_len;

	if (p->rom_len) {
		memcpy(p->ram->base + base, p->rom, p->rom_len);
		ram_note_write(p->ram, base, p->rom_len);
	}
	for (unsigned reg = 0; reg < PAM_REGS; reg++)
		pam_set(p, reg, 0);
}

struct pam *pam_new(struct space *mem, struct ram *ram)
{
	struct pam *p = calloc(1, sizeof(*p));

	BUG_ON(!p);
	p->mem = mem;
	p->ram = ram;
	for (unsigned i = 0; i < SEGMENTS; i++) {
		p->seg[i] = (struct segment){
			.pam = p, .base = PAM_BASE + i * SEGMENT_SIZE, .size = SEGMENT_SIZE, .attr = PAM_READ | PAM_WRITE,
		};
		if (i == F_SEGMENT)
			p->seg[i].size = PAM_END - F_BASE;
		show(&p->seg[i]);
	}
	return p;
}

void pam_free(struct pam *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < SEGMENTS; i++)
		space_remove(p->mem, p->seg[i].region);
	free(p);
}
