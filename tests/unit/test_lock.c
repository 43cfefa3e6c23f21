/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranked locks: they exclude, and in debug builds a wrong order ends the process with a message. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/lock.h"

#ifdef NDEBUG
enum { CHECKED = 0 };
#else
enum { CHECKED = 1 };
#endif

static struct lock device, space, leaf;

static int setup(void **state)
{
	lock_init(&device, RANK_DEVICE);
	lock_init(&space, RANK_SPACE);
	lock_init(&leaf, RANK_LEAF);
	return 0;
}

static int teardown(void **state)
{
	lock_release(&device);
	lock_release(&space);
	lock_release(&leaf);
	return 0;
}

/* Whether fn, in a child process, ends by abort(). */
static int aborts(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		alarm(5); /* should it hang instead */
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void in_order(void)
{
	lock_take(&device);
	lock_take(&space);
	lock_take(&leaf);
	lock_drop(&space); /* not the last one taken: allowed */
	lock_drop(&leaf);
	lock_take(&space);
	lock_drop(&space);
	lock_drop(&device);
}

static void wrong_order(void)
{
	lock_take(&space);
	lock_take(&device);
}

static void wrong_order_after_drop(void)
{
	lock_take(&device);
	lock_take(&leaf);
	lock_drop(&device);
	lock_take(&space);
}

static void same_rank(void)
{
	struct lock other;

	lock_init(&other, RANK_DEVICE);
	lock_take(&device);
	lock_take(&other);
}

static void drop_unheld(void)
{
	lock_take(&device);
	lock_drop(&space);
}

static void test_ranks(void **state)
{
	assert_false(aborts(in_order));
	if (!CHECKED)
		skip();
	assert_true(aborts(wrong_order));
	assert_true(aborts(wrong_order_after_drop));
	assert_true(aborts(same_rank));
	assert_true(aborts(drop_unheld));
}

#define ROUNDS 20000

static void *count(void *arg)
{
	uint64_t *counter = arg;

	for (int i = 0; i < ROUNDS; i++) {
		lock_take(&leaf);
		++*counter;
		lock_drop(&leaf);
	}
	return NULL;
}

static void test_excludes(void **state)
{
	uint64_t counter = 0;
	pthread_t t[3];

	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, count, &counter), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(counter, 3 * ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_ranks), cmocka_unit_test(test_excludes) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
