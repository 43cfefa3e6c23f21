/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent: process 1 of the default guest once /init has made its world. It sets the console up,
 * runs what /doppel/request says, feeds it the host's standard input, and when it has ended and its
 * output is out, tells the exit status through the isa-debug-exit port. Without a C library, so that
 * it is some KiB, and the same on every build host.
 *
 * /doppel/request is a row of strings, each with its NUL: settings "name=value" up to an empty
 * string, then the arguments. See cli/default_guest.c for who writes it and guest_stdin.h for frames.
 */
#include <asm/ioctls.h>
#include <linux/mman.h>
#include <asm/signal.h>
#include <asm/termbits.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/reboot.h>
#include <linux/stat.h>
#include <linux/termios.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sys.h"

#define CONSOLE       "/dev/ttyS0"
#define INPUT_LINE    "/dev/ttyS1"
#define REQUEST       "/doppel/request"
#define MAX_ARGS      4096 /* default_guest.c refuses more */
#define FRAME_REQUEST 'R'
#define FRAME_MAX     2048
#define STATUS_SIGNAL 128

enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 }; /* exit statuses, as shells have them */

struct request {
	bool shell, stdin_tty, stdout_tty;
	unsigned rows, cols, exit_port;
	char *term; /* "TERM=..." */
	char *argv[MAX_ARGS + 1];
};

static struct request request;

void *memset(void *p, int c, size_t n);
void agent_main(void) __attribute__((noreturn, used));

/* The compiler may call it by itself. */
void *memset(void *p, int c, size_t n)
{
	volatile char *b = p;

	while (n--)
		*b++ = (char)c;
	return p;
}

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static void say(const char *s)
{
	sys3(__NR_write, 2, (long)s, (long)length(s));
}

static _Noreturn void leave(int status)
{
	for (;;)
		sys1(__NR_exit_group, status);
}

/* The value if s is "name=value", else NULL. */
static char *setting(char *s, const char *name)
{
	while (*name && *s == *name)
		s++, name++;
	return !*name && *s == '=' ? s + 1 : NULL;
}

static unsigned number(const char *s)
{
	unsigned v = 0;

	while (*s >= '0' && *s <= '9')
		v = v * 10 + (unsigned)(*s++ - '0');
	return v;
}

static void apply(struct request *r, char *s)
{
	char *v;

	if ((v = setting(s, "shell")))
		r->shell = number(v);
	else if ((v = setting(s, "stdin_tty")))
		r->stdin_tty = number(v);
	else if ((v = setting(s, "stdout_tty")))
		r->stdout_tty = number(v);
	else if ((v = setting(s, "rows")))
		r->rows = number(v);
	else if ((v = setting(s, "cols")))
		r->cols = number(v);
	else if ((v = setting(s, "exit_port")))
		r->exit_port = number(v);
	else if (setting(s, "TERM"))
		r->term = s;
}

static bool read_request(struct request *r)
{
	long fd = sys3(__NR_open, (long)REQUEST, O_RDONLY, 0), size, at;
	unsigned n = 0;
	char *p;

	if (fd < 0)
		return false;
	size = sys3(__NR_lseek, fd, 0, 2 /* SEEK_END */);
	at = sys6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	sys1(__NR_close, fd);
	if (size <= 0 || (at < 0 && at > -4096))
		return false;
	p = (char *)at;
	while (p < (char *)at + size && *p) {
		apply(r, p);
		p += length(p) + 1;
	}
	for (p++; p < (char *)at + size && n < MAX_ARGS; p += length(p) + 1)
		r->argv[n++] = p;
	return n > 0;
}

