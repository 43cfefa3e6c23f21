/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character backends: order and completeness of output, slow and leaving readers, input, escapes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>
#include "backend/chr/chr.h"
#include "base/bits.h"
#include "base/log.h"

#define WAIT_MS 5000
#define RING    65536

static char dir[] = "/tmp/test_chr.XXXXXX";

/* A chip that takes at most `room` bytes. */
struct chip {
	pthread_mutex_t m;
	char got[8192];
	size_t len, room;
	_Atomic unsigned writable, breaks;
};

static size_t chip_read(void *opaque, const uint8_t *buf, size_t len)
{
	struct chip *k = opaque;
	size_t n;

	pthread_mutex_lock(&k->m);
	n = MIN(MIN(len, k->room), sizeof(k->got) - 1 - k->len);
	memcpy(k->got + k->len, buf, n);
	k->len += n;
	k->got[k->len] = 0;
	k->room -= n;
	pthread_mutex_unlock(&k->m);
	return n;
}

static void chip_writable(void *opaque)
{
	((struct chip *)opaque)->writable++;
}

static void chip_brk(void *opaque)
{
	((struct chip *)opaque)->breaks++;
}

static const struct chr_handlers chip_handlers = { chip_read, chip_writable, chip_brk };

static void chip_init(struct chip *k, size_t room)
{
	memset(k, 0, sizeof(*k));
	pthread_mutex_init(&k->m, NULL);
	k->room = room;
}

static size_t chip_len(struct chip *k)
{
	size_t n;

	pthread_mutex_lock(&k->m);
	n = k->len;
	pthread_mutex_unlock(&k->m);
	return n;
}

static bool wait_len(struct chip *k, size_t len)
{
	for (int i = 0; i < WAIT_MS && chip_len(k) < len; i++)
		usleep(1000);
	return chip_len(k) == len;
}

static void chip_allow(struct chip *k, struct chr *c, size_t room)
{
	pthread_mutex_lock(&k->m);
	k->room = room;
	pthread_mutex_unlock(&k->m);
	chr_resume_read(c);
}

static const char *path_of(const char *name)
{
	static char path[2][128];
	static unsigned turn;

	turn ^= 1;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static struct chr *open_spec(const char *kind, const char *path)
{
	char spec[256];
	struct chr *c = NULL;
	struct err e;

	snprintf(spec, sizeof(spec), "%s%s%s", kind, path ? ":" : "", path ? path : "");
	if (chr_open(&c, spec, &e) || chr_begin(c, &e))
		fail_msg("%s: %s", spec, e.msg);
	return c;
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* Read exactly len bytes within the time limit. */
static void read_all(int fd, void *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		n = read(fd, (char *)buf + got, len - got);
		assert_true(n > 0);
		got += (size_t)n;
	}
}

static void fill_pattern(uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(i * 7 + i / 251);
}

static void test_names(void **state)
{
	static const char *const bad[] = { "", "stdi", "stdio:", "stdio:x", "file", "file:", "unix:", "unix", "pty:1", "tcp", "tcp:" };
	struct chr *c;
	struct err e;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		e.msg[0] = 0;
		assert_int_equal(chr_check(bad[i], &e), -EINVAL);
		assert_non_null(strstr(e.msg, bad[i]));
		assert_int_equal(chr_open(&c, bad[i], &e), -EINVAL);
	}
	assert_int_equal(chr_check("file:x", &e), 0);
	assert_int_equal(chr_check("stdio", &e), 0);
	assert_int_equal(chr_open(&c, "file:/nonexistent/x", &e), -ENOENT);
	assert_non_null(strstr(e.msg, "/nonexistent/x"));
}

