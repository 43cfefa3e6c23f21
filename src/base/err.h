/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors of the host or the configuration: one message that says what, where and what to do. */
#ifndef DOPPEL_BASE_ERR_H
#define DOPPEL_BASE_ERR_H

/*
 * Functions that can fail for a reason outside of the program return 0 or -errno, and take a
 * `struct err *` last when the reason deserves words. The message is one line without a final
 * newline: "what: where: what to do". It is reported once, by the caller that stops passing it on.
 */
struct err {
	char msg[512];
};

/* Fill e (which may be NULL) and return -errnum, so that `return err_set(...)` is the idiom. */
int err_set(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put "fmt: " in front of the message that e already holds; returns rc unchanged. */
int err_prefix(struct err *e, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Our own bug, never the guest's or the user's doing: print where and abort. */
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
#define BUG_ON(cond)                                                             \
	do {                                                                     \
		if (__builtin_expect(!!(cond), 0))                               \
			bug_at(__FILE__, __LINE__, "%s", #cond);                 \
	} while (0)
_Noreturn void bug_at(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
