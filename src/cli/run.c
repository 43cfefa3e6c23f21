/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel run: make a virtual machine from the options, and see it to its end. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "backend/chr/chr.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/default_guest.h"
#include "cli/file.h"
#include "cli/firmware.h"
#include "cli/guest_stdin.h"
#include "cli/options.h"
#include "cli/perfmap.h"
#include "cli/qemu.h"
#include "cli/stopper.h"
#include "cpu/engines.h"
#include "monitor/control.h"
#include "monitor/gdb.h"
#include "monitor/monitor.h"
#include "vm/vm.h"

#define FLUSH_STOPPED_MS 1000 /* how long a slow reader may hold up somebody who wants to leave */
#define SEABIOS          "/usr/share/seabios/bios-256k.bin" /* where Debian's package has it */
#define WIPE_LINE        "\r\033[K"

static char *const script_shell[] = { (char[]){ "sh" }, NULL };

struct run {
	struct run_options o;
	char *const *command; /* what the default guest runs; NULL: a shell, or the user's own kernel */
	bool firmware;              /* it starts, and finds a disk to boot */
	bool own_kernel, own_guest; /* the user's kernel; nothing of the default guest's file system */
	struct guest_request request;
	struct strbuf shares; /* of request */
	struct default_guest guest;
	struct mapped_file rom, kernel, initrd[VM_MAX_INITRDS];
	struct guest_stdin *stdin_feed;
	struct vm_config cfg;
	struct stopper stopper;
	struct vm *vm;
	struct control *control;
	struct gdb *gdb;
	struct chr *qmp_chr;
	struct monitor *qmp;
	struct monitor_env monitor_env;
	struct screen screen;
	bool starting_shown;
};

/* -- Before the start: all is checked, and nothing that was there is changed --------------------- */

static bool uses_stdio(const struct run *r)
{
	for (unsigned i = 0; i < r->o.n_serial; i++)
		if (!strcmp(r->o.serial[i], "stdio"))
			return true;
	return false;
}

/* Options that do not go together: usage errors. Then what the default guest shall do. */
static int check_options(struct run *r, struct err *e)
{
	if (!r->o.n_serial)
		r->o.serial[r->o.n_serial++] = "stdio";
	r->own_kernel = r->o.kernel;
	/* A medium may be for a guest that is started otherwise. */
	r->firmware = r->o.firmware || r->o.boot_disk || (r->o.boot_medium && !r->o.kernel && !r->o.n_initrds && !r->command);
	r->own_guest = r->o.kernel || r->o.n_initrds || r->firmware;
	if (r->firmware && (r->o.kernel || r->o.n_initrds || r->o.append))
		return err_set(e, EINVAL, "firmware starts what it finds on a disk; leave out --kernel, --initrd and --append, or the disk and "
			       "--firmware");
	if (r->o.boot_given && !r->firmware)
		return err_set(e, EINVAL, "--boot: firmware reads it, and none starts here; name a disk to boot, or give --firmware");
	if (r->command && r->own_guest)
		return err_set(e, EINVAL, "command '%s': the default guest runs it; leave out --kernel, --initrd, --firmware and the disk to boot",
			       r->command[0]);
	if (r->command && r->o.debug_exit)
		return err_set(e, EINVAL, "command '%s': its status comes by the debug exit port; leave out --debug-exit",
			       r->command[0]);
	if (r->o.gdb && r->o.lockstep)
		return err_set(e, EINVAL, "--gdb: lockstep compares whole blocks, a debugger stops within them; leave out --lockstep");
	if (r->o.paused && !r->o.gdb && !r->o.qmp)
		return err_set(e, EINVAL, "--paused: there is nobody to let it go on; add --gdb WHERE or --qmp PATH");
	if (r->o.trace.on && !r->o.engine->dump_block)
		return err_set(e, EINVAL, "--trace bt: the engine '%s' translates nothing; use --engine bt", r->o.engine->name);
	r->request.stdin_tty = isatty(STDIN_FILENO);
	/* "doppel run < script": nobody is there for an interactive shell. */
	if (!r->command && !r->own_guest && !r->request.stdin_tty && uses_stdio(r))
		r->command = script_shell;
	r->request.argv = r->command;
	r->request.stdout_tty = isatty(STDOUT_FILENO) && uses_stdio(r);
	r->request.term = getenv("TERM");
	r->request.kernel_log = r->o.verbose;
	r->request.append = r->o.append;
	if (!r->own_guest && guest_wants_stdin(&r->request) && r->o.n_serial > 1)
		return err_set(e, EINVAL, "command '%s': its standard input takes the second serial port; leave out '%s'",
			       r->command[0], r->o.serial[1]);
	return 0;
}

