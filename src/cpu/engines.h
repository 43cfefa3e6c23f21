/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engines that this build has, by name, and which one is the best here. */
#ifndef DOPPEL_CPU_ENGINES_H
#define DOPPEL_CPU_ENGINES_H

#include "base/err.h"
#include "base/strbuf.h"
#include "cpu/engine.h"
#include "cpu/vcpu.h"

/* The i-th engine; NULL behind the last. */
const struct engine_ops *engine_at(unsigned i);

/* Find by name; "auto" is engine_choose(). -EINVAL with a message that lists the names. */
int engine_find(const struct engine_ops **out, const char *name, struct err *e);

/*
 * The same with options behind commas: "bt,stack-window=never" (or hot, which is the default; or always), the translator's.
 * *window is set in any case.
 */
int engine_parse(const struct engine_ops **out, enum stack_window *window, const char *text, struct err *e);

/* The engine for this host: the translator, or the reference; and in one clause why. why may be NULL. */
const struct engine_ops *engine_choose(const char **why);

/* Names and summaries, a line each, for --engine help. */
void engine_print_names(struct strbuf *out);

#endif
