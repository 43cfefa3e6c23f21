/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel help and doppel version. */
#include <stdio.h>
#include <string.h>
#include "cli/command.h"

static int help(int argc, char **argv)
{
	if (argc < 2) {
		cli_print_overview();
		return STATUS_OK;
	}
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		if (!strcmp((*c)->name, argv[1]) || (!strcmp(argv[1], "--help") && *c == &help_command)) {
			cli_print_help(*c);
			return STATUS_OK;
		}
	}
	cli_fail("no command '%s'; 'doppel help' lists them", argv[1]);
	return STATUS_USAGE;
}

static int version(int argc, char **argv)
{
	int status;

	if (cli_parse(&version_command, argc, argv, NULL, &status) < 0)
		return status;
	puts("doppel " DOPPEL_VERSION);
	return STATUS_OK;
}

const struct cli_command help_command = {
	.name = "help",
	.synopsis = "[COMMAND]",
	.summary = "tell about doppel or one of its commands",
	.run = help,
};

const struct cli_command version_command = {
	.name = "version",
	.synopsis = "",
	.summary = "print the version",
	.run = version,
};
