/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Linux bzImages: both ways in, every compression, relocation, placement, and what is wrong with bad ones. */
#include <errno.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/bits.h"
#include "base/endian.h"
#include "boot/boot.h"
#include "kernels.h"

#define BP 0x10000 /* boot_params, as rsi says */

struct world {
	struct ram *ram;
	_Alignas(64) struct x86_state cpu;
	struct strbuf image;
	struct boot_config cfg;
	struct boot_info info;
	struct err e;
};

static struct world *world_new(const struct bzimage *b, uint64_t ram_size)
{
	struct world *w = aligned_alloc(64, ALIGN_UP(sizeof(*w), 64));

	assert_non_null(w);
	memset(w, 0, sizeof(*w));
	assert_int_equal(ram_new(&w->ram, ram_size, &w->e), 0);
	if (b)
		make_bzimage(&w->image, b);
	w->cfg.kernel = (struct boot_blob){ w->image.buf, w->image.len, "vmlinuz", NULL };
	w->cfg.cmdline = "console=ttyS0 quiet";
	return w;
}

static void world_free(struct world *w)
{
	ram_free(w->ram);
	strbuf_release(&w->image);
	free(w);
}

static int load(struct world *w)
{
	w->e.msg[0] = '\0';
	return boot_load(&w->cfg, w->ram, &w->cpu, &w->info, &w->e);
}

static const uint8_t *at(const struct world *w, uint64_t gpa)
{
	return w->ram->base + gpa;
}

static void check_long_mode(const struct world *w, uint64_t rip)
{
	const struct x86_state *s = &w->cpu;

	assert_int_equal(s->rip, rip);
	assert_int_equal(s->gpr[R_SI], BP);
	assert_true(x86_64bit(s));
	assert_int_equal(s->cr0 & (CR0_PE | CR0_PG), CR0_PE | CR0_PG);
	assert_int_equal(s->cr4, CR4_PAE);
	assert_int_equal(s->rflags, FL_1);
	assert_int_equal(s->seg[SEG_CS].sel, 0x10);
	assert_int_equal(s->seg[SEG_DS].sel, 0x18);
	assert_int_equal(s->seg[SEG_SS].sel, 0x18);
	/* The descriptors in memory say the same as the hidden parts. */
	assert_int_equal(get_le64(at(w, s->gdtr.base + 0x10)), 0x00af9b000000ffff);
	assert_int_equal(get_le64(at(w, s->gdtr.base + 0x18)), 0x00cf93000000ffff);
	/* Identity map: first and last 2 MiB page below 4 GiB. */
	uint64_t pdpt = get_le64(at(w, s->cr3)) & ~0xfffull, pd3 = get_le64(at(w, pdpt + 24)) & ~0xfffull;

	assert_int_equal(get_le64(at(w, get_le64(at(w, pdpt)) & ~0xfffull)), 0x83);
	assert_int_equal(get_le64(at(w, pd3 + 511 * 8)), 0xffe00083);
}

static void check_vmlinux(const struct world *w)
{
	struct strbuf v = STRBUF_INIT;

	make_vmlinux(&v, 0);
	assert_memory_equal(at(w, VMLINUX_PHYS), v.buf + 0x1000, VMLINUX_TEXT);
	strbuf_release(&v);
}

static void direct_entry_with_every_compression(void **state)
{
	static const char *const names[] = { "gzip", "xz", "zstd", "lz4", "lzma" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct bzimage b = BZIMAGE_DEFAULT;
		struct world *w;

		b.compression = names[i];
		w = world_new(&b, 64 * MiB);
		/* bss must be clear even where memory was not */
		memset(w->ram->base + VMLINUX_PHYS + VMLINUX_TEXT, 0xee, 64);
		if (load(w))
			fail_msg("%s: %s", names[i], w->e.msg);
		assert_true(w->info.direct);
		assert_int_equal(w->info.format, BOOT_LINUX64);
		assert_string_equal(w->info.compression, names[i]);
		check_long_mode(w, VMLINUX_PHYS);
		check_vmlinux(w);
		assert_int_equal(get_le64(at(w, VMLINUX_PHYS + VMLINUX_TEXT)), 0);
		assert_int_equal(w->info.kernel_start, VMLINUX_PHYS);
		assert_int_equal(w->info.kernel_end, VMLINUX_PHYS + b.init_size);
		world_free(w);
	}
}