/* Terminal modes: a line discipline for people, or none for bytes. */
static void set_console(const struct request *r, long fd)
{
	struct winsize ws = { .ws_row = (unsigned short)r->rows, .ws_col = (unsigned short)r->cols };
	struct termios t;

	if (sys3(__NR_ioctl, fd, TCGETS, (long)&t) < 0)
		return;
	t.c_iflag = r->stdin_tty ? ICRNL | IXON : 0;
	t.c_oflag = r->stdout_tty ? OPOST | ONLCR : 0;
	t.c_cflag = B115200 | CS8 | CREAD | CLOCAL;
	t.c_lflag = r->stdin_tty ? ISIG | ICANON | IEXTEN : 0;
	/* The echo would be in the output. */
	if (r->stdin_tty && r->stdout_tty)
		t.c_lflag |= ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE;
	sys3(__NR_ioctl, fd, TCSETSW, (long)&t);
	if (r->rows && r->cols)
		sys3(__NR_ioctl, fd, TIOCSWINSZ, (long)&ws);
}

static void set_raw(long fd)
{
	struct termios t;

	if (sys3(__NR_ioctl, fd, TCGETS, (long)&t) < 0)
		return;
	t.c_iflag = t.c_oflag = t.c_lflag = 0;
	t.c_cflag = B115200 | CS8 | CREAD | CLOCAL;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	sys3(__NR_ioctl, fd, TCSETS, (long)&t);
}

static bool read_all(long fd, uint8_t *buf, long len)
{
	while (len) {
		long n = sys3(__NR_read, fd, (long)buf, len);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return false;
		buf += n;
		len -= n;
	}
	return true;
}

static bool write_all(long fd, const uint8_t *buf, long len)
{
	while (len) {
		long n = sys3(__NR_write, fd, (long)buf, len);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return false;
		buf += n;
		len -= n;
	}
	return true;
}

/* Fetch frames from the host into a pipe, one at a time, until the input ends or nobody reads it. */
static _Noreturn void pump(long out)
{
	static uint8_t buf[FRAME_MAX];
	static const uint8_t ask = FRAME_REQUEST;
	long line = sys3(__NR_open, (long)INPUT_LINE, O_RDWR | O_NOCTTY, 0);
	uint8_t size[2];

	if (line < 0)
		leave(1);
	set_raw(line);
	while (write_all(line, &ask, 1) && read_all(line, size, sizeof(size))) {
		long len = size[0] | size[1] << 8;

		if (!len || len > FRAME_MAX || !read_all(line, buf, len) || !write_all(out, buf, len))
			break;
	}
	leave(0);
}

/* Start the pump: returns the reading end for the command. */
static long start_pump(void)
{
	int ends[2];
	long pid;

	if (sys2(__NR_pipe2, (long)ends, 0) < 0)
		return -1;
	pid = sys0(__NR_fork);
	if (!pid) {
		sys1(__NR_close, ends[0]);
		pump(ends[1]);
	}
	sys1(__NR_close, ends[1]);
	return ends[0];
}

/* execve() along the PATH; returns the error that matters. */
static long exec_path(char **argv, char **env)
{
	static const char *const dirs[] = { "/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/" };
	static char path[4096];
	const char *name = argv[0];
	long best = -ENOENT;

	for (const char *p = name; *p; p++)
		if (*p == '/')
			return sys3(__NR_execve, (long)name, (long)argv, (long)env);
	if (!*name || length(name) > sizeof(path) - 16)
		return -ENOENT;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		char *to = path;
		long rc;

		for (const char *p = dirs[i]; *p;)
			*to++ = *p++;
		for (const char *p = name; *p;)
			*to++ = *p++;
		*to = '\0';
		rc = sys3(__NR_execve, (long)path, (long)argv, (long)env);
		if (rc != -ENOENT && rc != -ENOTDIR)
			best = rc;
	}
	return best;
}

