/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address spaces: overlap and age, splitting of accesses, moving under load, DMA. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <cmocka.h>
#include "base/bits.h"
#include "base/strbuf.h"
#include "mem/space.h"

#define HIGH (4 * GiB)

/* A chip of bytes that writes down how it was called. */
struct chip {
	uint8_t bytes[64];
	char log[512];
};

static void note(struct chip *c, char what, uint64_t off, unsigned size)
{
	size_t n = strlen(c->log);

	snprintf(c->log + n, sizeof(c->log) - n, "%c%llx:%u ", what, (unsigned long long)off, size);
}

static uint64_t chip_read(void *opaque, uint64_t off, unsigned size)
{
	struct chip *c = opaque;
	uint64_t val = 0;

	note(c, 'r', off, size);
	assert_true(off + size <= sizeof(c->bytes));
	memcpy(&val, c->bytes + off, size);
	/* Garbage above the size, which must not get through. */
	return size < 8 ? val | ~size_mask(size) : val;
}

static void chip_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct chip *c = opaque;

	note(c, 'w', off, size);
	assert_true(off + size <= sizeof(c->bytes));
	assert_true(val == (val & size_mask(size)));
	memcpy(c->bytes + off, &val, size);
}

static const struct io_ops any_ops = { chip_read, chip_write, 0, 0 };
static const struct io_ops byte_ops = { chip_read, chip_write, 1, 1 };
static const struct io_ops dword_ops = { chip_read, chip_write, 4, 4 };
static const struct io_ops word_dword_ops = { chip_read, chip_write, 2, 4 };
static const struct io_ops deaf_ops = { NULL, NULL, 0, 0 };

static uint64_t constant_read(void *opaque, uint64_t off, unsigned size)
{
	return (uintptr_t)opaque * 0x0101010101010101ull;
}

static const struct io_ops constant_ops = { constant_read, NULL, 0, 0 };

/* A region that reads as bytes of `id` and ignores writes. */
static struct region *put(struct space *s, uint8_t id, uint64_t base, uint64_t size)
{
	struct region *r;

	assert_int_equal(
		space_add_io(s, &r, "constant", base, size, &constant_ops, (void *)(uintptr_t)id, NULL), 0);
	return r;
}

static void expect_bytes(struct space *s, uint64_t addr, const char *want)
{
	for (; *want; want++, addr++) {
		uint64_t w = *want == '.' ? 0xff : (uint64_t)(*want - '0');

		if (space_read(s, addr, 1) != w)
			fail_msg("at %llx: %llx instead of %c", (unsigned long long)addr,
				 (unsigned long long)space_read(s, addr, 1), *want);
	}
}

static void test_overlap(void **state)
{
	struct space *s = space_new("test", 16);
	struct region *a, *b, *c;

	expect_bytes(s, 0, "....");
	a = put(s, 1, 2, 8);
	b = put(s, 2, 4, 2);
	expect_bytes(s, 0, "..11221111..");
	c = put(s, 3, 5, 7); /* newest wins */
	expect_bytes(s, 0, "..1123333333..");
	space_remove(s, c);
	expect_bytes(s, 0, "..11221111..");
	assert_int_equal(space_move(s, a, 3), 0); /* keeps its age: still under b */
	expect_bytes(s, 0, "...12211111..");
	assert_int_equal(space_move(s, b, 0), 0);
	expect_bytes(s, 0, "22.11111111..");
	c = put(s, 4, 0, 12); /* hides all */
	expect_bytes(s, 0, "444444444444.");
	space_remove(s, a);
	space_remove(s, c);
	expect_bytes(s, 0, "22...........");
	space_remove(s, b);
	expect_bytes(s, 0, "....");
	space_free(s);
}

