/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI tables of a PC (ACPI 6.4): what the machine says about itself, and the blob made from it. */
#ifndef DOPPEL_BOOT_ACPI_H
#define DOPPEL_BOOT_ACPI_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "base/strbuf.h"

/* The tables stand in the BIOS area, where an operating system also finds the RSDP by scanning. */
#define ACPI_TABLES_BASE 0xe0000ull
#define ACPI_TABLES_SIZE 0x10000ull

#define ACPI_MAX_UARTS     4
#define ACPI_MAX_OVERRIDES 16
#define ACPI_MAX_VIRTIO_MMIO 16

/* Flags of a MADT interrupt source override, ACPI 5.2.12.5 */
#define ACPI_POLARITY_HIGH 0x1
#define ACPI_POLARITY_LOW  0x3
#define ACPI_TRIGGER_EDGE  0x4
#define ACPI_TRIGGER_LEVEL 0xc

struct acpi_override {
	uint8_t irq;    /* ISA interrupt */
	uint32_t gsi;   /* IOAPIC input */
	uint16_t flags; /* ACPI_POLARITY_* | ACPI_TRIGGER_*; 0: as the ISA bus has it */
};

struct acpi_window {
	uint64_t base, size; /* size 0: there is none */
};

/* All addresses and interrupts of the board: the machine fills it in, boot/ knows none of its own. */
struct acpi_platform {
	unsigned cpus;         /* at least 1; APIC ids are 0 to cpus-1, 0 boots */
	uint32_t lapic_addr;
	uint32_t ioapic_addr;  /* 0: there is none */
	uint8_t ioapic_id;
	uint32_t ioapic_gsi_base;
	bool has_8259;         /* PC-AT dual 8259 pair present */
	struct acpi_override overrides[ACPI_MAX_OVERRIDES]; /* one for sci_irq is added if it is not here */
	unsigned n_overrides;

	uint8_t sci_irq;       /* level, active high unless an override says otherwise */
	uint16_t pm1_evt_port; /* 4 bytes: status, enable */
	uint16_t pm1_cnt_port; /* 2 bytes */
	uint16_t pm_timer_port; /* 4 bytes */
	bool pm_timer_32bit;
	uint16_t gpe0_port;    /* 0: no general-purpose events */
	uint8_t gpe0_len;      /* bytes: status half and enable half together */
	uint8_t s5_type;       /* SLP_TYP for power-off, 0 to 7 */
	bool power_button;     /* the fixed-feature button sets PWRBTN_STS */
	uint16_t reset_port;   /* 0: no reset register */
	uint8_t reset_value;

	struct {
		uint16_t port; /* 8 bytes */
		uint8_t irq;
	} uart[ACPI_MAX_UARTS];
	unsigned n_uarts;
	uint16_t pvpanic_port; /* 0: none */
	struct acpi_window hpet; /* base 0: none */
	uint32_t hpet_id;      /* lower half of its first register */
	uint16_t hpet_min_tick;
	uint16_t rtc_port;     /* 2 bytes; 0: none */
	uint8_t rtc_irq;
	bool rtc_century;      /* the CMOS byte 0x32 holds the century */
	uint16_t floppy_port;  /* of its eight ports two are not its own; 0: no controller */
	uint8_t floppy_irq, floppy_dma;
	uint16_t i8042_data_port, i8042_cmd_port; /* used if one of the following is there */
	uint8_t keyboard_irq;  /* 0: no keyboard, the i8042 is there for its reset line alone */
	uint8_t mouse_irq;     /* 0: no mouse */

	struct {
		struct acpi_window regs; /* below 4 GiB */
		uint32_t gsi;            /* level, active high, shared */
	} virtio_mmio[ACPI_MAX_VIRTIO_MMIO];
	unsigned n_virtio_mmio;

	bool has_pci;
	uint16_t pci_config_port; /* configuration mechanism 1, 8 bytes */
	struct acpi_window vga;   /* legacy graphics memory, passed on by the host bridge; optional */
	struct acpi_window pci_mmio;   /* below 4 GiB */
	struct acpi_window pci_mmio64; /* above RAM; optional */
	uint8_t pci_gsi[4];            /* INTx of slot s, pin p (0: INTA) goes to pci_gsi[(s + p) & 3] */
};

/*
 * Build RSDP (revision 2), RSDT, XSDT, FADT, FACS, MADT and DSDT as they must stand at guest-physical
 * `base` (a multiple of 64), into out, which must be empty; the RSDP comes first. Errors: -EINVAL when a
 * field makes no sense, -E2BIG when the tables exceed max bytes.
 */
int acpi_build(const struct acpi_platform *c, uint64_t base, uint64_t max, struct strbuf *out, struct err *e);

#endif