static void ask_terminal_size(struct guest_request *rq)
{
	struct winsize w;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w))
		return;
	rq->rows = w.ws_row;
	rq->cols = w.ws_col;
}

static int find_firmware(struct run *r, struct err *e)
{
	const char *path = r->o.firmware ? r->o.firmware : SEABIOS;
	int rc = file_map(&r->rom, path, "firmware", e);

	r->cfg.firmware = file_blob(&r->rom);
	if (rc == -ENOENT && !r->o.firmware)
		return err_set(e, ENOENT, "firmware '%s': it is not there; install Debian's package seabios, or give --firmware FILE", path);
	return rc ? rc : firmware_make_vars(&r->o, e);
}

/* Kernel, initrds and command line, from the user or the default guest. */
static int find_guest(struct run *r, struct err *e)
{
	struct vm_config *c = &r->cfg;
	int rc;

	c->append = r->o.append ? r->o.append : DEFAULT_APPEND;
	if (r->firmware)
		return find_firmware(r, e);
	if (r->own_kernel) {
		rc = file_map(&r->kernel, r->o.kernel, "kernel", e);
		c->kernel = file_blob(&r->kernel);
	} else {
		ask_terminal_size(&r->request);
		device_options_needs(&r->o.devices, &r->request.drivers, &r->request.dhcp, &r->shares);
		r->request.shares = r->shares.buf;
		rc = default_guest_prepare(&r->guest, &r->request, e);
		c->kernel = file_blob(&r->guest.kernel);
	}
	for (unsigned i = 0; !rc && i < r->o.n_initrds; i++) {
		rc = file_map(&r->initrd[i], r->o.initrd[i], "initrd", e);
		c->initrd[c->n_initrds++] = file_blob(&r->initrd[i]);
	}
	if (!rc && !r->own_guest) {
		c->append = r->guest.cmdline.buf;
		for (unsigned i = 0; i < r->guest.n_initrds; i++)
			c->initrd[c->n_initrds++] = r->guest.initrds[i];
	}
	return rc;
}

static void leave_out_of_memory(const struct run *r)
{
	if (r->own_kernel)
		file_idle(&r->kernel);
	else if (!r->firmware)
		file_idle(&r->guest.kernel);
	if (!r->own_guest)
		file_idle(&r->guest.initrd);
	if (!r->own_guest && r->request.drivers)
		file_idle(&r->guest.drivers);
	for (unsigned i = 0; i < r->o.n_initrds; i++)
		file_idle(&r->initrd[i]);
}

static int open_serial_ports(struct run *r, struct err *e)
{
	bool feed = !r->own_guest && guest_wants_stdin(&r->request);
	int rc = feed ? guest_stdin_new(&r->stdin_feed, e) : 0;

	for (unsigned i = 0; !rc && i < r->o.n_serial; i++)
		rc = chr_open(&r->cfg.serial[i], r->o.serial[i], e);
	if (!rc && feed)
		rc = chr_open(&r->cfg.serial[1], guest_stdin_chr(r->stdin_feed), e);
	return rc;
}

/* -- The start --------------------------------------------------------------------------------------- */

/* A line that goes away again: with the guest's first output, or with an error. */
static void show_starting(struct run *r)
{
	if (r->o.quiet || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || !uses_stdio(r))
		return;
	printf("doppel: starting; Ctrl-A x leaves, Ctrl-A h helps");
	fflush(stdout);
	r->starting_shown = true;
	for (unsigned i = 0; i < r->o.n_serial; i++)
		if (!strcmp(r->o.serial[i], "stdio"))
			chr_set_preface(r->cfg.serial[i], WIPE_LINE);
}

