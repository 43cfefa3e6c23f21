/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two cascaded Intel 8259A programmable interrupt controllers, master and slave, with the
 * edge/level control registers of the PIIX ISA bridge.
 *
 * Specification: Intel 8259A data sheet (order 231468-003); 82371SB data sheet, 2.5.7 (ELCR).
 * Missing: MCS-80/85 mode (ICW4.uPM clear is taken as set).
 * Ignored: ICW1.ADI, ICW2 bits 2-0, ICW3 (the slave is wired to IR2), ICW4.BUF and M/S.
 * An edge request is latched until acknowledged, even if the line falls before.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "dev/intc/pic.h"

#define CASCADE     2
#define SPURIOUS_IR 7

/* ICW1 and the bits that tell OCW2 and OCW3 from it */
#define ICW1_INIT 0x10
#define ICW1_LTIM 0x08
#define ICW1_SNGL 0x02
#define ICW1_IC4  0x01
#define OCW3_MARK 0x08
#define ICW4_SFNM 0x10
#define ICW4_AEOI 0x02
/* OCW2: rotate, specific, end of interrupt */
#define OCW2_R   0x80
#define OCW2_SL  0x40
#define OCW2_EOI 0x20
/* OCW3 */
#define OCW3_ESMM 0x40
#define OCW3_SMM  0x20
#define OCW3_POLL 0x04
#define OCW3_RR   0x02
#define OCW3_RIS  0x01

/* Inputs that the ELCR can make level-triggered: not timer, keyboard, cascade; not RTC, coprocessor. */
static const uint8_t elcr_allowed[2] = { 0xf8, 0xde };

enum init_step { READY, WANT_ICW2, WANT_ICW3, WANT_ICW4 };

struct pic8259 {
	uint8_t lines;   /* level of the inputs now */
	uint8_t irr, imr, isr;
	uint8_t elcr;
	uint8_t base;    /* vector of IR0 */
	uint8_t lowest;  /* IR with the lowest priority */
	uint8_t step;    /* enum init_step */
	bool icw4_follows, single, ltim;
	bool sfnm, aeoi, rotate_aeoi, smm;
	bool poll;       /* the next read is a poll */
	bool read_isr;
};

struct pic {
	struct device dev;
	struct lock lock; /* all below; RANK_INTC */
	struct pic8259 chip[2];
	bool slave_int;   /* the slave's INT output */
	bool out_level;
	struct irq_line out;
};

static uint8_t level_triggered(const struct pic8259 *c)
{
	return c->ltim ? 0xff : c->elcr;
}

/* The set bit of `bits` with the highest priority, as its distance from the top: 0 to 7; 8 for none. */
static unsigned top_rank(const struct pic8259 *c, uint8_t bits)
{
	for (unsigned rank = 0; rank < 8; rank++)
		if (bits & (1u << ((c->lowest + 1 + rank) & 7)))
			return rank;
	return 8;
}

static unsigned rank_to_ir(const struct pic8259 *c, unsigned rank)
{
	return (c->lowest + 1 + rank) & 7;
}

/* The input to be served next, or -1. */
static int chip_request(const struct pic8259 *c, bool master)
{
	uint8_t blocking = c->isr;
	unsigned rank = top_rank(c, c->irr & ~c->imr);

	if (c->smm)
		blocking &= ~c->imr;
	/* In special fully nested mode a slave in service does not block its own higher requests. */
	if (c->sfnm && master)
		blocking &= ~(1u << CASCADE);
	return rank < top_rank(c, blocking) ? (int)rank_to_ir(c, rank) : -1;
}

/* Recompute both INT outputs. A rising slave output is an edge on the master's IR2. */
static void pic_update(struct pic *p)
{
	struct pic8259 *m = &p->chip[0];
	bool slave_int = chip_request(&p->chip[1], false) >= 0;
	bool out;

	if (slave_int && !p->slave_int)
		m->irr |= 1u << CASCADE;
	if (!slave_int && (level_triggered(m) & (1u << CASCADE)))
		m->irr &= ~(1u << CASCADE);
	p->slave_int = slave_int;
	out = chip_request(m, true) >= 0;
	if (out != p->out_level) {
		p->out_level = out;
		irq_set(&p->out, out);
	}
}

static void pic_set_input(void *opaque, unsigned n, bool level)
{
	struct pic *p = opaque;
	struct pic8259 *c = &p->chip[n >> 3];
	uint8_t bit = 1u << (n & 7);

	if (n == CASCADE)
		return;
	lock_take(&p->lock);
	if (level && (!(c->lines & bit) || (level_triggered(c) & bit)))
		c->irr |= bit;
	if (!level && (level_triggered(c) & bit))
		c->irr &= ~bit;
	c->lines = level ? c->lines | bit : c->lines & ~bit;
	pic_update(p);
	lock_drop(&p->lock);
}

struct irq_line pic_input(struct pic *p, unsigned n)
{
	BUG_ON(n > 15);
	return (struct irq_line){ .set = pic_set_input, .opaque = p, .n = n };
}

