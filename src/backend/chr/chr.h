/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character backends: where the bytes of a serial port or monitor come from and go to on the host. */
#ifndef DOPPEL_BACKEND_CHR_CHR_H
#define DOPPEL_BACKEND_CHR_CHR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

struct chr;

/*
 * What a chip wants to hear; any slot may be NULL. Called on the backend's I/O thread with no lock
 * held, so a chip takes its own lock inside and may call chr_write() and chr_resume_read() there.
 *   read      len >= 1 bytes came in; returns how many of them the chip took (0 to len). The rest
 *             is kept, and nothing more is read from the host, until chr_resume_read().
 *   writable  an earlier chr_write() took fewer bytes than offered, and now there is room again.
 *   brk       the user asks for a break condition on the line.
 *   opened    somebody is at the other end now, or has gone; at first nobody is. Who gets handlers while somebody is there hears so.
 */
struct chr_handlers {
	size_t (*read)(void *opaque, const uint8_t *buf, size_t len);
	void (*writable)(void *opaque);
	void (*brk)(void *opaque);
	void (*opened)(void *opaque, bool open);
};

/*
 * Set (or with h NULL remove) the handlers. Returns when no call of the former ones is under way
 * any more, so it must not be called with a lock that they take, nor from a handler. Nothing is
 * read from the host before there is a read handler. h must stay valid.
 */
void chr_set_handlers(struct chr *c, const struct chr_handlers *h, void *opaque);

/*
 * Let a monitor share a terminal with the chip: Ctrl-A c takes the input from one to the other, and back. Once, before
 * chr_begin(); piped input has the escapes of a terminal then.
 */
void chr_share(struct chr *c, const struct chr_handlers *h, void *opaque);
void chr_unshare(struct chr *c); /* no call is under way any more when it returns */

/* The end of piped input is not to be told to the guest by Ctrl-D; before chr_begin(). */
void chr_quiet_end(struct chr *c);

/*
 * Queue bytes for output; never blocks; any thread, under any lock of rank below RANK_CHR. Returns
 * how many were accepted: fewer than len when the reader on the host is slow, and then
 * handlers->writable follows. Accepted bytes are not lost, unless the reader itself goes away.
 */
size_t chr_write(struct chr *c, const void *buf, size_t len);

/* The chip has room again for bytes that its read handler did not take. Any thread, as chr_write(). */
void chr_resume_read(struct chr *c);

/*
 * Wait until all accepted output has been handed to the host, for at most timeout_ms (-1: as long
 * as it takes). True when it has, or when there is no reader. Not from a handler.
 */
bool chr_flush(struct chr *c, int timeout_ms);

/* Wait for somebody at the other end, for at most timeout_ms. True when somebody is or was there. Not from a handler. */
bool chr_wait_open(struct chr *c, int timeout_ms);

/* Stop the I/O thread and close; restores the terminal. c may be NULL. Handlers are not called after this. */
void chr_free(struct chr *c);

/*
 * Open a backend by its name on the command line:
 *   stdio    the terminal, in raw mode when standard input is one: Ctrl-A x leaves, Ctrl-A h helps,
 *            Ctrl-A b sends a break, Ctrl-A Ctrl-A sends Ctrl-A. When standard input is no terminal,
 *            its bytes are passed on as they are, and its end as Ctrl-D.
 *   pty      a new pseudo-terminal; its name is in chr_where()
 *   file:F   output to F, which is made or truncated; no input
 *   append:F the same behind what the file has
 *   unix:P   a listening stream socket at P; one client at a time, the next may connect when it left
 *   unix-client:P      a connection to who listens at P
 *   tcp:HOST:PORT, tcp-client:HOST:PORT  the same by TCP
 *   null     nowhere
 * While a pty or socket has no client, the guest does not wait: the last 64 KiB are kept for the
 * next client. A reader of stdio or file that has gone, or an error there, is reported once and
 * output then goes nowhere. Errors: -errno with a message; -EINVAL for an unknown name.
 */
int chr_open(struct chr **out, const char *spec, struct err *e);

/*
 * Begin to move bytes. chr_open() leaves what it finds as it is; only now does the terminal become raw, is
 * the file emptied and are clients let in. Output accepted before waits. Once.
 */
int chr_begin(struct chr *c, struct err *e);

/*
 * Bytes for the host that go out right before the guest's next one: to wipe away a line that says "starting". NULL
 * takes them back. Returns whether former ones were still waiting. text must stay valid.
 */
bool chr_set_preface(struct chr *c, const char *text);

/* Check the spec as far as that is possible without opening anything: -EINVAL with a message. */
int chr_check(const char *spec, struct err *e);

/* What a user needs to know to connect: the name of the pty, the path of the file or socket. */
const char *chr_where(const struct chr *c);

/* Call leave(opaque) on the I/O thread when the user types Ctrl-A x (stdio only). */
void chr_on_leave(struct chr *c, void (*leave)(void *opaque), void *opaque);

#endif
