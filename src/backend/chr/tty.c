/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process's terminal: raw while the guest has it, and given back whatever happens. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>
#include "backend/chr/tty.h"
#include "base/bits.h"
#include "base/log.h"

/* Signal handlers get no argument of ours, and a process has one terminal: hence these statics. */
static struct termios saved, raw;
static _Atomic int tty_fd = -1;
static _Atomic bool want_raw;
static _Atomic bool is_raw; /* set before the terminal becomes raw: its change is never missed */

static bool caught; /* signal handlers are in place, once for all */

static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT };
static struct sigaction old_action[ARRAY_SIZE(fatal_signals)];

static void enter_raw(void)
{
	/* From the background this would only stop us again; SIGCONT comes anew with the foreground. */
	if (!want_raw || is_raw || tcgetpgrp(tty_fd) != getpgrp())
		return;
	is_raw = true;
	tcsetattr(tty_fd, TCSANOW, &raw);
}

static void leave_raw(void)
{
	if (!is_raw)
		return;
	is_raw = false;
	tcsetattr(tty_fd, TCSANOW, &saved);
}

/* Give the terminal back, then let the signal do what it did before we came. */
static void on_fatal(int sig)
{
	int e = errno;

	leave_raw();
	for (unsigned i = 0; i < ARRAY_SIZE(fatal_signals); i++)
		if (fatal_signals[i] == sig)
			sigaction(sig, &old_action[i], NULL);
	raise(sig);
	errno = e;
}

static void on_stop(int sig)
{
	int e = errno;

	leave_raw();
	kill(getpid(), SIGSTOP);
	errno = e;
}

static void on_continue(int sig)
{
	int e = errno;

	enter_raw();
	errno = e;
}

static void catch_signals(void)
{
	struct sigaction a = { .sa_handler = on_fatal, .sa_flags = SA_ONSTACK };

	sigemptyset(&a.sa_mask);
	for (unsigned i = 0; i < ARRAY_SIZE(fatal_signals); i++)
		sigaction(fatal_signals[i], &a, &old_action[i]);
	a.sa_flags = SA_RESTART;
	a.sa_handler = on_stop;
	sigaction(SIGTSTP, &a, NULL);
	a.sa_handler = on_continue;
	sigaction(SIGCONT, &a, NULL);
}

int tty_prepare(int fd)
{
	if (tty_fd >= 0)
		return -EBUSY;
	if (tcgetattr(fd, &saved))
		return -errno;
	raw = saved;
	cfmakeraw(&raw);
	if (!caught) {
		catch_signals();
		atexit(tty_restore);
	}
	caught = true;
	tty_fd = fd;
	return 0;
}

void tty_raw(void)
{
	want_raw = true;
	enter_raw();
	if (isatty(STDERR_FILENO))
		log_set_output(STDERR_FILENO, true);
}

void tty_restore(void)
{
	if (want_raw)
		log_set_output(STDERR_FILENO, false);
	want_raw = false;
	leave_raw();
	tty_fd = -1;
}

bool tty_is_raw(void)
{
	return is_raw;
}
