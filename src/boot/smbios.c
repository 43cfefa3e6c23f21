/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS structures (DMTF DSP0134, 2.8; the numbers in comments are its sections): BIOS, system, board, chassis, processor,
 * memory, boot status, end. Missing: caches, slots, ports, the 64-bit entry point (guests with less than 64 KiB of
 * structures need none).
 */
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "boot/smbios.h"

enum { HEADER_SIZE = 4, VERSION_MAJOR = 2, VERSION_MINOR = 8 };

enum { T_BIOS = 0, T_SYSTEM = 1, T_BOARD = 2, T_CHASSIS = 3, T_PROCESSOR = 4, T_MEMORY_ARRAY = 16, T_MEMORY = 17,
       T_MAPPED = 19, T_BOOT = 32, T_END = 127 };

/* 7.1, 7.2: lengths of the formatted areas, and offsets in them */
enum {
	BIOS_SIZE = 24, BIOS_VENDOR = 4, BIOS_VERSION = 5, BIOS_SEGMENT = 6, BIOS_DATE = 8, BIOS_CHARS = 10, BIOS_EXT2 = 19,
	BIOS_RELEASE = 20, BIOS_EC_RELEASE = 22, BIOS_NOT_SUPPORTED = 8, BIOS_EXT2_VM = 0x10, BIOS_EXT2_UEFI = 0x08,
	NO_RELEASE = 0xff,
	SYS_SIZE = 27, SYS_MANUFACTURER = 4, SYS_PRODUCT = 5, SYS_VERSION = 6, SYS_SERIAL = 7, SYS_UUID = 8, SYS_WAKE = 24,
	SYS_SKU = 25, SYS_FAMILY = 26, WAKE_POWER_SWITCH = 6,
};

/* 7.3, 7.4, 7.5 */
enum {
	BOARD_SIZE = 15, BOARD_MANUFACTURER = 4, BOARD_PRODUCT = 5, BOARD_VERSION = 6, BOARD_SERIAL = 7, BOARD_ASSET = 8,
	BOARD_FLAGS = 9, BOARD_LOCATION = 10, BOARD_CHASSIS = 11, BOARD_TYPE = 13, BOARD_HOSTING = 1, BOARD_MOTHERBOARD = 10,
	CASE_SIZE = 22, CASE_MANUFACTURER = 4, CASE_TYPE = 5, CASE_VERSION = 6, CASE_SERIAL = 7, CASE_ASSET = 8, CASE_STATES = 9,
	CASE_SECURITY = 12, CASE_SKU = 21, CASE_OTHER = 1, STATE_SAFE = 3, SECURITY_UNKNOWN = 2,
	CPU_SIZE = 42, CPU_SOCKET = 4, CPU_TYPE = 5, CPU_FAMILY = 6, CPU_MANUFACTURER = 7, CPU_ID = 8, CPU_VERSION = 16,
	CPU_STATUS = 24, CPU_UPGRADE = 25, CPU_CACHES = 26, CPU_SERIAL = 32, CPU_ASSET = 33, CPU_PART = 34, CPU_CORES = 35,
	CPU_ENABLED = 36, CPU_THREADS = 37, CPU_CHARS = 38, CPU_FAMILY2 = 40, CPU_CENTRAL = 3, CPU_OTHER = 1,
	CPU_POPULATED_ON = 0x41, CPU_64BIT_MULTI_CORE = 0x0c, NO_CACHE = 0xffff,
};

