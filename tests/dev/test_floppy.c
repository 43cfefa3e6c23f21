/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The floppy controller and the DMA controllers through their ports: reading, writing, formatting, seeks, errors, state. */
#include "dev_test.h"
#include "disk_test.h"

#include "base/bits.h"
#include "dev/storage/floppy.h"

#define PORT    0x3f0
#define DOR     (PORT + 2)
#define MSR     (PORT + 4)
#define FIFO    (PORT + 5)
#define DIR     (PORT + 7)
#define SECTORS 2880u /* 1.44 MB */
#define LIMIT   60000
#define DATA    0x20000u

static struct {
	struct bench b;
	struct ram *ram;
	struct region *region;
	struct i8237 *dma;
	struct floppy *fdc;
	struct probe irq;
	struct blk *disk, *other;
} f;

static uint8_t result[16];

static bool want_command(void *opaque)
{
	return (in8(&f.b, MSR) & 0xc0) == 0x80;
}

static bool want_result(void *opaque)
{
	return (in8(&f.b, MSR) & 0xd0) == 0xd0;
}

static void send(const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		assert_true(wait_for(want_command, NULL, LIMIT));
		out8(&f.b, FIFO, bytes[i]);
	}
}

#define SEND(...) send((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static unsigned fetch(void)
{
	unsigned n = 0;

	assert_true(wait_for(want_result, NULL, LIMIT));
	while (want_result(NULL) && n < sizeof(result))
		result[n++] = in8(&f.b, FIFO);
	return n;
}

/* Channel 2: mode (0x46 to memory, 0x4a from it), bytes. */
static void program_dma(uint8_t mode, uint32_t addr, uint32_t len)
{
	out8(&f.b, 0x0a, 6);
	out8(&f.b, 0x0c, 0);
	out8(&f.b, 0x0b, mode);
	out8(&f.b, 0x04, addr & 0xff);
	out8(&f.b, 0x04, addr >> 8 & 0xff);
	out8(&f.b, 0x81, addr >> 16 & 0xff);
	out8(&f.b, 0x05, (len - 1) & 0xff);
	out8(&f.b, 0x05, (len - 1) >> 8 & 0xff);
	out8(&f.b, 0x0a, 2);
}

static int setup(void **state)
{
	struct floppy_config c;

	memset(&f, 0, sizeof(f));
	bench_init(&f.b);
	assert_int_equal(ram_new(&f.ram, 2 * MiB, NULL), 0);
	assert_int_equal(space_add_ram(f.b.mem, &f.region, "ram", 0, 2 * MiB, f.ram, false), 0);
	f.dma = i8237_new(f.b.mem);
	assert_int_equal(i8237_attach(f.dma, f.b.pio, 0, 0xc0, 0x80), 0);
	c = (struct floppy_config){ .irq = probe_line(&f.irq), .dma = f.dma, .dma_channel = 2 };
	f.fdc = floppy_new(&c);
	f.disk = numbered_disk(SECTORS, false);
	f.other = numbered_disk(1440, true);
	floppy_plug(f.fdc, 0, FLOPPY_TYPE_NONE, f.disk);
	assert_int_equal(floppy_attach(f.fdc, f.b.pio, PORT), 0);
	reset_device(f.fdc);
	out8(&f.b, DOR, 0x1c);
	assert_true(f.irq.level);
	for (unsigned i = 0; i < 4; i++) {
		SEND(0x08);
		assert_int_equal(fetch(), 2);
		assert_int_equal(result[0], 0xc0 | i);
	}
	SEND(0x08);
	assert_int_equal(fetch(), 1);
	assert_int_equal(result[0], 0x80);
	out8(&f.b, DIR, 0); /* 500 kbit/s */
	return 0;
}

static int teardown(void **state)
{
	free_device(f.fdc);
	free_device(f.dma);
	bench_release(&f.b);
	ram_free(f.ram);
	blk_close(f.disk);
	blk_close(f.other);
	return 0;
}

static void seek(uint8_t track)
{
	SEND(0x0f, 0, track);
	SEND(0x08);
	assert_int_equal(fetch(), 2);
	assert_int_equal(result[0] & 0xf8, 0x20);
	assert_int_equal(result[1], track);
}

static uint32_t number_at(uint32_t gpa)
{
	uint8_t b[4];

	assert_int_equal(space_dma_read(f.b.mem, gpa, b, 4), 0);
	return get_le32(b);
}

static void test_read(void **state)
{
	assert_int_equal(in8(&f.b, DIR) & 0x80, 0x80);
	seek(1);
	assert_int_equal(in8(&f.b, DIR) & 0x80, 0);
	/* From head 0, sector 17, over the side's end: four sectors, with MT. */
	program_dma(0x46, DATA, 4 * 512);
	SEND(0xe6, 0, 1, 0, 17, 2, 18, 0x1b, 0xff);
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[0] & 0xc0, 0);
	assert_memory_equal(result + 3, ((uint8_t[]){ 1, 1, 3, 2 }), 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(number_at(DATA + 512 * i), 36 + 16 + i);
	assert_int_equal(in8(&f.b, 0x08) & 4, 4); /* terminal count */
	/* Without room for all: it ends at the track's end. */
	program_dma(0x46, DATA, 32 * 512);
	SEND(0x46, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[0] & 0xc0, 0x40);
	assert_int_equal(result[1], 0x80);
}

