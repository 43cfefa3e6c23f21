/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long an interrupt waits while guest code runs that never leaves by itself. A timer's signal comes to the vCPU's own thread in
 * the middle of it and raises the interrupt: what is measured is the engine alone, not the host's scheduler. No time fails; that
 * the interrupt is taken at all does, and where the guest stands then.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

#define VECTOR 0x40
#define ROUNDS 40

static struct {
	_Atomic bool pending;
	_Atomic uint64_t raised; /* host TSC */
	uint64_t acked;
	struct vcpu *v;
	timer_t timer;
} line;

static bool pending(void *opaque)
{
	return atomic_load(&line.pending);
}

static int ack(void *opaque)
{
	line.acked = host_tsc();
	return atomic_exchange(&line.pending, false) ? VECTOR : -1;
}

/* Nothing but atomics in vcpu_raise() while the vCPU runs. */
static void on_timer(int sig)
{
	atomic_store(&line.raised, host_tsc());
	atomic_store(&line.pending, true);
	vcpu_raise(line.v, WORK_INTR);
}

static void arm(unsigned us)
{
	const struct itimerspec when = { .it_value = { 0, us * 1000L } };

	timer_settime(line.timer, 0, &when, NULL);
}

static void make_timer(void)
{
	struct sigaction sa = { .sa_handler = on_timer, .sa_flags = SA_ONSTACK | SA_RESTART };
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };

	ev._sigev_un._tid = (int)syscall(SYS_gettid);
	assert_int_equal(sigaction(SIGUSR1, &sa, NULL), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &ev, &line.timer), 0);
}

/* -- What runs meanwhile ---------------------------------------------------------------------------------------- */

#define STRAIGHT ".rept 250; add %rax, %rbx; lea 3(%rbx,%rax), %rax; imul %rbx, %rax; xor %rax, %rcx; .endr"

GUEST(spin, 64, "sti; 1: jmp 1b");
GUEST(pausing, 64, "sti; 1: pause; jmp 1b");
GUEST(counting, 64, "sti; 1: dec %rax; jnz 1b; jmp 1b");
GUEST(memory, 64, "sti; mov $0xa000, %edi; 1: incq (%rdi); mov 8(%rdi), %rax; add %rax, 16(%rdi); jmp 1b");
GUEST(chained, 64, "sti; 1: test $1, %al; jz 2f; inc %eax; jmp 3f; 2: add $3, %eax; 3: cmp $7, %al; je 1b; jmp 4f; 4: jmp 1b");
GUEST(recursion, 64, "sti; 1: mov $200, %ecx; call 2f; jmp 1b; 2: dec %ecx; jz 3f; call 2b; 3: ret");
GUEST(indirect, 64, "sti; lea 1f(%rip), %rax; lea 2f(%rip), %rbx; 1: jmp *%rbx; 2: jmp *%rax");
GUEST(switching, 64, "sti; lea 5f(%rip), %rbx; 1: inc %eax; mov %eax, %ecx; and $3, %ecx; mov (%rbx,%rcx,8), %rcx; lea 1b(%rip), %rdx;"
		     "add %rdx, %rcx; jmp *%rcx; 2: nop; jmp 1b; 3: inc %esi; jmp 1b; 5: .quad 2b-1b, 3b-1b, 2b-1b, 3b-1b");
