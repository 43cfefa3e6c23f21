/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power management function with the identity of the PIIX4's: where the ACPI block and the SMBus host show.
 *
 * Specification: Intel 82371AB (PIIX4) data sheet (290562), 7.
 * Missing: device monitors, SMI, SMBus slave; nothing answers on the SMBus.
 * Ignored: general-purpose I/O decode, clock and burst control (stored).
 */
#include <stdlib.h>

#include "base/bits.h"
#include "base/endian.h"
#include "base/err.h"
#include "dev/misc/piix.h"
#include "dev/timer/acpi_pm.h"

enum { PMBASE = 0x40, DEVACTB = 0x58, PMREGMISC = 0x80, SMBBA = 0x90, SMBHSTCFG = 0xd2 };

#define PM_MASK         0xffc0u /* 64 ports */
#define SMB_MASK        0xfff0u /* 16 ports */
#define SMB_SIZE        16
#define IO_SPACE        0x1     /* in PMBASE and SMBBA */
#define PM_ENABLE       0x1
#define SMB_ENABLE      0x1
#define DEVACTB_APMC_EN 0x02    /* bit 25: SMI on APM commands: set, so firmware takes SMM for set up */
#define INTX_A          1
#define SCI_IRQ         9       /* what the interrupt line register says on this chip */

/* SMBus host, 7.3 */
enum { SMB_STS = 0, SMB_CNT = 2, SMB_CMD = 3, SMB_ADD = 4, SMB_DAT0 = 5, SMB_DAT1 = 6, SMB_REGS = 7 };
#define STS_DEV_ERR 0x04
#define STS_CLEAR   0x1e /* written ones clear */
#define CNT_START   0x40
#define CNT_STORED  0x1f

static const struct pci_ids pm_ids = { .vendor = 0x8086, .device = 0x7113, .class_code = 0x068000, .revision = 3 };

struct piix_pm {
	struct device dev;
	struct pci_function fn; /* the bridge's lock */
	struct space *pio;
	struct acpi_pm *pm;
	struct region *smb;     /* the bridge's lock; NULL: not decoded */
	uint16_t smb_at;
	struct lock lock;       /* the SMBus registers */
	uint8_t reg[SMB_REGS];
};

/* -- SMBus ------------------------------------------------------------------------------------------ */

static uint64_t smb_read(void *opaque, uint64_t off, unsigned size)
{
	const struct piix_pm *p = opaque;

	return off < SMB_REGS ? p->reg[off] : 0;
}

static void smb_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct piix_pm *p = opaque;

	switch (off) {
	case SMB_STS:
		p->reg[SMB_STS] &= (uint8_t)~(val & STS_CLEAR);
		break;
	case SMB_CNT:
		p->reg[SMB_CNT] = val & CNT_STORED;
		if (val & CNT_START)
			p->reg[SMB_STS] |= STS_DEV_ERR; /* nobody acknowledges the address */
		break;
	case SMB_CMD:
	case SMB_ADD:
	case SMB_DAT0:
	case SMB_DAT1:
		p->reg[off] = (uint8_t)val;
		break;
	}
}

static const struct io_ops smb_ops = { .read = smb_read, .write = smb_write, .max_size = 1 };

/* -- Configuration ------------------------------------------------------------------------------------ */

static void place_smb(struct piix_pm *p)
{
	bool on = p->fn.config[SMBHSTCFG] & SMB_ENABLE;
	uint16_t at = on ? get_le32(p->fn.config + SMBBA) & SMB_MASK : 0;

	if (at == p->smb_at)
		return;
	space_remove(p->pio, p->smb);
	p->smb = NULL;
	p->smb_at = at;
	if (at)
		BUG_ON(space_add_io(p->pio, &p->smb, "smbus", at, SMB_SIZE, &smb_ops, p, &p->lock));
}

static void follow_registers(struct piix_pm *p)
{
	bool on = p->fn.config[PMREGMISC] & PM_ENABLE;

	acpi_pm_place(p->pm, on ? get_le32(p->fn.config + PMBASE) & PM_MASK : 0);
	place_smb(p);
}

static void written(struct pci_function *f, unsigned off, unsigned size)
{
	if (off >= PMBASE)
		follow_registers(CONTAINER_OF(f, struct piix_pm, fn));
}

void piix_pm_enable(struct piix_pm *p, uint16_t pm_base, uint16_t smb_base)
{
	put_le32(p->fn.config + PMBASE, pm_base | IO_SPACE);
	p->fn.config[PMREGMISC] = PM_ENABLE;
	put_le32(p->fn.config + SMBBA, smb_base | IO_SPACE);
	p->fn.config[SMBHSTCFG] = SMB_ENABLE;
	follow_registers(p);
}

static void piix_pm_reset(struct device *d)
{
	struct piix_pm *p = (struct piix_pm *)d;

	pci_function_reset(&p->fn);
	follow_registers(p);
	lock_take(&p->lock);
	for (unsigned i = 0; i < SMB_REGS; i++)
		p->reg[i] = 0;
	lock_drop(&p->lock);
}

static int piix_pm_post_load(struct device *d)
{
	struct piix_pm *p = (struct piix_pm *)d;
	int rc = pci_function_post_load(&p->fn);

	if (!rc)
		follow_registers(p);
	return rc;
}

static void piix_pm_free(struct device *d)
{
	struct piix_pm *p = (struct piix_pm *)d;

	space_remove(p->pio, p->smb);
	pci_function_release(&p->fn);
	lock_release(&p->lock);
	free(p);
}

static const struct state_field piix_pm_state[] = {
	STATE_BYTES(struct piix_pm, fn.config),
	STATE_BYTES(struct piix_pm, reg),
	STATE_END(),
};

static const struct device_ops piix_pm_ops = {
	.name = "piix-pm",
	.reset = piix_pm_reset,
	.post_load = piix_pm_post_load,
	.free = piix_pm_free,
	.state = piix_pm_state,
	.state_version = 1,
};

static void describe(struct pci_function *f)
{
	f->config[PCI_INTERRUPT_PIN] = INTX_A;
	f->config[PCI_INTERRUPT_LINE] = SCI_IRQ;
	put_le32(f->config + PMBASE, IO_SPACE);
	put_le32(f->writable + PMBASE, PM_MASK);
	f->config[DEVACTB + 3] = DEVACTB_APMC_EN;
	for (unsigned i = PMBASE + 4; i < PMREGMISC; i++)
		f->writable[i] = 0xff;
	f->writable[PMREGMISC] = PM_ENABLE;
	put_le32(f->config + SMBBA, IO_SPACE);
	put_le32(f->writable + SMBBA, SMB_MASK);
	f->writable[SMBHSTCFG] = 0x0f;
}

struct piix_pm *piix_pm_new(const struct piix_pm_config *c)
{
	struct piix_pm *p = calloc(1, sizeof(*p));

	BUG_ON(!p);
	p->dev.ops = &piix_pm_ops;
	list_init(&p->dev.node);
	p->pio = c->pio;
	p->pm = c->pm;
	lock_init(&p->lock, RANK_DEVICE);
	pci_function_init(&p->fn, c->bus, c->devfn, &pm_ids);
	p->fn.written = written;
	describe(&p->fn);
	pci_function_seal(&p->fn);
	follow_registers(p);
	return p;
}
