/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APICs: three of them on a bus, through the page, the MSRs and messages. */
#include "dev_test.h"

#include "dev/intc/lapic.h"

#define CPUS 3
#define PAGE 0xfee00000ull
#define APIC_BASE 0x1b
#define TSC_DEADLINE 0x6e0
#define EN 0x800
#define EXTD 0x400
#define BSP 0x100

/* Page offsets */
enum {
	ID = 0x20, VER = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0, ISR = 0x100,
	TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR2 = 0x310, LVT_TIMER = 0x320, LVT_PERF = 0x340,
	LVT_LINT0 = 0x350, LVT_LINT1 = 0x360, LVT_ERROR = 0x370, INITIAL = 0x380, CURRENT = 0x390, DIVIDE = 0x3e0,
	SELF = 0x3f0,
};

struct cpu {
	struct lapic *l;
	struct cpu_intc ic;
	_Atomic unsigned events[CPU_EVENT_SIPI + 1];
	_Atomic unsigned sipi_vector;
};

struct fixture {
	struct bench b;
	struct lapic_bus *bus;
	struct cpu cpu[CPUS];
	struct msi_sink msi;
	struct irq_line lint[2];
	int eoi;       /* last broadcast vector */
	unsigned eois;
	int ext_vector;
	uint64_t tsc_offset;
};

static struct fixture f;

static void kicked(void *vcpu, enum cpu_event ev, unsigned arg)
{
	struct cpu *c = vcpu;

	atomic_fetch_add(&c->events[ev], 1);
	if (ev == CPU_EVENT_SIPI)
		c->sipi_vector = arg;
}

static void got_eoi(void *opaque, uint8_t vector)
{
	f.eoi = vector;
	f.eois++;
}

static int ext_ack(void *opaque)
{
	return f.ext_vector;
}

static uint64_t tsc_now(void *opaque)
{
	return host_tsc() + f.tsc_offset;
}

static uint32_t rd(unsigned cpu, unsigned off)
{
	uint64_t val = 0;

	assert_true(f.cpu[cpu].ic.ops->mmio(f.cpu[cpu].ic.opaque, PAGE + off, 4, false, &val));
	return val;
}

static void wr(unsigned cpu, unsigned off, uint32_t v)
{
	uint64_t val = v;

	assert_true(f.cpu[cpu].ic.ops->mmio(f.cpu[cpu].ic.opaque, PAGE + off, 4, true, &val));
}

static bool rdmsr(unsigned cpu, uint32_t msr, uint64_t *val)
{
	return f.cpu[cpu].ic.ops->rdmsr(f.cpu[cpu].ic.opaque, msr, val);
}

static uint64_t msr(unsigned cpu, uint32_t n)
{
	uint64_t val = 0;

	assert_true(rdmsr(cpu, n, &val));
	return val;
}

static bool wrmsr(unsigned cpu, uint32_t n, uint64_t val)
{
	return f.cpu[cpu].ic.ops->wrmsr(f.cpu[cpu].ic.opaque, n, val);
}

/* An x2APIC MSR by the register's page offset. */
static uint32_t x2(unsigned off)
{
	return 0x800 + off / 16;
}

static bool pending(unsigned cpu)
{
	return f.cpu[cpu].ic.ops->pending(f.cpu[cpu].ic.opaque);
}

static int ack(unsigned cpu)
{
	return f.cpu[cpu].ic.ops->ack(f.cpu[cpu].ic.opaque);
}

static void send_msi(uint64_t addr, uint32_t data)
{
	msi_send(&f.msi, (struct msi_msg){ addr, data });
}

static void ipi(unsigned from, uint8_t dest, uint32_t icr)
{
	wr(from, ICR2, (uint32_t)dest << 24);
	wr(from, ICR, icr);
}