/* 7.17, 7.18, 7.20, 7.33 */
enum {
	ARRAY_SIZE_ = 23, ARRAY_LOCATION = 4, ARRAY_USE = 5, ARRAY_ECC = 6, ARRAY_CAPACITY = 7, ARRAY_ERROR = 11, ARRAY_COUNT = 13,
	ARRAY_EXTENDED = 15, LOCATION_OTHER = 1, USE_SYSTEM = 3, ECC_NONE = 3, NO_ERROR_HANDLE = 0xfffe,
	MEM_SIZE = 40, MEM_ARRAY = 4, MEM_ERROR = 6, MEM_WIDTHS = 8, MEM_MIB = 12, MEM_FORM = 14, MEM_LOCATOR = 16, MEM_BANK = 17,
	MEM_TYPE = 18, MEM_DETAIL = 19, MEM_MANUFACTURER = 23, MEM_SERIAL = 24, MEM_ASSET = 25, MEM_PART = 26, MEM_EXTENDED = 28,
	WIDTH_UNKNOWN = 0xffff, FORM_DIMM = 9, TYPE_RAM = 7, DETAIL_OTHER = 2, MIB_IS_EXTENDED = 0x7fff,
	MAPPED_SIZE = 31, MAPPED_START = 4, MAPPED_END = 8, MAPPED_ARRAY = 12, MAPPED_WIDTH = 14, MAPPED_START64 = 15,
	MAPPED_END64 = 23,
	BOOT_SIZE = 11,
};
#define CAPACITY_EXTENDED 0x80000000u /* KiB: the extended field has it, in bytes */
#define MAPPED_EXTENDED   0xffffffffu

#define DIMM_MAX (16 * GiB)

static const char *const defaults[SMBIOS_STRINGS] = {
	[SMBIOS_BIOS_VENDOR] = "doppel", [SMBIOS_BIOS_VERSION] = "1", [SMBIOS_BIOS_DATE] = "01/01/2026",
	[SMBIOS_SYS_MANUFACTURER] = "doppel", [SMBIOS_SYS_PRODUCT] = "PC (i440FX + PIIX)", [SMBIOS_SYS_VERSION] = "1",
	[SMBIOS_BOARD_MANUFACTURER] = "doppel", [SMBIOS_BOARD_VERSION] = "1",
	[SMBIOS_CASE_MANUFACTURER] = "doppel", [SMBIOS_CASE_VERSION] = "1",
	[SMBIOS_CPU_SOCKET] = "CPU 0", [SMBIOS_CPU_MANUFACTURER] = "doppel", [SMBIOS_CPU_VERSION] = "1",
	[SMBIOS_MEM_LOCATOR] = "DIMM", [SMBIOS_MEM_MANUFACTURER] = "doppel",
};

/* One structure under construction: the formatted area, then its strings (6.1). */
struct maker {
	const struct smbios_platform *p;
	struct strbuf *out;
	size_t at;          /* of the structure in out */
	struct strbuf text; /* its strings so far */
	uint8_t n_text;
	unsigned count;     /* structures, and the size of the largest */
	size_t largest;
};

/* Handles are the type's, and a number where there are several. */
static uint16_t handle(uint8_t type, unsigned n)
{
	return (uint16_t)(type << 8 | n);
}

static uint8_t *begin(struct maker *m, uint8_t type, unsigned n, uint8_t size)
{
	static const uint8_t zeroes[UINT8_MAX];
	uint8_t *s;

	m->at = m->out->len;
	m->n_text = 0;
	strbuf_add(m->out, zeroes, size);
	s = (uint8_t *)m->out->buf + m->at;
	s[0] = type;
	s[1] = size;
	put_le16(s + 2, handle(type, n));
	return s;
}

/* Both an empty set of strings and the end of one that is not are an empty string: 6.1.3. */
static void end(struct maker *m)
{
	strbuf_add(m->out, m->text.buf ? m->text.buf : "", m->text.len);
	strbuf_add(m->out, "\0", m->text.len ? 1 : 2);
	strbuf_release(&m->text);
	m->count++;
	m->largest = MAX(m->largest, m->out->len - m->at);
}

/* The number by which the structure refers to a string; 0: there is none. */
static uint8_t add_text(struct maker *m, const char *s)
{
	if (!s || !*s)
		return 0;
	strbuf_add(&m->text, s, strlen(s) + 1);
	return ++m->n_text;
}

