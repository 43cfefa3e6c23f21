/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF kernels with a PVH note, and Multiboot: entry states, information passed, refusals. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/bits.h"
#include "base/endian.h"
#include "boot/boot.h"
#include "kernels.h"

struct world {
	struct ram *ram;
	_Alignas(64) struct x86_state cpu;
	struct strbuf image;
	struct boot_config cfg;
	struct boot_info info;
	struct err e;
};

static const char mod_a[] = "first", mod_b[] = "second module";
static const struct boot_blob modules[] = {
	{ mod_a, sizeof(mod_a), "/some/where/a.img", NULL },
	{ mod_b, sizeof(mod_b), "b.img", "b.img verbose=1" },
};

static struct world *world_new(uint64_t ram_size)
{
	struct world *w = aligned_alloc(64, ALIGN_UP(sizeof(*w), 64));

	assert_non_null(w);
	memset(w, 0, sizeof(*w));
	assert_int_equal(ram_new(&w->ram, ram_size, &w->e), 0);
	w->cfg.cmdline = "loglevel=1";
	w->cfg.initrds = modules;
	w->cfg.n_initrds = 2;
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
	w->cfg.kernel = (struct boot_blob){ w->image.buf, w->image.len, "/host/path/kernel", NULL };
	return boot_load(&w->cfg, w->ram, &w->cpu, &w->info, &w->e);
}

static void refuse(struct world *w, int rc, const char *word)
{
	int got = load(w);

	if (got != rc || !strstr(w->e.msg, word) || strchr(w->e.msg, '\n'))
		fail_msg("want %d with '%s', got %d: %s", rc, word, got, w->e.msg);
}

static const uint8_t *at(const struct world *w, uint64_t gpa)
{
	return w->ram->base + gpa;
}

static void check_flat_32(const struct world *w, uint32_t eip)
{
	const struct x86_state *s = &w->cpu;

	assert_int_equal(s->rip, eip);
	assert_int_equal(s->cr0 & (CR0_PE | CR0_PG), CR0_PE);
	assert_int_equal(s->cr4 | s->efer, 0);
	assert_int_equal(s->rflags, FL_1);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		assert_int_equal(s->seg[i].base, 0);
		assert_int_equal(s->seg[i].limit, UINT32_MAX);
		assert_int_equal(s->seg[i].attr & (SEG_P | SEG_S | SEG_DB | SEG_G | SEG_L),
				 SEG_P | SEG_S | SEG_DB | SEG_G);
		assert_int_equal(!!(s->seg[i].attr & SEG_CODE), i == SEG_CS);
	}
}

static void pvh_of(bool is_64, bool linux_guest)
{
	struct world *w = world_new(64 * MiB);
	const uint8_t *si, *m;
	uint64_t list;

	make_pvh(&w->image, is_64, linux_guest);
	if (load(w))
		fail_msg("%s", w->e.msg);
	assert_int_equal(w->info.format, BOOT_PVH);
	check_flat_32(w, PVH_PHYS + 0x40);
	assert_int_equal(*at(w, PVH_PHYS + 0x7ff), 0x5a);
	assert_int_equal(*at(w, PVH_PHYS + 0x800), 0);
	si = at(w, w->cpu.gpr[R_BX]);
	assert_int_equal(get_le32(si), 0x336ec578);
	assert_int_equal(get_le32(si + 4), 1);
	assert_string_equal((const char *)at(w, get_le64(si + 24)), "loglevel=1");
	/* Linux gets one module of all initrds, others each by itself. */
	assert_int_equal(get_le32(si + 12), linux_guest ? 1 : 2);
	m = at(w, get_le64(si + 16));
	assert_memory_equal(at(w, get_le64(m)), mod_a, sizeof(mod_a));
	assert_int_equal(get_le64(m + 8), linux_guest ? 8 + sizeof(mod_b) : sizeof(mod_a));
	assert_string_equal((const char *)at(w, get_le64(m + 16)), "a.img");
	if (linux_guest) {
		assert_memory_equal(at(w, get_le64(m) + 8), mod_b, sizeof(mod_b));
	} else {
		assert_memory_equal(at(w, get_le64(m + 32)), mod_b, sizeof(mod_b));
		assert_string_equal((const char *)at(w, get_le64(m + 48)), "b.img verbose=1");
	}
	assert_int_equal(get_le32(si + 48), 4);
	list = get_le64(si + 40);
	assert_int_equal(get_le64(at(w, list + 3 * 24)), 0x100000);
	assert_int_equal(get_le64(at(w, list + 3 * 24 + 8)), 63 * MiB);
	assert_int_equal(get_le32(at(w, list + 3 * 24 + 16)), E820_RAM);
	world_free(w);
}