static _Noreturn void run_command(struct request *r, long console, long input)
{
	static char path[] = "PATH=/sbin:/bin:/usr/sbin:/usr/bin", home[] = "HOME=/root",
		    user[] = "USER=root";
	static char shell[] = "SHELL=/bin/sh", term[] = "TERM=vt102";
	char *env[] = { path, home, user, shell, r->term ? r->term : term, NULL };
	uint64_t none = 0;
	int self = (int)sys0(__NR_getpid);
	long rc;

	/* Its own process group, in the foreground; SIGTTOU is blocked still. */
	sys2(__NR_setpgid, 0, 0);
	sys3(__NR_ioctl, console, TIOCSPGRP, (long)&self);
	sys2(__NR_dup2, input, 0);
	sys2(__NR_dup2, console, 1);
	sys2(__NR_dup2, console, 2);
	sys3(__NR_close_range, 3, ~0u, 0);
	sys1(__NR_chdir, (long)"/root");
	sys4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof(none));
	rc = exec_path(r->argv, env);
	say("doppel: ");
	say(r->argv[0]);
	say(rc == -ENOENT ? ": not found in the guest\n" : rc == -E2BIG ? ": its arguments are too long\n" :
							    ": cannot be executed\n");
	leave(rc == -ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

static _Noreturn void power(unsigned how)
{
	sys0(__NR_sync);
	for (;;)
		sys4(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, how, 0);
}

static void drain(long console)
{
	/* tcdrain(): until the last bit has left the port */
	sys3(__NR_ioctl, console, TCSBRK, 1);
}

/* What the programs poweroff, halt and reboot send to process 1. */
static void obey(long sig, long console)
{
	if (sig != SIGUSR1 && sig != SIGUSR2 && sig != SIGTERM)
		return;
	drain(console);
	power(sig == SIGTERM ? LINUX_REBOOT_CMD_RESTART : LINUX_REBOOT_CMD_POWER_OFF);
}

/* Reap whatever ends until it is `child`: its exit status as a shell has it. */
static int wait_for(long child, uint64_t signals, long console)
{
	for (;;) {
		int status;
		long pid = sys4(__NR_wait4, -1, (long)&status, 1 /* WNOHANG */, 0);

		if (pid == child)
			return status & 0x7f ? STATUS_SIGNAL + (status & 0x7f) : status >> 8 & 0xff;
		if (pid <= 0)
			obey(sys4(__NR_rt_sigtimedwait, (long)&signals, 0, 0, sizeof(signals)), console);
	}
}

/* Nothing may write to the console after this. */
static void end_all(void)
{
	sys2(__NR_kill, -1, SIGKILL);
	while (sys4(__NR_wait4, -1, 0, 0, 0) != -ECHILD)
		;
}

static void report(const struct request *r, int status)
{
	if (!r->exit_port || sys3(__NR_ioperm, r->exit_port, 1, 1) < 0)
		return;
	__asm__ volatile("outb %b0, %w1" : : "a"(status), "Nd"((uint16_t)r->exit_port));
}

void agent_main(void)
{
	uint64_t all = ~0ull;
	long console, child, input;
	int status;

	sys4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, sizeof(all));
	console = sys3(__NR_open, (long)CONSOLE, O_RDWR | O_NOCTTY, 0);
	if (console < 0 || !read_request(&request)) {
		say("doppel: the guest cannot read " REQUEST " or open " CONSOLE "\n");
		power(LINUX_REBOOT_CMD_POWER_OFF);
	}
	set_console(&request, console);
	/*
	 * The session is ours: when a session's leader ends, its terminal is hung up, and what was written to it and has
	 * not left the port yet is thrown away.
	 */
	sys0(__NR_setsid);
	sys3(__NR_ioctl, console, TIOCSCTTY, 0);
	input = request.shell || request.stdin_tty ? console : start_pump();
	child = sys0(__NR_fork);
	if (!child)
		run_command(&request, console, input);
	if (input != console)
		sys1(__NR_close, input);
	status = wait_for(child, all, console);
	end_all();
	drain(console);
	if (!request.shell)
		report(&request, status);
	power(LINUX_REBOOT_CMD_POWER_OFF);
}

/* The entry: the kernel leaves the stack aligned, and a function expects it as after a call. */
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tcall agent_main\n");
