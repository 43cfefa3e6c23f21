/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IDE function of the PIIX3: its PCI registers, the ports of both channels, and its life.
 *
 * Specification: Intel 82371FB/82371SB (PIIX, PIIX3) data sheet (290550), 2.4.
 * Missing: native mode (the channels have the ports and interrupts of the AT).
 * Ignored: timing (stored).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "dev/storage/ide_impl.h"

enum { IDETIM = 0x40, IDETIM_SIZE = 2, SIDETIM = 0x44 };
#define IDETIM_DECODE  0x80 /* in its high byte */
#define CONTROL_PORTS  1
#define BM_BAR         4
#define BM_BAR_SIZE    16
#define DEFAULT_MODEL_DISK  "DOPPEL HARDDISK"
#define DEFAULT_MODEL_CDROM "DOPPEL DVD-ROM"

static const struct pci_ids ids = { .vendor = 0x8086, .device = 0x7010, .class_code = 0x010180 };

void ide_irq(struct ide_channel *ch, bool level)
{
	const bool line = level && !(ch->control & ATA_NIEN);

	ch->irq = level;
	if (line == ch->line)
		return;
	ch->line = line;
	if (line)
		ch->bm_status |= BM_INTERRUPT;
	irq_set(&ch->cfg.irq, line);
}

/* -- Decode ------------------------------------------------------------------------------------------------ */

static void show(struct ide *i, struct ide_channel *ch)
{
	BUG_ON(space_add_io(i->pio, &ch->command_ports, "ide-command", ch->cfg.command, ATA_PORTS, &ide_command_ops, ch, &ch->lock));
	BUG_ON(space_add_io(i->pio, &ch->control_port, "ide-control", ch->cfg.control, CONTROL_PORTS, &ide_control_ops, ch,
			    &ch->lock));
}

static void hide(struct ide *i, struct ide_channel *ch)
{
	space_remove(i->pio, ch->command_ports);
	space_remove(i->pio, ch->control_port);
	ch->command_ports = ch->control_port = NULL;
}

static void follow_registers(struct ide *i)
{
	const uint8_t command = i->fn.config[PCI_COMMAND];

	for (unsigned n = 0; n < IDE_CHANNELS; n++) {
		struct ide_channel *ch = &i->ch[n];
		const bool on = command & PCI_CMD_IO && i->fn.config[IDETIM + IDETIM_SIZE * n + 1] & IDETIM_DECODE;

		if (on && !ch->command_ports)
			show(i, ch);
		else if (!on && ch->command_ports)
			hide(i, ch);
		lock_take(&ch->lock);
		ch->bm_master = command & PCI_CMD_MASTER;
		ide_dma_run(ch);
		lock_drop(&ch->lock);
	}
}

static void written(struct pci_function *f, unsigned off, unsigned size)
{
	if (off <= PCI_COMMAND || (off >= IDETIM && off < SIDETIM))
		follow_registers(CONTAINER_OF(f, struct ide, fn));
}

void ide_enable(struct ide *i)
{
	i->fn.config[PCI_COMMAND] |= PCI_CMD_IO;
	for (unsigned n = 0; n < IDE_CHANNELS; n++)
		i->fn.config[IDETIM + IDETIM_SIZE * n + 1] |= IDETIM_DECODE;
	follow_registers(i);
}

/* -- Drives -------------------------------------------------------------------------------------------------- */

bool ide_place_free(const struct ide *i, unsigned channel, unsigned unit)
{
	return i->ch[channel].d[unit].kind == IDE_NONE;
}

static void reset_settings(struct ide_drive *d)
{
	struct blk_info info = { 0 };
	struct ide_geometry g;

	if (d->kind == IDE_DISK)
		blk_info(d->blk, &info);
	g = ide_geometry(info.size);
	d->mult = d->mode = 0;
	d->heads = g.heads;
	d->sectors = g.sectors;
	d->write_cache = d->kind == IDE_DISK && info.write_cache;
	d->look_ahead = d->smart = true;
	d->sense = (struct ide_sense){ 0 };
	d->attention = d->kind == IDE_CDROM ? (struct ide_sense){ 0x06, 0x29, 0x00 } : (struct ide_sense){ 0 }; /* reset occurred */
	d->media_event = 0;
	d->locked = false;
}

