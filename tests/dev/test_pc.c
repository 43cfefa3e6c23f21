/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PC's wiring: memory map, interrupts from chip to vCPU, what ends or resets the machine. No guest code runs. */
#include "dev_test.h"

#include <string.h>

#include "boot/acpi.h"
#include "machine/devices.h"
#include "machine/pc.h"

#define APIC_PAGE 0xfee00000ull
#define IOAPIC 0xfec00000ull

struct fixture {
	struct pc *pc;
	struct pc_event ev;
	unsigned events;
};

static struct fixture f;

static const struct device_config devices[] = {
	{ .driver = "isa-debug-exit", .prop = { { "iobase", DEBUG_EXIT_PORT_TEXT } }, .n_props = 1 },
};

static void on_event(void *opaque, const struct pc_event *ev)
{
	f.ev = *ev;
	f.events++;
}

static struct pc_config config(uint64_t ram, unsigned cpus)
{
	return (struct pc_config){
		.ram_size = ram, .cpus = cpus, .cpu_spec = "host", .engine = &interp_engine,
		.devices = devices, .n_devices = ARRAY_SIZE(devices),
		.on_event = on_event,
	};
}

static int setup(void **state)
{
	struct pc_config c = config(64 * MiB, 2);
	struct err e = { "" };

	f = (struct fixture){ 0 };
	assert_int_equal(pc_new(&f.pc, &c, &e), 0);
	pc_pause(f.pc, false);
	return 0;
}

static int teardown(void **state)
{
	pc_free(f.pc);
	return 0;
}

static uint32_t in(uint16_t port, unsigned size)
{
	return space_read(f.pc->pio, port, size);
}

static void out(uint16_t port, unsigned size, uint32_t val)
{
	space_write(f.pc->pio, port, size, val);
}

static void lapic_write(unsigned cpu, unsigned off, uint32_t val)
{
	vcpu_mmio_write(f.pc->group.v[cpu], APIC_PAGE + off, 4, val);
}

static bool pending(unsigned cpu)
{
	const struct cpu_intc *ic = &f.pc->group.v[cpu]->intc;

	return ic->ops->pending(ic->opaque);
}

static int ack(unsigned cpu)
{
	const struct cpu_intc *ic = &f.pc->group.v[cpu]->intc;

	return ic->ops->ack(ic->opaque);
}

static bool pending0(void *opaque)
{
	return pending(0);
}

static void ioapic_set(unsigned pin, uint64_t rte)
{
	space_write(f.pc->mem, IOAPIC, 4, 0x11 + 2 * pin);
	space_write(f.pc->mem, IOAPIC + 0x10, 4, rte >> 32);
	space_write(f.pc->mem, IOAPIC, 4, 0x10 + 2 * pin);
	space_write(f.pc->mem, IOAPIC + 0x10, 4, rte);
}

static void test_config_errors(void **state)
{
	struct pc_config c = config(64 * MiB, 0);
	struct pc *pc;
	struct err e = { "" };

	assert_int_equal(pc_new(&pc, &c, &e), -22);
	assert_null(pc);
	c.cpus = PC_MAX_CPUS + 1;
	assert_int_equal(pc_new(&pc, &c, &e), -22);
	c = config(12345, 1);
	assert_true(pc_new(&pc, &c, &e) < 0);
	assert_true(strlen(e.msg) > 0);
	c = config(64 * MiB, 1);
	c.cpu_spec = "nonsense";
	assert_true(pc_new(&pc, &c, &e) < 0);
	pc_free(NULL);
}

