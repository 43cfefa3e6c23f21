/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot kernels (Multiboot Specification 0.6.96): ELF of either class with a 32-bit entry, or any
 * file whose header tells its addresses. Not served: a graphics mode (flag 2 is ignored, no mode is
 * reported), drives, symbols, APM.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/endian.h"
#include "base/strbuf.h"
#include "boot/elf.h"
#include "boot/infoarea.h"
#include "boot/load.h"

#define HEADER_MAGIC   0x1badb002
#define ENTRY_MAGIC    0x2badb002 /* in EAX */
#define HEADER_SEARCH  8192       /* it lies whole within the first 8 KiB, 4-byte aligned */
#define MB_MAX_MODULES 64

/* Header: offsets and flags, 3.1.1. Flags 0 to 15 must be understood. */
enum {
	HDR_FLAGS = 4, HDR_CHECKSUM = 8, HDR_ADDR = 12, HDR_LOAD = 16, HDR_LOAD_END = 20, HDR_BSS_END = 24,
	HDR_ENTRY = 28,
};
enum { HEADER_SIZE = 12, HEADER_SIZE_ADDR = 32 };
enum { F_ALIGN = 1, F_MEMORY = 2, F_VIDEO = 4, F_REQUIRED = 0xffff, F_ADDRESSES = 0x10000 };

/* Information, 3.3 */
enum {
	MBI_SIZE = 116, MBI_MEM_LOWER = 4, MBI_MEM_UPPER = 8, MBI_CMDLINE = 16,
	MBI_MODS_COUNT = 20, MBI_MODS = 24, MBI_MMAP_LEN = 44, MBI_MMAP = 48, MBI_LOADER = 64,
	I_MEMORY = 1, I_CMDLINE = 4, I_MODS = 8, I_MMAP = 0x40, I_LOADER = 0x200, MODULE_SIZE = 16,
	MMAP_SIZE = 24,
};

int64_t multiboot_detect(const struct boot_blob *k)
{
	const uint8_t *d = k->data;
	size_t end = MIN(k->len, (size_t)HEADER_SEARCH);

	for (size_t at = 0; at + HEADER_SIZE <= end; at += 4)
		if (get_le32(d + at) == HEADER_MAGIC &&
		    !(uint32_t)(HEADER_MAGIC + get_le32(d + at + HDR_FLAGS) +
				get_le32(d + at + HDR_CHECKSUM)))
			return (int64_t)at;
	return -1;
}

/* The file as the header's address fields have it, 3.1.3: returns the entry point in *entry. */
static int load_addresses(struct loader *l, uint32_t header, uint64_t *entry, struct err *e)
{
	const uint8_t *h = (const uint8_t *)l->kernel.data + header;
	struct elf flat = { .file = &l->kernel };
	struct elf_segment *s = &flat.seg[0];
	uint64_t load, load_end, bss_end, skip;

	if (l->kernel.len - header < HEADER_SIZE_ADDR)
		return err_set(e, EINVAL, "kernel %s: cut short in its Multiboot header", l->kernel.name);
	load = get_le32(h + HDR_LOAD);
	load_end = get_le32(h + HDR_LOAD_END);
	bss_end = get_le32(h + HDR_BSS_END);
	skip = get_le32(h + HDR_ADDR) - load;
	/* The header's offset in the file and its address tell what offset the load address has. */
	if (get_le32(h + HDR_ADDR) < load || skip > header)
		return err_set(e, EINVAL,
			       "kernel %s: damaged Multiboot header: its addresses contradict each other",
			       l->kernel.name);
	s->type = ELF_PT_LOAD;
	s->offset = header - skip;
	s->paddr = s->vaddr = load;
	s->filesz = load_end ? load_end - load : l->kernel.len - s->offset;
	s->memsz = bss_end ? bss_end - load : s->filesz;
	flat.n = 1;
	if ((load_end && load_end < load) || (bss_end && bss_end < load + s->filesz) ||
	    s->filesz > l->kernel.len - s->offset)
		return err_set(e, EINVAL,
			       "kernel %s: cut short or damaged: its Multiboot header loads %#" PRIx64
			       " to %#" PRIx64 ", the file is %zu bytes",
			       l->kernel.name, load, load_end, l->kernel.len);
	*entry = get_le32(h + HDR_ENTRY);
	return elf_load(l, &flat, &l->info.kernel_start, &l->info.kernel_end, e);
}

static int load_elf(struct loader *l, uint64_t *entry, struct err *e)
{
	struct elf elf;
	int rc = elf_parse(&elf, &l->kernel, e);

	if (rc)
		return rc;
	*entry = elf_entry_phys(&elf);
	return elf_load(l, &elf, &l->info.kernel_start, &l->info.kernel_end, e);
}

