/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parallel port, pvpanic, pc-testdev and pci-testdev through their ports. */
#include "dev_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/chr/chr.h"
#include "bus/pci.h"
#include "dev/char/parallel.h"
#include "dev/misc/pc_testdev.h"
#include "dev/misc/pci_testdev.h"
#include "dev/misc/pvpanic.h"

static struct bench b;

static int setup(void **state)
{
	bench_init(&b);
	return 0;
}

static int teardown(void **state)
{
	bench_release(&b);
	return 0;
}

static void print(const char *text)
{
	for (; *text; text++) {
		assert_true(in8(&b, 0x379) & 0x80);
		out8(&b, 0x378, (uint8_t)*text);
		out8(&b, 0x37a, 0x1d); /* strobe, with interrupts */
		out8(&b, 0x37a, 0x1c);
	}
}

static void test_parallel(void **state)
{
	char path[] = "/tmp/doppel-lpt-XXXXXX", spec[60], text[32] = "";
	int fd = mkstemp(path);
	struct probe irq = { 0 };
	struct parallel *p;
	struct chr *out;
	struct err e;

	snprintf(spec, sizeof(spec), "file:%s", path);
	assert_int_equal(chr_open(&out, spec, &e), 0);
	assert_int_equal(chr_begin(out, &e), 0);
	p = parallel_new(probe_line(&irq), out);
	assert_int_equal(parallel_attach(p, b.pio, 0x378), 0);
	/* As drivers look for the port. */
	out8(&b, 0x37a, 0x0c);
	assert_int_equal(in8(&b, 0x37a) & 0x3f, 0x0c);
	out8(&b, 0x378, 0xaa);
	assert_int_equal(in8(&b, 0x378), 0xaa);
	assert_int_equal(in8(&b, 0x379), 0xd8);
	print("printed");
	assert_int_equal(irq.rises, 7);
	/* A printer that is held in reset prints nothing. */
	out8(&b, 0x37a, 0x00);
	out8(&b, 0x37a, 0x01);
	check_round_trip(b.clock, p);
	reset_device(p);
	print("!");
	assert_true(chr_flush(out, 10000));
	free_device(p);
	chr_free(out);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 8);
	assert_string_equal(text, "printed!");
	close(fd);
	unlink(path);
}

static void said(void *opaque, uint8_t events)
{
	*(uint8_t *)opaque = events;
}

static void test_pvpanic(void **state)
{
	uint8_t heard = 0;
	struct pvpanic *p = pvpanic_new(3, said, &heard);

	assert_int_equal(pvpanic_attach(p, b.pio, 0x505), 0);
	assert_int_equal(in8(&b, 0x505), 3);
	out8(&b, 0x505, 0xf4);
	assert_int_equal(heard, 0);
	out8(&b, 0x505, 0x05);
	assert_int_equal(heard, 1);
	free_device(p);
}

static const struct pc_testdev_places places = { .data = 0xe0, .flush = 0xe4, .data_bytes = 0xe8, .irq = 0x2000, .mem = 0xff000000 };

static void test_testdev(void **state)
{
	struct probe probe[PC_TESTDEV_IRQS] = { 0 };
	struct irq_line irq[PC_TESTDEV_IRQS];
	struct pc_testdev *t;
	uint64_t seed = 3;

	for (unsigned i = 0; i < PC_TESTDEV_IRQS; i++)
		irq[i] = probe_line(&probe[i]);
	t = pc_testdev_new(irq);
	assert_int_equal(pc_testdev_attach(t, b.pio, b.mem, &places), 0);
	space_write(b.pio, 0xe0, 4, 0x12345678);
	assert_int_equal(space_read(b.pio, 0xe0, 4), 0x12345678);
	assert_int_equal(space_read(b.pio, 0xe1, 2), 0x3456);
	assert_int_equal(space_read(b.pio, 0xe8, 4), 0x12345678);
	space_write(b.pio, 0xea, 1, 0xff);
	assert_int_equal(space_read(b.pio, 0xe0, 4), 0x12ff5678);
	space_write(b.mem, 0xff000123, 8, 0x1122334455667788);
	assert_int_equal(space_read(b.mem, 0xff000125, 4), 0x33445566);
	out8(&b, 0x2000 + 23, 1);
	assert_true(probe[23].level);
	check_round_trip(b.clock, t);
	assert_true(probe[23].level);
	out8(&b, 0x2000 + 23, 0);
	assert_false(probe[23].level);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = next_random(&seed);
		unsigned size = 1u << (r & 3);

		space_write(b.mem, 0xff000000 + (r >> 8 & 0xffff), size, r);
		space_write(b.pio, 0xe0 + (r >> 24 & 15), size, r);
		space_write(b.pio, 0x2000 + (r >> 32 & 31), size, r);
		space_read(b.mem, 0xff000000 + (r >> 40 & 0xffff), size);
	}
	reset_device(t);
	assert_int_equal(space_read(b.pio, 0xe0, 4), 0);
	free_device(t);
}

