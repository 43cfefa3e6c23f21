/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages to the user and the log; the only output of the library layers. */
#ifndef DOPPEL_BASE_LOG_H
#define DOPPEL_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* What is above this level is dropped; LOG_WARN at start. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Where lines go: a file descriptor, 2 at start. With crlf set, lines end in CR LF (raw terminal). */
void log_set_output(int fd, bool crlf);

/* One line, prefixed "doppel: "; fmt has no newline. Async-signal-unsafe, thread-safe, one write(2). */
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * A message about something a guest did. Each site may print 10 lines in 5 seconds; what is
 * suppressed is counted and the count printed with the next line. Use through guest_log().
 */
struct log_limit {
	uint64_t window_start_ns;
	uint32_t printed, suppressed;
};
void log_guest_limited(struct log_limit *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define guest_log(...)                                                           \
	do {                                                                     \
		static struct log_limit limit_;                                  \
		log_guest_limited(&limit_, __VA_ARGS__);                         \
	} while (0)

#endif
