/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk through its rings on a real file: each kind of request, what is none, and a reset with requests under way. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vtest.h"

#include "backend/block/blk.h"
#include "virtio/blk.h"

#define DISK    (1u << 20)
#define SECTOR  512u
#define HDR     V_BUFFERS
#define DATA    (V_BUFFERS + 0x1000)
#define STATUS  (V_BUFFERS + 0x3000)
#define UNTOLD  0xaa

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

static struct vtest t;
static struct blk *disk;
static char file[] = "/tmp/test_virtio_blk.XXXXXX";

static int setup(void **state)
{
	struct virtio_blk_config c = { .queues = 1, .serial = "serial-number", .features = VIRTIO_F_PACKED };
	struct blk_options o;
	struct err e = { "" };
	int fd = mkstemp(file);

	assert_int_equal(ftruncate(fd, DISK), 0);
	close(fd);
	blk_options_init(&o);
	o.file = file;
	o.format = "raw";
	assert_int_equal(blk_open(&disk, &o, &e), 0);
	v_init(&t);
	c.mem = t.mem;
	c.blk = disk;
	v_plug(&t, virtio_blk_new(&c));
	return 0;
}

static int teardown(void **state)
{
	v_release(&t);
	blk_close(disk);
	return unlink(file);
}

/* A request with so much data at DATA, read or written by the device: its status. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t len, bool in)
{
	const struct v_buf b[3] = { { HDR, 16, false }, { DATA, len, in }, { STATUS, 1, true } };
	const struct v_buf none[2] = { b[0], b[2] };

	put_le32(v_ptr(&t, HDR), type);
	put_le32(v_ptr(&t, HDR + 4), 0);
	put_le64(v_ptr(&t, HDR + 8), sector);
	*v_ptr(&t, STATUS) = UNTOLD;
	assert_true(v_do(&t, 0, len ? b : none, len ? 3 : 2) >= 0);
	return *v_ptr(&t, STATUS);
}

/* The range of a discard. */
static uint8_t range(uint32_t type, uint64_t sector, uint32_t count, uint32_t flags)
{
	put_le64(v_ptr(&t, DATA), sector);
	put_le32(v_ptr(&t, DATA + 8), count);
	put_le32(v_ptr(&t, DATA + 12), flags);
	return request(type, 0, 16, false);
}

static void test_requests(void **state)
{
	static const uint64_t formats[] = { 0, VIRTIO_F_EVENT_IDX, VIRTIO_F_PACKED };

	for (size_t f = 0; f < ARRAY_SIZE(formats); f++) {
		v_setup(&t, formats[f] | BIT(9) | BIT(13) | BIT(14), 1);
		assert_int_equal(v_read(&t, V_CFG, 8), DISK / SECTOR);
		memset(v_ptr(&t, DATA), (int)(0x11 + f), 2 * SECTOR);
		assert_int_equal(request(T_OUT, 8, 2 * SECTOR, false), S_OK);
		assert_int_equal(request(T_FLUSH, 0, 0, false), S_OK);
		memset(v_ptr(&t, DATA), 0, 2 * SECTOR);
		assert_int_equal(request(T_IN, 9, SECTOR, true), S_OK);
		assert_int_equal(*v_ptr(&t, DATA + SECTOR - 1), 0x11 + f);
		assert_int_equal(*v_ptr(&t, DATA + SECTOR), 0);
		assert_int_equal(request(T_GET_ID, 0, 20, true), S_OK);
		assert_string_equal((char *)v_ptr(&t, DATA), "serial-number");
		assert_int_equal(range(T_WRITE_ZEROES, 8, 1, 0), S_OK);
		assert_int_equal(range(T_DISCARD, 9, 1, 0), S_OK);
		assert_int_equal(request(T_IN, 8, SECTOR, true), S_OK);
		assert_int_equal(*v_ptr(&t, DATA), 0);
		/* The image has what was flushed. */
		memset(v_ptr(&t, DATA), 0x77, SECTOR);
		assert_int_equal(request(T_OUT, 100, SECTOR, false), S_OK);
		assert_int_equal(request(T_FLUSH, 0, 0, false), S_OK);
		uint8_t byte = 0;
		int fd = open(file, O_RDONLY);
		assert_int_equal(pread(fd, &byte, 1, 100 * SECTOR), 1);
		assert_int_equal(byte, 0x77);
		close(fd);
	}
}

static void test_refused(void **state)
{
	v_setup(&t, BIT(9) | BIT(13) | BIT(14), 1);
	assert_int_equal(request(T_IN, DISK / SECTOR, SECTOR, true), S_IOERR);
	assert_int_equal(request(T_OUT, DISK / SECTOR - 1, 2 * SECTOR, false), S_IOERR);
	assert_int_equal(request(T_IN, UINT64_MAX / SECTOR + 1, SECTOR, true), S_IOERR);
	assert_int_equal(request(T_IN, 0, SECTOR - 1, true), S_IOERR);
	assert_int_equal(request(77, 0, 0, false), S_UNSUPP);
	assert_int_equal(range(T_DISCARD, DISK / SECTOR, 1, 0), S_IOERR);
	assert_int_equal(range(T_DISCARD, 0, 1, 1), S_IOERR);
	assert_int_equal(range(T_WRITE_ZEROES, 0, UINT32_MAX, 0), S_IOERR);
	assert_int_equal(request(T_DISCARD, 0, 15, false), S_IOERR);
	assert_int_equal(v_read(&t, V_STATUS, 1), 15);
	/* Without a header, or without room for the status. */
	const struct v_buf shorter[2] = { { HDR, 15, false }, { STATUS, 1, true } };
	v_add(&t, 0, shorter, 2);
	v_kick(&t, 0);
	assert_true(v_broken(&t));
	v_setup(&t, 0, 1);
	const struct v_buf deaf = { HDR, 16, false };
	v_add(&t, 0, &deaf, 1);
	v_kick(&t, 0);
	assert_true(v_broken(&t));
}

/* A reset is over when nothing can be written to the guest's buffers any more. */
static void test_reset_under_way(void **state)
{
	const struct v_buf b[3] = { { HDR, 16, false }, { DATA, 0x2000, true }, { STATUS, 1, true } };

	for (unsigned i = 0; i < 50; i++) {
		v_setup(&t, 0, 1);
		put_le32(v_ptr(&t, HDR), T_IN);
		put_le64(v_ptr(&t, HDR + 8), i);
		v_add(&t, 0, b, 3);
		v_add(&t, 0, b, 3);
		v_kick(&t, 0);
		v_reset(&t);
		memset(v_ptr(&t, DATA), UNTOLD, 0x2000);
		*v_ptr(&t, STATUS) = UNTOLD;
		usleep(500);
		assert_int_equal(*v_ptr(&t, DATA), UNTOLD);
		assert_int_equal(*v_ptr(&t, DATA + 0x1fff), UNTOLD);
		assert_int_equal(*v_ptr(&t, STATUS), UNTOLD);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests), cmocka_unit_test(test_refused), cmocka_unit_test(test_reset_under_way),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
