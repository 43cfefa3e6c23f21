/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Process 1 of the benchmark guest: runs the commands that come in over the console, one in a line, words
 * apart by blanks, and says with what status each has ended. The line @quit resets the machine.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define CONSOLE "/dev/ttyS0"
#define MAX_WORDS 64

static char *environment[] = { "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/root", "LANG=C", "TMPDIR=/tmp", NULL };

/* Bytes as they are: no echo, no line discipline. */
static void open_console(void)
{
	int fd = open(CONSOLE, O_RDWR);
	struct termios t;

	if (fd < 0 || tcgetattr(fd, &t))
		exit(1);
	cfmakeraw(&t);
	tcsetattr(fd, TCSANOW, &t);
	for (int n = 0; n < 3; n++)
		dup2(fd, n);
	if (fd > 2)
		close(fd);
}

static void mount_all(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
}

static unsigned split(char *line, char **word)
{
	unsigned n = 0;

	for (char *w = strtok(line, " \n"); w && n < MAX_WORDS; w = strtok(NULL, " \n"))
		word[n++] = w;
	word[n] = NULL;
	return n;
}

static int run(char **argv)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		execve(argv[0], argv, environment);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return 126;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Unbuffered: what follows a line belongs to the program that the line starts. */
static int read_line(char *line, size_t size)
{
	size_t n = 0;

	while (n + 1 < size && read(STDIN_FILENO, line + n, 1) == 1) {
		if (line[n++] == '\n') {
			line[n] = 0;
			return 1;
		}
	}
	return 0;
}

int main(void)
{
	char line[4096], *word[MAX_WORDS + 1];

	mount_all();
	open_console();
	mkdir("/tmp", 01777);
	mkdir("/root", 0700);
	dprintf(STDOUT_FILENO, "@ready\n");
	while (read_line(line, sizeof(line)) && strcmp(line, "@quit\n"))
		if (split(line, word))
			dprintf(STDOUT_FILENO, "@exit %d\n", run(word));
	reboot(RB_AUTOBOOT);
	return 0;
}
