/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character backends: the part that all share, with the I/O thread between guest and host. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "backend/chr/impl.h"
#include "base/bits.h"
#include "base/log.h"

enum { FDS_WAKE, FDS_IN, FDS_OUT, FDS_LISTEN, FDS_N };

static uint32_t out_used(const struct chr *c)
{
	return c->out_head - c->out_tail;
}

void chr_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* The eventfd counts, so a wake-up before the poll is not lost; a full counter is awake enough. */
static void wake(struct chr *c)
{
	uint64_t one = 1;
	ssize_t n = write(c->wake_fd, &one, sizeof(one));

	(void)n;
}

static void wake_if_idle_locked(struct chr *c)
{
	if (c->idle) {
		c->idle = false;
		wake(c);
	}
}

/* -- Output, guest side ------------------------------------------------------------------------- */

static void ring_put_locked(struct chr *c, const uint8_t *buf, size_t len)
{
	uint32_t at = c->out_head & (CHR_OUT_SIZE - 1);
	size_t first = MIN(len, (size_t)(CHR_OUT_SIZE - at));

	memcpy(c->out + at, buf, first);
	memcpy(c->out, buf + first, len - first);
	c->out_head += (uint32_t)len;
}

size_t chr_write(struct chr *c, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	size_t n = len;

	lock_take(&c->lock);
	if (c->preface && len && !out_used(c)) {
		ring_put_locked(c, (const uint8_t *)c->preface, strlen(c->preface));
		c->preface = NULL;
	}
	switch (c->reader) {
	case CHR_READER_GONE:
		break;
	case CHR_READER_AWAY:
		if (n > CHR_OUT_SIZE) {
			p += n - CHR_OUT_SIZE;
			n = CHR_OUT_SIZE;
		}
		if (n > CHR_OUT_SIZE - out_used(c))
			c->out_tail = c->out_head + (uint32_t)n - CHR_OUT_SIZE;
		ring_put_locked(c, p, n);
		n = len;
		break;
	case CHR_READER_HERE:
		n = MIN(n, (size_t)(CHR_OUT_SIZE - out_used(c)));
		ring_put_locked(c, p, n);
		if (n < len)
			c->starved = true;
		wake_if_idle_locked(c);
		break;
	}
	lock_drop(&c->lock);
	return n;
}

static bool drained_locked(const struct chr *c)
{
	return c->reader != CHR_READER_HERE || out_used(c) == 0;
}

static struct timespec time_after(int ms)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += ms / 1000;
	end.tv_nsec += ms % 1000 * 1000000l;
	if (end.tv_nsec >= 1000000000l) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000l;
	}
	return end;
}

bool chr_wait_open(struct chr *c, int timeout_ms)
{
	struct timespec end = time_after(timeout_ms);
	bool open;

	lock_take(&c->lock);
	while (!c->was_open && c->reader == CHR_READER_AWAY)
		if (pthread_cond_timedwait(&c->cond, &c->lock.m, &end) == ETIMEDOUT)
			break;
	open = c->was_open || c->reader != CHR_READER_AWAY;
	lock_drop(&c->lock);
	return open;
}

bool chr_flush(struct chr *c, int timeout_ms)
{
	struct timespec end = time_after(timeout_ms);
	bool done;

	lock_take(&c->lock);
	while (!drained_locked(c)) {
		if (timeout_ms < 0)
			pthread_cond_wait(&c->cond, &c->lock.m);
		else if (pthread_cond_timedwait(&c->cond, &c->lock.m, &end) == ETIMEDOUT)
			break;
	}
	done = drained_locked(c);
	lock_drop(&c->lock);
	return done;
}

/* -- Handlers ------------------------------------------------------------------------------------- */

void chr_set_handlers(struct chr *c, const struct chr_handlers *h, void *opaque)
{
	lock_take(&c->lock);
	while (c->in_call)
		pthread_cond_wait(&c->cond, &c->lock.m);
	c->h = h;
	c->opaque = opaque;
	c->in_stuck = false;
	wake_if_idle_locked(c);
	lock_drop(&c->lock);
}

void chr_share(struct chr *c, const struct chr_handlers *h, void *opaque)
{
	c->mon = h;
	c->mon_opaque = opaque;
	c->escapes = true;
}

void chr_unshare(struct chr *c)
{
	lock_take(&c->lock);
	while (c->in_call)
		pthread_cond_wait(&c->cond, &c->lock.m);
	c->mon = NULL;
	c->to_mon = false;
	lock_drop(&c->lock);
}

void chr_quiet_end(struct chr *c)
{
	c->quiet_end = true;
}