static uint8_t text(struct maker *m, enum smbios_string which)
{
	const char *set = m->p->config.string[which];

	return add_text(m, *set ? set : defaults[which]);
}

static void add_bios(struct maker *m)
{
	const struct smbios_config *c = &m->p->config;
	uint8_t *s = begin(m, T_BIOS, 0, BIOS_SIZE);

	s[BIOS_VENDOR] = text(m, SMBIOS_BIOS_VENDOR);
	s[BIOS_VERSION] = text(m, SMBIOS_BIOS_VERSION);
	put_le16(s + BIOS_SEGMENT, 0xe800);
	s[BIOS_DATE] = text(m, SMBIOS_BIOS_DATE);
	put_le64(s + BIOS_CHARS, BIOS_NOT_SUPPORTED);
	s[BIOS_EXT2] = BIOS_EXT2_VM | (c->uefi ? BIOS_EXT2_UEFI : 0);
	memcpy(s + BIOS_RELEASE, c->release, sizeof(c->release));
	memset(s + BIOS_EC_RELEASE, NO_RELEASE, 2);
	end(m);
}

/* 7.2.1: the first three fields are little-endian numbers. */
static void put_uuid(uint8_t *to, const uint8_t *from)
{
	static const uint8_t order[SMBIOS_UUID_LEN] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	for (unsigned i = 0; i < SMBIOS_UUID_LEN; i++)
		to[i] = from[order[i]];
}

static void add_system(struct maker *m)
{
	uint8_t *s = begin(m, T_SYSTEM, 0, SYS_SIZE);

	s[SYS_MANUFACTURER] = text(m, SMBIOS_SYS_MANUFACTURER);
	s[SYS_PRODUCT] = text(m, SMBIOS_SYS_PRODUCT);
	s[SYS_VERSION] = text(m, SMBIOS_SYS_VERSION);
	s[SYS_SERIAL] = text(m, SMBIOS_SYS_SERIAL);
	put_uuid(s + SYS_UUID, m->p->config.uuid);
	s[SYS_WAKE] = WAKE_POWER_SWITCH;
	s[SYS_SKU] = text(m, SMBIOS_SYS_SKU);
	s[SYS_FAMILY] = text(m, SMBIOS_SYS_FAMILY);
	end(m);
}

static void add_board(struct maker *m)
{
	uint8_t *s = begin(m, T_BOARD, 0, BOARD_SIZE);

	s[BOARD_MANUFACTURER] = text(m, SMBIOS_BOARD_MANUFACTURER);
	s[BOARD_PRODUCT] = text(m, SMBIOS_BOARD_PRODUCT);
	s[BOARD_VERSION] = text(m, SMBIOS_BOARD_VERSION);
	s[BOARD_SERIAL] = text(m, SMBIOS_BOARD_SERIAL);
	s[BOARD_ASSET] = text(m, SMBIOS_BOARD_ASSET);
	s[BOARD_FLAGS] = BOARD_HOSTING;
	s[BOARD_LOCATION] = text(m, SMBIOS_BOARD_LOCATION);
	put_le16(s + BOARD_CHASSIS, handle(T_CHASSIS, 0));
	s[BOARD_TYPE] = BOARD_MOTHERBOARD;
	end(m);
}

static void add_chassis(struct maker *m)
{
	uint8_t *s = begin(m, T_CHASSIS, 0, CASE_SIZE);

	s[CASE_MANUFACTURER] = text(m, SMBIOS_CASE_MANUFACTURER);
	s[CASE_TYPE] = CASE_OTHER;
	s[CASE_VERSION] = text(m, SMBIOS_CASE_VERSION);
	s[CASE_SERIAL] = text(m, SMBIOS_CASE_SERIAL);
	s[CASE_ASSET] = text(m, SMBIOS_CASE_ASSET);
	memset(s + CASE_STATES, STATE_SAFE, 3); /* of boot-up, power supply, temperature */
	s[CASE_SECURITY] = SECURITY_UNKNOWN;
	s[CASE_SKU] = text(m, SMBIOS_CASE_SKU);
	end(m);
}

