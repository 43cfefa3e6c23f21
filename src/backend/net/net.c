/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network's two queues and its thread.
 *
 * From the guest: net_send() copies the frame into the queue `out` under the lock; the thread takes it from there. When the
 * queue is full the NIC is told so, and hears writable() once half of it is empty again. For the guest: the thread
 * calls receive() without the lock; what is refused waits in `in`, which is the thread's own, until net_resume().
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "backend/net/frame.h"
#include "backend/net/impl.h"
#include "base/bits.h"

#define MAX_FDS 1024 /* that a backend waits for; connections of the user-mode network */

static const struct net_kind *const kinds[] = { &net_user, &net_tap, &net_switch, &net_link, &net_none };

/* -- Queues -------------------------------------------------------------------------------------------- */

size_t net_gather(void *buf, size_t room, const struct iovec *iov, unsigned n)
{
	uint8_t *to = buf;
	size_t len = 0;

	for (unsigned i = 0; i < n; i++) {
		if (iov[i].iov_len > room - len)
			return 0;
		memcpy(to + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	return len;
}

static struct net_frame *frame_new(const struct iovec *iov, unsigned n_iov, size_t len, const struct net_offload *off)
{
	struct net_frame *f = malloc(sizeof(*f) + len);

	if (!f)
		return NULL;
	f->off = *off;
	f->len = (uint32_t)net_gather(f->data, len, iov, n_iov);
	return f;
}

static void push(struct net_queue *q, struct net_frame *f)
{
	list_add_tail(&q->frames, &f->node);
	q->bytes += f->len + sizeof(*f);
}

static void pop(struct net_queue *q, struct net_frame *f)
{
	list_del(&f->node);
	q->bytes -= f->len + sizeof(*f);
}

static struct net_frame *first(const struct net_queue *q)
{
	return list_empty(&q->frames) ? NULL : list_entry(q->frames.next, struct net_frame, node);
}

static void clear(struct net_queue *q)
{
	struct net_frame *f;

	while ((f = first(q))) {
		pop(q, f);
		free(f);
	}
}

static void wake(struct net *n)
{
	uint64_t one = 1;

	if (write(n->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		BUG("network: eventfd: %s", strerror(errno));
}

/* -- From the guest --------------------------------------------------------------------------------------- */

static size_t total(const struct iovec *iov, unsigned n)
{
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		if (__builtin_add_overflow(len, iov[i].iov_len, &len))
			return SIZE_MAX;
	return len;
}

static bool takes(unsigned can, const struct net_offload *off)
{
	switch (off->gso_type) {
	case NET_GSO_NONE:
		return !off->needs_csum || (can & NET_CAN_CSUM);
	case NET_GSO_TCPV4:
		return can & NET_CAN_TSO4;
	case NET_GSO_TCPV6:
		return can & NET_CAN_TSO6;
	case NET_GSO_UDP_L4:
		return can & NET_CAN_USO;
	default:
		return can & NET_CAN_UFO;
	}
}

static void push_segment(void *opaque, const uint8_t *frame, size_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)frame, .iov_len = len };
	struct net_frame *f = frame_new(&iov, 1, len, &(struct net_offload){ 0 });

	if (f)
		push(opaque, f);
}

/* What is to be queued for a frame: itself, or its segments when the backend takes no large ones. */
static void prepare_out(const struct net *n, const struct iovec *iov, unsigned n_iov, const struct net_offload *off,
			struct net_queue *q)
{
	size_t len = total(iov, n_iov);
	struct net_frame *f = NULL;

	list_init(&q->frames);
	q->bytes = 0;
	if (len >= NET_ETHER_HEADER && len <= NET_MAX_FRAME && frame_offload_ok(off, len))
		f = frame_new(iov, n_iov, len, off);
	if (!f)
		return;
	if (off->gso_type == NET_GSO_NONE || takes(n->can_send, off)) {
		push(q, f);
		return;
	}
	frame_segment(f->data, f->len, off, push_segment, q);
	free(f);
}

/* Move all of from to the end of to. */
static void splice(struct net *n, struct net_queue *to, struct net_queue *from)
{
	struct net_frame *f;

	while ((f = first(from))) {
		pop(from, f);
		n->sent.frames++;
		n->sent.bytes += f->len;
		push(to, f);
	}
}

bool net_send(struct net *n, const struct iovec *iov, unsigned n_iov, const struct net_offload *off)
{
	static const struct net_offload plain;
	struct net_queue q;
	bool was_empty, taken = true;

	prepare_out(n, iov, n_iov, off ? off : &plain, &q);
	lock_take(&n->lock);
	was_empty = list_empty(&n->out.frames);
	if (list_empty(&q.frames) || !n->link_up) {
		n->sent.dropped++;
	} else if (n->out.bytes + q.bytes > NET_QUEUE_BYTES) {
		n->starved = true;
		taken = false;
	} else {
		splice(n, &n->out, &q);
	}
	lock_drop(&n->lock);
	clear(&q);
	if (was_empty && taken)
		wake(n);
	return taken;
}

/* Do for a frame what the backend can't, and pass it on. False: not now. */
static bool pass_out(struct net *n, struct net_frame *f)
{
	if (f->off.needs_csum && !(n->can_send & NET_CAN_CSUM)) {
		frame_finish_csum(f->data, f->len, &f->off);
		f->off.needs_csum = false;
	}
	return !n->ops->output || n->ops->output(n, f);
}

/* Pass on what the guest has sent, as long as the backend takes it. */
static void drain_out(struct net *n)
{
	struct net_frame *f;

	for (;;) {
		lock_take(&n->lock);
		f = first(&n->out);
		lock_drop(&n->lock);
		if (!f || !pass_out(n, f)) /* it stays in the queue meanwhile: only this thread takes from it */
			return;
		lock_take(&n->lock);
		pop(&n->out, f);
		lock_drop(&n->lock);
		free(f);
	}
}

/* -- Calls of the NIC --------------------------------------------------------------------------------------- */

/* Begin a call of a handler: false when there are none. The lock is held. */
static bool enter_locked(struct net *n, const struct net_handlers **h, void **opaque)
{
	if (!n->h)
		return false;
	*h = n->h;
	*opaque = n->opaque;
	n->in_call = true;
	lock_drop(&n->lock);
	return true;
}

static void leave_locked(struct net *n)
{
	lock_take(&n->lock);
	n->in_call = false;
	pthread_cond_broadcast(&n->cond);
}

/* Tell the NIC what it has not heard yet. */
static void tell(struct net *n)
{
	const struct net_handlers *h;
	void *opaque;
	bool up;

	lock_take(&n->lock);
	if (n->starved && n->out.bytes <= NET_QUEUE_BYTES / 2) {
		n->starved = false;
		if (enter_locked(n, &h, &opaque)) {
			if (h->writable)
				h->writable(opaque);
			leave_locked(n);
		}
	}
	if (n->told_link != n->link_up && n->h) {
		up = n->told_link = n->link_up;
		if (enter_locked(n, &h, &opaque)) {
			if (h->link)
				h->link(opaque, up);
			leave_locked(n);
		}
	}
	lock_drop(&n->lock);
}

/* Offer a frame; false: the NIC has no room. Without a NIC it is as good as taken. */
static bool offer(struct net *n, struct net_frame *f)
{
	struct iovec iov = { f->data, f->len };
	const struct net_handlers *h;
	void *opaque;
	bool taken = true;

	lock_take(&n->lock);
	if (enter_locked(n, &h, &opaque)) {
		taken = !h->receive || h->receive(opaque, &iov, 1, &f->off);
		leave_locked(n);
	} else {
		n->received.dropped++;
		lock_drop(&n->lock);
		return true;
	}
	if (taken) {
		n->received.frames++;
		n->received.bytes += f->len;
	}
	lock_drop(&n->lock);
	return taken;
}

bool net_input_room(const struct net *n)
{
	return n->in.bytes < NET_QUEUE_BYTES / 2;
}

/* As it is, in its turn. */
static void input_plain(void *opaque, const uint8_t *frame, size_t len, const struct net_offload *off)
{
	struct net *n = opaque;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)frame, .iov_len = len };
	struct net_frame *f = n->in.bytes < NET_QUEUE_BYTES ? frame_new(&iov, 1, len, off) : NULL;

	if (!f) {
		lock_take(&n->lock);
		n->received.dropped++;
		lock_drop(&n->lock);
	} else if (!list_empty(&n->in.frames) || !offer(n, f)) {
		push(&n->in, f);
	} else {
		free(f);
	}
}

