/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The front that speaks QEMU's command line: what its options fill.
 *
 * The options are a table (qemu_table.c). Each has a phase; all options of a phase are carried out, in the order in which they
 * stand on the command line, before those of the next, so that -device may stand before the -drive that it names. What an
 * option is about is in the file of its topic: qemu_machine.c, qemu_block.c, ...
 */
#ifndef DOPPEL_CLI_QEMU_H
#define DOPPEL_CLI_QEMU_H

#include "backend/block/blk.h"
#include "backend/chr/chr.h"
#include "backend/net/net.h"
#include "base/list.h"
#include "cli/command.h"
#include "cli/file.h"
#include "cli/keyval.h"
#include "cli/screen.h"
#include "cli/trace.h"
#include "monitor/monitor.h"
#include "vm/config.h"

#define QEMU_MAX_BACKENDS 64 /* of each kind */
#define QEMU_MAX_MONITORS 8
#define QEMU_MAX_DIRS     8
#define QEMU_FLASHES      2
#define QEMU_ANSWERED     1  /* an option was a question and has been answered: the program ends with success */
#define QEMU_VERSION      "7.2.0" /* whose command line and machine protocol this is */

enum qemu_option_is { QEMU_WORKS, QEMU_NO_OP, QEMU_REFUSED };

enum qemu_phase {
	PHASE_NONE,     /* no-ops and refused options */
	PHASE_PROCESS,  /* scalars: nothing is opened */
	PHASE_OBJECT,   /* -object, -global */
	PHASE_BACKEND,  /* -chardev, -netdev, -blockdev */
	PHASE_DRIVE,    /* -drive and what is short for it */
	PHASE_PORT,     /* -serial, -monitor, ...: what is plugged in without a -device of its own */
	PHASE_DEVICE,
	PHASE_COUNT,
};

struct qemu;

struct qemu_option {
	const char *name;
	const char *arg;  /* what help calls the argument; NULL: it takes none */
	enum qemu_option_is is;
	const char *help; /* what it does; why it changes nothing; why it is refused */
	enum qemu_phase phase;
	int (*set)(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e);
	bool (*answer)(const char *arg); /* print the answer if the argument is a question; NULL: never */
};

/* Ends with a NULL name. */
extern const struct qemu_option qemu_option_table[];

struct qemu_given {
	const struct qemu_option *o;
	const char *arg;
};

/* A -chardev, or what -serial and its like open without one. */
struct qemu_chr {
	struct keyval k; /* where id points into */
	const char *id;  /* NULL: it has no name */
	struct chr *chr;
	const char *user; /* which option has it; NULL: none yet */
	bool mux;        /* a port and the monitor share it */
	bool is_stdio;
	char own_id[24]; /* for those that were given none */
	bool wait;       /* the machine starts when somebody has connected */
	bool monitor;    /* and a monitor is there */
};

/* Of the old -net, a card and a network make a pair. */
enum qemu_net_half { NET_HALF_NONE, NET_HALF_CARD, NET_HALF_NETWORK };

struct qemu_netdev {
	struct keyval k;
	const char *id, *user;
	struct net *net;
	char own_id[16];         /* for those that were given none */
	enum qemu_net_half half; /* what waits for its partner */
};

/* A -drive or a -blockdev node. */
struct qemu_drive {
	struct keyval k;
	const char *id, *user;
	struct blk_options o;
	struct blk *blk;
	char own_id[32]; /* for those that were given none */
	bool cdrom;
	bool protocol; /* a -blockdev that is just a file */
};

struct qemu_object {
	struct keyval k;
	const char *type, *id;
};

struct qemu_device {
	struct list node;
	struct keyval k;
};

struct qemu_monitor {
	struct qemu_chr *chr;
	bool control, pretty;
	struct monitor *m;
};

/* What becomes of the machine at certain ends. */
enum qemu_panic_action { PANIC_SHUTDOWN, PANIC_PAUSE, PANIC_EXIT_FAILURE, PANIC_NONE };

