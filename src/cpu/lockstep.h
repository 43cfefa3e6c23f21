/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lockstep: the reference runs beside the fast engine, on RAM of its own, and both are compared block by block. */
#ifndef DOPPEL_CPU_LOCKSTEP_H
#define DOPPEL_CPU_LOCKSTEP_H

#include "base/strbuf.h"
#include "cpu/vcpu.h"

struct lockstep;

/*
 * Put a vCPU, the only one of its machine, under the reference's eyes: before it runs, when its interrupt controller
 * and spaces are there. Its RAM is needed a second time. Sets v->lockstep. Errors: -ENOMEM, those of ram_new().
 */
int lockstep_new(struct vcpu *v, struct err *e);
void lockstep_free(struct vcpu *v); /* when it stands still for good; nothing when it has none */

/* As the engine's run(); EXIT_INTERNAL after a difference, which is then in the log. On the vCPU's thread. */
enum vcpu_exit lockstep_run(struct lockstep *ls);

/* The state was changed from outside: the reference begins anew from it. Paused, or on the vCPU's thread. */
void lockstep_resync(struct lockstep *ls);

/* From now on lockstep_run() returns EXIT_KICKED after so many turns at the latest; 0, as at first: no limit. */
void lockstep_limit(struct lockstep *ls, uint64_t turns);

/* What RDTSC reads on v: the engine's vCPU or the reference's. */
uint64_t lockstep_tsc(struct lockstep *ls, struct vcpu *v);

/* The report of the difference that ended the last run; empty if there was none. */
const char *lockstep_report(const struct lockstep *ls);

void lockstep_print_stats(const struct lockstep *ls, struct strbuf *out);

#endif