static void wipe_starting(struct run *r)
{
	bool waiting = false;

	if (!r->starting_shown)
		return;
	r->starting_shown = false;
	for (unsigned i = 0; i < r->o.n_serial; i++)
		if (r->cfg.serial[i] && chr_set_preface(r->cfg.serial[i], NULL))
			waiting = true;
	if (waiting) {
		printf(WIPE_LINE);
		fflush(stdout);
	}
}

static void say_where(const struct run *r)
{
	for (unsigned i = 0; i < r->o.n_serial; i++) {
		const char *s = r->o.serial[i];

		if (!r->o.quiet && (!strcmp(s, "pty") || !strncmp(s, "unix:", 5)))
			fprintf(stderr, "doppel: serial port COM%u is %s\n", i + 1, chr_where(r->cfg.serial[i]));
	}
}

static void say_loaded(const struct boot_info *b)
{
	log_msg(LOG_INFO, "%s: %s%s, entry %#" PRIx64 ", kernel %#" PRIx64 "-%#" PRIx64 ", initrd %#" PRIx64 "-%#" PRIx64,
		b->format_name, b->compression ? b->compression : "not compressed", b->direct ? ", direct" : "", b->entry,
		b->kernel_start, b->kernel_end, b->initrd_start, b->initrd_end);
}

static int add_debug_exit(struct vm_config *c, struct err *e)
{
	struct device_config *d = vm_config_add_device(c, "isa-debug-exit", e);

	return d ? device_prop_set(d, "iobase", DEBUG_EXIT_PORT_TEXT, e) : -E2BIG;
}

/* The reference, if it was not asked for: that is worth a line. */
static void say_slow_engine(const struct engine_ops *engine)
{
	const char *why;

	if (engine == engine_choose(&why) && engine == &interp_engine)
		log_msg(LOG_WARN, "the translator cannot run here: %s; the reference engine is slow", why);
}

static int start_qmp(struct run *r, struct err *e)
{
	struct monitor_env *env = &r->monitor_env;
	struct strbuf spec = STRBUF_INIT;
	int rc;

	strbuf_addf(&spec, "unix:%s", r->o.qmp);
	rc = chr_open(&r->qmp_chr, spec.buf, e);
	strbuf_release(&spec);
	if (rc)
		return rc;
	monitor_env_init(env);
	env->vm = r->vm;
	env->cfg = &r->cfg;
	env->version = QEMU_VERSION;
	for (unsigned i = 0; i < r->cfg.n_devices; i++)
		if (r->cfg.device[i].blk)
			env->drive[env->n_drives++] = (struct monitor_drive){ r->cfg.device[i].id ? r->cfg.device[i].id : r->cfg.device[i].driver,
									      r->cfg.device[i].blk };
	r->qmp = monitor_new(env, r->qmp_chr, true, false, false);
	return chr_begin(r->qmp_chr, e);
}

static int start(struct run *r, struct err *e)
{
	struct vm_config *c = &r->cfg;
	struct boot_info info;
	int rc;

	c->memory = r->o.memory;
	c->cpus = (unsigned)r->o.cpus;
	c->count_jumps = r->o.stats;
	c->cpu = r->o.cpu;
	c->engine = r->o.engine;
	c->stack_window = r->o.stack_window;
	c->lockstep = r->o.lockstep;
	c->boot = r->o.boot;
	c->smbios = r->o.smbios;
	c->rtc_offset_s = r->o.rtc_offset_s;
	say_slow_engine(c->engine);
	rc = r->o.perf_map ? perfmap_open(&c->code_listener, e) : 0;
	if (!rc && r->o.trace.on)
		rc = trace_open(&r->o.trace, &c->block_tracer, e);
	if (rc)
		return rc;
	if (r->o.debug_exit || r->command) {
		rc = add_debug_exit(c, e);
		if (rc)
			return rc;
	}
	rc = screen_open(&r->screen, &r->o.screen, r->firmware, c, e);
	if (!rc)
		rc = device_options_open(&r->o.devices, c, e);
	if (rc)
		return rc;
	show_starting(r);
	rc = vm_new(&r->vm, c, &info, e);
	if (rc)
		return rc;
	leave_out_of_memory(r);
	if (!r->firmware)
		say_loaded(&info);
	say_where(r);
	if (!r->o.quiet)
		screen_say_where(&r->screen);
	rc = stopper_start(&r->stopper, r->vm, e);
	if (!rc && r->o.control)
		rc = control_new(&r->control, r->o.control, r->vm, e);
	if (!rc && r->o.qmp)
		rc = start_qmp(r, e);
	if (!rc && r->o.gdb)
		rc = gdb_new(&r->gdb, r->o.gdb, r->vm, e);
	if (r->o.paused)
		vm_hold(r->vm, VM_HOLD_USER);
	for (unsigned i = 0; !rc && i < PC_SERIAL_PORTS; i++) {
		if (!c->serial[i])
			continue;
		chr_on_leave(c->serial[i], stopper_leave, &r->stopper);
		rc = chr_begin(c->serial[i], e);
	}
	if (!rc)
		rc = device_options_begin(&r->o.devices, e);
	if (!rc && r->stdin_feed)
		rc = guest_stdin_start(r->stdin_feed, e);
	return rc ? rc : vm_start(r->vm, e);
}

