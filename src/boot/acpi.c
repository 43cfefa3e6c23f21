/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables (ACPI 6.4, ch. 5.2): RSDP, RSDT, XSDT, FADT, FACS, MADT, HPET, DSDT. The machine is always in ACPI
 * mode (no SMI command port), so SCI_EN reads as one from the start. Missing: MCFG (configuration space is reached through ports), SRAT.
 */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "boot/acpi.h"
#include "boot/dsdt.h"

enum { HEADER_SIZE = 36, HEADER_LENGTH = 4, HEADER_CHECKSUM = 9, TABLE_ALIGN = 64 };

/* RSDP, 5.2.5.3 */
enum {
	RSDP_SIZE = 36, RSDP_V1_SIZE = 20, RSDP_CHECKSUM = 8, RSDP_OEM = 9, RSDP_REVISION = 15,
	RSDP_RSDT = 16, RSDP_LENGTH = 20, RSDP_XSDT = 24, RSDP_EXT_CHECKSUM = 32,
};

/* FADT, table 5.9 */
enum {
	FADT_SIZE = 276, FADT_REVISION = 6, FADT_MINOR = 4,
	FADT_FACS = 36, FADT_DSDT = 40, FADT_PROFILE = 45, FADT_SCI_INT = 46, FADT_PM1A_EVT = 56,
	FADT_PM1A_CNT = 64, FADT_PM_TMR = 76, FADT_GPE0 = 80, FADT_PM1_EVT_LEN = 88,
	FADT_PM1_CNT_LEN = 89, FADT_PM_TMR_LEN = 91, FADT_GPE0_LEN = 92, FADT_P_LVL2_LAT = 96,
	FADT_P_LVL3_LAT = 98, FADT_CENTURY = 108, FADT_IAPC_BOOT_ARCH = 109, FADT_FLAGS = 112,
	FADT_RESET_REG = 116, FADT_RESET_VALUE = 128, FADT_MINOR_VERSION = 131, FADT_X_DSDT = 140,
	FADT_X_PM1A_EVT = 148, FADT_X_PM1A_CNT = 172, FADT_X_PM_TMR = 208, FADT_X_GPE0 = 220,

	PROFILE_DESKTOP = 1, PM1_EVT_LEN = 4, PM1_CNT_LEN = 2, PM_TMR_LEN = 4,
	LATENCY_NO_C2 = 101, LATENCY_NO_C3 = 1001, CMOS_CENTURY = 0x32,
	ARCH_LEGACY_DEVICES = 1, ARCH_8042 = 2, ARCH_NO_VGA = 4, ARCH_NO_CMOS_RTC = 0x20,
	F_WBINVD = 1 << 0, F_PROC_C1 = 1 << 2, F_NO_FIXED_PWR_BUTTON = 1 << 4, F_NO_FIXED_SLP_BUTTON = 1 << 5,
	F_NO_FIXED_RTC_WAKE = 1 << 6, F_TMR_VAL_EXT = 1 << 8, F_RESET_REG_SUP = 1 << 10,
};

/* Generic address structure, 5.2.3.2 */
enum { GAS_SIZE = 12, GAS_IO = 1, GAS_BYTE = 1, GAS_WORD = 2, GAS_DWORD = 3 };

enum { FACS_SIZE = 64, FACS_VERSION = 2 };

/* MADT, 5.2.12 */
enum {
	MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4, MADT_X2APIC = 9,
	MADT_X2APIC_NMI = 10, MADT_PCAT_COMPAT = 1, MADT_ENABLED = 1, MADT_MAX_LAPIC_ID = 254,
	ALL_PROCESSORS = 0xff,
};

static uint8_t checksum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *b++);
	return (uint8_t)-sum;
}

static void pad(struct strbuf *out)
{
	static const uint8_t zeroes[TABLE_ALIGN];

	if (out->len % TABLE_ALIGN)
		strbuf_add(out, zeroes, TABLE_ALIGN - out->len % TABLE_ALIGN);
}

