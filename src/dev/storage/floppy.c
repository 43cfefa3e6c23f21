/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Floppy disk controller 82077AA: ports, drives and media, reset, life.
 *
 * Specification: Intel 82077AA data sheet (290166).
 * Missing: the PS/2 modes' status registers A and B, tape, scan commands, deleted data marks, sectors of other sizes than 512
 * bytes, tracks of a layout of their own.
 * Ignored: timing of steps, heads and motors; write precompensation; FIFO thresholds.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dev/storage/floppy_impl.h"

enum { REG_SRA = 0, REG_SRB = 1, REG_DOR = 2, REG_TDR = 3, REG_MSR = 4, REG_FIFO = 5, LOW_PORTS = 6, REG_DIR = 7 };
#define DSR_RESET    0x80
#define RATE_MASK    0x03
#define RATE_DEFAULT 0x02
#define DIR_CHANGED  0x80

/* By size; the one of 1.44 MB is taken for what has no size of a disk's and fits into it. */
static const struct floppy_format formats[] = {
	{ 40, 1, 8, 2, FLOPPY_TYPE_120 },  { 40, 1, 9, 2, FLOPPY_TYPE_120 },  { 40, 2, 8, 2, FLOPPY_TYPE_120 },
	{ 40, 2, 9, 2, FLOPPY_TYPE_120 },  { 80, 2, 9, 2, FLOPPY_TYPE_144 },  { 80, 2, 15, 0, FLOPPY_TYPE_120 },
	{ 80, 2, 18, 0, FLOPPY_TYPE_144 }, { 80, 2, 21, 0, FLOPPY_TYPE_144 }, { 80, 2, 36, 3, FLOPPY_TYPE_288 },
};
#define FORMAT_144 6
#define FORMAT_288 8

/* -- Drives and media ------------------------------------------------------------------------------------ */

static const struct floppy_format *format_of(uint64_t bytes)
{
	const uint64_t sectors = bytes / FLOPPY_SECTOR;

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (sectors == (uint64_t)formats[i].tracks * formats[i].sides * formats[i].spt)
			return &formats[i];
	return sectors <= 80u * 2 * 18 ? &formats[FORMAT_144] : &formats[FORMAT_288];
}

void floppy_examine(struct floppy_drive *d)
{
	struct blk_info info;

	d->changed = true;
	d->format = NULL;
	d->readonly = false;
	if (!d->blk)
		return;
	blk_info(d->blk, &info);
	d->format = format_of(info.size);
	d->readonly = info.readonly;
}

struct floppy_drive *floppy_drive(struct floppy *f, unsigned unit)
{
	return unit < FLOPPY_DRIVES && f->d[unit].type != FLOPPY_TYPE_NONE ? &f->d[unit] : NULL;
}

bool floppy_place_free(const struct floppy *f, unsigned unit)
{
	return f->d[unit].type == FLOPPY_TYPE_NONE;
}

enum floppy_type floppy_type(const struct floppy *f, unsigned unit)
{
	return f->d[unit].type;
}

void floppy_plug(struct floppy *f, unsigned unit, enum floppy_type type, struct blk *blk)
{
	struct floppy_drive *d = &f->d[unit];

	d->blk = blk;
	floppy_examine(d);
	d->type = type != FLOPPY_TYPE_NONE ? type : d->format ? d->format->type : FLOPPY_TYPE_144;
}

static struct blk *media_change(void *chip, unsigned n, struct blk *blk)
{
	struct floppy *f = chip;
	struct blk *old;

	lock_take(&f->lock);
	old = f->d[n].blk;
	f->d[n].blk = blk;
	floppy_examine(&f->d[n]);
	lock_drop(&f->lock);
	if (old)
		blk_drain(old); /* what is under way on it ends before it is gone */
	return old;
}

/* Nothing holds a floppy disk. */
static bool press_eject(void *chip, unsigned n)
{
	return true;
}

static void media_get(void *chip, unsigned n, struct media_state *out)
{
	struct floppy *f = chip;

	lock_take(&f->lock);
	*out = (struct media_state){ .blk = f->d[n].blk };
	lock_drop(&f->lock);
}

static const struct media_ops media_ops = { .change = media_change, .press_eject = press_eject, .get = media_get };