static int setup(void **state)
{
	struct lapic_bus_config bc = { .cpus = CPUS, .eoi = got_eoi, .ext_ack = ext_ack };

	f = (struct fixture){ .eoi = -1 };
	bench_init(&f.b);
	f.bus = lapic_bus_new(&bc);
	for (unsigned i = 0; i < CPUS; i++) {
		struct lapic_config c = {
			.id = i, .bsp = i == 0, .gpa_bits = 40, .clock = f.b.clock,
			.kick = { kicked, &f.cpu[i] }, .tsc_now = tsc_now,
		};

		f.cpu[i].l = lapic_new(f.bus, &c);
		f.cpu[i].ic = lapic_intc(f.cpu[i].l);
		wr(i, SVR, 0x1ff);
	}
	f.msi = lapic_bus_msi(f.bus);
	f.lint[0] = lapic_bus_lint(f.bus, 0);
	f.lint[1] = lapic_bus_lint(f.bus, 1);
	return 0;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < CPUS; i++)
		free_device(f.cpu[i].l);
	lapic_bus_free(f.bus);
	bench_release(&f.b);
	return 0;
}

/* SDM vol. 3, 11.4.7.1: state after power-up. */
static void test_reset_values(void **state)
{
	reset_device(f.cpu[1].l);
	assert_int_equal(rd(1, ID), 1 << 24);
	assert_int_equal(rd(1, VER), 0x01050014);
	assert_int_equal(rd(1, SVR), 0xff);
	assert_int_equal(rd(1, DFR), 0xffffffff);
	for (unsigned off = LVT_TIMER; off <= LVT_ERROR; off += 16)
		assert_int_equal(rd(1, off), 0x10000);
	assert_int_equal(rd(1, LDR) | rd(1, TPR) | rd(1, ICR) | rd(1, INITIAL) | rd(1, DIVIDE) | rd(1, ESR), 0);
	assert_int_equal(msr(0, APIC_BASE), PAGE | EN | BSP);
	assert_int_equal(msr(1, APIC_BASE), PAGE | EN);
	/* Disabled by software: LVT masks cannot be cleared, and fixed interrupts are refused. */
	wr(1, LVT_TIMER, 0x30);
	assert_int_equal(rd(1, LVT_TIMER), 0x10030);
	ipi(0, 1, 0x40);
	assert_false(pending(1));
}

static void test_accept_and_priority(void **state)
{
	ipi(0, 1, 0x55);
	assert_true(pending(1));
	assert_true(f.cpu[1].events[CPU_EVENT_INTR] > 0);
	assert_int_equal(rd(1, IRR + 0x20), 1 << (0x55 - 0x40));
	ipi(0, 1, 0x91);
	assert_int_equal(ack(1), 0x91);
	assert_int_equal(rd(1, PPR), 0x90);
	assert_false(pending(1)); /* 0x55 is lower than what is in service */
	ipi(0, 1, 0x9f);
	assert_false(pending(1)); /* the same class */
	ipi(0, 1, 0xa0);
	assert_int_equal(ack(1), 0xa0);
	wr(1, EOI, 0);
	assert_false(pending(1));
	wr(1, EOI, 0);
	assert_int_equal(ack(1), 0x9f);
	wr(1, EOI, 0);
	assert_int_equal(ack(1), 0x55);
	wr(1, EOI, 0);
	wr(1, EOI, 0); /* nothing in service: no effect */
	assert_int_equal(ack(1), -1);
	assert_int_equal(f.eois, 0); /* edge-triggered: no broadcast */
}

static void test_task_priority(void **state)
{
	const struct cpu_intc *ic = &f.cpu[0].ic;

	ic->ops->set_tpr(ic->opaque, 5);
	assert_int_equal(rd(0, TPR), 0x50);
	wr(0, ICR, 0x40000 | 0x5f); /* self */
	assert_false(pending(0));
	assert_int_equal(ack(0), -1);
	wr(0, TPR, 0x4f);
	assert_int_equal(ic->ops->get_tpr(ic->opaque), 4);
	assert_int_equal(rd(0, PPR), 0x4f);
	assert_true(pending(0));
	assert_int_equal(ack(0), 0x5f);
}

static void test_shorthands(void **state)
{
	wr(1, ICR, 0x80000 | 0x61); /* all including self */
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(ack(i), 0x61);
	wr(1, ICR, 0xc0000 | 0x72); /* all but self */
	assert_int_equal(ack(0), 0x72);
	assert_int_equal(ack(1), -1);
	assert_int_equal(ack(2), 0x72);
	wr(1, ICR, 0x40000 | 0x83); /* self */
	assert_int_equal(ack(1), 0x83);
	wr(1, ICR, 0x40000 | 0x400); /* NMI to self is not valid, table 11-3 */
	assert_int_equal(f.cpu[1].events[CPU_EVENT_NMI], 0);
	ipi(1, 0xff, 0x94); /* physical broadcast */
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(ack(i), 0x94);
}