static void test_memory_map(void **state)
{
	struct pc_config c = config(4 * GiB, 1);
	struct err e = { "" };
	struct pc *pc;
	uint64_t holes[] = { 0xa0000, 0xbfff8, RAM_HOLE_START, 0xfec00800, 0xfee00000, 0xfffffff0, 5 * GiB };
	uint64_t ram[] = { 0, 0x9fff8, 0xc0000, 0xffff8, MiB, 3 * GiB - 8, 4 * GiB, 5 * GiB - 8 };

	assert_int_equal(pc_new(&pc, &c, &e), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(ram); i++) {
		space_write(pc->mem, ram[i], 8, 0x1122334455667788);
		assert_int_equal(space_read(pc->mem, ram[i], 8), 0x1122334455667788);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(holes); i++) {
		space_write(pc->mem, holes[i], 8, 0);
		assert_true(space_read(pc->mem, holes[i], 8) + 1 < 2); /* nobody, or an IOAPIC register that reads 0 */
	}
	pc_free(pc);
}

/* The 8259 through the boot processor's LINT0, as firmware leaves it. */
static void test_pic_path(void **state)
{
	out(0x20, 1, 0x11);
	out(0x21, 1, 0x20);
	out(0x21, 1, 0x04);
	out(0x21, 1, 0x01);
	out(0x21, 1, 0xfe);
	out(0x43, 1, 0x34); /* timer, periodic */
	out(0x40, 1, 0x00);
	out(0x40, 1, 0x10);
	assert_true(wait_for(pending0, NULL, 1000));
	assert_true(atomic_load(&f.pc->group.v[0]->work) & WORK_INTR);
	assert_int_equal(ack(0), 0x20);
	assert_false(pending(1));
	out(0x20, 1, 0x20);
	assert_true(wait_for(pending0, NULL, 1000));
	assert_int_equal(ack(0), 0x20);
}

/* The timer is input 2 of the IOAPIC; level-triggered SCI with EOI by the processor. */
static void test_ioapic_path(void **state)
{
	lapic_write(1, 0xf0, 0x1ff);
	ioapic_set(2, 0x0100000000000041ull);
	out(0x43, 1, 0x30);
	out(0x40, 1, 100);
	out(0x40, 1, 0);
	for (unsigned i = 0; i < 1000 && !pending(1); i++)
		sleep_ns(1 * MS);
	assert_int_equal(ack(1), 0x41);
	lapic_write(1, 0xb0, 0);

	ioapic_set(9, 0x0100000000008051ull);
	out(0x602, 2, 0x100);
	pc_power_button(f.pc);
	assert_int_equal(ack(1), 0x51);
	lapic_write(1, 0xb0, 0);
	assert_int_equal(ack(1), 0x51); /* the button's status still stands */
	out(0x600, 2, 0x100);
	lapic_write(1, 0xb0, 0);
	assert_int_equal(ack(1), -1);
}

static void test_serial_interrupt(void **state)
{
	ioapic_set(4, 0x0000000000000034ull);
	out(0x3fc, 1, 0x08);
	out(0x3f9, 1, 0x02);
	assert_int_equal(ack(0), 0x34);
	ioapic_set(3, 0x0000000000000033ull);
	lapic_write(0, 0xb0, 0);
	out(0x2fc, 1, 0x08);
	out(0x2f9, 1, 0x02);
	assert_int_equal(ack(0), 0x33);
}

static void expect_event(enum pc_event_type type, enum pc_cause cause, uint32_t code)
{
	assert_int_equal(f.events, 1);
	assert_int_equal(f.ev.type, type);
	assert_int_equal(f.ev.cause, cause);
	assert_int_equal(f.ev.code, code);
	f.events = 0;
}

