/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the default guest's files are kept and fed: SHA-256, cache, tar, child processes, standard input. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include "cli/cache.h"
#include "cli/guest_stdin.h"
#include "cli/sha256.h"
#include "cli/subprocess.h"
#include "cli/tar.h"

static char home[] = "/tmp/test-guest-XXXXXX";

static void write_text(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", home, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* FIPS 180-4's examples, and lengths around a block's end (by the system's sha256sum) */
static void sha256(void **state)
{
	static const struct {
		const char *text, *hex;
	} known[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	char hex[SHA256_HEX_SIZE], want[128];

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		sha256_hex(known[i].text, strlen(known[i].text), hex);
		assert_string_equal(hex, known[i].hex);
	}
	for (size_t len = 54; len <= 129; len += 5) {
		struct strbuf out = STRBUF_INIT;
		char text[160] = "", command[256];
		const char *const argv[] = { "sh", "-c", command, NULL };
		const struct subprocess s = { .argv = argv, .out = &out };
		struct err e;

		memset(text, 'x', len);
		snprintf(command, sizeof(command), "printf %%s %s | sha256sum", text);
		assert_int_equal(subprocess_run(&s, &e), 0);
		sha256_hex(text, len, hex);
		snprintf(want, sizeof(want), "%.64s", out.buf);
		assert_string_equal(hex, want);
		strbuf_release(&out);
	}
}

static void cache_keeps_and_checks(void **state)
{
	struct strbuf path = STRBUF_INIT, found = STRBUF_INIT;
	struct cache c;
	struct err e;

	assert_int_equal(cache_open(&c, &e), 0);
	assert_false(cache_find(&c, "thing", &found));
	assert_int_equal(cache_keep_bytes(&c, "thing", "contents", 8, &path, &e), 0);
	assert_true(cache_find(&c, "thing", &found));
	assert_string_equal(path.buf, found.buf);
	/* Damaged, cut, or without its sum: as if it were not there */
	write_text("cache/doppel/thing", "contentS");
	assert_false(cache_find(&c, "thing", &found));
	write_text("cache/doppel/thing", "content");
	assert_false(cache_find(&c, "thing", &found));
	write_text("cache/doppel/thing", "contents");
	assert_true(cache_find(&c, "thing", &found));
	write_text("cache/doppel/thing.sum", "");
	assert_false(cache_find(&c, "thing", &found));
	/* Old ones go, with their sums */
	assert_int_equal(cache_keep_bytes(&c, "thing-2", "new", 3, &path, &e), 0);
	cache_prune(&c, "thing", "thing-2");
	assert_true(cache_find(&c, "thing-2", &found));
	snprintf(path.buf, path.cap, "%s/thing.sum", c.dir.buf);
	assert_int_equal(access(path.buf, F_OK), -1);
	cache_close(&c);
	strbuf_release(&path);
	strbuf_release(&found);
}

static void cache_that_cannot_be(void **state)
{
	struct cache c;
	struct err e;

	write_text("file", "");
	setenv("XDG_CACHE_HOME", home, 1);
	write_text("doppel", "in the way");
	assert_true(cache_open(&c, &e) < 0);
	assert_non_null(strstr(e.msg, "XDG_CACHE_HOME"));
	unsetenv("XDG_CACHE_HOME");
	unsetenv("HOME");
	assert_int_equal(cache_open(&c, &e), -ENOENT);
}

static void newest(void **state)
{
	char *name, dir[64];

	snprintf(dir, sizeof(dir), "%s/boot", home);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_null(newest_file(dir, "vmlinuz-", "-amd64"));
	write_text("boot/vmlinuz-6.1.0-9-cloud-amd64", "x");
	write_text("boot/vmlinuz-6.1.0-56-cloud-amd64", "x");
	write_text("boot/vmlinuz-6.1.0-56-cloud-amd64.sum", "x");
	write_text("boot/vmlinuz-5.10.0-100-cloud-amd64", "x");
	write_text("boot/vmlinuz-6.9.0-1-arm64", "x");
	name = newest_file(dir, "vmlinuz-", "-cloud-amd64");
	assert_string_equal(name, "vmlinuz-6.1.0-56-cloud-amd64");
	free(name);
	assert_null(newest_file("/nonexistent", "", ""));
}

static void tar_member(void **state)
{
	const char *const make[] = { "sh", "-c",
				     "mkdir -p t/boot t/lib && cd t && printf config >boot/config-1 && head "
				     "-c 70000 /dev/zero >boot/vmlinuz-1 && "
				     "ln -s vmlinuz-1 boot/vmlinuz && tar cf ../t.tar ./lib ./boot/config-1 "
				     "./boot/vmlinuz ./boot/vmlinuz-1",
				     NULL };
	const struct subprocess s = { .argv = make, .dir = home };
	char name[TAR_NAME_SIZE], in[64], out[64], buf[1024];
	struct stat st;
	struct err e;
	int fd, to;

	assert_int_equal(subprocess_run(&s, &e), 0);
	snprintf(in, sizeof(in), "%s/t.tar", home);
	snprintf(out, sizeof(out), "%s/out", home);
	to = open(out, O_RDWR | O_CREAT | O_TRUNC, 0600);
	fd = open(in, O_RDWR);
	assert_int_equal(tar_extract(fd, "boot/vmlinuz", to, name, &e), 0);
	assert_string_equal(name, "boot/vmlinuz-1"); /* not the link */
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, 70000);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(tar_extract(fd, "nothing", to, name, &e), -ENOENT);
	/* Cut short, and damaged */
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(ftruncate(fd, 20000), 0);
	assert_int_equal(tar_extract(fd, "boot/vmlinuz-", to, name, &e), -EINVAL);
	memset(buf, 'x', sizeof(buf));
	assert_int_equal(pwrite(fd, buf, 100, 0), 100);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(tar_extract(fd, "boot/", to, name, &e), -EINVAL);
	close(fd);
	close(to);
}

