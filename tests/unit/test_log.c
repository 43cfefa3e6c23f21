/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log, error messages and strings: levels, the brake on guests, and nothing for a terminal to obey. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/log.h"
#include "base/strbuf.h"

static int pipe_fds[2];
static char text[16384];

static int setup(void **state)
{
	return pipe(pipe_fds);
}

static int reset(void **state)
{
	log_set_output(pipe_fds[1], false);
	log_set_level(LOG_WARN);
	return 0;
}

/* All that was logged since the last call; a mark tells where it ends. */
static const char *logged(void)
{
	size_t n = 0;

	assert_int_equal(write(pipe_fds[1], "", 1), 1);
	do {
		assert_int_equal(read(pipe_fds[0], &text[n], 1), 1);
	} while (text[n++]);
	return text;
}

static unsigned lines(const char *s)
{
	unsigned n = 0;

	for (; (s = strchr(s, '\n')); s++)
		n++;
	return n;
}

static void test_levels(void **state)
{
	log_msg(LOG_ERROR, "e%d", 1);
	log_msg(LOG_WARN, "w");
	log_msg(LOG_INFO, "i");
	assert_string_equal(logged(), "doppel: e1\ndoppel: w\n");
	log_set_level(LOG_DEBUG);
	assert_int_equal(log_get_level(), LOG_DEBUG);
	log_msg(LOG_DEBUG, "d");
	assert_string_equal(logged(), "doppel: d\n");
	log_set_level(LOG_ERROR);
	log_msg(LOG_WARN, "w");
	guest_log("g");
	assert_string_equal(logged(), "");
}

static void test_crlf(void **state)
{
	log_set_output(pipe_fds[1], true);
	log_msg(LOG_ERROR, "raw");
	assert_string_equal(logged(), "doppel: raw\r\n");
}

static void test_no_escapes(void **state)
{
	log_msg(LOG_ERROR, "kernel \"%s\"", "\033]0;gotcha\007\r\n\x7f");
	assert_string_equal(logged(), "doppel: kernel \"?]0;gotcha????\"\n");
}

static void test_long_line(void **state)
{
	char big[5000];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_msg(LOG_ERROR, "%s", big);
	assert_int_equal(lines(logged()), 1);
	assert_true(strlen(text) <= 1024);
}

static void test_errno_kept(void **state)
{
	errno = EXDEV;
	log_msg(LOG_ERROR, "x");
	assert_int_equal(errno, EXDEV);
	logged();
}

static void test_brake(void **state)
{
	struct log_limit l = { 0 }, other = { 0 };

	for (int i = 0; i < 1000; i++)
		log_guest_limited(&l, "port %d", i);
	assert_int_equal(lines(logged()), 10);
	assert_non_null(strstr(text, "port 9\n"));
	log_guest_limited(&other, "other");
	assert_string_equal(logged(), "doppel: other\n");
	/* Six seconds later, as far as the limit knows. */
	l.window_start_ns -= 6000000000ull;
	log_guest_limited(&l, "again");
	assert_string_equal(logged(), "doppel: again (and 990 like it before)\n");
	log_guest_limited(&l, "more");
	assert_string_equal(logged(), "doppel: more\n");
}

static void test_full_descriptor(void **state)
{
	int fds[2];

	/* A reader that went away must not take us along. */
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	log_set_output(fds[1], false);
	log_msg(LOG_ERROR, "nobody listens");
	close(fds[1]);
}

static int open_kernel(struct err *e)
{
	return err_set(e, ENOENT, "kernel: %s: no such file", "vmlinuz\033[2J");
}

static void test_err(void **state)
{
	struct err e;

	assert_int_equal(open_kernel(NULL), -ENOENT);
	assert_int_equal(err_prefix(NULL, -ENOENT, "run"), -ENOENT);
	assert_int_equal(err_prefix(&e, open_kernel(&e), "run %d", 7), -ENOENT);
	assert_string_equal(e.msg, "run 7: kernel: vmlinuz?[2J: no such file");
	for (int i = 0; i < 1000; i++)
		err_prefix(&e, 0, "deep");
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
}

static void test_strbuf(void **state)
{
	struct strbuf sb = STRBUF_INIT;

	strbuf_add(&sb, NULL, 0);
	assert_string_equal(sb.buf, "");
	strbuf_add(&sb, "a\0b", 3);
	assert_int_equal(sb.len, 3);
	assert_memory_equal(sb.buf, "a\0b\0", 4);
	for (int i = 0; i < 5000; i++)
		strbuf_addf(&sb, "%d,", i % 10);
	assert_int_equal(sb.len, 3 + 2 * 5000);
	assert_int_equal(strlen(sb.buf + 3), 2 * 5000);
	assert_string_equal(sb.buf + sb.len - 4, "8,9,");
	strbuf_release(&sb);
	assert_null(sb.buf);
	assert_int_equal(sb.len, 0);
}

static void test_bug(void **state)
{
	char msg[256] = "";
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		signal(SIGABRT, SIG_DFL);
		dup2(fds[1], STDERR_FILENO);
		BUG("the %s is upside down", "world");
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_true(read(fds[0], msg, sizeof(msg) - 1) > 0);
	assert_non_null(strstr(msg, "test_log.c"));
	assert_non_null(strstr(msg, "the world is upside down"));
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_levels, reset), cmocka_unit_test_setup(test_crlf, reset),
		cmocka_unit_test_setup(test_no_escapes, reset), cmocka_unit_test_setup(test_long_line, reset),
		cmocka_unit_test_setup(test_errno_kept, reset), cmocka_unit_test_setup(test_brake, reset),
		cmocka_unit_test_setup(test_full_descriptor, reset), cmocka_unit_test(test_err),
		cmocka_unit_test(test_strbuf), cmocka_unit_test(test_bug),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
