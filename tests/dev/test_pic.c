/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 8259A pair through its ports. */
#include "dev_test.h"

#include "dev/intc/pic.h"

#define M 0x20
#define S 0xa0
#define ELCR 0x4d0

struct fixture {
	struct bench b;
	struct probe out;
	struct pic *pic;
	struct irq_line in[16];
};

static struct fixture f;

/* What every operating system does: edge-triggered, vectors 0x20 and 0x28, 8086 mode, all unmasked. */
static void init_pair(uint8_t icw4)
{
	out8(&f.b, M, 0x11);
	out8(&f.b, M + 1, 0x20);
	out8(&f.b, M + 1, 0x04);
	out8(&f.b, M + 1, icw4);
	out8(&f.b, S, 0x11);
	out8(&f.b, S + 1, 0x28);
	out8(&f.b, S + 1, 0x02);
	out8(&f.b, S + 1, 0x01);
}

static int setup(void **state)
{
	f = (struct fixture){ 0 };
	bench_init(&f.b);
	f.pic = pic_new(probe_line(&f.out));
	assert_int_equal(pic_attach(f.pic, f.b.pio, M, S, ELCR), 0);
	for (unsigned n = 0; n < 16; n++)
		f.in[n] = pic_input(f.pic, n);
	init_pair(0x01);
	return 0;
}

static int teardown(void **state)
{
	free_device(f.pic);
	bench_release(&f.b);
	return 0;
}

static uint8_t read_isr(uint16_t port)
{
	out8(&f.b, port, 0x0b);
	return in8(&f.b, port);
}

static uint8_t read_irr(uint16_t port)
{
	out8(&f.b, port, 0x0a);
	return in8(&f.b, port);
}

static void test_edge(void **state)
{
	irq_set(&f.in[4], true);
	assert_true(f.out.level);
	assert_int_equal(read_irr(M), 0x10);
	assert_int_equal(pic_ack(f.pic), 0x24);
	assert_false(f.out.level);
	assert_int_equal(read_isr(M), 0x10);
	assert_int_equal(read_irr(M), 0);
	out8(&f.b, M, 0x20);
	assert_int_equal(read_isr(M), 0);
	assert_false(f.out.level); /* the line is still high: no new edge */
	irq_set(&f.in[4], false);
	irq_pulse(&f.in[4]); /* an edge is remembered after the line fell */
	assert_true(f.out.level);
	assert_int_equal(pic_ack(f.pic), 0x24);
}

static void test_level(void **state)
{
	out8(&f.b, ELCR, 0xff);
	out8(&f.b, ELCR + 1, 0xff);
	assert_int_equal(in8(&f.b, ELCR), 0xf8); /* 0, 1, 2 are always edge-triggered */
	assert_int_equal(in8(&f.b, ELCR + 1), 0xde);
	irq_set(&f.in[5], true);
	assert_int_equal(pic_ack(f.pic), 0x25);
	out8(&f.b, M, 0x20);
	assert_true(f.out.level); /* still asserted: again */
	assert_int_equal(pic_ack(f.pic), 0x25);
	irq_set(&f.in[5], false);
	out8(&f.b, M, 0x20);
	assert_false(f.out.level);
	irq_set(&f.in[5], true);
	irq_set(&f.in[5], false); /* a level is not remembered */
	assert_false(f.out.level);
}

static void test_priority_and_nesting(void **state)
{
	irq_set(&f.in[6], true);
	irq_set(&f.in[3], true);
	assert_int_equal(pic_ack(f.pic), 0x23);
	assert_false(f.out.level); /* 6 waits for 3 */
	irq_set(&f.in[1], true);
	assert_true(f.out.level); /* 1 is higher */
	assert_int_equal(pic_ack(f.pic), 0x21);
	assert_int_equal(read_isr(M), 0x0a);
	out8(&f.b, M, 0x20); /* non-specific: the highest, 1 */
	assert_int_equal(read_isr(M), 0x08);
	assert_false(f.out.level);
	out8(&f.b, M, 0x63); /* specific EOI of 3 */
	assert_true(f.out.level);
	assert_int_equal(pic_ack(f.pic), 0x26);
}

static void test_mask(void **state)
{
	out8(&f.b, M + 1, 0x10);
	assert_int_equal(in8(&f.b, M + 1), 0x10);
	irq_set(&f.in[4], true);
	assert_false(f.out.level);
	out8(&f.b, M + 1, 0);
	assert_true(f.out.level); /* the request was held */
}

static void test_cascade(void **state)
{
	irq_set(&f.in[10], true);
	irq_set(&f.in[12], true);
	assert_true(f.out.level);
	assert_int_equal(pic_ack(f.pic), 0x2a);
	assert_int_equal(read_isr(S), 0x04);
	assert_int_equal(read_isr(M), 0x04);
	assert_false(f.out.level);
	out8(&f.b, S, 0x20);
	out8(&f.b, M, 0x20);
	assert_true(f.out.level); /* the slave's second request */
	assert_int_equal(pic_ack(f.pic), 0x2c);
	irq_set(&f.in[2], true); /* the cascade input leads nowhere */
	assert_int_equal(read_irr(M), 0);
}

static void test_slave_nesting_in_sfnm(void **state)
{
	init_pair(0x11); /* special fully nested */
	irq_set(&f.in[12], true);
	assert_int_equal(pic_ack(f.pic), 0x2c);
	irq_set(&f.in[9], true); /* higher within the slave */
	assert_true(f.out.level);
	assert_int_equal(pic_ack(f.pic), 0x29);
}