/* Random regions against a plain array. */
static void test_model(void **state)
{
	enum { N = 12, SPAN = 256 };
	struct space *s = space_new("test", 8);
	struct region *r[N] = { 0 };
	struct {
		unsigned base, size, age;
	} m[N] = { 0 };
	unsigned now = 0, seed = 12345;

	for (unsigned step = 0; step < 3000; step++) {
		unsigned i, base, size;

		seed = seed * 1664525 + 1013904223;
		i = (seed >> 8) % N;
		base = seed >> 12 & 0xff;
		size = 1 + (seed >> 20) % (SPAN - base);
		if (!r[i]) {
			r[i] = put(s, (uint8_t)(i + 1), base, size);
			m[i].age = ++now;
			m[i].base = base;
			m[i].size = size;
		} else if (seed >> 31) {
			space_remove(s, r[i]);
			r[i] = NULL;
		} else if (base + m[i].size <= SPAN) {
			assert_int_equal(space_move(s, r[i], base), 0);
			m[i].base = base;
		}
		for (unsigned a = 0; a < SPAN; a++) {
			unsigned want = 0xff, age = 0;

			for (unsigned k = 0; k < N; k++)
				if (r[k] && a >= m[k].base && a < m[k].base + m[k].size && m[k].age > age) {
					age = m[k].age;
					want = k + 1;
				}
			if (space_read(s, a, 1) != want)
				fail_msg("step %u, address %x", step, a);
		}
	}
	space_free(s);
}

static void test_bad_regions(void **state)
{
	static const struct {
		uint64_t base, size;
	} bad[] = {
		{ 0, 0 }, { 0, 0x10001 }, { 0xffff, 2 }, { 0x10000, 1 }, { UINT64_MAX, 2 }, { 1, UINT64_MAX },
	};
	struct space *s = space_new("ports", 16);
	struct region *r = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(space_add_io(s, &r, "bad", bad[i].base, bad[i].size, &any_ops, NULL, NULL),
				 -EINVAL);
	r = put(s, 1, 0, 0x10000);
	assert_int_equal(space_move(s, r, 1), -EINVAL);
	expect_bytes(s, 0xffff, "11"); /* wraps */
	space_free(s);
	space_free(NULL);
}

static void test_unmapped(void **state)
{
	struct space *s = space_new("memory", 52);
	struct region *r = put(s, 1, 0x1002, 2);
	bool ro;

	assert_true(space_read(s, 0, 8) == UINT64_MAX);
	assert_true(space_read(s, UINT64_MAX, 8) == UINT64_MAX);
	assert_true(space_read(s, 0x2000, 4) == 0xffffffff);
	space_write(s, 0x2000, 8, 1);
	space_write(s, UINT64_MAX - 3, 8, 1);
	assert_true(space_read(s, 0x1000, 8) == 0xffffffff0101ffffull);
	assert_null(space_page(s, 0x1000, &ro));
	assert_null(space_page(s, PAGE_MASK, &ro));
	/* Addresses count modulo the space. */
	assert_true(space_read(s, (1ull << 52) + 0x1002, 2) == 0x0101);
	space_remove(s, r);
	space_free(s);
}

/* One access on a fresh chip at 0x100; what the chip saw, and what came back. */
struct split_case {
	const struct io_ops *ops;
	unsigned off, size;
	const char *read_log, *write_log;
};

static void test_splitting(void **state)
{
	static const struct split_case t[] = {
		{ &any_ops, 0, 8, "r0:8 ", "w0:8 " },
		{ &any_ops, 3, 4, "r3:4 ", "w3:4 " },
		{ &byte_ops, 1, 1, "r1:1 ", "w1:1 " },
		{ &byte_ops, 1, 4, "r1:1 r2:1 r3:1 r4:1 ", "w1:1 w2:1 w3:1 w4:1 " },
		{ &dword_ops, 4, 4, "r4:4 ", "w4:4 " },
		{ &dword_ops, 8, 8, "r8:4 rc:4 ", "w8:4 wc:4 " },
		{ &dword_ops, 5, 1, "r4:4 ", "r4:4 w4:4 " },
		{ &dword_ops, 6, 2, "r4:4 ", "r4:4 w4:4 " },
		{ &dword_ops, 6, 4, "r4:4 r8:4 ", "r4:4 w4:4 r8:4 w8:4 " },
		{ &dword_ops, 7, 8, "r4:4 r8:4 rc:4 ", "r4:4 w4:4 w8:4 rc:4 wc:4 " },
		{ &word_dword_ops, 2, 8, "r2:4 r6:4 ", "w2:4 w6:4 " },
		{ &word_dword_ops, 3, 1, "r2:2 ", "r2:2 w2:2 " },
		{ &word_dword_ops, 3, 4, "r2:2 r4:2 r6:2 ", "r2:2 w2:2 w4:2 r6:2 w6:2 " },
	};
	struct space *s = space_new("test", 16);

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct chip c = { .log = "" }, want;
		struct region *r;
		uint64_t val = 0, got;

		for (unsigned k = 0; k < sizeof(c.bytes); k++)
			c.bytes[k] = (uint8_t)(0x80 + k);
		want = c;
		memcpy(&val, c.bytes + t[i].off, t[i].size);
		assert_int_equal(space_add_io(s, &r, "chip", 0x100, sizeof(c.bytes), t[i].ops, &c, NULL), 0);
		got = space_read(s, 0x100 + t[i].off, t[i].size);
		if (got != val || strcmp(c.log, t[i].read_log))
			fail_msg("line %zu: read %llx by %s", i, (unsigned long long)got, c.log);
		c.log[0] = '\0';
		space_write(s, 0x100 + t[i].off, t[i].size, 0x1122334455667788ull);
		val = 0x1122334455667788ull;
		memcpy(want.bytes + t[i].off, &val, t[i].size);
		if (memcmp(want.bytes, c.bytes, sizeof(c.bytes)) || strcmp(c.log, t[i].write_log))
			fail_msg("line %zu: wrote by %s", i, c.log);
		space_remove(s, r);
	}
	space_free(s);
}

