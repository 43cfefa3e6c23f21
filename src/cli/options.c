/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of doppel run: one table for parsing and help. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/chr/chr.h"
#include "base/bits.h"
#include "cli/firmware.h"
#include "cpu/engines.h"

#define ANSWERED 1 /* the option was a question: what a setter returns then */

void run_options_init(struct run_options *o)
{
	memset(o, 0, sizeof(*o));
	o->memory = DEFAULT_MEMORY;
	o->cpus = 1;
	o->cpu = "host";
	o->engine = engine_choose(NULL);
}

static int set_kernel(void *opts, const char *arg, struct err *e)
{
	((struct run_options *)opts)->kernel = arg;
	return 0;
}

static int set_initrd(void *opts, const char *arg, struct err *e)
{
	struct run_options *o = opts;

	if (o->n_initrds == VM_MAX_INITRDS)
		return err_set(e, EINVAL, "'%s': more than %u initrds; join some of them into one file", arg,
			       VM_MAX_INITRDS);
	o->initrd[o->n_initrds++] = arg;
	return 0;
}

static int set_append(void *opts, const char *arg, struct err *e)
{
	((struct run_options *)opts)->append = arg;
	return 0;
}

static int set_firmware(void *opts, const char *arg, struct err *e)
{
	return firmware_option(opts, arg, e);
}

static int set_boot(void *opts, const char *arg, struct err *e)
{
	struct run_options *o = opts;

	o->boot_given = true;
	return parse_boot(arg, &o->boot, e);
}

static int set_smbios(void *opts, const char *arg, struct err *e)
{
	return smbios_parse(&((struct run_options *)opts)->smbios, arg, e);
}

static int set_rtc(void *opts, const char *arg, struct err *e)
{
	return parse_rtc_base(arg, &((struct run_options *)opts)->rtc_offset_s, e);
}

int run_set_boot_disk(void *opts, const char *arg, struct err *e)
{
	struct run_options *o = opts;

	if (o->boot_disk)
		return err_set(e, EINVAL, "'%s': there is a disk to boot already, '%s'; give others with --disk", arg, o->boot_disk);
	o->boot_disk = arg;
	return device_options_add(&o->devices, "disk", arg, e);
}

static int set_memory(void *opts, const char *arg, struct err *e)
{
	return parse_memory(arg, &((struct run_options *)opts)->memory, e);
}

static int set_cpus(void *opts, const char *arg, struct err *e)
{
	return parse_number(arg, "number of CPUs", 1, PC_MAX_CPUS, &((struct run_options *)opts)->cpus, e);
}

/* Print what a question was answered with. */
static int answer(struct strbuf *sb)
{
	fputs(sb->buf, stdout);
	strbuf_release(sb);
	return ANSWERED;
}

/* The frequency and number of CPUs do not matter for whether the policy can be made. */
static int set_cpu(void *opts, const char *arg, struct err *e)
{
	struct cpuid_policy p;
	struct strbuf sb = STRBUF_INIT;

	if (!strcmp(arg, "help")) {
		cpuid_print_models(&sb);
		return answer(&sb);
	}
	((struct run_options *)opts)->cpu = arg;
	return cpuid_policy_init(&p, arg, 1, 1000000000, e);
}

static int set_engine(void *opts, const char *arg, struct err *e)
{
	struct run_options *o = opts;
	struct strbuf sb = STRBUF_INIT;

	if (!strcmp(arg, "help")) {
		engine_print_names(&sb);
		return answer(&sb);
	}
	return engine_parse(&o->engine, &o->stack_window, arg, e);
}

static int set_serial(void *opts, const char *arg, struct err *e)
{
	struct run_options *o = opts;

	if (o->n_serial == PC_SERIAL_PORTS)
		return err_set(e, EINVAL, "'%s': the machine has %u serial ports; leave one out", arg, PC_SERIAL_PORTS);
	for (unsigned i = 0; i < o->n_serial; i++)
		if (!strcmp(o->serial[i], arg) && strcmp(arg, "null") && strcmp(arg, "pty"))
			return err_set(e, EINVAL, "'%s': two serial ports cannot share it; use another for one", arg);
	o->serial[o->n_serial++] = arg;
	return chr_check(arg, e);
}