static void own_decompressor(void **state)
{
	struct bzimage b = BZIMAGE_DEFAULT;
	struct world *w = world_new(&b, 64 * MiB);

	w->cfg.mode = BOOT_SETUP;
	assert_int_equal(load(w), 0);
	assert_false(w->info.direct);
	check_long_mode(w, VMLINUX_PHYS + 0x200);
	assert_memory_equal(at(w, VMLINUX_PHYS), w->image.buf + 1024, w->image.len - 1024);
	world_free(w);

	/* Not relocatable: loaded where code32_start says, it moves itself. */
	b.relocatable = false;
	w = world_new(&b, 64 * MiB);
	w->cfg.mode = BOOT_SETUP;
	assert_int_equal(load(w), 0);
	check_long_mode(w, 0x100200);
	world_free(w);
}

static void unknown_compression_falls_back(void **state)
{
	struct bzimage b = BZIMAGE_DEFAULT;
	struct world *w;

	b.compression = "none";
	w = world_new(&b, 64 * MiB);
	assert_int_equal(load(w), 0);
	assert_false(w->info.direct);
	check_long_mode(w, VMLINUX_PHYS + 0x200);
	w->cfg.mode = BOOT_DIRECT;
	assert_int_equal(load(w), -ENOEXEC);
	assert_non_null(strstr(w->e.msg, "vmlinuz"));
	world_free(w);
}

static void kernel_of_32_bits(void **state)
{
	struct bzimage b = BZIMAGE_DEFAULT;
	struct world *w;

	b.is_64 = false;
	w = world_new(&b, 64 * MiB);
	assert_int_equal(load(w), 0);
	assert_int_equal(w->info.format, BOOT_LINUX32);
	assert_int_equal(w->cpu.rip, VMLINUX_PHYS);
	assert_int_equal(w->cpu.gpr[R_SI], BP);
	assert_int_equal(w->cpu.gpr[R_BX] | w->cpu.gpr[R_BP] | w->cpu.gpr[R_DI], 0);
	assert_int_equal(w->cpu.cr0 & (CR0_PE | CR0_PG), CR0_PE);
	assert_int_equal(w->cpu.efer, 0);
	assert_int_equal(w->cpu.seg[SEG_CS].attr & (SEG_L | SEG_DB), SEG_DB);
	assert_int_equal(w->cpu.seg[SEG_CS].limit, UINT32_MAX);
	world_free(w);
}