static void test_init_sipi_nmi(void **state)
{
	ipi(0, 1, 0x4500);
	assert_int_equal(f.cpu[1].events[CPU_EVENT_INIT], 1);
	ipi(0, 1, 0x8500); /* INIT level de-assert does nothing */
	assert_int_equal(f.cpu[1].events[CPU_EVENT_INIT], 1);
	ipi(0, 1, 0x4699);
	assert_int_equal(f.cpu[1].events[CPU_EVENT_SIPI], 1);
	assert_int_equal(f.cpu[1].sipi_vector, 0x99);
	wr(0, ICR, 0xc4400);
	assert_int_equal(f.cpu[1].events[CPU_EVENT_NMI], 1);
	assert_int_equal(f.cpu[2].events[CPU_EVENT_NMI], 1);
	assert_int_equal(f.cpu[0].events[CPU_EVENT_NMI], 0);
	ipi(0, 2, 0x4200);
	assert_int_equal(f.cpu[2].events[CPU_EVENT_SMI], 1);
	/* INIT keeps the id and IA32_APIC_BASE, 11.4.7.3. */
	wrmsr(2, APIC_BASE, PAGE | EN | EXTD);
	assert_true(wrmsr(2, x2(TPR), 0x20));
	f.cpu[2].ic.ops->reset(f.cpu[2].ic.opaque, true);
	assert_int_equal(msr(2, APIC_BASE), PAGE | EN | EXTD);
	assert_int_equal(msr(2, x2(TPR)), 0);
	assert_int_equal(msr(2, x2(SVR)), 0xff);
}

static void test_logical_flat_and_cluster(void **state)
{
	for (unsigned i = 0; i < CPUS; i++)
		wr(i, LDR, 1u << (24 + i));
	ipi(0, 0x06, 0x800 | 0x41);
	assert_int_equal(ack(0), -1);
	assert_int_equal(ack(1), 0x41);
	assert_int_equal(ack(2), 0x41);
	for (unsigned i = 0; i < CPUS; i++) {
		wr(i, EOI, 0);
		wr(i, DFR, 0x0fffffff);
	}
	wr(0, LDR, 0x11000000);
	wr(1, LDR, 0x12000000);
	wr(2, LDR, 0x21000000);
	ipi(0, 0x13, 0x800 | 0x42); /* cluster 1, members 0 and 1 */
	assert_int_equal(ack(0), 0x42);
	assert_int_equal(ack(1), 0x42);
	assert_int_equal(ack(2), -1);
	for (unsigned i = 0; i < CPUS; i++)
		wr(i, EOI, 0);
	ipi(0, 0xf1, 0x800 | 0x43); /* member 0 of all clusters */
	assert_int_equal(ack(0), 0x43);
	assert_int_equal(ack(1), -1);
	assert_int_equal(ack(2), 0x43);
}

static void test_lowest_priority(void **state)
{
	unsigned taken[CPUS] = { 0 };

	wr(0, TPR, 0x60);
	wr(2, TPR, 0x30);
	wr(1, TPR, 0x40);
	ipi(0, 0xff, 0x100 | 0x71);
	assert_int_equal(ack(2), 0x71); /* now at priority 0x70 */
	send_msi(PAGE | 0xff000 | 8, 0x72); /* redirection hint */
	assert_int_equal(ack(1), 0x72);
	wr(1, EOI, 0);
	wr(2, EOI, 0);
	for (unsigned i = 0; i < CPUS; i++)
		wr(i, TPR, 0);
	for (unsigned n = 0; n < 30; n++) {
		send_msi(PAGE | 0xff000, 0x100 | 0x50);
		for (unsigned i = 0; i < CPUS; i++) {
			if (ack(i) == 0x50) {
				taken[i]++;
				wr(i, EOI, 0);
			}
		}
	}
	assert_int_equal(taken[0] + taken[1] + taken[2], 30);
	assert_true(taken[0] && taken[1] && taken[2]); /* among equals the turn goes round */
}

