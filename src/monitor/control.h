/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A socket on which a running virtual machine answers questions. */
#ifndef DOPPEL_MONITOR_CONTROL_H
#define DOPPEL_MONITOR_CONTROL_H

#include "base/err.h"

struct control;
struct strbuf;
struct vm;

#define CONTROL_DONE "done" /* the whole answer to what needs none */

/*
 * Listen at path, for this user only; a socket that an ended program left there is taken over. A client sends one line and gets
 * text until the end of the stream: to "stats" what vm_print_stats() says, to "screendump" a PNG file, or a line that says why
 * there is none, to "link NAME up" or "down" CONTROL_DONE, or why not. One client at a time, and for a short time.
 */
int control_new(struct control **out, const char *path, struct vm *vm, struct err *e);
void control_free(struct control *c); /* before the VM is freed, on its owner's thread; NULL is fine */

/* The client: ask the machine that listens at path; its answer is appended to a buffer. */
int control_ask(const char *path, const char *line, struct strbuf *answer, struct err *e);

#endif
