/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Boot order as SeaBIOS and OVMF read it; the paths are those of QEMU's devices (docs/firmware.md). */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "dev/misc/fw_cfg.h"
#include "dev/timer/rtc.h"
#include "machine/bootorder.h"
#include "machine/devices.h"

/* CMOS RAM: the first two kinds of drives by nibble, low one first; the third, and whether floppies' signature goes unchecked. */
#define CMOS_BOOT12    0x3d
#define CMOS_BOOT3     0x38
#define CMOS_NO_FD_SIG 0x01

#define DEFAULT_ORDER "cad"
#define STRICT_END    "HALT" /* nothing but what is listed */

static uint8_t drive_code(char letter)
{
	static const char letters[] = "acdn"; /* 1 floppy, 2 disk, 3 CD, 4 network */
	const char *at = letter ? strchr(letters, letter) : NULL;

	return letter == 'b' ? 1 : at ? (uint8_t)(at - letters + 1) : 0;
}

void board_boot_order(struct pc *pc, bool once)
{
	const struct pc_boot *b = &pc->cfg.boot;
	const char *order = once && *b->once ? b->once : *b->order ? b->order : DEFAULT_ORDER;
	uint8_t code[PC_BOOT_DRIVES] = { 0 };

	for (unsigned i = 0; i < PC_BOOT_DRIVES && order[i]; i++)
		code[i] = drive_code(order[i]);
	rtc_set_cmos(pc->chips->rtc, CMOS_BOOT12, (uint8_t)(code[1] << 4 | code[0]));
	rtc_set_cmos(pc->chips->rtc, CMOS_BOOT3, (uint8_t)(code[2] << 4 | CMOS_NO_FD_SIG));
}

int board_boot_path(struct pc *pc, const struct device_config *cfg, struct err *e, const char *fmt, ...)
{
	struct boot_paths *t = &pc->chips->boot;
	uint32_t index = (uint32_t)device_prop_uint(cfg, "bootindex");
	unsigned at = 0;
	va_list args;

	if (!device_prop_string(cfg, "bootindex"))
		return 0;
	if (t->n == BOARD_BOOT_PATHS)
		return err_set(e, ENOSPC, "device '%s': bootindex: more than %d devices to boot from", cfg->driver, BOARD_BOOT_PATHS);
	while (at < t->n && t->path[at].index < index)
		at++;
	if (at < t->n && t->path[at].index == index)
		return err_set(e, EEXIST, "device '%s': bootindex=%u: another device has it", cfg->driver, index);
	memmove(&t->path[at + 1], &t->path[at], (t->n++ - at) * sizeof(t->path[0]));
	t->path[at].index = index;
	va_start(args, fmt);
	vsnprintf(t->path[at].text, sizeof(t->path[at].text), fmt, args);
	va_end(args);
	return 0;
}

int board_boot_pci(struct pc *pc, const struct device_config *cfg, uint8_t devfn, const char *name, const char *rest, struct err *e)
{
	if (devfn & 7)
		return board_boot_path(pc, cfg, e, "/pci@i0cf8/%s@%x,%x%s", name, devfn >> 3, devfn & 7, rest);
	return board_boot_path(pc, cfg, e, "/pci@i0cf8/%s@%x%s", name, devfn >> 3, rest);
}

/* A line each, the file ends with a NUL in place of the last newline. */
static void describe_paths(struct pc *pc)
{
	const struct boot_paths *t = &pc->chips->boot;
	struct strbuf s = STRBUF_INIT;

	for (unsigned i = 0; i < t->n; i++)
		strbuf_addf(&s, "%s%s", i ? "\n" : "", t->path[i].text);
	if (pc->cfg.boot.strict)
		strbuf_addf(&s, "%s" STRICT_END, t->n ? "\n" : "");
	if (s.len)
		fw_cfg_set_file(pc->chips->fw_cfg, "bootorder", s.buf, s.len + 1);
	strbuf_release(&s);
}

void board_boot_describe(struct pc *pc)
{
	const struct pc_boot *b = &pc->cfg.boot;
	uint8_t bytes[4];

	/* SeaBIOS shows this item as its file etc/show-boot-menu. */
	fw_cfg_set_u16(pc->chips->fw_cfg, FW_CFG_BOOT_MENU, b->menu);
	put_le32(bytes, b->splash_ms);
	if (b->splash_ms)
		fw_cfg_set_file(pc->chips->fw_cfg, "etc/boot-menu-wait", bytes, sizeof(uint16_t));
	put_le32(bytes, (uint32_t)(b->retry_ms - 1));
	if (b->retry_ms)
		fw_cfg_set_file(pc->chips->fw_cfg, "etc/boot-fail-wait", bytes, sizeof(bytes));
	describe_paths(pc);
	board_boot_order(pc, true);
}