static void child_processes(void **state)
{
	const char *const both[] = { "sh", "-c", "echo out; echo one >&2; echo two >&2; exit 9", NULL };
	const char *const killed[] = { "sh", "-c", "kill -9 $$", NULL }, *const missing[] = {
		"no-such-program", NULL
	};
	struct strbuf out = STRBUF_INIT, err = STRBUF_INIT;
	struct subprocess s = { .argv = both, .out = &out, .err = &err };
	struct err e;

	assert_int_equal(subprocess_run(&s, &e), 9);
	assert_string_equal(out.buf, "out\n");
	assert_string_equal(last_line(&err), "two");
	s.argv = killed;
	assert_int_equal(subprocess_run(&s, &e), 128 + 9);
	s.argv = missing;
	assert_int_equal(subprocess_run(&s, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "no-such-program"));
	strbuf_release(&out);
	strbuf_release(&err);
}

/* As the agent asks: 'R', then a frame. Returns its length. */
static size_t ask(int fd, char *buf)
{
	uint8_t size[2];
	size_t len, got = 0;

	assert_int_equal(write(fd, "R", 1), 1);
	assert_int_equal(recv(fd, size, 2, MSG_WAITALL), 2);
	len = size[0] | (size_t)size[1] << 8;
	assert_true(len <= GUEST_STDIN_FRAME);
	while (got < len) {
		ssize_t n = recv(fd, buf + got, len - got, 0);

		assert_true(n > 0);
		got += (size_t)n;
	}
	return len;
}

static void standard_input(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char sent[10000], got[10000 + GUEST_STDIN_FRAME];
	int saved = dup(STDIN_FILENO), feed[2], listener, port;
	struct guest_stdin *in;
	size_t len = 0, n;
	struct err e;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (char)(i * 31 + (i >> 8));
	assert_int_equal(pipe(feed), 0);
	assert_int_equal(write(feed[1], sent, sizeof(sent)), sizeof(sent));
	close(feed[1]);
	dup2(feed[0], STDIN_FILENO);
	close(feed[0]);
	assert_int_equal(guest_stdin_new(&in, &e), 0);
	assert_int_equal(read(STDIN_FILENO, got, 1), 0); /* it is /dev/null now */
	/* In the place of COM2's backend */
	strcpy(a.sun_path, guest_stdin_chr(in) + strlen("unix:"));
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(guest_stdin_start(in, &e), 0);
	port = accept(listener, NULL, NULL);
	/* Noise on the line is no request. */
	assert_int_equal(write(port, "noise", 5), 5);
	while ((n = ask(port, got + len)))
		len += n;
	assert_int_equal(len, sizeof(sent));
	assert_memory_equal(got, sent, len);
	assert_int_equal(ask(port, got), 0); /* the end stays the end */
	guest_stdin_free(in);
	assert_int_equal(access(a.sun_path, F_OK), -1);
	close(port);
	close(listener);
	dup2(saved, STDIN_FILENO);
	close(saved);
	guest_stdin_free(NULL);
}

static int set_up(void **state)
{
	char path[64];

	if (!mkdtemp(home))
		return -1;
	snprintf(path, sizeof(path), "%s/cache", home);
	return setenv("XDG_CACHE_HOME", path, 1);
}

static int tear_down(void **state)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", home);
	return system(cmd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256),
		cmocka_unit_test(cache_keeps_and_checks),
		cmocka_unit_test(newest),
		cmocka_unit_test(tar_member),
		cmocka_unit_test(child_processes),
		cmocka_unit_test(standard_input),
		cmocka_unit_test(cache_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
