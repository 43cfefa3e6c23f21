/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a long step is doing, on standard error: a bar on a terminal, else a line per step. */
#ifndef DOPPEL_CLI_PROGRESS_H
#define DOPPEL_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what;
	uint64_t total, done; /* total 0: not known, a spinner */
	uint64_t drawn_ns;
	unsigned frame;
	bool tty;
};

/* Begin a step: "fetching Debian's kernel". what must stay valid. */
void progress_begin(struct progress *p, const char *what, uint64_t total);

/* So much is done; call it often, it draws seldom. */
void progress_update(struct progress *p, uint64_t done);

/* The step is over: the bar goes away. */
void progress_end(struct progress *p);

#endif