static void test_file_and_null(void **state)
{
	static uint8_t pattern[200000], back[200001];
	const char *path = path_of("out");
	struct chr *c = open_spec("file", path);
	size_t done = 0;
	int fd;

	fill_pattern(pattern, sizeof(pattern));
	while (done < sizeof(pattern)) {
		done += chr_write(c, pattern + done, MIN(sizeof(pattern) - done, (size_t)777));
		if (done % 3 == 0)
			assert_true(chr_flush(c, WAIT_MS));
	}
	assert_true(chr_flush(c, WAIT_MS));
	chr_free(c);
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, back, sizeof(back)), sizeof(pattern));
	assert_memory_equal(back, pattern, sizeof(pattern));
	close(fd);

	c = open_spec("null", NULL);
	assert_int_equal(chr_write(c, pattern, sizeof(pattern)), sizeof(pattern));
	assert_true(chr_flush(c, -1));
	chr_free(c);
	chr_free(NULL);
}

/* Opening leaves the file alone; what is written before the beginning is not lost. */
static void test_begin(void **state)
{
	const char *path = path_of("out");
	char spec[300], back[64];
	struct chr *c;
	struct err e;
	int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);

	assert_int_equal(write(fd, "precious", 8), 8);
	snprintf(spec, sizeof(spec), "file:%s", path);
	assert_int_equal(chr_open(&c, spec, &e), 0);
	chr_free(c);
	assert_int_equal(pread(fd, back, sizeof(back), 0), 8);

	assert_int_equal(chr_open(&c, spec, &e), 0);
	chr_set_preface(c, "<");
	assert_int_equal(chr_write(c, "ab", 2), 2);
	assert_int_equal(chr_begin(c, &e), 0);
	assert_int_equal(chr_write(c, "cd", 2), 2);
	assert_true(chr_flush(c, WAIT_MS));
	chr_free(c);
	assert_int_equal(pread(fd, back, sizeof(back), 0), 5);
	assert_memory_equal(back, "<abcd", 5);
	close(fd);
}

/* /dev/full: an error of the host is not the guest's: output goes on being accepted. */
static void test_file_error(void **state)
{
	struct chr *c = open_spec("file", "/dev/full");
	char buf[1000] = { 0 };

	log_set_level(LOG_ERROR);
	assert_int_equal(chr_write(c, buf, sizeof(buf)), sizeof(buf));
	assert_true(chr_flush(c, WAIT_MS));
	for (int i = 0; i < 1000; i++)
		assert_int_equal(chr_write(c, buf, sizeof(buf)), sizeof(buf));
	log_set_level(LOG_WARN);
	chr_free(c);
}

/* Nobody there: the newest 64 KiB are kept and the writer never waits. */
static void test_socket_away(void **state)
{
	static uint8_t pattern[100000], back[RING];
	const char *path = path_of("s1");
	struct chr *c = open_spec("unix", path);
	int fd;

	fill_pattern(pattern, sizeof(pattern));
	for (size_t i = 0; i < sizeof(pattern); i += 1000)
		assert_int_equal(chr_write(c, pattern + i, 1000), 1000);
	assert_true(chr_flush(c, -1));
	fd = connect_to(path);
	read_all(fd, back, RING);
	assert_memory_equal(back, pattern + sizeof(pattern) - RING, RING);
	close(fd);

	/* The next client gets what was written between the two. */
	for (int i = 0; i < 20; i++) {
		usleep(10000);
		chr_write(c, "x", 1);
	}
	fd = connect_to(path);
	read_all(fd, back, 10);
	assert_memory_equal(back, "xxxxxxxxxx", 10);
	close(fd);
	chr_free(c);
	assert_int_equal(access(path, F_OK), -1);
}

