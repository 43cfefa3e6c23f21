/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine that QEMU's options describe: from its start to the exit status. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/command.h"
#include "cli/qemu.h"
#include "cli/stopper.h"
#include "monitor/gdb.h"
#include "vm/vm.h"

#define FLUSH_STOPPED_MS 1000 /* how long a slow reader may hold up somebody who wants to leave */
#define WAIT_STEP_MS     200  /* between two looks at whether to leave, while nobody connects */

struct qemu_vm {
	struct qemu *q;
	struct stopper stopper;
	struct vm *vm;
	struct gdb *gdb;
	struct monitor_env env;
};

/* -- The start ------------------------------------------------------------------------------------------------------------ */

static int open_log(struct qemu *q, struct err *e)
{
	int fd;

	if (q->trace.on) {
		q->trace.to = UINT64_MAX;
		q->trace.path = q->log_file;
		q->trace.path_len = q->log_file ? strlen(q->log_file) : 0;
		return trace_open(&q->trace, &q->cfg.block_tracer, e);
	}
	if (!q->log_file)
		return 0;
	fd = open(q->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0)
		return err_set(e, errno, "-D '%s': %s", q->log_file, strerror(errno));
	log_set_output(fd, false);
	return 0;
}

static int begin_backends(struct qemu_vm *r, struct err *e)
{
	struct qemu *q = r->q;
	int rc = 0;

	for (unsigned i = 0; i < q->n_chrs && !rc; i++) {
		chr_on_leave(q->chr[i].chr, stopper_leave, &r->stopper);
		rc = chr_begin(q->chr[i].chr, e);
		if (!rc && !strncmp(q->chr[i].k.text, "pty", 3))
			printf("char device redirected to %s (label %s)\n", chr_where(q->chr[i].chr), q->chr[i].id);
	}
	fflush(stdout);
	for (unsigned i = 0; i < q->n_chrs && !rc; i++)
		while (q->chr[i].wait && !chr_wait_open(q->chr[i].chr, WAIT_STEP_MS) && !stopper_stopped(&r->stopper))
			;
	return rc;
}

/* Monitors, and what they know of the machine. */
static void start_monitors(struct qemu_vm *r)
{
	struct qemu *q = r->q;

	monitor_env_init(&r->env);
	r->env.vm = r->vm;
	r->env.cfg = &q->cfg;
	r->env.version = QEMU_VERSION;
	for (unsigned i = 0; i < q->n_drives; i++)
		if (q->drive[i].user && !q->drive[i].protocol)
			r->env.drive[r->env.n_drives++] = (struct monitor_drive){ q->drive[i].id, q->drive[i].blk };
	for (unsigned i = 0; i < q->n_chrs; i++)
		r->env.chr[r->env.n_chrs++] = (struct monitor_chr){ q->chr[i].id, q->chr[i].chr };
	for (unsigned i = 0; i < q->n_monitors; i++) {
		struct qemu_monitor *m = &q->monitor[i];

		m->m = monitor_new(&r->env, m->chr->chr, m->control, m->pretty, m->chr->mux && m->chr->user);
	}
}

static int start(struct qemu_vm *r, struct err *e)
{
	struct qemu *q = r->q;
	struct boot_info info = { 0 };
	int rc = open_log(q, e);

	if (*q->process)
		prctl(PR_SET_NAME, q->process);
	q->cfg.hold_at_end = q->no_shutdown;
	q->cfg.on_panic = q->panic == PANIC_PAUSE ? VM_PANIC_HOLD : q->panic == PANIC_NONE ? VM_PANIC_GO_ON : VM_PANIC_END;
	q->cfg.name = *q->name ? q->name : NULL;
	if (!rc)
		rc = vm_new(&r->vm, &q->cfg, &info, e);
	if (rc)
		return rc;
	qemu_boot_idle(q);
	if (q->stopped)
		vm_hold(r->vm, VM_HOLD_USER);
	start_monitors(r);
	rc = stopper_start(&r->stopper, r->vm, e);
	if (!rc && q->gdb)
		rc = gdb_new(&r->gdb, q->gdb, r->vm, e);
	if (!rc)
		rc = begin_backends(r, e);
	return rc ? rc : vm_start(r->vm, e);
}

/* -- The end --------------------------------------------------------------------------------------------------------------- */

static void take_down(struct qemu_vm *r, int flush_ms)
{
	struct qemu *q = r->q;

	stopper_impatient(&r->stopper);
	if (r->vm)
		vm_end_calls(r->vm);
	for (unsigned i = 0; i < q->n_monitors; i++)
		monitor_free(q->monitor[i].m);
	gdb_free(r->gdb);
	for (unsigned i = 0; r->vm && i < q->n_chrs; i++)
		if (q->chr[i].chr)
			chr_flush(q->chr[i].chr, q->chr[i].monitor && !q->chr[i].mux ? FLUSH_STOPPED_MS : flush_ms);
	screen_close(&q->screen);
	vm_free(r->vm);
	monitor_env_release(&r->env);
	if (q->pidfile)
		unlink(q->pidfile);
}

static int judge(const struct qemu *q, enum vm_end end, uint32_t code, const char *where)
{
	switch (end) {
	case VM_END_PANIC:
		return q->panic == PANIC_EXIT_FAILURE ? STATUS_FAILED : STATUS_OK;
	case VM_END_DEBUG_EXIT:
		return (int)(code * 2 + 1) & 0xff;
	case VM_END_ENGINE:
		return cli_fail("the engine cannot go on, on CPU %u at %s", code, where);
	default:
		return STATUS_OK; /* as QEMU ends: power off, a reset that is not carried out, a signal */
	}
}

static int see_through(struct qemu_vm *r, struct err *e)
{
	struct strbuf where = STRBUF_INIT;
	enum vm_end end;
	uint32_t code;
	bool again;
	int rc = 0, status;

	do {
		end = vm_wait(r->vm, &code);
		again = (end == VM_END_RESET || end == VM_END_TRIPLE_FAULT) && !r->q->no_reboot;
		if (again)
			rc = qemu_boot_recheck(r->q, e);
		if (again && !rc)
			rc = vm_reset(r->vm, e);
	} while (!rc && again);
	vm_over(r->vm);
	vm_print_cpu(r->vm, code, &where);
	take_down(r, end == VM_END_STOPPED ? FLUSH_STOPPED_MS : -1);
	status = rc ? cli_fail("%s", e->msg) : judge(r->q, end, code, where.buf);
	strbuf_release(&where);
	return status;
}

int qemu_run(struct qemu *q, int daemon_fd)
{
	struct qemu_vm r = { .q = q };
	struct err e = { "" };
	int status;

	stopper_block(&r.stopper);
	if (start(&r, &e)) {
		take_down(&r, 0);
		status = cli_fail("%s", e.msg);
	} else {
		qemu_daemon_ready(daemon_fd, STATUS_OK);
		status = see_through(&r, &e);
	}
	stopper_end(&r.stopper);
	return status;
}