void ide_plug(struct ide *i, unsigned channel, unsigned unit, const struct ide_drive_config *c)
{
	struct ide_channel *ch = &i->ch[channel];
	struct ide_drive *d = &ch->d[unit];

	BUG_ON(d->kind != IDE_NONE || (!c->cdrom && !c->blk));
	d->kind = c->cdrom ? IDE_CDROM : IDE_DISK;
	d->blk = c->blk;
	if (c->serial)
		memcpy(d->serial, c->serial, strnlen(c->serial, IDE_SERIAL));
	else
		snprintf(d->serial, sizeof(d->serial), "DP%05u", channel * IDE_UNITS + unit + 1);
	if (c->model)
		memcpy(d->model, c->model, strnlen(c->model, IDE_MODEL));
	else
		snprintf(d->model, sizeof(d->model), "%s", c->cdrom ? DEFAULT_MODEL_CDROM : DEFAULT_MODEL_DISK);
	reset_settings(d);
	ide_set_signature(d);
	ch->bm_status |= (uint8_t)(0x20 << unit);
}

uint64_t ide_disk_bytes(const struct ide *i, unsigned channel, unsigned unit)
{
	const struct ide_drive *d = &i->ch[channel].d[unit];
	struct blk_info info = { 0 };

	if (d->kind == IDE_DISK)
		blk_info(d->blk, &info);
	return info.size;
}

struct media_drive ide_media(struct ide *i, unsigned channel, unsigned unit)
{
	return (struct media_drive){ &ide_media_ops, i, channel * IDE_UNITS + unit };
}

/* -- Life ------------------------------------------------------------------------------------------------------ */

/* All requests but those that lack space on the host; without the lock that their ends take. */
static void drain(struct ide_channel *ch)
{
	for (unsigned u = 0; u < IDE_UNITS; u++)
		if (ch->d[u].blk)
			blk_drain(ch->d[u].blk);
}

static void ide_quiesce(struct device *dev, bool on)
{
	struct ide *i = (struct ide *)dev;

	for (unsigned n = 0; n < IDE_CHANNELS; n++) {
		struct ide_channel *ch = &i->ch[n];

		lock_take(&ch->lock);
		ch->quiesced = on;
		if (!on)
			ide_io_again(ch);
		lock_drop(&ch->lock);
		if (on)
			drain(ch);
	}
}

static void reset_channel(struct ide_channel *ch)
{
	ch->control = 0;
	ch->bm_command = 0;
	ch->bm_status = 0;
	ch->bm_table = 0;
	ch->cursor = (struct ide_cursor){ 0 };
	ch->active = 0;
	ch->pos = ch->left = 0;
	ch->at = ch->end = ch->drq = ch->io_len = 0;
	for (unsigned u = 0; u < IDE_UNITS; u++) {
		reset_settings(&ch->d[u]);
		if (ch->d[u].kind != IDE_NONE)
			ch->bm_status |= (uint8_t)(0x20 << u);
	}
	ide_reset_drives(ch);
	ide_reset_when_possible(ch);
}

static void ide_reset(struct device *dev)
{
	struct ide *i = (struct ide *)dev;

	pci_function_reset(&i->fn);
	for (unsigned n = 0; n < IDE_CHANNELS; n++) {
		drain(&i->ch[n]);
		lock_take(&i->ch[n].lock);
		reset_channel(&i->ch[n]);
		lock_drop(&i->ch[n].lock);
	}
	follow_registers(i);
}

static bool drive_makes_sense(const struct ide_drive *d)
{
	return d->mult <= IDE_MAX_MULT && !(d->mult & (d->mult - 1)) && d->heads >= 1 && d->heads <= 16 && d->sectors >= 1;
}

static bool transfer_makes_sense(const struct ide_channel *ch)
{
	const struct ide_drive *d = &ch->d[ch->active];
	const bool medium = ch->job == IDE_JOB_READ || ch->job == IDE_JOB_WRITE, dma = ch->phase == IDE_DMA;
	const bool pio = ch->phase == IDE_IN || ch->phase == IDE_OUT;

	if (ch->phase == IDE_IDLE)
		return !ch->io_wanted;
	if (d->kind == IDE_NONE)
		return ch->phase == IDE_BUSY && !ch->io_wanted; /* a reset is asked for */
	if (ch->io_wanted && !(medium || ch->job == IDE_JOB_FLUSH))
		return false;
	if (ch->io_wanted && medium && (ch->io_len > ch->left || ch->io_len > (dma ? IDE_DMA_CHUNK : IDE_BUFFER)))
		return false;
	if (dma != (ch->dma && ch->job != IDE_JOB_PACKET) && ch->phase != IDE_BUSY)
		return false;
	if (dma && !medium && ch->job != IDE_JOB_DATA_IN)
		return false;
	return !pio || (ch->drq && ch->block && ch->job != IDE_JOB_NONE && ch->job != IDE_JOB_FLUSH);
}

