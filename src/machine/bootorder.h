/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What firmware shall boot, in which order, and how it is told: CMOS RAM, and fw_cfg's file bootorder. */
#ifndef DOPPEL_MACHINE_BOOTORDER_H
#define DOPPEL_MACHINE_BOOTORDER_H

#include "machine/board.h"

/* The property of a device that can be booted from. */
#define DEVICE_BOOT_PROP { "bootindex", PROP_UINT, 0, INT32_MAX, NULL, "place in the order of what is booted, 0 first" }

/*
 * While a device is plugged in that has DEVICE_BOOT_PROP: if it was given, firmware finds the device by this path, as Open Firmware
 * writes them ("/pci@i0cf8/ide@1,1/drive@0/disk@0"). -EEXIST with a message when another device has the same place.
 */
int board_boot_path(struct pc *pc, const struct device_config *cfg, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The same for what a PCI function carries: "/pci@i0cf8/NAME@SLOT[,FUNCTION]/REST"; rest may be empty. */
int board_boot_pci(struct pc *pc, const struct device_config *cfg, uint8_t devfn, const char *name, const char *rest, struct err *e);

/* The order by kinds of drives into CMOS RAM: what is wanted once, or what is wanted always. */
void board_boot_order(struct pc *pc, bool once);

/* Tell firmware all else, when all devices are there. */
void board_boot_describe(struct pc *pc);

#endif
