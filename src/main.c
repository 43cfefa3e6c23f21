/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel: the table of subcommands. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "cli/command.h"
#include "cli/qemu.h"

const struct cli_command *const cli_commands[] = {
	&qemu_command,
	&run_command, &img_command, &switch_command, &stats_command, &screendump_command, &link_command, &doctor_command, &help_command, &version_command, NULL,
};

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	int fd = open("/dev/null", O_RDWR);

	/* No file that is opened later may come to stand at the place of a closed standard stream. */
	while (fd >= 0 && fd <= STDERR_FILENO)
		fd = dup(fd);
	close(fd);
	if (argc && qemu_front_name(argv[0]))
		return qemu_front(argc, argv);
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	else if (!strcmp(name, "--version"))
		name = "version";
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		if (!strcmp((*c)->name, name))
			return (*c)->run(argc - 1, argv + 1);
	if (*name)
		cli_fail("no command '%s'; 'doppel help' lists them", name);
	else
		cli_fail("no command given; 'doppel run' boots Debian, 'doppel help' lists the commands");
	return STATUS_USAGE;
}
