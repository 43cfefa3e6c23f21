/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debian's SeaBIOS on the PC: what it says on its debug port of the machine that it finds. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend/chr/chr.h"
#include "base/bits.h"
#include "cpu/engines.h"
#include "machine/devices.h"
#include "machine/pc.h"

#define SEABIOS   "/usr/share/seabios/bios-256k.bin" /* Debian's package seabios */
#define PATIENCE  60 /* seconds */

struct fixture {
	void *bios;
	size_t bios_len;
	char log[64];
	struct chr *debugcon;
	struct pc *pc;
	off_t from; /* what comes before has been read */
	char text[64 * 1024];
};

static struct fixture f;
static struct pc_boot with_boot; /* of the next machine */

static int setup(void **state)
{
	int fd = open(SEABIOS, O_RDONLY | O_CLOEXEC);
	struct stat st;

	memset(&f, 0, sizeof(f));
	memset(&with_boot, 0, sizeof(with_boot));
	if (fd < 0 || fstat(fd, &st))
		return -1;
	f.bios_len = (size_t)st.st_size;
	f.bios = mmap(NULL, f.bios_len, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	strcpy(f.log, "/tmp/doppel-seabios-XXXXXX");
	close(mkstemp(f.log));
	return f.bios == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	pc_free(f.pc);
	chr_free(f.debugcon);
	unlink(f.log);
	munmap(f.bios, f.bios_len);
	return 0;
}

static void start(uint64_t ram, unsigned cpus)
{
	struct device_config debugcon = { .driver = "isa-debugcon", .prop = { { "iobase", "0x402" } }, .n_props = 1 };
	struct pc_config c = {
		.ram_size = ram, .cpus = cpus, .cpu_spec = "host", .engine = engine_choose(NULL),
		.boot = with_boot, .firmware = { .data = f.bios, .len = f.bios_len, .name = SEABIOS }, .devices = &debugcon, .n_devices = 1,
	};
	struct err e = { "" };
	char spec[80];

	snprintf(spec, sizeof(spec), "file:%s", f.log);
	assert_int_equal(chr_open(&f.debugcon, spec, &e), 0);
	assert_int_equal(chr_begin(f.debugcon, &e), 0);
	debugcon.chr = f.debugcon;
	if (pc_new(&f.pc, &c, &e))
		fail_msg("%s", e.msg);
	assert_int_equal(pc_start(f.pc, &e), 0);
	pc_pause(f.pc, false);
}

/* Wait until SeaBIOS has said so. */
static void expect(const char *text)
{
	struct timespec ms = { 0, 10000000 };

	for (unsigned i = 0; i < PATIENCE * 100; i++) {
		int fd = open(f.log, O_RDONLY | O_CLOEXEC);
		ssize_t n = pread(fd, f.text, sizeof(f.text) - 1, f.from);

		close(fd);
		f.text[n > 0 ? n : 0] = 0;
		if (strstr(f.text, text))
			return;
		nanosleep(&ms, NULL);
	}
	fail_msg("SeaBIOS has not said '%s', but: %s", text, f.text);
}

static uint8_t cmos(uint8_t index)
{
	space_write(f.pc->pio, 0x70, 1, index);
	return (uint8_t)space_read(f.pc->pio, 0x71, 1);
}

static void test_seabios(void **state)
{
	start(512 * MiB, 1);
	expect("SeaBIOS (version");
	expect("Found QEMU fw_cfg");
	expect("QEMU fw_cfg DMA interface supported");
	expect("addr 0x0000000000000000 len 0x0000000020000000 [RAM]");
	expect("Moving pm_base to 0x600");
	expect("Found 1 cpu(s)");
	expect("No bootable device");
	assert_null(strstr(f.text, "Unable to unlock ram"));
	assert_null(strstr(f.text, "rror"));
	/* ROM stays what it is; the E segment, opened by the firmware, is RAM with a copy of it. */
	space_write(f.pc->mem, 4 * GiB - 16, 4, 0);
	assert_int_equal(space_read(f.pc->mem, 4 * GiB - 16, 1), 0xea); /* a far jump */
}

static void test_large(void **state)
{
	start(5 * GiB, 2);
	expect("addr 0x0000000000000000 len 0x00000000c0000000 [RAM]");
	expect("addr 0x0000000100000000 len 0x0000000080000000 [RAM]");
	expect("Found 2 cpu(s)");
	expect("No bootable device");
}

/* The boot order by kinds of drives, the once of it, and the menu. */
static void test_boot_order(void **state)
{
	with_boot = (struct pc_boot){ .order = "cd", .once = "n", .menu = true, .splash_ms = 1, .strict = true };
	start(64 * MiB, 1);
	expect("Press ESC for boot menu");
	expect("boot order:\n1: HALT");
	expect("Copying SMBIOS from");
	expect("No bootable device");
	assert_int_equal(cmos(0x3d), 0x04);
	pc_pause(f.pc, true);
	pc_reset(f.pc);
	assert_int_equal(cmos(0x3d), 0x32);
}

/* What the guest did to shadow memory does not survive a reset: the firmware starts from its ROM again. */
static void test_reset(void **state)
{
	start(64 * MiB, 1);
	expect("No bootable device");
	pc_pause(f.pc, true);
	memset(f.pc->ram->base + 0xe0000, 0, 0x20000);
	pc_reset(f.pc);
	f.from = (off_t)strlen(f.text);
	pc_pause(f.pc, false);
	expect("No bootable device");
}

static void test_impossible(void **state)
{
	struct pc_config c = {
		.ram_size = 64 * MiB, .cpus = 1, .cpu_spec = "host", .engine = engine_choose(NULL),
		.firmware = { .data = f.bios, .len = 1000, .name = "short.bin" },
	};
	struct err e = { "" };

	assert_int_equal(pc_new(&f.pc, &c, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "short.bin"));
	f.pc = NULL;
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = { T(test_seabios), T(test_large), T(test_boot_order), T(test_reset), T(test_impossible) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
