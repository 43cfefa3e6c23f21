/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where people see a screen and type: VNC, and a page for web browsers. */
#ifndef DOPPEL_BACKEND_DISPLAY_VIEWER_H
#define DOPPEL_BACKEND_DISPLAY_VIEWER_H

#include "base/err.h"

struct display;
struct input;
struct viewer;

/*
 * What is written to get one:
 *   none                    nothing
 *   vnc=[HOST]:N            VNC at TCP port 5900 + N of HOST; of 127.0.0.1 if there is none
 *   vnc=unix:PATH           VNC at a unix socket, for this user only
 *   web=[HOST:]PORT         a web page with a VNC client in it (Debian's package novnc) at http://HOST:PORT/
 * and, for the last three, ",password-file=FILE": its first line, at most 8 characters, is what viewers have to know.
 * viewer_check() looks at the text alone: -EINVAL with a message.
 */
int viewer_check(const char *spec, struct err *e);

/*
 * Listen; from viewer_start() on serve whoever comes, on threads of its own, until viewer_close(). All of a process are opened before
 * one is started, for libvncserver's sake (see rfb.c). NULL is stored for "none". No client, whatever it sends, can do more than type,
 * point and look; each has a thread of its own, and VIEWER_CLIENTS of them are served at once.
 */
#define VIEWER_CLIENTS 16
int viewer_open(struct viewer **out, const char *spec, struct display *d, struct input *in, struct err *e);
int viewer_start(struct viewer *v, struct err *e); /* once */
void viewer_close(struct viewer *v); /* NULL is fine */

/* For people: "VNC at 127.0.0.1:5901". */
const char *viewer_where(const struct viewer *v);

#endif