static void pvh(void **state)
{
	pvh_of(true, true);
	pvh_of(true, false);
	pvh_of(false, true);
}

static void multiboot_of(enum multiboot_kind kind)
{
	struct world *w = world_new(64 * MiB);
	const uint8_t *mbi, *m;

	make_multiboot(&w->image, kind, 3);
	if (load(w))
		fail_msg("%s", w->e.msg);
	assert_int_equal(w->info.format, BOOT_MULTIBOOT);
	check_flat_32(w, MB_PHYS + 0x80);
	assert_int_equal(w->cpu.gpr[R_AX], 0x2badb002);
	assert_int_equal(get_le32(at(w, MB_PHYS)), 0x1badb002);
	assert_int_equal(*at(w, MB_PHYS + 0x5ff), 0xa5);
	assert_int_equal(*at(w, MB_PHYS + 0x600), 0);
	mbi = at(w, w->cpu.gpr[R_BX]);
	assert_int_equal(get_le32(mbi) & 0x4d, 0x4d);
	assert_int_equal(get_le32(mbi + 4), 639);
	assert_int_equal(get_le32(mbi + 8), 63 * 1024);
	/* The kernel's name, but not where it was on the host */
	assert_string_equal((const char *)at(w, get_le32(mbi + 16)), "kernel loglevel=1");
	assert_int_equal(get_le32(mbi + 20), 2);
	m = at(w, get_le32(mbi + 24));
	assert_int_equal(get_le32(m) % PAGE_SIZE | get_le32(m + 16) % PAGE_SIZE, 0);
	assert_memory_equal(at(w, get_le32(m)), mod_a, sizeof(mod_a));
	assert_int_equal(get_le32(m + 20) - get_le32(m + 16), sizeof(mod_b));
	assert_string_equal((const char *)at(w, get_le32(m + 24)), "b.img verbose=1");
	assert_int_equal(get_le32(mbi + 44), 4 * 24);
	assert_int_equal(get_le32(at(w, get_le32(mbi + 48))), 20);
	assert_string_equal((const char *)at(w, get_le32(mbi + 64)), "doppel");
	world_free(w);
}

static void multiboot(void **state)
{
	multiboot_of(MB_ELF32);
	multiboot_of(MB_ELF64);
	multiboot_of(MB_FLAT);
}

/* Xen is shipped as a gzip of an ELF file. */
static void compressed_as_a_whole(void **state)
{
	static const char *const names[] = { "gzip", "xz", "zstd", "lz4", "lzma" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct world *w = world_new(64 * MiB);
		struct strbuf plain = STRBUF_INIT;

		make_multiboot(&plain, MB_ELF32, 0);
		kernel_compress(names[i], plain.buf, plain.len, &w->image);
		if (load(w))
			fail_msg("%s: %s", names[i], w->e.msg);
		assert_string_equal(w->info.compression, names[i]);
		check_flat_32(w, MB_PHYS + 0x80);
		w->image.len /= 2;
		refuse(w, -EINVAL, "kernel");
		strbuf_release(&plain);
		world_free(w);
	}
}

static void bad_elf(void **state)
{
	struct world *w = world_new(64 * MiB);
	uint8_t *p;

	make_vmlinux(&w->image, 0);
	refuse(w, -ENOEXEC, "PVH");
	p = (uint8_t *)w->image.buf;
	put_le16(p + 18, 183);
	refuse(w, -ENOEXEC, "ARM64");
	put_le16(p + 18, 62);
	put_le16(p + 16, 1);
	refuse(w, -ENOEXEC, "executable");
	put_le16(p + 16, 2);
	p[5] = 2;
	refuse(w, -ENOEXEC, "big-endian");
	p[5] = 1;
	put_le64(p + 32, UINT64_MAX - 20);
	refuse(w, -EINVAL, "cut short");
	put_le64(p + 32, 64);
	put_le64(p + 64 + 8, UINT64_MAX - 100);
	refuse(w, -EINVAL, "cut short");
	put_le64(p + 64 + 8, 0x1000);
	put_le64(p + 64 + 40, 1);
	refuse(w, -EINVAL, "smaller");
	world_free(w);
}

