/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flash chip through memory: detection as OVMF does it, programming, erasing, the image file, hostile use. */
#include "dev_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "dev/misc/pflash.h"

#define SIZE (64 * KiB)
#define BASE (4 * GiB - SIZE)

struct fixture {
	struct bench b;
	struct ram *ram;
	struct blk *blk;
	struct pflash *chip;
	char path[40];
};

static struct fixture f;

static void open_chip(bool readonly)
{
	struct blk_options o;
	struct err e = { "" };
	struct pflash_config c = { .base = BASE };

	bench_init(&f.b);
	assert_int_equal(ram_new(&f.ram, 4 * MiB, &e), 0);
	blk_options_init(&o);
	o.file = f.path;
	o.format = "raw";
	o.readonly = readonly;
	if (blk_open(&f.blk, &o, &e))
		fail_msg("%s", e.msg);
	c.mem = f.b.mem;
	c.ram = f.ram;
	c.blk = f.blk;
	if (pflash_new(&f.chip, &c, &e))
		fail_msg("%s", e.msg);
}

static void close_chip(void)
{
	free_device(f.chip);
	blk_close(f.blk);
	bench_release(&f.b);
	ram_free(f.ram);
}

static int setup(void **state)
{
	uint8_t image[SIZE];
	int fd;

	f = (struct fixture){ 0 };
	strcpy(f.path, "/tmp/doppel-flash-XXXXXX");
	fd = mkstemp(f.path);
	memset(image, 0xff, sizeof(image));
	image[0] = 0x12;
	assert_int_equal(write(fd, image, sizeof(image)), sizeof(image));
	close(fd);
	open_chip(false);
	return 0;
}

static int teardown(void **state)
{
	close_chip();
	unlink(f.path);
	return 0;
}

static uint8_t get(uint32_t off)
{
	return (uint8_t)space_read(f.b.mem, BASE + off, 1);
}

static void put(uint32_t off, uint8_t val)
{
	space_write(f.b.mem, BASE + off, 1, val);
}

/* As OvmfPkg's driver tells flash from RAM and ROM. */
static void test_detect(void **state)
{
	bool readonly;

	assert_int_equal(get(0), 0x12);
	put(0, 0x50);
	assert_int_equal(get(0), 0x12);
	put(0, 0x70);
	assert_int_equal(get(0), 0);
	put(0, 0xff);
	assert_int_equal(get(0), 0x12);
	assert_non_null(space_page(f.b.mem, BASE, &readonly));
	assert_true(readonly);
	put(0, 0x90);
	assert_int_equal(get(0), 0x89);
	put(0, 0x98);
	assert_int_equal(get(0x10), 'Q');
	assert_int_equal(get(0x27), 16); /* 2^16 bytes */
	assert_int_equal(get(0x2d), SIZE / PFLASH_BLOCK_SIZE - 1);
	reset_device(f.chip);
	assert_int_equal(get(0), 0x12);
}

static void test_program(void **state)
{
	static const char text[] = "thirty-two bytes in one command.";
	uint32_t at = 0x5000;

	for (uint32_t i = 0; i < 4; i++) {
		put(at + i, 0x10);
		put(at + i, (uint8_t)(0xa0 + i));
		assert_int_equal(get(at), 0x80); /* ready, no error */
	}
	put(at, 0xff);
	assert_int_equal(space_read(f.b.mem, BASE + at, 4), 0xa3a2a1a0);
	/* Bits go from 1 to 0 only. */
	put(at, 0x40);
	put(at, 0x0f);
	put(at, 0xff);
	assert_int_equal(get(at), 0x00);
	put(at, 0x20);
	put(at, 0xd0);
	put(at, 0xff);
	assert_int_equal(space_read(f.b.mem, BASE + at, 4), 0xffffffff);
	put(at, 0xe8);
	assert_int_equal(get(at), 0x80);
	put(at, 31);
	for (uint32_t i = 0; i < 32; i++)
		put(at + i, (uint8_t)text[i]);
	put(at, 0xd0);
	put(at, 0xff);
	for (uint32_t i = 0; i < 32; i++)
		assert_int_equal(get(at + i), (uint8_t)text[i]);
	/* An erase that is not confirmed is an error in the sequence, and erases nothing. */
	put(at, 0x20);
	put(at, 0x00);
	assert_int_equal(get(at), 0xb0);
	put(at, 0x50);
	assert_int_equal(get(at), 't');
}

static void test_image(void **state)
{
	uint8_t byte = 0;
	int fd;

	put(0x1234, 0x10);
	put(0x1234, 0x55);
	put(0, 0xff);
	put(0x2345, 0x10);
	put(0x2345, 0x66); /* never told to show its contents again */
	close_chip();
	fd = open(f.path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, &byte, 1, 0x1234), 1);
	assert_int_equal(byte, 0x55);
	assert_int_equal(pread(fd, &byte, 1, 0x2345), 1);
	assert_int_equal(byte, 0x66);
	close(fd);
	open_chip(true);
	assert_int_equal(get(0x1234), 0x55);
	put(0, 0x10);
	put(0, 0x00);
	assert_int_equal(get(0), 0x92); /* locked */
	put(0, 0x50);
	put(0, 0x20);
	put(0, 0xd0);
	assert_int_equal(get(0), 0xa2);
	put(0, 0xff);
	assert_int_equal(get(0), 0x12);
}

static void poke(void *opaque)
{
	for (uint32_t i = 0; i < 40; i++) {
		put(i * 77, (uint8_t)i);
		get(i);
	}
}

static void test_state(void **state)
{
	put(0x100, 0xe8);
	put(0x100, 3);
	put(0x100, 0x11);
	check_round_trip(f.b.clock, f.chip);
	check_hostile_state(f.b.clock, f.chip, poke, NULL);
}

/* Any bytes anywhere, by any width. */
static void test_garbage(void **state)
{
	static const uint8_t commands[] = { 0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98, 0xd0, 0xe8, 0xff, 0x00, 0x1f };
	uint64_t seed = 7;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = next_random(&seed), at = BASE + r % (SIZE - 8);
		uint64_t val = r >> 40 & 1 ? commands[(r >> 41) % sizeof(commands)] : r >> 20;

		if (r >> 63)
			space_read(f.b.mem, at, 1u << (r >> 32 & 3));
		else
			space_write(f.b.mem, at, 1u << (r >> 32 & 3), val);
	}
	reset_device(f.chip);
}

static void test_sizes(void **state)
{
	struct blk_options o;
	struct err e = { "" };
	struct pflash_config c = { .mem = f.b.mem, .ram = f.ram, .base = BASE - SIZE };
	struct pflash *chip;
	char path[] = "/tmp/doppel-flash-XXXXXX";
	int fd = mkstemp(path);

	assert_int_equal(ftruncate(fd, 5 * 512), 0);
	close(fd);
	blk_options_init(&o);
	o.file = path;
	o.format = "raw";
	assert_int_equal(blk_open(&c.blk, &o, &e), 0);
	assert_int_equal(pflash_new(&chip, &c, &e), -EINVAL);
	assert_non_null(strstr(e.msg, path));
	blk_close(c.blk);
	unlink(path);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_detect), T(test_program), T(test_image), T(test_state), T(test_garbage), T(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