static int set_disk(void *opts, const char *arg, struct err *e)
{
	return device_options_add(&((struct run_options *)opts)->devices, "disk", arg, e);
}

static int set_cdrom(void *opts, const char *arg, struct err *e)
{
	((struct run_options *)opts)->boot_medium = true;
	return device_options_add(&((struct run_options *)opts)->devices, "cdrom", arg, e);
}

static int set_floppy(void *opts, const char *arg, struct err *e)
{
	((struct run_options *)opts)->boot_medium = true;
	return device_options_add(&((struct run_options *)opts)->devices, "floppy", arg, e);
}

static int set_ephemeral(void *opts, const char *arg, struct err *e)
{
	((struct run_options *)opts)->devices.ephemeral = true;
	return 0;
}

static int set_share(void *opts, const char *arg, struct err *e)
{
	return device_options_add(&((struct run_options *)opts)->devices, "share", arg, e);
}

static int set_balloon(void *opts, const char *arg, struct err *e)
{
	return device_options_add(&((struct run_options *)opts)->devices, "balloon", arg, e);
}

static int set_vsock(void *opts, const char *arg, struct err *e)
{
	return device_options_add(&((struct run_options *)opts)->devices, "vsock", arg, e);
}

static int set_net(void *opts, const char *arg, struct err *e)
{
	return device_options_add(&((struct run_options *)opts)->devices, "net", arg, e);
}

/* "help" lists the drivers, "DRIVER,help" its properties. */
static int set_device(void *opts, const char *arg, struct err *e)
{
	const char *comma = strchr(arg, ',');
	const struct device_driver *d = NULL;
	struct strbuf sb = STRBUF_INIT;
	char *name;

	if (!strcmp(arg, "help")) {
		device_drivers_print(&sb);
		return answer(&sb);
	}
	if (comma && !strcmp(comma, ",help")) {
		name = strndup(arg, (size_t)(comma - arg));
		BUG_ON(!name);
		d = device_driver_find(name);
		free(name);
	}
	if (!d)
		return device_options_add(&((struct run_options *)opts)->devices, "device", arg, e);
	device_driver_print(d, &sb);
	return answer(&sb);
}

static int set_vga(void *opts, const char *arg, struct err *e)
{
	return screen_set_vga(&((struct run_options *)opts)->screen, arg, e);
}

static int set_display(void *opts, const char *arg, struct err *e)
{
	return screen_add_viewer(&((struct run_options *)opts)->screen, arg, e);
}

static int set_control(void *opts, const char *arg, struct err *e)
{
	((struct run_options *)opts)->control = arg;
	return *arg ? 0 : err_set(e, EINVAL, "control: no path for the socket; give one, as in --control vm.sock");
}

static int set_qmp(void *opts, const char *arg, struct err *e)
{
	((struct run_options *)opts)->qmp = arg;
	return *arg ? 0 : err_set(e, EINVAL, "qmp: no path for the socket; give one, as in --qmp vm.qmp");
}

static int set_gdb(void *opts, const char *arg, struct err *e)
{
	((struct run_options *)opts)->gdb = arg;
	return 0;
}

static int set_trace(void *opts, const char *arg, struct err *e)
{
	return trace_parse(&((struct run_options *)opts)->trace, arg, e);
}

#define FLAG_SETTER(field)                                                       \
	static int set_##field(void *opts, const char *arg, struct err *e)       \
	{                                                                        \
		((struct run_options *)opts)->field = true;                      \
		return 0;                                                        \
	}
