/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The child process of the oracle, and the parent's end of it.
 *
 * The child does nothing but take signals. A case is entered by sigreturn(2), which loads every register there is -
 * general, flags, CS and SS, x87 and vectors - and left by the exception that ends it, for which the kernel puts all
 * of them into the next signal frame. So the handler reads the outcome of one case and writes the state of the next
 * one into the same frame. Only the data segment registers, the FS and GS bases and the flags ID and NT pass by the
 * frame; native_entry moves them. About 3 us a case.
 *
 * System calls that a case may make by accident end in SIGSYS (Syscall User Dispatch).
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <asm/ldt.h>
#include <ucontext.h>
#include <unistd.h>
#include "native.h"
#include "native_entry.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif

/* Flags of a signal frame, as in <asm/ucontext.h>: SS is there, and is to be taken from there. */
#define UC_SIGCONTEXT_SS     2
#define UC_STRICT_RESTORE_SS 4

struct native {
	struct batch *b;
	pid_t pid;
};

/* The child's own state; its signal handler has no other way to it. */
static struct {
	struct batch *b;
	uint8_t *frame[FRAMES];
	bool in_case;
	unsigned ticks; /* alarms seen in the current case */
	greg_t home[NGREG];
} child;

static const uint8_t greg_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				     REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

/* Flags that sigreturn does not restore and the entry code moves. */
#define FLAGS_BY_HAND (FL_ID | FL_NT)
#define TRAP_SYSCALL  0xfe /* the case made a system call */

static void load_case(ucontext_t *uc, const struct diff_case *c)
{
	greg_t *g = uc->uc_mcontext.gregs;

	frames_load(child.frame, child.b->image, c);
	for (unsigned i = 0; i < 16; i++)
		g[greg_of[i]] = (greg_t)c->gpr[i];
	g[REG_RIP] = (greg_t)c->rip;
	g[REG_EFL] = (greg_t)c->rflags;
	g[REG_CSGSFS] = (greg_t)((uint64_t)c->sel[SEG_SS] << 48 | c->sel[SEG_CS]);
	uc->uc_flags |= UC_STRICT_RESTORE_SS | UC_SIGCONTEXT_SS;
	xstate_store((uint8_t *)uc->uc_mcontext.fpregs, &c->fpu);
	native_out = (struct native_regs){ c->fs_base, c->gs_base, c->sel[SEG_DS], c->sel[SEG_ES], c->sel[SEG_FS],
					   c->sel[SEG_GS], FL_1 | FL_IF | (c->rflags & FLAGS_BY_HAND) };
}

static void collect_outcome(ucontext_t *uc, int sig, const struct diff_case *c, struct outcome *o)
{
	const greg_t *g = uc->uc_mcontext.gregs;

	o->kind = sig == SIGPROF ? OUTCOME_HANG : OUTCOME_TRAP;
	o->vector = sig == SIGSYS ? TRAP_SYSCALL : (uint8_t)g[REG_TRAPNO];
	o->err = (uint32_t)g[REG_ERR];
	o->cr2 = o->vector == X86_PF ? (uint64_t)g[REG_CR2] : 0;
	for (unsigned i = 0; i < 16; i++)
		o->gpr[i] = (uint64_t)g[greg_of[i]];
	o->rip = (uint64_t)g[REG_RIP];
	o->rflags = (uint64_t)g[REG_EFL];
	o->sel[SEG_CS] = (uint16_t)g[REG_CSGSFS];
	o->sel[SEG_SS] = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
	o->sel[SEG_DS] = native_in.ds;
	o->sel[SEG_ES] = native_in.es;
	o->sel[SEG_FS] = native_in.fs;
	o->sel[SEG_GS] = native_in.gs;
	o->fs_base = native_in.fs_base;
	o->gs_base = native_in.gs_base;
	xstate_load((const uint8_t *)uc->uc_mcontext.fpregs, &o->fpu);
	frames_collect(child.frame, child.b->image, c, o);
}

static void go_home(ucontext_t *uc)
{
	memcpy(uc->uc_mcontext.gregs, child.home, sizeof(child.home));
	xstate_init((uint8_t *)uc->uc_mcontext.fpregs);
	native_out = (struct native_regs){ .fs_base = native_tls, .flags = FL_1 | FL_IF };
	child.in_case = false;
}

void native_trap(int sig, siginfo_t *info, void *ctx)
{
	struct batch *b = child.b;
	ucontext_t *uc = ctx;
	uint32_t at = b->at;

	/* An alarm that finds the same case twice has found a loop; the first time it just goes on. */
	if (sig == SIGPROF && (!child.in_case || child.ticks++ == 0)) {
		native_out = native_in;
		native_out.flags = FL_1 | FL_IF | ((uint64_t)uc->uc_mcontext.gregs[REG_EFL] & FLAGS_BY_HAND);
		return;
	}
	if (child.in_case) {
		collect_outcome(uc, sig, &b->c[at], &b->native[at]);
		b->at = ++at;
	} else {
		memcpy(child.home, uc->uc_mcontext.gregs, sizeof(child.home));
		child.home[REG_RIP] += NATIVE_KICK_LEN;
		child.in_case = true;
	}
	child.ticks = 0;
	if (at < b->n)
		load_case(uc, &b->c[at]);
	else
		go_home(uc);
}

