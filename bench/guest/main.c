/* SPDX-License-Identifier: GPL-2.0-or-later */
/* programs NAME: one of the user programs as one span. */
#include <stdio.h>
#include <string.h>

#include "programs.h"
#include "span.h"

static const struct program {
	const char *name;
	void (*setup)(void);
	uint64_t (*run)(void);
} programs[] = {
#define X(name, what) { #name, name##_setup, name##_run },
	PROGRAMS(X)
#undef X
};

int main(int argc, char **argv)
{
	uint64_t sum;

	for (size_t i = 0; argc == 2 && i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (strcmp(programs[i].name, argv[1]))
			continue;
		programs[i].setup();
		span_begin();
		sum = programs[i].run();
		span_end(sum, 0);
		return 0;
	}
	fputs("usage: programs NAME\n", stderr);
	return 2;
}