struct media_drive floppy_media(struct floppy *f, unsigned unit)
{
	return (struct media_drive){ &media_ops, f, unit };
}

/* -- Phases ------------------------------------------------------------------------------------------------ */

void floppy_irq(struct floppy *f, bool level)
{
	f->irq = level;
	irq_set(&f->cfg.irq, level && f->dor & DOR_GATE);
}

void floppy_idle(struct floppy *f)
{
	f->phase = FLOPPY_COMMAND;
	f->job = FLOPPY_JOB_NONE;
	f->step = FLOPPY_STEP_NONE;
	f->n_bytes = f->at_byte = 0;
}

void floppy_result(struct floppy *f, unsigned n, bool interrupt)
{
	floppy_idle(f);
	f->phase = FLOPPY_RESULT;
	f->n_bytes = (uint8_t)n;
	if (interrupt)
		floppy_irq(f, true);
}

/* 5.1, 5.2 of the data sheet: what LOCK keeps, only a reset of the machine changes. */
void floppy_reset_chip(struct floppy *f, bool by_software)
{
	floppy_idle(f);
	f->interrupts = 0;
	f->perpendicular = 0;
	if (!by_software || !f->locked) {
		f->config = CONFIG_RESET;
		f->precompensation = 0;
	}
	if (!by_software) {
		f->locked = false;
		f->specify[0] = f->specify[1] = 0;
		f->tdr = 0;
		f->rate = RATE_DEFAULT;
		memset(f->st0, 0, sizeof(f->st0));
		f->unit = f->head = f->cylinder = f->side = f->sector = f->last = 0;
		f->at = f->end = f->sectors = 0;
	}
	floppy_irq(f, false);
	f->reset_polls = 0;
	if (by_software && f->dor & DOR_NOT_RESET) {
		f->reset_polls = f->config & CONFIG_NO_POLL ? 0 : BIT(FLOPPY_UNITS) - 1;
		floppy_irq(f, true);
	}
}

/* A request on the medium ends by itself first. */
static void reset_when_possible(struct floppy *f)
{
	if (f->io_flying)
		f->reset_waits = true;
	else
		floppy_reset_chip(f, true);
}

/* -- Ports --------------------------------------------------------------------------------------------------- */

static uint8_t main_status(const struct floppy *f)
{
	const bool host = f->step == FLOPPY_STEP_HOST && !floppy_uses_dma(f);

	if (!(f->dor & DOR_NOT_RESET) || f->reset_waits)
		return 0;
	switch (f->phase) {
	case FLOPPY_EXECUTION:
		return (uint8_t)(MSR_BUSY | (host ? MSR_READY | MSR_NON_DMA : 0) | (host && f->job == FLOPPY_JOB_READ ? MSR_TO_HOST : 0));
	case FLOPPY_RESULT:
		return MSR_READY | MSR_TO_HOST | MSR_BUSY;
	default:
		return MSR_READY | (f->at_byte ? MSR_BUSY : 0);
	}
}

static uint8_t read_fifo(struct floppy *f)
{
	uint8_t val;

	if (f->phase == FLOPPY_EXECUTION)
		return floppy_data_read(f);
	if (f->phase != FLOPPY_RESULT)
		return 0;
	floppy_irq(f, false);
	val = f->bytes[f->at_byte++];
	if (f->at_byte == f->n_bytes)
		floppy_idle(f);
	return val;
}

static void write_fifo(struct floppy *f, uint8_t val)
{
	if (!(f->dor & DOR_NOT_RESET) || f->reset_waits)
		return;
	if (f->phase == FLOPPY_EXECUTION) {
		floppy_data_write(f, val);
		return;
	}
	if (f->phase != FLOPPY_COMMAND)
		return;
	f->bytes[f->at_byte++] = val;
	if (f->at_byte < floppy_command_length(f->bytes[0]))
		return;
	f->commands++;
	floppy_command(f);
}

static void write_dor(struct floppy *f, uint8_t val)
{
	const uint8_t before = f->dor;

	f->dor = val;
	if (before & DOR_NOT_RESET && !(val & DOR_NOT_RESET)) {
		f->step = FLOPPY_STEP_NONE;
		floppy_irq(f, false);
	} else if (!(before & DOR_NOT_RESET) && val & DOR_NOT_RESET) {
		reset_when_possible(f);
	} else if ((before ^ val) & DOR_GATE) {
		floppy_irq(f, f->irq);
	}
}

