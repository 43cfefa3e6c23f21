/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's options about the process: what ends it, its logs, its background. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/qemu.h"
#include "monitor/gdb.h"

int qemu_set_flag(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	if (!strcmp(o->name, "S"))
		q->stopped = true;
	else if (!strcmp(o->name, "no-reboot"))
		q->no_reboot = true;
	else if (!strcmp(o->name, "no-shutdown"))
		q->no_shutdown = true;
	else if (!strcmp(o->name, "daemonize"))
		q->daemonize = true;
	else if (!strcmp(o->name, "s"))
		return qemu_set_gdb(q, o, GDB_DEFAULT_WHERE, e);
	return 0;
}

int qemu_set_gdb(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	q->gdb = strcmp(arg, "none") ? arg : NULL;
	return 0;
}

int qemu_set_pidfile(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	q->pidfile = arg;
	return 0;
}

/* -- -action ---------------------------------------------------------------------------------------------------------- */

static int set_panic(struct qemu *q, const char *value, struct err *e)
{
	static const char *const names[] = { [PANIC_SHUTDOWN] = "shutdown", [PANIC_PAUSE] = "pause", [PANIC_EXIT_FAILURE] = "exit-failure",
					     [PANIC_NONE] = "none" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], value))
			continue;
		q->panic = i;
		return 0;
	}
	return err_set(e, EINVAL, "-action panic=%s: give shutdown, pause, exit-failure or none", value);
}

int qemu_set_action(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct keyval k;
	int rc = keyval_parse(&k, "-action", arg, NULL, e);
	const char *reboot = keyval_take(&k, "reboot"), *shutdown = keyval_take(&k, "shutdown"), *panic = keyval_take(&k, "panic");

	if (!rc && reboot) {
		q->no_reboot = !strcmp(reboot, "shutdown");
		if (!q->no_reboot && strcmp(reboot, "reset"))
			rc = err_set(e, EINVAL, "-action reboot=%s: give reset or shutdown", reboot);
	}
	if (!rc && shutdown) {
		q->no_shutdown = !strcmp(shutdown, "pause");
		if (!q->no_shutdown && strcmp(shutdown, "poweroff"))
			rc = err_set(e, EINVAL, "-action shutdown=%s: give poweroff or pause", shutdown);
	}
	if (!rc && panic)
		rc = set_panic(q, panic, e);
	if (!rc)
		rc = keyval_done(&k, e);
	keyval_release(&k);
	return rc;
}

/* -- Logs --------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name, *help;
	bool blocks; /* the translator's text; else more of our own messages */
} log_items[] = {
	{ "in_asm", "guest code of each block as it is translated", true },
	{ "out_asm", "the same, with the code made of it", true },
	{ "op", "the same, with what the passes found", true },
	{ "guest_errors", "what guests do wrong", false },
	{ "unimp", "what guests do that is not built", false },
	{ "nochain", "taken, and nothing changes by it", false },
};

bool qemu_answer_log(const char *arg)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return false;
	printf("Log items (comma separated):\n");
	for (size_t i = 0; i < ARRAY_SIZE(log_items); i++)
		printf("%-15s %s\n", log_items[i].name, log_items[i].help);
	return true;
}

int qemu_set_log(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	for (const char *p = arg; *p;) {
		size_t len = strcspn(p, ","), i;

		for (i = 0; i < ARRAY_SIZE(log_items); i++)
			if (strlen(log_items[i].name) == len && !memcmp(log_items[i].name, p, len))
				break;
		if (i == ARRAY_SIZE(log_items))
			return err_set(e, ENOTSUP, "-d %.*s is not built; '-d help' lists what is", (int)len, p);
		if (log_items[i].blocks)
			q->trace.on = true;
		else
			log_set_level(LOG_INFO);
		p += len + (p[len] == ',');
	}
	return 0;
}

int qemu_set_log_file(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	q->log_file = arg;
	return 0;
}

/* -- The background -------------------------------------------------------------------------------------------------------- */

int qemu_daemonize(const struct qemu *q, bool *parent, int *status, int *fd, struct err *e)
{
	int pipes[2], child_status;
	uint8_t byte = STATUS_FAILED;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC))
		return err_set(e, errno, "-daemonize: pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return err_set(e, errno, "-daemonize: fork: %s", strerror(errno));
	if (!pid) {
		close(pipes[0]);
		setsid();
		*fd = pipes[1];
		return 0;
	}
	close(pipes[1]);
	*parent = true;
	/* Without a byte the child has died: of what, it has said. */
	if (read(pipes[0], &byte, 1) != 1 && waitpid(pid, &child_status, 0) == pid && WIFEXITED(child_status))
		byte = (uint8_t)WEXITSTATUS(child_status);
	close(pipes[0]);
	*status = byte;
	return 0;
}

void qemu_daemon_ready(int fd, int status)
{
	uint8_t byte = (uint8_t)status;
	int null;

	if (fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (!status && null >= 0)
		for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
			dup2(null, i);
	if (write(fd, &byte, 1) != 1)
		log_msg(LOG_WARN, "nobody waits for the start any more");
	close(fd);
	if (null >= 0)
		close(null);
}

int qemu_write_pidfile(const struct qemu *q, struct err *e)
{
	FILE *f = q->pidfile ? fopen(q->pidfile, "we") : NULL;
	int rc = 0;

	if (!q->pidfile)
		return 0;
	if (!f || fprintf(f, "%ld\n", (long)getpid()) < 0)
		rc = err_set(e, errno, "-pidfile '%s': %s", q->pidfile, strerror(errno));
	if (f && fclose(f) && !rc)
		rc = err_set(e, errno, "-pidfile '%s': %s", q->pidfile, strerror(errno));
	return rc;
}