/* A client that does not read stops the writer; when it reads, everything is there, in order. */
static void test_socket_slow(void **state)
{
	static uint8_t pattern[4000000], back[4000000];
	const char *path = path_of("s2");
	struct chr *c = open_spec("unix", path);
	size_t done = 0, n;
	struct chip k;
	int fd = connect_to(path);

	chip_init(&k, 0);
	chr_set_handlers(c, &chip_handlers, &k);
	fill_pattern(pattern, sizeof(pattern));
	while (chr_write(c, pattern, 1) == 0)
		usleep(1000);
	read_all(fd, back, 1);
	for (int idle = 0; idle < 100 && done < sizeof(pattern);) {
		n = chr_write(c, pattern + done, sizeof(pattern) - done);
		done += n;
		idle = n ? 0 : idle + 1;
		usleep(n ? 0 : 1000);
	}
	assert_true(done < sizeof(pattern));
	assert_false(chr_flush(c, 20));
	k.writable = 0;
	assert_int_equal(chr_write(c, pattern + done, 1), 0);
	read_all(fd, back, done);
	for (int i = 0; i < WAIT_MS && !k.writable; i++)
		usleep(1000);
	assert_int_equal(k.writable, 1);
	assert_memory_equal(back, pattern, done);
	assert_true(chr_flush(c, WAIT_MS));
	chr_set_handlers(c, NULL, NULL);
	close(fd);
	chr_free(c);
}

/* The chip takes what it has room for and the rest follows; a client may close its sending side. */
static void test_socket_input(void **state)
{
	const char *path = path_of("s3");
	struct chr *c = open_spec("unix", path);
	struct chip k;
	char back[8];
	int fd = connect_to(path);

	chip_init(&k, 3);
	assert_int_equal(write(fd, "0123456789", 10), 10);
	usleep(20000);
	chr_set_handlers(c, &chip_handlers, &k);
	assert_true(wait_len(&k, 3));
	usleep(20000);
	assert_true(wait_len(&k, 3));
	chip_allow(&k, c, 4);
	assert_true(wait_len(&k, 7));
	chip_allow(&k, c, 1000);
	assert_true(wait_len(&k, 10));
	assert_string_equal(k.got, "0123456789");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	usleep(20000);
	assert_int_equal(chr_write(c, "answer", 6), 6);
	read_all(fd, back, 6);
	assert_memory_equal(back, "answer", 6);
	close(fd);
	/* Input of the next client comes through as well, even when it leaves at once. */
	fd = connect_to(path);
	assert_int_equal(write(fd, "abc", 3), 3);
	close(fd);
	assert_true(wait_len(&k, 13));
	assert_string_equal(k.got, "0123456789abc");
	chr_free(c);
}

static void test_socket_path(void **state)
{
	const char *path = path_of("s4");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char spec[300], longspec[300];
	struct chr *c, *d;
	struct err e;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	/* A stale socket is replaced, one in use is not. */
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	c = open_spec("unix", path);
	snprintf(spec, sizeof(spec), "unix:%s", path);
	assert_int_equal(chr_open(&d, spec, &e), -EADDRINUSE);
	chr_free(c);

	/* Any other file stays. */
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(chr_open(&d, spec, &e), -EEXIST);
	assert_int_equal(access(path, F_OK), 0);

	memset(longspec, 'a', sizeof(longspec) - 1);
	longspec[sizeof(longspec) - 1] = 0;
	memcpy(longspec, "unix:/", 6);
	assert_int_equal(chr_open(&d, longspec, &e), -ENAMETOOLONG);
}

static void test_pty(void **state)
{
	struct chr *c = open_spec("pty", NULL);
	struct chip k;
	char back[16];
	int fd;

	chip_init(&k, 1000);
	chr_set_handlers(c, &chip_handlers, &k);
	for (int turn = 0; turn < 2; turn++) {
		assert_int_equal(chr_write(c, "early\r\n", 7), 7);
		fd = open(chr_where(c), O_RDWR | O_NOCTTY);
		assert_true(fd >= 0);
		read_all(fd, back, 7);
		assert_memory_equal(back, "early\r\n", 7);
		assert_int_equal(chr_write(c, "now\n", 4), 4);
		read_all(fd, back, 4);
		assert_memory_equal(back, "now\n", 4);
		assert_int_equal(write(fd, "\x01x\r\n", 4), 4);
		assert_true(wait_len(&k, (size_t)turn * 4 + 4));
		assert_memory_equal(k.got, "\x01x\r\n", 4);
		close(fd);
		usleep(50000);
	}
	chr_free(c);
}

