/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of a case: contents put in before it, changes collected and undone after it. */
#include <string.h>
#include "case.h"

void case_patch(struct diff_case *c, unsigned off, const void *data, unsigned len)
{
	struct patch *p = &c->patch[c->n_patches];

	if (c->n_patches == CASE_PATCHES || c->patch_used + len > CASE_PATCH_MAX ||
	    off + len > DATA_FRAMES * PAGE_SIZE)
		return;
	p->off = (uint16_t)off;
	p->len = (uint16_t)len;
	p->data = c->patch_used;
	memcpy(c->patch_data + c->patch_used, data, len);
	c->patch_used = (uint16_t)(c->patch_used + len);
	c->n_patches++;
}

int world_image_offset(uint64_t la)
{
	uint64_t off = la - (la >= WORLD_HIGH ? WORLD_HIGH : WORLD_LOW);

	for (unsigned i = 0; i < n_world_pages; i++)
		if (world_pages[i].frame < IMAGE_FRAMES && off - world_pages[i].offset < PAGE_SIZE)
			return (int)(world_pages[i].frame * PAGE_SIZE + off - world_pages[i].offset);
	return -1;
}

static void frames_write(uint8_t *const frame[FRAMES], unsigned first, unsigned off, const uint8_t *data,
			 unsigned len)
{
	while (len) {
		unsigned in_page = off & (PAGE_SIZE - 1);
		unsigned n = MIN(len, (unsigned)PAGE_SIZE - in_page);

		memcpy(frame[first + off / PAGE_SIZE] + in_page, data, n);
		off += n;
		data += n;
		len -= n;
	}
}

void frames_load_code(uint8_t *const frame[FRAMES], const struct diff_case *c)
{
	unsigned off = (unsigned)(c->start & 0xffff), len = c->code_len;

	frames_write(frame, FRAME_CODE0, off, c->code, MIN(len, (unsigned)CODE_SIZE - off));
}

void frames_load(uint8_t *const frame[FRAMES], const uint8_t image[][PAGE_SIZE], const struct diff_case *c)
{
	for (unsigned i = 0; i < c->n_patches; i++)
		frames_write(frame, 0, c->patch[i].off, c->patch_data + c->patch[i].data, c->patch[i].len);
	frames_load_code(frame, c);
}

static uint32_t line_hash(uint32_t h, unsigned line, const uint8_t *data)
{
	h = h * 16777619 + line;
	for (unsigned i = 0; i < LINE_SIZE; i++)
		h = (h ^ data[i]) * 16777619;
	return h;
}

static void line_collect(unsigned line, uint8_t *now, const uint8_t *image, struct outcome *o)
{
	if (o->n_lines < OUTCOME_LINES) {
		o->line[o->n_lines].line = (uint16_t)line;
		memcpy(o->line[o->n_lines].data, now, LINE_SIZE);
	} else {
		o->mem_hash = line_hash(o->mem_hash, line, now);
	}
	o->n_lines++;
	memcpy(now, image, LINE_SIZE);
}

void frames_collect(uint8_t *const frame[FRAMES], const uint8_t image[][PAGE_SIZE], const struct diff_case *c,
		    struct outcome *o)
{
	static const uint8_t fill[CASE_CODE_MAX] = { [0 ... CASE_CODE_MAX - 1] = CODE_FILL };
	unsigned code_off = (unsigned)(c->start & 0xffff);

	o->n_lines = 0;
	o->mem_hash = 0;
	for (unsigned f = 0; f < DATA_FRAMES; f++) {
		if (!memcmp(frame[f], image[f], PAGE_SIZE))
			continue;
		for (unsigned l = 0; l < LINES_PER_PAGE; l++)
			if (memcmp(frame[f] + l * LINE_SIZE, image[f] + l * LINE_SIZE, LINE_SIZE))
				line_collect(f * LINES_PER_PAGE + l, frame[f] + l * LINE_SIZE,
					     image[f] + l * LINE_SIZE, o);
	}
	frames_write(frame, FRAME_CODE0, code_off, fill, MIN((unsigned)c->code_len, (unsigned)CODE_SIZE - code_off));
}
