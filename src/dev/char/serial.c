/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * National Semiconductor PC16550D serial port as a PC wires it (OUT2 gates the interrupt).
 *
 * Specification: PC16550D data sheet (TL/C/8652), 8.0.
 * Missing: DMA mode (RXRDY and TXRDY pins). Ignored: word length, parity and stop bits (a character
 * is 8 bits), the baud rate but for the receive time-out. A byte is sent at once if the peer takes it;
 * else it waits in the FIFO and THRE stays clear until it has gone. Nothing that was accepted is lost:
 * clearing the transmit FIFO, or a reset, lets the waiting bytes go out. Input that has no room waits
 * in the backend, so that overrun happens in loopback only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/chr/chr.h"
#include "base/err.h"
#include "dev/char/serial.h"
#include "dev/limits.h"

#define FIFO_SIZE   16
#define SERIAL_REGS 8
#define NS_PER_SEC  1000000000ull
#define BAUD_BASE   115200ull /* 1.8432 MHz / 16 */
#define FINAL_FLUSH_MS 2000
#define TIMEOUT_BITS 40       /* four characters of ten bits; data sheet 8.4, "FIFO Interrupt Mode" */

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RX     0x01
#define IER_TX     0x02
#define IER_LINE   0x04
#define IER_MODEM  0x08
#define IER_MASK   0x0f

#define IIR_NONE    0x01
#define IIR_MODEM   0x00
#define IIR_TX      0x02
#define IIR_RX      0x04
#define IIR_LINE    0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO    0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_TRIGGER(v) ((v) >> 6)
#define FCR_STORED   0xc9

#define LCR_BREAK  0x40
#define LCR_DLAB   0x80

#define MCR_DTR    0x01
#define MCR_RTS    0x02
#define MCR_OUT1   0x04
#define MCR_OUT2   0x08
#define MCR_LOOP   0x10
#define MCR_MASK   0x1f

#define LSR_DR     0x01
#define LSR_OE     0x02
#define LSR_FE     0x08
#define LSR_BI     0x10
#define LSR_THRE   0x20
#define LSR_TEMT   0x40
#define LSR_FIFO_ERROR 0x80
#define LSR_ERRORS 0x1e

#define MSR_DCTS   0x01
#define MSR_DDSR   0x02
#define MSR_TERI   0x04
#define MSR_DDCD   0x08
#define MSR_CTS    0x10
#define MSR_DSR    0x20
#define MSR_RI     0x40
#define MSR_DCD    0x80
#define MSR_LINES  0xf0

static const uint8_t trigger_level[4] = { 1, 4, 8, 14 };

struct serial {
	struct device dev;
	struct lock lock;           /* all below; RANK_DEVICE */
	uint8_t ier, fcr, lcr, mcr, msr, scr;
	uint16_t divisor;
	uint8_t errors;             /* LSR_ERRORS bits */
	uint8_t rx[FIFO_SIZE], rx_error[FIFO_SIZE]; /* rx_error: LSR bits that come with the character */
	uint8_t rx_len;
	uint8_t tx[FIFO_SIZE];
	uint8_t tx_len;
	bool tx_empty_pending;      /* THRE interrupt: set by the FIFO running empty, cleared by reading IIR */
	bool timeout_pending;
	bool rx_refused;            /* the backend holds input for us */
	bool quiet;                 /* the machine is stopped: nothing may change, nothing is taken */
	struct timer timer;
	struct clock *clock;
	struct irq_line irq;
	struct chr *peer;
};

