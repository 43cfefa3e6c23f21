/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Detects what kind of kernel it is, and does what all kinds need: initrds, tables, entry states. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "boot/decompress.h"
#include "boot/elf.h"
#include "boot/load.h"

/* BIOS data area: where the EBDA is (a segment), and the KiB of conventional memory. */
#define BDA_EBDA_SEG 0x40e
#define BDA_BASE_KIB 0x413

/* What a kernel decompressed as a whole may be: far beyond any real one, small enough to be harmless. */
#define KERNEL_MAX_SIZE (1 * GiB)

#define XEN_ELFNOTE_PHYS32_ENTRY 18

int load_bytes(struct loader *l, uint64_t gpa, const void *data, uint64_t len)
{
	if (!len)
		return 0;
	if (!ram_contains(l->ram, gpa, len))
		return -EFAULT;
	memcpy(l->ram->base + gpa, data, len);
	ram_note_write(l->ram, gpa, len);
	return 0;
}

int load_zeroes(struct loader *l, uint64_t gpa, uint64_t len)
{
	if (!len)
		return 0;
	if (!ram_contains(l->ram, gpa, len))
		return -EFAULT;
	memset(l->ram->base + gpa, 0, len);
	ram_note_write(l->ram, gpa, len);
	return 0;
}

int load_cmdline(struct loader *l, uint64_t max, struct err *e)
{
	const char *s = l->c->cmdline ? l->c->cmdline : "";
	size_t len = strlen(s);

	max = MIN(max, LOW_CMDLINE_MAX - 1);
	if (len > max)
		return err_set(e, EINVAL, "kernel command line: %zu characters, but %s takes at most %" PRIu64
			       ": shorten it", len, l->kernel.name, max);
	return load_bytes(l, LOW_CMDLINE, s, len + 1);
}

/* The highest place for size bytes in [low, high), page-aligned; 0: none. */
static uint64_t place_high(uint64_t low, uint64_t high, uint64_t size)
{
	uint64_t at;

	low = ALIGN_UP(low, PAGE_SIZE);
	if (high < low || high - low < size)
		return 0;
	at = ALIGN_DOWN(high - size, PAGE_SIZE);
	return at >= low ? at : 0;
}

static uint64_t initrd_place(struct loader *l, uint64_t size, uint64_t limit, bool above_4g)
{
	uint64_t top = MIN(l->ram->low_size, limit);
	uint64_t at = place_high(MAX(l->info.kernel_end, 1 * MiB), top, size);

	if (!at)
		at = place_high(1 * MiB, MIN(l->info.kernel_start, top), size);
	if (!at && above_4g)
		at = place_high(MAX(l->info.kernel_end, 1 * MiB), l->ram->low_size, size);
	if (!at && above_4g && l->ram->high_size)
		at = place_high(4 * GiB, l->ram->end, size);
	return at;
}

int load_initrds(struct loader *l, uint64_t limit, bool above_4g, unsigned align, uint64_t *at, struct err *e)
{
	const struct boot_config *c = l->c;
	uint64_t size = 0, pos;

	for (unsigned i = 0; i < c->n_initrds; i++) {
		if (c->initrds[i].len > RAM_MAX_SIZE)
			return err_set(e, EINVAL, "initrd %s: %zu bytes are more than any guest's memory",
				       c->initrds[i].name, c->initrds[i].len);
		size = ALIGN_UP(size, align) + c->initrds[i].len;
	}
	if (!size)
		return 0;
	pos = initrd_place(l, size, limit, above_4g);
	if (!pos)
		return err_set(e, ENOMEM,
			       "initrd %s: %llu KiB do not fit into the guest's %llu MiB of memory "
			       "beside the kernel: give it more with --memory",
			       c->initrds[0].name, (size + KiB - 1) / KiB, ram_size(l->ram) / MiB);
	l->info.initrd_start = pos;
	for (unsigned i = 0; i < c->n_initrds; i++) {
		uint64_t start = ALIGN_UP(pos, align);

		load_zeroes(l, pos, start - pos);
		if (at)
			at[i] = start;
		load_bytes(l, start, c->initrds[i].data, c->initrds[i].len);
		pos = start + c->initrds[i].len;
	}
	l->info.initrd_end = pos;
	return 0;
}

/* Flat descriptors, SDM vol. 3, 3.4.5: base 0, limit 4 GiB, accessed. */
#define GDT_CODE64 0x00af9b000000ffffull
#define GDT_CODE32 0x00cf9b000000ffffull
#define GDT_DATA   0x00cf93000000ffffull