void chr_on_leave(struct chr *c, void (*leave)(void *opaque), void *opaque)
{
	lock_take(&c->lock);
	c->leave = leave;
	c->leave_opaque = opaque;
	lock_drop(&c->lock);
}

bool chr_set_preface(struct chr *c, const char *text)
{
	bool waiting;

	lock_take(&c->lock);
	waiting = c->preface;
	c->preface = text;
	lock_drop(&c->lock);
	return waiting;
}

void chr_resume_read(struct chr *c)
{
	lock_take(&c->lock);
	if (c->in_stuck) {
		c->in_stuck = false;
		wake_if_idle_locked(c);
	}
	lock_drop(&c->lock);
}

const char *chr_where(const struct chr *c)
{
	return c->where;
}

/* Between call_begin and call_end the handlers may be called without the lock. */
static const struct chr_handlers *call_begin_locked(struct chr *c)
{
	c->in_call = true;
	lock_drop(&c->lock);
	return c->h;
}

/* Who gets the input. */
static const struct chr_handlers *reader_of(const struct chr *c)
{
	return c->to_mon ? c->mon : c->h;
}

static void *reader_opaque(const struct chr *c)
{
	return c->to_mon ? c->mon_opaque : c->opaque;
}

static void call_end(struct chr *c)
{
	lock_take(&c->lock);
	c->in_call = false;
	pthread_cond_broadcast(&c->cond);
}

/* -- Input, on the I/O thread ----------------------------------------------------------------------- */

void chr_input(struct chr *c, const uint8_t *buf, size_t len)
{
	size_t n = MIN(len, sizeof(c->in) - c->in_len);

	memcpy(c->in + c->in_len, buf, n);
	c->in_len += n;
}

void chr_break(struct chr *c)
{
	lock_take(&c->lock);
	c->brk = true;
	lock_drop(&c->lock);
}

/* What the one has not taken yet is not for the other. */
void chr_switch(struct chr *c)
{
	if (!c->mon)
		return;
	lock_take(&c->lock);
	c->to_mon = !c->to_mon;
	c->in_len = 0;
	c->in_stuck = false;
	lock_drop(&c->lock);
}

void chr_leave(struct chr *c)
{
	void (*leave)(void *opaque);
	void *opaque;

	lock_take(&c->lock);
	leave = c->leave;
	opaque = c->leave_opaque;
	lock_drop(&c->lock);
	if (leave)
		leave(opaque);
}

/* Offer the chip what has come in, and the break that came with it. */
static void deliver_input(struct chr *c)
{
	const struct chr_handlers *h;
	size_t n = 0;
	bool brk;

	lock_take(&c->lock);
	if (!reader_of(c) || c->in_stuck || (!c->in_len && !c->brk)) {
		lock_drop(&c->lock);
		return;
	}
	brk = c->brk;
	c->brk = false;
	/* Set before the call: a chip that resumes between its answer and our look is not missed. */
	c->in_stuck = true;
	call_begin_locked(c);
	h = reader_of(c);
	if (brk && h->brk)
		h->brk(reader_opaque(c));
	if (c->in_len)
		n = h->read ? h->read(reader_opaque(c), c->in, c->in_len) : c->in_len;
	call_end(c);
	BUG_ON(n > c->in_len);
	c->in_len -= n;
	memmove(c->in, c->in + n, c->in_len);
	if (!c->in_len)
		c->in_stuck = false;
	lock_drop(&c->lock);
}

static void read_input(struct chr *c, bool hup)
{
	uint8_t buf[CHR_IN_SIZE];
	size_t room = c->in_drops ? sizeof(buf) : CHR_IN_SIZE - CHR_IN_RESERVE - c->in_len;
	ssize_t n = read(c->in_fd, buf, room);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		c->ops->in_end(c, hup);
	else if (c->ops->input)
		c->ops->input(c, buf, (size_t)n);
	else
		chr_input(c, buf, (size_t)n);
}

/* -- Output, on the I/O thread ---------------------------------------------------------------------- */

void chr_set_reader(struct chr *c, enum chr_reader reader)
{
	lock_take(&c->lock);
	c->reader = reader;
	c->was_open |= reader == CHR_READER_HERE;
	if (reader == CHR_READER_GONE)
		c->out_tail = c->out_head;
	pthread_cond_broadcast(&c->cond);
	lock_drop(&c->lock);
}

void chr_reader_lost(struct chr *c, int errnum)
{
	log_msg(LOG_WARN, "%s: %s; further console output is dropped", c->where,
		errnum == EPIPE ? "the reader has gone" : strerror(errnum));
	c->out_fd = -1;
	chr_set_reader(c, CHR_READER_GONE);
}

