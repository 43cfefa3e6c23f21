/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio socket device.
 *
 * Specification: Virtual I/O Device (VIRTIO) 1.2, 5.10; what packets mean is in backend/vsock.
 * Missing: SOCK_SEQPACKET and datagrams. Connections do not outlive a restored snapshot: the guest gets the event
 * that tells it so.
 */
#include <stdlib.h>

#include "backend/vsock/vsock.h"
#include "base/bits.h"
#include "base/endian.h"
#include "virtio/vsock.h"

#define F_STREAM BIT(0)

enum { Q_RX, Q_TX, Q_EVENT, Q_COUNT };
enum { CFG_CID = 0, CFG_SIZE = 8 };

/* struct virtio_vsock_hdr, 5.10.6 */
enum {
	H_SRC_CID = 0, H_DST_CID = 8, H_SRC_PORT = 16, H_DST_PORT = 20, H_LEN = 24, H_TYPE = 28, H_OP = 30, H_FLAGS = 32,
	H_BUF_ALLOC = 36, H_FWD_CNT = 40, H_SIZE = 44,
};
enum { TYPE_STREAM = 1 };
enum { EVENT_TRANSPORT_RESET = 0, EVENT_SIZE = 4 };

#define HOST_CID   2
#define MAX_PIECES 64 /* buffers of a packet that are used */

struct virtio_vsock {
	struct virtio_device vd;
	struct vsock *vsock;
	uint32_t cid;
	uint8_t tell_reset; /* lock of the event queue: connections have gone without the guest's knowledge */
};

/* -- To the guest ---------------------------------------------------------------------------------------- */

static void make_header(const struct virtio_vsock *v, const struct vsock_packet *p, uint8_t *h)
{
	put_le64(h + H_SRC_CID, HOST_CID);
	put_le64(h + H_DST_CID, v->cid);
	put_le32(h + H_SRC_PORT, p->host_port);
	put_le32(h + H_DST_PORT, p->guest_port);
	put_le32(h + H_LEN, p->len);
	put_le16(h + H_TYPE, TYPE_STREAM);
	put_le16(h + H_OP, p->op);
	put_le32(h + H_FLAGS, p->flags);
	put_le32(h + H_BUF_ALLOC, p->buf_alloc);
	put_le32(h + H_FWD_CNT, p->fwd_cnt);
}

static bool process_rx(struct virtio_vsock *v, struct virtqueue *vq)
{
	for (unsigned left = vq->size; left; left--) {
		struct vq_chain *c = vsock_pending(v->vsock) ? vq_pop(vq) : NULL;
		struct iovec part[MAX_PIECES];
		struct vsock_packet p;
		uint8_t hdr[H_SIZE];
		unsigned n;

		if (!c)
			break;
		if (c->in_len <= H_SIZE) {
			virtio_break(&v->vd, "a vsock buffer that is no longer than the header");
			vq_drop(c);
			break;
		}
		n = sg_slice(part, c->in, MIN(c->n_in, (unsigned)MAX_PIECES), H_SIZE, c->in_len - H_SIZE);
		if (!n || !vsock_get(v->vsock, &p, part, n)) {
			vq_unpop(vq, c);
			break;
		}
		make_header(v, &p, hdr);
		sg_write(c->in, c->n_in, 0, hdr, sizeof(hdr));
		vq_fill(c, H_SIZE + p.len);
	}
	vq_flush(vq);
	return false;
}

/* On the host side's thread. */
static void on_ready(void *opaque)
{
	struct virtio_vsock *v = opaque;

	virtio_process(&v->vd, Q_RX);
}

/* -- From the guest ----------------------------------------------------------------------------------------- */

/* False: the packet is not of the form that it must have. */
static bool put_packet(struct virtio_vsock *v, const struct vq_chain *c)
{
	struct iovec part[VQ_MAX_SIZE];
	struct vsock_packet p;
	uint8_t h[H_SIZE];

	if (sg_read(c->out, c->n_out, 0, h, sizeof(h)) != sizeof(h) || get_le32(h + H_LEN) > c->out_len - H_SIZE)
		return false;
	/* What is not from here to the host goes nowhere. */
	if (get_le64(h + H_SRC_CID) != v->cid || get_le64(h + H_DST_CID) != HOST_CID)
		return true;
	p = (struct vsock_packet){
		.guest_port = get_le32(h + H_SRC_PORT), .host_port = get_le32(h + H_DST_PORT),
		.op = get_le16(h + H_TYPE) == TYPE_STREAM ? get_le16(h + H_OP) : 0, .flags = get_le32(h + H_FLAGS),
		.buf_alloc = get_le32(h + H_BUF_ALLOC), .fwd_cnt = get_le32(h + H_FWD_CNT), .len = get_le32(h + H_LEN),
	};
	vsock_put(v->vsock, &p, part, sg_slice(part, c->out, c->n_out, H_SIZE, p.len));
	return true;
}

