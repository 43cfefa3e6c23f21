/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PC's board: its chips, and where they are wired to. Only machine/ sees this. */
#ifndef DOPPEL_MACHINE_BOARD_H
#define DOPPEL_MACHINE_BOARD_H

#include "bus/device.h"
#include "bus/pci.h"
#include "irq/router.h"
#include "dev/storage/media.h"
#include "machine/devices.h"
#include "machine/pc.h"

#define PC_COM1_PORT 0x3f8
#define PC_FLOPPY_PORT 0x3f0
#define PIIX_IDE_DEVFN PCI_DEVFN(1, 1)

#define BOARD_BOOT_PATHS 32

/* Devices to boot from, by ascending index (machine/bootorder.h). */
struct boot_paths {
	struct {
		uint32_t index;
		char text[96];
	} path[BOARD_BOOT_PATHS];
	unsigned n;
};

/* A drive whose medium can be changed while the machine runs. */
struct pc_media {
	char id[PC_MEDIA_ID];
	struct media_drive drive;
};

struct pc_chips {
	struct irq_router *router;
	struct lapic_bus *lapic_bus;
	struct lapic *lapic[PC_MAX_CPUS];
	struct ioapic *ioapic;
	struct pic *pic;
	struct pit *pit;
	struct rtc *rtc;
	struct hpet *hpet; /* between the two and the router; seen by the guest where it was plugged in */
	bool has_hpet;
	struct acpi_pm *pm;
	struct serial *serial[PC_SERIAL_PORTS];
	struct i8042 *i8042;
	struct stdvga *vga; /* NULL: there is none */
	struct reset_ctl *reset_ctl;
	struct pci_bus *pci;
	struct pci_host *pci_host;
	struct virtio_device *virtio_console; /* the last one, to which ports are added */
	struct virtio_device *virtio_balloon;
	unsigned n_virtio_mmio;
	struct pam *pam;
	struct a20 *a20;
	struct piix_isa *piix_isa;
	struct piix_pm *piix_pm;
	struct fw_cfg *fw_cfg;
	struct boot_paths boot;
	struct i8237 *dma;
	struct ide *ide;         /* NULL until the first drive is plugged in, as floppy */
	struct floppy *floppy;
	struct pc_media media[PC_MAX_MEDIA];
	unsigned n_media;
	unsigned n_nics; /* that were given an address of the machine's own */
	struct pc_disks {
		struct list list; /* of disks.c's; constant once the machine is built */
		struct lock lock; /* RANK_DEVICE */
		unsigned n_full;  /* lock */
	} disks;
	struct ram_slot *rom; /* NULL: none that was given as a file */
	uint16_t pvpanic_port; /* 0: there is none */
	uint64_t rom_base;    /* the firmware's lowest byte below 4 GiB; 4 GiB: there is no firmware */
};

/* Tables of drivers besides that of devices.c; each ends with a NULL name. */
extern const struct device_driver virtio_drivers[], net_drivers[], storage_drivers[], video_drivers[], misc_drivers[];

/* Make pc->chips from pc->cfg; RAM, spaces, clock and vCPUs are there. Each vCPU gets its APIC. */
int board_new(struct pc *pc, struct err *e);

/* Put a virtio device's registers into the machine's address space, with an interrupt. -ENOSPC with a message: no more places. */
struct virtio_device;
int board_add_virtio_mmio(struct pc *pc, struct virtio_device *vd, struct err *e);

/* The controllers, which are made when they are first asked for. While devices are plugged in. */
struct ide *board_ide(struct pc *pc);
int board_floppy(struct pc *pc, struct floppy **out, struct err *e);

/* What firmware must know of disks and floppy drives, in CMOS RAM; the equipment byte is as given, with theirs added. */
void storage_fill_cmos(struct pc *pc, uint8_t equipment);

/* Show the HPET to the guest; -EEXIST. */
int board_add_hpet(struct pc *pc);

/* Put a chip on the machine's list of devices, where it is reset, saved and freed; returns it. */
void *board_add(struct pc *pc, void *chip);

/* Free all chips, last made first, so that what raises an interrupt goes before who receives it. */
void board_free(struct pc *pc);

/* What firmware sets up after a reset without being asked. */
void board_firmware_init(struct pc *pc);

/*
 * disks.c: a disk whose host is full stops the machine until there is space. To be watched from when it is plugged in; tried again
 * when the machine goes on; given up before its chips are reset or freed, with which all its requests end.
 */
struct blk;
void board_disks_init(struct pc *pc);
void board_watch_disk(struct pc *pc, struct blk *blk);
void board_unwatch_disk(struct pc *pc, struct blk *blk); /* nothing of it is under way */
void board_retry_disks(struct pc *pc);
void board_give_up_disks(struct pc *pc);
void board_disks_release(struct pc *pc);

/* Tell the owner; for chips' callbacks. */
void pc_tell(struct pc *pc, enum pc_event_type type, enum pc_cause cause, uint32_t code);

#endif
