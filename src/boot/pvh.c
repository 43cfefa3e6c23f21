/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF kernels with a PVH note: the x86/HVM direct boot ABI of Xen (docs/misc/pvh.pandoc, start_info.h). */
#include <errno.h>
#include <string.h>

#include "base/endian.h"
#include "boot/elf.h"
#include "boot/infoarea.h"
#include "boot/load.h"

#define START_MAGIC         0x336ec578
#define START_VERSION       1 /* the first with a memory map */
#define XEN_ELFNOTE_GUEST_OS 6
#define PVH_MAX_MODULES     64

/* struct hvm_start_info, hvm_modlist_entry, hvm_memmap_table_entry */
enum {
	START_SIZE = 56, START_NR_MODULES = 12, START_MODLIST = 16, START_CMDLINE = 24, START_RSDP = 32,
	START_MEMMAP = 40, START_MEMMAP_ENTRIES = 48,
	MODULE_SIZE = 32, MODULE_LEN = 8, MODULE_CMDLINE = 16,
	MEMMAP_SIZE = 24, MEMMAP_LEN = 8, MEMMAP_TYPE = 16,
};

/* Linux takes its first module as the initrd and ignores others: give it all of them as one. */
static bool wants_one_module(const struct elf *elf)
{
	uint32_t len;
	const uint8_t *os = elf_note(elf, "Xen", XEN_ELFNOTE_GUEST_OS, &len);

	return os && len >= 5 && !memcmp(os, "linux", 5);
}

static uint64_t load_modules(struct loader *l, struct info_area *area, const uint64_t *at, bool one,
			     unsigned *count)
{
	uint8_t m[MODULE_SIZE];
	unsigned n = one && l->c->n_initrds ? 1 : l->c->n_initrds;
	uint64_t list = info_alloc(area, (uint64_t)n * MODULE_SIZE);

	*count = n;
	for (unsigned i = 0; list && i < n; i++) {
		uint64_t args = info_string(area, module_args(&l->c->initrds[i]));

		if (!args)
			return 0;
		memset(m, 0, sizeof(m));
		put_le64(m, at[i]);
		put_le64(m + MODULE_LEN, one ? l->info.initrd_end - at[0] : l->c->initrds[i].len);
		put_le64(m + MODULE_CMDLINE, args);
		load_bytes(l, list + i * MODULE_SIZE, m, sizeof(m));
	}
	return list;
}

static uint64_t load_memmap(struct loader *l, struct info_area *area)
{
	uint64_t list = info_alloc(area, l->map.n * MEMMAP_SIZE);
	uint8_t m[MEMMAP_SIZE];

	for (unsigned i = 0; i < l->map.n; i++) {
		memset(m, 0, sizeof(m));
		put_le64(m, l->map.e[i].base);
		put_le64(m + MEMMAP_LEN, l->map.e[i].size);
		put_le32(m + MEMMAP_TYPE, l->map.e[i].type);
		load_bytes(l, list + i * MEMMAP_SIZE, m, sizeof(m));
	}
	return list;
}

static int load_start_info(struct loader *l, const uint64_t *at, bool one, struct err *e)
{
	struct info_area area;
	uint8_t s[START_SIZE] = { 0 };
	uint64_t start, memmap, modules;
	unsigned count;

	info_area_init(&area, l);
	start = info_alloc(&area, sizeof(s));
	memmap = load_memmap(l, &area);
	modules = load_modules(l, &area, at, one, &count);
	if (!modules)
		return err_set(e, EINVAL, "kernel %s: the modules' command lines are too long",
			       l->kernel.name);
	put_le32(s, START_MAGIC);
	put_le32(s + 4, START_VERSION);
	put_le32(s + START_NR_MODULES, count);
	put_le64(s + START_MODLIST, count ? modules : 0);
	put_le64(s + START_CMDLINE, LOW_CMDLINE);
	put_le64(s + START_RSDP, l->info.acpi_rsdp);
	put_le64(s + START_MEMMAP, memmap);
	put_le32(s + START_MEMMAP_ENTRIES, l->map.n);
	l->cpu->gpr[R_BX] = start;
	return load_bytes(l, start, s, sizeof(s));
}

int pvh_load(struct loader *l, const struct elf *elf, uint32_t entry, struct err *e)
{
	uint64_t at[PVH_MAX_MODULES] = { 0 };
	bool one = wants_one_module(elf);
	int rc;

	if (l->c->n_initrds > PVH_MAX_MODULES)
		return err_set(e, EINVAL, "kernel %s: %u modules, but at most %d can be passed",
			       l->kernel.name, l->c->n_initrds, PVH_MAX_MODULES);
	if (!elf_loaded(elf, entry, 1))
		return err_set(e, EINVAL, "kernel %s: damaged: its PVH entry point %#x is outside of it",
			       l->kernel.name, entry);
	rc = elf_load(l, elf, &l->info.kernel_start, &l->info.kernel_end, e);
	if (!rc)
		rc = load_cmdline(l, LOW_CMDLINE_MAX, e);
	if (!rc)
		rc = load_initrds(l, 4 * GiB, false, one ? 4 : PAGE_SIZE, at, e);
	if (!rc)
		rc = load_start_info(l, at, one, e);
	if (rc)
		return rc;
	load_entry_32(l, entry);
	l->info.format = BOOT_PVH;
	l->info.format_name = elf->is_64 ? "ELF64 with PVH entry" : "ELF32 with PVH entry";
	return 0;
}
