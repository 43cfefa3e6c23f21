/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /dev/kvm is worth on this host: opening it says little, so guest code is run and measured. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/bits.h"
#include "base/endian.h"
#include "cpu/kvm/probe.h"

#define KVM_DEVICE    "/dev/kvm"
#define FIRST_LOOPS   2000u     /* 3 ms where ring 0 is emulated */
#define LATER_LOOPS   10000000u /* a few ms in hardware */
#define FAST_FIRST_NS 500000    /* the first run took less: worth the longer one */
#define GUEST_PAGE    4096u

/* mov $loops, %ecx; 1: dec %ecx; jnz 1b; hlt: in 32-bit protected mode at address 0. */
static const uint8_t guest_code[] = { 0xb9, 0, 0, 0, 0, 0x49, 0x75, 0xfd, 0xf4 };
#define LOOPS_OFFSET 1

struct machine {
	int vm, vcpu;
	uint8_t *page;
	struct kvm_run *run;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static struct kvm_segment flat_segment(uint8_t type)
{
	return (struct kvm_segment){ .limit = 0xffffffff, .selector = 8, .type = type, .present = 1, .db = 1, .s = 1, .g = 1 };
}

/* Flat 32-bit protected mode, ring 0: old processors need help for real mode but not for this. */
static int set_registers(int vcpu, uint32_t loops, uint8_t *page)
{
	struct kvm_sregs s;
	struct kvm_regs r = { .rflags = 2 };

	memcpy(page, guest_code, sizeof(guest_code));
	put_le32(page + LOOPS_OFFSET, loops);
	if (ioctl(vcpu, KVM_GET_SREGS, &s))
		return -1;
	s.cr0 |= 1;
	s.cs = flat_segment(0xb);
	s.ds = s.es = s.fs = s.gs = s.ss = flat_segment(3);
	return ioctl(vcpu, KVM_SET_SREGS, &s) || ioctl(vcpu, KVM_SET_REGS, &r) ? -1 : 0;
}

/* Run the loop once; its time in ns, or 0 when it did not end in HLT. */
static uint64_t run_loops(const struct machine *m, uint32_t loops)
{
	uint64_t t;

	if (set_registers(m->vcpu, loops, m->page))
		return 0;
	t = now_ns();
	if (ioctl(m->vcpu, KVM_RUN, 0) || m->run->exit_reason != KVM_EXIT_HLT)
		return 0;
	return now_ns() - t;
}

static const char *make_machine(int kvm, struct machine *m)
{
	struct kvm_userspace_memory_region mem = { .memory_size = GUEST_PAGE };
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	m->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (m->vm < 0)
		return "it does not make virtual machines";
	m->page = mmap(NULL, GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mem.userspace_addr = (uintptr_t)m->page;
	if (m->page == MAP_FAILED || ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &mem))
		return "it does not take memory";
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	if (m->vcpu < 0 || size < (int)sizeof(*m->run))
		return "it does not make vCPUs";
	m->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
	return m->run == MAP_FAILED ? "it does not make vCPUs" : NULL;
}

/* In the child: measure, and write the answer to fd. */
static void measure(int kvm, int fd)
{
	struct kvm_probe p = { 0 };
	struct machine m;
	const char *problem = make_machine(kvm, &m);
	uint64_t ns = problem ? 0 : run_loops(&m, FIRST_LOOPS);
	uint32_t loops = FIRST_LOOPS;
	ssize_t n;

	if (ns && ns < FAST_FIRST_NS) {
		loops = LATER_LOOPS;
		ns = run_loops(&m, loops);
	}
	if (!problem && !ns)
		problem = "it does not run guest code";
	p.runs = ns != 0;
	if (ns)
		p.loops_per_second = loops * 1e9 / (double)ns;
	if (problem)
		snprintf(p.problem, sizeof(p.problem), "%s", problem);
	n = write(fd, &p, sizeof(p));
	(void)n;
}

/* The kernel's answer may never come: a child asks, and is killed when it takes too long. */
static void measure_in_child(struct kvm_probe *p, int kvm)
{
	struct kvm_probe answer;
	struct pollfd pfd;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC)) {
		snprintf(p->problem, sizeof(p->problem), "cannot measure it: %s", strerror(errno));
		return;
	}
	pid = fork();
	if (pid == 0) {
		measure(kvm, fds[1]);
		_exit(0);
	}
	close(fds[1]);
	pfd = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	if (pid < 0) {
		snprintf(p->problem, sizeof(p->problem), "cannot measure it: %s", strerror(errno));
	} else if (poll(&pfd, 1, KVM_PROBE_MS) == 1 && read(fds[0], &answer, sizeof(answer)) == sizeof(answer)) {
		p->runs = answer.runs;
		p->loops_per_second = answer.loops_per_second;
		memcpy(p->problem, answer.problem, sizeof(p->problem));
	} else {
		snprintf(p->problem, sizeof(p->problem), "guest code did not end within %d ms", KVM_PROBE_MS);
	}
	close(fds[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			continue;
	}
}

void kvm_probe(struct kvm_probe *p)
{
	int kvm;

	memset(p, 0, sizeof(*p));
	p->present = access(KVM_DEVICE, F_OK) == 0;
	kvm = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		snprintf(p->problem, sizeof(p->problem), "%s", strerror(errno));
		return;
	}
	p->opens = true;
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) == KVM_API_VERSION)
		measure_in_child(p, kvm);
	else
		snprintf(p->problem, sizeof(p->problem), "it speaks another version of the interface");
	close(kvm);
}
