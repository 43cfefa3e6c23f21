/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio console.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 5.3.
 * Missing: ports that come and go while the machine runs.
 *
 * Bytes from the host wait in their backend until the guest has opened the port and given buffers. Control messages
 * to the guest are bits in each port's `pending`, sent in the order of the bits as buffers become available.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "virtio/console.h"

#define F_SIZE      BIT(0)
#define F_MULTIPORT BIT(1)
#define F_EMERG     BIT(2)

enum { CFG_COLS = 0, CFG_ROWS = 2, CFG_MAX_PORTS = 4, CFG_EMERG = 8, CFG_SIZE = 12 };

/* Control messages, 5.3.6.2 */
enum { EV_DEVICE_READY, EV_DEVICE_ADD, EV_DEVICE_REMOVE, EV_PORT_READY, EV_CONSOLE_PORT, EV_RESIZE, EV_PORT_OPEN, EV_PORT_NAME };
enum { CTL_ID = 0, CTL_EVENT = 4, CTL_VALUE = 6, CTL_SIZE = 8 };

/* What a port has to tell the guest, in this order. */
enum { SEND_ADD = 1, SEND_CONSOLE = 2, SEND_RESIZE = 4, SEND_NAME = 8, SEND_OPEN = 16, SEND_ALL = 31 };

#define Q_CTL_RX 2
#define Q_CTL_TX 3

struct port {
	struct virtio_console *c;
	unsigned nr;
	bool there, console;
	char name[VIRTIO_CONSOLE_MAX_NAME];
	struct chr *chr;
	_Atomic bool guest_open;  /* the guest reads, or at least could */
	struct vq_chain *tx;      /* lock of its transmit queue: not all of it has been written yet ... */
	size_t tx_off;            /* ... but this much */
};

struct virtio_console {
	struct virtio_device vd;
	unsigned max_ports;
	struct port port[VIRTIO_CONSOLE_MAX_PORTS];
	uint16_t cols, rows;      /* vd.lock */
	/* Lock of the control queue to the guest. */
	uint8_t pending[VIRTIO_CONSOLE_MAX_PORTS];
	uint8_t open[VIRTIO_CONSOLE_MAX_PORTS]; /* guest_open as saved */
	uint16_t sent_cols, sent_rows;
};

