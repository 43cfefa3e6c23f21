/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration of a virtual machine, and how its values are written. */
#ifndef DOPPEL_VM_CONFIG_H
#define DOPPEL_VM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"
#include "boot/boot.h"
#include "machine/devices.h"
#include "machine/pc.h"

#define VM_MAX_INITRDS 16
#define VM_MAX_DEVICES 64
#define VM_MAX_FW_FILES PC_MAX_FW_FILES
#define VM_MIN_MEMORY  (1ull << 20)

/* What becomes of a guest that says it has panicked (pvpanic). */
enum vm_panic { VM_PANIC_END, VM_PANIC_HOLD, VM_PANIC_GO_ON };

/* All that a virtual machine is made from. What pointers point to is the caller's and outlives the VM. */
struct vm_config {
	uint64_t memory;              /* bytes; VM_MIN_MEMORY to RAM_MAX_SIZE, a multiple of 4 KiB */
	unsigned cpus;                /* 1 to PC_MAX_CPUS */
	const char *cpu;              /* model and features, as cpuid_policy_init() */
	const struct engine_ops *engine;
	enum vm_panic on_panic;
	bool hold_at_end;             /* a guest that powers off is kept, standing still (VM_HOLD_END) */
	enum stack_window stack_window; /* of the translator, as in struct vcpu_group */
	bool lockstep;                /* the reference runs beside the engine; one CPU */
	struct boot_blob firmware;    /* data NULL: none; the kernel is started directly */
	struct boot_blob kernel;
	struct boot_blob initrd[VM_MAX_INITRDS];
	unsigned n_initrds;
	const char *append;           /* kernel command line */
	const char *name;             /* what people call it; NULL: nothing */
	struct pc_boot boot;
	struct smbios_config smbios;
	int64_t rtc_offset_s;         /* as parse_rtc_base() */
	struct chr *serial[PC_SERIAL_PORTS];
	struct boot_blob fw_file[VM_MAX_FW_FILES]; /* for the firmware or the guest: name and bytes */
	unsigned n_fw_files;
	struct display *display;      /* what graphics cards draw on; NULL: nothing */
	struct boot_blob vga_rom;     /* BIOS of the VGA card; data NULL: none */
	struct input *input;          /* keys and pointer; NULL: none */
	struct device_config device[VM_MAX_DEVICES]; /* to be plugged in, in this order */
	unsigned n_devices;
	struct code_listener code_listener; /* for profilers; made NULL: none */
	struct block_tracer block_tracer; /* for --trace bt; text NULL: none */
	bool count_jumps;             /* for the statistics of the translator */
};

/* Add a device by its driver's name: the new entry, or NULL with a message when there are too many. */
struct device_config *vm_config_add_device(struct vm_config *c, const char *driver, struct err *e);

/*
 * Parse a size: a number, perhaps with a fraction, and a unit K, M, G or T (powers of 1024, either
 * case, "iB" or "B" may follow); without a unit it counts bytes. -EINVAL with a message for anything else,
 * -ERANGE for what no 64-bit number holds; fractions of a byte are refused.
 */
int parse_size(const char *text, uint64_t *bytes, struct err *e);

/* Parse a decimal number in [min, max]; what names it in messages: "number of CPUs". */
int parse_number(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *val, struct err *e);

/* Parse and check a memory size: as parse_size(), in the range for guest RAM, rounded up to 4 KiB. */
int parse_memory(const char *text, uint64_t *bytes, struct err *e);

/*
 * Parse what is booted: "ORDER[,once=ORDER][,menu=on|off][,splash-time=MS][,reboot-timeout=MS][,strict=on|off]", the first
 * perhaps as order=; ORDER is up to three of the letters a, c, d, n. What is not named stays. -EINVAL with a message.
 */
int parse_boot(const char *text, struct pc_boot *b, struct err *e);

/*
 * Parse what the clock chip shows at first: "utc", "localtime", or a date as 2006-06-17T16:01:21 or 2006-06-17; perhaps behind
 * "base=". As seconds that it is ahead of the host's UTC now. -EINVAL with a message.
 */
int parse_rtc_base(const char *text, int64_t *offset_s, struct err *e);

#endif
