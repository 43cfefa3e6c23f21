/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Damaged kernels of every format, random options and random ACPI platforms, through boot_load().
 *
 *   fuzz_boot [--seconds N] [--iterations N] [--seed S]
 *
 * Ends at whichever comes first. Each input is in a buffer of its exact size, so that a sanitizer build sees
 * every access outside of it. A failure names the iteration's seed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "boot/boot.h"
#include "fuzz.h"
#include "kernels.h"

#define DEFAULT_SECONDS 2
#define DEFAULT_SEED    0xb007
#define RAM_SIZE        (24 * MiB) /* the made-up kernels need 17 */
#define N_TEMPLATES     16

struct fuzz {
	uint64_t rng;
	struct ram *ram;
	struct x86_state *cpu;
	struct strbuf templates[N_TEMPLATES];
	uint64_t loaded, refused;
};

static uint64_t rnd(struct fuzz *f)
{
	return fuzz_random(&f->rng);
}

static uint64_t below(struct fuzz *f, uint64_t n)
{
	return fuzz_below(&f->rng, n);
}

static void make_templates(struct fuzz *f)
{
	static const char *const compressions[] = { "gzip", "xz", "zstd", "lz4", "lzma", "none" };
	struct strbuf *t = f->templates;

	for (size_t i = 0; i < ARRAY_SIZE(compressions); i++) {
		struct bzimage b = BZIMAGE_DEFAULT;

		b.compression = compressions[i];
		b.tables = i % 2 ? 2 : 3;
		make_bzimage(t++, &b);
	}
	make_pvh(t++, true, true);
	make_pvh(t++, true, false);
	make_pvh(t++, false, true);
	make_multiboot(t++, MB_ELF32, 3);
	make_multiboot(t++, MB_ELF64, 0);
	make_multiboot(t++, MB_FLAT, 3);
	for (unsigned i = 0; i < 4; i++)
		kernel_compress(compressions[i], f->templates[9].buf, f->templates[9].len, t++);
}

/* Numbers at which parsers break. */
static uint64_t odd_number(struct fuzz *f)
{
	static const uint64_t odd[] = {
		0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff, 0x100000000,
		0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffff00, UINT64_MAX,
		RAM_SIZE, RAM_SIZE - 1, 0xa0000, 0x100000, 0x10000,
	};

	return rnd(f) & 3 ? odd[below(f, ARRAY_SIZE(odd))] : rnd(f) >> below(f, 64);
}

static void damage(struct fuzz *f, uint8_t *p, size_t len)
{
	static const size_t reach[] = { 0x80, 0x300, 0x500, SIZE_MAX };

	for (uint64_t n = below(f, 6); n && len >= 8; n--) {
		size_t range = reach[below(f, ARRAY_SIZE(reach))], at = below(f, MIN(len, range));
		uint64_t v = odd_number(f);

		switch (below(f, 4)) {
		case 0:
			p[at] ^= (uint8_t)(1u << below(f, 8));
			break;
		case 1:
			memcpy(p + MIN(at & ~1ull, len - 2), &v, 2);
			break;
		case 2:
			memcpy(p + MIN(at & ~3ull, len - 4), &v, 4);
			break;
		default:
			memcpy(p + MIN(at & ~7ull, len - 8), &v, 8);
			break;
		}
	}
}

static void fail(uint64_t seed, const char *what, const char *msg)
{
	fprintf(stderr, "fuzz_boot: %s: '%s' (repeat with --seed %#" PRIx64 " --iterations 1)\n", what, msg,
		seed);
	exit(1);
}

static void random_platform(struct fuzz *f, struct acpi_platform *p)
{
	memset(p, 0, sizeof(*p));
	p->cpus = (unsigned)below(f, 5000);
	p->ioapic_addr = (uint32_t)odd_number(f);
	p->n_overrides = (unsigned)below(f, ACPI_MAX_OVERRIDES + 2);
	p->n_uarts = (unsigned)below(f, ACPI_MAX_UARTS + 2);
	for (unsigned i = 0; i < ACPI_MAX_UARTS; i++)
		p->uart[i].irq = (uint8_t)below(f, 17);
	p->sci_irq = (uint8_t)below(f, 17);
	p->pm1_evt_port = p->pm1_cnt_port = (uint16_t)odd_number(f);
	p->s5_type = (uint8_t)below(f, 9);
	p->rtc_port = (uint16_t)odd_number(f);
	p->has_pci = below(f, 2);
	p->pci_config_port = (uint16_t)odd_number(f);
	p->pci_mmio = (struct acpi_window){ odd_number(f), odd_number(f) };
	p->pci_mmio64 = (struct acpi_window){ odd_number(f), odd_number(f) };
}