static bool channel_makes_sense(const struct ide_channel *ch)
{
	if (ch->unit >= IDE_UNITS || ch->active >= IDE_UNITS || ch->phase >= IDE_PHASES || ch->job >= IDE_JOBS)
		return false;
	if (ch->end > IDE_BUFFER || ch->at > ch->end || ch->drq > ch->end - ch->at || ch->left > UINT64_MAX - ch->pos)
		return false;
	if (ch->job == IDE_JOB_PACKET && (ch->d[ch->active].kind != IDE_CDROM || !ch->packet))
		return false;
	return drive_makes_sense(&ch->d[0]) && drive_makes_sense(&ch->d[1]) && transfer_makes_sense(ch);
}

static int ide_post_load(struct device *dev)
{
	struct ide *i = (struct ide *)dev;

	if (i->ch[0].io_flying || i->ch[1].io_flying)
		return -EBUSY;
	if (pci_function_post_load(&i->fn))
		return -EINVAL;
	for (unsigned n = 0; n < IDE_CHANNELS; n++) {
		struct ide_channel *ch = &i->ch[n];
		bool ok;

		lock_take(&ch->lock);
		ok = channel_makes_sense(ch);
		ch->bm_table &= ~3u;
		if (ok) {
			ch->line = !ch->irq;
			ide_irq(ch, ch->irq);
		}
		lock_drop(&ch->lock);
		if (!ok)
			return -EINVAL;
	}
	follow_registers(i);
	return 0;
}

static void ide_free(struct device *dev)
{
	struct ide *i = (struct ide *)dev;

	for (unsigned n = 0; n < IDE_CHANNELS; n++) {
		for (unsigned u = 0; u < IDE_UNITS; u++)
			if (i->ch[n].d[u].blk)
				blk_give_up(i->ch[n].d[u].blk);
		lock_take(&i->ch[n].lock);
		i->ch[n].io_wanted = false;
		i->ch[n].quiesced = true;
		lock_drop(&i->ch[n].lock);
		drain(&i->ch[n]);
		if (i->ch[n].command_ports)
			hide(i, &i->ch[n]);
	}
	pci_function_release(&i->fn);
	for (unsigned n = 0; n < IDE_CHANNELS; n++)
		lock_release(&i->ch[n].lock);
	free(i);
}

static void ide_print_stats(const struct device *dev, struct strbuf *out)
{
	const struct ide *i = (const struct ide *)dev;

	for (unsigned n = 0; n < IDE_CHANNELS; n++) {
		const struct ide_channel *ch = &i->ch[n];

		if (ch->commands)
			strbuf_addf(out, "ide.%u: %" PRIu64 " commands, %" PRIu64 " bytes by PIO, %" PRIu64 " by DMA\n", n, ch->commands,
				    ch->pio_bytes, ch->dma_bytes);
	}
}

#define DRIVE_STATE(c, u)                                                                                                \
	STATE_U8(struct ide, ch[c].d[u].feature), STATE_U8(struct ide, ch[c].d[u].nsector),                              \
	STATE_BYTES(struct ide, ch[c].d[u].lba), STATE_U8(struct ide, ch[c].d[u].hob_nsector),                           \
	STATE_BYTES(struct ide, ch[c].d[u].hob_lba), STATE_U8(struct ide, ch[c].d[u].select),                            \
	STATE_U8(struct ide, ch[c].d[u].status), STATE_U8(struct ide, ch[c].d[u].error),                                 \
	STATE_U8(struct ide, ch[c].d[u].mult), STATE_U8(struct ide, ch[c].d[u].mode),                                    \
	STATE_U8(struct ide, ch[c].d[u].heads), STATE_U8(struct ide, ch[c].d[u].sectors),                                \
	STATE_BOOL(struct ide, ch[c].d[u].write_cache), STATE_BOOL(struct ide, ch[c].d[u].look_ahead),                   \
	STATE_BOOL(struct ide, ch[c].d[u].smart), STATE_BOOL(struct ide, ch[c].d[u].asleep),                             \
	STATE_U8(struct ide, ch[c].d[u].sense.key), STATE_U8(struct ide, ch[c].d[u].sense.asc),                          \
	STATE_U8(struct ide, ch[c].d[u].sense.ascq), STATE_U8(struct ide, ch[c].d[u].attention.key),                     \
	STATE_U8(struct ide, ch[c].d[u].attention.asc), STATE_U8(struct ide, ch[c].d[u].attention.ascq),                 \
	STATE_U8(struct ide, ch[c].d[u].media_event), STATE_BOOL(struct ide, ch[c].d[u].tray_open),                      \
	STATE_BOOL(struct ide, ch[c].d[u].locked)

