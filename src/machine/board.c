/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PC's board as a schematic: chips of the IBM AT and of an i440FX-class chipset, with IOAPIC, local
 * APICs and ACPI. All port numbers, addresses and interrupt numbers of the machine are in this file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/acpi.h"
#include "dev/char/serial.h"
#include "dev/dma/i8237.h"
#include "dev/input/i8042.h"
#include "dev/intc/ioapic.h"
#include "dev/intc/lapic.h"
#include "dev/intc/pic.h"
#include "dev/misc/a20.h"
#include "dev/misc/fw_cfg.h"
#include "dev/misc/pam.h"
#include "dev/misc/pci_host.h"
#include "dev/misc/piix.h"
#include "dev/misc/reset_ctl.h"
#include "dev/storage/floppy.h"
#include "dev/storage/ide.h"
#include "dev/timer/acpi_pm.h"
#include "dev/timer/hpet.h"
#include "dev/timer/pit.h"
#include "dev/timer/rtc.h"
#include "dev/video/vga.h"
#include "machine/board.h"
#include "machine/bootorder.h"
#include "machine/devices.h"
#include "virtio/transport_mmio.h"
#include "machine/firmware.h"

/* Memory */
#define VGA_BASE       0xa0000ull
#define VGA_END        0xc0000ull
#define HIGH_RAM_BASE  (4 * GiB)
#define IOAPIC_BASE    0xfec00000u
#define LAPIC_BASE     0xfee00000u
#define HPET_BASE      0xfed00000u
#define PCI_MMIO_MIN   (2 * GiB) /* where the window for BARs begins at the lowest */
#define PCI_MMIO64_BITS 41       /* twice what RAM can be */

#define VIRTIO_MMIO_BASE 0xfef00000u /* between the local APICs and the top */
#define VIRTIO_MMIO_STEP 0x1000u

/* Ports */
#define PIC_MASTER_PORT 0x20
#define PIC_SLAVE_PORT  0xa0
#define ELCR_PORT       0x4d0
#define PIT_PORT        0x40
#define DMA_LOW_PORT    0x00
#define DMA_HIGH_PORT   0xc0
#define DMA_PAGE_PORT   0x80
#define I8042_DATA_PORT 0x60
#define PORT_B          0x61
#define I8042_CMD_PORT  0x64
#define RTC_PORT        0x70
#define PORT_A          0x92
#define PM_PORT         0x600
#define SMB_PORT        0x700
#define PCI_CONFIG_PORT 0xcf8
#define FW_CFG_PORT     0x510
#define RESET_PORT      0xcf9
#define RESET_VALUE     0x06 /* system reset, go */
#define PCI_IO_BASE     0x1000 /* BARs in ports: above all ISA decodes */
#define PCI_IO_SIZE     0xf000

/* Interrupts: ISA numbers, and inputs of the IOAPIC above them */
#define ISA_IRQS  16
#define IRQ_TIMER 0
#define IRQ_KBD   1
#define IRQ_CASCADE 2
#define IRQ_FLOPPY 6
#define IRQ_RTC   8
#define IRQ_SCI   9
#define IRQ_AUX   12
#define GSI_TIMER 2 /* the timer's place on the IOAPIC, where ISA has the cascade */
#define GSI_PCI0  16
#define GSI_MMIO0 20 /* four inputs that nothing else has, shared by turns */
#define MMIO_GSIS 4

/* DMA channels */
#define DMA_FLOPPY 2

/* PCI slots */
#define PIIX_ISA_DEVFN PCI_DEVFN(1, 0)
#define PIIX_PM_DEVFN  PCI_DEVFN(1, 3)

#define S5_TYPE 0 /* as firmware for QEMU has it built in */

/* Where firmware routes the PCI bus' wires. */
static const uint8_t pirq_irq[PCI_PINS] = { 10, 10, 11, 11 };

static const struct {
	uint16_t port;
	uint8_t irq;
} com[PC_SERIAL_PORTS] = { { PC_COM1_PORT, 4 }, { 0x2f8, 3 } };

