/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the character backends share: the output ring, the input buffer and the I/O thread's duties. */
#ifndef DOPPEL_BACKEND_CHR_IMPL_H
#define DOPPEL_BACKEND_CHR_IMPL_H

#include <poll.h>
#include <pthread.h>
#include "backend/chr/chr.h"
#include "base/lock.h"

#define CHR_OUT_SIZE  65536u /* ring of accepted output; a power of two */
#define CHR_IN_SIZE   4096u  /* input that the chip has not yet taken */
#define CHR_IN_RESERVE 2u    /* of it, kept for what the end of piped input becomes */
#define CHR_NAME_SIZE 256u

/* What becomes of output. */
enum chr_reader {
	CHR_READER_HERE, /* goes to out_fd; the guest waits while the ring is full */
	CHR_READER_AWAY, /* nobody connected: the ring keeps the newest bytes */
	CHR_READER_GONE, /* nobody will come any more: dropped */
};

/* A backend; without the lock, and but for begin and close on the I/O thread; NULL slots are not needed. */
struct chr_ops {
	const char *name;
	bool idle; /* needs no I/O thread */
	/* Take over what was opened. */
	int (*begin)(struct chr *c, struct err *e);
	/* Bytes have been read from in_fd: pass them on, by chr_input(). NULL: as they are. */
	void (*input)(struct chr *c, const uint8_t *buf, size_t len);
	/* in_fd is at its end, or failed; hup: nobody is at the other end of out_fd either. */
	void (*in_end)(struct chr *c, bool hup);
	/* Writing to out_fd failed with errnum. */
	void (*out_fail)(struct chr *c, int errnum);
	/* listen_fd is readable, or tick_ms have passed. */
	void (*attend)(struct chr *c);
	/* The I/O thread has ended: close what is the backend's own. */
	void (*close)(struct chr *c);
};

struct chr {
	const struct chr_ops *ops;
	char where[CHR_NAME_SIZE];

	/* The I/O thread's own (set before it starts). -1: none. */
	int in_fd, out_fd, listen_fd;
	int tick_ms;        /* call attend() that often; -1: never */
	size_t out_chunk;   /* most bytes for one write(2) that must not block */
	bool in_drops;      /* input that the guest does not take is dropped, so that escapes are still read */
	uint8_t in[CHR_IN_SIZE];
	size_t in_len;
	bool escape;        /* stdio: Ctrl-A was typed */
	bool escapes;       /* stdio: it has a meaning: on a terminal, and where a monitor shares it */
	bool quiet_end;     /* stdio: the end of piped input becomes nothing */
	bool told_open;     /* what handlers->opened() heard last */
	const void *told;   /* whose */
	const struct chr_handlers *mon; /* who shares the terminal; NULL: nobody */
	void *mon_opaque;
	bool to_mon;        /* who gets the input */
	uint8_t last_in;    /* stdio: last byte of piped input */
	int saved_fd;       /* stdio: out_fd before it was opened anew; -1: none */

	pthread_t thread;
	bool thread_started;
	int wake_fd;        /* eventfd */

	struct lock lock;   /* guards all that follows */
	pthread_cond_t cond; /* ring drained, or handler call over */
	uint8_t *out;       /* ring of CHR_OUT_SIZE; positions run freely */
	uint32_t out_head, out_tail; /* written at head, sent from tail */
	enum chr_reader reader;
	const struct chr_handlers *h;
	void *opaque;
	void (*leave)(void *opaque);
	void *leave_opaque;
	bool in_call;       /* a handler is running */
	const char *preface; /* goes before the first output; NULL: nothing, or done */
	bool starved;       /* chr_write() took less than was offered */
	bool in_stuck;      /* the chip took less than was offered */
	bool brk;           /* a break is to be reported */
	bool idle;          /* the thread is in (or on its way into) poll(2) */
	bool was_open;      /* somebody has been at the other end */
	bool stop;
};

/* Allocate a chr with the given ops and nothing open. */
int chr_new(struct chr **out, const struct chr_ops *ops, struct err *e);

/* On the I/O thread. */
void chr_input(struct chr *c, const uint8_t *buf, size_t len); /* bytes for the chip */
void chr_set_reader(struct chr *c, enum chr_reader reader);
void chr_break(struct chr *c);
void chr_leave(struct chr *c);
void chr_switch(struct chr *c); /* input goes to the other one, where there are two */
void chr_close_fd(int *fd); /* close and set to -1; harmless on -1 */
/* out_fail for backends whose reader does not come back: say so once, and drop from now on. */
void chr_reader_lost(struct chr *c, int errnum);

/* Constructors, by name in chr_open(). arg is what follows the colon. */
int chr_null_new(struct chr **out, const char *arg, struct err *e);
int chr_file_new(struct chr **out, const char *arg, struct err *e);
int chr_stdio_new(struct chr **out, const char *arg, struct err *e);
int chr_pty_new(struct chr **out, const char *arg, struct err *e);
int chr_append_new(struct chr **out, const char *arg, struct err *e);
int chr_socket_new(struct chr **out, const char *arg, struct err *e);
int chr_unix_client_new(struct chr **out, const char *arg, struct err *e);
int chr_tcp_new(struct chr **out, const char *arg, struct err *e);
int chr_tcp_client_new(struct chr **out, const char *arg, struct err *e);

#endif
