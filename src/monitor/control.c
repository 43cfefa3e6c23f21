/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket: a thread that takes one client after another. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "monitor/control.h"
#include "vm/vm.h"

#define LINE_MAX_LEN 64   /* of a request */
#define CLIENT_MS    2000 /* to ask, and to take each piece of the answer: others wait for their turn */
#define BACKLOG      8

struct control {
	struct vm *vm;
	struct sockaddr_un addr;
	int listen_fd, stop_fd; /* stop_fd: readable when the thread is to end */
	pthread_t thread;
	bool bound, started;
};

/* -- Addresses ---------------------------------------------------------------------------------------------- */

static int set_address(struct sockaddr_un *a, const char *path, struct err *e)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!*path || strlen(path) >= sizeof(a->sun_path))
		return err_set(e, EINVAL, "control socket '%s': a socket's path has 1 to %zu bytes; use another", path,
			       sizeof(a->sun_path) - 1);
	snprintf(a->sun_path, sizeof(a->sun_path), "%s", path);
	return 0;
}

static int connect_to(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), saved;

	if (fd < 0 || !connect(fd, (const struct sockaddr *)a, sizeof(*a)))
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* Remove a socket at which nobody listens any more; never anything else. */
static void remove_stale(const struct sockaddr_un *a)
{
	struct stat st;
	int fd;

	if (lstat(a->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return;
	fd = connect_to(a);
	if (fd >= 0)
		close(fd);
	else if (errno == ECONNREFUSED)
		unlink(a->sun_path);
}

/* -- A client ------------------------------------------------------------------------------------------------ */

static bool wait_for(const struct control *c, int fd, int ms)
{
	struct pollfd p[2] = { { .fd = c->stop_fd, .events = POLLIN }, { .fd = fd, .events = POLLIN } };

	return poll(p, 2, ms) > 0 && !p[0].revents && p[1].revents;
}

/* One line without its end; false: the client is gone, slow or sends something else. */
static bool read_line(const struct control *c, int fd, char *line)
{
	size_t len = 0;

	while (len < LINE_MAX_LEN && wait_for(c, fd, CLIENT_MS)) {
		ssize_t n = recv(fd, line + len, 1, MSG_DONTWAIT);

		if (n != 1)
			return false;
		if (line[len] == '\n') {
			line[len] = 0;
			return true;
		}
		len++;
	}
	return false;
}

static void send_all(int fd, const char *text, size_t len)
{
	for (ssize_t n; len; text += n, len -= (size_t)n) {
		n = send(fd, text, len, MSG_NOSIGNAL);
		if (n <= 0)
			return;
	}
}

static void print_stats(struct vm *vm, void *out)
{
	vm_print_stats(vm, out);
}

/* "link NAME up" or "down". */
static void set_link(struct vm *vm, char *words, struct strbuf *answer)
{
	char *space = strrchr(words, ' ');
	bool up = space && !strcmp(space, " up");
	struct err e = { "" };

	if (!up && (!space || strcmp(space, " down"))) {
		strbuf_addf(answer, "link: say which card, and up or down\n");
		return;
	}
	*space = 0;
	strbuf_addf(answer, "%s\n", vm_set_link(vm, words, up, &e) ? e.msg : CONTROL_DONE);
}

static void serve(const struct control *c, int fd)
{
	const struct timeval limit = { .tv_sec = CLIENT_MS / 1000 };
	struct strbuf answer = STRBUF_INIT;
	char line[LINE_MAX_LEN + 1];

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) || !read_line(c, fd, line))
		return;
	if (!strncmp(line, "link ", strlen("link ")))
		set_link(c->vm, line + strlen("link "), &answer);
	else if (strcmp(line, "stats"))
		strbuf_addf(&answer, "unknown request; 'stats' and 'link NAME up|down' are known\n");
	else if (!vm_call(c->vm, print_stats, &answer))
		goto out;
	send_all(fd, answer.buf, answer.len);
out:
	strbuf_release(&answer);
}

static void *control_thread(void *arg)
{
	struct control *c = arg;
	struct pollfd p[2] = { { .fd = c->stop_fd, .events = POLLIN }, { .fd = c->listen_fd, .events = POLLIN } };

	for (;;) {
		int fd;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents)
			return NULL;
		fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		serve(c, fd);
		close(fd);
	}
}

/* -- Life ----------------------------------------------------------------------------------------------------- */

static int listen_at(struct control *c, struct err *e)
{
	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	c->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->listen_fd < 0 || c->stop_fd < 0)
		return err_set(e, errno, "control socket: %s", strerror(errno));
	remove_stale(&c->addr);
	/* What the socket's mode is, its name's becomes. */
	if (fchmod(c->listen_fd, 0600) || bind(c->listen_fd, (const struct sockaddr *)&c->addr, sizeof(c->addr)))
		return err_set(e, errno, "control socket '%s': %s; choose a path where a socket can be made", c->addr.sun_path,
			       strerror(errno));
	c->bound = true;
	if (listen(c->listen_fd, BACKLOG))
		return err_set(e, errno, "control socket '%s': %s", c->addr.sun_path, strerror(errno));
	return 0;
}

int control_new(struct control **out, const char *path, struct vm *vm, struct err *e)
{
	struct control *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, ENOMEM, "control socket: out of memory");
	c->vm = vm;
	c->listen_fd = c->stop_fd = -1;
	rc = set_address(&c->addr, path, e);
	if (!rc)
		rc = listen_at(c, e);
	if (!rc) {
		rc = pthread_create(&c->thread, NULL, control_thread, c);
		rc = rc ? err_set(e, rc, "control socket: cannot make a thread: %s", strerror(rc)) : 0;
		c->started = !rc;
	}
	if (rc) {
		control_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	if (c->started) {
		vm_end_calls(c->vm);
		eventfd_write(c->stop_fd, 1);
		pthread_join(c->thread, NULL);
	}
	if (c->bound)
		unlink(c->addr.sun_path);
	if (c->listen_fd >= 0)
		close(c->listen_fd);
	if (c->stop_fd >= 0)
		close(c->stop_fd);
	free(c);
}

/* -- The client's side -------------------------------------------------------------------------------------- */

int control_ask(const char *path, const char *line, int out_fd, struct err *e)
{
	struct sockaddr_un a;
	char buf[4096];
	ssize_t n, sum = 0;
	int rc = set_address(&a, path, e), fd;

	if (rc)
		return rc;
	fd = connect_to(&a);
	if (fd < 0)
		return err_set(e, errno, "'%s': no machine listens there (%s); start one with 'doppel run --control %s'", path,
			       strerror(errno), path);
	send_all(fd, line, strlen(line));
	send_all(fd, "\n", 1);
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		sum += n;
		if (write(out_fd, buf, (size_t)n) != n) {
			rc = err_set(e, errno, "cannot write the answer: %s", strerror(errno));
			break;
		}
	}
	close(fd);
	if (!rc && !sum)
		rc = err_set(e, EPIPE, "'%s': the machine ended before it answered", path);
	return rc;
}
