/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions that the host CPU raises inside of a stub, and what they are for the guest.
 *
 * The kernel turns them into SIGFPE, SIGILL, SIGSEGV or SIGBUS. The handlers are the process's, so
 * they are installed once and know, by a thread-local pointer, whether RIP is within the stub that
 * this thread runs; if not they pass the signal on to whoever was there before. In a stub the
 * handler notes the vector and resumes at the stub's abort exit, which stores MXCSR (with the flags
 * that the exception has set, SDM vol. 1, 11.5.2), restores the host's state and returns.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

#include "base/log.h"
#include "cpu/interp/hostexec_int.h"

static const int signals[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS };

/* Whom we took them from; written under the lock before our handler can run. */
static struct sigaction previous[ARRAY_SIZE(signals)];
static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;

_Thread_local struct hostexec *hx_current;

/* The default action: when the instruction is executed again, or at once when somebody has sent the signal. */
static void end_by(int sig, const siginfo_t *info)
{
	signal(sig, SIG_DFL);
	if (info->si_code <= 0)
		raise(sig);
}

/* Not ours: the handler before us, or the default action. */
static void pass_on(int sig, siginfo_t *info, void *ctx)
{
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++) {
		if (signals[i] != sig)
			continue;
		if (previous[i].sa_flags & SA_SIGINFO)
			previous[i].sa_sigaction(sig, info, ctx);
		else if (previous[i].sa_handler != SIG_DFL && previous[i].sa_handler != SIG_IGN)
			previous[i].sa_handler(sig);
		else
			end_by(sig, info);
	}
}

static void on_signal(int sig, siginfo_t *info, void *ctx)
{
	ucontext_t *uc = ctx;
	greg_t *regs = uc->uc_mcontext.gregs;
	struct hostexec *hx = hx_current;
	uintptr_t start, rip = (uintptr_t)regs[REG_RIP];

	if (!hx || info->si_code <= 0) { /* or somebody has sent it */
		pass_on(sig, info, ctx);
		return;
	}
	start = (uintptr_t)hx->running->code;
	if (rip < start || rip >= start + hx->running->abort_off) {
		pass_on(sig, info, ctx);
		return;
	}
	hx->fault = (uint32_t)regs[REG_TRAPNO];
	if (sig == SIGBUS && hx->fault != X86_AC)
		hx->fault = HX_FAULT_HOST;
	regs[REG_RIP] = (greg_t)(start + hx->running->abort_off);
}

static int install(unsigned n)
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_ONSTACK }, now;

	sa.sa_sigaction = on_signal;
	sigemptyset(&sa.sa_mask);
	if (sigaction(signals[n], NULL, &now))
		return -errno;
	if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_signal)
		return 0;
	previous[n] = now;
	return sigaction(signals[n], &sa, NULL) ? -errno : 0;
}

int hostexec_catch_signals(void)
{
	int rc = 0;

	pthread_mutex_lock(&install_lock);
	for (unsigned n = 0; n < ARRAY_SIZE(signals) && !rc; n++)
		rc = install(n);
	pthread_mutex_unlock(&install_lock);
	return rc;
}

void hx_raise(struct vcpu *v, struct hostexec *hx)
{
	const struct hx_desc *d = &hx->running->d;

	switch (hx->fault) {
	case X86_DE:
	case X86_UD:
	case X86_MF:
		interp_raise(v, (enum x86_vector)hx->fault);
	case X86_XM:
		interp_raise(v, (v->s.cr4 & CR4_OSXMMEXCPT) ? X86_XM : X86_UD); /* SDM vol. 1, 11.5.1 */
	case X86_AC:
		interp_raise_err(v, X86_AC, 0); /* a host that forbids split locks */
	case X86_GP:
	case X86_SS:
		GP0(v);
	case HX_FAULT_HOST:
		guest_log("vCPU %u: the host has lost memory of the guest: machine check", v->index);
		interp_raise(v, X86_MC);
	default:
		guest_log("vCPU %u: unexpected host exception %u in %02x %02x %02x %02x (%u bytes): #GP(0)",
			  v->index, hx->fault, d->code[0], d->code[1], d->code[2], d->code[3], d->len);
		GP0(v);
	}
}