static const struct {
	uint16_t command, control;
	uint8_t irq;
} ide_ports[IDE_CHANNELS] = { { 0x1f0, 0x3f6, 14 }, { 0x170, 0x376, 15 } };

void *board_add(struct pc *pc, void *chip)
{
	struct device *d = chip;

	list_add_tail(&pc->devices, &d->node);
	return chip;
}

/* -- Callbacks of chips ------------------------------------------------------------------------ */

static void reset_line(void *opaque, unsigned cause, bool level)
{
	if (level)
		pc_tell(opaque, PC_EVENT_RESET, cause, 0);
}

static struct irq_line reset_wire(struct pc *pc, enum pc_cause cause)
{
	return (struct irq_line){ .set = reset_line, .opaque = pc, .n = cause };
}

static void power_off(void *opaque)
{
	pc_tell(opaque, PC_EVENT_SHUTDOWN, PC_CAUSE_ACPI_OFF, 0);
}

static void apic_eoi(void *opaque, uint8_t vector)
{
	struct pc_chips *c = opaque;

	ioapic_eoi(c->ioapic, vector);
}

static int apic_ext_ack(void *opaque)
{
	struct pc_chips *c = opaque;

	return pic_ack(c->pic);
}

static uint64_t tsc_now(void *opaque)
{
	return vcpu_tsc(opaque);
}

/* -- Wiring ------------------------------------------------------------------------------------ */

/* Below 3 GiB without the VGA window and what the host bridge shadows, and above 4 GiB. */
static int map_ram(struct pc *pc)
{
	struct ram *ram = pc->ram;
	struct region *r;
	int rc;

	rc = space_add_ram(pc->mem, &r, "ram-conventional", 0, VGA_BASE, ram, false);
	if (!rc && ram->low_size > PAM_END)
		rc = space_add_ram(pc->mem, &r, "ram-low", PAM_END, ram->low_size - PAM_END, ram, false);
	if (!rc && ram->high_size)
		rc = space_add_ram(pc->mem, &r, "ram-high", HIGH_RAM_BASE, ram->high_size, ram, false);
	return rc;
}

static void wire_lapics(struct pc *pc, struct pc_chips *c)
{
	struct lapic_bus_config bus = {
		.cpus = pc->group.n, .eoi = apic_eoi, .ext_ack = apic_ext_ack, .opaque = c,
	};

	c->lapic_bus = lapic_bus_new(&bus);
	for (unsigned i = 0; i < pc->group.n; i++) {
		struct vcpu *v = pc->group.v[i];
		struct lapic_config lapic = {
			.id = i, .bsp = i == 0, .gpa_bits = pc->policy.gpa_bits, .clock = pc->clock,
			.kick = vcpu_kick(v), .tsc_now = tsc_now, .tsc_opaque = v,
		};

		c->lapic[i] = board_add(pc, lapic_new(c->lapic_bus, &lapic));
		v->intc = lapic_intc(c->lapic[i]);
	}
}

/* ISA interrupts reach the 8259 pair and the IOAPIC; what lies above, only the latter. */
static int wire_interrupts(struct pc *pc, struct pc_chips *c)
{
	int rc;

	wire_lapics(pc, c);
	c->router = irq_router_new();
	irq_router_connect_msi(c->router, lapic_bus_msi(c->lapic_bus));
	c->ioapic = board_add(pc, ioapic_new(irq_router_msi(c->router)));
	c->pic = board_add(pc, pic_new(lapic_bus_lint(c->lapic_bus, 0)));
	for (unsigned n = 0; n < IRQ_ROUTER_INPUTS; n++) {
		if (n == IRQ_CASCADE)
			continue;
		if (n < ISA_IRQS)
			irq_router_connect(c->router, n, pic_input(c->pic, n));
		irq_router_connect(c->router, n, ioapic_input(c->ioapic, n == IRQ_TIMER ? GSI_TIMER : n));
	}
	rc = pic_attach(c->pic, pc->pio, PIC_MASTER_PORT, PIC_SLAVE_PORT, ELCR_PORT);
	return rc ? rc : ioapic_attach(c->ioapic, pc->mem, IOAPIC_BASE);
}

