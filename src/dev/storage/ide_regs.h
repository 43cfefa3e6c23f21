/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers of ATA drives and of the PIIX3's IDE function: offsets and bits. */
#ifndef DOPPEL_DEV_STORAGE_IDE_REGS_H
#define DOPPEL_DEV_STORAGE_IDE_REGS_H

/* Command block, ATA/ATAPI-6, 7.2 and on */
enum {
	ATA_DATA = 0, ATA_ERROR = 1, ATA_FEATURE = 1, ATA_NSECTOR = 2, ATA_LBA_LOW = 3, ATA_LBA_MID = 4, ATA_LBA_HIGH = 5,
	ATA_SELECT = 6, ATA_STATUS = 7, ATA_COMMAND = 7, ATA_PORTS = 8,
};

/* Status */
enum { ATA_ERR = 0x01, ATA_DRQ = 0x08, ATA_DSC = 0x10, ATA_DF = 0x20, ATA_DRDY = 0x40, ATA_BSY = 0x80 };
#define ATA_READY (ATA_DRDY | ATA_DSC)

/* Error */
enum { ATA_DIAG_OK = 0x01, ATA_ABRT = 0x04, ATA_IDNF = 0x10, ATA_UNC = 0x40, ATA_ICRC = 0x80 };

/* Device: bits that are always one, LBA, number of the drive */
enum { ATA_SELECT_ONES = 0xa0, ATA_SELECT_LBA = 0x40, ATA_SELECT_UNIT = 0x10, ATA_SELECT_HEAD = 0x0f };

/* Device control */
enum { ATA_NIEN = 0x02, ATA_SRST = 0x04, ATA_HOB = 0x80 };

/* Interrupt reason of packet commands, in the sector count: command or data, to the host */
enum { ATAPI_COD = 0x01, ATAPI_IO = 0x02 };

/* Bus master, 82371SB 2.7: for each channel */
enum { BM_COMMAND = 0, BM_STATUS = 2, BM_TABLE = 4, BM_PORTS = 8 };
enum { BM_START = 0x01, BM_TO_MEMORY = 0x08 };
enum { BM_ACTIVE = 0x01, BM_ERROR = 0x02, BM_INTERRUPT = 0x04, BM_CAPABLE = 0x60 };

#define ATA_SECTOR 512u

#endif