static unsigned fifo_depth(const struct serial *s)
{
	return s->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned rx_trigger(const struct serial *s)
{
	return s->fcr & FCR_ENABLE ? trigger_level[FCR_TRIGGER(s->fcr)] : 1;
}

/* -- Interrupts -------------------------------------------------------------------------------- */

/* The pending interrupt of the highest priority, as IIR shows it. */
static uint8_t interrupt_id(const struct serial *s)
{
	if ((s->ier & IER_LINE) && s->errors)
		return IIR_LINE;
	if ((s->ier & IER_RX) && s->rx_len >= rx_trigger(s))
		return IIR_RX;
	if ((s->ier & IER_RX) && s->timeout_pending)
		return IIR_TIMEOUT;
	if ((s->ier & IER_TX) && s->tx_empty_pending)
		return IIR_TX;
	if ((s->ier & IER_MODEM) && (s->msr & ~MSR_LINES))
		return IIR_MODEM;
	return IIR_NONE;
}

static void update_irq(struct serial *s)
{
	/* In loopback the OUT2 pin is inactive. */
	bool gate = (s->mcr & MCR_OUT2) && !(s->mcr & MCR_LOOP);

	irq_set(&s->irq, gate && interrupt_id(s) != IIR_NONE);
}

/* Characters were received or read: the time-out of what is left starts anew. */
static void restart_timeout(struct serial *s)
{
	uint64_t ns = TIMEOUT_BITS * NS_PER_SEC / BAUD_BASE * (s->divisor ? s->divisor : 1);

	if ((s->fcr & FCR_ENABLE) && (s->ier & IER_RX) && s->rx_len && !s->timeout_pending)
		timer_arm(&s->timer, clock_now(s->clock) + MAX(ns, DEV_TIMER_MIN_PERIOD_NS));
	else
		timer_cancel(&s->timer);
}

static void serial_timer(void *opaque)
{
	struct serial *s = opaque;

	lock_take(&s->lock);
	/* A read may have emptied the FIFO while this call was under way. */
	if (s->rx_len && (s->fcr & FCR_ENABLE)) {
		s->timeout_pending = true;
		update_irq(s);
	}
	lock_drop(&s->lock);
}

/* -- Receiver ---------------------------------------------------------------------------------- */

static unsigned rx_room(const struct serial *s)
{
	return s->rx_len < fifo_depth(s) ? fifo_depth(s) - s->rx_len : 0;
}

static void rx_push(struct serial *s, uint8_t val, uint8_t error)
{
	if (!rx_room(s)) {
		s->errors |= LSR_OE;
		return;
	}
	s->rx[s->rx_len] = val;
	s->rx_error[s->rx_len] = error;
	if (s->rx_len++ == 0)
		s->errors |= error; /* shown when the character is at the top of the FIFO */
}

static void rx_resume(struct serial *s)
{
	if (s->rx_refused && rx_room(s) && !(s->mcr & MCR_LOOP) && !s->quiet) {
		s->rx_refused = false;
		chr_resume_read(s->peer);
	}
}

static uint8_t rx_pop(struct serial *s)
{
	uint8_t val = s->rx[0];

	s->timeout_pending = false;
	if (!s->rx_len)
		return val; /* the last character again */
	s->rx_len--;
	memmove(s->rx, s->rx + 1, s->rx_len);
	memmove(s->rx_error, s->rx_error + 1, s->rx_len);
	if (s->rx_len)
		s->errors |= s->rx_error[0];
	restart_timeout(s);
	rx_resume(s);
	return val;
}

static void rx_clear(struct serial *s)
{
	s->rx_len = 0;
	s->timeout_pending = false;
	restart_timeout(s);
	rx_resume(s);
}

static size_t on_read(void *opaque, const uint8_t *buf, size_t len)
{
	struct serial *s = opaque;
	size_t n = 0;

	lock_take(&s->lock);
	if (!(s->mcr & MCR_LOOP) && !s->quiet)
		n = MIN(len, rx_room(s));
	for (size_t i = 0; i < n; i++)
		rx_push(s, buf[i], 0);
	if (n < len)
		s->rx_refused = true;
	if (n) {
		restart_timeout(s);
		update_irq(s);
	}
	lock_drop(&s->lock);
	return n;
}

/* A break is a null character with a framing error; without room for it, it is lost. */
static void on_break(void *opaque)
{
	struct serial *s = opaque;

	lock_take(&s->lock);
	if (!(s->mcr & MCR_LOOP) && rx_room(s)) {
		rx_push(s, 0, LSR_BI | LSR_FE);
		restart_timeout(s);
		update_irq(s);
	}
	lock_drop(&s->lock);
}

/* -- Transmitter ------------------------------------------------------------------------------- */

/* Hand to the peer what it takes. */
static void tx_flush(struct serial *s)
{
	size_t n = s->peer ? chr_write(s->peer, s->tx, s->tx_len) : s->tx_len;

	s->tx_len -= n;
	memmove(s->tx, s->tx + n, s->tx_len);
	if (!s->tx_len)
		s->tx_empty_pending = true;
}

static void on_writable(void *opaque)
{
	struct serial *s = opaque;

	lock_take(&s->lock);
	if (s->tx_len && !s->quiet) {
		tx_flush(s);
		update_irq(s);
	}
	lock_drop(&s->lock);
}

static void tx_write(struct serial *s, uint8_t val)
{
	if (s->mcr & MCR_LOOP) {
		rx_push(s, val, 0);
		restart_timeout(s);
		s->tx_empty_pending = !s->tx_len;
		return;
	}
	s->tx_empty_pending = false;
	update_irq(s); /* each THRE interrupt is an edge of its own */
	/* A write into the full FIFO (16 deep without FIFO mode too) takes the place of the last character. */
	if (s->tx_len == FIFO_SIZE)
		s->tx_len--;
	s->tx[s->tx_len++] = val;
	tx_flush(s);
}

static const struct chr_handlers serial_handlers = {
	.read = on_read,
	.writable = on_writable,
	.brk = on_break,
};

/* -- Modem lines ------------------------------------------------------------------------------- */

/* What the input lines show now: the peer, or in loopback our own outputs. */
static uint8_t modem_inputs(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return s->peer ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
	return (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void update_modem(struct serial *s)
{
	uint8_t now = modem_inputs(s), changed = (s->msr ^ now) & MSR_LINES;
	uint8_t delta = 0;

	if (changed & MSR_CTS)
		delta |= MSR_DCTS;
	if (changed & MSR_DSR)
		delta |= MSR_DDSR;
	if (changed & ~now & MSR_RI)
		delta |= MSR_TERI; /* trailing edge only */
	if (changed & MSR_DCD)
		delta |= MSR_DDCD;
	s->msr = now | (s->msr & ~MSR_LINES) | delta;
}

/* -- Registers --------------------------------------------------------------------------------- */

static uint8_t read_iir(struct serial *s)
{
	uint8_t id = interrupt_id(s);

	if (id == IIR_TX)
		s->tx_empty_pending = false;
	return id | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t v = s->errors | (s->rx_len ? LSR_DR : 0) | (s->tx_len ? 0 : LSR_THRE | LSR_TEMT);

	if (s->fcr & FCR_ENABLE)
		for (unsigned i = 0; i < s->rx_len; i++)
			if (s->rx_error[i])
				v |= LSR_FIFO_ERROR;
	s->errors = 0;
	if (s->rx_len)
		s->rx_error[0] = 0;
	return v;
}

static uint8_t read_msr(struct serial *s)
{
	uint8_t v = s->msr;

	s->msr &= MSR_LINES;
	return v;
}

static void write_ier(struct serial *s, uint8_t val)
{
	/* Enabling the interrupt while the transmitter is empty raises it. */
	if ((val & ~s->ier & IER_TX) && !s->tx_len)
		s->tx_empty_pending = true;
	s->ier = val & IER_MASK;
	restart_timeout(s);
}

static void write_fcr(struct serial *s, uint8_t val)
{
	bool toggled = (val ^ s->fcr) & FCR_ENABLE;

	/* The other bits count only together with the enable bit. */
	s->fcr = val & FCR_ENABLE ? val & FCR_STORED : 0;
	if (toggled || (val & FCR_CLEAR_RX))
		rx_clear(s);
}

static void write_lcr(struct serial *s, uint8_t val)
{
	bool brk = val & ~s->lcr & LCR_BREAK;

	s->lcr = val;
	if (brk && (s->mcr & MCR_LOOP))
		rx_push(s, 0, LSR_BI | LSR_FE);
}

static void write_mcr(struct serial *s, uint8_t val)
{
	s->mcr = val & MCR_MASK;
	update_modem(s);
	rx_resume(s);
}

static uint64_t serial_read(void *opaque, uint64_t off, unsigned size)
{
	struct serial *s = opaque;
	bool dlab = s->lcr & LCR_DLAB;
	uint8_t v;

	switch (off) {
	case REG_DATA:
		v = dlab ? s->divisor & 0xff : rx_pop(s);
		break;
	case REG_IER:
		v = dlab ? s->divisor >> 8 : s->ier;
		break;
	case REG_IIR_FCR:
		v = read_iir(s);
		break;
	case REG_LCR:
		v = s->lcr;
		break;
	case REG_MCR:
		v = s->mcr;
		break;
	case REG_LSR:
		v = read_lsr(s);
		break;
	case REG_MSR:
		v = read_msr(s);
		break;
	default:
		v = s->scr;
	}
	update_irq(s);
	return v;
}

static void serial_write(void *opaque, uint64_t off, unsigned size, uint64_t val)
{
	struct serial *s = opaque;
	bool dlab = s->lcr & LCR_DLAB;

	switch (off) {
	case REG_DATA:
		if (dlab)
			s->divisor = (s->divisor & 0xff00) | val;
		else
			tx_write(s, val);
		break;
	case REG_IER:
		if (dlab)
			s->divisor = (s->divisor & 0xff) | val << 8;
		else
			write_ier(s, val);
		break;
	case REG_IIR_FCR:
		write_fcr(s, val);
		break;
	case REG_LCR:
		write_lcr(s, val);
		break;
	case REG_MCR:
		write_mcr(s, val);
		break;
	case REG_SCR:
		s->scr = val;
		break;
	default:
		break; /* LSR and MSR are for factory tests */
	}
	update_irq(s);
}

static const struct io_ops serial_io = { .read = serial_read, .write = serial_write, .max_size = 1 };

int serial_attach(struct serial *s, struct space *pio, uint16_t base)
{
	struct region *r;

	return space_add_io(pio, &r, "serial", base, SERIAL_REGS, &serial_io, s, &s->lock);
}

/* -- Life -------------------------------------------------------------------------------------- */

static void serial_reset(struct device *d)
{
	struct serial *s = (struct serial *)d;

	lock_take(&s->lock);
	s->ier = s->fcr = s->lcr = s->mcr = s->scr = s->errors = 0;
	s->divisor = 1;
	s->msr = modem_inputs(s);
	s->tx_empty_pending = false;
	rx_clear(s);
	update_irq(s);
	lock_drop(&s->lock);
}

static bool state_valid(const struct serial *s)
{
	if (s->rx_len > fifo_depth(s) || s->tx_len > FIFO_SIZE || (s->errors & ~LSR_ERRORS))
		return false;
	for (unsigned i = 0; i < s->rx_len; i++)
		if (s->rx_error[i] & ~LSR_ERRORS)
			return false;
	return !(s->ier & ~IER_MASK) && !(s->mcr & ~MCR_MASK) && !(s->fcr & ~FCR_STORED) &&
	       ((s->fcr & FCR_ENABLE) || !s->fcr);
}

static int serial_post_load(struct device *d)
{
	struct serial *s = (struct serial *)d;

	if (!state_valid(s)) {
		s->tx_len = 0; /* a reset would keep it */
		return -EINVAL;
	}
	lock_take(&s->lock);
	update_modem(s); /* this host's peer may be another one */
	if (s->tx_len)
		tx_flush(s);
	rx_resume(s);
	restart_timeout(s);
	update_irq(s);
	lock_drop(&s->lock);
	return 0;
}

static void serial_quiesce(struct device *d, bool on)
{
	struct serial *s = (struct serial *)d;

	lock_take(&s->lock);
	s->quiet = on;
	rx_resume(s);
	if (!on && s->tx_len)
		tx_flush(s); /* the peer may have called in vain */
	update_irq(s);
	lock_drop(&s->lock);
}

static void serial_free(struct device *d)
{
	struct serial *s = (struct serial *)d;

	if (s->peer) {
		chr_set_handlers(s->peer, NULL, NULL);
		/* What still waits goes out too, unless the reader is stuck. */
		if (s->tx_len && chr_flush(s->peer, FINAL_FLUSH_MS)) {
			tx_flush(s);
			chr_flush(s->peer, FINAL_FLUSH_MS);
		}
	}
	timer_release(&s->timer);
	lock_release(&s->lock);
	free(s);
}

static const struct state_field serial_state[] = {
	STATE_U8(struct serial, ier),
	STATE_U8(struct serial, fcr),
	STATE_U8(struct serial, lcr),
	STATE_U8(struct serial, mcr),
	STATE_U8(struct serial, msr),
	STATE_U8(struct serial, scr),
	STATE_U16(struct serial, divisor),
	STATE_U8(struct serial, errors),
	STATE_BYTES(struct serial, rx),
	STATE_BYTES(struct serial, rx_error),
	STATE_U8(struct serial, rx_len),
	STATE_BYTES(struct serial, tx),
	STATE_U8(struct serial, tx_len),
	STATE_BOOL(struct serial, tx_empty_pending),
	STATE_BOOL(struct serial, timeout_pending),
	STATE_END(),
};

static const struct device_ops serial_ops = {
	.name = "serial",
	.reset = serial_reset,
	.post_load = serial_post_load,
	.quiesce = serial_quiesce,
	.free = serial_free,
	.state = serial_state,
	.state_version = 1,
};

struct serial *serial_new(struct irq_line irq, struct chr *peer, struct clock *clock)
{
	struct serial *s = calloc(1, sizeof(*s));

	BUG_ON(!s);
	s->dev.ops = &serial_ops;
	list_init(&s->dev.node);
	s->irq = irq;
	s->peer = peer;
	s->clock = clock;
	lock_init(&s->lock, RANK_DEVICE);
	timer_init(&s->timer, clock, serial_timer, s);
	serial_reset(&s->dev);
	if (peer)
		chr_set_handlers(peer, &serial_handlers, s);
	return s;
}
