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
#include <sys/time.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "monitor/control.h"
#include "monitor/listener.h"
#include "vm/vm.h"

#define LINE_MAX_LEN 64   /* of a request */
#define CLIENT_MS    2000 /* to ask, and to take each piece of the answer: others wait for their turn */
#define CONTROL_SOCKET "control socket"

struct control {
	struct vm *vm;
	struct listener at;
	int stop_fd; /* readable when the thread is to end */
	pthread_t thread;
	bool started;
};

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
	struct err e;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) || !read_line(c, fd, line))
		return;
	if (!strncmp(line, "link ", strlen("link "))) {
		set_link(c->vm, line + strlen("link "), &answer);
	} else if (!strcmp(line, "screendump")) {
		if (vm_screendump_bytes(c->vm, &answer, &e))
			strbuf_addf(&answer, "%s\n", e.msg);
	} else if (strcmp(line, "stats")) {
		strbuf_addf(&answer, "unknown request; 'stats', 'screendump' and 'link NAME up|down' are known\n");
	} else if (!vm_call(c->vm, print_stats, &answer)) {
		goto out;
	}
	send_all(fd, answer.buf, answer.len);
out:
	strbuf_release(&answer);
}

static void *control_thread(void *arg)
{
	struct control *c = arg;
	struct pollfd p[2] = { { .fd = c->stop_fd, .events = POLLIN }, { .fd = c->at.fd, .events = POLLIN } };

	for (;;) {
		int fd;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents)
			return NULL;
		fd = accept4(c->at.fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		serve(c, fd);
		close(fd);
	}
}

/* -- Life ----------------------------------------------------------------------------------------------------- */

int control_new(struct control **out, const char *path, struct vm *vm, struct err *e)
{
	struct control *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, ENOMEM, "control socket: out of memory");
	c->vm = vm;
	c->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = listener_open_path(&c->at, CONTROL_SOCKET, path, e);
	if (!rc && c->stop_fd < 0)
		rc = err_set(e, errno, CONTROL_SOCKET ": %s", strerror(errno));
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
	listener_close(&c->at);
	if (c->stop_fd >= 0)
		close(c->stop_fd);
	free(c);
}

/* -- The client's side -------------------------------------------------------------------------------------- */

int control_ask(const char *path, const char *line, struct strbuf *answer, struct err *e)
{
	struct sockaddr_un a;
	char buf[4096];
	ssize_t n;
	int rc = listener_path(&a, CONTROL_SOCKET, path, e), fd;

	if (rc)
		return rc;
	fd = listener_connect(&a);
	if (fd < 0)
		return err_set(e, errno, "'%s': no machine listens there (%s); start one with 'doppel run --control %s'", path,
			       strerror(errno), path);
	send_all(fd, line, strlen(line));
	send_all(fd, "\n", 1);
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		strbuf_add(answer, buf, (size_t)n);
	close(fd);
	return answer->len ? 0 : err_set(e, EPIPE, "'%s': the machine ended before it answered", path);
}
