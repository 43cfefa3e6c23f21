/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One VNC client after the other, by libvncserver. Those that are served at once have a screen of that library each, with a copy of
 * the picture, so that one which stops in the middle of a message holds up nobody else. All its screens share a mutex, which making
 * one more initialises again: they have to be there before there are clients.
 */
#include <linux/input-event-codes.h>
#include <rfb/rfb.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backend/display/viewer_impl.h"
#include "base/bits.h"
#include "base/err.h"

#define FAST_MS         33    /* between two looks at a picture that changes */
#define SLOW_MS         132   /* and at one that does not */
#define TYPED_MS        15    /* after a key, until its echo is looked for */
#define STALLED_MS      10000 /* how long a client may take in the middle of a message, and to log in */
#define WRONG_PASSWORD_S 1    /* that a guess costs */
#define NS_PER_MS       1000000ll
/* Buttons of RFC 6143, 7.5.5 */
enum { RFB_LEFT = 1, RFB_MIDDLE = 2, RFB_RIGHT = 4, RFB_WHEEL_UP = 8, RFB_WHEEL_DOWN = 16, RFB_BACK = 128 };

struct rfb {
	const struct viewer_common *v;
	rfbScreenInfoPtr screen;
	struct display_view *view;
	uint32_t *pixels;
	int buttons;
	bool typed;
	char password[VNC_PASSWORD_MAX + 1], *passwords[2];
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / NS_PER_MS;
}

/* -- Keys and pointer -------------------------------------------------------------------------------------- */

/*
 * The character that the viewer's keyboard made is to be made by the guest's, which is taken for a US one: where that needs shift
 * and it is not held, or the other way round, shift is moved for this key.
 */
static void type_character(struct input *in, unsigned code, bool shift)
{
	static const unsigned shifts[] = { KEY_LEFTSHIFT, KEY_RIGHTSHIFT };
	bool held[2] = { input_key_held(in, shifts[0]), input_key_held(in, shifts[1]) };
	bool any = held[0] || held[1];

	if (shift && !any)
		input_key(in, shifts[0], true);
	for (unsigned i = 0; i < 2 && !shift; i++)
		input_key(in, shifts[i], false);
	input_key(in, code, true);
	if (shift && !any)
		input_key(in, shifts[0], false);
	for (unsigned i = 0; i < 2 && !shift; i++)
		if (held[i])
			input_key(in, shifts[i], true);
}

static void on_key(rfbBool down, rfbKeySym keysym, rfbClientPtr cl)
{
	struct rfb *r = cl->screen->screenData;
	struct input *in = r->v->input;
	int shift, code = input_key_by_keysym(keysym, &shift);
	bool letter = (keysym | 0x20) >= 'a' && (keysym | 0x20) <= 'z';

	r->typed = true;
	if (code < 0)
		return;
	if (letter && shift >= 0 && (input_leds(in) & INPUT_CAPS_LOCK))
		shift = !shift;
	if (down && shift >= 0)
		type_character(in, (unsigned)code, shift);
	else
		input_key(in, (unsigned)code, down);
}

static void on_pointer(int buttons, int x, int y, rfbClientPtr cl)
{
	struct rfb *r = cl->screen->screenData;
	struct input *in = r->v->input;
	int pressed = buttons & ~r->buttons;
	unsigned held = (buttons & RFB_LEFT ? INPUT_LEFT : 0) | (buttons & RFB_MIDDLE ? INPUT_MIDDLE : 0) |
			(buttons & RFB_RIGHT ? INPUT_RIGHT : 0) | (buttons & RFB_BACK ? INPUT_SIDE : 0);

	r->typed = true;
	r->buttons = buttons;
	input_move_to(in, (unsigned)MAX(x, 0), (unsigned)MAX(y, 0), (unsigned)r->screen->width, (unsigned)r->screen->height);
	input_buttons(in, held);
	if (pressed & RFB_WHEEL_UP)
		input_wheel(in, -1);
	if (pressed & RFB_WHEEL_DOWN)
		input_wheel(in, 1);
}

static rfbBool check_password(rfbClientPtr cl, const char *response, int len)
{
	if (rfbCheckPasswordByList(cl, response, len))
		return TRUE;
	sleep(WRONG_PASSWORD_S);
	return FALSE;
}

/* -- The picture ------------------------------------------------------------------------------------------- */

static uint32_t *new_pixels(unsigned width, unsigned height)
{
	uint32_t *p = calloc((size_t)width * height, sizeof(*p));

	BUG_ON(!p);
	return p;
}

static void set_format(rfbScreenInfoPtr s)
{
	s->serverFormat.redShift = 16;
	s->serverFormat.greenShift = 8;
	s->serverFormat.blueShift = 0;
}

