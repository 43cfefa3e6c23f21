/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI configuration, BAR decode and the chipset's reset registers through their ports; isa-debug-exit. */
#include "dev_test.h"

#include "dev/misc/debug_exit.h"
#include "base/bits.h"
#include "dev/misc/pam.h"
#include "dev/misc/pci_host.h"
#include "dev/misc/reset_ctl.h"

#define ADDR 0xcf8
#define DATA 0xcfc
#define RC 0xcf9
#define PORT_A 0x92

struct fixture {
	struct bench b;
	struct probe fast, full, a20, intx[PCI_PINS];
	unsigned written, written_off; /* calls of the function's hook, and what the last one said */
	struct reset_ctl *rc;
	struct pci_bus *bus;
	struct pci_host *host;
	struct ram *ram;
	struct pam *pam;
	struct pci_function fn; /* a function with BARs */
	uint32_t reg;           /* what stands behind them */
};

static struct fixture f;

static uint64_t reg_read(void *opaque, uint64_t off, unsigned size)
{
	return f.reg + off;
}

static void reg_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	f.reg = val;
}

static const struct io_ops reg_ops = { .read = reg_read, .write = reg_write };

static void on_written(struct pci_function *fn, unsigned off, unsigned size)
{
	assert_ptr_equal(fn, &f.fn);
	f.written++;
	f.written_off = off;
}

static void plug_function(void)
{
	static const struct pci_ids ids = {
		.vendor = 0x1af4, .device = 0x1000, .class_code = 0x020000, .subvendor = 0x1234, .subsystem = 0x5678,
	};
	struct pci_bar io = { .type = PCI_BAR_IO, .size = 64, .name = "test-io", .ops = &reg_ops };
	struct pci_bar mem = { .type = PCI_BAR_MEM32, .size = 0x1000, .name = "test-mem", .ops = &reg_ops };
	struct pci_bar mem64 = {
		.type = PCI_BAR_MEM64, .prefetch = true, .size = 0x100000, .name = "test-mem64", .ops = &reg_ops,
	};

	pci_function_init(&f.fn, f.bus, PCI_DEVFN(3, 0), &ids);
	f.fn.config[PCI_INTERRUPT_PIN] = 2;
	f.fn.written = on_written;
	pci_add_bar(&f.fn, 0, &io);
	pci_add_bar(&f.fn, 1, &mem);
	pci_add_bar(&f.fn, 2, &mem64);
	assert_int_equal(pci_add_capability(&f.fn, 0x05, 10), 0x40);
	assert_int_equal(pci_add_capability(&f.fn, 0x09, 16), 0x4c);
	pci_function_seal(&f.fn);
}

static int setup(void **state)
{
	struct pci_bus_config bc;

	f = (struct fixture){ 0 };
	bench_init(&f.b);
	bc = (struct pci_bus_config){
		.mem = f.b.mem, .pio = f.b.pio, .io = { 0x1000, 0xf000 }, .mem32 = { 0xc0000000, 0x3ec00000 },
		.mem64 = { 0x1000000000, 0x1000000000 },
	};
	for (unsigned i = 0; i < PCI_PINS; i++)
		bc.intx[i] = probe_line(&f.intx[i]);
	f.rc = reset_ctl_new(probe_line(&f.fast), probe_line(&f.full), probe_line(&f.a20));
	assert_int_equal(reset_ctl_attach(f.rc, f.b.pio, PORT_A), 0);
	f.bus = pci_bus_new(&bc);
	assert_int_equal(ram_new(&f.ram, 2 * MiB, NULL), 0);
	f.pam = pam_new(f.b.mem, f.ram);
	f.host = pci_host_new(f.bus, f.rc, f.pam);
	assert_int_equal(pci_host_attach(f.host, f.b.pio, ADDR), 0);
	plug_function();
	return 0;
}

static int teardown(void **state)
{
	pci_function_release(&f.fn);
	free_device(f.host);
	pam_free(f.pam);
	pci_bus_free(f.bus);
	free_device(f.rc);
	bench_release(&f.b);
	ram_free(f.ram);
	return 0;
}

static uint32_t cfg_read(unsigned slot, unsigned reg, unsigned size)
{
	space_write(f.b.pio, ADDR, 4, 0x80000000u | slot << 11 | (reg & ~3u));
	return space_read(f.b.pio, DATA + (reg & 3), size);
}

static void cfg_write(unsigned slot, unsigned reg, unsigned size, uint32_t val)
{
	space_write(f.b.pio, ADDR, 4, 0x80000000u | slot << 11 | (reg & ~3u));
	space_write(f.b.pio, DATA + (reg & 3), size, val);
}

static void test_mechanism1(void **state)
{
	/* Linux's probe: a byte to 0xcfb must not disturb, the address register keeps its bits. */
	out8(&f.b, 0xcfb, 0x01);
	space_write(f.b.pio, ADDR, 4, 0xffffffff);
	assert_int_equal(space_read(f.b.pio, ADDR, 4), 0x80fffffc);
	assert_int_equal(in8(&f.b, ADDR), 0xff); /* bytes pass by */
	space_write(f.b.pio, ADDR, 2, 0);
	assert_int_equal(space_read(f.b.pio, ADDR, 4), 0x80fffffc);
	space_write(f.b.pio, ADDR, 4, 0); /* not enabled */
	assert_int_equal(space_read(f.b.pio, DATA, 4), 0xffffffff);
}