static void test_spurious(void **state)
{
	assert_int_equal(pic_ack(f.pic), 0x27);
	assert_int_equal(read_isr(M), 0); /* no in-service bit */
	out8(&f.b, ELCR + 1, 0x02);
	irq_set(&f.in[9], true);
	irq_set(&f.in[9], false); /* gone before INTA: the slave cannot say who it was */
	assert_int_equal(pic_ack(f.pic), 0x2f);
	assert_int_equal(read_isr(S), 0);
	assert_int_equal(read_isr(M), 0x04); /* the master does not know */
}

static void test_rotation(void **state)
{
	out8(&f.b, M, 0xc2); /* set priority: 2 lowest, 3 highest */
	irq_set(&f.in[0], true);
	irq_set(&f.in[3], true);
	assert_int_equal(pic_ack(f.pic), 0x23);
	out8(&f.b, M, 0xa0); /* rotate on non-specific EOI: 3 lowest */
	irq_set(&f.in[3], false);
	irq_set(&f.in[3], true);
	assert_int_equal(pic_ack(f.pic), 0x20);
	out8(&f.b, M, 0xe0); /* rotate on specific EOI of 0 */
	irq_set(&f.in[1], true);
	assert_int_equal(pic_ack(f.pic), 0x21); /* now 1 is the highest */
}

static void test_auto_eoi(void **state)
{
	init_pair(0x03);
	irq_pulse(&f.in[4]);
	irq_pulse(&f.in[6]);
	assert_int_equal(pic_ack(f.pic), 0x24);
	assert_int_equal(read_isr(M), 0);
	assert_int_equal(pic_ack(f.pic), 0x26);
	out8(&f.b, M, 0x80); /* rotate in automatic EOI mode */
	irq_pulse(&f.in[3]);
	assert_int_equal(pic_ack(f.pic), 0x23);
	irq_pulse(&f.in[3]);
	irq_pulse(&f.in[4]);
	assert_int_equal(pic_ack(f.pic), 0x24); /* 3 had its turn */
}

static void test_special_mask_mode(void **state)
{
	irq_pulse(&f.in[3]);
	assert_int_equal(pic_ack(f.pic), 0x23);
	irq_pulse(&f.in[6]);
	assert_false(f.out.level);
	out8(&f.b, M + 1, 0x08); /* mask 3 ... */
	assert_false(f.out.level);
	out8(&f.b, M, 0x68); /* ... in special mask mode: lower levels come through */
	assert_true(f.out.level);
	assert_int_equal(pic_ack(f.pic), 0x26);
	out8(&f.b, M, 0x20); /* non-specific EOI spares the masked level */
	assert_int_equal(read_isr(M), 0x08);
	out8(&f.b, M, 0x48);
	assert_int_equal(in8(&f.b, M + 1), 0x08);
}

static void test_poll(void **state)
{
	out8(&f.b, M, 0x0c);
	assert_int_equal(in8(&f.b, M), 0x00);
	irq_pulse(&f.in[5]);
	out8(&f.b, M, 0x0c);
	assert_int_equal(in8(&f.b, M), 0x85);
	assert_int_equal(read_isr(M), 0x20);
	out8(&f.b, M, 0x20);
	irq_pulse(&f.in[14]);
	out8(&f.b, M, 0x0c);
	assert_int_equal(in8(&f.b, M), 0x82);
	out8(&f.b, S, 0x0c);
	assert_int_equal(in8(&f.b, S), 0x86);
}

static void test_icw1_forgets_edges(void **state)
{
	irq_set(&f.in[4], true);
	out8(&f.b, M + 1, 0xff);
	init_pair(0x01);
	assert_int_equal(in8(&f.b, M + 1), 0); /* masks cleared */
	assert_false(f.out.level);
	irq_set(&f.in[4], false);
	irq_set(&f.in[4], true);
	assert_true(f.out.level);
}

static void test_single_without_icw4(void **state)
{
	out8(&f.b, M, 0x12); /* single, no ICW4: neither ICW3 nor ICW4 follows */
	out8(&f.b, M + 1, 0x40);
	out8(&f.b, M + 1, 0x55); /* so this is the mask */
	assert_int_equal(in8(&f.b, M + 1), 0x55);
	irq_pulse(&f.in[1]);
	assert_int_equal(pic_ack(f.pic), 0x41);
}

static void test_state(void **state)
{
	out8(&f.b, ELCR, 0x20);
	out8(&f.b, M + 1, 0x40);
	irq_set(&f.in[5], true);
	irq_pulse(&f.in[3]);
	irq_pulse(&f.in[14]);
	assert_int_equal(pic_ack(f.pic), 0x2e);
	irq_pulse(&f.in[0]);
	check_round_trip(f.b.clock, f.pic);
	assert_true(f.out.level);
	assert_int_equal(pic_ack(f.pic), 0x20);
	assert_int_equal(read_isr(M), 0x05);
	reset_device(f.pic);
	assert_false(f.out.level);
	assert_int_equal(in8(&f.b, ELCR), 0);
}

static void poke(void *opaque)
{
	irq_pulse(&f.in[9]);
	pic_ack(f.pic);
	for (unsigned port = 0; port < 2; port++) {
		in8(&f.b, M + port);
		in8(&f.b, S + port);
		in8(&f.b, ELCR + port);
	}
	out8(&f.b, M, 0xa0);
	out8(&f.b, S, 0xe7);
}

static void test_hostile_state(void **state)
{
	irq_pulse(&f.in[3]);
	check_hostile_state(f.b.clock, f.pic, poke, NULL);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_edge), T(test_level), T(test_priority_and_nesting), T(test_mask), T(test_cascade),
		T(test_slave_nesting_in_sfnm), T(test_spurious), T(test_rotation), T(test_auto_eoi),
		T(test_special_mask_mode), T(test_poll), T(test_icw1_forgets_edges), T(test_single_without_icw4),
		T(test_state), T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