static void boot_params(void **state)
{
	static const uint8_t initrd[5000] = { 1, 2, 3 }, seed[32] = { 9, 8, 7 };
	const struct boot_blob blobs[] = { { initrd, 4999, "a", NULL },
					   { initrd, sizeof(initrd), "b", NULL } };
	const struct e820_entry reserved = { 0xfec00000, 0x1000, E820_RESERVED };
	struct bzimage b = BZIMAGE_DEFAULT;
	struct world *w = world_new(&b, 5 * GiB);
	uint32_t image, size;
	const uint8_t *bp;

	w->cfg.initrds = blobs;
	w->cfg.n_initrds = 2;
	w->cfg.rng_seed = seed;
	w->cfg.rng_seed_len = sizeof(seed);
	w->cfg.reserved = &reserved;
	w->cfg.n_reserved = 1;
	assert_int_equal(load(w), 0);
	bp = at(w, BP);
	assert_int_equal(bp[0x210], 0xff);
	assert_int_equal(get_le32(bp + 0x202), 0x53726448);
	assert_string_equal((const char *)at(w, get_le32(bp + 0x228)), "console=ttyS0 quiet");
	/* Initrds: padded to 4 bytes, page-aligned, below initrd_addr_max, above the kernel. */
	image = get_le32(bp + 0x218);
	size = get_le32(bp + 0x21c);
	assert_int_equal(size, 5000 + 5000);
	assert_int_equal(image % PAGE_SIZE, 0);
	assert_true((uint64_t)image + size <= 0x80000000ull && image >= w->info.kernel_end);
	assert_memory_equal(at(w, image), initrd, 4999);
	assert_int_equal(*at(w, image + 4999), 0);
	assert_memory_equal(at(w, image + 5000), initrd, sizeof(initrd));
	assert_int_equal(get_le32(bp + 0xc0) | get_le32(bp + 0xc4), 0);
	/* Memory map: as e820.c makes it, with the extra entry. */
	assert_int_equal(bp[0x1e8], 6);
	assert_int_equal(get_le64(bp + 0x2d0 + 3 * 20), 0x100000);
	assert_int_equal(get_le64(bp + 0x2d0 + 3 * 20 + 8), RAM_HOLE_START - 0x100000);
	assert_int_equal(get_le64(bp + 0x2d0 + 4 * 20), 0xfec00000);
	assert_int_equal(get_le64(bp + 0x2d0 + 5 * 20), 4 * GiB);
	assert_int_equal(get_le64(bp + 0x2d0 + 5 * 20 + 8), 2 * GiB);
	/* setup_data: one element of type SETUP_RNG_SEED */
	const uint8_t *sd = at(w, get_le64(bp + 0x250));

	assert_int_equal(get_le64(sd), 0);
	assert_int_equal(get_le32(sd + 8), 9);
	assert_int_equal(get_le32(sd + 12), sizeof(seed));
	assert_memory_equal(sd + 16, seed, sizeof(seed));
	world_free(w);
}

static void initrd_above_4_gib(void **state)
{
	struct bzimage b = BZIMAGE_DEFAULT;
	struct boot_blob blob = { NULL, 64 * MiB, "big", NULL };
	struct world *w;

	blob.data = calloc(1, blob.len);
	b.initrd_addr_max = 0x2ffffff; /* 48 MiB */
	w = world_new(&b, 3 * GiB + 128 * MiB);
	w->cfg.initrds = &blob;
	w->cfg.n_initrds = 1;
	assert_int_equal(load(w), 0);
	assert_true(w->info.initrd_end <= RAM_HOLE_START && w->info.initrd_start > b.initrd_addr_max);
	/* No room below: a kernel that takes (nearly) all of the low memory */
	world_free(w);
	b.init_size = 3 * GiB - 32 * MiB - VMLINUX_PHYS;
	w = world_new(&b, 3 * GiB + 128 * MiB);
	w->cfg.initrds = &blob;
	w->cfg.n_initrds = 1;
	assert_int_equal(load(w), 0);
	assert_true(w->info.initrd_start >= 4 * GiB);
	assert_int_equal(get_le32(at(w, BP + 0xc0)), 1);
	/* A kernel that can't have it there */
	world_free(w);
	b.above_4g = false;
	w = world_new(&b, 3 * GiB + 128 * MiB);
	w->cfg.initrds = &blob;
	w->cfg.n_initrds = 1;
	assert_int_equal(load(w), -ENOMEM);
	assert_non_null(strstr(w->e.msg, "big"));
	assert_non_null(strstr(w->e.msg, "--memory"));
	world_free(w);
	free((void *)(uintptr_t)blob.data);
}

static void randomized(unsigned tables)
{
	struct bzimage b = BZIMAGE_DEFAULT;
	struct world *w;
	uint64_t off;

	b.tables = tables;
	w = world_new(&b, 64 * MiB);
	w->cfg.kaslr_seed = 0x123456789abcdef;
	assert_int_equal(load(w), 0);
	off = w->info.kaslr_offset;
	assert_true(off && off % 0x200000 == 0 && VMLINUX_PHYS + off + b.init_size <= 1 * GiB);
	assert_int_equal(get_le64(at(w, VMLINUX_PHYS + VMLINUX_PTR64)), VMLINUX_PTR + off);
	assert_int_equal(get_le32(at(w, VMLINUX_PHYS + VMLINUX_PTR32)), (uint32_t)(VMLINUX_PTR + off));
	assert_int_equal(get_le32(at(w, VMLINUX_PHYS + VMLINUX_INV32)),
			 (uint32_t)(VMLINUX_PTR - (tables == 3 ? off : 0)));
	assert_int_equal(*at(w, BP + 0x211) & 2, 2);
	check_long_mode(w, VMLINUX_PHYS);
	/* The user's word counts */
	w->cfg.cmdline = "quiet nokaslr";
	assert_int_equal(load(w), 0);
	assert_int_equal(w->info.kaslr_offset, 0);
	check_vmlinux(w);
	assert_int_equal(*at(w, BP + 0x211) & 2, 0);
	w->cfg.cmdline = "xnokaslr nokaslrx";
	assert_int_equal(load(w), 0);
	assert_int_not_equal(w->info.kaslr_offset, 0);
	world_free(w);
}