static void test_host_bridge(void **state)
{
	assert_int_equal(cfg_read(0, 0, 4), 0x12378086);
	assert_int_equal(cfg_read(0, 0x0a, 2), 0x0600);
	assert_int_equal(cfg_read(0, 0x0e, 1), 0);
	assert_int_equal(cfg_read(1, 0, 4), 0xffffffff); /* nobody */
	cfg_write(1, 0x10, 4, 0);
	cfg_write(0, 0, 4, 0);
	assert_int_equal(cfg_read(0, 0, 4), 0x12378086);
	cfg_write(0, 0x3c, 1, 0x0b);
	assert_int_equal(cfg_read(0, 0x3c, 2), 0x000b);
	space_write(f.b.pio, ADDR, 4, 0x80010000); /* bus 1 */
	assert_int_equal(space_read(f.b.pio, DATA, 4), 0xffffffff);
}

static void test_bar_sizing(void **state)
{
	for (unsigned reg = 0x10; reg < 0x28; reg += 4)
		cfg_write(3, reg, 4, 0xffffffff);
	assert_int_equal(cfg_read(3, 0x10, 4), 0xffffffc1);
	assert_int_equal(cfg_read(3, 0x14, 4), 0xfffff000);
	assert_int_equal(cfg_read(3, 0x18, 4), 0xfff0000c);
	assert_int_equal(cfg_read(3, 0x1c, 4), 0xffffffff);
	assert_int_equal(cfg_read(3, 0x20, 4), 0);
	assert_int_equal(cfg_read(3, 0x2c, 4), 0x56781234);
	cfg_write(3, 4, 2, 0xffff); /* decode on, at impossible places */
	assert_int_equal(cfg_read(3, 4, 2), 0x0407);
	assert_int_equal(space_read(f.b.mem, 0xfffff000, 4), 0xffffffff);
}

static void test_bar_decode(void **state)
{
	f.reg = 0x11223344;
	cfg_write(3, 0x10, 4, 0xc000);
	cfg_write(3, 0x14, 4, 0xd0000000);
	cfg_write(3, 0x18, 4, 0x00000000);
	cfg_write(3, 0x1c, 4, 0x18);
	assert_int_equal(space_read(f.b.mem, 0xd0000000, 4), 0xffffffff); /* off */
	cfg_write(3, 4, 2, 2);
	assert_int_equal(space_read(f.b.mem, 0xd0000000, 4), 0x11223344);
	assert_int_equal(space_read(f.b.mem, 0x1800000010, 4), 0x11223354);
	assert_int_equal(space_read(f.b.pio, 0xc000, 4), 0xffffffff);
	cfg_write(3, 4, 2, 3);
	space_write(f.b.pio, 0xc004, 4, 0x55);
	assert_int_equal(f.reg, 0x55);
	cfg_write(3, 0x16, 1, 0x10); /* one byte of the BAR: it moves */
	assert_int_equal(space_read(f.b.mem, 0xd0000000, 4), 0xffffffff);
	assert_int_equal(space_read(f.b.mem, 0xd0100000, 4), 0x55);
	/* Never over RAM, the IOAPIC or legacy ports. */
	cfg_write(3, 0x14, 4, 0x00100000);
	assert_int_equal(space_read(f.b.mem, 0x00100000, 4), 0xffffffff);
	cfg_write(3, 0x14, 4, 0xfec00000);
	assert_int_equal(space_read(f.b.mem, 0xfec00000, 4), 0xffffffff);
	cfg_write(3, 0x10, 4, 0x3c0);
	assert_int_equal(space_read(f.b.pio, 0x3c0, 4), 0xffffffff);
	cfg_write(3, 0x1c, 4, 0xffffffff);
	cfg_write(3, 4, 2, 0);
	assert_int_equal(space_read(f.b.pio, 0xc000, 4), 0xffffffff);
}

static void test_capabilities(void **state)
{
	assert_int_equal(cfg_read(3, 6, 2) & 0x10, 0x10);
	assert_int_equal(cfg_read(3, 0x34, 1), 0x4c);
	assert_int_equal(cfg_read(3, 0x4c, 2), 0x4009);
	assert_int_equal(cfg_read(3, 0x40, 2), 0x0005);
	cfg_write(3, 0x40, 4, 0xffffffff);
	assert_int_equal(cfg_read(3, 0x40, 2), 0x0005);
}

