/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The oracle: a child process in which the host CPU runs the cases of a batch. */
#ifndef DOPPEL_DIFF_NATIVE_H
#define DOPPEL_DIFF_NATIVE_H

#include "base/err.h"
#include "case.h"

struct native;

/* Make the child and the batch that is shared with it. Errors: no memory, or the world's addresses are taken. */
int native_new(struct native **out, struct err *e);
void native_free(struct native *n);
struct batch *native_batch(struct native *n);

/* Run cases [0, batch->n): start, and wait for the end. A case that kills the child gets OUTCOME_DIED. */
void native_post(struct native *n);
int native_wait(struct native *n, struct err *e);

/* Extended-state components (XCR0 bits) that the host lets user code have, of those that a case has. */
uint64_t native_xcr0(void);

/* Whether modify_ldt(2) gave the world's LDT: without it there is no 16-bit mode and no segment limits. */
bool native_has_ldt(void);

#endif
