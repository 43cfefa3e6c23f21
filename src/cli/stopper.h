/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals that end the program in order, while a virtual machine runs. */
#ifndef DOPPEL_CLI_STOPPER_H
#define DOPPEL_CLI_STOPPER_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "base/err.h"
#include "vm/vm.h"

/*
 * A thread of its own takes SIGINT, SIGTERM and SIGHUP (as far as they are not ignored): the first one stops
 * the VM with the signal's number; another one, or one after stopper_impatient(), ends the program at once.
 */
struct stopper {
	struct vm *vm;
	sigset_t set, old;
	pthread_t thread;
	bool started;
	_Atomic bool done;
	pthread_mutex_t lock; /* guards impatient, and keeps the VM while it is being stopped */
	bool impatient;
};

/* Block signals in this thread and those it makes from now on: before any other thread is made. */
void stopper_block(struct stopper *s);
int stopper_start(struct stopper *s, struct vm *vm, struct err *e);
/* The same from the terminal's Ctrl-A x; opaque is the stopper. */
void stopper_leave(void *opaque);
bool stopper_stopped(struct stopper *s); /* whether somebody wants to leave */
void stopper_impatient(struct stopper *s); /* from here on the VM may go away */
void stopper_end(struct stopper *s); /* also when it was not started */

#endif
