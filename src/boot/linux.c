/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux bzImages, by Documentation/arch/x86/boot.rst and zero-page.rst.
 *
 * The kernel's own way is to enter its decompressor, which unpacks vmlinux and jumps to it. That costs
 * a translated or interpreted guest dearly (minutes with xz), so by default the payload is unpacked
 * here and vmlinux's startup_64 entered as the decompressor would have: at its link address, with
 * rsi = boot_params and an identity map. See kaslr.c for what else the decompressor does.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "boot/decompress.h"
#include "boot/elf.h"
#include "boot/linux.h"
#include "boot/load.h"

/* Setup header: offsets in the file and, the same, in boot_params. */
enum {
	HDR_SETUP_SECTS = 0x1f1, HDR_SYSSIZE = 0x1f4, HDR_VID_MODE = 0x1fa, HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP_LEN = 0x201, HDR_MAGIC = 0x202, HDR_VERSION = 0x206, HDR_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211, HDR_CODE32_START = 0x214, HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c, HDR_CMD_LINE_PTR = 0x228, HDR_INITRD_ADDR_MAX = 0x22c,
	HDR_KERNEL_ALIGNMENT = 0x230, HDR_RELOCATABLE = 0x234, HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238, HDR_PAYLOAD_OFFSET = 0x248, HDR_PAYLOAD_LENGTH = 0x24c,
	HDR_SETUP_DATA = 0x250, HDR_PREF_ADDRESS = 0x258, HDR_INIT_SIZE = 0x260,
	HDR_FIXED_END = 0x268,
	HDR_MAX_END = 0x290, /* where boot_params goes on with other fields */
};

/* boot_params outside of the setup header, zero-page.rst */
enum {
	BP_EXT_MEM_K = 0x002, BP_VIDEO_MODE = 0x006, BP_VIDEO_COLUMNS, BP_VIDEO_EGA = 0x00a, BP_VIDEO_LINES = 0x00e, BP_VIDEO_IS_VGA,
	BP_VIDEO_POINTS, BP_RSDP_ADDR = 0x070, BP_EXT_RAMDISK_IMAGE = 0x0c0, BP_EXT_RAMDISK_SIZE = 0x0c4,
	BP_EXT_CMD_LINE_PTR = 0x0c8, BP_ALT_MEM_K = 0x1e0, BP_E820_ENTRIES = 0x1e8, BP_E820_TABLE = 0x2d0,
	BP_SIZE = 4096,
	E820_ENTRY_SIZE = 20,
};

enum {
	MAGIC_HDRS = 0x53726448, BOOT_FLAG = 0xaa55,
	PROTOCOL_2_06 = 0x206, PROTOCOL_2_08 = 0x208, PROTOCOL_2_10 = 0x20a, PROTOCOL_2_12 = 0x20c,
	LOADED_HIGH = 0x01, KASLR_FLAG = 0x02,
	XLF_KERNEL_64 = 0x01, XLF_CAN_BE_LOADED_ABOVE_4G = 0x02,
	LOADER_UNDEFINED = 0xff, VID_MODE_NORMAL = 0xffff,
	VIDEO_EGA_256K = 3, /* bl of the video BIOS' int 10h, ah=12h: memory of a colour card */
	SECTOR = 512, DEFAULT_SETUP_SECTS = 4, SYSSIZE_UNIT = 16,
	ENTRY_64_OFFSET = 0x200, /* boot.rst, 64-bit boot protocol */
	SETUP_RNG_SEED = 9, SETUP_DATA_HEADER = 16,
};

struct linux_image {
	const uint8_t *hdr;     /* the file */
	const uint8_t *code;    /* its protected-mode part */
	uint64_t code_size;
	unsigned version;
	bool is_64, above_4g, relocatable;
	uint64_t pref_address, init_size, align;
	const uint8_t *payload; /* NULL: none is declared */
	uint64_t payload_len;
};

bool linux_detect(const struct boot_blob *k)
{
	const uint8_t *d = k->data;

	return k->len >= HDR_MAGIC + 4 && get_le16(d + HDR_BOOT_FLAG) == BOOT_FLAG &&
	       get_le32(d + HDR_MAGIC) == MAGIC_HDRS;
}

