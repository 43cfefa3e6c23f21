/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doppel doctor: what this host offers, which engine would be chosen, and why. */
#include <cpuid.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "base/bits.h"
#include "cli/command.h"
#include "cli/default_guest.h"
#include "cpu/cpuid.h"
#include "cpu/engines.h"
#include "cpu/kvm/probe.h"

#define LABEL_COLUMN 15

/* Leaves of CPUID, SDM vol. 2: virtualization bits, hypervisor signature, brand string, invariant TSC. */
#define LEAF_FEATURES   1u
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_EXT_MAX    0x80000000u
#define LEAF_EXT        0x80000001u
#define LEAF_BRAND      0x80000002u
#define LEAF_POWER      0x80000007u
#define VMX_BIT         BIT(5)  /* leaf 1 ECX */
#define HYPERVISOR_BIT  BIT(31) /* leaf 1 ECX */
#define SVM_BIT         BIT(2)  /* leaf 0x80000001 ECX */
#define INVARIANT_TSC   BIT(8)  /* leaf 0x80000007 EDX */

static void label(const char *name)
{
	printf("%-*s", LABEL_COLUMN, name);
}

/* The n leaves from first, as text of 4 registers each (from EAX), without outer spaces. */
static void print_brand(void)
{
	uint32_t r[13] = { 0 };
	const char *s = (const char *)r;
	int len;

	if (__get_cpuid_max(LEAF_EXT_MAX, NULL) < LEAF_BRAND + 2) {
		printf("unnamed");
		return;
	}
	for (unsigned i = 0; i < 3; i++)
		__get_cpuid(LEAF_BRAND + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]);
	s += strspn(s, " ");
	len = (int)strlen(s);
	while (len && s[len - 1] == ' ')
		len--;
	printf("%.*s", len, s);
}

/* The best of the models that this host can give a guest. */
static const char *best_level(void)
{
	static const char *const levels[] = { "x86-64-v4", "x86-64-v3", "x86-64-v2" };

	for (unsigned i = 0; i < ARRAY_SIZE(levels); i++) {
		struct cpuid_policy p;

		if (!cpuid_policy_init(&p, levels[i], 1, 1000000000, NULL))
			return levels[i];
	}
	return "less than x86-64-v2";
}

static void print_processor(void)
{
	uint32_t a, b, c, d;

	label("processor");
	print_brand();
	printf(", %ld CPUs online\n", sysconf(_SC_NPROCESSORS_ONLN));
	label("");
	printf("guests can have up to --cpu %s", best_level());
	if (__get_cpuid(LEAF_POWER, &a, &b, &c, &d) && (d & INVARIANT_TSC))
		printf("; the TSC is invariant");
	putchar('\n');
}

static void print_virtualization(void)
{
	uint32_t a, b, c, d, sig[4] = { 0 };
	bool vmx = false, svm = false, nested = false;

	if (__get_cpuid(LEAF_FEATURES, &a, &b, &c, &d)) {
		vmx = c & VMX_BIT;
		nested = c & HYPERVISOR_BIT;
	}
	if (__get_cpuid(LEAF_EXT, &a, &b, &c, &d))
		svm = c & SVM_BIT;
	label("virtualization");
	printf("%s", vmx ? "VT-x" : svm ? "AMD-V" : "neither VT-x nor AMD-V");
	if (nested) {
		__cpuid(LEAF_HYPERVISOR, sig[3], sig[0], sig[1], sig[2]);
		printf("; this host is itself a guest of \"%.12s\"", (const char *)sig);
	}
	putchar('\n');
}

static void print_kvm(void)
{
	struct kvm_probe p;

	kvm_probe(&p);
	label("/dev/kvm");
	if (!p.present)
		printf("is not there\n");
	else if (!p.opens)
		printf("is there, but does not open: %s\n", p.problem);
	else if (!p.runs)
		printf("opens, but %s\n", p.problem);
	else if (!kvm_usable(&p))
		printf("opens, but runs ring 0 at %.1f million loops a second only:\n%*sit is emulated and no use\n",
		       p.loops_per_second / 1e6, LABEL_COLUMN, "");
	else
		printf("works: %.0f million loops a second; this version has no engine for it\n",
		       p.loops_per_second / 1e6);
}

static void print_memory(void)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	label("memory");
	printf("%.1f GiB, %.1f GiB of it free\n", (double)(page * (uint64_t)sysconf(_SC_PHYS_PAGES)) / GiB,
	       (double)(page * (uint64_t)sysconf(_SC_AVPHYS_PAGES)) / GiB);
}

/* What doppel cannot do without. */
static bool print_kernel(void)
{
	int fd = (int)syscall(SYS_memfd_create, "doppel doctor", MFD_CLOEXEC);
	long barrier = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
	bool has_barrier = barrier > 0 && (barrier & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	struct utsname u;

	label("host kernel");
	printf("%s; memfd %s, membarrier %s\n", uname(&u) ? "unknown" : u.release, fd >= 0 ? "yes" : "MISSING",
	       has_barrier ? "yes" : "MISSING");
	if (fd >= 0)
		close(fd);
	if (fd < 0 || !has_barrier) {
		label("");
		printf("doppel needs both: use Linux 4.14 or later, and no filter that forbids them\n");
	}
	return fd >= 0 && has_barrier;
}

static void print_terminal(void)
{
	struct winsize w;

	label("terminal");
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		printf("no (standard input or output is something else)\n");
	else if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_row)
		printf("yes\n");
	else
		printf("yes, %u columns, %u lines\n", w.ws_col, w.ws_row);
}

static bool in_path(const char *program)
{
	const char *p = getenv("PATH");
	char path[4096];

	while (p && *p) {
		size_t n = strcspn(p, ":");

		snprintf(path, sizeof(path), "%.*s/%s", (int)n, p, program);
		if (access(path, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

static void print_default_guest(void)
{
	struct strbuf sb = STRBUF_INIT;

	default_guest_describe(&sb);
	label("default guest");
	printf("%s\n", sb.len ? sb.buf : "unknown");
	strbuf_release(&sb);
	label("");
	printf("to fetch one: apt-get %s, dpkg-deb %s\n", in_path("apt-get") ? "yes" : "missing",
	       in_path("dpkg-deb") ? "yes" : "missing");
}

static void print_engines(void)
{
	const char *why;
	const struct engine_ops *best = engine_choose(&why), *o;

	for (unsigned i = 0; (o = engine_at(i)); i++) {
		label(i ? "" : "engines");
		printf("%s: %s\n", o->name, o->summary);
	}
	label("would choose");
	printf("%s: %s\n", best->name, why);
}

static int doctor(int argc, char **argv)
{
	int status;
	bool ok;

	if (cli_parse(&doctor_command, argc, argv, NULL, &status) < 0)
		return status;
	print_processor();
	print_virtualization();
	/* Written out before the probe forks, or both processes would write it. */
	fflush(stdout);
	print_kvm();
	print_memory();
	ok = print_kernel();
	print_terminal();
	print_default_guest();
	print_engines();
	return ok ? STATUS_OK : STATUS_FAILED;
}

const struct cli_command doctor_command = {
	.name = "doctor",
	.synopsis = "",
	.summary = "say what this host offers and which engine would run",
	.details = "Say what this host offers, which engine would be chosen, and why. The exit\n"
		   "status is 1 when something is missing that doppel cannot do without.\n",
	.run = doctor,
};