static void kaslr(void **state)
{
	struct bzimage b = BZIMAGE_DEFAULT;
	struct world *w;

	randomized(3);
	randomized(2);
	b.tables = 0;
	w = world_new(&b, 64 * MiB);
	w->cfg.kaslr_seed = 77;
	assert_int_equal(load(w), 0);
	assert_int_equal(w->info.kaslr_offset, 0);
	check_vmlinux(w);
	world_free(w);
}

static void refuse(struct world *w, int rc, const char *word)
{
	int got = load(w);

	if (got != rc || !strstr(w->e.msg, word) || strchr(w->e.msg, '\n'))
		fail_msg("want %d with '%s', got %d: %s", rc, word, got, w->e.msg);
}

static void bad_headers(void **state)
{
	struct bzimage b = BZIMAGE_DEFAULT;
	struct world *w = world_new(&b, 64 * MiB);
	uint8_t *h = (uint8_t *)w->image.buf;

	put_le16(h + 0x206, 0x0203);
	refuse(w, -ENOEXEC, "2.03");
	put_le16(h + 0x206, 0x020f);
	h[0x211] = 0;
	refuse(w, -ENOEXEC, "bzImage");
	h[0x211] = 1;
	put_le32(h + 0x24c, 0x7fffffff);
	refuse(w, -EINVAL, "payload");
	put_le32(h + 0x248, UINT32_MAX);
	refuse(w, -EINVAL, "payload");
	world_free(w);

	b.cmdline_size = 10;
	w = world_new(&b, 64 * MiB);
	refuse(w, -EINVAL, "command line");
	world_free(w);

	b = (struct bzimage)BZIMAGE_DEFAULT;
	b.init_size = 0x40000000;
	w = world_new(&b, 64 * MiB);
	refuse(w, -ENOMEM, "--memory");
	w->cfg.mode = BOOT_SETUP;
	refuse(w, -ENOMEM, "--memory");
	world_free(w);
}

/* What carries a checksum notices any damage; the others at least when the stream itself makes no sense. */
static void damaged_payload(void **state)
{
	static const char *const names[] = { "gzip", "xz", "zstd", "lz4", "lzma" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct bzimage b = BZIMAGE_DEFAULT;
		struct world *w;

		b.compression = names[i];
		w = world_new(&b, 64 * MiB);
		memset(w->image.buf + 1024 + 0x400 + 24, 0xff, 200);
		refuse(w, -EINVAL, "vmlinuz");
		world_free(w);
	}
	for (size_t i = 0; i < 2; i++) {
		struct bzimage b = BZIMAGE_DEFAULT;
		struct world *w;

		b.compression = names[i];
		w = world_new(&b, 64 * MiB);
		w->image.buf[w->image.len - 100] ^= 4;
		refuse(w, -EINVAL, "damaged");
		world_free(w);
	}
}

/* A relocation that points outside of the kernel */
static void damaged_relocations(void **state)
{
	struct bzimage b = BZIMAGE_DEFAULT;
	struct world *w;
	uint8_t *word;

	/* Stored blocks: the table stands in the file as it is. */
	b.compression = "lz4";
	w = world_new(&b, 64 * MiB);
	word = (uint8_t *)w->image.buf + w->image.len - 8;
	assert_int_equal(get_le32(word), (uint32_t)(VMLINUX_VIRT + VMLINUX_PTR32));
	put_le32(word, (uint32_t)(VMLINUX_VIRT + VMLINUX_MEM));
	w->cfg.kaslr_seed = 1;
	refuse(w, -EINVAL, "relocation");
	put_le32(word, 5);
	refuse(w, -EINVAL, "relocation");
	w->cfg.kaslr_seed = 0;
	assert_int_equal(load(w), 0);
	world_free(w);
}