static void entry_segments(struct loader *l, bool long_mode)
{
	struct x86_state *s = l->cpu;
	const uint64_t gdt[4] = { 0, 0, long_mode ? GDT_CODE64 : GDT_CODE32, GDT_DATA };
	const uint16_t flat = SEG_S | SEG_P | SEG_G | SEG_RW | SEG_ACCESSED;
	const struct x86_seg data = { BOOT_DS, flat | SEG_DB, UINT32_MAX, 0 };

	load_bytes(l, LOW_GDT, gdt, sizeof(gdt));
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = data;
	s->seg[SEG_CS] =
		(struct x86_seg){ BOOT_CS, flat | SEG_CODE | (long_mode ? SEG_L : SEG_DB), UINT32_MAX, 0 };
	s->gdtr = (struct x86_dtable){ LOW_GDT, sizeof(gdt) - 1 };
	s->idtr = (struct x86_dtable){ 0, 0 };
	s->rflags = FL_1;
	s->cr0 = CR0_PE | CR0_ET;
	s->cpl = 0;
	s->activity = ACT_RUNNING;
}

void load_entry_32(struct loader *l, uint32_t eip)
{
	entry_segments(l, false);
	l->cpu->rip = eip;
	l->info.entry = eip;
}

void load_entry_64(struct loader *l, uint64_t rip)
{
	enum { PTE_P = 1, PTE_W = 2, PTE_LARGE = 0x80, ENTRIES = 512, DIRECTORIES = 4 };
	uint64_t page[ENTRIES] = { 0 };
	const uint64_t pdpt = LOW_PAGE_TABLES + PAGE_SIZE, pd = pdpt + PAGE_SIZE;

	page[0] = pdpt | PTE_P | PTE_W;
	load_bytes(l, LOW_PAGE_TABLES, page, sizeof(page));
	for (unsigned i = 0; i < DIRECTORIES; i++)
		page[i] = (pd + i * PAGE_SIZE) | PTE_P | PTE_W;
	load_bytes(l, pdpt, page, sizeof(page));
	for (unsigned i = 0; i < DIRECTORIES; i++) {
		for (uint64_t n = 0; n < ENTRIES; n++)
			page[n] = (i * GiB + n * 2 * MiB) | PTE_P | PTE_W | PTE_LARGE;
		load_bytes(l, pd + i * PAGE_SIZE, page, sizeof(page));
	}
	entry_segments(l, true);
	l->cpu->cr3 = LOW_PAGE_TABLES;
	l->cpu->cr4 = CR4_PAE;
	l->cpu->cr0 |= CR0_PG;
	l->cpu->efer = EFER_LME | EFER_LMA;
	l->cpu->rip = rip;
	l->info.entry = rip;
}

/* Anchor and structures in the F segment, where DSP0134 5.2 wants the former. */
static int load_smbios(struct loader *l, struct err *e)
{
	const uint64_t table = SMBIOS_BASE + ALIGN_UP(SMBIOS_ANCHOR_SIZE, 16);
	struct strbuf anchor = STRBUF_INIT, tables = STRBUF_INIT;
	int rc = 0;

	load_zeroes(l, SMBIOS_BASE, SMBIOS_SIZE);
	if (!l->c->smbios)
		return 0;
	smbios_build(l->c->smbios, table, &anchor, &tables);
	if (tables.len > SMBIOS_BASE + SMBIOS_SIZE - table)
		rc = err_set(e, E2BIG, "SMBIOS tables: %zu bytes do not fit: use less memory", tables.len);
	if (!rc)
		rc = load_bytes(l, SMBIOS_BASE, anchor.buf, anchor.len);
	if (!rc)
		rc = load_bytes(l, table, tables.buf, tables.len);
	strbuf_release(&anchor);
	strbuf_release(&tables);
	return rc;
}

static int load_firmware(struct loader *l, struct err *e)
{
	uint8_t ebda_kib = 1, word[2];
	struct strbuf tables = STRBUF_INIT;
	int rc;

	e820_build(&l->map, l->ram, l->c->reserved, l->c->n_reserved);
	put_le16(word, (uint16_t)(E820_EBDA_BASE >> 4));
	load_bytes(l, BDA_EBDA_SEG, word, sizeof(word));
	put_le16(word, (uint16_t)(E820_EBDA_BASE / KiB));
	load_bytes(l, BDA_BASE_KIB, word, sizeof(word));
	load_zeroes(l, E820_EBDA_BASE, E820_EBDA_END - E820_EBDA_BASE);
	load_bytes(l, E820_EBDA_BASE, &ebda_kib, sizeof(ebda_kib));
	load_zeroes(l, ACPI_TABLES_BASE, ACPI_TABLES_SIZE);
	rc = load_smbios(l, e);
	if (rc || !l->c->acpi)
		return rc;
	rc = acpi_build(l->c->acpi, ACPI_TABLES_BASE, ACPI_TABLES_SIZE, &tables, e);
	if (!rc)
		rc = load_bytes(l, ACPI_TABLES_BASE, tables.buf, tables.len);
	if (!rc)
		l->info.acpi_rsdp = ACPI_TABLES_BASE;
	strbuf_release(&tables);
	return rc;
}