static void test_events(void **state)
{
	struct acpi_platform acpi;

	pc_acpi_platform(f.pc, &acpi);
	out(acpi.pm1_cnt_port, 2, acpi.s5_type << 10 | 1 << 13);
	expect_event(PC_EVENT_SHUTDOWN, PC_CAUSE_ACPI_OFF, 0);
	out(DEBUG_EXIT_PORT, 1, 0x2a);
	expect_event(PC_EVENT_SHUTDOWN, PC_CAUSE_DEBUG_EXIT, 0x2a);
	out(0x64, 1, 0xfe);
	expect_event(PC_EVENT_RESET, PC_CAUSE_KEYBOARD, 0);
	out(acpi.reset_port, 1, acpi.reset_value);
	expect_event(PC_EVENT_RESET, PC_CAUSE_CF9, 0);
	out(0x92, 1, 0x03);
	expect_event(PC_EVENT_RESET, PC_CAUSE_PORT92, 0);
	f.pc->group.on_exit(f.pc->group.opaque, f.pc->group.v[1], EXIT_SHUTDOWN);
	expect_event(PC_EVENT_RESET, PC_CAUSE_TRIPLE_FAULT, 1);
	f.pc->group.on_exit(f.pc->group.opaque, f.pc->group.v[0], EXIT_INTERNAL);
	expect_event(PC_EVENT_ERROR, PC_CAUSE_ENGINE, 0);
}

static void test_reset(void **state)
{
	space_write(f.pc->mem, 0x5000, 8, 0x1234);
	out(0x3ff, 1, 0x77);
	out(0x4d0, 1, 0xf8);
	lapic_write(0, 0x80, 0x40);
	f.pc->group.v[0]->s.rip = 0x1234;
	pc_pause(f.pc, true);
	pc_reset(f.pc);
	assert_int_equal(in(0x3ff, 1), 0);
	assert_int_equal(in(0x4d0, 2), 0xe00); /* the SCI is level-triggered */
	assert_int_equal(vcpu_mmio_read(f.pc->group.v[0], APIC_PAGE + 0x80, 4), 0);
	assert_int_equal(vcpu_mmio_read(f.pc->group.v[0], APIC_PAGE + 0x350, 4), 0x700);
	assert_int_equal(f.pc->group.v[0]->s.rip, 0xfff0);
	assert_int_equal(f.pc->group.v[1]->s.activity, ACT_WAIT_SIPI);
	assert_int_equal(space_read(f.pc->mem, 0x5000, 8), 0x1234); /* RAM keeps its bytes */
}

static uint8_t cmos(uint8_t i)
{
	out(0x70, 1, i);
	return in(0x71, 1);
}

static void test_firmware_data(void **state)
{
	struct acpi_platform acpi;
	struct strbuf tables = STRBUF_INIT;
	struct err e = { "" };

	assert_int_equal(cmos(0x15) | cmos(0x16) << 8, 640);
	assert_int_equal(cmos(0x17) | cmos(0x18) << 8, 63 * 1024);
	assert_int_equal(cmos(0x34) | cmos(0x35) << 8, 48 * 16);
	pc_acpi_platform(f.pc, &acpi);
	assert_int_equal(acpi.cpus, 2);
	assert_int_equal(acpi_build(&acpi, ACPI_TABLES_BASE, ACPI_TABLES_SIZE, &tables, &e), 0);
	strbuf_release(&tables);
}

static void test_time_stands_while_paused(void **state)
{
	uint64_t t;

	pc_pause(f.pc, true);
	t = clock_now(f.pc->clock);
	sleep_ns(5 * MS);
	assert_int_equal(clock_now(f.pc->clock), t);
	pc_pause(f.pc, false);
	sleep_ns(1 * MS);
	assert_true(clock_now(f.pc->clock) > t);
}

static void test_all_states(void **state)
{
	struct device *d;

	out(0x43, 1, 0x34);
	out(0x40, 2, 0x1000);
	lapic_write(0, 0x320, 0x20050);
	lapic_write(0, 0x380, 100000);
	sleep_ns(5 * MS);
	pc_pause(f.pc, true);
	list_for_each(d, &f.pc->devices, node)
		if (d->ops->state)
			check_round_trip(NULL, d);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_config_errors), T(test_memory_map), T(test_pic_path), T(test_ioapic_path),
		T(test_serial_interrupt), T(test_events), T(test_reset), T(test_firmware_data),
		T(test_time_stands_while_paused), T(test_all_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