static void test_write(void **state)
{
	uint8_t buf[1024], pattern[1024];

	memset(pattern, 0xa5, sizeof(pattern));
	assert_int_equal(space_dma_write(f.b.mem, DATA, pattern, 1024), 0);
	seek(5);
	program_dma(0x4a, DATA, 1024);
	SEND(0x45, 4, 5, 1, 2, 2, 18, 0x1b, 0xff);
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[0], 4);
	assert_int_equal(blk_read(f.disk, ((5 * 2 + 1) * 18 + 1) * 512, buf, 1024), 0);
	assert_memory_equal(buf, pattern, 1024);
	/* FORMAT TRACK: the sectors' ids come by DMA, the filler is the command's. */
	program_dma(0x4a, DATA, 18 * 4);
	SEND(0x4d, 0, 2, 18, 0x54, 0xf6);
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[0], 0);
	assert_int_equal(blk_read(f.disk, (5 * 2 * 18 + 17) * 512, buf, 512), 0);
	assert_int_equal(buf[0] & buf[511], 0xf6);
}

static void test_without_dma(void **state)
{
	SEND(0x03, 0xdf, 0x03);
	SEND(0x46, 0, 0, 0, 3, 2, 3, 0x1b, 0xff);
	assert_true(wait_rises(&f.irq, 1, LIMIT));
	for (unsigned i = 0; i < 512; i++) {
		while ((in8(&f.b, MSR) & 0xe0) != 0xe0)
			;
		result[i & 3] = i < 4 ? in8(&f.b, FIFO) : (in8(&f.b, FIFO), result[i & 3]);
	}
	assert_int_equal(get_le32(result), 2);
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[1], 0x80); /* no terminal count */
}

static void test_errors(void **state)
{
	const struct media_drive d = floppy_media(f.fdc, 0);

	program_dma(0x46, DATA, 512);
	SEND(0x46, 0, 1, 0, 1, 2, 18, 0x1b, 0xff); /* the head is elsewhere */
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[2], 0x10);
	SEND(0x46, 1, 0, 0, 1, 2, 18, 0x1b, 0xff); /* no such drive */
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[0], 0x41);
	SEND(0x46, 0, 0, 0, 19, 2, 18, 0x1b, 0xff); /* no such sector */
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[1], 4);
	out8(&f.b, DIR, 2); /* the rate of 720 KB disks */
	SEND(0x4a, 0);
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[1], 1);
	assert_ptr_equal(d.ops->change(d.chip, d.n, f.other), f.disk);
	SEND(0x4a, 0);
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[0], 0);
	SEND(0x45, 0, 0, 0, 1, 2, 9, 0x1b, 0xff); /* it is write-protected */
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[1], 2);
	d.ops->change(d.chip, d.n, NULL);
	SEND(0x4a, 0);
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[1], 1);
	SEND(0x1f);
	assert_int_equal(fetch(), 1);
	assert_int_equal(result[0], 0x80);
	SEND(0x10);
	assert_int_equal(fetch(), 1);
	assert_int_equal(result[0], 0x90);
}

static void test_dma_waits(void **state)
{
	out8(&f.b, 0x0a, 6); /* masked */
	SEND(0x46, 0, 0, 0, 1, 2, 1, 0x1b, 0xff);
	blk_drain(f.disk);
	assert_int_equal(in8(&f.b, MSR) & 0x90, 0x10);
	check_round_trip(f.b.clock, f.fdc);
	program_dma(0x46, DATA, 512);
	assert_int_equal(fetch(), 7);
	assert_int_equal(result[0], 0);
	assert_int_equal(number_at(DATA), 0);
	check_round_trip(f.b.clock, f.dma);
}

static void poke(void *opaque)
{
	for (unsigned i = 0; i < 64; i++) {
		in8(&f.b, FIFO);
		out8(&f.b, FIFO, (uint8_t)(i * 37));
		in8(&f.b, MSR);
	}
	program_dma(0x46, DATA, 512);
	out8(&f.b, DOR, 0);
	out8(&f.b, DOR, 0x1c);
}

static void test_hostile_state(void **state)
{
	SEND(0x46, 0, 0, 0, 1, 2, 1, 0x1b, 0xff);
	check_hostile_state(f.b.clock, f.fdc, poke, NULL);
	check_hostile_state(f.b.clock, f.dma, poke, NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_read), T(test_write), T(test_without_dma), T(test_errors), T(test_dma_waits), T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