struct qemu {
	struct vm_config cfg;
	struct qemu_given *given;
	unsigned n_given;

	/* the process */
	bool daemonize, stopped, no_reboot, no_shutdown;
	const char *pidfile, *log_file;
	char name[64], process[64]; /* empty: none */
	enum qemu_panic_action panic;
	struct trace_option trace;
	const char *gdb;        /* where to wait for a debugger; NULL: nowhere */

	/* the machine */
	bool nodefaults, snapshot, microvm;
	bool explicit_smp;
	const char *kernel, *initrd, *append, *bios;
	const char *dir[QEMU_MAX_DIRS];
	unsigned n_dirs;
	struct strbuf cpu;      /* the model as our policy has it */
	struct mapped_file rom, kernel_file, initrd_file[VM_MAX_INITRDS];
	char rom_path[4096];
	char *initrd_text, *module_args[VM_MAX_INITRDS]; /* of Multiboot modules */
	struct mapped_file fw_file[VM_MAX_FW_FILES];
	struct keyval fw_text[VM_MAX_FW_FILES];
	unsigned n_fw_files;

	/* backends */
	struct qemu_chr chr[QEMU_MAX_BACKENDS];
	struct qemu_netdev netdev[QEMU_MAX_BACKENDS];
	struct qemu_drive drive[QEMU_MAX_BACKENDS];
	struct qemu_object object[QEMU_MAX_BACKENDS];
	struct keyval global[QEMU_MAX_BACKENDS];
	struct qemu_drive *flash[QEMU_FLASHES]; /* firmware in flash memory and its variables; NULL: none */
	unsigned n_chrs, n_netdevs, n_drives, n_objects, n_globals;
	struct list devices;    /* struct qemu_device */
	unsigned ide_taken, floppy_taken; /* a bit for each place that a drive has */

	/* ports */
	bool nographic, no_network;
	unsigned n_serial, n_parallel;
	bool monitor_given;
	struct qemu_monitor monitor[QEMU_MAX_MONITORS];
	unsigned n_monitors;
	const char *vga;
	struct screen_options screen_options;
	struct screen screen;
	char viewer[SCREEN_VIEWERS][512]; /* what screen_options refer to */
};

#define QEMU_SETTER(name) int name(struct qemu *q, const struct qemu_option *o, const char *arg, struct err *e)

/* qemu_machine.c */
QEMU_SETTER(qemu_set_machine);
QEMU_SETTER(qemu_set_accel);
QEMU_SETTER(qemu_set_cpu);
QEMU_SETTER(qemu_set_smp);
QEMU_SETTER(qemu_set_memory);
QEMU_SETTER(qemu_set_name);
bool qemu_answer_machine(const char *arg);
bool qemu_answer_accel(const char *arg);

/* qemu_cpu.c: the models and features by QEMU's names */
int qemu_cpu_spec(struct strbuf *out, const char *arg, struct err *e);
bool qemu_answer_cpu(const char *arg);

/* qemu_boot.c */
QEMU_SETTER(qemu_set_kernel);
QEMU_SETTER(qemu_set_initrd);
QEMU_SETTER(qemu_set_append);
QEMU_SETTER(qemu_set_bios);
QEMU_SETTER(qemu_set_dir);
QEMU_SETTER(qemu_set_boot);
QEMU_SETTER(qemu_set_rtc);
QEMU_SETTER(qemu_set_uuid);
QEMU_SETTER(qemu_set_smbios);
QEMU_SETTER(qemu_set_fw_cfg);
int qemu_boot_files(struct qemu *q, struct err *e); /* find and map what is to be started */
void qemu_boot_idle(const struct qemu *q);
int qemu_boot_recheck(const struct qemu *q, struct err *e);
void qemu_boot_release(struct qemu *q);

