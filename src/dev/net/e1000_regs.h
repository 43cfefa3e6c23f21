/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers and descriptors of the 8254x family, as far as drivers of the 82540EM use them; dev/net only. */
#ifndef DOPPEL_DEV_NET_E1000_REGS_H
#define DOPPEL_DEV_NET_E1000_REGS_H

#include <stdint.h>

#define E1000_MMIO_SIZE 0x20000u
#define E1000_IO_SIZE   64u
#define E1000_REGS_SIZE 0x8000u /* of the register area that is stored */

/* Software developer's manual of the 8254x (317453), table 13-2 */
enum {
	E1000_CTRL = 0x0000, E1000_STATUS = 0x0008, E1000_EECD = 0x0010, E1000_EERD = 0x0014, E1000_MDIC = 0x0020, E1000_VET = 0x0038,
	E1000_ICR = 0x00c0, E1000_ITR = 0x00c4, E1000_ICS = 0x00c8, E1000_IMS = 0x00d0, E1000_IMC = 0x00d8,
	E1000_RCTL = 0x0100, E1000_TCTL = 0x0400, E1000_LEDCTL = 0x0e00, E1000_PBA = 0x1000,
	E1000_RDBAL = 0x2800, E1000_RDBAH = 0x2804, E1000_RDLEN = 0x2808, E1000_RDH = 0x2810, E1000_RDT = 0x2818,
	E1000_TDBAL = 0x3800, E1000_TDBAH = 0x3804, E1000_TDLEN = 0x3808, E1000_TDH = 0x3810, E1000_TDT = 0x3818,
	E1000_STATS = 0x4000, E1000_STATS_END = 0x4100, E1000_RXCSUM = 0x5000, E1000_MTA = 0x5200, E1000_MTA_END = 0x5400,
	E1000_RA = 0x5400, E1000_RA_END = 0x5480, E1000_VFTA = 0x5600,
	E1000_GPRC = 0x4074, E1000_BPRC = 0x4078, E1000_MPRC = 0x407c, E1000_GPTC = 0x4080, E1000_GORCL = 0x4088,
	E1000_GOTCL = 0x4090, E1000_MPC = 0x4010, E1000_TORL = 0x40c0, E1000_TOTL = 0x40c8, E1000_TPR = 0x40d0, E1000_TPT = 0x40d4,
};

/* CTRL, STATUS */
#define CTRL_SLU 0x00000040u
#define CTRL_RST 0x04000000u
#define CTRL_FD  0x00000001u
#define CTRL_VME 0x40000000u
#define CTRL_PHY_RST 0x80000000u
#define STATUS_FD 0x1u
#define STATUS_LU 0x2u
#define STATUS_SPEED_1000 0x80u
#define STATUS_RESET (STATUS_FD | STATUS_SPEED_1000)

/* Interrupt causes */
#define ICR_TXDW   0x01u
#define ICR_TXQE   0x02u
#define ICR_LSC    0x04u
#define ICR_RXDMT0 0x10u
#define ICR_RXO    0x40u
#define ICR_RXT0   0x80u
#define ICR_MDAC   0x200u

/* RCTL, TCTL */
#define RCTL_EN      0x2u
#define RCTL_UPE     0x8u
#define RCTL_MPE     0x10u
#define RCTL_LPE     0x20u
#define RCTL_RDMTS(r) ((r) >> 8 & 3)
#define RCTL_MO(r)   ((r) >> 12 & 3)
#define RCTL_BAM     0x8000u
#define RCTL_BSIZE(r) ((r) >> 16 & 3)
#define RCTL_VFE     0x40000u
#define RCTL_BSEX    0x02000000u
#define RCTL_SECRC   0x04000000u
#define TCTL_EN      0x2u

/* EEPROM: serial interface and read register */
#define EECD_SK  0x01u
#define EECD_CS  0x02u
#define EECD_DI  0x04u
#define EECD_DO  0x08u
#define EECD_REQ 0x40u
#define EECD_GNT 0x80u
#define EECD_PRES 0x100u
#define EERD_START 0x1u
#define EERD_DONE  0x10u

/* MDIC */
#define MDIC_DATA(r) ((r) & 0xffff)
#define MDIC_REG(r)  ((r) >> 16 & 0x1f)
#define MDIC_PHY(r)  ((r) >> 21 & 0x1f)
#define MDIC_WRITE   0x04000000u
#define MDIC_READ    0x08000000u
#define MDIC_READY   0x10000000u
#define MDIC_INT     0x20000000u
#define MDIC_ERROR   0x40000000u

/* Descriptors are 16 bytes. */
#define DESC_SIZE 16u

/* Transmit, legacy and data: address, length, command, status */
enum { TX_LENGTH = 8, TX_CSO = 10, TX_CMD = 11, TX_STATUS = 12, TX_CSS = 13, TX_POPTS = 13, TX_SPECIAL = 14 };
#define TXD_CMD_EOP  0x01u
#define TXD_CMD_IC   0x04u
#define TXD_CMD_TSE  0x04u
#define TXD_CMD_RS   0x08u
#define TXD_CMD_DEXT 0x20u
#define TXD_CMD_VLE  0x40u
#define TXD_CMD_IDE  0x80u
#define TXD_STAT_DD  0x01u
#define TXD_DTYP_DATA 0x1u /* bits 20 to 23 of the second half */
#define TXD_POPTS_IXSM 0x01u
#define TXD_POPTS_TXSM 0x02u
/* Context */
enum { CTX_IPCSS = 0, CTX_IPCSO = 1, CTX_IPCSE = 2, CTX_TUCSS = 4, CTX_TUCSO = 5, CTX_TUCSE = 6, CTX_HDRLEN = 13, CTX_MSS = 14 };
#define CTX_TUCMD_TCP 0x01u
#define CTX_TUCMD_IP  0x02u

/* Receive */
enum { RX_LENGTH = 8, RX_CSUM = 10, RX_STATUS = 12, RX_ERRORS = 13, RX_SPECIAL = 14 };
#define RXD_STAT_DD   0x01u
#define RXD_STAT_EOP  0x02u
#define RXD_STAT_IXSM 0x04u
#define RXD_STAT_VP   0x08u

#endif
