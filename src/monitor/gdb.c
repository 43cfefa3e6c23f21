/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gdb stub's connection: a thread that takes one debugger after another, and lets the machine go and stand for it. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitor/gdb.h"
#include "monitor/gdb_int.h"
#include "monitor/listener.h"

#define GDB_WHAT "gdb"
#define CHUNK    4096
#define SEND_SECONDS 10 /* for a debugger that takes nothing: it has gone */

struct gdb {
	struct vm *vm;
	struct vm_listener listener;
	struct listener at;
	int stop_fd;          /* readable when the thread is to end */
	int event_fd;         /* readable when the machine has stopped or is over */
	_Atomic bool over;
	pthread_t thread;
	bool started;

	/* Of the thread. */
	struct gdb_session session;
	struct gdb_reader reader;
	struct strbuf sent;   /* the last packet, to be repeated */
	bool running;         /* the debugger has said so, and waits to hear why the machine stops */
};

/* -- The machine's side -------------------------------------------------------------------------------------- */

static void on_event(struct vm_listener *l, const struct vm_event *ev)
{
	struct gdb *g = CONTAINER_OF(l, struct gdb, listener);

	if (ev->type == VM_EVENT_SHUTDOWN)
		atomic_store(&g->over, true);
	else if (ev->type != VM_EVENT_STOP)
		return;
	eventfd_write(g->event_fd, 1);
}

struct packet {
	struct gdb *g;
	const char *data;
	size_t len;
};

static void carry_out(struct vm *vm, void *opaque)
{
	const struct packet *p = opaque;

	gdb_command(&p->g->session, p->data, p->len);
}

static void begin(struct vm *vm, void *g)
{
	gdb_session_begin(&((struct gdb *)g)->session);
}

static void end(struct vm *vm, void *g)
{
	gdb_session_end(&((struct gdb *)g)->session);
}

static void report(struct vm *vm, void *g)
{
	gdb_report_stop(&((struct gdb *)g)->session);
}

/* -- The debugger's side --------------------------------------------------------------------------------------- */