/* qemu_block.c */
QEMU_SETTER(qemu_add_drive);
QEMU_SETTER(qemu_add_blockdev);
QEMU_SETTER(qemu_add_disk);   /* -hda .. -hdd and the operand */
QEMU_SETTER(qemu_add_cdrom);
QEMU_SETTER(qemu_add_floppy); /* -fda, -fdb */
QEMU_SETTER(qemu_add_pflash);
QEMU_SETTER(qemu_set_snapshot);
int qemu_plug_flash(struct qemu *q, struct err *e);
struct qemu_drive *qemu_drive_find(struct qemu *q, const char *id);
int qemu_drive_open(struct qemu *q, struct qemu_drive *d, struct err *e);

/* qemu_device.c */
QEMU_SETTER(qemu_add_device);
QEMU_SETTER(qemu_add_global);
QEMU_SETTER(qemu_add_object);
QEMU_SETTER(qemu_set_nodefaults);
bool qemu_answer_device(const char *arg);
/* A device that another option asks for: as -device text. */
int qemu_plug(struct qemu *q, const char *what, const char *text, struct err *e);
const struct qemu_object *qemu_object_find(const struct qemu *q, const char *id);

/* qemu_net.c */
QEMU_SETTER(qemu_add_netdev);
QEMU_SETTER(qemu_add_nic);
QEMU_SETTER(qemu_add_net);
bool qemu_answer_netdev(const char *arg);
bool qemu_answer_nic(const char *arg);
int qemu_default_net(struct qemu *q, struct err *e);
struct qemu_netdev *qemu_netdev_find(struct qemu *q, const char *id);

/* qemu_chr.c */
QEMU_SETTER(qemu_add_chardev);
QEMU_SETTER(qemu_add_serial);
QEMU_SETTER(qemu_add_parallel);
QEMU_SETTER(qemu_add_debugcon);
QEMU_SETTER(qemu_add_monitor); /* -monitor, -qmp, -qmp-pretty */
QEMU_SETTER(qemu_add_mon);
bool qemu_answer_chardev(const char *arg);
int qemu_default_ports(struct qemu *q, struct err *e);
/* The -chardev of that name, taken by who; NULL with a message when there is none or somebody has it. */
struct chr *qemu_chr_use(struct qemu *q, const char *id, const char *who, struct err *e);
/* isa-serial: the next free port, or that one. */
int qemu_serial_use(struct qemu *q, struct keyval *k, struct err *e);

/* qemu_display.c */
QEMU_SETTER(qemu_set_display);
QEMU_SETTER(qemu_set_vnc);
QEMU_SETTER(qemu_set_vga);
QEMU_SETTER(qemu_set_nographic);
bool qemu_answer_display(const char *arg);
bool qemu_answer_vga(const char *arg);
int qemu_default_display(struct qemu *q, struct err *e);

/* qemu_process.c */
QEMU_SETTER(qemu_set_flag);   /* -S, -s, -no-reboot, -no-shutdown, -daemonize */
QEMU_SETTER(qemu_set_action);
QEMU_SETTER(qemu_set_gdb);
QEMU_SETTER(qemu_set_pidfile);
QEMU_SETTER(qemu_set_log);
QEMU_SETTER(qemu_set_log_file);
QEMU_SETTER(qemu_say_help);
QEMU_SETTER(qemu_say_version);
bool qemu_answer_log(const char *arg);
/* -daemonize: fork; the parent comes back with its exit status in *status, when the child has called qemu_daemon_ready(). */
int qemu_daemonize(const struct qemu *q, bool *parent, int *status, int *fd, struct err *e);
void qemu_daemon_ready(int fd, int status);
int qemu_write_pidfile(const struct qemu *q, struct err *e);

/* qemu_run.c: from the configuration to the exit status; daemon_fd as qemu_daemon_ready() takes it. */
int qemu_run(struct qemu *q, int daemon_fd);

/* qemu.c */
/* Whether argv[0] is one of the names under which this front is called. */
bool qemu_front_name(const char *argv0);
int qemu_front(int argc, char **argv);
extern const struct cli_command qemu_command;

#endif