static void bad_places(void **state)
{
	static const uint64_t places[] = { 0x10000, 0xf0000, 64 * MiB - 0x100, 0xd0000000,
					   UINT64_MAX - 0x1000 };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct world *w = world_new(64 * MiB);

		make_pvh(&w->image, true, true);
		/* Entry inside of what moves, so that the place is what is wrong */
		put_le64((uint8_t *)w->image.buf + 64 + 56 + 24, places[i]);
		put_le32((uint8_t *)w->image.buf + 0x400 + 16 + 8 + 16, (uint32_t)places[i]);
		if (!load(w))
			fail_msg("loaded at %#lx", (unsigned long)places[i]);
		world_free(w);
	}
}

static void bad_multiboot(void **state)
{
	struct world *w = world_new(64 * MiB);
	uint8_t *h;

	make_multiboot(&w->image, MB_FLAT, 8);
	refuse(w, -EINVAL, "features");
	world_free(w);
	w = world_new(64 * MiB);
	make_multiboot(&w->image, MB_FLAT, 0);
	h = (uint8_t *)w->image.buf + 0x200;
	put_le32(h + 12, MB_PHYS + 0x10000);
	refuse(w, -EINVAL, "contradict");
	put_le32(h + 12, MB_PHYS);
	put_le32(h + 20, MB_PHYS + 0x10000);
	refuse(w, -EINVAL, "cut short");
	put_le32(h + 20, MB_PHYS + 0x600);
	put_le32(h + 28, MB_PHYS - 4);
	refuse(w, -EINVAL, "entry point");
	put_le32(h + 28, MB_PHYS + 0x80);
	put_le32(h + 24, MB_PHYS + 0x500);
	refuse(w, -EINVAL, "damaged");
	put_le32(h + 24, MB_PHYS + 70 * 0x100000);
	refuse(w, -ENOMEM, "--memory");
	put_le32(h + 24, 0);
	assert_int_equal(load(w), 0);
	w->image.len = 0x200 + 16;
	refuse(w, -EINVAL, "cut short");
	world_free(w);
}

static void truncated(void **state)
{
	struct strbuf images[3] = { STRBUF_INIT, STRBUF_INIT, STRBUF_INIT };

	make_pvh(&images[0], true, true);
	make_multiboot(&images[1], MB_ELF32, 0);
	make_multiboot(&images[2], MB_FLAT, 0);
	for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
		struct world *w = world_new(16 * MiB);
		size_t n = images[i].len;

		for (size_t len = 0; len < n; len += len < 0x500 ? 1 : 37) {
			strbuf_release(&w->image);
			strbuf_add(&w->image, images[i].buf, len);
			if (!load(w) || !strstr(w->e.msg, "kernel"))
				fail_msg("image %zu cut at %zu: '%s'", i, len, w->e.msg);
		}
		world_free(w);
		strbuf_release(&images[i]);
	}
}

static void too_many_modules(void **state)
{
	struct boot_blob many[65];
	struct strbuf args = STRBUF_INIT;
	struct world *w = world_new(64 * MiB);

	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = modules[0];
	make_multiboot(&w->image, MB_ELF32, 0);
	w->cfg.initrds = many;
	w->cfg.n_initrds = 65;
	refuse(w, -EINVAL, "65 modules");
	w->cfg.n_initrds = 64;
	assert_int_equal(load(w), 0);
	for (unsigned i = 0; i < 1000; i++)
		strbuf_add(&args, "forty characters are added, a thousand t", 40);
	many[63].args = args.buf;
	refuse(w, -EINVAL, "too long");
	strbuf_release(&args);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pvh),
		cmocka_unit_test(multiboot),
		cmocka_unit_test(compressed_as_a_whole),
		cmocka_unit_test(bad_elf),
		cmocka_unit_test(bad_places),
		cmocka_unit_test(bad_multiboot),
		cmocka_unit_test(truncated),
		cmocka_unit_test(too_many_modules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
