/* SPDX-License-Identifier: GPL-2.0-or-later */
/* micro NAME: one kind of system call, fault or switch, many times, as one span. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "span.h"

#define PAGE 4096u

static const char *self;
static uint64_t sum;

/* -- System calls ------------------------------------------------------------------------------------------------ */

static void getppid_run(unsigned n)
{
	while (n--)
		sum += syscall(SYS_getppid) >= 0;
}

static int zero;

static void read_zero_setup(void)
{
	zero = open("/dev/zero", O_RDONLY);
	if (zero < 0)
		fail("/dev/zero");
}

static void read_zero_run(unsigned n)
{
	char buf[64];

	while (n--)
		sum += (uint64_t)read(zero, buf, sizeof(buf));
}

static void on_signal(int number)
{
	sum += (uint64_t)number;
}

static void signal_setup(void)
{
	signal(SIGUSR1, on_signal);
}

static void signal_run(unsigned n)
{
	pid_t me = getpid();

	while (n--)
		kill(me, SIGUSR1);
}

/* -- Memory -------------------------------------------------------------------------------------------------------- */

static char *map(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

static void fault_run(unsigned n)
{
	const size_t chunk = 1024;

	for (; n >= chunk; n -= chunk) {
		char *p = map(chunk * PAGE);

		for (size_t i = 0; i < chunk; i++)
			sum += (uint64_t)++p[i * PAGE];
		munmap(p, chunk * PAGE);
	}
}

/* Every second call takes the right to write away from a page in use, the other gives it back. */
static void mprotect_run(unsigned n)
{
	volatile char *p = map(4 * PAGE);

	for (unsigned i = 0; i < n; i += 2) {
		p[PAGE]++;
		if (mprotect((void *)(p + PAGE), PAGE, PROT_READ) || mprotect((void *)(p + PAGE), PAGE, PROT_READ | PROT_WRITE))
			fail("mprotect");
	}
	sum += (uint64_t)(unsigned char)p[PAGE];
}

/* The same while another thread, on another CPU, has the page in its TLB: it has to be interrupted each time. */
static volatile char *shared;
static volatile int watching, stop;

static void *watch(void *arg)
{
	while (!stop)
		watching |= shared[PAGE] | 1;
	return arg;
}

static pthread_t watcher;

static void shootdown_setup(void)
{
	shared = map(4 * PAGE);
	if (pthread_create(&watcher, NULL, watch, NULL))
		fail("pthread_create");
	while (!watching)
		sched_yield();
}

static void shootdown_run(unsigned n)
{
	while (n--) {
		shared[PAGE]++;
		if (mprotect((void *)(shared + PAGE), PAGE, PROT_READ) || mprotect((void *)(shared + PAGE), PAGE, PROT_READ | PROT_WRITE))
			fail("mprotect");
	}
	stop = 1;
	pthread_join(watcher, NULL);
	sum += (uint64_t)(unsigned char)shared[PAGE];
}

/* -- Processes ------------------------------------------------------------------------------------------------------- */

static void reap(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		fail("fork");
	sum += (uint64_t)WEXITSTATUS(status);
}

static void fork_run(unsigned n)
{
	while (n--) {
		pid_t pid = fork();

		if (!pid)
			_exit(1);
		reap(pid);
	}
}

static void exec_run(unsigned n)
{
	while (n--) {
		pid_t pid = fork();

		if (!pid) {
			execl(self, self, "nothing", NULL);
			_exit(127);
		}
		reap(pid);
	}
}

/* Both on one CPU, as they are in the guest. */
static void ping_setup(void)
{
	cpu_set_t set;
	unsigned cpu;

	if (getcpu(&cpu, NULL))
		fail("getcpu");
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void ping_run(unsigned n)
{
	int there[2], back[2];
	char c = 0;
	pid_t pid;

	if (pipe(there) || pipe(back))
		fail("pipe");
	pid = fork();
	if (!pid) {
		while (n-- && read(there[0], &c, 1) == 1 && write(back[1], &c, 1) == 1)
			;
		_exit(1);
	}
	while (n-- && write(there[1], &c, 1) == 1 && read(back[0], &c, 1) == 1)
		sum++;
	reap(pid);
}

/* -- Table ------------------------------------------------------------------------------------------------------------- */

static const struct micro {
	const char *name;
	unsigned operations;
	void (*setup)(void);
	void (*run)(unsigned operations);
} micros[] = {
	{ "getppid", 500000, NULL, getppid_run },
	{ "read-zero", 400000, read_zero_setup, read_zero_run },
	{ "signal", 60000, signal_setup, signal_run },
	{ "page-fault", 60 * 1024, NULL, fault_run },
	{ "fork", 600, NULL, fork_run },
	{ "exec", 300, NULL, exec_run },
	{ "ping-pong", 20000, ping_setup, ping_run },
	{ "mprotect", 60000, NULL, mprotect_run },
	{ "shootdown", 10000, shootdown_setup, shootdown_run },
};

int main(int argc, char **argv)
{
	self = argv[0];
	if (argc == 2 && !strcmp(argv[1], "nothing"))
		return 1;
	for (size_t i = 0; argc == 2 && i < sizeof(micros) / sizeof(micros[0]); i++) {
		const struct micro *m = &micros[i];

		if (strcmp(m->name, argv[1]))
			continue;
		if (m->setup)
			m->setup();
		span_begin();
		m->run(m->operations);
		span_end(sum, m->operations);
		return 0;
	}
	fputs("usage: micro NAME\n", stderr);
	return 2;
}