static void test_level_and_eoi(void **state)
{
	send_msi(PAGE | 0x1000, 0xc000 | 0x66);
	assert_int_equal(rd(1, TMR + 0x30), 1 << (0x66 - 0x60));
	assert_int_equal(ack(1), 0x66);
	assert_int_equal(f.eois, 0);
	wr(1, EOI, 0);
	assert_int_equal(f.eois, 1);
	assert_int_equal(f.eoi, 0x66);
	wr(1, SVR, 0x11ff); /* EOI broadcast suppressed */
	send_msi(PAGE | 0x1000, 0xc000 | 0x66);
	assert_int_equal(ack(1), 0x66);
	wr(1, EOI, 0);
	assert_int_equal(f.eois, 1);
	send_msi(PAGE | 0x1000, 0x66); /* edge now: TMR clears */
	assert_int_equal(rd(1, TMR + 0x30), 0);
	send_msi(0xfed00000 | 0x1000, 0x67); /* not the APICs' window */
	send_msi(PAGE | 0x1000, 0x600 | 0x67); /* no SIPI from there */
	assert_int_equal(f.cpu[1].events[CPU_EVENT_SIPI], 0);
	assert_int_equal(rd(1, IRR + 0x30), 1 << (0x66 - 0x60));
}

static void test_errors(void **state)
{
	wr(0, LVT_ERROR, 0xfe);
	wr(0, ICR, 0x40000 | 0x05);
	assert_int_equal(ack(0), 0xfe);
	assert_int_equal(rd(0, ESR), 0); /* latched by a write only */
	wr(0, ESR, 0);
	assert_int_equal(rd(0, ESR), 0x20); /* send illegal vector */
	wr(0, ESR, 0);
	assert_int_equal(rd(0, ESR), 0);
	send_msi(PAGE, 0x0f);
	wr(0, ESR, 0);
	assert_int_equal(rd(0, ESR), 0x40); /* receive illegal vector */
	rd(0, 0x2f0);
	wr(0, 0x50, 1);
	wr(0, ESR, 0);
	assert_int_equal(rd(0, ESR), 0x80); /* illegal register address */
	wr(0, LVT_ERROR, 0x01); /* an illegal vector for the error itself must not recurse */
	rd(0, 0x2f0);
	wr(0, ESR, 0);
	assert_int_equal(rd(0, ESR), 0xc0);
}

static void test_ext_int(void **state)
{
	f.ext_vector = 0x33;
	irq_set(&f.lint[0], true);
	assert_false(pending(0)); /* LINT0 is masked */
	lapic_virtual_wire(f.cpu[0].l);
	assert_true(pending(0));
	assert_false(pending(1));
	wr(0, TPR, 0xff);
	assert_true(pending(0)); /* ExtINT knows no priority */
	assert_int_equal(ack(0), 0x33);
	assert_int_equal(rd(0, ISR + 0x10), 0);
	irq_set(&f.lint[0], false);
	assert_false(pending(0));
	assert_int_equal(ack(0), -1);
	/* As an IOAPIC message. */
	send_msi(PAGE | 0x1000, 0x700);
	assert_int_equal(ack(1), 0x33);
	assert_int_equal(ack(1), -1);
	/* The APIC disabled: LINT0 is the processor's INTR. */
	assert_true(wrmsr(2, APIC_BASE, PAGE));
	irq_set(&f.lint[0], true);
	assert_true(pending(2));
	irq_set(&f.lint[1], true);
	assert_int_equal(f.cpu[2].events[CPU_EVENT_NMI], 1);
}

static void test_lint_modes(void **state)
{
	wr(0, LVT_LINT1, 0x400);
	irq_pulse(&f.lint[1]);
	assert_int_equal(f.cpu[0].events[CPU_EVENT_NMI], 1);
	assert_int_equal(f.cpu[1].events[CPU_EVENT_NMI], 0);
	wr(1, LVT_LINT0, 0x44); /* fixed, edge */
	irq_set(&f.lint[0], true);
	assert_int_equal(ack(1), 0x44);
	wr(1, EOI, 0);
	assert_int_equal(ack(1), -1);
	wr(1, LVT_LINT0, 0x8045); /* fixed, level: asserted still */
	assert_int_equal(rd(1, LVT_LINT0), 0xc045);
	assert_int_equal(ack(1), 0x45);
	wr(1, EOI, 0);
	assert_int_equal(ack(1), 0x45);
	irq_set(&f.lint[0], false);
	wr(1, EOI, 0);
	assert_int_equal(ack(1), -1);
	assert_int_equal(rd(1, LVT_LINT0), 0x8045);
}

