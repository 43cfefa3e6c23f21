/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg: how a machine tells its firmware what it is made of, as QEMU's firmware interface has it. */
#ifndef DOPPEL_DEV_MISC_FW_CFG_H
#define DOPPEL_DEV_MISC_FW_CFG_H

#include <stddef.h>
#include "bus/device.h"
#include "mem/space.h"

/* Keys with a fixed meaning. */
enum {
	FW_CFG_SIGNATURE = 0x00, FW_CFG_ID = 0x01, FW_CFG_RAM_SIZE = 0x03, FW_CFG_NOGRAPHIC = 0x04, FW_CFG_NB_CPUS = 0x05,
	FW_CFG_KERNEL_ADDR = 0x07, FW_CFG_KERNEL_SIZE = 0x08, FW_CFG_INITRD_ADDR = 0x0a, FW_CFG_INITRD_SIZE = 0x0b,
	FW_CFG_NUMA = 0x0d, FW_CFG_BOOT_MENU = 0x0e, FW_CFG_MAX_CPUS = 0x0f, FW_CFG_KERNEL_ENTRY = 0x10,
	FW_CFG_KERNEL_DATA = 0x11, FW_CFG_INITRD_DATA = 0x12, FW_CFG_CMDLINE_ADDR = 0x13, FW_CFG_CMDLINE_SIZE = 0x14,
	FW_CFG_CMDLINE_DATA = 0x15, FW_CFG_SETUP_ADDR = 0x16, FW_CFG_SETUP_SIZE = 0x17, FW_CFG_SETUP_DATA = 0x18,
	FW_CFG_FILE_DIR = 0x19,
};

#define FW_CFG_FILES    64
#define FW_CFG_NAME_MAX 55 /* characters */

struct fw_cfg;

/* mem: where DMA goes. Signature, id and an empty directory are there. */
struct fw_cfg *fw_cfg_new(struct space *mem);

/* Set an item of a fixed key (below FW_CFG_FILE_DIR) or replace it; the bytes are copied. Not while vCPUs run. */
void fw_cfg_set(struct fw_cfg *f, uint16_t key, const void *data, size_t len);
void fw_cfg_set_u16(struct fw_cfg *f, uint16_t key, uint16_t val);

/*
 * Add a file, or replace it; the bytes are copied. Not while vCPUs run. -ENOSPC: there are FW_CFG_FILES already; -EINVAL: the
 * name is empty or longer than FW_CFG_NAME_MAX.
 */
int fw_cfg_set_file(struct fw_cfg *f, const char *name, const void *data, size_t len);

/* Selector and data at base and base + 1, the DMA register (8 ports) at base + 4. */
int fw_cfg_attach(struct fw_cfg *f, struct space *pio, uint16_t base);

#endif