/* One socket with all of them, as CPUID tells it. */
static void add_processor(struct maker *m)
{
	uint8_t *s = begin(m, T_PROCESSOR, 0, CPU_SIZE);

	s[CPU_SOCKET] = text(m, SMBIOS_CPU_SOCKET);
	s[CPU_TYPE] = CPU_CENTRAL;
	s[CPU_FAMILY] = CPU_OTHER;
	s[CPU_MANUFACTURER] = text(m, SMBIOS_CPU_MANUFACTURER);
	put_le32(s + CPU_ID, m->p->cpu_signature);
	put_le32(s + CPU_ID + 4, m->p->cpu_features);
	s[CPU_VERSION] = text(m, SMBIOS_CPU_VERSION);
	s[CPU_STATUS] = CPU_POPULATED_ON;
	s[CPU_UPGRADE] = CPU_OTHER;
	for (unsigned level = 0; level < 3; level++)
		put_le16(s + CPU_CACHES + 2 * level, NO_CACHE);
	s[CPU_SERIAL] = text(m, SMBIOS_CPU_SERIAL);
	s[CPU_ASSET] = text(m, SMBIOS_CPU_ASSET);
	s[CPU_PART] = text(m, SMBIOS_CPU_PART);
	s[CPU_CORES] = s[CPU_ENABLED] = s[CPU_THREADS] = (uint8_t)m->p->cpus;
	put_le16(s + CPU_CHARS, CPU_64BIT_MULTI_CORE);
	put_le16(s + CPU_FAMILY2, CPU_OTHER);
	end(m);
}

static void add_memory_array(struct maker *m, uint64_t size, unsigned dimms)
{
	uint8_t *s = begin(m, T_MEMORY_ARRAY, 0, ARRAY_SIZE_);

	s[ARRAY_LOCATION] = LOCATION_OTHER;
	s[ARRAY_USE] = USE_SYSTEM;
	s[ARRAY_ECC] = ECC_NONE;
	put_le32(s + ARRAY_CAPACITY, size / KiB < CAPACITY_EXTENDED ? (uint32_t)(size / KiB) : CAPACITY_EXTENDED);
	put_le64(s + ARRAY_EXTENDED, size / KiB < CAPACITY_EXTENDED ? 0 : size);
	put_le16(s + ARRAY_ERROR, NO_ERROR_HANDLE);
	put_le16(s + ARRAY_COUNT, (uint16_t)dimms);
	end(m);
}

static void add_memory(struct maker *m, unsigned n, uint64_t size)
{
	uint64_t mib = (size + MiB - 1) / MiB;
	struct strbuf locator = STRBUF_INIT;
	uint8_t *s = begin(m, T_MEMORY, n, MEM_SIZE);
	const char *set = m->p->config.string[SMBIOS_MEM_LOCATOR];

	strbuf_addf(&locator, "%s %u", *set ? set : defaults[SMBIOS_MEM_LOCATOR], n);
	put_le16(s + MEM_ARRAY, handle(T_MEMORY_ARRAY, 0));
	put_le16(s + MEM_ERROR, NO_ERROR_HANDLE);
	put_le16(s + MEM_WIDTHS, WIDTH_UNKNOWN);
	put_le16(s + MEM_WIDTHS + 2, WIDTH_UNKNOWN);
	put_le16(s + MEM_MIB, mib < MIB_IS_EXTENDED ? (uint16_t)mib : MIB_IS_EXTENDED);
	put_le32(s + MEM_EXTENDED, mib < MIB_IS_EXTENDED ? 0 : (uint32_t)mib);
	s[MEM_FORM] = FORM_DIMM;
	s[MEM_LOCATOR] = add_text(m, locator.buf);
	s[MEM_BANK] = text(m, SMBIOS_MEM_BANK);
	s[MEM_TYPE] = TYPE_RAM;
	put_le16(s + MEM_DETAIL, DETAIL_OTHER);
	s[MEM_MANUFACTURER] = text(m, SMBIOS_MEM_MANUFACTURER);
	s[MEM_SERIAL] = text(m, SMBIOS_MEM_SERIAL);
	s[MEM_ASSET] = text(m, SMBIOS_MEM_ASSET);
	s[MEM_PART] = text(m, SMBIOS_MEM_PART);
	strbuf_release(&locator);
	end(m);
}