static void test_odd_sizes(void **state)
{
	struct space *s = space_new("test", 16);
	struct chip c = { .bytes = { 1, 2, 3, 4, 5, 6 } };

	/* A region of 6 bytes whose chip wants dwords: the second one is not all there. */
	assert_int_equal(space_add_io(s, NULL, "six", 0, 6, &dword_ops, &c, NULL), 0);
	assert_true(space_read(s, 0, 4) == 0x04030201);
	assert_true(space_read(s, 4, 1) == 0xff);
	space_write(s, 4, 2, 0);
	assert_string_equal(c.log, "r0:4 ");
	assert_int_equal(space_add_io(s, NULL, "deaf", 0x10, 8, &deaf_ops, NULL, NULL), 0);
	assert_true(space_read(s, 0x10, 8) == UINT64_MAX);
	space_write(s, 0x10, 8, 0);
	space_free(s);
}

static void test_crossing(void **state)
{
	struct space *s = space_new("test", 16);
	struct chip a = { .log = "" }, b = { .log = "" };

	assert_int_equal(space_add_io(s, NULL, "a", 0x10, 4, &any_ops, &a, NULL), 0);
	assert_int_equal(space_add_io(s, NULL, "b", 0x14, 4, &dword_ops, &b, NULL), 0);
	space_write(s, 0x12, 4, 0x44332211);
	assert_string_equal(a.log, "w2:1 w3:1 ");
	assert_string_equal(b.log, "r0:4 w0:4 r0:4 w0:4 ");
	assert_true(a.bytes[2] == 0x11 && a.bytes[3] == 0x22 && b.bytes[0] == 0x33 && b.bytes[1] == 0x44);
	assert_true(space_read(s, 0x12, 4) == 0x44332211);
	assert_true(space_read(s, 0x16, 4) == 0xffff0000);
	assert_true(space_read(s, 0x0e, 4) == 0x0000ffff);
	/* Over the end of the space to its start. */
	assert_int_equal(space_add_io(s, NULL, "c", 0, 2, &any_ops, &a, NULL), 0);
	a.bytes[0] = 0xaa;
	assert_true(space_read(s, 0xffff, 2) == 0xaaff);
	space_free(s);
}

/* -- A chip that changes the map from inside its callback ------------------------------------------ */

struct mover {
	struct space *s;
	struct region *self;
	struct lock lock;
	unsigned calls;
};

static void mover_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct mover *m = opaque;

	m->calls++;
	if (val == 0) {
		space_remove(m->s, m->self);
		m->self = NULL;
	} else {
		assert_int_equal(space_move(m->s, m->self, val), 0);
	}
}

static const struct io_ops mover_ops = { NULL, mover_write, 1, 4 };

static void count_change(void *opaque)
{
	++*(unsigned *)opaque;
}

