/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process's terminal: raw while the guest has it, and given back whatever happens. */
#ifndef DOPPEL_BACKEND_CHR_TTY_H
#define DOPPEL_BACKEND_CHR_TTY_H

#include <stdbool.h>

/*
 * Remember how terminal fd is set, and arrange for tty_restore() at exit, before the process dies of a signal
 * like SIGSEGV, and around a stop by SIGTSTP. Before anybody who takes some SIGSEGVs for his own and passes
 * the rest on: an engine. One terminal per process; 0 or -errno. Signals that end a program in order
 * (SIGINT, SIGTERM, SIGHUP) are the caller's to handle.
 */
int tty_prepare(int fd);

/* Put the terminal into raw mode, until tty_restore(). */
void tty_raw(void);

/* Give the terminal back as it was; harmless when it is not raw; async-signal-safe. */
void tty_restore(void);

/* Whether the terminal is raw now, so that messages must end in CR LF. */
bool tty_is_raw(void);

#endif
