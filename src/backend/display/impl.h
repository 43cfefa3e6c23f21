/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of a display; backend/display/ only. */
#ifndef DOPPEL_BACKEND_DISPLAY_IMPL_H
#define DOPPEL_BACKEND_DISPLAY_IMPL_H

#include "backend/display/display.h"
#include "base/list.h"
#include "base/lock.h"

struct display {
	struct lock lock; /* RANK_DISPLAY: all below; the source takes its chip's lock inside */
	struct display_surface surface;
	const struct display_source *source; /* NULL: none */
	void *opaque;
	bool fresh;       /* the source has drawn nothing yet */
	struct list views;
};

/* Have the source bring the surface up to date. */
void display_draw_locked(struct display *d, bool all);

#endif
