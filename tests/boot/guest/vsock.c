/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's ends of vsock connections.
 *
 *   vsock connect PORT   to that port of the host: standard input goes there, what comes back is standard output
 *   vsock echo PORT N    N connections, one after the other, that get back what they sent
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int put_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n <= 0)
			return -1;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static int pump(int s)
{
	struct pollfd p[2] = { { 0, POLLIN, 0 }, { s, POLLIN, 0 } };
	static char buf[65536];
	ssize_t n;

	for (;;) {
		if (poll(p, 2, -1) < 0)
			return fail("poll");
		if (p[1].revents) {
			n = read(s, buf, sizeof(buf));
			if (n < 0)
				return fail("read");
			if (!n)
				return 0;
			if (put_all(1, buf, (size_t)n))
				return fail("output");
		} else if (p[0].revents) {
			n = read(0, buf, sizeof(buf));
			if (n <= 0) {
				shutdown(s, SHUT_WR);
				p[0].fd = -1;
			} else if (put_all(s, buf, (size_t)n)) {
				return fail("write");
			}
		}
	}
}

static int echo(int listening)
{
	static char buf[65536];
	int s = accept(listening, NULL, NULL);
	ssize_t n;

	if (s < 0)
		return fail("accept");
	while ((n = read(s, buf, sizeof(buf))) > 0)
		if (put_all(s, buf, (size_t)n))
			return fail("write");
	close(s);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST };
	int s = socket(AF_VSOCK, SOCK_STREAM, 0), n, rc = 0;

	if (s < 0 || argc < 3)
		return fail("socket");
	a.svm_port = (unsigned)atoi(argv[2]);
	if (!strcmp(argv[1], "connect")) {
		if (connect(s, (struct sockaddr *)&a, sizeof(a)))
			return fail("connect");
		return pump(s);
	}
	a.svm_cid = VMADDR_CID_ANY;
	if (argc < 4 || bind(s, (struct sockaddr *)&a, sizeof(a)) || listen(s, 16))
		return fail("listen");
	puts("listening");
	fflush(stdout);
	for (n = atoi(argv[3]); n && !rc; n--)
		rc = echo(s);
	return rc;
}