/* It can take the place of the 8254 and of the clock chip, so their wires go through it. */
static void wire_hpet(struct pc *pc, struct pc_chips *c)
{
	struct hpet_config hpet = {
		.clock = pc->clock, .legacy = { irq_router_line(c->router, IRQ_TIMER), irq_router_line(c->router, IRQ_RTC) },
		.first_route = GSI_MMIO0,
	};

	for (unsigned i = 0; i < HPET_ROUTES; i++)
		hpet.route[i] = irq_router_source(c->router, GSI_MMIO0 + i);
	c->hpet = board_add(pc, hpet_new(&hpet));
}

int board_add_hpet(struct pc *pc)
{
	if (pc->chips->has_hpet)
		return -EEXIST;
	pc->chips->has_hpet = true;
	return hpet_attach(pc->chips->hpet, pc->mem, HPET_BASE);
}

static int wire_timers(struct pc *pc, struct pc_chips *c)
{
	struct acpi_pm_config pm = {
		.sci = irq_router_line(c->router, IRQ_SCI), .clock = pc->clock, .timer_32bit = true,
		.s5_type = S5_TYPE, .power_off = power_off, .opaque = pc,
	};
	int rc;

	wire_hpet(pc, c);
	c->pit = board_add(pc, pit_new(hpet_input(c->hpet, 0), pc->clock));
	c->rtc = board_add(pc, rtc_new(hpet_input(c->hpet, 1), pc->clock, pc->cfg.rtc_offset_s));
	c->pm = board_add(pc, acpi_pm_new(&pm));
	rc = pit_attach(c->pit, pc->pio, PIT_PORT, PORT_B);
	if (!rc)
		rc = rtc_attach(c->rtc, pc->pio, RTC_PORT);
	acpi_pm_attach(c->pm, pc->pio);
	return rc;
}

static int wire_isa(struct pc *pc, struct pc_chips *c)
{
	struct i8042_config i8042 = {
		.kbd = irq_router_line(c->router, IRQ_KBD), .aux = irq_router_line(c->router, IRQ_AUX),
		.reset = reset_wire(pc, PC_CAUSE_KEYBOARD), .input = pc->cfg.input,
	};
	int rc = 0;

	c->a20 = board_add(pc, a20_new(pc->mem, pc->ram));
	i8042.a20 = a20_line(c->a20, A20_KEYBOARD);

	for (unsigned i = 0; i < PC_SERIAL_PORTS && !rc; i++) {
		struct irq_line irq = irq_router_line(c->router, com[i].irq);

		c->serial[i] = board_add(pc, serial_new(irq, pc->cfg.serial[i], pc->clock));
		rc = serial_attach(c->serial[i], pc->pio, com[i].port);
	}
	c->i8042 = board_add(pc, i8042_new(&i8042));
	if (!rc)
		rc = i8042_attach(c->i8042, pc->pio, I8042_DATA_PORT, I8042_CMD_PORT);
	c->dma = board_add(pc, i8237_new(pc->mem));
	if (!rc)
		rc = i8237_attach(c->dma, pc->pio, DMA_LOW_PORT, DMA_HIGH_PORT, DMA_PAGE_PORT);
	c->reset_ctl = board_add(pc, reset_ctl_new(reset_wire(pc, PC_CAUSE_PORT92), reset_wire(pc, PC_CAUSE_CF9),
						   a20_line(c->a20, A20_PORT_A)));
	if (!rc)
		rc = reset_ctl_attach(c->reset_ctl, pc->pio, PORT_A);
	return rc;
}

/* The windows for BARs: all that is not RAM nor the processors' and the board's own, as firmware uses it (UEFI from the bottom). */
static struct pci_window mmio32(const struct pc *pc)
{
	uint64_t base = MAX(ALIGN_UP(pc->ram->low_size, MiB), PCI_MMIO_MIN);

