/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's options about the screen: -display, -vnc, -vga, -nographic. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "cli/qemu.h"

int qemu_set_nographic(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	q->nographic = true;
	return 0;
}

static int add_viewer(struct qemu *q, const char *spec, struct err *e)
{
	unsigned n = q->screen_options.n_viewers;

	if (n == SCREEN_VIEWERS || strlen(spec) >= sizeof(q->viewer[n]))
		return err_set(e, E2BIG, "-display %s: too many viewers, or too long", spec);
	snprintf(q->viewer[n], sizeof(q->viewer[n]), "%s", spec);
	return screen_add_viewer(&q->screen_options, q->viewer[n], e);
}

/* HOST:N, unix:PATH; password-secret=ID of a secret in a file. */
int qemu_set_vnc(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	struct keyval k;
	int rc = keyval_parse(&k, "-vnc", arg, "vnc", e);
	const char *where = keyval_take(&k, "vnc"), *file = keyval_take(&k, "password-file");
	char spec[512];

	/* How other programs may connect beside the first one: they all may. */
	keyval_skip(&k, "share");
	if (!rc)
		rc = keyval_only(&k, "password", false, "give a file: password-file=FILE", e);
	if (!rc)
		rc = keyval_done(&k, e);
	if (!rc && !where)
		rc = err_set(e, EINVAL, "-vnc %s: write HOST:N or unix:PATH", arg);
	if (!rc && strcmp(where, "none")) {
		snprintf(spec, sizeof(spec), "vnc=%.200s%s%.200s", where, file ? ",password-file=" : "", file ? file : "");
		rc = add_viewer(q, spec, e);
	}
	keyval_release(&k);
	return rc;
}

bool qemu_answer_display(const char *arg)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return false;
	printf("Available display backend types:\nnone\nvnc\n");
	return true;
}

int qemu_set_display(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	if (!strncmp(arg, "vnc=", 4))
		return qemu_set_vnc(q, o, arg + 4, e);
	if (!strncmp(arg, "web=", 4))
		return add_viewer(q, arg, e);
	if (strcmp(arg, "none"))
		return err_set(e, ENOTSUP, "-display %s is not built: use none, vnc=HOST:N or web=PORT", arg);
	return 0;
}

bool qemu_answer_vga(const char *arg)
{
	if (strcmp(arg, "help") && strcmp(arg, "?"))
		return false;
	printf("none                 no graphic card\nstd                  standard VGA (default)\n");
	return true;
}

int qemu_set_vga(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	if (strcmp(arg, "std") && strcmp(arg, "none"))
		return err_set(e, ENOTSUP, "-vga %s is not built: use std or none", arg);
	q->vga = arg;
	return 0;
}

/* A -device that is a graphics card takes the place of the one that is there by default. */
static bool has_card(const struct qemu *q)
{
	for (unsigned i = 0; i < q->n_given; i++)
		if (q->given[i].o->phase == PHASE_DEVICE && (!strncmp(q->given[i].arg, "VGA", 3) || strstr(q->given[i].arg, "\"VGA\"")))
			return true;
	return false;
}

int qemu_default_display(struct qemu *q, struct err *e)
{
	struct screen_options *o = &q->screen_options;
	bool card = has_card(q);
	unsigned n = q->cfg.n_devices;
	int rc = 0;

	if (q->vga || q->nodefaults || card)
		rc = screen_set_vga(o, card || (q->vga && strcmp(q->vga, "none")) ? "std" : "none", e);
	if (!rc)
		rc = screen_open(&q->screen, o, !q->kernel, &q->cfg, e);
	/* A card by -device is plugged in there, with its properties. */
	if (!rc && card)
		q->cfg.n_devices = n;
	if (!rc && !q->cfg.input)
		q->screen.input = q->cfg.input = input_new();
	return rc;
}
