/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serves standard input to the guest's agent through a socket that COM2's backend listens on. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/endian.h"
#include "cli/guest_stdin.h"

#define SPEC_PREFIX "unix:"

struct guest_stdin {
	char dir[64];        /* ours alone; the socket is in it */
	char spec[96];
	int input, sock, stop_fd;
	pthread_t thread;
	bool started;
};

static const char *socket_path(const struct guest_stdin *in)
{
	return in->spec + strlen(SPEC_PREFIX);
}

static int move_stdin(struct guest_stdin *in, struct err *e)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	in->input = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	/* A closed standard input is an empty one. */
	if (in->input < 0 && errno == EBADF)
		in->input = fcntl(null, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (null < 0 || in->input < 0 || dup2(null, STDIN_FILENO) < 0) {
		int errnum = errno;

		if (null > STDERR_FILENO)
			close(null);
		return err_set(e, errnum, "standard input: %s", strerror(errnum));
	}
	if (null > STDERR_FILENO)
		close(null);
	return 0;
}

int guest_stdin_new(struct guest_stdin **out, struct err *e)
{
	const char *tmp = getenv("XDG_RUNTIME_DIR");
	struct guest_stdin *in = calloc(1, sizeof(*in));
	int rc;

	if (!in)
		return err_set(e, ENOMEM, "standard input: no memory");
	in->input = in->sock = in->stop_fd = -1;
	/* A socket's path is short. */
	if (!tmp || *tmp != '/' || strlen(tmp) > 32 || access(tmp, W_OK | X_OK))
		tmp = "/tmp";
	snprintf(in->dir, sizeof(in->dir), "%s/doppel-XXXXXX", tmp);
	if (!mkdtemp(in->dir)) {
		rc = err_set(e, errno, "standard input: cannot make a directory in %s: %s", tmp,
			     strerror(errno));
		in->dir[0] = '\0';
	} else {
		snprintf(in->spec, sizeof(in->spec), SPEC_PREFIX "%s/stdin", in->dir);
		in->stop_fd = eventfd(0, EFD_CLOEXEC);
		rc = in->stop_fd < 0 ? err_set(e, errno, "standard input: %s", strerror(errno)) :
				       move_stdin(in, e);
	}
	if (rc)
		guest_stdin_free(in);
	else
		*out = in;
	return rc;
}

const char *guest_stdin_chr(const struct guest_stdin *in)
{
	return in->spec;
}

/* Wait for fd to be ready; false: the end has come. */
static bool wait_for(struct guest_stdin *in, int fd, short events)
{
	struct pollfd p[2] = { { fd, events, 0 }, { in->stop_fd, POLLIN, 0 } };

	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return false;
	return !p[1].revents;
}

static bool send_all(struct guest_stdin *in, const uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n;

		if (!wait_for(in, in->sock, POLLOUT))
			return false;
		n = send(in->sock, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}

/* One frame; an error of the input ends it. */
static bool send_frame(struct guest_stdin *in)
{
	uint8_t frame[2 + GUEST_STDIN_FRAME];
	ssize_t n;

	do {
		if (!wait_for(in, in->input, POLLIN))
			return false;
		n = read(in->input, frame + 2, GUEST_STDIN_FRAME);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n < 0)
		n = 0;
	put_le16(frame, (uint16_t)n);
	return send_all(in, frame, 2 + (size_t)n);
}

static void *serve(void *opaque)
{
	struct guest_stdin *in = opaque;
	uint8_t ask;

	while (wait_for(in, in->sock, POLLIN)) {
		ssize_t n = recv(in->sock, &ask, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0 || (ask == GUEST_STDIN_REQUEST && !send_frame(in)))
			break;
	}
	return NULL;
}

int guest_stdin_start(struct guest_stdin *in, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int rc;

	memcpy(a.sun_path, socket_path(in), strlen(socket_path(in)) + 1);
	in->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (in->sock < 0 || connect(in->sock, (struct sockaddr *)&a, sizeof(a)))
		return err_set(e, errno, "standard input: cannot reach the guest's port: %s",
			       strerror(errno));
	rc = pthread_create(&in->thread, NULL, serve, in);
	if (rc)
		return err_set(e, rc, "standard input: no thread for it: %s", strerror(rc));
	in->started = true;
	return 0;
}

void guest_stdin_free(struct guest_stdin *in)
{
	if (!in)
		return;
	if (in->started) {
		eventfd_write(in->stop_fd, 1);
		pthread_join(in->thread, NULL);
	}
	if (in->dir[0]) {
		unlink(socket_path(in));
		rmdir(in->dir);
	}
	if (in->input >= 0)
		close(in->input);
	if (in->sock >= 0)
		close(in->sock);
	if (in->stop_fd >= 0)
		close(in->stop_fd);
	free(in);
}