GUEST(straight, 64, "sti; 1: " STRAIGHT "; jmp 1b");
GUEST(stosb, 64, "sti; 1: mov $0x100000, %edi; mov $0x600000, %ecx; rep stosb; jmp 1b");
GUEST(movsq, 64, "sti; 1: mov $0x100000, %esi; mov $0x400000, %edi; mov $0x40000, %ecx; rep movsq; jmp 1b");
GUEST(movsb_overlapping, 64, "sti; 1: mov $0x100000, %esi; mov $0x100001, %edi; mov $0x400000, %ecx; rep movsb; jmp 1b");
GUEST(stosb_backwards, 64, "sti; std; 1: mov $0x6fffff, %edi; mov $0x600000, %ecx; rep stosb; jmp 1b");
GUEST(scasb, 64, "sti; 1: mov $0x100000, %edi; mov $0x600000, %ecx; mov $1, %al; repne scasb; jmp 1b");
GUEST(lodsb, 64, "sti; 1: mov $0x100000, %esi; mov $0x600000, %ecx; rep lodsb; jmp 1b");
GUEST(system_regs, 64, "sti; 1: mov %cr0, %rax; mov %ds, %ecx; pushf; popf; jmp 1b");
GUEST(fallbacks, 64, "sti; 1: sgdt 0xa000; str %eax; jmp 1b");
GUEST(rewriting, 64, "sti; 1: inc %ecx; mov %ecx, 2f+1(%rip); 2: mov $0, %eax; jmp 1b");
GUEST(windows, 64, "1: sti; nop; nop; cli; jmp 1b");
GUEST(user, 64, "1: inc %rax; jmp 1b");

struct shape {
	const char *name;
	const unsigned char *code, *end;
	unsigned cpl;
};

#define SHAPE(name, cpl) { #name, name, name##_end, cpl }

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t measure(struct tiny *t, const struct shape *s, unsigned round)
{
	tiny_enter(t, TINY_LONG, s->cpl);
	if (s->cpl)
		t->v->s.rflags |= FL_IF;
	tiny_put(t, TINY_CODE, s->code, (size_t)(s->end - s->code));
	atomic_store(&line.pending, false);
	arm(300 + round * 37 % 200);
	assert_int_equal(tiny_run(t), VECTOR);
	assert_in_range(t->frame.rip, TINY_CODE, TINY_CODE + (uint64_t)(s->end - s->code));
	return line.acked - atomic_load(&line.raised);
}

static void report(const struct shape *s, uint64_t *ticks, double per_us)
{
	unsigned within = 0;

	qsort(ticks, ROUNDS, sizeof(*ticks), by_value);
	while (within < ROUNDS && (double)ticks[within] / per_us <= 50)
		within++;
	printf("%-18s median %7.1f us, 90 %% %7.1f, most %7.1f; within 50 us: %u of %u\n", s->name,
	       (double)ticks[ROUNDS / 2] / per_us, (double)ticks[ROUNDS * 9 / 10] / per_us, (double)ticks[ROUNDS - 1] / per_us,
	       within, ROUNDS);
}

static void test_latency(void **state)
{
	static const struct shape shapes[] = {
		SHAPE(spin, 0),	     SHAPE(pausing, 0),	 SHAPE(counting, 0),	SHAPE(memory, 0),
		SHAPE(chained, 0),   SHAPE(recursion, 0), SHAPE(indirect, 0),	SHAPE(switching, 0),
		SHAPE(straight, 0),  SHAPE(stosb, 0),	 SHAPE(movsq, 0),	SHAPE(movsb_overlapping, 0),
		SHAPE(stosb_backwards, 0), SHAPE(scasb, 0), SHAPE(lodsb, 0),	SHAPE(system_regs, 0),
		SHAPE(fallbacks, 0), SHAPE(rewriting, 0), SHAPE(windows, 0),	SHAPE(user, 3),
	};
	struct tiny *t = *state;
	struct cpu_intc_ops ops = *t->v->intc.ops;
	double per_us = (double)clock_tsc_hz(t->clock) / 1e6;
	uint64_t ticks[ROUNDS];

	ops.pending = pending;
	ops.ack = ack;
	t->v->intc.ops = &ops;
	line.v = t->v;
	make_timer();
	printf("engine %s:\n", t->v->engine->name);
	for (unsigned n = 0; n < ARRAY_SIZE(shapes); n++) {
		for (unsigned round = 0; round < ROUNDS; round++)
			ticks[round] = measure(t, &shapes[n], round);
		report(&shapes[n], ticks, per_us);
	}
	timer_delete(line.timer);
}

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_latency) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