/* One write of what stands in the ring without a seam. */
static void send_output(struct chr *c)
{
	uint32_t at, n;
	ssize_t sent;
	uint8_t *from;

	lock_take(&c->lock);
	at = c->out_tail & (CHR_OUT_SIZE - 1);
	n = MIN(out_used(c), CHR_OUT_SIZE - at);
	from = c->out + at;
	lock_drop(&c->lock);
	/* While the reader is here only this thread moves the tail, so these bytes stand still. */
	if (!n)
		return;
	sent = write(c->out_fd, from, MIN((size_t)n, c->out_chunk));
	if (sent < 0) {
		if (errno != EAGAIN && errno != EINTR)
			c->ops->out_fail(c, errno);
		return;
	}
	lock_take(&c->lock);
	c->out_tail += (uint32_t)sent;
	if (!out_used(c))
		pthread_cond_broadcast(&c->cond);
	lock_drop(&c->lock);
}

/* Tell a chip that had to wait; at half a ring, so that it is not woken for every byte. */
static void deliver_writable(struct chr *c)
{
	const struct chr_handlers *h;

	lock_take(&c->lock);
	if (c->starved && (c->reader != CHR_READER_HERE || out_used(c) <= CHR_OUT_SIZE / 2)) {
		c->starved = false;
		if (c->h) {
			h = call_begin_locked(c);
			if (h->writable)
				h->writable(c->opaque);
			call_end(c);
		}
	}
	lock_drop(&c->lock);
}

/* Tell the chip, and the monitor that shares the terminal, whether somebody is there. */
static void deliver_opened(struct chr *c)
{
	const struct chr_handlers *h;
	bool open;

	lock_take(&c->lock);
	open = c->reader == CHR_READER_HERE;
	if (c->h && c->h->opened && (open != c->told_open || c->told != c->opaque)) {
		bool news = open != (c->told == c->opaque && c->told_open);

		c->told_open = open;
		c->told = c->opaque;
		h = call_begin_locked(c);
		if (news)
			h->opened(c->opaque, open);
		call_end(c);
	}
	lock_drop(&c->lock);
}

/* -- The I/O thread ----------------------------------------------------------------------------------- */

/* What to wait for now; false when there is something to deliver first. */
static bool prepare_poll(struct chr *c, struct pollfd pfd[FDS_N])
{
	bool has_out, wait;

	lock_take(&c->lock);
	has_out = c->reader == CHR_READER_HERE && out_used(c);
	wait = !(reader_of(c) && !c->in_stuck && (c->in_len || c->brk));
	c->idle = wait;
	pfd[FDS_WAKE] = (struct pollfd){ .fd = c->wake_fd, .events = POLLIN };
	pfd[FDS_IN] = (struct pollfd){ .fd = -1 };
	/* Piped input waits until somebody wants it; a terminal is always read, for its escapes. */
	if (c->in_drops || (reader_of(c) && reader_of(c)->read && c->in_len < CHR_IN_SIZE - CHR_IN_RESERVE))
		pfd[FDS_IN] = (struct pollfd){ .fd = c->in_fd, .events = POLLIN };
	/* With no events asked, the end of the other side is still reported. */
	pfd[FDS_OUT] = (struct pollfd){ .fd = c->out_fd, .events = has_out ? POLLOUT : 0 };
	pfd[FDS_LISTEN] = (struct pollfd){ .fd = c->listen_fd, .events = POLLIN };
	lock_drop(&c->lock);
	return wait;
}

static void handle_poll(struct chr *c, const struct pollfd pfd[FDS_N], bool tick)
{
	uint64_t count;
	int out = pfd[FDS_OUT].fd;
	bool hup = pfd[FDS_OUT].revents & (POLLHUP | POLLERR);
	bool in = pfd[FDS_IN].revents;

	if (pfd[FDS_WAKE].revents) {
		ssize_t n = read(c->wake_fd, &count, sizeof(count));

		(void)n;
	}
	if (pfd[FDS_OUT].revents & POLLOUT)
		send_output(c);
	if (in && c->in_fd >= 0)
		read_input(c, hup);
	/* What a client sent before it hung up is read first. */
	if (hup && c->out_fd == out && !(in && c->in_fd == out) && !(pfd[FDS_OUT].revents & POLLOUT))
		c->ops->out_fail(c, EPIPE);
	if ((pfd[FDS_LISTEN].revents || tick) && c->ops->attend)
		c->ops->attend(c);
}

