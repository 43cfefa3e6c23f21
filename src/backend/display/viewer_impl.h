/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What serves one client of a viewer; backend/display/ only. */
#ifndef DOPPEL_BACKEND_DISPLAY_VIEWER_IMPL_H
#define DOPPEL_BACKEND_DISPLAY_VIEWER_IMPL_H

#include "backend/display/display.h"
#include "backend/display/input.h"

#define VNC_PASSWORD_MAX 8 /* characters that the protocol's DES key has room for */
#define NOVNC            "/usr/share/novnc" /* where Debian's package has it */

/* What all clients of a viewer have in common; it does not change while there are any. */
struct viewer_common {
	struct display *display;
	struct input *input;
	char password[VNC_PASSWORD_MAX + 1]; /* empty: none is asked for */
	char host[256];                      /* what the viewer was told to listen at, as written; empty: the default */
};

/*
 * What serves one client at a time. All that a process needs are made before any of them serves one: see rfb.c. v has to be complete,
 * and stays.
 */
struct rfb;
struct rfb *rfb_new(const struct viewer_common *v);
void rfb_free(struct rfb *r); /* NULL is fine */

/* Speak RFB (RFC 6143), also inside of a websocket, until the client goes or the socket is shut down. Closes fd. */
void rfb_serve(struct rfb *r, int fd);

/* One HTTP request: a file of the web page is sent, or the connection becomes a websocket. Closes fd. */
void http_serve(int fd, const struct viewer_common *v, struct rfb *r);

#endif
