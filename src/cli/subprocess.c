/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Child processes: started by fork and exec, their output gathered with poll. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/subprocess.h"

#define TICK_MS       100
#define CANNOT_EXEC   127
#define STATUS_SIGNAL 128

static _Noreturn void become(const char *const *argv, const char *dir, int out, int err)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out < 0 ? null : out, STDOUT_FILENO) < 0 ||
	    dup2(err < 0 ? null : err, STDERR_FILENO) < 0 || (dir && chdir(dir)))
		_exit(CANNOT_EXEC);
	setenv("LC_ALL", "C", 1);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(CANNOT_EXEC);
}

static int wait_status(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_SIGNAL + WTERMSIG(status);
}

/* Move what is there from *fd to sb; at the end of the stream, close it and make *fd -1. */
static void gather(int *fd, struct strbuf *sb)
{
	char buf[4096];
	ssize_t n = read(*fd, buf, sizeof(buf));

	if (n > 0 && sb)
		strbuf_add(sb, buf, (size_t)n);
	if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)))
		return;
	close(*fd);
	*fd = -1;
}

static int cannot_run(const char *program, int errnum, struct err *e)
{
	return err_set(e, errnum, "cannot run %s: %s", program, strerror(errnum));
}

static bool on_path(const char *program)
{
	const char *path = getenv("PATH");
	char buf[4096];

	for (path = path ? path : "/usr/bin:/bin"; *path;) {
		size_t n = strcspn(path, ":");

		if (n + strlen(program) + 2 <= sizeof(buf)) {
			memcpy(buf, path, n);
			buf[n] = '/';
			strcpy(buf + n + 1, program);
			if (!access(buf, X_OK))
				return true;
		}
		path += n + (path[n] == ':');
	}
	return false;
}

static int start(const char *const *argv, const char *dir, int fds[2], bool with_err, pid_t *pid,
		 struct err *e)
{
	int out[2], err[2] = { -1, -1 };

	if (!strchr(argv[0], '/') && !on_path(argv[0]))
		return cannot_run(argv[0], ENOENT, e);
	if (pipe2(out, O_CLOEXEC))
		return cannot_run(argv[0], errno, e);
	if (with_err && pipe2(err, O_CLOEXEC)) {
		close(out[0]);
		close(out[1]);
		return cannot_run(argv[0], errno, e);
	}
	*pid = fork();
	if (!*pid)
		become(argv, dir, out[1], err[1]);
	close(out[1]);
	if (with_err)
		close(err[1]);
	fds[0] = out[0];
	fds[1] = err[0];
	if (*pid > 0)
		return 0;
	close(out[0]);
	if (with_err)
		close(err[0]);
	return cannot_run(argv[0], EAGAIN, e);
}

int subprocess_run(const struct subprocess *s, struct err *e)
{
	int fds[2], rc;
	pid_t pid;

	rc = start(s->argv, s->dir, fds, true, &pid, e);
	if (rc)
		return rc;
	while (fds[0] >= 0 || fds[1] >= 0) {
		struct pollfd p[2] = { { fds[0], POLLIN, 0 }, { fds[1], POLLIN, 0 } };

		if (poll(p, 2, s->tick ? TICK_MS : -1) > 0) {
			if (p[0].revents)
				gather(&fds[0], s->out);
			if (p[1].revents)
				gather(&fds[1], s->err);
		}
		if (s->tick)
			s->tick(s->opaque);
	}
	rc = wait_status(pid);
	return rc < 0 ? cannot_run(s->argv[0], -rc, e) : rc;
}

int subprocess_open(const char *const *argv, pid_t *pid, int *fd, struct err *e)
{
	int fds[2], rc = start(argv, NULL, fds, false, pid, e);

	if (!rc)
		*fd = fds[0];
	return rc;
}

int subprocess_close(pid_t pid, int fd)
{
	close(fd);
	return wait_status(pid);
}

const char *last_line(struct strbuf *sb)
{
	char *nl;

	while (sb->len && strchr("\r\n", sb->buf[sb->len - 1]))
		sb->buf[--sb->len] = '\0';
	if (!sb->len)
		return "";
	nl = strrchr(sb->buf, '\n');
	return nl ? nl + 1 : sb->buf;
}