/* Cut anywhere, it must be refused, with one line that names the file. */
static void truncated(void **state)
{
	struct bzimage b = BZIMAGE_DEFAULT;
	struct world *w = world_new(&b, 32 * MiB);
	size_t full = w->image.len;

	for (size_t len = 0; len < full - 16; len += len < 0x300 ? 1 : 61) {
		/* A copy of its own, so that reading beyond it is caught */
		char *copy = malloc(len ? len : 1);

		memcpy(copy, w->image.buf, len);
		w->cfg.kernel.data = copy;
		w->cfg.kernel.len = len;
		if (!load(w) || !strstr(w->e.msg, "vmlinuz") || strchr(w->e.msg, '\n'))
			fail_msg("cut at %zu: '%s'", len, w->e.msg);
		free(copy);
	}
	world_free(w);
}

static void other_files(void **state)
{
	static const struct {
		size_t offset;
		const char *magic, *word;
	} files[] = {
		{ 0, "garbage", "not a kernel" }, { 0x38, "ARM\x64", "ARM64" }, { 0, "#!/bin/sh", "script" },
		{ 0, "070701", "--initrd" }, { 0, "MZ", "EFI" }, { 0, "BZh9", "bzip2" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct world *w = world_new(NULL, 32 * MiB);
		char buf[1024] = "";

		memcpy(buf + files[i].offset, files[i].magic, strlen(files[i].magic));
		w->cfg.kernel.data = buf;
		w->cfg.kernel.len = sizeof(buf);
		refuse(w, -ENOEXEC, files[i].word);
		world_free(w);
	}
}

/* Debian's kernel, where it is at hand: installed, or in the cache of the default guest. */
static FILE *open_kernel(void)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char pattern[512];
	FILE *f = NULL;
	glob_t g;

	snprintf(pattern, sizeof(pattern), "%s%s/doppel/vmlinuz-*-amd64", cache ? cache : home ? home : "",
		 cache ? "" : "/.cache");
	glob("/boot/vmlinuz-*-amd64", 0, NULL, &g);
	glob(pattern, GLOB_APPEND, NULL, &g);
	if (g.gl_pathc)
		f = fopen(g.gl_pathv[0], "rb");
	globfree(&g);
	return f;
}

static void debian_kernel(void **state)
{
	struct world *w;
	FILE *f = open_kernel();
	char buf[65536];
	size_t n;

	if (!f)
		skip();
	w = world_new(NULL, 256 * MiB);
	while ((n = fread(buf, 1, sizeof(buf), f)))
		strbuf_add(&w->image, buf, n);
	fclose(f);
	w->cfg.kernel.data = w->image.buf;
	w->cfg.kernel.len = w->image.len;
	w->cfg.kaslr_seed = 12345;
	if (load(w))
		fail_msg("%s", w->e.msg);
	assert_true(w->info.direct);
	assert_int_not_equal(w->info.kaslr_offset, 0);
	check_long_mode(w, w->info.entry);
	w->cfg.mode = BOOT_SETUP;
	assert_int_equal(load(w), 0);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(direct_entry_with_every_compression),
		cmocka_unit_test(own_decompressor),
		cmocka_unit_test(unknown_compression_falls_back),
		cmocka_unit_test(kernel_of_32_bits),
		cmocka_unit_test(boot_params),
		cmocka_unit_test(initrd_above_4_gib),
		cmocka_unit_test(kaslr),
		cmocka_unit_test(bad_headers),
		cmocka_unit_test(damaged_payload),
		cmocka_unit_test(damaged_relocations),
		cmocka_unit_test(truncated),
		cmocka_unit_test(other_files),
		cmocka_unit_test(debian_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