/* -- The end ------------------------------------------------------------------------------------------- */

/* Linux' reboot=triple (or t): a triple fault is how this guest reboots. */
static bool reboots_by_triple_fault(const char *append)
{
	for (const char *p = strstr(append, "reboot="); p; p = strstr(p + 1, "reboot=")) {
		if (p != append && p[-1] != ' ')
			continue;
		for (const char *v = p + strlen("reboot="); *v && *v != ' ';) {
			if (*v == 't')
				return true;
			v += strcspn(v, ", ");
			v += *v == ',';
		}
	}
	return false;
}

/* Whether the end is a reboot to be carried out, and the files for it are still the same. */
static int check_reboot(struct run *r, enum vm_end end, bool *again, struct err *e)
{
	int rc = 0;

	if (end == VM_END_TRIPLE_FAULT && reboots_by_triple_fault(r->cfg.append))
		end = VM_END_RESET;
	/* A command's guest resets when it panics: there is nobody to come back for. */
	*again = end == VM_END_RESET && !r->o.no_reboot && !r->command;
	if (!*again)
		return 0;
	log_msg(LOG_INFO, "the guest reboots");
	if (r->firmware)
		return 0; /* it is in the machine */
	rc = file_recheck(r->own_kernel ? &r->kernel : &r->guest.kernel, e);
	if (!rc && !r->own_guest)
		rc = file_recheck(&r->guest.initrd, e);
	if (!rc && !r->own_guest && r->request.drivers)
		rc = file_recheck(&r->guest.drivers, e);
	for (unsigned i = 0; !rc && i < r->o.n_initrds; i++)
		rc = file_recheck(&r->initrd[i], e);
	return rc;
}

/* What ended the guest, for people, where it is not the normal way; and the exit status. */
static int judge_end(struct run *r, enum vm_end end, uint32_t code, const char *where)
{
	const char *command = r->command ? r->command[0] : NULL;

	if (end == VM_END_TRIPLE_FAULT && r->o.no_reboot && reboots_by_triple_fault(r->cfg.append))
		end = VM_END_RESET;
	switch (end) {
	case VM_END_POWER_OFF:
		return command ? cli_fail("command '%s': the guest powered off before it ended", command) : STATUS_OK;
	case VM_END_DEBUG_EXIT:
		return (int)(command ? code : code * 2 + 1) & 0xff;
	case VM_END_RESET:
		return command ? cli_fail("command '%s': the guest rebooted or panicked before it ended; --verbose shows "
					  "the kernel's messages", command) : STATUS_OK;
	case VM_END_TRIPLE_FAULT:
		return cli_fail("the guest died of a triple fault on CPU %u at %s", code, where);
	case VM_END_PANIC:
	case VM_END_ENGINE:
		return STATUS_FAILED;
	case VM_END_STOPPED:
		return code ? STATUS_SIGNAL + (int)code : STATUS_OK;
	}
	return STATUS_FAILED;
}