static void add_mapped(struct maker *m, unsigned n, uint64_t start, uint64_t size)
{
	uint64_t last = (start + size) / KiB - 1;
	bool wide = last >= MAPPED_EXTENDED;
	uint8_t *s = begin(m, T_MAPPED, n, MAPPED_SIZE);

	put_le32(s + MAPPED_START, wide ? MAPPED_EXTENDED : (uint32_t)(start / KiB));
	put_le32(s + MAPPED_END, wide ? MAPPED_EXTENDED : (uint32_t)last);
	put_le16(s + MAPPED_ARRAY, handle(T_MEMORY_ARRAY, 0));
	s[MAPPED_WIDTH] = 1;
	put_le64(s + MAPPED_START64, wide ? start : 0);
	put_le64(s + MAPPED_END64, wide ? start + size - 1 : 0);
	end(m);
}

static void add_all_memory(struct maker *m)
{
	uint64_t size = m->p->ram_low + m->p->ram_high;
	unsigned dimms = (unsigned)((size + DIMM_MAX - 1) / DIMM_MAX);

	add_memory_array(m, size, dimms);
	for (unsigned i = 0; i < dimms; i++)
		add_memory(m, i, MIN(size - i * DIMM_MAX, DIMM_MAX));
	add_mapped(m, 0, 0, m->p->ram_low);
	if (m->p->ram_high)
		add_mapped(m, 1, 4 * GiB, m->p->ram_high);
}

static uint8_t checksum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

/* 5.2.1: the 32-bit entry point, whose second half is the older DMI anchor. */
static void make_anchor(const struct maker *m, uint64_t base, struct strbuf *out)
{
	enum { CHECKSUM = 4, LENGTH, MAJOR, MINOR, MAX_SIZE, DMI = 16, DMI_CHECKSUM = 21, TABLE_LENGTH, TABLE = 24, COUNT = 28,
	       BCD = 30 };
	uint8_t a[SMBIOS_ANCHOR_SIZE] = "_SM_";

	a[LENGTH] = sizeof(a);
	a[MAJOR] = VERSION_MAJOR;
	a[MINOR] = VERSION_MINOR;
	put_le16(a + MAX_SIZE, (uint16_t)m->largest);
	memcpy(a + DMI, "_DMI_", 5);
	put_le16(a + TABLE_LENGTH, (uint16_t)m->out->len);
	put_le32(a + TABLE, (uint32_t)base);
	put_le16(a + COUNT, (uint16_t)m->count);
	a[BCD] = VERSION_MAJOR << 4 | VERSION_MINOR;
	a[DMI_CHECKSUM] = checksum(a + DMI, sizeof(a) - DMI);
	a[CHECKSUM] = checksum(a, sizeof(a));
	strbuf_add(out, a, sizeof(a));
}

void smbios_build(const struct smbios_platform *p, uint64_t base, struct strbuf *anchor, struct strbuf *tables)
{
	struct maker m = { .p = p, .out = tables };

	if (!p->firmware || p->config.bios)
		add_bios(&m);
	add_system(&m);
	if (p->config.board)
		add_board(&m);
	add_chassis(&m);
	add_processor(&m);
	add_all_memory(&m);
	begin(&m, T_BOOT, 0, BOOT_SIZE); /* status 0: no errors detected */
	end(&m);
	begin(&m, T_END, 0, HEADER_SIZE);
	end(&m);
	make_anchor(&m, base, anchor);
}
