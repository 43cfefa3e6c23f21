/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Standard input for a command in the default guest: exact bytes, at the guest's pace, with a true end. */
#ifndef DOPPEL_CLI_GUEST_STDIN_H
#define DOPPEL_CLI_GUEST_STDIN_H

#include "base/err.h"

/*
 * A serial line has no end of file, and a guest that is slower than its input loses bytes. So the guest's
 * agent asks on COM2 for one frame at a time: it sends 'R', and gets a 16-bit little-endian length
 * and that many bytes; length 0 is the end of input. The host's standard input is read only then.
 */
#define GUEST_STDIN_REQUEST 'R'
#define GUEST_STDIN_FRAME   2048 /* most bytes in a frame: fits what Linux' tty layer buffers */

struct guest_stdin;

/*
 * Takes standard input over: descriptor 0 becomes /dev/null, so that the stdio backend of COM1 (to be
 * opened after this) does not read it.
 */
int guest_stdin_new(struct guest_stdin **out, struct err *e);

/* What to open for COM2 with chr_open(), before guest_stdin_start(). */
const char *guest_stdin_chr(const struct guest_stdin *in);

/* Connect and serve, on a thread of its own. */
int guest_stdin_start(struct guest_stdin *in, struct err *e);

void guest_stdin_free(struct guest_stdin *in); /* in any state; NULL is fine */

#endif