/*
 * Hand all accepted output on, for as long as it takes unless somebody wants to leave; then free the
 * machine and its consoles, with which the terminal is as it was.
 */
static void take_down(struct run *r, int flush_ms)
{
	stopper_impatient(&r->stopper);
	control_free(r->control);
	if (r->vm)
		vm_end_calls(r->vm);
	monitor_free(r->qmp);
	gdb_free(r->gdb);
	if (r->qmp_chr)
		chr_flush(r->qmp_chr, FLUSH_STOPPED_MS);
	for (unsigned i = 0; r->vm && i < r->o.n_serial; i++)
		if (r->cfg.serial[i])
			chr_flush(r->cfg.serial[i], flush_ms);
	guest_stdin_free(r->stdin_feed);
	screen_close(&r->screen);
	vm_free(r->vm);
	monitor_env_release(&r->monitor_env);
	chr_free(r->qmp_chr);
	device_options_release(&r->o.devices);
	screen_release(&r->screen);
	wipe_starting(r);
	for (unsigned i = 0; i < PC_SERIAL_PORTS; i++)
		chr_free(r->cfg.serial[i]);
}

/* From the start to the end; returns the exit status. */
static int see_through(struct run *r, struct err *e)
{
	struct strbuf stats = STRBUF_INIT, where = STRBUF_INIT;
	enum vm_end end;
	uint32_t code;
	bool again;
	int rc, status;

	do {
		end = vm_wait(r->vm, &code);
		rc = check_reboot(r, end, &again, e);
		if (!rc && again)
			rc = vm_reset(r->vm, e);
	} while (!rc && again);
	vm_over(r->vm);
	vm_print_stats(r->vm, &stats);
	vm_print_cpu(r->vm, code, &where);
	take_down(r, end == VM_END_STOPPED ? FLUSH_STOPPED_MS : -1);
	if (r->o.stats)
		fputs(stats.buf, stderr);
	status = rc ? cli_fail("%s", e->msg) : judge_end(r, end, code, where.buf);
	strbuf_release(&stats);
	strbuf_release(&where);
	return status;
}

static void release(struct run *r)
{
	device_options_release(&r->o.devices); /* without a machine; else they have gone with it */
	default_guest_release(&r->guest);
	strbuf_release(&r->shares);
	file_unmap(&r->rom);
	file_unmap(&r->kernel);
	for (unsigned i = 0; i < r->o.n_initrds; i++)
		file_unmap(&r->initrd[i]);
}

static int run(int argc, char **argv)
{
	struct run r = { 0 };
	struct err e = { "" };
	int status, first;

	run_options_init(&r.o);
	first = cli_parse(&run_command, argc, argv, &r.o, &status);
	if (first < 0) {
		release(&r);
		return status;
	}
	if (first < argc)
		r.command = argv + first;
	if (check_options(&r, &e)) {
		release(&r);
		cli_fail("%s", e.msg);
		return STATUS_USAGE;
	}
	log_set_level(r.o.verbose ? LOG_INFO : r.o.quiet ? LOG_ERROR : LOG_WARN);
	/* Until all that may take long is there, signals end the program as they always do. */
	if (find_guest(&r, &e)) {
		release(&r);
		return cli_fail("%s", e.msg);
	}
	stopper_block(&r.stopper);
	if (open_serial_ports(&r, &e) || start(&r, &e)) {
		take_down(&r, 0);
		status = cli_fail("%s", e.msg);
	} else {
		status = see_through(&r, &e);
	}
	stopper_end(&r.stopper);
	release(&r);
	return status;
}

const struct cli_command run_command = {
	.name = "run",
	.synopsis = "[OPTIONS] [DISK | -- COMMAND ARGS...]",
	.summary = "run a virtual machine",
	.details = "Boot Debian's kernel to a shell, or to COMMAND and exit with its status; or\n"
		   "boot a kernel of your own. On a terminal Ctrl-A x leaves, Ctrl-A h helps.\n",
	.options = run_option_table,
	.notes = "\n'doppel run' needs no /dev/kvm and no root. More in 'man doppel'.",
	.operand = run_set_boot_disk,
	.run = run,
};
