/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DSDT: power-off type, PCI root bridge with its windows and interrupt routing, ISA devices.
 * Missing: processor objects (the MADT names the processors), sleep states other than S5, hot plug,
 * and routing for a guest in 8259 mode (_PRT gives IOAPIC inputs only).
 */
#include <string.h>

#include "base/bits.h"
#include "boot/aml.h"
#include "boot/dsdt.h"

#define PCI_SLOTS 32
#define PCI_PINS  4
#define IO_SPACE_SIZE 0x10000u
#define PCI_CONFIG_SIZE 8 /* address and data, PCI 2.3, 3.2.2.3.2 */

static void add_crs(struct aml *a, struct strbuf *res)
{
	res_end(res);
	aml_name(a, "_CRS");
	aml_buffer(a, res->buf, res->len);
	strbuf_release(res);
}

/* _PRT, 6.2.13: any function of a slot, pin, no link device, global system interrupt. */
static void add_prt(struct aml *a, const struct acpi_platform *p)
{
	aml_name(a, "_PRT");
	aml_open_package(a, PCI_SLOTS * PCI_PINS);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		for (unsigned pin = 0; pin < PCI_PINS; pin++) {
			aml_open_package(a, 4);
			aml_int(a, (uint64_t)slot << 16 | 0xffff);
			aml_int(a, pin);
			aml_int(a, 0);
			aml_int(a, p->pci_gsi[(slot + pin) % PCI_PINS]);
			aml_close(a);
		}
	}
	aml_close(a);
}

static void add_pci(struct aml *a, const struct acpi_platform *p)
{
	const uint16_t behind = (uint16_t)(p->pci_config_port + PCI_CONFIG_SIZE);
	struct strbuf res = STRBUF_INIT;

	aml_open_device(a, "PCI0");
	aml_name(a, "_HID");
	aml_eisaid(a, "PNP0A03");
	aml_name(a, "_UID");
	aml_int(a, 0);
	res_bus_numbers(&res, 0, 0xff);
	res_io(&res, p->pci_config_port, PCI_CONFIG_SIZE);
	res_io_window(&res, 0, p->pci_config_port);
	res_io_window(&res, behind, IO_SPACE_SIZE - behind);
	if (p->vga.size)
		res_memory_window32(&res, (uint32_t)p->vga.base, (uint32_t)p->vga.size);
	if (p->pci_mmio.size)
		res_memory_window32(&res, (uint32_t)p->pci_mmio.base, (uint32_t)p->pci_mmio.size);
	if (p->pci_mmio64.size)
		res_memory_window64(&res, p->pci_mmio64.base, p->pci_mmio64.size);
	add_crs(a, &res);
	add_prt(a, p);
	aml_close(a);
}

/* An ISA device with ports and interrupts (below 0: none); len 0 of the second range: none. */
struct isa_device {
	const char *name, *hid;
	unsigned uid;
	uint16_t port, port2;
	uint8_t len, len2;
	int irq;
	uint8_t dma_bits; /* 1 << channel; 0: none */
};

static void add_isa(struct aml *a, const struct isa_device *d)
{
	struct strbuf res = STRBUF_INIT;

	aml_open_device(a, d->name);
	aml_name(a, "_HID");
	aml_eisaid(a, d->hid);
	aml_name(a, "_UID");
	aml_int(a, d->uid);
	if (d->len)
		res_io(&res, d->port, d->len);
	if (d->len2)
		res_io(&res, d->port2, d->len2);
	if (d->irq >= 0)
		res_irq(&res, (unsigned)d->irq);
	if (d->dma_bits)
		res_dma(&res, (unsigned)__builtin_ctz(d->dma_bits));
	add_crs(a, &res);
	aml_close(a);
}

static void add_isa_devices(struct aml *a, const struct acpi_platform *p)
{
	static const char uart_names[ACPI_MAX_UARTS][5] = { "COM1", "COM2", "COM3", "COM4" };

	for (unsigned i = 0; i < p->n_uarts; i++)
		add_isa(a, &(struct isa_device){ uart_names[i], "PNP0501", i + 1, .port = p->uart[i].port,
						 .len = 8, .irq = p->uart[i].irq });
	if (p->rtc_port)
		add_isa(a, &(struct isa_device){ "RTC_", "PNP0B00", 0, .port = p->rtc_port, .len = 2,
						 .irq = p->rtc_irq });
	/* Without the two status registers in front, and the IDE controller's port in between. */
	if (p->floppy_port)
		add_isa(a, &(struct isa_device){ "FDC0", "PNP0700", 0, p->floppy_port + 2, p->floppy_port + 7, 4, 1,
						 p->floppy_irq, (uint8_t)(1 << p->floppy_dma) });
	if (p->keyboard_irq)
		add_isa(a, &(struct isa_device){ "KBD_", "PNP0303", 0, p->i8042_data_port, p->i8042_cmd_port,
						 1, 1, p->keyboard_irq });
	if (p->mouse_irq)
		add_isa(a, &(struct isa_device){ "MOU_", "PNP0F13", 0, .irq = p->mouse_irq });
}

static void add_hpet(struct aml *a, const struct acpi_platform *p)
{
	struct strbuf res = STRBUF_INIT;

	if (!p->hpet.base)
		return;
	aml_open_device(a, "HPET");
	aml_name(a, "_HID");
	aml_eisaid(a, "PNP0103");
	aml_name(a, "_UID");
	aml_int(a, 0);
	res_fixed_memory(&res, (uint32_t)p->hpet.base, (uint32_t)p->hpet.size);
	add_crs(a, &res);
	aml_close(a);
}

/* QEMU0001: what Linux' driver pvpanic binds to. */
static void add_pvpanic(struct aml *a, const struct acpi_platform *p)
{
	struct strbuf res = STRBUF_INIT;

	if (!p->pvpanic_port)
		return;
	aml_open_device(a, "PEVT");
	aml_name(a, "_HID");
	aml_string(a, "QEMU0001");
	res_io(&res, p->pvpanic_port, 1);
	add_crs(a, &res);
	aml_close(a);
}

/* LNRO0005: what Linux' driver of virtio over MMIO binds to. */
static void add_virtio_mmio(struct aml *a, const struct acpi_platform *p)
{
	for (unsigned i = 0; i < p->n_virtio_mmio; i++) {
		char name[5] = { 'V', 'R', (char)('0' + i / 10), (char)('0' + i % 10), 0 };
		struct strbuf res = STRBUF_INIT;

		aml_open_device(a, name);
		aml_name(a, "_HID");
		aml_string(a, "LNRO0005");
		aml_name(a, "_UID");
		aml_int(a, i);
		res_fixed_memory(&res, (uint32_t)p->virtio_mmio[i].regs.base, (uint32_t)p->virtio_mmio[i].regs.size);
		res_gsi_shared(&res, p->virtio_mmio[i].gsi);
		add_crs(a, &res);
		aml_close(a);
	}
}

void dsdt_body(const struct acpi_platform *p, struct strbuf *out)
{
	struct aml a;

	aml_init(&a, out);
	/* \_S5, 7.4.2: SLP_TYP for PM1a and PM1b */
	aml_name(&a, "\\_S5_");
	aml_open_package(&a, 4);
	for (unsigned i = 0; i < 4; i++)
		aml_int(&a, i < 2 ? p->s5_type : 0);
	aml_close(&a);
	aml_open_scope(&a, "\\_SB_");
	if (p->has_pci)
		add_pci(&a, p);
	add_isa_devices(&a, p);
	add_pvpanic(&a, p);
	add_hpet(&a, p);
	add_virtio_mmio(&a, p);
	aml_close(&a);
}