/* Acknowledge ir on one chip. */
static void chip_ack(struct pic8259 *c, unsigned ir)
{
	uint8_t bit = 1u << ir;

	if (!c->aeoi)
		c->isr |= bit;
	else if (c->rotate_aeoi)
		c->lowest = ir;
	if (!(level_triggered(c) & bit))
		c->irr &= ~bit;
}

static int ack_slave(struct pic *p)
{
	struct pic8259 *s = &p->chip[1];
	int ir = chip_request(s, false);

	if (ir >= 0)
		chip_ack(s, ir);
	else
		ir = SPURIOUS_IR;
	/* INT falls at INTA; if more is pending, pic_update() makes it rise again. */
	p->slave_int = false;
	return s->base + ir;
}

int pic_ack(struct pic *p)
{
	struct pic8259 *m = &p->chip[0];
	int ir, vector;

	lock_take(&p->lock);
	ir = chip_request(m, true);
	if (ir >= 0)
		chip_ack(m, ir);
	else
		ir = SPURIOUS_IR;
	vector = ir == CASCADE ? ack_slave(p) : m->base + ir;
	pic_update(p);
	lock_drop(&p->lock);
	return vector;
}

static void chip_init(struct pic8259 *c, uint8_t icw1)
{
	c->ltim = icw1 & ICW1_LTIM;
	c->single = icw1 & ICW1_SNGL;
	c->icw4_follows = icw1 & ICW1_IC4;
	c->step = WANT_ICW2;
	c->imr = c->isr = 0;
	c->irr = c->lines & level_triggered(c); /* the edge sense circuit is reset */
	c->lowest = 7;
	c->smm = c->poll = c->read_isr = false;
	c->sfnm = c->aeoi = c->rotate_aeoi = false;
}

static void write_ocw2(struct pic8259 *c, uint8_t val)
{
	unsigned ir = val & 7, rank;

	if (!(val & OCW2_EOI)) {
		if ((val & (OCW2_R | OCW2_SL)) == (OCW2_R | OCW2_SL))
			c->lowest = ir;
		else if (!(val & OCW2_SL))
			c->rotate_aeoi = val & OCW2_R;
		return;
	}
	if (!(val & OCW2_SL)) {
		/* In special mask mode a masked level is not cleared by a non-specific EOI. */
		rank = top_rank(c, c->smm ? c->isr & ~c->imr : c->isr);
		if (rank > 7)
			return;
		ir = rank_to_ir(c, rank);
	}
	c->isr &= ~(1u << ir);
	if (val & OCW2_R)
		c->lowest = ir;
}

static void write_ocw3(struct pic8259 *c, uint8_t val)
{
	if (val & OCW3_ESMM)
		c->smm = val & OCW3_SMM;
	if (val & OCW3_POLL)
		c->poll = true;
	else if (val & OCW3_RR)
		c->read_isr = val & OCW3_RIS;
}

static void write_icw(struct pic8259 *c, uint8_t val)
{
	switch (c->step) {
	case WANT_ICW2:
		c->base = val & 0xf8;
		c->step = !c->single ? WANT_ICW3 : c->icw4_follows ? WANT_ICW4 : READY;
		break;
	case WANT_ICW3:
		c->step = c->icw4_follows ? WANT_ICW4 : READY;
		break;
	case WANT_ICW4:
		c->sfnm = val & ICW4_SFNM;
		c->aeoi = val & ICW4_AEOI;
		c->step = READY;
		break;
	default:
		c->imr = val; /* OCW1 */
	}
}

static void chip_write(struct pic *p, unsigned n, uint64_t off, uint8_t val)
{
	struct pic8259 *c = &p->chip[n];

	if (off)
		write_icw(c, val);
	else if (val & ICW1_INIT)
		chip_init(c, val);
	else if (val & OCW3_MARK)
		write_ocw3(c, val);
	else
		write_ocw2(c, val);
	pic_update(p);
}

/* A poll acts as INTA and tells the request in its low bits; bit 7 clear: there is none. */
static uint8_t chip_poll(struct pic *p, unsigned n)
{
	struct pic8259 *c = &p->chip[n];
	int ir = chip_request(c, n == 0);

	c->poll = false;
	if (ir < 0)
		return 0;
	chip_ack(c, ir);
	if (n == 1)
		p->slave_int = false;
	pic_update(p);
	return 0x80 | ir;
}

static uint8_t chip_read(struct pic *p, unsigned n, uint64_t off)
{
	const struct pic8259 *c = &p->chip[n];

	if (c->poll)
		return chip_poll(p, n);
	if (off)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

static uint64_t master_read(void *opaque, uint64_t off, unsigned size)
{
	return chip_read(opaque, 0, off);
}

static void master_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	chip_write(opaque, 0, off, val);
}

static uint64_t slave_read(void *opaque, uint64_t off, unsigned size)
{
	return chip_read(opaque, 1, off);
}