/* Begin a table (5.2.6): returns where in out it begins. */
static size_t table_begin(struct strbuf *out, const char *signature, uint8_t revision)
{
	uint8_t h[HEADER_SIZE] = { 0 };
	size_t at;

	pad(out);
	at = out->len;
	memcpy(h, signature, 4);
	h[8] = revision;
	memcpy(h + 10, "DOPPEL", 6);
	memcpy(h + 16, "DOPPELPC", 8);
	put_le32(h + 24, 1); /* OEM revision */
	memcpy(h + 28, "DPPL", 4);
	put_le32(h + 32, 1); /* creator revision */
	strbuf_add(out, h, sizeof(h));
	return at;
}

static void table_end(struct strbuf *out, size_t at)
{
	char *t = out->buf + at;

	put_le32(t + HEADER_LENGTH, (uint32_t)(out->len - at));
	t[HEADER_CHECKSUM] = (char)checksum(t, out->len - at);
}

static void put_gas(uint8_t *gas, uint16_t port, uint8_t bytes, uint8_t access)
{
	if (!port)
		return;
	gas[0] = GAS_IO;
	gas[1] = (uint8_t)(bytes * 8);
	gas[3] = access;
	put_le64(gas + 4, port);
}

static uint32_t fadt_flags(const struct acpi_platform *c)
{
	return F_WBINVD | F_PROC_C1 | F_NO_FIXED_SLP_BUTTON | F_NO_FIXED_RTC_WAKE |
	       (c->power_button ? 0 : F_NO_FIXED_PWR_BUTTON) |
	       (c->pm_timer_32bit ? F_TMR_VAL_EXT : 0) | (c->reset_port ? F_RESET_REG_SUP : 0);
}

static size_t add_fadt(const struct acpi_platform *c, struct strbuf *out, uint64_t facs, uint64_t dsdt)
{
	size_t at = table_begin(out, "FACP", FADT_REVISION);
	uint8_t f[FADT_SIZE] = { 0 };

	put_le32(f + FADT_FACS, (uint32_t)facs);
	put_le32(f + FADT_DSDT, (uint32_t)dsdt);
	f[FADT_PROFILE] = PROFILE_DESKTOP;
	put_le16(f + FADT_SCI_INT, c->sci_irq);
	put_le32(f + FADT_PM1A_EVT, c->pm1_evt_port);
	put_le32(f + FADT_PM1A_CNT, c->pm1_cnt_port);
	put_le32(f + FADT_PM_TMR, c->pm_timer_port);
	put_le32(f + FADT_GPE0, c->gpe0_port);
	f[FADT_PM1_EVT_LEN] = PM1_EVT_LEN;
	f[FADT_PM1_CNT_LEN] = PM1_CNT_LEN;
	f[FADT_PM_TMR_LEN] = c->pm_timer_port ? PM_TMR_LEN : 0;
	f[FADT_GPE0_LEN] = c->gpe0_port ? c->gpe0_len : 0;
	put_le16(f + FADT_P_LVL2_LAT, LATENCY_NO_C2);
	put_le16(f + FADT_P_LVL3_LAT, LATENCY_NO_C3);
	f[FADT_CENTURY] = c->rtc_century ? CMOS_CENTURY : 0;
	put_le16(f + FADT_IAPC_BOOT_ARCH, (uint16_t)(ARCH_LEGACY_DEVICES | ARCH_NO_VGA |
		 (c->keyboard_irq ? ARCH_8042 : 0) | (c->rtc_port ? 0 : ARCH_NO_CMOS_RTC)));
	put_le32(f + FADT_FLAGS, fadt_flags(c));
	put_gas(f + FADT_RESET_REG, c->reset_port, 1, GAS_BYTE);
	f[FADT_RESET_VALUE] = c->reset_value;
	f[FADT_MINOR_VERSION] = FADT_MINOR;
	put_le64(f + FADT_X_DSDT, dsdt);
	put_gas(f + FADT_X_PM1A_EVT, c->pm1_evt_port, PM1_EVT_LEN, GAS_WORD);
	put_gas(f + FADT_X_PM1A_CNT, c->pm1_cnt_port, PM1_CNT_LEN, GAS_WORD);
	put_gas(f + FADT_X_PM_TMR, c->pm_timer_port, PM_TMR_LEN, GAS_DWORD);
	put_gas(f + FADT_X_GPE0, c->gpe0_port, c->gpe0_len, GAS_BYTE);
	strbuf_add(out, f + HEADER_SIZE, sizeof(f) - HEADER_SIZE);
	table_end(out, at);
	return at;
}

