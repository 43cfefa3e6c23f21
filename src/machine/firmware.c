/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PC's firmware: ROM below 4 GiB and below 1 MiB, fw_cfg items for SeaBIOS and OVMF. */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "boot/acpi_loader.h"
#include "dev/misc/fw_cfg.h"
#include "dev/misc/pam.h"
#include "dev/misc/pflash.h"
#include "machine/board.h"
#include "machine/firmware.h"
#include "mem/slot.h"

#define ROM_END      (4 * GiB)
#define ROM_MIN      (64 * KiB)
#define ROM_MAX      (8 * MiB)
#define ROM_LOW_MAX  (128 * KiB) /* of it shows below 1 MiB */
#define LOW_ALIGN    (16 * KiB)
#define E820_SIZE    20          /* of an entry in etc/e820 */

int firmware_map(struct pc *pc, struct err *e)
{
	uint64_t len = pc->cfg.firmware.len, low = MIN(ALIGN_DOWN(len, LOW_ALIGN), ROM_LOW_MAX);
	struct region *r;
	int rc;

	if (len < ROM_MIN || len > ROM_MAX || len % PAGE_SIZE)
		return err_set(e, EINVAL, "firmware '%s': %llu bytes is no size of a ROM; it takes 64 KiB to 8 MiB in pages of 4 KiB",
			       pc->cfg.firmware.name, (unsigned long long)len);
	rc = ram_slot_new(&pc->chips->rom, pc->ram, len, e);
	if (rc)
		return rc;
	memcpy(ram_slot_host(pc->chips->rom), pc->cfg.firmware.data, len);
	pam_set_rom(pc->chips->pam, ram_slot_host(pc->chips->rom) + len - low, low);
	rc = ram_slot_show(pc->chips->rom, ROM_END - len);
	pc->chips->rom_base = ROM_END - len;
	if (!rc)
		rc = space_add_ram(pc->mem, &r, "rom", ROM_END - len, len, pc->ram, true);
	return rc ? err_set(e, -rc, "firmware '%s': cannot map it: %s", pc->cfg.firmware.name, strerror(-rc)) : 0;
}

bool pc_has_firmware(const struct pc *pc)
{
	return pc->chips->rom_base < ROM_END;
}

int firmware_add_flash(struct pc *pc, struct blk *blk, struct err *e)
{
	struct pflash_config c = { .mem = pc->mem, .ram = pc->ram, .blk = blk };
	bool first = !pc_has_firmware(pc);
	struct blk_info info;
	struct pflash *p;
	uint64_t low;
	int rc;

	blk_info(blk, &info);
	if (info.size > ROM_MAX - (ROM_END - pc->chips->rom_base))
		return err_set(e, E2BIG, "flash '%s': with the firmware before it that is more than 8 MiB", blk_file(blk));
	c.base = pc->chips->rom_base - info.size;
	rc = pflash_new(&p, &c, e);
	if (rc)
		return rc;
	board_add(pc, p);
	pc->chips->rom_base = c.base;
	low = MIN(ALIGN_DOWN(info.size, LOW_ALIGN), ROM_LOW_MAX);
	if (first)
		pam_set_rom(pc->chips->pam, pflash_bytes(p) + info.size - low, low);
	return 0;
}

/* RAM, as far as it is outside of the first megabyte's holes: firmware adds those itself. */
static void describe_ram(const struct pc *pc, struct fw_cfg *f)
{
	const struct {
		uint64_t base, size;
	} part[] = { { 0, pc->ram->low_size }, { ROM_END, pc->ram->high_size } };
	uint8_t table[ARRAY_SIZE(part) * E820_SIZE];
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(part); i++) {
		if (!part[i].size)
			continue;
		put_le64(table + len, part[i].base);
		put_le64(table + len + 8, part[i].size);
		put_le32(table + len + 16, E820_RAM);
		len += E820_SIZE;
	}
	fw_cfg_set_file(f, "etc/e820", table, len);
}

/* There is no screen: what the firmware and boot loaders have to say comes out of the first serial port. */
static void describe_console(const struct pc *pc, struct fw_cfg *f)
{
	uint8_t port[8];

	put_le64(port, PC_COM1_PORT);
	if (pc->cfg.serial[0])
		fw_cfg_set_file(f, "etc/sercon-port", port, sizeof(port));
}

static int describe_acpi(struct pc *pc, struct fw_cfg *f, struct err *e)
{
	struct acpi_platform platform;
	struct acpi_blobs b;
	int rc;

	pc_acpi_platform(pc, &platform);
	rc = acpi_blobs_build(&platform, &b, e);
	if (rc)
		return rc;
	fw_cfg_set_file(f, ACPI_RSDP_FILE, b.rsdp.buf, b.rsdp.len);
	fw_cfg_set_file(f, ACPI_TABLES_FILE, b.tables.buf, b.tables.len);
	fw_cfg_set_file(f, ACPI_LOADER_FILE, b.loader.buf, b.loader.len);
	acpi_blobs_release(&b);
	return 0;
}

static void describe_smbios(struct pc *pc, struct fw_cfg *f)
{
	struct strbuf anchor = STRBUF_INIT, tables = STRBUF_INIT;
	struct smbios_platform platform;

	pc_smbios_platform(pc, &platform);
	smbios_build(&platform, 0, &anchor, &tables);
	fw_cfg_set_file(f, "etc/smbios/smbios-anchor", anchor.buf, anchor.len);
	fw_cfg_set_file(f, "etc/smbios/smbios-tables", tables.buf, tables.len);
	strbuf_release(&anchor);
	strbuf_release(&tables);
}

int firmware_describe(struct pc *pc, struct err *e)
{
	struct fw_cfg *f = pc->chips->fw_cfg;
	uint8_t size[8];

	put_le64(size, ram_size(pc->ram));
	fw_cfg_set(f, FW_CFG_RAM_SIZE, size, sizeof(size));
	fw_cfg_set_u16(f, FW_CFG_NB_CPUS, (uint16_t)pc->group.n);
	fw_cfg_set_u16(f, FW_CFG_MAX_CPUS, (uint16_t)pc->group.n);
	fw_cfg_set_u16(f, FW_CFG_NOGRAPHIC, 1);
	describe_ram(pc, f);
	describe_console(pc, f);
	describe_smbios(pc, f);
	for (unsigned i = 0; i < pc->cfg.n_fw_files; i++) {
		const struct boot_blob *b = &pc->cfg.fw_files[i];

		if (fw_cfg_set_file(f, b->name, b->data, b->len))
			return err_set(e, EINVAL, "fw_cfg file '%s': its name has 1 to %d characters", b->name, FW_CFG_NAME_MAX);
	}
	return describe_acpi(pc, f, e);
}