/* -- stdio: in a child whose descriptors 0 and 1 are the test's ------------------------------------- */

static void leave_now(void *opaque)
{
	((struct chip *)opaque)->breaks |= 0x80;
}

/* Run the backend: print the input as hexadecimal when Ctrl-A x or Ctrl-D came; status 3 and 4. */
static _Noreturn void stdio_child(int in, int out, int fault)
{
	struct chip k;
	struct chr *c;
	char line[64];
	int n;

	dup2(in, 0);
	dup2(out, 1);
	closefrom(3);
	signal(fault ? fault : SIGSEGV, SIG_DFL); /* not cmocka's */
	chip_init(&k, sizeof(k.got));
	c = open_spec("stdio", NULL);
	chr_on_leave(c, leave_now, &k);
	chr_set_handlers(c, &chip_handlers, &k);
	chr_write(c, "up.", 3);
	if (fault) {
		chr_flush(c, WAIT_MS);
		usleep(100000);
		raise(fault);
	}
	for (int i = 0; i < WAIT_MS && !(k.breaks & 0x80); i++) {
		size_t len = chip_len(&k);

		if (len && k.got[len - 1] == 4)
			break;
		usleep(1000);
	}
	for (size_t i = 0; i < chip_len(&k); i++) {
		n = snprintf(line, sizeof(line), "%02x", (uint8_t)k.got[i]);
		chr_write(c, line, (size_t)n);
	}
	n = snprintf(line, sizeof(line), "b%u.", k.breaks & 0x7f);
	chr_write(c, line, (size_t)n);
	chr_flush(c, WAIT_MS);
	chr_free(c);
	_exit(k.breaks & 0x80 ? 3 : 4);
}

static int wait_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void expect(int fd, const char *text)
{
	char buf[512];

	read_all(fd, buf, strlen(text));
	buf[strlen(text)] = 0;
	assert_string_equal(buf, text);
}

static void test_stdio_pipe(void **state)
{
	/* Ctrl-A is nothing special in a pipe; its end is Ctrl-D, twice where a line was left open. */
	static const struct {
		const char *in, *out;
	} runs[] = { { "a\x01x\n", "up.6101780a04b0." }, { "ab", "up.61620404b0." }, { "", "up.04b0." } };

	for (unsigned i = 0; i < ARRAY_SIZE(runs); i++) {
		int in[2], out[2];
		pid_t pid;

		assert_int_equal(pipe(in) | pipe(out), 0);
		pid = fork();
		if (!pid)
			stdio_child(in[0], out[1], 0);
		close(in[0]);
		close(out[1]);
		assert_int_equal(write(in[1], runs[i].in, strlen(runs[i].in)), strlen(runs[i].in));
		close(in[1]);
		expect(out[0], runs[i].out);
		assert_int_equal(wait_status(pid), 4);
		close(out[0]);
	}
}

/* A reader that has gone is like null, after one message. */
static void test_stdio_reader_gone(void **state)
{
	int in[2], out[2], log[2];
	char buf[512];
	pid_t pid;
	ssize_t n;

	assert_int_equal(pipe(in) | pipe(out) | pipe(log), 0);
	close(out[0]);
	pid = fork();
	if (!pid) {
		dup2(log[1], 2);
		stdio_child(in[0], out[1], 0);
	}
	close(log[1]);
	close(in[1]);
	assert_int_equal(wait_status(pid), 4);
	n = read(log[0], buf, sizeof(buf) - 1);
	assert_true(n > 0);
	buf[n] = 0;
	assert_non_null(strstr(buf, "reader has gone"));
	assert_ptr_equal(strchr(buf, '\n'), buf + n - 1);
	close(in[0]);
	close(out[1]);
	close(log[0]);
}

