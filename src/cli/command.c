/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Subcommands: parsing of their options and printing of their help, both from one table. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "cli/command.h"

#define HELP_COLUMN 20

static const struct cli_option help_option = { .name = "help", .help = "print this help" };

int cli_fail(const char *fmt, ...)
{
	va_list ap;

	fputs("doppel: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return STATUS_FAILED;
}

static void print_option(const struct cli_option *o)
{
	char left[HELP_COLUMN * 2];

	snprintf(left, sizeof(left), "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
	printf("  %-*s %s\n", HELP_COLUMN, left, o->help);
}

void cli_print_help(const struct cli_command *c)
{
	printf("Usage: doppel %s%s%s\n", c->name, *c->synopsis ? " " : "", c->synopsis);
	if (c->details)
		puts(c->details);
	for (const struct cli_option *o = c->options; o && o->name; o++)
		print_option(o);
	print_option(&help_option);
	if (c->notes)
		puts(c->notes);
}

void cli_print_overview(void)
{
	puts("Usage: doppel COMMAND [OPTIONS]\n"
	     "A hypervisor for x86-64 guests on hosts without hardware virtualization.\n");
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		printf("  %-*s %s\n", HELP_COLUMN, (*c)->name, (*c)->summary);
	puts("\n'doppel COMMAND --help' tells about one of them; the manual is 'man doppel'.\n"
	     "To begin: 'doppel run' boots Debian to a shell; Ctrl-A x leaves it.");
}

static void usage(const struct cli_command *c, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "doppel %s: ", c->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; see 'doppel %s --help'\n", c->name);
}

/* The option that the n bytes at name spell. */
static const struct cli_option *find_option(const struct cli_command *c, const char *name, size_t n)
{
	for (const struct cli_option *o = c->options; o && o->name; o++)
		if (strlen(o->name) == n && !memcmp(o->name, name, n))
			return o;
	return NULL;
}

/* Parse the option at argv[*i] and move *i to its last word. False when the program is to end with *status. */
static bool parse_option(const struct cli_command *c, char **argv, int *i, void *opts, int *status)
{
	const char *word = argv[*i], *name = word + 2;
	const char *arg = strchr(name, '=');
	size_t len = arg ? (size_t)(arg - name) : strlen(name);
	const struct cli_option *o = find_option(c, name, len);
	struct err e;
	int rc;

	*status = STATUS_USAGE;
	if (!o) {
		usage(c, "unknown option '--%.*s'", (int)len, name);
		return false;
	}
	if (arg)
		arg++;
	if (!o->arg && arg) {
		usage(c, "option '--%s' takes no argument", o->name);
		return false;
	}
	if (o->arg && !arg) {
		arg = argv[*i + 1];
		/* "--memory --cpus 2" is a forgotten size; a value that really begins so can follow an '='. */
		if (!arg || !strncmp(arg, "--", 2)) {
			usage(c, "option '--%s' needs an argument: --%s %s", o->name, o->name, o->arg);
			return false;
		}
		++*i;
	}
	rc = o->set(opts, arg, &e);
	if (rc < 0)
		fprintf(stderr, "doppel %s: --%s: %s\n", c->name, o->name, e.msg);
	else if (rc > 0)
		*status = STATUS_OK;
	return rc == 0;
}

static bool parse_operand(const struct cli_command *c, const char *word, void *opts, int *status)
{
	struct err e;

	*status = STATUS_USAGE;
	if (!c->operand || (word[0] == '-' && word[1])) {
		usage(c, "unexpected argument '%s'", word);
		return false;
	}
	if (!c->operand(opts, word, &e))
		return true;
	fprintf(stderr, "doppel %s: %s\n", c->name, e.msg);
	return false;
}

int cli_parse(const struct cli_command *c, int argc, char **argv, void *opts, int *status)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--"))
			return i + 1;
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			cli_print_help(c);
			*status = STATUS_OK;
			return -1;
		}
		if (strncmp(argv[i], "--", 2)) {
			if (!parse_operand(c, argv[i], opts, status))
				return -1;
			continue;
		}
		if (!parse_option(c, argv, &i, opts, status))
			return -1;
	}
	return argc;
}
