/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A screen and its views, its picture read back by libpng, and where keys and pointer events go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/input-event-codes.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/display/display.h"
#include "backend/display/input.h"

#define MAX_WIDTH 2048

/* A chip: a picture that the test changes. */
struct chip {
	unsigned width, height, draws;
	uint32_t pixel[64 * MAX_WIDTH];
};

static void chip_draw(void *opaque, struct display *d, bool all)
{
	struct chip *c = opaque;
	const struct display_surface *s = display_resize(d, c->width, c->height);

	c->draws++;
	for (unsigned y = 0; y < s->height; y++)
		display_row(d, y, c->pixel + y * s->width);
}

static const struct display_source source = { .draw = chip_draw };

/* Who looks: the union of what it was told. */
struct eye {
	unsigned rects, left, top, right, bottom;
	bool resized;
};

static void see(void *opaque, const struct display_surface *s, const struct display_rect *r, bool resized)
{
	struct eye *e = opaque;

	assert_true(r->width && r->height && r->x + r->width <= s->width && r->y + r->height <= s->height);
	if (!e->rects++ || r->x < e->left)
		e->left = r->x;
	if (e->rects == 1 || r->y < e->top)
		e->top = r->y;
	if (r->x + r->width > e->right)
		e->right = r->x + r->width;
	if (r->y + r->height > e->bottom)
		e->bottom = r->y + r->height;
	e->resized |= resized;
}

static void expect_seen(struct display_view *v, struct eye want)
{
	struct eye got = { 0 };
	bool any = display_view_update(v, see, &got);

	assert_int_equal(any, want.rects != 0);
	assert_int_equal(got.resized, want.resized);
	assert_int_equal(got.left, want.left);
	assert_int_equal(got.right, want.right);
	assert_true(got.top <= want.top && got.top + 16 > want.top);
	assert_true(got.bottom >= want.bottom && got.bottom < want.bottom + 16);
}

static void test_views(void **state)
{
	static struct chip c = { .width = 100, .height = 50 };
	struct display *d = display_new();
	struct display_view *a = display_view_new(d), *b;

	expect_seen(a, (struct eye){ 1, 0, 0, 640, 480, true });
	display_set_source(d, &source, &c);
	assert_int_equal(c.draws, 0);
	expect_seen(a, (struct eye){ 1, 0, 0, 100, 50, true });
	expect_seen(a, (struct eye){ 0 });
	c.pixel[20 * 100 + 30] = 0x123456;
	c.pixel[21 * 100 + 40] = 0x123456;
	expect_seen(a, (struct eye){ 1, 30, 20, 41, 22, false });
	b = display_view_new(d);
	expect_seen(a, (struct eye){ 0 });
	expect_seen(b, (struct eye){ 1, 0, 0, 100, 50, true });
	c.width = 60;
	expect_seen(b, (struct eye){ 1, 0, 0, 60, 50, true });
	c.pixel[0] = 1;
	expect_seen(b, (struct eye){ 1, 0, 0, 1, 1, false });
	expect_seen(a, (struct eye){ 1, 0, 0, 60, 50, true });
	display_view_free(b);
	display_set_source(d, NULL, NULL);
	c.pixel[1] = 1;
	expect_seen(a, (struct eye){ 0 });
	display_view_free(a);
	display_free(d);
}

static void draw_too_large(void *opaque, struct display *d, bool all)
{
	const struct display_surface *s = display_resize(d, 1u << 31, 0);

	assert_int_equal(s->width, DISPLAY_MAX_WIDTH);
	assert_int_equal(s->height, 1);
}

static void test_limits(void **state)
{
	static const struct display_source large = { .draw = draw_too_large };
	struct display *d = display_new();
	struct display_view *v = display_view_new(d);

	display_set_source(d, &large, NULL);
	expect_seen(v, (struct eye){ 1, 0, 0, DISPLAY_MAX_WIDTH, 1, true });
	display_view_free(v);
	display_free(d);
}

