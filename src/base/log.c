/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log: lines to one file descriptor, and a brake for what a guest can provoke. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/bits.h"
#include "base/log.h"

#define LINE_MAX_BYTES     1024
#define GUEST_LINES        10            /* that one site may print ... */
#define GUEST_WINDOW_NS    5000000000ull /* ... in this time */
#define FULL_TERMINAL_MS   100           /* how long a line waits for a non-blocking descriptor */
#define OUTPUT_CRLF        (1u << 30)    /* in `output`, above any descriptor number */

static _Atomic int level = LOG_WARN;
static _Atomic unsigned output = STDERR_FILENO;
static pthread_mutex_t limit_mutex = PTHREAD_MUTEX_INITIALIZER; /* all struct log_limit */

void log_set_level(enum log_level l)
{
	atomic_store(&level, (int)l);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load(&level);
}

void log_set_output(int fd, bool crlf)
{
	atomic_store(&output, (unsigned)fd | (crlf ? OUTPUT_CRLF : 0));
}

static void write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			struct pollfd pfd = { .fd = fd, .events = POLLOUT };

			if (poll(&pfd, 1, FULL_TERMINAL_MS) <= 0)
				return;
		} else if (n == 0 || errno != EINTR) {
			return; /* nowhere left to complain to */
		}
	}
}

static void vlog(enum log_level l, const char *fmt, va_list ap, unsigned suppressed)
{
	static const char prefix[] = "doppel: ";
	unsigned out = atomic_load(&output);
	int saved_errno = errno;
	char line[LINE_MAX_BYTES];
	size_t len = sizeof(prefix) - 1, room = sizeof(line) - 2; /* CR LF */
	int n;

	if ((int)l > atomic_load(&level))
		return;
	memcpy(line, prefix, len);
	n = vsnprintf(line + len, room - len, fmt, ap);
	if (n > 0)
		len = MIN(len + (size_t)n, room - 1);
	if (suppressed) {
		n = snprintf(line + len, room - len, " (and %u like it before)", suppressed);
		len = MIN(len + (size_t)n, room - 1);
	}
	/* A message may quote bytes of a guest: no escape sequence of theirs reaches the terminal. */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	if (out & OUTPUT_CRLF)
		line[len++] = '\r';
	line[len++] = '\n';
	write_all((int)(out & ~OUTPUT_CRLF), line, len);
	errno = saved_errno;
}

void log_msg(enum log_level l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(l, fmt, ap, 0);
	va_end(ap);
}

/* Whether a site may print now; *suppressed gets what it has swallowed since its last line. */
static bool may_print(struct log_limit *l, unsigned *suppressed)
{
	struct timespec ts;
	uint64_t now;
	bool ok;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	pthread_mutex_lock(&limit_mutex);
	if (!l->window_start_ns || now - l->window_start_ns >= GUEST_WINDOW_NS) {
		l->window_start_ns = now;
		l->printed = 0;
	}
	ok = l->printed < GUEST_LINES;
	if (ok) {
		l->printed++;
		*suppressed = l->suppressed;
		l->suppressed = 0;
	} else if (l->suppressed < UINT32_MAX) {
		l->suppressed++;
	}
	pthread_mutex_unlock(&limit_mutex);
	return ok;
}

void log_guest_limited(struct log_limit *l, const char *fmt, ...)
{
	unsigned suppressed;
	va_list ap;

	if (log_get_level() < LOG_WARN || !may_print(l, &suppressed))
		return;
	va_start(ap, fmt);
	vlog(LOG_WARN, fmt, ap, suppressed);
	va_end(ap);
}
