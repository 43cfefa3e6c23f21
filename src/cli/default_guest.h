/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest of `doppel run` without --kernel: Debian's own cloud kernel and an initramfs made here. */
#ifndef DOPPEL_CLI_DEFAULT_GUEST_H
#define DOPPEL_CLI_DEFAULT_GUEST_H

#include <stdbool.h>
#include "base/err.h"
#include "base/strbuf.h"
#include "boot/boot.h"
#include "cli/file.h"

/* What the guest shall do, and what its console is connected to. */
struct guest_request {
	char *const *argv;       /* command and arguments, NULL at the end; NULL: an interactive shell */
	bool stdin_tty, stdout_tty; /* standard input and output are terminals */
	unsigned rows, cols;     /* of the terminal; 0: not known */
	const char *term;        /* TERM of the host; NULL: not known */
	bool kernel_log;         /* the kernel's messages are shown on the console */
	bool drivers;            /* there are devices besides the console: bring drivers for them */
	bool dhcp;               /* one of them is a network that gives addresses */
	const char *shares;      /* tags of shared directories, each with a newline; NULL: none */
	const char *append;      /* more words for the kernel's command line; NULL: none */
};

struct default_guest {
	struct mapped_file kernel, initrd, drivers; /* initrd: busybox and the agent; drivers: modules, if they are wanted; cached */
	struct strbuf kernel_path, initrd_path, drivers_path;
	struct strbuf request;   /* last initrd: what to run, different each time */
	struct boot_blob initrds[3];
	unsigned n_initrds;
	struct strbuf cmdline;
};

/*
 * Find or fetch all of it, with a progress display on standard error. The kernel: newest of
 * /boot/vmlinuz-*-cloud-amd64, else of /boot/vmlinuz-*-amd64, else out of the package that
 * linux-image-cloud-amd64 depends on (apt-get download; never installed), kept under
 * ${XDG_CACHE_HOME:-~/.cache}/doppel. Likewise busybox-static. Errors have a message that says what to do.
 *
 * The guest's contract with us:
 * - COM1 is its console: for a command, what it writes comes out as it is, byte for byte, unless
 *   stdout_tty; standard error goes there too.
 * - If guest_wants_stdin(), COM2 must be guest_stdin's (cli/guest_stdin.h): exact bytes and a true end.
 *   Otherwise it reads the console as a terminal, where Ctrl-D is the end of input.
 * - When the command has ended and all its output has left the serial port, the agent writes its
 *   exit status (128 + signal number if a signal killed it) as one byte to the isa-debug-exit port.
 *   Should there be no such port, it powers off. After an interactive shell it always powers off.
 * - A kernel panic is a reset at once (panic=-1).
 * - With drivers, each device has its driver before the command begins; with dhcp, its cards have asked for addresses;
 *   a shared directory is mounted at /mnt/TAG.
 */
int default_guest_prepare(struct default_guest *g, const struct guest_request *rq, struct err *e);
void default_guest_release(struct default_guest *g); /* harmless when g is zero */

static inline bool guest_wants_stdin(const struct guest_request *rq)
{
	return rq->argv && !rq->stdin_tty;
}

/* One line without a newline: what would be booted, or that it has to be fetched first; fetches nothing. */
void default_guest_describe(struct strbuf *out);

#endif
