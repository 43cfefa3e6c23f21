/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel link: the cable of a network card of a machine that runs. */
#include <string.h>

#include "base/strbuf.h"
#include "cli/command.h"
#include "monitor/control.h"

static const struct cli_option options[] = { { 0 } };

static int tell(const char *path, const char *card, const char *state)
{
	struct strbuf line = STRBUF_INIT, answer = STRBUF_INIT;
	struct err e = { "" };
	int status = STATUS_OK;

	strbuf_addf(&line, "link %s %s", card, state);
	if (control_ask(path, line.buf, &answer, &e))
		status = cli_fail("%s", e.msg);
	else
		answer.buf[strcspn(answer.buf, "\n")] = 0;
	if (status == STATUS_OK && strcmp(answer.buf, CONTROL_DONE))
		status = cli_fail("%s", answer.buf);
	strbuf_release(&line);
	strbuf_release(&answer);
	return status;
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