/* SDM vol. 3, figure 11-27 */
static void test_mode_transitions(void **state)
{
	uint64_t val;

	assert_false(wrmsr(0, APIC_BASE, PAGE | EXTD));      /* x2APIC bit without enable */
	assert_false(wrmsr(0, APIC_BASE, PAGE | EN | 1));    /* reserved */
	assert_false(wrmsr(0, APIC_BASE, PAGE | EN | 1ull << 40)); /* beyond MAXPHYADDR */
	assert_false(rdmsr(0, x2(ID), &val));                /* xAPIC mode: no MSRs */
	assert_true(wrmsr(0, APIC_BASE, PAGE | EN | EXTD));
	assert_false(wrmsr(0, APIC_BASE, PAGE | EN));        /* x2APIC to xAPIC */
	assert_false(f.cpu[0].ic.ops->mmio(f.cpu[0].ic.opaque, PAGE + ID, 4, false, &val));
	assert_true(wrmsr(0, APIC_BASE, PAGE));              /* disable */
	assert_false(wrmsr(0, APIC_BASE, PAGE | EN | EXTD)); /* disabled to x2APIC */
	assert_false(f.cpu[0].ic.ops->mmio(f.cpu[0].ic.opaque, PAGE + ID, 4, false, &val));
	assert_true(wrmsr(0, APIC_BASE, PAGE | EN));
	assert_int_equal(rd(0, SVR), 0xff); /* as after power-up */
	assert_true(wrmsr(0, APIC_BASE, 0x12345000 | EN)); /* the page moves */
	assert_false(f.cpu[0].ic.ops->mmio(f.cpu[0].ic.opaque, PAGE + ID, 4, false, &val));
	assert_true(f.cpu[0].ic.ops->mmio(f.cpu[0].ic.opaque, 0x12345000 + VER, 4, false, &val));
	assert_int_equal(val, 0x01050014);
}

static void test_x2apic(void **state)
{
	uint64_t val;

	for (unsigned i = 0; i < CPUS; i++)
		assert_true(wrmsr(i, APIC_BASE, PAGE | EN | EXTD | (i ? 0 : BSP)));
	assert_int_equal(msr(2, x2(ID)), 2);
	assert_int_equal(msr(2, x2(LDR)), 4);
	assert_false(rdmsr(0, x2(DFR), &val));
	assert_false(rdmsr(0, x2(ICR2), &val));
	assert_false(rdmsr(0, x2(EOI), &val));
	assert_false(rdmsr(0, x2(SELF), &val));
	assert_false(rdmsr(0, 0x8ff, &val));
	assert_false(wrmsr(0, x2(ID), 0));
	assert_false(wrmsr(0, x2(LDR), 0));
	assert_false(wrmsr(0, x2(PPR), 0));
	assert_false(wrmsr(0, x2(DFR), 0));
	assert_false(wrmsr(0, x2(ICR2), 0));
	assert_false(wrmsr(0, x2(EOI), 1));
	assert_false(wrmsr(0, x2(ESR), 1));
	assert_false(wrmsr(0, x2(TPR), 0x100));
	assert_false(wrmsr(0, x2(SVR), 0x2ff));
	assert_false(wrmsr(0, x2(ICR), 0x1000));
	assert_false(wrmsr(0, x2(LVT_TIMER), 0x80000));
	assert_false(wrmsr(0, x2(SELF), 0x100));
	assert_true(wrmsr(0, x2(ICR), 2ull << 32 | 0x77));
	assert_int_equal(msr(0, x2(ICR)), 2ull << 32 | 0x77);
	assert_int_equal(ack(2), 0x77);
	assert_true(wrmsr(0, x2(ICR), 6ull << 32 | 0x800 | 0x78)); /* cluster 0, CPUs 1 and 2 */
	assert_int_equal(ack(1), 0x78);
	assert_true(wrmsr(2, x2(EOI), 0));
	assert_int_equal(ack(2), 0x78);
	assert_true(wrmsr(0, x2(ICR), 0xffffffffull << 32 | 0x99)); /* broadcast */
	assert_int_equal(ack(0), 0x99);
	assert_int_equal(ack(1), 0x99);
	assert_true(wrmsr(0, x2(ICR), 0xffull << 32 | 0xaa)); /* no such CPU */
	assert_int_equal(ack(1), -1);
	assert_true(wrmsr(1, x2(SELF), 0xbb));
	assert_int_equal(ack(1), 0xbb);
	send_msi(PAGE | 0xff000, 0xcc); /* 8-bit broadcast of a message */
	assert_int_equal(ack(2), 0xcc);
}

