/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process's terminal: raw while the guest has it, and given back whatever happens. */
#ifndef DOPPEL_BACKEND_CHR_TTY_H
#define DOPPEL_BACKEND_CHR_TTY_H

#include <stdbool.h>

/*
 * Put terminal fd into raw mode until tty_restore(), which also runs at exit, before the process dies
 * of a signal like SIGSEGV, and around a stop by SIGTSTP. One terminal per process. Signals that
 * end a program in order (SIGINT, SIGTERM, SIGHUP) are the caller's to handle. Returns 0 or -errno.
 */
int tty_raw(int fd);

/* Give the terminal back as it was; harmless when it is not raw; async-signal-safe. */
void tty_restore(void);

/* Whether the terminal is raw now, so that messages must end in CR LF. */
bool tty_is_raw(void);

#endif