static void slave_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	chip_write(opaque, 1, off, val);
}

static uint64_t elcr_read(void *opaque, uint64_t off, unsigned size)
{
	struct pic *p = opaque;

	return p->chip[off].elcr;
}

static void elcr_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct pic *p = opaque;
	struct pic8259 *c = &p->chip[off];
	uint8_t was = level_triggered(c);

	c->elcr = val & elcr_allowed[off];
	/* What became level-triggered follows its line; a latched edge does not outlive the change. */
	c->irr = (c->irr & ~(was ^ level_triggered(c))) | (c->lines & level_triggered(c));
	pic_update(p);
}

static const struct io_ops master_io = { .read = master_read, .write = master_write, .max_size = 1 };
static const struct io_ops slave_io = { .read = slave_read, .write = slave_write, .max_size = 1 };
static const struct io_ops elcr_io = { .read = elcr_read, .write = elcr_write, .max_size = 1 };

int pic_attach(struct pic *p, struct space *pio, uint16_t master, uint16_t slave, uint16_t elcr)
{
	struct region *r;
	int rc;

	rc = space_add_io(pio, &r, "pic-master", master, 2, &master_io, p, &p->lock);
	if (!rc)
		rc = space_add_io(pio, &r, "pic-slave", slave, 2, &slave_io, p, &p->lock);
	if (!rc)
		rc = space_add_io(pio, &r, "elcr", elcr, 2, &elcr_io, p, &p->lock);
	return rc;
}

void pic_set_level_triggered(struct pic *p, unsigned n)
{
	BUG_ON(n > 15 || !(elcr_allowed[n >> 3] & (1u << (n & 7))));
	lock_take(&p->lock);
	elcr_write(p, n >> 3, 1, p->chip[n >> 3].elcr | (1u << (n & 7)));
	lock_drop(&p->lock);
}

/* Power-on: all is masked until ICW1 (hardware leaves that open). The lines belong to those who drive them and stay. */
static void pic_reset(struct device *d)
{
	struct pic *p = (struct pic *)d;

	lock_take(&p->lock);
	for (unsigned i = 0; i < 2; i++) {
		struct pic8259 *c = &p->chip[i];

		c->elcr = c->base = 0;
		chip_init(c, 0);
		c->imr = 0xff;
		c->step = READY;
	}
	p->slave_int = false;
	pic_update(p);
	lock_drop(&p->lock);
}

static int pic_post_load(struct device *d)
{
	struct pic *p = (struct pic *)d;

	for (unsigned i = 0; i < 2; i++) {
		const struct pic8259 *c = &p->chip[i];

		if (c->lowest > 7 || c->step > WANT_ICW4 || (c->base & 7) || (c->elcr & ~elcr_allowed[i]))
			return -EINVAL;
	}
	lock_take(&p->lock);
	pic_update(p);
	irq_set(&p->out, p->out_level);
	lock_drop(&p->lock);
	return 0;
}

static void pic_free(struct device *d)
{
	struct pic *p = (struct pic *)d;

	lock_release(&p->lock);
	free(p);
}

#define CHIP_STATE(n)                                                                                                \
	STATE_U8(struct pic, chip[n].lines), STATE_U8(struct pic, chip[n].irr), STATE_U8(struct pic, chip[n].imr),   \
		STATE_U8(struct pic, chip[n].isr), STATE_U8(struct pic, chip[n].elcr),                               \
		STATE_U8(struct pic, chip[n].base), STATE_U8(struct pic, chip[n].lowest),                            \
		STATE_U8(struct pic, chip[n].step), STATE_BOOL(struct pic, chip[n].icw4_follows),                    \
		STATE_BOOL(struct pic, chip[n].single), STATE_BOOL(struct pic, chip[n].ltim),                        \
		STATE_BOOL(struct pic, chip[n].sfnm), STATE_BOOL(struct pic, chip[n].aeoi),                          \
		STATE_BOOL(struct pic, chip[n].rotate_aeoi), STATE_BOOL(struct pic, chip[n].smm),                    \
		STATE_BOOL(struct pic, chip[n].poll), STATE_BOOL(struct pic, chip[n].read_isr)

static const struct state_field pic_state[] = {
	CHIP_STATE(0),
	CHIP_STATE(1),
	STATE_BOOL(struct pic, slave_int),
	STATE_BOOL(struct pic, out_level),
	STATE_END(),
};

static const struct device_ops pic_ops = {
	.name = "pic",
	.reset = pic_reset,
	.post_load = pic_post_load,
	.free = pic_free,
	.state = pic_state,
	.state_version = 1,
};

struct pic *pic_new(struct irq_line out)
{
	struct pic *p = calloc(1, sizeof(*p));

	BUG_ON(!p);
	p->dev.ops = &pic_ops;
	list_init(&p->dev.node);
	p->out = out;
	lock_init(&p->lock, RANK_INTC);
	pic_reset(&p->dev);
	return p;
}
