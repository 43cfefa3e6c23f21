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
	q->display = NULL;
	return 0;
}

int qemu_set_vnc(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)
{
	if (!strcmp(arg, "none")) {
		q->display = NULL;
		return 0;
	}
	return err_set(e, ENOTSUP, "-vnc is not built");
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
	if (strcmp(arg, "none"))
		return err_set(e, ENOTSUP, "-display %s is not built: use none or vnc=HOST:N", arg);
	q->display = NULL;
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
	if (q->vga ? !strcmp(q->vga, "none") : q->nodefaults || has_card(q))
		return 0;
	if (!q->vga && !device_driver_find("VGA"))
		return 0;
	return qemu_plug(q, "-vga", "VGA", e);
}