static void test_remap_from_callback(void **state)
{
	struct mover m = { .s = space_new("test", 20) };
	unsigned changes = 0;

	lock_init(&m.lock, RANK_DEVICE);
	assert_int_equal(space_add_io(m.s, &m.self, "mover", 0x100, 4, &mover_ops, &m, &m.lock), 0);
	space_set_listener(m.s, count_change, &changes);
	space_write(m.s, 0x100, 4, 0x200);
	assert_int_equal(m.calls, 1);
	assert_int_equal(changes, 1);
	space_write(m.s, 0x100, 4, 0x300); /* nobody there any more */
	assert_int_equal(m.calls, 1);
	space_write(m.s, 0x200, 4, 0x200); /* to where it is: no change */
	assert_int_equal(m.calls, 2);
	assert_int_equal(changes, 1);
	/* In the midst of an access that is split into bytes the chip goes: each byte finds its own way. */
	space_write(m.s, 0x200, 8, 0x40);
	assert_int_equal(m.calls, 3);
	assert_int_equal(changes, 2);
	space_write(m.s, 0x40, 4, 0);
	assert_int_equal(m.calls, 4);
	assert_int_equal(changes, 3);
	assert_null(m.self);
	space_write(m.s, 0x40, 4, 1);
	assert_int_equal(m.calls, 4);
	lock_release(&m.lock);
	space_free(m.s);
}

static void test_listener(void **state)
{
	struct space *s = space_new("test", 16);
	unsigned changes = 0;
	struct region *r;

	space_set_listener(s, count_change, &changes);
	r = put(s, 1, 0, 1);
	assert_int_equal(changes, 1);
	assert_int_equal(space_move(s, r, 0xffff), 0);
	assert_int_equal(changes, 2);
	assert_int_equal(space_move(s, r, 0x10000), -EINVAL);
	assert_int_equal(changes, 2);
	space_remove(s, r);
	assert_int_equal(changes, 3);
	space_free(s);
}

/* -- RAM ---------------------------------------------------------------------------------------------- */

static struct space *ram_space(struct ram **r, uint64_t size)
{
	struct space *s = space_new("memory", 52);

	assert_int_equal(ram_new(r, size, NULL), 0);
	assert_int_equal(space_add_ram(s, NULL, "low", 0, (*r)->low_size, *r, false), 0);
	if ((*r)->high_size)
		assert_int_equal(space_add_ram(s, NULL, "high", HIGH, (*r)->high_size, *r, false), 0);
	return s;
}

static void test_ram(void **state)
{
	struct ram *r;
	struct space *s = ram_space(&r, 2 * MiB);
	struct region *rom, *x = NULL;
	bool ro = true;
	uint32_t v;

	space_write(s, 0x1ffe, 4, 0x12345678);
	assert_true(space_read(s, 0x1ffe, 4) == 0x12345678);
	assert_int_equal(r->base[0x2001], 0x12);
	for (unsigned size = 1; size <= 8; size *= 2)
		for (unsigned off = 0; off < 9; off++) {
			space_write(s, 0x3000 + off, size, 0x0807060504030201ull);
			assert_true(space_read(s, 0x3000 + off, size) ==
				    (0x0807060504030201ull & size_mask(size)));
			assert_true(space_read(s, 0x3000 + off + size, 1) == 0 || size < 8);
			memset(r->base + 0x3000, 0, 32);
		}
	/* Half in, half out. */
	space_write(s, 2 * MiB - 2, 4, 0xaabbccdd);
	assert_true(space_read(s, 2 * MiB - 2, 4) == 0xffffccdd);
	assert_ptr_equal(space_page(s, 0x5000, &ro), r->base + 0x5000);
	assert_false(ro);
	assert_null(space_page(s, 2 * MiB, &ro));
	/* Writes by this way tell who caches code. */
	v = ram_mark_code(r, 0x6000, PAGE_SIZE);
	space_write(s, 0x6010, 1, 1);
	assert_true(r->version[6] != v);
	/* ROM over RAM. */
	assert_int_equal(space_add_ram(s, &rom, "rom", 0xf0000, 0x10000, r, true), 0);
	r->base[0xf0000] = 0x55;
	space_write(s, 0xf0000, 1, 0);
	assert_int_equal(space_read(s, 0xf0000, 1), 0x55);
	assert_non_null(space_page(s, 0xff000, &ro));
	assert_true(ro);
	/* Regions of what is not RAM. */
	assert_int_equal(space_add_ram(s, &x, "x", 2 * MiB - 4096, 8192, r, false), -EINVAL);
	assert_int_equal(space_add_ram(s, &x, "x", UINT64_MAX - 4095, 4096, r, false), -EINVAL);
	assert_int_equal(space_move(s, rom, 2 * MiB), -EINVAL);
	/* A page of which a chip has a part is no page of RAM. */
	put(s, 1, 0x5ff0, 1);
	assert_null(space_page(s, 0x5000, &ro));
	assert_non_null(space_page(s, 0x6000, &ro));
	space_free(s);
	ram_free(r);
}