static size_t add_facs(struct strbuf *out)
{
	uint8_t f[FACS_SIZE] = { 'F', 'A', 'C', 'S' };
	size_t at;

	pad(out);
	at = out->len;
	put_le32(f + 4, FACS_SIZE);
	f[32] = FACS_VERSION;
	strbuf_add(out, f, sizeof(f));
	return at;
}

static void add_processors(const struct acpi_platform *c, struct strbuf *out)
{
	bool wide = c->cpus > MADT_MAX_LAPIC_ID + 1u;

	for (unsigned id = 0; id < c->cpus; id++) {
		if (id <= MADT_MAX_LAPIC_ID) {
			const uint8_t e[8] = { MADT_LAPIC, sizeof(e), (uint8_t)id, (uint8_t)id,
					       MADT_ENABLED };

			strbuf_add(out, e, sizeof(e));
		} else {
			uint8_t e[16] = { MADT_X2APIC, sizeof(e) };

			put_le32(e + 4, id);
			put_le32(e + 8, MADT_ENABLED);
			put_le32(e + 12, id);
			strbuf_add(out, e, sizeof(e));
		}
	}
	/* LINT1 is NMI on every processor, as PC firmware has it. */
	strbuf_add(out, (const uint8_t[]){ MADT_LAPIC_NMI, 6, ALL_PROCESSORS, 0, 0, 1 }, 6);
	if (wide)
		strbuf_add(out,
			   (const uint8_t[]){ MADT_X2APIC_NMI, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0 },
			   12);
}

static void add_override(struct strbuf *out, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	uint8_t e[10] = { MADT_OVERRIDE, sizeof(e), 0, irq };

	put_le32(e + 4, gsi);
	put_le16(e + 8, flags);
	strbuf_add(out, e, sizeof(e));
}

static void add_ioapic(const struct acpi_platform *c, struct strbuf *out)
{
	uint8_t e[12] = { MADT_IOAPIC, sizeof(e), c->ioapic_id };
	bool sci = false;

	put_le32(e + 4, c->ioapic_addr);
	put_le32(e + 8, c->ioapic_gsi_base);
	strbuf_add(out, e, sizeof(e));
	for (unsigned i = 0; i < c->n_overrides; i++) {
		add_override(out, c->overrides[i].irq, c->overrides[i].gsi, c->overrides[i].flags);
		sci |= c->overrides[i].irq == c->sci_irq;
	}
	if (!sci)
		add_override(out, c->sci_irq, c->sci_irq, ACPI_POLARITY_HIGH | ACPI_TRIGGER_LEVEL);
}

static size_t add_madt(const struct acpi_platform *c, struct strbuf *out)
{
	size_t at = table_begin(out, "APIC", 5);
	uint8_t fixed[8] = { 0 };

	put_le32(fixed, c->lapic_addr);
	put_le32(fixed + 4, c->has_8259 ? MADT_PCAT_COMPAT : 0);
	strbuf_add(out, fixed, sizeof(fixed));
	add_processors(c, out);
	if (c->ioapic_addr)
		add_ioapic(c, out);
	table_end(out, at);
	return at;
}

/* IA-PC HPET 1.0a, 3.2.4 */
static size_t add_hpet(const struct acpi_platform *c, struct strbuf *out)
{
	size_t at = table_begin(out, "HPET", 1);
	uint8_t body[20] = { 0 };

	put_le32(body, c->hpet_id);
	body[5] = 64; /* the address: in memory, of 64-bit registers */
	put_le64(body + 8, c->hpet.base);
	put_le16(body + 17, c->hpet_min_tick);
	strbuf_add(out, body, sizeof(body));
	table_end(out, at);
	return at;
}

