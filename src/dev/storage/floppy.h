/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Floppy disk controller 82077AA with two drives. */
#ifndef DOPPEL_DEV_STORAGE_FLOPPY_H
#define DOPPEL_DEV_STORAGE_FLOPPY_H

#include "backend/block/blk.h"
#include "bus/device.h"
#include "dev/dma/i8237.h"
#include "dev/storage/media.h"
#include "irq/irq.h"
#include "mem/space.h"

#define FLOPPY_DRIVES    2
#define FLOPPY_MAX_BYTES 2949120u /* 2.88 MB */

struct floppy;

struct floppy_config {
	struct irq_line irq;
	struct i8237 *dma;
	unsigned dma_channel;
};

/* What a drive is, as the CMOS memory of an AT names it. */
enum floppy_type { FLOPPY_TYPE_NONE = 0, FLOPPY_TYPE_120 = 2, FLOPPY_TYPE_144 = 4, FLOPPY_TYPE_288 = 5 };

struct floppy *floppy_new(const struct floppy_config *c);

/* At ports base to base + 5 and base + 7; the one between is the IDE controller's. */
int floppy_attach(struct floppy *f, struct space *pio, uint16_t base);

/*
 * Plug a drive in while the machine is being built; the place must be free. blk NULL: it is empty. type FLOPPY_TYPE_NONE: as
 * the medium wants it.
 */
void floppy_plug(struct floppy *f, unsigned unit, enum floppy_type type, struct blk *blk);
bool floppy_place_free(const struct floppy *f, unsigned unit);
enum floppy_type floppy_type(const struct floppy *f, unsigned unit);

struct media_drive floppy_media(struct floppy *f, unsigned unit);

#endif