static void resize(struct rfb *r, const struct display_surface *s)
{
	uint32_t *old = r->pixels;

	r->pixels = new_pixels(s->width, s->height);
	rfbNewFramebuffer(r->screen, (char *)r->pixels, (int)s->width, (int)s->height, 8, 3, 4);
	set_format(r->screen);
	free(old);
}

static void on_changed(void *opaque, const struct display_surface *s, const struct display_rect *rect, bool resized)
{
	struct rfb *r = opaque;

	if (resized && ((unsigned)r->screen->width != s->width || (unsigned)r->screen->height != s->height))
		resize(r, s);
	for (unsigned y = rect->y; y < rect->y + rect->height; y++)
		memcpy(r->pixels + (size_t)y * s->width + rect->x, s->pixel + (size_t)y * s->width + rect->x,
		       rect->width * sizeof(*r->pixels));
	rfbMarkRectAsModified(r->screen, (int)rect->x, (int)rect->y, (int)(rect->x + rect->width), (int)(rect->y + rect->height));
}

/* -- A client's life --------------------------------------------------------------------------------------- */

static bool logged_in(const struct rfb *r)
{
	return r->screen->clientHead && r->screen->clientHead->state == RFB_NORMAL;
}

static void serve(struct rfb *r)
{
	int64_t begin = now_ms(), next = begin;
	int interval = FAST_MS;

	while (r->screen->clientHead) {
		int64_t now = now_ms();

		if (!logged_in(r) && now - begin > STALLED_MS)
			return;
		if (now >= next && logged_in(r)) {
			bool changed = display_view_update(r->view, on_changed, r);

			interval = changed ? FAST_MS : MIN(interval * 2, SLOW_MS);
			next = now + interval;
			if (changed)
				rfbProcessEvents(r->screen, 0); /* sends it */
		}
		if (next < now)
			next = now + FAST_MS;
		rfbProcessEvents(r->screen, (long)(next - now) * 1000);
		if (r->typed) {
			next = MIN(next, now_ms() + TYPED_MS);
			interval = FAST_MS;
			r->typed = false;
		}
	}
}

/* What clients asked for by scaling; the library keeps it for the next one. */
static void drop_scaled(rfbScreenInfoPtr s)
{
	for (rfbScreenInfoPtr next; s->scaledScreenNext; s->scaledScreenNext = next) {
		next = s->scaledScreenNext->scaledScreenNext;
		free(s->scaledScreenNext->frameBuffer);
		free(s->scaledScreenNext);
	}
}

void rfb_serve(struct rfb *r, int fd)
{
	rfbScreenInfoPtr s = r->screen;

	r->buttons = 0;
	r->typed = false;
	r->pixels = new_pixels((unsigned)s->width, (unsigned)s->height);
	r->view = display_view_new(r->v->display);
	s->frameBuffer = (char *)r->pixels;
	FD_ZERO(&s->allFds);
	s->maxFd = 0;
	/* The first picture gives the screen its size, before the client hears of it. */
	display_view_update(r->view, on_changed, r);
	if (rfbNewClient(s, fd))
		serve(r);
	input_release_all(r->v->input);
	rfbShutdownServer(s, TRUE);
	drop_scaled(s);
	display_view_free(r->view);
	s->frameBuffer = NULL;
	free(r->pixels);
	r->pixels = NULL;
}

static void set_up(struct rfb *r, rfbScreenInfoPtr s)
{
	r->screen = s;
	s->screenData = r;
	s->desktopName = "doppel";
	s->cursor = NULL; /* the guest draws its own */
	s->alwaysShared = TRUE;
	s->deferUpdateTime = 0;
	s->maxClientWait = STALLED_MS;
	s->permitFileTransfer = FALSE;
	s->kbdAddEvent = on_key;
	s->ptrAddEvent = on_pointer;
	set_format(s);
	if (*r->password) {
		s->authPasswdData = r->passwords;
		s->passwordCheck = check_password;
	}
}

struct rfb *rfb_new(const struct viewer_common *v)
{
	struct rfb *r = calloc(1, sizeof(*r));
	rfbScreenInfoPtr s;

	BUG_ON(!r);
	rfbLogEnable(0);
	s = rfbGetScreen(NULL, NULL, 640, 480, 8, 3, 4);
	BUG_ON(!s);
	r->v = v;
	r->passwords[0] = r->password;
	memcpy(r->password, v->password, sizeof(r->password));
	set_up(r, s);
	return r;
}

void rfb_free(struct rfb *r)
{
	if (!r)
		return;
	rfbScreenCleanup(r->screen);
	free(r);
}
