/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel stats: the statistics of a machine that runs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "cli/command.h"
#include "monitor/control.h"

static const struct cli_option options[] = { { 0 } };

static int ask(const char *path)
{
	struct strbuf answer = STRBUF_INIT;
	struct err e = { "" };
	int status = control_ask(path, "stats", &answer, &e) ? cli_fail("%s", e.msg) : STATUS_OK;

	if (status == STATUS_OK && (fwrite(answer.buf, answer.len, 1, stdout) != 1 || fflush(stdout)))
		status = cli_fail("cannot write the answer: %s", strerror(errno));
	strbuf_release(&answer);
	return status;
}

static int stats(int argc, char **argv)
{
	int status;

	if (argc == 2 && *argv[1] != '-')
		return ask(argv[1]);
	if (argc < 2) {
		cli_fail("no socket; give the PATH of the machine's --control PATH");
		return STATUS_USAGE;
	}
	if (argc > 2 && *argv[1] != '-') {
		cli_fail("'%s': one machine at a time; 'doppel stats --help' helps", argv[2]);
		return STATUS_USAGE;
	}
	return cli_parse(&stats_command, argc, argv, NULL, &status) < 0 ? status : STATUS_USAGE;
}

const struct cli_command stats_command = {
	.name = "stats",
	.synopsis = "PATH",
	.summary = "print the statistics of a running virtual machine",
	.details = "Ask the machine that was started with 'doppel run --control PATH'. It stands\n"
		   "still while it answers.\n",
	.options = options,
	.run = stats,
};