static int open_terminal(int *slave)
{
	int m = posix_openpt(O_RDWR | O_NOCTTY);

	assert_true(m >= 0 && grantpt(m) == 0 && unlockpt(m) == 0);
	*slave = open(ptsname(m), O_RDWR | O_NOCTTY);
	assert_true(*slave >= 0);
	return m;
}

static bool terminal_is_raw(int fd)
{
	struct termios t;

	assert_int_equal(tcgetattr(fd, &t), 0);
	return !(t.c_lflag & (ICANON | ECHO | ISIG));
}

/* A child that is the foreground of its own session on the terminal, as a shell would start it. */
static pid_t start_on_terminal(int slave, int fault)
{
	pid_t pid = fork();

	if (!pid) {
		const char *name = ttyname(slave);
		int fd;

		setsid();
		fd = open(name, O_RDWR); /* becomes the controlling terminal */
		stdio_child(fd, fd, fault);
	}
	return pid;
}

static void test_stdio_terminal(void **state)
{
	int slave, m = open_terminal(&slave);
	pid_t pid = start_on_terminal(slave, 0);
	char buf[1024];
	size_t len = 0;

	expect(m, "up.");
	assert_true(terminal_is_raw(slave));
	assert_int_equal(write(m, "\x01h", 2), 2);
	while (len < 2 || !strstr(buf, "this help\r\n")) {
		read_all(m, buf + len, 1);
		buf[++len] = 0;
		assert_true(len < sizeof(buf) - 1);
	}
	assert_non_null(strstr(buf, "Ctrl-A x"));
	assert_int_equal(write(m, "a\x03\x01\x01\x01" "b\x01q\r\x01x", 11), 11);
	expect(m, "6103010db1.");
	assert_int_equal(wait_status(pid), 3);
	assert_false(terminal_is_raw(slave));
	close(m);
	close(slave);
}

static void test_terminal_comes_back(void **state)
{
	static const int faults[] = { SIGSEGV, SIGABRT, SIGQUIT };

	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
		int slave, m = open_terminal(&slave);
		pid_t pid = start_on_terminal(slave, faults[i]);

		expect(m, "up.");
		assert_true(terminal_is_raw(slave));
		assert_int_not_equal(wait_status(pid), 0);
		assert_false(terminal_is_raw(slave));
		close(m);
		close(slave);
	}
}

static void test_stop_and_continue(void **state)
{
	int slave, m = open_terminal(&slave), status;
	pid_t pid = start_on_terminal(slave, 0);

	expect(m, "up.");
	kill(pid, SIGTSTP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_false(terminal_is_raw(slave));
	kill(pid, SIGCONT);
	for (int i = 0; i < WAIT_MS && !terminal_is_raw(slave); i++)
		usleep(1000);
	assert_true(terminal_is_raw(slave));
	assert_int_equal(write(m, "\x01x", 2), 2);
	assert_int_equal(wait_status(pid), 3);
	assert_false(terminal_is_raw(slave));
	close(m);
	close(slave);
}

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	unlink(path_of("out"));
	unlink(path_of("s4"));
	return rmdir(dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_file_and_null),
		cmocka_unit_test(test_begin),
		cmocka_unit_test(test_file_error),
		cmocka_unit_test(test_socket_away),
		cmocka_unit_test(test_socket_slow),
		cmocka_unit_test(test_socket_input),
		cmocka_unit_test(test_socket_path),
		cmocka_unit_test(test_pty),
		cmocka_unit_test(test_stdio_pipe),
		cmocka_unit_test(test_stdio_reader_gone),
		cmocka_unit_test(test_stdio_terminal),
		cmocka_unit_test(test_terminal_comes_back),
		cmocka_unit_test(test_stop_and_continue),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(60);
	return cmocka_run_group_tests_name("chr", tests, make_dir, remove_dir);
}
