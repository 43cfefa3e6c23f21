/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the IDE controller: drives, channels, and the calls between its files. All of a channel is under its lock. */
#ifndef DOPPEL_DEV_STORAGE_IDE_IMPL_H
#define DOPPEL_DEV_STORAGE_IDE_IMPL_H

#include "base/bits.h"
#include "base/endian.h"
#include "base/lock.h"
#include "base/log.h"
#include "dev/storage/ide.h"
#include "dev/storage/ide_regs.h"

/* Above the host bridge, whose configuration cycles reach the channels. */
#define IDE_LOCK_RANK (RANK_DEVICE + 1)

enum ide_kind { IDE_NONE, IDE_DISK, IDE_CDROM };

/*
 * The buffer of a channel: what is read ahead and gathered for writing in PIO. A multiple of the largest block of
 * READ MULTIPLE and of a CD's sector.
 */
#define IDE_BUFFER   (64u * 1024)
#define IDE_MAX_MULT 16u
/* One request of DMA, so that a stop or a reset waits for no more than this. */
#define IDE_DMA_CHUNK (1u << 20)
/* Sectors may be scattered over pieces of two bytes, each of which may lie across two regions of RAM. */
#define IDE_MAX_PIECES 520u

struct ide_sense {
	uint8_t key, asc, ascq;
};

struct ide_drive {
	uint8_t kind;           /* enum ide_kind, and what follows: constant */
	char serial[IDE_SERIAL], model[IDE_MODEL];
	struct blk *blk;        /* a CD's may change */

	/* Task file; hob: the value before the last one, for 48-bit commands. */
	uint8_t feature, nsector, lba[3], hob_nsector, hob_lba[3];
	uint8_t select, status, error;

	/* Settings */
	uint8_t mult;           /* sectors of a block of READ MULTIPLE; 0: not set */
	uint8_t mode;           /* of DMA, as SET FEATURES has it; 0: none */
	uint8_t heads, sectors; /* that CHS addresses are made of */
	bool write_cache, look_ahead, smart, asleep;

	/* CD-ROM */
	struct ide_sense sense, attention; /* the last one; one that waits to be told (asc 0: none) */
	uint8_t media_event;    /* for GET EVENT STATUS NOTIFICATION */
	bool tray_open, locked;
};

enum ide_phase {
	IDE_IDLE,
	IDE_BUSY, /* a request is under way, or a reset */
	IDE_IN,   /* the guest reads the data register */
	IDE_OUT,  /* the guest writes it */
	IDE_DMA,
	IDE_PHASES
};

/* What a transfer is about. */
enum ide_job {
	IDE_JOB_NONE,
	IDE_JOB_READ,    /* medium to guest */
	IDE_JOB_WRITE,   /* guest to medium */
	IDE_JOB_DATA_IN, /* buffer to guest */
	IDE_JOB_PACKET,  /* guest to buffer: a packet command */
	IDE_JOB_DISCARD_DATA, /* guest to nowhere: parameters that have no effect */
	IDE_JOB_FLUSH,
	IDE_JOBS
};

/* Where the bus master stands in its table of memory areas. */
struct ide_cursor {
	uint32_t next;    /* address of the next entry */
	uint32_t addr, left; /* of the current area */
	bool last;        /* the current one is the last */
};

struct ide_piece {
	uint64_t gpa, len;
};

struct ide_channel {
	struct ide *ide;
	unsigned n;
	struct lock lock;       /* IDE_LOCK_RANK; all of this */
	struct ide_channel_config cfg;
	struct region *command_ports, *control_port; /* the bridge's lock; NULL: not decoded */
	struct ide_drive d[IDE_UNITS];
	uint8_t unit;           /* selected */
	uint8_t control;        /* device control */
	bool irq;               /* a drive asks for an interrupt */
	bool line;              /* the wire's level */

	/* The transfer; active is the drive's number. */
	uint8_t phase, job, active;
	bool dma, fua;
	bool packet;            /* of a packet command */
	uint16_t limit;         /* bytes of a block that a packet command's driver wants at most */
	uint64_t pos, left;     /* bytes: on the medium; that have not been moved between medium and buffer (DMA: guest) */
	uint32_t at, end;       /* in the buffer: what the guest has had or given, of what */
	uint32_t block, drq;    /* bytes of a block, and left of the present one */
	uint8_t buf[IDE_BUFFER];

	/* Bus master */
	uint8_t bm_command, bm_status;
	uint32_t bm_table;
	bool bm_master;         /* the function may be bus master */
	struct ide_cursor cursor;

