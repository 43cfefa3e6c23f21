/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers of an IDE channel: command block, device control, selection and reset of the drives.
 *
 * Specification: AT Attachment with Packet Interface 6 (T13/1410D), chapters 7 and 9.
 * Each drive has a task file of its own; a write reaches both, a read is answered by the drive that is selected. A place
 * without a drive reads as zero.
 */
#include "dev/storage/ide_impl.h"

#define ATAPI_SIGNATURE_MID  0x14
#define ATAPI_SIGNATURE_HIGH 0xeb
#define COMMAND_DEVICE_RESET 0x08

static struct ide_drive *selected(struct ide_channel *ch)
{
	return &ch->d[ch->unit];
}

/* -- Reset --------------------------------------------------------------------------------------------- */

void ide_set_signature(struct ide_drive *d)
{
	const bool cd = d->kind == IDE_CDROM;

	d->error = ATA_DIAG_OK;
	d->nsector = d->lba[0] = 1;
	d->lba[1] = cd ? ATAPI_SIGNATURE_MID : 0;
	d->lba[2] = cd ? ATAPI_SIGNATURE_HIGH : 0;
	d->status = d->kind == IDE_DISK ? ATA_READY : 0;
}

void ide_reset_drives(struct ide_channel *ch)
{
	ch->phase = IDE_IDLE;
	ch->job = IDE_JOB_NONE;
	ch->dma = ch->io_wanted = false;
	ch->unit = 0;
	for (unsigned i = 0; i < IDE_UNITS; i++) {
		struct ide_drive *d = &ch->d[i];

		d->select = d->feature = d->hob_nsector = 0;
		d->hob_lba[0] = d->hob_lba[1] = d->hob_lba[2] = 0;
		d->asleep = false;
		ide_set_signature(d);
	}
	ide_irq(ch, false);
}

void ide_reset_when_possible(struct ide_channel *ch)
{
	if (!ch->io_flying) {
		ide_reset_drives(ch);
		return;
	}
	ch->reset_waits = true;
	ch->phase = IDE_BUSY;
	for (unsigned i = 0; i < IDE_UNITS; i++)
		ch->d[i].status = ATA_BSY;
}

/* -- Command block ---------------------------------------------------------------------------------------- */

static uint8_t read_register(struct ide_channel *ch, unsigned reg)
{
	const struct ide_drive *d = selected(ch);
	const bool hob = ch->control & ATA_HOB;

	if (d->kind == IDE_NONE)
		return 0;
	switch (reg) {
	case ATA_ERROR:
		return d->error;
	case ATA_NSECTOR:
		return hob ? d->hob_nsector : d->nsector;
	case ATA_LBA_LOW:
	case ATA_LBA_MID:
	case ATA_LBA_HIGH:
		return hob ? d->hob_lba[reg - ATA_LBA_LOW] : d->lba[reg - ATA_LBA_LOW];
	case ATA_SELECT:
		return d->select | ATA_SELECT_ONES;
	case ATA_STATUS:
		ide_irq(ch, false);
		return d->status;
	default:
		return (uint8_t)ide_data_read(ch, 1);
	}
}

/* The parameters of a command, which both drives hear. */
static void write_parameter(struct ide_channel *ch, unsigned reg, uint8_t val)
{
	ch->control &= (uint8_t)~ATA_HOB;
	for (unsigned i = 0; i < IDE_UNITS; i++) {
		struct ide_drive *d = &ch->d[i];

		switch (reg) {
		case ATA_FEATURE:
			d->feature = val;
			break;
		case ATA_NSECTOR:
			d->hob_nsector = d->nsector;
			d->nsector = val;
			break;
		case ATA_SELECT:
			d->select = val;
			break;
		default:
			d->hob_lba[reg - ATA_LBA_LOW] = d->lba[reg - ATA_LBA_LOW];
			d->lba[reg - ATA_LBA_LOW] = val;
		}
	}
	if (reg == ATA_SELECT)
		ch->unit = val & ATA_SELECT_UNIT ? 1 : 0;
}

/* Commands are not taken while one is under way, but for the one that ends it. */
static void write_command(struct ide_channel *ch, uint8_t val)
{
	struct ide_drive *d = selected(ch);

	if (val == COMMAND_DEVICE_RESET && d->kind == IDE_CDROM) {
		if (ch->phase == IDE_IDLE || ch->active == ch->unit)
			ide_reset_when_possible(ch);
		return;
	}
	if (d->kind == IDE_NONE)
		return;
	if (ch->phase != IDE_IDLE) {
		guest_log("ide%u: command %#x while another is under way is ignored", ch->n, val);
		return;
	}
	ide_irq(ch, false);
	ch->active = ch->unit;
	ch->commands++;
	ide_command(ch, val);
}

static void write_register(struct ide_channel *ch, unsigned reg, uint8_t val)
{
	if (reg == ATA_DATA)
		ide_data_write(ch, 1, val);
	else if (reg == ATA_COMMAND)
		write_command(ch, val);
	else if (ch->phase == IDE_IDLE || reg == ATA_SELECT)
		write_parameter(ch, reg, val);
}

/* Only the data register is wider than a byte: elsewhere the bus makes bytes of it. */
static uint64_t command_read(void *opaque, uint64_t off, unsigned size)
{
	struct ide_channel *ch = opaque;
	uint64_t val = 0;

	if (off == ATA_DATA)
		return ide_data_read(ch, size);
	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)read_register(ch, (unsigned)off + i) << 8 * i;
	return val;
}

static void command_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct ide_channel *ch = opaque;

	if (off == ATA_DATA) {
		ide_data_write(ch, size, (uint32_t)val);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		write_register(ch, (unsigned)off + i, (uint8_t)(val >> 8 * i));
}

const struct io_ops ide_command_ops = { .read = command_read, .write = command_write, .max_size = 4 };

/* -- Device control and alternate status --------------------------------------------------------------------- */

static uint64_t control_read(void *opaque, uint64_t off, unsigned size)
{
	struct ide_channel *ch = opaque;
	const struct ide_drive *d = selected(ch);

	return d->kind == IDE_NONE ? 0 : d->status;
}

static void control_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct ide_channel *ch = opaque;
	const uint8_t before = ch->control;

	ch->control = (uint8_t)val;
	ide_irq(ch, ch->irq);
	if (val & ATA_SRST && !(before & ATA_SRST)) {
		ch->phase = IDE_BUSY;
		for (unsigned i = 0; i < IDE_UNITS; i++)
			ch->d[i].status = ATA_BSY;
		ch->job = IDE_JOB_NONE;
		ch->io_wanted = false;
		ide_irq(ch, false);
	} else if (!(val & ATA_SRST) && before & ATA_SRST) {
		ide_reset_when_possible(ch);
	}
}

const struct io_ops ide_control_ops = { .read = control_read, .write = control_write, .max_size = 1 };
