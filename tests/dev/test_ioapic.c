/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The I/O APIC through its page. */
#include "dev_test.h"

#include "dev/intc/ioapic.h"

#define BASE 0xfec00000ull

/* What came out. */
struct sink {
	unsigned n;
	struct msi_msg last;
};

struct fixture {
	struct bench b;
	struct sink out;
	struct ioapic *a;
	struct irq_line in[IOAPIC_PINS];
};

static struct fixture f;

static void record(void *opaque, struct msi_msg msg)
{
	struct sink *s = opaque;

	s->n++;
	s->last = msg;
}

static int setup(void **state)
{
	f = (struct fixture){ 0 };
	bench_init(&f.b);
	f.a = ioapic_new((struct msi_sink){ record, &f.out });
	assert_int_equal(ioapic_attach(f.a, f.b.mem, BASE), 0);
	for (unsigned n = 0; n < IOAPIC_PINS; n++)
		f.in[n] = ioapic_input(f.a, n);
	return 0;
}

static int teardown(void **state)
{
	free_device(f.a);
	bench_release(&f.b);
	return 0;
}

static uint32_t reg_read(uint8_t reg)
{
	space_write(f.b.mem, BASE, 4, reg);
	return space_read(f.b.mem, BASE + 0x10, 4);
}

static void reg_write(uint8_t reg, uint32_t val)
{
	space_write(f.b.mem, BASE, 4, reg);
	space_write(f.b.mem, BASE + 0x10, 4, val);
}

static void set_rte(unsigned pin, uint64_t e)
{
	reg_write(0x11 + 2 * pin, e >> 32);
	reg_write(0x10 + 2 * pin, e);
}

static uint64_t rte(unsigned pin)
{
	return (uint64_t)reg_read(0x11 + 2 * pin) << 32 | reg_read(0x10 + 2 * pin);
}

static void test_registers(void **state)
{
	assert_int_equal(reg_read(1), 0x00170020); /* 24 entries, version 0x20 */
	reg_write(0, 0xffffffff);
	assert_int_equal(reg_read(0), 0x0f000000);
	assert_int_equal(reg_read(2), 0x0f000000);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		assert_int_equal(rte(pin), 0x10000);
	set_rte(3, ~0ull);
	assert_int_equal(rte(3), 0xff0000000001afff); /* delivery status and remote IRR are read-only */
	assert_int_equal(reg_read(0x10 + 2 * IOAPIC_PINS), 0);
	reg_write(0xff, 1);
}

static void test_edge(void **state)
{
	set_rte(4, 0x0200000000000030ull | 1 << 11); /* logical destination 2 */
	irq_set(&f.in[4], true);
	assert_int_equal(f.out.n, 1);
	assert_int_equal(f.out.last.addr, 0xfee02004);
	assert_int_equal(f.out.last.data, 0x30);
	irq_set(&f.in[4], true);
	assert_int_equal(f.out.n, 1); /* no new edge */
	irq_set(&f.in[4], false);
	irq_set(&f.in[4], true);
	assert_int_equal(f.out.n, 2);
	irq_set(&f.in[4], false);
	set_rte(4, 0x10030);
	irq_pulse(&f.in[4]); /* an edge while masked is lost */
	set_rte(4, 0x00030);
	assert_int_equal(f.out.n, 2);
}

static void test_level(void **state)
{
	irq_set(&f.in[9], true);
	set_rte(9, 0x8041); /* unmasking an asserted level fires */
	assert_int_equal(f.out.n, 1);
	assert_int_equal(f.out.last.data, 0xc041);
	assert_int_equal(rte(9), 0xc041); /* remote IRR */
	irq_set(&f.in[9], false);
	irq_set(&f.in[9], true);
	assert_int_equal(f.out.n, 1); /* waits for EOI */
	ioapic_eoi(f.a, 0x42);
	assert_int_equal(f.out.n, 1); /* somebody else's */
	ioapic_eoi(f.a, 0x41);
	assert_int_equal(f.out.n, 2); /* still asserted */
	irq_set(&f.in[9], false);
	ioapic_eoi(f.a, 0x41);
	assert_int_equal(f.out.n, 2);
	assert_int_equal(rte(9), 0x8041);
}

static void test_eoi_register_and_edge_trick(void **state)
{
	set_rte(10, 0x8050);
	irq_set(&f.in[10], true);
	space_write(f.b.mem, BASE + 0x40, 4, 0x50);
	assert_int_equal(f.out.n, 2);
	assert_int_equal(rte(10), 0xc050);
	set_rte(10, 0x10050); /* masked and edge: remote IRR goes */
	assert_int_equal(rte(10), 0x10050);
	set_rte(10, 0x8050);
	assert_int_equal(f.out.n, 3);
}

static void test_delivery_modes(void **state)
{
	for (unsigned mode = 0; mode < 8; mode++) {
		set_rte(1, 0x0700000000000000ull | mode << 8 | 0x66);
		irq_pulse(&f.in[1]);
		assert_int_equal(f.out.n, mode + 1);
		assert_int_equal(f.out.last.data, mode << 8 | 0x66);
		assert_int_equal(f.out.last.addr, 0xfee07000 | (mode == 1 ? 8 : 0));
	}
}

static void test_two_pins_one_vector(void **state)
{
	set_rte(5, 0x8077);
	set_rte(6, 0x8077);
	irq_set(&f.in[5], true);
	irq_set(&f.in[6], true);
	assert_int_equal(f.out.n, 2);
	ioapic_eoi(f.a, 0x77);
	assert_int_equal(f.out.n, 4);
}

static void test_access_sizes(void **state)
{
	space_write(f.b.mem, BASE, 1, 1);
	assert_int_equal(space_read(f.b.mem, BASE + 0x10, 1), 0x20);
	assert_int_equal(space_read(f.b.mem, BASE + 0x12, 2), 0x17);
	assert_int_equal(space_read(f.b.mem, BASE + 0x10, 8), 0x170020);
	assert_int_equal(space_read(f.b.mem, BASE + 0xff8, 8), 0);
}

static void test_state(void **state)
{
	set_rte(9, 0x0300000000008041ull);
	irq_set(&f.in[9], true);
	space_write(f.b.mem, BASE, 4, 0x22);
	check_round_trip(f.b.clock, f.a);
	assert_int_equal(space_read(f.b.mem, BASE + 0x10, 4), 0xc041);
	assert_int_equal(f.out.n, 1); /* loading sends nothing */
	ioapic_eoi(f.a, 0x41);
	assert_int_equal(f.out.n, 2);
	reset_device(f.a);
	assert_int_equal(rte(9), 0x10000);
}

static void poke(void *opaque)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		irq_pulse(&f.in[pin]);
	for (unsigned v = 0; v < 256; v++)
		ioapic_eoi(f.a, v);
	reg_read(0x10);
	space_read(f.b.mem, BASE + 0x10, 4);
}

static void test_hostile_state(void **state)
{
	set_rte(9, 0x8041);
	check_hostile_state(f.b.clock, f.a, poke, NULL);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_registers), T(test_edge), T(test_level), T(test_eoi_register_and_edge_trick),
		T(test_delivery_modes), T(test_two_pins_one_vector), T(test_access_sizes), T(test_state),
		T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
