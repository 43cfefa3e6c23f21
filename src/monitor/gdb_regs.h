/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU's registers as gdb numbers them: its amd64 features, and one of ours for system registers. */
#ifndef DOPPEL_MONITOR_GDB_REGS_H
#define DOPPEL_MONITOR_GDB_REGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/strbuf.h"

struct vcpu;

#define GDB_REG_MAX 16 /* bytes of the largest register */

unsigned gdb_n_regs(void);

/*
 * Bytes of register n in buf, in the guest's order; returns how many, 0: there is no such register. rip is a linear address, the base
 * of CS included, as breakpoints are; the vCPU stands still.
 */
unsigned gdb_get_reg(struct vcpu *v, unsigned n, uint8_t buf[GDB_REG_MAX]);

/* Set it. false: no such register, another length, or a value that the processor would refuse. */
bool gdb_set_reg(struct vcpu *v, unsigned n, const uint8_t *buf, size_t len);

/* The description that gdb reads as target.xml. */
void gdb_describe_target(struct strbuf *out);

#endif
