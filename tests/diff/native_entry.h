/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The low end of the oracle's child: its signal entry in assembly, and the layout of the signal frame's FPU state. */
#ifndef DOPPEL_DIFF_NATIVE_ENTRY_H
#define DOPPEL_DIFF_NATIVE_ENTRY_H

#include <signal.h>
#include <stdint.h>
#include "x86/state.h"

/* What is not in a signal frame: as the case left it (native_in), and as the next one shall have it (native_out). */
struct native_regs {
	uint64_t fs_base, gs_base;
	uint16_t ds, es, fs, gs;
	uint64_t flags; /* only native_out */
};
extern struct native_regs native_in, native_out;
extern uint64_t native_tls; /* the child's own FS base */

/* The signal handler: saves native_in, calls native_trap() in a sane state, loads native_out. */
void native_entry(void);
void native_restorer(void);
void native_trap(int sig, siginfo_t *info, void *ctx);

/* System calls may be made from between these two addresses only. */
extern const char native_text_start[], native_text_end[];
long native_syscall(long nr, long a, long b, long c, long d, long e, long f);

/* Raise the first signal of a batch; comes back at its end. */
void native_kick(void);
#define NATIVE_KICK_LEN 2 /* UD2 */

uint64_t native_read_fs_base(void);

/* Between the XSAVE area of a signal frame and our form. Components that the host lacks read as zero. */
void xstate_store(uint8_t *area, const struct x86_fpu *fpu);
void xstate_load(const uint8_t *area, struct x86_fpu *fpu);
void xstate_init(uint8_t *area);

#endif
