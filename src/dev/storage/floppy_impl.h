/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the floppy controller: registers, drives, and the calls between its files. All is under its lock. */
#ifndef DOPPEL_DEV_STORAGE_FLOPPY_IMPL_H
#define DOPPEL_DEV_STORAGE_FLOPPY_IMPL_H

#include "base/bits.h"
#include "base/lock.h"
#include "base/log.h"
#include "dev/storage/floppy.h"

#define FLOPPY_SECTOR    512u
#define FLOPPY_SIZE_CODE 2u            /* N: sectors of 128 << N bytes */
#define FLOPPY_MAX_SPT   36u
#define FLOPPY_BUFFER    (2 * FLOPPY_MAX_SPT * FLOPPY_SECTOR) /* a cylinder */
#define FLOPPY_UNITS     4u            /* that the controller can select */
#define FLOPPY_MAX_BYTES_OF_PHASE 16u

/* Main status register */
enum { MSR_BUSY = 0x10, MSR_NON_DMA = 0x20, MSR_TO_HOST = 0x40, MSR_READY = 0x80 };
/* Digital output register */
enum { DOR_SELECT = 0x03, DOR_NOT_RESET = 0x04, DOR_GATE = 0x08, DOR_MOTOR = 0x10 };
/* Status registers 0 to 3 */
enum { ST0_HEAD = 0x04, ST0_EQUIPMENT = 0x10, ST0_SEEK_END = 0x20, ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_POLLED = 0xc0 };
enum { ST1_NO_MARK = 0x01, ST1_PROTECTED = 0x02, ST1_NO_DATA = 0x04, ST1_CRC = 0x20, ST1_END = 0x80 };
enum { ST2_NO_DATA_MARK = 0x01, ST2_WRONG_CYLINDER = 0x10, ST2_CRC = 0x20 };
enum { ST3_TWO_SIDES = 0x08, ST3_TRACK_0 = 0x10, ST3_READY = 0x20, ST3_PROTECTED = 0x40 };
/* CONFIGURE's second byte */
enum { CONFIG_IMPLIED_SEEK = 0x40, CONFIG_NO_FIFO = 0x20, CONFIG_NO_POLL = 0x10, CONFIG_RESET = CONFIG_NO_FIFO };

/* How a medium is laid out. */
struct floppy_format {
	uint8_t tracks, sides, spt;
	uint8_t rate;           /* as in DSR and CCR: 0 500, 1 300, 2 250, 3 1000 kbit/s */
	uint8_t type;           /* of the drive that it is usual in */
};

struct floppy_drive {
	uint8_t type;           /* enum floppy_type; constant */
	struct blk *blk;
	const struct floppy_format *format; /* NULL: no medium */
	bool readonly;
	uint8_t track;          /* under the head */
	bool changed;           /* the disk change line */
};

enum floppy_phase { FLOPPY_COMMAND, FLOPPY_EXECUTION, FLOPPY_RESULT, FLOPPY_PHASES };

/* What the execution phase is about. */
enum floppy_job { FLOPPY_JOB_NONE, FLOPPY_JOB_READ, FLOPPY_JOB_VERIFY, FLOPPY_JOB_WRITE, FLOPPY_JOB_FORMAT, FLOPPY_JOBS };

/* Where the execution phase is. */
enum floppy_step {
	FLOPPY_STEP_NONE,
	FLOPPY_STEP_MEDIUM, /* a request is under way */
	FLOPPY_STEP_HOST,   /* bytes between buffer and host */
	FLOPPY_STEPS
};

struct floppy {
	struct device dev;
	struct lock lock;
	struct floppy_config cfg;
	struct floppy_drive d[FLOPPY_DRIVES];
	bool irq;

	uint8_t dor, tdr, dsr, rate;
	uint8_t phase;          /* enum floppy_phase */
	uint8_t bytes[FLOPPY_MAX_BYTES_OF_PHASE]; /* of the command, or of the result */
	uint8_t n_bytes, at_byte; /* result: how many there are, and how many are read; command: written */
	uint8_t interrupts;     /* bits: units whose end of a seek is to be told by SENSE INTERRUPT STATUS */
	uint8_t reset_polls;    /* bits: units that SENSE INTERRUPT STATUS tells of after a reset */
	uint8_t st0[FLOPPY_UNITS];
	uint8_t specify[2], config, precompensation, perpendicular;
	bool locked;            /* LOCK: a reset by software keeps config */

	/* Execution */
	uint8_t job, step, unit, head;
	uint8_t cylinder, side, sector, last; /* the present one's address, and EOT */
	bool both_sides;        /* MT */
	uint32_t at, end;       /* in the buffer */
	uint32_t sectors;       /* that the buffer holds, or is to be filled with */
	bool count_done;        /* terminal count has come */
	uint8_t buf[FLOPPY_BUFFER];

	bool io_flying, reset_waits, quiesced; /* not saved */
	struct blk_request rq;
	struct iovec iov;
	uint64_t commands, bytes_read, bytes_written; /* statistics */
};

/* -- floppy.c */
void floppy_irq(struct floppy *f, bool level);
void floppy_result(struct floppy *f, unsigned n, bool interrupt); /* that many of f->bytes are to be read */
void floppy_idle(struct floppy *f);                /* wait for a command */
void floppy_reset_chip(struct floppy *f, bool by_software);
struct floppy_drive *floppy_drive(struct floppy *f, unsigned unit); /* NULL: none is there */
void floppy_examine(struct floppy_drive *d);       /* the medium has changed */

/* -- floppy_cmd.c */
unsigned floppy_command_length(uint8_t first);     /* bytes, with the first */
void floppy_command(struct floppy *f);             /* it is in f->bytes */

/* -- floppy_xfer.c: f's execution fields are set, bar at, end and sectors */
void floppy_start(struct floppy *f);
void floppy_end(struct floppy *f, uint8_t st0, uint8_t st1, uint8_t st2);
void floppy_go_on(struct floppy *f);               /* the DMA controller or the host is ready */
void floppy_io_again(struct floppy *f);            /* what is to be done on the medium and is not under way */
uint8_t floppy_data_read(struct floppy *f);        /* without DMA */
void floppy_data_write(struct floppy *f, uint8_t val);

static inline bool floppy_uses_dma(const struct floppy *f)
{
	return !(f->specify[1] & 1);
}

#endif
