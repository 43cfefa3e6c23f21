/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A signal that somebody sends is no fault of the guest's, whatever its vCPU is doing: it ends the program. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "tiny.h"

#define RUNNING_US 300000 /* until the guest is in its loop, on a machine that is not too busy */

static void run_loop(void)
{
	static const uint8_t loop[] = { 0xeb, 0xfe }; /* jmp $ */
	struct tiny *t = tiny_new();

	tiny_enter(t, TINY_LONG, 0);
	tiny_put(t, TINY_CODE, loop, sizeof(loop));
	tiny_run(t);
	_exit(0);
}

static void test_sent(void **state)
{
	static const int sent[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };

	for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
		pid_t child = fork();
		int status;

		if (!child) {
			for (size_t n = 0; n < ARRAY_SIZE(sent); n++)
				signal(sent[n], SIG_DFL); /* not the test runner's */
			run_loop();
		}
		assert_true(child > 0);
		usleep(RUNNING_US);
		kill(child, sent[i]);
		assert_int_equal(waitpid(child, &status, 0), child);
		/* Sanitizers have handlers of their own, which end with a report. */
		if (WIFSIGNALED(status) ? WTERMSIG(status) != sent[i] : !WEXITSTATUS(status))
			fail_msg("signal %d: wait status %#x", sent[i], (unsigned)status);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(test_sent) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
