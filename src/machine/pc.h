/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PC: RAM, processors and chips wired as on an i440FX-class board, and its life as a whole. */
#ifndef DOPPEL_MACHINE_PC_H
#define DOPPEL_MACHINE_PC_H

#include <stdbool.h>
#include <stdint.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "boot/boot.h"
#include "boot/smbios.h"
#include "cpu/cpuid.h"
#include "cpu/vcpu.h"
#include "irq/irq.h"
#include "mem/ram.h"
#include "mem/space.h"

struct acpi_platform;
struct blk;
struct chr;
struct device_config;
struct display;
struct input;
struct pc_chips;

#define PC_SERIAL_PORTS 2
#define PC_MAX_MEDIA    6  /* CD-ROM and floppy drives */
#define PC_MEDIA_ID     32
#define PC_MAX_FW_FILES 16
#define PC_MAX_CPUS     128 /* APIC ids are 8 bits, and 0xff is the broadcast */

/* What the machine asks of its owner. */
enum pc_event_type {
	PC_EVENT_SHUTDOWN, /* power is off: the guest is done */
	PC_EVENT_RESET,    /* the guest wants pc_reset(), or died of a triple fault, which is a reset on hardware */
	PC_EVENT_ERROR,    /* an engine cannot go on; it has logged why */
	PC_EVENT_DEBUG,    /* a vCPU has met a point of the debugger's, and waits to be paused; code: which */
	PC_EVENT_IO_ERROR, /* a disk's writes wait for space on the host; who says so has logged it */
	PC_EVENT_IO_SPACE, /* no disk's writes wait any more */
};

enum pc_cause {
	PC_CAUSE_ACPI_OFF,     /* soft-off, S5 */
	PC_CAUSE_DEBUG_EXIT,   /* isa-debug-exit: code is the value written */
	PC_CAUSE_TRIPLE_FAULT, /* code is the vCPU's index, as below */
	PC_CAUSE_KEYBOARD,     /* reset line of the i8042 */
	PC_CAUSE_PORT92,       /* fast reset */
	PC_CAUSE_CF9,          /* reset control register */
	PC_CAUSE_ENGINE,
	PC_CAUSE_HOST_FULL,
	PC_CAUSE_PANIC,        /* the guest has said so by pvpanic: code is the value written */
};

struct pc_event {
	enum pc_event_type type;
	enum pc_cause cause;
	uint32_t code;
};

#define PC_BOOT_DRIVES 3

/* What firmware shall boot. All zero: as it likes best. */
struct pc_boot {
	char order[PC_BOOT_DRIVES + 1]; /* kinds of drives: a floppy, c disk, d CD, n network; empty: cad */
	char once[PC_BOOT_DRIVES + 1];  /* the same, until the first reset; empty: no difference */
	bool menu;                      /* offer the boot menu */
	bool strict;                    /* nothing but devices with a bootindex */
	uint16_t splash_ms;             /* how long the menu's key is waited for; 0: as long as firmware does */
	uint32_t retry_ms;              /* try again so long after nothing could be booted, and 1; 0: as firmware does */
};

struct pc_config {
	uint64_t ram_size;               /* bytes, as ram_new() */
	unsigned cpus;                   /* 1 to PC_MAX_CPUS */
	const char *cpu_spec;            /* as cpuid_policy_init() */
	const struct engine_ops *engine;
	enum stack_window stack_window;  /* as in struct vcpu_group */
	bool lockstep;                   /* the reference runs beside the engine (cpu/lockstep.h): one CPU */
	struct code_listener code_listener; /* made NULL: none */
	struct block_tracer block_tracer; /* text NULL: none */
	bool count_jumps;                /* as in struct vcpu_group */
	struct chr *serial[PC_SERIAL_PORTS]; /* COM1, COM2; borrowed, outlive the machine; NULL: nothing plugged in */
	struct display *display;         /* where a graphics card draws; borrowed as well; NULL: nobody sees it */
	struct boot_blob vga_rom;        /* video BIOS of the VGA card; data NULL: none */
	struct input *input;             /* where keyboard and mouse get their events; NULL: nobody types */
	struct boot_blob firmware;       /* ROM that runs after a reset; data NULL: none, the owner puts a kernel in place */
	struct pc_boot boot;
	struct smbios_config smbios;
	int64_t rtc_offset_s;            /* what the battery-backed clock shows more than UTC at first */
	const struct boot_blob *fw_files; /* files of fw_cfg: name and bytes */
	unsigned n_fw_files;             /* at most PC_MAX_FW_FILES */
	const struct device_config *devices; /* plugged in, in this order (machine/devices.h) */
	unsigned n_devices;
	/*
	 * Called on the thread of a vCPU or a disk, possibly with a chip's lock held: note it and wake somebody.
	 * No pc_ function may be called from there, nor a lock be taken of a lower rank than RANK_LEAF.
	 * The guest runs on until its owner pauses it.
	 */
	void (*on_event)(void *opaque, const struct pc_event *ev);
	void *opaque;
};

