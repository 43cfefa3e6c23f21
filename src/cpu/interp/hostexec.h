/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions that the host CPU executes for the reference engine: the context of one vCPU. */
#ifndef DOPPEL_CPU_INTERP_HOSTEXEC_H
#define DOPPEL_CPU_INTERP_HOSTEXEC_H

struct vcpu;
struct hostexec;

/*
 * Made by the first instruction that needs it, on the vCPU's thread; NULL when the host refuses the
 * memory (reported).
 */
struct hostexec *hostexec_new(struct vcpu *v);
void hostexec_free(struct hostexec *hx);

/*
 * Install the process's handlers of SIGFPE, SIGILL, SIGSEGV and SIGBUS, in front of those that are there.
 * hostexec_new() does it; whoever replaces them later (as cmocka does before each test) calls this
 * again. Returns 0 or -errno.
 */
int hostexec_catch_signals(void);

/* run.c: where the context hangs, and dropping all decoded instructions (their stubs are gone). */
struct hostexec **interp_hostexec_slot(struct vcpu *v);
void interp_flush_decoded(struct vcpu *v);

#endif
