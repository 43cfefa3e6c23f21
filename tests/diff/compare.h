/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Comparison of two outcomes of a case, and how cases and outcomes are shown. */
#ifndef DOPPEL_DIFF_COMPARE_H
#define DOPPEL_DIFF_COMPARE_H

#include "base/strbuf.h"
#include "gen.h"

struct compare {
	const struct catalog *catalog;
	bool strict; /* undefined flags too */
	bool dead_flags; /* the engine does not keep flags that a faulting instruction would have written (cpu/bt/access.c) */
};

/* Whether they agree in all that is defined; if not and why is not NULL, a line for each difference is added. */
bool outcomes_agree(const struct compare *cmp, const struct diff_case *c, const struct outcome *native,
		    const struct outcome *subject, struct strbuf *why);

/* The case as text: where, what, and all input that is not zero. */
void case_print(const struct compare *cmp, const struct diff_case *c, struct strbuf *out);
void outcome_print(const struct diff_case *c, const struct outcome *o, struct strbuf *out);

#endif