static int parse_versions(const struct boot_blob *k, struct linux_image *img, struct err *e)
{
	const uint8_t *d = k->data;

	if (k->len < HDR_FIXED_END)
		return err_set(e, EINVAL, "kernel %s: cut short: %zu bytes do not hold a setup header",
			       k->name, k->len);
	img->hdr = d;
	img->version = get_le16(d + HDR_VERSION);
	if (img->version < PROTOCOL_2_06)
		return err_set(e, ENOEXEC,
			       "kernel %s: its boot protocol %u.%02u is too old: needed is 2.06 (Linux "
			       "2.6.22) or later",
			       k->name, img->version >> 8, img->version & 0xff);
	if (!(d[HDR_LOADFLAGS] & LOADED_HIGH))
		return err_set(e, ENOEXEC,
			       "kernel %s: a zImage, which must be loaded below 1 MiB: use a bzImage",
			       k->name);
	if (img->version >= PROTOCOL_2_12) {
		img->is_64 = get_le16(d + HDR_XLOADFLAGS) & XLF_KERNEL_64;
		img->above_4g = get_le16(d + HDR_XLOADFLAGS) & XLF_CAN_BE_LOADED_ABOVE_4G;
	}
	return 0;
}

static int parse_image(const struct boot_blob *k, struct linux_image *img, struct err *e)
{
	const uint8_t *d = k->data;
	unsigned sects = d[HDR_SETUP_SECTS] ? d[HDR_SETUP_SECTS] : DEFAULT_SETUP_SECTS;
	uint64_t setup = (sects + 1ull) * SECTOR, size = (uint64_t)get_le32(d + HDR_SYSSIZE) * SYSSIZE_UNIT;
	uint64_t off, len;

	/* The size is in 16-byte units, and the file need not be padded to one. */
	if (k->len <= setup || size > ALIGN_UP(k->len - setup, SYSSIZE_UNIT))
		return err_set(e, EINVAL,
			       "kernel %s: cut short: its header declares %" PRIu64
			       " bytes, the file is %zu: "
			       "fetch it again",
			       k->name, setup + size, k->len);
	img->code = d + setup;
	img->code_size = size ? MIN(size, k->len - setup) : k->len - setup;
	img->relocatable = d[HDR_RELOCATABLE];
	img->align = get_le32(d + HDR_KERNEL_ALIGNMENT);
	img->pref_address = get_le32(d + HDR_CODE32_START);
	img->init_size = img->code_size;
	if (img->version >= PROTOCOL_2_10) {
		img->pref_address = get_le64(d + HDR_PREF_ADDRESS);
		img->init_size = MAX(img->code_size, get_le32(d + HDR_INIT_SIZE));
	}
	off = get_le32(d + HDR_PAYLOAD_OFFSET);
	len = get_le32(d + HDR_PAYLOAD_LENGTH);
	if (img->version < PROTOCOL_2_08 || !len)
		return 0;
	if (off > img->code_size || len > img->code_size - off)
		return err_set(e, EINVAL,
			       "kernel %s: damaged setup header: its payload (%" PRIu64 " bytes at %" PRIu64
			       ") is beyond its end",
			       k->name, len, off);
	img->payload = img->code + off;
	img->payload_len = len;
	return 0;
}

static int too_small(struct loader *l, uint64_t end, struct err *e)
{
	return err_set(e, ENOMEM, "kernel %s: it needs memory up to %" PRIu64 " MiB, the guest has %" PRIu64
		       ": give it more with --memory", l->kernel.name, (uint64_t)((end + MiB - 1) / MiB),
		       (uint64_t)(ram_size(l->ram) / MiB));
}

/* Protected-mode part for the kernel's own decompressor. */
static int load_setup(struct loader *l, const struct linux_image *img, struct err *e)
{
	uint64_t at = img->relocatable && img->pref_address >= 1 * MiB ? img->pref_address :
		      get_le32(img->hdr + HDR_CODE32_START);
	uint64_t end;

	/* A kernel that is not relocatable moves itself to its preferred address. */
	if (at < 1 * MiB || at >= 4 * GiB || img->pref_address >= 4 * GiB)
		return err_set(e, EINVAL,
			       "kernel %s: damaged setup header: it wants to be loaded at %#" PRIx64
			       " (prefers %#" PRIx64 ")",
			       l->kernel.name, at, img->pref_address);
	end = MAX(at + img->code_size, img->pref_address + img->init_size);
	if (!ram_contains(l->ram, at, end - at))
		return too_small(l, end, e);
	load_bytes(l, at, img->code, img->code_size);
	l->info.kernel_start = MIN(at, img->pref_address);
	l->info.kernel_end = end;
	if (img->is_64)
		load_entry_64(l, at + ENTRY_64_OFFSET);
	else
		load_entry_32(l, (uint32_t)at);
	l->info.format = img->is_64 ? BOOT_LINUX64 : BOOT_LINUX32;
	l->info.format_name = img->is_64 ? "Linux bzImage, 64-bit, its own decompressor" :
			      "Linux bzImage, 32-bit, its own decompressor";
	return 0;
}