static void test_dma_map(void **state)
{
	struct ram *r;
	struct space *s = ram_space(&r, 3 * GiB + 2 * MiB);
	struct iovec iov[8];
	uint32_t version;

	assert_int_equal(space_dma_map(s, 0x1ffe, 0x2004, true, iov, 1), 1);
	assert_ptr_equal(iov[0].iov_base, r->base + 0x1ffe);
	assert_int_equal(iov[0].iov_len, 0x2004);
	version = ram_mark_code(r, 0x3000, PAGE_SIZE);
	space_dma_wrote(s, 0x1ffe, 0x2004);
	assert_int_not_equal(r->version[3], version);
	/* ROM is for reading, and another piece. */
	assert_int_equal(space_add_ram(s, NULL, "rom", 0xf0000, 0x1000, r, true), 0);
	assert_int_equal(space_dma_map(s, 0xeff00, 0x200, false, iov, 2), 2);
	assert_int_equal(iov[0].iov_len, 0x100);
	assert_ptr_equal(iov[1].iov_base, r->base + 0xf0000);
	assert_int_equal(iov[1].iov_len, 0x100);
	assert_int_equal(space_dma_map(s, 0xeff00, 0x200, false, iov, 1), -E2BIG);
	assert_int_equal(space_dma_map(s, 0xeff00, 0x200, true, iov, 2), -EFAULT);
	assert_int_equal(space_dma_map(s, 3 * GiB - 16, 17, false, iov, 2), -EFAULT);
	assert_int_equal(space_dma_map(s, UINT64_MAX - 3, 8, false, iov, 2), -EFAULT);
	assert_int_equal(space_dma_map(s, 0, UINT64_MAX, false, iov, ARRAY_SIZE(iov)), -EFAULT);
	assert_int_equal(space_dma_map(s, 0, 0, false, iov, 0), 0);
	space_dma_wrote(s, 3 * GiB - 16, UINT64_MAX);
	space_free(s);
	ram_free(r);
}

static void test_dma(void **state)
{
	struct ram *r;
	struct space *s = ram_space(&r, 3 * GiB + 2 * MiB);
	uint8_t out[10000], in[10000];
	uint32_t v1, v2;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t off = 0; off < 10; off++) {
		memset(in, 0, sizeof(in));
		assert_int_equal(space_dma_write(s, 0x10000 + off, out, sizeof(out) - off), 0);
		assert_int_equal(space_dma_read(s, 0x10000 + off, in, sizeof(in) - off), 0);
		assert_memory_equal(in, out, sizeof(in) - off);
		assert_memory_equal(r->base + 0x10000 + off, out, sizeof(in) - off);
	}
	v1 = ram_mark_code(r, 0x20000, PAGE_SIZE);
	v2 = ram_mark_code(r, 0x22000, PAGE_SIZE);
	assert_int_equal(space_dma_write(s, 0x20fff, out, 4098), 0);
	assert_true(r->version[0x20] != v1 && r->version[0x22] != v2);
	assert_int_equal(space_dma_read(s, 0x20fff, in, 4098), 0);
	assert_memory_equal(in, out, 4098);
	/* All or nothing. */
	memset(r->base + 3 * GiB - 16, 0x11, 16);
	assert_int_equal(space_dma_write(s, 3 * GiB - 16, out, 17), -EFAULT);
	assert_int_equal(r->base[3 * GiB - 16], 0x11);
	assert_int_equal(space_dma_read(s, 3 * GiB - 16, in, 17), -EFAULT);
	assert_int_equal(space_dma_write(s, 3 * GiB - 16, out, 16), 0);
	assert_int_equal(space_dma_write(s, HIGH + 2 * MiB - 8, out, 8), 0);
	assert_int_equal(space_dma_write(s, HIGH + 2 * MiB - 8, out, 9), -EFAULT);
	assert_int_equal(space_dma_write(s, UINT64_MAX - 3, out, 8), -EFAULT);
	assert_int_equal(space_dma_read(s, UINT64_MAX, in, 1), -EFAULT);
	assert_int_equal(space_dma_read(s, 1ull << 52, in, 1), -EFAULT);
	assert_int_equal(space_dma_read(s, 0, in, SIZE_MAX), -EFAULT);
	assert_int_equal(space_dma_write(s, UINT64_MAX, out, 0), 0);
	/* Over ROM and chips. */
	assert_int_equal(space_add_ram(s, NULL, "rom", 0xf0000, 0x1000, r, true), 0);
	put(s, 1, 0xe0000, 1);
	assert_int_equal(space_dma_read(s, 0xeffff, in, 2), 0);
	assert_int_equal(space_dma_write(s, 0xeffff, out, 2), -EFAULT);
	assert_int_equal(space_dma_read(s, 0xdffff, in, 3), -EFAULT);
	space_free(s);
	ram_free(r);
}

