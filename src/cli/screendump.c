/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel screendump: a picture of a running machine's screen. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "cli/command.h"
#include "monitor/control.h"

#define FILE_MODE 0666 /* as the umask allows */
static const char png_begin[] = "\x89PNG\r\n\x1a\n";

static const struct cli_option options[] = { { 0 } };

static int write_file(const char *path, const struct strbuf *png)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
	size_t done = 0;

	while (fd >= 0 && done < png->len) {
		ssize_t n = write(fd, png->buf + done, png->len - done);

		if (n < 0 && errno != EINTR)
			break;
		done += n > 0 ? (size_t)n : 0;
	}
	if (fd < 0 || close(fd) || done < png->len)
		return cli_fail("'%s': %s", path, strerror(errno));
	return STATUS_OK;
}

static int dump(const char *socket, const char *path)
{
	struct strbuf answer = STRBUF_INIT;
	struct err e = { "" };
	int status;

	if (control_ask(socket, "screendump", &answer, &e))
		status = cli_fail("%s", e.msg);
	else if (answer.len < sizeof(png_begin) - 1 || memcmp(answer.buf, png_begin, sizeof(png_begin) - 1))
		status = cli_fail("'%s': %.*s", socket, (int)strcspn(answer.buf, "\n"), answer.buf);
	else
		status = write_file(path, &answer);
	strbuf_release(&answer);
	return status;
}

static int screendump(int argc, char **argv)
{
	int status;

	if (argc == 3 && *argv[1] != '-' && *argv[2] != '-')
		return dump(argv[1], argv[2]);
	for (int i = 1; i < argc; i++)
		if (*argv[i] == '-')
			return cli_parse(&screendump_command, argc, argv, NULL, &status) < 0 ? status : STATUS_USAGE;
	cli_fail("give the PATH of the machine's --control PATH and the name of the picture; 'doppel screendump --help' helps");
	return STATUS_USAGE;
}

const struct cli_command screendump_command = {
	.name = "screendump",
	.synopsis = "PATH FILE.png",
	.summary = "a picture of a running virtual machine's screen",
	.details = "Ask the machine that was started with 'doppel run --control PATH', which runs\n"
		   "on meanwhile, and write a PNG file.\n",
	.options = options,
	.run = screendump,
};
