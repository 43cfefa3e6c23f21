/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wrap OPERATIONS COMMAND...: runs a program that cannot time itself as one span. Its standard output is
 * kept in memory, and its hash is the checksum. Its standard input is empty.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "span.h"

static uint64_t hash_of(int fd)
{
	static char buf[65536];
	uint64_t h = FNV_START;
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		h = fnv(h, buf, (uint64_t)n);
	return h;
}

int main(int argc, char **argv)
{
	int out = memfd_create("output", MFD_CLOEXEC), in = memfd_create("input", MFD_CLOEXEC), status;
	uint64_t operations;
	pid_t pid;

	if (argc < 3 || out < 0 || in < 0)
		fail("wrap");
	operations = strtoull(argv[1], NULL, 10);
	span_begin();
	pid = fork();
	if (!pid) {
		dup2(in, STDIN_FILENO);
		dup2(out, STDOUT_FILENO);
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		fail("fork");
	if (status)
		fail(argv[2]);
	span_end(hash_of(out), operations);
	return 0;
}
