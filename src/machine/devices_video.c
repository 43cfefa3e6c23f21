/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The graphics cards that can be plugged in by name. */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "dev/video/vga.h"
#include "machine/board.h"
#include "machine/devices.h"

/* Where PCs have had their graphics card since 1987, and Bochs its registers */
#define VGA_PORTS  0x3b0
#define VBE_PORTS  0x1ce
#define VGA_WINDOW 0xa0000u

static const struct device_prop_spec vga_props[] = {
	{ "vgamem_mb", PROP_UINT, STDVGA_MEMORY_MIN / MiB, STDVGA_MEMORY_MAX / MiB, "16", "MiB of memory, a power of two" },
	{ 0 },
};

static int plug_vga(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	struct stdvga_config c = {
		.bus = pc->chips->pci, .ram = pc->ram, .clock = pc->clock, .display = pc->cfg.display,
		.memory = device_prop_uint(cfg, "vgamem_mb") * MiB,
		.rom = pc->cfg.vga_rom.data, .rom_len = pc->cfg.vga_rom.len,
	};
	int rc = device_pci_devfn(pc, cfg, &c.devfn, e);

	if (rc)
		return rc;
	if (c.memory & (c.memory - 1))
		return err_set(e, EINVAL, "device '%s': vgamem_mb=%llu: give a power of two", cfg->driver,
			       (unsigned long long)(c.memory / MiB));
	if (pc->chips->vga)
		return err_set(e, EBUSY, "device '%s': there is a graphics card already; leave one out", cfg->driver);
	rc = stdvga_new(&pc->chips->vga, &c, e);
	if (rc)
		return rc;
	board_add(pc, pc->chips->vga);
	rc = stdvga_attach(pc->chips->vga, pc->pio, VGA_PORTS, VBE_PORTS, pc->mem, VGA_WINDOW);
	return rc ? err_set(e, -rc, "device '%s': cannot place it: %s", cfg->driver, strerror(-rc)) : 0;
}

const struct device_driver video_drivers[] = {
	{ "VGA", "standard VGA with Bochs' linear modes", DEVICE_BUS_PCI, 0, vga_props, plug_vga },
	{ 0 },
};
