/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IDE controller of the PIIX3: two channels of two drives each, disks and CD-ROM drives, with bus master DMA. */
#ifndef DOPPEL_DEV_STORAGE_IDE_H
#define DOPPEL_DEV_STORAGE_IDE_H

#include "backend/block/blk.h"
#include "bus/device.h"
#include "bus/pci.h"
#include "dev/storage/media.h"

#define IDE_CHANNELS 2
#define IDE_UNITS    2 /* of a channel: master and slave */
#define IDE_SERIAL   20
#define IDE_MODEL    40

struct ide;

struct ide_channel_config {
	uint16_t command, control; /* first of eight ports, and the one of device control */
	struct irq_line irq;
};

struct ide_config {
	struct pci_bus *bus;
	uint8_t devfn;
	struct space *pio, *mem;   /* mem: for DMA */
	struct ide_channel_config channel[IDE_CHANNELS];
};

struct ide_drive_config {
	bool cdrom;
	struct blk *blk;           /* blocks of 512 bytes; NULL: a CD-ROM drive without a medium */
	const char *serial, *model; /* ASCII, cut to IDE_SERIAL and IDE_MODEL; NULL: something usual */
};

/* A PCI function without drives. Its ports show when its registers say so, which firmware sees to. */
struct ide *ide_new(const struct ide_config *c);

/* Let the ports show, as firmware does. While the machine is being built or stands. */
void ide_enable(struct ide *i);

/* Plug a drive in, while the machine is being built; the place must be free. */
void ide_plug(struct ide *i, unsigned channel, unsigned unit, const struct ide_drive_config *c);
uint64_t ide_disk_bytes(const struct ide *i, unsigned channel, unsigned unit); /* 0: no disk there */
bool ide_place_free(const struct ide *i, unsigned channel, unsigned unit);

/* The medium of a CD-ROM drive. */
struct media_drive ide_media(struct ide *i, unsigned channel, unsigned unit);

/* Cylinders, heads and sectors that a disk of so many bytes shows at its interface. */
struct ide_geometry {
	uint16_t cylinders;
	uint8_t heads, sectors;
};
struct ide_geometry ide_geometry(uint64_t bytes);

#endif