FLAG_SETTER(debug_exit)
FLAG_SETTER(lockstep)
FLAG_SETTER(no_reboot)
FLAG_SETTER(stats)
FLAG_SETTER(paused)
FLAG_SETTER(perf_map)
FLAG_SETTER(quiet)
FLAG_SETTER(verbose)

const struct cli_option run_option_table[] = {
	{ "kernel", "FILE", "bzImage, ELF with PVH note or Multiboot [Debian's]", set_kernel },
	{ "initrd", "FILE", "initial RAM disk or module; can be given again", set_initrd },
	{ "append", "TEXT", "kernel command line [console=ttyS0]; added to Debian's", set_append },
	{ "firmware", "FILE", "ROM to start [SeaBIOS, with a disk to boot]; ovmf: UEFI", set_firmware },
	{ "boot", "ORDER,...", "drives: a floppy, c disk, d CD, n net; menu=on, once=", set_boot },
	{ "smbios", "type=N,...", "how it names itself: product=, serial=, uuid= ...", set_smbios },
	{ "rtc", "BASE", "clock chip at the start: utc, localtime or a date [utc]", set_rtc },
	{ "memory", "SIZE", "RAM, as in 512M or 1.5G [512M]", set_memory },
	{ "cpus", "N", "virtual CPUs [1]", set_cpus },
	{ "cpu", "MODEL", "model, +feature, -feature by commas [host]; 'help' lists", set_cpu },
	{ "engine", "NAME", "how guest code is run [auto]; 'help' lists", set_engine },
	{ "lockstep", NULL, "compare with the reference, block by block", set_lockstep },
	{ "serial", "PORT", "COM1 (then COM2) is stdio, pty, file:F, unix:P or null", set_serial },
	{ "disk", "FILE,...", "disk; if=ide, readonly, cache=, format=, bps= ... follow", set_disk },
	{ "cdrom", "FILE", "CD or DVD in a drive (IDE)", set_cdrom },
	{ "floppy", "FILE", "disk in a floppy drive, A: then B:; readonly follows", set_floppy },
	{ "ephemeral", NULL, "what is written to disks is gone at the end", set_ephemeral },
	{ "net", "NETWORK,...", "card on user[,publish=H:G], tap=NAME, switch=PATH, none", set_net },
	{ "share", "DIR[:TAG]", "host directory, /mnt/TAG; else mount -t virtiofs TAG", set_share },
	{ "vga", "CARD", "std or none [std with firmware or --display]", set_vga },
	{ "display", "KIND", "see it by vnc=:N, vnc=unix:P or web=PORT; none", set_display },
	{ "balloon", "SIZE", "memory that the guest gives back at once, as 0 or 256M", set_balloon },
	{ "vsock", "PATH[,cid=N]", "sockets without a network: CONNECT PORT, PATH_PORT", set_vsock },
	{ "device", "NAME,...", "any device; 'help' and 'NAME,help' list them", set_device },
	{ "no-reboot", NULL, "end when the guest reboots", set_no_reboot },
	{ "debug-exit", NULL, "a byte V to port 0xf4 ends with status 2V+1", set_debug_exit },
	{ "stats", NULL, "print statistics at the end", set_stats },
	{ "control", "PATH", "socket for 'doppel stats' and 'doppel screendump'", set_control },
	{ "qmp", "PATH", "socket for QEMU's monitor protocol", set_qmp },
	{ "gdb", "WHERE", "listen for gdb at tcp:[HOST]:PORT or unix:PATH", set_gdb },
	{ "paused", NULL, "stand still until gdb or a monitor lets it go on", set_paused },
	{ "perf-map", NULL, "tell perf(1) about translated code: /tmp/perf-PID.map", set_perf_map },
	{ "trace", "bt[,...]", "show blocks as translated; file=, from=, to= follow", set_trace },
	{ "quiet", NULL, "print errors only", set_quiet },
	{ "verbose", NULL, "say more about what is done", set_verbose },
	{ 0 },
};
