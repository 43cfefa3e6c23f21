/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character backend on a new pseudo-terminal, to which terminal programs come and go. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "backend/chr/impl.h"

/* How often to look whether somebody has opened the slave: the kernel tells of closing only. */
#define PTY_LOOK_MS 100

static void pty_away(struct chr *c)
{
	c->in_fd = c->out_fd = -1;
	c->tick_ms = PTY_LOOK_MS;
	chr_set_reader(c, CHR_READER_AWAY);
}

static void pty_in_end(struct chr *c, bool hup)
{
	pty_away(c);
}

static void pty_out_fail(struct chr *c, int errnum)
{
	pty_away(c);
}

static void pty_attend(struct chr *c)
{
	struct pollfd p = { .fd = c->saved_fd, .events = POLLIN };

	if (c->out_fd >= 0 || poll(&p, 1, 0) < 0 || (p.revents & POLLHUP))
		return;
	c->in_fd = c->out_fd = c->saved_fd;
	c->tick_ms = -1;
	chr_set_reader(c, CHR_READER_HERE);
}

static void pty_close(struct chr *c)
{
	chr_close_fd(&c->saved_fd);
}

static const struct chr_ops pty_ops = {
	.name = "pty",
	.in_end = pty_in_end,
	.out_fail = pty_out_fail,
	.attend = pty_attend,
	.close = pty_close,
};

/* Open and close the slave once: in raw mode, or guest output would come back as its echo; and
 * from then on the master reports POLLHUP while nobody has the slave open. */
static int pty_prepare_slave(const char *name)
{
	struct termios t;
	int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	int rc = -1;

	if (fd < 0)
		return -1;
	if (tcgetattr(fd, &t) == 0) {
		cfmakeraw(&t);
		rc = tcsetattr(fd, TCSANOW, &t);
	}
	close(fd);
	return rc;
}

int chr_pty_new(struct chr **out, const char *arg, struct err *e)
{
	struct chr *c;
	int rc = chr_new(&c, &pty_ops, e);

	if (rc)
		return rc;
	c->saved_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (c->saved_fd < 0 || grantpt(c->saved_fd) || unlockpt(c->saved_fd) ||
	    ptsname_r(c->saved_fd, c->where, sizeof(c->where)) || pty_prepare_slave(c->where)) {
		rc = err_set(e, errno, "serial port pty: cannot make a pseudo-terminal: %s; is /dev/pts mounted?",
			     strerror(errno));
		chr_free(c);
		return rc;
	}
	c->reader = CHR_READER_AWAY;
	c->tick_ms = PTY_LOOK_MS;
	*out = c;
	return 0;
}