static bool is_pending0(void *opaque)
{
	return pending(0);
}

static void test_timer_oneshot(void **state)
{
	uint32_t now;

	wr(0, LVT_TIMER, 0x40);
	wr(0, DIVIDE, 0x3); /* by 16 */
	wr(0, INITIAL, 3000000 / 16); /* 3 ms */
	now = rd(0, CURRENT);
	assert_true(now > 0 && now <= 3000000 / 16);
	assert_false(pending(0));
	assert_true(wait_for(is_pending0, NULL, 1000));
	assert_int_equal(ack(0), 0x40);
	assert_int_equal(rd(0, CURRENT), 0);
	wr(0, EOI, 0);
	sleep_ns(5 * MS);
	assert_false(pending(0)); /* once */
	wr(0, INITIAL, 2000000);
	wr(0, INITIAL, 0); /* stopped */
	sleep_ns(40 * MS);
	assert_false(pending(0));
	wr(0, LVT_TIMER, 0x10040);
	wr(0, INITIAL, 100000 / 16);
	sleep_ns(5 * MS);
	wr(0, LVT_TIMER, 0x40); /* ran out while masked: gone */
	sleep_ns(5 * MS);
	assert_false(pending(0));
}

static void test_timer_periodic(void **state)
{
	uint64_t start;
	unsigned n = 0;

	wr(0, LVT_TIMER, 0x20041);
	wr(0, DIVIDE, 0xb); /* by 1 */
	start = clock_now(f.b.clock);
	wr(0, INITIAL, 2 * MS);
	while (clock_now(f.b.clock) - start < 41 * MS) {
		if (ack(0) == 0x41) {
			n++;
			wr(0, EOI, 0);
		}
		sleep_ns(100 * US);
	}
	assert_in_range(n, 5, 21); /* the host may be busy; never more than there were periods */
	wr(0, INITIAL, 1); /* 1 ns: must not drown the host */
	sleep_ns(20 * MS);
	assert_true(pending(0));
	wr(0, INITIAL, 0);
}

static void test_timer_divide(void **state)
{
	static const struct {
		uint32_t dcr, divisor;
	} d[] = { { 0xb, 1 }, { 0, 2 }, { 1, 4 }, { 2, 8 }, { 3, 16 }, { 8, 32 }, { 9, 64 }, { 0xa, 128 } };

	for (unsigned i = 0; i < sizeof(d) / sizeof(d[0]); i++) {
		uint64_t t0, t1, t2, t3;
		uint32_t a, b;

		wr(0, DIVIDE, d[i].dcr);
		assert_int_equal(rd(0, DIVIDE), d[i].dcr);
		wr(0, INITIAL, 0xffffffff);
		t0 = clock_now(f.b.clock);
		a = rd(0, CURRENT);
		t1 = clock_now(f.b.clock);
		sleep_ns(1 * MS);
		t2 = clock_now(f.b.clock);
		b = rd(0, CURRENT);
		t3 = clock_now(f.b.clock);
		assert_in_range(a - b, (t2 - t1) / d[i].divisor, (t3 - t0) / d[i].divisor + 1);
	}
}

static void test_tsc_deadline(void **state)
{
	uint64_t hz = clock_tsc_hz(f.b.clock), due;

	assert_true(wrmsr(0, TSC_DEADLINE, host_tsc() + hz)); /* not in that mode: ignored */
	assert_int_equal(msr(0, TSC_DEADLINE), 0);
	wr(0, LVT_TIMER, 0x40042);
	wr(0, INITIAL, 1); /* ignored in this mode */
	assert_int_equal(rd(0, CURRENT), 0);
	f.tsc_offset = 1ull << 60; /* the guest's TSC is its own */
	due = tsc_now(NULL) + hz / 200;
	assert_true(wrmsr(0, TSC_DEADLINE, due));
	assert_int_equal(msr(0, TSC_DEADLINE), due);
	assert_true(wait_for(is_pending0, NULL, 1000));
	assert_true(tsc_now(NULL) >= due); /* never early */
	assert_int_equal(ack(0), 0x42);
	assert_int_equal(msr(0, TSC_DEADLINE), 0);
	wr(0, EOI, 0);
	assert_true(wrmsr(0, TSC_DEADLINE, tsc_now(NULL) - 1)); /* past: at once */
	assert_int_equal(ack(0), 0x42);
	wr(0, EOI, 0);
	assert_true(wrmsr(0, TSC_DEADLINE, tsc_now(NULL) + hz / 100));
	assert_true(wrmsr(0, TSC_DEADLINE, 0)); /* disarmed */
	sleep_ns(20 * MS);
	assert_false(pending(0));
	assert_true(wrmsr(0, TSC_DEADLINE, ~0ull));
	wr(0, LVT_TIMER, 0x42); /* leaving the mode disarms */
	assert_int_equal(msr(0, TSC_DEADLINE), 0);
}

