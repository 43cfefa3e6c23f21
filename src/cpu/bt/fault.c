/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults that the host raises in translated code: division, alignment of vector operands, unmasked
 * floating-point exceptions. The guest's registers are in the host's, but for the stolen ones, whose homes
 * still hold what the instruction began with: so leaving by the exit stub gives the state from before it, and
 * the reference engine raises the exception.
 *
 * The guest's RSP is the host's while translated code runs, and may point anywhere: handlers run on an
 * alternate stack that is disarmed while in use, so that no value of RSP passes for being on it already.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "cpu/bt/cache.h"

#define ALTSTACK_SIZE (64 * KiB)
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
/* Set before our handler can run: whom it took the signal from, last and at first. */
static struct sigaction previous[ARRAY_SIZE(signals)], first[ARRAY_SIZE(signals)];
static bool installed[ARRAY_SIZE(signals)];
static _Thread_local bool passing;
static _Thread_local struct bt *current;

/* The default action: when the instruction is executed again, or at once when somebody has sent the signal. */
static void end_by(int sig, const siginfo_t *info)
{
	signal(sig, SIG_DFL);
	if (info->si_code <= 0)
		raise(sig);
}

static void hand_to(const struct sigaction *sa, int sig, siginfo_t *info, void *uc)
{
	if (sa->sa_flags & SA_SIGINFO)
		sa->sa_sigaction(sig, info, uc);
	else if (sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN)
		sa->sa_handler(sig);
	else
		end_by(sig, info);
}

/*
 * Not ours. The reference engine's handlers may have been put before ours, and ours before them again: so they pass on to
 * us, and then it is the turn of who was there before both.
 */
static void pass_on(int sig, siginfo_t *info, void *uc)
{
	for (unsigned n = 0; n < ARRAY_SIZE(signals); n++) {
		if (signals[n] != sig)
			continue;
		if (passing) {
			hand_to(&first[n], sig, info, uc);
			continue;
		}
		passing = true;
		hand_to(&previous[n], sig, info, uc);
		passing = false;
	}
}

/* Or in one of its guards. */
static bool in_stack_window(const struct bt *bt, uint64_t addr)
{
	const struct bt_stack *s = &bt->current->stack;

	return s->open && addr - (uint64_t)(uintptr_t)s->base < 2 * BT_STACK_GUARD + BT_STACK_SIZE;
}

static void on_fault(int sig, siginfo_t *info, void *ucontext)
{
	ucontext_t *uc = ucontext;
	struct bt *bt = current;
	struct bt_cache *c = bt ? bt->cache : NULL;
	uint64_t pc = (uint64_t)uc->uc_mcontext.gregs[REG_RIP], code = (uint64_t)(uintptr_t)(c ? c->code_rx : NULL);
	const struct bt_block *b;
	const struct bt_map *m;

	/* si_code: one that somebody has sent is nobody's fault. */
	if (info->si_code <= 0 || !c || pc < code || pc >= code + c->code_size || !(m = bt_map_at(c, (uint32_t)pc))) {
		pass_on(sig, info, ucontext);
		return;
	}
	b = bt_block_at(c, (uint32_t)pc);
	bt->fault_site = (struct bt_site){
		.rip = b->la + m->rip_off,
		.kind = m->fpu ? SITE_INTERP_FPU : SITE_INTERP,
	};
	/* The error of an instruction shows at the next one, whose own note does not stand yet. */
	if (m > &c->map[b->map] && m[-1].x87 == X87_REGISTER)
		bt->x87.reg = m[-1].host;
	if (b->mode.stack && sig == SIGSEGV && in_stack_window(bt, (uint64_t)(uintptr_t)info->si_addr)) {
		bt->fault_site.kind = SITE_STACK;
		bt->fault_site.retry = (uint32_t)pc;
		bt->fault_site.write = (uc->uc_mcontext.gregs[REG_ERR] & PF_W) != 0;
		bt->stack_fault = (uint64_t)(uintptr_t)info->si_addr;
	}
	if (m->parked)
		uc->uc_mcontext.gregs[REG_EFL] = (greg_t)(((uint64_t)uc->uc_mcontext.gregs[REG_EFL] & ~FL_ARITH) |
							  bt_unparked(bt->parked_flags));
	bt->exit_site = (uint64_t)(uintptr_t)&bt->fault_site;
	uc->uc_mcontext.gregs[REG_RIP] = b->loop_insns && m >= &c->map[b->map + b->insns] ? b->loop_fault : c->exit_stub;
}

static void install(unsigned n)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER }, now;

	sigemptyset(&sa.sa_mask);
	sigaction(signals[n], NULL, &now);
	if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault)
		return;
	previous[n] = now;
	if (!installed[n])
		first[n] = now;
	installed[n] = true;
	sigaction(signals[n], &sa, NULL);
}

void bt_catch_signals(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	for (unsigned n = 0; n < ARRAY_SIZE(signals); n++)
		install(n);
	pthread_mutex_unlock(&lock);
}

int bt_fault_init(struct bt *bt, struct err *e)
{
	bt->altstack.ss_size = ALTSTACK_SIZE;
	bt->altstack.ss_flags = (int)SS_AUTODISARM;
	bt->altstack.ss_sp = mmap(NULL, ALTSTACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bt->altstack.ss_sp == MAP_FAILED)
		return err_set(e, errno, "translator: no memory for a signal stack: %s", strerror(errno));
	bt_catch_signals();
	return 0;
}

void bt_fault_thread(struct bt *bt)
{
	if (current == bt)
		return;
	current = bt;
	sigaltstack(&bt->altstack, NULL);
	bt_window_thread(bt);
}

void bt_fault_release(struct bt *bt)
{
	if (current == bt) {
		const stack_t none = { .ss_flags = SS_DISABLE };

		current = NULL;
		sigaltstack(&none, NULL);
	}
	if (bt->altstack.ss_sp && bt->altstack.ss_sp != MAP_FAILED)
		munmap(bt->altstack.ss_sp, ALTSTACK_SIZE);
}
