/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A screen: pixels that a graphics chip draws when somebody wants to see them, and who looks at them. */
#ifndef DOPPEL_BACKEND_DISPLAY_DISPLAY_H
#define DOPPEL_BACKEND_DISPLAY_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

struct display;
struct display_view;
struct strbuf;

#define DISPLAY_MAX_WIDTH  4096u
#define DISPLAY_MAX_HEIGHT 4096u

struct display_rect {
	unsigned x, y, width, height;
};

/* Pixels are 0xXXRRGGBB with X of no meaning; row y begins at pixel + y * width. At least 1 by 1. */
struct display_surface {
	unsigned width, height;
	uint32_t *pixel;
};

/*
 * Who draws. A display does nothing by itself: draw() is called, on any thread and with a lock of RANK_DISPLAY held, when
 * somebody wants to see the present picture. It calls display_resize() and display_row(); `all`: the surface's
 * contents are of no use, draw each row.
 */
struct display_source {
	void (*draw)(void *opaque, struct display *d, bool all);
};

/* A black screen of 640 by 480 without a source. */
struct display *display_new(void);
void display_free(struct display *d); /* views have gone, and the source's chip; NULL is fine */

/* Connect the chip; NULL: it goes, and is not called any more after this. The last picture stays. */
void display_set_source(struct display *d, const struct display_source *source, void *opaque);

/*
 * For draw(): the surface has this size from now on; sizes are cut to the limits. A new size makes it black, and all rows
 * count as changed. Returns the surface, valid until the end of draw().
 */
const struct display_surface *display_resize(struct display *d, unsigned width, unsigned height);

/* For draw(): row y is to be these pixels, one for each column. Only columns that differ count as changed. */
void display_row(struct display *d, unsigned y, const uint32_t *pixels);

/* Somebody who looks: hears what has changed since it last asked. */
struct display_view *display_view_new(struct display *d);
void display_view_free(struct display_view *v); /* NULL is fine */

/*
 * Have the present picture drawn and call changed() for each rectangle in which it differs from what this view has
 * seen before, at first all of it; with a lock of RANK_DISPLAY held: the surface can be read in there. `resized`: the
 * surface has another size than at the last call. Returns whether there was anything.
 */
bool display_view_update(struct display_view *v,
			 void (*changed)(void *opaque, const struct display_surface *s, const struct display_rect *r, bool resized),
			 void *opaque);

/*
 * The present picture as a PNG file, 8 bits per channel: to a new file or in place of the file at path, which appears when
 * it is complete; or appended to a buffer. Any thread that holds no lock. Errors: -errno with a message.
 */
int display_png(struct display *d, const char *path, struct err *e);
int display_png_bytes(struct display *d, struct strbuf *out, struct err *e);

#endif
