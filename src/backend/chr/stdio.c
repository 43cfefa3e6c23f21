/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character backend on standard input and output, with the escapes of a raw terminal. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backend/chr/impl.h"
#include "backend/chr/tty.h"

#define ESCAPE_KEY 0x01 /* Ctrl-A */
#define END_KEY    0x04 /* Ctrl-D */

static const char help_text[] = "\r\n"
				"Ctrl-A x       leave: stop the virtual machine\r\n"
				"Ctrl-A b       send a break\r\n"
				"Ctrl-A Ctrl-A  send Ctrl-A\r\n"
				"Ctrl-A h       this help\r\n";
static const char switch_text[] = "Ctrl-A c       to the monitor, and back\r\n";

/* Help goes to the terminal even when output is redirected. Part of it may get lost: it can be asked again. */
static void print_help(struct chr *c)
{
	int fd = c->out_fd >= 0 && isatty(c->out_fd) ? c->out_fd : STDERR_FILENO;
	ssize_t n = write(fd, help_text, sizeof(help_text) - 1);

	if (n > 0 && c->mon)
		n = write(fd, switch_text, sizeof(switch_text) - 1);
	(void)n;
}

static void after_escape(struct chr *c, uint8_t key)
{
	switch (key) {
	case 'x':
	case 'X':
		chr_leave(c);
		break;
	case 'b':
	case 'B':
		chr_break(c);
		break;
	case 'c':
	case 'C':
		chr_switch(c);
		break;
	case 'h':
	case 'H':
	case '?':
		print_help(c);
		break;
	case ESCAPE_KEY:
		chr_input(c, &key, 1);
		break;
	default:
		break;
	}
}

static void terminal_input(struct chr *c, const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (c->escape) {
			c->escape = false;
			after_escape(c, buf[i]);
		} else if (buf[i] == ESCAPE_KEY) {
			c->escape = true;
		} else {
			chr_input(c, &buf[i], 1);
		}
	}
}

static void piped_input(struct chr *c, const uint8_t *buf, size_t len)
{
	c->last_in = buf[len - 1];
	chr_input(c, buf, len);
}

static void stdio_input(struct chr *c, const uint8_t *buf, size_t len)
{
	if (c->escapes)
		terminal_input(c, buf, len);
	else
		piped_input(c, buf, len);
}

/*
 * The end of a file becomes Ctrl-D, which a guest's terminal line takes for the end of input at the
 * start of a line; in the middle of one the first only passes the line on.
 */
static void stdio_in_end(struct chr *c, bool hup)
{
	static const uint8_t end[2] = { END_KEY, END_KEY };

	c->in_fd = -1;
	if (c->in_drops)
		chr_leave(c); /* the terminal was hung up */
	else if (!c->quiet_end)
		chr_input(c, end, c->last_in == '\n' ? 1 : 2);
}

static void stdio_close(struct chr *c)
{
	tty_restore();
	chr_close_fd(&c->saved_fd);
}

static int stdio_begin(struct chr *c, struct err *e)
{
	if (c->in_drops)
		tty_raw();
	return 0;
}

static const struct chr_ops stdio_ops = {
	.name = "stdio",
	.begin = stdio_begin,
	.input = stdio_input,
	.in_end = stdio_in_end,
	.out_fail = chr_reader_lost,
	.close = stdio_close,
};

/*
 * Output must never block the I/O thread, but O_NONBLOCK on the inherited descriptor would also
 * change the shell's. A terminal can be opened anew; a pipe takes PIPE_BUF bytes once poll(2) says so.
 */
static void prepare_output(struct chr *c)
{
	struct stat st;

	c->out_fd = STDOUT_FILENO;
	if (isatty(STDOUT_FILENO)) {
		c->saved_fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (c->saved_fd >= 0)
			c->out_fd = c->saved_fd;
		else
			c->out_chunk = 1;
	} else if (fstat(STDOUT_FILENO, &st) == 0 && !S_ISREG(st.st_mode)) {
		c->out_chunk = PIPE_BUF;
	}
}

int chr_stdio_new(struct chr **out, const char *arg, struct err *e)
{
	struct chr *c;
	int rc = chr_new(&c, &stdio_ops, e);

	if (rc)
		return rc;
	snprintf(c->where, sizeof(c->where), "standard output");
	prepare_output(c);
	c->last_in = '\n';
	c->in_fd = STDIN_FILENO;
	c->in_drops = c->escapes = isatty(STDIN_FILENO);
	if (c->in_drops) {
		rc = tty_prepare(STDIN_FILENO);
		if (rc) {
			err_set(e, -rc, "serial port stdio: cannot use the terminal: %s", strerror(-rc));
			chr_free(c);
			return rc;
		}
	}
	*out = c;
	return 0;
}
