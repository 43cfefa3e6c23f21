/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Simplification of failing cases. */
#ifndef DOPPEL_DIFF_MINIMISE_H
#define DOPPEL_DIFF_MINIMISE_H

#include "case.h"

/* fails() runs a case and says whether it still fails; it is called some hundred times. */
void case_minimise(struct diff_case *c, bool (*fails)(void *opaque, const struct diff_case *c), void *opaque);

#endif
