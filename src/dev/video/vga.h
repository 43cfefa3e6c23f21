/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The standard VGA card: a VGA with Bochs' linear modes as a PCI function (1234:1111), as QEMU's "-vga std" is known to guests. */
#ifndef DOPPEL_DEV_VIDEO_VGA_H
#define DOPPEL_DEV_VIDEO_VGA_H

#include <stdbool.h>
#include "base/clock.h"
#include "bus/device.h"
#include "bus/pci.h"

struct display;
struct stdvga;

#define STDVGA_MEMORY_MIN (1ull << 20)
#define STDVGA_MEMORY_MAX (64ull << 20)

struct stdvga_config {
	struct pci_bus *bus;
	uint8_t devfn;
	struct ram *ram;          /* of whose chips' memory the card's is a part */
	struct clock *clock;
	struct display *display;  /* borrowed; NULL: nobody sees it */
	uint64_t memory;          /* bytes, a power of two from STDVGA_MEMORY_MIN to STDVGA_MEMORY_MAX */
	const void *rom;          /* video BIOS, copied; NULL: none */
	size_t rom_len;
};

/* Errors: no room for its memory. */
int stdvga_new(struct stdvga **out, const struct stdvga_config *c, struct err *e);

/*
 * What ISA cards of old decode, and this one whatever its configuration space says: ports from `ports` on (0x3b0), the index and data
 * ports of the linear modes (0x1ce), and the window in memory (0xa0000).
 */
int stdvga_attach(struct stdvga *v, struct space *pio, uint16_t ports, uint16_t vbe, struct space *mem, uint64_t window);

/* What stdvga_text_mode() needs is in the ROM. */
bool stdvga_has_font(const struct stdvga *v);

/* After a reset, as the video BIOS leaves the card: text mode 3 and an empty screen. Without the font the screen stays dark. */
void stdvga_text_mode(struct stdvga *v);

#endif