	return (struct pci_window){ base, IOAPIC_BASE - base };
}

static struct pci_window mmio64(const struct pc *pc)
{
	uint64_t base = ALIGN_UP(MAX(pc->ram->end, HIGH_RAM_BASE), GiB), end = BIT(MIN(pc->policy.gpa_bits, PCI_MMIO64_BITS));

	return end > base ? (struct pci_window){ base, end - base } : (struct pci_window){ 0, 0 };
}

static int wire_pci(struct pc *pc, struct pc_chips *c)
{
	struct pci_bus_config bus = {
		.mem = pc->mem,
		.pio = pc->pio,
		.io = { PCI_IO_BASE, PCI_IO_SIZE },
		.mem32 = mmio32(pc),
		.mem64 = mmio64(pc),
	};

	struct piix_isa_config isa = { .devfn = PIIX_ISA_DEVFN };
	struct piix_pm_config pm = { .devfn = PIIX_PM_DEVFN, .pio = pc->pio, .pm = c->pm };
	int rc;

	c->pci = isa.bus = pm.bus = pci_bus_new(&bus);
	c->pam = pam_new(pc->mem, pc->ram);
	c->pci_host = board_add(pc, pci_host_new(c->pci, c->reset_ctl, c->pam));
	for (unsigned i = 0; i < PIIX_ISA_IRQS; i++)
		isa.irq[i] = irq_router_source(c->router, i);
	for (unsigned i = 0; i < PCI_PINS; i++)
		isa.direct[i] = irq_router_line(c->router, GSI_PCI0 + i);
	c->piix_isa = board_add(pc, piix_isa_new(&isa));
	for (unsigned i = 0; i < PCI_PINS; i++)
		pci_bus_connect_intx(c->pci, i, piix_isa_wire(c->piix_isa, i));
	c->piix_pm = board_add(pc, piix_pm_new(&pm));
	c->fw_cfg = board_add(pc, fw_cfg_new(pc->mem));
	rc = fw_cfg_attach(c->fw_cfg, pc->pio, FW_CFG_PORT);
	if (rc)
		return rc;
	return pci_host_attach(c->pci_host, pc->pio, PCI_CONFIG_PORT);
}

/* -- Disks ------------------------------------------------------------------------------------- */

struct ide *board_ide(struct pc *pc)
{
	struct pc_chips *c = pc->chips;
	struct ide_config ide = { .bus = c->pci, .devfn = PIIX_IDE_DEVFN, .pio = pc->pio, .mem = pc->mem };

	if (c->ide)
		return c->ide;
	for (unsigned i = 0; i < IDE_CHANNELS; i++)
		ide.channel[i] = (struct ide_channel_config){
			ide_ports[i].command, ide_ports[i].control, irq_router_source(c->router, ide_ports[i].irq),
		};
	c->ide = board_add(pc, ide_new(&ide));
	return c->ide;
}

int board_floppy(struct pc *pc, struct floppy **out, struct err *e)
{
	struct pc_chips *c = pc->chips;
	struct floppy_config floppy = { .dma = c->dma, .dma_channel = DMA_FLOPPY };
	int rc = 0;

	if (!c->floppy) {
		floppy.irq = irq_router_source(c->router, IRQ_FLOPPY);
		c->floppy = board_add(pc, floppy_new(&floppy));
		rc = floppy_attach(c->floppy, pc->pio, PC_FLOPPY_PORT);
	}
	*out = c->floppy;
	return rc ? err_set(e, -rc, "floppy: cannot place it in the address space: %s", strerror(-rc)) : 0;
}

/* -- CMOS RAM ---------------------------------------------------------------------------------- */

static void cmos_word(struct pc_chips *c, unsigned index, uint64_t val)
{
	uint16_t v = MIN(val, UINT16_MAX);

	rtc_set_cmos(c->rtc, index, v & 0xff);
	rtc_set_cmos(c->rtc, index + 1, v >> 8);
}