#define BAR0   0xd0000000u
#define BAR1   0x1000u
#define DEVFN  PCI_DEVFN(3, 0)
#define NO_MORE_TESTS 0

/* A BAR's test in the way that guests go through them; returns its width. */
static unsigned try_test(struct space *s, uint64_t bar, uint8_t number, const char *name, bool any_data)
{
	uint64_t at;
	uint8_t data;

	space_write(s, bar, 1, number);
	if (space_read(s, bar + 1, 1) == NO_MORE_TESTS)
		return NO_MORE_TESTS;
	assert_int_equal(space_read(s, bar + 12, 4), 0);
	at = bar + space_read(s, bar + 4, 4);
	data = (uint8_t)space_read(s, bar + 8, 4);
	for (size_t i = 0; i <= strlen(name); i++)
		assert_int_equal(space_read(s, bar + 16 + i, 1), name[i]);
	for (unsigned i = 0; i < 300; i++)
		space_write(s, at, 1, data);
	assert_int_equal(space_read(s, bar + 12, 4), 300);
	space_write(s, at, 1, data ^ 1);
	assert_int_equal(space_read(s, bar + 12, 4), any_data ? 301 : 300);
	space_write(s, at + 16, 1, data);
	space_write(s, bar + 12, 4, 5);
	assert_int_equal(space_read(s, bar + 12, 4), any_data ? 301 : 300);
	return (unsigned)space_read(s, bar + 1, 1);
}

static void use_pci_testdev(void *opaque)
{
	uint64_t seed = 5;

	for (unsigned i = 0; i < 200; i++) {
		uint64_t r = next_random(&seed);
		unsigned size = 1u << (r & 3);

		space_write(b.mem, BAR0 + (r >> 8 & 1 ? r >> 16 & 0xfff : 0), size, r >> 32 & 3);
		space_write(b.pio, BAR1 + (r >> 9 & 1 ? r >> 16 & 0xff : 0), size, r >> 34 & 3);
		space_read(b.mem, BAR0 + (r >> 40 & 0x3f), size);
		space_read(b.pio, BAR1 + (r >> 46 & 0x3f), size);
	}
}

static void test_pci_testdev(void **state)
{
	struct pci_bus_config config = { .mem = b.mem, .pio = b.pio, .mem32 = { BAR0, 0x10000000 }, .io = { BAR1, 0xf000 } };
	struct pci_bus *bus = pci_bus_new(&config);
	struct pci_testdev *t = pci_testdev_new(bus, DEVFN);

	assert_int_equal(pci_config_read(bus, 0, DEVFN, PCI_VENDOR_ID, 4), 0x00051b36);
	assert_int_equal(pci_config_read(bus, 0, DEVFN, PCI_INTERRUPT_PIN, 1), 0);
	pci_config_write(bus, 0, DEVFN, PCI_BAR0, 4, BAR0);
	pci_config_write(bus, 0, DEVFN, PCI_BAR0 + 4, 4, BAR1);
	pci_config_write(bus, 0, DEVFN, PCI_COMMAND, 2, PCI_CMD_IO | PCI_CMD_MEMORY);
	assert_int_equal(pci_config_read(bus, 0, DEVFN, PCI_BAR0, 4), BAR0);
	assert_int_equal(pci_config_read(bus, 0, DEVFN, PCI_BAR0 + 4, 4), BAR1 | 1);
	assert_int_equal(space_read(b.mem, BAR0 + 1, 1), 0);
	assert_int_equal(try_test(b.mem, BAR0, 0, "mmio-no-eventfd", false), 1);
	assert_int_equal(try_test(b.mem, BAR0, 1, "mmio-wildcard-eventfd", true), 1);
	assert_int_equal(try_test(b.mem, BAR0, 2, "mmio-datamatch-eventfd", false), 1);
	assert_int_equal(try_test(b.mem, BAR0, 3, "", false), NO_MORE_TESTS);
	assert_int_equal(try_test(b.pio, BAR1, 0, "portio-no-eventfd", false), 1);
	assert_int_equal(try_test(b.pio, BAR1, 2, "portio-datamatch-eventfd", false), 1);
	assert_int_equal(try_test(b.pio, BAR1, 255, "", false), NO_MORE_TESTS);
	assert_int_equal(try_test(b.pio, BAR1, 1, "portio-wildcard-eventfd", true), 1);
	check_round_trip(b.clock, t);
	assert_int_equal(space_read(b.pio, BAR1 + 12, 4), 301);
	/* What is counted of ports isn't of memory. */
	space_write(b.mem, BAR0 + 128 + 4, 1, 0xce);
	assert_int_equal(space_read(b.pio, BAR1 + 12, 4), 301);
	use_pci_testdev(NULL);
	check_hostile_state(b.clock, t, use_pci_testdev, NULL);
	reset_device(t);
	assert_int_equal(pci_config_read(bus, 0, DEVFN, PCI_COMMAND, 2), 0);
	free_device(t);
	pci_bus_free(bus);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = { T(test_parallel), T(test_pvpanic), T(test_testdev), T(test_pci_testdev) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