static unsigned rx_queue(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

static unsigned tx_queue(unsigned port)
{
	return rx_queue(port) + 1;
}

static unsigned port_of_queue(unsigned q)
{
	return q < 2 ? 0 : q / 2 - 1;
}

/* -- From the host --------------------------------------------------------------------------------------- */

static size_t on_read(void *opaque, const uint8_t *buf, size_t len)
{
	struct port *p = opaque;
	struct virtqueue *vq = &p->c->vd.vq[rx_queue(p->nr)];
	size_t done = 0, n;

	lock_take(&vq->lock);
	while (done < len && atomic_load(&p->guest_open)) {
		struct vq_chain *c = vq_pop(vq);

		if (!c)
			break;
		n = sg_write(c->in, c->n_in, 0, buf + done, len - done);
		vq_fill(c, n);
		done += n;
	}
	vq_flush(vq);
	lock_drop(&vq->lock);
	return done;
}

static void on_writable(void *opaque)
{
	struct port *p = opaque;

	virtio_wake(&p->c->vd, tx_queue(p->nr));
}

static const struct chr_handlers chr_ops = { .read = on_read, .writable = on_writable };

/* -- To the host ------------------------------------------------------------------------------------------- */

/* Write what is left of the chain; false: the backend takes no more now. */
static bool write_chain(struct port *p, struct vq_chain *c)
{
	size_t off = p->tx_off;

	for (unsigned i = 0; i < c->n_out && p->chr; i++) {
		size_t len = c->out[i].iov_len, n;

		if (off >= len) {
			off -= len;
			continue;
		}
		n = chr_write(p->chr, (char *)c->out[i].iov_base + off, len - off);
		p->tx_off += n;
		if (n < len - off)
			return false;
		off = 0;
	}
	p->tx_off = 0;
	return true;
}

static bool process_tx(struct port *p, struct virtqueue *vq)
{
	for (unsigned left = vq->size; left; left--) {
		if (!p->tx)
			p->tx = vq_pop(vq);
		if (!p->tx)
			return false;
		if (!write_chain(p, p->tx))
			return false;
		vq_push(p->tx, 0);
		p->tx = NULL;
	}
	return true;
}

/* -- Control --------------------------------------------------------------------------------------------- */

/* The message for the lowest bit of the port's pending ones. */
static size_t make_message(struct virtio_console *c, unsigned nr, uint8_t *buf)
{
	struct port *p = &c->port[nr];
	unsigned what = c->pending[nr] & -c->pending[nr];
	uint16_t event = EV_DEVICE_ADD, value = 1;
	size_t len = CTL_SIZE;

	switch (what) {
	case SEND_CONSOLE:
		event = EV_CONSOLE_PORT;
		break;
	case SEND_RESIZE:
		event = EV_RESIZE;
		/* The specification says columns first; Linux has read rows first from the beginning. */
		put_le16(buf + CTL_SIZE, c->sent_rows);
		put_le16(buf + CTL_SIZE + 2, c->sent_cols);
		len += 4;
		break;
	case SEND_NAME:
		event = EV_PORT_NAME;
		memcpy(buf + CTL_SIZE, p->name, strlen(p->name));
		len += strlen(p->name);
		break;
	case SEND_OPEN:
		event = EV_PORT_OPEN;
		break;
	}
	put_le32(buf + CTL_ID, nr);
	put_le16(buf + CTL_EVENT, event);
	put_le16(buf + CTL_VALUE, value);
	c->pending[nr] &= (uint8_t)~what;
	return len;
}

static void send_pending_locked(struct virtio_console *c)
{
	struct virtqueue *vq = &c->vd.vq[Q_CTL_RX];
	uint8_t buf[CTL_SIZE + VIRTIO_CONSOLE_MAX_NAME];

	for (unsigned nr = 0; nr < c->max_ports; nr++) {
		while (c->pending[nr]) {
			struct vq_chain *chain = vq_pop(vq);
			size_t len;

			if (!chain)
				goto out;
			len = make_message(c, nr, buf);
			vq_fill(chain, sg_write(chain->in, chain->n_in, 0, buf, len));
		}
	}
out:
	vq_flush(vq);
}

static void send(struct virtio_console *c, unsigned nr, uint8_t what)
{
	struct port *p = &c->port[nr];
	struct virtqueue *vq = &c->vd.vq[Q_CTL_RX];

	if (!p->console)
		what &= (uint8_t)~(SEND_CONSOLE | SEND_RESIZE);
	if (!p->name[0])
		what &= (uint8_t)~SEND_NAME;
	lock_take(&vq->lock);
	if (!c->sent_cols)
		what &= (uint8_t)~SEND_RESIZE;
	c->pending[nr] |= what;
	send_pending_locked(c);
	lock_drop(&vq->lock);
}

static void handle_control(struct virtio_console *c, const uint8_t *msg)
{
	uint32_t nr = get_le32(msg + CTL_ID);
	uint16_t value = get_le16(msg + CTL_VALUE);

	if (get_le16(msg + CTL_EVENT) == EV_DEVICE_READY) {
		for (nr = 0; nr < c->max_ports && value; nr++)
			if (c->port[nr].there)
				send(c, nr, SEND_ADD);
		return;
	}
	if (nr >= c->max_ports || !c->port[nr].there)
		return;
	switch (get_le16(msg + CTL_EVENT)) {
	case EV_PORT_READY:
		if (value)
			send(c, nr, SEND_ALL & ~SEND_ADD);
		break;
	case EV_PORT_OPEN:
		atomic_store(&c->port[nr].guest_open, value != 0);
		if (value && c->port[nr].chr)
			chr_resume_read(c->port[nr].chr);
		break;
	}
}

/* A message of the guest may ask for answers on the other control queue, whose lock has the same rank. */
static bool process_control(struct virtio_console *c, struct virtqueue *vq)
{
	for (unsigned left = vq->size; left; left--) {
		struct vq_chain *chain = vq_pop(vq);
		uint8_t msg[CTL_SIZE];

		if (!chain)
			return false;
		if (sg_read(chain->out, chain->n_out, 0, msg, sizeof(msg)) == sizeof(msg)) {
			lock_drop(&vq->lock);
			handle_control(c, msg);
			lock_take(&vq->lock);
		}
		vq_push(chain, 0);
	}
	return true;
}

static bool console_process(struct virtio_device *vd, struct virtqueue *vq)
{
	struct virtio_console *c = (struct virtio_console *)vd;
	struct port *p = &c->port[port_of_queue(vq->index)];

	if (vq->index == Q_CTL_TX)
		return process_control(c, vq);
	if (vq->index == Q_CTL_RX) {
		send_pending_locked(c);
		return false;
	}
	if (vq->index & 1)
		return process_tx(p, vq);
	if (p->chr)
		chr_resume_read(p->chr);
	return false;
}

/* -- Configuration and life ------------------------------------------------------------------------------- */

static void console_config_read(struct virtio_device *vd, uint8_t *buf)
{
	struct virtio_console *c = (struct virtio_console *)vd;

	put_le16(buf + CFG_COLS, c->cols);
	put_le16(buf + CFG_ROWS, c->rows);
	put_le32(buf + CFG_MAX_PORTS, c->max_ports);
}

/* 5.3.4: a character without any queue, for a kernel that is about to die. */
static void console_config_write(struct virtio_device *vd, unsigned off, unsigned size, uint64_t val)
{
	struct virtio_console *c = (struct virtio_console *)vd;
	uint8_t byte = (uint8_t)val;

	if (off == CFG_EMERG && c->port[0].chr)
		chr_write(c->port[0].chr, &byte, 1);
}

static void console_ready(struct virtio_device *vd)
{
	struct virtio_console *c = (struct virtio_console *)vd;

	/* Without multiport there is nothing that would open the one port. */
	if (!virtio_has(vd, F_MULTIPORT))
		atomic_store(&c->port[0].guest_open, true);
	for (unsigned i = 0; i < c->max_ports; i++) {
		if (!c->port[i].chr)
			continue;
		chr_resume_read(c->port[i].chr);
		virtio_wake(vd, tx_queue(i));
	}
}

static void drop_tx(struct virtio_console *c, bool keep)
{
	for (unsigned i = 0; i < c->max_ports; i++) {
		struct port *p = &c->port[i];
		struct virtqueue *vq = &c->vd.vq[tx_queue(i)];

		lock_take(&vq->lock);
		if (p->tx && keep)
			vq_unpop(vq, p->tx);
		else if (p->tx)
			vq_drop(p->tx);
		p->tx = NULL;
		if (!keep)
			p->tx_off = 0;
		lock_drop(&vq->lock);
	}
}

static void console_reset(struct virtio_device *vd)
{
	struct virtio_console *c = (struct virtio_console *)vd;

	drop_tx(c, false);
	lock_take(&vd->vq[Q_CTL_RX].lock);
	memset(c->pending, 0, sizeof(c->pending));
	memset(c->open, 0, sizeof(c->open));
	lock_drop(&vd->vq[Q_CTL_RX].lock);
	for (unsigned i = 0; i < c->max_ports; i++)
		atomic_store(&c->port[i].guest_open, false);
}

/* What a slow reader has not taken yet goes back into the ring, with a note of how much it has. */
static void console_drain(struct virtio_device *vd)
{
	struct virtio_console *c = (struct virtio_console *)vd;

	drop_tx(c, true);
	for (unsigned i = 0; i < c->max_ports; i++)
		c->open[i] = atomic_load(&c->port[i].guest_open);
}

static int console_post_load(struct virtio_device *vd)
{
	struct virtio_console *c = (struct virtio_console *)vd;

	for (unsigned i = 0; i < VIRTIO_CONSOLE_MAX_PORTS; i++) {
		if (c->pending[i] & ~SEND_ALL || (c->pending[i] && !c->port[i].there) || c->open[i] > 1)
			return -EINVAL;
		atomic_store(&c->port[i].guest_open, c->open[i]);
		c->port[i].tx_off = 0;
	}
	return 0;
}

static void console_free(struct virtio_device *vd)
{
	struct virtio_console *c = (struct virtio_console *)vd;

	for (unsigned i = 0; i < c->max_ports; i++)
		if (c->port[i].chr)
			chr_set_handlers(c->port[i].chr, NULL, NULL);
	drop_tx(c, false);
}

static const struct state_field console_state[] = {
	VIRTIO_STATE(struct virtio_console),
	STATE_U16(struct virtio_console, cols),
	STATE_U16(struct virtio_console, rows),
	STATE_ARRAY(struct virtio_console, pending),
	STATE_ARRAY(struct virtio_console, open),
	STATE_END(),
};

static const struct device_ops console_dev_ops = {
	.name = "virtio-console",
	.reset = virtio_dev_reset,
	.post_load = virtio_dev_post_load,
	.quiesce = virtio_dev_quiesce,
	.free = virtio_dev_free,
	.print_stats = virtio_dev_print_stats,
	.state = console_state,
	.state_version = 1,
};

static const struct virtio_ops console_ops = {
	.process = console_process,
	.config_read = console_config_read,
	.config_write = console_config_write,
	.ready = console_ready,
	.reset = console_reset,
	.drain = console_drain,
	.post_load = console_post_load,
	.free = console_free,
};

struct virtio_device *virtio_console_new(struct space *mem, unsigned max_ports, uint64_t features)
{
	struct virtio_console *c = calloc(1, sizeof(*c));
	const struct virtio_params p = {
		.id = VIRTIO_ID_CONSOLE, .dev_ops = &console_dev_ops, .ops = &console_ops, .mem = mem,
		.features = features | F_MULTIPORT | F_EMERG | F_SIZE, .n_queues = 2 * max_ports + 2, .queue_size = 128,
		.config_size = CFG_SIZE,
	};

	BUG_ON(!c || !max_ports || max_ports > VIRTIO_CONSOLE_MAX_PORTS);
	c->max_ports = max_ports;
	virtio_init(&c->vd, &p);
	return &c->vd;
}

static int choose_nr(const struct virtio_console *c, int nr, bool console)
{
	if (nr >= 0)
		return (unsigned)nr < c->max_ports ? nr : -1;
	for (nr = console ? 0 : 1; (unsigned)nr < c->max_ports; nr++)
		if (!c->port[nr].there)
			return nr;
	return -1;
}

int virtio_console_add_port(struct virtio_device *vd, int nr, const char *name, bool console, struct chr *chr, struct err *e)
{
	struct virtio_console *c = (struct virtio_console *)vd;
	int at = choose_nr(c, nr, console);
	struct port *p;

	if (at < 0)
		return err_set(e, EBUSY, "virtio console: no port for %s; it has %u", name ? name : "one more", c->max_ports);
	p = &c->port[at];
	if (p->there || (!at && !console))
		return err_set(e, EBUSY, "virtio console: port %d %s", at, p->there ? "is taken" : "is for a console");
	if (name && strlen(name) >= sizeof(p->name))
		return err_set(e, EINVAL, "virtio console: name '%s': at most %d bytes", name, VIRTIO_CONSOLE_MAX_NAME - 1);
	*p = (struct port){ .c = c, .nr = (unsigned)at, .there = true, .console = console, .chr = chr };
	if (name)
		memcpy(p->name, name, strlen(name));
	if (chr)
		chr_set_handlers(chr, &chr_ops, p);
	return 0;
}

void virtio_console_resize(struct virtio_device *vd, uint16_t cols, uint16_t rows)
{
	struct virtio_console *c = (struct virtio_console *)vd;

	lock_take(&vd->lock);
	c->cols = cols;
	c->rows = rows;
	lock_take(&vd->vq[Q_CTL_RX].lock);
	c->sent_cols = cols;
	c->sent_rows = rows;
	lock_drop(&vd->vq[Q_CTL_RX].lock);
	virtio_config_changed(vd);
	lock_drop(&vd->lock);
	for (unsigned i = 0; i < c->max_ports; i++)
		if (c->port[i].there && atomic_load(&c->port[i].guest_open))
			send(c, i, SEND_RESIZE);
}

