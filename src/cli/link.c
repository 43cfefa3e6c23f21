/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel link: the cable of a network card of a machine that runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "cli/command.h"
#include "monitor/control.h"

#define MAX_ANSWER 512

static const struct cli_option options[] = { { 0 } };

static int tell(const char *path, const char *card, const char *state)
{
	struct strbuf line = STRBUF_INIT;
	char answer[MAX_ANSWER] = "";
	struct err e = { "" };
	int fd = memfd_create("answer", MFD_CLOEXEC), rc;

	if (fd < 0)
		return cli_fail("link: %s", strerror(errno));
	strbuf_addf(&line, "link %s %s", card, state);
	rc = control_ask(path, line.buf, fd, &e);
	if (!rc && pread(fd, answer, sizeof(answer) - 1, 0) < 0)
		rc = err_set(&e, errno, "link: %s", strerror(errno));
	answer[strcspn(answer, "\n")] = 0;
	close(fd);
	strbuf_release(&line);
	if (rc)
		return cli_fail("%s", e.msg);
	return strcmp(answer, CONTROL_DONE) ? cli_fail("%s", answer) : STATUS_OK;
}

static int set_link(int argc, char **argv)
{
	int status;

	if (argc == 4 && *argv[1] != '-' && (!strcmp(argv[3], "up") || !strcmp(argv[3], "down")))
		return tell(argv[1], argv[2], argv[3]);
	if (argc > 1 && *argv[1] == '-')
		return cli_parse(&link_command, argc, argv, NULL, &status) < 0 ? status : STATUS_USAGE;
	cli_fail("give the PATH of the machine's --control PATH, a card as net0, and up or down");
	return STATUS_USAGE;
}

const struct cli_command link_command = {
	.name = "link",
	.synopsis = "PATH CARD up|down",
	.summary = "plug a card of a running machine in, or unplug it",
	.details = "The machine was started with 'doppel run --control PATH'. Its cards are net0,\n"
		   "net1 and so on, in the order of the options; or what their id= says.\n",
	.options = options,
	.run = set_link,
};
