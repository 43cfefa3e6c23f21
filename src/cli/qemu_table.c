/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of qemu-system-x86_64 7.2: what works, what may be left out without harm and why, what is refused and why. */
#include "cli/qemu.h"

#define NO_USB    "there is no USB bus"
#define NO_WINDOW "there is no window; -vnc shows the screen"
#define NO_TPM    "there is no TPM"
#define NO_XEN    "this is no Xen domain"
#define NO_SAVED  "saved states and migration are not built"
#define NO_9P     "there is no 9p; share a directory by -device virtio-fs-pci,dir=DIR,tag=TAG"

#define WORKS(name, arg, phase, set, help)          { name, arg, QEMU_WORKS, help, PHASE_##phase, set, NULL }
#define ASKED(name, arg, phase, set, answer, help)  { name, arg, QEMU_WORKS, help, PHASE_##phase, set, answer }
#define NO_OP(name, arg, why)                       { name, arg, QEMU_NO_OP, why, PHASE_NONE, NULL, NULL }
#define REFUSED(name, arg, why)                     { name, arg, QEMU_REFUSED, why, PHASE_NONE, NULL, NULL }

const struct qemu_option qemu_option_table[] = {
	/* the machine */
	WORKS("h", NULL, PROCESS, qemu_say_help, "print this help"),
	WORKS("help", NULL, PROCESS, qemu_say_help, "print this help"),
	WORKS("version", NULL, PROCESS, qemu_say_version, "print the version"),
	ASKED("machine", "NAME,...", PROCESS, qemu_set_machine, qemu_answer_machine, "board [pc]; 'help' lists; accel=, graphics= ... follow"),
	ASKED("M", "NAME,...", PROCESS, qemu_set_machine, qemu_answer_machine, "the same as -machine"),
	ASKED("cpu", "MODEL,...", PROCESS, qemu_set_cpu, qemu_answer_cpu, "model, +feature, -feature, feature=on; 'help' lists"),
	ASKED("accel", "NAME,...", PROCESS, qemu_set_accel, qemu_answer_accel, "tcg: the translator [default]; interp: the reference"),
	WORKS("smp", "N,...", PROCESS, qemu_set_smp, "virtual CPUs [1]; sockets=, cores=, threads= multiply"),
	WORKS("m", "SIZE,...", PROCESS, qemu_set_memory, "RAM in MiB, or with a unit [128]"),
	WORKS("name", "TEXT,...", PROCESS, qemu_set_name, "the machine's name; process= names the process"),
	WORKS("uuid", "UUID", PROCESS, qemu_set_uuid, "the machine's UUID, in SMBIOS and query-uuid"),
	WORKS("smbios", "type=N,...", PROCESS, qemu_set_smbios, "texts of the SMBIOS tables"),
	WORKS("fw_cfg", "NAME,...", PROCESS, qemu_set_fw_cfg, "a file for the firmware: string= or file="),
	WORKS("rtc", "base=...", PROCESS, qemu_set_rtc, "the clock's start: utc, localtime or a date"),
	WORKS("global", "DRIVER.NAME=V", OBJECT, qemu_add_global, "a property of all devices of a driver"),
	WORKS("object", "TYPE,id=ID", OBJECT, qemu_add_object, "rng-random, rng-builtin, iothread or secret (file=)"),
	ASKED("device", "DRIVER,...", DEVICE, qemu_add_device, qemu_answer_device, "plug in a device; 'help' and 'DRIVER,help' list"),
	WORKS("nodefaults", NULL, PROCESS, qemu_set_nodefaults, "no devices that were not asked for"),

	/* what is started */
	WORKS("kernel", "FILE", PROCESS, qemu_set_kernel, "bzImage, PVH or Multiboot kernel, started without firmware"),
	WORKS("initrd", "FILE", PROCESS, qemu_set_initrd, "initial RAM disk; Multiboot modules by commas"),
	WORKS("append", "TEXT", PROCESS, qemu_set_append, "kernel command line"),
	WORKS("bios", "FILE", PROCESS, qemu_set_bios, "ROM to start [SeaBIOS]"),
	WORKS("L", "DIR", PROCESS, qemu_set_dir, "where ROMs are looked for first"),
	WORKS("boot", "order=...", PROCESS, qemu_set_boot, "order=, once=, menu=, splash-time=, reboot-timeout=, strict="),
	WORKS("pflash", "FILE", DRIVE, qemu_add_pflash, "the same as -drive if=pflash,format=raw,file=FILE"),

	/* disks */
	WORKS("drive", "file=F,...", DRIVE, qemu_add_drive, "a disk: if=, format=, media=, readonly=, cache=, id= ..."),
	WORKS("blockdev", "DRIVER,...", BACKEND, qemu_add_blockdev, "an image for a device: file, host_device, raw, qcow2, nbd"),
	WORKS("hda", "FILE", DRIVE, qemu_add_disk, "first IDE disk; also an operand"),
	WORKS("hdb", "FILE", DRIVE, qemu_add_disk, "second IDE disk"),
	WORKS("hdc", "FILE", DRIVE, qemu_add_disk, "third IDE disk"),
	WORKS("hdd", "FILE", DRIVE, qemu_add_disk, "fourth IDE disk"),
	WORKS("cdrom", "FILE", DRIVE, qemu_add_cdrom, "CD-ROM, in the place of the third disk"),
	WORKS("fda", "FILE", DRIVE, qemu_add_floppy, "first floppy disk"),
	WORKS("fdb", "FILE", DRIVE, qemu_add_floppy, "second floppy disk"),
	WORKS("snapshot", NULL, PROCESS, qemu_set_snapshot, "writes go to a throw-away overlay"),

	/* the network */
	ASKED("netdev", "TYPE,id=ID", BACKEND, qemu_add_netdev, qemu_answer_netdev, "user, tap, socket, stream or dgram for a device"),
	ASKED("nic", "TYPE,...", DRIVE, qemu_add_nic, qemu_answer_nic, "a card and its network; none: no card"),
	WORKS("net", "nic|user...", DRIVE, qemu_add_net, "the old way: nic with user or tap; none"),

	/* bytes */
	ASKED("chardev", "TYPE,id=ID", BACKEND, qemu_add_chardev, qemu_answer_chardev, "stdio, pty, file, socket or null for a device"),
	WORKS("serial", "DEV", PORT, qemu_add_serial, "COM1, then COM2: stdio, mon:stdio, file:, unix:, tcp:, pty, chardev:, none"),
	WORKS("parallel", "DEV", PORT, qemu_add_parallel, "the printer's port"),
	WORKS("debugcon", "DEV", PORT, qemu_add_debugcon, "debug console at port 0xe9"),
	WORKS("monitor", "DEV", PORT, qemu_add_monitor, "the monitor for people"),
	WORKS("qmp", "DEV", PORT, qemu_add_monitor, "the monitor for programs (QMP)"),
	WORKS("qmp-pretty", "DEV", PORT, qemu_add_monitor, "the same with indented answers"),
	WORKS("mon", "chardev=ID,...", PORT, qemu_add_mon, "a monitor on a -chardev; mode=readline|control, pretty="),

	/* the screen */
	ASKED("display", "TYPE,...", PROCESS, qemu_set_display, qemu_answer_display, "none, vnc=HOST:N or web=PORT"),
	WORKS("vnc", "HOST:N,...", PROCESS, qemu_set_vnc, "the screen through VNC; none: nowhere"),
	ASKED("vga", "TYPE", PROCESS, qemu_set_vga, qemu_answer_vga, "std or none"),
	WORKS("nographic", NULL, PROCESS, qemu_set_nographic, "no screen; serial port and monitor on the terminal"),

	/* the process */
	WORKS("S", NULL, PROCESS, qemu_set_flag, "wait for 'cont' before the start"),
	WORKS("s", NULL, PROCESS, qemu_set_flag, "the same as -gdb tcp::1234"),
	WORKS("gdb", "DEV", PROCESS, qemu_set_gdb, "let gdb connect: tcp:HOST:PORT or unix:PATH"),
	WORKS("no-reboot", NULL, PROCESS, qemu_set_flag, "end when the guest reboots"),
	WORKS("no-shutdown", NULL, PROCESS, qemu_set_flag, "stand still when the guest has powered off"),
	WORKS("action", "EVENT=ACTION", PROCESS, qemu_set_action, "reboot=, shutdown=, panic="),
	WORKS("pidfile", "FILE", PROCESS, qemu_set_pidfile, "write the process id there, as long as it runs"),
	WORKS("daemonize", NULL, PROCESS, qemu_set_flag, "go to the background when the machine is there"),
	ASKED("d", "ITEM,...", PROCESS, qemu_set_log, qemu_answer_log, "what to log; 'help' lists"),
	WORKS("D", "FILE", PROCESS, qemu_set_log_file, "where -d writes to [standard error]"),

	/* what can be left out without harm */
	NO_OP("no-user-config", NULL, "there are no configuration files"),
	NO_OP("enable-sync-profile", NULL, "the statistics count without it"),
	NO_OP("mem-prealloc", NULL, "memory is taken when the guest touches it; the guest sees no difference"),
	NO_OP("msg", "...", "the form of messages is ours"),
	NO_OP("singlestep", NULL, "every instruction can be seen by a debugger without it"),
	NO_OP("async-teardown", NULL, "the process ends as fast without it"),
	NO_OP("only-migratable", NULL, "there is no migration that a device could prevent"),
	NO_OP("compat", "...", "there is no deprecated interface"),
	NO_OP("no-fd-bootchk", NULL, "SeaBIOS of Debian boots floppies without the check"),
	NO_OP("no-hpet", NULL, "the board has one only by -device hpet"),
	NO_OP("k", "LANG", "keys come as positions or symbols of a US keyboard"),

	/* what is not built */
	REFUSED("enable-kvm", NULL, "guest code is translated; leave it out, or write -accel kvm:tcg"),
	REFUSED("numa", "...", "the machine has one memory node"),
	REFUSED("add-fd", "...", "descriptors are not taken over; name the file"),
	REFUSED("set", "...", "write the property into the option itself"),
	REFUSED("mem-path", "FILE", "guest memory is anonymous"),
	REFUSED("audio-help", NULL, "there is no sound card"),
	REFUSED("audio", "...", "there is no sound card"),
	REFUSED("audiodev", "...", "there is no sound card"),
	REFUSED("mtdblock", "FILE", "this board has no such flash memory; -drive if=pflash"),
	REFUSED("sd", "FILE", "there is no SD card"),
	REFUSED("fsdev", "...", NO_9P),
	REFUSED("virtfs", "...", NO_9P),
	REFUSED("iscsi", "...", "there is no iSCSI; serve the disk by NBD"),
	REFUSED("usb", NULL, NO_USB),
	REFUSED("usbdevice", "NAME", NO_USB),
	REFUSED("spice", "...", "there is no SPICE; -vnc shows the screen"),
	REFUSED("portrait", NULL, NO_WINDOW),
	REFUSED("rotate", "DEG", NO_WINDOW),
	REFUSED("full-screen", NULL, NO_WINDOW),
	REFUSED("win2k-hack", NULL, "the disks behave as they do; there is no such hack"),
	REFUSED("no-acpi", NULL, "the board has ACPI; tell the kernel acpi=off"),
	REFUSED("acpitable", "...", "the tables are the board's own"),
	REFUSED("tpmdev", "...", NO_TPM),
	REFUSED("dtb", "FILE", "a PC has no device tree"),
	REFUSED("dfilter", "...", "-d in_asm shows all blocks"),
	REFUSED("seed", "N", "random numbers come from the host"),
	REFUSED("xen-domid", "ID", NO_XEN),
	REFUSED("xen-attach", NULL, NO_XEN),
	REFUSED("xen-domid-restrict", NULL, NO_XEN),
	REFUSED("preconfig", NULL, "the machine is configured on the command line"),
	REFUSED("overcommit", "...", "guest memory is neither locked nor is the host's CPU managed"),
	REFUSED("loadvm", "NAME", NO_SAVED),
	REFUSED("incoming", "...", NO_SAVED),
	REFUSED("dump-vmstate", "FILE", NO_SAVED),
	REFUSED("option-rom", "FILE", "ROMs of cards are not loaded"),
	REFUSED("icount", "...", "instructions are not counted as time"),
	REFUSED("watchdog-action", "...", "there is no watchdog"),
	REFUSED("echr", "CHAR", "the escape key is Ctrl-A"),
	REFUSED("chroot", "DIR", "start it in a container of your own"),
	REFUSED("runas", "USER", "start it as that user"),
	REFUSED("sandbox", "...", "there is no system call filter"),
	REFUSED("readconfig", "FILE", "write the options on the command line"),
	REFUSED("trace", "...", "-d in_asm shows translated blocks"),
	REFUSED("plugin", "...", "there are no plugins"),
	{ 0 },
};