static int map_world(void)
{
	int fd = memfd_create("doppel-diff", 0);
	uint8_t *all;

	if (fd < 0 || ftruncate(fd, FRAMES * PAGE_SIZE) < 0)
		return -errno;
	all = mmap(NULL, FRAMES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (all == MAP_FAILED)
		return -errno;
	for (unsigned i = 0; i < FRAMES; i++)
		child.frame[i] = all + i * PAGE_SIZE;
	for (unsigned i = 0; i < 2 * n_world_pages; i++) {
		const struct world_page *p = &world_pages[i / 2];
		uint64_t la = (i & 1 ? WORLD_HIGH : WORLD_LOW) + p->offset;
		int prot = PROT_READ | (p->writable ? PROT_WRITE : 0) | (p->executable ? PROT_EXEC : 0);
		/* Not libc's mmap: the sanitizers would have their say on these addresses. */
		long got = syscall(SYS_mmap, la, PAGE_SIZE, prot, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd,
				   p->frame * PAGE_SIZE);

		if ((uint64_t)got != la)
			return -ENOMEM;
	}
	close(fd);
	return 0;
}

static bool set_ldt(void)
{
	for (unsigned i = 0; i < WORLD_LDT_ENTRIES; i++) {
		const struct world_ldt *l = &world_ldt[i];
		struct user_desc d = { .entry_number = i, .base_addr = l->base, .limit = l->limit,
				       .seg_32bit = l->seg_32bit, .contents = l->contents, .limit_in_pages = l->pages,
				       .read_exec_only = l->readonly, .seg_not_present = l->absent, .useable = 1 };

		if (syscall(SYS_modify_ldt, 0x11, &d, sizeof(d)) != 0)
			return false;
	}
	return true;
}

static int set_signals(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGPROF };
	/* As the kernel wants it: libc's sigaction() would put its own restorer in. */
	struct {
		void (*handler)(void);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} sa = { native_entry, SA_SIGINFO | SA_ONSTACK | SA_NODEFER | 0x04000000 /* SA_RESTORER */, native_restorer,
	       BIT(SIGPROF - 1) }; /* the alarm must not come into the handler */
	const size_t size = 256 * KiB;
	stack_t ss = { .ss_size = size };
	struct itimerval every = { { 0, 10000 }, { 0, 10000 } }; /* of CPU time: who has to wait for a CPU hangs in no loop */

	ss.ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (ss.ss_sp == MAP_FAILED || sigaltstack(&ss, NULL) < 0)
		return -errno;
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
		if (syscall(SYS_rt_sigaction, signals[i], &sa, NULL, 8) < 0)
			return -errno;
	return setitimer(ITIMER_PROF, &every, NULL) < 0 ? -errno : 0;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t while_value)
{
	native_syscall(SYS_futex, (long)word, FUTEX_WAIT, while_value, 0, 0, 0);
}

static _Noreturn void child_main(struct batch *b)
{
	child.b = b;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (map_world() < 0 || set_signals() < 0)
		_exit(1);
	for (unsigned i = 0; i < CODE_PAGES; i++)
		memset(child.frame[FRAME_CODE0 + i], CODE_FILL, PAGE_SIZE);
	native_tls = native_read_fs_base();
	prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, (long)native_text_start,
	      (long)(native_text_end - native_text_start), 0);
	for (uint32_t done = b->done;; ) {
		while (b->posted == done)
			futex_wait(&b->posted, done);
		for (unsigned i = 0; i < IMAGE_FRAMES; i++)
			memcpy(child.frame[i], b->image[i], PAGE_SIZE);
		if (b->at < b->n)
			native_kick();
		done = b->posted;
		b->done = done;
		native_syscall(SYS_futex, (long)&b->done, FUTEX_WAKE, 1, 0, 0, 0);
	}
}

static int start_child(struct native *n, struct err *e)
{
	n->pid = fork();
	if (n->pid < 0)
		return err_set(e, errno, "fork: %s", strerror(errno));
	if (n->pid == 0)
		child_main(n->b);
	return 0;
}

int native_new(struct native **out, struct err *e)
{
	struct native *n = calloc(1, sizeof(*n));

	if (!n)
		return err_set(e, ENOMEM, "native: out of memory");
	n->b = mmap(NULL, sizeof(*n->b), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (n->b == MAP_FAILED) {
		free(n);
		return err_set(e, ENOMEM, "native: out of memory");
	}
	set_ldt(); /* the child inherits it */
	if (start_child(n, e) < 0) {
		native_free(n);
		return -1;
	}
	*out = n;
	return 0;
}

void native_free(struct native *n)
{
	if (n->pid > 0) {
		kill(n->pid, SIGKILL);
		waitpid(n->pid, NULL, 0);
	}
	munmap(n->b, sizeof(*n->b));
	free(n);
}

struct batch *native_batch(struct native *n)
{
	return n->b;
}

bool native_has_ldt(void)
{
	return set_ldt();
}

static void wake_child(struct native *n)
{
	n->b->posted++;
	syscall(SYS_futex, &n->b->posted, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void native_post(struct native *n)
{
	n->b->at = 0;
	wake_child(n);
}

int native_wait(struct native *n, struct err *e)
{
	const struct timespec tick = { 0, 50000000 };
	struct batch *b = n->b;
	int status;

	for (;;) {
		uint32_t done = b->done;

		if (done == b->posted)
			return 0;
		syscall(SYS_futex, &b->done, FUTEX_WAIT, done, &tick, NULL, 0);
		if (b->done != done || waitpid(n->pid, &status, WNOHANG) == 0)
			continue;
		n->pid = 0;
		if (WIFEXITED(status))
			return err_set(e, ENOMEM, "native: the child could not map its world at %#llx and %#llx",
				       WORLD_LOW, WORLD_HIGH);
		b->native[b->at++].kind = OUTCOME_DIED;
		b->done = b->posted;
		if (start_child(n, e) < 0)
			return -1;
		wake_child(n);
	}
}