static void *io_thread(void *arg)
{
	struct chr *c = arg;
	struct pollfd pfd[FDS_N];

	for (;;) {
		bool stop, wait;
		int n;

		deliver_opened(c);
		wait = prepare_poll(c, pfd);
		n = poll(pfd, FDS_N, wait ? c->tick_ms : 0);
		lock_take(&c->lock);
		c->idle = false;
		stop = c->stop;
		lock_drop(&c->lock);
		if (stop)
			return NULL;
		if (n > 0 || (n == 0 && wait))
			handle_poll(c, pfd, n == 0);
		deliver_input(c);
		deliver_writable(c);
	}
}

/* -- Life ---------------------------------------------------------------------------------------------- */

int chr_new(struct chr **out, const struct chr_ops *ops, struct err *e)
{
	pthread_condattr_t attr;
	struct chr *c = calloc(1, sizeof(*c));

	if (!c || !(c->out = malloc(CHR_OUT_SIZE))) {
		free(c);
		return err_set(e, ENOMEM, "serial port %s: out of memory", ops->name);
	}
	c->ops = ops;
	c->in_fd = c->out_fd = c->listen_fd = c->wake_fd = c->saved_fd = -1;
	c->tick_ms = -1;
	c->out_chunk = CHR_OUT_SIZE;
	lock_init(&c->lock, RANK_CHR);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->cond, &attr);
	pthread_condattr_destroy(&attr);
	*out = c;
	return 0;
}

/* The I/O thread takes no signals but those of its own faults. */
static int start_thread(struct chr *c, struct err *e)
{
	static const int own_faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	sigset_t all, old;
	int rc;

	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		return err_set(e, errno, "serial port %s: eventfd: %s", c->ops->name, strerror(errno));
	sigfillset(&all);
	for (unsigned i = 0; i < ARRAY_SIZE(own_faults); i++)
		sigdelset(&all, own_faults[i]);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&c->thread, NULL, io_thread, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return err_set(e, rc, "serial port %s: cannot make a thread: %s", c->ops->name, strerror(rc));
	c->thread_started = true;
	return 0;
}

int chr_begin(struct chr *c, struct err *e)
{
	int rc = c->ops->begin ? c->ops->begin(c, e) : 0;

	if (!rc && !c->ops->idle)
		rc = start_thread(c, e);
	return rc;
}

void chr_free(struct chr *c)
{
	if (!c)
		return;
	if (c->thread_started) {
		lock_take(&c->lock);
		c->stop = true;
		lock_drop(&c->lock);
		wake(c);
		pthread_join(c->thread, NULL);
	}
	if (c->ops->close)
		c->ops->close(c);
	chr_close_fd(&c->wake_fd);
	pthread_cond_destroy(&c->cond);
	lock_release(&c->lock);
	free(c->out);
	free(c);
}

/* -- Names ----------------------------------------------------------------------------------------------- */

static const struct chr_kind {
	const char *name;
	const char *arg; /* what must follow a colon, NULL when nothing may */
	int (*open)(struct chr **out, const char *arg, struct err *e);
} kinds[] = {
	{ "stdio", NULL, chr_stdio_new },
	{ "pty", NULL, chr_pty_new },
	{ "file", "the name of a file", chr_file_new },
	{ "append", "the name of a file", chr_append_new },
	{ "unix", "the path of a socket", chr_socket_new },
	{ "unix-client", "the path of a socket", chr_unix_client_new },
	{ "tcp", "an address and a port", chr_tcp_new },
	{ "tcp-client", "an address and a port", chr_tcp_client_new },
	{ "null", NULL, chr_null_new },
};

static const struct chr_kind *find_kind(const char *spec, const char **arg, struct err *e)
{
	size_t len = strcspn(spec, ":");

	*arg = spec[len] ? spec + len + 1 : NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct chr_kind *k = &kinds[i];

		if (strlen(k->name) != len || strncmp(k->name, spec, len))
			continue;
		if (k->arg && (!*arg || !**arg)) {
			err_set(e, EINVAL, "serial port '%s': %s must follow, as in %s:PATH", spec, k->arg, k->name);
			return NULL;
		}
		if (!k->arg && *arg) {
			err_set(e, EINVAL, "serial port '%s': nothing may follow '%s'", spec, k->name);
			return NULL;
		}
		return k;
	}
	err_set(e, EINVAL, "serial port '%s': unknown; use stdio, pty, file:PATH, unix:PATH or null", spec);
	return NULL;
}

int chr_check(const char *spec, struct err *e)
{
	const char *arg;

	return find_kind(spec, &arg, e) ? 0 : -EINVAL;
}

int chr_open(struct chr **out, const char *spec, struct err *e)
{
	const char *arg;
	const struct chr_kind *k = find_kind(spec, &arg, e);

	return k ? k->open(out, arg, e) : -EINVAL;
}
