/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual address randomization of a Linux kernel that is entered directly.
 *
 * A kernel with CONFIG_RANDOMIZE_BASE is linked at ffffffff81000000 and its payload carries, right
 * behind the ELF file, a table of all places that hold an absolute virtual address. The table is
 * a row of 32-bit words, in groups that are meant to be read from the end of the payload backwards, each
 * up to its zero word:
 *
 *	0, 64-bit places ..., [0, inverse 32-bit places ...,] 0, 32-bit places ...      (end of payload)
 *
 * A word is the low half of the place's own virtual address (sign-extended). Adding the offset to 64-
 * and 32-bit places, and subtracting it from the inverse ones (per-CPU symbols, up to Linux 6.14; later
 * kernels have no such group) moves the kernel. Its physical place stays: startup_64 finds the difference
 * out by itself. Physical randomization would need nothing else, but gains little here.
 */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "boot/linux.h"

#define KERNEL_MAP        0xffffffff80000000ull /* __START_KERNEL_map: physical 0 */
#define KERNEL_IMAGE_SIZE (1 * GiB)             /* the kernel's window, with CONFIG_RANDOMIZE_BASE */

enum reloc_kind { RELOC_64, RELOC_INVERSE_32, RELOC_32 };

bool linux_cmdline_has(const char *cmdline, const char *word)
{
	static const char blanks[] = " \t\n";
	size_t len = strlen(word);

	for (const char *p = cmdline ? cmdline : ""; *p;) {
		size_t n;

		p += strspn(p, blanks);
		n = strcspn(p, blanks);
		if (n == len && !memcmp(p, word, len))
			return true;
		p += n;
	}
	return false;
}

/* A random multiple of the alignment that keeps the kernel inside of its window; 0: no room. */
static uint64_t pick_offset(uint64_t link_address, const struct linux_kaslr *k)
{
	uint64_t used = link_address + k->image_size, slots;

	if (!k->align || used > KERNEL_IMAGE_SIZE)
		return 0;
	slots = (KERNEL_IMAGE_SIZE - used) / k->align;
	/* Slot 0 is where it was linked: choose among the others. */
	return slots ? (1 + k->seed % slots) * k->align : 0;
}

static int relocate(struct loader *l, const struct elf *elf, enum reloc_kind kind, uint32_t word,
		    uint64_t offset)
{
	uint64_t gpa = (uint64_t)(int64_t)(int32_t)word - KERNEL_MAP;
	uint8_t *p;

	if (!elf_loaded(elf, gpa, kind == RELOC_64 ? 8 : 4))
		return -EINVAL;
	p = l->ram->base + gpa;
	if (kind == RELOC_64)
		put_le64(p, get_le64(p) + offset);
	else if (kind == RELOC_32)
		put_le32(p, (uint32_t)(get_le32(p) + offset));
	else
		put_le32(p, (uint32_t)(get_le32(p) - offset));
	return 0;
}

int linux_randomize(struct loader *l, const struct elf *elf, const struct linux_kaslr *k, uint64_t *offset,
		    struct err *e)
{
	static const enum reloc_kind order_2[] = { RELOC_64, RELOC_32 };
	static const enum reloc_kind order_3[] = { RELOC_64, RELOC_INVERSE_32, RELOC_32 };
	const uint64_t n = k->table_len / 4;
	const enum reloc_kind *order;
	unsigned groups = 0, group = 0;

	*offset = 0;
	for (uint64_t i = 0; i < n; i++)
		groups += !get_le32(k->table + i * 4);
	/* Anything else is no relocation table: the kernel can't be moved, and runs where it was linked. */
	if (n < 2 || get_le32(k->table) || (groups != ARRAY_SIZE(order_2) && groups != ARRAY_SIZE(order_3)))
		return 0;
	order = groups == ARRAY_SIZE(order_2) ? order_2 : order_3;
	*offset = pick_offset(l->info.kernel_start, k);
	if (!*offset)
		return 0;
	for (uint64_t i = 1; i < n; i++) {
		uint32_t word = get_le32(k->table + i * 4);

		if (!word)
			group++;
		else if (relocate(l, elf, order[group], word, *offset))
			return err_set(
				e, EINVAL,
				"kernel %s: damaged: its relocation table names %#x, which is outside of it",
				l->kernel.name, word);
	}
	return 0;
}