static void test_reset_registers(void **state)
{
	out8(&f.b, RC, 0x02);
	assert_int_equal(f.full.rises, 0);
	assert_int_equal(in8(&f.b, RC), 0x02);
	space_write(f.b.pio, ADDR, 4, 0x80000600); /* a dword to the address register is not for us */
	assert_int_equal(f.full.rises, 0);
	out8(&f.b, RC, 0x06);
	assert_int_equal(f.full.rises, 1);
	out8(&f.b, PORT_A, 0x00);
	assert_false(f.a20.level);
	out8(&f.b, PORT_A, 0x03);
	assert_true(f.a20.level);
	assert_int_equal(f.fast.rises, 1);
	out8(&f.b, PORT_A, 0x03); /* no new edge */
	assert_int_equal(f.fast.rises, 1);
	assert_int_equal(in8(&f.b, PORT_A), 0x03);
	check_round_trip(f.b.clock, f.rc);
	reset_device(f.rc);
	assert_int_equal(in8(&f.b, PORT_A), 0x02);
}

static void test_state(void **state)
{
	cfg_write(0, 4, 2, 0x0006);
	cfg_write(0, 0x3c, 1, 9);
	check_round_trip(f.b.clock, f.host);
	assert_int_equal(space_read(f.b.pio, DATA, 1), 9); /* the address too */
	reset_device(f.host);
	assert_int_equal(cfg_read(0, 0x3c, 1), 0);
	/* A function's read-only bits must be as they were. */
	cfg_write(3, 0x14, 4, 0xd0000000);
	cfg_write(3, 4, 2, 2);
	f.fn.config[0x15] = 0xff;
	assert_int_equal(pci_function_post_load(&f.fn), -22);
	f.fn.config[0x15] = 0xf0;
	assert_int_equal(pci_function_post_load(&f.fn), 0);
	f.reg = 7;
	assert_int_equal(space_read(f.b.mem, 0xd000f000, 4), 7);
	pci_function_reset(&f.fn);
	assert_int_equal(space_read(f.b.mem, 0xd000f000, 4), 0xffffffff);
}

static void poke(void *opaque)
{
	for (unsigned reg = 0; reg < 256; reg += 4)
		cfg_read(0, reg, 4);
	space_read(f.b.pio, DATA, 4);
}

static void test_hostile_state(void **state)
{
	check_hostile_state(f.b.clock, f.host, poke, NULL);
	check_hostile_state(f.b.clock, f.rc, poke, NULL);
}

static uint32_t exit_code;
static unsigned exits;

static void on_exit_code(void *opaque, uint32_t val)
{
	exit_code = val;
	exits++;
}

static void test_debug_exit(void **state)
{
	struct debug_exit *x = debug_exit_new(on_exit_code, NULL);

	assert_int_equal(debug_exit_attach(x, f.b.pio, 0xf4), 0);
	assert_int_equal(in8(&f.b, 0xf4), 0);
	assert_int_equal(exits, 0);
	out8(&f.b, 0xf4, 0x21);
	assert_int_equal(exit_code, 0x21);
	space_write(f.b.pio, 0xf4, 4, 0x12345678);
	assert_int_equal(exit_code, 0x12345678);
	assert_int_equal(exits, 2);
	reset_device(x);
	space_free(f.b.pio);
	f.b.pio = space_new("ports", 16);
	free_device(x);
}

/* Slot 3, INTB#: wire (3 + 1) % 4. */
static void test_intx(void **state)
{
	struct pci_function other = { .config = { [PCI_INTERRUPT_PIN] = 1 } };
	static const struct pci_ids ids = { .vendor = 1, .device = 1 };

	pci_function_init(&other, f.bus, PCI_DEVFN(4, 0), &ids);
	pci_function_seal(&other);
	assert_int_equal(cfg_read(3, 0x3d, 1), 2);
	assert_int_equal(cfg_read(3, 6, 2) & 8, 0);
	pci_set_intx(&f.fn, true);
	assert_true(f.intx[0].level);
	assert_int_equal(cfg_read(3, 6, 2) & 8, 8);
	assert_int_equal(cfg_read(3, 4, 4) >> 16 & 8, 8);
	/* Two on a wire. */
	pci_set_intx(&other, true);
	pci_set_intx(&f.fn, false);
	assert_true(f.intx[0].level);
	pci_set_intx(&f.fn, true);
	pci_set_intx(&other, false);
	assert_true(f.intx[0].level);
	assert_int_equal(f.intx[0].rises, 1);
	/* Disabled: the status stays. */
	cfg_write(3, 4, 2, PCI_CMD_INTX_OFF);
	assert_false(f.intx[0].level);
	assert_int_equal(cfg_read(3, 6, 2) & 8, 8);
	cfg_write(3, 4, 2, 0);
	assert_true(f.intx[0].level);
	assert_int_equal(f.written, 2);
	assert_int_equal(f.written_off, 4);
	pci_set_intx(&other, true);
	pci_set_intx(&f.fn, false);
	pci_function_release(&other); /* takes its level along */
	assert_false(f.intx[0].level);
	assert_true(pci_slot_free(f.bus, PCI_DEVFN(4, 0)));
	assert_false(pci_slot_free(f.bus, PCI_DEVFN(3, 0)));
	for (unsigned i = 1; i < PCI_PINS; i++)
		assert_int_equal(f.intx[i].rises, 0);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_mechanism1), T(test_host_bridge), T(test_bar_sizing), T(test_bar_decode), T(test_capabilities),
		T(test_reset_registers), T(test_state), T(test_hostile_state), T(test_debug_exit),
		T(test_intx),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
