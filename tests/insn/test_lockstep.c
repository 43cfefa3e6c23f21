/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lockstep: what is right runs through, and a translation that was broken on purpose is reported, readably. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cpu/bt/cache.h"
#include "cpu/lockstep.h"
#include "tiny.h"

/* Loads, stores, flags, a loop, a port and the time: 20 rounds. */
GUEST(program, 64,
      "mov $0x100000, %ebx\n"
      "mov $20, %ecx\n"
      "xor %eax, %eax\n"
      "1: add $0x11, %eax\n"
      "mov %eax, (%rbx, %rcx, 8)\n"
      "add (%rbx, %rcx, 8), %rdx\n"
      "adc $0, %esi\n"
      "in $0x60, %al\n"
      "rdtsc\n"
      "movd %eax, %xmm3\n"
      "dec %ecx\n"
      "jnz 1b\n"
      "hlt\n");

static struct tiny *start(void)
{
	struct tiny *t;

	setenv("DOPPEL_ENGINE", "bt", 1);
	setenv("DOPPEL_LOCKSTEP", "1", 1);
	t = tiny_new();
	tiny_enter(t, TINY_LONG, 0);
	t->v->s.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	TINY_LOAD(t, TINY_CODE, program);
	return t;
}

static void test_agree(void **state)
{
	struct tiny *t = start();

	assert_int_equal(tiny_run(t), TINY_HLT);
	assert_string_equal(lockstep_report(t->v->lockstep), "");
	assert_int_equal(t->v->s.gpr[R_CX], 0);
	tiny_free(t);
}

/* Put other bytes in the place of the first `old` in translated code. */
static void break_code(struct tiny *t, const void *old, const void *new, size_t len)
{
	struct bt *bt = t->v->engine_data;
	uint8_t *at = memmem(bt->cache->code_rw, bt->cache->code_used, old, len);

	assert_non_null(at);
	memcpy(at, new, len);
}

static void run_again(struct tiny *t)
{
	t->v->s.rip = TINY_CODE;
	assert_int_equal(tiny_run(t), TINY_INTERNAL);
}

static void assert_says(struct tiny *t, const char *text)
{
	const char *report = lockstep_report(t->v->lockstep);

	if (!strstr(report, text))
		fail_msg("no '%s' in the report:\n%s", text, report);
}

/* An ADD that adds something else: the register differs, and the report shows where. */
static void test_wrong_register(void **state)
{
	struct tiny *t = start();

	assert_int_equal(tiny_run(t), TINY_HLT);
	break_code(t, "\x83\xc0\x11", "\x83\xc0\x12", 3);
	run_again(t);
	assert_says(t, "engine 'bt' and the reference differ");
	assert_says(t, "rdx");
	assert_says(t, "RAM 0x1000a0");
	assert_says(t, "add eax, 0x11");
	assert_says(t, "guest code of the block");
	assert_says(t, "emitted code");
	assert_says(t, "add eax, 0x12"); /* what is run in its place */
	/* It stays so. */
	assert_int_equal(tiny_run(t), TINY_INTERNAL);
	tiny_free(t);
}

/* A carry that is lost. */
static void test_wrong_flags(void **state)
{
	struct tiny *t = start();

	assert_int_equal(tiny_run(t), TINY_HLT);
	break_code(t, "\x83\xd6\x00", "\x83\xc6\x01", 3); /* adc $0, %esi: add $1, %esi */
	run_again(t);
	assert_says(t, "rsi");
	tiny_free(t);
}

/* A vector register: seen at the end at the latest. */
static void test_wrong_vector(void **state)
{
	struct tiny *t = start();

	assert_int_equal(tiny_run(t), TINY_HLT);
	break_code(t, "\x66\x0f\x6e\xd8", "\x66\x0f\x6e\xe0", 4); /* xmm4 */
	run_again(t);
	assert_says(t, "zmm4[0]");
	tiny_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_agree),
		cmocka_unit_test(test_wrong_register),
		cmocka_unit_test(test_wrong_flags),
		cmocka_unit_test(test_wrong_vector),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
