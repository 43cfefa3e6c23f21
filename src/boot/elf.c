/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parses ELF kernels, with every offset checked against the file, and loads their segments. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "boot/elf.h"

/* Offsets in the file header and a program header, for ELFCLASS32 and ELFCLASS64. */
struct elf_layout {
	unsigned header_size, entry, phoff, shoff, phentsize, shentsize;
	unsigned ph_size, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz;
};

static const struct elf_layout layout32 = { 52, 24, 28, 32, 42, 46, 32, 4, 8, 12, 16, 20 };
static const struct elf_layout layout64 = { 64, 24, 32, 40, 54, 58, 56, 8, 16, 24, 32, 40 };

enum { EI_CLASS = 4, EI_DATA = 5, E_TYPE = 16, E_MACHINE = 18 };
enum { CLASS32 = 1, CLASS64 = 2, DATA_LITTLE = 1, ET_EXEC = 2, ET_DYN = 3, EM_386 = 3, EM_X86_64 = 62 };

bool elf_detect(const struct boot_blob *k)
{
	return k->len >= 4 && !memcmp(k->data, "\177ELF", 4);
}

static const char *machine_name(unsigned machine)
{
	static const struct {
		uint16_t machine;
		const char *name;
	} names[] = { { 2, "SPARC" },	   { 4, "m68k" },    { 8, "MIPS" },	{ 20, "PowerPC" },
		      { 21, "PowerPC64" }, { 22, "s390" },   { 40, "ARM" },	{ 43, "SPARC64" },
		      { 50, "Itanium" },   { 183, "ARM64" }, { 243, "RISC-V" }, { 258, "LoongArch" } };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].machine == machine)
			return names[i].name;
	return "an unknown machine";
}

static uint64_t get_word(const struct elf *elf, const uint8_t *p)
{
	return elf->is_64 ? get_le64(p) : get_le32(p);
}

static int check_ident(const struct boot_blob *f, struct err *e)
{
	const uint8_t *d = f->data;
	unsigned type, machine;

	if (f->len < layout32.header_size || (d[EI_CLASS] == CLASS64 && f->len < layout64.header_size))
		return err_set(e, EINVAL, "kernel %s: cut short: %zu bytes are less than an ELF header",
			       f->name, f->len);
	if (d[EI_DATA] != DATA_LITTLE)
		return err_set(e, ENOEXEC, "kernel %s: a big-endian ELF file; this machine runs x86 kernels",
			       f->name);
	machine = get_le16(d + E_MACHINE);
	if (machine != EM_386 && machine != EM_X86_64)
		return err_set(e, ENOEXEC,
			       "kernel %s: an ELF file for %s (machine %u); this machine runs x86 kernels",
			       f->name, machine_name(machine), machine);
	if (d[EI_CLASS] != CLASS32 && d[EI_CLASS] != CLASS64)
		return err_set(e, EINVAL, "kernel %s: damaged ELF header: class %u", f->name, d[EI_CLASS]);
	type = get_le16(d + E_TYPE);
	if (type != ET_EXEC && type != ET_DYN)
		return err_set(e, ENOEXEC,
			       "kernel %s: an ELF file, but no executable (type %u): is it an object file or "
			       "a core dump?",
			       f->name, type);
	return 0;
}

static int parse_segment(struct elf *elf, const struct elf_layout *lay, const uint8_t *ph, struct err *e)
{
	struct elf_segment *s = &elf->seg[elf->n];

	*s = (struct elf_segment){
		.type = get_le32(ph),
		.offset = get_word(elf, ph + lay->p_offset),
		.vaddr = get_word(elf, ph + lay->p_vaddr),
		.paddr = get_word(elf, ph + lay->p_paddr),
		.filesz = get_word(elf, ph + lay->p_filesz),
		.memsz = get_word(elf, ph + lay->p_memsz),
	};
	elf->interpreted |= s->type == ELF_PT_INTERP;
	if (s->type != ELF_PT_LOAD && s->type != ELF_PT_NOTE)
		return 0;
	if (s->offset > elf->file->len || s->filesz > elf->file->len - s->offset)
		return err_set(e, EINVAL,
			       "kernel %s: cut short or damaged: a segment has %" PRIu64
			       " bytes at offset %" PRIu64 ", the file is %zu bytes",
			       elf->file->name, s->filesz, s->offset, elf->file->len);
	if (s->type == ELF_PT_LOAD && s->memsz < s->filesz)
		return err_set(e, EINVAL,
			       "kernel %s: damaged: a segment is smaller in memory than in the file",
			       elf->file->name);
	elf->end = MAX(elf->end, s->offset + s->filesz);
	elf->n++;
	return 0;
}

