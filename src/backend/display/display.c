/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A screen: the surface, and for each view the columns that changed in bands of rows. */
#include <stdlib.h>
#include <string.h>

#include "backend/display/display.h"
#include "backend/display/impl.h"
#include "base/bits.h"
#include "base/list.h"

#define FIRST_WIDTH  640u
#define FIRST_HEIGHT 480u
#define BAND_ROWS    16u /* of what changed, one stretch of columns is kept for so many rows */
#define BANDS        (DISPLAY_MAX_HEIGHT / BAND_ROWS)

/* The columns [from, to) that changed in a band; none when from >= to. */
struct stretch {
	uint16_t from, to;
};

struct display_view {
	struct display *display;
	struct list node;
	struct stretch band[BANDS]; /* the display's lock */
	bool resized;               /* the display's lock */
};

static void view_touch(struct display_view *v, unsigned y, unsigned from, unsigned to)
{
	struct stretch *b = &v->band[y / BAND_ROWS];

	if (b->from >= b->to) {
		*b = (struct stretch){ (uint16_t)from, (uint16_t)to };
		return;
	}
	b->from = (uint16_t)MIN(b->from, from);
	b->to = (uint16_t)MAX(b->to, to);
}

static void view_touch_all(struct display_view *v, const struct display_surface *s)
{
	memset(v->band, 0, sizeof(v->band));
	for (unsigned y = 0; y < s->height; y += BAND_ROWS)
		view_touch(v, y, 0, s->width);
}

/* -- The chip's side ------------------------------------------------------------------------------ */

const struct display_surface *display_resize(struct display *d, unsigned width, unsigned height)
{
	struct display_surface *s = &d->surface;
	struct display_view *v;

	width = MAX(1u, MIN(width, DISPLAY_MAX_WIDTH));
	height = MAX(1u, MIN(height, DISPLAY_MAX_HEIGHT));
	if (s->pixel && s->width == width && s->height == height)
		return s;
	free(s->pixel);
	s->pixel = calloc((size_t)width * height, sizeof(*s->pixel));
	BUG_ON(!s->pixel);
	s->width = width;
	s->height = height;
	list_for_each(v, &d->views, node) {
		v->resized = true;
		view_touch_all(v, s);
	}
	return s;
}

void display_row(struct display *d, unsigned y, const uint32_t *pixels)
{
	struct display_surface *s = &d->surface;
	uint32_t *row = s->pixel + (size_t)y * s->width;
	unsigned from = 0, to = s->width;
	struct display_view *v;

	BUG_ON(y >= s->height);
	if (!memcmp(row, pixels, s->width * sizeof(*row)))
		return;
	while (row[from] == pixels[from])
		from++;
	while (row[to - 1] == pixels[to - 1])
		to--;
	memcpy(row + from, pixels + from, (to - from) * sizeof(*row));
	list_for_each(v, &d->views, node)
		view_touch(v, y, from, to);
}

void display_set_source(struct display *d, const struct display_source *source, void *opaque)
{
	lock_take(&d->lock);
	d->source = source;
	d->opaque = opaque;
	d->fresh = true;
	lock_drop(&d->lock);
}

void display_draw_locked(struct display *d, bool all)
{
	if (d->source)
		d->source->draw(d->opaque, d, all || d->fresh);
	d->fresh = false;
}

/* -- Views ----------------------------------------------------------------------------------------- */

struct display_view *display_view_new(struct display *d)
{
	struct display_view *v = calloc(1, sizeof(*v));

	BUG_ON(!v);
	v->display = d;
	v->resized = true;
	lock_take(&d->lock);
	list_add_tail(&d->views, &v->node);
	view_touch_all(v, &d->surface);
	lock_drop(&d->lock);
	return v;
}

void display_view_free(struct display_view *v)
{
	if (!v)
		return;
	lock_take(&v->display->lock);
	list_del(&v->node);
	lock_drop(&v->display->lock);
	free(v);
}

/* The first rectangle at or below band *at: as many bands as have the same columns. False: there are no more. */
static bool next_rect(const struct display_view *v, unsigned *at, struct display_rect *r)
{
	unsigned i = *at, end, height = v->display->surface.height, bands = (height + BAND_ROWS - 1) / BAND_ROWS;

	while (i < bands && v->band[i].from >= v->band[i].to)
		i++;
	if (i == bands)
		return false;
	for (end = i + 1; end < bands && !memcmp(&v->band[end], &v->band[i], sizeof(v->band[i]));)
		end++;
	*at = end;
	*r = (struct display_rect){ v->band[i].from, i * BAND_ROWS, v->band[i].to - v->band[i].from,
				    MIN(end * BAND_ROWS, height) - i * BAND_ROWS };
	return true;
}

bool display_view_update(struct display_view *v,
			 void (*changed)(void *opaque, const struct display_surface *s, const struct display_rect *r, bool resized),
			 void *opaque)
{
	struct display *d = v->display;
	struct display_rect r;
	bool any = false;

	lock_take(&d->lock);
	display_draw_locked(d, false);
	for (unsigned at = 0; next_rect(v, &at, &r); any = true) {
		changed(opaque, &d->surface, &r, v->resized);
		v->resized = false;
	}
	memset(v->band, 0, sizeof(v->band));
	lock_drop(&d->lock);
	return any;
}

/* -- Life ------------------------------------------------------------------------------------------ */

struct display *display_new(void)
{
	struct display *d = calloc(1, sizeof(*d));

	BUG_ON(!d);
	lock_init(&d->lock, RANK_DISPLAY);
	list_init(&d->views);
	display_resize(d, FIRST_WIDTH, FIRST_HEIGHT);
	return d;
}

void display_free(struct display *d)
{
	if (!d)
		return;
	BUG_ON(!list_empty(&d->views));
	lock_release(&d->lock);
	free(d->surface.pixel);
	free(d);
}