/* Memory sizes and equipment where AT firmware notes them. */
static void fill_cmos(struct pc *pc, struct pc_chips *c)
{
	uint64_t low = pc->ram->low_size;

	storage_fill_cmos(pc, 0x02); /* equipment: coprocessor */
	cmos_word(c, 0x15, 640);          /* conventional memory, KiB */
	cmos_word(c, 0x17, (low - MIN(low, MiB)) / KiB);
	cmos_word(c, 0x30, (low - MIN(low, MiB)) / KiB);
	cmos_word(c, 0x34, (low - MIN(low, 16 * MiB)) / (64 * KiB)); /* above 16 MiB */
	cmos_word(c, 0x5b, pc->ram->high_size / (64 * KiB));         /* above 4 GiB, low 16 bits of 24 */
	rtc_set_cmos(c->rtc, 0x5d, (pc->ram->high_size / (64 * KiB)) >> 16);
}

/* -- virtio without PCI ------------------------------------------------------------------------ */

int board_add_virtio_mmio(struct pc *pc, struct virtio_device *vd, struct err *e)
{
	struct pc_chips *c = pc->chips;
	unsigned n = c->n_virtio_mmio;
	struct virtio_mmio *m;

	if (n == ACPI_MAX_VIRTIO_MMIO)
		return err_set(e, ENOSPC, "device '%s': all %d places for virtio without PCI are taken", vd->dev.ops->name, n);
	m = board_add(pc, virtio_mmio_new(vd, irq_router_source(c->router, GSI_MMIO0 + n % MMIO_GSIS)));
	c->n_virtio_mmio++;
	return virtio_mmio_attach(m, pc->mem, VIRTIO_MMIO_BASE + n * VIRTIO_MMIO_STEP);
}

/* -- Life -------------------------------------------------------------------------------------- */

int board_new(struct pc *pc, struct err *e)
{
	struct pc_chips *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, ENOMEM, "machine: out of memory");
	pc->chips = c;
	board_disks_init(pc);
	rc = map_ram(pc);
	if (!rc)
		rc = wire_interrupts(pc, c);
	if (!rc)
		rc = wire_timers(pc, c);
	if (!rc)
		rc = wire_isa(pc, c);
	if (!rc)
		rc = wire_pci(pc, c);
	if (rc)
		return err_set(e, -rc, "machine: cannot place a chip in its address space: %s", strerror(-rc));
	c->rom_base = HIGH_RAM_BASE;
	if (pc->cfg.firmware.data)
		rc = firmware_map(pc, e);
	for (unsigned i = 0; !rc && i < pc->cfg.n_devices; i++)
		rc = device_plug(pc, &pc->cfg.devices[i], e);
	fill_cmos(pc, c);
	board_boot_describe(pc);
	return rc ? rc : firmware_describe(pc, e);
}

void board_free(struct pc *pc)
{
	struct pc_chips *c = pc->chips;

	if (c)
		board_give_up_disks(pc);
	while (!list_empty(&pc->devices)) {
		struct device *d = list_entry(pc->devices.prev, struct device, node);

		list_del(&d->node);
		d->ops->free(d);
	}
	if (!c)
		return;
	board_disks_release(pc);
	if (c->pci)
		pci_bus_free(c->pci);
	pam_free(c->pam);
	if (c->router)
		irq_router_free(c->router);
	if (c->lapic_bus)
		lapic_bus_free(c->lapic_bus);
	free(c);
	pc->chips = NULL;
}

void board_firmware_init(struct pc *pc)
{
	struct pc_chips *c = pc->chips;

	pci_host_open_shadow(c->pci_host);
	piix_pm_enable(c->piix_pm, PM_PORT, SMB_PORT);
	for (unsigned i = 0; i < PCI_PINS; i++) {
		piix_isa_route(c->piix_isa, i, pirq_irq[i]);
		pic_set_level_triggered(c->pic, pirq_irq[i]);
	}
	if (c->ide)
		ide_enable(c->ide);
	if (c->vga)
		stdvga_text_mode(c->vga);
	lapic_virtual_wire(c->lapic[0]);
	pic_set_level_triggered(c->pic, IRQ_SCI);
	for (unsigned i = 0; i < pc->group.n; i++)
		pc->group.v[i]->s.msr.mtrr_def_type = MTRR_DEF_TYPE_FIRMWARE;
}

