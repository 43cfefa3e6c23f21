/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Monitors: QMP for programs and lines for people, on character backends; what both can ask and order. */
#ifndef DOPPEL_MONITOR_MONITOR_H
#define DOPPEL_MONITOR_MONITOR_H

#include <stdbool.h>
#include "backend/block/blk.h"
#include "backend/chr/chr.h"
#include "base/strbuf.h"
#include "vm/vm.h"

#define MONITOR_DRIVES 64
#define MONITOR_CHRS   64

/* A disk, by the name under which its front knows it. */
struct monitor_drive {
	const char *name;
	struct blk *blk;
};

struct monitor_chr {
	const char *label;
	struct chr *chr;
};

/* What monitors know of the machine besides the VM. Who makes it sets all; the strings outlive the monitors. */
struct monitor_env {
	struct vm *vm;
	const struct vm_config *cfg;
	const char *version;      /* of the QEMU whose protocol is spoken, as 7.2.0 */
	struct monitor_drive drive[MONITOR_DRIVES];
	unsigned n_drives;
	struct monitor_chr chr[MONITOR_CHRS];
	unsigned n_chrs;
	struct blk *medium[MONITOR_DRIVES]; /* that monitors have opened; monitor_env_release() closes them */
	unsigned n_media;
	struct lock *lock;        /* guards medium; monitor_env_init() makes it */
	bool begun;               /* the machine has run (owner's thread) */
};

void monitor_env_init(struct monitor_env *env);
void monitor_env_release(struct monitor_env *env); /* the VM has gone */

/*
 * Serve on a chr, which is not begun yet: QMP (control), or lines. Shared: a port has the chr, too (chr_share()). On the owner's
 * thread, before the machine starts. Free it there, before the VM; NULL is fine. Before the first of them is freed, vm_end_calls().
 */
struct monitor;
struct monitor *monitor_new(struct monitor_env *env, struct chr *chr, bool control, bool pretty, bool shared);
void monitor_free(struct monitor *m);

/* One line as people type it; what it answers is added to out. Any thread but the owner's. */
void hmp_run(struct monitor_env *env, const char *line, struct strbuf *out);

/* -- What both do; any thread but the owner's. Errors: -errno with a message. --------------------------------------------- */

/* "running", "paused", "prelaunch", "shutdown", "io-error", "debug" as QMP has them. */
const char *monitor_status(struct monitor_env *env);
int monitor_stop(struct monitor_env *env);
int monitor_cont(struct monitor_env *env, struct err *e);
int monitor_eject(struct monitor_env *env, const char *id, bool force, struct err *e);
int monitor_change(struct monitor_env *env, const char *id, const char *file, const char *format, bool readonly, struct err *e);

/* Keys "ctrl-alt-delete", pressed together for hold_ms. */
#define MONITOR_HOLD_MS     100
#define MONITOR_HOLD_MAX_MS 10000
int monitor_keys(struct monitor_env *env, const char *const *keys, unsigned n, unsigned hold_ms, struct err *e);

/* QMP's answer to one line of input; for tests and fuzzing, without a chr. */
struct qmp;
struct qmp *qmp_new(struct monitor_env *env, bool pretty, void (*send)(void *opaque, const char *text, size_t len), void *opaque);
void qmp_free(struct qmp *q);
void qmp_open(struct qmp *q); /* a client has come: greet it */
void qmp_input(struct qmp *q, const uint8_t *buf, size_t len);
void qmp_event(struct qmp *q, const struct vm_event *ev); /* if the client has negotiated */

#endif