static void write_dsr(struct floppy *f, uint8_t val)
{
	f->dsr = val & (uint8_t)~DSR_RESET;
	f->rate = val & RATE_MASK;
	if (val & DSR_RESET)
		reset_when_possible(f); /* this bit clears itself */
}

static uint64_t low_read(void *opaque, uint64_t off, unsigned size)
{
	struct floppy *f = opaque;

	switch (off) {
	case REG_DOR:
		return f->dor;
	case REG_TDR:
		return f->tdr;
	case REG_MSR:
		return main_status(f);
	case REG_FIFO:
		return read_fifo(f);
	default:
		return UINT8_MAX;
	}
}

static void low_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct floppy *f = opaque;

	switch (off) {
	case REG_DOR:
		write_dor(f, (uint8_t)val);
		break;
	case REG_TDR:
		f->tdr = val & 3;
		break;
	case REG_MSR:
		write_dsr(f, (uint8_t)val);
		break;
	case REG_FIFO:
		write_fifo(f, (uint8_t)val);
		break;
	}
}

static uint64_t dir_read(void *opaque, uint64_t off, unsigned size)
{
	struct floppy *f = opaque;
	const struct floppy_drive *d = floppy_drive(f, f->dor & DOR_SELECT);

	return d && (d->changed || !d->blk) ? DIR_CHANGED : 0;
}

static void ccr_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	((struct floppy *)opaque)->rate = val & RATE_MASK;
}

static const struct io_ops low_ops = { .read = low_read, .write = low_write, .max_size = 1 };
static const struct io_ops dir_ops = { .read = dir_read, .write = ccr_write, .max_size = 1 };

int floppy_attach(struct floppy *f, struct space *pio, uint16_t base)
{
	struct region *r;
	int rc = space_add_io(pio, &r, "floppy", base, LOW_PORTS, &low_ops, f, &f->lock);

	return rc ? rc : space_add_io(pio, &r, "floppy-dir", base + REG_DIR, 1, &dir_ops, f, &f->lock);
}

/* -- Life ------------------------------------------------------------------------------------------------------ */

static void on_dma_ready(void *opaque)
{
	struct floppy *f = opaque;

	lock_take(&f->lock);
	if (f->step == FLOPPY_STEP_HOST && floppy_uses_dma(f))
		floppy_go_on(f);
	lock_drop(&f->lock);
}

static void drain(struct floppy *f)
{
	for (unsigned n = 0; n < FLOPPY_DRIVES; n++)
		if (f->d[n].blk)
			blk_drain(f->d[n].blk);
}

static void floppy_quiesce(struct device *dev, bool on)
{
	struct floppy *f = (struct floppy *)dev;

	lock_take(&f->lock);
	f->quiesced = on;
	if (!on)
		floppy_io_again(f);
	lock_drop(&f->lock);
	if (on)
		drain(f);
}

static void floppy_reset(struct device *dev)
{
	struct floppy *f = (struct floppy *)dev;

	drain(f);
	lock_take(&f->lock);
	f->dor = f->dsr = 0;
	floppy_reset_chip(f, false);
	f->reset_waits = f->io_flying;
	for (unsigned n = 0; n < FLOPPY_DRIVES; n++) {
		f->d[n].track = 0;
		f->d[n].changed = true;
	}
	lock_drop(&f->lock);
}

static bool execution_makes_sense(const struct floppy *f)
{
	if (f->job >= FLOPPY_JOBS || f->step >= FLOPPY_STEPS || f->unit >= FLOPPY_UNITS || f->side > 1 || f->at > f->end ||
	    f->end > FLOPPY_BUFFER || f->sectors * FLOPPY_SECTOR > FLOPPY_BUFFER || f->sectors > FLOPPY_BUFFER)
		return false;
	if (f->phase != FLOPPY_EXECUTION)
		return f->step == FLOPPY_STEP_NONE;
	if (f->unit >= FLOPPY_DRIVES || f->d[f->unit].type == FLOPPY_TYPE_NONE || f->job == FLOPPY_JOB_NONE)
		return false;
	return f->step != FLOPPY_STEP_HOST || f->at < f->end;
}

