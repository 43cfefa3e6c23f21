/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a subcommand is, and its options: one table that parsing, help and the tests share. */
#ifndef DOPPEL_CLI_COMMAND_H
#define DOPPEL_CLI_COMMAND_H

#include "base/err.h"

/* Exit statuses of our own; a guest command's status is passed on as it is. */
enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_SIGNAL = 128 };

/* One option, "--name" or "--name ARG" (also "--name=ARG"). */
struct cli_option {
	const char *name;
	const char *arg;  /* what help calls the argument; NULL: takes none */
	const char *help; /* fits its line of 80 columns */
	/*
	 * Note it; arg is NULL when it takes none. Negative: a usage error, explained in e. Positive: the
	 * option was a question and has been answered, the program ends with success.
	 */
	int (*set)(void *opts, const char *arg, struct err *e);
};

struct cli_command {
	const char *name;
	const char *synopsis;             /* after "doppel NAME" */
	const char *summary;              /* a line for the overview */
	const char *details;              /* lines before the options in the command's own help, or NULL */
	const struct cli_option *options; /* ends with a NULL name; --help is understood without being there */
	const char *notes;                /* lines after the options, or NULL */
	/* Note an argument that is no option, as cli_option.set(); NULL: there are none. */
	int (*operand)(void *opts, const char *arg, struct err *e);
	int (*run)(int argc, char **argv); /* argv[0] is the subcommand; returns the exit status */
};

extern const struct cli_command run_command, img_command, switch_command, doctor_command, stats_command, screendump_command, link_command, help_command, version_command;
/* All of them in the order of the overview; ends with NULL. In main.c. */
extern const struct cli_command *const cli_commands[];

/*
 * Parse options into opts. Returns the index of the first argument after "--" (argc when there is none),
 * or -1 when the program is to end with *status: usage error (reported) or --help (printed).
 * Arguments before "--" that are no options are the command's operands; usage errors if it has none.
 */
int cli_parse(const struct cli_command *c, int argc, char **argv, void *opts, int *status);

/* One line "doppel COMMAND: message" on standard error; returns STATUS_FAILED, for `return cli_fail(...)`. */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void cli_print_help(const struct cli_command *c);
void cli_print_overview(void);

#endif