static void input_segment(void *opaque, const uint8_t *frame, size_t len)
{
	static const struct net_offload plain;

	input_plain(opaque, frame, len, &plain);
}

void net_input(struct net *n, const void *frame, size_t len, const struct net_offload *off)
{
	struct net_offload o = off ? *off : (struct net_offload){ 0 };
	uint8_t copy[NET_MAX_FRAME];
	unsigned can;

	if (len < NET_ETHER_HEADER || len > NET_MAX_FRAME || !frame_offload_ok(&o, len) || !net_link_up(n)) {
		lock_take(&n->lock);
		n->received.dropped++;
		lock_drop(&n->lock);
		return;
	}
	lock_take(&n->lock);
	can = n->can_receive;
	lock_drop(&n->lock);
	if (takes(can, &o)) {
		input_plain(n, frame, len, &o);
		return;
	}
	if (o.gso_type == NET_GSO_TCPV4 || o.gso_type == NET_GSO_TCPV6) {
		frame_segment(frame, len, &o, input_segment, n);
		return;
	}
	memcpy(copy, frame, len);
	if (o.needs_csum)
		frame_finish_csum(copy, len, &o);
	input_plain(n, copy, len, &(struct net_offload){ 0 });
}

/* Offer what waits until it is refused. */
static void drain_in(struct net *n)
{
	struct net_frame *f;

	while ((f = first(&n->in)) && offer(n, f)) {
		pop(&n->in, f);
		free(f);
	}
}