static int floppy_post_load(struct device *dev)
{
	struct floppy *f = (struct floppy *)dev;
	const unsigned limit = f->phase == FLOPPY_COMMAND && f->at_byte ? floppy_command_length(f->bytes[0]) : f->n_bytes;

	if (f->io_flying)
		return -EBUSY;
	if (f->phase >= FLOPPY_PHASES || f->n_bytes > FLOPPY_MAX_BYTES_OF_PHASE || f->rate > RATE_MASK || !execution_makes_sense(f))
		return -EINVAL;
	if (f->phase != FLOPPY_EXECUTION && (f->at_byte || f->phase == FLOPPY_RESULT) && f->at_byte >= limit)
		return -EINVAL;
	lock_take(&f->lock);
	floppy_irq(f, f->irq);
	lock_drop(&f->lock);
	return 0;
}

static void floppy_free(struct device *dev)
{
	struct floppy *f = (struct floppy *)dev;

	i8237_on_ready(f->cfg.dma, f->cfg.dma_channel, NULL, NULL);
	lock_take(&f->lock);
	f->quiesced = true;
	f->step = FLOPPY_STEP_NONE;
	lock_drop(&f->lock);
	for (unsigned n = 0; n < FLOPPY_DRIVES; n++)
		if (f->d[n].blk)
			blk_give_up(f->d[n].blk);
	drain(f);
	lock_release(&f->lock);
	free(f);
}

static void floppy_print_stats(const struct device *dev, struct strbuf *out)
{
	const struct floppy *f = (const struct floppy *)dev;

	if (f->commands)
		strbuf_addf(out, "floppy: %" PRIu64 " commands, %" PRIu64 " bytes read, %" PRIu64 " written\n", f->commands,
			    f->bytes_read, f->bytes_written);
}

static const struct state_field floppy_state[] = {
	STATE_BOOL(struct floppy, irq), STATE_U8(struct floppy, dor), STATE_U8(struct floppy, tdr), STATE_U8(struct floppy, dsr),
	STATE_U8(struct floppy, rate), STATE_U8(struct floppy, phase), STATE_BYTES(struct floppy, bytes),
	STATE_U8(struct floppy, n_bytes), STATE_U8(struct floppy, at_byte), STATE_U8(struct floppy, interrupts),
	STATE_U8(struct floppy, reset_polls), STATE_BYTES(struct floppy, st0), STATE_BYTES(struct floppy, specify),
	STATE_U8(struct floppy, config), STATE_U8(struct floppy, precompensation), STATE_U8(struct floppy, perpendicular),
	STATE_BOOL(struct floppy, locked), STATE_U8(struct floppy, job), STATE_U8(struct floppy, step), STATE_U8(struct floppy, unit),
	STATE_U8(struct floppy, head), STATE_U8(struct floppy, cylinder), STATE_U8(struct floppy, side),
	STATE_U8(struct floppy, sector), STATE_U8(struct floppy, last), STATE_BOOL(struct floppy, both_sides),
	STATE_U32(struct floppy, at), STATE_U32(struct floppy, end), STATE_U32(struct floppy, sectors),
	STATE_BOOL(struct floppy, count_done), STATE_BYTES(struct floppy, buf),
	STATE_U8(struct floppy, d[0].track), STATE_BOOL(struct floppy, d[0].changed),
	STATE_U8(struct floppy, d[1].track), STATE_BOOL(struct floppy, d[1].changed),
	STATE_END(),
};

static const struct device_ops floppy_ops = {
	.name = "floppy",
	.reset = floppy_reset,
	.post_load = floppy_post_load,
	.quiesce = floppy_quiesce,
	.free = floppy_free,
	.state = floppy_state,
	.state_version = 1,
	.print_stats = floppy_print_stats,
};

struct floppy *floppy_new(const struct floppy_config *c)
{
	struct floppy *f = calloc(1, sizeof(*f));

	BUG_ON(!f);
	f->dev.ops = &floppy_ops;
	list_init(&f->dev.node);
	f->cfg = *c;
	lock_init(&f->lock, RANK_DEVICE);
	floppy_reset_chip(f, false);
	i8237_on_ready(c->dma, c->dma_channel, on_dma_ready, f);
	return f;
}
