/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine under test: a VM without a board whose user mode looks like the oracle's. */
#ifndef DOPPEL_DIFF_SUBJECT_H
#define DOPPEL_DIFF_SUBJECT_H

#include "base/err.h"
#include "case.h"

struct subject;

/* With the engine of that name. Its guest has the CPUID of `cpu` (see cpuid_policy_init). */
int subject_new(struct subject **out, const char *engine, const char *cpu, struct err *e);
void subject_free(struct subject *s);

/* The first contents of memory for the cases that follow; image must stay. */
void subject_image(struct subject *s, uint8_t image[][PAGE_SIZE]);

/* Run one case to its trap. OUTCOME_HANG if it takes more than a second or so. */
void subject_run(struct subject *s, const struct diff_case *c, struct outcome *o);

#endif