bool pc_has_text_screen(const struct pc *pc)
{
	return !pc_has_firmware(pc) && pc->chips->vga && stdvga_has_font(pc->chips->vga);
}

void pc_power_button(struct pc *pc)
{
	acpi_pm_power_button(pc->chips->pm);
}

void pc_smbios_platform(const struct pc *pc, struct smbios_platform *out)
{
	uint32_t leaf[4];

	cpuid_query(pc->group.v[0], 1, 0, leaf);
	*out = (struct smbios_platform){
		.config = pc->cfg.smbios,
		.cpus = pc->group.n,
		.cpu_signature = leaf[0],
		.cpu_features = leaf[3],
		.ram_low = pc->ram->low_size,
		.ram_high = pc->ram->high_size,
		.firmware = pc_has_firmware(pc),
	};
}

void pc_acpi_platform(const struct pc *pc, struct acpi_platform *out)
{
	struct pci_window w64 = mmio64(pc), w32 = mmio32(pc);

	*out = (struct acpi_platform){
		.cpus = pc->group.n,
		.lapic_addr = LAPIC_BASE,
		.ioapic_addr = IOAPIC_BASE,
		.has_8259 = true,
		.overrides = { { .irq = IRQ_TIMER, .gsi = GSI_TIMER } },
		.n_overrides = 1,
		.sci_irq = IRQ_SCI,
		.pm1_evt_port = PM_PORT + ACPI_PM_EVT,
		.pm1_cnt_port = PM_PORT + ACPI_PM_CNT,
		.pm_timer_port = PM_PORT + ACPI_PM_TIMER,
		.pm_timer_32bit = true,
		.s5_type = S5_TYPE,
		.power_button = true,
		.reset_port = RESET_PORT,
		.pvpanic_port = pc->chips->pvpanic_port,
		.hpet = { pc->chips->has_hpet ? HPET_BASE : 0, HPET_SIZE },
		.hpet_id = HPET_ID,
		.hpet_min_tick = HPET_MIN_TICK,
		.reset_value = RESET_VALUE,
		.n_uarts = PC_SERIAL_PORTS,
		.rtc_port = RTC_PORT,
		.rtc_irq = IRQ_RTC,
		.rtc_century = true,
		.i8042_data_port = I8042_DATA_PORT, /* not described where nobody types */
		.i8042_cmd_port = I8042_CMD_PORT,
		.keyboard_irq = pc->cfg.input ? IRQ_KBD : 0,
		.mouse_irq = pc->cfg.input ? IRQ_AUX : 0,
		.has_pci = true,
		.pci_config_port = PCI_CONFIG_PORT,
		.vga = { VGA_BASE, VGA_END - VGA_BASE },
		.pci_mmio = { w32.base, w32.size },
		.pci_mmio64 = { w64.base, w64.size },
		.pci_gsi = { GSI_PCI0, GSI_PCI0 + 1, GSI_PCI0 + 2, GSI_PCI0 + 3 },
	};
	if (pc->chips->floppy) {
		out->floppy_port = PC_FLOPPY_PORT;
		out->floppy_irq = IRQ_FLOPPY;
		out->floppy_dma = DMA_FLOPPY;
	}
	out->n_virtio_mmio = pc->chips->n_virtio_mmio;
	for (unsigned i = 0; i < out->n_virtio_mmio; i++) {
		out->virtio_mmio[i].regs = (struct acpi_window){ VIRTIO_MMIO_BASE + i * VIRTIO_MMIO_STEP, VIRTIO_MMIO_SIZE };
		out->virtio_mmio[i].gsi = GSI_MMIO0 + i % MMIO_GSIS;
	}
	for (unsigned i = 0; i < PC_SERIAL_PORTS; i++) {
		out->uart[i].port = com[i].port;
		out->uart[i].irq = com[i].irq;
	}
}
