/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the instruction tests share: a fresh machine for each test, guest code for 32- and 64-bit mode alike. */
#ifndef DOPPEL_TESTS_INSN_CHECK_H
#define DOPPEL_TESTS_INSN_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tiny.h"

static inline int check_setup(void **state)
{
	*state = tiny_new();
	return 0;
}

static inline int check_teardown(void **state)
{
	tiny_free(*state);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, check_setup, check_teardown)

/* Put guest code at TINY_CODE and run it. */
#define RUN(t, name) (TINY_LOAD((t), TINY_CODE, name), tiny_run(t))

/* Enter a mode and run guest code in it from TINY_CODE. */
#define ENTER_RUN(t, mode, cpl, name) (tiny_enter((t), (mode), (cpl)), RUN((t), name))

/*
 * The same text assembled for 32- and for 64-bit mode. FOR_BOTH runs its body twice, with the machine in
 * TINY_PROT32 and in TINY_LONG and the code in place; the body sets registers and calls tiny_run().
 */
#define BOTH(name, text)                                                         \
	GUEST(name##_32, 32, text);                                              \
	GUEST(name##_64, 64, text)
#define FOR_BOTH(t, cpl, name)                                                   \
	for (unsigned both_ = 0; both_ < 2; both_++)                             \
		if (tiny_enter((t), both_ ? TINY_LONG : TINY_PROT32, (cpl)),     \
		    both_ ? TINY_LOAD((t), TINY_CODE, name##_64) : TINY_LOAD((t), TINY_CODE, name##_32), 1)

#define GPR(t, r)   ((t)->v->s.gpr[R_##r])
#define FLAGS(t)    ((t)->v->s.rflags)
#define SEG(t, r)   ((t)->v->s.seg[SEG_##r])

/* The vector arrived, from RIP and with error code given. */
#define assert_fault(t, result, vector, at, error)                               \
	do {                                                                     \
		assert_int_equal((result), (vector));                            \
		assert_int_equal((t)->frame.rip, (at));                          \
		assert_int_equal((t)->frame.err, (error));                       \
	} while (0)

#endif
