/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small devices that can be plugged in by name: flash, the parallel port, and what tests of guests and of hypervisors use. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "dev/char/parallel.h"
#include "dev/misc/pc_testdev.h"
#include "dev/misc/pci_testdev.h"
#include "dev/misc/pvpanic.h"
#include "machine/board.h"
#include "machine/firmware.h"

/* -- cfi.pflash01 ---------------------------------------------------------------------------------------- */

static int plug_pflash(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	return firmware_add_flash(pc, cfg->blk, e);
}

/* -- isa-parallel ---------------------------------------------------------------------------------------- */

#define IRQ_MAX 15

static const struct device_prop_spec parallel_props[] = {
	{ "iobase", PROP_UINT, 0x100, 0xfffc, "0x378", "first of its three ports" },
	{ "irq", PROP_UINT, 3, IRQ_MAX, "7", "interrupt" },
	{ "index", PROP_UINT, 0, 0, "0", "there is one" },
	{ 0 },
};

static int plug_parallel(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	struct irq_line irq = irq_router_source(pc->chips->router, (unsigned)device_prop_uint(cfg, "irq"));
	struct parallel *p = board_add(pc, parallel_new(irq, cfg->chr));

	return parallel_attach(p, pc->pio, (uint16_t)device_prop_uint(cfg, "iobase"));
}

/* -- pvpanic --------------------------------------------------------------------------------------------- */

static const struct device_prop_spec pvpanic_props[] = {
	{ "ioport", PROP_UINT, 0x100, UINT16_MAX, "0x505", "the port" },
	{ "events", PROP_UINT, 1, PVPANIC_PANICKED | PVPANIC_CRASHLOADED, "3", "1 panicked, 2 panicked and writes a dump" },
	{ 0 },
};

/* A guest that writes its dump goes on until it resets or ends itself. */
static void panicked(void *opaque, uint8_t events)
{
	log_msg(LOG_WARN, "the guest says that it has panicked%s",
		events & PVPANIC_PANICKED ? "" : ", and that it writes a dump of itself");
	if (events & PVPANIC_PANICKED)
		pc_tell(opaque, PC_EVENT_SHUTDOWN, PC_CAUSE_PANIC, events);
}

static int plug_pvpanic(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	struct pvpanic *p = board_add(pc, pvpanic_new((uint8_t)device_prop_uint(cfg, "events"), panicked, pc));

	pc->chips->pvpanic_port = (uint16_t)device_prop_uint(cfg, "ioport");
	return pvpanic_attach(p, pc->pio, pc->chips->pvpanic_port);
}

/* -- pc-testdev ------------------------------------------------------------------------------------------ */

/* Where test suites for QEMU and KVM look for it. */
static const struct pc_testdev_places testdev_places = {
	.data = 0xe0, .flush = 0xe4, .data_bytes = 0xe8, .irq = 0x2000, .mem = 0xff000000,
};

static int plug_testdev(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	struct irq_line irq[PC_TESTDEV_IRQS];

	for (unsigned i = 0; i < PC_TESTDEV_IRQS; i++)
		irq[i] = irq_router_line(pc->chips->router, i);
	return pc_testdev_attach(board_add(pc, pc_testdev_new(irq)), pc->pio, pc->mem, &testdev_places);
}

/* -- pci-testdev ----------------------------------------------------------------------------------------- */

static int plug_pci_testdev(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	uint8_t devfn;
	int rc = device_pci_devfn(pc, cfg, &devfn, e);

	if (!rc)
		board_add(pc, pci_testdev_new(pc->chips->pci, devfn));
	return rc;
}

/* -- hpet ------------------------------------------------------------------------------------------------ */

static int plug_hpet(struct pc *pc, const struct device_config *cfg, struct err *e)
{
	int rc = board_add_hpet(pc);

	return rc ? err_set(e, -rc, "device '%s': there is one already", cfg->driver) : 0;
}

const struct device_driver misc_drivers[] = {
	{ "cfi.pflash01", "flash with firmware (the first one) or its variables", DEVICE_BUS_SYSTEM, DEVICE_NEEDS_BLK, NULL,
	  plug_pflash },
	{ "isa-parallel", "parallel port; what is printed comes out on the host", DEVICE_BUS_ISA, DEVICE_NEEDS_CHR, parallel_props,
	  plug_parallel },
	{ "pvpanic", "a port by which a guest says that it has panicked: its end", DEVICE_BUS_ISA, 0, pvpanic_props, plug_pvpanic },
	{ "hpet", "high precision event timers", DEVICE_BUS_SYSTEM, 0, NULL, plug_hpet },
	{ "pc-testdev", "ports, memory and interrupts for x86 unit tests", DEVICE_BUS_ISA, 0, NULL, plug_testdev },
	{ "pci-testdev", "a PCI function that counts writes, for unit tests", DEVICE_BUS_PCI, 0, NULL, plug_pci_testdev },
	{ 0 },
};
