/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's screen, keys and pointer as options ask for them: graphics card, video BIOS, and who looks. */
#ifndef DOPPEL_CLI_SCREEN_H
#define DOPPEL_CLI_SCREEN_H

#include <stdbool.h>
#include "backend/display/display.h"
#include "backend/display/input.h"
#include "backend/display/viewer.h"
#include "cli/file.h"
#include "vm/config.h"

#define SCREEN_VIEWERS 4

struct screen_options {
	bool vga_given, vga; /* --vga std or none */
	const char *viewer[SCREEN_VIEWERS]; /* as viewer_check() */
	unsigned n_viewers;
};

struct screen {
	struct display *display;
	struct input *input;
	struct viewer *viewer[SCREEN_VIEWERS];
	struct mapped_file rom;
};

/* Note what an option says: usage errors. */
int screen_set_vga(struct screen_options *o, const char *arg, struct err *e);
int screen_add_viewer(struct screen_options *o, const char *arg, struct err *e);

/*
 * Make what was asked for and add it to c, which then refers to s. The card is there if it was asked for, if somebody looks, or if
 * `firmware` starts and nothing else was said.
 */
int screen_open(struct screen *s, const struct screen_options *o, bool firmware, struct vm_config *c, struct err *e);

/* Tell people where viewers are, on standard error. */
void screen_say_where(const struct screen *s);

/* Nobody looks any more; before the machine goes. Then, after it, all the rest. */
void screen_close(struct screen *s);
void screen_release(struct screen *s);

#endif
