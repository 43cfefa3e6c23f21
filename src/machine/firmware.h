/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Firmware of the PC: its ROM, and what it is told through fw_cfg. Only machine/ sees this. */
#ifndef DOPPEL_MACHINE_FIRMWARE_H
#define DOPPEL_MACHINE_FIRMWARE_H

#include "machine/pc.h"

/* Put the ROM of pc->cfg.firmware in its places. -EINVAL for an impossible size, with a message. */
int firmware_map(struct pc *pc, struct err *e);

/* A flash chip below the ROM and the chips before it; the first one is the firmware where there is no ROM. Errors with a message. */
struct blk;
int firmware_add_flash(struct pc *pc, struct blk *blk, struct err *e);

/* Fill fw_cfg: processors, memory map, ACPI tables. Once all devices are plugged in. */
int firmware_describe(struct pc *pc, struct err *e);

#endif