#define CHANNEL_STATE(c)                                                                                                 \
	DRIVE_STATE(c, 0), DRIVE_STATE(c, 1),                                                                            \
	STATE_U8(struct ide, ch[c].unit), STATE_U8(struct ide, ch[c].control), STATE_BOOL(struct ide, ch[c].irq),        \
	STATE_U8(struct ide, ch[c].phase), STATE_U8(struct ide, ch[c].job), STATE_U8(struct ide, ch[c].active),          \
	STATE_BOOL(struct ide, ch[c].dma), STATE_BOOL(struct ide, ch[c].fua), STATE_BOOL(struct ide, ch[c].packet),      \
	STATE_U16(struct ide, ch[c].limit), STATE_U64(struct ide, ch[c].pos), STATE_U64(struct ide, ch[c].left),         \
	STATE_U32(struct ide, ch[c].at), STATE_U32(struct ide, ch[c].end), STATE_U32(struct ide, ch[c].block),           \
	STATE_U32(struct ide, ch[c].drq), STATE_BYTES(struct ide, ch[c].buf), STATE_U8(struct ide, ch[c].bm_command),    \
	STATE_U8(struct ide, ch[c].bm_status), STATE_U32(struct ide, ch[c].bm_table),                                    \
	STATE_U32(struct ide, ch[c].cursor.next), STATE_U32(struct ide, ch[c].cursor.addr),                              \
	STATE_U32(struct ide, ch[c].cursor.left), STATE_BOOL(struct ide, ch[c].cursor.last),                             \
	STATE_BOOL(struct ide, ch[c].io_wanted), STATE_U32(struct ide, ch[c].io_len)

static const struct state_field ide_state[] = {
	STATE_BYTES(struct ide, fn.config),
	CHANNEL_STATE(0),
	CHANNEL_STATE(1),
	STATE_END(),
};

static const struct device_ops ide_ops = {
	.name = "ide",
	.reset = ide_reset,
	.post_load = ide_post_load,
	.quiesce = ide_quiesce,
	.free = ide_free,
	.state = ide_state,
	.state_version = 1,
	.print_stats = ide_print_stats,
};

static void describe(struct ide *i)
{
	const struct pci_bar bar = { .type = PCI_BAR_IO, .size = BM_BAR_SIZE, .name = "ide-bus-master", .ops = &ide_bm_ops, .opaque = i };

	for (unsigned n = IDETIM; n <= SIDETIM; n++)
		i->fn.writable[n] = 0xff;
	pci_add_bar(&i->fn, BM_BAR, &bar);
	pci_function_seal(&i->fn);
}

struct ide *ide_new(const struct ide_config *c)
{
	struct ide *i = calloc(1, sizeof(*i));

	BUG_ON(!i);
	i->dev.ops = &ide_ops;
	list_init(&i->dev.node);
	i->pio = c->pio;
	i->mem = c->mem;
	for (unsigned n = 0; n < IDE_CHANNELS; n++) {
		struct ide_channel *ch = &i->ch[n];

		ch->ide = i;
		ch->n = n;
		ch->cfg = c->channel[n];
		lock_init(&ch->lock, IDE_LOCK_RANK);
		for (unsigned u = 0; u < IDE_UNITS; u++)
			ch->d[u].heads = ch->d[u].sectors = 1;
	}
	pci_function_init(&i->fn, c->bus, c->devfn, &ids);
	i->fn.written = written;
	describe(i);
	return i;
}