	/* The request on the medium. A request that lacks space on the host may be under way while state is saved. */
	bool io_wanted;         /* the transfer goes on when it is done */
	uint32_t io_len;
	bool io_flying, reset_waits, quiesced; /* not saved */
	struct blk_request rq;
	struct iovec iov[IDE_MAX_PIECES];
	struct ide_piece piece[IDE_MAX_PIECES];
	unsigned n_pieces;
	struct ide_cursor cursor_after;

	uint64_t commands, pio_bytes, dma_bytes; /* statistics */
};

struct ide {
	struct device dev;
	struct pci_function fn;
	struct space *pio, *mem;
	struct ide_channel ch[IDE_CHANNELS];
};

/* -- ide.c: lines and ports */
void ide_irq(struct ide_channel *ch, bool level); /* a drive asks, or does not */

/* -- ide_ports.c: the task file */
extern const struct io_ops ide_command_ops, ide_control_ops;
void ide_reset_drives(struct ide_channel *ch);    /* signatures; ends what is under way, but for a request on the medium */
void ide_set_signature(struct ide_drive *d);
void ide_reset_when_possible(struct ide_channel *ch); /* now, or when the request on the medium is done */

/* -- ide_ata.c: commands */
void ide_command(struct ide_channel *ch, uint8_t command);
void ide_end(struct ide_channel *ch, uint8_t status, uint8_t error, bool interrupt);
void ide_finish(struct ide_channel *ch);               /* the command ends well, with an interrupt */
void ide_fail(struct ide_channel *ch, uint8_t error);  /* the command ends with these bits in the error register */

/* -- ide_identify.c: fill ch->buf with 512 bytes */
void ide_identify(struct ide_channel *ch, const struct ide_drive *d);
void ide_smart_data(struct ide_channel *ch, bool thresholds);

/* -- ide_xfer.c: transfers. Block: bytes between two interrupts in PIO. */
void ide_start_medium(struct ide_channel *ch, bool write, uint64_t pos, uint64_t len, uint32_t block);
void ide_start_data_in(struct ide_channel *ch, uint32_t len, uint32_t block); /* that many bytes of buf */
void ide_start_data_out(struct ide_channel *ch, enum ide_job job, uint32_t len, uint32_t block);
void ide_start_flush(struct ide_channel *ch);
uint32_t ide_data_read(struct ide_channel *ch, unsigned size);
void ide_data_write(struct ide_channel *ch, unsigned size, uint32_t val);
void ide_io(struct ide_channel *ch, enum blk_op op, uint32_t len); /* iov and n_iov of rq are set */
void ide_io_again(struct ide_channel *ch);             /* what is wanted and not under way */

/* -- ide_bmdma.c */
extern const struct io_ops ide_bm_ops;                 /* opaque: struct ide; takes the channels' locks */
void ide_dma_run(struct ide_channel *ch);              /* go on if drive and bus master are ready */
void ide_dma_done(struct ide_channel *ch);             /* the request has moved its bytes */

/* -- ide_atapi.c, ide_cdrom.c: packets */
void ide_packet(struct ide_channel *ch);               /* the packet is in ch->buf */
void ide_packet_fail(struct ide_channel *ch, struct ide_sense s);
void ide_packet_reply(struct ide_channel *ch, uint32_t len, uint32_t allocated); /* len bytes of buf, or less */
uint32_t ide_packet_block(const struct ide_channel *ch); /* bytes between two interrupts */
extern const struct media_ops ide_media_ops;

static inline struct ide_drive *ide_active(struct ide_channel *ch)
{
	return &ch->d[ch->active];
}

/* ide_cdrom.c: replies that describe the medium and the drive. */
uint32_t ide_cd_sectors(const struct ide_drive *d);    /* 0: no medium */
void ide_cd_read_toc(struct ide_channel *ch, const uint8_t *p);
void ide_cd_mode_sense(struct ide_channel *ch, const uint8_t *p);
void ide_cd_get_configuration(struct ide_channel *ch, const uint8_t *p);
void ide_cd_read_disc_information(struct ide_channel *ch, const uint8_t *p);
void ide_cd_read_track_information(struct ide_channel *ch, const uint8_t *p);
void ide_cd_read_dvd_structure(struct ide_channel *ch, const uint8_t *p);
void ide_cd_inquiry(struct ide_channel *ch, const uint8_t *p);

#define IDE_CD_SECTOR 2048u

extern const struct ide_sense ide_bad_field, ide_out_of_range;

#endif