/* Kernels that people try by mistake, told by the magic of their formats. */
static const struct {
	uint16_t offset;
	uint8_t len;
	char magic[4];
	const char *what;
} other_files[] = {
	{ 0x38, 4, "ARM\x64", "an ARM64 kernel; this machine runs x86 kernels" },
	{ 0x38, 4, "RSC\x05", "a RISC-V kernel; this machine runs x86 kernels" },
	{ 0x24, 4, "\x18\x28\x6f\x01", "an ARM kernel; this machine runs x86 kernels" },
	{ 0, 3, "BZh", "compressed with bzip2; decompress it first" },
	{ 0, 4, "\x89LZO", "compressed with LZO; decompress it first" },
	{ 0, 4, "0707", "a cpio archive; was it meant for --initrd?" },
	{ 0, 4, "!<ar", "an archive; unpack the kernel from it first" },
	{ 0, 2, "#!", "a script" },
	{ 0, 2, "MZ", "a Windows or EFI program without a Linux boot header" },
};

static int unknown_format(const struct boot_blob *k, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(other_files); i++)
		if (k->len >= (size_t)other_files[i].offset + other_files[i].len &&
		    !memcmp((const char *)k->data + other_files[i].offset, other_files[i].magic,
			    other_files[i].len))
			return err_set(e, ENOEXEC, "kernel %s: this is %s", k->name, other_files[i].what);
	return err_set(
		e, ENOEXEC,
		"kernel %s: not a kernel that can be booted: "
		"needed is a Linux bzImage (vmlinuz), an ELF file with a PVH note, or a Multiboot kernel",
		k->name);
}

static int load_kernel(struct loader *l, struct err *e)
{
	struct elf elf;
	const uint8_t *note;
	uint32_t len;
	int64_t header = multiboot_detect(&l->kernel);
	int rc;

	if (linux_detect(&l->kernel))
		return linux_load(l, e);
	if (elf_detect(&l->kernel)) {
		rc = elf_parse(&elf, &l->kernel, e);
		if (rc)
			return rc;
		note = elf_note(&elf, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, &len);
		if (note && len >= 4)
			return pvh_load(l, &elf, get_le32(note), e);
		if (header < 0)
			return err_set(e, ENOEXEC,
				       "kernel %s: an ELF file without a PVH note or Multiboot header: "
				       "for Linux, use the bzImage, or enable CONFIG_PVH",
				       l->kernel.name);
	}
	if (header >= 0)
		return multiboot_load(l, (uint32_t)header, e);
	return unknown_format(&l->kernel, e);
}

static int check_config(const struct boot_config *c, const struct ram *ram, struct err *e)
{
	if (!c->kernel.len)
		return err_set(e, ENOEXEC, "kernel %s: the file is empty", c->kernel.name);
	if (ram->low_size < 1 * MiB)
		return err_set(e, ENOMEM, "the guest's memory is less than 1 MiB");
	if (c->rng_seed_len > BOOT_RNG_SEED_MAX)
		return err_set(e, EINVAL, "random seed: %zu bytes, at most %d are passed on", c->rng_seed_len,
			       BOOT_RNG_SEED_MAX);
	return 0;
}

int boot_load(const struct boot_config *c, struct ram *ram, struct x86_state *cpu, struct boot_info *info,
	      struct err *e)
{
	struct loader l = { .c = c, .ram = ram, .cpu = cpu, .kernel = c->kernel };
	struct decompressed whole = { 0 };
	int rc = check_config(c, ram, e);

	if (rc)
		return rc;
	x86_reset(cpu, false);
	cpu->msr.mtrr_def_type = MTRR_DEF_TYPE_FIRMWARE;
	rc = load_firmware(&l, e);
	if (rc)
		return rc;
	if (decompress_name(c->kernel.data, c->kernel.len)) {
		rc = decompress(c->kernel.data, c->kernel.len, MIN(ram_size(ram), KERNEL_MAX_SIZE), &whole,
				e);
		if (rc)
			return err_prefix(e, rc, "kernel %s", c->kernel.name);
		l.info.compression = decompress_name(c->kernel.data, c->kernel.len);
		l.kernel.data = whole.data;
		l.kernel.len = whole.len;
	}
	rc = load_kernel(&l, e);
	decompress_release(&whole);
	if (!rc && info)
		*info = l.info;
	return rc;
}