static void test_png(void **state)
{
	static struct chip c = { .width = 7, .height = 5 };
	char dir[] = "/tmp/doppel-png-XXXXXX", path[64];
	png_image image = { .version = PNG_IMAGE_VERSION };
	struct display *d = display_new();
	uint8_t rgb[7 * 5 * 3];
	struct err e;

	for (unsigned i = 0; i < 35; i++)
		c.pixel[i] = 0xff000000u | (i * 0x070301);
	display_set_source(d, &source, &c);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/screen.png", dir);
	assert_int_equal(display_png(d, path, &e), 0);
	assert_true(png_image_begin_read_from_file(&image, path));
	assert_int_equal(image.width, 7);
	assert_int_equal(image.height, 5);
	image.format = PNG_FORMAT_RGB;
	assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
	for (unsigned i = 0; i < 35; i++)
		assert_int_equal(rgb[3 * i] << 16 | rgb[3 * i + 1] << 8 | rgb[3 * i + 2], i * 0x070301);
	unlink(path);
	assert_int_equal(rmdir(dir), 0); /* nothing else was left there */
	assert_int_equal(display_png(d, path, &e), -ENOENT);
	assert_non_null(strstr(e.msg, path));
	display_free(d);
}

/* -- Input ------------------------------------------------------------------------------------------ */

struct taker {
	unsigned keys, code, pointers;
	bool down;
	struct input_pointer last;
};

static void take_key(void *opaque, unsigned code, bool down)
{
	struct taker *t = opaque;

	t->keys++;
	t->code = code;
	t->down = down;
}

static void take_pointer(void *opaque, const struct input_pointer *p)
{
	struct taker *t = opaque;

	t->pointers++;
	t->last = *p;
}

static const struct input_sink keyboard = { .key = take_key }, both = { .key = take_key, .pointer = take_pointer };

static void test_keys(void **state)
{
	struct input *in = input_new();
	struct taker a = { 0 }, b = { 0 };

	input_key(in, KEY_A, true); /* nobody there */
	assert_int_equal(input_add_sink(in, &both, &a), 0);
	assert_int_equal(input_add_sink(in, &keyboard, &b), 0);
	input_key(in, KEY_A, false);
	input_key(in, KEY_A, false); /* it is not held */
	assert_int_equal(b.keys, 1);
	assert_int_equal(a.keys, 0);
	input_key(in, KEY_B, true);
	input_key(in, KEY_B, true);
	input_key(in, INPUT_KEYS, true);
	input_key(in, ~0u, true);
	assert_int_equal(b.keys, 3);
	input_buttons(in, INPUT_LEFT);
	input_buttons(in, INPUT_LEFT);
	assert_int_equal(a.pointers, 1);
	input_release_all(in);
	assert_int_equal(b.code, KEY_B);
	assert_false(b.down || input_key_held(in, KEY_B));
	assert_int_equal(a.pointers, 2);
	input_move_to(in, 799, 599, 800, 600);
	assert_true(a.last.absolute);
	assert_int_equal(a.last.x, INPUT_ABS_MAX);
	assert_int_equal(a.last.y, INPUT_ABS_MAX);
	input_move_to(in, 789, 5000, 800, 600);
	assert_int_equal(a.last.dx, -10);
	assert_int_equal(a.last.dy, 0);
	input_wheel(in, -2);
	assert_int_equal(a.last.wheel, -2);
	input_remove_sink(in, &b);
	input_key(in, KEY_C, true);
	assert_int_equal(a.code, KEY_C);
	input_remove_sink(in, &a);
	input_free(in);
}

static void test_names(void **state)
{
	int shift;

	assert_int_equal(input_key_by_name("ret"), KEY_ENTER);
	assert_int_equal(input_key_by_name("ctrl"), KEY_LEFTCTRL);
	assert_int_equal(input_key_by_name("kp_7"), KEY_KP7);
	assert_int_equal(input_key_by_name("nonesuch"), -1);
	assert_int_equal(input_key_by_name(""), -1);
	assert_string_equal(input_key_name(KEY_ENTER), "ret");
	assert_null(input_key_name(KEY_RESERVED));
	assert_int_equal(input_key_by_keysym('a', &shift), KEY_A);
	assert_int_equal(shift, 0);
	assert_int_equal(input_key_by_keysym('?', &shift), KEY_SLASH);
	assert_int_equal(shift, 1);
	assert_int_equal(input_key_by_keysym(0xff0d, &shift), KEY_ENTER);
	assert_int_equal(shift, -1);
	assert_int_equal(input_key_by_keysym(0x12345678, &shift), -1);
	for (uint32_t c = ' '; c < 0x7f; c++)
		assert_true(input_key_by_keysym(c, &shift) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_views), cmocka_unit_test(test_limits), cmocka_unit_test(test_png),
		cmocka_unit_test(test_keys), cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