struct pc {
	struct pc_config cfg;
	struct ram *ram;
	struct space *mem, *pio; /* 52 and 16 address bits */
	struct clock *clock;
	struct cpuid_policy policy;
	struct vcpu_group group; /* group.v[0 .. cfg.cpus - 1] */
	struct list devices;     /* of struct device, in the order of construction */
	struct pc_chips *chips;
	bool started; /* pc_start() has made the threads */
	bool paused;  /* as it is at first */
};

/* Build the machine in its power-on state; vCPUs have no threads yet. Errors: of RAM, CPU policy, engine. */
int pc_new(struct pc **out, const struct pc_config *cfg, struct err *e);
void pc_free(struct pc *pc); /* stops it first; NULL is fine */

/* Make the vCPUs' threads (once); they stand at their first instruction until pc_pause(pc, false). On an error, pc_free(). */
int pc_start(struct pc *pc, struct err *e);

/* Stop (returns when all vCPUs stand still) or go on; guest time stops too. Not from a vCPU's thread. */
void pc_pause(struct pc *pc, bool paused);

/* Firmware starts after a reset: a ROM, or the first flash chip. Else the owner puts a kernel in place. */
bool pc_has_firmware(const struct pc *pc);

/*
 * Power-on reset of all chips and vCPUs while paused or not started. RAM keeps its bytes. Without firmware, leaves what it
 * would have set up without being asked: virtual wire mode of the boot processor's APIC, a
 * level-triggered SCI, text on the screen. vCPU 0 stands at the reset vector; who boots a kernel changes group.v[0]->s then.
 */
void pc_reset(struct pc *pc);

/* After a reset there is a screen in text mode 3 (without firmware, and if the video BIOS has a font for it). */
bool pc_has_text_screen(const struct pc *pc);

/* Press the ACPI power button. Any thread. */
void pc_power_button(struct pc *pc);

/*
 * Ask the guest to give `bytes` of its memory back to the host, in all; and how many it says it has given. Any thread. -ENODEV
 * without a balloon, -ERANGE for more than there is.
 */
int pc_balloon_set(struct pc *pc, uint64_t bytes, struct err *e);
int pc_balloon_actual(struct pc *pc, uint64_t *bytes, struct err *e);

/* What the SMBIOS tables must say about it. */
void pc_smbios_platform(const struct pc *pc, struct smbios_platform *out);
/*
 * Drives whose medium can be changed, by their device's id or, without one, ide0-cd0 (channel, unit) or floppy0. Any thread but a
 * vCPU's. *old is what was in it, NULL or for the caller to close.
 *   change  put a medium in (borrowed from now on), as if somebody had opened and shut the tray
 *   eject   take it out. -EBUSY when the guest has locked the tray, unless forced: it hears of the wish
 * -ENODEV with the names of those that there are; -EINVAL for a medium that does not fit the drive.
 */
int pc_media_change(struct pc *pc, const char *id, struct blk *blk, struct blk **old, struct err *e);
int pc_media_eject(struct pc *pc, const char *id, bool force, struct blk **old, struct err *e);

/* The n-th of them; false: there are not so many. */
struct pc_media_info {
	const char *id;
	bool cdrom;        /* else a floppy drive */
	struct blk *blk;   /* NULL: empty */
	bool tray_open, locked;
};
bool pc_media_get(struct pc *pc, unsigned n, struct pc_media_info *out);

/* Pull a card's cable out, or put it back: by the card's id, or net0 for the first, net1 ... Any thread without locks. -ENODEV. */
int pc_set_link(struct pc *pc, const char *name, bool up, struct err *e);

/* What the ACPI tables must say about this machine (boot/acpi.h). */
void pc_acpi_platform(const struct pc *pc, struct acpi_platform *out);

#endif
