/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debug registers: breakpoint matching, and the rules of #DB and single step (SDM vol. 3, ch. 17).
 *
 * Who does what. Code breakpoints are faults: run.c asks debug_code_breakpoint() before an instruction
 * whose EFLAGS.RF is clear. Data and I/O breakpoints are traps: memory.c and io.c hand the bits of
 * debug_data_match() and debug_io_match() to interp_debug_trap(), and run.c delivers them after the
 * instruction, or after the iteration of a repeated string instruction. Single step: EFLAGS.TF as it stood
 * *before* an instruction traps after it (so POPF or IRET that sets TF does not trap itself, and one
 * that clears it does); each iteration of REP counts; the trap after MOV SS or POP SS is held back until after the
 * instruction that follows, as are data breakpoints met by them (17.3.1.1, 6.8.3); INT n, INT3 and INTO clear TF
 * on their way in. A #DB sets its bits in DR6 and clears none (software does); delivery of
 * any #DB clears DR7.GD (event.c). RF in the pushed image is 1 for faults but for code
 * breakpoints' #DB, which push it as it stands.
 */
#ifndef DOPPEL_CPU_INTERP_DEBUG_H
#define DOPPEL_CPU_INTERP_DEBUG_H

#include "cpu/interp/interp.h"

#define DR7_ENABLE_MASK 0xffull /* L0, G0 .. L3, G3 */

/* Or what a #DB reports into DR6; bits are B0-B3, BD, BS and BT. */
void debug_set_dr6(struct vcpu *v, uint64_t bits);

/* The DR6 bits of enabled breakpoints on executing the instruction that begins at linear address la; 0: none. */
uint64_t debug_code_breakpoint(const struct vcpu *v, uint64_t la);

/* The DR6 bits of enabled breakpoints on a data access to [la, la + len); 0: none. */
uint64_t debug_data_match(const struct vcpu *v, uint64_t la, unsigned len, bool write);

/* The same for an access to ports [port, port + size): only with CR4.DE. */
uint64_t debug_io_match(const struct vcpu *v, uint16_t port, unsigned size);

/* MOV to and from DRn, n 0 to 7 as encoded, after the checks for #UD and CPL. They raise #DB (DR7.GD) and #GP. */
uint64_t debug_read_dr(struct vcpu *v, unsigned n);
void debug_write_dr(struct vcpu *v, unsigned n, uint64_t val);

#endif