static int load_code(struct loader *l, uint32_t header, struct err *e)
{
	uint32_t flags = get_le32((const uint8_t *)l->kernel.data + header + HDR_FLAGS);
	uint32_t unknown = flags & F_REQUIRED & ~(uint32_t)(F_ALIGN | F_MEMORY | F_VIDEO);
	uint64_t entry = 0;
	int rc;

	if (unknown)
		return err_set(
			e, EINVAL,
			"kernel %s: its Multiboot header asks for features that are not provided (flags %#x)",
			l->kernel.name, unknown);
	if (!(flags & F_ADDRESSES) && !elf_detect(&l->kernel))
		return err_set(e, ENOEXEC,
			       "kernel %s: its Multiboot header has no addresses, and it is no ELF file",
			       l->kernel.name);
	rc = flags & F_ADDRESSES ? load_addresses(l, header, &entry, e) : load_elf(l, &entry, e);
	if (rc)
		return rc;
	if (entry < l->info.kernel_start || entry >= l->info.kernel_end || entry > UINT32_MAX)
		return err_set(e, EINVAL,
			       "kernel %s: its entry point %#" PRIx64 " is outside of what is loaded",
			       l->kernel.name, entry);
	load_entry_32(l, (uint32_t)entry);
	return 0;
}

static uint64_t load_modules(struct loader *l, struct info_area *area, const uint64_t *at)
{
	uint64_t list = info_alloc(area, (uint64_t)l->c->n_initrds * MODULE_SIZE);
	uint8_t m[MODULE_SIZE] = { 0 };

	for (unsigned i = 0; list && i < l->c->n_initrds; i++) {
		uint64_t args = info_string(area, module_args(&l->c->initrds[i]));

		if (!args)
			return 0;
		put_le32(m, (uint32_t)at[i]);
		put_le32(m + 4, (uint32_t)(at[i] + l->c->initrds[i].len));
		put_le32(m + 8, (uint32_t)args);
		load_bytes(l, list + i * MODULE_SIZE, m, sizeof(m));
	}
	return list;
}

static uint64_t load_mmap(struct loader *l, struct info_area *area)
{
	uint64_t list = info_alloc(area, l->map.n * MMAP_SIZE);
	uint8_t m[MMAP_SIZE];

	for (unsigned i = 0; i < l->map.n; i++) {
		put_le32(m, MMAP_SIZE - 4); /* the size field does not count itself */
		put_le64(m + 4, l->map.e[i].base);
		put_le64(m + 12, l->map.e[i].size);
		put_le32(m + 20, l->map.e[i].type);
		load_bytes(l, list + i * MMAP_SIZE, m, sizeof(m));
	}
	return list;
}

static int load_info(struct loader *l, const uint64_t *at, struct err *e)
{
	struct info_area area;
	uint8_t mbi[MBI_SIZE] = { 0 };
	uint64_t info, mmap, mods, name;

	info_area_init(&area, l);
	info = info_alloc(&area, sizeof(mbi));
	mmap = load_mmap(l, &area);
	name = info_string(&area, "doppel");
	mods = load_modules(l, &area, at);
	if (!mods)
		return err_set(e, EINVAL, "kernel %s: the modules' command lines are too long",
			       l->kernel.name);
	put_le32(mbi, I_MEMORY | I_CMDLINE | I_MODS | I_MMAP | I_LOADER);
	put_le32(mbi + MBI_MEM_LOWER, (uint32_t)(E820_EBDA_BASE / KiB));
	put_le32(mbi + MBI_MEM_UPPER, (uint32_t)((l->ram->low_size - 1 * MiB) / KiB));
	put_le32(mbi + MBI_CMDLINE, LOW_CMDLINE);
	put_le32(mbi + MBI_MODS_COUNT, l->c->n_initrds);
	put_le32(mbi + MBI_MODS, (uint32_t)mods);
	put_le32(mbi + MBI_MMAP_LEN, l->map.n * MMAP_SIZE);
	put_le32(mbi + MBI_MMAP, (uint32_t)mmap);
	put_le32(mbi + MBI_LOADER, (uint32_t)name);
	l->cpu->gpr[R_AX] = ENTRY_MAGIC;
	l->cpu->gpr[R_BX] = info;
	return load_bytes(l, info, mbi, sizeof(mbi));
}

/* Kernels expect their own name as the first word, as a boot loader's menu entry has it. */
static int load_full_cmdline(struct loader *l, struct err *e)
{
	struct strbuf sb = STRBUF_INIT;
	int rc = 0;

	strbuf_addf(&sb, "%s%s%s", file_name(l->kernel.name), l->c->cmdline && *l->c->cmdline ? " " : "",
		    l->c->cmdline ? l->c->cmdline : "");
	if (sb.len >= LOW_CMDLINE_MAX)
		rc = err_set(e, EINVAL, "kernel command line: %zu characters are too many: shorten it",
			     sb.len);
	else
		rc = load_bytes(l, LOW_CMDLINE, sb.buf, sb.len + 1);
	strbuf_release(&sb);
	return rc;
}

int multiboot_load(struct loader *l, uint32_t header, struct err *e)
{
	uint64_t at[MB_MAX_MODULES] = { 0 };
	int rc;

	if (l->c->n_initrds > MB_MAX_MODULES)
		return err_set(e, EINVAL, "kernel %s: %u modules, but at most %d can be passed",
			       l->kernel.name, l->c->n_initrds, MB_MAX_MODULES);
	rc = load_code(l, header, e);
	if (!rc)
		rc = load_full_cmdline(l, e);
	if (!rc)
		rc = load_initrds(l, 4 * GiB, false, PAGE_SIZE, at, e);
	if (!rc)
		rc = load_info(l, at, e);
	if (rc)
		return rc;
	l->info.format = BOOT_MULTIBOOT;
	l->info.format_name = elf_detect(&l->kernel) ? "Multiboot, ELF" : "Multiboot, flat";
	return 0;
}