int elf_parse(struct elf *elf, const struct boot_blob *file, struct err *e)
{
	const uint8_t *d = file->data;
	const struct elf_layout *lay;
	uint64_t phoff, shoff, sections;
	unsigned phnum, phentsize;
	int rc = check_ident(file, e);

	if (rc)
		return rc;
	*elf = (struct elf){ .file = file, .is_64 = d[EI_CLASS] == CLASS64 };
	lay = elf->is_64 ? &layout64 : &layout32;
	elf->entry = get_word(elf, d + lay->entry);
	phoff = get_word(elf, d + lay->phoff);
	phentsize = get_le16(d + lay->phentsize);
	phnum = get_le16(d + lay->phentsize + 2);
	if (!phnum || phnum > ELF_MAX_SEGMENTS || phentsize < lay->ph_size)
		return err_set(e, EINVAL, "kernel %s: damaged ELF header: %u program headers of %u bytes",
			       file->name, phnum, phentsize);
	if (phoff > file->len || (uint64_t)phnum * phentsize > file->len - phoff)
		return err_set(e, EINVAL,
			       "kernel %s: cut short: its program headers are beyond the end of the file",
			       file->name);
	elf->end = phoff + (uint64_t)phnum * phentsize;
	for (unsigned i = 0; i < phnum && !rc; i++)
		rc = parse_segment(elf, lay, d + phoff + (uint64_t)i * phentsize, e);
	if (rc)
		return rc;
	shoff = get_word(elf, d + lay->shoff);
	sections = (uint64_t)get_le16(d + lay->shentsize) * get_le16(d + lay->shentsize + 2);
	if (shoff <= file->len && sections <= file->len - shoff)
		elf->end = MAX(elf->end, shoff + sections);
	return 0;
}

static bool overlaps(const struct elf_segment *s, uint64_t start, uint64_t end)
{
	return s->paddr < end && s->paddr + s->memsz > start;
}

static int load_segment(struct loader *l, const struct elf *elf, const struct elf_segment *s, struct err *e)
{
	if (!ram_contains(l->ram, s->paddr, s->memsz))
		return err_set(e, ENOMEM, "kernel %s: it wants memory at %#" PRIx64 " to %#" PRIx64
			       ", where the guest with its %llu MiB has none: try more --memory",
			       l->kernel.name, s->paddr, s->paddr + s->memsz, ram_size(l->ram) / MiB);
	if (overlaps(s, LOW_BEGIN, LOW_END) || overlaps(s, E820_EBDA_BASE, E820_BIOS_END))
		return err_set(
			e, EINVAL,
			"kernel %s: it wants to be at %#" PRIx64
			", where the boot information and firmware tables are: link it to 1 MiB or higher",
			l->kernel.name, s->paddr);
	load_bytes(l, s->paddr, (const uint8_t *)elf->file->data + s->offset, s->filesz);
	load_zeroes(l, s->paddr + s->filesz, s->memsz - s->filesz);
	return 0;
}

int elf_load(struct loader *l, const struct elf *elf, uint64_t *start, uint64_t *end, struct err *e)
{
	*start = UINT64_MAX;
	*end = 0;
	for (unsigned i = 0; i < elf->n; i++) {
		const struct elf_segment *s = &elf->seg[i];
		int rc;

		if (s->type != ELF_PT_LOAD || !s->memsz)
			continue;
		rc = load_segment(l, elf, s, e);
		if (rc)
			return rc;
		*start = MIN(*start, s->paddr);
		*end = MAX(*end, s->paddr + s->memsz);
	}
	if (!*end)
		return err_set(e, EINVAL, "kernel %s: an ELF file with nothing to load", l->kernel.name);
	return 0;
}

bool elf_loaded(const struct elf *elf, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < elf->n; i++) {
		const struct elf_segment *s = &elf->seg[i];

		if (s->type == ELF_PT_LOAD && gpa >= s->paddr && gpa - s->paddr < s->filesz &&
		    len <= s->filesz - (gpa - s->paddr))
			return true;
	}
	return false;
}

uint64_t elf_entry_phys(const struct elf *elf)
{
	for (unsigned i = 0; i < elf->n; i++) {
		const struct elf_segment *s = &elf->seg[i];

		if (s->type == ELF_PT_LOAD && elf->entry >= s->vaddr && elf->entry - s->vaddr < s->memsz)
			return elf->entry - s->vaddr + s->paddr;
	}
	return elf->entry;
}

/* One note at off of a segment; 0: no further one. Sizes are rounded up to 4, as known kernels have it. */
static uint64_t next_note(const uint8_t *seg, uint64_t size, uint64_t off, const uint8_t **name,
			  const uint8_t **desc, uint32_t *name_len, uint32_t *desc_len, uint32_t *type)
{
	enum { NOTE_HEADER = 12 };
	uint64_t name_size, desc_size;

	if (size < NOTE_HEADER || off > size - NOTE_HEADER)
		return 0;
	*name_len = get_le32(seg + off);
	*desc_len = get_le32(seg + off + 4);
	*type = get_le32(seg + off + 8);
	name_size = ALIGN_UP((uint64_t)*name_len, 4);
	desc_size = *desc_len;
	off += NOTE_HEADER;
	if (name_size > size - off || desc_size > size - off - name_size)
		return 0;
	*name = seg + off;
	*desc = seg + off + name_size;
	return ALIGN_UP(off + name_size + desc_size, 4);
}

const uint8_t *elf_note(const struct elf *elf, const char *owner, uint32_t type, uint32_t *len)
{
	const uint32_t owner_len = (uint32_t)strlen(owner) + 1;

	for (unsigned i = 0; i < elf->n; i++) {
		const struct elf_segment *s = &elf->seg[i];
		const uint8_t *seg = (const uint8_t *)elf->file->data + s->offset, *name, *desc;
		uint32_t name_len, t;
		uint64_t off = 0;

		if (s->type != ELF_PT_NOTE)
			continue;
		while ((off = next_note(seg, s->filesz, off, &name, &desc, &name_len, len, &t)))
			if (t == type && name_len == owner_len && !memcmp(name, owner, owner_len))
				return desc;
	}
	return NULL;
}