static bool process_tx(struct virtio_vsock *v, struct virtqueue *vq)
{
	unsigned left = vq->size;

	for (; left; left--) {
		struct vq_chain *c = vq_pop(vq);

		if (!c)
			break;
		if (!put_packet(v, c)) {
			virtio_break(&v->vd, "a vsock packet without its header or data");
			vq_drop(c);
			break;
		}
		vq_fill(c, 0);
	}
	vq_flush(vq);
	if (vsock_pending(v->vsock)) {
		/* Answers; the other queue's lock has the same rank. */
		lock_drop(&vq->lock);
		virtio_process(&v->vd, Q_RX);
		lock_take(&vq->lock);
	}
	return !left;
}

static void process_event(struct virtio_vsock *v, struct virtqueue *vq)
{
	uint8_t event[EVENT_SIZE];
	struct vq_chain *c = v->tell_reset ? vq_pop(vq) : NULL;

	if (!c)
		return;
	v->tell_reset = 0;
	put_le32(event, EVENT_TRANSPORT_RESET);
	vq_push(c, sg_write(c->in, c->n_in, 0, event, sizeof(event)));
}

static bool vsock_process(struct virtio_device *vd, struct virtqueue *vq)
{
	struct virtio_vsock *v = (struct virtio_vsock *)vd;

	switch (vq->index) {
	case Q_RX:
		return process_rx(v, vq);
	case Q_TX:
		return process_tx(v, vq);
	}
	process_event(v, vq);
	return false;
}

/* -- Life ---------------------------------------------------------------------------------------------------- */

static void vsock_config_read(struct virtio_device *vd, uint8_t *buf)
{
	put_le64(buf + CFG_CID, ((struct virtio_vsock *)vd)->cid);
}

static void vsock_ready(struct virtio_device *vd)
{
	virtio_wake(vd, Q_RX);
	virtio_wake(vd, Q_EVENT);
}

static void vsock_dev_reset(struct virtio_device *vd)
{
	vsock_reset(((struct virtio_vsock *)vd)->vsock);
}

static int vsock_post_load(struct virtio_device *vd)
{
	struct virtio_vsock *v = (struct virtio_vsock *)vd;

	vsock_reset(v->vsock);
	v->tell_reset = 1;
	return 0;
}

static void vsock_free(struct virtio_device *vd)
{
	struct virtio_vsock *v = (struct virtio_vsock *)vd;

	vsock_set_ready(v->vsock, NULL, NULL);
	vsock_close(v->vsock);
}

static void vsock_dev_print_stats(const struct device *d, struct strbuf *out)
{
	virtio_dev_print_stats(d, out);
	vsock_print_stats(((const struct virtio_vsock *)d)->vsock, out);
}

static const struct state_field vsock_state[] = { VIRTIO_STATE(struct virtio_vsock), STATE_END() };

static const struct device_ops vsock_dev_ops = {
	.name = "virtio-vsock",
	.reset = virtio_dev_reset,
	.post_load = virtio_dev_post_load,
	.quiesce = virtio_dev_quiesce,
	.free = virtio_dev_free,
	.print_stats = vsock_dev_print_stats,
	.state = vsock_state,
	.state_version = 1,
};

static const struct virtio_ops vsock_ops = {
	.process = vsock_process,
	.config_read = vsock_config_read,
	.ready = vsock_ready,
	.reset = vsock_dev_reset,
	.post_load = vsock_post_load,
	.free = vsock_free,
};

struct virtio_device *virtio_vsock_new(const struct virtio_vsock_config *c)
{
	const struct virtio_params p = {
		.id = VIRTIO_ID_VSOCK, .dev_ops = &vsock_dev_ops, .ops = &vsock_ops, .mem = c->mem,
		.features = c->features | F_STREAM, .n_queues = Q_COUNT, .config_size = CFG_SIZE,
	};
	struct virtio_vsock *v = calloc(1, sizeof(*v));

	BUG_ON(!v || c->cid < VIRTIO_VSOCK_MIN_CID);
	v->vsock = c->vsock;
	v->cid = c->cid;
	virtio_init(&v->vd, &p);
	vsock_set_ready(c->vsock, on_ready, v);
	return &v->vd;
}
