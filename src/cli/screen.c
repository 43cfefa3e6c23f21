/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's screen, keys and pointer as options ask for them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/screen.h"

#define VGA_BIOS "/usr/share/seabios/vgabios-stdvga.bin" /* where Debian's package has it */

int screen_set_vga(struct screen_options *o, const char *arg, struct err *e)
{
	if (strcmp(arg, "std") && strcmp(arg, "none"))
		return err_set(e, EINVAL, "vga '%s': there is none of that name; give std or none", arg);
	o->vga_given = true;
	o->vga = !strcmp(arg, "std");
	return 0;
}

int screen_add_viewer(struct screen_options *o, const char *arg, struct err *e)
{
	if (o->n_viewers == SCREEN_VIEWERS)
		return err_set(e, E2BIG, "display '%s': more than %d of them; leave some out", arg, SCREEN_VIEWERS);
	o->viewer[o->n_viewers++] = arg;
	return viewer_check(arg, e);
}

/* Run by firmware, and else where the font is. Without it the card is dark until an operating system with a driver for it starts. */
static int find_rom(struct screen *s, struct vm_config *c, struct err *e)
{
	int rc = file_map(&s->rom, VGA_BIOS, "video BIOS", e);

	if (rc == -ENOENT) {
		log_msg(LOG_WARN, "there is no video BIOS '%s'; install Debian's package seabios", VGA_BIOS);
		return 0;
	}
	c->vga_rom = file_blob(&s->rom);
	return rc;
}

static bool looked_at(const struct screen_options *o)
{
	for (unsigned i = 0; i < o->n_viewers; i++)
		if (strcmp(o->viewer[i], "none"))
			return true;
	return false;
}

int screen_open(struct screen *s, const struct screen_options *o, bool firmware, struct vm_config *c, struct err *e)
{
	bool wanted = o->vga_given ? o->vga : firmware || looked_at(o);
	int rc = 0;

	if (!wanted && !looked_at(o))
		return 0;
	s->display = c->display = display_new();
	s->input = c->input = input_new();
	if (wanted)
		rc = find_rom(s, c, e);
	if (!rc && wanted && !vm_config_add_device(c, "VGA", e))
		rc = -E2BIG;
	for (unsigned i = 0; !rc && i < o->n_viewers; i++)
		rc = viewer_open(&s->viewer[i], o->viewer[i], s->display, s->input, e);
	for (unsigned i = 0; !rc && i < o->n_viewers; i++)
		if (s->viewer[i])
			rc = viewer_start(s->viewer[i], e);
	return rc;
}

void screen_say_where(const struct screen *s)
{
	for (unsigned i = 0; i < SCREEN_VIEWERS; i++)
		if (s->viewer[i])
			fprintf(stderr, "doppel: the screen is %s\n", viewer_where(s->viewer[i]));
}

void screen_close(struct screen *s)
{
	for (unsigned i = 0; i < SCREEN_VIEWERS; i++) {
		viewer_close(s->viewer[i]);
		s->viewer[i] = NULL;
	}
}

void screen_release(struct screen *s)
{
	screen_close(s);
	display_free(s->display);
	input_free(s->input);
	file_unmap(&s->rom);
	s->display = NULL;
	s->input = NULL;
}