/* The thread offers what waits whenever it wakes. */
void net_resume(struct net *n)
{
	wake(n);
}

static void update_link_locked(struct net *n)
{
	__atomic_store_n(&n->link_up, n->carrier && !n->unplugged, __ATOMIC_RELAXED); /* net_link_up() takes no lock */
}

void net_set_link(struct net *n, bool up)
{
	lock_take(&n->lock);
	n->carrier = up;
	update_link_locked(n);
	lock_drop(&n->lock);
}

void net_plug(struct net *n, bool plugged)
{
	lock_take(&n->lock);
	n->unplugged = !plugged;
	update_link_locked(n);
	lock_drop(&n->lock);
	wake(n);
}

/* -- The thread ------------------------------------------------------------------------------------------------ */

static void follow_offloads(struct net *n)
{
	unsigned can;
	bool changed;

	lock_take(&n->lock);
	can = n->can_receive;
	changed = can != n->told_receive;
	n->told_receive = can;
	lock_drop(&n->lock);
	if (changed && n->ops->offloads)
		n->ops->offloads(n, can);
}

static bool stopping(struct net *n)
{
	bool stop;

	lock_take(&n->lock);
	stop = n->stop;
	lock_drop(&n->lock);
	return stop;
}

static void *net_thread(void *arg)
{
	static const struct pollfd none = { .fd = -1 };
	struct net *n = arg;
	struct pollfd *fds = calloc(MAX_FDS + 1, sizeof(*fds));
	uint64_t count;

	BUG_ON(!fds);
	while (!stopping(n)) {
		unsigned used = 0;
		int timeout = -1;

		follow_offloads(n);
		drain_out(n);
		drain_in(n);
		tell(n);
		fds[0] = none;
		fds[0].fd = n->wake_fd;
		fds[0].events = POLLIN;
		if (n->ops->prepare)
			used = n->ops->prepare(n, fds + 1, MAX_FDS, &timeout);
		if (poll(fds, used + 1, timeout) < 0 && errno != EINTR)
			BUG("network: poll: %s", strerror(errno));
		if ((fds[0].revents & POLLIN) && read(n->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
			BUG("network: eventfd: %s", strerror(errno));
		if (n->ops->ready)
			n->ops->ready(n, fds + 1, used);
	}
	free(fds);
	return NULL;
}

/* -- Life -------------------------------------------------------------------------------------------------------- */

int net_init(struct net *n, const struct net_ops *ops, struct err *e)
{
	n->ops = ops;
	n->mtu = 1500;
	n->carrier = n->link_up = n->told_link = true;
	list_init(&n->out.frames);
	list_init(&n->in.frames);
	lock_init(&n->lock, RANK_NET);
	pthread_cond_init(&n->cond, NULL);
	n->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return n->wake_fd < 0 ? err_set(e, errno, "network: eventfd: %s", strerror(errno)) : 0;
}

int net_begin(struct net *n, struct err *e)
{
	int rc = pthread_create(&n->thread, NULL, net_thread, n);

	if (rc)
		return err_set(e, rc, "network: cannot start a thread: %s", strerror(rc));
	n->thread_started = true;
	pthread_setname_np(n->thread, "doppel-net");
	return 0;
}

void net_close(struct net *n)
{
	if (!n)
		return;
	if (n->thread_started) {
		lock_take(&n->lock);
		n->stop = true;
		lock_drop(&n->lock);
		wake(n);
		pthread_join(n->thread, NULL);
	}
	clear(&n->out);
	clear(&n->in);
	if (n->wake_fd >= 0)
		close(n->wake_fd);
	pthread_cond_destroy(&n->cond);
	lock_release(&n->lock);
	n->ops->close(n);
}

void net_set_handlers(struct net *n, const struct net_handlers *h, void *opaque)
{
	lock_take(&n->lock);
	while (n->in_call)
		pthread_cond_wait(&n->cond, &n->lock.m);
	n->h = h;
	n->opaque = opaque;
	n->told_link = true; /* what a NIC takes for granted */
	lock_drop(&n->lock);
	wake(n);
}

unsigned net_can_send(const struct net *n)
{
	return n->can_send;
}

void net_set_can_receive(struct net *n, unsigned can)
{
	lock_take(&n->lock);
	n->can_receive = can;
	lock_drop(&n->lock);
	wake(n);
}

bool net_link_up(const struct net *n)
{
	return __atomic_load_n(&n->link_up, __ATOMIC_RELAXED);
}

unsigned net_mtu(const struct net *n)
{
	return n->mtu;
}

void net_print_stats(const struct net *n, struct strbuf *out)
{
	const struct {
		const char *name;
		const struct net_count *c;
	} dir[] = { { "sent", &n->sent }, { "received", &n->received } };

	for (size_t i = 0; i < ARRAY_SIZE(dir); i++)
		strbuf_addf(out, "net.%s.%-9s %14" PRIu64 " frames %14" PRIu64 " bytes %10" PRIu64 " dropped\n", n->ops->name,
			    dir[i].name, dir[i].c->frames, dir[i].c->bytes, dir[i].c->dropped);
}

/* -- By name ------------------------------------------------------------------------------------------------------ */

static const struct net_kind *find_kind(const char *spec, const char **arg, struct err *e)
{
	size_t len = strcspn(spec, "=,");

	*arg = spec[len] ? spec + len + 1 : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strlen(kinds[i]->name) == len && !strncmp(kinds[i]->name, spec, len))
			return kinds[i];
	err_set(e, EINVAL, "network '%s': no such kind; give user, tap=NAME, switch=PATH, link=ADDRESS or none", spec);
	return NULL;
}

int net_check(const char *spec, struct err *e)
{
	const char *arg;
	const struct net_kind *k = find_kind(spec, &arg, e);

	return k ? k->check(arg, e) : -EINVAL;
}

int net_open(struct net **out, const char *spec, struct err *e)
{
	const char *arg;
	const struct net_kind *k = find_kind(spec, &arg, e);

	*out = NULL;
	return k ? k->open(out, arg, e) : -EINVAL;
}