/* What must be so after a success, whatever the file said. */
static void check_loaded(struct fuzz *f, uint64_t seed, const struct boot_info *i)
{
	if (!ram_contains(f->ram, i->entry, 1) || i->entry != f->cpu->rip)
		fail(seed, "the entry is outside of RAM", i->format_name);
	if (i->initrd_end != i->initrd_start &&
	    (!ram_contains(f->ram, i->initrd_start, i->initrd_end - i->initrd_start) ||
	     (i->initrd_start < i->kernel_end && i->kernel_start < i->initrd_end)))
		fail(seed, "the initrd is in the wrong place", i->format_name);
	if (!ram_contains(f->ram, i->kernel_start, i->kernel_end - i->kernel_start))
		fail(seed, "the kernel is in the wrong place", i->format_name);
}

static void check_refused(uint64_t seed, int rc, const struct err *e)
{
	if (rc > 0 || !e->msg[0] || strchr(e->msg, '\n'))
		fail(seed, "no proper message", e->msg);
	if (rc != -ENOEXEC && rc != -EINVAL && rc != -ENOMEM && rc != -EFBIG && rc != -E2BIG)
		fail(seed, "an error that is not documented", e->msg);
}

static void one(struct fuzz *f)
{
	const uint64_t seed = f->rng;
	const struct strbuf *t = &f->templates[below(f, N_TEMPLATES)];
	size_t len = below(f, 8) ? t->len : below(f, t->len + 1),
	       initrd_len = below(f, 16) ? below(f, 5000) : below(f, 16 * MiB);
	uint8_t *image = malloc(MAX(len, 1u));
	const struct boot_blob initrds[2] = { { calloc(1, MAX(initrd_len, 1u)), initrd_len, "initrd", NULL },
					      { "tail", 4, "tail", "x" } };
	struct acpi_platform platform;
	struct boot_config c = { .kernel = { image, len, "kernel", NULL },
				 .initrds = initrds,
				 .cmdline = "a b nokaslrx" };
	struct boot_info info = { 0 };
	struct err e = { "" };
	int rc;

	memcpy(image, t->buf, len);
	damage(f, image, len);
	c.n_initrds = (unsigned)below(f, 3);
	c.mode = (enum boot_mode)below(f, 3);
	c.kaslr_seed = below(f, 2) ? rnd(f) : 0;
	if (!below(f, 8)) {
		random_platform(f, &platform);
		c.acpi = &platform;
	}
	rc = boot_load(&c, f->ram, f->cpu, &info, &e);
	if (rc)
		check_refused(seed, rc, &e);
	else
		check_loaded(f, seed, &info);
	*(rc ? &f->refused : &f->loaded) += 1;
	free(image);
	free((void *)(uintptr_t)initrds[0].data);
}

int main(int argc, char **argv)
{
	const struct fuzz_options o = fuzz_parse(argc, argv, DEFAULT_SECONDS, DEFAULT_SEED);
	struct fuzz f = { .rng = o.seed };
	double start = fuzz_now();
	struct err e;
	uint64_t n;

	f.cpu = aligned_alloc(64, ALIGN_UP(sizeof(*f.cpu), 64));
	if (!f.cpu || ram_new(&f.ram, RAM_SIZE, &e)) {
		fprintf(stderr, "fuzz_boot: no memory\n");
		return 1;
	}
	make_templates(&f);
	for (n = 0; fuzz_goes_on(&o, start, n); n++)
		one(&f);
	printf("fuzz_boot: %" PRIu64 " kernels: %" PRIu64 " loaded, %" PRIu64 " refused\n", n, f.loaded,
	       f.refused);
	for (unsigned i = 0; i < N_TEMPLATES; i++)
		strbuf_release(&f.templates[i]);
	ram_free(f.ram);
	free(f.cpu);
	return !f.loaded || !f.refused ? (o.iterations >= FUZZ_LEAST) : 0;
}