/* The unpacked payload is in place: virtual address space layout, then the entry. */
static int enter_vmlinux(struct loader *l, const struct linux_image *img, const struct elf *elf,
			 struct err *e)
{
	const struct linux_kaslr k = {
		.seed = l->c->kaslr_seed,
		.image_size = img->init_size,
		.align = img->align,
		.table = (const uint8_t *)elf->file->data + elf->end,
		.table_len = elf->file->len - elf->end,
	};
	uint64_t entry = elf_entry_phys(elf);
	int rc = 0;

	if (entry >= 4 * GiB || !elf_loaded(elf, entry, 1))
		return err_set(e, EINVAL, "kernel %s: damaged: its entry point %#" PRIx64 " is outside of it",
			       l->kernel.name, entry);
	if (k.seed && !linux_cmdline_has(l->c->cmdline, "nokaslr"))
		rc = linux_randomize(l, elf, &k, &l->info.kaslr_offset, e);
	if (rc)
		return rc;
	load_entry_64(l, entry);
	l->info.format = BOOT_LINUX64;
	l->info.format_name = "Linux bzImage, 64-bit, direct entry";
	l->info.direct = true;
	return 0;
}

static int load_vmlinux(struct loader *l, const struct linux_image *img, const struct boot_blob *vmlinux,
			struct err *e)
{
	struct elf elf;
	uint64_t start, end;
	int rc = elf_parse(&elf, vmlinux, e);

	if (rc)
		return rc;
	if (!elf.is_64)
		return err_set(e, ENOEXEC, "kernel %s: its payload is a 32-bit program", l->kernel.name);
	rc = elf_load(l, &elf, &start, &end, e);
	if (rc)
		return rc;
	l->info.kernel_start = start;
	l->info.kernel_end = MAX(end, start + img->init_size);
	if (!ram_contains(l->ram, start, l->info.kernel_end - start) || l->info.kernel_end > 4 * GiB)
		return too_small(l, l->info.kernel_end, e);
	return enter_vmlinux(l, img, &elf, e);
}

/* A payload ends with the size of what it unpacks to: the build appends it, gzip has it by itself. */
static int unpack(struct loader *l, const struct linux_image *img, struct decompressed *out, struct err *e)
{
	const char *name = decompress_name(img->payload, img->payload_len);
	uint64_t len = img->payload_len, size;
	int rc;

	if (len <= 4 || !name)
		return err_set(e, ENOEXEC,
			       "kernel %s: its payload is compressed in a way that is not known here",
			       l->kernel.name);
	size = get_le32(img->payload + len - 4);
	if (size > ram_size(l->ram))
		return too_small(l, size, e);
	if (strcmp(name, "gzip"))
		len -= 4;
	l->info.compression = name;
	/* Room for one byte more than it should be, so that every decoder comes to its stream's end. */
	rc = decompress(img->payload, len, size + 1, out, e);
	if (!rc && out->len != size) {
		rc = err_set(e, EINVAL, "damaged: its %s data gives %zu bytes, not %" PRIu64, name, out->len,
			     size);
		decompress_release(out);
	}
	return rc ? err_prefix(e, rc, "kernel %s: payload", l->kernel.name) : 0;
}

static int load_direct(struct loader *l, const struct linux_image *img, struct err *e)
{
	struct decompressed d;
	struct boot_blob vmlinux = { .name = l->kernel.name };
	int rc;

	if (!img->is_64 || !img->payload)
		return err_set(e, ENOEXEC,
			       "kernel %s: direct entry needs a 64-bit kernel with a compressed payload",
			       l->kernel.name);
	rc = unpack(l, img, &d, e);
	if (rc)
		return rc;
	vmlinux.data = d.data;
	vmlinux.len = d.len;
	rc = load_vmlinux(l, img, &vmlinux, e);
	decompress_release(&d);
	return rc;
}

static int load_image(struct loader *l, const struct linux_image *img, struct err *e)
{
	struct boot_info before = l->info;
	int rc;

	if (l->c->mode == BOOT_SETUP)
		return load_setup(l, img, e);
	rc = load_direct(l, img, e);
	/* Only an unknown kind of payload is a reason to try the other way: damage will not go away. */
	if (rc != -ENOEXEC || l->c->mode == BOOT_DIRECT)
		return rc;
	l->info = before;
	return load_setup(l, img, e);
}

