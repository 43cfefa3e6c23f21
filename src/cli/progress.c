/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress of set-up steps: drawn over itself on a terminal, so that nothing of it stays. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/progress.h"

#define REDRAW_NS 80000000ull
#define BAR_WIDTH 30
#define MIB       1048576.0

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void draw(struct progress *p)
{
	static const char bar[] = "##############################", spinner[] = "|/-\\";
	double part = p->done < p->total ? (double)p->done / (double)p->total : 1.0;

	if (p->total)
		fprintf(stderr, "\rdoppel: %s [%-*.*s] %.0f%% of %.1f MiB\033[K", p->what, BAR_WIDTH,
			(int)(part * BAR_WIDTH), bar, part * 100, (double)p->total / MIB);
	else
		fprintf(stderr, "\rdoppel: %s %c\033[K", p->what, spinner[p->frame++ % strlen(spinner)]);
	fflush(stderr);
}

void progress_begin(struct progress *p, const char *what, uint64_t total)
{
	const char *term = getenv("TERM");

	*p = (struct progress){ .what = what, .total = total, .drawn_ns = now_ns() };
	p->tty = isatty(STDERR_FILENO) && term && strcmp(term, "dumb");
	if (p->tty)
		draw(p);
	else
		fprintf(stderr, "doppel: %s\n", what);
}

void progress_update(struct progress *p, uint64_t done)
{
	uint64_t now = now_ns();

	p->done = done;
	if (!p->tty || now - p->drawn_ns < REDRAW_NS)
		return;
	p->drawn_ns = now;
	draw(p);
}

void progress_end(struct progress *p)
{
	if (p->tty) {
		fprintf(stderr, "\r\033[K");
		fflush(stderr);
	}
	p->tty = false;
}