static void fill_rsdp(char *r, uint64_t rsdt, uint64_t xsdt)
{
	memcpy(r, "RSD PTR ", 8);
	memcpy(r + RSDP_OEM, "DOPPEL", 6);
	r[RSDP_REVISION] = 2;
	put_le32(r + RSDP_LENGTH, RSDP_SIZE);
	put_le32(r + RSDP_RSDT, (uint32_t)rsdt);
	put_le64(r + RSDP_XSDT, xsdt);
	r[RSDP_CHECKSUM] = (char)checksum(r, RSDP_V1_SIZE);
	r[RSDP_EXT_CHECKSUM] = (char)checksum(r, RSDP_SIZE);
}

static int check_platform(const struct acpi_platform *c, struct err *e)
{
	if (!c->cpus || c->n_uarts > ACPI_MAX_UARTS || c->n_overrides > ACPI_MAX_OVERRIDES || c->s5_type > 7)
		return err_set(e, EINVAL,
			       "ACPI tables: %u processors, %u serial ports, %u overrides or sleep type %u: "
			       "not possible",
			       c->cpus, c->n_uarts, c->n_overrides, c->s5_type);
	if (!c->pm1_evt_port || !c->pm1_cnt_port || c->sci_irq > 15 || c->rtc_irq > 15 ||
	    c->keyboard_irq > 15 || c->mouse_irq > 15)
		return err_set(e, EINVAL,
			       "ACPI tables: no power management registers, or an interrupt beyond 15");
	for (unsigned i = 0; i < c->n_uarts; i++)
		if (c->uart[i].irq > 15)
			return err_set(e, EINVAL, "ACPI tables: serial port with interrupt %u",
				       c->uart[i].irq);
	if (c->pci_mmio.base + c->pci_mmio.size > 4 * GiB || c->pci_mmio.base > 4 * GiB ||
	    (c->has_pci && (c->pci_config_port < 1 || c->pci_config_port > UINT16_MAX - 8)))
		return err_set(e, EINVAL,
			       "ACPI tables: the PCI memory window is not below 4 GiB, or there is no "
			       "configuration port");
	return 0;
}

int acpi_build(const struct acpi_platform *c, uint64_t base, uint64_t max, struct strbuf *out, struct err *e)
{
	const size_t room = ALIGN_UP(RSDP_SIZE, TABLE_ALIGN);
	const uint8_t zeroes[TABLE_ALIGN] = { 0 };
	uint64_t entries[3];
	unsigned n = 0;
	size_t facs, dsdt, rsdt, xsdt;
	int rc = check_platform(c, e);

	if (rc)
		return rc;
	/* Nothing that a table points at comes after it, but for the RSDP, which must be first. */
	strbuf_add(out, zeroes, room);
	facs = add_facs(out);
	dsdt = table_begin(out, "DSDT", 2);
	dsdt_body(c, out);
	table_end(out, dsdt);
	entries[n++] = base + add_fadt(c, out, base + facs, base + dsdt);
	entries[n++] = base + add_madt(c, out);
	if (c->hpet.base)
		entries[n++] = base + add_hpet(c, out);
	rsdt = table_begin(out, "RSDT", 1);
	for (unsigned i = 0; i < n; i++)
		strbuf_add(out, &(uint32_t){ (uint32_t)entries[i] }, sizeof(uint32_t));
	table_end(out, rsdt);
	xsdt = table_begin(out, "XSDT", 1);
	strbuf_add(out, entries, n * sizeof(entries[0]));
	table_end(out, xsdt);
	fill_rsdp(out->buf, base + rsdt, base + xsdt);
	if (out->len > max)
		return err_set(e, E2BIG, "ACPI tables: %zu bytes do not fit: use fewer processors", out->len);
	return 0;
}