static void fill_e820(const struct e820_map *m, uint8_t *bp)
{
	bp[BP_E820_ENTRIES] = (uint8_t)m->n;
	for (unsigned i = 0; i < m->n; i++) {
		uint8_t *p = bp + BP_E820_TABLE + i * E820_ENTRY_SIZE;

		put_le64(p, m->e[i].base);
		put_le64(p + 8, m->e[i].size);
		put_le32(p + 16, m->e[i].type);
	}
}

/* screen_info, for vgacon and for what the decompressor says: the cursor is at the top left */
static void fill_screen(uint8_t *bp)
{
	bp[BP_VIDEO_MODE] = 3;
	bp[BP_VIDEO_COLUMNS] = 80;
	put_le16(bp + BP_VIDEO_EGA, VIDEO_EGA_256K);
	bp[BP_VIDEO_LINES] = 25;
	bp[BP_VIDEO_IS_VGA] = 1;
	put_le16(bp + BP_VIDEO_POINTS, 16);
}

/* A list of one element: entropy, so that the guest's generator is ready from the start. */
static uint64_t load_setup_data(struct loader *l)
{
	uint8_t hdr[SETUP_DATA_HEADER] = { 0 };

	if (!l->c->rng_seed || !l->c->rng_seed_len)
		return 0;
	put_le32(hdr + 8, SETUP_RNG_SEED);
	put_le32(hdr + 12, (uint32_t)l->c->rng_seed_len);
	load_bytes(l, LOW_SETUP_DATA, hdr, sizeof(hdr));
	load_bytes(l, LOW_SETUP_DATA + sizeof(hdr), l->c->rng_seed, l->c->rng_seed_len);
	return LOW_SETUP_DATA;
}

static void load_boot_params(struct loader *l, const struct linux_image *img)
{
	uint8_t bp[BP_SIZE] = { 0 };
	uint64_t ramdisk = l->info.initrd_start, size = l->info.initrd_end - l->info.initrd_start;
	uint64_t ext_k = MIN((l->ram->low_size - 1 * MiB) / KiB, UINT32_MAX);
	unsigned end = MIN(HDR_MAGIC + (unsigned)img->hdr[HDR_JUMP_LEN], (unsigned)HDR_MAX_END);

	/* The header ends where the jump at its beginning leads to. */
	end = MAX(end, HDR_FIXED_END);
	memcpy(bp + HDR_SETUP_SECTS, img->hdr + HDR_SETUP_SECTS, MIN(end, l->kernel.len) - HDR_SETUP_SECTS);
	bp[HDR_LOADER] = LOADER_UNDEFINED;
	put_le16(bp + HDR_VID_MODE, VID_MODE_NORMAL);
	put_le32(bp + HDR_RAMDISK_IMAGE, (uint32_t)ramdisk);
	put_le32(bp + HDR_RAMDISK_SIZE, (uint32_t)size);
	put_le32(bp + BP_EXT_RAMDISK_IMAGE, (uint32_t)(ramdisk >> 32));
	put_le32(bp + BP_EXT_RAMDISK_SIZE, (uint32_t)(size >> 32));
	put_le32(bp + HDR_CMD_LINE_PTR, LOW_CMDLINE);
	put_le32(bp + HDR_CODE32_START, (uint32_t)l->info.kernel_start);
	if (img->version >= PROTOCOL_2_08 + 1)
		put_le64(bp + HDR_SETUP_DATA, load_setup_data(l));
	if (l->info.kaslr_offset)
		bp[HDR_LOADFLAGS] |= KASLR_FLAG;
	put_le64(bp + BP_RSDP_ADDR, l->info.acpi_rsdp);
	put_le16(bp + BP_EXT_MEM_K, (uint16_t)MIN(ext_k, UINT16_MAX));
	put_le32(bp + BP_ALT_MEM_K, (uint32_t)ext_k);
	if (l->c->text_screen)
		fill_screen(bp);
	fill_e820(&l->map, bp);
	load_bytes(l, LOW_BOOT_PARAMS, bp, sizeof(bp));
}

int linux_load(struct loader *l, struct err *e)
{
	struct linux_image img = { 0 };
	int rc = parse_versions(&l->kernel, &img, e);

	if (!rc)
		rc = parse_image(&l->kernel, &img, e);
	if (!rc)
		rc = load_cmdline(l, get_le32(img.hdr + HDR_CMDLINE_SIZE), e);
	if (!rc)
		rc = load_image(l, &img, e);
	if (!rc)
		rc = load_initrds(l, get_le32(img.hdr + HDR_INITRD_ADDR_MAX) + 1ull,
				  img.above_4g && img.is_64, 4, NULL, e);
	if (rc)
		return rc;
	load_boot_params(l, &img);
	l->cpu->gpr[R_SI] = LOW_BOOT_PARAMS;
	return 0;
}