static void test_odd_accesses(void **state)
{
	uint64_t val = 0;

	assert_true(f.cpu[1].ic.ops->mmio(f.cpu[1].ic.opaque, PAGE + ID + 3, 1, false, &val));
	assert_int_equal(val, 1);
	assert_true(f.cpu[1].ic.ops->mmio(f.cpu[1].ic.opaque, PAGE + ID + 8, 8, false, &val));
	assert_int_equal(val, 0);
	val = 0x55;
	assert_true(f.cpu[1].ic.ops->mmio(f.cpu[1].ic.opaque, PAGE + TPR, 1, true, &val));
	assert_int_equal(rd(1, TPR), 0); /* narrow writes are ignored */
	val = 0xaaaaaaaa00000055;
	assert_true(f.cpu[1].ic.ops->mmio(f.cpu[1].ic.opaque, PAGE + TPR, 8, true, &val));
	assert_int_equal(rd(1, TPR), 0x55);
}

static void test_state(void **state)
{
	wr(1, TPR, 0x20);
	ipi(0, 1, 0x91);
	ack(1);
	ipi(0, 1, 0xa2);
	wr(1, LVT_TIMER, 0x20050);
	wr(1, INITIAL, 1000000000);
	wr(1, ICR2, 0x02000000);
	check_round_trip(f.b.clock, f.cpu[1].l);
	assert_true(pending(1));
	assert_int_equal(rd(1, PPR), 0x90);
	assert_int_equal(ack(1), 0xa2);
	assert_true(rd(1, CURRENT) > 0);
	/* A restored deadline fires. */
	wr(0, LVT_TIMER, 0x40042);
	wrmsr(0, TSC_DEADLINE, host_tsc() + clock_tsc_hz(f.b.clock) / 50);
	check_round_trip(f.b.clock, f.cpu[0].l);
	assert_true(wait_for(is_pending0, NULL, 1000));
}

static void poke(void *opaque)
{
	const struct cpu_intc *ic = &f.cpu[1].ic;
	uint64_t val;

	send_msi(PAGE | 0xff000, 0xc031);
	for (unsigned off = 0; off < 0x1000; off += 16) {
		val = 0;
		ic->ops->mmio(ic->opaque, PAGE + off, 4, false, &val);
		ic->ops->rdmsr(ic->opaque, 0x800 + off / 16, &val);
	}
	for (unsigned i = 0; i < 3; i++) {
		ack(1);
		val = 0;
		ic->ops->mmio(ic->opaque, PAGE + EOI, 4, true, &val);
		ic->ops->wrmsr(ic->opaque, x2(EOI), 0);
	}
	irq_pulse(&f.lint[0]);
}

static void test_hostile_state(void **state)
{
	ipi(0, 1, 0x91);
	wr(1, LVT_TIMER, 0x20050);
	wr(1, INITIAL, 1000000000);
	check_hostile_state(f.b.clock, f.cpu[1].l, poke, NULL);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_reset_values), T(test_accept_and_priority), T(test_task_priority), T(test_shorthands),
		T(test_init_sipi_nmi), T(test_logical_flat_and_cluster), T(test_lowest_priority),
		T(test_level_and_eoi), T(test_errors), T(test_ext_int), T(test_lint_modes),
		T(test_mode_transitions), T(test_x2apic), T(test_timer_oneshot), T(test_timer_periodic),
		T(test_timer_divide), T(test_tsc_deadline), T(test_odd_accesses), T(test_state),
		T(test_hostile_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