static bool send_all(int fd, const char *text, size_t len)
{
	for (ssize_t n; len; text += n, len -= (size_t)n) {
		n = send(fd, text, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
	}
	return true;
}

static bool send_reply(struct gdb *g, int fd)
{
	g->sent.len = 0;
	gdb_frame(&g->sent, g->session.reply.buf, g->session.reply.len);
	return send_all(fd, g->sent.buf, g->sent.len);
}

static bool send_text(struct gdb *g, int fd, const char *text)
{
	g->session.reply.len = 0;
	strbuf_add(&g->session.reply, text, strlen(text));
	return send_reply(g, fd);
}

/* Do what it says; false: the connection is over. */
static bool take_packet(struct gdb *g, int fd)
{
	struct packet p = { g, (const char *)g->reader.data, g->reader.len };
	bool acknowledge = !g->session.no_ack;

	if (acknowledge && !send_all(fd, "+", 1))
		return false;
	if (!vm_call(g->vm, carry_out, &p))
		return false;
	switch (g->session.then) {
	case GDB_GO:
		g->running = true;
		vm_unhold(g->vm, VM_HOLD_DEBUG | VM_HOLD_USER);
		return true;
	case GDB_DETACH:
		send_reply(g, fd);
		vm_unhold(g->vm, VM_HOLD_USER);
		return false;
	case GDB_KILL:
		send_reply(g, fd);
		vm_stop(g->vm, 0);
		return false;
	default:
		return send_reply(g, fd);
	}
}

static bool take_input(struct gdb *g, int fd, enum gdb_input in)
{
	switch (in) {
	case GDB_PACKET:
		/* While the machine runs there is nothing to be said but Ctrl-C. */
		return g->running || take_packet(g, fd);
	case GDB_BAD:
		return g->session.no_ack || send_all(fd, "-", 1);
	case GDB_RESEND:
		return send_all(fd, g->sent.buf, g->sent.len);
	case GDB_INTERRUPT:
		vm_hold(g->vm, VM_HOLD_DEBUG);
		return true;
	default:
		return true;
	}
}

static bool read_some(struct gdb *g, int fd)
{
	uint8_t buf[CHUNK];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	for (ssize_t i = 0; i < n; i++)
		if (!take_input(g, fd, gdb_reader_byte(&g->reader, buf[i])))
			return false;
	return true;
}

/* The machine stands still, or is over. */
static bool take_event(struct gdb *g, int fd)
{
	eventfd_t n;

	eventfd_read(g->event_fd, &n);
	if (atomic_load(&g->over)) {
		send_text(g, fd, "W00");
		return false;
	}
	if (!g->running)
		return true;
	/* Whoever else has stopped it: now the debugger looks. */
	vm_hold(g->vm, VM_HOLD_DEBUG);
	if (!vm_call(g->vm, report, g))
		return false;
	g->running = false;
	return send_reply(g, fd);
}

static void serve(struct gdb *g, int fd)
{
	struct pollfd p[3] = {
		{ .fd = g->stop_fd, .events = POLLIN }, { .fd = g->event_fd, .events = POLLIN }, { .fd = fd, .events = POLLIN },
	};
	const struct timeval limit = { .tv_sec = SEND_SECONDS };
	bool go_on = !setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));

	g->running = false;
	memset(&g->reader, 0, sizeof(g->reader));
	vm_hold(g->vm, VM_HOLD_DEBUG);
	go_on = go_on && vm_call(g->vm, begin, g);
	while (go_on) {
		if (poll(p, ARRAY_SIZE(p), -1) < 0) {
			go_on = errno == EINTR;
			continue;
		}
		go_on = (!p[1].revents || take_event(g, fd)) && !p[0].revents && (!p[2].revents || read_some(g, fd));
	}
	vm_call(g->vm, end, g);
	vm_unhold(g->vm, VM_HOLD_DEBUG);
}

static void *gdb_thread(void *arg)
{
	struct gdb *g = arg;
	struct pollfd p[2] = { { .fd = g->stop_fd, .events = POLLIN }, { .fd = g->at.fd, .events = POLLIN } };

	for (;;) {
		int fd;

		if (poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents)
			return NULL;
		fd = accept4(g->at.fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		serve(g, fd);
		close(fd);
	}
}

/* -- Life ----------------------------------------------------------------------------------------------------------- */

int gdb_new(struct gdb **out, const char *where, struct vm *vm, struct err *e)
{
	struct gdb *g = calloc(1, sizeof(*g));
	int rc;

	if (!g)
		return err_set(e, ENOMEM, GDB_WHAT ": out of memory");
	g->vm = g->session.vm = vm;
	g->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g->listener.on_event = on_event;
	vm_listen(vm, &g->listener);
	rc = listener_open(&g->at, GDB_WHAT, where, e);
	if (!rc && (g->stop_fd < 0 || g->event_fd < 0))
		rc = err_set(e, errno, GDB_WHAT ": %s", strerror(errno));
	if (!rc) {
		rc = pthread_create(&g->thread, NULL, gdb_thread, g);
		rc = rc ? err_set(e, rc, GDB_WHAT ": cannot make a thread: %s", strerror(rc)) : 0;
		g->started = !rc;
	}
	if (rc) {
		gdb_free(g);
		return rc;
	}
	*out = g;
	return 0;
}

void gdb_free(struct gdb *g)
{
	if (!g)
		return;
	if (g->started) {
		vm_end_calls(g->vm);
		eventfd_write(g->stop_fd, 1);
		pthread_join(g->thread, NULL);
	}
	vm_unlisten(&g->listener);
	listener_close(&g->at);
	if (g->stop_fd >= 0)
		close(g->stop_fd);
	if (g->event_fd >= 0)
		close(g->event_fd);
	strbuf_release(&g->session.reply);
	strbuf_release(&g->sent);
	free(g);
}
