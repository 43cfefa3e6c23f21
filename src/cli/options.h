/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of doppel run. */
#ifndef DOPPEL_CLI_OPTIONS_H
#define DOPPEL_CLI_OPTIONS_H

#include <stdbool.h>
#include "cli/command.h"
#include "cli/devices.h"
#include "cli/screen.h"
#include "cli/trace.h"
#include "vm/config.h"

#define DEFAULT_MEMORY (512ull << 20)
#define DEFAULT_APPEND "console=ttyS0" /* for a kernel of the user's that got no --append */

struct run_options {
	const char *kernel;               /* NULL: the default guest's */
	const char *initrd[VM_MAX_INITRDS];
	unsigned n_initrds;
	const char *append;               /* NULL: not given */
	const char *firmware;             /* NULL: not given */
	const char *firmware_vars;        /* file of its variables; NULL: none was named */
	struct pc_boot boot;
	bool boot_given;
	struct smbios_config smbios;
	int64_t rtc_offset_s;
	const char *boot_disk;            /* the disk to be booted; NULL: none was named */
	bool boot_medium;            /* a CD or floppy disk, which firmware may boot */
	uint64_t memory;
	uint64_t cpus;
	const char *cpu;
	const struct engine_ops *engine;
	enum stack_window stack_window;
	const char *serial[PC_SERIAL_PORTS];
	unsigned n_serial;                /* 0: COM1 is stdio */
	struct device_options devices;
	struct screen_options screen;
	struct trace_option trace;
	const char *qmp;                  /* NULL: no monitor */
	const char *control;              /* NULL: no socket */
	const char *gdb;                  /* where to listen for it; NULL: not */
	bool paused, lockstep, debug_exit, no_reboot, stats, perf_map, quiet, verbose;
};

void run_options_init(struct run_options *o);

extern const struct cli_option run_option_table[];

/* The operand: a disk to boot. */
int run_set_boot_disk(void *opts, const char *arg, struct err *e);

#endif