static void test_print(void **state)
{
	struct ram *r;
	struct space *s = ram_space(&r, 2 * MiB);
	struct strbuf sb = STRBUF_INIT;

	put(s, 1, 0xa0000, 0x20000);
	assert_int_equal(space_add_ram(s, NULL, "bios", 0xf0000, 0x10000, r, true), 0);
	space_print(s, &sb);
	assert_string_equal(sb.buf, "space memory\n"
			    "0000000000000-000000009ffff ram low\n"
			    "00000000a0000-00000000bffff io  constant\n"
			    "00000000c0000-00000000effff ram low\n"
			    "00000000f0000-00000000fffff rom bios\n"
			    "0000000100000-00000001fffff ram low\n");
	strbuf_release(&sb);
	space_free(s);
	ram_free(r);
}

/* -- Changes under load ------------------------------------------------------------------------------- */

static struct space *shared;
static _Atomic bool stop;

/* Two kinds of regions; whoever is called with the other's opaque, or off its end, was mixed from both. */
#define MIXED 0x33

static uint64_t one_read(void *opaque, uint64_t off, unsigned size)
{
	return constant_read((void *)(uintptr_t)((uintptr_t)opaque == 1 && off < 0x100 ? 1 : MIXED), off,
			     size);
}

static uint64_t two_read(void *opaque, uint64_t off, unsigned size)
{
	return constant_read((void *)(uintptr_t)((uintptr_t)opaque == 2 && off < 0x40 ? 2 : MIXED), off,
			     size);
}

static const struct io_ops one_ops = { one_read, NULL, 0, 0 }, two_ops = { two_read, NULL, 0, 0 };

static void *look(void *arg)
{
	unsigned long wrong = 0;

	while (!stop)
		for (uint64_t a = 0; a < 0x400; a += 8)
			for (uint64_t v = space_read(shared, a, 8); v; v >>= 8)
				wrong += (v & 0xff) == MIXED;
	return (void *)wrong;
}

static void test_moving_under_load(void **state)
{
	struct region *a, *b, *extra[40];
	pthread_t t[2];
	void *wrong;

	shared = space_new("test", 16);
	stop = false;
	assert_int_equal(space_add_io(shared, &a, "one", 0, 0x100, &one_ops, (void *)1, NULL), 0);
	assert_int_equal(space_add_io(shared, &b, "two", 0x80, 0x40, &two_ops, (void *)2, NULL), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, look, NULL), 0);
	for (unsigned i = 0; i < 20000; i++) {
		assert_int_equal(space_move(shared, a, i * 8 % 0x300), 0);
		assert_int_equal(space_move(shared, b, i * 24 % 0x300), 0);
		if (i % 5000 == 0) { /* make the views grow, too */
			for (unsigned k = 0; k < ARRAY_SIZE(extra); k++)
				extra[k] = put(shared, 1, 0x1000 + k * 16, 8);
			for (unsigned k = 0; k < ARRAY_SIZE(extra); k++)
				space_remove(shared, extra[k]);
		}
		if (i % 64 == 0)
			sched_yield();
	}
	stop = true;
	for (int i = 0; i < 2; i++) {
		pthread_join(t[i], &wrong);
		assert_null(wrong);
	}
	space_free(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overlap), cmocka_unit_test(test_model),
		cmocka_unit_test(test_bad_regions), cmocka_unit_test(test_unmapped),
		cmocka_unit_test(test_splitting), cmocka_unit_test(test_odd_sizes),
		cmocka_unit_test(test_crossing), cmocka_unit_test(test_remap_from_callback),
		cmocka_unit_test(test_listener), cmocka_unit_test(test_ram), cmocka_unit_test(test_dma), cmocka_unit_test(test_dma_map),
		cmocka_unit_test(test_print), cmocka_unit_test(test_moving_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
