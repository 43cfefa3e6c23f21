/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The web page: noVNC's files, and the request that makes a connection a websocket, which is left in the socket for libvncserver.
 *
 * A page from elsewhere must not reach the guest by way of the user's browser: a websocket is made only for a page of our own
 * (Origin), and requests are answered only where the browser was told an address or localhost (Host), not a name of somebody's choice.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backend/display/viewer_impl.h"
#include "base/bits.h"
#include "base/strbuf.h"

#define REQUEST_MAX  8192
#define REQUEST_MS   5000  /* to send all of a request, and to take each piece of the answer */
#define LOOK_AGAIN_NS 5000000l
#define START_PAGE   "/vnc.html?autoconnect=true&resize=scale"

static const struct {
	const char *suffix, *type;
} types[] = {
	{ ".html", "text/html; charset=utf-8" }, { ".js", "text/javascript" }, { ".css", "text/css" }, { ".svg", "image/svg+xml" },
	{ ".png", "image/png" }, { ".json", "application/json" }, { ".woff", "font/woff" }, { ".ttf", "font/ttf" },
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

/* The request's head, ended by a NUL, without taking it from the socket. Its length; 0: there is none that we take. */
static size_t peek_request(int fd, char *buf)
{
	const struct timespec pause = { .tv_nsec = LOOK_AGAIN_NS };
	int64_t end = now_ms() + REQUEST_MS;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (now_ms() < end && poll(&p, 1, REQUEST_MS) > 0) {
		ssize_t n = recv(fd, buf, REQUEST_MAX, MSG_PEEK | MSG_DONTWAIT);
		char *head;

		if (n <= 0 || n == REQUEST_MAX)
			return 0;
		buf[n] = 0;
		head = strstr(buf, "\r\n\r\n");
		if (head) {
			head[4] = 0;
			return (size_t)(head + 4 - buf);
		}
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* A header's value, into buf; false: it is not there, or too long. */
static bool header(const char *request, const char *name, char *buf, size_t size)
{
	size_t len = strlen(name), n;

	for (const char *p = strstr(request, "\r\n"); p && p[2] != '\r'; p = strstr(p + 2, "\r\n")) {
		if (strncasecmp(p + 2, name, len) || p[2 + len] != ':')
			continue;
		p += 3 + len;
		p += strspn(p, " \t");
		n = strcspn(p, "\r\n");
		if (n >= size)
			return false;
		memcpy(buf, p, n);
		buf[n] = 0;
		return true;
	}
	return false;
}

/* Whether a Host header names this computer in a way that nobody else can have chosen. */
static bool host_trusted(const struct viewer_common *v, const char *host)
{
	char name[256], *colon;
	struct in_addr ignored;

	snprintf(name, sizeof(name), "%s", host);
	if (*name == '[')
		return true; /* an IPv6 address */
	colon = strrchr(name, ':');
	if (colon)
		*colon = 0;
	return !strcasecmp(name, "localhost") || inet_pton(AF_INET, name, &ignored) == 1 || (*v->host && !strcasecmp(name, v->host));
}

static bool own_page(const char *request, const char *host)
{
	char origin[300];
	const char *slashes;

	if (!header(request, "Origin", origin, sizeof(origin)))
		return false;
	slashes = strstr(origin, "://");
	return slashes && !strcasecmp(slashes + 3, host);
}

/* -- Answers ---------------------------------------------------------------------------------------------- */

static void send_all(int fd, const char *data, size_t len)
{
	for (ssize_t n; len; data += n, len -= (size_t)n) {
		n = send(fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return;
	}
}

static void answer(int fd, const char *status, const char *more, const char *type, size_t len)
{
	struct strbuf head = STRBUF_INIT;

	strbuf_addf(&head, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", status, type, len);
	strbuf_addf(&head, "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nCache-Control: no-cache\r\n%s\r\n", more);
	send_all(fd, head.buf, head.len);
	strbuf_release(&head);
}

static void refuse(int fd, const char *status)
{
	answer(fd, status, "", "text/plain", strlen(status) + 1);
	send_all(fd, status, strlen(status));
	send_all(fd, "\n", 1);
}

/* Letters, digits and - _ . / alone, and no segment that begins with a dot. */
static bool path_fine(const char *path)
{
	for (const char *p = path; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_./", *p))
			return false;
	return *path == '/' && !strstr(path, "/.");
}

static const char *type_of(const char *path)
{
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(types); i++)
		if (!strcmp(dot, types[i].suffix))
			return types[i].type;
	return "application/octet-stream";
}

static void send_file(int fd, const char *path)
{
	struct strbuf full = STRBUF_INIT;
	struct stat st;
	int file;

	strbuf_addf(&full, NOVNC "%s", path);
	file = open(full.buf, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file < 0 || fstat(file, &st) || !S_ISREG(st.st_mode)) {
		refuse(fd, "404 Not Found");
	} else {
		off_t at = 0;

		answer(fd, "200 OK", "", type_of(path), (size_t)st.st_size);
		while (at < st.st_size && sendfile(fd, file, &at, (size_t)(st.st_size - at)) > 0)
			;
	}
	if (file >= 0)
		close(file);
	strbuf_release(&full);
}

/* "GET /path?query HTTP/1.1": the path, in place; NULL: something else. */
static char *path_of(char *request)
{
	char *path = request + 4, *end;

	if (strncmp(request, "GET /", 5))
		return NULL;
	end = path + strcspn(path, " ?\r\n");
	*end = 0;
	return path;
}

static void get(int fd, char *request, size_t len)
{
	char taken[REQUEST_MAX];
	char *path = path_of(request);

	if (recv(fd, taken, len, 0) != (ssize_t)len)
		return;
	if (!path)
		refuse(fd, "405 Method Not Allowed");
	else if (!strcmp(path, "/"))
		answer(fd, "302 Found", "Location: " START_PAGE "\r\n", "text/plain", 0);
	else if (path_fine(path))
		send_file(fd, path);
	else
		refuse(fd, "404 Not Found");
}

void http_serve(int fd, const struct viewer_common *v, struct rfb *r)
{
	const struct timeval limit = { .tv_sec = REQUEST_MS / 1000 };
	char request[REQUEST_MAX + 1], host[256], upgrade[32];
	size_t len = peek_request(fd, request);

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (!len) {
		close(fd);
		return;
	}
	if (!header(request, "Host", host, sizeof(host)) || !host_trusted(v, host)) {
		refuse(fd, "403 Forbidden");
	} else if (header(request, "Upgrade", upgrade, sizeof(upgrade)) && !strcasecmp(upgrade, "websocket")) {
		if (own_page(request, host)) {
			rfb_serve(r, fd);
			return;
		}
		refuse(fd, "403 Forbidden");
	} else {
		get(fd, request, len);
	}
	close(fd);
}
